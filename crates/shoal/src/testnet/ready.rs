//! When a testnet is ready: every peer says so and sees all others, and every shard has its voters and a leader.

use super::Peer;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Between two questions.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// A peer of this machine that does not answer within this is not ready.
const WAIT: Duration = Duration::from_secs(2);

/// Nothing, or what is missing at one peer.
pub(super) fn peer(peer: &Peer) -> Result<(), String> {
    match peer.ask(WAIT).get("/readyz", &[]) {
        Ok(answer) if answer["ready"] == Value::Bool(true) => Ok(()),
        Ok(answer) => Err(format!("{}: {}", peer.name, crate::show::words(&answer["reasons"]))),
        Err(problem) => Err(format!("{}: {}", peer.name, problem.what)),
    }
}

/// Nothing, or why a peer does not belong to the mesh yet: it answers once it does.
pub(super) fn joined(peer: &Peer) -> Result<(), String> {
    let answer = peer.ask(WAIT).get("/v1/members", &[]);
    answer.map(|_| ()).map_err(|problem| format!("{}: {}", peer.name, problem.what))
}

/// Nothing, or the first thing that is missing.
pub(super) fn mesh(peers: &[Peer]) -> Result<(), String> {
    for one in peers {
        peer(one)?;
    }
    for one in peers {
        let ask =
            |path| one.ask(WAIT).get(path, &[]).map_err(|p| format!("{}: {}", one.name, p.what));
        members(&ask("/v1/members")?, peers.len())?;
        ring(&ask("/v1/ring")?)?;
    }
    Ok(())
}

fn members(answer: &Value, wanted: usize) -> Result<(), String> {
    let list = answer["members"].as_array().map_or(&[][..], Vec::as_slice);
    let alive = list.iter().filter(|member| member["state"] == "alive").count();
    match alive >= wanted {
        true => Ok(()),
        false => Err(format!("{alive} of {wanted} peers are alive")),
    }
}

/// Two peers have one voter and a learner a shard; from three on each copy that the ring wants is a voter.
fn ring(answer: &Value) -> Result<(), String> {
    let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let shards = answer["shards"].as_u64().unwrap_or(0) as usize;
    if rows.len() != shards || shards == 0 {
        return Err(format!("{} of {shards} shards are known", rows.len()));
    }
    for row in rows {
        let ids = |field: &str| -> BTreeSet<i64> {
            row[field].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
        };
        let (voters, learners, target) = (ids("voters"), ids("learners"), ids("target"));
        let whole = match target.len() {
            2 => voters.len() == 1 && voters.union(&learners).eq(&target),
            _ => voters == target,
        };
        if row["leader"].is_null() {
            return Err(format!("shard {} has no leader", row["shard"]));
        }
        if !whole {
            return Err(format!("shard {} has voters {voters:?} of {target:?}", row["shard"]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(leader: Value, voters: Value, learners: Value, target: Value) -> Result<(), String> {
        let row = json!({"shard": 0, "leader": leader, "voters": voters, "learners": learners,
                         "target": target});
        ring(&json!({"shards": 1, "rows": [row]}))
    }

    #[test]
    fn a_shard_without_a_leader_or_a_voter_is_not_ready() {
        assert!(one(json!(1), json!([1, 2, 3]), json!([]), json!([3, 1, 2])).is_ok());
        assert!(one(json!(null), json!([1, 2, 3]), json!([]), json!([3, 1, 2])).is_err());
        assert!(one(json!(1), json!([1, 2]), json!([3]), json!([3, 1, 2])).is_err());
        assert!(one(json!(1), json!([1, 2, 3, 4]), json!([]), json!([3, 1, 2])).is_err());
        assert!(one(json!(1), json!([1]), json!([2]), json!([2, 1])).is_ok());
        assert!(ring(&json!({"shards": 2, "rows": []})).is_err());
        assert!(ring(&json!({})).is_err());
    }
}
