//! Who is to hold what: the two assignors, as pure functions.
//!
//! Both deal every partition of every wanted stream to one consumer that wants the stream.

use model::deal::Hand;
use model::{PartitionId, StreamId};
use std::collections::{BTreeMap, BTreeSet};

/// How partitions are dealt, in the order in which a tie is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// As evenly as can be, and as it was before as far as that goes.
    Uniform,
    /// Of each stream a stretch, so that partitions of the same number come together.
    Range,
}

/// One that shares.
pub struct Sharer<'a> {
    /// Who comes first where order counts: instances, by their names, then others, by their ids.
    pub order: (bool, String),
    /// The streams it wants.
    pub streams: BTreeSet<StreamId>,
    /// Its target until now.
    pub before: &'a Hand,
}

/// Looks at consumers that are spent on evening out what cannot be even, before it is left as it is.
const LOOKS_MAX: usize = 4_000_000;

impl Assignor {
    pub fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|it| it.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The target of each sharer; `parts` are the numbers of partitions of what is wanted.
    pub fn assign(self, sharers: &[Sharer<'_>], parts: &BTreeMap<StreamId, u32>) -> Vec<Hand> {
        match self {
            Self::Range => range(sharers, parts),
            Self::Uniform if sharers.windows(2).all(|two| two[0].streams == two[1].streams) => {
                even(kept(sharers, parts), parts)
            }
            Self::Uniform => settled(kept(sharers, parts), sharers, parts),
        }
    }
}

fn range(sharers: &[Sharer<'_>], parts: &BTreeMap<StreamId, u32>) -> Vec<Hand> {
    let mut hands = vec![Hand::new(); sharers.len()];
    let mut order: Vec<usize> = (0..sharers.len()).collect();
    order.sort_by_key(|at| &sharers[*at].order);
    for (stream, count) in parts {
        let wanting = order.iter().copied().filter(|at| sharers[*at].streams.contains(stream));
        let wanting: Vec<usize> = wanting.collect();
        let mut next = 0;
        for (place, at) in wanting.iter().enumerate() {
            let sharing = wanting.len() as u32;
            let share = count / sharing + u32::from((place as u32) < count % sharing);
            hands[*at].extend((next..next + share).map(|n| part(*stream, n)));
            next += share;
        }
    }
    hands
}

/// What each may keep of what it had.
fn kept(sharers: &[Sharer<'_>], parts: &BTreeMap<StreamId, u32>) -> Vec<Hand> {
    let is_there = |it: &PartitionId| parts.get(&it.stream).is_some_and(|n| it.partition < *n);
    let mut taken = Hand::new();
    let mut may_keep = |sharer: &Sharer<'_>| {
        let before = sharer.before.iter().copied();
        let wanted = before.filter(|it| is_there(it) && sharer.streams.contains(&it.stream));
        wanted.filter(|it| taken.insert(*it)).collect()
    };
    sharers.iter().map(&mut may_keep).collect()
}

/// The partitions that nobody has, those of one stream side by side.
fn left(hands: &[Hand], parts: &BTreeMap<StreamId, u32>) -> Vec<PartitionId> {
    let taken: BTreeSet<&PartitionId> = hands.iter().flatten().collect();
    let all = parts.iter().flat_map(|(stream, count)| (0..*count).map(|n| part(*stream, n)));
    all.filter(|it| !taken.contains(it)).collect()
}

/// All want the same: nobody has more than one more than another.
fn even(mut hands: Vec<Hand>, parts: &BTreeMap<StreamId, u32>) -> Vec<Hand> {
    let Some(share) = parts.values().map(|n| *n as usize).sum::<usize>().checked_div(hands.len())
    else {
        return hands;
    };
    let mut more = parts.values().map(|n| *n as usize).sum::<usize>() % hands.len();
    // Those that have one more already keep it, as long as there are such places.
    let mut quotas = vec![share; hands.len()];
    for (hand, quota) in hands.iter().zip(&mut quotas) {
        if hand.len() > share && more > 0 {
            (*quota, more) = (share + 1, more - 1);
        }
    }
    for quota in quotas.iter_mut().filter(|quota| **quota == share).take(more) {
        *quota += 1;
    }
    for (hand, quota) in hands.iter_mut().zip(&quotas) {
        while hand.len() > *quota {
            hand.pop_last();
        }
    }
    let mut left = left(&hands, parts).into_iter();
    // In turns, so that each gets of every stream.
    loop {
        let mut gave = false;
        for (hand, quota) in hands.iter_mut().zip(&quotas) {
            if hand.len() < *quota {
                let Some(next) = left.next() else { return hands };
                gave = hand.insert(next);
            }
        }
        if !gave {
            return hands;
        }
    }
}

/// Not all want the same: each partition goes where there is least, then from the fullest to the emptiest hand that
/// may have it, while that makes them more alike.
fn settled(
    mut hands: Vec<Hand>,
    sharers: &[Sharer<'_>],
    parts: &BTreeMap<StreamId, u32>,
) -> Vec<Hand> {
    let wanting = |stream: &StreamId| {
        (0..sharers.len()).filter(|at| sharers[*at].streams.contains(stream)).collect::<Vec<_>>()
    };
    let wanting: BTreeMap<StreamId, Vec<usize>> =
        parts.keys().map(|stream| (*stream, wanting(stream))).collect();
    let emptiest = |hands: &[Hand], among: &[usize]| {
        among.iter().copied().min_by_key(|at| (hands[*at].len(), *at))
    };
    for it in left(&hands, parts) {
        if let Some(at) = emptiest(&hands, &wanting[&it.stream]) {
            hands[at].insert(it);
        }
    }
    let mut looks = LOOKS_MAX;
    loop {
        let mut gave = false;
        for (stream, among) in &wanting {
            while let Some((from, to, it)) = uneven(&hands, *stream, among) {
                hands[from].remove(&it);
                gave |= hands[to].insert(it);
                looks = looks.saturating_sub(among.len());
                if looks == 0 {
                    return hands;
                }
            }
            looks = looks.saturating_sub(among.len());
        }
        if !gave || looks == 0 {
            return hands;
        }
    }
}

/// A partition of the stream that had better lie elsewhere: whence, whither.
fn uneven(
    hands: &[Hand],
    stream: StreamId,
    among: &[usize],
) -> Option<(usize, usize, PartitionId)> {
    let last = |at: usize| {
        let own = hands[at].range(part(stream, 0)..=part(stream, u32::MAX));
        own.last().copied()
    };
    let having = among.iter().copied().filter_map(|at| Some((at, last(at)?)));
    let (from, it) = having.max_by_key(|(at, _)| (hands[*at].len(), std::cmp::Reverse(*at)))?;
    let to = among.iter().copied().min_by_key(|at| (hands[*at].len(), *at))?;
    (hands[from].len() > hands[to].len() + 1).then_some((from, to, it))
}

fn part(stream: StreamId, partition: u32) -> PartitionId {
    PartitionId { stream, partition }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What consumers want, as sets of streams, and how many partitions each of six streams has.
    type Story = (Vec<BTreeSet<u8>>, Vec<u32>);

    fn any_story() -> impl Strategy<Value = Story> {
        let wants = prop::collection::btree_set(0u8..6, 0..6);
        (prop::collection::vec(wants, 1..9), prop::collection::vec(0u32..12, 6))
    }

    fn deal(assignor: Assignor, (wants, counts): &Story, before: &[Hand]) -> Vec<Hand> {
        let none = Hand::new();
        let sharer = |(at, wants): (usize, &BTreeSet<u8>)| Sharer {
            order: (true, format!("{at:02}")),
            streams: wants.iter().map(|n| StreamId(u128::from(*n))).collect(),
            before: before.get(at).unwrap_or(&none),
        };
        let sharers: Vec<Sharer<'_>> = wants.iter().enumerate().map(sharer).collect();
        let wanted: BTreeSet<StreamId> =
            sharers.iter().flat_map(|it| it.streams.iter().copied()).collect();
        let count = |id: StreamId| (id, counts[id.0 as usize]);
        assignor.assign(&sharers, &wanted.into_iter().map(count).collect())
    }

    /// Everything that is wanted is dealt once, to one who wants it.
    fn check((wants, counts): &Story, hands: &[Hand]) {
        let mut dealt = Hand::new();
        for (hand, wants) in hands.iter().zip(wants) {
            for it in hand {
                assert!(
                    wants.contains(&(it.stream.0 as u8)),
                    "{it:?} goes to one that wants it not"
                );
                assert!(it.partition < counts[it.stream.0 as usize], "{it:?} is not there");
                assert!(dealt.insert(*it), "{it:?} is dealt twice");
            }
        }
        let wanted: BTreeSet<u8> = wants.iter().flatten().copied().collect();
        let all: usize = wanted.iter().map(|n| counts[usize::from(*n)] as usize).sum();
        assert_eq!(dealt.len(), all, "not all is dealt");
    }

    fn spread(hands: &[Hand]) -> usize {
        let sizes = || hands.iter().map(Hand::len);
        sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn whatever_is_wanted_is_dealt_once_to_one_who_wants_it(story in any_story()) {
            for assignor in [Assignor::Uniform, Assignor::Range] {
                check(&story, &deal(assignor, &story, &[]));
            }
        }

        #[test]
        fn uniform_stays_as_it_is_while_nothing_changes(story in any_story()) {
            let first = deal(Assignor::Uniform, &story, &[]);
            prop_assert_eq!(deal(Assignor::Uniform, &story, &first), first);
        }

        #[test]
        fn uniform_is_even_and_moves_no_more_than_it_must(
            wants in prop::collection::btree_set(0u8..6, 1..6),
            counts in prop::collection::vec(0u32..40, 6),
            before in 1usize..9,
            after in 1usize..9,
        ) {
            let all = |count| (vec![wants.clone(); count], counts.clone());
            let old = deal(Assignor::Uniform, &all(before), &[]);
            let new = deal(Assignor::Uniform, &all(after), &old);
            check(&all(after), &new);
            prop_assert!(spread(&old) <= 1 && spread(&new) <= 1);
            let stayed: usize = old.iter().zip(&new).map(|(a, b)| a.intersection(b).count()).sum();
            let total: usize = new.iter().map(Hand::len).sum();
            // Who stays loses nothing when others go, and only what is above a fair share when others come.
            let may_stay: usize = old.iter().zip(&new).map(|(a, b)| a.len().min(b.len())).sum();
            prop_assert_eq!(stayed, may_stay, "of {}", total);
        }

        #[test]
        fn nobody_could_take_from_one_who_has_two_more(story in any_story(), old in any_story()) {
            let before = deal(Assignor::Uniform, &old, &[]);
            let hands = deal(Assignor::Uniform, &story, &before);
            check(&story, &hands);
            for from in &hands {
                for (to, wants) in hands.iter().zip(&story.0) {
                    let may = from.iter().any(|it| wants.contains(&(it.stream.0 as u8)));
                    prop_assert!(!may || from.len() <= to.len() + 1);
                }
            }
        }
    }

    #[test]
    fn range_brings_partitions_of_one_number_together() {
        let story = (vec![BTreeSet::from([0, 1]), BTreeSet::from([0, 1])], vec![3, 3, 0, 0, 0, 0]);
        let hands = deal(Assignor::Range, &story, &[]);
        let numbers = |hand: &Hand| hand.iter().map(|it| it.partition).collect::<Vec<_>>();
        assert_eq!((numbers(&hands[0]), numbers(&hands[1])), (vec![0, 1, 0, 1], vec![2, 2]));
    }
}
