//! Panics as traces like all others: where, what, and the way there if RUST_BACKTRACE asks for it, the first time that one
//! comes from a place.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::BTreeSet;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

/// Ways are kept in mind for so many places; panics of further ones are told without.
const PLACES: usize = 256;

/// From now on who panics is told in a trace.
pub(super) fn tell() {
    let known = Mutex::new(BTreeSet::new());
    std::panic::set_hook(Box::new(move |panic| {
        let place = place(panic);
        let way = way(&mut known.lock().unwrap_or_else(PoisonError::into_inner), &place);
        let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
        let text = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(thread, backtrace = way, "panicked at {place}: {text}");
    }));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or("an unknown place".to_owned(), ToString::to_string)
}

/// How it came to this, once for each place: code that fails at many events would fill the disk with it.
fn way(known: &mut BTreeSet<String>, place: &str) -> String {
    if known.len() >= PLACES || !known.insert(place.to_owned()) {
        return "told when it panicked here first".to_owned();
    }
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => backtrace.to_string(),
        _ => "RUST_BACKTRACE=1 shows the way there".to_owned(),
    }
}
