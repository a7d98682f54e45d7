//! Who belongs to the mesh, and who of them holds shards.
//!
//! Invariants: K4 somebody always can hold shards; K5 fewer peers than copies remain only by a person's word; K6 a
//! removed peer's id never comes back; K7 no two peers of the roster have one name; K8 the founder is enrolled
//! first: it has lived under the first id since before there was a log; K9 of two processes that tell the same start of
//! one peer, the first that is enrolled is that peer.

use super::{refused, register};
use model::catalogue::{Away, Catalogue, Changed, Enrolled};
use model::id::FOUNDER;
use model::{Epoch, MeshId, PeerId};

/// K8: nobody is enrolled before the founder, or its id would be another's.
pub fn is_too_early(catalogue: &Catalogue, enrolled: &Enrolled) -> bool {
    catalogue.next_peer == FOUNDER.0 && enrolled.id != FOUNDER
}

/// Refreshes the peer with this key, or adds a new one.
pub fn join(
    catalogue: &mut Catalogue,
    index: u64,
    enrolled: Enrolled,
    replaces: Option<PeerId>,
) -> Changed {
    let known = catalogue.roster.values().find(|peer| peer.key == enrolled.key).cloned();
    let joined = match known {
        Some(known) if is_twin(&known, &enrolled) => {
            let because = format!("{} runs already, at {}", known.id, known.addresses.mesh);
            return refused("SH0202", because);
        }
        Some(known) => Ok(refresh(catalogue, index, known, enrolled)),
        None => add(catalogue, index, enrolled, replaces),
    };
    match joined {
        Err(refusal) => refusal,
        Ok(peer) => {
            register::activate(catalogue, index);
            Changed::Joined { peer, index: catalogue.index }
        }
    }
}

/// K9: a start is counted in the folder before it is told, so only a copy of the folder tells it from elsewhere.
fn is_twin(known: &Enrolled, said: &Enrolled) -> bool {
    known.incarnation == said.incarnation && known.addresses != said.addresses
}

fn refresh(catalogue: &mut Catalogue, index: u64, known: Enrolled, mut said: Enrolled) -> PeerId {
    let id = known.id;
    if known.incarnation > said.incarnation {
        return id;
    }
    said.id = id;
    if said.name.is_empty() || named(catalogue, &said.name).is_some_and(|other| other != id) {
        said.name.clone_from(&known.name);
    }
    let others = catalogue.seats() - usize::from(catalogue.weight(id) > 0);
    if said.weight == 0 && others < usize::from(catalogue.replication.max(1)) {
        // K4, K5: a setting is no word that copies may be given up.
        said.weight = known.weight;
    }
    let moved = (&known.zone, known.weight) != (&said.zone, said.weight);
    if known != said {
        catalogue.roster.insert(id, said);
        catalogue.index = index;
    }
    if moved {
        catalogue.epoch = Epoch(index);
    }
    id
}

fn add(
    catalogue: &mut Catalogue,
    index: u64,
    mut enrolled: Enrolled,
    replaces: Option<PeerId>,
) -> Result<PeerId, Changed> {
    if catalogue.has_removed(enrolled.id) {
        let because = format!("{} was taken out of the mesh", enrolled.id);
        return Err(refused("SH0106", because));
    }
    if let Some(gone) = replaces
        && !catalogue.roster.contains_key(&gone)
    {
        return Err(refused("SH0305", format!("{gone} is not in the roster")));
    }
    if let Some(other) = named(catalogue, &enrolled.name)
        && replaces != Some(other)
    {
        return Err(refused("SH0105", format!("{other} is called {}", enrolled.name)));
    }
    if let Some(gone) = replaces {
        catalogue.roster.remove(&gone);
        catalogue.away.remove(&gone);
    }
    let id = PeerId(catalogue.next_peer);
    catalogue.next_peer += 1;
    enrolled.id = id;
    if enrolled.name.is_empty() {
        let usual = id.to_string();
        let free = named(catalogue, &usual).is_none();
        // Somebody may be called p7 who is not: ids are unique, and so is this.
        enrolled.name = if free { usual } else { format!("peer-{}", id.0) };
    }
    catalogue.roster.insert(id, enrolled);
    (catalogue.index, catalogue.epoch) = (index, Epoch(index));
    Ok(id)
}

fn named(catalogue: &Catalogue, name: &str) -> Option<PeerId> {
    let same = |peer: &&Enrolled| !name.is_empty() && peer.name == name;
    catalogue.roster.values().find(same).map(|peer| peer.id)
}

/// Takes a peer out of the roster, unless it has come back since that was meant.
pub fn remove(
    catalogue: &mut Catalogue,
    index: u64,
    peer: PeerId,
    incarnation: u64,
    shrink: bool,
) -> Changed {
    let Some(known) = catalogue.roster.get(&peer) else {
        return refused("SH0305", format!("{peer} is not in the roster"));
    };
    if known.incarnation > incarnation {
        return refused("SH0508", format!("{peer} has come back since"));
    }
    if catalogue.roster.len() == 1 {
        return refused("SH0507", format!("{peer} is the last of the roster"));
    }
    if let Err(refusal) = may_lose(catalogue, peer, shrink) {
        return refusal;
    }
    catalogue.roster.remove(&peer);
    catalogue.away.remove(&peer);
    (catalogue.index, catalogue.epoch) = (index, Epoch(index));
    register::activate(catalogue, index);
    Changed::Done { index }
}

/// One peer is all that is left, and the mesh is another to those who were not there.
pub fn recover(catalogue: &mut Catalogue, index: u64, mesh: MeshId, peer: PeerId) -> Changed {
    if !catalogue.roster.contains_key(&peer) {
        return refused("SH0305", format!("{peer} is not in the roster"));
    }
    if !mesh.is_recovered_from(catalogue.mesh) {
        return refused("SH0104", format!("{mesh} is no recovery of {}", catalogue.mesh));
    }
    catalogue.mesh = mesh;
    catalogue.roster.retain(|id, _| *id == peer);
    catalogue.away.clear();
    (catalogue.index, catalogue.epoch) = (index, Epoch(index));
    register::activate(catalogue, index);
    Changed::Done { index }
}

/// Takes a peer's shards away, or gives it some again.
pub fn drain(
    catalogue: &mut Catalogue,
    index: u64,
    peer: PeerId,
    away: Option<Away>,
    shrink: bool,
) -> Changed {
    if !catalogue.roster.contains_key(&peer) {
        return refused("SH0305", format!("{peer} is not in the roster"));
    }
    if catalogue.away.get(&peer).copied() == away {
        return Changed::Done { index: catalogue.index };
    }
    if away.is_some()
        && let Err(refusal) = may_lose(catalogue, peer, shrink)
    {
        return refusal;
    }
    let weight = catalogue.weight(peer);
    match away {
        Some(away) => catalogue.away.insert(peer, away),
        None => catalogue.away.remove(&peer),
    };
    catalogue.index = index;
    if weight != catalogue.weight(peer) {
        catalogue.epoch = Epoch(index);
    }
    Changed::Done { index }
}

/// Whether the mesh can do without what a peer holds.
fn may_lose(catalogue: &Catalogue, peer: PeerId, shrink: bool) -> Result<(), Changed> {
    if catalogue.weight(peer) == 0 {
        return Ok(());
    }
    let left = catalogue.seats() - 1;
    if left == 0 {
        return Err(refused("SH0507", format!("nobody but {peer} can hold shards")));
    }
    if left < usize::from(catalogue.replication) && !shrink {
        let copies = catalogue.replication;
        let because = format!("{left} peers would be left for {copies} copies of each shard");
        return Err(refused("SH0506", because));
    }
    Ok(())
}
