//! Peers as real processes: killed, paused, cut off from power, joined, mixed up, attacked and asked nonsense.

mod agreeing;
mod clients;
mod code;
mod counting;
mod dead;
mod deleting;
mod demo;
mod footprint;
mod founding;
mod http_port;
mod input;
mod kafka_port;
mod kills;
mod machines;
mod moving;
mod odd;
mod pause;
mod poison;
mod quorum;
mod recovering;
mod starting;
mod strangers;
mod testnets;
