//! Virtual time: tasks run until all of them wait, then the clock jumps to the first that waits for it. The same
//! seed gives the same run.

use futures::FutureExt as _;
use futures::executor::LocalPool;
use futures::future::BoxFuture;
use futures::future::{AbortHandle, Abortable};
use futures::task::LocalSpawnExt as _;
use outbox::Clock;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[derive(Default)]
struct Timers {
    now: Duration,
    next: u64,
    waiting: BTreeMap<(Duration, u64), Waker>,
}

/// A clock that stands still until everybody waits.
#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Arc<Mutex<Timers>>);

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let mut timers = self.0.lock().unwrap();
        timers.next += 1;
        Sleep { clock: self.clone(), at: (timers.now + time, timers.next) }
    }
}

struct Sleep {
    clock: VirtualClock,
    at: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.clock.0.lock().unwrap();
        if timers.now >= self.at.0 {
            return Poll::Ready(());
        }
        timers.waiting.insert(self.at, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.0.lock().unwrap().waiting.remove(&self.at);
    }
}

/// Where tasks run.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: VirtualClock,
    /// Tasks that are to begin.
    new: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
}

/// A task at work, and what it gives in the end.
pub(crate) struct Task<T> {
    abort: AbortHandle,
    result: Arc<Mutex<Option<T>>>,
    clock: VirtualClock,
}

impl World {
    /// Runs a test in a world of its own.
    pub(crate) fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(World) -> F) {
        let mut pool = LocalPool::new();
        let world = World { clock: VirtualClock::default(), new: Arc::default() };
        let main = world.spawn(test(world.clone()));
        loop {
            let new = std::mem::take(&mut *world.new.lock().unwrap());
            if !new.is_empty() {
                new.into_iter().for_each(|task| pool.spawner().spawn_local(task).unwrap());
                pool.run_until_stalled();
                continue;
            }
            if main.result.lock().unwrap().is_some() {
                return;
            }
            let mut timers = world.clock.0.lock().unwrap();
            let first = timers.waiting.pop_first();
            let ((at, _), waker) = first.unwrap_or_else(|| panic!("all tasks wait, and none for the clock"));
            timers.now = at;
            drop(timers);
            waker.wake();
            pool.run_until_stalled();
        }
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (abort, registration) = AbortHandle::new_pair();
        let result = Arc::new(Mutex::new(None));
        let into = result.clone();
        let task = async move {
            let done = task.await;
            *into.lock().unwrap() = Some(done);
        };
        self.new.lock().unwrap().push(Box::pin(Abortable::new(task, registration).map(|_| ())));
        Task { abort, result, clock: self.clock.clone() }
    }

    pub(crate) async fn sleep_ms(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }
}

impl<T> Task<T> {
    /// Ends it where it waits.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    /// Waits for its end.
    pub(crate) async fn join(self) -> T {
        loop {
            let result = self.result.lock().unwrap().take();
            if let Some(result) = result {
                return result;
            }
            self.clock.sleep(Duration::from_millis(1)).await;
        }
    }
}
