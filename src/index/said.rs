//! What became of slices that cannot be used, for whoever tells people.

use std::fmt;

/// A slice that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its folder's name.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a slice that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is put aside, and is built again.
    Aside,
    /// It could not be moved, and is built again beside it.
    Stays,
    /// It is left where it is, since a later version can read it: nothing is built in its place.
    Later,
    /// Nothing may be changed here.
    Untouched,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)
    }
}
