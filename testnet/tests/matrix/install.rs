//! Makes what the clients need, once, beside the build; an error says why there is none.

use crate::clients::{Client, Source};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testnet::install::{done, once};

/// Of all jars there, those that Kafka's client needs.
const JARS: [&str; 5] =
    ["kafka-clients.jar", "slf4j-api.jar", "lz4-java.jar", "snappy-java.jar", "zstd-jni.jar"];

/// Where the adaptors lie.
pub fn matrix() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix")
}

/// Where packages are kept from run to run.
pub fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the project");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = target.join("matrix");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// The command of a client's adaptor, whose packages are there.
pub fn command(client: &Client) -> Result<Vec<PathBuf>, String> {
    match &client.source {
        Source::Python(adaptor, packages) => {
            let python = python(packages)?;
            Ok(vec![python, matrix().join(adaptor)])
        }
        Source::Node(adaptor, packages) => {
            let folder = node(packages)?;
            let adaptor = matrix().join(adaptor);
            Ok(vec!["env".into(), "-C".into(), folder, "node".into(), adaptor])
        }
        Source::Jars { adaptor, package, folder } => {
            let jars = jars(package, folder)?;
            let adaptor = matrix().join(adaptor);
            Ok(vec!["java".into(), "-cp".into(), jars.into(), adaptor])
        }
        Source::Program(program, adaptor) => {
            done(Command::new(program).arg("-V"))?;
            Ok(vec!["python3".into(), matrix().join(adaptor)])
        }
    }
}

fn python(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = folder().join(packages[0].replace(['=', '*', '/'], ""));
    let python = folder.join("bin/python");
    once(&folder, packages, || {
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        done(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(packages))
    })?;
    Ok(python)
}

fn node(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = folder().join(packages[0].replace(['/', '@'], ""));
    once(&folder, packages, || {
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
        done(npm.args(packages))
    })?;
    done(Command::new("node").arg("--version"))?;
    Ok(folder)
}

/// The class path of Kafka's client, from a package that is not installed but only unpacked.
fn jars(package: &str, inside: &str) -> Result<String, String> {
    done(Command::new("javac").arg("-version"))?;
    let folder = folder().join("java");
    once(&folder, &[package], || {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target"]).arg(&folder);
        done(pip.arg(package))
    })?;
    let jars = JARS.map(|jar| folder.join(inside).join(jar).to_string_lossy().into_owned());
    Ok(jars.join(":"))
}
