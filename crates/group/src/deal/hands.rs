//! How one consumer comes from what it holds to what it is to hold, without another one ever holding the same.

use super::Dealer;
use model::PartitionId;
use model::deal::Hand;

impl Dealer {
    /// Brings a consumer that says what it holds as far as it can come now; whether what it may hold is another.
    pub(super) fn reconcile(&mut self, now_ms: u64, id: &str, holds: Option<&Hand>) -> bool {
        let Some(seat) = self.seats.get_mut(id) else { return false };
        let kept = &mut seat.kept;
        let still_has = |parts: &Hand| holds.is_none_or(|holds| !holds.is_disjoint(parts));
        if !kept.owed.is_empty() {
            if still_has(&kept.owed) {
                return false;
            }
            for part in std::mem::take(&mut kept.owed) {
                self.holders.remove(&part);
            }
            self.news.put.insert(id.to_owned());
        }
        if kept.epoch == self.round.dealt && kept.held == kept.target {
            return false;
        }
        let lost: Hand = kept.held.difference(&kept.target).copied().collect();
        kept.held.retain(|part| !lost.contains(part));
        if !lost.is_empty() && still_has(&lost) {
            // It keeps its epoch: so it can commit what it has read of them.
            kept.owed = lost;
            seat.owes_ms = now_ms;
            self.news.put.insert(id.to_owned());
            return true;
        }
        for part in &lost {
            self.holders.remove(part);
        }
        let missing = kept.target.difference(&kept.held);
        let free: Vec<PartitionId> =
            missing.filter(|part| !self.holders.contains_key(part)).copied().collect();
        let moved = !lost.is_empty() || !free.is_empty();
        self.holders.extend(free.iter().map(|part| (*part, id.to_owned())));
        kept.held.extend(free);
        let advances = kept.epoch != self.round.dealt;
        if advances {
            (kept.previous, kept.epoch) = (kept.epoch, self.round.dealt);
        }
        if moved || advances {
            self.news.put.insert(id.to_owned());
        }
        moved
    }

    /// These are nobody's now.
    pub(super) fn free<'a>(&mut self, parts: impl Iterator<Item = &'a PartitionId>) {
        for part in parts {
            self.holders.remove(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deal::Seat;
    use model::StreamId;
    use model::deal::{Consumer, Round};

    fn part(partition: u32) -> PartitionId {
        PartitionId { stream: StreamId(1), partition }
    }

    fn hand(parts: &[u32]) -> Hand {
        parts.iter().map(|n| part(*n)).collect()
    }

    /// `a` holds 0 and 1 and is to hold 1 and 2; `b` holds 2.
    fn two() -> Dealer {
        let mut dealer = Dealer::new(0, None);
        dealer.round = Round { epoch: 7, dealt: 7, ..Round::default() };
        for (id, held, target) in [("a", &[0, 1], &[1, 2][..]), ("b", &[2, 3], &[0, 3])] {
            let (held, target) = (hand(held), hand(target));
            dealer.holders.extend(held.iter().map(|part| (*part, id.to_owned())));
            let kept = Consumer { epoch: 6, held, target, ..Consumer::default() };
            dealer.seats.insert(id.into(), Seat { kept, heard_ms: 0, owes_ms: 0 });
        }
        dealer
    }

    fn shown(dealer: &Dealer, id: &str) -> (i32, Hand, Hand) {
        let kept = &dealer.seats[id].kept;
        (kept.epoch, kept.held.clone(), kept.owed.clone())
    }

    #[test]
    fn who_is_to_lose_a_partition_owes_it_until_it_says_that_it_holds_it_no_more() {
        let mut dealer = two();
        assert!(dealer.reconcile(5, "a", None), "it holds less now");
        assert_eq!(shown(&dealer, "a"), (6, hand(&[1]), hand(&[0])));
        assert!(!dealer.reconcile(5, "a", None), "it says nothing of what it holds");
        assert!(!dealer.reconcile(6, "a", Some(&hand(&[0, 1]))), "it holds it still");
        assert_eq!((shown(&dealer, "a").0, dealer.seats["a"].owes_ms), (6, 5));
        // It gave it up; what it is to get is not free yet, but the epoch is its own.
        dealer.reconcile(7, "a", Some(&hand(&[1])));
        assert_eq!(shown(&dealer, "a"), (7, hand(&[1]), hand(&[])));
        assert!(!dealer.reconcile(8, "a", Some(&hand(&[1]))));
        // The other one never held what it loses: it takes at once what is free.
        assert!(dealer.reconcile(9, "b", Some(&hand(&[3]))));
        assert_eq!(shown(&dealer, "b"), (7, hand(&[0, 3]), hand(&[])));
        assert!(dealer.reconcile(10, "a", Some(&hand(&[1]))));
        assert_eq!(shown(&dealer, "a"), (7, hand(&[1, 2]), hand(&[])));
        assert_eq!(dealer.state(), "Stable");
    }
}
