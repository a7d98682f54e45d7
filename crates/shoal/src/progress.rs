//! How far something long is: a bar or a turning wheel on a terminal, a line now and then elsewhere. On stderr: what is
//! asked for goes to stdout.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Frames of a bar in a second.
const HERTZ: u8 = 10;

/// Something long; what was drawn is gone with it.
pub(crate) struct Progress {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    every: Duration,
    told: Instant,
}

impl Progress {
    /// Something with an end that is known. Without a terminal a line comes every so often.
    pub(crate) fn of(total: u64, every: Duration) -> Self {
        Self::begin(ProgressBar::new(total), "{bar:40.cyan/blue} {pos}/{len} {wide_msg}", every)
    }

    /// Something whose end is not known.
    pub(crate) fn endless(every: Duration) -> Self {
        Self::begin(ProgressBar::new_spinner(), "{spinner} {wide_msg}", every)
    }

    fn begin(bar: ProgressBar, form: &str, every: Duration) -> Self {
        let told = Instant::now();
        if !std::io::stderr().is_terminal() {
            return Self { bar: None, every, told };
        }
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(HERTZ));
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(1_000 / u64::from(HERTZ)));
        Self { bar: Some(bar), every, told }
    }

    /// Says how far it is, in words too.
    pub(crate) fn at(&mut self, done: u64, words: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(crate::show::plain(words));
            }
            None if self.told.elapsed() >= self.every => {
                self.told = Instant::now();
                eprintln!("{words}");
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
