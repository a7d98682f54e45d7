//! Kafka's clients at length, each story with one of them: while peers die, while leaders move, in transactions.

mod deals;
mod hand;
mod kills;
mod moves;
mod rskafka;
mod transactions;
