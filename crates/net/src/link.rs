//! Which of the connections to one peer is used, while there is briefly more than one.
//!
//! Both ends must come to the same choice without asking. Invariants:
//! - L1: with at least one link that was not given up there is a chosen one, and it was not.
//! - L2: a link that is not chosen has a moment at which it is closed.
//! - L3: of two ends that dialled at once, the one with the larger key follows the other: a stream
//!   that arrives shows what that one chose.
//! - L4: the connection in use changes in silence only when dials crossed; any other change is told
//!   as a loss.

use crate::limits;
use libp2p::swarm::ConnectionId;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// One connection to a peer.
#[derive(Clone)]
pub(crate) struct Link {
    pub id: ConnectionId,
    /// We dialled it.
    pub ours: bool,
    pub since: Instant,
    /// When it last proved that it lives.
    pub heard: Instant,
    /// Ends what reads and writes on it.
    pub gone: CancellationToken,
    retire_at: Option<Instant>,
}

impl Link {
    pub fn new(id: ConnectionId, ours: bool, now: Instant) -> Self {
        let gone = CancellationToken::new();
        Self { id, ours, since: now, heard: now, gone, retire_at: None }
    }
}

/// What became of the connection in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Same,
    /// Another is used from now on, and the old one is read and written to its end first.
    Moved,
    /// It was lost, with what was on its way. Another may be in use already.
    Lost,
}

/// All connections to one peer, in the order they came.
pub(crate) struct Links {
    /// Our key is the larger one: the other end's choice counts.
    follows: bool,
    all: Vec<Link>,
    chosen: Option<ConnectionId>,
}

impl Links {
    pub fn new(follows: bool) -> Self {
        Self { follows, all: Vec::new(), chosen: None }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn chosen(&self) -> Option<&Link> {
        self.chosen.and_then(|id| self.get(id))
    }

    pub fn get(&self, id: ConnectionId) -> Option<&Link> {
        self.all.iter().find(|link| link.id == id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.all.iter_mut()
    }

    /// Takes a new connection in. Two ends that dialled at once keep the one that the smaller key
    /// dialled; any other second connection is a spare until one end has a reason to use it.
    pub fn add(&mut self, link: Link, now: Instant) -> Change {
        let (id, ours) = (link.id, link.ours);
        let old = self.chosen().map(|old| (old.id, crossed(&link, old)));
        self.all.push(link);
        match old {
            None => {
                self.choose(id, now);
                Change::Moved
            }
            Some((_, true)) if ours != self.follows => {
                self.choose(id, now);
                Change::Moved
            }
            Some((old, _)) => {
                self.choose(old, now);
                Change::Same
            }
        }
    }

    /// The peer opened a stream on this link, so it uses it. If it dialled it anew, it has lost the
    /// one we use.
    pub fn on_stream(&mut self, id: ConnectionId, now: Instant) -> Change {
        let (Some(link), Some(old)) = (self.get(id), self.chosen()) else { return Change::Same };
        let change = match crossed(link, old) {
            _ if link.id == old.id => Change::Same,
            true if self.follows => Change::Moved,
            false if !link.ours && link.since > old.since => Change::Lost,
            _ => Change::Same,
        };
        match change {
            Change::Same => {}
            Change::Moved => self.choose(id, now),
            Change::Lost => self.replace(id, now),
        }
        change
    }

    /// Gives up a connection that stayed silent while a spare that we dialled meanwhile stands.
    pub fn settle(&mut self, now: Instant) -> Change {
        let is_silent = |link: &Link| now.duration_since(link.heard) > limits::DOUBT_AFTER;
        if !self.chosen().is_some_and(is_silent) {
            return Change::Same;
        }
        let stands = |link: &&Link| {
            link.ours && !is_silent(link) && now.duration_since(link.since) >= limits::SETTLE_AFTER
        };
        let Some(spare) = self.all.iter().rev().find(stands).map(|link| link.id) else {
            return Change::Same;
        };
        self.replace(spare, now);
        Change::Lost
    }

    /// The connection has ended.
    pub fn remove(&mut self, id: ConnectionId, now: Instant) -> Change {
        let Some(at) = self.all.iter().position(|link| link.id == id) else { return Change::Same };
        self.all.remove(at).gone.cancel();
        if self.chosen != Some(id) {
            return Change::Same;
        }
        self.chosen = None;
        // One that was given up carries nothing any more, and is closed at the next look.
        let stands = |link: &&Link| !link.gone.is_cancelled();
        if let Some(newest) = self.all.iter().rev().find(stands).map(|link| link.id) {
            self.choose(newest, now);
        }
        Change::Lost
    }

    /// Links that were replaced long enough ago to be closed.
    pub fn retired(&self, now: Instant) -> Vec<ConnectionId> {
        let due = |link: &&Link| link.retire_at.is_some_and(|at| at <= now);
        self.all.iter().filter(due).map(|link| link.id).collect()
    }

    /// Uses this link and ends all others at once: what is on them is lost.
    fn replace(&mut self, id: ConnectionId, now: Instant) {
        self.choose(id, now);
        for link in self.all.iter_mut().filter(|link| link.id != id) {
            link.gone.cancel();
            link.retire_at = Some(now);
        }
    }

    fn choose(&mut self, id: ConnectionId, now: Instant) {
        self.chosen = Some(id);
        let after = match self.follows {
            true => limits::RETIRE_AFTER_OTHER,
            false => limits::RETIRE_AFTER,
        };
        for link in &mut self.all {
            link.retire_at = match link.id == id {
                true => None,
                false => Some(link.retire_at.unwrap_or(now + after)),
            };
        }
    }
}

/// Both ends dialled before either knew of the other's dial.
fn crossed(one: &Link, other: &Link) -> bool {
    let apart = match one.since >= other.since {
        true => one.since - other.since,
        false => other.since - one.since,
    };
    one.ours != other.ours && apart < limits::CROSSED_WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn link(id: usize, ours: bool, at: Instant) -> Link {
        Link::new(ConnectionId::new_unchecked(id), ours, at)
    }
    fn chosen(links: &Links) -> usize {
        let id = links.chosen().expect("one is chosen").id;
        (0..9).find(|n| ConnectionId::new_unchecked(*n) == id).expect("a small id")
    }

    #[test]
    fn crossed_dials_end_with_the_one_of_the_smaller_key_whatever_comes_first() {
        let now = Instant::now();
        // connection 1 is dialled by the smaller key
        for order in [[1, 2], [2, 1]] {
            for follows in [false, true] {
                let mut links = Links::new(follows);
                for id in order {
                    links.add(link(id, (id == 1) != follows, now), now);
                }
                assert_eq!(chosen(&links), 1, "{order:?} {follows}");
                assert!(links.retired(now).is_empty());
                let later = now + limits::RETIRE_AFTER_OTHER;
                assert_eq!(links.retired(later), [ConnectionId::new_unchecked(2)]);
            }
        }
    }

    #[test]
    fn a_connection_that_the_other_end_dialled_anew_and_uses_replaces_one_that_it_has_lost() {
        let now = Instant::now();
        let later = now + limits::CROSSED_WITHIN + Duration::from_millis(1);
        for follows in [false, true] {
            let mut links = Links::new(follows);
            links.add(link(1, true, now), now);
            assert_eq!(links.add(link(2, false, later), later), Change::Same);
            assert_eq!(chosen(&links), 1);
            let stream = |n| ConnectionId::new_unchecked(n);
            assert_eq!(links.on_stream(stream(1), later), Change::Same);
            assert_eq!(links.on_stream(stream(2), later), Change::Lost);
            assert_eq!(chosen(&links), 2, "{follows}");
            assert_eq!(links.on_stream(stream(1), later), Change::Same);
            assert_eq!(links.retired(later), [stream(1)]);
            assert!(links.get(stream(1)).expect("not closed yet").gone.is_cancelled());
        }
    }

    #[test]
    fn a_spare_is_used_only_when_the_other_stays_silent() {
        let start = Instant::now();
        let now = start + limits::DOUBT_AFTER + Duration::from_millis(1);
        let soon = now + limits::SETTLE_AFTER;
        for answered in [false, true] {
            let mut links = Links::new(false);
            links.add(link(1, true, start), start);
            assert_eq!(links.add(link(2, true, now), now), Change::Same);
            assert_eq!(links.settle(now), Change::Same);
            if answered {
                links.iter_mut().for_each(|link| link.heard = now);
            }
            let expected = if answered { (Change::Same, 1) } else { (Change::Lost, 2) };
            assert_eq!((links.settle(soon), chosen(&links)), expected);
        }
    }

    #[test]
    fn the_larger_key_follows_the_smaller_ones_choice() {
        let now = Instant::now();
        for (follows, expected) in [(true, 2), (false, 1)] {
            let mut links = Links::new(follows);
            // connection 1 is dialled by the smaller key and therefore chosen by both
            links.add(link(1, !follows, now), now);
            links.add(link(2, follows, now), now);
            links.on_stream(ConnectionId::new_unchecked(2), now);
            assert_eq!(chosen(&links), expected);
        }
    }

    /// Two processes with one key, or a peer that dials anew and dies: the link that was replaced is not used again.
    #[test]
    fn a_link_that_was_given_up_is_not_chosen_again_when_its_successor_is_lost() {
        let now = Instant::now();
        let later = now + limits::CROSSED_WITHIN + Duration::from_millis(1);
        let id = ConnectionId::new_unchecked;
        for follows in [false, true] {
            let mut links = Links::new(follows);
            links.add(link(1, false, now), now);
            links.add(link(2, false, later), later);
            assert_eq!(links.on_stream(id(2), later), Change::Lost);
            assert_eq!(links.remove(id(2), later), Change::Lost);
            assert!(links.chosen().is_none(), "{follows}");
            assert_eq!(links.retired(later), [id(1)]);
            links.add(link(3, true, later), later);
            assert_eq!((chosen(&links), links.retired(later)), (3, vec![id(1)]));
        }
    }

    #[test]
    fn a_lost_link_leaves_the_next_one_in_use() {
        let now = Instant::now();
        let id = ConnectionId::new_unchecked;
        let mut links = Links::new(false);
        links.add(link(1, true, now), now);
        links.add(link(2, true, now), now);
        assert_eq!(links.remove(id(1), now), Change::Lost);
        assert_eq!(chosen(&links), 2);
        assert!(links.retired(now + limits::RETIRE_AFTER).is_empty());
        assert_eq!(links.remove(id(1), now), Change::Same);
        assert_eq!(links.remove(id(2), now), Change::Lost);
        assert!(links.is_empty() && links.chosen().is_none());
    }
}
