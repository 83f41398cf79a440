//! What clients sent, and what they were answered.

use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A game's events, numbered from 0 in the order in which they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Game {
    pub(crate) name: String,
    /// So many were sent at least once.
    pub(crate) sent: u32,
    /// So many were acknowledged, without a gap: a client never passes over one.
    pub(crate) acknowledged: u32,
}

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// Every event acknowledged.
    Accepted,
    /// Some or all to be sent again, none of them kept.
    Refused,
    /// Some or all in doubt: kept or not.
    InDoubt,
    /// No connection, or it broke before the answer.
    Broken,
    /// No answer in time.
    Late,
}

impl Answer {
    pub(crate) const ALL: [Self; 5] = [Self::Accepted, Self::Refused, Self::InDoubt, Self::Broken, Self::Late];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "202",
            Self::Refused => "503",
            Self::InDoubt => "503, in doubt",
            Self::Broken => "broken connection",
            Self::Late => "no answer in time",
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note {
    /// When it was answered.
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    pub(crate) answer: Answer,
    /// Events that were acknowledged, repeated ones included.
    pub(crate) acknowledged: u32,
}

/// All that clients know when they are done.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) games: Vec<Game>,
    pub(crate) notes: Vec<Note>,
    /// Acknowledgements of events that had been acknowledged before: sent twice on purpose.
    pub(crate) repeated: u64,
    /// What no answer may do: refuse an event for good, or take one behind a refused one of its game.
    pub(crate) wrongs: Vec<String>,
}

impl Books {
    /// Takes the books of others over.
    pub(crate) fn add(&mut self, other: Self) {
        self.games.extend(other.games);
        self.notes.extend(other.notes);
        self.repeated += other.repeated;
        self.wrongs.extend(other.wrongs);
    }

    /// Different events that were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.games.iter().map(|game| u64::from(game.acknowledged)).sum()
    }

    /// Different events that were sent, and never acknowledged.
    pub(crate) fn in_doubt(&self) -> u64 {
        self.games.iter().map(|game| u64::from(game.sent - game.acknowledged)).sum()
    }

    /// The first answer of this kind since then, as time passed.
    pub(crate) fn first(&self, since: Instant, is_it: impl Fn(&Note) -> bool) -> Option<Duration> {
        let found = self.notes.iter().filter(|note| note.at >= since && is_it(note)).map(|note| note.at).min();
        found.map(|at| at - since)
    }

    /// Writes the games down, for the reader that holds tables against them: `game,sent,acknowledged`.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = String::from("game,sent,acknowledged\n");
        for game in &self.games {
            let _ = writeln!(text, "{},{},{}", game.name, game.sent, game.acknowledged);
        }
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }
}
