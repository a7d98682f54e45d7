//! What would move if the mesh changed its shape. Computes two rings and compares them; changes nothing.

use super::answer::ok;
use super::{Asked, Failure, Json};
use crate::board::ring_of;
use axum::extract::{Query, State};
use door::http::{Plan, PlanMove, PlanQuery};
use model::catalogue::{Addresses, Away, Catalogue, Enrolled};
use model::hash::shard_of;
use model::{PartitionId, PeerId, Problem, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// Peers that a plan may add: what a ring of them costs to compute is bounded by it.
const ADD_MAX: u16 = 1_000;
const USUAL_WEIGHT: u32 = 100;

pub async fn plan(
    State(asked): State<Asked>,
    Query(query): Query<PlanQuery>,
) -> Result<Json<Plan>, Failure> {
    // Rings of many peers and the sizes of many files take their time.
    let planned = tokio::task::spawn_blocking(move || planned(&asked, &query)).await;
    match planned {
        Ok(plan) => ok(plan?),
        Err(error) => Err(crate::problems::internal("no plan was made", error.to_string()).into()),
    }
}

fn planned(asked: &Asked, query: &PlanQuery) -> Result<Plan, Problem> {
    let board = &asked.router.board;
    let catalogue = board.catalogue();
    let next = reshaped(&catalogue, query)?;
    let now = board.ring();
    let then = ring_of(&next, board.shards(), next.replication);
    let plan = ring::plan(&now, &then);
    let moves: Vec<PlanMove> = plan
        .handoffs
        .iter()
        .map(|it| PlanMove {
            shard: it.shard.0,
            from: it.from.map(|peer| peer.0),
            to: it.to.map(|peer| peer.0),
        })
        .collect();
    let coming = moves.iter().filter(|it| it.to.is_some()).count() as u64;
    let mean = mean_bytes(asked, &catalogue);
    Ok(Plan {
        replicas: now.targets().map(|(_, peers)| peers.len() as u32).sum(),
        leads: plan.leads.len() as u32,
        bytes_about: mean.map(|mean| mean.saturating_mul(coming)),
        seconds_about: mean
            .map(|mean| mean.saturating_mul(most_to_one(&moves)).div_ceil(asked.throttle.rate())),
        moves,
    })
}

/// How many copies the peer takes that takes the most: it is the last to be done.
fn most_to_one(moves: &[PlanMove]) -> u64 {
    let mut taken = BTreeMap::<i32, u64>::new();
    for to in moves.iter().filter_map(|it| it.to) {
        *taken.entry(to).or_default() += 1;
    }
    taken.into_values().max().unwrap_or_default()
}

/// The catalogue as it would be.
fn reshaped(catalogue: &Catalogue, query: &PlanQuery) -> Result<Catalogue, Problem> {
    let mut next = catalogue.clone();
    if query.add > ADD_MAX {
        return Err(Problem::new(
            "SH0404",
            format!("{} peers are too many for one plan", query.add),
            format!("a plan adds at most {ADD_MAX}"),
            format!("shoal mesh plan --add {ADD_MAX}"),
        ));
    }
    for word in query.drain.split(',').filter(|word| !word.is_empty()) {
        let peer = word.parse().ok().map(PeerId);
        let Some(peer) = peer.filter(|peer| next.roster.contains_key(peer)) else {
            let because = "no peer of this id is in the roster";
            return Err(Problem::new(
                "SH0305",
                format!("there is no peer {word}"),
                because,
                "shoal members",
            ));
        };
        next.away.insert(peer, Away::Drained);
    }
    for _ in 0..query.add {
        let id = PeerId(next.next_peer);
        next.next_peer += 1;
        next.roster.insert(id, ordinary(id));
    }
    if next.seats() == 0 {
        return Err(Problem::new(
            "SH0507",
            "nobody would be left to hold shards",
            "every peer would be drained",
            "shoal mesh plan --add 1 with it, or drain fewer",
        ));
    }
    Ok(next)
}

fn ordinary(id: PeerId) -> Enrolled {
    Enrolled {
        id,
        key: Vec::new(),
        name: id.to_string(),
        zone: String::new(),
        weight: USUAL_WEIGHT,
        addresses: Addresses::default(),
        incarnation: 0,
        holds: Vec::new(),
        version: String::new(),
    }
}

/// Bytes of events in a shard, by the mean of those that are here.
fn mean_bytes(asked: &Asked, catalogue: &Catalogue) -> Option<u64> {
    let board = &asked.router.board;
    let here: BTreeSet<ShardId> =
        (0..board.shards()).map(ShardId).filter(|shard| board.here(*shard)).collect();
    let mut bytes = 0u64;
    for stream in catalogue.streams.values() {
        for partition in 0..stream.partitions {
            if here.contains(&shard_of(stream.placement, partition, board.shards())) {
                let id = PartitionId { stream: stream.id, partition };
                // A partition without events has no files yet.
                let files = asked.segments.files(id).unwrap_or_default();
                bytes += files.iter().map(|file| file.bytes).sum::<u64>();
            }
        }
    }
    (!here.is_empty()).then(|| bytes / here.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(peers: i32) -> Catalogue {
        let mut catalogue = Catalogue { shards: 64, replication: 3, ..Catalogue::default() };
        catalogue.next_peer = peers + 1;
        let roster = (1..=peers).map(PeerId).map(|id| (id, ordinary(id)));
        catalogue.roster = roster.collect();
        catalogue
    }

    #[test]
    fn a_plan_adds_peers_and_drains_others_and_changes_nothing() {
        let catalogue = mesh(3);
        let query = PlanQuery { add: 2, drain: "3".into() };
        let next = reshaped(&catalogue, &query).expect("it can be done");
        assert_eq!((next.roster.len(), next.seats(), catalogue.seats()), (5, 4, 3));
        let plan = ring::plan(&ring_of(&catalogue, 64, 3), &ring_of(&next, 64, 3));
        let from_3 = plan.handoffs.iter().filter(|it| it.from == Some(PeerId(3))).count();
        assert_eq!(from_3, 64, "p3 held a copy of every shard");
        assert!(plan.handoffs.iter().all(|it| it.to != Some(PeerId(3))));
    }

    #[test]
    fn a_plan_of_nonsense_is_refused() {
        let refused = |add, drain: &str| {
            reshaped(&mesh(2), &PlanQuery { add, drain: drain.into() }).expect_err("refused").code
        };
        assert_eq!(refused(0, "1,2"), "SH0507");
        assert_eq!(refused(0, "9"), "SH0305");
        assert_eq!(refused(0, "p1"), "SH0305");
        assert_eq!(refused(ADD_MAX + 1, ""), "SH0404");
    }
}
