//! The lines in the order in which they are sent, with all that goes wrong on the way.
//!
//! An event is late, or it goes out at once. When it has gone out, and only then, it may be sent
//! again, or contradicted: so the original is always the first of its kind, and the first wins.
//! Events of a game keep their order, but for the late ones.

use crate::event::Event;
use crate::options::Options;
use crate::plan::Planner;
use crate::truth::{Tally, Truth};
use crate::{Error, malformed, render};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};

/// The dice of disorder roll apart from those of the games, so that the same games happen at
/// whatever rates.
const STREAM: u64 = u64::MAX;
/// A resend or a contradiction follows its original after this many lines at the most.
const RESEND_LINES_MAX: u64 = 2_000;
/// A late event is held back for this many lines: half an hour to days of games.
const LATE_LINES: std::ops::Range<u64> = 4_000..20_000;

/// A line that waits for its turn.
#[derive(Debug)]
enum Waiting {
    /// An original; sent, it may be followed by others.
    Original(Box<Event>),
    /// A resend or a contradiction.
    Line(Vec<u8>),
}

/// The stream of lines: NDJSON CloudEvents, each without its line feed.
///
/// It is an iterator that makes the lines as they are asked for; [`Self::truth`] says what must
/// come of all of them.
#[derive(Debug)]
pub struct Generator {
    options: Options,
    planner: Planner,
    random: ChaCha8Rng,
    tally: Tally,
    /// Events of the game at hand that are not sent yet.
    game: VecDeque<Event>,
    /// Lines by the number of the line that they follow, then by arrival.
    waiting: BTreeMap<(u64, u64), Waiting>,
    sent: u64,
    held: u64,
}

impl Generator {
    /// A stream by these options.
    ///
    /// # Errors
    /// [`Error::Rate`] or [`Error::Games`] if an option is out of its bounds.
    pub fn new(options: Options) -> Result<Self, Error> {
        options.check()?;
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        random.set_stream(STREAM);
        Ok(Self {
            planner: Planner::new(options.clone()),
            options,
            random,
            tally: Tally::default(),
            game: VecDeque::new(),
            waiting: BTreeMap::new(),
            sent: 0,
            held: 0,
        })
    }

    /// What the reports, the tables and the counts must say once every line was sent. Lines that
    /// nobody asked for yet are made and thrown away.
    pub fn truth(mut self) -> Truth {
        while self.next().is_some() {}
        self.tally.truth()
    }

    fn hold(&mut self, lines: u64, waiting: Waiting) {
        self.waiting.insert((self.sent + lines, self.held), waiting);
        self.held += 1;
    }

    /// The next event in the order of time, from this game or the next.
    fn next_event(&mut self) -> Option<Event> {
        while self.game.is_empty() {
            let game = self.planner.next_game()?;
            self.tally.game(&game, &self.planner.pool);
            self.game.extend(render::events(&game, &self.planner.pool));
        }
        self.game.pop_front()
    }

    /// What waits and whose turn it is; with `all`, whatever waits.
    fn next_waiting(&mut self, all: bool) -> Option<Waiting> {
        let entry = self.waiting.first_entry()?;
        let (due, _) = *entry.key();
        (all || due <= self.sent).then(|| entry.remove())
    }

    /// An original goes out: what will follow it is decided here.
    fn send(&mut self, event: &Event) -> Vec<u8> {
        let line = event.line();
        if self.random.random_bool(self.options.duplicates) {
            self.tally.duplicates += 1;
            let after = self.random.random_range(1..RESEND_LINES_MAX);
            self.hold(after, Waiting::Line(line.clone()));
        }
        if self.random.random_bool(self.options.conflicts) {
            self.tally.conflicts += 1;
            let after = self.random.random_range(1..RESEND_LINES_MAX);
            self.hold(after, Waiting::Line(event.contradiction().line()));
        }
        if self.random.random_bool(self.options.malformed) {
            let broken = malformed::line(event, self.tally.refused == 0, &mut self.random);
            self.tally.refused += 1;
            self.hold(0, Waiting::Line(broken));
        }
        line
    }
}

impl Iterator for Generator {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let waiting = self.next_waiting(false);
            let event = match waiting {
                Some(Waiting::Line(line)) => {
                    self.sent += 1;
                    return Some(line);
                }
                Some(Waiting::Original(event)) => *event,
                None => match self.next_event() {
                    Some(event) if self.random.random_bool(self.options.late) => {
                        let lines = self.random.random_range(LATE_LINES);
                        self.hold(lines, Waiting::Original(Box::new(event)));
                        continue;
                    }
                    Some(event) => event,
                    None => match self.next_waiting(true)? {
                        Waiting::Line(line) => {
                            self.sent += 1;
                            return Some(line);
                        }
                        Waiting::Original(event) => *event,
                    },
                },
            };
            self.sent += 1;
            return Some(self.send(&event));
        }
    }
}
