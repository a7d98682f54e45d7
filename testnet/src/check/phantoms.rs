//! No event comes from nowhere: what anybody reads was sent, as it was sent, and was not refused for good.

use super::{Found, Witness};
use crate::history::{Append, History, Id, Outcome};
use std::collections::HashMap;

pub fn check(history: &History) -> Found {
    let sent: HashMap<Id, &Append> =
        history.appends.iter().map(|append| (append.id, append)).collect();
    let mut looked = 0;
    for seen in history.seen.iter().chain(&history.kept) {
        looked += 1;
        match sent.get(&seen.id) {
            None => return Err(Witness::new("nobody sent this event").line(seen)),
            Some(append) if append.key != seen.key => {
                let why = "an event has another key than it was sent with";
                return Err(Witness::new(why).line(*append).line(seen));
            }
            Some(append) if append.outcome == Outcome::Refused => {
                let why = "an event is there although its sender was told that it is not";
                return Err(Witness::new(why).line(*append).line(seen));
            }
            Some(_) => {}
        }
    }
    Ok(looked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;

    #[test]
    fn an_event_that_nobody_sent_is_a_witness() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).kept_at_the_end();
        assert_eq!(check(story.history()), Ok(1));
        let stranger = story.seen(51, 2, 0, 1);
        story.history.seen.push(stranger);
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn an_event_of_unknown_outcome_may_be_there_and_a_refused_one_may_not() {
        let mut story = Story::new();
        story.append(1, 7, Outcome::Unknown, None).append(2, 7, Outcome::Refused, None);
        let unknown = story.seen(51, 1, 0, 0);
        story.history.seen.push(unknown);
        assert_eq!(check(story.history()), Ok(1));
        let refused = story.seen(51, 2, 0, 1);
        story.history.seen.push(refused);
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn an_event_with_another_key_is_a_witness() {
        let mut story = Story::new();
        story.acked(1, 8, 0, 0);
        let changed = story.seen(51, 1, 0, 0);
        story.history.seen.push(changed);
        assert!(check(story.history()).is_err());
    }
}
