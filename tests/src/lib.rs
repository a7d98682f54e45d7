//! What the tests of the whole share: the simulators of one shard's group and of a whole mesh.

pub mod mesh;
pub mod seeds;
pub mod sim;
