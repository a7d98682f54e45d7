//! What a start waits for, said to whoever looks at the terminal.

use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Nobody should wonder for longer whether something still happens.
const SILENCE: Duration = Duration::from_secs(3);
/// What a start waits for is said again so often while it stays the same.
const REMINDER: Duration = Duration::from_secs(30);

/// What a start may wait for.
pub(super) struct Waits {
    pub(super) through: String,
    /// It may found, and waits for as long as it takes.
    pub(super) agrees: bool,
    pub(super) told: watch::Receiver<String>,
}

impl Waits {
    /// Says what is waited for: every few seconds, or when that changes, and then seldom; never ends.
    pub(super) async fn tell(self) {
        let began = Instant::now();
        let (mut last, mut said) = (String::new(), Instant::now());
        loop {
            tokio::time::sleep(SILENCE).await;
            let waited = began.elapsed().as_secs();
            let why = self.told.borrow().clone();
            match self.through.as_str() {
                "" => eprintln!("still opening the data folder, for {waited} s"),
                _ if self.agrees && why == last && said.elapsed() < REMINDER => {}
                _ if self.agrees => {
                    eprintln!("no mesh yet, for {waited} s; waiting: {why}");
                    (last, said) = (why, Instant::now());
                }
                through => eprintln!(
                    "waiting for an answer of {through}, for {waited} s; it is tried for 20 s"
                ),
            }
        }
    }
}
