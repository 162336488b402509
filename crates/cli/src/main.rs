//! The binary: where everything meets.
fn main() {}
