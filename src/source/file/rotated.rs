//! The names that rotation gives to files: `NAME.1`, `NAME-20261124`, `NAME.20261124-0300`, each also with `.gz` or `.zst`
//! behind it, and `NAME.gz`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A name that rotation has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated<'a> {
    /// The name that the file had while it was written.
    pub base: &'a str,
    /// Rises from older to newer among those of one form.
    pub rank: i64,
}

/// Reads a file name; `None` where rotation has not given it.
pub fn rotated(name: &str) -> Option<Rotated<'_>> {
    let plain = [".gz", ".zst"].iter().find_map(|e| name.strip_suffix(e));
    let stem = plain.unwrap_or(name);
    for (at, _) in stem.match_indices(['.', '-']) {
        let (base, suffix) = (&stem[..at], &stem[at + 1..]);
        if base.is_empty() {
            continue;
        }
        if let Some(n) = number(suffix).filter(|_| stem.as_bytes()[at] == b'.') {
            return Some(Rotated { base, rank: -n });
        }
        if let Some(rank) = date(suffix) {
            return Some(Rotated { base, rank });
        }
    }
    plain.filter(|p| !p.is_empty()).map(|base| Rotated { base, rank: 0 })
}

/// A generation: up to three digits.
fn number(s: &str) -> Option<i64> {
    ((1..=3).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok()).flatten()
}

/// A date with or without dashes, and a time of day behind it; as one number.
fn date(s: &str) -> Option<i64> {
    let digits: String = s.chars().filter(char::is_ascii_digit).collect();
    let dashes = s.as_bytes().get(4) == Some(&b'-');
    let day = if dashes { 10 } else { 8 };
    let is_date = |(i, b): (usize, u8)| if dashes && (i == 4 || i == 7) { b == b'-' } else { b.is_ascii_digit() };
    let is_time = |b: u8| b.is_ascii_digit() || b"-_.:T".contains(&b);
    let (head, tail) = (s.as_bytes().get(..day)?, &s.as_bytes()[day..]);
    let good = head.iter().copied().enumerate().all(is_date) && tail.iter().copied().all(is_time) && (s.starts_with("19") || s.starts_with("20"));
    let fits = good && digits.len() <= 18 && s.ends_with(|c: char| c.is_ascii_digit());
    // Filled up, so that a day stands before its hours.
    fits.then(|| format!("{digits:0<18}").parse().ok()).flatten()
}

/// The name that a file had while it was written: its own, or the one before rotation.
pub fn base(path: &Path) -> &str {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    rotated(name).map_or(name, |r| r.base)
}

/// The rotated files in directories that have been looked at.
pub struct Beside {
    entries: usize,
    dirs: HashMap<PathBuf, HashMap<String, Vec<String>>>,
}

impl Beside {
    /// Nothing yet; no more than so many entries of directories will be looked at.
    pub fn new(entries: usize) -> Beside {
        Beside { entries, dirs: HashMap::new() }
    }

    /// The rotated files beside a file, or beside what a symbolic link of that name leads to, in no order.
    pub fn of(&mut self, path: &Path) -> Vec<PathBuf> {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (Some(dir), Some(name)) = (real.parent(), real.file_name().and_then(|n| n.to_str())) else { return Vec::new() };
        let entries = &mut self.entries;
        let names = self.dirs.entry(dir.to_owned()).or_insert_with(|| {
            let mut all: HashMap<String, Vec<String>> = HashMap::new();
            for n in super::glob::names(dir, entries) {
                if let Some(base) = rotated(&n).map(|r| r.base.to_owned()) {
                    all.entry(base).or_default().push(n);
                }
            }
            all
        });
        names.get(name).into_iter().flatten().map(|n| dir.join(n)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_rotation_are_told_from_others() {
        for (name, base) in [
            ("app.log", None),
            ("app.log.1", Some("app.log")),
            ("app.log.12.gz", Some("app.log")),
            ("app.log.1.zst", Some("app.log")),
            ("app.log.gz", Some("app.log")),
            ("app.log-20261124", Some("app.log")),
            ("app.log-20261124.gz", Some("app.log")),
            ("app.log-2026-11-24", Some("app.log")),
            ("app.log-20261124-1764000000", Some("app.log")),
            ("app.log-20261124-030000", Some("app.log")),
            ("0.log.20261124-030000.gz", Some("0.log")),
            ("eve.json.1", Some("eve.json")),
            ("web-1", None),
            ("host.1234", None),
            ("192.0.2.1", Some("192.0.2")),
            ("app.1.log", None),
            ("app-20261124.log", None),
            (".1", None),
            (".gz", None),
            ("é.1", Some("é")),
            ("a-2026-1", None),
        ] {
            assert_eq!(rotated(name).map(|r| r.base), base, "{name}");
        }
        let rank = |n| rotated(n).map(|r| r.rank);
        assert!(rank("a.2") < rank("a.1") && rank("a-20261123") < rank("a-20261123-0300") && rank("a-20261123-0300") < rank("a-20261124.gz"));
    }
}
