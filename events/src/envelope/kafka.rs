//! The Kafka binding of CloudEvents, binary mode: the form in which events lie in the log.

use super::invalid::Invalid;
use super::{Attribute, Attributes, Event};
use crate::headers::{CE_PREFIX, CONTENT_TYPE, Headers};
use std::borrow::Cow;

impl<'a> Event<'a> {
    /// Reads the event of a record. What killfeed sets itself (`receivedat` and its like) is welcome
    /// here; headers that are no attributes are passed over.
    ///
    /// # Errors
    /// The first rule that the record breaks: somebody else wrote to the topic.
    pub fn from_headers(headers: &'a Headers, payload: Option<&'a [u8]>) -> Result<Self, Invalid> {
        let mut attributes = Attributes::default();
        for (name, value) in headers.iter() {
            let (name, known) = match std::str::from_utf8(name) {
                Ok(CONTENT_TYPE) => ("datacontenttype", Some(Attribute::DataContentType)),
                Ok(name) => match name.strip_prefix(CE_PREFIX) {
                    Some(name) => (name, Attribute::from_name(name)),
                    None => continue,
                },
                Err(_) => continue,
            };
            let value = std::str::from_utf8(value)
                .map_err(|_| Invalid::value(name, &String::from_utf8_lossy(value), "UTF-8"))?;
            match known {
                Some(attribute) => attributes.set_known(attribute, Cow::Borrowed(value))?,
                None => attributes.set(Cow::Borrowed(name), Cow::Borrowed(value))?,
            }
        }
        attributes.require()?;
        Ok(Self { attributes, data: payload.map(Cow::Borrowed) })
    }
}
