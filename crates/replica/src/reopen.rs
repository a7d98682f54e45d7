//! What a start makes of what the disk kept of a shard: a replica that goes on, nothing, or a doubt.
//!
//! Promises that a replica which may have forgotten what it promised does not start. Never opens a file.

use crate::checkpoint::Restored;
use crate::configuration;
use crate::fold::Fold;
use crate::replica::{Config, Replica};
use bytes::Bytes;
use model::log::EntryKind;
use model::planted::{self, Mutant};
use model::{HardState, LogEntry, ReplicaId, TaskId, codec};

/// What the journal kept of a shard.
#[derive(Clone, Debug)]
pub struct Journalled {
    /// 0: there is none, only a tombstone, or damage where one may have been.
    pub replica: ReplicaId,
    /// Index and term before the first entry.
    pub base: (u64, u64),
    pub hard: HardState,
    pub entries: Vec<LogEntry>,
    /// Why the journal cannot be believed.
    pub doubt: Option<String>,
}

/// What the tables kept of a shard.
#[derive(Clone, Debug)]
pub struct Tabled {
    pub replica: ReplicaId,
    pub index: u64,
    /// What the replica knew to be committed when this was written.
    pub commit: u64,
    pub small: Vec<u8>,
    pub rows: Vec<(TaskId, Bytes, Bytes)>,
}

/// What becomes of a shard on this peer.
pub enum Reopened {
    /// No replica is here. Tables that are here nevertheless are of one that was removed: drop them.
    Nothing,
    /// It goes on. `stale`: the tables are those of a replica before it, drop them.
    Replica { replica: Box<Replica>, stale: bool },
    /// It must not go on: set its files aside, write its tombstone, and ask its shard for another. `alone`: whether it was
    /// its shard's only voter, as far as that can be read; then nobody can give it another.
    Doubt { replica: ReplicaId, why: String, alone: Option<bool> },
    /// Another version wrote it, and nothing of it is damaged: nothing must be touched, this build must not start.
    Foreign { why: String },
}

/// Why a replica cannot go on from what was kept.
enum Fault {
    Doubt(String),
    Foreign(String),
}

/// Makes of a shard what can be made. `lost` says what of the journal cannot be read at all, not even whose it was.
pub fn reopen(
    config: Config,
    journal: Option<Journalled>,
    lost: Option<&str>,
    tables: Option<Tabled>,
) -> Reopened {
    let Some(journal) = journal else {
        // The tables know a replica that the journal does not: its votes and its newest entries are lost.
        return match tables {
            Some(tables) => Reopened::Doubt {
                replica: tables.replica,
                why: lost.unwrap_or("its journal is missing").into(),
                alone: alone(&config, tables.replica, None, Some(&tables)),
            },
            None => Reopened::Nothing,
        };
    };
    let id = journal.replica;
    if id.0 == 0 {
        return Reopened::Nothing;
    }
    let stale = tables.as_ref().is_some_and(|tables| tables.replica != id);
    let tables = tables.filter(|_| !stale);
    let alone = alone(&config, id, Some(&journal), tables.as_ref());
    let again = config.clone();
    match restore(config, journal, tables) {
        Ok(replica) => Reopened::Replica { replica: Box::new(replica), stale },
        Err(Fault::Doubt(_)) if planted::is(Mutant::SameReplicaAfterDoubt) => {
            begun_again(again, id)
        }
        Err(Fault::Doubt(why)) => Reopened::Doubt { replica: id, why, alone },
        Err(Fault::Foreign(why)) => Reopened::Foreign { why },
    }
}

/// A planted bug: the replica that may have forgotten what it promised begins again under its own id.
fn begun_again(config: Config, id: ReplicaId) -> Reopened {
    let restored = Replica::joining(&config, id);
    match Replica::new(config, restored) {
        Ok(replica) => Reopened::Replica { replica: Box::new(replica), stale: true },
        Err(error) => Reopened::Doubt { replica: id, why: error.to_string(), alone: None },
    }
}

/// Whether a replica decides alone, by the newest configuration that can be read; `None` if none can.
fn alone(
    config: &Config,
    id: ReplicaId,
    journal: Option<&Journalled>,
    tables: Option<&Tabled>,
) -> Option<bool> {
    let fold = match (tables, journal) {
        (Some(tables), _) => Fold::restore(&tables.small, std::iter::empty()).ok()?,
        // Its whole log is there, from how every shard begins.
        (None, Some(journal)) if journal.base.0 == 1 => Fold::genesis(config),
        (None, _) => return None,
    };
    let mut configuration = fold.configuration().clone();
    let entries = journal.into_iter().flat_map(|journal| &journal.entries);
    for entry in entries.filter(|entry| entry.index > fold.index()) {
        if entry.kind == EntryKind::Configuration
            && let Ok(change) = codec::decode(configuration::VERSION, &entry.bytes)
        {
            configuration.apply(&change, config.replication);
        }
    }
    Some(configuration.is_alone(id))
}

fn restore(config: Config, journal: Journalled, tables: Option<Tabled>) -> Result<Replica, Fault> {
    let Journalled { replica, base, hard, entries, doubt } = journal;
    if let Some(why) = doubt {
        return Err(Fault::Doubt(why));
    }
    let last = base.0 + entries.len() as u64;
    let fold = match tables {
        None => Replica::joining(&config, replica).fold,
        // A checkpoint holds what the journal had synced before. Only a snapshot comes to the tables first.
        Some(Tabled { index, commit, .. }) if last < index && commit >= index => {
            let why = format!("entries {} to {index} are not in the journal", last + 1);
            return Err(Fault::Doubt(why));
        }
        Some(Tabled { small, rows, .. }) => {
            // The tables have checksums of their own: what they give back is what was written.
            let fold = Fold::restore(&small, rows.into_iter());
            fold.map_err(|error| Fault::Foreign(error.to_string()))?
        }
    };
    let restored = Restored { replica, fold, hard, entries, base };
    Replica::new(config, restored).map_err(|error| Fault::Doubt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use model::{MeshId, PeerId, ShardId};

    const ID: ReplicaId = ReplicaId(4);

    fn config() -> Config {
        let (shard, mesh, peer) = (ShardId(3), MeshId(1), PeerId(2));
        Config { shard, mesh, shards: 8, replication: 3, peer, seed: 0 }
    }

    /// Entries 2 to `last`, all of term 1.
    fn journal(last: u64) -> Journalled {
        let entry =
            |index| LogEntry { index, term: 1, kind: EntryKind::Normal, bytes: Bytes::new() };
        let hard = HardState { term: 1, vote: 0, commit: 2 };
        let entries = (2..=last).map(entry).collect();
        Journalled { replica: ID, base: (1, 1), hard, entries, doubt: None }
    }

    fn tables(replica: ReplicaId, index: u64, commit: u64) -> Tabled {
        let mut fold = Fold::genesis(&config());
        for index in 2..=index {
            fold.apply(index, 1, &Bytes::new(), &mut Vec::new(), &mut Vec::new())
                .expect("an empty entry means nothing");
        }
        Tabled { replica, index, commit, small: fold.small(), rows: Vec::new() }
    }

    fn told(journal: Option<Journalled>, tables: Option<Tabled>) -> String {
        match reopen(config(), journal, None, tables) {
            Reopened::Nothing => "nothing".into(),
            Reopened::Doubt { replica, why, .. } => format!("{replica} in doubt: {why}"),
            Reopened::Foreign { why } => format!("foreign: {why}"),
            Reopened::Replica { replica, stale } => {
                let Status { applied, last, .. } = replica.status();
                format!("{} at {applied} of {last}, stale {stale}", replica.id())
            }
        }
    }

    #[test]
    fn a_replica_goes_on_from_its_tables_with_what_the_journal_has_above_them() {
        assert_eq!(told(Some(journal(9)), None), "r4 at 1 of 9, stale false");
        assert_eq!(told(Some(journal(9)), Some(tables(ID, 6, 6))), "r4 at 6 of 9, stale false");
    }

    #[test]
    fn tables_of_a_checkpoint_above_the_journal_are_a_doubt_those_of_a_snapshot_are_not() {
        let found = told(Some(journal(5)), Some(tables(ID, 8, 8)));
        assert_eq!(found, "r4 in doubt: entries 6 to 8 are not in the journal");
        let found = told(Some(journal(5)), Some(tables(ID, 8, 5)));
        assert_eq!(found, "r4 at 8 of 8, stale false", "its journal was not told yet");
    }

    #[test]
    fn tables_that_another_version_wrote_are_no_doubt() {
        let mut newer = tables(ID, 6, 6);
        newer.small[0] += 1;
        assert!(told(Some(journal(9)), Some(newer)).starts_with("foreign: "));
    }

    #[test]
    fn tables_of_another_replica_are_dropped() {
        let found = told(Some(journal(5)), Some(tables(ReplicaId(3), 8, 8)));
        assert_eq!(found, "r4 at 1 of 5, stale true");
    }

    #[test]
    fn tables_without_a_journal_and_a_journal_that_doubts_itself_are_doubts() {
        let found = told(None, Some(tables(ID, 8, 8)));
        assert_eq!(found, "r4 in doubt: its journal is missing");
        let doubted = Journalled { doubt: Some("it is rotten".into()), ..journal(5) };
        assert_eq!(told(Some(doubted), None), "r4 in doubt: it is rotten");
        assert_eq!(told(None, None), "nothing");
    }
}
