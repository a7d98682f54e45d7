//! HTTP's JSON: what each endpoint takes and gives, both ways, since the command line reads what
//! the peer writes.
//!
//! The router runs in `peer`. Promises that unknown fields of requests are refused and that events
//! keep the exact bytes of their JSON. Never asks a clock or draws a number: the caller gives time
//! and spread.

mod append;
mod dead;
mod groups;
mod keys;
mod members;
mod openapi;
mod overview;
mod peer_settings;
mod plan;
mod problem;
mod ring;
mod sample;
mod settings;
mod shown;
mod streams;
mod views;

pub use append::{AppendedPart, EventIn, EventsAppended, NewEvents, PartBatch, batches, bodies};
pub use dead::{About, DeadStage, DeadStages, Done, Letter, Letters, LettersQuery, Stopped, UpTo};
pub use groups::{
    Extent, Group, GroupConsumer, GroupOffset, GroupRow, Groups, Seek, SeekTo, Sought, SoughtOffset,
};
pub use keys::{HotKey, HotKeys};
pub use members::{
    Health, Member, MemberState, Members, PeerCount, Ready, ShardCount, WishBody, Wished,
};
pub use openapi::openapi;
pub use overview::{
    GroupGlance, Happening, Load, Moment, Overview, PeerGlance, Percentiles, PipelineGlance, Rates,
    StageGlance, StreamGlance, ViewGlance,
};
pub use peer_settings::{PeerSetting, PeerSettings};
pub use plan::{Plan, PlanMove, PlanQuery};
pub use problem::{MEDIA_TYPE, ProblemBody, body_problem, status};
pub use ring::{KeyPlace, Move, Moves, Ring, RingQuery, RingRow};
pub use sample::{Sample, SampleQuery};
pub use settings::{NewSettings, StreamSettings};
pub use shown::Shown;
pub use streams::{Event, Events, EventsQuery, NewStream, Part, Stream, Streams, TailQuery};
pub use views::{
    Consistency, PipelineDetail, PipelineRow, PipelineState, Pipelines, Position, PositionsQuery,
    Row, RowPosition, RowQuery, RowsQuery, ShardPosition, StageDetail, TaskRow, ViewPositions,
    ViewRow, ViewRows, ViewSummary, Views, WatchQuery,
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
