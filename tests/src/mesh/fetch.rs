//! Snapshots between peers: fetched in small pieces, put into the store, and only then taken by consensus.
//!
//! Does what `peer::snapshot` does, one call after the other; pieces are smaller, so that a run has many.

use super::bulk::{Manifest, content_of, manifest_of};
use super::calls::{Ask, Said, Then};
use super::trace::note;
use super::world::{Of, World};
use bytes::Bytes;
use model::{HardState, PeerId, ReplicaId, ShardId};
use replica::{Fold, Input};
use store::Applied;

/// Bytes of one answer.
pub const PIECE_BYTES: usize = 2 << 10;

/// A snapshot that consensus offers.
pub struct Offer {
    pub from: PeerId,
    pub index: u64,
    pub term: u64,
    pub manifest: Bytes,
    pub message: Bytes,
}

/// A snapshot that is being fetched.
pub struct Fetch {
    shard: ShardId,
    replica: ReplicaId,
    key: Vec<u8>,
    offer: Offer,
    hard: HardState,
    manifest: Manifest,
    content: Vec<u8>,
    /// How many of the manifest's partitions are here.
    partitions: usize,
}

/// How fetching ended: the fold that lies in the store, or nothing.
#[derive(Debug)]
pub enum Fetched {
    /// All pieces are here; they are put into the store now.
    Whole {
        number: u64,
    },
    /// The store has it.
    Stored {
        shard: ShardId,
        replica: ReplicaId,
        message: Bytes,
        fold: Box<Fold>,
    },
    Failed {
        shard: ShardId,
        replica: ReplicaId,
    },
}

impl World {
    /// Fetching begins, unless it is under way.
    pub fn fetch(&mut self, h: usize, shard: ShardId, offer: Offer) -> Result<(), String> {
        let Some(process) = self.process(h) else { return Ok(()) };
        let number = process.number();
        let key = process.board.key_of(offer.from).map(<[u8]>::to_vec);
        let Some(slot) = process.slot(shard).filter(|slot| !slot.fetching) else { return Ok(()) };
        let (replica, hard) = (slot.replica.id(), slot.replica.hard());
        let Some(key) = key else { return Ok(()) };
        slot.fetching = true;
        let manifest = manifest_of(&offer.manifest)?;
        note!(self, "h{h} {shard} {replica} fetches {} from {}", offer.index, offer.from);
        let content = Vec::new();
        let fetch = Fetch { shard, replica, key, offer, hard, manifest, content, partitions: 0 };
        let Some(process) = self.process(h) else { return Ok(()) };
        process.fetches.insert(number, fetch);
        self.fetch_next(h, number)
    }

    /// Asks for the next piece of what is missing.
    fn fetch_next(&mut self, h: usize, number: u64) -> Result<(), String> {
        if self.has_ended(h, number) {
            return self.fetch_failed(h, number);
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(fetch) = process.fetches.get_mut(&number) else { return Ok(()) };
        let (shard, key) = (fetch.shard, fetch.key.clone());
        let (_, index, size, partitions) = &fetch.manifest;
        if fetch.content.len() < *size {
            let ask = Ask::Export { shard, index: *index, at: fetch.content.len() };
            self.call(h, &key, ask, Then::Fetch(number));
            return Ok(());
        }
        while let Some((partition, start, next)) = partitions.get(fetch.partitions) {
            let at = match process.segments.resume(*partition, *start) {
                Ok(at) if at <= *next => at,
                _ => return self.fetch_failed(h, number),
            };
            if at < *next {
                let (partition, from, below) = (*partition, at, *next);
                let ask = Ask::Batches { partition, shard, from, below, bytes_max: PIECE_BYTES };
                self.call(h, &key, ask, Then::Fetch(number));
                return Ok(());
            }
            fetch.partitions += 1;
        }
        let delay = self.dice.range(500, 20_000);
        self.soon(h, delay, Of::Fetched(Box::new(Fetched::Whole { number })));
        Ok(())
    }

    /// A piece came, or did not.
    pub fn fetch_goes_on(
        &mut self,
        h: usize,
        number: u64,
        said: Option<Said>,
    ) -> Result<(), String> {
        if self.has_ended(h, number) {
            return self.fetch_failed(h, number);
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(fetch) = process.fetches.get_mut(&number) else { return Ok(()) };
        let (_, _, size, partitions) = &fetch.manifest;
        let went_well = match said {
            Some(Said::Export { bytes, size: of }) if of == *size && !bytes.is_empty() => {
                fetch.content.extend_from_slice(&bytes);
                true
            }
            Some(Said::Batches(batches)) => {
                match (batches.last(), partitions.get(fetch.partitions)) {
                    (Some(last), Some((partition, _, next))) => {
                        last.next_offset() <= *next
                            && process.segments.append_many(*partition, &batches).is_ok()
                    }
                    _ => false,
                }
            }
            _ => false,
        };
        if went_well { self.fetch_next(h, number) } else { self.fetch_failed(h, number) }
    }

    /// Whether the replica it is fetched for is gone: nothing is written for it any more.
    fn has_ended(&mut self, h: usize, number: u64) -> bool {
        let fetch = self.process(h).and_then(|process| process.fetches.get(&number));
        let of = fetch.map(|fetch| (fetch.shard, fetch.replica));
        of.is_some_and(|(shard, replica)| !self.is_here(h, shard, replica))
    }

    fn fetch_failed(&mut self, h: usize, number: u64) -> Result<(), String> {
        if self.hosts[h].disk.is_off() {
            // Nobody runs without power; this one had only not written to its journal yet.
            return self.fenced(h, "the power is off");
        }
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(fetch) = process.fetches.remove(&number) else { return Ok(()) };
        let (shard, replica) = (fetch.shard, fetch.replica);
        note!(self, "h{h} {shard} {replica} cannot fetch {}", fetch.offer.index);
        self.not_fetched(h, (shard, replica), &fetch.key);
        Ok(())
    }

    /// The leader makes another manifest.
    fn not_fetched(&mut self, h: usize, (shard, replica): (ShardId, ReplicaId), key: &[u8]) {
        self.soon(h, 100, Of::Fetched(Box::new(Fetched::Failed { shard, replica })));
        let ask = Ask::Installed { shard, replica, installed: false };
        self.call(h, key, ask, Then::Nothing);
    }

    pub fn on_fetched(&mut self, h: usize, fetched: Fetched) -> Result<(), String> {
        match fetched {
            Fetched::Whole { number } => self.store_fetched(h, number),
            Fetched::Stored { shard, replica, message, fold } => {
                self.take_fetched(h, shard, replica, (message, fold))
            }
            Fetched::Failed { shard, replica } => {
                if self.is_here(h, shard, replica)
                    && let Some(slot) = self.process(h).and_then(|process| process.slot(shard))
                {
                    slot.fetching = false;
                }
                Ok(())
            }
        }
    }

    fn store_fetched(&mut self, h: usize, number: u64) -> Result<(), String> {
        if self.has_ended(h, number) {
            return self.fetch_failed(h, number);
        }
        let is_off = self.hosts[h].disk.is_off();
        let Some(process) = self.process(h) else { return Ok(()) };
        let Some(fetch) = process.fetches.get(&number) else { return Ok(()) };
        let partitions: Vec<_> = fetch.manifest.3.iter().map(|(id, _, _)| *id).collect();
        if process.segments.sync(&partitions).is_err() || is_off {
            return self.fetch_failed(h, number);
        }
        let Some(fetch) = process.fetches.remove(&number) else { return Ok(()) };
        let Fetch { shard, replica, key, offer, hard, content, .. } = fetch;
        let (small, rows) = content_of(&content)?;
        let applied = Applied { replica, index: offer.index, term: offer.term, hard };
        if !self.hosts[h].tables.replace(shard, applied, small.clone(), &rows) {
            note!(self, "h{h} {shard} {replica} has a newer fold than {}", applied.index);
            self.not_fetched(h, (shard, replica), &key);
            return Ok(());
        }
        self.hosts[h].tables.sync();
        let fold = Box::new(Fold::restore(&small, rows.into_iter()).map_err(|e| e.to_string())?);
        note!(self, "h{h} {shard} {replica} has fetched {}", offer.index);
        let delay = self.dice.range(10, 2_000);
        let message = offer.message;
        let stored = Fetched::Stored { shard, replica, message, fold };
        self.soon(h, delay, Of::Fetched(Box::new(stored)));
        let ask = Ask::Installed { shard, replica, installed: true };
        self.call(h, &key, ask, Then::Nothing);
        Ok(())
    }

    fn take_fetched(
        &mut self,
        h: usize,
        shard: ShardId,
        replica: ReplicaId,
        (message, fold): (Bytes, Box<Fold>),
    ) -> Result<(), String> {
        if !self.is_here(h, shard, replica) {
            return Ok(());
        }
        let Some(slot) = self.process(h).and_then(|process| process.slot(shard)) else {
            return Ok(());
        };
        slot.fetching = false;
        let index = fold.index();
        let marks: Vec<_> =
            fold.partitions().map(|(id, p)| (id, (p.start, p.next_offset))).collect();
        if !self.step(h, shard, Input::Fetched { message, fold })? {
            note!(self, "h{h} {shard} {replica} fetched what it does not want any more");
            return Ok(());
        }
        self.outcome.snapshots += 1;
        let Some(process) = self.process(h) else { return Ok(()) };
        if let Some(slot) = process.slot(shard) {
            slot.checkpointed = index;
        }
        for (partition, mark) in &marks {
            process.board.set_mark(*partition, *mark);
        }
        for (partition, _) in marks {
            self.pull_stream(h, partition.stream);
        }
        Ok(())
    }
}
