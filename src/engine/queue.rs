//! Hits that wait for the watermark, in the order of events.

use super::hit::Pos;
use crate::event::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What waits at a position; at one position in the order in which it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// Where.
    pub pos: Pos,
    /// It came after so many others of its queue.
    pub nth: u64,
    /// The slot of the hit.
    pub slot: u32,
}

/// A queue ordered by position. What comes in order costs a push; only what does not goes through the heap.
#[derive(Debug, Default)]
pub struct Queue {
    line: VecDeque<Waiting>,
    heap: BinaryHeap<Reverse<Waiting>>,
    pushed: u64,
}

impl Queue {
    /// Adds a slot at a position.
    pub fn push(&mut self, pos: Pos, slot: u32) {
        let w = Waiting { pos, nth: self.pushed, slot };
        self.pushed += 1;
        if self.line.back().is_none_or(|last| last.pos <= w.pos) {
            self.line.push_back(w);
        } else {
            self.heap.push(Reverse(w));
        }
    }

    /// Takes the first slot before `mark` out.
    pub fn pop(&mut self, mark: Timestamp) -> Option<u32> {
        let line = self.line.front();
        let heap = self.heap.peek().map(|Reverse(w)| w);
        let from_heap = match (line, heap) {
            (None, None) => return None,
            (Some(l), Some(h)) => h < l,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let first = if from_heap { heap } else { line }?;
        if first.pos.ts >= mark {
            return None;
        }
        if from_heap { self.heap.pop().map(|Reverse(w)| w.slot) } else { self.line.pop_front().map(|w| w.slot) }
    }

    /// All that wait, in their order.
    pub fn sorted(&self) -> Vec<&Waiting> {
        let mut all: Vec<&Waiting> = self.line.iter().chain(self.heap.iter().map(|Reverse(w)| w)).collect();
        if !self.heap.is_empty() {
            // Most come in order, and this sort takes a stretch in order as it is.
            all.sort();
        }
        all
    }

    /// Takes out those whose slot is not to stay.
    pub fn retain(&mut self, mut stays: impl FnMut(u32) -> bool) {
        self.line.retain(|w| stays(w.slot));
        self.heap.retain(|Reverse(w)| stays(w.slot));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.line.len() + self.heap.len()
    }
}
