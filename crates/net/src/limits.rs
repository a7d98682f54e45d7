//! Every bound of this room, with its reason.

use std::time::Duration;

/// The largest frame on any lane: an 8 MiB operation, its envelope, and room for a turn's other
/// messages.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// What a waiting frame counts beyond its bytes, so that a queue of empty frames is bounded too.
pub const FRAME_OVERHEAD_BYTES: usize = 64;

/// What may wait for one peer: two largest frames, about 60 ms at what one connection carries.
pub const CONSENSUS_QUEUE_BYTES_MAX: usize = 32 << 20;
/// As consensus: appends that take one hop travel here.
pub const REQUEST_QUEUE_BYTES_MAX: usize = 32 << 20;
/// Gossip that waits is out of date; 128 packets of 8 KiB are more than a minute of it.
pub const GOSSIP_QUEUE_BYTES_MAX: usize = 1 << 20;
/// Bulk is asked for in paced chunks of 256 KiB; more in a queue only delays requests on the same
/// connection.
pub const BULK_QUEUE_BYTES_MAX: usize = 8 << 20;

/// Bytes of frames that were read but not yet taken by the consumer, over all peers: twice a lane's
/// queue, within these bounds. A reader that finds no room waits, and so does its sender. It holds
/// at least one largest frame.
pub const UNTAKEN_BYTES_MIN: usize = 2 << 20;
pub const UNTAKEN_BYTES_MAX: usize = 64 << 20;

/// Frames up to this many bytes together are written as one. Beyond it a copy costs more than a
/// second write.
pub const COALESCE_BYTES_MAX: usize = 256 << 10;
/// A reader's first allocation for a frame: memory follows bytes that arrived, not a length that
/// claims them.
pub const READ_STEP_BYTES: usize = 64 << 10;

/// Handshakes of unknown origin at once: more is a flood, and each costs two curve multiplications.
pub const PENDING_INCOMING_MAX: u32 = 64;
/// Established connections to us: a mesh has fewer than 100 peers, each with one, briefly a few.
pub const ESTABLISHED_INCOMING_MAX: u32 = 512;
/// Of one peer: the one in use, the one that replaces it, and leftovers that are being closed.
pub const ESTABLISHED_PER_PEER_MAX: u32 = 8;
/// Peers that are kept dialled.
pub const KNOWN_PEERS_MAX: usize = 1024;
/// Addresses tried for one name.
pub const ADDRESSES_PER_NAME_MAX: usize = 4;
/// Commands that wait for the task that polls a swarm; a full queue makes its caller wait.
pub const COMMANDS_MAX: usize = 1024;

/// Reaching, handshake and stream set-up of one connection; also how long a frozen peer holds a
/// dial.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(4);
/// Clients whom the system holds until they are accepted.
pub const BACKLOG: u32 = 1024;
/// Opening one lane's stream on a standing connection.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait before a known peer's second dial; the first is made at once, since most losses are
/// restarts.
pub const REDIAL_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between dials: a peer that comes back should wait no longer than an election
/// takes.
pub const REDIAL_MAX: Duration = Duration::from_secs(2);
/// How long the peer with the larger key lets the other dial first when both have just heard of
/// each other.
pub const YIELD_FIRST_DIAL: Duration = Duration::from_millis(50);

/// How often a connection proves that it lives.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);
/// A connection silent for this long is lost. A peer stopped for 30 s must find its connections
/// when it wakes.
pub const PING_TIMEOUT: Duration = Duration::from_secs(45);
/// A connection silent for this long is doubted: another is tried beside it, and replaces it if it
/// stands. So a healed split is found in seconds, though TCP's own retries may be a minute apart by
/// then.
pub const DOUBT_AFTER: Duration = Duration::from_secs(6);
/// Two connections made within this time were dialled by both ends at once; otherwise the older is
/// stale.
pub const CROSSED_WITHIN: Duration = Duration::from_secs(3);
/// How long a replaced connection stays for what is still on it, at the peer with the smaller key.
pub const RETIRE_AFTER: Duration = Duration::from_secs(2);
/// The same at the peer with the larger key: it leaves the decision to the other, and steps in if
/// none comes.
pub const RETIRE_AFTER_OTHER: Duration = Duration::from_secs(5);
/// How long a doubted connection has to speak once another stands beside it: a peer that was
/// stopped and wakes answers on the old one within this, and nothing is lost.
pub const SETTLE_AFTER: Duration = Duration::from_millis(300);
/// How often the task that polls a swarm looks at what is due.
pub const TICK: Duration = Duration::from_millis(50);

/// A refusal of the same address is told once in this time: a stranger must not fill the traces.
pub const REFUSAL_EVERY: Duration = Duration::from_secs(10);
/// Addresses whose last refusal is remembered.
pub const REFUSALS_MAX: usize = 1024;
/// Wait before a lane's stream is opened again on a standing connection, and the longest such wait.
pub const REOPEN_FIRST: Duration = Duration::from_millis(20);
pub const REOPEN_MAX: Duration = Duration::from_secs(2);
/// Frames up to this size are copied next to their neighbours; larger ones are written from where
/// they are.
pub const COPY_BYTES_MAX: usize = 16 << 10;
/// A drive that was not run for this long was stopped or starved: then silence is not the peers'
/// fault.
pub const SLEPT_AFTER: Duration = Duration::from_secs(1);
