//! Every bound of a replica, with its reason.

/// The largest operation: a door takes frames of at most this, so nothing larger is ever honest.
pub const OP_BYTES_MAX: usize = 8 << 20;
/// An entry gathers operations up to here; one larger operation has an entry of its own.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Gathered and in flight together, a shard: more than this means that the quorum is slower than the doors.
pub const PENDING_BYTES_MAX: usize = 16 << 20;
/// Gathered and in flight together, in operations: small ones have a price as well.
pub const PENDING_OPS_MAX: usize = 65_536;
/// Reads that wait for a barrier.
pub const READS_MAX: usize = 65_536;
/// Entries of one message to a follower, in bytes; one larger entry has a message of its own.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Messages with entries on their way to one follower.
pub const MESSAGES_IN_FLIGHT_MAX: usize = 32;
/// Consensus's own bound on what is not committed; above ours, so that it is never what refuses.
pub const UNCOMMITTED_BYTES_MAX: u64 = 2 * PENDING_BYTES_MAX as u64;
/// What is applied at once, so that one shard cannot hold the turn of the others.
pub const APPLIED_BYTES_MAX: u64 = 4 << 20;
/// Rounds of consensus in one turn; the rest waits for the next.
pub const ROUNDS_MAX: usize = 16;
/// The log kept below the durable index when nobody is known to need it.
pub const LOG_TAIL_BYTES: usize = 2 << 20;
/// The log kept below the durable index while a live follower still needs it.
pub const LOG_FOLLOWER_BYTES: usize = 16 << 20;

/// Election starts after this many ticks of silence at the earliest (500 ms) …
pub const ELECTION_TICKS_MIN: usize = 10;
/// … and before this many (1 s).
pub const ELECTION_TICKS_MAX: usize = 20;
/// A replica that handed its leadership over campaigns this much later than others (1 s).
pub const SHY_TICKS: usize = 20;
/// The widest range consensus is told, since it asserts that our draw lies in it.
pub const ELECTION_TICKS_WIDEST: usize = ELECTION_TICKS_MAX + SHY_TICKS + 1;
/// A leader's sign of life: three chances within the shortest election timeout (150 ms; the first of a leader may wait
/// for the beat, 250 ms).
pub const HEARTBEAT_TICKS: usize = 3;
/// How long a replica that handed over stays shy, in ticks (10 s).
pub const SHY_FOR_TICKS: u64 = 200;

/// After a lost connection each place in the target waits this much longer before it campaigns.
pub const PLACE_WAIT_US: u64 = 150_000;
/// A strained peer campaigns this much later than its place says (1 s).
pub const STRAINED_WAIT_US: u64 = 1_000_000;
/// A strained leader looks for a calm voter again after this many ticks (500 ms).
pub const HAND_OVER_TICKS: u64 = 10;
/// Campaigns after one lost connection; then the ordinary timers go on.
pub const CAMPAIGNS_MAX: u32 = 6;
/// A read barrier or an orphaned request that took longer has failed.
pub const READ_WAIT_US: u64 = 2_000_000;
/// An orphaned request is answered `Unknown` after this.
pub const ORPHAN_WAIT_US: u64 = 1_000_000;

/// Ticks of health and of being caught up before the ring's owner gets the lead (10 s) …
pub const STEADY_TICKS: u64 = 200;
/// … plus a stagger by shard, so that only a few shards move at once.
pub const STEADY_SPREAD_TICKS: u64 = 64;
/// Ticks before a leader that cannot do its shard's work hands it to one that can (200 ms): a voter that does not take
/// the lead must not hold up the shard.
pub const RELIEF_TICKS: u64 = 4;
/// A learner that was not heard of for this long holds up no other step: its peer may be dead.
pub const LEARNER_PATIENCE_US: u64 = 5_000_000;
/// A replica heard of within this is live.
pub const LIVE_US: u64 = 1_000_000;
/// Replicas of one configuration, joint ones included.
pub const MEMBERS_MAX: usize = 16;
/// Senders outside of the configuration whose peer is remembered, to answer them.
pub const STRANGERS_MAX: usize = 32;
/// Configurations remembered with their index, so that a manifest finds the one it was built under.
pub const CONFIGURATIONS_MAX: usize = 32;

/// Without a leader for this long a replica asks the others whether it is still one of them.
pub const KNOCK_US: u64 = 2_000_000;
/// How often, a tick apart, a leader tells a removed replica so without being asked.
pub const PARTINGS: u32 = 3;
/// A receiver of a snapshot says this often that it is still fetching.
pub const FETCHING_US: u64 = 1_000_000;
/// Until a snapshot's content has come its receiver asks again this often; a driver that is at it does nothing.
pub const FETCH_AGAIN_US: u64 = 5_000_000;
/// Without that word for this long the snapshot counts as failed.
pub const FETCH_SILENCE_US: u64 = 5_000_000;
/// A manifest that was asked for and has not come is asked for again.
pub const MANIFEST_WAIT_US: u64 = 10_000_000;

/// Shard time follows the leader's clock only within this of what a quorum of voters say.
pub const SKEW_MS: i64 = 10_000;
/// A leader that finds its clock off for this long hands the lead over.
pub const SKEW_TICKS: u64 = 40;

/// Doors' connections whose last answers a shard remembers.
pub const DOORS_MAX: usize = 4096;
/// As long as this after its last append one of them is pushed out by no other: longer than a door goes on with it, also
/// where shard time runs ahead of the door's clock.
pub const DOOR_KEPT_MS: u64 = 90_000;
/// Last answers of one of them.
pub const DOOR_ANSWERS_MAX: usize = 32;
/// (producer, partition) pairs a shard remembers.
pub const PRODUCERS_MAX: usize = 8192;
/// Last batches of one of them, as in Kafka.
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// Idempotency keys a shard remembers.
pub const KEYS_MAX: usize = 65_536;
/// Nonces of producer ids a shard remembers.
pub const NONCES_MAX: usize = 4096;
/// Starts of leader terms a partition remembers.
pub const TERMS_MAX: usize = 128;
/// Partitions of one stream.
pub const PARTITIONS_MAX: u32 = 10_000;
/// How often a stream may grow until it is forgotten how many partitions it had at first.
pub const LAYOUTS_MAX: usize = 16;
/// Streams of a mesh: every peer knows all of them.
pub const STREAMS_MAX: usize = 16_384;
/// Dropped partitions that a shard remembers, so that a late append does not bring one back.
pub const DROPPED_MAX: usize = 4_096;
/// Ended tasks that a shard remembers, so that a late commit does not bring one back.
pub const ENDED_MAX: usize = 4_096;
/// Rows of an ended task that one entry takes: a turn of consensus is not to wait for a large table.
pub const END_ROWS: usize = 4_096;
/// Buckets of one stage.
pub const BUCKETS_MAX: u32 = 4096;
/// Stages of one pipeline.
pub const STAGES_MAX: usize = 256;
/// Transactional ids a shard keeps.
pub const TRANSACTIONS_MAX: usize = 4096;
/// Partitions and groups of one transaction: all are told how it ends.
pub const TRANSACTION_PARTS_MAX: usize = 4096;
/// An id that never had a transaction may be forgotten this long after its last change, if room is needed …
pub const TRANSACTION_UNUSED_MS: u64 = 60_000;
/// … and any without an open transaction after this: its producer, should it still live, is given another number.
pub const TRANSACTION_IDLE_MS: u64 = 3_600_000;
/// Transactions open in one partition.
pub const OPEN_MAX: usize = 1024;
/// Given-up transactions whose events one partition still has: more are refused until some are trimmed.
pub const ABORTED_MAX: usize = 65_536;
/// Closed transactions that a shard remembers, so that a late wish does not open one again.
pub const CLOSED_MAX: usize = 16_384;
/// Groups of consumers a shard keeps.
pub const GROUPS_MAX: usize = 1024;
/// Consumers and offsets of one of them, in bytes; an entry must hold a generation.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// All of them: they are encoded whole at each checkpoint.
pub const GROUPS_BYTES_MAX: usize = 16 << 20;
/// A group without consumers and offsets may be forgotten this long after its last change, if room is needed …
pub const GROUP_UNUSED_MS: u64 = 60_000;
/// … and one with offsets after this.
pub const GROUP_IDLE_MS: u64 = 24 * 3_600_000;
