//! Answers, tables and events for pages, which show them without knowing the engine.

use crate::catalogue::{self, Column};
use crate::mask::remove;
use crate::personal::{Declared, Personal};
use crate::present::{Shape, present};
use crate::{Engine, Error, Parameters, Result, Viewer, latest};
use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use events::headers::{CE_PREFIX, CONTENT_TYPE};
use events::log::Record;
use events::schema::Registry;
use serde_json::{Map, Value};

/// Texts for the named placeholders of a statement.
pub fn texts(pairs: &[(&str, &str)]) -> Parameters {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), ScalarValue::Utf8(Some((*text).to_owned())))).collect()
}

/// A batch with what fits into cells: times in RFC 3339, bytes in base64, structs and lists as JSON, all as text.
///
/// # Errors
/// If a value can't be written as JSON.
pub fn cells(batch: &RecordBatch) -> Result<RecordBatch> {
    present(batch, Shape::Cells).map_err(|error| Error::Internal(error.to_string()))
}

/// Bytes of the table's files; `None` if there is no such table.
///
/// # Errors
/// If the table can't be read.
pub async fn bytes(engine: &Engine, table: &str) -> Result<Option<u64>> {
    let Some(table) = engine.store().load(table).await? else { return Ok(None) };
    let files = tables::files::live(&table)?;
    Ok(Some(files.iter().map(|file| u64::try_from(file.size).unwrap_or_default()).sum()))
}

/// What a column means: the `description` of its payload field in the newest schema of the table's type, or what
/// killfeed itself puts there.
pub fn meaning(registry: &Registry, table: &str, column: &Column) -> Option<String> {
    let table = latest::table_of(table).unwrap_or(table);
    let described =
        registry.iter().filter(|schema| decode::table_name(&schema.event_type).is_ok_and(|name| name == table));
    let described = described.max_by_key(|schema| schema.version).and_then(|schema| {
        let fields = schema.document.get("properties")?.as_object()?;
        let is_it = |name: &String| {
            column.field.as_ref().map_or(decode::snake_case(name) == column.column, |field| field == name)
        };
        let field = fields.iter().find(|(name, _)| is_it(name));
        Some(field?.1.get("description")?.as_str()?.to_owned())
    });
    described.or_else(|| own(&column.column).map(str::to_owned))
}

/// The meaning of killfeed's own columns.
fn own(column: &str) -> Option<&'static str> {
    Some(match column {
        "id" => "The event's id, given by whoever sent it",
        "source" => "Who sent it, as a URI reference",
        "type" => "The event's type",
        "subject" => "What it is about",
        "time" => "When it happened; the client's clock, corrected where it was far off",
        "original_time" => "The client's own time, where it was corrected",
        "received_at" => "When ingest received it",
        "game_id" => "The game that it belongs to",
        "player_id" => "The player that it belongs to",
        "session_id" => "The session that it belongs to",
        "region" => "The region that it was sent for",
        "dataschema" => "The schema that the sender named",
        "sampled_rate" => "How many events it stands for",
        "trace_parent" => "W3C trace context",
        "geo_country" => "Country of the client's address, ISO 3166-1 alpha-2",
        "geo_city" => "City of the client's address, in English",
        "geo_asn" => "Autonomous system of the client's address",
        "geo_isp" => "Internet provider of the client's address",
        "geo_connection" => "Kind of connection, in MaxMind's words",
        "schema_version" => "Version of the schema that it was read by; 0: discovered",
        "_incarnation" => "Which making of the stream's topics it came through",
        "_partition" => "Partition of the log",
        "_offset" => "Offset in the partition that the row was read from",
        "_raw_offset" => "Offset in the raw topic",
        "_topic" => "Topic that it was read from",
        "date" => "Day of receipt, UTC; tables are partitioned by it",
        "extra" => "What found no column, as JSON",
        "reason" => "Why it is no row, from a closed list",
        "detail" => "The same in a sentence",
        "stage" => "Which stage found it",
        "headers" => "The record's headers as JSON, without addresses",
        "payload" => "The payload as it was sent",
        _ => return None,
    })
}

/// A record of a clean topic as the event that it is: attributes, what geo look-up added, and `data`. What is
/// personal to its type is left out for those who may not see it, as in SQL.
pub fn event(registry: &Registry, record: &Record, viewer: &Viewer) -> Value {
    let kind = record.headers.get_str(events::headers::TYPE).unwrap_or_default();
    let declared = Declared::of(registry);
    let table = decode::table_name(kind).ok();
    let personal = if viewer.personal { None } else { table.as_ref().and_then(|table| declared.table(table)) };
    let mut event = Map::new();
    for (name, value) in record.headers.iter() {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let name = match name.strip_prefix(CE_PREFIX) {
            Some(attribute) => attribute.to_owned(),
            None if name == CONTENT_TYPE => "datacontenttype".to_owned(),
            None => match name.strip_prefix("kf_") {
                Some(place @ ("country" | "city" | "asn" | "isp" | "connection")) => format!("geo_{place}"),
                _ => continue,
            },
        };
        // A client's partition key may be any of the others.
        let is_hidden =
            |personal: &Personal| name == "partitionkey" || personal.attributes.contains(&name.to_lowercase());
        if !personal.is_some_and(is_hidden) {
            event.insert(name, value.into_owned().into());
        }
    }
    if let Some(data) = record.payload.as_deref().and_then(|payload| data(payload, personal)) {
        event.insert("data".into(), data);
    }
    Value::Object(event)
}

/// The payload; of one that is no object nobody knows which part is personal.
fn data(payload: &[u8], personal: Option<&Personal>) -> Option<Value> {
    let read = serde_json::from_slice::<Value>(payload);
    let Some(personal) = personal.filter(|personal| !personal.is_empty()) else {
        return Some(read.unwrap_or_else(|_| String::from_utf8_lossy(payload).into_owned().into()));
    };
    let mut data = read.ok().filter(Value::is_object)?;
    personal.paths.iter().for_each(|path| remove(&mut data, path));
    Some(data)
}

/// The catalogue with sizes and meanings.
///
/// # Errors
/// If a table can't be read.
pub async fn described(engine: &Engine) -> Result<Vec<(catalogue::Table, Option<u64>)>> {
    let mut described = Vec::new();
    for table in catalogue::tables(engine).await? {
        let bytes = bytes(engine, &table.table).await?;
        described.push((table, bytes));
    }
    Ok(described)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{schema_of, viewer};
    use bytes::Bytes;
    use events::headers::Headers;
    use serde_json::json;

    fn record(payload: &str) -> Record {
        let headers = [
            ("ce_type", "chat.message"),
            ("ce_id", "1"),
            ("ce_playerid", "p1"),
            ("ce_partitionkey", "p1"),
            ("content-type", "application/json"),
            ("kf_city", "Kiel"),
            ("kf_raw_offset", "7"),
        ];
        Record {
            headers: Headers::of(headers),
            payload: Some(Bytes::copy_from_slice(payload.as_bytes())),
            ..Record::default()
        }
    }

    #[test]
    fn an_event_shows_what_is_personal_only_to_those_who_may_see_it() {
        let registry = Registry::of([schema_of("chat.message", 1, &["playerid", "home.city", "realName"])]);
        let sent = record(r#"{"text":"gg","realName":"Jane","home":{"city":"Kiel","zip":1}}"#);
        let whole = json!({
            "type": "chat.message", "id": "1", "playerid": "p1", "partitionkey": "p1", "datacontenttype": "application/json",
            "geo_city": "Kiel", "data": {"text": "gg", "realName": "Jane", "home": {"city": "Kiel", "zip": 1}},
        });
        assert_eq!(event(&registry, &sent, &viewer(true)), whole);
        let masked = json!({
            "type": "chat.message", "id": "1", "datacontenttype": "application/json", "geo_city": "Kiel",
            "data": {"text": "gg", "home": {"zip": 1}},
        });
        assert_eq!(event(&registry, &sent, &viewer(false)), masked);
        for odd in ["\"Jane\"", "[{\"realName\":\"Jane\"}]", "Jane"] {
            assert_eq!(event(&registry, &record(odd), &viewer(false)).get("data"), None, "{odd}");
        }
        assert_eq!(event(&Registry::default(), &sent, &viewer(false)), whole);
    }

    #[test]
    fn a_column_means_what_its_schema_says() {
        let mut schema = schema_of("chat.message", 2, &[]);
        schema.document = std::sync::Arc::new(json!({"properties": {"championId": {"description": "Which champion"}}}));
        let registry = Registry::of([schema_of("chat.message", 1, &[]), schema]);
        let column = |column: &str, field: Option<&str>| Column {
            column: column.into(),
            data_type: "text".into(),
            field: field.map(Into::into),
            note: None,
        };
        let meaning = |column: &Column| meaning(&registry, "chat_message", column);
        assert_eq!(meaning(&column("champion_id", Some("championId"))).as_deref(), Some("Which champion"));
        assert_eq!(meaning(&column("player_id", None)).as_deref(), Some("The player that it belongs to"));
        assert_eq!(meaning(&column("score", None)), None);
    }
}
