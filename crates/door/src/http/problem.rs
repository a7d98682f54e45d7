//! Problems as RFC 9457 writes them, and the HTTP status of each code.

use model::Problem;
use model::problem::CODES;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The content type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The longest quote of a request that is sent back.
const BECAUSE_BYTES_MAX: usize = 300;

/// The body of every error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's own sentence.
    pub title: String,
    pub status: u16,
    pub code: String,
    /// What happened.
    pub detail: String,
    pub because: String,
    #[serde(rename = "try")]
    pub fix: String,
}

/// The HTTP status of a code.
pub fn status(code: &str) -> u16 {
    match code {
        "SH0001" | "SH0002" | "SH0402" | "SH0404" => 400,
        "SH0301" | "SH0303" | "SH0304" | "SH0305" | "SH0306" | "SH0307" | "SH0308" | "SH0310" => {
            404
        }
        "SH0104" | "SH0105" | "SH0106" | "SH0107" | "SH0202" | "SH0203" | "SH0302" => 409,
        "SH0309" | "SH0311" | "SH0312" | "SH0313" => 409,
        "SH0506" | "SH0507" | "SH0508" => 409,
        "SH0401" => 413,
        "SH0403" => 416,
        "SH0405" => 422,
        "SH0503" => 429,
        "SH0101" | "SH0102" | "SH0103" => 502,
        "SH0501" | "SH0505" => 503,
        "SH0504" => 504,
        "SH0502" => 507,
        _ => 500,
    }
}

impl From<Problem> for ProblemBody {
    fn from(problem: Problem) -> Self {
        let Problem { code, what, because, fix } = problem;
        let title = CODES.iter().find(|(known, _, _)| *known == code).map_or("", |(_, _, t)| t);
        Self {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status: status(&code),
            code,
            detail: what,
            because,
            fix,
        }
    }
}

impl From<ProblemBody> for Problem {
    fn from(body: ProblemBody) -> Self {
        let ProblemBody { code, detail, because, fix, .. } = body;
        Self { code, what: detail, because, fix }
    }
}

/// What to answer to a body that is not what the endpoint takes.
pub fn body_problem(error: &serde_json::Error) -> Problem {
    // The text may quote what was sent, however long it is.
    let mut because = error.to_string();
    because.truncate(because.floor_char_boundary(BECAUSE_BYTES_MAX));
    Problem::new(
        "SH0404",
        "the body is not what this endpoint takes",
        because,
        "see `shoal explain SH0404`",
    )
}
