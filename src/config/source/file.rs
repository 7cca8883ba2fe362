//! A source of kind `file`.

use super::super::{Reader, Table};
use std::ops::Range;

/// Files, followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// Paths with `*`, `?` and `[a-z]`.
    pub paths: Vec<String>,
}

/// Its keys.
pub const KEYS: &[&str] = &["path"];

impl Reader<'_> {
    pub(super) fn file(&mut self, t: &Table<'_>, at: Range<usize>) -> File {
        let paths: Vec<String> = self.list(t, "path").unwrap_or_default().into_iter().map(|s| s.value.to_owned()).collect();
        if paths.is_empty() && t.get("path").is_none_or(|v| v.get_ref().is_array()) {
            self.say("V004", at, "a source of kind file must have a `path`".into(), "no path here", None);
        }
        File { paths }
    }
}
