//! Programs and packages that tests of this binary use; where one is missing the test says SKIPPED and why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testnet::install::{done, once};

/// Where scripts of these tests lie.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("people")
}

/// Where packages, screenshots and whatever else is kept from run to run.
pub fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the project");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = target.join("people").join(name);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
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
    once(&folder, packages, || {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
        done(npm.args(packages))
    })?;
    Ok(folder)
}

/// Packages of Python in an environment of their own, installed once; gives its folder of programs.
pub fn python(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = folder("python");
    let python = folder.join("bin/python");
    once(&folder, packages, || {
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        done(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages))
    })?;
    Ok(folder.join("bin"))
}
