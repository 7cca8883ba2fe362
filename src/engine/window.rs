//! State of `count`, `distinct` and `sum`: exact, and bounded.
//!
//! Matches come in the order of events, so times never go back. Each state takes a match and answers with the value
//! inside the window `(t - within, t]`.

use super::evidence::Evidence;
use crate::event::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Whether an instant is inside the window that ends at `now`.
fn inside(t: Timestamp, now: Timestamp, within: Span) -> bool {
    t > now.minus(within)
}

/// Makes room for one more: by one where there is little, since most keys match once or twice and go.
fn room<T>(q: &mut VecDeque<T>) {
    if q.len() == q.capacity() && q.len() < 4 {
        q.reserve_exact(1 + q.len());
    }
}

/// The room that [`room`] gives to so many. Bytes are reckoned by lengths alone: they are the same after state has been saved
/// and restored, when the real room is another.
fn roomed(len: usize) -> usize {
    match len {
        0 | 1 => len,
        2 | 3 => 3,
        n => 7 * n.div_ceil(7).next_power_of_two(),
    }
}

/// The last N matches: enough for "at least N in the window".
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    last: VecDeque<Evidence>,
}

impl Count {
    /// Takes a match. The number of matches in the window, counted up to `n`.
    pub fn take(&mut self, e: Evidence, n: u32, within: Span) -> u32 {
        let now = e.ts;
        if self.last.len() >= n as usize {
            self.last.pop_front();
        }
        room(&mut self.last);
        self.last.push_back(e);
        self.inside(now, within).count() as u32
    }

    /// Whether the oldest of the last `n` is inside: cheaper than counting.
    pub fn is_full(&self, now: Timestamp, n: u32, within: Span) -> bool {
        self.last.len() >= n as usize && self.last.front().is_some_and(|x| inside(x.ts, now, within))
    }

    /// Takes a match without counting.
    pub fn push(&mut self, e: Evidence, n: u32) {
        if self.last.len() >= n as usize {
            self.last.pop_front();
        }
        room(&mut self.last);
        self.last.push_back(e);
    }

    /// The matches in the window that ends at `now`, of those kept, the latest first.
    pub fn inside(&self, now: Timestamp, within: Span) -> impl Iterator<Item = &Evidence> {
        self.last.iter().rev().take_while(move |x| inside(x.ts, now, within))
    }

    /// The matches kept, oldest first.
    pub fn evidence(&self) -> impl DoubleEndedIterator<Item = &Evidence> {
        self.last.iter()
    }

    /// Calls `f` with each match kept.
    pub fn each(&mut self, f: &mut dyn FnMut(&mut Evidence)) {
        self.last.iter_mut().for_each(f);
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        roomed(self.last.len()) * size_of::<Evidence>()
    }
}

/// The N most recently seen values with their last times: enough for "at least N different in the window".
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Distinct {
    /// Least recently seen first. A value is its 128-bit hash.
    seen: VecDeque<(u128, Evidence)>,
}

impl Distinct {
    /// Takes a match with its values. The number of different values in the window, up to `n`.
    pub fn take(&mut self, e: &Evidence, values: &[u128], n: u32, within: Span) -> u32 {
        for &v in values {
            // Values repeat soon: the search goes from the newest.
            if let Some(i) = self.seen.iter().rposition(|(x, _)| *x == v) {
                self.seen.remove(i);
            } else if self.seen.len() >= n as usize {
                self.seen.pop_front();
            }
            room(&mut self.seen);
            self.seen.push_back((v, e.clone()));
        }
        self.inside(e.ts, within).count() as u32
    }

    /// The values in the window that ends at `now`, of those kept, the latest first.
    pub fn inside(&self, now: Timestamp, within: Span) -> impl Iterator<Item = u128> {
        self.seen.iter().rev().take_while(move |(_, x)| inside(x.ts, now, within)).map(|(v, _)| *v)
    }

    /// The latest event of each value kept, least recent first; an event stands once for each value.
    pub fn evidence(&self) -> impl DoubleEndedIterator<Item = &Evidence> {
        self.seen.iter().map(|(_, e)| e)
    }

    /// Calls `f` with the event of each value kept.
    pub fn each(&mut self, f: &mut dyn FnMut(&mut Evidence)) {
        self.seen.iter_mut().for_each(|(_, e)| f(e));
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        roomed(self.seen.len()) * size_of::<(u128, Evidence)>()
    }
}

/// Values that add up, in millionths.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sum {
    entries: VecDeque<Entry>,
    total: i128,
    /// What has left early because it was merged to an earlier time, and until when that matters.
    early: (i128, Timestamp),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    e: Evidence,
    last: Timestamp,
    matches: u32,
    value: i128,
    /// The part of the value that stands at an earlier time than it happened.
    moved: i128,
}

/// What a sum comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The sum in the window, never too high.
    pub value: i128,
    /// By how much it can be too low at most.
    pub short: i128,
    /// How many matches.
    pub matches: u64,
}

impl Sum {
    /// At most so many entries a key; beyond that the two neighbours closest in time become one at the earlier time.
    pub const MAX_ENTRIES: usize = 256;

    /// Takes a match with its value, above 0.
    pub fn take(&mut self, e: Evidence, value: i128, within: Span) -> Total {
        let now = e.ts;
        self.expire(now, within);
        self.entries.push_back(Entry { last: e.ts, e, matches: 1, value, moved: 0 });
        self.total = self.total.saturating_add(value);
        if self.entries.len() > Self::MAX_ENTRIES {
            self.merge();
        }
        let short = if self.early.1 > now { self.early.0 } else { 0 };
        Total { value: self.total, short, matches: self.entries.iter().map(|x| x.matches as u64).sum() }
    }

    /// The sum of what is kept, which is at least that in the window.
    pub fn total(&self) -> i128 {
        self.total
    }

    fn expire(&mut self, now: Timestamp, within: Span) {
        while self.entries.front().is_some_and(|x| !inside(x.e.ts, now, within)) {
            if let Some(x) = self.entries.pop_front() {
                self.total -= x.value;
                let until = x.last.plus(within);
                if x.moved > 0 && until > now {
                    let kept = if self.early.1 > now { self.early.0 } else { 0 };
                    self.early = (kept + x.moved, until.max(self.early.1));
                }
            }
        }
        // What is reckoned by the length is not to hold much more.
        if self.entries.capacity() > 4 * self.entries.len().max(4) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    fn merge(&mut self) {
        let gap = |i: usize| self.entries[i + 1].e.ts.0.saturating_sub(self.entries[i].e.ts.0);
        let Some(i) = (0..self.entries.len().saturating_sub(1)).min_by_key(|&i| gap(i)) else { return };
        if let Some(b) = self.entries.remove(i + 1) {
            let a = &mut self.entries[i];
            a.moved += if b.e.ts > a.e.ts { b.value } else { b.moved };
            a.value += b.value;
            a.matches += b.matches;
            a.last = a.last.max(b.last);
        }
    }

    /// The first event of each entry, oldest first.
    pub fn evidence(&self) -> impl DoubleEndedIterator<Item = &Evidence> {
        self.entries.iter().map(|x| &x.e)
    }

    /// The latest time in the window.
    pub fn latest(&self) -> Option<Timestamp> {
        self.entries.iter().map(|x| x.last).max()
    }

    /// Calls `f` with each match kept.
    pub fn each(&mut self, f: &mut dyn FnMut(&mut Evidence)) {
        self.entries.iter_mut().for_each(|x| f(&mut x.e));
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        super::table::grown(self.entries.len()) * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(t: i64) -> Evidence {
        Evidence { ts: Timestamp(t), seq: t as u64, mark: 0, alert: None, kept: None }
    }

    #[test]
    fn a_sum_over_its_limit_is_never_too_high_and_says_how_much_too_low() {
        let w = Span(10_000);
        let mut exact: Vec<(i64, i128)> = Vec::new();
        let mut s = Sum::default();
        let mut was_short = false;
        for i in 0..3000i64 {
            let (t, v) = (i * 7 + i % 3, 1 + (i % 11) as i128);
            let got = s.take(e(t), v, w);
            exact.push((t, v));
            let want: i128 = exact.iter().filter(|(x, _)| *x > t - w.0).map(|(_, v)| v).sum();
            assert!(got.value <= want && want <= got.value + got.short, "at {t}: {got:?} for {want}");
            was_short |= got.value < want;
            assert!(s.entries.len() <= Sum::MAX_ENTRIES);
        }
        assert!(was_short, "the limit has been reached");
    }

    #[test]
    fn a_sum_below_its_limit_is_exact() {
        let mut s = Sum::default();
        assert_eq!(s.take(e(0), 5, Span(10)), Total { value: 5, short: 0, matches: 1 });
        assert_eq!(s.take(e(9), 5, Span(10)), Total { value: 10, short: 0, matches: 2 });
        assert_eq!(s.take(e(10), 1, Span(10)), Total { value: 6, short: 0, matches: 2 });
    }
}
