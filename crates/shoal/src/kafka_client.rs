//! A small Kafka client for our own load: idempotent, pipelined, cheap.
