//! Whether this peer's journal is stuck: then others should lead.
//!
//! Promises that a leader whose disk takes nothing for a second says so: its term is on disk already, so its signs of
//! life go on, and nobody else would campaign. Counted in ticks, so that a pause of the whole process is no strain.

use super::State;
use model::ShardId;
use replica::Input;

/// Ticks without a word from the disk, while it has something to write, after which this peer is strained (1 s).
const STUCK_TICKS: u32 = 20;
/// Ticks in which the disk never kept anybody waiting as long as [`SLOW_TICKS`], after which it is calm again (5 s).
const CALM_TICKS: u32 = 100;
const SLOW_TICKS: u32 = 5;

/// What the journal was given and has not answered.
#[derive(Default)]
pub(super) struct Strain {
    under_way: usize,
    /// Ticks since it last answered, or was idle.
    silent: u32,
    calm: u32,
    strained: bool,
}

impl Strain {
    pub(super) fn began(&mut self, count: usize) {
        self.under_way += count;
    }

    pub(super) fn ended(&mut self, count: usize) {
        self.under_way = self.under_way.saturating_sub(count);
        self.silent = 0;
    }

    /// A tick has passed: whether the peer is strained now, if that has changed.
    fn tick(&mut self) -> Option<bool> {
        self.silent = if self.under_way > 0 { self.silent.saturating_add(1) } else { 0 };
        self.calm = if self.silent < SLOW_TICKS { self.calm.saturating_add(1) } else { 0 };
        let strained = match self.strained {
            false => self.silent >= STUCK_TICKS,
            true => self.calm < CALM_TICKS,
        };
        let changed = strained != self.strained;
        self.strained = strained;
        changed.then_some(strained)
    }
}

impl State {
    /// Tells the replicas when the journal gets stuck, and when it is calm again.
    pub(super) fn tick_strain(&mut self) {
        let Some(strained) = self.strain.tick() else { return };
        if strained {
            tracing::warn!("the journal takes nothing for a second: others are to lead");
        } else {
            tracing::info!("the journal is calm again");
        }
        for shard in 0..self.slots.len() as u16 {
            self.step(ShardId(shard), Input::Strained { strained });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_journal_is_told_once_and_calm_again_after_a_while() {
        let mut strain = Strain::default();
        let told = |strain: &mut Strain, ticks: u32| -> Vec<bool> {
            (0..ticks).filter_map(|_| strain.tick()).collect()
        };
        let nothing: Vec<bool> = Vec::new();
        assert_eq!(told(&mut strain, 500), nothing, "idle");
        strain.began(2);
        assert_eq!(told(&mut strain, STUCK_TICKS - 1), nothing);
        strain.ended(1);
        assert_eq!(told(&mut strain, STUCK_TICKS - 1), nothing, "it goes on");
        assert_eq!(told(&mut strain, 50), [true]);
        strain.ended(1);
        assert_eq!(told(&mut strain, CALM_TICKS - 1), nothing);
        assert_eq!(told(&mut strain, 50), [false]);
    }
}
