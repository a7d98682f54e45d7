//! What the tests of the whole share: the simulators of one shard's group and of a whole mesh, and how both grow.

mod brief;
pub mod mesh;
pub mod scale;
pub mod seeds;
pub mod sim;
