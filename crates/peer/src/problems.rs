//! Turns other rooms' errors into what people read: what, because, try.

use model::Problem;
use net::DialError;
use std::path::Path;

/// An error of the data folder.
pub fn folder(path: &Path, error: &store::Error) -> Problem {
    let because = error.to_string();
    let shown = path.display();
    match error.code() {
        code @ "SH0202" => Problem::new(
            code,
            format!("the data folder {shown} is in use"),
            because,
            "stop that process, or start with another folder: --data DIR",
        ),
        code @ "SH0203" => Problem::new(
            code,
            format!("the data folder {shown} belongs to something else"),
            because,
            "start with another folder: --data DIR",
        ),
        code @ "SH0204" => Problem::new(
            code,
            format!("the data folder {shown} was written by a newer shoal"),
            because,
            "start the version that wrote it, or a newer one",
        ),
        code @ "SH0205" => empty_folder(path, code),
        code @ "SH0206" => Problem::new(
            code,
            format!("the data folder {shown} cannot be used"),
            because,
            "make it writable for this user, or start with another folder: --data DIR",
        ),
        code @ "SH0502" => Problem::new(
            code,
            format!("there is no room for the data folder {shown}"),
            because,
            "make room on its disk, then start again: nothing in it is lost",
        ),
        _ => Problem::new(
            "SH0207",
            format!("the data folder {shown} cannot be read"),
            because,
            "keep the folder for a look at it, and let the peer come back on an empty one: \
             shoal start --data EMPTY --join ADDR --token T",
        ),
    }
}

/// Nothing says how to begin.
pub fn empty_folder(path: &Path, code: &str) -> Problem {
    Problem::new(
        code,
        format!("the data folder {} holds no mesh", path.display()),
        "a peer never founds or joins a mesh by itself",
        "shoal start --new (found a mesh) or shoal start --join ADDR --token T (join one)",
    )
}

/// An address that was to be joined through.
pub fn dial(address: &str, error: &DialError) -> Problem {
    let because = error.to_string();
    let (code, fix) = match error {
        DialError::WrongSecret(_) => (
            "SH0102",
            "use the token that `start --new` of that mesh printed, and the same version of shoal",
        ),
        DialError::WrongProtocol { .. } => {
            ("SH0103", "use the mesh address of a peer (port 7946), not its Kafka or HTTP address")
        }
        _ => (
            "SH0101",
            "check the address, that the peer runs, and that it binds an address you reach",
        ),
    };
    Problem::new(code, format!("cannot join through {address}"), because, fix)
}

/// A listener that could not be opened.
pub fn listen(setting: &str, error: &net::Error) -> Problem {
    let code = if matches!(error, net::Error::PortTaken { .. }) { "SH0201" } else { "SH0901" };
    Problem::new(
        code,
        format!("cannot listen for {setting}"),
        error.to_string(),
        format!(
            "end that process, or choose another port: --{setting}-port PORT (0 takes a free one)"
        ),
    )
}

/// The mesh goes on from another peer's copies.
pub fn recovered_without() -> Problem {
    Problem::new(
        "SH0107",
        "the mesh was recovered without this peer",
        "a quorum of it was given up by hand (`shoal recover --unsafe`), and it goes on from another peer's copies",
        "shoal start --data EMPTY --join ADDR --token T (as a new peer); keep this folder until nothing of it is missed",
    )
}

/// Anything that should not happen.
pub fn internal(what: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new("SH0901", what, error.to_string(), "report this with the peer's log")
}
