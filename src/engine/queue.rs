//! Hits that wait for the watermark, in the order of events.

use super::hit::Pos;
use crate::event::Timestamp;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A queue ordered by position. What comes in order costs a push; only what does not goes through the heap.
#[derive(Debug, Default)]
pub struct Queue {
    line: VecDeque<(Pos, u32)>,
    heap: BinaryHeap<Reverse<(Pos, u32)>>,
}

impl Queue {
    /// Adds a slot at a position.
    pub fn push(&mut self, pos: Pos, slot: u32) {
        if self.line.back().is_none_or(|(last, _)| *last <= pos) {
            self.line.push_back((pos, slot));
        } else {
            self.heap.push(Reverse((pos, slot)));
        }
    }

    /// Takes the first slot before `mark` out.
    pub fn pop(&mut self, mark: Timestamp) -> Option<u32> {
        let line = self.line.front().map(|(p, _)| p);
        let heap = self.heap.peek().map(|Reverse((p, _))| p);
        let from_heap = match (line, heap) {
            (None, None) => return None,
            (Some(l), Some(h)) => h < l,
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let first = if from_heap { heap } else { line }?;
        if first.ts >= mark {
            return None;
        }
        if from_heap { self.heap.pop().map(|Reverse((_, s))| s) } else { self.line.pop_front().map(|(_, s)| s) }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.line.len() + self.heap.len()
    }
}
