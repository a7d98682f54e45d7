//! How bytes travel: every socket of a peer.
//!
//! Two connections join each pair of peers: one for consensus alone, so that it never waits behind
//! bulk, one for all other lanes. Both are encrypted, and only who knows the mesh's secret can
//! finish their handshake.
//!
//! Promises: frames of a lane arrive whole, once and in order for as long as the connection stands,
//! and what a loss takes with it is told by [`Event::Down`]; every queue has a bound in bytes, and
//! reaching it refuses the sender at once; a length is checked before any memory is given to it; a
//! lost peer that is known is dialled again for ever.
//!
//! Never: reads what a frame says, decides who belongs to the mesh, keeps a file, blocks its
//! caller.
//!
//! A frame is not acknowledged: what was sent just before a loss may have arrived or not. Who must
//! know asks again.

pub mod limits;
pub mod listen;

mod address;
mod behaviour;
mod contact;
mod drive;
mod error;
mod event;
mod failure;
mod handler;
mod key;
mod lane;
mod link;
mod net;
mod queue;
mod reader;
mod refusals;
mod shared;
mod swarm;
mod writer;

pub use error::{DialError, Error, SendError};
pub use event::{Event, Events, Reach};
pub use key::PeerKey;
pub use lane::{Group, Lane};
pub use net::{Config, Net};
pub use refusals::Refusals;
