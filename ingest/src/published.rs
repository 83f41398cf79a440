//! What clients are told in `GET /v1/config`: how long a resend is safe, how much fits, how much to send, and whether at all.

use crate::Config;
use events::clock::Micros;
use events::envelope::time;
use events::limits;
use events::schema::{DEDUPE_WINDOW_DEFAULT, Registry};
use serde_json::{Map, Value, json};

/// The body of the answer.
pub(crate) fn config(config: &Config, registry: &Registry, now_us: Micros) -> Value {
    let mut windows = Map::new();
    for schema in registry.iter() {
        // In the order of versions: the newest stands.
        windows.insert(schema.event_type.to_string(), schema.dedupe_window.as_secs().into());
    }
    json!({
        "enabled": config.clients_enabled,
        "server_time": String::from_utf8_lossy(&time::format(now_us)),
        "dedupe": {"window_s": DEDUPE_WINDOW_DEFAULT.as_secs(), "window_s_by_type": windows},
        "limits": {
            "event_bytes": config.event_bytes_max,
            "batch_events": config.batch_events_max,
            "body_bytes": config.body_bytes_max,
            "body_decompressed_bytes": config.body_decompressed_bytes_max,
            "attribute_name_bytes": limits::ATTRIBUTE_NAME_BYTES_MAX,
            "attribute_value_bytes": limits::ATTRIBUTE_VALUE_BYTES_MAX,
            "extension_attributes": limits::ATTRIBUTES_MAX,
            "json_depth": limits::JSON_DEPTH_MAX,
            "deadline_ms": u64::try_from(config.deadline.as_millis()).unwrap_or(u64::MAX),
        },
        "sampling": {"one_in": 1, "one_in_by_type": config.sampling},
        "content_encodings": ["gzip", "zstd"],
    })
}
