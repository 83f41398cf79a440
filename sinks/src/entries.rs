//! What a flush writes to the ledger: per partition of clean and dead the range, the records and
//! the rows by table. The ledger topic itself gets none: its entries would never end. Nor does a position that is only told anew.

use crate::Error;
use crate::flush::{Context, Counts};
use crate::route::{Kind, Part};
use events::ledger::{Count, Entry, new_id};
use events::log::Append;
use std::collections::BTreeMap;

pub(crate) fn of_flush(context: &Context, counts: &Counts) -> Result<Vec<Append>, Error> {
    let mut appends: BTreeMap<i32, Append> = BTreeMap::new();
    let counted = |part: &Part| part.kind != Kind::Ledger && part.to > part.from;
    for (index, part) in context.parts.iter().enumerate().filter(|(_, part)| counted(part)) {
        let entry = Entry {
            id: new_id(),
            time_us: context.clock.now_us(),
            instance: context.config.instance.clone(),
            stream: context.config.stream.name().to_owned(),
            incarnation: context.incarnation.to_string(),
            partition: part.partition,
            count: Count::Sink {
                topic: part.topic.to_string(),
                from: part.from,
                to: part.to,
                records: part.records.len() as u64,
                rows: counts.get(&index).cloned().unwrap_or_default(),
            },
        };
        let to = entry.destination(&context.config.stream);
        let append = appends.entry(part.partition).or_insert_with(|| Append { to, records: Vec::new() });
        append.records.push(entry.to_record()?);
    }
    Ok(appends.into_values().collect())
}
