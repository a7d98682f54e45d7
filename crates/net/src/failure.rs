//! Why a connection failed, read out of the transport's nested errors.
//!
//! Promises a cause that a person can act on; the wrong secret is told apart from the wrong
//! protocol.

use crate::error::DialError;
use libp2p::{
    core::upgrade::NegotiationError,
    noise,
    swarm::{ConnectionDenied, DialError as Dial, ListenError as Listen},
};
use std::{
    error::Error,
    io::{self, ErrorKind},
};

/// What snow says of a message whose tag does not fit: the two ends started from different secrets.
/// Its type is lost on the way up.
const WRONG_TAG: &str = "decrypt error";

/// What went wrong below the swarm.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Refused,
    Timeout,
    Secret,
    Protocol(String),
    /// The other end hung up during the handshake.
    HungUp,
    Unreachable(String),
}

/// The dialler's view.
pub(crate) fn of_dial(address: &str, error: &Dial) -> DialError {
    let address = address.to_owned();
    let cause = match error {
        // the transport leaves out addresses that it listens on itself
        Dial::LocalPeerId { .. } | Dial::NoAddresses => return DialError::Ourselves(address),
        Dial::WrongPeerId { obtained, .. } => {
            let because = format!("another peer answered there: {obtained}");
            return DialError::Unreachable { address, because };
        }
        Dial::Denied { cause } => return DialError::Limit { address, because: denied(cause) },
        Dial::Transport(errors) => match errors.last() {
            Some((_, error)) => cause(error),
            None => Cause::Unreachable("there is no address to try".to_owned()),
        },
        other => Cause::Unreachable(other.to_string()),
    };
    match cause {
        Cause::Refused => DialError::Refused(address),
        Cause::Timeout => DialError::Timeout(address),
        Cause::Secret => DialError::WrongSecret(address),
        Cause::Protocol(because) => DialError::WrongProtocol { address, because },
        Cause::HungUp => {
            let because = "it hung up during the handshake".to_owned();
            DialError::WrongProtocol { address, because }
        }
        Cause::Unreachable(because) => DialError::Unreachable { address, because },
    }
}

/// The listener's view, as a sentence. A stranger's wrong secret shows there only as a broken
/// handshake, since it is the stranger who finds that the two differ.
pub(crate) fn of_listen(error: &Listen) -> String {
    match error {
        Listen::LocalPeerId { .. } => "it is this peer itself".to_owned(),
        Listen::Denied { cause } => denied(cause),
        Listen::Transport(error) => match cause(error) {
            Cause::Timeout => "the handshake took too long".to_owned(),
            Cause::Protocol(because) => format!("it speaks another protocol: {because}"),
            Cause::Secret => {
                "it has another mesh secret, or another version of the protocol".to_owned()
            }
            _ => "it broke off the handshake: another mesh secret, another version, or another \
                  protocol"
                .to_owned(),
        },
        other => other.to_string(),
    }
}

fn denied(cause: &ConnectionDenied) -> String {
    cause.source().map_or_else(|| cause.to_string(), ToString::to_string)
}

/// Walks down to the first error that says something.
fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    let mut last = String::new();
    while let Some(error) = next {
        last = error.to_string();
        next = error.source();
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match of_io(error) {
                Some(cause) => return cause,
                None => next = error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            }
        } else if let Some(error) = error.downcast_ref::<noise::Error>() {
            match error {
                noise::Error::Io(error) if error.to_string() == WRONG_TAG => return Cause::Secret,
                noise::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                    return Cause::Protocol(error.to_string());
                }
                noise::Error::Io(error) => next = Some(error),
                other => return Cause::Protocol(other.to_string()),
            }
        } else if let Some(error) = error.downcast_ref::<NegotiationError>() {
            return match error.source().and_then(|e| e.downcast_ref::<io::Error>()) {
                Some(error) => of_io(error).unwrap_or(Cause::HungUp),
                None => Cause::Protocol(error.to_string()),
            };
        }
    }
    match (os_error(&last), last.contains("imeout")) {
        (Some(cause), _) => cause,
        (None, true) => Cause::Timeout,
        (None, false) => Cause::Unreachable(last),
    }
}

/// The system's error that a wrapper kept only as text: `Connection refused (os error 111)`.
fn os_error(text: &str) -> Option<Cause> {
    let number = text.strip_suffix(')')?.rsplit_once("(os error ")?.1.parse().ok()?;
    of_io(&io::Error::from_raw_os_error(number))
}

fn of_io(error: &io::Error) -> Option<Cause> {
    match error.kind() {
        ErrorKind::ConnectionRefused => Some(Cause::Refused),
        ErrorKind::TimedOut => Some(Cause::Timeout),
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => Some(Cause::HungUp),
        _ if error.raw_os_error().is_some() => Some(Cause::Unreachable(error.to_string())),
        _ => None,
    }
}
