//! `[index]`: what is indexed of what came in.

use super::reader::{Reader, Table};

/// What is indexed of what came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Whether anything is.
    pub enabled: bool,
    /// Bytes on disk at most.
    pub max_bytes: usize,
    /// Records of a slice, before slices are merged.
    pub slice_records: usize,
    /// Threads that build slices where one is behind; no more than there are cores.
    pub builders: usize,
}

impl Default for Index {
    fn default() -> Index {
        Index { enabled: true, max_bytes: 3 << 30, slice_records: 250_000, builders: 2 }
    }
}

impl Reader {
    /// Reads `[index]`.
    pub(super) fn index(&mut self, t: &Table<'_>, to: &mut Index) {
        self.keys(t, "`[index]`", &["enabled", "max_bytes", "slice_records", "builders"]);
        to.enabled = self.bool(t, "enabled").unwrap_or(true);
        self.size(t, "max_bytes", 4 << 20..(1 << 50) + 1, &mut to.max_bytes);
        self.size(t, "slice_records", 1000..1_000_001, &mut to.slice_records);
        self.size(t, "builders", 1..65, &mut to.builders);
    }
}
