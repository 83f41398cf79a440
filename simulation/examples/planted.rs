//! Seed after seed until a law is broken, for `simulation/plant`: how many it took, and which law.

use simulation::{Config, run};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let mut number = |otherwise| arguments.next().and_then(Result::ok).unwrap_or(otherwise);
    let (seeds, steps) = (number(5_000), number(120));
    let (next, found) = (AtomicU64::new(1), Mutex::new(None::<simulation::Outcome>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed > seeds || found.lock().map_or(true, |found| found.is_some()) {
                        return;
                    }
                    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
                    let outcome = run(Config { seed, steps, audit: false, history: 0 });
                    if outcome.broken.is_some()
                        && let Ok(mut found) = found.lock()
                        && found.as_ref().is_none_or(|found| found.seed > seed)
                    {
                        *found = Some(outcome);
                    }
                }
            });
        }
    });
    let found = found.into_inner().ok().flatten();
    let mut out = std::io::stdout().lock();
    let said = match found.as_ref().and_then(|outcome| Some((outcome, outcome.broken.as_ref()?))) {
        Some((outcome, broken)) => {
            writeln!(out, "seed {}, step {}: {}: {}", outcome.seed, broken.step, broken.law, broken.detail)
        }
        None => writeln!(out, "not found in {seeds} seeds"),
    };
    if said.is_ok() && found.is_some() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
