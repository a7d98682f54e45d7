//! Tells what a segment's bytes are: sound frames, rot, and the torn end.
//!
//! The rule: a bad frame is torn, and it and all after it are cut, unless something written later says that it had
//! been synced. Such a proof is a later frame of the segment whose head is sound, or the existence of the next
//! segment, which is made only after the last one was synced. With proof it is rot: never cut, never passed over.

use super::frame::{ALIGN, Head};
use crate::Error;
use model::ShardId;
use model::planted::{self, Mutant};
use std::ops::Range;

/// What was found in one segment.
#[derive(Debug)]
pub struct Scan {
    pub steps: Vec<Step>,
    /// The number after the last frame.
    pub next: u64,
    /// Where the last frame ends: what lies behind it is cut when the segment is the newest.
    pub end: u64,
    /// Frames up to here were certainly synced; those between here and `end` may not have been.
    pub proven_end: u64,
}

/// One step through a segment, in order of frame numbers.
#[derive(Debug)]
pub enum Step {
    Sound(Head),
    /// Frames that had been synced and are damaged; `None`: not even their shards can be read.
    Rotten {
        numbers: Range<u64>,
        shards: Option<Vec<ShardId>>,
    },
}

/// Scans the bytes of `segment`. `until` is the id of the next segment if there is one; `unreadable` are the ranges
/// that the disk refused to read (they are zeros in `bytes`).
pub fn scan(
    bytes: &[u8],
    segment: u64,
    until: Option<u64>,
    unreadable: &[Range<u64>],
) -> Result<Scan, Error> {
    let heads = heads(bytes, segment, until)?;
    let marks = heads.iter().map(|head| head.synced);
    let claimed = marks.max().filter(|_| !planted::is(Mutant::SyncedMarkIgnored)).unwrap_or(0);
    // What cannot be read cannot be called torn: the disk is at fault, not a power cut.
    let all_proven = until.is_some() || !unreadable.is_empty();
    let proven = if all_proven { u64::MAX } else { claimed };
    let mut scan = Scan { steps: Vec::new(), next: segment, end: 0, proven_end: 0 };
    for head in heads {
        if head.number > scan.next && !scan.missing(head.number, proven) {
            return Ok(scan);
        }
        if !scan.frame(bytes, head, proven) {
            return Ok(scan);
        }
    }
    if let Some(until) = until.filter(|until| *until > scan.next) {
        scan.missing(until, proven);
    } else if until.is_none() && !unreadable.is_empty() {
        let sectors: u64 = unreadable.iter().map(|r| (r.end - r.start) / ALIGN as u64 + 1).sum();
        scan.missing(scan.next + sectors, proven);
        scan.end = bytes.len() as u64;
        scan.proven_end = scan.end;
    }
    Ok(scan)
}

impl Scan {
    /// Frames below `until` are not there. Returns whether the walk may go on: they are all rot.
    fn missing(&mut self, until: u64, proven: u64) -> bool {
        let rotten_until = until.min(proven.saturating_add(1));
        if self.next < rotten_until {
            self.steps.push(Step::Rotten { numbers: self.next..rotten_until, shards: None });
            self.next = rotten_until;
        }
        self.next == until
    }

    fn frame(&mut self, bytes: &[u8], head: Head, proven: u64) -> bool {
        let sound = head.body(bytes).is_some();
        let synced = head.number <= proven;
        if !sound && !synced {
            return false;
        }
        self.end = head.place + head.frame_bytes() as u64;
        if synced {
            self.proven_end = self.end;
        }
        self.next = head.number + 1;
        self.steps.push(match sound {
            true => Step::Sound(head),
            false => Step::Rotten {
                numbers: head.number..head.number + 1,
                shards: Some(head.shards.clone()),
            },
        });
        true
    }
}

/// All sound heads of the segment, in order; where there is none, looks on at the next sector.
fn heads(bytes: &[u8], segment: u64, until: Option<u64>) -> Result<Vec<Head>, Error> {
    let mut heads: Vec<Head> = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let least = heads.last().map_or(segment, |head| head.number + 1);
        let head = Head::decode(bytes, segment, place)?
            .filter(|head| head.number >= least && until.is_none_or(|until| head.number < until));
        let Some(head) = head else {
            place += ALIGN;
            continue;
        };
        let end = place.saturating_add(head.frame_bytes());
        place = if end <= bytes.len().next_multiple_of(ALIGN) { end } else { place + ALIGN };
        heads.push(head);
    }
    Ok(heads)
}
