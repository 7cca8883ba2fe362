//! `numbers.col`: whole numbers that are no terms, in a column for each field.
//!
//! Ports, sizes and identifiers have nearly as many values as there are documents. As terms each would need a list of its own; in a
//! column they take the bits that they have, and going over one is fast.

use super::folder::Folder;
use super::gather::{self, Gather};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use tantivy::Directory;
use tantivy::columnar::{Column, ColumnarReader, ColumnarWriter, DynamicColumn, MergeRowOrder, StackMergeOrder, merge_columnar};
use tantivy::directory::MmapDirectory;

/// The file's name.
const FILE: &str = "numbers.col";
/// Numbers of this range are terms.
const TERMS: Range<i64> = 0..4096;
/// Values that lie in so narrow a range are counted in a table.
const NARROW: u64 = 1 << 20;
/// Documents are gone through in steps of so many.
const STEP: u32 = 1 << 16;

/// Whether a number stands in a column, not among the terms.
pub(super) fn holds(n: i64) -> bool {
    !TERMS.contains(&n)
}

/// The columns of a slice that is being made.
#[derive(Default)]
pub(super) struct Builder {
    columns: ColumnarWriter,
}

impl Builder {
    /// A document has this value of a field; the documents come in order, and each value of a document once.
    pub fn add(&mut self, doc: u32, field: &str, n: i64) {
        self.columns.record_numerical(doc, field, n);
    }

    /// What it takes.
    pub fn memory(&self) -> usize {
        self.columns.mem_usage()
    }

    /// Writes the file of so many documents.
    pub fn write(mut self, to: &Folder, docs: u32) -> io::Result<()> {
        to.stream(FILE, |to| self.columns.serialize(docs, None, to))
    }
}

/// Writes what several slices have as one.
pub(super) fn merge(all: &[&Numbers], to: &Folder) -> io::Result<()> {
    let all: Vec<&ColumnarReader> = all.iter().map(|n| &n.0).collect();
    to.stream(FILE, |mut to| merge_columnar(&all, &[], MergeRowOrder::Stack(StackMergeOrder::stack(&all)), &mut to))
}

/// The file, open.
pub(super) struct Numbers(ColumnarReader);

impl Numbers {
    /// Of a slice whose files have been verified.
    pub fn open(dir: &Path) -> io::Result<Numbers> {
        let file = MmapDirectory::open(dir).map_err(io::Error::other)?.open_read(Path::new(FILE)).map_err(io::Error::other)?;
        Ok(Numbers(ColumnarReader::open(file)?))
    }

    fn column(&self, field: &str) -> io::Result<Option<Column<i64>>> {
        let Some(handle) = self.0.read_columns(field)?.into_iter().next() else { return Ok(None) };
        match handle.open()? {
            DynamicColumn::I64(c) => Ok(Some(c)),
            _ => Err(io::Error::other(format!("the column {field} is not of whole numbers"))),
        }
    }

    /// Adds the documents with a value of the field in this range.
    pub fn within(&self, field: &str, range: RangeInclusive<i64>, to: &mut Gather) -> io::Result<()> {
        let Some(c) = self.column(field)?.filter(|c| *range.start() <= c.max_value() && *range.end() >= c.min_value()) else { return Ok(()) };
        let mut docs = Vec::new();
        for from in (0..self.0.num_docs()).step_by(STEP as usize) {
            docs.clear();
            let end = from.saturating_add(STEP).min(self.0.num_docs());
            c.get_docids_for_value_range(range.clone(), from..end, &mut docs);
            docs.dedup();
            to.many(&docs);
        }
        Ok(())
    }

    /// Calls `f` with each distinct value of the field, in order, and the number of documents that have it; of these documents alone,
    /// if some are given.
    pub fn values(&self, field: &str, among: Option<&[u64]>, f: &mut dyn FnMut(i64, u64) -> io::Result<()>) -> io::Result<()> {
        let Some(c) = self.column(field)? else { return Ok(()) };
        let (least, span) = (c.min_value(), c.max_value().abs_diff(c.min_value()));
        if span < NARROW {
            let mut counts = vec![0u64; span as usize + 1];
            each(&c, among, |n| {
                if let Some(count) = counts.get_mut(n.abs_diff(least) as usize) {
                    *count += 1;
                }
            });
            let some = counts.into_iter().enumerate().filter(|c| c.1 > 0);
            return some.into_iter().try_for_each(|(i, n)| f(least.saturating_add(i as i64), n));
        }
        let mut all = Vec::new();
        each(&c, among, |n| all.push(n));
        all.sort_unstable();
        all.chunk_by(|a, b| a == b).try_for_each(|same| same.first().map_or(Ok(()), |n| f(*n, same.len() as u64)))
    }

    /// Adds the documents that have one of these values of the field, which are in order.
    pub fn having(&self, field: &str, values: &[i64], to: &mut Gather) -> io::Result<()> {
        let (Some(c), Some(least), Some(most)) = (self.column(field)?, values.first(), values.last()) else { return Ok(()) };
        let mut docs = Vec::new();
        for doc in 0..c.num_docs() {
            if c.values_for_doc(doc).any(|n| n >= *least && n <= *most && values.binary_search(&n).is_ok()) {
                docs.push(doc);
            }
            if docs.len() == STEP as usize {
                to.many(&docs);
                docs.clear();
            }
        }
        to.many(&docs);
        Ok(())
    }
}

/// Calls `f` with each value, or with those of these documents.
fn each(c: &Column<i64>, among: Option<&[u64]>, mut f: impl FnMut(i64)) {
    match among {
        None => c.values.iter().for_each(f),
        Some(bits) => gather::ones(bits).filter(|d| *d < c.num_docs()).for_each(|d| c.values_for_doc(d).for_each(&mut f)),
    }
}
