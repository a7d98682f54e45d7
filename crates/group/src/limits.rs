//! Every bound of a group, with its reason.

use std::ops::RangeInclusive;

/// Consumers of one group, as Kafka's own default would let pass and no honest group reaches.
pub const CONSUMERS_MAX: usize = 1_000;
/// Ways to share that one consumer may know; clients name one or two.
pub const PROTOCOLS_MAX: usize = 32;
/// What all consumers of a group may say and be assigned together; an entry must hold it.
pub const BYTES_MAX: usize = 3 << 20;
/// Session time-outs that are taken, as in Kafka: shorter ones lose to a pause, longer ones to a death.
pub const SESSION_MS: RangeInclusive<i32> = 6_000..=1_800_000;
/// The longest that a generation is waited for.
pub const REBALANCE_MS_MAX: u32 = 1_800_000;
/// A group's first generation waits this long for the others that start with it …
pub const FIRST_MS: u64 = 300;
/// … and after each that comes once more, but no longer than this.
pub const FIRST_MS_MAX: u64 = 1_500;
/// Of a client's name, what goes into the ids of its consumers.
pub const CLIENT_BYTES_MAX: usize = 64;
/// Of what a client says of itself: its name, its instance.
pub const WORD_BYTES_MAX: usize = 1_024;
/// What all consumers of a group to which is dealt may say of themselves; what 20,000 partitions take in their hands
/// (1.4 MiB) must fit beside it.
pub const SAID_BYTES_MAX: usize = 1 << 20;
/// A consumer to which is dealt is gone after this long without a sign of life, as by Kafka's default.
pub const SILENCE_MS: u64 = 45_000;
/// How often it is to give one …
pub const BEAT_MS: u32 = 3_000;
/// … and how often while it waits for what others give up: so it hears soon that it can go on. Not sooner: librdkafka
/// takes this for the time within which it must be answered, too.
pub const BEAT_SOON_MS: u32 = 1_000;
/// Partitions and consumers for which are dealt anew: a millisecond's pause for so many, several times what it takes.
pub const DEAL_ITEMS_PER_MS: u64 = 64;
/// Regular expressions that the consumers of a group may use together; those of one program use the same.
pub const PATTERNS_MAX: usize = 16;
/// What each of them may grow to.
pub const PATTERN_SIZE_MAX: usize = 256 << 10;
