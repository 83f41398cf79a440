//! What a request brings along (body, path, query), or the problem that it is none: in our words,
//! and as problem details whichever extractor failed.

use crate::Problem;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query};
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
    serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body must be JSON like {shape}: {error}")))
}

/// What the path names.
///
/// # Errors
/// 400 if its escapes are no UTF-8.
pub fn path<T>(read: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    read.map(|Path(named)| named).map_err(|_| Problem::bad_request("the path's %-escapes are no UTF-8"))
}

/// What stands behind the `?`.
///
/// # Errors
/// 400 if it is no list of names and values.
pub fn query<T>(read: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    read.map(|Query(given)| given).map_err(|_| Problem::bad_request("what stands behind ? is no list of name=value"))
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
}
