//! A disk in memory that forgets, tears, reorders and lies as real ones do when their power is cut.

/// The simulated disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk;
