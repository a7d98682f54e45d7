//! Peers whose disks are full, or whose files are not what they left there.

mod copies;
mod damage;
mod folders;
mod full;

use std::fs;
use std::path::{Path, PathBuf};
use testnet::scene::Scene;

fn data(scene: &Scene, peer: usize) -> PathBuf {
    scene.folder().join(format!("p{peer}/data"))
}

/// Files below a folder, largest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(written(path)));
    found
}

/// Up to where a file holds anything.
fn written(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("it is readable");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("it opens");
    file.set_len(bytes).expect("it is cut");
}
