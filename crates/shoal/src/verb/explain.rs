//! `shoal explain`: what an error code means, why it comes, and what to try.

use crate::near::nearest;
use crate::show;
use model::Problem;
use model::problem::CODES;

/// A page a code: the code, then lines `what:`, `because:` and `try:`.
const PAGES: &str = include_str!("explain.txt");

pub(crate) fn run(code: &str) -> Result<(), Problem> {
    let wanted = code.trim().to_uppercase();
    // The number alone is enough.
    let wanted = match wanted.parse::<u16>() {
        Ok(number) => format!("SH{number:04}"),
        Err(_) => wanted,
    };
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
    show::print(&shown(code, *exit, sentence));
    Ok(())
}

fn shown(code: &str, exit: u8, sentence: &str) -> String {
    let mut text = format!("{code}: {sentence}\n");
    for line in page(code) {
        let (head, rest) = line.split_once(": ").unwrap_or(("", line));
        text.push_str(&match head {
            "what" => format!("\n{rest}\n"),
            "because" => format!("\nbecause: {rest}\n\n"),
            _ => format!("try: {rest}\n"),
        });
    }
    text + &format!("\nA command that fails with it leaves with {exit}.")
}

/// The lines of a code's page.
fn page(code: &str) -> impl Iterator<Item = &'static str> {
    let lines = PAGES.lines().skip_while(move |line| *line != code).skip(1);
    lines.take_while(|line| line.contains(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_says_what_because_and_try() {
        for (code, exit, sentence) in CODES {
            let heads: Vec<_> = page(code).filter_map(|line| line.split(": ").next()).collect();
            let (what, because) = (heads.first(), heads.get(1));
            assert_eq!((what, because), (Some(&"what"), Some(&"because")), "{code} {heads:?}");
            let tries = heads.iter().skip(2).filter(|head| **head == "try").count();
            assert!(
                tries >= 1 && tries == heads.len() - 2,
                "{code} has no or odd tries: {heads:?}"
            );
            let text = shown(code, *exit, sentence);
            assert!(text.contains("because: ") && text.contains("try: "), "{text}");
        }
    }

    #[test]
    fn a_code_is_known_by_its_number_alone_and_one_that_is_none_is_told() {
        assert!(["SH0501", "sh0501", "501", "0501"].iter().all(|code| run(code).is_ok()));
        let problem = run("502x").expect_err("no code");
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("SH0001", 2));
    }

    #[test]
    fn commands_that_pages_name_are_commands() {
        use clap::CommandFactory;
        let command = crate::cli::Cli::command();
        let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        for line in PAGES.lines().filter(|line| line.starts_with("try: ")) {
            for rest in line.split("shoal ").skip(1) {
                let verb = rest.split([' ', '`', ',', ')']).next().unwrap_or_default();
                let is_word = verb.chars().all(|c| c.is_ascii_lowercase());
                assert!(!is_word || known.contains(&verb), "{verb} in {line}");
            }
        }
    }
}
