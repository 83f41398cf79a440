//! The pages, asked as a browser asks, over a source that answers what pages fear most.

mod access;
mod links;
mod pages;
mod support;
mod watching;
