//! The dashboard: the pages on which people look at killfeed and ask it questions.
//!
//! | start here | to learn |
//! |---|---|
//! | [`router`] | which pages there are |
//! | [`Source`] | what they ask, and of whom |
//! | [`Pulse`] | where the moving figures come from |
//! | [`Live`] | where the live tail comes from |
//! | `session` | how a browser says who looks |
//! | `page` | what every page has; `assets`: what it loads |
//!
//! Pages are made here as HTML and can be read without a script; the script moves figures and shows the live
//! tail. Whatever stands on a page is escaped by the template language; nothing is loaded from elsewhere.

mod app;
mod assets;
mod cached;
mod data;
mod form;
mod live;
mod page;
mod pages;
mod pulse;
mod session;
mod show;
#[cfg(test)]
mod tests;

pub use app::{Parts, router};
pub use data::{
    Ask, Books, Bounds, Cell, Column, ColumnInfo, Format, Input, Kind, Limits, Param, Report, Source, Table, TableInfo,
};
pub use live::Live;
pub use pulse::{Figures, OTHERS, Pulse, SECONDS};
pub use session::LASTS;
