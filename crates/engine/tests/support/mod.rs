//! Parts that fail when they are told to.

pub(crate) mod faults;
pub(crate) mod log;
pub(crate) mod stores;
