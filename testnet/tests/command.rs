//! The command line of runs under faults where such runs are impossible: it says so, and leaves with a code of its own.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_testnet");

#[test]
fn without_root_a_run_under_faults_says_so_and_leaves_with_2() {
    // Nobody may go where this binary was built: a copy lies where everybody may.
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("it is ours");
    let copy = folder.path().join("testnet");
    std::fs::copy(BINARY, &copy).expect("it is copied");
    let mut command = match testnet::power::root() {
        Ok(()) if Command::new("setpriv").arg("--version").output().is_err() => {
            println!("SKIPPED: it needs setpriv, or another user than root");
            return;
        }
        Ok(()) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--clear-groups"]).arg(&copy);
            command
        }
        Err(_) => Command::new(&copy),
    };
    let left = folder.path().join("run");
    command.args(["chaos", "--seed", "1", "--minutes", "0.1", "--folder"]).arg(&left);
    let output = command.current_dir("/").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let words = match cfg!(target_os = "linux") {
        true => "runs under faults are not possible here: it needs root",
        false => "runs under faults need Linux",
    };
    assert!(said.contains(words), "{said}");
    assert!(!left.exists(), "nothing was begun");
}
