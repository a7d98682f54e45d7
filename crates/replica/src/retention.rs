//! What a stream's settings let be forgotten: a small pure problem.
//!
//! Promises that only whole files are asked for, or all there is; never an offset that a reader still needs.

use model::Settings;

/// One file of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// The offset after its last event.
    pub next: i64,
    pub bytes: u64,
}

/// What is known of a partition when it is asked what may go.
#[derive(Clone, Debug)]
pub struct Kept<'a> {
    pub start: i64,
    pub next: i64,
    /// Oldest first; the last one is still written.
    pub files: &'a [File],
    /// The first event that is young enough; `None` if no event is. Counts only if the settings have a time.
    pub young: Option<i64>,
    /// The first offset that a pipeline has not consumed; `None` if none reads the stream.
    pub needed: Option<i64>,
}

impl Kept<'_> {
    /// The offset below which all may be forgotten, if that frees anything.
    pub fn may_go(&self, settings: &Settings) -> Option<i64> {
        let old = settings.retention_ms().map_or(self.start, |_| self.young.unwrap_or(self.next));
        let most = settings.retention_bytes().map_or(self.start, |most| self.above(most));
        let below = old.max(most).min(self.needed.unwrap_or(i64::MAX));
        // A part of a file frees nothing.
        let ends = self.files.iter().map(|file| file.next).filter(|next| *next <= below);
        let below = if below >= self.next { self.next } else { ends.max().unwrap_or(self.start) };
        (below > self.start).then_some(below)
    }

    /// The end of the oldest files without which `most` bytes are still there.
    fn above(&self, most: u64) -> i64 {
        let mut bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        let mut below = self.start;
        for file in &self.files[..self.files.len().saturating_sub(1)] {
            if bytes - file.bytes < most {
                break;
            }
            bytes -= file.bytes;
            below = file.next;
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [File; 3] = [
        File { next: 10, bytes: 100 },
        File { next: 20, bytes: 100 },
        File { next: 25, bytes: 50 },
    ];

    fn kept(young: Option<i64>, needed: Option<i64>) -> Kept<'static> {
        Kept { start: 0, next: 25, files: &FILES, young, needed }
    }

    fn time() -> Settings {
        Settings { retention_ms: Some(1_000), ..Settings::default() }
    }

    fn bytes(most: i64) -> Settings {
        Settings { retention_bytes: Some(most), ..Settings::default() }
    }

    #[test]
    fn nothing_goes_unless_somebody_said_so() {
        assert_eq!(kept(None, None).may_go(&Settings::default()), None);
        let never = Settings { retention_ms: Some(-1), ..bytes(-1) };
        assert_eq!(kept(None, None).may_go(&never), None);
    }

    #[test]
    fn old_events_go_by_whole_files_or_all() {
        assert_eq!(kept(Some(9), None).may_go(&time()), None);
        assert_eq!(kept(Some(10), None).may_go(&time()), Some(10));
        assert_eq!(kept(Some(24), None).may_go(&time()), Some(20));
        assert_eq!(kept(None, None).may_go(&time()), Some(25));
        let gone = Kept { start: 25, ..kept(None, None) };
        assert_eq!(gone.may_go(&time()), None);
    }

    #[test]
    fn as_many_bytes_stay_as_were_asked_for() {
        assert_eq!(kept(Some(0), None).may_go(&bytes(151)), None);
        assert_eq!(kept(Some(0), None).may_go(&bytes(150)), Some(10));
        assert_eq!(kept(Some(0), None).may_go(&bytes(1)), Some(20));
        assert_eq!(kept(Some(0), None).may_go(&bytes(0)), Some(20), "the newest file stays");
    }

    #[test]
    fn what_a_pipeline_needs_stays() {
        assert_eq!(kept(None, Some(24)).may_go(&time()), Some(20));
        assert_eq!(kept(None, Some(19)).may_go(&bytes(1)), Some(10));
        assert_eq!(kept(None, Some(0)).may_go(&time()), None);
        assert_eq!(kept(None, Some(25)).may_go(&time()), Some(25));
    }
}
