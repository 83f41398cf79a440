//! What must hold of the store and of the receivers, whatever happened. Looked at without the scheduler's
//! own code, but for its records' form.

use super::world::{World, root};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use schedules::{Attempt, Decision, Fate, Missed, Plan, RUNS_MAX, Schedule, Target};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Ticks by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) stored: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) delivered: u64,
    pub(super) repeated: u64,
    pub(super) given_up: u64,
}

type Broken = String;

/// Everything in the store.
struct Snapshot(BTreeMap<String, Vec<u8>>);

impl Snapshot {
    async fn of(world: &World) -> Self {
        use futures::TryStreamExt as _;
        let listed: Vec<_> = world.disk.objects.list(None).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for meta in listed {
            let body = world.disk.objects.get(&meta.location).await.unwrap().bytes().await.unwrap();
            objects.insert(meta.location.to_string(), body.to_vec());
        }
        Self(objects)
    }

    fn below<T: DeserializeOwned>(&self, prefix: &str, name: &str) -> Vec<(String, T)> {
        let parse = |(path, body): (&String, &Vec<u8>)| {
            let rest = path.strip_prefix(prefix)?;
            rest.contains(name).then(|| (rest.to_owned(), serde_json::from_slice(body).unwrap()))
        };
        self.0.iter().filter_map(parse).collect()
    }
}

/// Up to where each schedule was decided when it began.
pub(super) async fn anchors(world: &World, schedules: &[Schedule]) -> BTreeMap<String, Timestamp> {
    let snapshot = Snapshot::of(world).await;
    let anchor = |schedule: &Schedule| {
        let noted = snapshot.below::<serde_json::Value>(&format!("{}/_decided/{}/", root(), schedule.name), "");
        let decided = noted.first().expect("no process has begun").1["decided"].as_str().unwrap().parse().unwrap();
        (schedule.name.clone(), decided)
    };
    schedules.iter().map(anchor).collect()
}

/// Looks at everything.
pub(super) async fn check(
    world: &World,
    schedules: &[Schedule],
    anchors: &BTreeMap<String, Timestamp>,
) -> Result<Found, Broken> {
    if let Some(path) = world.disk.changed.lock().first() {
        return Err(format!("what is created once is never changed: {path}"));
    }
    let snapshot = Snapshot::of(world).await;
    let open = snapshot.below::<serde_json::Value>(&format!("{}/_open/", root()), "");
    if let Some((tick, _)) = open.first() {
        return Err(format!("once all is well, every tick is finished: {tick}"));
    }
    let mut found = Found::default();
    for schedule in schedules {
        let prefix = format!("{}/_history/{}/", root(), schedule.name);
        let mut decisions = snapshot.below::<Decision>(&prefix, "/decision.json");
        decisions.sort_by_key(|(_, decision)| decision.tick.at);
        let (asked_for, decisions): (Vec<Decision>, Vec<Decision>) =
            decisions.into_iter().map(|(_, decision)| decision).partition(|decision| decision.tick.manual);
        each_tick_is_decided_once(schedule, &decisions, anchors[&schedule.name], world.store_time(), &mut found)?;
        let mut outputs = BTreeSet::new();
        decisions.iter().try_for_each(|decision| policies_are_obeyed(schedule, decision))?;
        for decision in decisions.iter().chain(&asked_for) {
            let Fate::Run(plan) = &decision.fate else { continue };
            outputs.insert(format!("{}/{}", root(), plan.output));
            one_output(&snapshot, schedule, decision, plan, world, &mut found)?;
        }
        let folder = format!("{}/{}/", root(), schedule.name);
        let strays = snapshot.0.keys().filter(|path| path.starts_with(&folder)).find(|path| !outputs.contains(*path));
        if let Some(stray) = strays {
            return Err(format!("each tick has one output: nobody decided {stray}"));
        }
    }
    Ok(found)
}

fn each_tick_is_decided_once(
    schedule: &Schedule,
    decisions: &[Decision],
    anchor: Timestamp,
    now: Timestamp,
    found: &mut Found,
) -> Result<(), Broken> {
    let mut decided = anchor;
    for decision in decisions {
        let next = schedule.timetable.next(decided);
        if next != Some(decision.tick.at) {
            return Err(format!("each tick is decided once: after {decided} comes {next:?}, not {decision:?}"));
        }
        decided = decision.tick.at;
        if let Fate::Skip { through, ticks, .. } = &decision.fate {
            let mut count = 1;
            while decided < *through {
                decided = schedule.timetable.next(decided).unwrap();
                count += 1;
            }
            if decided != *through || count != *ticks {
                return Err(format!("what is skipped is a number of whole ticks: {decision:?} has {count}"));
            }
            found.skipped += count;
        }
    }
    match schedule.timetable.next(decided) {
        Some(next) if next <= now => Err(format!("once all is well, every tick that is due is decided: {next}")),
        _ => Ok(()),
    }
}

fn policies_are_obeyed(schedule: &Schedule, decision: &Decision) -> Result<(), Broken> {
    let grace = SignedDuration::try_from(schedule.grace).unwrap();
    let (tick, at) = (decision.tick.at, decision.at);
    let is_missed = |tick: Timestamp| at.duration_since(tick) > grace;
    let newer = |tick: Timestamp| schedule.timetable.next(tick).filter(|next| *next <= at);
    let is_obeyed = match (&decision.fate, schedule.missed) {
        (Fate::Run(_), _) if tick > at => false,
        (Fate::Run(_), Missed::RunAll) => true,
        (Fate::Run(_), Missed::RunOnce) => !is_missed(tick) || newer(tick).is_none(),
        (Fate::Run(_), Missed::Skip) => !is_missed(tick),
        (Fate::Skip { through, .. }, Missed::RunOnce) => is_missed(tick) && newer(*through).is_some(),
        (Fate::Skip { through, .. }, Missed::Skip) => {
            is_missed(*through) && newer(*through).is_none_or(|next| !is_missed(next))
        }
        (Fate::Skip { through, .. }, Missed::RunAll) => {
            let rest = std::iter::successors(newer(*through), |tick| newer(*tick)).count();
            is_missed(tick) && rest == schedules::CATCH_UP_MAX
        }
    };
    if is_obeyed { Ok(()) } else { Err(format!("missed ticks go by policy ({:?}): {decision:?}", schedule.missed)) }
}

fn one_output(
    snapshot: &Snapshot,
    schedule: &Schedule,
    decision: &Decision,
    plan: &Plan,
    world: &World,
    found: &mut Found,
) -> Result<(), Broken> {
    let folder = format!("{}/_history/{}/{}/", root(), schedule.name, decision.tick);
    let ends = snapshot.below::<serde_json::Value>(&folder, "end.json");
    let is_given_up = ends.first().is_some_and(|(_, end)| end["end"] == "failed");
    let Some(output) = snapshot.0.get(&Path::from(format!("{}/{}", root(), plan.output)).to_string()) else {
        let failures = snapshot.below::<Attempt>(&folder, "failure-").len();
        // The last one's note may be lost with who gave up.
        if !is_given_up || failures < RUNS_MAX - 1 {
            return Err(format!(
                "a tick that is run has an output, or failed {RUNS_MAX} times: {failures}, {decision:?}"
            ));
        }
        found.failed += 1;
        return Ok(());
    };
    if is_given_up {
        return Err(format!("a tick that was given up has no output: {decision:?}"));
    }
    found.stored += 1;
    let id = format!("killfeed_{}_{}", schedule.name, decision.tick);
    for name in &plan.deliveries {
        let delivery = schedule.deliveries.iter().find(|delivery| delivery.name == *name).unwrap();
        let to = match &delivery.target {
            Target::Webhook { url, .. } => url.to_string(),
            Target::Mail { to } => to.join(","),
        };
        let received = world.received.lock();
        let arrived: Vec<_> = received.iter().filter(|received| received.to == to && received.id == id).collect();
        let tries = snapshot.below::<Attempt>(&folder, &format!("sent-{name}."));
        let failed = tries.iter().filter(|(_, attempt)| !attempt.ok).count();
        let is_given_up = failed >= schedule.attempts as usize;
        let is_noted = tries.iter().any(|(_, attempt)| attempt.ok);
        if arrived.is_empty() && (is_noted || !is_given_up) {
            return Err(format!(
                "each delivery arrives at least once, or is given up: {name} of {decision:?}, {tries:?}"
            ));
        }
        let text = String::from_utf8_lossy(output);
        let holds = |body: &[u8]| match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(event) => event["data"]["content"] == text.as_ref(),
            Err(_) => body == output,
        };
        if let Some(other) = arrived.iter().find(|received| !holds(&received.body) || received.body != arrived[0].body)
        {
            return Err(format!("what is delivered is what is stored, the same each time: {other:?}, stored {text:?}"));
        }
        found.delivered += u64::from(!arrived.is_empty());
        found.repeated += (arrived.len() as u64).saturating_sub(1);
        found.given_up += u64::from(!is_noted);
    }
    Ok(())
}
