//! Clients that play games: each sends its games' events in order, and each again until it is acknowledged.

use crate::books::{Answer, Books, Game, Note};
use anyhow::Context as _;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Above a request's deadline at the server: it is to answer, not the client to give up.
const PATIENCE: Duration = Duration::from_secs(13);
/// Games that a client has in play.
const GAMES: usize = 4;
/// Events of one game in a request.
const EVENTS: std::ops::RangeInclusive<u32> = 2..=8;
/// Events of a game.
const LENGTH: std::ops::Range<u32> = 60..240;
/// Requests sent again after they were acknowledged, per hundred.
const REPEATED: u32 = 4;
/// The pause before a request is sent again, unless the server names one.
const PAUSE_MS: std::ops::Range<u64> = 100..600;
/// Event types, and so tables.
pub(crate) const TYPES: [&str; 3] = ["chaos.kill", "chaos.chat", "chaos.move"];

/// What clients do.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Where they may send to; on trouble they go on with the next one.
    pub(crate) urls: Vec<String>,
    pub(crate) clients: usize,
    /// Events/s of all together, as long as all is well.
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    /// Part of the names of games, so that two loads have games of their own.
    pub(crate) name: String,
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Playing {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<anyhow::Result<Vec<Game>>>,
    shared: Arc<Mutex<Books>>,
}

impl Load {
    /// Begins to play.
    pub(crate) fn start(self) -> anyhow::Result<Playing> {
        let (stop, shared) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Books::default())));
        let mut tasks = JoinSet::new();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        for number in 0..self.clients {
            let client = Client {
                load: self.clone(),
                number,
                http: http.clone(),
                url: number,
                random: ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(1_000).wrapping_add(number as u64)),
                games: Vec::new(),
                in_play: [None; GAMES],
                shared: shared.clone(),
            };
            tasks.spawn(client.play(stop.clone()));
        }
        Ok(Playing { stop, tasks, shared })
    }
}

impl Playing {
    /// Looks at what was answered so far.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Books) -> T) -> T {
        at(&self.shared.lock())
    }

    /// Waits for an answer since then; gives how long it took to come.
    pub(crate) async fn first(
        &self,
        since: Instant,
        is_it: impl Fn(&Note) -> bool,
        limit: Duration,
    ) -> Option<Duration> {
        while since.elapsed() < limit {
            if let Some(found) = self.look(|books| books.first(since, &is_it)) {
                return Some(found);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Sends nothing new, and everything that was sent until it is acknowledged.
    ///
    /// # Errors
    /// Something was not, in this time, or a client failed.
    pub(crate) async fn finish(mut self, limit: Duration) -> anyhow::Result<Books> {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + limit;
        let mut games = Vec::new();
        while let Some(ended) = tokio::time::timeout_at(deadline, self.tasks.join_next())
            .await
            .with_context(|| format!("clients still had events without an answer after {limit:?}"))?
        {
            games.extend(ended??);
        }
        let mut books = std::mem::take(&mut *self.shared.lock());
        books.games = games;
        Ok(books)
    }
}

/// An event in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    /// Which of the client's games.
    game: usize,
    number: u32,
}

struct Client {
    load: Load,
    number: usize,
    http: reqwest::Client,
    /// Which of the load's.
    url: usize,
    random: ChaCha8Rng,
    games: Vec<Game>,
    /// Places in `games`, each with the length that its game will have.
    in_play: [Option<(usize, u32)>; GAMES],
    shared: Arc<Mutex<Books>>,
}

impl Client {
    async fn play(mut self, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<Game>> {
        let mut due = tokio::time::Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let batch = self.next_batch();
            self.deliver(&batch).await?;
            if self.random.random_range(0..100) < REPEATED {
                self.repeat(&batch).await?;
            }
            let pause = batch.len() as f64 * self.load.clients as f64 / self.load.rate;
            due = (due + Duration::from_secs_f64(pause)).max(tokio::time::Instant::now());
            tokio::time::sleep_until(due).await;
        }
        Ok(self.games)
    }

    /// The next events of some of its games.
    fn next_batch(&mut self) -> Vec<Event> {
        let (first, count) = (self.random.random_range(0..GAMES), self.random.random_range(1..=GAMES));
        let mut batch = Vec::new();
        for place in 0..count {
            let place = (first + place) % GAMES;
            let (game, length) = match self.in_play[place] {
                Some(found) => found,
                None => {
                    let name = format!("{}-{}-{}", self.load.name, self.number, self.games.len());
                    self.games.push(Game { name, sent: 0, acknowledged: 0 });
                    (self.games.len() - 1, self.random.random_range(LENGTH))
                }
            };
            let from = self.games[game].sent;
            let to = (from + self.random.random_range(EVENTS)).min(length);
            batch.extend((from..to).map(|number| Event { game, number }));
            self.games[game].sent = to;
            self.in_play[place] = (to < length).then_some((game, length));
        }
        batch
    }

    fn line(&self, event: Event) -> String {
        let (game, number) = (&self.games[event.game].name, event.number);
        // Of one size for one number, and so the same bytes whenever it is sent.
        let text = "gg wp ".repeat(usize::try_from(number % 23).unwrap_or_default());
        let event = json!({
            "specversion": "1.0", "id": format!("{game}:{number}"), "source": format!("/chaos/{}", self.number),
            "type": TYPES[number as usize % TYPES.len()], "gameid": game,
            "data": { "game": game, "n": number, "text": text },
        });
        format!("{event}\n")
    }

    /// Sends until every event is acknowledged.
    async fn deliver(&mut self, batch: &[Event]) -> anyhow::Result<()> {
        let mut left = batch.to_vec();
        loop {
            let (accepted, pause) = self.send(&left).await;
            for event in &accepted {
                let game = &mut self.games[event.game];
                if game.acknowledged != event.number {
                    let wrong = format!("{}:{} was taken, and {} was not", game.name, event.number, game.acknowledged);
                    self.shared.lock().wrongs.push(wrong);
                }
                game.acknowledged = event.number + 1;
            }
            left.retain(|event| !accepted.contains(event));
            if left.is_empty() {
                return Ok(());
            }
            self.url += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends what was acknowledged again, as a client does that lost its own notes.
    async fn repeat(&mut self, batch: &[Event]) -> anyhow::Result<()> {
        let (accepted, _) = self.send(batch).await;
        self.shared.lock().repeated += accepted.len() as u64;
        Ok(())
    }

    /// One request; gives what was acknowledged, and how long to wait before the next one.
    async fn send(&mut self, events: &[Event]) -> (Vec<Event>, Duration) {
        let body: String = events.iter().map(|event| self.line(*event)).collect();
        let url = format!("{}/v1/batch", self.load.urls[self.url % self.load.urls.len()]);
        let began = Instant::now();
        let sent = self.http.post(url).header("content-type", "application/x-ndjson").body(body).send().await;
        let (mut pause, mut results) = (Duration::from_millis(self.random.random_range(PAUSE_MS)), None);
        let mut answer = Answer::Broken;
        match sent {
            Ok(response) => {
                let status = response.status().as_u16();
                let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                pause = pause.max(Duration::from_secs(asked.unwrap_or(0)));
                if matches!(status, 200 | 202 | 503) {
                    answer = Answer::Refused;
                } else {
                    self.shared.lock().wrongs.push(format!("a request was answered with {status}"));
                }
                match response.json::<Value>().await {
                    Ok(body) => results = body["results"].as_array().cloned(),
                    Err(_) => answer = Answer::Broken,
                }
            }
            Err(error) if error.is_timeout() => answer = Answer::Late,
            Err(_) => {}
        }
        let (accepted, in_doubt) = self.read(events, results.as_deref().unwrap_or_default());
        if accepted.len() == events.len() {
            answer = Answer::Accepted;
        } else if in_doubt {
            answer = Answer::InDoubt;
        }
        let acknowledged = u32::try_from(accepted.len()).unwrap_or(u32::MAX);
        self.shared.lock().notes.push(Note { at: Instant::now(), took: began.elapsed(), answer, acknowledged });
        (accepted, pause)
    }

    /// What became of each event, and whether of any of them nobody knows.
    fn read(&self, events: &[Event], results: &[Value]) -> (Vec<Event>, bool) {
        let (mut accepted, mut in_doubt, mut wrongs) = (Vec::new(), false, Vec::new());
        let mut refused = BTreeSet::new();
        if !results.is_empty() && results.len() != events.len() {
            wrongs.push(format!("{} events were sent, and {} answered", events.len(), results.len()));
        }
        for (event, result) in events.iter().zip(results) {
            if result["status"] == 202 {
                if refused.contains(&event.game) {
                    wrongs.push(format!("{} was taken behind a refused one of its game", result["id"]));
                }
                accepted.push(*event);
                continue;
            }
            refused.insert(event.game);
            in_doubt |= result["unknown"] == true;
            if result["retry"] != true {
                wrongs.push(format!("an event was refused for good: {result}"));
            }
        }
        self.shared.lock().wrongs.extend(wrongs);
        (accepted, in_doubt)
    }
}
