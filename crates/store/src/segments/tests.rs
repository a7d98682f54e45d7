//! Tests of the segments.
#![allow(clippy::unwrap_used)]

mod import;
mod reading;
mod removal;
mod story;
mod trouble;
