//! What an entry of a shard's log says. It carries what it assumes; apply checks that against the fold.
//!
//! Layout: version u8, shard time u64, operation count u16; an operation is kind u8, header (u32 length + bincode),
//! body count u16, bodies (u32 length + bytes). Batches and rows are bodies: they never pass through serde.

use crate::catalogue::Change;
use crate::changes::Changes;
use crate::codec;
use crate::group;
use crate::id::{PartitionId, TaskId};
use crate::origin::Origin;
use crate::transaction;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version that is written and read.
pub const VERSION: u8 = 5;
/// Operations of one entry.
pub const OPS_MAX: usize = u16::MAX as usize;

/// Why an entry's bytes have no meaning here. The replica stops: an unknown kind is never skipped.
#[derive(Debug, Error)]
pub enum Error {
    #[error("an entry ends early")]
    Short,
    #[error("entry version {0} is not known here")]
    Version(u8),
    #[error("operation kind {0} is not known here")]
    Kind(u8),
    #[error("an operation is malformed: {0}")]
    Header(#[from] codec::Error),
    #[error("operation kind {kind} has {found} bodies")]
    Bodies { kind: u8, found: usize },
    #[error("the rows of a commit are malformed")]
    Rows,
    #[error("bytes after the end of an entry")]
    Trailing,
}

/// One entry: operations that are true together from one moment on.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Entry {
    /// Shard time, ms since 1970, given by the leader; apply never lets it fall.
    pub time_ms: u64,
    pub ops: Vec<Op>,
}

/// One operation on the fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Appends a batch to a partition; the offset is given at apply.
    Append { partition: PartitionId, origin: Origin, batch: Bytes },
    /// What a task consumed, changed and emitted: the one commit.
    Commit(Box<Commit>),
    /// Changes the catalogue (shard 0 only).
    Catalogue(Box<Change>),
    /// Takes a new producer id from this shard; `nonce` makes it repeatable.
    Producer { nonce: u128 },
    /// Forgets a partition's events below `offset`.
    Trim { partition: PartitionId, offset: i64 },
    /// Forgets a partition for good: its stream is no more.
    Drop { partition: PartitionId },
    /// Changes a group of consumers.
    Group(Box<group::Change>),
    /// Changes a transaction at its coordinator.
    Transaction(Box<transaction::Change>),
    /// Opens or closes a transaction at one of its parts.
    Step(Box<transaction::Step>),
    /// Ends a task for good: its stage is no more. Takes some of its rows each time it is said, and says whether there
    /// are more.
    End { task: TaskId },
}

/// A task's entry. Applied only if `sequence`, `term`, `version` and every `from` are the committed ones;
/// otherwise it changes nothing and the task restarts from its last commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Commit {
    pub task: TaskId,
    /// The pipeline version that computed it.
    pub version: u32,
    /// The leader's term it was computed in.
    pub term: u64,
    /// The task sequence it starts from; after apply the task's sequence is one more.
    pub sequence: u64,
    /// Only sources whose position moved.
    pub moves: Vec<Move>,
    /// The task's watermark after this commit, ms; never below the last.
    pub watermark_ms: i64,
    /// None of its sources has had anything for a while: whoever reads what it emits need not wait for it.
    pub is_idle: bool,
    /// Rows put and removed, each key at most once; the first body of the operation.
    #[serde(skip)]
    pub changes: Changes,
    /// Batches for partitions that lie in the same shard; the other bodies, in this order.
    pub emitted: Vec<PartitionId>,
    #[serde(skip)]
    pub batches: Vec<Bytes>,
}

/// One source partition's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub source: PartitionId,
    pub from: i64,
    pub to: i64,
    /// The source partition's watermark at `to`, ms; `i64::MIN` before its first event.
    pub watermark_ms: i64,
}

/// Row spaces of a task's table: the first byte of every key.
pub mod row {
    /// Rows of the stage's view, as `[VIEW] ++ key`: what clients may read.
    pub const VIEW: u8 = 0;
    /// The processor's own keyed state.
    pub const STATE: u8 = 1;
    /// Timers, as `[TIMER] ++ time (u64 big-endian, sign bit flipped) ++ key`.
    pub const TIMER: u8 = 2;
    /// State that is found by ranges of its keys: buffers of joins, lists and maps.
    pub const ORDERED: u8 = 3;
    /// Values that a processor declared, by key and name.
    pub const VALUE: u8 = 4;
    /// Timers of processing time, as [`TIMER`]s are.
    pub const CLOCK: u8 = 5;
}

const KIND_APPEND: u8 = 1;
const KIND_COMMIT: u8 = 2;
const KIND_CATALOGUE: u8 = 3;
const KIND_PRODUCER: u8 = 4;
const KIND_TRIM: u8 = 5;
const KIND_GROUP: u8 = 6;
const KIND_DROP: u8 = 7;
const KIND_TRANSACTION: u8 = 8;
const KIND_STEP: u8 = 9;
const KIND_END: u8 = 10;

impl Op {
    /// Roughly how many bytes the operation takes in an entry.
    pub fn size(&self) -> usize {
        match self {
            Self::Append { batch, .. } => 64 + batch.len(),
            Self::Commit(commit) => {
                let batches: usize = commit.batches.iter().map(|b| 24 + b.len()).sum();
                96 + 48 * commit.moves.len() + commit.changes.bytes().len() + batches
            }
            Self::Catalogue(_) => 4096,
            Self::Producer { .. } | Self::Trim { .. } | Self::Drop { .. } | Self::End { .. } => 48,
            Self::Group(change) => change.size(),
            Self::Transaction(change) => change.size(),
            Self::Step(step) => step.size(),
        }
    }
}

impl Entry {
    /// Encodes the entry. Panics if it has more than [`OPS_MAX`] operations: the proposer bounds them.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.ops.len() <= OPS_MAX, "an entry has too many operations");
        let size: usize = self.ops.iter().map(Op::size).sum();
        let mut out = Vec::with_capacity(16 + size);
        out.push(VERSION);
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(&(self.ops.len() as u16).to_le_bytes());
        for op in &self.ops {
            match op {
                Op::Append { partition, origin, batch } => {
                    put(&mut out, KIND_APPEND, &(partition, origin), [batch])
                }
                Op::Commit(commit) => {
                    let bodies = [commit.changes.bytes()].into_iter().chain(&commit.batches);
                    put(&mut out, KIND_COMMIT, commit, bodies)
                }
                Op::Catalogue(change) => put(&mut out, KIND_CATALOGUE, change, []),
                Op::Producer { nonce } => put(&mut out, KIND_PRODUCER, nonce, []),
                Op::Trim { partition, offset } => {
                    put(&mut out, KIND_TRIM, &(partition, offset), [])
                }
                Op::Drop { partition } => put(&mut out, KIND_DROP, partition, []),
                Op::Group(change) => put(&mut out, KIND_GROUP, change, []),
                Op::Transaction(change) => put(&mut out, KIND_TRANSACTION, change, []),
                Op::Step(step) => put(&mut out, KIND_STEP, step, []),
                Op::End { task } => put(&mut out, KIND_END, task, []),
            }
        }
        out
    }

    /// Decodes an entry; batches stay slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, Error> {
        let mut cursor = Cursor { bytes, at: 0 };
        let [version] = cursor.array()?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let time_ms = u64::from_le_bytes(cursor.array()?);
        let count = u16::from_le_bytes(cursor.array()?);
        let mut ops = Vec::with_capacity(usize::from(count).min(bytes.len()));
        for _ in 0..count {
            ops.push(cursor.op()?);
        }
        if cursor.at != bytes.len() {
            return Err(Error::Trailing);
        }
        Ok(Self { time_ms, ops })
    }
}

fn put<'a, T: Serialize>(
    out: &mut Vec<u8>,
    kind: u8,
    header: &T,
    bodies: impl IntoIterator<Item = &'a Bytes>,
) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    codec::encode_into(out, header);
    let size = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&size.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0u16;
    for body in bodies {
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(body);
        count += 1;
    }
    out[at..at + 2].copy_from_slice(&count.to_le_bytes());
}

struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], Error> {
        let end =
            self.at.checked_add(size).filter(|end| *end <= self.bytes.len()).ok_or(Error::Short)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.take(N)?.try_into().expect("as many bytes as asked for"))
    }

    fn body(&mut self) -> Result<Bytes, Error> {
        let size = u32::from_le_bytes(self.array()?) as usize;
        let body = self.take(size)?;
        Ok(self.bytes.slice_ref(body))
    }

    fn op(&mut self) -> Result<Op, Error> {
        let [kind] = self.array()?;
        let size = u32::from_le_bytes(self.array()?) as usize;
        let header = self.take(size)?;
        let count = usize::from(u16::from_le_bytes(self.array()?));
        let mut bodies = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            bodies.push(self.body()?);
        }
        let wrong = Error::Bodies { kind, found: count };
        match kind {
            KIND_APPEND => {
                let (partition, origin) = codec::decode_bare(header)?;
                let [batch] = <[Bytes; 1]>::try_from(bodies).map_err(|_| wrong)?;
                Ok(Op::Append { partition, origin, batch })
            }
            KIND_COMMIT => {
                let mut commit: Commit = codec::decode_bare(header)?;
                if commit.emitted.len() + 1 != bodies.len() {
                    return Err(wrong);
                }
                commit.batches = bodies.split_off(1);
                let [changes] = <[Bytes; 1]>::try_from(bodies).map_err(|_| wrong)?;
                commit.changes = Changes::read(changes).ok_or(Error::Rows)?;
                Ok(Op::Commit(Box::new(commit)))
            }
            _ if count > 0 => Err(wrong),
            KIND_CATALOGUE => Ok(Op::Catalogue(Box::new(codec::decode_bare(header)?))),
            KIND_PRODUCER => Ok(Op::Producer { nonce: codec::decode_bare(header)? }),
            KIND_TRIM => {
                let (partition, offset) = codec::decode_bare(header)?;
                Ok(Op::Trim { partition, offset })
            }
            KIND_DROP => Ok(Op::Drop { partition: codec::decode_bare(header)? }),
            KIND_GROUP => Ok(Op::Group(Box::new(codec::decode_bare(header)?))),
            KIND_TRANSACTION => Ok(Op::Transaction(Box::new(codec::decode_bare(header)?))),
            KIND_STEP => Ok(Op::Step(Box::new(codec::decode_bare(header)?))),
            KIND_END => Ok(Op::End { task: codec::decode_bare(header)? }),
            other => Err(Error::Kind(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{StageId, StreamId};

    #[test]
    fn entries_survive_their_encoding_and_any_cut_is_found() {
        let partition = PartitionId { stream: StreamId(9), partition: 3 };
        let commit = Commit {
            task: TaskId { stage: StageId(4), bucket: 1 },
            sequence: 8,
            moves: vec![Move { source: partition, from: 0, to: 5, watermark_ms: -1 }],
            changes: [(&b"\0k"[..], Some(&b"1"[..]))].into_iter().collect(),
            emitted: vec![partition],
            batches: vec![Bytes::from_static(b"batch")],
            ..Commit::default()
        };
        let entry = Entry {
            time_ms: 77,
            ops: vec![
                Op::Append {
                    partition,
                    origin: Origin::Door { door: 1, connection: 2, sequence: 3 },
                    batch: Bytes::from_static(b"abc"),
                },
                Op::Commit(Box::new(commit)),
                Op::Producer { nonce: 5 },
                Op::Trim { partition, offset: 10 },
                Op::Drop { partition },
                Op::Group(Box::new(group::Change {
                    group: "g".into(),
                    term: 2,
                    what: group::What::Commit(vec![(partition, group::Committed::default())]),
                })),
                Op::Transaction(Box::new(transaction::Change {
                    id: "t".into(),
                    what: transaction::What::Ended { number: 3 },
                })),
                Op::Step(Box::new(transaction::Step {
                    part: transaction::Part::Group("g".into()),
                    producer: 9,
                    epoch: 1,
                    what: transaction::StepWhat::Close { number: 3, commit: true },
                })),
                Op::End { task: TaskId { stage: StageId(4), bucket: 1 } },
            ],
        };
        let bytes = Bytes::from(entry.encode());
        assert_eq!(Entry::decode(&bytes).expect("own bytes"), entry);
        for cut in 0..bytes.len() {
            assert!(Entry::decode(&bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
    }
}
