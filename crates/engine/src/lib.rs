//! Reads a pipeline, binds it, runs its flows, reports.
