//! What the demo shows while it runs: a bar and the answers on a terminal, a line now and then elsewhere.

use super::pipelines::{AIRPORTS, HOURS};
use super::replay::Progress;
use super::sample::FLIGHTS;
use crate::bench::answers::Door;
use door::http::Consistency;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Carriers whose last hour is shown.
const CARRIERS: [&str; 3] = ["UA", "EV", "B6"];
const HOUR_MS: i64 = 3_600_000;
const JANUARY_MS: i64 = 1_356_998_400_000;

/// What the views answer at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    airports: String,
    carriers: String,
}

impl Answers {
    /// Asks a peer's own copies: airports so far, and the last full hour of a few carriers.
    pub fn ask(door: &Door, clock_ms: i64) -> anyhow::Result<Self> {
        let rows = door.rows(AIRPORTS, Consistency::Any)?;
        let airports: Vec<String> =
            rows.iter().map(|row| format!("{} {}", row.key.plain(), row.value.plain())).collect();
        let hour = hour_text(clock_ms - HOUR_MS);
        let mut carriers = Vec::new();
        for carrier in CARRIERS {
            let Some(row) = door.row(HOURS, &format!("{carrier}@{hour}"))? else { continue };
            let value = row.parsed();
            carriers.push(format!(
                "{carrier} {} flights {:+.1} min",
                value["departures"],
                value["mean_delay"].as_f64().unwrap_or_default()
            ));
        }
        Ok(Self { airports: airports.join("   "), carriers: carriers.join("   ") })
    }
}

/// `2013-01-14T18:00:00Z` of a time in January 2013 or the day after it.
fn hour_text(time_ms: i64) -> String {
    let hours = (time_ms - JANUARY_MS).div_euclid(HOUR_MS);
    let (day, hour) = (hours.div_euclid(24), hours.rem_euclid(24));
    let (month, day) = if day < 31 { (1, day + 1) } else { (2, day - 30) };
    format!("2013-{month:02}-{day:02}T{hour:02}:00:00Z")
}

/// Shows progress and answers on stderr, so that stdout keeps what stays true.
#[derive(Debug)]
pub struct Screen {
    /// None where there is no terminal.
    bars: Option<Bars>,
    said: Option<Instant>,
}

#[derive(Debug)]
struct Bars {
    flights: ProgressBar,
    airports: ProgressBar,
    carriers: ProgressBar,
}

impl Screen {
    pub fn new() -> anyhow::Result<Self> {
        if !std::io::stderr().is_terminal() {
            return Ok(Self { bars: None, said: None });
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let text = ProgressStyle::with_template("{prefix:>10} {msg}")?;
        let bar = "{prefix:>10} {bar:40.cyan/blue} {pos}/{len} flights  {msg}";
        let flights = all.add(ProgressBar::new(FLIGHTS as u64));
        flights.set_style(ProgressStyle::with_template(bar)?);
        flights.set_prefix("replay");
        let airports = all.add(ProgressBar::new_spinner().with_style(text.clone()));
        airports.set_prefix("departures");
        let carriers = all.add(ProgressBar::new_spinner().with_style(text));
        carriers.set_prefix("last hour");
        Ok(Self { bars: Some(Bars { flights, airports, carriers }), said: None })
    }

    pub fn show(&mut self, progress: &Progress, answers: &Answers) {
        let sent = progress.sent.load(Ordering::Relaxed);
        let clock = hour_text(progress.clock_ms.load(Ordering::Relaxed));
        if let Some(bars) = &self.bars {
            bars.flights.set_position(sent as u64);
            bars.flights.set_message(clock);
            bars.airports.set_message(answers.airports.clone());
            bars.carriers.set_message(answers.carriers.clone());
        } else if self.said.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
            self.said = Some(Instant::now());
            eprintln!("{sent}/{FLIGHTS} flights, {clock}: {}", answers.airports);
        }
    }

    /// Leaves the last state on the screen.
    pub fn show_last(&mut self, progress: &Progress, answers: &Answers) {
        self.said = None;
        self.show(progress, answers);
        if let Some(bars) = self.bars.take() {
            bars.flights.abandon();
            bars.airports.abandon();
            bars.carriers.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_told_as_the_views_tell_them() {
        assert_eq!(hour_text(1_357_035_420_000), "2013-01-01T10:00:00Z");
        assert_eq!(hour_text(JANUARY_MS + 31 * 24 * HOUR_MS + 5), "2013-02-01T00:00:00Z");
    }
}
