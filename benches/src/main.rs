//! Each stage against its limit.

fn main() {}
