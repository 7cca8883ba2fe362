//! `[search]`: what one search may take.

use super::reader::{Reader, Table};
use std::time::Duration;

/// What one search may take, and how many may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// How long it takes.
    pub time: Duration,
    /// Memory that its answer is made in.
    pub memory: usize,
    /// Records of the journal that it reads beside the index.
    pub records: usize,
    /// Searches at once.
    pub at_once: usize,
}

impl Default for Search {
    fn default() -> Search {
        Search { time: Duration::from_secs(10), memory: 64 << 20, records: 2_000_000, at_once: 2 }
    }
}

impl Reader {
    /// Reads `[search]`.
    pub(super) fn search(&mut self, t: &Table<'_>, to: &mut Search) {
        self.keys(t, "`[search]`", &["time", "memory", "records", "at_once"]);
        self.time(t, "time", &mut to.time);
        self.size(t, "memory", 1 << 20..(1 << 40) + 1, &mut to.memory);
        self.size(t, "records", 0..1_000_000_001, &mut to.records);
        self.size(t, "at_once", 1..101, &mut to.at_once);
    }
}
