//! Copies of a unit's state that have its first waiting hits in them.
//!
//! A hit that comes out of order spoils the copies that have hits behind it. So a unit in which that has happened keeps a few
//! earlier ones, and only what stands behind the nearest of them is applied again. They are no part of saved state: without
//! them the state that is final is where applying begins, and comes to the same.

use super::group::{Group, Quiet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// So many hits lie at least between two copies of a unit.
const STEP: usize = 16;
/// So many are kept beside the newest.
const KEPT: usize = 4;

/// See the module.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Copies {
    /// Those of the groups that the hits are of.
    pub groups: Vec<(Arc<[u8]>, Group)>,
    pub quiet: Quiet,
    /// So many of the waiting hits are in them.
    pub applied: usize,
    /// The same with fewer hits.
    #[serde(skip)]
    before: Option<Box<Copies>>,
}

impl Copies {
    /// Of state that is final, with no waiting hit in it.
    pub fn new(quiet: Quiet) -> Box<Copies> {
        Box::new(Copies { quiet, ..Copies::default() })
    }

    /// The copy of a group, made of the final one by `of` where there is none yet.
    pub fn group(&mut self, key: &Arc<[u8]>, of: impl FnOnce() -> Group) -> (&mut Group, &mut Quiet) {
        let i = match self.groups.iter().position(|(k, _)| k == key) {
            Some(i) => i,
            None => {
                self.groups.push((key.clone(), of()));
                self.groups.len() - 1
            }
        };
        (&mut self.groups[i].1, &mut self.quiet)
    }

    /// Before one more of `waiting` hits is applied: keeps how it stands, if the last that was kept is far enough behind.
    /// Hits seldom come far out of order, so nothing is kept long before the last.
    pub fn keep(&mut self, waiting: usize) {
        let last = self.before.as_ref().map_or(0, |b| b.applied);
        if self.applied < last + STEP || self.applied + KEPT * STEP < waiting {
            return;
        }
        let (groups, quiet) = (self.groups.clone(), self.quiet.clone());
        self.before = Some(Box::new(Copies { groups, quiet, applied: self.applied, before: self.before.take() }));
        let mut at = &mut self.before;
        for _ in 0..KEPT {
            match at {
                Some(c) => at = &mut c.before,
                None => return,
            }
        }
        *at = None;
    }

    /// The newest that has at most the first `at` hits in it.
    pub fn back_to(mut this: Option<Box<Copies>>, at: usize) -> Option<Box<Copies>> {
        while let Some(c) = this.take_if(|c| c.applied > at) {
            this = c.before;
        }
        this
    }

    /// The first of the waiting hits has become final. A copy without another is what is final.
    pub fn first_is_final(this: &mut Option<Box<Copies>>) {
        let mut at = this;
        while let Some(c) = at.take_if(|c| c.applied > 1) {
            let c = at.insert(c);
            c.applied -= 1;
            at = &mut c.before;
        }
        *at = None;
    }
}
