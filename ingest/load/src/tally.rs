//! Counts and histograms of one stage.

use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest that a histogram tells from longer, in microseconds: a minute.
const MICROS_MAX: u64 = 60_000_000;
/// Decimal digits that a histogram keeps of each value.
const DIGITS: u8 = 3;

/// Durations from 1 µs to 60 s, to three digits; what is longer counts as 60 s.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Default for Histogram {
    #[expect(clippy::expect_used, reason = "the bounds are constants, and right")]
    fn default() -> Self {
        let made = hdrhistogram::Histogram::new_with_bounds(1, MICROS_MAX, DIGITS);
        Self(made.expect("bounds of a histogram"))
    }
}

impl Histogram {
    /// Takes in a duration.
    pub fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros.clamp(1, MICROS_MAX));
    }

    /// The duration that this share (0 to 1) stayed within, in milliseconds; 0 of nothing.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        millis(if self.is_empty() { 0 } else { self.0.value_at_quantile(share) })
    }

    /// The longest, in milliseconds; 0 of nothing.
    pub fn max_ms(&self) -> f64 {
        millis(if self.is_empty() { 0 } else { self.0.max() })
    }

    /// How many were taken in.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in all that another has.
    ///
    /// # Errors
    /// A sentence, if a count becomes larger than 64 bits hold.
    pub fn add(&mut self, other: &Self) -> Result<(), String> {
        self.0.add(&other.0).map_err(|error| error.to_string())
    }

    /// As HdrHistogram's V2 with compression.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Fails only if the writer does, or past counts that memory could hold: a reader finds nothing then, and says so.
        if V2DeflateSerializer::new().serialize(&self.0, &mut bytes).is_err() {
            bytes.clear();
        }
        bytes
    }

    /// The histogram that was encoded, by us: one with other bounds would not merge without loss.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let read: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut rest).map_err(|error| format!("is broken: {error:?}"))?;
        if !rest.is_empty() {
            return Err(format!("is broken: {} bytes stand behind it", rest.len()));
        }
        let bounds = (read.low(), read.high(), read.sigfig());
        if bounds != (1, MICROS_MAX, DIGITS) {
            return Err(format!("has other bounds: {} to {} µs to {} digits", bounds.0, bounds.1, bounds.2));
        }
        Ok(Self(read))
    }
}

fn millis(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most a minute")]
    let micros = micros as f64;
    micros / 1_000.0
}

/// What became of the events of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OfType {
    pub(crate) taken: u64,
    pub(crate) unknown: u64,
}

/// One stage: what was measured, and what became of its events.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// From when it was due.
    pub(crate) from_due: Histogram,
    /// From when it was sent.
    pub(crate) from_send: Histogram,
    /// Requests that had an answer, or are known to get none.
    pub(crate) requests: u64,
    /// Of the requests that were due, those that are done with: answered, or failed.
    pub(crate) first: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) refused: u64,
    /// Never delivered and never refused, by reason.
    pub(crate) lost: BTreeMap<String, u64>,
    /// Times that an event went again.
    pub(crate) resent: u64,
    /// Events taken that may have been taken before, unknown to us.
    pub(crate) repeated: u64,
    pub(crate) body_bytes: u64,
    pub(crate) types: BTreeMap<String, OfType>,
}

impl Tally {
    /// Events that the server took.
    pub(crate) fn taken(&self) -> u64 {
        self.types.values().map(|of_type| of_type.taken).sum()
    }

    /// Events in doubt: sent, and never answered.
    pub(crate) fn unknown(&self) -> u64 {
        self.types.values().map(|of_type| of_type.unknown).sum()
    }

    pub(crate) fn of_type(&mut self, event_type: &str) -> &mut OfType {
        if !self.types.contains_key(event_type) {
            self.types.insert(event_type.to_owned(), OfType::default());
        }
        self.types.entry(event_type.to_owned()).or_default()
    }

    pub(crate) fn lose(&mut self, reason: &str) {
        *self.lost.entry(reason.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_together_are_the_whole(parts in proptest::collection::vec(proptest::collection::vec(0..90_000_000_u64, 0..60), 1..6)) {
            let (mut whole, mut together) = (Histogram::default(), Histogram::default());
            for part in &parts {
                let mut histogram = Histogram::default();
                for micros in part {
                    histogram.record(Duration::from_micros(*micros));
                    whole.record(Duration::from_micros(*micros));
                }
                together.add(&Histogram::decode(&histogram.encode()).unwrap()).unwrap();
            }
            prop_assert_eq!(&together, &whole);
            prop_assert_eq!(together.quantile_ms(0.99), whole.quantile_ms(0.99));
        }

        #[test]
        fn whatever_is_broken_is_an_error_and_no_panic(at in 0..60_usize, bit in 0..8_u8) {
            let mut histogram = Histogram::default();
            for micros in 1..2_000 {
                histogram.record(Duration::from_micros(micros * micros));
            }
            let mut bytes = histogram.encode();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            // A bit in a place that means nothing may pass; then nothing has changed.
            if let Ok(read) = Histogram::decode(&bytes) {
                prop_assert_eq!(read, histogram);
            }
        }
    }

    #[test]
    fn values_keep_three_digits_and_stop_at_a_minute() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile_ms(0.5), histogram.max_ms()), (0.0, 0.0));
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_micros(123_456));
        histogram.record(Duration::from_secs(3_600));
        assert!((histogram.quantile_ms(0.5) / 123.456 - 1.0).abs() < 0.001);
        assert!((histogram.max_ms() / 60_000.0 - 1.0).abs() < 0.001);
        let foreign = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000, 2).unwrap();
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&foreign, &mut bytes).unwrap();
        assert_eq!(Histogram::decode(&bytes).unwrap_err(), "has other bounds: 1 to 1000 µs to 2 digits");
        assert!(Histogram::decode(b"").is_err() && Histogram::decode(b"nonsense, and more of it").is_err());
    }
}
