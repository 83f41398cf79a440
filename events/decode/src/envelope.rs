//! The envelope's columns of a batch: headers in, arrays out, in the order of [`crate::columns`].
//!
//! A header that its column can't hold (a `sampledrate` that is no integer, a `time` that is none)
//! and an extension attribute that has no column go to `extra.attributes`, as text.

use crate::builders::{Texts, Values};
use crate::columns;
use arrow::array::{ArrayRef, Date32Array, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use events::envelope::time;
use events::headers;
use events::log::Record;
use std::borrow::Cow;
use std::sync::Arc;

/// A record to be decoded, and where it stood.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The record, of a clean topic.
    pub record: &'a Record,
    /// The partition that it was read from.
    pub partition: i32,
    /// The incarnation of its stream.
    pub incarnation: &'a str,
}

impl<'a> Row<'a> {
    /// The record's event type; empty if it has none.
    pub fn event_type(&self) -> &'a str {
        self.record.headers.get_str(headers::TYPE).unwrap_or_default()
    }

    /// The schema version that the processor stamped; 0, a discovered schema, if there is no stamp.
    pub fn schema_version(&self) -> i32 {
        self.record.headers.get_str(headers::SCHEMA_VERSION).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

/// The fourteen text columns, by their place among them.
const TEXTS: usize = 14;

/// The envelope's columns under construction.
#[derive(Debug)]
pub(crate) struct Envelope {
    texts: [Texts; TEXTS],
    time: Values<i64>,
    original_time: Values<i64>,
    received_at: Values<i64>,
    sampled_rate: Values<i64>,
    geo_asn: Values<i64>,
    schema_version: Values<i32>,
    partition: Values<i32>,
    offset: Values<i64>,
    raw_offset: Values<i64>,
    date: Values<i32>,
    incarnation: Texts,
    extra: Texts,
}

/// What one record's headers say.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    texts: [Option<&'a [u8]>; TEXTS],
    time: Option<i64>,
    original_time: Option<i64>,
    received_at: Option<i64>,
    sampled_rate: Option<i64>,
    geo_asn: Option<i64>,
    raw_offset: Option<i64>,
    /// 0 without a stamp.
    pub(crate) schema_version: i32,
    /// `datacontenttype`.
    pub(crate) content_type: Option<&'a [u8]>,
    /// What has no column, with the attribute's name.
    pub(crate) attributes: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Fields<'a> {
    /// Reads the headers of a record.
    #[inline]
    pub(crate) fn of(record: &'a Record) -> Self {
        let mut fields = Self::default();
        for (name, value) in record.headers.iter() {
            fields.take(name, value);
        }
        fields
    }

    #[inline]
    fn take(&mut self, name: &'a [u8], value: &'a [u8]) {
        let text = match name {
            b"ce_id" => 0,
            b"ce_source" => 1,
            b"ce_type" => 2,
            b"ce_subject" => 3,
            b"ce_gameid" => 4,
            b"ce_playerid" => 5,
            b"ce_sessionid" => 6,
            b"ce_region" => 7,
            b"ce_dataschema" => 8,
            b"ce_traceparent" => 9,
            b"kf_country" => 10,
            b"kf_city" => 11,
            b"kf_isp" => 12,
            b"kf_connection" => 13,
            b"content-type" => {
                self.content_type.get_or_insert(value);
                return;
            }
            _ => return self.take_other(name, value),
        };
        self.texts[text].get_or_insert(value);
    }

    fn take_other(&mut self, name: &'a [u8], value: &'a [u8]) {
        let text = std::str::from_utf8(value).ok();
        let as_time = || text.and_then(time::parse);
        let as_integer = || text.and_then(|text| text.parse::<i64>().ok());
        let taken = match name {
            b"ce_time" => set(&mut self.time, as_time()),
            b"ce_originaltime" => set(&mut self.original_time, as_time()),
            b"ce_receivedat" => set(&mut self.received_at, as_time()),
            b"ce_sampledrate" => set(&mut self.sampled_rate, as_integer()),
            b"kf_asn" => set(&mut self.geo_asn, as_integer()),
            b"kf_raw_offset" => set(&mut self.raw_offset, as_integer()),
            b"kf_schema" => {
                self.schema_version = text.and_then(|text| text.parse().ok()).unwrap_or_default();
                true
            }
            // Said of every event alike, or used up on the way: the row needs none of them.
            b"ce_specversion" | b"ce_sentat" | b"ce_clientaddress" => true,
            _ => false,
        };
        if !taken && let Some(attribute) = name.strip_prefix(headers::CE_PREFIX.as_bytes()) {
            self.attributes.push((attribute, value));
        }
    }
}

fn set(place: &mut Option<i64>, value: Option<i64>) -> bool {
    if place.is_none() {
        *place = value;
    }
    value.is_some()
}

impl Envelope {
    pub(crate) fn new(rows: usize) -> Self {
        let values = || Values::new(rows);
        Self {
            texts: std::array::from_fn(|_| Texts::new(rows)),
            time: values(),
            original_time: values(),
            received_at: values(),
            sampled_rate: values(),
            geo_asn: values(),
            schema_version: Values::new(rows),
            partition: Values::new(rows),
            offset: values(),
            raw_offset: values(),
            date: Values::new(rows),
            incarnation: Texts::new(rows),
            extra: Texts::new(rows),
        }
    }

    /// Adds a row. A record that doesn't say when it was received was received when it was appended.
    #[inline]
    pub(crate) fn push(&mut self, row: Row<'_>, fields: &Fields<'_>, extra: Option<&[u8]>) {
        let place = self.len();
        for (column, value) in self.texts.iter_mut().zip(fields.texts) {
            if let Some(value) = value {
                column.pad(place);
                column.push(value);
            }
        }
        let received_at = fields.received_at.unwrap_or_else(|| row.record.time_ms.saturating_mul(1_000));
        self.time.push_option(fields.time);
        self.original_time.push_option(fields.original_time);
        self.received_at.push(received_at);
        self.sampled_rate.push_option(fields.sampled_rate);
        self.geo_asn.push_option(fields.geo_asn);
        self.schema_version.push(fields.schema_version);
        self.incarnation.push(row.incarnation.as_bytes());
        self.partition.push(row.partition);
        self.offset.push(row.record.offset);
        self.raw_offset.push_option(fields.raw_offset);
        self.date.push(columns::date_of(received_at));
        self.extra.push_option(extra);
    }

    pub(crate) fn len(&self) -> usize {
        self.offset.len()
    }

    /// The arrays, in the order of the contract.
    pub(crate) fn finish(mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = self.len();
        self.texts.iter_mut().for_each(|column| column.pad(rows));
        let [id, source, kind, subject, game, player, session, region, dataschema, trace, country, city, isp, link] =
            self.texts;
        Ok(vec![
            id.finish_lossy()?,
            source.finish_lossy()?,
            kind.finish_lossy()?,
            subject.finish_lossy()?,
            timestamps(self.time)?,
            timestamps(self.original_time)?,
            timestamps(self.received_at)?,
            game.finish_lossy()?,
            player.finish_lossy()?,
            session.finish_lossy()?,
            region.finish_lossy()?,
            dataschema.finish_lossy()?,
            integers(self.sampled_rate)?,
            trace.finish_lossy()?,
            country.finish_lossy()?,
            city.finish_lossy()?,
            integers(self.geo_asn)?,
            isp.finish_lossy()?,
            link.finish_lossy()?,
            small_integers(self.schema_version)?,
            self.incarnation.finish()?,
            small_integers(self.partition)?,
            integers(self.offset)?,
            integers(self.raw_offset)?,
            dates(self.date)?,
            self.extra.finish()?,
        ])
    }
}

/// Header values are UTF-8 by law; in one that isn't, what can't be read becomes U+FFFD.
pub(crate) fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

pub(crate) fn timestamps(values: Values<i64>) -> Result<ArrayRef, ArrowError> {
    let (values, valid) = values.parts();
    Ok(Arc::new(TimestampMicrosecondArray::try_new(values.into(), valid)?.with_timezone("UTC")))
}

pub(crate) fn integers(values: Values<i64>) -> Result<ArrayRef, ArrowError> {
    let (values, valid) = values.parts();
    Ok(Arc::new(Int64Array::try_new(values.into(), valid)?))
}

pub(crate) fn small_integers(values: Values<i32>) -> Result<ArrayRef, ArrowError> {
    let (values, valid) = values.parts();
    Ok(Arc::new(Int32Array::try_new(values.into(), valid)?))
}

pub(crate) fn dates(values: Values<i32>) -> Result<ArrayRef, ArrowError> {
    let (values, valid) = values.parts();
    Ok(Arc::new(Date32Array::try_new(values.into(), valid)?))
}
