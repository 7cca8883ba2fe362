//! `sets.bin`: for each indexed field the documents that have it, those whose values are not all indexed, and those with a value that
//! is among the signatures alone; the documents whose words are not all indexed; and the least and greatest time of each block of
//! documents.

use super::folder::Folder;
use crate::event::Timestamp;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file's name.
const FILE: &str = "sets.bin";
/// So many documents make a block.
pub(super) const BLOCK: u32 = 4096;

/// Which set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Set {
    /// Documents with a value of the field.
    Having(String),
    /// Documents with a value of the field that is not indexed.
    Unsure(String),
    /// Documents with a value of the field that is among the signatures alone.
    Rare(String),
    /// Documents whose words are not all indexed.
    Wordy,
}

/// What the file begins with, behind its own length.
#[derive(Default, Serialize, Deserialize)]
struct Table {
    /// Offset behind the table, and length.
    sets: BTreeMap<Set, (u64, u64)>,
    blocks: Vec<(i64, i64)>,
}

/// Writes the file.
pub(super) fn write(to: &Folder, sets: &BTreeMap<Set, RoaringBitmap>, blocks: &[(i64, i64)]) -> io::Result<()> {
    let (mut table, mut body) = (Table { sets: BTreeMap::new(), blocks: blocks.to_vec() }, Vec::new());
    for (name, set) in sets.iter().filter(|s| !s.1.is_empty()) {
        let at = body.len() as u64;
        set.serialize_into(&mut body)?;
        table.sets.insert(name.clone(), (at, body.len() as u64 - at));
    }
    let table = postcard::to_stdvec(&table).map_err(io::Error::other)?;
    let mut bytes = (table.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(&table);
    bytes.extend_from_slice(&body);
    to.put(FILE, &bytes)
}

/// The file, open.
pub(super) struct Sets {
    file: File,
    from: u64,
    table: Table,
}

impl Sets {
    /// Of a slice whose files have been verified.
    pub fn open(dir: &Path) -> io::Result<Sets> {
        let file = File::open(dir.join(FILE))?;
        let mut len = [0; 8];
        file.read_exact_at(&mut len, 0)?;
        let len = u64::from_le_bytes(len);
        let mut table = vec![0; usize::try_from(len.min(file.metadata()?.len())).unwrap_or(0)];
        file.read_exact_at(&mut table, 8)?;
        let table = postcard::from_bytes(&table).map_err(io::Error::other)?;
        Ok(Sets { file, from: 8 + len, table })
    }

    /// One of the sets.
    pub fn get(&self, s: &Set) -> io::Result<RoaringBitmap> {
        let Some(&(at, len)) = self.table.sets.get(s) else { return Ok(RoaringBitmap::new()) };
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.from + at)?;
        RoaringBitmap::deserialize_from(&bytes[..])
    }

    /// All sets that are not empty.
    pub fn names(&self) -> impl Iterator<Item = &Set> {
        self.table.sets.keys()
    }

    /// Least and greatest time of each block of [`BLOCK`] documents.
    pub fn blocks(&self) -> &[(i64, i64)] {
        &self.table.blocks
    }
}

/// The least and greatest times of blocks, while documents come.
#[derive(Default)]
pub(super) struct Blocks {
    pub all: Vec<(i64, i64)>,
    docs: u32,
}

impl Blocks {
    /// A document comes.
    pub fn add(&mut self, t: Timestamp) {
        match self.all.last_mut().filter(|_| !self.docs.is_multiple_of(BLOCK)) {
            Some(b) => *b = (b.0.min(t.0), b.1.max(t.0)),
            None => self.all.push((t.0, t.0)),
        }
        self.docs += 1;
    }
}
