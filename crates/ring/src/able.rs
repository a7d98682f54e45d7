//! Who can do a shard's work: a task runs where its shard is led, so the lead belongs to a peer that has its code.

use crate::Ring;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use model::catalogue::{Enrolled, Pipeline};
use model::hash::shard_of;
use model::{Catalogue, PeerId};

/// For each shard, the peers of its target that hold the code of most of its tasks; nobody where there is no task, or
/// no code for any: then all are alike.
pub fn able(catalogue: &Catalogue, ring: &Ring) -> Vec<BTreeSet<PeerId>> {
    let mut tasks: Vec<BTreeMap<PeerId, usize>> = Vec::new();
    tasks.resize_with(usize::from(ring.shards()), BTreeMap::new);
    for pipeline in catalogue.pipelines.values() {
        let holders: BTreeSet<PeerId> = catalogue
            .roster
            .values()
            .filter(|peer| has_code(peer, pipeline))
            .map(|peer| peer.id)
            .collect();
        for stage in &pipeline.stages {
            for bucket in 0..stage.buckets {
                let shard = shard_of(stage.id.0, bucket, ring.shards());
                for peer in ring.target(shard).iter().filter(|peer| holders.contains(*peer)) {
                    *tasks[usize::from(shard.0)].entry(*peer).or_default() += 1;
                }
            }
        }
    }
    let best = |tasks: BTreeMap<PeerId, usize>| {
        let most = tasks.values().max().copied();
        tasks.into_iter().filter(|(_, count)| Some(*count) == most).map(|(peer, _)| peer).collect()
    };
    tasks.into_iter().map(best).collect()
}

fn has_code(peer: &Enrolled, pipeline: &Pipeline) -> bool {
    let same = |name: &str, version| name == pipeline.name && version == pipeline.version;
    peer.holds.iter().any(|(name, version, _)| same(name, *version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seat;
    use model::StageId;
    use model::catalogue::{Addresses, Stage};

    fn peer(id: i32, holds: &[&str]) -> Enrolled {
        Enrolled {
            id: PeerId(id),
            key: vec![id as u8],
            name: format!("p{id}"),
            zone: String::new(),
            weight: 100,
            addresses: Addresses::default(),
            incarnation: 1,
            holds: holds.iter().map(|name| (name.to_string(), 1, 0)).collect(),
            version: String::new(),
        }
    }

    fn pipeline(name: &str, id: u128, buckets: u32) -> Pipeline {
        let stage = Stage {
            id: StageId(id),
            name: "count".into(),
            buckets,
            sources: Vec::new(),
            view: None,
            output: None,
            dead: None,
            sides: Vec::new(),
        };
        Pipeline {
            name: name.into(),
            version: 1,
            fingerprint: 0,
            stages: vec![stage],
            next: None,
            paused: false,
            round: 0,
        }
    }

    fn catalogue(peers: &[(i32, &[&str])], pipelines: Vec<Pipeline>) -> (Catalogue, Ring) {
        let roster = peers.iter().map(|(id, holds)| (PeerId(*id), peer(*id, holds))).collect();
        let pipelines = pipelines.into_iter().map(|p| (p.name.clone(), p)).collect();
        let catalogue = Catalogue { roster, pipelines, ..Catalogue::default() };
        let seats: Vec<Seat> = peers
            .iter()
            .map(|(id, _)| Seat { peer: PeerId(*id), zone: String::new(), weight: 100 })
            .collect();
        let ring = Ring::new(&seats, 4, 3);
        (catalogue, ring)
    }

    fn ids(ids: &[i32]) -> BTreeSet<PeerId> {
        ids.iter().map(|id| PeerId(*id)).collect()
    }

    #[test]
    fn who_has_the_code_of_a_shards_tasks_can_do_its_work() {
        let peers: &[(i32, &[&str])] = &[(1, &["words"]), (2, &[]), (3, &["words"])];
        let (all, ring) = catalogue(peers, vec![pipeline("words", 9, 4)]);
        assert_eq!(able(&all, &ring), vec![ids(&[1, 3]); 4]);
        let (none, ring) = catalogue(peers, vec![pipeline("other", 9, 4)]);
        assert_eq!(able(&none, &ring), vec![ids(&[]); 4], "no code: all are alike");
        let shard = shard_of(9, 0, 4);
        let (one, ring) = catalogue(peers, vec![pipeline("words", 9, 1)]);
        for (place, found) in able(&one, &ring).into_iter().enumerate() {
            let wanted = if place == usize::from(shard.0) { ids(&[1, 3]) } else { ids(&[]) };
            assert_eq!(found, wanted, "shard {place}");
        }
    }

    #[test]
    fn of_two_pipelines_in_a_shard_the_most_tasks_decide() {
        let peers: &[(i32, &[&str])] = &[(1, &["one"]), (2, &["one", "two"]), (3, &["two"])];
        let pipelines = vec![pipeline("one", 9, 4), pipeline("two", 9, 4)];
        let (both, ring) = catalogue(peers, pipelines);
        assert_eq!(able(&both, &ring), vec![ids(&[2]); 4]);
    }

    #[test]
    fn another_version_is_other_code() {
        let newer = Pipeline { version: 2, ..pipeline("words", 9, 4) };
        let (found, ring) = catalogue(&[(1, &["words"]), (2, &[]), (3, &[])], vec![newer]);
        assert_eq!(able(&found, &ring), vec![ids(&[]); 4]);
    }
}
