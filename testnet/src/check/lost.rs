//! No acknowledged event is lost: whoever reads everything at the end finds each of them, and at the acknowledged place.
//! Nor is one that somebody has read, acknowledged or not: what readers are shown is committed.

use super::{Found, Witness};
use crate::history::{History, Id};
use std::collections::HashMap;

pub fn check(history: &History) -> Found {
    let readers = history.last_readers();
    if readers.is_empty() {
        return Err(Witness::new("nobody read the stream at the end: nothing is proven"));
    }
    let mut looked = 0;
    for reader in readers {
        let kept = history.kept.iter().filter(|kept| kept.reader == reader);
        let places: HashMap<Id, (u32, i64)> =
            kept.map(|kept| (kept.id, (kept.partition, kept.offset))).collect();
        let missing = |append: &&_| !places.contains_key(&append_id(append));
        let count = history.acked().filter(missing).count();
        if let Some(first) = history.acked().find(missing) {
            let why = format!("{count} acknowledged events are not there for reader {reader}");
            return Err(Witness::new(why).line(first));
        }
        for append in history.acked() {
            looked += 1;
            let found = places.get(&append.id).copied();
            if append.place.is_some_and(|told| Some(told) != found) {
                let why = format!("reader {reader} finds an event elsewhere than it was told");
                return Err(Witness::new(why).line(append).line(&found));
            }
        }
        for seen in &history.seen {
            looked += 1;
            if !places.contains_key(&seen.id) {
                let why =
                    format!("an event that somebody has read is not there for reader {reader}");
                return Err(Witness::new(why).line(seen));
            }
        }
    }
    Ok(looked)
}

fn append_id(append: &crate::history::Append) -> Id {
    append.id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;
    use crate::history::{Outcome, Seen};

    #[test]
    fn an_acknowledged_event_that_is_not_read_is_a_witness() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).acked(2, 7, 0, 1).kept_at_the_end();
        assert_eq!(check(story.history()), Ok(2));
        story.history.kept.pop();
        let witness = check(story.history()).expect_err("one is lost");
        assert!(witness.why.starts_with("1 acknowledged"), "{witness}");
        assert!(witness.lines[0].contains("number: 2"), "{witness}");
    }

    #[test]
    fn one_reader_without_the_event_is_enough() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).kept_at_the_end();
        let mut other = story.history.kept[0];
        other.reader += 1;
        story.history.kept.push(other);
        assert_eq!(check(story.history()), Ok(2));
        story.history.kept[1].id.number = 99;
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn an_event_at_another_place_than_told_is_a_witness() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).kept_at_the_end();
        story.history.kept[0].offset = 5;
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn an_event_of_unknown_outcome_that_was_read_must_stay_for_each_last_reader() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).append(2, 7, Outcome::Unknown, None).kept_at_the_end();
        assert_eq!(check(story.history()), Ok(1), "nobody saw the other: it may be lost");
        let seen = story.seen(51, 2, 0, 1);
        story.history.seen.push(seen);
        let witness = check(story.history()).expect_err("it has vanished");
        assert!(witness.lines[0].contains("reader: 51"), "{witness}");
        story.history.kept.push(Seen { reader: 101, ..seen });
        assert_eq!(check(story.history()), Ok(2));
        let other = Seen { reader: 102, ..story.history.kept[0] };
        story.history.kept.push(other);
        assert!(check(story.history()).is_err(), "one copy lacks it");
    }

    #[test]
    fn without_a_last_reading_nothing_is_proven() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0);
        assert!(check(story.history()).is_err());
    }
}
