//! Who is here: membership by gossip.
//!
//! Promises: the same seed and the same inputs give the same actions; a peer that died is gone
//! everywhere within seconds; one that restarted is alive at once; a healed split is found without
//! hands.
//!
//! Never: does I/O, asks a clock or dice, decides who belongs to the mesh or who owns a shard. A
//! member said to be gone is a hint: it may be alive and unheard.

pub mod action;
pub mod founding;
pub mod identity;
pub mod input;
pub mod limits;

mod mesh;
mod silence;

pub use action::{Action, Member, State};
pub use identity::Identity;
pub use input::Input;
pub use limits::Limits;
pub use mesh::{Error, Mesh};
pub use silence::{LOOK_US, Seen, Silence};
