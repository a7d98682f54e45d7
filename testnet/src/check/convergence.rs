//! All copies agree at the end: every peer's stream has the same events, and every peer's view the same rows.

use super::{Found, Witness};
use crate::history::{History, Row, Seen};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(history: &History) -> Found {
    let mut logs: BTreeMap<u16, BTreeMap<(u32, i64), &Seen>> = BTreeMap::new();
    for kept in &history.kept {
        logs.entry(kept.reader).or_default().insert((kept.partition, kept.offset), kept);
    }
    let mut rows: BTreeMap<u16, BTreeMap<(&str, &str), &Row>> = BTreeMap::new();
    for row in &history.rows {
        rows.entry(row.reader).or_default().insert((&row.view, &row.key), row);
    }
    if logs.len() < 2 || rows.len() < 2 {
        return Err(Witness::new("fewer than two copies were read at the end: nothing is proven"));
    }
    equal(&logs, |a, b| a.id == b.id && a.key == b.key)?;
    equal(&rows, |a, b| a.value == b.value)?;
    Ok((history.kept.len() + history.rows.len()) as u64)
}

fn equal<K: Ord + Copy, V: std::fmt::Debug>(
    copies: &BTreeMap<u16, BTreeMap<K, &V>>,
    same: impl Fn(&V, &V) -> bool,
) -> Result<(), Witness> {
    let mut each = copies.iter();
    let Some((first, one)) = each.next() else { return Ok(()) };
    for (second, other) in each {
        let keys: BTreeSet<K> = one.keys().chain(other.keys()).copied().collect();
        let differs = |key: &K| match (one.get(key), other.get(key)) {
            (Some(a), Some(b)) => !same(a, b),
            _ => true,
        };
        if let Some(key) = keys.into_iter().find(differs) {
            let why = format!("the copies that readers {first} and {second} read differ");
            return Err(Witness::new(why).line(&one.get(&key)).line(&other.get(&key)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::story::Story;

    fn story() -> Story {
        let mut story = Story::new();
        story.acked(1, 7, 0, 0).kept_at_the_end();
        let mut other = story.history.kept[0];
        other.reader = 102;
        story.history.kept.push(other);
        story.row(1, "seen", "k7", 1).row(2, "seen", "k7", 1);
        story
    }

    #[test]
    fn a_copy_that_lacks_or_changes_something_is_a_witness() {
        assert_eq!(check(story().history()), Ok(4));
        let mut row = story();
        row.history.rows[1].value = 2;
        assert!(check(row.history()).is_err());
        let mut more = story();
        more.history.kept.push(more.seen(102, 2, 0, 1));
        assert!(check(more.history()).is_err());
    }

    #[test]
    fn one_copy_alone_proves_nothing() {
        let mut story = story();
        story.history.kept.pop();
        assert!(check(story.history()).is_err());
    }
}
