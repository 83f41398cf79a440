//! The envelope: CloudEvents 1.0 in the forms in which killfeed accepts them.
//!
//! | form | read by | written by |
//! |---|---|---|
//! | JSON, structured | [`Event::from_json`] | |
//! | JSON, batch | [`batch`] | |
//! | newline-delimited JSON | [`Event::from_json`], line by line | |
//! | HTTP, binary | [`Event::from_http`] | |
//! | Kafka, binary: the form of the log | [`Event::from_headers`] | [`Attributes::write`] |
//!
//! What every form shares: an attribute is UTF-8 text; a boolean or an integer is its canonical
//! text; JSON's `null` is the same as no attribute. `data` is never written anew: the payload is the
//! slice of the request in which it stood. Two exceptions, both of the JSON format: `data_base64` is
//! decoded, and a JSON string under a media type that isn't JSON is the text itself.
//!
//! `data: null` is no payload. JSON `data` without `datacontenttype` is `application/json`, and is
//! stored with that word, as the specification asks of whoever changes the form.

mod http;
mod invalid;
mod json;
mod kafka;
mod rules;
mod structured;
pub mod time;

#[cfg(test)]
mod tests;

pub use invalid::Invalid;
pub use rules::is_json;
pub use structured::batch;

use crate::headers::{self, HeadersBuilder};
use crate::limits::ATTRIBUTES_MAX;
use bytes::Bytes;
use std::borrow::Cow;

/// The only version of CloudEvents that there is.
pub const SPECVERSION: &str = "1.0";

/// An attribute that killfeed knows; `specversion` is not kept, since it has one value only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the attribute of this name")]
pub enum Attribute {
    Id,
    Source,
    Type,
    Time,
    DataContentType,
    GameId,
    PlayerId,
    SessionId,
    Region,
    Subject,
    DataSchema,
    SentAt,
    PartitionKey,
    TraceParent,
    SampledRate,
    ClientAddress,
    ReceivedAt,
    OriginalTime,
    RedriveOf,
}

/// In the order in which they are written: name, header.
const KNOWN: [(Attribute, &str, &str); 19] = [
    (Attribute::Id, "id", headers::ID),
    (Attribute::Source, "source", headers::SOURCE),
    (Attribute::Type, "type", headers::TYPE),
    (Attribute::Time, "time", headers::TIME),
    (Attribute::DataContentType, "datacontenttype", headers::CONTENT_TYPE),
    (Attribute::GameId, "gameid", headers::GAMEID),
    (Attribute::PlayerId, "playerid", headers::PLAYERID),
    (Attribute::SessionId, "sessionid", headers::SESSIONID),
    (Attribute::Region, "region", headers::REGION),
    (Attribute::Subject, "subject", headers::SUBJECT),
    (Attribute::DataSchema, "dataschema", headers::DATASCHEMA),
    (Attribute::SentAt, "sentat", headers::SENTAT),
    (Attribute::PartitionKey, "partitionkey", headers::PARTITIONKEY),
    (Attribute::TraceParent, "traceparent", headers::TRACEPARENT),
    (Attribute::SampledRate, "sampledrate", headers::SAMPLEDRATE),
    (Attribute::ClientAddress, "clientaddress", headers::CLIENTADDRESS),
    (Attribute::ReceivedAt, "receivedat", headers::RECEIVEDAT),
    (Attribute::OriginalTime, "originaltime", headers::ORIGINALTIME),
    (Attribute::RedriveOf, "redriveof", headers::REDRIVEOF),
];

impl Attribute {
    /// The name that CloudEvents, or the contract, gives it.
    pub const fn name(self) -> &'static str {
        KNOWN[self as usize].1
    }

    /// The name of its header in the log.
    pub const fn header(self) -> &'static str {
        KNOWN[self as usize].2
    }

    /// The attribute of this name.
    #[inline]
    pub fn from_name(name: &str) -> Option<Self> {
        // A match, not a search in the table: this runs for each attribute of each event.
        Some(match name {
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "time" => Self::Time,
            "datacontenttype" => Self::DataContentType,
            "gameid" => Self::GameId,
            "playerid" => Self::PlayerId,
            "sessionid" => Self::SessionId,
            "region" => Self::Region,
            "subject" => Self::Subject,
            "dataschema" => Self::DataSchema,
            "sentat" => Self::SentAt,
            "partitionkey" => Self::PartitionKey,
            "traceparent" => Self::TraceParent,
            "sampledrate" => Self::SampledRate,
            "clientaddress" => Self::ClientAddress,
            "receivedat" => Self::ReceivedAt,
            "originaltime" => Self::OriginalTime,
            "redriveof" => Self::RedriveOf,
            _ => return None,
        })
    }

    /// Whether only killfeed sets it: the list of [`RESERVED_ATTRIBUTES`](crate::headers::RESERVED_ATTRIBUTES).
    const fn is_reserved(self) -> bool {
        matches!(self, Self::ReceivedAt | Self::OriginalTime | Self::RedriveOf)
    }

    /// Whether the specification itself defines it, as text.
    const fn is_core(self) -> bool {
        matches!(
            self,
            Self::Id
                | Self::Source
                | Self::Type
                | Self::Time
                | Self::DataContentType
                | Self::Subject
                | Self::DataSchema
        )
    }

    const fn is_time(self) -> bool {
        matches!(self, Self::Time | Self::SentAt | Self::ReceivedAt | Self::OriginalTime)
    }
}

/// The attributes of one event, each checked when it was set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    known: [Option<Cow<'a, str>>; KNOWN.len()],
    extensions: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    specversion: bool,
}

impl<'a> Attributes<'a> {
    /// The value of an attribute, if it is there.
    #[inline]
    pub fn get(&self, attribute: Attribute) -> Option<&str> {
        self.known[attribute as usize].as_deref()
    }

    /// The event's id; empty only before [`Self::require`] has passed.
    pub fn id(&self) -> &str {
        self.get(Attribute::Id).unwrap_or_default()
    }

    /// The event's type; empty only before [`Self::require`] has passed.
    pub fn event_type(&self) -> &str {
        self.get(Attribute::Type).unwrap_or_default()
    }

    /// Attributes that killfeed doesn't know, in the order in which they came.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.extensions.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Gives an attribute another value, or takes it away. The value is the caller's to answer for.
    pub fn put(&mut self, attribute: Attribute, value: Option<Cow<'a, str>>) {
        self.known[attribute as usize] = value;
    }

    /// Takes an attribute's value out.
    pub fn take(&mut self, attribute: Attribute) -> Option<Cow<'a, str>> {
        self.known[attribute as usize].take()
    }

    /// Sets an attribute of a client's event, after checking name and value.
    #[inline]
    fn set(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> Result<(), Invalid> {
        match Attribute::from_name(&name) {
            Some(attribute) if !attribute.is_reserved() => self.set_known(attribute, value),
            _ if name == "specversion" => self.set_specversion(&value),
            _ => self.set_extension(name, value),
        }
    }

    #[inline]
    fn set_known(&mut self, attribute: Attribute, value: Cow<'a, str>) -> Result<(), Invalid> {
        rules::check_known(attribute, &value)?;
        match self.known[attribute as usize].replace(value) {
            None => Ok(()),
            Some(_) => Err(Invalid::twice(attribute.name())),
        }
    }

    fn set_specversion(&mut self, value: &str) -> Result<(), Invalid> {
        if std::mem::replace(&mut self.specversion, true) {
            return Err(Invalid::twice("specversion"));
        }
        if value == SPECVERSION { Ok(()) } else { Err(Invalid::value("specversion", value, "\"1.0\"")) }
    }

    fn set_extension(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) -> Result<(), Invalid> {
        rules::check_name(&name)?;
        rules::check_text(&name, &value)?;
        if self.extensions.iter().any(|(known, _)| *known == name) {
            return Err(Invalid::twice(&name));
        }
        if self.extensions.len() == ATTRIBUTES_MAX {
            return Err(Invalid::TooMany);
        }
        self.extensions.push((name, value));
        Ok(())
    }

    /// Checks that the attributes which every event must have are there.
    ///
    /// # Errors
    /// [`Invalid::Missing`], with the first that is not.
    pub fn require(&self) -> Result<(), Invalid> {
        if !self.specversion {
            return Err(Invalid::Missing { name: "specversion" });
        }
        let required = [Attribute::Id, Attribute::Source, Attribute::Type];
        match required.into_iter().find(|attribute| self.get(*attribute).is_none()) {
            None => Ok(()),
            Some(attribute) => Err(Invalid::Missing { name: attribute.name() }),
        }
    }

    /// Writes the headers of the log's form (the CloudEvents Kafka binding, binary mode).
    #[inline]
    pub fn write(&self, headers: &mut HeadersBuilder) {
        headers.push(headers::SPECVERSION, SPECVERSION.as_bytes());
        for ((_, _, header), value) in KNOWN.iter().zip(&self.known) {
            if let Some(value) = value {
                headers.push(header, value.as_bytes());
            }
        }
        for (name, value) in &self.extensions {
            headers.push_attribute(name, value.as_bytes());
        }
    }
}

/// One event: its attributes, and its payload as it stood in what it was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// The attributes, checked.
    pub attributes: Attributes<'a>,
    /// The payload; `None` for an event without data.
    pub data: Option<Cow<'a, [u8]>>,
}

impl Event<'_> {
    /// The payload as a slice of `body`, which the event was read from; a copy only where the
    /// payload had to be decoded.
    pub fn payload(&self, body: &Bytes) -> Option<Bytes> {
        let data = self.data.as_deref()?;
        let (outer, inner) = (body.as_ptr_range(), data.as_ptr_range());
        if outer.start <= inner.start && inner.end <= outer.end {
            Some(body.slice_ref(data))
        } else {
            Some(Bytes::copy_from_slice(data))
        }
    }
}

/// An event that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Its id, if that much could be read.
    pub id: Option<Cow<'a, str>>,
    /// The rule that it breaks.
    pub why: Invalid,
}
