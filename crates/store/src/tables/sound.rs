//! Opens tables that may be damaged: what can be read is carried into new ones, and only the rest is lost.
//!
//! Three folders: `tables`; `tables-new`, which is whole once `tables` is gone; `tables-old`, which is damaged and set
//! aside until no replica is in doubt.

use super::{Saved, Tables};
use crate::Error;
use crate::disk::Disk;
use model::ShardId;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

const TABLES: &str = "tables";
const NEW: &str = "tables-new";
const OLD: &str = "tables-old";

/// Tables that can be read throughout, and all that was saved in them.
pub struct Sound {
    pub tables: Tables,
    pub saved: BTreeMap<ShardId, Saved>,
    /// What was damaged, if anything was: shards that are missing in `saved` may have been there.
    pub damage: Option<String>,
}

impl Tables {
    /// Opens the tables in the data folder `folder`, or makes them, and loads what the first `shards` shards saved.
    ///
    /// Damage is no failure: shards whose rows can be read go into new tables. Fails if a newer version wrote the
    /// tables, or the disk does not do what it is asked.
    pub fn open_sound(folder: &Path, disk: &dyn Disk, shards: u16) -> Result<Sound, Error> {
        finish_swap(folder, disk).map_err(|e| Error::io("clear the tables' folder", e))?;
        let mut saved = BTreeMap::new();
        let mut damage = None;
        match Self::open(&folder.join(TABLES)) {
            Ok(tables) => {
                for shard in (0..shards).map(ShardId) {
                    match tables.load(shard) {
                        Ok(found) => drop(found.map(|found| saved.insert(shard, found))),
                        Err(Error::Rot(what)) => damage = Some(what),
                        Err(error) => return Err(error),
                    }
                }
                if damage.is_none() {
                    return Ok(Sound { tables, saved, damage });
                }
            }
            Err(Error::Rot(what)) => damage = Some(what),
            Err(error) => return Err(error),
        }
        carry(&folder.join(NEW), &saved)?;
        swap(folder, disk).map_err(|e| Error::io("put new tables in place", e))?;
        Ok(Sound { tables: Self::open(&folder.join(TABLES))?, saved, damage })
    }
}

fn carry(new: &Path, saved: &BTreeMap<ShardId, Saved>) -> Result<(), Error> {
    let tables = Tables::open(new)?;
    for (shard, found) in saved {
        tables.replace(*shard, found.applied, &found.small, &found.rows)?;
    }
    tables.sync()
}

fn swap(folder: &Path, disk: &dyn Disk) -> io::Result<()> {
    fs::rename(folder.join(TABLES), folder.join(OLD))?;
    disk.sync_dir(".")?;
    finish_swap(folder, disk)
}

/// Goes on where a swap was interrupted, at whichever step.
fn finish_swap(folder: &Path, disk: &dyn Disk) -> io::Result<()> {
    let has = |name: &str| folder.join(name).exists();
    if has(NEW) && !has(TABLES) && has(OLD) {
        fs::rename(folder.join(NEW), folder.join(TABLES))?;
        disk.sync_dir(".")?;
    }
    if has(NEW) {
        fs::remove_dir_all(folder.join(NEW))?;
    }
    if !has(OLD) {
        return Ok(());
    }
    let kept = format!("{}/{TABLES}", crate::aside::FOLDER);
    if has(&kept) {
        return fs::remove_dir_all(folder.join(OLD));
    }
    disk.make_dir(crate::aside::FOLDER)?;
    disk.move_dir(OLD, &kept)
}
