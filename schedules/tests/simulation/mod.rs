//! Months of replicas that die, a store that lies and clocks that jump, under a seed.
//!
//! `KILLFEED_SCHEDULES_SEED=N` plays one seed, and shows what happened last; `KILLFEED_SCHEDULES_SEEDS=N`
//! plays that many.

mod laws;
mod outside;
mod store;
mod world;

use jiff::Timestamp;
use laws::Found;
use schedules::{Delivery, Format, Missed, Schedule, Secret, Target, Timetable};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use world::{Process, Tally, World};

const DAY: Duration = Duration::from_secs(86_400);
/// Long enough for the last try of a delivery, and until a mark that nobody knows of is taken away.
const HEALING: Duration = Duration::from_secs(4 * 86_400);

/// Pattern, zone, and how many ticks it has about in a day.
const TIMETABLES: [(&str, &str); 7] = [
    ("0 6 * * *", "Europe/Berlin"),
    ("30 2 * * *", "America/New_York"),
    ("15 */2 * * *", "Australia/Lord_Howe"),
    ("0 9 * * 1", "Asia/Tokyo"),
    ("0 * * * *", "Europe/Berlin"),
    ("30 1,2,14 * * *", "Europe/Berlin"),
    ("0 0 1,15 * *", "Pacific/Apia"),
];

fn schedules(world: &World) -> Vec<Schedule> {
    let schedule = |number: u64| {
        let (pattern, zone) = TIMETABLES[world.below(TIMETABLES.len())];
        let missed = [Missed::RunOnce, Missed::RunAll, Missed::Skip][world.below(3)];
        let url = format!("https://hooks.example/{number}").parse().unwrap();
        let webhook = Target::Webhook { url, secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") };
        let mail = Target::Mail { to: vec![format!("producer-{number}@example.com")] };
        let deliveries = [("hook", webhook), ("mail", mail)];
        let count = world.below(3);
        Schedule {
            name: format!("report-{number}"),
            timetable: Timetable::new(pattern, zone).unwrap(),
            report: "toxicity".into(),
            params: vec![("day".into(), "{yesterday}".into())],
            format: Format::Csv,
            missed,
            grace: Duration::from_secs(300),
            time_limit: Duration::from_secs(600),
            attempts: 4,
            deliveries: deliveries.map(|(name, target)| Delivery { name: name.into(), target })[..count].to_vec(),
        }
    };
    (0..world.between(1, 3)).map(schedule).collect()
}

/// Lets processes live and die until this time has passed; none is left then.
async fn live(world: &Arc<World>, schedules: &[Schedule], time: Duration, is_rough: bool) {
    let end = Instant::now() + time;
    let replicas = 1 + world.below(3);
    let jumps = is_rough && world.chance() < 0.4;
    let mut processes: Vec<Process> = Vec::new();
    // No process starts before this.
    let mut dark_until = Instant::now();
    while Instant::now() < end {
        processes.retain(Process::is_alive);
        if Instant::now() >= dark_until && processes.len() < replicas {
            processes.push(Process::start(world, schedules));
        }
        let pause = Duration::from_secs(if is_rough { world.between(1, 6 * 3_600) } else { 3_600 });
        tokio::select! {
            biased;
            () = world.died.notified() => {}
            () = tokio::time::sleep_until(end.min(Instant::now() + pause)) => {}
        }
        if !is_rough {
            continue;
        }
        match world.chance() {
            luck if luck < 0.05 => drop(processes.pop()),
            luck if luck < 0.07 => {
                processes.clear();
                let dark = Duration::from_secs(world.between(600, 6 * 86_400));
                dark_until = Instant::now() + dark;
                world.note(format!("nothing runs for {dark:?}"));
            }
            luck if luck < 0.09 => world.lose_store(Duration::from_secs(world.between(60, 86_400))),
            luck if luck < 0.11 && jumps => world.jump(),
            luck if luck < 0.14 => {
                let name = &schedules[world.below(schedules.len())].name;
                processes.iter_mut().for_each(|process| process.ask(name));
            }
            _ => {}
        }
    }
}

/// One seed, from an empty store to its verdict.
fn play(seed: u64, days: u32, forgets_conditions: bool) -> Result<(Found, Tally), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        // Half of the seeds begin before clocks are set forth, half before they are set back.
        let begin = if seed.is_multiple_of(2) { "2026-02-20T11:13:17Z" } else { "2026-09-20T11:13:17Z" };
        let world = World::new(seed, begin.parse::<Timestamp>().unwrap(), forgets_conditions);
        let schedules = schedules(&world);
        // A first process takes note of the schedules while all is well.
        live(&world, &schedules, Duration::from_secs(60), false).await;
        let anchors = laws::anchors(&world, &schedules).await;
        world.roughen();
        live(&world, &schedules, DAY * days, true).await;
        world.calm();
        world.set_clock_right();
        live(&world, &schedules, HEALING, false).await;
        let found = laws::check(&world, &schedules, &anchors).await;
        found.map(|found| (found, world.tally())).map_err(|broken| {
            format!(
                "seed {seed}: {broken}\nplay it again: KILLFEED_SCHEDULES_SEED={seed} cargo test -p schedules simulation\n{}",
                world.history()
            )
        })
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn months_of_deaths_and_faults_leave_one_output_for_each_tick() {
    let one = number("KILLFEED_SCHEDULES_SEED");
    let seeds = one.map_or(1..=number("KILLFEED_SCHEDULES_SEEDS").unwrap_or(24), |seed| seed..=seed);
    let (mut all, mut sum, mut count) = (Found::default(), Tally::default(), 0);
    for seed in seeds {
        let begun = std::time::Instant::now();
        let (found, tally) = play(seed, 90, false).unwrap_or_else(|broken| panic!("{broken}"));
        println!("seed {seed} in {:?}: {found:?} {tally:?}", begun.elapsed());
        count += 1;
        all.stored += found.stored;
        all.failed += found.failed;
        all.skipped += found.skipped;
        all.delivered += found.delivered;
        all.repeated += found.repeated;
        all.given_up += found.given_up;
        (sum.deaths, sum.faults, sum.runs) =
            (sum.deaths + tally.deaths, sum.faults + tally.faults, sum.runs + tally.runs);
        (sum.jumps, sum.calls) = (sum.jumps + tally.jumps, sum.calls + tally.calls);
    }
    println!("{count} seeds: {all:?} {sum:?}");
    if one.is_none() {
        // A world in which nothing goes wrong shows nothing.
        assert!(all.stored > 5_000 && all.skipped > 500 && all.failed > 0, "{all:?}");
        assert!(all.repeated > 100 && all.given_up > 0 && sum.runs > all.stored, "{all:?} {sum:?}");
        assert!(sum.deaths > 1_000 && sum.faults > 1_000 && sum.jumps > 10, "{sum:?}");
    }
}

#[test]
fn a_seed_has_one_history() {
    for seed in [3, 4] {
        assert_eq!(play(seed, 20, false), play(seed, 20, false), "seed {seed}");
    }
}

#[test]
fn a_store_that_forgets_conditions_is_found_out() {
    let found = (1..=10).find_map(|seed| play(seed, 30, true).err());
    let broken = found.expect("ten seeds without a conditional put, and no law was broken");
    println!("{}", broken.lines().next().unwrap_or_default());
    assert!(broken.contains("never changed") || broken.contains("the same each time"), "{broken}");
}
