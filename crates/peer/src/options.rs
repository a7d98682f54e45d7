//! What a peer is started with, and the token that lets peers into a mesh.

use model::Problem;
use std::net::IpAddr;
use std::path::PathBuf;

/// Settings of one peer.
pub struct Options {
    pub folder: PathBuf,
    pub name: Option<String>,
    /// Found a mesh if the folder is empty; with addresses to join through only if none of them has one, and this peer
    /// is the one of them to do it.
    pub found: bool,
    /// Addresses (`host:port`) of peers to join through if the folder is empty.
    pub join: Vec<String>,
    /// What a start waits for is said here, as it changes.
    pub told: tokio::sync::watch::Sender<String>,
    pub token: Option<String>,
    pub bind: IpAddr,
    /// The host that others and clients are told; the bound address if there is none.
    pub advertise: Option<String>,
    pub kafka_port: u16,
    /// The host, or host and port, that Kafka clients are told instead.
    pub kafka_advertise: Option<String>,
    /// Kafka clients are told this peer only, as leader and coordinator of everything.
    pub kafka_single_address: bool,
    pub http_port: u16,
    /// Partitions of all streams together: more are not made through this peer.
    pub partitions_max: u32,
    /// Bytes of snapshots that this peer takes a second.
    pub fetch_rate: u64,
    /// The mesh's port; consensus takes the next one.
    pub mesh_port: u16,
    /// The number of shards to found with; where there is a mesh already, the number that it must have.
    pub shards: Option<u16>,
    /// Name or id of the dead peer whose place a joiner takes.
    pub replaces: Option<String>,
    /// Go on without shards whose only copy is damaged.
    pub without_damaged: bool,
    pub zone: String,
    pub weight: u32,
    pub pipelines: flow::Pipelines,
    /// All settings as people are shown them, with where each comes from; secrets are masked.
    pub settings: Vec<door::http::PeerSetting>,
}

/// The secret of a mesh as people carry it: `shoal1-<generation>-<64 hex digits>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub generation: u8,
    pub secret: [u8; 32],
}

impl Token {
    pub fn new(secret: [u8; 32]) -> Self {
        Self { generation: 1, secret }
    }

    /// Reads a token; the error says what a token looks like and repeats nothing of it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        Self::read(text.trim()).ok_or_else(|| {
            Problem::new(
                "SH0001",
                "the token is not one",
                "a token reads shoal1-<generation>-<64 hex digits>, as `shoal start --new` prints it",
                "copy the whole token, or make one with `shoal gen token`",
            )
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (generation, hex) = text.strip_prefix("shoal1-")?.split_once('-')?;
        let generation = generation.parse().ok()?;
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut secret = [0; 32];
        for (byte, pair) in secret.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self { generation, secret })
    }

    /// The text that people copy. Never goes into a trace.
    pub fn text(&self) -> String {
        let hex: String = self.secret.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("shoal1-{}-{hex}", self.generation)
    }

    /// What both ends of a handshake must have in common.
    pub fn prologue(&self) -> Vec<u8> {
        let mut bytes = vec![self.generation];
        bytes.extend_from_slice(&self.secret);
        bytes
    }

    pub fn from_prologue(bytes: &[u8]) -> Option<Self> {
        let (generation, secret) = bytes.split_first()?;
        Some(Self { generation: *generation, secret: secret.try_into().ok()? })
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(generation {}, secret)", self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_copied_and_shows_its_secret_to_nobody() {
        let token = Token::new([0xab; 32]);
        assert_eq!(Token::parse(&format!(" {} \n", token.text())).expect("own text"), token);
        assert!(!format!("{token:?}").contains("abab"));
        for bad in ["", "shoal1-1-abc", "shoal2-1-00", &token.text()[..70]] {
            let problem = Token::parse(bad).expect_err("malformed");
            assert_eq!(problem.code, "SH0001");
        }
        assert_eq!(Token::from_prologue(&token.prologue()), Some(token));
    }
}
