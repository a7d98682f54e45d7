//! A view is the fold of its stream: what every copy shows at the end is what the kept events come to, computed here
//! once more. A window's row and its events that came too late are together all events of that window; and none came too
//! late before something was written that is younger than the window allows.

use super::{Found, Witness};
use crate::history::{History, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// Views of counts by key.
pub const COUNTS: [&str; 2] = ["seen", "trail"];
/// The view of counts by group and window.
pub const WINDOWS: &str = "windows";
pub const WINDOW_MS: i64 = 10_000;
/// A window waits so long for events behind the youngest that was read of each partition.
pub const OUT_OF_ORDER_MS: i64 = 5_000;
/// Keys are put into so many groups for windows.
pub const GROUPS: u32 = 8;

type Totals = BTreeMap<String, u64>;

pub fn check(history: &History) -> Found {
    let readers: BTreeSet<u16> = history.rows.iter().map(|row| row.reader).collect();
    if readers.is_empty() {
        return Err(Witness::new("nobody read the views at the end: nothing is proven"));
    }
    let log = history.log();
    let counts = totals(&log, |seen| format!("k{}", seen.key));
    let windows = totals(&log, |seen| window(&format!("g{}", seen.key % GROUPS), seen.time_ms));
    lateness(history, &log)?;
    let mut late = Totals::new();
    for letter in &history.late {
        *late.entry(window(&letter.key, letter.time_ms)).or_default() += 1;
    }
    for reader in readers {
        for view in COUNTS {
            compare(view, reader, &counts, &rows(history, reader, view, str::to_owned)?)?;
        }
        let mut shown = rows(history, reader, WINDOWS, start_in_ms)?;
        for (key, count) in &late {
            *shown.entry(key.clone()).or_default() += count;
        }
        compare(WINDOWS, reader, &windows, &shown)?;
    }
    Ok((history.rows.len() + log.len()) as u64)
}

/// A window closes behind a watermark, so behind something that much younger; and where most events are called late, windows
/// prove little.
fn lateness(history: &History, log: &[&Seen]) -> Result<(), Witness> {
    let youngest = log.iter().map(|seen| seen.time_ms).max().unwrap_or(i64::MIN);
    let end = |time_ms: i64| time_ms - time_ms.rem_euclid(WINDOW_MS) + WINDOW_MS;
    let open = |time_ms: i64| youngest < end(time_ms).saturating_add(OUT_OF_ORDER_MS);
    if let Some(letter) = history.late.iter().find(|letter| open(letter.time_ms)) {
        let why = format!("an event was called late, and the youngest of all is of {youngest}");
        return Err(Witness::new(why).line(letter));
    }
    if history.late.len() * 2 > log.len() {
        let why = format!("{} of {} events were late for windows", history.late.len(), log.len());
        return Err(Witness::new(why));
    }
    Ok(())
}

fn totals(log: &[&Seen], key: impl Fn(&Seen) -> String) -> Totals {
    let mut totals = Totals::new();
    for seen in log {
        *totals.entry(key(seen)).or_default() += 1;
    }
    totals
}

fn window(key: &str, time_ms: i64) -> String {
    format!("{key}@{}", time_ms - time_ms.rem_euclid(WINDOW_MS))
}

fn rows(
    history: &History,
    reader: u16,
    view: &str,
    named: impl Fn(&str) -> String,
) -> Result<Totals, Witness> {
    let mut totals = Totals::new();
    for row in history.rows.iter().filter(|row| row.reader == reader && row.view == view) {
        if totals.insert(named(&row.key), row.value).is_some() {
            return Err(Witness::new("a view has a row twice").line(row));
        }
    }
    Ok(totals)
}

fn compare(view: &str, reader: u16, wanted: &Totals, shown: &Totals) -> Result<(), Witness> {
    let keys: BTreeSet<&String> = wanted.keys().chain(shown.keys()).collect();
    let differs = |key: &&&String| wanted.get(**key) != shown.get(**key);
    let wrong: Vec<_> = keys.iter().filter(differs).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let number = |totals: &Totals| totals.get(**first).copied().unwrap_or_default();
    let sum = |totals: &Totals| totals.values().sum::<u64>();
    let why = format!(
        "{} rows of view {view} at reader {reader} are not what its stream comes to: {} instead of {}",
        wrong.len(),
        sum(shown),
        sum(wanted)
    );
    let line = format!("{first}: {} instead of {}", number(shown), number(wanted));
    Err(Witness::new(why).line(&line))
}

/// `g3@2026-01-01T00:00:10Z` as `g3@1767225610000`; anything else stays, and is then no row that is expected.
fn start_in_ms(key: &str) -> String {
    let parsed = key.split_once('@').and_then(|(group, start)| {
        let mut parts = start.strip_suffix('Z')?.split(['-', 'T', ':']).map(str::parse::<i64>);
        let mut next = || parts.next()?.ok();
        let (year, month, day) = (next()?, next()?, next()?);
        let of_day = (next()? * 60 + next()?) * 60 + next()?;
        Some(format!("{group}@{}", (days(year, month, day) * 86_400 + of_day) * 1000))
    });
    parsed.unwrap_or_else(|| key.to_owned())
}

/// Days since 1970-01-01, counted from the first of March so that leap days come last in a year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;
    use crate::history::Late;

    fn story() -> Story {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).acked(2, 7, 0, 1).acked(3, 8, 1, 0).kept_at_the_end();
        for view in COUNTS {
            story.row(1, view, "k7", 2).row(1, view, "k8", 1);
        }
        story.row(1, WINDOWS, "g7@1970-01-01T00:00:00Z", 2);
        story.row(1, WINDOWS, "g0@1970-01-01T00:00:00Z", 1);
        story
    }

    /// Another event, of key 9 and this time, and its rows.
    fn younger(story: &mut Story, time_ms: i64) {
        let seen = Seen { key: 9, time_ms, ..story.seen(101, 4, 1, 1) };
        story.acked(4, 9, 1, 1).history.kept.push(seen);
        for view in COUNTS {
            story.row(1, view, "k9", 1);
        }
        story.row(1, WINDOWS, "g1@1970-01-01T00:00:10Z", 1);
    }

    #[test]
    fn a_row_that_is_one_too_high_or_missing_is_a_witness() {
        assert_eq!(check(story().history()), Ok(9));
        let mut high = story();
        high.history.rows[0].value += 1;
        let witness = check(high.history()).expect_err("a wrong row");
        assert_eq!(witness.lines, ["\"k7: 3 instead of 2\""]);
        let mut missing = story();
        missing.history.rows.remove(1);
        assert!(check(missing.history()).is_err());
    }

    #[test]
    fn a_late_event_is_in_the_dead_letters_or_in_its_window_and_not_in_both() {
        let mut story = story();
        let late = Late { key: "g7".into(), time_ms: 1000 };
        story.history.late.push(late);
        let witness = check(story.history()).expect_err("its window was still open");
        assert!(witness.why.starts_with("an event was called late"), "{witness}");
        younger(&mut story, 15_000);
        assert!(check(story.history()).is_err(), "counted and given up");
        story.history.rows.iter_mut().filter(|row| row.key.starts_with("g7")).for_each(|row| {
            row.value = 1;
        });
        assert!(check(story.history()).is_ok());
    }

    #[test]
    fn windows_that_take_less_than_half_of_all_prove_nothing() {
        let mut story = story();
        younger(&mut story, 15_000);
        let late = |key: &str| Late { key: key.into(), time_ms: 1000 };
        story.history.late.extend([late("g7"), late("g7"), late("g0")]);
        story.history.rows.retain(|row| row.view != WINDOWS || row.key.starts_with("g1"));
        let witness = check(story.history()).expect_err("three of four");
        assert_eq!(witness.why, "3 of 4 events were late for windows");
    }

    #[test]
    fn the_start_of_a_window_is_read_from_its_row() {
        assert_eq!(start_in_ms("g3@1970-01-01T00:00:10Z"), "g3@10000");
        assert_eq!(start_in_ms("g3@2026-02-28T23:59:50Z"), "g3@1772323190000");
        assert_eq!(start_in_ms("g3@2024-02-29T00:00:00Z"), "g3@1709164800000");
        assert_eq!(start_in_ms("g3"), "g3");
    }

    #[test]
    fn without_rows_nothing_is_proven() {
        let mut story = story();
        story.history.rows.clear();
        assert!(check(story.history()).is_err());
    }
}
