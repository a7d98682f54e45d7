//! The data folder of a peer: whose it is, who uses it, which version wrote it.

use crate::Error;
use model::{MeshId, PeerId};
use std::path::Path;

/// What a data folder says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    pub mesh: MeshId,
    /// Grows when a quorum was given up by hand.
    pub recovery: u32,
    /// 0 until the mesh has given one.
    pub peer: PeerId,
    pub name: String,
    pub secret: Vec<u8>,
    pub shards: u16,
    pub replication: u8,
}

/// A data folder that this process holds the lock of, until it is dropped.
pub struct Folder;

impl Folder {
    /// Takes the folder; `create` makes it if there is none (otherwise [`Error::Empty`]).
    pub fn open(_path: &Path, _create: bool) -> Result<Self, Error> {
        Ok(Self)
    }
    pub fn path(&self) -> &Path {
        Path::new("")
    }
    /// `None` until the folder belongs to a mesh.
    pub fn head(&self) -> Option<&Head> {
        None
    }
    /// Writes the head in one step: after a power cut it is the old one or the new one.
    pub fn write_head(&mut self, _head: &Head) -> Result<(), Error> {
        Err(Error::Misuse("not written yet".into()))
    }
    /// Fails with [`Error::OtherMesh`] if the folder belongs to another mesh.
    pub fn check_mesh(&self, _mesh: MeshId, _recovery: u32) -> Result<(), Error> {
        Ok(())
    }
    /// The peer's key; `fresh` becomes it if there is none yet.
    pub fn key_or_init(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        Ok(fresh)
    }
    /// Counts this start of the process, on disk; the first is 1.
    pub fn bump_incarnation(&self) -> Result<u64, Error> {
        Ok(1)
    }
    /// Writes a small file for other processes of this machine (`ports.json`), in one step.
    pub fn write_note(&self, _name: &str, _text: &str) -> Result<(), Error> {
        Ok(())
    }
    pub fn remove_note(&self, _name: &str) -> Result<(), Error> {
        Ok(())
    }
}
