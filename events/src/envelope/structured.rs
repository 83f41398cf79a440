//! The JSON format of CloudEvents: one event, or an array of them.

use super::invalid::{Invalid, shorten};
use super::json::{Broken, Kind, Scanner, Value};
use super::{Attribute, Attributes, Event, Refused, rules};
use crate::limits::JSON_DEPTH_MAX;
use base64::Engine as _;
use std::borrow::Cow;

/// The media type of `data` that says nothing of its own.
const JSON: &str = "application/json";

impl<'a> Event<'a> {
    /// Reads one event from its JSON text.
    ///
    /// # Errors
    /// The first rule that the event breaks, and its id if that could be read.
    pub fn from_json(text: &'a str) -> Result<Self, Refused<'a>> {
        let mut scanner = Scanner::new(text);
        let mut reader = Reader::default();
        match reader.read(&mut scanner).and_then(|()| scanner.end()) {
            Ok(()) => reader.finish(),
            Err(broken) => Err(reader.refuse(broken.into())),
        }
    }

    /// Reads one event from bytes that may be no UTF-8.
    ///
    /// # Errors
    /// As [`Self::from_json`], or [`Invalid::Utf8`].
    pub fn from_json_bytes(bytes: &'a [u8]) -> Result<Self, Refused<'a>> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Refused { id: None, why: Invalid::Utf8 { at: error.valid_up_to() } })?;
        Self::from_json(text)
    }
}

/// Reads a JSON array of events, and calls `each` with what became of every one, in order.
///
/// # Errors
/// If the whole is no JSON array: then no event of it can be told from the next. `each` may have
/// been called before.
pub fn batch<'a>(text: &'a str, mut each: impl FnMut(Result<Event<'a>, Refused<'a>>)) -> Result<(), Invalid> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'[', "'[', the start of a batch")?;
    if !scanner.take(b']') {
        loop {
            let mut reader = Reader::default();
            reader.read(&mut scanner)?;
            each(reader.finish());
            if !scanner.take(b',') {
                scanner.expect(b']', "',' or ']'")?;
                break;
            }
        }
    }
    Ok(scanner.end()?)
}

/// One event in the reading. It goes on past the first broken rule, to find the event's id and end.
#[derive(Default)]
struct Reader<'a> {
    attributes: Attributes<'a>,
    data: Option<Value<'a>>,
    base64: Option<Value<'a>>,
    broken: Option<Invalid>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Broken> {
        if scanner.peek() != Some(b'{') {
            let found = scanner.value()?.kind.word();
            self.broken = Some(Invalid::NotAnObject { found });
            return Ok(());
        }
        scanner.expect(b'{', "'{'")?;
        if scanner.take(b'}') {
            return Ok(());
        }
        loop {
            let name = scanner.string("a member's name")?;
            scanner.expect(b':', "':'")?;
            let value = scanner.value()?;
            let member = match name.decode() {
                Some(name) => self.member(name, value),
                None => Err(Invalid::Name { name: shorten(name.raw) }),
            };
            if let Err(why) = member {
                self.broken.get_or_insert(why);
            }
            if !scanner.take(b',') {
                return scanner.expect(b'}', "',' or '}'");
            }
        }
    }

    #[inline]
    fn member(&mut self, name: Cow<'a, str>, value: Value<'a>) -> Result<(), Invalid> {
        let payload = match name.as_ref() {
            "data" => &mut self.data,
            "data_base64" => &mut self.base64,
            _ => {
                let Some(text) = attribute_text(&name, value)? else { return Ok(()) };
                return self.attributes.set(name, text);
            }
        };
        match payload.replace(value) {
            None => Ok(()),
            Some(_) => Err(Invalid::twice(&name)),
        }
    }

    fn refuse(mut self, why: Invalid) -> Refused<'a> {
        Refused { id: self.attributes.take(Attribute::Id), why }
    }

    fn finish(mut self) -> Result<Event<'a>, Refused<'a>> {
        if let Some(why) = self.broken.take() {
            return Err(self.refuse(why));
        }
        match self.attributes.require().and_then(|()| self.payload()) {
            Ok(data) => Ok(Event { attributes: self.attributes, data }),
            Err(why) => Err(self.refuse(why)),
        }
    }

    fn payload(&mut self) -> Result<Option<Cow<'a, [u8]>>, Invalid> {
        let present = |value: Option<Value<'a>>| value.filter(|value| value.kind != Kind::Null);
        match (present(self.data), present(self.base64)) {
            (Some(_), Some(_)) => Err(Invalid::TwoPayloads),
            (None, None) => Ok(None),
            (None, Some(value)) => decode_base64(value).map(|bytes| Some(Cow::Owned(bytes))),
            (Some(value), None) => {
                if value.depth > JSON_DEPTH_MAX {
                    return Err(Invalid::TooDeep { depth: value.depth });
                }
                let media_type = self.attributes.get(Attribute::DataContentType);
                if media_type.is_none() {
                    self.attributes.put(Attribute::DataContentType, Some(Cow::Borrowed(JSON)));
                } else if let Some(text) = value.as_text()
                    && !media_type.is_none_or(rules::is_json)
                {
                    return match text.decode().ok_or(Invalid::Surrogate)? {
                        Cow::Borrowed(content) => Ok(Some(Cow::Borrowed(content.as_bytes()))),
                        Cow::Owned(content) => Ok(Some(Cow::Owned(content.into_bytes()))),
                    };
                }
                Ok(Some(Cow::Borrowed(value.text.as_bytes())))
            }
        }
    }
}

/// The canonical text of an attribute's JSON value; `None` for null.
#[inline]
fn attribute_text<'a>(name: &str, value: Value<'a>) -> Result<Option<Cow<'a, str>>, Invalid> {
    let wrong = |must| Invalid::WrongType { name: shorten(name), found: value.kind.word(), must };
    match value.kind {
        Kind::Null => Ok(None),
        Kind::String => {
            let text = value.as_text().and_then(super::json::Text::decode);
            text.map(Some).ok_or_else(|| Invalid::value(name, value.text, "free of half surrogate pairs"))
        }
        Kind::Object | Kind::Array => Err(wrong("a string, a boolean or an integer")),
        Kind::Boolean | Kind::Number => {
            let text_only = name == "specversion"
                || Attribute::from_name(name).is_some_and(|known| known.is_core() || known.is_time());
            if text_only {
                return Err(wrong("a string"));
            }
            if value.kind == Kind::Boolean {
                return Ok(Some(Cow::Borrowed(value.text)));
            }
            match value.text {
                "-0" => Ok(Some(Cow::Borrowed("0"))),
                text if text.parse::<i32>().is_ok() => Ok(Some(Cow::Borrowed(text))),
                text => Err(Invalid::value(name, text, "a string, a boolean or an integer of 32 bits")),
            }
        }
    }
}

fn decode_base64(value: Value<'_>) -> Result<Vec<u8>, Invalid> {
    let text = value.as_text().ok_or(Invalid::WrongType {
        name: "data_base64".into(),
        found: value.kind.word(),
        must: "a string",
    })?;
    let text = text.decode().ok_or(Invalid::Surrogate)?;
    base64::engine::general_purpose::STANDARD
        .decode(text.as_bytes())
        .map_err(|error| Invalid::Base64 { why: error.to_string().to_lowercase() })
}
