//! Sessions: from a start to an end, and the end that a killed process could not send.

use crate::event::Event;
use serde::Serialize;

/// Type of the event that begins a session.
pub const SESSION_START: &str = "session.start";
/// Type of the event that ends one.
pub const SESSION_END: &str = "session.end";

/// A player's id longer than this is not noted down, and missing in a repaired end, in bytes.
const PLAYER_MAX: usize = 300;

/// The payload of `session.end`.
#[derive(Debug, Serialize)]
pub(crate) struct End {
    /// The client made it at the next start, for the process had died.
    pub(crate) repaired: bool,
    /// How long the session was; of a repaired one, as far as is known.
    pub(crate) duration_s: f64,
}

/// What is noted down of a session under way: times in microseconds by the local clock.
pub(crate) fn note(id: &str, player: &str, began_us: i64, last_us: i64) -> String {
    let player = if player.len() <= PLAYER_MAX { player } else { "" };
    format!("{id} {began_us} {last_us} {player}")
}

/// The end of a session that was noted down, and never ended.
pub(crate) fn repaired_end(note: &str) -> Option<Event> {
    let mut parts = note.splitn(4, ' ');
    let (id, began_us, last_us) =
        (parts.next()?, parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let mut event = end(id, parts.next()?, true, last_us.saturating_sub(began_us));
    event.local_us = Some(last_us);
    Some(event)
}

/// The event that ends a session.
pub(crate) fn end(id: &str, player: &str, repaired: bool, duration_us: i64) -> Event {
    #[expect(clippy::cast_precision_loss, reason = "a session of centuries may lose a microsecond")]
    let duration_s = duration_us.max(0) as f64 / 1e6;
    let event = Event::new(SESSION_END).attribute("sessionid", id).data(&End { repaired, duration_s });
    if player.is_empty() { event } else { event.player(player) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_becomes_the_missing_end() {
        let event = repaired_end(&note("s1", "p 1", 1_000_000, 3_500_000)).unwrap();
        assert_eq!((event.get("sessionid"), event.get("playerid")), (Some("s1"), Some("p 1")));
        assert_eq!(event.payload(), Some("{\"repaired\":true,\"duration_s\":2.5}"));
        assert_eq!(event.local_us, Some(3_500_000));
        assert!(repaired_end("nonsense").is_none());
        assert_eq!(repaired_end(&note("s1", &"p".repeat(400), 0, 0)).unwrap().get("playerid"), None);
        assert!(note("0123456789abcdef0123456789abcdef", &"p".repeat(300), i64::MIN, i64::MIN).len() <= 506);
    }
}
