//! Formats that are declared, not written: `parsers/<format>/parser.toml` says how a record is recognised, how it is
//! read (JSON by paths, pairs by keys, lines by patterns) and which field gets what. `parsers/README.md` is the
//! reference of that file.
//!
//! [`Formats`] is what the files say, checked; [`Parsers`] is that bound to a layout, one for each worker. Recognition
//! looks at the bytes and the program that the envelope names, and at nothing else.

mod apply;
mod document;
mod json;
mod keyvalue;
mod load;
mod pattern;

use super::json::{OwnFields, PathId, Paths, Scanner};
use super::{Context, syslog::Envelope};
use crate::diag::Diagnostic;
use crate::event::{Field, Layout, Out, ParseError, Schema};
use apply::{Body, Test, Values, When};
use document::Document;
use pattern::{NONE, Pattern, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// How the records of a format are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decode {
    Json,
    Keyvalue,
    Pattern,
}

/// One pattern of a line format, and what a line that matches it means.
#[derive(Clone, Debug)]
struct Line {
    pattern: Pattern,
    /// The variables that it sets.
    vars: Vec<u16>,
    body: Body,
}

/// One declared format.
#[derive(Clone, Debug)]
struct Format {
    name: String,
    decode: Decode,
    /// Names of variables: JSON paths, keys, captures.
    vars: Vec<String>,
    /// For every record, before what a pattern or a `when` says.
    always: Body,
    /// Mappings that come after a pattern's own.
    fields: Body,
    whens: Vec<When>,
    lines: Vec<Line>,
    /// Patterns around a record, their variables, that of what is inside, and what the others mean.
    unwrap: Vec<(Pattern, Vec<u16>, u16, Body)>,
    /// Texts that stand for nothing.
    empty: Vec<Box<[u8]>>,
    document: Option<Document>,
    /// Every field that it can write.
    fields_written: Vec<Field>,
}

/// How JSON of a format is told.
#[derive(Clone, Debug)]
struct Keys {
    format: usize,
    need: u128,
    without: u128,
    values: Vec<(u8, Test)>,
}

/// One look at a record for all formats.
#[derive(Clone, Debug, Default)]
struct Index {
    programs: HashMap<Box<[u8]>, usize>,
    /// The top-level keys that any format asks for.
    keys: HashMap<Box<[u8]>, u8>,
    /// The most exact first.
    json: Vec<Keys>,
    /// Beginnings of lines that are told before the program is asked.
    early: Vec<(usize, Pattern)>,
    /// Beginnings of lines of which no program tells, the most exact first.
    lines: Vec<(usize, Pattern)>,
}

/// The declared formats, loaded and checked.
#[derive(Clone, Debug, Default)]
pub struct Formats {
    list: Arc<Vec<Format>>,
    index: Arc<Index>,
    indexed: Arc<Vec<Field>>,
}

impl Formats {
    /// Loads `parser.toml` files, given as path and text; adds the own-prefix fields that they declare to the schema.
    ///
    /// A file with an error in it gives no format, and all its complaints. Files that say `decode = "native"` describe
    /// formats that have a function of their own; they are checked and give none.
    pub fn load(files: &[(String, String)], schema: &mut Schema) -> (Formats, Vec<Diagnostic>) {
        load::load(files, schema)
    }

    /// The names, by place.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|f| f.name.as_str())
    }

    /// The place of a format.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|f| f.name == name)
    }

    /// Every field that some declared format can write, ordered, without repetition.
    pub fn fields(&self) -> impl Iterator<Item = Field> + use<> {
        let mut all: Vec<Field> = self.list.iter().flat_map(|f| f.fields_written.iter().copied()).collect();
        all.sort();
        all.dedup();
        all.into_iter()
    }

    /// Every field that one format can write, ordered, without repetition.
    pub fn fields_of(&self, i: usize) -> &[Field] {
        self.list.get(i).map_or(&[], |f| &f.fields_written)
    }

    /// The own-prefix fields that the files mark `index = true`.
    pub fn indexed(&self) -> &[Field] {
        &self.indexed
    }

    /// Whether a record of this format is a document of several findings, to be cut with [`Formats::split`].
    pub fn events(&self, i: usize) -> bool {
        self.list.get(i).is_some_and(|f| f.document.is_some())
    }

    /// Cuts a document into records, one for each finding and one that sums up; each of them is then parsed as a record
    /// of the same format.
    pub fn split(&self, i: usize, record: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), ParseError> {
        match self.list.get(i).and_then(|f| f.document.as_ref()) {
            Some(d) => d.split(record, out),
            None => Err(ParseError { expected: "a format of documents", offset: 0 }),
        }
    }
}

/// One format bound to a layout.
struct Bound {
    scanner: Scanner,
    ids: Vec<Option<(PathId, bool)>>,
    own: OwnFields,
    keys: HashMap<Box<[u8]>, u16>,
    /// The patterns that can begin with a byte; the last list is for an empty record.
    first: Vec<Vec<u16>>,
}

/// The declared formats at work; one for each worker. Its memory is reused from record to record.
pub struct Parsers {
    formats: Formats,
    bound: Vec<Bound>,
    caps: Vec<Span>,
    inner: Vec<Span>,
    spans: Vec<Span>,
    scratch: Vec<u8>,
}

impl Parsers {
    /// For events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout, formats: &Formats) -> Parsers {
        let bound: Vec<Bound> = formats.list.iter().map(|f| Bound::new(f, schema, layout)).collect();
        let most = formats.list.iter().map(|f| f.vars.len()).max().unwrap_or(0);
        let spans = vec![NONE; formats.index.keys.len()];
        Parsers { formats: formats.clone(), bound, caps: vec![NONE; most], inner: vec![NONE; most], spans, scratch: Vec::new() }
    }

    /// Which format a record is of, its envelope taken off; `None` where it is of none or cannot be told without doubt.
    pub fn recognise(&mut self, env: Option<&Envelope<'_>>, record: &[u8]) -> Option<usize> {
        let index = &*self.formats.index;
        let record = trim(record);
        let first = *record.first()?;
        if first == b'{' && !index.json.is_empty() {
            let (mut mask, spans) = (0u128, &mut self.spans);
            json::members(record, |k, v| {
                if let Some(&i) = index.keys.get(k) {
                    mask |= 1 << i;
                    spans[i as usize] = (offset(record, v), offset(record, v) + v.len() as u32);
                }
            })?;
            let spans = &*spans;
            let value = |i: u8| {
                let (a, b) = spans[i as usize];
                json::plain(&record[a as usize..b as usize])
            };
            let found = index.json.iter().find(|k| {
                mask & k.need == k.need && mask & k.without == 0 && k.values.iter().all(|(i, t)| mask >> i & 1 == 1 && t.text(Some(value(*i))))
            });
            return found.map(|k| k.format);
        }
        if let Some(x) = index.early.iter().find(|x| x.1.begins(record)) {
            return Some(x.0);
        }
        if let Some(app) = env.and_then(|e| e.app) {
            // `su(pam_unix)`: the program speaks, and what stands in parentheses where nobody knows that.
            let n = memchr::memchr(b'(', app).unwrap_or(app.len());
            if let Some(&f) = index.programs.get(&app[..n]).or_else(|| index.programs.get(&app[n..])) {
                return Some(f);
            }
        }
        index.lines.iter().find(|x| x.1.begins(record)).map(|x| x.0)
    }

    /// Parses one record of format `i`, its envelope taken off. A place that no format has is an error.
    pub fn parse(&mut self, i: usize, ctx: &Context<'_>, _env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let wrong = |expected| ParseError { expected, offset: 0 };
        let (Some(f), Some(b)) = (self.formats.list.get(i), self.bound.get_mut(i)) else { return Err(wrong("a format")) };
        let scratch = &mut self.scratch;
        match f.decode {
            Decode::Json => {
                b.scanner.scan(record)?;
                let n = record.iter().take_while(|c| matches!(c, b' ' | b'\t' | b'\n' | b'\r')).count();
                if record.get(n) != Some(&b'{') {
                    return Err(ParseError { expected: "a JSON object", offset: n });
                }
                let v = Values::Json { scanner: &b.scanner, ids: &b.ids, record };
                apply::body(&f.always, &v, ctx, out, scratch);
                apply::body(&f.fields, &v, ctx, out, scratch);
                apply::whens(&f.whens, &v, ctx, out, scratch);
                b.own.write(&b.scanner, record, out);
                if let Some(own) = out.own() {
                    b.scanner.unmapped(record, &[&f.name], own);
                }
                Ok(())
            }
            Decode::Keyvalue => {
                let caps = &mut self.caps[..f.vars.len()];
                if !keyvalue::read(&b.keys, record, caps) {
                    return Err(wrong("key=value pairs"));
                }
                let v = Values::Text { caps, record, empty: &f.empty };
                apply::body(&f.always, &v, ctx, out, scratch);
                apply::body(&f.fields, &v, ctx, out, scratch);
                apply::whens(&f.whens, &v, ctx, out, scratch);
                Ok(())
            }
            Decode::Pattern => {
                let mut record = trim(record);
                let (caps, inner) = (&mut self.caps[..f.vars.len()], &mut self.inner[..f.vars.len()]);
                caps.fill(NONE);
                inner.fill(NONE);
                apply::body(&f.always, &Values::Text { caps, record, empty: &f.empty }, ctx, out, scratch);
                for (p, vars, within, outer) in &f.unwrap {
                    if p.may_begin(record.first().copied()) && p.matches(record, inner) {
                        let (from, to) = inner[*within as usize];
                        apply::body(outer, &Values::Text { caps: inner, record, empty: &f.empty }, ctx, out, scratch);
                        record = trim(&record[from as usize..to as usize]);
                        vars.iter().for_each(|v| inner[*v as usize] = NONE);
                    }
                }
                let candidates = &b.first[record.first().map_or(256, |c| *c as usize)];
                for &n in candidates {
                    let line = &f.lines[n as usize];
                    if line.pattern.matches(record, caps) {
                        let v = Values::Text { caps, record, empty: &f.empty };
                        apply::body(&line.body, &v, ctx, out, scratch);
                        apply::body(&f.fields, &v, ctx, out, scratch);
                        apply::whens(&f.whens, &v, ctx, out, scratch);
                        return Ok(());
                    }
                    line.vars.iter().for_each(|v| caps[*v as usize] = NONE);
                }
                Err(wrong("a line that a pattern of the format matches"))
            }
        }
    }

    /// See [`Formats::events`].
    pub fn events(&self, i: usize) -> bool {
        self.formats.events(i)
    }

    /// See [`Formats::split`].
    pub fn split(&mut self, i: usize, record: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), ParseError> {
        self.formats.split(i, record, out)
    }
}

impl Bound {
    fn new(f: &Format, schema: &Schema, layout: &Layout) -> Bound {
        let mut b = Bound { scanner: Scanner::default(), ids: Vec::new(), own: OwnFields::default(), keys: HashMap::new(), first: Vec::new() };
        match f.decode {
            Decode::Json => {
                let mut paths = Paths::default();
                let full = layout.len() == schema.len();
                let needed = needed(f, layout);
                b.ids = f.vars.iter().zip(&needed).map(|(p, n)| (full || *n).then(|| (paths.add(p), p.contains("[]")))).collect();
                b.own = OwnFields::bind(schema, layout, &f.name, &f.fields_written, &mut paths);
                b.scanner = Scanner::new(paths);
            }
            Decode::Keyvalue => b.keys = f.vars.iter().enumerate().map(|(i, k)| (k.as_bytes().into(), i as u16)).collect(),
            Decode::Pattern => {
                let fits = |c: Option<u8>| (0..f.lines.len() as u16).filter(|n| f.lines[*n as usize].pattern.may_begin(c)).collect();
                b.first = (0..=255u8).map(|c| fits(Some(c))).chain([fits(None)]).collect();
            }
        }
        b
    }
}

/// Which variables anybody asks for with this layout.
fn needed(f: &Format, layout: &Layout) -> Vec<bool> {
    let mut need = vec![false; f.vars.len()];
    let bodies = [&f.always, &f.fields].into_iter().chain(f.whens.iter().map(|w| &w.body));
    for m in bodies.flat_map(|b| &b.fields) {
        let group = matches!(m.conv, apply::Conv::Peer { .. } | apply::Conv::Request | apply::Conv::Url | apply::Conv::Image);
        if group || layout.slot(m.field).is_some() {
            let weights = m.compute.iter().flat_map(|c| c.weights.iter().map(|w| w.0));
            m.from.iter().copied().chain(m.forwarded).chain(weights).for_each(|v| need[v as usize] = true);
        }
    }
    f.whens.iter().flat_map(|w| &w.tests).for_each(|t| need[t.0 as usize] = true);
    need
}

/// Without blanks, carriage returns and NULs around it.
fn trim(record: &[u8]) -> &[u8] {
    let blank = |c: &u8| matches!(c, b' ' | b'\t' | b'\r' | b'\n' | 0);
    let start = record.iter().position(|c| !blank(c)).unwrap_or(record.len());
    let end = record.iter().rposition(|c| !blank(c)).map_or(start, |n| n + 1);
    &record[start..end]
}

fn offset(of: &[u8], part: &[u8]) -> u32 {
    (part.as_ptr() as usize - of.as_ptr() as usize) as u32
}

#[cfg(test)]
mod tests;
