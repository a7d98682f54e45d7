//! A sync that runs beside the journal, on a thread of the caller's.

use crate::disk::File;
use model::planted::{self, Mutant};
use std::sync::{Arc, Mutex, PoisonError};

/// Lets one sync run at a time and remembers the first that failed: an error is told to one caller only, so a
/// second sync of the same file that succeeds proves nothing.
#[derive(Default)]
pub struct Gate {
    failed: Mutex<Option<String>>,
}

impl Gate {
    pub fn sync(&self, file: &dyn File) -> Result<(), String> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &*failed {
            return Err(why.clone());
        }
        if planted::is(Mutant::SyncErrorSwallowed) {
            file.sync().ok();
            return Ok(());
        }
        file.sync().map_err(|e| failed.insert(format!("the journal's sync failed: {e}")).clone())
    }
}

/// A sync that was begun, see [`super::Journal::begin_sync`].
pub struct Syncing {
    pub(super) gate: Arc<Gate>,
    /// `None` when all is on disk already.
    pub(super) file: Option<Arc<dyn File>>,
    pub(super) segment: u64,
    pub(super) place: u64,
    pub(super) number: u64,
}

impl Syncing {
    /// Blocks until the disk has answered.
    pub fn run(self) -> Synced {
        let failed = self.file.as_deref().and_then(|file| self.gate.sync(file).err());
        Synced { failed, segment: self.segment, place: self.place, number: self.number }
    }
}

/// A sync that has ended, well or not.
pub struct Synced {
    pub(super) failed: Option<String>,
    pub(super) segment: u64,
    pub(super) place: u64,
    pub(super) number: u64,
}
