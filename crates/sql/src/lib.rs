//! Turns a query and an input schema into a function from batch to batch.
