//! `shoal explain`: what an error code means.

use crate::near::nearest;
use crate::show;
use model::Problem;
use model::problem::CODES;

pub(crate) fn run(code: &str) -> Result<(), Problem> {
    let wanted = code.trim().to_uppercase();
    let found = CODES.iter().find(|(known, _, _)| *known == wanted);
    let Some((code, exit, sentence)) = found else {
        let near = nearest(&wanted, CODES.iter().map(|(code, _, _)| *code));
        return Err(Problem::new(
            "SH0001",
            format!("there is no error {wanted}"),
            format!("codes run from {} to {}", CODES[0].0, CODES[CODES.len() - 1].0),
            format!("shoal explain {}", near.unwrap_or(CODES[0].0)),
        ));
    };
    show::print(&format!("{code}: {sentence}\na command that fails with it leaves with {exit}"));
    Ok(())
}
