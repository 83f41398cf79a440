//! The generations of a stream, as a log tells of them.

use super::{Log, Result, StreamInfo};
use crate::streams::Stream;

/// All generations of a stream, oldest first; none if the stream was never made.
///
/// # Errors
/// What the log says of one of them.
pub async fn generations(log: &dyn Log, stream: &Stream) -> Result<Vec<StreamInfo>> {
    let mut found: Vec<StreamInfo> = Vec::new();
    let mut next = stream.at(1);
    while let Some(info) = log.stream(&next).await? {
        next = next.next();
        found.push(info);
    }
    // One that was asked about before the next came doesn't know yet that it has ended.
    let newest = found.len().saturating_sub(1);
    for info in found.iter_mut().take(newest).filter(|info| info.ended.is_none()) {
        if let Some(again) = log.stream(&info.stream).await? {
            *info = again;
        }
    }
    Ok(found)
}

/// The newest generation of a stream.
///
/// # Errors
/// What the log says of it.
pub async fn newest(log: &dyn Log, stream: &Stream) -> Result<Option<StreamInfo>> {
    Ok(generations(log, stream).await?.pop())
}
