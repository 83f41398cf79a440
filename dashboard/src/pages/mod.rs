//! One module a page.

pub(crate) mod catalogue;
pub(crate) mod letters;
pub(crate) mod login;
pub(crate) mod overview;
pub(crate) mod payload;
pub(crate) mod providers;
pub(crate) mod reports;
pub(crate) mod sql;
pub(crate) mod tail;
