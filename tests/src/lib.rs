//! What the tests of the whole share: the simulator of a shard's group.

pub mod sim;
