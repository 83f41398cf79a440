//! killfeed: one binary, every role.

fn main() {}
