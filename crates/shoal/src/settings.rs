//! Settings of a peer: flag, then environment, then file, then default; each knows where it came from.
//!
//! Promises that a key nobody knows is refused with the nearest right one, and that an error about a value names the
//! place it was written in. Never opens the file: it is given its text.

use crate::near::nearest;
use model::Problem;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Every setting and the flag that sets it.
const KEYS: &[(&str, &str)] = &[
    ("peer.name", "--name"),
    ("peer.data", "--data"),
    ("peer.zone", "--zone"),
    ("peer.weight", "--weight"),
    ("peer.bind", "--bind"),
    ("peer.advertise", "--advertise"),
    ("mesh.join", "--join"),
    ("mesh.token", "--token"),
    ("mesh.port", "--mesh-port"),
    ("mesh.shards", "--shards"),
    ("kafka.port", "--kafka-port"),
    ("kafka.advertise", "--kafka-advertise"),
    ("kafka.single_address", "--kafka-single-address"),
    ("http.port", "--http-port"),
];

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(String),
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
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
            let (key, flag) =
                KEYS.iter().find(|(known, _)| *known == key).expect("flags are named in KEYS");
            settings.set(key, parts, Origin::Flag(flag));
        }
        Ok(settings)
    }

    fn set(&mut self, key: &'static str, parts: Vec<String>, origin: Origin) {
        self.written.insert(key, Written { parts, origin });
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), Problem> {
        let origin = Origin::File(path.to_owned());
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Problem::new(
                "SH0001",
                format!("{origin} is not valid TOML"),
                error.to_string().trim().replace('\n', "\n    "),
                "sections are written [mesh], settings key = value",
            )
        })?;
        for (section, value) in &table {
            let toml::Value::Table(keys) = value else {
                return Err(unknown(section, &origin));
            };
            for (key, value) in keys {
                let key = known(&format!("{section}.{key}"), &origin)?;
                let parts = parts(value).ok_or_else(|| {
                    Problem::new(
                        "SH0001",
                        format!("{key} cannot be {value}"),
                        format!("{origin} says so"),
                        format!("write {key} as a text, a number or a list of texts"),
                    )
                })?;
                self.set(key, parts, origin.clone());
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
    KEYS.iter().find(|(known, _)| *known == key).map_or("a flag", |(_, flag)| flag)
}

fn known(key: &str, origin: &Origin) -> Result<&'static str, Problem> {
    let found = KEYS.iter().find(|(known, _)| *known == key);
    found.map(|(known, _)| *known).ok_or_else(|| unknown(key, origin))
}

fn unknown(key: &str, origin: &Origin) -> Problem {
    let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
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
    fn a_wrong_value_names_the_place_it_stands_in() {
        let settings = gather(Vec::new(), &[("SHOAL_HTTP__PORT", "eighty")], "");
        let problem = settings.value("http.port", 0u16).expect_err("not a port");
        assert!(problem.because.contains("SHOAL_HTTP__PORT"), "{problem}");
        assert!(problem.fix.contains("--http-port"), "{problem}");
    }
}
