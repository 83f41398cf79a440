//! The names under which attributes travel beside a payload, and the packed form they travel in.
//!
//! Names follow the CloudEvents Kafka binding, binary mode: attribute `id` is header `ce_id`,
//! `datacontenttype` is `content-type`. What killfeed adds for itself begins with `kf_`. Every value
//! is UTF-8 text; numbers are decimal.

use bytes::{Bytes, BytesMut};

/// Prefix of every CloudEvents attribute but `datacontenttype`.
pub const CE_PREFIX: &str = "ce_";
/// `datacontenttype`.
pub const CONTENT_TYPE: &str = "content-type";
/// `specversion`, always `1.0`.
pub const SPECVERSION: &str = "ce_specversion";
/// `id`.
pub const ID: &str = "ce_id";
/// `source`.
pub const SOURCE: &str = "ce_source";
/// `type`.
pub const TYPE: &str = "ce_type";
/// `subject`.
pub const SUBJECT: &str = "ce_subject";
/// `time`, RFC 3339; after the clock's correction by ingest.
pub const TIME: &str = "ce_time";
/// `dataschema`.
pub const DATASCHEMA: &str = "ce_dataschema";
/// `gameid`.
pub const GAMEID: &str = "ce_gameid";
/// `playerid`.
pub const PLAYERID: &str = "ce_playerid";
/// `sessionid`.
pub const SESSIONID: &str = "ce_sessionid";
/// `region`.
pub const REGION: &str = "ce_region";
/// `partitionkey`, the client's own; counts only where the schema says so.
pub const PARTITIONKEY: &str = "ce_partitionkey";
/// `sentat`, the client's clock when it sent.
pub const SENTAT: &str = "ce_sentat";
/// `traceparent`, W3C trace context.
pub const TRACEPARENT: &str = "ce_traceparent";
/// `sampledrate`, CloudEvents sampling extension.
pub const SAMPLEDRATE: &str = "ce_sampledrate";
/// `receivedat`, RFC 3339 in µs and UTC, set by ingest.
pub const RECEIVEDAT: &str = "ce_receivedat";
/// `originaltime`: the client's `time`, where ingest corrected it.
pub const ORIGINALTIME: &str = "ce_originaltime";
/// `clientaddress`: raw topic only; processors look it up and take it away.
pub const CLIENTADDRESS: &str = "ce_clientaddress";
/// Set by redrive: the reason for which the event was a dead letter. It passes dedupe, counted.
pub const REDRIVEOF: &str = "ce_redriveof";

/// ISO 3166-1 alpha-2 country, from the client's address.
pub const GEO_COUNTRY: &str = "kf_country";
/// English city name.
pub const GEO_CITY: &str = "kf_city";
/// Autonomous system number, decimal.
pub const GEO_ASN: &str = "kf_asn";
/// ISP, else the AS organisation.
pub const GEO_ISP: &str = "kf_isp";
/// MaxMind's word for the connection type.
pub const GEO_CONNECTION: &str = "kf_connection";
/// Schema version that the processor stamped; 0 is a discovered schema.
pub const SCHEMA_VERSION: &str = "kf_schema";
/// Offset of the record in the raw topic, decimal.
pub const RAW_OFFSET: &str = "kf_raw_offset";
/// Dead letters only: the reason, a word of [`crate::dead::Reason`].
pub const DEAD_REASON: &str = "kf_reason";
/// Dead letters only: one sentence of detail.
pub const DEAD_DETAIL: &str = "kf_detail";
/// Dead letters only: the stage that found it (`process` or `sink`).
pub const DEAD_STAGE: &str = "kf_stage";

/// Attributes that killfeed sets itself, and refuses by name when a client sends them.
pub const RESERVED_ATTRIBUTES: [&str; 3] = ["receivedat", "originaltime", "redriveof"];

/// The headers of one record, packed in one buffer: cheap to keep, cheap to copy.
///
/// Layout, repeated: name length (u8), name, value length (LEB128), value. Names are ASCII.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// Takes a buffer that a [`HeadersBuilder`] packed, after checking that it can be walked.
    pub fn from_packed(packed: Bytes) -> Option<Self> {
        let headers = Self(packed);
        let mut walk = headers.iter();
        while walk.next().is_some() {}
        walk.rest.is_empty().then_some(headers)
    }

    /// Takes a buffer known to be packed by a [`HeadersBuilder`], unchecked; iteration over a
    /// broken one ends early.
    pub fn from_trusted(packed: Bytes) -> Self {
        Self(packed)
    }

    /// From name and value pairs.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut builder = HeadersBuilder::default();
        for (name, value) in pairs {
            builder.push(name, value.as_bytes());
        }
        builder.build()
    }

    /// The packed form.
    pub fn packed(&self) -> &Bytes {
        &self.0
    }

    /// Bytes that it takes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order of insertion.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// Value of the first header of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// The same as text; `None` also if it is no UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }
}

/// Walks packed headers.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&name_len, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
        let mut value_len = 0usize;
        let mut used = 0;
        loop {
            let byte = *rest.get(used)?;
            value_len |= usize::from(byte & 0x7f) << (7 * used);
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if used == 5 {
                return None;
            }
        }
        let (value, rest) = rest[used..].split_at_checked(value_len)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Packs headers, one after the other; one builder can serve many records (see [`Self::split`]).
#[derive(Debug, Default)]
pub struct HeadersBuilder {
    /// The record in work: appending to a `Vec` is cheaper than to a shared buffer.
    current: Vec<u8>,
    /// Where finished records lie next to each other.
    packed: BytesMut,
}

impl HeadersBuilder {
    /// With room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { current: Vec::with_capacity(bytes.min(512)), packed: BytesMut::with_capacity(bytes) }
    }

    /// Adds one. Names are cut at 255 bytes; killfeed's own and the envelope's limits are below that.
    #[inline]
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let name = &name.as_bytes()[..name.len().min(255)];
        self.current.reserve(name.len() + value.len() + 6);
        #[expect(clippy::cast_possible_truncation, reason = "cut at 255 above")]
        self.current.push(name.len() as u8);
        self.current.extend_from_slice(name);
        let mut left = value.len();
        while left >= 0x80 {
            #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are meant")]
            self.current.push((left as u8 & 0x7f) | 0x80);
            left >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 0x80 by the loop above")]
        self.current.push(left as u8);
        self.current.extend_from_slice(value);
    }

    /// Adds the attribute of this name: `gameid` as `ce_gameid`, `datacontenttype` as `content-type`.
    pub fn push_attribute(&mut self, attribute: &str, value: &[u8]) {
        if attribute == "datacontenttype" {
            self.push(CONTENT_TYPE, value);
        } else {
            self.push(&format!("{CE_PREFIX}{attribute}"), value);
        }
    }

    /// Adds headers packed elsewhere, as they are.
    #[inline]
    pub fn extend_packed(&mut self, packed: &[u8]) {
        self.current.extend_from_slice(packed);
    }

    /// What was pushed since the last split; the builder goes on with the rest of its buffer.
    #[inline]
    pub fn split(&mut self) -> Headers {
        self.packed.extend_from_slice(&self.current);
        self.current.clear();
        Headers(self.packed.split().freeze())
    }

    /// What was pushed.
    pub fn build(mut self) -> Headers {
        self.split()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_headers_come_back_in_order_and_a_torn_buffer_is_refused() {
        let long = "x".repeat(70_000);
        let mut builder = HeadersBuilder::default();
        builder.push(ID, b"1");
        builder.push(SUBJECT, long.as_bytes());
        builder.push_attribute("datacontenttype", b"application/json");
        let headers = builder.split();
        assert_eq!(headers.get_str(ID), Some("1"));
        assert_eq!(headers.get(SUBJECT).map(<[u8]>::len), Some(70_000));
        assert_eq!(headers.get_str(CONTENT_TYPE), Some("application/json"));
        assert_eq!(headers.get(TIME), None);
        assert_eq!(headers.iter().count(), 3);
        assert!(Headers::from_packed(headers.packed().clone()).is_some());
        assert!(Headers::from_packed(headers.packed().slice(..headers.len() - 1)).is_none());
        assert!(builder.split().is_empty());
    }
}
