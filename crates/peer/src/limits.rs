//! Every bound of this room, with its reason.

use std::time::Duration;

/// Bytes that clients may have under way in one peer. A quarter of the smallest machine we care for (1 GiB).
pub const CREDIT_BYTES: usize = 256 << 20;
/// Bytes of answers that are made and not yet taken: as much again.
pub const ANSWER_BYTES: usize = 256 << 20;
/// What an answer takes about for each partition it names, before and after it is encoded.
pub const PARTITION_TOLD_BYTES: usize = 320;
/// Usually the mesh has at most so many partitions: an answer that names all of them takes a MiB.
pub const PARTITIONS: u32 = 20_000;
/// HTTP connections at once.
pub const HTTP_CONNECTIONS: usize = 1024;
/// An HTTP request's head must be here within this; a connection without a request is closed after it.
pub const HTTP_HEAD: Duration = Duration::from_secs(30);
/// Bytes one client connection may have under way before it is read no further.
pub const CONNECTION_BYTES: usize = 16 << 20;
/// Requests of one client connection under way at once; Kafka clients use 5, pipelining ones more.
pub const CONNECTION_REQUESTS: usize = 64;
/// Client connections of one listener. Each costs a descriptor and some tens of KiB.
pub const CONNECTIONS: usize = 4096;
/// How long a client that has connected may take to ask anything: who only holds a place must let it go.
pub const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// How long a client may ask nothing after that, as `connections.max.idle.ms`.
pub const CLIENT_IDLE: Duration = Duration::from_secs(600);
/// A request that has begun must go on: nothing of it for this long ends the connection, and so does a wait for credit.
pub const REQUEST_STALL: Duration = Duration::from_secs(10);
/// A client that takes nothing of an answer for this long is given up: consumers may pause, but not for ever.
pub const ANSWER_STALL: Duration = Duration::from_secs(60);
/// All of a request must be here after this long …
pub const REQUEST_TIME: Duration = Duration::from_secs(30);
/// … plus its bytes at this rate a second: a client that sends byte by byte holds its place no longer.
pub const REQUEST_RATE: u64 = 64 << 10;
/// Credit for a request is taken in portions of at most this, as its bytes arrive: its length alone holds none.
pub const CREDIT_PORTION: usize = 1 << 20;
/// A Kafka request's size, as `socket.request.max.bytes`.
pub const REQUEST_BYTES: usize = 100 << 20;
/// A batch's size, as `message.max.bytes`.
pub const BATCH_BYTES: usize = 1 << 20;
/// Events of a batch after decompression.
pub const BATCH_PLAIN_BYTES: usize = 64 << 20;
/// How long a door holds a request across a leader change.
pub const HOLD: Duration = Duration::from_secs(2);
/// How long it holds a producer's batch whose predecessor has not come: a client that waits for the answer before it
/// sends that one again would wait as long.
pub const HOLD_GAP: Duration = Duration::from_millis(200);
/// The pause before a held request is tried again.
pub const HOLD_PAUSE: Duration = Duration::from_millis(20);
/// The longest that a Kafka client's wish for a stream is asked for again, whatever time it gives.
pub const CREATE: Duration = Duration::from_secs(30);
/// How long a peer waits for another's answer to one call.
pub const CALL: Duration = Duration::from_secs(3);
/// How long one try of a query may take, before another peer is asked.
pub const LOOK: Duration = Duration::from_millis(700);
/// How long a peer waits for another's answer about a group: as long as consumers may take to join.
pub const GROUP_CALL: Duration = Duration::from_secs(1_800);
/// How long a replica here may take to answer what was proposed to it; then the outcome is unknown. Longer than a
/// leader without a quorum leads on.
pub const ANSWER: Duration = Duration::from_secs(30);
/// An origin that a shard has had nothing of for this long is not used again: the shard may have forgotten it. Longer
/// than anything is under way.
pub const ORIGIN_IDLE: Duration = Duration::from_secs(60);
/// Origins that are kept for the next connections and HTTP's next requests: as many go side by side without opening
/// another.
pub const SPARE_NUMBERS: usize = CONNECTIONS;
/// How often it is looked for transactions that are to be ended.
pub const TRANSACTIONS_LOOK: Duration = Duration::from_millis(500);
/// The parts of a decided transaction are told by whoever decided it; so late somebody else does.
pub const ENDING: Duration = Duration::from_millis(1_500);
/// Parts of one transaction that are told side by side.
pub const PARTS_AT_ONCE: usize = 64;
/// The longest a transaction may be open, as Kafka's `transaction.max.timeout.ms`.
pub const TRANSACTION_MS_MAX: i32 = 900_000;
/// Calls under way to one peer.
pub const CALLS: usize = 4096;
/// One group commit: more is left for the next frame, so that a sync stays short.
pub const FRAME_BYTES: usize = 4 << 20;
/// One consensus frame to a neighbour; the lane's own limit is 16 MiB.
pub const LINK_BYTES: usize = 4 << 20;
/// How long word of a commit waits for other messages that go the same way: it is half of all frames, and only readers
/// at a follower wait for it.
pub const PATIENCE: Duration = Duration::from_millis(1);
/// What has gathered in the shards here, operations and reads, begins so far apart while each time finds it in …
pub const TURN_GAP: Duration = Duration::from_millis(5);
/// … so many shards: they share its frames and its sync.
pub const TURN_CROWD: usize = 4;
/// How often each fold is written to the tables and its segments are synced.
pub const CHECKPOINT: Duration = Duration::from_secs(4);
/// The shards are taken in so many parts, one after the other.
pub const CHECKPOINT_PARTS: usize = 16;
/// Journal bytes above which a checkpoint starts early.
pub const JOURNAL_BYTES: u64 = 256 << 20;
/// A peer of which the catalogue's leader has had no sign for this long is taken out of the roster.
pub const DYING: Duration = Duration::from_secs(600);
/// Replicas of the shards led here that are on their way at once: more would only wait for each other.
pub const MOVES: usize = 4;
/// Bytes of one answer when a snapshot is fetched: small, so that it never delays others for long.
pub const SNAPSHOT_CHUNK: usize = 256 << 10;
/// A snapshot's export is dropped when nobody has asked for it this long.
pub const SNAPSHOT_IDLE: Duration = Duration::from_secs(60);
/// A piece of a snapshot that could not be had is asked for so often …
pub const SNAPSHOT_TRIES: u32 = 20;
/// … this far apart: in all, less than its sender holds it.
pub const SNAPSHOT_PAUSE: Duration = Duration::from_millis(300);
/// A shard that is without a leader for longer is not just being handed over.
pub const HANDED_OVER: Duration = Duration::from_millis(500);
/// Usually a peer takes so many MiB of snapshots a second: a GiB in 16 s, and half of what a gigabit link carries.
pub const FETCH_MIB_S: u32 = 64;
/// Snapshots fetched at once.
pub const SNAPSHOTS: usize = 4;
/// Bytes one task takes from one source partition at a time.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Bytes one task takes from all its sources for one commit; an entry must hold what it changes.
pub const TASK_BYTES: usize = 1 << 20;
/// A source's batches are read for the exchange in pieces of this size.
pub const EXCHANGE_READ: usize = 1 << 20;
/// How long a task waits for news before it looks again by itself.
pub const TASK_IDLE: Duration = Duration::from_millis(1000);
/// A task whose bucket got nothing is told so late that its sources moved.
pub const TASK_LAG: Duration = Duration::from_millis(250);
/// How long a task waits before it asks sources on other peers again.
pub const TASK_POLL: Duration = Duration::from_millis(5);
/// User code that takes longer for one turn of a task is told of, again and again.
pub const TASK_SLOW: Duration = Duration::from_secs(5);
/// The longest pause before a failing task starts again.
pub const TASK_BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Failures in a row after which a task is parked.
pub const TASK_FAILURES: u32 = 10;
/// A parked task tries again so seldom: what it lacked may have come meanwhile.
pub const TASK_PARKED: Duration = Duration::from_secs(60);
/// How often a replica that is counted on and not here is reported.
pub const REPORT: Duration = Duration::from_secs(1);
/// Rows of one page of a scan, per shard.
pub const SCAN_ROWS: usize = 1000;
/// Of the disk so much stays free of events, for consensus, configuration and the last checkpoint: one part of so
/// many, at least and at most so many bytes.
pub const RESERVE_PART: u64 = 20;
pub const RESERVE_BYTES: (u64, u64) = (64 << 20, 1 << 30);
/// How often it is looked how much room is left: a disk fills at some hundred MiB a second at most.
pub const SPACE: Duration = Duration::from_millis(100);
/// How long it counts that a neighbour said it is full; it says so with every frame.
pub const FULL_HEARD: Duration = Duration::from_secs(2);
/// Before something that found no room is tried again.
pub const ROOM_PAUSE: Duration = Duration::from_millis(50);
/// Before tables that found no room are opened anew: that reads them, and a quota does not show as a full disk.
pub const TABLES_PAUSE: Duration = Duration::from_secs(1);
/// A replica that has not heard of its leader this long answers `any` reads marked stale.
pub const STALE: Duration = Duration::from_secs(2);
/// Rows of views that a peer remembers for those who allow an answer an age, and bytes of all of them and of one: for hot
/// keys, which are few.
pub const ROW_CACHE_ROWS: usize = 16_384;
pub const ROW_CACHE_BYTES: usize = 16 << 20;
pub const ROW_CACHE_ROW_BYTES: usize = 256 << 10;
/// How often it is looked whether events are old enough to go, or belong to no stream any more.
pub const UPKEEP: Duration = Duration::from_secs(5);
/// Groups of consumers that this peer has in mind; what the log keeps of them is bounded by itself.
pub const GROUPS: usize = 16_384;
/// The longest name of a group.
pub const GROUP_NAME_BYTES: usize = 1_024;
/// Who may watch one peer at once, by server-sent events; each costs a socket and a picture a second.
pub const WATCHERS: usize = 64;
/// How often groups look at the time: sessions are seconds.
pub const GROUPS_TICK: Duration = Duration::from_millis(100);
/// A group without consumers is put out of mind after this many looks.
pub const GROUP_IDLE_TICKS: u32 = 300;
/// How long a peer that was taken out of the roster still has its connections: it is to hear of it.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// Events of the network that are put by while a peer joins: those of a second, and no more than some hundred connections
/// and calls make.
pub const EVENTS_KEPT: usize = 4_096;
