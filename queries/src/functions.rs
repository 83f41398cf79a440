//! Which functions queries may call.
//!
//! Taken away are those that make arbitrarily much out of nothing before any memory limit sees it,
//! and those that say where files lie. What is left neither reads files, nor the environment, nor
//! the network; a test lists it. Added are those on chat.

use datafusion::execution::session_state::SessionStateBuilder;
use std::sync::LazyLock;

/// Names of functions that are taken away.
const REMOVED: [&str; 12] = [
    // One row of these can fill the memory: they allocate by a number in the SQL.
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "generate_series",
    "range",
    // These speak of files and of the server.
    "input_file_name",
    "file_row_index",
    "version",
];

/// The builder without these functions. `generate_series` and `range` stay as table functions,
/// which make their rows one batch at a time.
pub(crate) fn restrict(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    if let Some(functions) = builder.scalar_functions() {
        functions.retain(|function| {
            let names = std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str));
            !names.into_iter().any(|name| REMOVED.contains(&name))
        });
    }
    builder.scalar_functions().get_or_insert_default().extend(crate::chat::functions());
    // Formats are for COPY and external tables, which nobody may use.
    if let Some(formats) = builder.file_formats() {
        formats.clear();
    }
    if let Some(factories) = builder.table_factories() {
        factories.clear();
    }
    builder
}

/// Names of the functions that there are.
#[derive(Debug)]
pub(crate) struct Known {
    /// All that a SELECT may call.
    pub(crate) calls: Vec<String>,
    /// Those that need OVER.
    pub(crate) windows: Vec<String>,
}

/// The functions that queries may call, by name, to say which one was meant.
pub(crate) fn known() -> &'static Known {
    static KNOWN: LazyLock<Known> = LazyLock::new(|| {
        let state = restrict(SessionStateBuilder::new().with_default_features()).build();
        let windows: Vec<String> = state.window_functions().keys().cloned().collect();
        let mut calls: Vec<String> = state.scalar_functions().keys().cloned().collect();
        calls.extend(state.aggregate_functions().keys().cloned());
        calls.extend(windows.iter().cloned());
        calls.sort();
        calls.dedup();
        Known { calls, windows }
    });
    &KNOWN
}
