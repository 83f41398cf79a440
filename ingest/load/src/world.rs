//! Players, and what they do: a state machine in virtual time, without threads and without a clock.
//!
//! ```text
//! away ── session.start ──▶ lobby ── queue.join ──▶ queued ── ten are there ──▶ playing ── game over ──▶ lobby
//!   ▲                         │                                                   │ client.crash
//!   └────── session.end ──────┘                        back with a new session ◀──┘ (no session.end)
//! ```

use crate::playbook::{Line, PLAYERS, Playbook};
use killfeed_client::{Event, Random as _, SESSION_END, SESSION_START, Seeded};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

/// Accounts per hundred players online: the others have logged out, and come back later.
const ACCOUNTS_PERCENT: usize = 110;
const LOBBY_CHAT: [&str; 6] =
    ["hi all", "anyone up for ranked?", "lfg, need a support", "brb", "one more?", "gg last one"];

/// Who plays.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Players online at the same time, once all have arrived.
    pub players: usize,
    /// They arrive evenly over this time.
    pub ramp: Duration,
    /// Game time runs so many times as fast as the clock; 1 or more.
    pub speed: u32,
    /// The same seed gives the same players and games.
    pub seed: u64,
    /// Begins the ids of players and games: another one for each run, or the server takes the second for a repetition of the first.
    pub run: String,
}

/// Something that a player or a game server did: one event.
#[derive(Debug)]
pub struct Deed {
    /// When, since the begin of the world, by the clock.
    pub at: Duration,
    /// What the server keeps in order: the game's id, or the player's outside of one.
    pub key: String,
    /// What is to be sent.
    pub event: Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Lobby,
    Queued,
    Playing,
    /// In a match, and out of it, for the client has crashed.
    Crashed,
}

#[derive(Debug)]
struct Player {
    id: String,
    state: State,
    sessions: u32,
    since: Duration,
}

#[derive(Debug)]
struct Match {
    id: String,
    began: Duration,
    players: Vec<usize>,
    lines: VecDeque<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    LogIn(usize),
    Queue(usize),
    Chat(usize),
    LogOut(usize),
    /// The client has been started again.
    Return(usize),
    /// The next line of a match.
    Step(u64),
}

/// All players and matches.
#[derive(Debug)]
pub struct World {
    options: WorldOptions,
    random: Seeded,
    book: Playbook,
    players: Vec<Player>,
    /// Accounts that nobody plays with; who is away longest comes first.
    away: VecDeque<usize>,
    queued: VecDeque<usize>,
    matches: BTreeMap<u64, Match>,
    begun: u64,
    agenda: BinaryHeap<Reverse<(Duration, u64, Next)>>,
    entered: u64,
    done: VecDeque<Deed>,
}

impl World {
    /// A world at its begin: nobody is online.
    pub fn new(options: WorldOptions) -> Self {
        let accounts = (options.players * ACCOUNTS_PERCENT).div_ceil(100);
        let player = |n: usize| Player {
            id: format!("{}-p{n}", options.run),
            state: State::Away,
            sessions: 0,
            since: Duration::ZERO,
        };
        let mut world = Self {
            random: Seeded::new(options.seed),
            book: Playbook::new(options.seed),
            players: (0..accounts).map(player).collect(),
            away: (options.players..accounts).collect(),
            queued: VecDeque::new(),
            matches: BTreeMap::new(),
            begun: 0,
            agenda: BinaryHeap::new(),
            entered: 0,
            done: VecDeque::new(),
            options,
        };
        for n in 0..world.options.players {
            let share = u32::try_from(n).unwrap_or(u32::MAX);
            let all = u32::try_from(world.options.players).unwrap_or(u32::MAX).max(1);
            world.enter(world.options.ramp / all * share, Next::LogIn(n));
        }
        world
    }

    /// When something happens next, of which there may be nothing to tell; `None`: never, for there are no players.
    pub fn next_at(&self) -> Option<Duration> {
        let done = self.done.front().map(|deed| deed.at);
        done.or_else(|| self.agenda.peek().map(|Reverse((at, ..))| *at))
    }

    /// The next deed, whenever it comes.
    pub fn next_deed(&mut self) -> Option<Deed> {
        self.next_deed_by(Duration::MAX)
    }

    /// The next deed that comes no later than `until`: what happens without a deed doesn't bring later ones forward.
    pub fn next_deed_by(&mut self, until: Duration) -> Option<Deed> {
        while self.done.is_empty() {
            let due = self.agenda.peek_mut().filter(|happening| happening.0.0 <= until)?;
            let Reverse((at, _, next)) = PeekMut::pop(due);
            self.happen(at, next);
        }
        self.done.pop_front()
    }

    /// Players who are online now.
    pub fn online(&self) -> usize {
        self.players.iter().filter(|player| !matches!(player.state, State::Away | State::Crashed)).count()
    }

    /// Matches that have begun.
    pub fn matches(&self) -> u64 {
        self.begun
    }

    /// The end of the world: everybody leaves, from whatever they do.
    pub fn end(&mut self, at: Duration) {
        self.agenda.clear();
        self.queued.clear();
        self.matches.clear();
        for n in 0..self.players.len() {
            if !matches!(self.players[n].state, State::Away | State::Crashed) {
                self.log_out(at, n);
            }
        }
    }

    fn enter(&mut self, at: Duration, next: Next) {
        self.entered += 1;
        self.agenda.push(Reverse((at, self.entered, next)));
    }

    /// From now, between these two in seconds of game time.
    fn soon(&mut self, now: Duration, from_s: u64, to_s: u64) -> Duration {
        let more = self.random.up_to(Duration::from_secs(to_s - from_s));
        now + (Duration::from_secs(from_s) + more) / self.options.speed
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.next().is_multiple_of(n)
    }

    fn happen(&mut self, at: Duration, next: Next) {
        match next {
            Next::LogIn(n) => {
                self.log_in(at, n);
                let queue_at = self.soon(at, 3, 20);
                self.enter(queue_at, Next::Queue(n));
            }
            Next::Queue(n) => self.queue(at, n),
            Next::Chat(n) => {
                let place = usize::try_from(self.random.next() % LOBBY_CHAT.len() as u64).unwrap_or(0);
                let data = json!({"channel": "lobby", "text": LOBBY_CHAT[place], "game_time_s": 0.0});
                self.by_player(at, n, Event::new("chat.message").data(&data));
            }
            Next::LogOut(n) => {
                self.log_out(at, n);
                self.away.push_back(n);
                // Somebody else comes, so that as many are online as before.
                if let Some(other) = self.away.pop_front() {
                    self.enter(at, Next::LogIn(other));
                }
            }
            Next::Return(n) if self.players[n].state == State::Crashed => self.come_back(at, n),
            Next::Return(_) => {}
            Next::Step(number) => self.step(at, number),
        }
    }

    fn log_in(&mut self, at: Duration, n: usize) {
        let player = &mut self.players[n];
        player.state = State::Lobby;
        player.sessions += 1;
        player.since = at;
        self.by_player(at, n, Event::new(SESSION_START));
    }

    fn log_out(&mut self, at: Duration, n: usize) {
        let lasted = at.saturating_sub(self.players[n].since).as_secs_f64();
        self.by_player(at, n, Event::new(SESSION_END).data(&json!({"repaired": false, "duration_s": lasted})));
        self.players[n].state = State::Away;
    }

    fn come_back(&mut self, at: Duration, n: usize) {
        self.log_in(at, n);
        self.players[n].state = State::Playing;
    }

    fn queue(&mut self, at: Duration, n: usize) {
        self.by_player(at, n, Event::new("queue.join").data(&json!({"queue": "ranked", "waiting": self.queued.len()})));
        self.players[n].state = State::Queued;
        self.queued.push_back(n);
        if self.queued.len() >= PLAYERS {
            let players: Vec<usize> = self.queued.drain(..PLAYERS).collect();
            self.begin(at, players);
        }
    }

    fn begin(&mut self, at: Duration, players: Vec<usize>) {
        for &n in &players {
            self.players[n].state = State::Playing;
        }
        let number = self.begun;
        self.begun += 1;
        let names: Vec<String> = players.iter().map(|&n| self.players[n].id.clone()).collect();
        let lines = self.book.next_match(&names, number).into();
        let id = format!("{}-g{number}", self.options.run);
        self.matches.insert(number, Match { id, began: at, players, lines });
        self.enter(at, Next::Step(number));
    }

    /// A line of a match comes to pass, and the next is entered.
    fn step(&mut self, at: Duration, number: u64) {
        let speed = self.options.speed;
        let Some(game) = self.matches.get_mut(&number) else { return };
        let line = game.lines.pop_front();
        let next_at = game.lines.front().map(|next| game.began + next.at / speed);
        let actor = line.as_ref().and_then(|line| line.slot).and_then(|slot| game.players.get(slot).copied());
        let id = game.id.clone();
        if let Some(line) = line {
            // Who is to act has come back before.
            if let Some(n) = actor
                && self.players[n].state == State::Crashed
            {
                self.come_back(at, n);
            }
            let crashed = line.event_type == "client.crash";
            self.tell(at, &id, actor, line);
            if let Some(n) = actor.filter(|_| crashed) {
                self.players[n].state = State::Crashed;
                let back_at = self.soon(at, 5, 30);
                self.enter(back_at, Next::Return(n));
            }
        }
        match next_at {
            Some(next_at) => self.enter(next_at.max(at), Next::Step(number)),
            None => self.part(at, number),
        }
    }

    fn tell(&mut self, at: Duration, game: &str, actor: Option<usize>, line: Line) {
        let mut event = Event::new(line.event_type).attribute("region", line.region).data(&line.data);
        if let Some(address) = line.address {
            event = event.attribute("clientaddress", address);
        }
        if let Some(n) = actor {
            event = event.player(self.players[n].id.clone()).attribute("sessionid", self.session(n));
        }
        let key = match actor {
            Some(n) if !line.in_game => self.players[n].id.clone(),
            _ => {
                event = event.game(game);
                game.to_owned()
            }
        };
        self.done.push_back(Deed { at, key, event });
    }

    /// A match is over: its players talk, play on or log out.
    fn part(&mut self, at: Duration, number: u64) {
        let Some(game) = self.matches.remove(&number) else { return };
        for n in game.players {
            if self.players[n].state == State::Crashed {
                self.come_back(at, n);
            }
            self.players[n].state = State::Lobby;
            if self.one_in(3) {
                let chat_at = self.soon(at, 0, 2);
                self.enter(chat_at, Next::Chat(n));
            }
            let leaves = self.one_in(6);
            let next_at = self.soon(at, 3, 20);
            self.enter(next_at, if leaves { Next::LogOut(n) } else { Next::Queue(n) });
        }
    }

    fn session(&self, n: usize) -> String {
        format!("{}-s{}", self.players[n].id, self.players[n].sessions)
    }

    fn by_player(&mut self, at: Duration, n: usize, event: Event) {
        let key = self.players[n].id.clone();
        let event = event.player(key.clone()).attribute("sessionid", self.session(n));
        self.done.push_back(Deed { at, key, event });
    }
}
