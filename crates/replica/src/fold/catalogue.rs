//! What a change of the catalogue means when it is applied.
//!
//! Invariants: K1 ids are handed out once; K2 the epoch is the index of the last change that moves the ring; K3
//! what was true already changes nothing and is answered as before.

mod delete;
mod register;
mod roster;
mod streams;
#[cfg(test)]
mod tests;

use model::MeshId;
use model::catalogue::{Catalogue, Change, Changed};
use model::id::FOUNDER;
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
    if let Change::Join { enrolled, .. } = &change
        && roster::is_too_early(shared, enrolled)
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
        Change::Join { enrolled, replaces } => roster::join(catalogue, index, enrolled, replaces),
        Change::Remove { peer, incarnation, shrink } => {
            roster::remove(catalogue, index, peer, incarnation, shrink)
        }
        Change::Drain { peer, away, shrink } => roster::drain(catalogue, index, peer, away, shrink),
        Change::CreateStream { id, name, partitions, settings, most } => {
            let new = streams::New { id, name, partitions, settings };
            streams::create(catalogue, index, new, most)
        }
        Change::Configure { stream, from, to } => {
            streams::configure(catalogue, index, stream, (from, to))
        }
        Change::Grow { stream, partitions, most } => {
            streams::grow(catalogue, index, stream, (partitions, most))
        }
        Change::DeleteStream { stream } => streams::delete(catalogue, index, stream),
        Change::Register(registration) => register::register(catalogue, index, registration),
        Change::Pause { pipeline, paused } => register::pause(catalogue, index, &pipeline, paused),
        Change::DeletePipeline { pipeline, stages } => {
            delete::pipeline(catalogue, index, &pipeline, &stages)
        }
        Change::Recover { mesh, peer } => roster::recover(catalogue, index, mesh, peer),
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

fn refused(code: &str, because: impl Into<String>) -> Changed {
    Changed::Refused { code: code.into(), because: because.into() }
}
