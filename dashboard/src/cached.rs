//! What costs much and changes slowly is asked for once, however many look, and nobody who looks waits for it
//! twice.

use edge::Problem;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What takes a second to ask for is asked for no more often than each `IDLE` seconds.
const IDLE: u32 = 4;

/// The newest answer, if there is any.
type Held<T> = Option<Answer<T>>;

#[derive(Debug, Clone)]
struct Answer<T> {
    since: Instant,
    /// How long it took.
    took: Duration,
    said: Result<T, Problem>,
}

/// An answer that is asked for anew, in the background, when somebody looks and it is old.
#[derive(Debug, Clone)]
pub(crate) struct Cached<T> {
    lasts: Duration,
    /// Whether it is being asked for, and what it was.
    held: watch::Sender<(bool, Held<T>)>,
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    pub(crate) fn new(lasts: Duration) -> Self {
        Self { lasts, held: watch::Sender::new((false, None)) }
    }

    /// The newest answer and its age, be it old; the first one is waited for, no longer than `patience`.
    ///
    /// # Errors
    /// What `ask` said; 503 if it has said nothing yet.
    pub(crate) async fn get(
        &self,
        patience: Duration,
        ask: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<(T, Duration), Problem> {
        let must_ask = self.held.send_if_modified(|(is_asked, held)| {
            let is_old = held.as_ref().is_none_or(|held| held.since.elapsed() >= self.lasts.max(held.took * IDLE));
            let must_ask = is_old && !*is_asked;
            *is_asked |= must_ask;
            must_ask
        });
        if must_ask {
            let asking = Asking(self.held.clone());
            tokio::spawn(async move {
                let started = Instant::now();
                let said = ask.await;
                let answer = Answer { since: Instant::now(), took: started.elapsed(), said };
                asking.0.send_modify(|(_, held)| *held = Some(answer));
            });
        }
        let mut held = self.held.subscribe();
        let answered = tokio::time::timeout(patience, held.wait_for(|(_, held)| held.is_some())).await;
        let held = answered.ok().and_then(Result::ok).and_then(|held| held.1.clone());
        let wait = Duration::from_secs(1);
        let held = held.ok_or_else(|| Problem::unavailable("it is still being counted", wait))?;
        Ok((held.said?, held.since.elapsed()))
    }
}

/// Says that nobody asks any more, however the asking ended.
struct Asking<T>(watch::Sender<(bool, Held<T>)>);

impl<T> Drop for Asking<T> {
    fn drop(&mut self) {
        self.0.send_modify(|(is_asked, _)| *is_asked = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_is_waited_for_and_an_old_one_is_replaced_in_the_background() {
        let cached = Cached::new(Duration::from_secs(5));
        assert_eq!(cached.get(PATIENCE, async { Ok(1) }).await, Ok((1, Duration::ZERO)));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(cached.get(PATIENCE, async { Ok(2) }).await, Ok((1, Duration::from_secs(4))));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cached.get(PATIENCE, async { Ok(3) }).await, Ok((1, Duration::from_secs(5))));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(cached.get(PATIENCE, async { Ok(4) }).await.map(|(value, _)| value), Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_asked_for_once_and_what_panics_is_asked_for_again() {
        let cached = Cached::new(Duration::from_secs(5));
        let slow = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok(1)
        };
        assert_eq!(cached.get(PATIENCE, slow).await.unwrap_err().status, 503);
        assert_eq!(cached.get(PATIENCE * 3, async { Ok(2) }).await.map(|(value, _)| value), Ok(1));
        let cached = Cached::<i32>::new(Duration::from_secs(5));
        assert!(cached.get(PATIENCE, async { panic!("no") }).await.is_err());
        assert_eq!(cached.get(PATIENCE, async { Ok(2) }).await.map(|(value, _)| value), Ok(2));
    }
}
