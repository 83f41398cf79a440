//! The body of a request, within its bounds: over the wire, unpacked, and of memory.

use crate::Config;
use crate::admission::Reservation;
use crate::form::Encoding;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use edge::Problem;
use futures::StreamExt as _;
use std::io::Read;

/// Unpacked at a time, between two looks at the limits.
const STEP_BYTES: usize = 64 << 10;
/// A packed body above this many bytes is unpacked on a thread of its own.
const INLINE_BYTES_MAX: usize = 128 << 10;
/// The largest window of a zstd frame, as a power of two: 8 MiB, what RFC 8878 asks every decoder for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Reads the body as it comes over the wire. `reservation` grows by twice its length.
///
/// # Errors
/// 413 past the limit, 503 without memory for it, 400 if the client breaks off.
pub(crate) async fn read(
    body: Body,
    headers: &HeaderMap,
    config: &Config,
    reservation: &mut Reservation,
) -> Result<Bytes, Problem> {
    let max = config.body_bytes_max;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if let Some(length) = declared {
        if length > max {
            return Err(Problem::too_large(format!("the body has {length} bytes, more than {max}")));
        }
        reservation.grow(2 * length, config.retry_after)?;
    }
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::bad_request(format!("the body broke off: {error}")))?;
        let length = first.len() + all.len() + chunk.len();
        if length > max {
            return Err(Problem::too_large(format!("the body has more than {max} bytes")));
        }
        if declared.is_none() {
            reservation.grow(2 * chunk.len(), config.retry_after)?;
        }
        if first.is_empty() && all.is_empty() {
            first = chunk;
            continue;
        }
        if all.is_empty() {
            all.reserve(declared.unwrap_or(0).max(length));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Unpacks a body. The reservation grows as it does.
///
/// # Errors
/// 413 past the limit, 503 without memory for it, 400 if it is no such packing.
pub(crate) async fn unpack(
    packed: Bytes,
    encoding: Encoding,
    config: &Config,
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation), Problem> {
    let (max, retry_after) = (config.body_decompressed_bytes_max, config.retry_after);
    let run = move |packed: Bytes| {
        let mut grow = |bytes| reservation.grow(2 * bytes, retry_after);
        let unpacked = match encoding {
            Encoding::Identity => packed,
            Encoding::Gzip => copy(flate2::bufread::MultiGzDecoder::new(packed.as_ref()), "gzip", max, &mut grow)?,
            Encoding::Zstd => {
                let broken = |error| broken("zstd", &error);
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.as_ref()).map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                copy(decoder, "zstd", max, &mut grow)?
            }
        };
        Ok((unpacked, reservation))
    };
    if encoding == Encoding::Identity || packed.len() <= INLINE_BYTES_MAX {
        return run(packed);
    }
    let unpacked = tokio::task::spawn_blocking(move || run(packed)).await;
    unpacked.unwrap_or_else(|_| Err(Problem::internal("unpacking the body failed")))
}

fn copy(
    mut from: impl Read,
    coding: &str,
    max: usize,
    grow: &mut impl FnMut(usize) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        from.by_ref().take(STEP_BYTES as u64).read_to_end(&mut all).map_err(|error| broken(coding, &error))?;
        let step = all.len() - before;
        if step == 0 {
            return Ok(all.into());
        }
        if all.len() > max {
            return Err(Problem::too_large(format!("the body has more than {max} bytes when unpacked")));
        }
        grow(step)?;
    }
}

fn broken(coding: &str, error: &std::io::Error) -> Problem {
    Problem::bad_request(format!("the body is no {coding}: {error}"))
}
