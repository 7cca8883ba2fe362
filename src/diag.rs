//! What is wrong with a file that somebody wrote: diagnostics with a stable code, drawn as rustc draws them.

use std::ops::Range;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It works, and may not do what was meant.
    Warning,
    /// It does not work.
    Error,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// `R012`; stable for ever.
    pub code: &'static str,
    /// How bad.
    pub level: Level,
    /// What is wrong, in one line.
    pub message: String,
    /// The file, as the user named it.
    pub file: String,
    /// Byte range in the file.
    pub span: Range<usize>,
    /// What stands beside the caret.
    pub label: String,
    /// The way out, or the name that was meant.
    pub help: Option<String>,
}
