//! Formats that a `parser.toml` declares.

use super::{Context, syslog::Envelope};
use crate::event::{Layout, Out, ParseError, Schema};

/// The formats that have been loaded.
#[derive(Clone, Debug, Default)]
pub struct Formats {
    names: Vec<String>,
}

impl Formats {
    /// Loads `parser.toml` files, given as path and text.
    pub fn load(files: &[(String, String)], schema: &mut Schema) -> (Formats, Vec<crate::diag::Diagnostic>) {
        let _ = (files, schema);
        (Formats::default(), Vec::new())
    }

    /// Their names, in the order in which recognition asks them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The place of a format.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}

/// The parsers of all declared formats; one for each worker.
pub struct Parsers {}

impl Parsers {
    /// Parsers for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout, formats: &Formats) -> Parsers {
        let _ = (schema, layout, formats);
        Parsers {}
    }

    /// The first format whose recognition fits.
    pub fn recognise(&self, env: Option<&Envelope<'_>>, record: &[u8]) -> Option<usize> {
        let _ = (env, record);
        None
    }

    /// Whether a record of the format at a place is a document of several findings, to be cut with [`Parsers::split`].
    pub fn events(&self, i: usize) -> bool {
        let _ = i;
        false
    }

    /// Cuts a document into records of the same format, one for each finding and one that sums up.
    pub fn split(&mut self, i: usize, record: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), ParseError> {
        let _ = (i, out);
        Err(ParseError { expected: "a document", offset: record.len() })
    }

    /// Parses one record, without its envelope, by the format at a place.
    pub fn parse(&mut self, i: usize, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let _ = (i, ctx, env, out);
        Err(ParseError { expected: "a record", offset: record.len() })
    }
}
