//! After the faults: every shard is led and has all its voters, every peer is ready and sees all others, in time.

use super::peers::Peers;
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

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
