//! How do I use it? The `shoal` binary and the library that a user's own binary is made of.
//!
//! A user's `main` is `shoal::main(|mesh| …pipelines…)`: with it the binary has every verb, and `start` makes it a
//! peer that holds the code of those pipelines. [`TestMesh`] runs the same pipelines inside `cargo test`.
//!
//! Promises one form for every error (code, what, because, try) and the exit codes 0 done, 1 failed, 2 usage,
//! 3 no peer reached, 4 not found, 5 refused by state. Never decides anything about shards or events: it talks to a
//! peer, or starts one.

mod ask;
pub mod bench;
mod cli;
pub mod demo;
pub mod kafka_client;
mod look;
mod near;
mod progress;
mod sent;
mod settings;
mod show;
pub mod testnet;
mod trace;
mod verb;
mod yaml;

pub mod prelude;

pub use flow::testing::TestMesh;
pub use flow::{
    Carried, Context, Declared, Event, Failure, Flow, Global, Hopping, Join, Keyed, List, Map,
    Number, Old, Pipeline, Pipelines as Mesh, Processor, Session, Stage, Table, ToKey, Tumbling,
    Value, Windowed, Windows, Within, row_key_of_window,
};
pub use model::Problem;

/// Runs the command line of this process with the pipelines that `register` names, and ends the process.
pub fn main(register: impl FnOnce(&mut Mesh)) -> ! {
    let code = match cli::read(std::env::args_os()) {
        Ok(command) => match cli::run(command, register) {
            Ok(code) => code,
            Err(error) => report(&error),
        },
        Err(refused) => refused.print(),
    };
    std::process::exit(i32::from(code));
}

/// Prints an error in the form of all errors and says with which code to leave.
fn report(error: &anyhow::Error) -> u8 {
    let problem = match error.downcast_ref::<Problem>() {
        Some(problem) => problem.clone(),
        None => Problem::new(
            "SH0901",
            format!("{error:#}"),
            "this was not foreseen",
            "SHOAL_LOG=debug with the same command shows more",
        ),
    };
    eprintln!("{problem}");
    problem.exit_code()
}
