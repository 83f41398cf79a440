//! What a request brings along (body, path), or the problem that it is none: in our words,
//! and as problem details whichever extractor failed.

use crate::Problem;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

/// The whole body.
///
/// # Errors
/// 413 past the path's limit, 400 if the client broke off.
pub fn bytes(read: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large("the body is longer than this path takes"),
        _ => Problem::bad_request("the body broke off, or did not arrive in time"),
    })
}

/// The body as JSON; `shape` shows what it must look like.
///
/// # Errors
/// As [`bytes`]; 415 if it is called something else than JSON, 400 if it is no such JSON.
pub fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    read: Result<Bytes, BytesRejection>,
    shape: &str,
) -> Result<T, Problem> {
    let body = bytes(read)?;
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    if let Some(content_type) = content_type {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence != "application/json" {
            let shown: String = essence.chars().take(80).collect();
            let detail = format!("content type {shown:?} is not taken here: send application/json, {shape}");
            return Err(Problem::unsupported_media_type(detail));
        }
    }
    object(&body, shape)
}

/// The JSON object of a body; `shape` shows what it must look like.
///
/// # Errors
/// 400 that says what is wrong with it, and where.
pub fn object<T: DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, Problem> {
    // Members without their names would be taken for an object, too.
    let read = match body.trim_ascii_start().first() {
        Some(b'[') => Err("expected an object, found a list".to_owned()),
        _ => serde_json::from_slice(body).map_err(|error| wrong(&error.to_string())),
    };
    read.map_err(|wrong| {
        Problem::bad_request(format!("the body must be JSON like {shape}: {wrong}")).with("kind", "refused")
    })
}

/// What is wrong with a JSON value, in our words: none of them is the name of a type of ours.
fn wrong(error: &str) -> String {
    let (said, place) = error.rsplit_once(" at line ").map_or((error, String::new()), |(said, place)| {
        let place = if place.ends_with(" column 0") { String::new() } else { format!(" at line {place}") };
        (said, place)
    });
    let said = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: ")).unwrap_or(said);
    let said = match said.split_once(", expected ") {
        Some((found, expected)) if !found.contains("field `") => {
            format!("expected {}, found {}", kind(expected), kind(found))
        }
        _ => said.to_owned(),
    };
    format!("{}{place}", said.replace('`', "\""))
}

/// A kind of value as people call it.
fn kind(said: &str) -> &str {
    match said {
        "sequence" | "a sequence" => "a list",
        "map" | "a map" => "an object",
        "a string" => "a text",
        "unit" | "null" => "null",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// What the path names.
///
/// # Errors
/// 400 if its escapes are no UTF-8.
pub fn path<T>(read: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    read.map(|Path(named)| named).map_err(|_| Problem::bad_request("the path's %-escapes are no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_must_be_called_so_or_nothing_and_be_it() {
        // (content type, body, status; 200 for a good one)
        for (content_type, body, status) in [
            (None, "{\"a\":1}", 200),
            (Some("application/json"), "{\"a\":1}", 200),
            (Some("Application/JSON; charset=utf-8"), "{\"a\":1}", 200),
            (Some("text/plain"), "{\"a\":1}", 415),
            (Some("application/json"), "{", 400),
            (Some("application/json"), "", 400),
            (None, "[]", 400),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            type Shape = std::collections::BTreeMap<String, u8>;
            let read = json::<Shape>(&headers, Ok(Bytes::from(body)), "{\"a\": 1}");
            let found = read.as_ref().map_or_else(|problem| problem.status.as_u16(), |_| 200);
            assert_eq!(found, status, "{content_type:?} {body}: {read:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_in_our_words() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[expect(dead_code, reason = "only read")]
            sql: String,
        }
        for (body, said) in [
            ("[]", "expected an object, found a list"),
            (" [\"SELECT 1\"]", "expected an object, found a list"),
            ("7", "expected an object, found integer \"7\""),
            ("{\"sql\": 7}", "expected a text, found integer \"7\""),
            ("{\"sql\": null}", "expected a text, found null"),
            ("{\"sql\": []}", "expected a text, found a list"),
            ("{}", "missing field \"sql\""),
            ("{\"sq\": \"\"}", "unknown field \"sq\", expected \"sql\""),
            ("{\"sql\": \"\", \"sql\": \"\"}", "duplicate field \"sql\""),
            ("{", "EOF while parsing an object"),
            ("", "EOF while parsing a value"),
        ] {
            let problem = object::<Shape>(body.as_bytes(), "{\"sql\": \"...\"}").unwrap_err();
            let said = format!("the body must be JSON like {{\"sql\": \"...\"}}: {said}");
            let place = problem.detail.strip_prefix(&said);
            let is_told = place.is_some_and(|place| place.is_empty() || place.starts_with(" at line 1 column "));
            assert!(is_told, "{body}: {}", problem.detail);
        }
    }
}
