//! `slice.json`: what a slice covers, what it is made of, and the checksums that its files must have.

use super::folder::{self, Sum};
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// The file's name.
pub(super) const FILE: &str = "slice.json";
/// The version of the format: of the terms, of the files beside Tantivy's, and of what their content means.
pub const VERSION: u32 = 2;
/// A manifest is never longer.
const MAX: u64 = 16 << 20;

/// Why a slice cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A later version of this program wrote it.
    #[error("the slice is of format {0}, this program reads up to format {VERSION}")]
    Later(u32),
    /// An earlier version wrote it.
    #[error("the slice is of format {0}, this program reads format {VERSION}")]
    Earlier(u32),
    /// Not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The disk.
    #[error("the slice cannot be read")]
    Io(#[from] io::Error),
}

fn damaged(what: impl std::fmt::Display) -> SliceError {
    SliceError::Damaged(what.to_string())
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The version of the program.
    pub program: String,
    /// The journal's identity.
    pub journal: u64,
    /// The first entry that is covered.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The first record that is covered, and the one behind the last.
    pub seqs: (u64, u64),
    /// Documents; fewer than records only where the journal was damaged.
    pub docs: u32,
    /// The least time of a document.
    pub oldest: Timestamp,
    /// The greatest.
    pub newest: Timestamp,
    /// Fields whose values are terms.
    pub fields: BTreeSet<String>,
    /// Words that are not all indexed.
    pub common: BTreeSet<String>,
    /// The bundles of rules and formats under which its records were read: from which entry on, and its hash.
    bundles: Vec<(u64, String)>,
    /// Every other file.
    files: BTreeMap<String, (u64, String)>,
    /// Hash of this file with nothing in this place. It is the last in every version, so that a version is only believed if it is
    /// what was written.
    check: String,
}

/// A hash as it is written here.
fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// What stands behind the checksum.
const END: &[u8] = b"\"}";

/// Whether the checksum fits the rest of the file.
fn is_whole(text: &[u8]) -> bool {
    let Some((rest, check)) = text.strip_suffix(END).and_then(|t| t.split_last_chunk::<32>()) else { return false };
    hex(xxhash_rust::xxh3::xxh3_128(&[rest, END].concat())).as_bytes() == check
}

impl Manifest {
    /// Of a slice that covers these entries, still without documents and files.
    pub(super) fn new(journal: u64, first: u64, last: u64) -> Manifest {
        Manifest {
            format: VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            journal,
            first,
            last,
            seqs: (0, 0),
            docs: 0,
            oldest: Timestamp::MAX,
            newest: Timestamp::MIN,
            fields: BTreeSet::new(),
            common: BTreeSet::new(),
            bundles: Vec::new(),
            files: BTreeMap::new(),
            check: String::new(),
        }
    }

    /// What it says of its content, for a slice that holds more; by this version of the program.
    pub(super) fn content(&self) -> Manifest {
        Manifest { program: env!("CARGO_PKG_VERSION").into(), files: BTreeMap::new(), check: String::new(), ..self.clone() }
    }

    /// From this entry on records were read under this bundle.
    pub(super) fn under(&mut self, lsn: u64, bundle: &[u8; 32]) {
        let name = blake3::Hash::from(*bundle).to_hex().to_string();
        if self.bundles.last().is_none_or(|b| b.1 != name) {
            self.bundles.push((lsn, name));
        }
    }

    /// The bundles under which its records were read, each from an entry on.
    pub fn bundles(&self) -> impl Iterator<Item = (u64, [u8; 32])> {
        self.bundles.iter().filter_map(|(lsn, name)| Some((*lsn, blake3::Hash::from_hex(name).ok()?.into())))
    }

    /// The file's bytes, which name these files.
    pub(super) fn seal(&mut self, files: BTreeMap<String, Sum>) -> io::Result<Vec<u8>> {
        self.files = files.into_iter().map(|(name, (len, hash))| (name, (len, hex(hash)))).collect();
        self.text()
    }

    /// The file's bytes.
    pub(super) fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(&Manifest { check: String::new(), ..self.clone() })?;
        let check = hex(xxhash_rust::xxh3::xxh3_128(&text));
        text.truncate(text.len() - END.len());
        text.extend_from_slice(check.as_bytes());
        text.extend_from_slice(END);
        Ok(text)
    }

    /// Reads the manifest of the slice in a folder, which must cover what the folder's name says, of this journal.
    pub(super) fn read(dir: &Path, journal: u64) -> Result<Manifest, SliceError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = dir.join(FILE);
        match fs::metadata(&path) {
            Ok(m) if m.len() > MAX => return Err(damaged("its description is too long")),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged("it has no description")),
            Err(e) => return Err(e.into()),
        }
        let bytes = fs::read(&path)?;
        if !is_whole(&bytes) {
            return Err(damaged("its description is damaged"));
        }
        let version = serde_json::from_slice::<Version>(&bytes).map_err(|e| damaged(format!("its description is damaged: {e}")))?.format;
        if version > VERSION {
            return Err(SliceError::Later(version));
        }
        if version < VERSION {
            return Err(SliceError::Earlier(version));
        }
        let m: Manifest = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("its description is damaged: {e}")))?;
        if m.journal != journal {
            return Err(damaged("it belongs to another journal"));
        }
        let named = dir.file_name().and_then(|n| folder::lsns(n.to_str()?));
        if named != Some(m.first..=m.last) {
            return Err(damaged("its name is another's"));
        }
        Ok(m)
    }

    /// Reads every file and compares it with what was written.
    pub(super) fn verify(&self, dir: &Path) -> Result<(), SliceError> {
        for (name, (len, hash)) in &self.files {
            match folder::sum(&dir.join(name)) {
                Ok((l, h)) if l == *len && hex(h) == *hash => {}
                Ok(_) => return Err(damaged(format!("{name} is damaged"))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(format!("{name} is missing"))),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|f| f.0).sum()
    }
}
