//! More doors' connections than a shard remembers.

use super::*;
use crate::limits::{DOOR_KEPT_MS, DOORS_MAX};

fn append(log: &mut Log, time_ms: u64, connection: u64, sequence: u64) -> Result<(), Refusal> {
    let origin = Origin::Door { door: 1, connection, sequence };
    let op = Op::Append { partition: PARTITION, origin, batch: batch("v", 1).bytes().clone() };
    log.entry(time_ms, vec![op]).remove(0).map(drop)
}

#[test]
fn a_connection_that_may_still_be_used_is_pushed_out_by_no_other() {
    let mut log = Log::new();
    for connection in 0..DOORS_MAX as u64 {
        assert_eq!(append(&mut log, connection, connection, 0), Ok(()));
    }
    let next = |log: &Log| log.fold.partition(PARTITION).map(|it| it.next_offset);
    let before = next(&log);
    assert_eq!(append(&mut log, DOOR_KEPT_MS - 1, 9_999, 0), Err(Refusal::Busy));
    assert_eq!(next(&log), before, "nothing of it is appended");
    assert_eq!(append(&mut log, DOOR_KEPT_MS - 1, 0, 1), Ok(()), "who is known goes on");
    assert_eq!(append(&mut log, DOOR_KEPT_MS, 9_999, 0), Err(Refusal::Busy), "1 is too young");
    assert_eq!(append(&mut log, DOOR_KEPT_MS + 1, 9_999, 0), Ok(()), "in the place of 1");
    assert_eq!(append(&mut log, DOOR_KEPT_MS + 1, 2, 1), Ok(()));
    assert_eq!(append(&mut log, DOOR_KEPT_MS + 1, 1, 1), Err(Refusal::Busy), "it was forgotten");
}
