//! Holds the views against what they must be, row by row, both ways.

use super::oracle::{Expected, Hour};
use door::http::ViewRow;
use serde_json::Value;
use std::collections::BTreeMap;

/// Differences that are told by name; the rest is a number.
const TOLD_MAX: usize = 5;

/// Whether the mesh counted right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Rows that were compared.
    pub rows: usize,
    /// What the expected rows are made of, and how many of that.
    pub what: &'static str,
    pub events: u64,
    /// One sentence for each row that is wrong, missing or too much.
    pub wrong: Vec<String>,
}

impl Verdict {
    pub fn new(what: &'static str, events: u64) -> Self {
        Self { rows: 0, what, events, wrong: Vec::new() }
    }

    /// Compares every row of both views of the flights.
    pub fn of(expected: &Expected, hours: &[ViewRow], airports: &[ViewRow]) -> Self {
        let mut verdict = Self::new("departures", expected.airport_departures.values().sum());
        verdict.compare("carrier_hours", &expected.carrier_hours, hours, is_hour);
        verdict.compare(
            "airport_departures",
            &expected.airport_departures,
            airports,
            |count, row| row.as_u64() == Some(*count),
        );
        verdict
    }

    pub fn is_equal(&self) -> bool {
        self.wrong.is_empty()
    }

    pub fn compare<T: std::fmt::Debug>(
        &mut self,
        view: &str,
        expected: &BTreeMap<String, T>,
        rows: &[ViewRow],
        is_equal: impl Fn(&T, &Value) -> bool,
    ) {
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        for row in rows {
            let key = row.key.plain();
            if found.insert(key.clone(), row.value.parsed()).is_some() {
                self.wrong.push(format!("{view}: {key} is there twice"));
            }
        }
        for (key, wanted) in expected {
            self.rows += 1;
            match found.remove(key) {
                Some(value) if is_equal(wanted, &value) => {}
                Some(value) => {
                    self.wrong.push(format!("{view}: {key} is {value}, should be {wanted:?}"));
                }
                None => self.wrong.push(format!("{view}: {key} is missing")),
            }
        }
        for (key, value) in found {
            self.rows += 1;
            self.wrong.push(format!("{view}: {key} is {value}, should not be there"));
        }
    }

    /// The verdict for people.
    pub fn text(&self) -> String {
        if self.is_equal() {
            return format!(
                "All {} totals are equal to those computed from the events alone ({} {}).",
                self.rows, self.events, self.what
            );
        }
        let mut lines = vec![format!("{} of {} totals differ:", self.wrong.len(), self.rows)];
        lines.extend(self.wrong.iter().take(TOLD_MAX).map(|line| format!("  {line}")));
        if self.wrong.len() > TOLD_MAX {
            lines.push(format!("  … and {} more", self.wrong.len() - TOLD_MAX));
        }
        lines.join("\n")
    }
}

fn is_hour(wanted: &Hour, row: &Value) -> bool {
    let mean = wanted.delay_min as f64 / wanted.departures as f64;
    // The view rounds its mean to two digits.
    let is_mean = row["mean_delay"].as_f64().is_some_and(|shown| (shown - mean).abs() < 0.005_1);
    row["departures"].as_u64() == Some(wanted.departures)
        && row["delay_min"].as_i64() == Some(wanted.delay_min)
        && is_mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(key: &str, value: Value) -> ViewRow {
        ViewRow { key: key.into(), value: (&value).into() }
    }

    fn expected() -> Expected {
        let hour = Hour { departures: 3, delay_min: 10 };
        Expected {
            carrier_hours: [("UA@2013-01-01T10:00:00Z".to_owned(), hour)].into(),
            airport_departures: [("EWR".to_owned(), 3)].into(),
        }
    }

    fn hour(departures: u64, mean: f64) -> ViewRow {
        let value = json!({"departures": departures, "delay_min": 10, "mean_delay": mean});
        row("UA@2013-01-01T10:00:00Z", value)
    }

    #[test]
    fn equal_rows_are_equal() {
        let verdict = Verdict::of(&expected(), &[hour(3, 3.33)], &[row("EWR", json!(3))]);
        assert!(verdict.is_equal(), "{}", verdict.text());
        assert_eq!((verdict.rows, verdict.events), (2, 3));
    }

    #[test]
    fn a_wrong_a_missing_a_doubled_and_a_superfluous_row_are_each_found() {
        let twice = [row("EWR", json!(3)), row("EWR", json!(3))];
        for (hours, airports) in [
            (vec![hour(2, 3.33)], vec![row("EWR", json!(3))]),
            (vec![hour(3, 3.4)], vec![row("EWR", json!(3))]),
            (vec![], vec![row("EWR", json!(3))]),
            (vec![hour(3, 3.33)], vec![row("EWR", json!(3)), row("XXX", json!(1))]),
            (vec![hour(3, 3.33)], twice.to_vec()),
        ] {
            let verdict = Verdict::of(&expected(), &hours, &airports);
            assert_eq!(verdict.wrong.len(), 1, "{}", verdict.text());
        }
    }
}
