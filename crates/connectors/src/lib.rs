//! Everything that talks to the outside world, one file each.
