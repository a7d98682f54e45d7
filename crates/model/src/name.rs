//! Names that people give to streams, pipelines, stages and views.

use thiserror::Error;

/// The longest name, as in Kafka.
pub const NAME_BYTES_MAX: usize = 249;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    #[error("a name has 1 to {NAME_BYTES_MAX} characters; this one has {0}")]
    Length(usize),
    #[error("a name has only letters, digits, '.', '_' and '-'; this one has {0:?}")]
    Character(char),
    #[error("'.' and '..' are not names")]
    Dots,
}

/// Checks a name: `[A-Za-z0-9._-]{1,249}`, not `.` or `..`.
pub fn check(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::Length(name.chars().count()));
    }
    if name == "." || name == ".." {
        return Err(Error::Dots);
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => Err(Error::Character(c)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_lies_are_refused() {
        assert_eq!(check("../x"), Err(Error::Character('/')));
        assert_eq!(check("a\0b"), Err(Error::Character('\0')));
        assert_eq!(check(&"x".repeat(250)), Err(Error::Length(250)));
        assert_eq!(check(""), Err(Error::Length(0)));
        assert_eq!(check(".."), Err(Error::Dots));
        assert_eq!(check("Straße"), Err(Error::Character('ß')));
        assert_eq!(check("word_count.by-key"), Ok(()));
    }
}
