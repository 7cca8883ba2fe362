//! A setting with the place where it stands.

use std::ops::Range;

/// A setting and where it stands (`0..0` for one from the command line or a default). It is the same wherever it stands.
#[derive(Clone, Debug)]
pub struct Set<T> {
    /// The setting.
    pub value: T,
    /// Its byte range in the space of all files, see [`Files::place`].
    pub span: Range<usize>,
}

impl<T: PartialEq> PartialEq for Set<T> {
    fn eq(&self, other: &Set<T>) -> bool {
        self.value == other.value
    }
}

impl<T> Set<T> {
    /// A setting that no file names.
    pub fn given(value: T) -> Set<T> {
        Set { value, span: 0..0 }
    }
}
