//! The HTTP binding of CloudEvents, binary mode: attributes in `ce-` headers, the body is the payload.

use super::invalid::{Invalid, shorten};
use super::{Attribute, Attributes, Event, Refused};
use std::borrow::Cow;

/// Prefix of a header that carries an attribute; header names come in lower case.
const HEADER_PREFIX: &str = "ce-";

impl<'a> Event<'a> {
    /// Reads one event from the headers and the body of an HTTP message. `headers` may hold any
    /// others too, with names in lower case. An empty body is no payload.
    ///
    /// # Errors
    /// The first rule that the event breaks, and its id if that could be read.
    pub fn from_http(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: &'a [u8],
    ) -> Result<Self, Refused<'a>> {
        let mut attributes = Attributes::default();
        let mut broken = None;
        for (name, value) in headers {
            let set = match name.strip_prefix(HEADER_PREFIX) {
                Some(attribute) => set(&mut attributes, attribute, value),
                None if name == "content-type" => set_content_type(&mut attributes, value),
                None => Ok(()),
            };
            if let Err(why) = set {
                broken.get_or_insert(why);
            }
        }
        match broken.map_or_else(|| attributes.require(), Err) {
            Ok(()) => Ok(Self { attributes, data: (!body.is_empty()).then_some(Cow::Borrowed(body)) }),
            Err(why) => Err(Refused { id: attributes.take(Attribute::Id), why }),
        }
    }
}

fn set<'a>(attributes: &mut Attributes<'a>, name: &'a str, value: &'a [u8]) -> Result<(), Invalid> {
    if matches!(name, "datacontenttype" | "data" | "data_base64") {
        return Err(Invalid::value(name, &String::from_utf8_lossy(value), "no ce- header in binary mode"));
    }
    let text = decode(name, value)?;
    attributes.set(Cow::Borrowed(name), text)
}

fn set_content_type<'a>(attributes: &mut Attributes<'a>, value: &'a [u8]) -> Result<(), Invalid> {
    match std::str::from_utf8(value) {
        Ok(text) => attributes.set_known(Attribute::DataContentType, Cow::Borrowed(text)),
        Err(_) => Err(Invalid::value("datacontenttype", &String::from_utf8_lossy(value), "a media type (RFC 2046)")),
    }
}

/// The attribute's text behind a header's value: a quoted string is unquoted, then percent escapes
/// are decoded (HTTP binding 1.0.2, 3.1.3.2). A percent sign before anything else stands for itself.
fn decode<'a>(name: &str, value: &'a [u8]) -> Result<Cow<'a, str>, Invalid> {
    let unquoted = match value {
        [b'"', inner @ .., b'"'] => unquote(inner),
        _ => Cow::Borrowed(value),
    };
    let decoded = match unquoted {
        Cow::Borrowed(bytes) => unescape(bytes),
        Cow::Owned(bytes) => Cow::Owned(unescape(&bytes).into_owned()),
    };
    let text = match decoded {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    };
    text.ok_or_else(|| Invalid::Value {
        name: shorten(name),
        value: shorten(&String::from_utf8_lossy(value)),
        must: "UTF-8, percent-encoded",
    })
}

fn unquote(inner: &[u8]) -> Cow<'_, [u8]> {
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(byte) = rest.next() {
        bytes.extend(if *byte == b'\\' { rest.next() } else { Some(byte) });
    }
    Cow::Owned(bytes)
}

fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let hex =
        |at: usize| value.get(at).and_then(|digit| char::from(*digit).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4) | low);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(bytes)
}
