//! What a step that went well comes to: a commit, or positions that are held back for a while.

use super::Task;
use super::work::Progress;
use crate::Action;
use crate::core::Unit;
use model::entry::{Commit, Move};

impl Task {
    /// A step went well: it is committed if it changed something, else its positions are held.
    pub(super) fn settle(&mut self, now_ms: u64, progress: Progress, actions: &mut Vec<Action>) {
        for (partition, place) in progress.reached {
            let source = self.sources.get_mut(&partition).expect("chunks were checked");
            source.reached = place;
        }
        assert!(progress.watermark_ms >= self.watermark_ms, "T3: the watermark never falls");
        self.watermark_ms = progress.watermark_ms;
        self.has_more = progress.has_more;
        let sources = &self.sources;
        self.apart.retain(|source, to| sources[source].reached.offset < *to);
        self.tally.items += progress.items;
        self.tally.rows += progress.rows;
        self.tally.dead += progress.dead;
        let (sources, state) = (&self.sources, &self.turn.state);
        self.tried.retain(|unit, _| match unit {
            Unit::Start => false,
            Unit::Event { source, offset } => {
                sources.get(source).is_some_and(|source| *offset >= source.reached.offset)
            }
            Unit::Timer { space, at_ms, key } => state.has_timer(*space, *at_ms, key),
        });
        if self.turn.state.is_touched() {
            self.commit(actions);
        } else if self.promises_more()
            || self.sources.values().any(|source| source.reached != source.committed)
        {
            self.held_since_ms.get_or_insert(now_ms);
        }
    }

    fn is_idle(&self) -> bool {
        self.sources.values().all(|source| source.is_idle)
    }

    /// Whether those who read what it emits would learn something from a commit.
    pub(super) fn promises_more(&self) -> bool {
        self.watermark_ms > self.committed_watermark_ms || self.is_idle() != self.committed_idle
    }

    /// Hands out everything since the last commit.
    pub(super) fn commit(&mut self, actions: &mut Vec<Action>) {
        let taken = self.turn.state.take();
        self.tally.late += taken.late;
        let mut moves = Vec::new();
        for (partition, source) in &mut self.sources {
            if source.reached != source.committed {
                moves.push(Move {
                    source: *partition,
                    from: source.committed.offset,
                    to: source.reached.offset,
                    watermark_ms: source.reached.watermark_ms,
                });
                source.committed = source.reached;
            }
        }
        let to_output = self.streams.output.zip(taken.output);
        let sides = self.streams.sides.iter().zip(taken.sides);
        let to_sides = sides.filter_map(|(partition, batch)| Some((*partition, batch?)));
        let to_dead = taken.dead.map(|batch| (self.streams.dead, batch));
        let (emitted, batches) = to_output.into_iter().chain(to_sides).chain(to_dead).unzip();
        self.is_pending = true;
        self.held_since_ms = None;
        self.committed_watermark_ms = self.watermark_ms;
        self.committed_idle = self.is_idle();
        actions.push(Action::Commit(Box::new(Commit {
            task: self.id,
            version: self.code.version,
            term: self.term,
            sequence: self.sequence,
            moves,
            watermark_ms: self.watermark_ms,
            is_idle: self.committed_idle,
            changes: taken.changes,
            emitted,
            batches,
        })));
    }
}
