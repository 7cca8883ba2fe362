//! `[journal]`: what is kept of what came in.

use super::Limits;
use super::reader::{Reader, Table};
use super::units::span;
use crate::journal;
use std::time::Duration;

/// What is kept of what came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Bytes on disk at most.
    pub max_bytes: usize,
    /// Nothing is kept longer; none leaves it to the size.
    pub max_age: Option<Duration>,
    /// Nothing is taken in while less is free on the file system; none is the lesser of 2 GiB and 5 % of it.
    pub min_free: Option<usize>,
    /// A segment is sealed at this size.
    pub segment_bytes: usize,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { max_bytes: 4 << 30, max_age: None, min_free: None, segment_bytes: 64 << 20 }
    }
}

impl Journal {
    /// What the journal is opened with, but for the free space that depends on the file system.
    pub fn options(&self, limits: &Limits) -> journal::Options {
        journal::Options {
            segment_bytes: self.segment_bytes as u64,
            max_bytes: self.max_bytes as u64,
            max_age: self.max_age.map(span),
            min_free: 0,
            floor_bytes: (self.max_bytes as u64 / 16).max(2 * self.segment_bytes as u64),
            keys: limits.idempotency_keys,
            // Several sources, and what rotation has put aside.
            files: limits.files.saturating_mul(20).max(20_000),
            ..journal::Options::default()
        }
    }
}

impl Reader {
    /// Reads `[journal]`.
    pub(super) fn journal(&mut self, t: &Table<'_>, j: &mut Journal) {
        self.keys(t, "`[journal]`", &["max_bytes", "max_age", "min_free", "segment_bytes"]);
        self.size(t, "segment_bytes", 1 << 20..(1 << 30) + 1, &mut j.segment_bytes);
        self.size(t, "max_bytes", 4 << 20..(1 << 50) + 1, &mut j.max_bytes);
        let (mut age, mut free) = (Duration::ZERO, 0);
        self.time(t, "max_age", &mut age);
        j.max_age = Some(age).filter(|a| !a.is_zero());
        if t.contains_key("min_free") {
            self.size(t, "min_free", 0..(1 << 50) + 1, &mut free);
            j.min_free = Some(free);
        }
    }
}
