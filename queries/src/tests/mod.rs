//! The engine, its answers and its HTTP face against tables on disk.

mod answers;
mod fresh;
mod hostile;
mod http;
mod latest;
mod limits;
mod paging;
mod personal;
pub(crate) mod support;
mod wrong;
