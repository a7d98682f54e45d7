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
