//! Peers as real processes: killed, paused, cut off from power, joined, mixed up, attacked and asked nonsense.

mod clients;
mod code;
mod counting;
mod footprint;
mod founding;
mod input;
mod kafka_port;
mod kills;
mod machines;
mod pause;
mod starting;
mod strangers;
