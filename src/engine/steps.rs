//! State of `sequence` and `all_of`.

use super::evidence::Evidence;
use super::stream::Rank;
use super::table::grown;
use crate::event::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A match as a step sees it: the evidence, the steps it fills (one bit each), and the stream it came by (none for an alert).
#[derive(Clone, Debug)]
pub struct Fill {
    /// The event or alert.
    pub e: Evidence,
    /// Bit k: it fills step k.
    pub mask: u32,
    /// Its stream; an alert has none, `skew` does not apply to it.
    pub stream: Option<Rank>,
}

/// A chain whose first steps are filled.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chain {
    start: Timestamp,
    /// One for each filled step.
    filled: Vec<Evidence>,
}

/// One latest viable start for each step, and for each step the last events younger than the skew.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sequence {
    chains: Vec<Option<Chain>>,
    recent: Vec<VecDeque<(Evidence, Rank)>>,
}

/// A step keeps at most so many events that may still fill it backwards.
const MAX_RECENT: usize = 8;

impl Sequence {
    /// Takes a match of a sequence of `steps` steps; the evidence of a chain that it completes, one for each step.
    ///
    /// An event fills the steps from the last to the first, so that it never fills two of one chain. A chain takes the
    /// place of another whose start is not later: the latest start is reported, with each step's latest event.
    pub fn take(&mut self, f: Fill, steps: usize, within: Span, skew: Span) -> Option<Vec<Evidence>> {
        self.chains.resize_with(steps, || None);
        let fills = |k: usize| f.mask >> k & 1 == 1;
        let mut done = None;
        let mut reached = [false; 32];
        for k in (0..steps).rev().filter(|&k| fills(k)) {
            let chain = if k == 0 {
                Chain { start: f.e.ts, filled: vec![f.e.clone()] }
            } else {
                match &self.chains[k - 1] {
                    Some(c) if f.e.ts.0 - c.start.0 < within.0 => {
                        let mut filled = c.filled.clone();
                        filled.push(f.e.clone());
                        Chain { start: c.start, filled }
                    }
                    _ => continue,
                }
            };
            reached[k] = self.put(k, chain, &mut done);
        }
        if skew.0 > 0 {
            self.backwards(&f, steps, within, skew, &reached, &mut done);
        }
        done.map(|c| c.filled)
    }

    /// Puts a chain in its place; one that is complete is handed out instead.
    fn put(&mut self, k: usize, chain: Chain, done: &mut Option<Chain>) -> bool {
        if k + 1 == self.chains.len() {
            if done.as_ref().is_none_or(|d| chain.start > d.start) {
                *done = Some(chain);
            }
            return false;
        }
        let newer = self.chains[k].as_ref().is_none_or(|c| chain.start >= c.start);
        if newer {
            self.chains[k] = Some(chain);
        }
        newer
    }

    /// An event of another stream that came up to `skew` before this one may fill the step behind the one that this one
    /// fills. Two neighbours at a time: what is filled so fills nothing further.
    fn backwards(&mut self, f: &Fill, steps: usize, within: Span, skew: Span, reached: &[bool; 32], done: &mut Option<Chain>) {
        self.recent.resize_with(steps, VecDeque::new);
        let Some(stream) = f.stream else { return };
        for k in (1..steps).rev().filter(|&k| reached[k - 1]) {
            let Some(c) = self.chains[k - 1].as_ref() else { continue };
            let young = |e: &Evidence| e.ts >= f.e.ts.minus(skew) && !c.filled.iter().any(|x| x.seq == e.seq);
            let Some((y, _)) = self.recent[k].iter().rev().find(|(e, by)| *by != stream && young(e)) else { continue };
            if f.e.ts.0 - c.start.0 >= within.0 {
                continue;
            }
            let mut filled = c.filled.clone();
            filled.push(y.clone());
            let chain = Chain { start: c.start, filled };
            self.put(k, chain, done);
        }
        for k in (1..steps).filter(|&k| f.mask >> k & 1 == 1) {
            let r = &mut self.recent[k];
            r.retain(|(e, _)| e.ts >= f.e.ts.minus(skew));
            if r.len() == MAX_RECENT {
                r.pop_front();
            }
            r.push_back((f.e.clone(), stream));
        }
    }

    /// Calls `f` with each event kept.
    pub fn each(&mut self, f: &mut dyn FnMut(&mut Evidence)) {
        self.chains.iter_mut().flatten().flat_map(|c| &mut c.filled).for_each(&mut *f);
        self.recent.iter_mut().flatten().for_each(|(e, _)| f(e));
    }

    /// Bytes on the heap, by lengths alone: the same after state has been saved and restored.
    pub fn bytes(&self) -> usize {
        let chains: usize = self.chains.iter().flatten().map(|c| grown(c.filled.len()) * size_of::<Evidence>()).sum();
        let recent: usize = self.recent.iter().map(|r| grown(r.len()) * size_of::<(Evidence, Rank)>()).sum();
        chains + recent + grown(self.chains.len()) * size_of::<Option<Chain>>()
    }
}

/// The latest event of each step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AllOf {
    /// With the number of the match, which orders them.
    latest: Vec<Option<(u64, Evidence)>>,
    matches: u64,
}

impl AllOf {
    /// Takes a match; if then enough steps are filled in the window, and all that are required, the latest event of each
    /// filled step, in the order of time, an event once.
    pub fn take(&mut self, f: Fill, steps: usize, required: u32, at_least: u32, within: Span) -> Option<Vec<Evidence>> {
        self.latest.resize_with(steps, || None);
        self.matches += 1;
        for k in (0..steps).filter(|&k| f.mask >> k & 1 == 1) {
            self.latest[k] = Some((self.matches, f.e.clone()));
        }
        let open = |e: &&(u64, Evidence)| e.1.ts > f.e.ts.minus(within);
        let filled = self.filled(f.e.ts, within);
        if filled.count_ones() < at_least || filled & required != required {
            return None;
        }
        let mut all: Vec<&(u64, Evidence)> = self.latest.iter().flatten().filter(open).collect();
        all.sort_by_key(|(n, _)| *n);
        all.dedup_by_key(|(n, _)| *n);
        Some(all.into_iter().map(|(_, e)| e.clone()).collect())
    }

    /// The steps that are filled in the window that ends at `now`, one bit each.
    pub fn filled(&self, now: Timestamp, within: Span) -> u32 {
        let open = |e: &Option<(u64, Evidence)>| e.as_ref().is_some_and(|(_, e)| e.ts > now.minus(within));
        self.latest.iter().enumerate().filter(|(_, e)| open(e)).fold(0, |m, (k, _)| m | 1 << k)
    }

    /// Calls `f` with each event kept.
    pub fn each(&mut self, f: &mut dyn FnMut(&mut Evidence)) {
        self.latest.iter_mut().flatten().for_each(|(_, e)| f(e));
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        grown(self.latest.len()) * size_of::<Option<(u64, Evidence)>>()
    }
}
