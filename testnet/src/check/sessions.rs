//! What was seen is never unseen: a number that only grows is, for a reader that was promised a fresh answer, at least
//! what anybody had seen or been told before it asked.

use super::{Found, Witness};
use crate::history::{History, Look};
use std::collections::HashMap;

pub fn check(history: &History) -> Found {
    let ends = history.acked().filter_map(|append| {
        let (partition, offset) = append.place?;
        Some(Look {
            reader: append.id.client,
            what: end_of(partition),
            value: u64::try_from(offset).ok()? + 1,
            called: append.called,
            returned: append.returned,
            linear: false,
        })
    });
    let ends: Vec<Look> = ends.collect();
    let mut about: HashMap<&str, Vec<&Look>> = HashMap::new();
    for look in history.looks.iter().chain(&ends) {
        about.entry(&look.what).or_default().push(look);
    }
    about.values_mut().try_for_each(|looks| grows(looks))?;
    Ok(history.looks.iter().filter(|look| look.linear).count() as u64)
}

/// What looks at the end of a partition are called.
pub fn end_of(partition: u32) -> String {
    format!("end of partition {partition}")
}

fn grows(looks: &mut [&Look]) -> Result<(), Witness> {
    let mut ended: Vec<&Look> = looks.to_vec();
    ended.sort_by_key(|look| look.returned);
    looks.sort_by_key(|look| look.called);
    let mut ended = ended.into_iter().peekable();
    let mut most: Option<&Look> = None;
    for look in looks.iter().filter(|look| look.linear) {
        while let Some(before) = ended.next_if(|before| before.returned < look.called) {
            if most.is_none_or(|most| before.value > most.value) {
                most = Some(before);
            }
        }
        if let Some(most) = most.filter(|most| most.value > look.value) {
            return Err(Witness::new("a fresh answer is older than one before it")
                .line(most)
                .line(*look));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;

    #[test]
    fn a_fresh_answer_below_an_earlier_one_is_a_witness() {
        let mut story = Story::new();
        story.look(5, 10, 20, true).look(5, 30, 40, true);
        assert_eq!(check(story.history()), Ok(2));
        story.look(4, 50, 60, true);
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn answers_that_overlap_may_come_in_any_order() {
        let mut story = Story::new();
        story.look(5, 10, 40, true).look(4, 30, 60, true);
        assert_eq!(check(story.history()), Ok(2));
    }

    #[test]
    fn an_old_answer_that_says_so_may_be_old_but_not_from_the_future() {
        let mut story = Story::new();
        story.look(5, 10, 20, true).look(3, 30, 40, false);
        assert_eq!(check(story.history()), Ok(1));
        story.look(9, 50, 60, false).look(6, 70, 80, true);
        assert!(check(story.history()).is_err());
    }

    #[test]
    fn what_was_acknowledged_is_there_for_the_next_fresh_reader() {
        let mut story = Story::new();
        story.acked(1, 7, 0, 8);
        let told = story.history.appends[0].returned;
        story.look(8, told + 1, told + 2, true);
        story.history.looks[0].what = end_of(0);
        assert!(check(story.history()).is_err());
        story.history.looks[0].value = 9;
        assert_eq!(check(story.history()), Ok(1));
    }
}
