//! Everything that talks to the outside world, one file or folder each: [`http`] reads an API,
//! [`file`] reads files, [`kafka`] reads and writes topics, [`stdout`] writes lines,
//! [`random_user`] is an API of our own to try things with.

pub mod cassandra;
pub mod file;
pub mod http;
pub mod kafka;
pub mod random_user;
pub mod stdout;
