//! States of the engine and the bundles they belong to, in the data directory.
//!
//! `snapshots/<entry>.state` is the state as of an entry of the journal; the newest two are kept, so that one that cannot be
//! read costs a longer replay and no more. `bundles/<hash>.json` is what was in force. Files are written beside their
//! place, made durable and renamed.

use super::bundle::Bundle;
use crate::disk::Disk;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"VIGILDS1";
/// Magic, entry, hash of the bundle, length of the state, checksum.
const HEAD: usize = 8 + 8 + 32 + 8 + 8;
/// So many states are kept.
const KEPT: usize = 2;
/// A state is never longer.
const MAX_STATE: u64 = 4 << 30;

/// The engine's state as of an entry.
pub struct Snapshot {
    /// The last entry in it.
    pub lsn: u64,
    /// The bundle that was in force.
    pub load: [u8; 32],
    /// The state.
    pub state: Vec<u8>,
}

/// See the module.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
    states: PathBuf,
    bundles: PathBuf,
    /// The journal's, to which the states belong.
    seed: u64,
}

impl Snapshots {
    /// Opens or makes the folders in a data directory; `seed` is the journal's.
    pub fn open(disk: Arc<dyn Disk>, data: &Path, seed: u64) -> io::Result<Snapshots> {
        let s = Snapshots { disk, states: data.join("snapshots"), bundles: data.join("bundles"), seed };
        for dir in [&s.states, &s.bundles] {
            s.disk.create_dir(dir)?;
            for name in s.disk.list(dir)?.into_iter().filter(|n| n.ends_with(".new")) {
                s.disk.remove(&dir.join(name))?;
            }
        }
        Ok(s)
    }

    /// The entries of which there is a state, the newest first.
    pub fn list(&self) -> io::Result<Vec<u64>> {
        let names = self.disk.list(&self.states)?;
        let mut all: Vec<u64> = names.iter().filter_map(|n| n.strip_suffix(".state")?.parse().ok()).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        Ok(all)
    }

    /// Saves a state and lets go of older ones; the entry of the oldest that is kept, if there are as many as are to be kept.
    pub fn write(&self, s: &Snapshot) -> io::Result<Option<u64>> {
        let packed = zstd::bulk::compress(&s.state, 1)?;
        let mut bytes = Vec::with_capacity(HEAD + packed.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&s.lsn.to_le_bytes());
        bytes.extend_from_slice(&s.load);
        bytes.extend_from_slice(&(s.state.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&checksum(self.seed, &bytes, &packed).to_le_bytes());
        bytes.extend_from_slice(&packed);
        self.put(&self.states, &format!("{:020}.state", s.lsn), &bytes)?;
        let all = self.list()?;
        for lsn in all.iter().skip(KEPT) {
            self.disk.remove(&self.states.join(format!("{lsn:020}.state")))?;
        }
        Ok(all.get(KEPT - 1).copied())
    }

    /// Reads the state as of an entry. An error tells why it cannot be used.
    pub fn read(&self, lsn: u64) -> Result<Snapshot, String> {
        let bytes = self.get(&self.states.join(format!("{lsn:020}.state"))).map_err(|e| e.to_string())?;
        let Some((head, packed)) = bytes.split_at_checked(HEAD) else { return Err("it is too short".into()) };
        if !head.starts_with(MAGIC) {
            return Err("it is no state, or one of another version".into());
        }
        let word = |at: usize| head[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        if word(HEAD - 8) != checksum(self.seed, &head[..HEAD - 8], packed) || word(8) != lsn || word(48) > MAX_STATE {
            return Err("its checksum is wrong, or it belongs to another journal".into());
        }
        let mut load = [0; 32];
        load.copy_from_slice(&head[16..48]);
        let state = zstd::bulk::decompress(packed, word(48) as usize).map_err(|e| e.to_string())?;
        Ok(Snapshot { lsn, load, state })
    }

    /// Lets go of a state that cannot be used: it must not be counted among those that are kept.
    pub fn remove(&self, lsn: u64) -> io::Result<()> {
        self.disk.remove(&self.states.join(format!("{lsn:020}.state")))?;
        self.disk.sync_dir(&self.states)
    }

    /// Keeps a bundle under its hash.
    pub fn put_bundle(&self, b: &Bundle) -> io::Result<()> {
        let name = format!("{}.json", blake3::Hash::from(b.hash()).to_hex());
        let names = self.disk.list(&self.bundles)?;
        if names.contains(&name) && self.bundle(&b.hash()).is_ok() {
            return Ok(());
        }
        self.put(&self.bundles, &name, &b.bytes())
    }

    /// The bundle of that hash.
    pub fn bundle(&self, hash: &[u8; 32]) -> Result<Bundle, String> {
        let name = format!("{}.json", blake3::Hash::from(*hash).to_hex());
        let bytes = self.get(&self.bundles.join(name)).map_err(|e| e.to_string())?;
        if blake3::hash(&bytes).as_bytes() != hash {
            return Err("its content is not what its name says".into());
        }
        Bundle::of_bytes(&bytes)
    }

    fn put(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, new) = (dir.join(name), dir.join(format!("{name}.new")));
        if self.disk.list(dir)?.contains(&format!("{name}.new")) {
            self.disk.remove(&new)?;
        }
        let f = self.disk.create(&new)?;
        let placed = f.write_all_at(bytes, 0).and_then(|()| f.sync_data()).and_then(|()| self.disk.rename(&new, &path));
        if placed.is_err() {
            // Half a file only takes room on a disk that may be full.
            let _ = self.disk.remove(&new);
        }
        placed?;
        self.disk.sync_dir(dir)
    }

    fn get(&self, path: &Path) -> io::Result<Vec<u8>> {
        let f = self.disk.open(path)?;
        let len = f.len()?.min(MAX_STATE);
        let mut bytes = vec![0; len as usize];
        let mut at = 0;
        while at < bytes.len() {
            match f.read_at(&mut bytes[at..], at as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => at += n,
            }
        }
        Ok(bytes)
    }
}

fn checksum(seed: u64, head: &[u8], packed: &[u8]) -> u64 {
    let mut h = xxhash_rust::xxh3::Xxh3::with_seed(seed);
    h.update(head);
    h.update(packed);
    h.digest()
}
