//! Secrets that must be in nothing that a peer says or somebody passes on: tokens of meshes.

use std::path::{Path, PathBuf};

/// How a token begins.
const TOKEN: &str = "shoal1-";
/// Digits of the secret in it.
const DIGITS: usize = 64;
/// What a founder prints for people, once, on purpose.
const TOLD: &str = "join with: ";
/// Where a peer keeps what it must keep: its settings, and its data folder.
const KEPT: [&str; 3] = ["shoal.toml", "data", "shoal-data"];

/// The secrets of all tokens in a text.
pub fn of(text: &str) -> Vec<String> {
    let after = text.split(TOKEN).skip(1);
    let secrets = after.filter_map(|rest| {
        let (generation, rest) = rest.split_once('-')?;
        let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        let is_one = generation.parse::<u32>().is_ok() && digits.len() == DIGITS;
        is_one.then_some(digits)
    });
    secrets.collect()
}

/// Lines that give a secret away: one of these, or any token; but not what a founder tells people to type.
pub fn given_away<'a>(text: &'a str, secrets: &[String]) -> Vec<&'a str> {
    let gives = |line: &&str| {
        let known = secrets.iter().any(|secret| line.contains(secret.as_str()));
        (known || !of(line).is_empty()) && !line.contains(TOLD)
    };
    text.lines().filter(gives).collect()
}

/// Files below a folder that give a secret away, but for settings and data folders.
pub fn holders(folder: &Path, secrets: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if KEPT.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            found.extend(holders(&path, secrets));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        if !given_away(&String::from_utf8_lossy(&bytes), secrets).is_empty() {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_secret_is_found_wherever_it_lies_but_where_it_belongs() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let secret = "5a".repeat(32);
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        put("p1/shoal.toml", &format!("token = \"shoal1-1-{secret}\"\n"));
        put("p1/data/head", &secret);
        put("p1/log", "ready\n");
        put("said", &format!("others join with: shoal start --token shoal1-1-{secret}\n"));
        let secrets =
            of(&std::fs::read_to_string(folder.path().join("p1/shoal.toml")).expect("it"));
        assert_eq!(secrets, std::slice::from_ref(&secret));
        assert_eq!(holders(folder.path(), &secrets), Vec::<PathBuf>::new());
        put("p1/log", &format!("ready\n{{\"secret\":\"{secret}\"}}\n"));
        put("dump.json", &format!("--token shoal1-2-{}", "6b".repeat(32)));
        let mut found = holders(folder.path(), &secrets);
        found.sort();
        let wanted = ["dump.json", "p1/log"].map(|name| folder.path().join(name));
        assert_eq!(found, wanted);
    }
}
