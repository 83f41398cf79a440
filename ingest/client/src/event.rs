//! What a game says happened.

use serde::Serialize;
use std::borrow::Cow;

/// Type of the event by which a client tells what it lost.
pub const LOSS_TYPE: &str = "client.loss";

/// Attributes that the client writes itself.
const OWN: [&str; 9] =
    ["specversion", "id", "source", "type", "time", "sentat", "datacontenttype", "data", "sampledrate"];

/// Memory that an event takes beside its text, about, in bytes.
const OVERHEAD: usize = 192;

/// One event: a type, attributes that say of whom it is, and a payload.
///
/// ```
/// use killfeed_client::Event;
/// let event = Event::new("chat.message").player("p1").game("g1").data(&[("text", "gg")]);
/// assert_eq!(event.event_type(), "chat.message");
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) event_type: Cow<'static, str>,
    pub(crate) attributes: Vec<(Cow<'static, str>, String)>,
    pub(crate) data: Option<String>,
    pub(crate) broken: bool,
    /// When it happened, if that is not when it was sent: by the local clock, in microseconds since 1970.
    pub(crate) local_us: Option<i64>,
}

impl Event {
    /// An event of this type (`chat.message`), with no payload yet.
    pub fn new(event_type: impl Into<Cow<'static, str>>) -> Self {
        Self {
            event_type: event_type.into(),
            attributes: Vec::with_capacity(4),
            data: None,
            broken: false,
            local_us: None,
        }
    }

    /// The player it is about: `playerid`. Events of a player without a game keep their order.
    #[must_use]
    pub fn player(self, id: impl Into<String>) -> Self {
        self.attribute("playerid", id)
    }

    /// The game (match) it happened in: `gameid`. Events of a game keep their order.
    #[must_use]
    pub fn game(self, id: impl Into<String>) -> Self {
        self.attribute("gameid", id)
    }

    /// Any other attribute of CloudEvents or an extension: a name of `a-z0-9`, at most 64 characters,
    /// and a value of 1 to 2,048 bytes. The last value of a name stands.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((name, value)),
        }
        self
    }

    /// The payload: anything that serialises to JSON. If it can't be serialised, the event is lost
    /// as `refused` when it is sent, and counted.
    #[must_use]
    pub fn data(mut self, data: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_string(data) {
            Ok(json) => self.data = Some(json),
            Err(_) => self.broken = true,
        }
        self
    }

    /// The payload as JSON text, which is checked, and sent as it stands.
    #[must_use]
    pub fn json(mut self, json: impl Into<String>) -> Self {
        let mut json = json.into();
        self.broken |= serde_json::from_str::<serde::de::IgnoredAny>(&json).is_err();
        if json.contains(['\n', '\r']) {
            // Between values only, for inside a string they are escaped: and a line is an event.
            json = json.replace(['\n', '\r'], " ");
        }
        self.data = Some(json);
        self
    }

    /// Its type.
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The value of an attribute that was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The payload as JSON text.
    pub fn payload(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// Whether it can be sent at all.
    pub(crate) fn is_sound(&self) -> bool {
        !self.broken && !self.event_type.is_empty() && !self.attributes.iter().any(|(name, _)| OWN.contains(&&**name))
    }

    /// Memory that it takes, about, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        OVERHEAD + self.event_type.len() + attributes + self.data.as_ref().map_or(0, String::len)
    }

    /// Bytes that its line in a request has at least.
    pub(crate) fn least_bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.event_type.len() + attributes + self.data.as_ref().map_or(0, String::len)
    }
}

/// What every event gets unless it has its own: see [`Client::set_attribute`](crate::Client::set_attribute).
#[derive(Debug, Clone, Default)]
pub(crate) struct Common {
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) data: serde_json::Map<String, serde_json::Value>,
}

impl Common {
    /// Sets an attribute, or takes it away.
    pub(crate) fn attribute(&mut self, name: &str, value: Option<String>) {
        self.attributes.retain(|(known, _)| known != name);
        if let Some(value) = value {
            self.attributes.push((name.to_owned(), value));
        }
    }

    /// Bytes that it adds to a line at most.
    pub(crate) fn bytes(&self) -> usize {
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
        let data: usize = self.data.iter().map(|(name, value)| name.len() + value.to_string().len() + 4).sum();
        attributes + data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_line_of_json() {
        let event = Event::new("a").json("{\n \"b\":\r\n\"c\\n\"}");
        assert!(event.is_sound());
        assert_eq!(event.payload(), Some("{  \"b\":  \"c\\n\"}"));
        assert!(!Event::new("a").json("{").is_sound());
    }

    #[test]
    fn the_envelope_is_the_clients_own() {
        assert!(!Event::new("a").attribute("id", "mine").is_sound());
        assert!(!Event::new("").is_sound());
        let event = Event::new("a").player("p").player("q");
        assert_eq!(event.get("playerid"), Some("q"));
        assert_eq!(event.attributes.len(), 1);
    }
}
