//! How far a task has read one source partition, and whether it waits for it.

use crate::chunk::Activity;

/// How far one source partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: i64,
    pub(super) watermark_ms: i64,
}

/// One source partition.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) committed: Place,
    pub(super) reached: Place,
    pub(super) idle_after_ms: u64,
    /// When it last had events.
    pub(super) moved_ms: Option<u64>,
    pub(super) is_idle: bool,
    /// A stage writes it, and says whether it is idle.
    pub(super) is_written: bool,
}

impl Source {
    /// What the source answered: with nothing for long enough, it is idle.
    pub(super) fn observe(&mut self, now_ms: u64, has_moved: bool, activity: Activity) {
        self.is_written = activity != Activity::Unsaid;
        let since = *self.moved_ms.get_or_insert(now_ms);
        if !has_moved && activity == Activity::Idle {
            self.is_idle = true;
        } else if has_moved || activity == Activity::Active {
            self.moved_ms = Some(now_ms);
            self.is_idle = false;
        } else if now_ms.saturating_sub(since) >= self.idle_after_ms {
            self.is_idle = true;
        }
    }
}
