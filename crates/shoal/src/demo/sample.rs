//! The flights as they are sent: read from the sample in the binary, in order of time, each as one JSON event.
//!
//! `examples/make_flights.py` says where the sample comes from and what its columns mean.

use anyhow::{Context, ensure};
use flate2::read::GzDecoder;
use serde::Serialize;
use std::io::Read;

const PACKED: &[u8] = include_bytes!("../../../../examples/flights-2013-01.csv.gz");
/// Rows of the sample.
pub const FLIGHTS: usize = 27_004;
/// The sample takes 2 MB; more would be another file.
const BYTES_MAX: u64 = 16 << 20;
const DAY_MS: i64 = 86_400_000;

/// One event: a flight that left, or was cancelled when it should have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flight<'a> {
    pub time: &'a str,
    pub carrier: &'a str,
    pub flight: u32,
    pub tailnum: &'a str,
    pub origin: &'a str,
    pub dest: &'a str,
    pub scheduled: &'a str,
    /// Minutes late, negative if early; none if it never left.
    pub dep_delay: Option<i64>,
    pub arr_delay: Option<i64>,
    pub air_time: Option<u32>,
    pub distance: u32,
}

/// The sample's text.
pub fn text() -> anyhow::Result<String> {
    let mut text = String::new();
    GzDecoder::new(PACKED).take(BYTES_MAX).read_to_string(&mut text).context("unpack flights")?;
    Ok(text)
}

/// The flights of the sample.
pub fn flights(text: &str) -> anyhow::Result<Vec<Flight<'_>>> {
    let rows = text.lines().skip(1);
    rows.map(|row| flight(row).with_context(|| format!("read the flight `{row}`"))).collect()
}

fn flight(row: &str) -> anyhow::Result<Flight<'_>> {
    let fields: Vec<&str> = row.split(',').collect();
    let [
        time,
        scheduled,
        dep_delay,
        arr_delay,
        carrier,
        flight,
        tailnum,
        origin,
        dest,
        air_time,
        distance,
    ] = fields[..]
    else {
        anyhow::bail!("{} columns", fields.len())
    };
    Ok(Flight {
        time,
        carrier,
        flight: flight.parse()?,
        tailnum,
        origin,
        dest,
        scheduled,
        dep_delay: optional(dep_delay)?,
        arr_delay: optional(arr_delay)?,
        air_time: optional(air_time)?,
        distance: distance.parse()?,
    })
}

fn optional<T: std::str::FromStr>(field: &str) -> Result<Option<T>, T::Err> {
    if field.is_empty() { Ok(None) } else { field.parse().map(Some) }
}

impl Flight<'_> {
    /// Milliseconds since 1970 of [`Flight::time`].
    pub fn time_ms(&self) -> anyhow::Result<i64> {
        let digits = |from: usize, to: usize| -> anyhow::Result<i64> {
            let part = self.time.get(from..to).context("a time is too short")?;
            Ok(part.parse()?)
        };
        ensure!(self.time.len() == 17, "`{}` is not a time", self.time);
        let days = days(digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        Ok(days * DAY_MS + digits(11, 13)? * 3_600_000 + digits(14, 16)? * 60_000)
    }
}

/// Days since 1970 of a date (Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_whole_and_in_order_of_time() {
        let text = text().expect("unpacks");
        let flights = flights(&text).expect("reads");
        assert_eq!(flights.len(), FLIGHTS);
        let times: Vec<i64> =
            flights.iter().map(|flight| flight.time_ms().expect("a time")).collect();
        assert!(times.is_sorted());
        // 1 January 2013, 10:17 UTC.
        assert_eq!(times[0], 1_357_035_420_000);
        assert_eq!(flights.iter().filter(|flight| flight.dep_delay.is_none()).count(), 521);
    }

    #[test]
    fn a_flight_is_one_json_object() {
        let row = "2013-01-01T10:17Z,2013-01-01T10:15Z,2,,UA,1545,N14228,EWR,IAH,227,1400";
        let json = serde_json::to_value(flight(row).expect("reads")).expect("serializes");
        assert_eq!((json["carrier"].as_str(), json["dep_delay"].as_i64()), (Some("UA"), Some(2)));
        assert!(json["arr_delay"].is_null());
    }
}
