//! One pass over a JSON text into the paths that somebody asked for, never into a tree.

use crate::event::{Field, Layout, Out, Own, ParseError, Schema};

/// A path's number in its [`Paths`].
pub type PathId = u16;

/// The paths that a scan looks for.
///
/// A path is keys joined by dots; a key in double quotes may hold dots (`output_fields."proc.name"`); `[]` behind a key
/// goes through an array's elements (`messages[].details.ruleId`, `tags[]`), each of which is found with its place.
#[derive(Clone, Debug, Default)]
pub struct Paths {}

impl Paths {
    /// Adds a path, or gives the number of an equal one.
    pub fn add(&mut self, path: &str) -> PathId {
        let _ = path;
        0
    }

    /// Adds a path whose keys may be nested or dotted in any mix (`a.b.c` is also `"a.b".c`, `a."b.c"`, `"a.b.c"`).
    pub fn add_dotted(&mut self, path: &str) -> PathId {
        let _ = path;
        0
    }
}

/// A value as it stands in the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Json<'r> {
    /// Not there.
    Missing,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The text of a number.
    Number(&'r [u8]),
    /// A string without escapes, quotes taken off.
    Str(&'r [u8]),
    /// A string with escapes, as it stands between the quotes.
    Escaped(&'r [u8]),
    /// An object, braces included.
    Object(&'r [u8]),
    /// An array, brackets included.
    Array(&'r [u8]),
}

impl<'r> Json<'r> {
    /// The text of a string, unescaped into `scratch` where needed (a lone surrogate becomes U+FFFD), or of a number.
    pub fn text<'s>(&self, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'r: 's,
    {
        let _ = scratch;
        None
    }

    /// Writes a string, a number's text or a truth value's word to a text field.
    pub fn put_str(&self, f: Field, out: &mut Out<'_>) {
        let _ = (f, out);
    }

    /// Writes a whole number, or a string that reads as one.
    pub fn put_int(&self, f: Field, out: &mut Out<'_>) {
        let _ = (f, out);
    }

    /// Writes an address; `false` where it is none.
    pub fn put_ip(&self, f: Field, out: &mut Out<'_>) -> bool {
        let _ = (f, out);
        false
    }

    /// Writes a value in its field's type as [`Schema::ty`] says; an array becomes a list.
    pub fn put(&self, f: Field, schema_ty: crate::event::Type, out: &mut Out<'_>) {
        let _ = (f, schema_ty, out);
    }
}

/// A scanner for one set of paths; its memory is reused from record to record.
#[derive(Clone, Debug, Default)]
pub struct Scanner {}

impl Scanner {
    /// At most so many elements are kept of a path through arrays; the rest is counted.
    pub const MAX_ELEMENTS: usize = 64;
    /// Deeper nesting is an error.
    pub const MAX_DEPTH: usize = 128;

    /// A scanner for these paths.
    pub fn new(paths: Paths) -> Scanner {
        let _ = paths;
        Scanner {}
    }

    /// Reads a whole JSON text. It accepts what serde_json accepts as `IgnoredAny` up to [`Scanner::MAX_DEPTH`]; of
    /// equal keys the last wins.
    pub fn scan(&mut self, record: &[u8]) -> Result<(), ParseError> {
        let _ = record;
        Ok(())
    }

    /// What the last scan found at a path without `[]`.
    pub fn get<'r>(&self, id: PathId, record: &'r [u8]) -> Json<'r> {
        let _ = (id, record);
        Json::Missing
    }

    /// What the last scan found at a path with `[]`: each value with the place of its (outermost) array element, from 0.
    /// A value that is no array counts as its only element.
    pub fn list<'s, 'r: 's>(&'s self, id: PathId, record: &'r [u8]) -> impl Iterator<Item = (u32, Json<'r>)> + 's {
        let _ = (id, record);
        std::iter::empty()
    }

    /// How many array elements have been left out since the scanner was made.
    pub fn left_out(&self) -> u64 {
        0
    }

    /// Collects what no path covers, as it stands, under `prefix`: for output.
    pub fn unmapped(&self, record: &[u8], prefix: &[&str], own: &mut Own) {
        let _ = (record, prefix, own);
    }
}

/// The own-prefix fields that rules ask of a JSON format beyond those it maps itself.
#[derive(Clone, Debug, Default)]
pub struct OwnFields {}

impl OwnFields {
    /// Binds every field of the schema that has a slot and begins with `prefix.` and is not in the format's own hands
    /// (`mapped`), to the path of that name, nested or dotted. A full layout binds none: output copies them as they stand.
    pub fn bind(schema: &Schema, layout: &Layout, prefix: &str, mapped: &[Field], paths: &mut Paths) -> OwnFields {
        let _ = (schema, layout, prefix, mapped, paths);
        OwnFields {}
    }

    /// Writes them after a scan.
    pub fn write(&self, scanner: &Scanner, record: &[u8], out: &mut Out<'_>) {
        let _ = (scanner, record, out);
    }
}
