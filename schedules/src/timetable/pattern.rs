//! Reads cron patterns, and says which field of one is wrong, and what it takes.
//!
//! The library reads; what it says of a fault names no field. So each field is read once more alone,
//! and of one that is refused each part of its list.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::ops::RangeInclusive;

/// Words in place of five fields.
const WORDS: &str = "@yearly, @annually, @monthly, @weekly, @daily, @hourly";

/// A field of a pattern.
struct Field {
    name: &'static str,
    range: RangeInclusive<u16>,
    /// What else it takes beside numbers, ranges and steps.
    more: &'static str,
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", range: 0..=59, more: "" },
    Field { name: "hour", range: 0..=23, more: "" },
    Field { name: "day of month", range: 1..=31, more: ", L (the last day), 15W (the weekday nearest to the 15th)" },
    Field { name: "month", range: 1..=12, more: ", JAN to DEC" },
    Field { name: "day of week", range: 0..=7, more: ", SUN to SAT, 5#3 (the third Friday), 5L (the last Friday)" },
];

/// The pattern as the library has it.
///
/// # Errors
/// All that is wrong with it, a line for each fault.
pub(super) fn read(pattern: &str) -> Result<Cron, Vec<String>> {
    let said = |fault: String| format!("cron {pattern:?}: {fault}");
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    match &fields[..] {
        [word] if word.starts_with('@') => {
            parse(pattern).ok_or_else(|| vec![said(format!("must be five fields, or one of {WORDS}"))])
        }
        five if five.len() == FIELDS.len() => parse(pattern).ok_or_else(|| {
            let faults = (0..FIELDS.len()).filter_map(|place| fault(place, five[place])).map(said);
            let faults: Vec<String> = faults.collect();
            if faults.is_empty() { vec![said("is no pattern of cron".into())] } else { faults }
        }),
        other => Err(vec![said(format!(
            "has {} fields, and must have five fields: minute, hour, day of month, month, day of week",
            other.len()
        ))]),
    }
}

fn parse(pattern: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(pattern).ok()
}

/// Whether the library takes this in the field at this place.
fn is_taken(place: usize, text: &str) -> bool {
    let mut fields = ["*"; FIELDS.len()];
    fields[place] = text;
    parse(&fields.join(" ")).is_some()
}

/// What is wrong with a field, if anything is.
fn fault(place: usize, text: &str) -> Option<String> {
    if is_taken(place, text) {
        return None;
    }
    let field = &FIELDS[place];
    let wrong = text.split(',').find(|part| !part.is_empty() && !is_taken(place, part)).unwrap_or(text);
    let why = out_of_range(field, wrong).or_else(|| bad_step(field, wrong)).or_else(|| backwards(wrong));
    let (from, to) = (field.range.start(), field.range.end());
    let why = why.unwrap_or_else(|| {
        let takes = format!("*, {from} to {to}, ranges as {from}-{to}, steps as */2, lists with commas{}", field.more);
        format!("{wrong:?} is none of what it takes: {takes}")
    });
    Some(format!("{}: {why}", field.name))
}

/// The first number that is none of the field's.
fn out_of_range(field: &Field, part: &str) -> Option<String> {
    // Behind `/` stands a step, behind `#` which one of a month.
    let values = part.split(['/', '#']).next().unwrap_or_default();
    let numbers = values.trim_end_matches(['W', 'w', 'L', 'l']).split('-');
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_inside = |text: &&str| text.parse::<u16>().is_ok_and(|number| field.range.contains(&number));
    let wrong = numbers.filter(is_number).find(|text| !is_inside(text))?;
    Some(format!("{wrong} is not {} to {}", field.range.start(), field.range.end()))
}

fn bad_step(field: &Field, part: &str) -> Option<String> {
    let (values, step) = part.split_once('/')?;
    match step.parse::<u16>() {
        Ok(0) => Some(format!("the step of {part} is 0, and must be 1 or more")),
        Err(_) => Some(format!("the step of {part} is no number")),
        // 5/10 means 5-59/10 to some, and nothing to others.
        Ok(_) if values != "*" && !values.contains('-') => {
            let from = if values.is_empty() { "0" } else { values };
            Some(format!(
                "{part} has no range in front of its step: say */{step} or {from}-{}/{step}",
                field.range.end()
            ))
        }
        Ok(_) => None,
    }
}

fn backwards(part: &str) -> Option<String> {
    let (from, to) = part.split('/').next()?.split_once('-')?;
    let is_backwards = from.parse::<u16>().ok()? > to.parse::<u16>().ok()?;
    is_backwards.then(|| format!("the range {from}-{to} runs backwards: say it as two, with a comma"))
}
