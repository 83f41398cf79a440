//! PostgreSQL's settings, as far as clients ask for them. They say what holds here; none of them changes anything.

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use std::sync::Arc;

/// The version of PostgreSQL that clients are to take this for: it decides what they ask.
pub(crate) const VERSION: &str = "16.6";

/// Names as `SHOW` takes them, in small letters, and values.
const SETTINGS: [(&str, &str); 18] = [
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("integer_datetimes", "on"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("timezone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// The value of a setting, however its name is written.
pub(crate) fn value(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The table `pg_settings`: a row for each.
pub(crate) fn table() -> Result<MemTable> {
    let texts = ["name", "setting", "unit", "category", "short_desc", "extra_desc", "context", "vartype", "source"];
    let more = ["min_val", "max_val", "enumvals", "boot_val", "reset_val", "sourcefile"];
    let mut fields: Vec<Field> =
        texts.iter().chain(&more).map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    fields.push(Field::new("sourceline", DataType::Int32, true));
    fields.push(Field::new("pending_restart", DataType::Boolean, true));
    let column = |field: &Field| -> ArrayRef {
        match field.name().as_str() {
            "name" => Arc::new(SETTINGS.iter().map(|(name, _)| Some(*name)).collect::<StringArray>()),
            "setting" | "boot_val" | "reset_val" => {
                Arc::new(SETTINGS.iter().map(|(_, value)| Some(*value)).collect::<StringArray>())
            }
            _ => new_null_array(field.data_type(), SETTINGS.len()),
        }
    };
    let columns = fields.iter().map(column).collect();
    let schema = Arc::new(Schema::new(fields));
    MemTable::try_new(schema.clone(), vec![vec![RecordBatch::try_new(schema, columns)?]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_however_they_are_written() {
        assert_eq!(value("TimeZone"), Some("UTC"));
        assert_eq!(value("server_version_num").map(|number| number.parse::<u32>().unwrap() / 100), Some(1_600));
        assert_eq!(value("shared_buffers"), None);
        assert!(table().is_ok());
    }
}
