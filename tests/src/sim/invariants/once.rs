//! What a task consumed, changed and emitted is one: the count in its view is its position, at every index.

use super::super::clients::{SOURCE, TASK, count};
use replica::Fold;

pub fn applied(index: u64, fold: &Fold) -> Result<(), String> {
    let task = fold.task(TASK);
    let position = task.and_then(|task| task.positions.get(&SOURCE)).map_or(0, |at| at.0);
    let count = count(fold);
    if count != position as u64 {
        return Err(format!("at index {index} {count} events are counted, position {position}"));
    }
    Ok(())
}
