//! The pipelines that `demo` and `bench` run in their peers. A peer gets them by a hidden flag of `start`.

use flow::{Pipelines, Tumbling};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The stream of flights, and the views that are kept of it.
pub(crate) const FLIGHTS: &str = "flights";
pub(crate) const HOURS: &str = "carrier_hours";
pub(crate) const AIRPORTS: &str = "airport_departures";
/// Partitions of `bench` if nothing else is said.
const BENCH_PARTITIONS: u32 = 16;
/// A quiet partition must not let the others close an hour that its next flight belongs to: the replay compresses
/// hours to milliseconds, so that a pause of the machine is a long time in it.
const QUIET: Duration = Duration::from_secs(3600);
const LATE: Duration = Duration::from_secs(6 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// What the pipelines need of a flight.
#[derive(Debug, Serialize, Deserialize)]
struct Departure {
    carrier: String,
    origin: String,
    /// None if it never left.
    dep_delay: Option<i64>,
}

/// A row of [`HOURS`].
#[derive(Debug, Serialize)]
struct Hour {
    departures: u64,
    delay_min: i64,
    /// Minutes, to two digits.
    mean_delay: f64,
}

/// Registers the pipelines called `name`: `flights`, `ads`, `bench`, or `bench:PARTITIONS`. False if there are none.
pub fn pipelines(name: &str, mesh: &mut Pipelines) -> bool {
    let (name, partitions) = match name.split_once(':') {
        None => (name, BENCH_PARTITIONS),
        Some((name, number)) => match number.parse() {
            Ok(partitions) => (name, partitions),
            Err(_) => return false,
        },
    };
    match name {
        "flights" => flights(mesh),
        "ads" => super::ads::pipelines(mesh),
        "bench" => bench(mesh, partitions),
        _ => return false,
    }
    true
}

fn flights(mesh: &mut Pipelines) {
    mesh.pipeline("carriers")
        .read(FLIGHTS)
        .json::<Departure>()
        .filter(|flight| flight.dep_delay.is_some())
        .idle_after(QUIET)
        .key_by(|flight| flight.carrier.clone())
        .window(Tumbling::of(HOUR))
        .allow_late(LATE)
        .aggregate(
            || (0, 0),
            |(departures, delay_min): &mut (u64, i64), flight| {
                *departures += 1;
                *delay_min += flight.dep_delay.unwrap_or_default();
            },
            |(departures, delay_min)| Hour {
                departures: *departures,
                delay_min: *delay_min,
                mean_delay: (*delay_min as f64 / *departures as f64 * 100.0).round() / 100.0,
            },
        )
        .view(HOURS);
    mesh.pipeline("airports")
        .read(FLIGHTS)
        .json::<Departure>()
        .filter(|flight| flight.dep_delay.is_some())
        .key_by(|flight| flight.origin.clone())
        .count()
        .view(AIRPORTS);
}

/// A bucket a partition, so that an event's count is kept where its key's partition number says.
fn bench(mesh: &mut Pipelines, partitions: u32) {
    mesh.pipeline(crate::bench::PIPELINE)
        .read_with(crate::bench::STREAM, partitions)
        .key_by(|event| event.key())
        .count()
        .buckets(partitions)
        .view(crate::bench::VIEW);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::verdict::Verdict;
    use crate::demo::{oracle, sample};
    use door::http::ViewRow;
    use flow::testing::TestMesh;

    #[test]
    fn every_demo_pipeline_is_well_formed() {
        for (name, views) in [("flights", 2), ("ads", 1), ("bench", 1), ("bench:4", 1)] {
            let mut mesh = Pipelines::new();
            assert!(pipelines(name, &mut mesh), "{name}");
            mesh.check().expect("well-formed");
            assert_eq!(mesh.holds().len(), views);
        }
        let mut mesh = Pipelines::new();
        assert!(!pipelines("nonsense", &mut mesh) && !pipelines("bench:x", &mut mesh));
    }

    #[test]
    fn the_pipelines_and_the_independent_count_agree_on_the_whole_sample() {
        let csv = sample::text().expect("unpacks");
        let mut mesh = TestMesh::of(|mesh| assert!(pipelines("flights", mesh))).seed(1);
        for flight in sample::flights(&csv).expect("reads") {
            let json = serde_json::to_vec(&flight).expect("serializes");
            mesh.send_at(FLIGHTS, flight.tailnum, json, flight.time_ms().expect("a time"));
        }
        mesh.run();
        let rows = |view: &str| -> Vec<ViewRow> {
            let rows = mesh.view(view).rows().into_iter();
            rows.map(|(key, value)| ViewRow { key: key.as_str().into(), value: (&value).into() })
                .collect()
        };
        let expected = oracle::count(&csv).expect("counts");
        let verdict = Verdict::of(&expected, &rows(HOURS), &rows(AIRPORTS));
        assert!(verdict.is_equal(), "{}", verdict.text());
        assert!(mesh.dead("carriers.carrier_hours").is_empty());
        assert!(verdict.rows > 5_000);
    }
}
