//! What a change of the catalogue means when it is applied.
//!
//! Invariants: K1 ids are handed out once; K2 the epoch is the index of the last change that moves the ring; K3
//! what was true already changes nothing and is answered as before; K8 the founder is enrolled first: it has lived
//! under the first id since before there was a log.

mod register;
mod streams;
#[cfg(test)]
mod tests;

use model::catalogue::{Catalogue, Change, Changed, Enrolled};
use model::id::FOUNDER;
use model::{Epoch, MeshId, PeerId};
use std::sync::Arc;

/// The format version that a mesh founded by this build writes.
const LEVEL: u32 = 1;

/// Applies one change at an index of shard 0's log.
pub fn change(current: &mut Option<Arc<Catalogue>>, index: u64, change: Change) -> Changed {
    let Some(shared) = current else {
        return match change {
            Change::Found { mesh, shards, replication } => {
                *current = Some(Arc::new(founded(index, mesh, shards, replication)));
                Changed::Done { index }
            }
            _ => refused("SH0104", "the mesh is not founded"),
        };
    };
    if let Change::Join(enrolled) = &change
        && is_too_early(shared, enrolled)
    {
        return refused(
            "SH0505",
            "the mesh is being founded: its founder is not in the roster yet",
        );
    }
    let catalogue = Arc::make_mut(shared);
    match change {
        Change::Found { mesh, shards, replication } => {
            let same = (catalogue.mesh, catalogue.shards, catalogue.replication);
            if same == (mesh, shards, replication) {
                return Changed::Done { index: catalogue.index };
            }
            refused("SH0104", "the mesh is founded with other settings")
        }
        Change::Join(enrolled) => join(catalogue, index, enrolled),
        Change::Remove { peer } => remove(catalogue, index, peer),
        Change::CreateStream { id, name, partitions, settings } => {
            streams::create(catalogue, index, streams::New { id, name, partitions, settings })
        }
        Change::Configure { stream, from, to } => {
            streams::configure(catalogue, index, stream, (from, to))
        }
        Change::Grow { stream, partitions } => streams::grow(catalogue, index, stream, partitions),
        Change::DeleteStream { stream } => streams::delete(catalogue, index, stream),
        Change::Register(registration) => register::register(catalogue, index, registration),
        Change::Weigh { peer, weight } => weigh(catalogue, index, peer, weight),
    }
}

fn founded(index: u64, mesh: MeshId, shards: u16, replication: u8) -> Catalogue {
    Catalogue {
        mesh,
        index,
        level: LEVEL,
        shards,
        replication,
        next_peer: FOUNDER.0,
        ..Catalogue::default()
    }
}

/// K8: nobody is enrolled before the founder, or its id would be another's.
fn is_too_early(catalogue: &Catalogue, enrolled: &Enrolled) -> bool {
    catalogue.next_peer == FOUNDER.0 && enrolled.id != FOUNDER
}

fn refused(code: &str, because: impl Into<String>) -> Changed {
    Changed::Refused { code: code.into(), because: because.into() }
}

fn join(catalogue: &mut Catalogue, index: u64, mut enrolled: Enrolled) -> Changed {
    let known = catalogue.roster.values_mut().find(|peer| peer.key == enrolled.key);
    let peer = match known {
        Some(known) if known.incarnation > enrolled.incarnation => known.id,
        Some(known) => {
            let moved = known.zone != enrolled.zone;
            (enrolled.id, enrolled.weight) = (known.id, known.weight);
            if *known != enrolled {
                *known = enrolled;
                catalogue.index = index;
            }
            let id = known.id;
            if moved {
                catalogue.epoch = Epoch(index);
            }
            id
        }
        None => {
            let id = PeerId(catalogue.next_peer);
            catalogue.next_peer += 1;
            enrolled.id = id;
            catalogue.roster.insert(id, enrolled);
            (catalogue.index, catalogue.epoch) = (index, Epoch(index));
            id
        }
    };
    register::activate(catalogue, index);
    Changed::Joined { peer, index: catalogue.index }
}

fn remove(catalogue: &mut Catalogue, index: u64, peer: PeerId) -> Changed {
    if !catalogue.roster.contains_key(&peer) {
        return refused("SH0305", format!("{peer} is not in the roster"));
    }
    if catalogue.roster.len() == 1 {
        return refused("SH0305", format!("{peer} is the last of the roster"));
    }
    catalogue.roster.remove(&peer);
    (catalogue.index, catalogue.epoch) = (index, Epoch(index));
    register::activate(catalogue, index);
    Changed::Done { index }
}

fn weigh(catalogue: &mut Catalogue, index: u64, peer: PeerId, weight: u32) -> Changed {
    let Some(known) = catalogue.roster.get_mut(&peer) else {
        return refused("SH0305", format!("{peer} is not in the roster"));
    };
    if known.weight != weight {
        known.weight = weight;
        (catalogue.index, catalogue.epoch) = (index, Epoch(index));
    }
    Changed::Done { index: catalogue.index }
}
