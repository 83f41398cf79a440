//! What the server said it took, to be held against its tables.

use crate::tally::Tally;
use serde::Serialize;
use std::collections::BTreeMap;

/// What must be found in the tables of a server that had nothing before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Events that were answered 202, by table. A table has at least as many rows, and at most as many more as `unknown` says.
    pub tables: BTreeMap<String, u64>,
    /// Events in doubt at the end, by table: sent, and never answered.
    pub unknown: BTreeMap<String, u64>,
}

impl Truth {
    /// Takes in what a stage says.
    pub(crate) fn add(&mut self, tally: &Tally) {
        for (event_type, of_type) in &tally.types {
            let table = event_type.replace('.', "_");
            for (counts, count) in [(&mut self.tables, of_type.taken), (&mut self.unknown, of_type.unknown)] {
                if count > 0 {
                    *counts.entry(table.clone()).or_default() += count;
                }
            }
        }
    }
}
