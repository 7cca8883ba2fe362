//! Words one behind the other in a text.

use crate::event::words;
use aho_corasick::AhoCorasick;
use std::collections::VecDeque;
use std::ops::Range;

/// Words that are looked for, ready to be asked.
#[derive(Clone, Debug)]
pub struct Phrase {
    words: Box<[Box<[u8]>]>,
    /// How many words at the front are also those before the place of a mismatch (Knuth, Morris, Pratt).
    back: Box<[usize]>,
    /// The longest word, where it is ASCII: a text of ASCII alone without it has nothing to walk through.
    rare: Option<AhoCorasick>,
    /// Whether a text of ASCII alone can have all words.
    ascii: bool,
}

impl Phrase {
    /// Words in lower case.
    pub fn new(all: &[String]) -> Phrase {
        let words: Box<[Box<[u8]>]> = all.iter().map(|w| w.as_bytes().into()).collect();
        let mut back = vec![0usize; words.len()];
        let mut k = 0;
        for i in 1..words.len() {
            while k > 0 && words[i] != words[k] {
                k = back[k - 1];
            }
            k += usize::from(words[i] == words[k]);
            back[i] = k;
        }
        let longest = all.iter().max_by_key(|w| w.len()).filter(|w| w.is_ascii());
        let rare = longest.and_then(|w| AhoCorasick::builder().ascii_case_insensitive(true).build([w]).ok());
        Phrase { ascii: all.iter().all(|w| w.is_ascii()), words, back: back.into(), rare }
    }

    /// Whether the text has these words one behind the other.
    pub fn is_in(&self, text: &[u8]) -> bool {
        if text.is_ascii() && (!self.ascii || self.rare.as_ref().is_some_and(|r| !r.is_match(text))) {
            return false;
        }
        self.spans(text).next().is_some()
    }

    /// Where the text has these words one behind the other, in order; two may overlap.
    pub fn spans<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        let (mut k, mut lower, mut starts) = (0, Vec::new(), VecDeque::new());
        let mut words = words::words(text);
        std::iter::from_fn(move || {
            while let Some(w) = words.next() {
                if starts.len() == self.words.len() {
                    starts.pop_front();
                }
                starts.push_back(words.at() - w.len());
                lower.clear();
                words::fold(w, &mut lower);
                // Behind a whole phrase the next may begin within it.
                while k > 0 && self.words.get(k).is_none_or(|x| **x != *lower) {
                    k = self.back[k - 1];
                }
                k += usize::from(self.words.get(k).is_some_and(|x| **x == *lower));
                if k == self.words.len() {
                    return starts.front().map(|&from| from..words.at());
                }
            }
            None
        })
    }
}
