//! `killfeed toxicity`: train a model, judge it or the built-in rules, score messages. No server takes part.

use crate::cli::Toxicity;
use crate::client::style;
use crate::exit::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write};
use std::path::Path;
use toxicity::{Evaluation, Figures, Labels, Mistake, Model, Settings, THRESHOLD, Verdict};

/// Bad rows that are printed; the others are counted.
const BAD_ROWS: usize = 10;

/// Runs the command to its end.
pub(crate) fn run(command: Toxicity) -> Result<(), Failure> {
    match command {
        Toxicity::Train { labels, out, seed, json } => train(&labels, &out, seed, json),
        Toxicity::Eval { labels, model, worst, min_f1, json } => {
            eval(&labels, model.as_deref(), worst, json).and_then(|f1| enough(f1, min_f1))
        }
        Toxicity::Score { text, model, json } => score(text, model.as_deref(), json),
    }
}

fn train(labels: &Path, out: &Path, seed: u64, json: bool) -> Result<(), Failure> {
    let labels = read(labels)?;
    let bar = progress();
    let settings = Settings { seed, ..Settings::default() };
    let model = Model::train(&labels.messages, &settings, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let model = model.map_err(Failure::negative)?;
    model.save(out).map_err(|error| Failure::usage(format!("cannot write {}: {error}", out.display())))?;
    let origin = model.origin();
    let names: Vec<&str> = model.labels().iter().map(|label| label.name()).collect();
    let mut stdout = std::io::stdout().lock();
    if json {
        let summary = json!({
            "file": out, "messages": origin.messages, "toxic": origin.toxic, "bad_rows": labels.bad_rows,
            "labels": names, "seed": seed, "tuned_f1": origin.tuned_f1,
        });
        writeln!(stdout, "{summary}")?;
        return Ok(());
    }
    writeln!(
        stdout,
        "learnt from {} messages, {} of them toxic, {} bad rows left out; labels: {}",
        style::thousands(origin.messages),
        style::thousands(origin.toxic),
        labels.bad_rows,
        if names.is_empty() { "none".into() } else { names.join(", ") }
    )?;
    writeln!(stdout, "F1 {:.3} on messages held back in turn; {} is written", origin.tuned_f1, out.display())?;
    Ok(())
}

/// Prints how well verdicts agree with the labels, and gives F1.
fn eval(file: &Path, model: Option<&Path>, worst: usize, json: bool) -> Result<f64, Failure> {
    let labels = read(file)?;
    if labels.messages.is_empty() {
        return Err(Failure::negative(format!("{} has no messages", file.display())));
    }
    let judge = judge(model)?;
    let found = Evaluation::of(&labels.messages, worst, &judge);
    let f1 = found.toxic.f1();
    let mut out = std::io::stdout().lock();
    if json {
        let classes = classes(&found).into_iter().map(|(name, figures)| (name.to_owned(), as_json(figures)));
        let summary = json!({
            "messages": found.messages, "bad_rows": labels.bad_rows,
            "classes": classes.collect::<serde_json::Map<String, Value>>(),
            "worst_alarms": found.worst_alarms, "worst_missed": found.worst_missed,
        });
        writeln!(out, "{summary}")?;
        return Ok(f1);
    }
    drop(out);
    let rows = classes(&found).into_iter().map(|(name, figures)| {
        let shares = [figures.precision(), figures.recall(), figures.f1()].map(|share| format!("{share:.3}"));
        let counts = [figures.hits, figures.false_alarms, figures.missed].map(style::thousands);
        std::iter::once(name.to_owned()).chain(shares).chain(counts).collect()
    });
    let head = ["class", "precision", "recall", "F1", "found", "false alarms", "missed"].map(String::from);
    let numeric = [false, true, true, true, true, true, true];
    style::table(&head, &numeric, rows.collect())?;
    print_errors("harmless for people, toxic for the scorer:", &found.worst_alarms)?;
    print_errors("toxic for people, harmless for the scorer:", &found.worst_missed)?;
    Ok(f1)
}

/// A bound that a script asks for.
fn enough(f1: f64, least: Option<f64>) -> Result<(), Failure> {
    match least {
        Some(least) if f1 < least => Err(Failure::negative(format!("F1 is {f1:.4}, at least {least} was asked for"))),
        _ => Ok(()),
    }
}

fn classes(found: &Evaluation) -> Vec<(&'static str, Figures)> {
    let labels = found.labels.iter().map(|(label, figures)| (label.name(), *figures));
    std::iter::once(("toxic", found.toxic)).chain(labels).collect()
}

fn as_json(figures: Figures) -> Value {
    json!({
        "precision": figures.precision(), "recall": figures.recall(), "f1": figures.f1(), "hits": figures.hits,
        "false_alarms": figures.false_alarms, "missed": figures.missed, "passed": figures.passed,
    })
}

fn print_errors(heading: &str, errors: &[Mistake]) -> Result<(), Failure> {
    if errors.is_empty() {
        return Ok(());
    }
    let mut out = anstream::stdout().lock();
    writeln!(out, "\n{}", style::paint(style::HEADING, heading))?;
    for error in errors {
        writeln!(out, "{:.2}  line {}: {}", error.score, error.line, printable(&error.text))?;
    }
    Ok(())
}

fn score(text: Vec<String>, model: Option<&Path>, json: bool) -> Result<(), Failure> {
    let judge = judge(model)?;
    let mut out = anstream::stdout().lock();
    if !text.is_empty() {
        return print_verdict(&mut out, &text.join(" "), &judge, json);
    }
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
        print_verdict(&mut out, &line, &judge, json)?;
    }
    Ok(())
}

fn print_verdict(out: &mut impl Write, text: &str, judge: &Judge, json: bool) -> Result<(), Failure> {
    let verdict = judge(text);
    let labels: Vec<&str> = verdict.labels().map(toxicity::Label::name).collect();
    let words = verdict.texts(text);
    let sentiment = toxicity::sentiment(text);
    if json {
        let answer =
            json!({ "text": text, "score": verdict.score, "labels": labels, "words": words, "sentiment": sentiment });
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    let colour = if verdict.score >= THRESHOLD { style::BAD } else { style::FAINT };
    let why = [labels.join(" "), printable(&words.join(" | "))].join("\t");
    writeln!(
        out,
        "{}\t{sentiment:.2}\t{}\t{why}",
        style::paint(colour, &format!("{:.2}", verdict.score)),
        printable(text)
    )?;
    Ok(())
}

type Judge = Box<dyn Fn(&str) -> Verdict>;

/// The model of a file, or the built-in rules.
fn judge(model: Option<&Path>) -> Result<Judge, Failure> {
    let Some(file) = model else { return Ok(Box::new(toxicity::score)) };
    let model = Model::load(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    Ok(Box::new(move |text| model.score(text)))
}

/// The labels of a file; rows that can't be used are said to stderr, by line, and counted.
fn read(file: &Path) -> Result<Labels, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let opened = File::open(file).map_err(|error| failed(&error))?;
    let labels = Labels::read(BufReader::new(opened)).map_err(|error| failed(&error))?;
    let mut err = anstream::stderr().lock();
    for bad in labels.bad.iter().take(BAD_ROWS) {
        let mark = style::paint(style::BAD, "warning:");
        writeln!(err, "{mark} {}, line {}: {}", file.display(), bad.line, bad.fault)?;
    }
    if labels.bad_rows > BAD_ROWS as u64 {
        writeln!(err, "{} {} bad rows in all", style::paint(style::BAD, "warning:"), labels.bad_rows)?;
    }
    Ok(labels)
}

/// Text of others on one line of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} rounds {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
