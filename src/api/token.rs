//! The administrator's token: made at the first start, kept in the data directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file in the data directory.
pub const FILE: &str = "admin.token";
/// Shorter ones could be guessed.
const LEAST: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no token.
    #[error("{} holds no token of at least {LEAST} letters; remove it, and the next start writes another", path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the token of a data directory, or makes both: 32 random bytes in hex, readable by the owner alone.
pub fn open(data: &Path) -> Result<String, TokenError> {
    let path = data.join(FILE);
    let io = |source| TokenError::Io { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let token = text.trim().to_owned();
            if token.len() < LEAST {
                return Err(TokenError::Short { path });
            }
            if std::fs::metadata(&path).map_err(io)?.permissions().mode() & 0o077 != 0 {
                tracing::warn!(file = %path.display(), "others can read the administrator's token: chmod 600");
            }
            Ok(token)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => make(data, &path).map_err(io),
        Err(e) => Err(io(e)),
    }
}

fn make(data: &Path, path: &Path) -> io::Result<String> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let mut bytes = [0u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    // Written beside and renamed: a crash in between leaves no half a token.
    let new = path.with_extension("new");
    let mut f = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    f.write_all(format!("{token}\n").as_bytes())?;
    f.sync_all()?;
    std::fs::rename(&new, path)?;
    tracing::info!(file = %path.display(), "wrote the administrator's token");
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_token_and_the_next_reads_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("state/vigild");
        let token = open(&data).expect("made");
        assert_eq!((token.len(), open(&data).expect("read")), (64, token.clone()));
        assert_eq!(std::fs::metadata(data.join(FILE)).expect("there").permissions().mode() & 0o777, 0o600);
        let other = open(&dir.path().join("other")).expect("made");
        assert_ne!(token, other);
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(FILE), "\n").expect("written");
        assert!(matches!(open(dir.path()), Err(TokenError::Short { .. })));
    }
}
