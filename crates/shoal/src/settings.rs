//! Settings of a peer: flag, then environment, then file, then default; each knows where it came from.
//!
//! Promises that a key nobody knows is refused with the nearest right one, and that an error about a value names the
//! place it was written in. Never opens the file: it is given its text.

use crate::near::nearest;
use door::http::PeerSetting;
use model::Problem;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::de::DeTable;

/// Every setting, the flag that sets it, and what it is when nobody does.
pub(crate) const KEYS: &[(&str, &str, &str)] = &[
    ("peer.name", "--name", "p and its id"),
    ("peer.data", "--data", "./shoal-data"),
    ("peer.zone", "--zone", ""),
    ("peer.weight", "--weight", "100"),
    ("peer.bind", "--bind", "127.0.0.1"),
    ("peer.advertise", "--advertise", "the bound address"),
    ("mesh.join", "--join", ""),
    ("mesh.token", "--token", "made by start --new"),
    ("mesh.port", "--mesh-port", "7946"),
    ("mesh.shards", "--shards", "64"),
    ("mesh.partitions_max", "--partitions-max", "20000"),
    ("mesh.fetch_mib_s", "--fetch-mib-s", "64"),
    ("kafka.port", "--kafka-port", "9092"),
    ("kafka.advertise", "--kafka-advertise", "as peer.advertise"),
    ("kafka.single_address", "--kafka-single-address", "false"),
    ("http.port", "--http-port", "8080"),
];

/// Those that let strangers in: never shown.
const SECRETS: [&str; 1] = ["mesh.token"];

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(String),
    /// The file, and the line in it.
    File(PathBuf, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// One value as it was written; a list has several parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    parts: Vec<String>,
    origin: Origin,
}

/// All that was set, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    written: BTreeMap<&'static str, Written>,
}

impl Settings {
    /// Gathers what flags (by key), `SHOAL_SECTION__KEY` variables and a file's text say.
    pub(crate) fn gather(
        flags: Vec<(&str, Vec<String>)>,
        variables: impl IntoIterator<Item = (String, String)>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, Problem> {
        let mut settings = Self::default();
        if let Some((path, text)) = file {
            settings.read_file(path, text)?;
        }
        for (name, value) in variables {
            let Some((section, key)) =
                name.strip_prefix("SHOAL_").and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let key = format!("{section}.{key}").to_lowercase();
            let origin = Origin::Variable(name);
            let known = known(&key, &origin)?;
            let parts = match known {
                "mesh.join" => value.split([',', ' ']).filter(|p| !p.is_empty()).collect(),
                _ => vec![value.as_str()],
            };
            settings.set(known, parts.into_iter().map(str::to_owned).collect(), origin);
        }
        for (key, parts) in flags.into_iter().filter(|(_, parts)| !parts.is_empty()) {
            let (key, flag, _) =
                KEYS.iter().find(|(known, _, _)| *known == key).expect("flags are named in KEYS");
            settings.set(key, parts, Origin::Flag(flag));
        }
        Ok(settings)
    }

    fn set(&mut self, key: &'static str, parts: Vec<String>, origin: Origin) {
        self.written.insert(key, Written { parts, origin });
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), Problem> {
        let origin = |section: &str, key: Option<&str>| {
            Origin::File(path.to_owned(), line(text, section, key))
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Problem::new(
                "SH0001",
                format!("{} is not valid TOML", path.display()),
                error.to_string().trim().replace('\n', "\n    "),
                "sections are written [mesh], settings key = value",
            )
        })?;
        for (section, value) in &table {
            let toml::Value::Table(keys) = value else {
                return Err(unknown(section, &origin(section, None)));
            };
            for (key, value) in keys {
                let origin = origin(section, Some(key));
                let key = known(&format!("{section}.{key}"), &origin)?;
                let parts = parts(value).ok_or_else(|| {
                    Problem::new(
                        "SH0001",
                        format!("{key} cannot be {value}"),
                        format!("{origin} says so"),
                        format!("write {key} as a text, a number or a list of texts"),
                    )
                })?;
                self.set(key, parts, origin);
            }
        }
        Ok(())
    }

    /// The text of a setting.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.written.get(key).and_then(|written| written.parts.first()).map(String::as_str)
    }

    /// The parts of a setting that is a list.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.written.get(key).map(|written| written.parts.clone()).unwrap_or_default()
    }

    /// All settings as people are shown them.
    pub(crate) fn shown(&self) -> Vec<PeerSetting> {
        let one = |(key, flag, usual): &(&str, &str, &str)| {
            let written = self.written.get(key);
            let shown = PeerSetting {
                setting: (*key).to_owned(),
                value: written.map_or((*usual).to_owned(), |it| it.parts.join(",")),
                from: written.map_or("default".to_owned(), |it| it.origin.to_string()),
                flag: (*flag).to_owned(),
            };
            let hides = written.is_some() && SECRETS.contains(key);
            if hides { shown.masked() } else { shown }
        };
        KEYS.iter().map(one).collect()
    }

    /// A setting read as `T`, or its default.
    pub(crate) fn value<T>(&self, key: &str, default: T) -> Result<T, Problem>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let Some(written) = self.written.get(key) else {
            return Ok(default);
        };
        let text = written.parts.first().map_or("", String::as_str);
        text.parse().map_err(|error: T::Err| {
            Problem::new(
                "SH0001",
                format!("{key} cannot be {text:?}: {error}"),
                format!("{} says so", written.origin),
                format!("change it there, or override it with {}", flag_of(key)),
            )
        })
    }
}

/// The line, from 1, on which a section of valid TOML begins, or a key of it stands.
fn line(text: &str, section: &str, key: Option<&str>) -> usize {
    let place = || {
        let table = DeTable::parse(text).ok()?;
        let (head, keys) = table.get_ref().iter().find(|(head, _)| *head.get_ref() == section)?;
        let Some(key) = key else { return Some(head.span().start) };
        let (key, _) = keys.get_ref().as_table()?.iter().find(|(it, _)| *it.get_ref() == key)?;
        Some(key.span().start)
    };
    let before = place().and_then(|at| text.get(..at)).unwrap_or_default();
    before.matches('\n').count() + 1
}

fn parts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(truth) => Some(vec![truth.to_string()]),
        toml::Value::Array(list) => {
            list.iter().map(|part| part.as_str().map(str::to_owned)).collect()
        }
        _ => None,
    }
}

fn flag_of(key: &str) -> &'static str {
    KEYS.iter().find(|(known, _, _)| *known == key).map_or("a flag", |(_, flag, _)| flag)
}

fn known(key: &str, origin: &Origin) -> Result<&'static str, Problem> {
    let found = KEYS.iter().find(|(known, _, _)| *known == key);
    found.map(|(known, _, _)| *known).ok_or_else(|| unknown(key, origin))
}

fn unknown(key: &str, origin: &Origin) -> Problem {
    let names: Vec<&str> = KEYS.iter().map(|(name, _, _)| *name).collect();
    let fix = match (nearest(key, names.iter().copied()), origin) {
        (Some(near), Origin::Variable(_)) => {
            format!("SHOAL_{}", near.to_uppercase().replace('.', "__"))
        }
        (Some(near), _) => match near.split_once('.') {
            Some((section, name)) => format!("{name} = … under [{section}]"),
            None => near.to_owned(),
        },
        (None, _) => format!("one of {}", names.join(", ")),
    };
    Problem::new("SH0001", format!("there is no setting {key}"), format!("{origin} has it"), fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "[mesh]\nport = 1\njoin = [\"a:1\", \"b:2\"]\n[http]\nport = 2\n[kafka]\nport = 3\n";

    fn gather(flags: Vec<(&str, Vec<String>)>, variables: &[(&str, &str)], file: &str) -> Settings {
        try_gather(flags, variables, file).expect("known settings")
    }

    fn try_gather(
        flags: Vec<(&str, Vec<String>)>,
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Settings, Problem> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Settings::gather(flags, variables, Some((Path::new("shoal.toml"), file)))
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
        let flags = vec![("mesh.port", vec!["10".to_owned()]), ("peer.name", vec![])];
        let variables =
            [("SHOAL_MESH__PORT", "20"), ("SHOAL_HTTP__PORT", "21"), ("SHOAL_LOG", "x")];
        let settings = gather(flags, &variables, FILE);
        assert_eq!(settings.value("mesh.port", 0u16), Ok(10));
        assert_eq!(settings.value("http.port", 0u16), Ok(21));
        assert_eq!(settings.value("kafka.port", 0u16), Ok(3));
        assert_eq!(settings.value("peer.weight", 100u32), Ok(100));
        assert_eq!(settings.text("peer.name"), None);
        assert_eq!(settings.list("mesh.join"), ["a:1", "b:2"]);
    }

    #[test]
    fn a_variable_lists_addresses_with_commas() {
        let settings = gather(Vec::new(), &[("SHOAL_MESH__JOIN", "a:1, c:3")], FILE);
        assert_eq!(settings.list("mesh.join"), ["a:1", "c:3"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        let problem =
            try_gather(Vec::new(), &[("SHOAL_MESH__TOKNE", "t")], "").expect_err("a slip");
        assert_eq!((problem.code.as_str(), problem.fix.as_str()), ("SH0001", "SHOAL_MESH__TOKEN"));
        let problem = try_gather(Vec::new(), &[], "[kafka]\nprt = 1").expect_err("a slip");
        assert_eq!(problem.fix, "port = … under [kafka]");
        let problem = try_gather(Vec::new(), &[], "colour = 1").expect_err("no such key");
        assert!(problem.fix.starts_with("one of peer.name, "), "{}", problem.fix);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_told_with_its_line() {
        let at = |text: &str| try_gather(Vec::new(), &[], text).expect_err("a slip").because;
        assert_eq!(at("[mesh]\nporrt = 7946\n"), "shoal.toml:2 has it");
        assert_eq!(at("# ours\n\n[http]\nport = 1\n[htpp]\nport = 1\n"), "shoal.toml:6 has it");
        assert_eq!(at("[mesh]\nport = 1\n\ncolour = 1"), "shoal.toml:4 has it");
        assert_eq!(at("colour = 1"), "shoal.toml:1 has it");
        assert_eq!(at("[mesh]\ntoken = { a = 1 }"), "shoal.toml:2 says so");
        let settings = gather(Vec::new(), &[], "\n[http]\nport = \"eighty\"");
        let problem = settings.value("http.port", 0u16).expect_err("not a port");
        assert_eq!(problem.because, "shoal.toml:3 says so");
    }

    #[test]
    fn a_wrong_value_names_the_place_it_stands_in() {
        let settings = gather(Vec::new(), &[("SHOAL_HTTP__PORT", "eighty")], "");
        let problem = settings.value("http.port", 0u16).expect_err("not a port");
        assert!(problem.because.contains("SHOAL_HTTP__PORT"), "{problem}");
        assert!(problem.fix.contains("--http-port"), "{problem}");
    }

    #[test]
    fn every_setting_is_shown_with_where_it_comes_from_and_no_secret() {
        let variables = [("SHOAL_MESH__TOKEN", "shoal1-1-planted")];
        let shown = gather(Vec::new(), &variables, "[http]\nport = 7\n").shown();
        let of = |key: &str| {
            let found = shown.iter().find(|it| it.setting == key).expect("every one is shown");
            (found.value.as_str(), found.from.as_str())
        };
        assert_eq!(of("http.port"), ("7", "shoal.toml:2"));
        assert_eq!(of("kafka.port"), ("9092", "default"));
        assert_eq!(of("mesh.token"), ("(set, not shown)", "SHOAL_MESH__TOKEN"));
        assert!(!format!("{shown:?}").contains("planted"), "{shown:?}");
    }
}
