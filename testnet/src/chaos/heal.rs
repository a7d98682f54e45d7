//! After the faults: every shard is led and has all its voters, every peer is ready and sees all others, in time; and
//! every partition takes events again.

use super::peers::Peers;
use crate::check::Witness;
use crate::history::History;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the mesh is whole, and says how long that took.
pub fn wait(peers: &mut Peers, limit: Duration) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        peers.tend()?;
        match whole(peers) {
            Ok(()) => return Ok(began.elapsed()),
            Err(why) if began.elapsed() > limit => {
                return Err(why.context(format!("the mesh is not whole after {limit:?}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Nothing, or what is missing.
pub fn whole(peers: &Peers) -> anyhow::Result<()> {
    let count = peers.all.len();
    for peer in 1..=count {
        peers.get(peer, "/readyz")?;
        let members = peers.get(peer, "/v1/members")?;
        let alive = list(&members["members"]).filter(|member| member["state"] == "alive").count();
        ensure!(alive == count, "p{peer} sees {alive} of {count} peers alive");
        let ring = peers.get(peer, "/v1/ring")?;
        let rows: Vec<&Value> = list(&ring["rows"]).collect();
        ensure!(
            Some(rows.len() as u64) == ring["shards"].as_u64(),
            "p{peer} does not know all shards"
        );
        rows.into_iter().try_for_each(shard).with_context(|| format!("as p{peer} sees it"))?;
    }
    Ok(())
}

fn shard(row: &Value) -> anyhow::Result<()> {
    let ids = |field: &str| list(&row[field]).filter_map(Value::as_i64).collect::<BTreeSet<i64>>();
    ensure!(!row["leader"].is_null(), "shard {} has no leader", row["shard"]);
    let (voters, target) = (ids("voters"), ids("target"));
    ensure!(voters == target, "shard {} has voters {voters:?} of {target:?}", row["shard"]);
    Ok(())
}

/// Whether each partition acknowledged an event soon after the mesh was whole, at a time as histories have it.
pub fn serves(
    history: &History,
    partitions: u32,
    whole: u64,
    limit: Duration,
) -> Result<(), Witness> {
    let end = whole.saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    let soon = history.acked().filter(|append| (whole..=end).contains(&append.returned));
    let served: BTreeSet<u32> = soon.filter_map(|append| Some(append.place?.0)).collect();
    let not: Vec<u32> = (0..partitions).filter(|partition| !served.contains(partition)).collect();
    if not.is_empty() {
        return Ok(());
    }
    let why =
        format!("nothing was acknowledged within {limit:?} of a whole mesh in partitions {not:?}");
    let before = history.acked().filter(|append| append.place.is_some_and(|(p, _)| p == not[0]));
    Err(match before.max_by_key(|append| append.returned) {
        Some(last) => Witness::new(why).line(last),
        None => Witness::new(why),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Append, Id, Outcome};

    #[test]
    fn a_partition_without_an_acknowledgement_soon_after_the_mesh_is_whole_is_not_served() {
        let acked = |number: u32, partition: u32, returned: u64| Append {
            id: Id { client: 1, number },
            key: 7,
            called: returned - 1,
            returned,
            outcome: Outcome::Acked,
            place: Some((partition, i64::from(number))),
        };
        let (whole, limit) = (1_000, Duration::from_nanos(500));
        let of = |appends: &[Append]| {
            let history = History { appends: appends.to_vec(), ..History::default() };
            serves(&history, 2, whole, limit)
        };
        let first = acked(1, 0, 1_200);
        assert_eq!(of(&[first, acked(2, 1, 1_500)]), Ok(()));
        let early = of(&[first, acked(2, 1, 900)]).expect_err("before it was whole");
        assert!(early.why.ends_with("in partitions [1]") && early.lines.len() == 1, "{early}");
        assert!(of(&[first, acked(2, 1, 1_501)]).is_err(), "too late");
        let unknown = Append { outcome: Outcome::Unknown, ..acked(2, 1, 1_300) };
        assert!(of(&[first, unknown]).is_err());
    }
}
