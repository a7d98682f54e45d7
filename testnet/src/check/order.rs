//! A key's events keep their order: those that one client had acknowledged lie in one partition, as it sent them. And
//! who reads a partition gets each offset once, one after the other, whatever happens meanwhile: nothing is trimmed here,
//! and nobody uses transactions.
//!
//! Events of unknown outcome are left out: a client that gave one up may have sent the next one before it arrived.

use super::{Found, Witness};
use crate::history::{History, Id, Seen};
use std::collections::{HashMap, HashSet};

pub fn check(history: &History) -> Found {
    gapless(history)?;
    let acked: HashSet<Id> = history.acked().map(|append| append.id).collect();
    let mut last: HashMap<(u16, u32), &Seen> = HashMap::new();
    let mut looked = 0;
    for seen in history.log().into_iter().filter(|seen| acked.contains(&seen.id)) {
        looked += 1;
        let before = last.insert((seen.id.client, seen.key), seen);
        if let Some(before) = before.filter(|before| before.partition != seen.partition) {
            let why = "a key's events of one client lie in two partitions";
            return Err(Witness::new(why).line(before).line(seen));
        }
        if let Some(before) = before.filter(|before| before.id.number > seen.id.number) {
            let why = "a later event of a key lies before an earlier one of the same client";
            return Err(Witness::new(why).line(before).line(seen));
        }
    }
    Ok(looked)
}

/// Holds what readers saw while faults went on: they begin at the beginning.
fn gapless(history: &History) -> Result<(), Witness> {
    let mut last: HashMap<(u16, u32), &Seen> = HashMap::new();
    for seen in &history.seen {
        let before = last.insert((seen.reader, seen.partition), seen);
        let wanted = before.map_or(0, |before| before.offset + 1);
        if seen.offset != wanted {
            let why = format!("a reader was at offset {wanted} and got another");
            let witness = Witness::new(why).line(seen);
            return Err(before.into_iter().fold(witness, |witness, before| witness.line(before)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;
    use crate::history::Outcome;

    #[test]
    fn a_swapped_pair_of_one_key_is_a_witness() {
        let mut story = Story::new();
        story.acked(2, 7, 0, 0).acked(1, 8, 0, 1).kept_at_the_end();
        assert_eq!(check(story.history()), Ok(2), "other keys have an order of their own");
        story.acked(1, 7, 0, 2);
        story.history.kept.clear();
        story.kept_at_the_end();
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn a_key_in_two_partitions_is_a_witness() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).acked(2, 7, 1, 0).kept_at_the_end();
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn who_reads_on_behind_or_before_what_came_next_is_a_witness() {
        let seen = |offset| Story::new().seen(51, 1, 0, offset);
        let read = |offsets: &[i64]| {
            let seen = offsets.iter().copied().map(seen).collect();
            check(&History { seen, ..History::default() }).is_ok()
        };
        assert!(read(&[0, 1, 2]));
        for wrong in [&[1][..], &[0, 2], &[0, 1, 1], &[0, 1, 0]] {
            assert!(!read(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn an_event_that_was_given_up_may_come_late() {
        let mut story = Story::new();
        story.acked(2, 7, 0, 0).append(1, 7, Outcome::Unknown, None).kept_at_the_end();
        let late = story.seen(101, 1, 0, 1);
        story.history.kept.push(late);
        assert_eq!(check(story.history()), Ok(1));
    }
}
