//! What the answers must be: computed from the sample's text alone, with plain maps.
//!
//! Shares nothing with the pipelines or with what is sent: it reads the columns by their names itself, and takes
//! the hour from the text of the time, not from a number.

use anyhow::Context;
use std::collections::BTreeMap;

/// Departures and minutes of delay of one carrier in one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    pub departures: u64,
    pub delay_min: i64,
}

/// Every row that the two views must have, by its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// `UA@2013-01-01T10:00:00Z`.
    pub carrier_hours: BTreeMap<String, Hour>,
    /// `EWR`.
    pub airport_departures: BTreeMap<String, u64>,
}

/// Counts the sample.
pub fn count(csv: &str) -> anyhow::Result<Expected> {
    let mut lines = csv.split('\n').filter(|line| !line.is_empty());
    let head: Vec<&str> = lines.next().context("the sample is empty")?.split(',').collect();
    let column = |name: &str| {
        let at = head.iter().position(|column| *column == name);
        at.with_context(|| format!("the sample has no column `{name}`"))
    };
    let (time, delay) = (column("time")?, column("dep_delay")?);
    let (carrier, origin) = (column("carrier")?, column("origin")?);
    let mut expected = Expected::default();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells.get(at).copied().with_context(|| format!("cut: `{line}`"));
        // A flight without a delay never left.
        if cell(delay)?.is_empty() {
            continue;
        }
        let hour = cell(time)?.get(.."2013-01-01T10".len()).context("a time is cut")?;
        let key = format!("{}@{hour}:00:00Z", cell(carrier)?);
        let row = expected.carrier_hours.entry(key).or_default();
        row.departures += 1;
        row.delay_min += cell(delay)?.parse::<i64>()?;
        *expected.airport_departures.entry(cell(origin)?.to_owned()).or_default() += 1;
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sample;

    #[test]
    fn both_ways_of_counting_add_up_to_every_flight_that_left() {
        let expected = count(&sample::text().expect("unpacks")).expect("counts");
        let by_hour: u64 = expected.carrier_hours.values().map(|hour| hour.departures).sum();
        let by_airport: u64 = expected.airport_departures.values().sum();
        // 521 of the flights were cancelled.
        assert_eq!(by_hour, sample::FLIGHTS as u64 - 521);
        assert_eq!(by_airport, by_hour);
        assert_eq!(expected.airport_departures.len(), 3);
        let carriers: std::collections::BTreeSet<&str> =
            expected.carrier_hours.keys().filter_map(|key| key.split('@').next()).collect();
        assert_eq!(carriers.len(), 16);
    }

    #[test]
    fn hours_are_those_of_the_departure() {
        let csv = "dep_delay,time,origin,carrier\n\
                   70,2013-01-01T11:05Z,EWR,UA\n-5,2013-01-01T11:59Z,JFK,UA\n,2013-01-01T11:30Z,JFK,UA\n";
        let expected = count(csv).expect("counts");
        let hour = expected.carrier_hours["UA@2013-01-01T11:00:00Z"];
        assert_eq!(hour, Hour { departures: 2, delay_min: 65 });
        assert_eq!(expected.airport_departures.into_values().collect::<Vec<_>>(), [1, 1]);
    }
}
