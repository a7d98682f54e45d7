//! Which peers have been silent for so long that they may be given up.
//!
//! Promises that silence is counted only while the same unbroken, unpaused leadership of the catalogue counts it: who
//! was away itself, or was just elected, knows nothing of others' silence and begins anew. Never removes anybody: it
//! names who is overdue, and the catalogue's log decides.

use model::PeerId;
use std::collections::BTreeMap;

/// How often it is looked, µs; five of these without a look mean that the looker was paused.
pub const LOOK_US: u64 = 1_000_000;

/// One peer of the roster at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub peer: PeerId,
    /// The start of its process that the roster knows.
    pub incarnation: u64,
    /// There is a sign of it.
    pub sign: bool,
}

/// The silence of each peer, as one leadership has counted it.
#[derive(Debug)]
pub struct Silence {
    after_us: u64,
    term: Option<u64>,
    looked_us: u64,
    /// By peer: its incarnation, and the last moment (µs) at which there was a sign of it.
    since: BTreeMap<PeerId, (u64, u64)>,
}

impl Silence {
    /// A silence of `after_us` makes a peer overdue.
    pub fn new(after_us: u64) -> Self {
        Self { after_us, term: None, looked_us: 0, since: BTreeMap::new() }
    }

    /// Looks at the roster; `term` is that of the own leadership, if there is one. Who is overdue, by incarnation.
    pub fn look(&mut self, now_us: u64, term: Option<u64>, roster: &[Seen]) -> Vec<(PeerId, u64)> {
        let paused = now_us.saturating_sub(self.looked_us) > 5 * LOOK_US;
        if paused || term.is_none() || term != self.term {
            self.since.clear();
        }
        (self.term, self.looked_us) = (term, now_us);
        if term.is_none() {
            return Vec::new();
        }
        self.since.retain(|peer, _| roster.iter().any(|seen| seen.peer == *peer));
        let mut overdue = Vec::new();
        for Seen { peer, incarnation, sign } in roster.iter().copied() {
            let since = self.since.entry(peer).or_insert((incarnation, now_us));
            if sign || since.0 != incarnation {
                *since = (incarnation, now_us);
            }
            if now_us.saturating_sub(since.1) >= self.after_us {
                overdue.push((peer, incarnation));
            }
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn seen(incarnation: u64, sign: bool) -> [Seen; 1] {
        [Seen { peer: PeerId(3), incarnation, sign }]
    }

    /// Looks once a second from `from` on; the first second at which p3 is overdue.
    fn until_overdue(silence: &mut Silence, from: u64, look: impl Fn(u64) -> [Seen; 1]) -> u64 {
        let overdue = |s: &u64| !silence.look(s * S, Some(7), &look(*s)).is_empty();
        (from..from + 2_000).find(overdue).unwrap_or(0)
    }

    #[test]
    fn a_peer_is_overdue_after_ten_minutes_without_a_sign() {
        let mut silence = Silence::new(600 * S);
        assert_eq!(until_overdue(&mut silence, 0, |_| seen(1, false)), 600);
        let mut silence = Silence::new(600 * S);
        assert_eq!(until_overdue(&mut silence, 0, |s| seen(1, s == 599)), 1_199);
        let mut silence = Silence::new(600 * S);
        assert_eq!(until_overdue(&mut silence, 0, |s| seen(1 + s / 500 % 2, false)), 0);
    }

    #[test]
    fn a_new_leadership_a_lost_one_and_a_pause_count_from_the_beginning() {
        let mut silence = Silence::new(600 * S);
        let quiet = seen(1, false);
        for s in 0..599 {
            assert_eq!(silence.look(s * S, Some(7), &quiet), []);
        }
        assert_eq!(silence.look(600 * S, Some(8), &quiet), [], "another term");
        assert_eq!(silence.look(601 * S, None, &quiet), []);
        assert_eq!(silence.look(602 * S, Some(8), &quiet), []);
        for s in 603..1_100 {
            assert_eq!(silence.look(s * S, Some(8), &quiet), []);
        }
        assert_eq!(silence.look(1_300 * S, Some(8), &quiet), [], "it was paused for 200 s");
        assert_eq!(until_overdue(&mut Silence::new(600 * S), 1_301, |_| quiet), 1_901);
    }
}
