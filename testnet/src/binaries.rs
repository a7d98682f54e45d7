//! The binaries under test: optimised, built once a run, or taken from the folder that `SHOAL_BINARIES` names.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `shoal` binary; `SHOAL_BINARY` names another one.
pub fn shoal() -> PathBuf {
    match std::env::var_os("SHOAL_BINARY") {
        Some(binary) => binary.into(),
        None => built().join("shoal"),
    }
}

/// A user's binary with a word count in it.
pub fn with_words() -> PathBuf {
    built().join("shoal-with-words")
}

/// What tells the binary for runs under faults how many partitions its stream of events has.
pub const PARTITIONS: &str = "CHAOS_PARTITIONS";

/// A user's binary for runs under faults.
pub fn with_chaos() -> PathBuf {
    built().join("shoal-with-chaos")
}

/// A user's binary with Nexmark's queries in it.
pub fn with_nexmark() -> PathBuf {
    built().join("shoal-with-nexmark")
}

fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(folder) = std::env::var_os("SHOAL_BINARIES") {
            return folder.into();
        }
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(root)
            .args(["build", "--release", "--quiet", "-p", "shoal", "-p", "testnet", "--bins"])
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the release build failed");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        target.join("release")
    })
}
