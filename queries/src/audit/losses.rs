//! What clients say that they lost. Their reports are events like any other, in a table like any other; here they are
//! added up.

use crate::{Engine, Result};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use futures::StreamExt;
use serde::Serialize;
use std::collections::BTreeMap;

/// The table of events `client.loss`.
const TABLE: &str = "client_loss";
/// Its column with the lines of a report: lists of `{reason, type, events}`.
const LINES: &str = "lost";
/// Reasons that are told apart: anybody may send a report, whatever it says.
const REASONS_MAX: usize = 32;
const REASON_BYTES_MAX: usize = 32;
/// What all others are counted under.
const OTHER: &str = "other";

/// What clients have reported as not delivered, as far as their reports have arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClientLosses {
    /// Reports in the table.
    pub reports: u64,
    /// Events by the reason that the client gave.
    pub events: BTreeMap<String, u64>,
}

/// Adds up the reports that the table has; it need not exist.
pub(super) async fn count(engine: &Engine) -> Result<ClientLosses> {
    let context = engine.session();
    let mut losses = ClientLosses::default();
    let Some(snapshot) = engine.snapshot(TABLE, &context).await? else { return Ok(losses) };
    if snapshot.schema().column_with_name(LINES).is_none() {
        return Ok(losses);
    }
    let failed = |error| engine.failed(&error);
    let frame = context.read_table(snapshot.whole()).map_err(failed)?;
    let frame = frame.select_columns(&[LINES]).map_err(failed)?;
    let mut batches = frame.execute_stream().await.map_err(failed)?;
    while let Some(batch) = batches.next().await {
        losses.add(&batch.map_err(failed)?);
    }
    Ok(losses)
}

impl ClientLosses {
    /// A column of another shape says nothing that could be counted.
    fn add(&mut self, batch: &RecordBatch) {
        self.reports += batch.num_rows() as u64;
        let Some(lists) = batch.column(0).as_list_opt::<i32>() else { return };
        let Some(lines) = lists.values().as_struct_opt() else { return };
        let columns = (column(lines, "reason", &DataType::Utf8), column(lines, "events", &DataType::Int64));
        let (Some(reasons), Some(events)) = columns else { return };
        let (reasons, events) = (reasons.as_string::<i32>(), events.as_primitive::<Int64Type>());
        for (row, ends) in lists.value_offsets().windows(2).enumerate() {
            let ends = (usize::try_from(ends[0]), usize::try_from(ends[1]));
            let (Ok(from), Ok(to)) = ends else { continue };
            for line in (from..to).filter(|line| lists.is_valid(row) && lines.is_valid(*line)) {
                let events = if events.is_valid(line) { u64::try_from(events.value(line)).unwrap_or(0) } else { 0 };
                if events > 0 && reasons.is_valid(line) {
                    self.lose(reasons.value(line), events);
                }
            }
        }
    }

    fn lose(&mut self, reason: &str, events: u64) {
        let is_word = reason.len() <= REASON_BYTES_MAX && reason.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        let is_known = self.events.len() < REASONS_MAX || self.events.contains_key(reason);
        let reason = if is_word && is_known && !reason.is_empty() { reason } else { OTHER };
        let sum = self.events.entry(reason.to_owned()).or_default();
        *sum = sum.saturating_add(events);
    }
}

/// A member of all lines, as this type.
fn column(lines: &StructArray, name: &str, data_type: &DataType) -> Option<ArrayRef> {
    cast(lines.column_by_name(name)?, data_type).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{Fixture, config, event, event_schema};
    use datafusion::arrow::datatypes::Field;
    use serde_json::json;

    fn lines() -> DataType {
        let members = [("reason", DataType::Utf8), ("type", DataType::Utf8), ("events", DataType::Int64)];
        let members: Vec<Field> = members.into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect();
        DataType::List(Field::new("element", DataType::Struct(members.into()), true).into())
    }

    #[tokio::test]
    async fn reports_are_added_up_by_reason_whatever_they_say() {
        let fixture = Fixture::new();
        let engine = fixture.engine(config());
        assert_eq!(count(&engine).await.unwrap(), ClientLosses::default());

        let told = |reason: &str, events: i64| json!({"reason": reason, "type": "chat.message", "events": events});
        let reports = [
            json!({"lost": [told("queue_full", 3), told("disk_full", 2), told("queue_full", 4)]}),
            json!({"lost": null}),
            json!({"lost": [null, told("queue_full", 1), {"reason": "hook"}, {"events": 9}, told("hook", -5)]}),
            json!({"lost": [told("\u{1b}[31m", 1), told("", 1), told("expired", i64::MAX)]}),
            json!({"lost": [told("expired", i64::MAX), told("expired", i64::MAX)]}),
        ];
        let rows: Vec<_> = (0..).zip(reports).map(|(raw, report)| event(raw, raw, report)).collect();
        fixture.append(TABLE, &event_schema(&[(LINES, lines())]), &rows).await;
        let losses = count(&engine).await.unwrap();
        assert_eq!(losses.reports, 5);
        let expected =
            [("queue_full", 8), ("disk_full", 2), ("other", 2), ("expired", u64::MAX)].map(|(k, n)| (k.to_owned(), n));
        assert_eq!(losses.events, expected.into());
    }

    #[tokio::test]
    async fn reports_of_another_shape_count_as_reports_alone() {
        let fixture = Fixture::new();
        let rows = [event(0, 0, json!({"lost": "everything"}))];
        fixture.append(TABLE, &event_schema(&[(LINES, DataType::Utf8)]), &rows).await;
        let losses = count(&fixture.engine(config())).await.unwrap();
        assert_eq!(losses, ClientLosses { reports: 1, events: BTreeMap::new() });
    }

    #[test]
    fn reasons_without_end_take_no_memory_without_end() {
        let mut losses = ClientLosses::default();
        for n in 0..1_000_u32 {
            let letters = n.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect::<String>();
            losses.lose(&letters, 1);
        }
        assert_eq!((losses.events.len(), losses.events[OTHER]), (REASONS_MAX + 1, 1_000 - REASONS_MAX as u64));
    }
}
