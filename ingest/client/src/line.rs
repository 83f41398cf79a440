//! Events as they stand in a request: a line of JSON each.

use crate::event::{Common, Event};
use crate::ports::Compression;
use crate::time;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::Write as _;

/// Bytes that the two times and the braces add to an event's members.
pub(crate) const TIMES: usize = 79;

/// The members of an event without its times: `"specversion":"1.0",...`.
pub(crate) fn members(id: &str, source: &str, event: &Event, common: &Common, rate: u32) -> String {
    let mut text = String::with_capacity(event.cost() + source.len() + common.bytes());
    text.push_str("\"specversion\":\"1.0\",\"id\":");
    string(&mut text, id);
    text.push_str(",\"source\":");
    string(&mut text, source);
    text.push_str(",\"type\":");
    string(&mut text, &event.event_type);
    for (name, value) in &event.attributes {
        member(&mut text, name, value);
    }
    for (name, value) in &common.attributes {
        if event.get(name).is_none() {
            member(&mut text, name, value);
        }
    }
    if rate > 1 {
        let _ = write!(text, ",\"sampledrate\":\"{rate}\"");
    }
    if let Some(data) = with_common(event.data.as_deref(), common) {
        text.push_str(",\"data\":");
        text.push_str(&data);
    } else if let Some(data) = &event.data {
        text.push_str(",\"data\":");
        text.push_str(data);
    }
    text
}

/// The payload with the members that every event gets; `None` if it stays as it is.
fn with_common(data: Option<&str>, common: &Common) -> Option<String> {
    if common.data.is_empty() {
        return None;
    }
    let mut object: Map<String, Value> = match data {
        // A payload that is no object has no room for members.
        Some(data) => serde_json::from_str(data).ok()?,
        None => Map::new(),
    };
    for (name, value) in &common.data {
        if !object.contains_key(name) {
            object.insert(name.clone(), value.clone());
        }
    }
    serde_json::to_string(&object).ok()
}

/// Appends the line of an event that happened at `time_us`, in a request that is made at `sent_us`.
pub(crate) fn write(body: &mut String, members: &str, time_us: i64, sent_us: i64) {
    body.push('{');
    body.push_str(members);
    body.push_str(",\"time\":\"");
    time::write(body, time_us);
    body.push_str("\",\"sentat\":\"");
    time::write(body, sent_us);
    body.push_str("\"}\n");
}

/// The body as it goes over the wire, and how it is packed: a small one is not worth it.
pub(crate) fn pack(body: String, compression: Compression) -> (Vec<u8>, Compression) {
    const SMALL: usize = 512;
    if body.len() < SMALL {
        return (body.into_bytes(), Compression::None);
    }
    let packed = match compression {
        Compression::Zstd => zstd::bulk::compress(body.as_bytes(), 1).ok(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body.as_bytes()).and_then(|()| encoder.finish()).ok()
        }
        Compression::None => None,
    };
    match packed {
        Some(packed) if packed.len() < body.len() => (packed, compression),
        _ => (body.into_bytes(), Compression::None),
    }
}

fn member(text: &mut String, name: &str, value: &str) {
    text.push(',');
    string(text, name);
    text.push(':');
    string(text, value);
}

/// As a JSON string.
fn string(text: &mut String, value: &str) {
    if value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        text.push_str(&Value::from(value).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn line(event: &Event, common: &Common, rate: u32) -> Value {
        let mut body = String::new();
        let members = members("i-1", "/a\"b", event, common, rate);
        write(&mut body, &members, 0, 1);
        assert_eq!(body.len(), members.len() + TIMES, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn an_event_is_one_line_with_what_every_event_gets() {
        let mut common = Common::default();
        common.attribute("region", Some("euw".into()));
        common.attribute("playerid", Some("nobody".into()));
        common.data.insert("build".into(), 7.into());
        common.data.insert("a".into(), 1.into());
        let event = Event::new("t").player("p\n").json("{\"a\": 2}");
        let value = line(&event, &common, 4);
        let expected = serde_json::json!({
            "specversion": "1.0", "id": "i-1", "source": "/a\"b", "type": "t", "playerid": "p\n", "region": "euw",
            "sampledrate": "4", "data": {"a": 2, "build": 7},
            "time": "1970-01-01T00:00:00.000000Z", "sentat": "1970-01-01T00:00:00.000001Z",
        });
        assert_eq!(value, expected);
        assert_eq!(line(&Event::new("t").json("[1]"), &common, 1)["data"], serde_json::json!([1]));
        assert_eq!(line(&Event::new("t"), &common, 1)["data"], serde_json::json!({"a": 1, "build": 7}));
        assert_eq!(line(&Event::new("t"), &Common::default(), 1).get("data"), None);
    }

    #[test]
    fn bodies_unpack_to_themselves() {
        let body = "{\"a\":1}\n".repeat(500);
        let (packed, how) = pack(body.clone(), Compression::Zstd);
        assert_eq!((zstd::decode_all(&packed[..]).unwrap(), how), (body.clone().into_bytes(), Compression::Zstd));
        let (packed, how) = pack(body.clone(), Compression::Gzip);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
        assert_eq!((unpacked, how), (body.clone(), Compression::Gzip));
        assert_eq!(pack("{}\n".into(), Compression::Zstd).1, Compression::None);
        assert_eq!(pack(body.clone(), Compression::None).0, body.into_bytes());
    }
}
