//! What people meet: numbers, pages, the HTTP API, files that other programs read, and the commands of the papers.

mod api;
mod containers;
mod dashboard;
mod metrics;
mod programs;
mod quiet;
mod steer;
mod tools;
mod walk;
