//! HTTP's JSON: what each endpoint takes and gives, both ways, since the command line reads what
//! the peer writes.
//!
//! The router runs in `peer`. Promises that unknown fields of requests are refused and that events
//! keep the exact bytes of their JSON. Never asks a clock or draws a number: the caller gives time
//! and spread.

mod append;
mod members;
mod plan;
mod problem;
mod ring;
mod shown;
mod streams;
mod views;

pub use append::{AppendedPart, EventIn, EventsAppended, NewEvents, PartBatch, batches};
pub use members::{Health, Member, MemberState, Members, PeerCount, Ready, ShardCount, WishBody};
pub use plan::{Plan, PlanMove, PlanQuery};
pub use problem::{MEDIA_TYPE, ProblemBody, body_problem, status};
pub use ring::{KeyPlace, Ring, RingQuery, RingRow};
pub use shown::Shown;
pub use streams::{Event, Events, EventsQuery, NewStream, Part, Stream, Streams};
pub use views::{
    Consistency, PipelineDetail, PipelineRow, PipelineState, Pipelines, Position, PositionsQuery,
    Row, RowPosition, RowQuery, RowsQuery, ShardPosition, StageDetail, TaskRow, ViewPositions,
    ViewRow, ViewRows, ViewSummary, Views,
};

/// Events of one append.
pub const EVENTS_MAX: usize = 10_000;
/// Events of one read.
pub const READ_MAX: usize = 10_000;
/// Rows of one scan.
pub const ROWS_MAX: usize = 10_000;
/// The longest a read waits for events.
pub const WAIT_MS_MAX: u64 = 30_000;
/// Bytes of a request's body; base64 and JSON take more room than the events in them.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Nesting of an event's JSON, as deep as serde_json reads.
pub const DEPTH_MAX: usize = 128;
