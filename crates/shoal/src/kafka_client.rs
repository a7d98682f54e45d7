//! A small Kafka client for our own load: `demo` and `bench` append through the door that everybody uses.
//!
//! Promises idempotent appends in the order of each partition, several requests in flight a connection, and one
//! system call a request. Never reads events, never joins a group; what it does not need it does not speak.

mod link;
mod producer;
mod queue;
#[cfg(test)]
mod tests;
mod wire;

pub use producer::{Ack, Producer, Settings};
