//! What a stage read, what it kept and what it emitted move together: for each key the emitted events say first,
//! second, third … without a gap or a repetition, each has one kept event as its cause, and each kept event has one.

use super::{Found, Witness};
use crate::history::{Emitted, History, Id};
use std::collections::{BTreeMap, HashMap};

pub fn check(history: &History) -> Found {
    let mut emitted: Vec<&Emitted> = history.emitted.iter().collect();
    emitted.sort_by_key(|emitted| (emitted.partition, emitted.offset));
    let mut last: BTreeMap<u32, &Emitted> = BTreeMap::new();
    for one in &emitted {
        let before = last.insert(one.key, one);
        if before.map_or(0, |before| before.nth) + 1 != one.nth {
            let why = "what a stage emitted for a key is not one more each time";
            return Err(Witness::new(why).line(&before).line(one));
        }
    }
    let mut causes: HashMap<Id, &Emitted> = HashMap::new();
    for one in &emitted {
        if let Some(before) = causes.insert(one.cause, one) {
            return Err(Witness::new("an event had effects twice").line(before).line(one));
        }
    }
    for seen in history.log() {
        match causes.remove(&seen.id) {
            None => return Err(Witness::new("an event had no effect").line(seen)),
            Some(one) if one.key != seen.key => {
                let why = "an event had its effect on another key";
                return Err(Witness::new(why).line(seen).line(one));
            }
            Some(_) => {}
        }
    }
    match causes.into_values().next() {
        Some(one) => {
            Err(Witness::new("something was emitted for an event that is not kept").line(one))
        }
        None => Ok(emitted.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;

    fn story() -> Story {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).acked(2, 7, 0, 1).acked(3, 8, 0, 2).kept_at_the_end();
        story.emitted(0, 7, 1, 1).emitted(1, 8, 1, 3).emitted(2, 7, 2, 2);
        story
    }

    #[test]
    fn each_event_has_one_effect_in_the_order_of_its_key() {
        assert_eq!(check(story().history()), Ok(3));
    }

    #[test]
    fn an_effect_that_is_missing_doubled_or_of_nothing_is_a_witness() {
        let mut missing = story();
        missing.history.emitted.pop();
        assert!(check(missing.history()).is_err());
        let mut doubled = story();
        doubled.emitted(3, 7, 3, 2);
        assert!(check(doubled.history()).is_err());
        let mut nothing = story();
        nothing.emitted(3, 7, 3, 99);
        assert!(check(nothing.history()).is_err());
    }

    #[test]
    fn state_that_fell_back_between_two_effects_is_a_witness() {
        let mut story = story();
        story.history.emitted[2].nth = 1;
        let witness = check(story.history()).expect_err("first again");
        assert!(witness.why.contains("one more"), "{witness}");
    }
}
