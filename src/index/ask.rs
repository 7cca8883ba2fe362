//! Asking a slice that is open. Its files were compared with their checksums when it was opened, and are read through mappings since: what
//! became of them meanwhile is met in the midst of an answer, as an error or as a panic of Tantivy.

use super::list::Index;
use super::slice::Slice;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Index {
    /// Asks a slice that this index gave; `own` are errors by which whoever asks ends his own question.
    ///
    /// Where the slice does not answer, by an error or by a panic, its files are compared with their checksums anew: one that differs is put
    /// aside and built again. The error says so, and what `ask` has found until then is not to be told as all that there is.
    pub fn ask<T>(&self, slice: &Slice, own: impl Fn(&io::Error) -> bool, ask: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // What is half done is not read: the slice is told as missing.
        let asked = catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|_| Err(io::Error::other("it does not answer; the log says why")));
        match asked {
            Err(e) if !own(&e) && self.doubt(slice) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a slice is damaged: {e}"))),
            asked => asked,
        }
    }
}
