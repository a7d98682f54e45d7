//! Who of those that should hold a shard is silent, and since when: what people must know where it has no leader.

use crate::board::Board;
use model::{PeerId, ShardId};
use std::fmt;

/// Names, each with its seconds of silence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Away(Vec<(String, u64)>);

impl Away {
    pub fn of(board: &Board, shard: ShardId) -> Self {
        let silent = |peer: &PeerId| {
            let since = board.silent_since(*peer)?;
            Some((board.called(*peer), since.elapsed().as_secs()))
        };
        Self(board.ring().target(shard).iter().filter_map(silent).collect())
    }

    /// What a person can do.
    pub fn fix(&self) -> String {
        if self.0.is_empty() {
            return "try again in a moment; shoal health says which peers are missing".to_owned();
        }
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(" and ");
        format!("shoal start on the data folder of {names}; shoal explain SH0501 if a disk is lost")
    }
}

/// Nothing where nobody is silent.
impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, seconds)) in self.0.iter().enumerate() {
            let before = if at == 0 { "; of those that should hold it are silent: " } else { ", " };
            write!(f, "{before}{name} for {seconds} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_is_named_with_the_way_out() {
        let away = Away(vec![("p2".into(), 35), ("harbour".into(), 12)]);
        let said = "; of those that should hold it are silent: p2 for 35 s, harbour for 12 s";
        assert_eq!(away.to_string(), said);
        assert!(away.fix().contains("p2 and harbour"), "{}", away.fix());
        assert_eq!(Away::default().to_string(), "");
    }
}
