//! Messages a second on one core: the built-in scorer beside its limit, rustrict alone, on the same messages.
//!
//! `cargo bench -p toxicity -- LABELS.csv` takes the messages of that file; without one, a few of our own. Both take
//! turns, round by round, and time is the thread's own CPU time: other work on the machine disturbs both alike.

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a program that prints figures")]

use cpu_time::ThreadTime;
use std::error::Error;
use std::hint::black_box;
use toxicity::{Labels, score, sentiment};

const ROUNDS: usize = 15;
/// Messages of a round at least.
const MESSAGES: usize = 20_000;

const OWN: [&str; 16] = [
    "gg wp",
    "lol",
    "go mid now",
    "ez",
    "report mid pls",
    "why did you pick that again",
    "noob team no wards",
    "haha nice one from zarathox",
    "can someone escort mirabel quickly?",
    "sorry, my router exploded twice",
    "gather potions beside the waterfall before sunrise",
    "ty",
    "wtf was that avalanche",
    "we would certainly triumph if somebody purchased vision",
    "f u c k this",
    "dying mid help",
];

fn messages() -> Result<Vec<String>, Box<dyn Error>> {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let texts: Vec<String> = match file {
        Some(file) => {
            let labels = Labels::read(std::fs::File::open(&file)?)?;
            labels.messages.into_iter().map(|message| message.text).collect()
        }
        None => OWN.map(str::to_owned).into(),
    };
    let copies = MESSAGES.div_ceil(texts.len().max(1));
    Ok(std::iter::repeat_n(texts, copies).flatten().collect())
}

/// Messages a second.
fn rate(messages: &[String], mut judge: impl FnMut(&str) -> bool) -> f64 {
    let start = ThreadTime::now();
    for message in messages {
        black_box(judge(black_box(message)));
    }
    messages.len() as f64 / start.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let messages = messages()?;
    let bytes: usize = messages.iter().map(String::len).sum();
    let (mut ours, mut limit, mut feel) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limit.push(rate(&messages, |text| rustrict::CensorStr::is_inappropriate(text)));
        ours.push(rate(&messages, |text| score(text).toxic()));
        feel.push(rate(&messages, |text| sentiment(text) < 0.0));
    }
    let (ours, limit, feel) = (median(&mut ours), median(&mut limit), median(&mut feel));
    println!(
        "{} messages of {:.0} bytes, median of {ROUNDS} rounds",
        messages.len(),
        bytes as f64 / messages.len() as f64
    );
    println!("score            {ours:>10.0} messages/s");
    println!("sentiment        {feel:>10.0} messages/s");
    println!("rustrict alone   {limit:>10.0} messages/s");
    println!("score/rustrict   {:>10.2}", ours / limit);
    Ok(())
}
