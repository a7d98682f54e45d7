//! Programs and packages that tests of this binary use; where one is missing the test says SKIPPED and why.

use std::path::{Path, PathBuf};
use testnet::install::{self, kept};

/// Where scripts of these tests lie.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("people")
}

/// Where packages, screenshots and whatever else is kept from run to run.
pub fn folder(name: &str) -> PathBuf {
    kept(&format!("people/{name}"))
}

/// Whether a program is there; says SKIPPED if it is not.
pub fn has(program: &str) -> bool {
    let found = find(program).is_some();
    if !found {
        println!("SKIPPED: {program} is not installed (.ci/run installs it on Debian)");
    }
    found
}

/// What the tests of this binary need of Python's packages; all at once, since they share an environment.
pub const PYTHON: [&str; 1] = ["schemathesis==4.32.5"];

/// The path of a program.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let also = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(also).map(|dir| dir.join(program)).find(|it| it.is_file())
}

/// Packages of npm in a folder of their own, installed once.
pub fn npm(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = folder("npm");
    install::npm(&folder, packages)?;
    Ok(folder)
}

/// Packages of Python in an environment of their own, installed once; gives its folder of programs.
pub fn python(packages: &[&str]) -> Result<PathBuf, String> {
    install::python(&folder("python"), packages)
}
