//! An offset has one event: over all acknowledgements and all readers, before and after every fault.

use super::{Found, Witness};
use crate::history::{History, Id};
use std::collections::HashMap;

pub fn check(history: &History) -> Found {
    let told = history.acked().filter_map(|append| Some((append.place?, append.id, None)));
    let read = history.seen.iter().chain(&history.kept);
    let read = read.map(|seen| ((seen.partition, seen.offset), seen.id, Some(seen.reader)));
    let mut events: HashMap<(u32, i64), (Id, Option<u16>)> = HashMap::new();
    let mut looked = 0;
    for (place, id, reader) in told.chain(read) {
        looked += 1;
        let (before, by) = *events.entry(place).or_insert((id, reader));
        if before != id {
            let who = |reader: Option<u16>| {
                reader.map_or("an acknowledgement".into(), |reader| format!("reader {reader}"))
            };
            let (partition, offset) = place;
            return Err(Witness::new(format!(
                "partition {partition} has two events at offset {offset}"
            ))
            .line(&format!("{before:?} says {}", who(by)))
            .line(&format!("{id:?} says {}", who(reader))));
        }
    }
    Ok(looked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;

    #[test]
    fn two_readers_with_different_events_at_an_offset_are_a_witness() {
        let mut story = Story::new();
        let (one, same, other) =
            (story.seen(51, 1, 0, 0), story.seen(52, 1, 0, 0), story.seen(61, 2, 0, 0));
        story.history.seen.extend([one, same]);
        assert_eq!(check(story.history()), Ok(2));
        story.history.seen.push(other);
        let witness = check(story.history()).expect_err("two events");
        assert!(witness.lines[0].contains("reader 51"), "{witness}");
    }

    #[test]
    fn an_acknowledgement_counts_as_a_reader() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0);
        let other = story.seen(61, 2, 0, 0);
        story.history.seen.push(other);
        assert!(check(story.history()).is_err());
    }
}
