//! Sets of documents from posting lists.

use roaring::RoaringBitmap;
use std::io;
use tantivy::InvertedIndexReader;
use tantivy::postings::TermInfo;
use tantivy::schema::IndexRecordOption;

/// So many documents are kept one by one before they become bits.
const FEW: usize = 4096;

/// A union that grows.
pub(super) struct Gather {
    few: Vec<u32>,
    bits: Vec<u64>,
    docs: u32,
}

impl Gather {
    /// Of documents of a slice that has so many.
    pub fn new(docs: u32) -> Gather {
        Gather { few: Vec::new(), bits: Vec::new(), docs }
    }

    /// Adds the documents of a term.
    pub fn add(&mut self, index: &InvertedIndexReader, term: &TermInfo) -> io::Result<()> {
        self.room(term.doc_freq as usize);
        each(index, term, |docs| self.put(docs))
    }

    /// Adds documents.
    pub fn many(&mut self, docs: &[u32]) {
        self.room(docs.len());
        self.put(docs);
    }

    /// So many come.
    fn room(&mut self, n: usize) {
        if self.bits.is_empty() && self.few.len() + n > FEW {
            self.bits = bits(self.docs);
            for d in std::mem::take(&mut self.few) {
                set(&mut self.bits, d);
            }
        }
    }

    fn put(&mut self, docs: &[u32]) {
        if self.bits.is_empty() {
            self.few.extend_from_slice(docs);
        } else {
            docs.iter().for_each(|d| set(&mut self.bits, *d));
        }
    }

    /// All that was added.
    pub fn done(mut self) -> RoaringBitmap {
        if !self.bits.is_empty() {
            return roaring(&self.bits);
        }
        self.few.sort_unstable();
        self.few.into_iter().collect()
    }
}

/// Calls `f` with the documents of a term, in ascending stretches.
pub(super) fn each(index: &InvertedIndexReader, term: &TermInfo, mut f: impl FnMut(&[u32])) -> io::Result<()> {
    let mut block = index.read_block_postings_from_terminfo(term, IndexRecordOption::Basic)?;
    while !block.docs().is_empty() {
        f(block.docs());
        block.advance();
    }
    Ok(())
}

/// No document of so many.
pub(super) fn bits(docs: u32) -> Vec<u64> {
    vec![0; (docs as usize).div_ceil(64)]
}

/// Adds a document.
#[inline]
pub(super) fn set(bits: &mut [u64], doc: u32) {
    if let Some(b) = bits.get_mut(doc as usize / 64) {
        *b |= 1 << (doc % 64);
    }
}

/// Whether a document is there.
#[inline]
pub(super) fn has(bits: &[u64], doc: u32) -> bool {
    bits.get(doc as usize / 64).is_some_and(|b| b >> (doc % 64) & 1 == 1)
}

/// The documents of bits, in order.
pub(super) fn ones(bits: &[u64]) -> impl Iterator<Item = u32> {
    bits.iter().enumerate().flat_map(|(i, b)| {
        let mut rest = *b;
        std::iter::from_fn(move || {
            let n = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (n < 64).then(|| i as u32 * 64 + n)
        })
    })
}

/// Bits as a set.
pub(super) fn roaring(bits: &[u64]) -> RoaringBitmap {
    let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
    RoaringBitmap::from_lsb0_bytes(0, &bytes)
}
