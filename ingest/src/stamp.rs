//! What ingest says of an event: when it came, from where, and what time it really was.

use events::clock::Micros;
use events::envelope::time::{self, FORMATTED_LEN};
use events::envelope::{Attribute, Attributes};
use std::borrow::Cow;

/// A client's clock may be off by so much before it is corrected, in µs.
const SKEW_ALLOWED_US: i64 = 60_000_000;
/// An event may be ahead of its arrival by so much, in µs.
const AHEAD_ALLOWED_US: i64 = 300_000_000;

/// What all events of a request have in common.
#[derive(Debug)]
pub(crate) struct Stamp {
    received_us: Micros,
    received_text: [u8; FORMATTED_LEN],
    /// The connection's, as text.
    address: Option<String>,
    /// Whether an event may name its client's address itself.
    is_address_trusted: bool,
    /// The request's own `traceparent`.
    trace_parent: Option<String>,
}

impl Stamp {
    pub(crate) fn new(received_us: Micros, address: Option<std::net::IpAddr>, is_address_trusted: bool) -> Self {
        let address = address.map(|address| address.to_string());
        let received_text = time::format(received_us);
        Self { received_us, received_text, address, is_address_trusted, trace_parent: None }
    }

    /// Of a request that is part of a trace.
    pub(crate) fn within(self, trace_parent: Option<String>) -> Self {
        Self { trace_parent, ..self }
    }

    /// Sets `receivedat` and `clientaddress`, `traceparent` where the event has none, and corrects `time`.
    pub(crate) fn put<'a>(&'a self, attributes: &mut Attributes<'a>) {
        let received = std::str::from_utf8(&self.received_text).unwrap_or_default();
        attributes.put(Attribute::ReceivedAt, Some(Cow::Borrowed(received)));
        if !(self.is_address_trusted && attributes.get(Attribute::ClientAddress).is_some()) {
            attributes.put(Attribute::ClientAddress, self.address.as_deref().map(Cow::Borrowed));
        }
        if self.trace_parent.is_some() && attributes.get(Attribute::TraceParent).is_none() {
            attributes.put(Attribute::TraceParent, self.trace_parent.as_deref().map(Cow::Borrowed));
        }
        let Some(original_us) = attributes.get(Attribute::Time).and_then(time::parse) else {
            // `time` is optional, and a row without one would be outside of every question by time.
            attributes.put(Attribute::Time, Some(Cow::Borrowed(received)));
            return;
        };
        let sent_us = attributes.get(Attribute::SentAt).and_then(time::parse);
        let corrected_us = corrected(original_us, sent_us, self.received_us);
        if corrected_us != original_us {
            let original = attributes.take(Attribute::Time);
            attributes.put(Attribute::OriginalTime, original);
            let text = if corrected_us == self.received_us {
                Cow::Borrowed(received)
            } else {
                Cow::Owned(String::from_utf8_lossy(&time::format(corrected_us)).into_owned())
            };
            attributes.put(Attribute::Time, Some(text));
        }
    }
}

/// The contract's clock rule: skew past 60 s is added to `time`; then a time over 5 minutes ahead of
/// its arrival becomes the arrival's.
fn corrected(time_us: Micros, sent_us: Option<Micros>, received_us: Micros) -> Micros {
    let skew = sent_us.map_or(0, |sent| received_us.saturating_sub(sent));
    let shifted = if skew.abs() > SKEW_ALLOWED_US { time_us.saturating_add(skew) } else { time_us };
    if shifted.saturating_sub(received_us) > AHEAD_ALLOWED_US { received_us } else { shifted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn the_clock_is_corrected_past_a_minute_of_skew_and_clamped_past_five_ahead() {
        let received = 1_000_000 * S;
        for (time, sent, expected) in [
            (received - 5 * S, None, received - 5 * S),
            (received + 300 * S, None, received + 300 * S),
            (received + 300 * S + 1, None, received),
            (received - 5 * S, Some(received - 60 * S), received - 5 * S),
            (received - 65 * S, Some(received - 60 * S - 1), received - 5 * S + 1),
            (received + 60 * S, Some(received + 60 * S), received + 60 * S),
            (received + 3_595 * S, Some(received + 3_600 * S), received - 5 * S),
            (received + 4_000 * S, Some(received + 3_600 * S), received),
            (0, Some(received), 0),
            (time::LATEST_US, Some(time::EARLIEST_US), received),
        ] {
            assert_eq!(corrected(time, sent, received), expected, "{time} {sent:?}");
        }
    }
}
