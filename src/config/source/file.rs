//! A source of kind `file`.

use super::super::{Reader, Table};
use std::ops::Range;
use std::time::Duration;

/// Files, followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// Paths with `*`, `?` and `[a-z]`.
    pub paths: Vec<String>,
    /// Where reading begins in files that are there when the source starts for the first time.
    pub from: Start,
    /// A file that nobody has read yet and that was last written so long ago is left alone.
    pub ignore_older: Option<Duration>,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first line.
    #[default]
    Begin,
    /// With what is written from now on.
    End,
}

/// Its keys.
pub const KEYS: &[&str] = &["path", "from", "ignore_older"];

impl Reader {
    pub(super) fn file(&mut self, t: &Table<'_>, at: Range<usize>) -> File {
        let paths: Vec<String> = self.list(t, "path").unwrap_or_default().into_iter().map(|s| s.value.to_owned()).collect();
        if paths.is_empty() && t.get("path").is_none_or(|v| v.get_ref().is_array()) {
            self.say("V004", at, "a source of kind file must have a `path`".into(), "no path here", None);
        }
        let mut older = Duration::ZERO;
        self.time(t, "ignore_older", &mut older);
        File { paths, from: self.start(t), ignore_older: Some(older).filter(|o| !o.is_zero()) }
    }

    /// Where reading begins.
    pub(super) fn start(&mut self, t: &Table<'_>) -> Start {
        let start = |s: &str| match s {
            "begin" => Some(Start::Begin),
            "end" => Some(Start::End),
            _ => None,
        };
        self.read_at(t, "from", "\"begin\" or \"end\"", start).unwrap_or_default()
    }
}
