//! Terms and their documents while a slice is built.
//!
//! What Tantivy would gather itself, given documents: but most values of an event have been met before, and are found here at the
//! first look, text and its lower case together. What is written is Tantivy's inverted index, which Tantivy reads and merges.

use super::schema::Part;
use hashbrown::HashTable;
use std::io;
use tantivy::postings::InvertedIndexSerializer;
use xxhash_rust::xxh3::xxh3_64;

/// One term.
struct Term {
    hash: u64,
    /// Its stretch of the bytes of all.
    bytes: (u32, u32),
    /// Another term that the same documents have.
    also: Option<u32>,
    /// The document behind the last one.
    behind: u32,
    /// How far each document is behind the one before, as LEB128.
    docs: Vec<u8>,
    count: u32,
}

/// The terms of one of Tantivy's fields. Documents come in order.
#[derive(Default)]
pub(super) struct Postings {
    table: HashTable<u32>,
    all: Vec<Term>,
    bytes: Vec<u8>,
    /// Bytes of all lists of documents.
    lists: usize,
    postings: u64,
}

/// The hash under which a term is looked for.
pub(super) fn hash(term: &[u8]) -> u64 {
    xxh3_64(term)
}

impl Postings {
    fn term(&self, t: &Term) -> &[u8] {
        self.bytes.get(t.bytes.0 as usize..t.bytes.1 as usize).unwrap_or_default()
    }

    /// The number of a term that has been met.
    #[inline]
    pub fn find(&self, hash: u64, term: &[u8]) -> Option<u32> {
        let same = |i: &u32| self.all.get(*i as usize).is_some_and(|t| t.hash == hash && self.term(t) == term);
        self.table.find(hash, same).copied()
    }

    /// The number of a term, which it gets when it is met for the first time.
    pub fn meet(&mut self, hash: u64, term: &[u8]) -> u32 {
        if let Some(known) = self.find(hash, term) {
            return known;
        }
        let (number, from) = (self.all.len() as u32, self.bytes.len() as u32);
        self.bytes.extend_from_slice(term);
        self.all.push(Term { hash, bytes: (from, self.bytes.len() as u32), also: None, behind: 0, docs: Vec::new(), count: 0 });
        self.table.insert_unique(hash, number, |i| self.all.get(*i as usize).map_or(0, |t| t.hash));
        number
    }

    /// The documents of the first have the other too, from now on.
    pub fn also(&mut self, number: u32, other: u32) {
        if let Some(t) = self.all.get_mut(number as usize) {
            t.also = Some(other);
        }
    }

    /// A document has a term, and the one that it has also; a second time changes nothing.
    #[inline]
    pub fn add(&mut self, number: u32, doc: u32) {
        if let Some(also) = self.put(number, doc) {
            self.put(also, doc);
        }
    }

    #[inline]
    fn put(&mut self, number: u32, doc: u32) -> Option<u32> {
        let t = self.all.get_mut(number as usize)?;
        if t.behind <= doc {
            let (mut rest, had) = (doc - t.behind, t.docs.capacity());
            while rest > 0x7f {
                t.docs.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            t.docs.push(rest as u8);
            self.lists += t.docs.capacity() - had;
            t.behind = doc + 1;
            t.count += 1;
            self.postings += 1;
        }
        t.also
    }

    /// What it takes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.lists + self.all.capacity() * size_of::<Term>() + self.table.allocation_size()
    }

    /// Writes all of it.
    pub fn write(self, to: &mut InvertedIndexSerializer, part: Part) -> io::Result<()> {
        let mut order: Vec<&Term> = self.all.iter().collect();
        order.sort_unstable_by_key(|t| self.term(t));
        let mut field = to.new_field(part.field(), self.postings, None)?;
        for t in order {
            field.new_term(self.term(t), t.count, false)?;
            docs(&t.docs, |doc| field.write_doc(doc, 0, &[]));
            field.close_term()?;
        }
        field.close()
    }
}

/// Calls `f` with the documents of a list.
fn docs(list: &[u8], mut f: impl FnMut(u32)) {
    let (mut next, mut rest, mut shift) = (0u32, 0u32, 0);
    for b in list {
        rest |= u32::from(b & 0x7f) << shift;
        shift += 7;
        if *b < 0x80 {
            f(next + rest);
            next += rest + 1;
            (rest, shift) = (0, 0);
        }
    }
}
