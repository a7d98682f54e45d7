//! What is kept: every file of a peer. The journal (what was promised), the segments (event bytes), the tables
//! (state), and the folder they lie in.
//!
//! Promises that what a successful sync covered is there after a power cut, and that bytes which changed on the
//! disk are found when they are read: they are reported, never served and never taken for something unfinished.
//! Never decides what is written, never asks the time, never starts a task (fjall's own threads excepted).

mod aside;
pub mod disk;
mod error;
pub mod folder;
pub mod journal;
pub mod segments;
pub mod sim;
pub mod tables;
mod weight;

pub use aside::Aside;
pub use disk::{Disk, File, RealDisk};
pub use error::Error;
pub use folder::{Folder, Head};
pub use journal::{Journal, Record, Recovered, RecoveredShard};
pub use segments::{SegmentFile, Segments};
pub use sim::SimDisk;
pub use tables::{Applied, Saved, Sound, Tables};
pub use weight::{Weight, weight};
