//! Everything that talks to the outside world, one file or folder each: [`http`] reads an API,
//! [`kafka`] reads and writes topics, [`random_user`] is an API of our own to try things with.

pub mod http;
pub mod kafka;
pub mod random_user;
