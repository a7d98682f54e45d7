//! Tools of other worlds that tests bring along: installed once into a folder of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Does the work unless it was done for the same packages.
pub fn once(
    folder: &Path,
    packages: &[&str],
    work: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let stamp = folder.join("installed");
    let wanted = packages.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    work()?;
    fs::write(&stamp, wanted).map_err(|error| error.to_string())
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
