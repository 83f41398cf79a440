//! A schedule: which report is run when, and who gets it.

use crate::deliver::Delivery;
use crate::policy::Missed;
use crate::report::{Format, Request};
use crate::timetable::Timetable;
use jiff::Timestamp;
use std::time::Duration;

/// One schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Its name: lower case letters, digits, `-` and `_`. Outputs and deliveries go by it.
    pub name: String,
    /// When it is due.
    pub timetable: Timetable,
    /// The report.
    pub report: String,
    /// What it is asked with; placeholders as in [`Self::request`].
    pub params: Vec<(String, String)>,
    /// How its outputs are written.
    pub format: Format,
    /// What is done about missed ticks.
    pub missed: Missed,
    /// How late a tick may be decided without counting as missed.
    pub grace: Duration,
    /// How long a run may take.
    pub time_limit: Duration,
    /// Tries of each delivery of a tick.
    pub attempts: u32,
    /// Who gets its outputs.
    pub deliveries: Vec<Delivery>,
}

impl Schedule {
    /// The report as it is asked at this tick. In parameters, `{tick}` is the instant in UTC, `{date}` the
    /// date in the schedule's zone, and `{yesterday}` the day before that.
    ///
    /// # Errors
    /// Names an unknown placeholder.
    pub fn request(&self, tick: Timestamp) -> Result<Request, String> {
        let fill = |(name, value): &(String, String)| match self.fill(value, tick) {
            Ok(filled) => Ok((name.clone(), filled)),
            Err(error) => Err(format!("parameter {name:?}: {error}")),
        };
        let params = self.params.iter().map(fill).collect::<Result<_, _>>()?;
        Ok(Request { report: self.report.clone(), params, format: self.format })
    }

    /// The value of one parameter at this tick.
    pub(crate) fn fill(&self, value: &str, tick: Timestamp) -> Result<String, String> {
        let (mut filled, mut rest) = (String::new(), value);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else { break };
            filled += before;
            filled += &match name {
                "tick" => tick.to_string(),
                "date" => self.timetable.date(tick).to_string(),
                "yesterday" => self.timetable.date(tick).yesterday().map_err(|error| error.to_string())?.to_string(),
                _ => return Err(format!("{{{name}}} is none of {{tick}}, {{date}}, {{yesterday}}")),
            };
            rest = behind;
        }
        Ok(filled + rest)
    }
}
