//! The copy of the catalogue beside the log: all peers may stop before shard 0 has a checkpoint, and then each needs to
//! know the others before it can ask a quorum for anything.
//!
//! Promises that losing the copy, or finding an old one, costs time alone: the log of shard 0 is the truth.

use crate::board::Board;
use model::{Catalogue, codec};
use std::sync::Arc;
use store::Folder;

const VERSION: u8 = 2;

/// The copy that was kept last, if it can be read.
pub fn read(folder: &Folder) -> Option<Catalogue> {
    let bytes = match folder.read_catalogue() {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::warn!(%error, "the copy of the catalogue cannot be read");
            return None;
        }
    };
    codec::decode(VERSION, &bytes).ok()
}

/// Keeps a copy; a failure is no reason to stop.
pub fn write(folder: &Folder, catalogue: &Catalogue) {
    if let Err(error) = folder.write_catalogue(&codec::encode(VERSION, catalogue)) {
        tracing::warn!(%error, "the catalogue's copy was not kept");
    }
}

/// Keeps a copy whenever the catalogue changes; while one is written, changes gather.
pub async fn follow(board: Arc<Board>, folder: Arc<Folder>) {
    let mut changes = board.watch_catalogue();
    while changes.changed().await.is_ok() {
        let catalogue = changes.borrow_and_update().clone();
        let folder = folder.clone();
        if tokio::task::spawn_blocking(move || write(&folder, &catalogue)).await.is_err() {
            tracing::warn!("the catalogue's copy was not kept");
        }
    }
}
