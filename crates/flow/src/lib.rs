//! What is computed: streams through stages into views, as pure functions of committed events.
//!
//! A user's `main` fills [`Pipelines`]. On the side of a source an [`Exchange`] runs a stage's stateless chain over
//! each range once and serves every bucket its [`Chunk`]; at the leader of a bucket's shard a [`Task`] folds chunks
//! into one [`model::entry::Commit`] at a time. `peer` drives both: it gathers a chunk from every source partition,
//! says `Input::Chunks`, proposes the `Action::Commit`, says `Input::Committed` when it is applied, and gathers again.
//! A refused commit, or a panic that is not user code's, ends the task: it is built again from the fold.
//!
//! Never opens a file or a socket, starts a task, asks a clock or draws a number: time comes in as an argument.

mod action;
mod build;
mod carry;
mod chain;
mod chunk;
mod context;
mod core;
mod declared;
mod error;
mod event;
mod exchange;
mod hot;
mod input;
mod key;
mod retry;
mod stage;
mod state;
mod task;
pub mod testing;

pub use action::Action;
pub use build::{
    Carried, Flow, Global, Hopping, Join, Keyed, Number, Pipeline, Pipelines, Session, Stage,
    Table, Tumbling, Windowed, Windows, Within,
};
pub use carry::Failure;
pub use chunk::{Activity, Chunk, Item, Piece};
pub use context::{Context, Processor, Slot};
pub use declared::{Declared, List, ListOf, Map, MapOf, Old, Upgrade, Value, ValueOf};
pub use error::Error;
pub use event::Event;
pub use exchange::{Exchange, Miss, Want};
pub use hot::{Heat, HotKey};
pub use input::Input;
pub use key::{ToKey, bucket_of_row, row_key_of_window, window_of_row};
pub use retry::{RETRY, is_mark_of, retry_mark};
pub use stage::{SourceCode, StageCode};
pub use task::{Restored, SourceStream, Tally, Task, TaskStreams};
