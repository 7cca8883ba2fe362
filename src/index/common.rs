//! Words that stand in a large part of all records: the names of JSON fields above all. They are counted in a sample while slices are
//! built and from then on not indexed; a slice says which words that are.

use super::rare::Rare;
use super::signatures;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, HashTable};

/// Every so many documents one is counted.
const EVERY: u32 = 8;
/// After so many documents were counted they are judged.
const WINDOW: u32 = 256;
/// A word in more than one of so many documents is common; one that is has to become rarer than half of that to be so no longer.
const SHARE: u32 = 8;
/// So many different words are counted at most, and so many are common at most.
const MAX: usize = 1 << 16;
const MAX_COMMON: usize = 4096;

/// The words that are common, and what is known of the others.
#[derive(Default)]
pub struct Common {
    /// Not indexed in the slice that is being built, by the hash of [`signatures::word`].
    listed: HashTable<Box<[u8]>>,
    /// Those of them that the last judgement found so.
    common: HashSet<Box<[u8]>, RandomState>,
    /// Documents with the word, and the number of the last one.
    counts: HashMap<Box<[u8]>, (u32, u32), RandomState>,
    seen: u32,
    counted: u32,
    /// What comes seldom.
    pub(super) rare: Rare,
}

impl Common {
    /// A slice begins.
    pub(super) fn begin(&mut self) {
        self.listed.clear();
        let all: Vec<_> = self.common.iter().cloned().collect();
        self.list_too(all);
    }

    /// A document begins; whether its words are counted.
    pub(super) fn next(&mut self) -> bool {
        self.rare.next();
        self.seen = self.seen.wrapping_add(1);
        let counts = self.seen.is_multiple_of(EVERY);
        if counts {
            if self.counted == WINDOW {
                self.judge();
            }
            self.counted += 1;
        }
        counts
    }

    fn list_too(&mut self, words: Vec<Box<[u8]>>) {
        for w in words {
            self.listed.insert_unique(signatures::word(&w), w, |w| signatures::word(w));
        }
    }

    /// Whether a word is not indexed; `hash` is that of [`signatures::word`].
    #[inline]
    pub(super) fn has(&self, hash: u64, word: &[u8]) -> bool {
        self.listed.find(hash, |w| **w == *word).is_some()
    }

    /// Counts a word of the document.
    pub(super) fn count(&mut self, word: &[u8]) {
        let n = self.counted;
        if let Some((count, last)) = self.counts.get_mut(word) {
            *count += (*last != n) as u32;
            *last = n;
        } else if self.counts.len() < MAX {
            self.counts.insert(word.into(), (1, n));
        }
    }

    fn judge(&mut self) {
        let least = |w: &[u8]| WINDOW / if self.common.contains(w) { 2 * SHARE } else { SHARE };
        let mut common: Vec<(u32, Box<[u8]>)> = self.counts.iter().filter(|(w, c)| c.0 > least(w)).map(|(w, c)| (c.0, w.clone())).collect();
        common.sort_unstable_by(|a, b| b.cmp(a));
        self.common = common.into_iter().take(MAX_COMMON).map(|c| c.1).collect();
        let room = MAX_COMMON.saturating_sub(self.listed.len());
        let new: Vec<_> = self.common.iter().filter(|w| !self.has(signatures::word(w), w)).take(room).cloned().collect();
        self.list_too(new);
        self.counts.clear();
        self.counted = 0;
    }

    /// The words that are not all indexed in this slice, in order.
    pub(super) fn list(&self) -> Vec<String> {
        let mut all: Vec<String> = self.listed.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(c: &mut Common, docs: u32, words: impl Fn(u32) -> Vec<String>) {
        for n in 0..docs {
            if c.next() {
                words(n).iter().for_each(|w| c.count(w.as_bytes()));
            }
        }
    }

    #[test]
    fn a_word_of_many_documents_is_common_until_it_is_rare() {
        let mut c = Common::default();
        c.begin();
        // Twice in a document counts once.
        feed(&mut c, EVERY * (WINDOW + 1), |n| vec!["all".into(), "all".into(), format!("n{n}"), if n % 64 == 7 { "some" } else { "none" }.into()]);
        assert_eq!(c.list(), ["all", "none"]);
        feed(&mut c, EVERY * (WINDOW + 1), |n| vec![if n / EVERY % 12 == 1 { "all" } else { "none" }.into()]);
        c.begin();
        assert_eq!(c.list(), ["all", "none"], "a twelfth is enough to stay");
        feed(&mut c, EVERY * (WINDOW + 1), |_| vec!["none".into()]);
        assert_eq!(c.list(), ["all", "none"], "it stays listed for the slice in which it was");
        c.begin();
        assert_eq!(c.list(), ["none"]);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let mut c = Common::default();
        c.begin();
        for n in 0..EVERY * WINDOW {
            if c.next() {
                (0..2000).for_each(|w| c.count(format!("{n} {w}").as_bytes()));
            }
        }
        assert_eq!(c.counts.len(), MAX);
    }
}
