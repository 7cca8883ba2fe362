//! Which words and values come again and again. What comes seldom is not worth a term: most of it never comes again.

/// So many of those that came last are remembered, as a power of two: as many as stay in a core's cache.
const BITS: u32 = 17;
/// What came in so many documents while it was remembered comes often.
const OFTEN: u32 = 4;

/// Counts, by hash; one that comes takes the place of another that falls on it.
///
/// Two that share a place and a tag count as one, which only decides where they are kept.
pub(super) struct Rare {
    /// Tag (16 bits), count (4 bits), the end of the last document's number (12 bits).
    slots: Vec<u32>,
    doc: u32,
}

impl Default for Rare {
    fn default() -> Rare {
        Rare { slots: vec![0; 1 << BITS], doc: 0 }
    }
}

impl Rare {
    /// A document begins.
    pub fn next(&mut self) {
        self.doc = self.doc.wrapping_add(1);
    }

    /// The document has what has this hash; whether that comes often.
    pub fn often(&mut self, hash: u64) -> bool {
        let Some(slot) = self.slots.get_mut((hash >> (64 - BITS)) as usize) else { return false };
        let (tag, doc) = (hash as u32 & 0xffff, self.doc & 0xfff);
        let mut count = *slot >> 12 & 0xf;
        if *slot >> 16 != tag || count == 0 {
            count = 1;
        } else if *slot & 0xfff != doc {
            count = (count + 1).min(0xf);
        }
        *slot = tag << 16 | count << 12 | doc;
        count >= OFTEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn what_comes_in_four_documents_comes_often_until_it_is_forgotten() {
        let mut r = Rare::default();
        let it = xxh3_64(b"it");
        let mut told = Vec::new();
        for _ in 0..6 {
            r.next();
            told.push((r.often(it), r.often(it)));
        }
        let (no, yes) = ((false, false), (true, true));
        assert_eq!(told, [no, no, no, yes, yes, yes]);
        r.next();
        // Many others come, each once: one of them takes its place.
        assert!((0..4u64 << BITS).all(|n| !r.often(xxh3_64(&n.to_le_bytes()))));
        r.next();
        assert!(!r.often(it));
    }
}
