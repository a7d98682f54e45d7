//! `GET /v1/settings`: what a peer was started with, and where each value comes from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is shown of a secret that is set.
const MASK: &str = "(set, not shown)";

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerSettings {
    pub settings: Vec<PeerSetting>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerSetting {
    /// Its name in the file: `section.key`.
    pub setting: String,
    pub value: String,
    /// A flag, a variable, a file with the line, or `default`.
    pub from: String,
    /// The flag that sets it.
    pub flag: String,
}

impl PeerSetting {
    /// The same with its value hidden: it lets strangers in.
    pub fn masked(self) -> Self {
        Self { value: MASK.to_owned(), ..self }
    }
}
