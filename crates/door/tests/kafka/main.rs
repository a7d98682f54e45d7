//! Kafka's protocol against the generated codec of `kafka-protocol`: it writes the requests and
//! reads the replies, in every version that is offered.

mod admin;
mod asking;
mod deals;
mod fuzz;
mod groups;
mod offsets;
mod oracle;
mod pitfalls;
mod producing;
mod transactions;
