//! `backup.json`: what a backup is of, and every file of it with its length and its checksum.
//!
//! One line of JSON, and one with the checksum of the first.

use super::copy::Sum;
use super::{BackupError, FOLDERS, STORE, at};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The file's name.
pub const FILE: &str = "backup.json";
/// The version of the format.
pub const VERSION: u32 = 1;
/// It is never longer.
const MAX: u64 = 256 << 20;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The version of the program.
    pub program: String,
    /// When it was begun, in UTC.
    pub made: String,
    /// The first entry of the journal in it.
    pub first_lsn: u64,
    /// An entry that is in it with all before it; there may be a few behind it.
    pub last_lsn: u64,
    /// Files by their path, each with its length and its checksum (BLAKE3, hexadecimal).
    pub files: BTreeMap<String, Sum>,
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|f| f.0).sum()
    }

    /// Puts it into a folder, durable with all that the folder has.
    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let json = serde_json::to_string(self).map_err(io::Error::other).map_err(at(dir))?;
        let text = format!("{json}\n{}\n", blake3::hash(json.as_bytes()).to_hex());
        let (new, path) = (dir.join(format!("{FILE}.new")), dir.join(FILE));
        super::copy::write_new(&new, &mut text.as_bytes(), &|| Ok(())).map_err(at(&new))?;
        fs::rename(&new, &path).map_err(at(&path))?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(at(dir))
    }

    /// Reads that of a backup.
    pub fn read(dir: &Path) -> Result<Manifest, BackupError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let path = dir.join(FILE);
        let damaged = |why: &str| BackupError::Damaged(format!("{FILE} {why}"));
        match fs::metadata(&path) {
            Ok(m) if m.len() > MAX => return Err(damaged("is too long")),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(BackupError::Unfinished(dir.to_owned())),
            Err(e) => return Err(at(&path)(e)),
        }
        let bytes = fs::read(&path).map_err(at(&path))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("is not what was written"))?;
        let (json, sum) = text.strip_suffix('\n').and_then(|t| t.split_once('\n')).ok_or_else(|| damaged("is not whole"))?;
        if blake3::hash(json.as_bytes()).to_hex().as_str() != sum {
            return Err(damaged("is not what was written"));
        }
        let version = serde_json::from_str::<Version>(json).map_err(|_| damaged("is none"))?.format;
        if version > VERSION {
            return Err(BackupError::Later(version));
        }
        let m: Manifest = serde_json::from_str(json).map_err(|e| damaged(&format!("cannot be read: {e}")))?;
        match m.files.keys().find(|n| !is_ours(n)) {
            Some(n) => Err(damaged(&format!("names `{}`, which is no file of a data directory", n.escape_default()))),
            None => Ok(m),
        }
    }
}

/// Whether a path leads to a place where a data directory has a file, and nowhere else.
fn is_ours(path: &str) -> bool {
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !s.starts_with('.');
    let parts: Vec<&str> = path.split('/').collect();
    let placed = match parts[..] {
        [one] => one == STORE,
        [folder, .., _] => FOLDERS.iter().any(|(name, depth)| *name == folder && parts.len() <= 2 + depth),
        [] => false,
    };
    placed && parts.iter().all(|p| plain(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_data_directory_are_named() {
        for path in ["store.redb", "journal/identity", "index/floor", "index/1-2/a.idx", "bundles/0f.json"] {
            assert!(is_ours(path), "{path}");
        }
        for path in [
            "",
            "x",
            "/etc/passwd",
            "../x",
            "journal/../x",
            "journal/..",
            "journal/a/b",
            "journal/",
            "index/a/b/c",
            "journal//x",
            "index/.x",
            "journal",
        ] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
