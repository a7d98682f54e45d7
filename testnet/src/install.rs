//! Tools of other worlds that tests bring along: installed once into a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of this name that is kept from run to run, beside what is built; made where it is missing.
pub fn kept(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it lies in the project");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = target.join(name);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// Does the work unless it was done for the same packages. Who comes while it is being done waits.
///
/// # Errors
///
/// What the work says, and that the folder's place cannot be written.
pub fn once(
    folder: &Path,
    packages: &[&str],
    work: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut name = folder.as_os_str().to_owned();
    name.push(".lock");
    let turn = fs::File::create(name).map_err(said)?;
    turn.lock().map_err(said)?;
    let stamp = folder.join("installed");
    let wanted = packages.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    work()?;
    fs::write(&stamp, wanted).map_err(said)
}

/// Packages of Python in an environment of their own; gives its folder of programs.
///
/// # Errors
///
/// As [`once`], and where Python or its `venv` is missing.
pub fn python(folder: &Path, packages: &[&str]) -> Result<PathBuf, String> {
    let programs = folder.join("bin");
    once(folder, packages, || {
        done(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let mut pip = Command::new(programs.join("python"));
        done(pip.args(["-m", "pip", "install", "-q"]).args(packages))
    })?;
    Ok(programs)
}

/// Packages of npm in a folder of their own.
///
/// # Errors
///
/// As [`once`], and where `npm` is missing.
pub fn npm(folder: &Path, packages: &[&str]) -> Result<(), String> {
    once(folder, packages, || {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(folder);
        done(npm.args(packages))
    })
}

/// Runs a command to its end; an error is the last line it said.
pub fn done(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.trim().lines().last().unwrap_or("it says nothing").to_owned();
            Err(format!("{name}: {last}"))
        }
        Err(error) => Err(format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_many_want_at_once_is_installed_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (place, times) = (folder.path().join("1.2.3"), AtomicUsize::new(0));
        let install = || {
            let work = || {
                fs::create_dir(&place).map_err(|error| error.to_string())?;
                times.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            once(&place, &["it"], work)
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(install)).collect();
            for one in all {
                assert_eq!(one.join().expect("no panic"), Ok(()));
            }
        });
        assert_eq!(times.into_inner(), 1);
    }
}
