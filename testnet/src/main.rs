//! Runs of real peers under faults, from the command line.
//!
//! Leaves with 0 if everything that was promised held, 1 if something broke, and 2 where such runs are impossible.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    testnet::command::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!(
        "runs under faults need Linux: network namespaces, and file systems whose power can be cut"
    );
    ExitCode::from(2)
}
