//! What every log checks of a request before anything is written.

use super::{Append, Error, NewRecord, RECORD_BYTES_MAX, Result, StreamInfo, StreamSpec};
use crate::streams::{Stream, TopicPartition};

/// Refuses an append without records, or with one that is too long.
///
/// # Errors
/// [`Error::Refused`], with the number and the limit.
pub fn records(append: &Append) -> Result<()> {
    if append.records.is_empty() {
        return Err(Error::Refused(format!("an append to {} holds no record", append.to)));
    }
    let longest = append.records.iter().map(NewRecord::len).max().unwrap_or(0);
    if longest > RECORD_BYTES_MAX {
        return Err(Error::Refused(format!(
            "a record for {} has {longest} bytes, over the limit of {RECORD_BYTES_MAX}",
            append.to
        )));
    }
    Ok(())
}

/// Refuses a stream without partitions.
///
/// # Errors
/// [`Error::Refused`].
pub fn spec(spec: &StreamSpec) -> Result<()> {
    if spec.partitions < 1 {
        return Err(Error::Refused(format!(
            "stream {} was to have {} partitions, and needs at least 1",
            spec.stream, spec.partitions
        )));
    }
    Ok(())
}

/// Refuses a stream that was made with another number of partitions.
///
/// # Errors
/// [`Error::Refused`], with both numbers.
pub fn same(spec: &StreamSpec, found: &StreamInfo) -> Result<()> {
    if spec.partitions != found.partitions {
        return Err(Error::Refused(format!(
            "stream {} has {} partitions, and {} were asked for: the number is fixed for a generation of the stream",
            spec.stream, found.partitions, spec.partitions
        )));
    }
    Ok(())
}

/// Refuses a growth that has nothing to grow from, or would make partitions fewer.
///
/// # Errors
/// [`Error::Refused`].
pub fn grows(spec: &StreamSpec, before: Option<&StreamInfo>) -> Result<()> {
    let Some(before) = before else {
        return Err(Error::Refused(format!("stream {} has no generation before it that could grow", spec.stream)));
    };
    if spec.partitions <= before.partitions {
        return Err(Error::Refused(format!(
            "stream {} has {} partitions, and {} were asked for: a stream grows, and never shrinks",
            before.stream, before.partitions, spec.partitions
        )));
    }
    Ok(())
}

/// The error for an append to a raw topic that takes no more.
pub fn ended(to: &TopicPartition) -> Error {
    Error::Ended(format!("{to} takes no more events: its stream has grown into another generation"))
}

/// The name of the stream whose topics a member wants to read; refuses none, and those of several.
///
/// # Errors
/// [`Error::Refused`].
pub fn one_stream<'a>(group: &str, mut topics: impl Iterator<Item = &'a str>) -> Result<&'a str> {
    let Some(first) = topics.next().map(Stream::name_of) else {
        return Err(Error::Refused(format!("a member of group {group} reads no topic")));
    };
    match topics.map(Stream::name_of).find(|stream| *stream != first) {
        None => Ok(first),
        Some(other) => Err(Error::Refused(format!(
            "a member of group {group} reads streams {first} and {other}: join once for each"
        ))),
    }
}

/// The error for a partition that isn't there.
pub fn unknown(of: &TopicPartition) -> Error {
    Error::Refused(format!("there is no partition {of}"))
}

/// The error for a topic that isn't there.
pub fn unknown_topic(topic: &str) -> Error {
    Error::Refused(format!("there is no topic {topic}"))
}
