//! No event is there twice: every client of these runs is idempotent or sends an idempotency key.

use super::{Found, Witness};
use crate::history::{History, Id, Seen};
use std::collections::HashMap;

pub fn check(history: &History) -> Found {
    let mut first: HashMap<Id, &Seen> = HashMap::new();
    let log = history.log();
    for seen in &log {
        if let Some(before) = first.insert(seen.id, seen) {
            return Err(Witness::new("an event is there twice").line(before).line(seen));
        }
    }
    Ok(log.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;

    #[test]
    fn an_event_at_two_offsets_is_a_witness() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).acked(2, 7, 0, 1).kept_at_the_end();
        assert_eq!(check(story.history()), Ok(2));
        let again = story.seen(101, 1, 3, 9);
        story.history.kept.push(again);
        assert!(check(story.history()).is_err());
    }
}
