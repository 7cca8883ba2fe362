//! `signatures.bin`: words and values that come seldom, as a bit-sliced signature file.
//!
//! Neighbouring documents make a chunk once they have so many keys (hashes of words and values). Each chunk has a Bloom filter, and
//! the filters of a group of chunks lie side by side: a row holds one bit of each. A key is looked for by a few rows of each group.
//! It names too many chunks now and then, never too few. Keys behind the last chunk are kept as they are, so that slices of few
//! documents are small, and become chunks when slices are merged. (Goodwin and others, BitFunnel, SIGIR 2017, for the layout; Kirsch
//! and Mitzenmacher, 2006, for making all hashes of two.)

use super::folder::Folder;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use tantivy::Directory;
use tantivy::directory::{MmapDirectory, OwnedBytes};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The file's name.
const FILE: &str = "signatures.bin";
/// A chunk ends with the document with which it has so many keys.
const KEYS: usize = 2048;
/// Rows of a group: with 20 bits a key and this many probes one chunk in 14 000 is named for nothing.
const ROWS: usize = 20 * KEYS;
/// Bits of a key.
const PROBES: u32 = 12;
/// Chunks of a group: bits of a row.
const CHUNKS: usize = 64;

/// The key of a word.
pub(super) fn word(lower: &[u8]) -> u64 {
    xxh3_64_with_seed(lower, 1)
}

/// The key of a text in lower case, as a value of a field whose terms begin with `prefix`.
pub(super) fn value(prefix: &[u8], lower: &[u8]) -> u64 {
    xxh3_64_with_seed(lower, xxh3_64_with_seed(prefix, 2))
}

/// The rows in which a key has its bits.
fn rows(key: u64) -> impl Iterator<Item = usize> {
    let (at, step) = (key as u32, (key >> 32) as u32 | 1);
    (0..PROBES).map(move |i| ((u64::from(at.wrapping_add(i.wrapping_mul(step))) * ROWS as u64) >> 32) as usize)
}

/// Bytes of a row of so many chunks.
fn width(chunks: usize) -> usize {
    chunks.div_ceil(8).next_power_of_two()
}

struct Group {
    /// The document behind each chunk.
    ends: Vec<u32>,
    rows: Vec<u64>,
}

/// The signatures of a slice that is being made.
#[derive(Default)]
pub(super) struct Builder {
    groups: Vec<Group>,
    /// Keys of documents behind the last chunk.
    tail: Vec<u64>,
}

impl Builder {
    /// The document that is being added has this key.
    pub fn add(&mut self, key: u64) {
        self.tail.push(key);
    }

    /// A document has been added: that makes so many.
    pub fn end(&mut self, docs: u32) {
        if self.tail.len() >= KEYS {
            self.chunk(docs);
        }
    }

    /// What it takes.
    pub fn memory(&self) -> usize {
        self.groups.len() * ROWS * 8 + self.tail.len() * 8
    }

    /// Makes a chunk of the tail, before the document `end`.
    fn chunk(&mut self, end: u32) {
        let (group, i) = self.room();
        group.ends.push(end);
        let keys = std::mem::take(&mut self.tail);
        if let Some(g) = self.groups.last_mut() {
            for r in keys.iter().flat_map(|k| rows(*k)) {
                if let Some(row) = g.rows.get_mut(r) {
                    *row |= 1 << i;
                }
            }
        }
        self.tail = keys;
        self.tail.clear();
    }

    /// A group in which there is room, and the number of chunks that it has.
    fn room(&mut self) -> (&mut Group, usize) {
        if self.groups.last().is_none_or(|g| g.ends.len() == CHUNKS) {
            self.groups.push(Group { ends: Vec::new(), rows: vec![0; ROWS] });
        }
        let last = self.groups.len() - 1;
        let g = &mut self.groups[last];
        let n = g.ends.len();
        (g, n)
    }

    /// Adds all of another slice, whose first document has the number `base` here.
    pub fn append(&mut self, other: &Signatures, base: u32) {
        if !other.head.groups.is_empty() && !self.tail.is_empty() {
            self.chunk(base);
        }
        for g in &other.head.groups {
            let mut done = 0;
            while done < g.ends.len() {
                let (to, at) = self.room();
                let n = (CHUNKS - at).min(g.ends.len() - done);
                to.ends.extend(g.ends.iter().skip(done).take(n).map(|e| e + base));
                let mask = if n == CHUNKS { u64::MAX } else { (1 << n) - 1 };
                for (r, row) in to.rows.iter_mut().enumerate() {
                    *row |= (other.row(g, r) >> done & mask) << at;
                }
                done += n;
            }
        }
        self.tail.extend_from_slice(&other.head.tail);
        self.end(base + other.head.docs);
    }

    /// Writes the file of so many documents.
    pub fn write(mut self, to: &Folder, docs: u32) -> io::Result<()> {
        self.tail.sort_unstable();
        self.tail.dedup();
        let mut head = Head { docs, groups: Vec::new(), tail: self.tail };
        let mut at = 0;
        for g in &self.groups {
            head.groups.push(Place { ends: g.ends.clone(), at });
            at += (width(g.ends.len()) * ROWS) as u64;
        }
        let head = postcard::to_stdvec(&head).map_err(io::Error::other)?;
        to.stream(FILE, |to| {
            to.write_all(&(head.len() as u64).to_le_bytes())?;
            to.write_all(&head)?;
            for g in &self.groups {
                let width = width(g.ends.len());
                g.rows.iter().try_for_each(|r| to.write_all(&r.to_le_bytes()[..width]))?;
            }
            Ok(())
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    docs: u32,
    groups: Vec<Place>,
    tail: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    ends: Vec<u32>,
    at: u64,
}

/// The file, open.
pub(super) struct Signatures {
    head: Head,
    body: OwnedBytes,
}

impl Signatures {
    /// Of a slice whose files have been verified.
    pub fn open(dir: &Path) -> io::Result<Signatures> {
        let file = MmapDirectory::open(dir).map_err(io::Error::other)?.open_read(Path::new(FILE)).map_err(io::Error::other)?;
        let mut body = file.read_bytes()?;
        let short = || io::Error::other(format!("{FILE} is too short"));
        let len = body.split_first_chunk::<8>().map(|b| u64::from_le_bytes(*b.0)).ok_or_else(short)?;
        let head = usize::try_from(len).ok().and_then(|n| body.get(8..8usize.checked_add(n)?)).ok_or_else(short)?;
        let (used, head) = (8 + head.len(), postcard::from_bytes::<Head>(head).map_err(io::Error::other)?);
        body.advance(used);
        Ok(Signatures { head, body })
    }

    fn row(&self, g: &Place, r: usize) -> u64 {
        let width = width(g.ends.len());
        let from = g.at as usize + r * width;
        let mut row = [0; 8];
        if let (Some(b), Some(to)) = (self.body.get(from..from + width), row.get_mut(..width)) {
            to.copy_from_slice(b);
        }
        u64::from_le_bytes(row)
    }

    /// Documents that may have this key; no others have it.
    pub fn may(&self, key: u64) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        let mut from = 0;
        for g in &self.head.groups {
            let mut chunks = u64::MAX;
            for r in rows(key) {
                chunks &= self.row(g, r);
                if chunks == 0 {
                    break;
                }
            }
            for (i, end) in g.ends.iter().enumerate() {
                if chunks >> i & 1 == 1 {
                    all.insert_range(from..*end);
                }
                from = *end;
            }
        }
        if self.head.tail.binary_search(&key).is_ok() {
            all.insert_range(from..self.head.docs);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Documents of a few keys, now and then of many; `[first, last)`.
    fn keys(doc: u32) -> Vec<u64> {
        let n = if doc % 97 == 5 { 3000 } else { doc % 9 };
        (0..n).map(|i| word(format!("{doc} {i}").as_bytes())).collect()
    }

    fn write(dir: &Path, docs: std::ops::Range<u32>) -> Signatures {
        let folder = Folder::new(dir.to_owned(), Arc::default()).expect("a folder");
        let mut b = Builder::default();
        for (i, doc) in docs.clone().enumerate() {
            keys(doc).into_iter().for_each(|k| b.add(k));
            b.end(i as u32 + 1);
        }
        b.write(&folder, docs.len() as u32).expect("written");
        Signatures::open(dir).expect("open")
    }

    /// Each key is found where it is, and elsewhere in few documents.
    fn check(s: &Signatures, docs: u32, first: u32) {
        for doc in 0..docs {
            for k in keys(first + doc).into_iter().step_by(37) {
                assert!(s.may(k).contains(doc), "{doc}");
            }
        }
        let none = (0..500u32).map(|n| s.may(word(format!("none {n}").as_bytes())).len()).sum::<u64>();
        assert!(none < 500 * u64::from(docs) / 100, "{none} of {docs}");
    }

    #[test]
    fn keys_are_found_in_slices_and_in_what_is_made_of_them() {
        let t = tempfile::tempdir().expect("a folder");
        let ends = [0, 3, 10_000, 10_100, 10_101, 21_000, 21_200, 60_000];
        let parts: Vec<(u32, Signatures)> = ends.windows(2).map(|w| (w[1] - w[0], write(&t.path().join(w[0].to_string()), w[0]..w[1]))).collect();
        let mut all = Builder::default();
        for (w, (docs, s)) in ends.windows(2).zip(&parts) {
            check(s, *docs, w[0]);
            all.append(s, w[0]);
        }
        let dir = t.path().join("all");
        let folder = Folder::new(dir.clone(), Arc::default()).expect("a folder");
        all.write(&folder, 60_000).expect("written");
        let all = Signatures::open(&dir).expect("open");
        check(&all, 60_000, 0);
        assert!(all.head.groups.len() > 4, "{}", all.head.groups.len());
    }
}
