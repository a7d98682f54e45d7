//! The words of shoal: nouns that two or more rooms say, and the bytes they travel as.
//!
//! Promises that every type here is plain data with checked decoding; never opens a file, a socket or a task,
//! never asks a clock, never decides what happens next.

pub mod batch;
pub mod catalogue;
pub mod changes;
pub mod codec;
pub mod deal;
pub mod entry;
pub mod group;
pub mod hash;
pub mod id;
pub mod log;
pub mod name;
pub mod origin;
pub mod planted;
pub mod problem;
pub mod settings;
pub mod transaction;

pub use batch::{Batch, BatchBuilder, Record};
pub use catalogue::Catalogue;
pub use changes::{Changes, ChangesBuilder};
pub use entry::{Entry, Op};
pub use id::{
    Epoch, MeshId, PartitionId, PeerId, ProducerId, ReplicaId, ShardId, StageId, StreamId, TaskId,
};
pub use log::{HardState, LogEntry};
pub use origin::Origin;
pub use problem::Problem;
pub use settings::Settings;
