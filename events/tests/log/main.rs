//! The log from outside: every implementation against the laws, against a model, and against kills,
//! full disks and damaged files.

mod conformance;
