//! Secrets: the configuration says where one is kept, never what it is.
//!
//! A secret is read when what needs it opens, kept in memory that is wiped when it is dropped, and printed by nothing.

use super::{Reader, Table, Value};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The longest secret.
const LONGEST: usize = 64 << 10;

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// In a file.
    File(PathBuf),
    /// Among the credentials that systemd hands to the service (`LoadCredential=`).
    Credential(String),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable.
    #[error("the variable `{0}` of the environment is not set")]
    Env(String),
    /// systemd has handed over none.
    #[error("there are no credentials: `CREDENTIALS_DIRECTORY` is not set, so put `LoadCredential={0}:…` into the unit")]
    NoCredentials(String),
    /// The file cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing in it, or too much.
    #[error("the secret in {0} must have 1 to {LONGEST} bytes")]
    Length(String),
}

/// A secret in memory.
pub struct Revealed(Zeroizing<Vec<u8>>);

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed(…)")
    }
}

impl Revealed {
    /// Its bytes, without a newline behind them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is this; how long that takes says nothing about where they differ.
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl Secret {
    /// Reads it.
    #[allow(clippy::disallowed_methods)]
    pub fn read(&self) -> Result<Revealed, SecretError> {
        match self {
            Secret::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Env(name.clone()))?;
                trim(Zeroizing::new(value.into_encoded_bytes()), || format!("the variable `{name}`"))
            }
            Secret::File(path) => file(path.clone()),
            Secret::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(dir) => file(PathBuf::from(dir).join(name)),
                None => Err(SecretError::NoCredentials(name.clone())),
            },
        }
    }
}

fn file(path: PathBuf) -> Result<Revealed, SecretError> {
    // It never grows, which would leave a copy behind.
    let mut bytes = Zeroizing::new(vec![0; LONGEST + 3]);
    match read(&path, &mut bytes) {
        Ok((n, open)) => {
            bytes.truncate(n);
            if open {
                tracing::warn!(file = %path.display(), "everybody can read this secret: chmod o-r");
            }
        }
        Err(source) => return Err(SecretError::Io { path, source }),
    }
    trim(bytes, || path.display().to_string())
}

/// Fills a buffer from a file: how far it is full, and whether everybody can read the file.
fn read(path: &Path, to: &mut [u8]) -> std::io::Result<(usize, bool)> {
    let mut file = File::open(path)?;
    let open = file.metadata()?.permissions().mode() & 0o004 != 0;
    let mut n = 0;
    while n < to.len() {
        match file.read(&mut to[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok((n, open))
}

fn trim(mut bytes: Zeroizing<Vec<u8>>, place: impl Fn() -> String) -> Result<Revealed, SecretError> {
    let end = bytes.iter().rev().take_while(|b| matches!(b, b'\n' | b'\r')).count();
    let n = bytes.len() - end;
    bytes.truncate(n);
    if (1..=LONGEST).contains(&n) { Ok(Revealed(bytes)) } else { Err(SecretError::Length(place())) }
}

const WAYS: &str = "{ env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";

impl Reader {
    /// A secret under a key; `None` with a complaint where it is not said where it is kept.
    pub(super) fn secret(&mut self, t: &Table<'_>, key: &str) -> Option<Secret> {
        let v: &Value<'_> = t.get(key)?;
        if v.get_ref().as_str().is_some() {
            let help = format!("say where it is kept: `{key} =` {WAYS}");
            self.say("V010", v.span(), format!("`{key}` is a secret, and what stands in a configuration is read by many"), "not here", Some(help));
            return None;
        }
        let Some(inner) = v.get_ref().as_table() else {
            self.wrong(v, key, WAYS);
            return None;
        };
        self.keys(inner, &format!("`{key}`"), &["env", "file", "credential"]);
        let name = |s: &str| (!s.is_empty() && !s.contains(['=', '\0', '/'])).then(|| s.to_owned());
        let mut found = Vec::new();
        found.extend(self.read_at(inner, "env", "the name of a variable", name).map(Secret::Env));
        found.extend(self.read_at(inner, "file", "a path", |s| (!s.is_empty()).then(|| PathBuf::from(s))).map(Secret::File));
        found.extend(
            self.read_at(inner, "credential", "the name of a credential", |s| name(s).filter(|s| s != ".." && s != ".")).map(Secret::Credential),
        );
        if inner.len() != 1 {
            self.say("V004", v.span(), format!("`{key}` must name one place: {WAYS}"), "not one place", None);
            return None;
        }
        found.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_holds_a_secret_without_its_newline() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        let read = |text: &[u8]| {
            fs::write(&path, text).expect("written");
            Secret::File(path.clone()).read().map(|r| r.bytes().to_vec()).map_err(|e| e.to_string())
        };
        assert_eq!(read(b" s3cret \r\n\n"), Ok(b" s3cret ".to_vec()));
        assert_eq!(read(&[b'x'; LONGEST]).map(|s| s.len()), Ok(LONGEST));
        for bad in [&b""[..], b"\n\n", &[b'x'; LONGEST + 1], &[b'x'; LONGEST + 100]] {
            assert!(read(bad).is_err_and(|e| e.contains("secret in") && e.contains("1 to 65536")), "{}", bad.len());
        }
        fs::remove_file(&path).expect("it is there");
        assert!(Secret::File(path.clone()).read().is_err_and(|e| e.to_string().contains(&path.display().to_string())));
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_there_is_not_printed() {
        assert!(Secret::Env("VIGILD_NO_SUCH_VARIABLE".into()).read().is_err_and(|e| e.to_string().contains("VIGILD_NO_SUCH_VARIABLE")));
        assert!(Secret::Credential("hook".into()).read().is_err_and(|e| e.to_string().contains("LoadCredential=hook")));
        let revealed = trim(Zeroizing::new(b"s3cret".to_vec()), String::new).expect("long enough");
        assert!(revealed.is(b"s3cret") && !revealed.is(b"s3cre") && !revealed.is(b""));
        assert!(!format!("{revealed:?}").contains("s3cret"));
    }
}
