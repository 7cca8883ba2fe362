//! Saved state as bytes: a frame that tells damage apart, and the shapes inside it.
//!
//! `MAGIC`, the version (4 bytes, little endian), xxh3-128 of all that follows (16 bytes), then values in postcard's form, one
//! behind the other: [`Head`], and for each rule of it as many bytes as its [`RuleHead`] says. Those bytes are the rule's
//! groups, quiets, storm, waiting metric moves and units, each list as a number and so many values. A reader takes what it
//! wants of the rules and steps over the rest.
//!
//! Nothing saved names a rule, a field or a slot by a number that only one engine gives: rules and fields stand by name, hits
//! by their place in their unit.

use super::copies::Copies;
use super::evidence::Evidence;
use super::hit::{Hit, Pos};
use super::key::Scalar;
use super::stream::Streams;
use super::{Counters, blob};
use crate::event::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"vigildst";
const VERSION: u32 = 1;
const FRAME: usize = MAGIC.len() + 4 + 16;

/// Why saved state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Something else stands there.
    #[error("this is not saved state")]
    Foreign,
    /// Of another version of vigild.
    #[error("saved state has version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// Bytes are wrong or missing.
    #[error("saved state is damaged: its checksum does not fit")]
    Checksum,
    /// The checksum fits, but what is said cannot be.
    #[error("saved state is damaged: {0}")]
    Damaged(&'static str),
}

/// The rules' parts of a saved state: stretches of bytes, one behind the other.
pub type Parts = [Vec<u8>; 2];

/// Saved state, in pieces that follow each other. It is whole when it has been sealed, for which the engine need not stand still.
pub struct Saved {
    /// What goes before the rules' parts, from `begin` on.
    first: Vec<u8>,
    begin: usize,
    parts: Parts,
}

impl Saved {
    /// Begins behind what stands there already. What is appended goes in, see [`Saved::to`].
    pub(crate) fn open(mut first: Vec<u8>) -> Saved {
        let begin = first.len();
        first.extend_from_slice(MAGIC);
        first.extend_from_slice(&VERSION.to_le_bytes());
        first.extend_from_slice(&[0; 16]);
        Saved { first, begin, parts: Parts::default() }
    }

    /// Where values are appended.
    pub(crate) fn to(&mut self) -> &mut Vec<u8> {
        &mut self.first
    }

    /// Appends an engine's state.
    pub(crate) fn add(&mut self, (mut head, parts): (Vec<u8>, Parts)) {
        self.first.append(&mut head);
        self.parts = parts;
    }

    /// The pieces, with the checksum in its place.
    pub fn seal(&mut self) -> [&[u8]; 3] {
        let mut h = xxhash_rust::xxh3::Xxh3::new();
        let body = self.begin + FRAME;
        for piece in [&self.first[body..], &self.parts[0], &self.parts[1]] {
            h.update(piece);
        }
        self.first[body - 16..body].copy_from_slice(&h.digest128().to_le_bytes());
        [&self.first, &self.parts[0], &self.parts[1]]
    }

    /// All of it, sealed.
    pub fn whole(mut self) -> Vec<u8> {
        self.seal().concat()
    }

    /// The room of the parts, for the next state.
    pub fn room(self) -> Parts {
        self.parts.map(|mut p| {
            p.clear();
            p
        })
    }
}

/// Appends a value.
pub(crate) fn put<T: Serialize + ?Sized>(to: &mut Vec<u8>, v: &T) {
    let taken = std::mem::take(to);
    // A vector takes all that comes, and every shape here knows its length.
    *to = postcard::to_extend(v, taken).expect("postcard writes every value to memory");
}

/// Saved state that is being read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks the frame.
    pub fn new(saved: &'a [u8]) -> Result<Reader<'a>, StateError> {
        let (magic, rest) = saved.split_first_chunk::<8>().ok_or(StateError::Foreign)?;
        if magic != MAGIC {
            return Err(StateError::Foreign);
        }
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(StateError::Checksum)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let (sum, rest) = rest.split_first_chunk::<16>().ok_or(StateError::Checksum)?;
        if xxhash_rust::xxh3::xxh3_128(rest) != u128::from_le_bytes(*sum) {
            return Err(StateError::Checksum);
        }
        Ok(Reader(rest))
    }

    /// The next value. No more memory is taken than a small multiple of the bytes it is read from.
    pub fn take<T: Deserialize<'a>>(&mut self) -> Result<T, StateError> {
        let (v, rest) = postcard::take_from_bytes(self.0).map_err(|_| StateError::Damaged("a value cannot be read"))?;
        self.0 = rest;
        Ok(v)
    }

    /// The next so many bytes, to be read apart.
    pub fn part(&mut self, bytes: u64) -> Result<Reader<'a>, StateError> {
        let cut = usize::try_from(bytes).ok().and_then(|n| self.0.split_at_checked(n));
        let (part, rest) = cut.ok_or(StateError::Damaged("a rule's part is cut short"))?;
        self.0 = rest;
        Ok(Reader(part))
    }

    /// Calls `f` for each value of a list.
    pub fn each<T: Deserialize<'a>>(&mut self, mut f: impl FnMut(T) -> Result<(), StateError>) -> Result<(), StateError> {
        for _ in 0..self.take::<u64>()? {
            f(self.take()?)?;
        }
        Ok(())
    }

    /// Nothing is to follow.
    pub fn end(&self) -> Result<(), StateError> {
        if self.0.is_empty() { Ok(()) } else { Err(StateError::Damaged("something follows its end")) }
    }
}

/// What is not of one rule, and which rules follow.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub streams: Streams,
    pub counters: Counters,
    /// By level.
    pub floors: Vec<Option<Pos>>,
    /// By level, what is left in the queue of hits that became final early: where, and before which other of its position.
    pub spent: Vec<Vec<(Pos, u64)>>,
    /// Rule, name, rank.
    pub late: Vec<(u32, u64, u32)>,
    pub rules: Vec<RuleHead>,
}

/// A rule, and what is to be known of its part without reading it.
#[derive(Serialize, Deserialize)]
pub(super) struct RuleHead {
    pub id: Arc<str>,
    pub meaning: [u8; 16],
    /// Names of the fields whose values are kept for its alerts.
    pub kept: Vec<String>,
    /// Its metric and that one's labels.
    pub metric: Option<(String, Vec<String>)>,
    pub evicted: u64,
    /// Waiting matches.
    pub waiting: u64,
    /// What has been told of its alerts and is not final.
    pub open: Vec<[u8; 16]>,
    /// How long its part is.
    pub bytes: u64,
}

/// A unit, see [`super::early`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedUnit<'a> {
    #[serde(with = "blob")]
    pub quiet: Arc<[u8]>,
    pub horizon: Option<Cow<'a, Pos>>,
    /// In order; with the place in the level's queue, which tentative ones do not have.
    pub hits: Vec<(Option<u64>, Cow<'a, Hit>)>,
    pub copies: Option<Cow<'a, Copies>>,
    pub told: Vec<SavedTold<'a>>,
    pub spent: Cow<'a, [[u8; 16]]>,
    /// Something has changed that has not been told.
    pub dirty: bool,
}

/// An alert that has been told and is not final. Its key fields follow from the rule.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedTold<'a> {
    pub id: [u8; 16],
    pub delivery: [u8; 16],
    pub ts: Timestamp,
    #[serde(with = "blob")]
    pub key: Arc<[u8]>,
    /// By the names in [`RuleHead::kept`], the place of each and its values.
    pub carried: Vec<(u32, Cow<'a, [Scalar]>)>,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub evidence: Cow<'a, [Evidence]>,
    pub short: i128,
    pub late: bool,
    /// The place of the completing hit in the unit, if it is there.
    pub hit: Option<u32>,
    /// The tentative hits it made: a rule, a quiet key, and the place in that unit.
    pub children: Vec<(u32, blob::Blob, u32)>,
}
