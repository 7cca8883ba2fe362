//! Records as whole events, as they are shown: all fields, and what has no ECS name.
//!
//! To make what reads them takes longer than most searches do otherwise, so a few of these are kept when they have done.

use super::bundle::Loaded;
use super::past::{Head, read};
use crate::event::{Arena, Event, Layout, Out, Own, Slot, field};
use crate::journal::Records;
use crate::parse::Parsers;
use std::sync::{Arc, Mutex, PoisonError};

/// So many are kept at most, of all bundles.
const KEPT: usize = 4;

/// Reads records of one bundle.
pub struct Whole {
    loaded: Arc<Loaded>,
    layout: Layout,
    parsers: Parsers,
    arena: Arena,
    slots: Vec<Slot>,
    own: Own,
}

impl Whole {
    fn new(loaded: Arc<Loaded>) -> Whole {
        let layout = Layout::full(&loaded.rules.schema);
        let parsers = Parsers::new(&loaded.rules.schema, &layout, &loaded.formats);
        Whole { slots: vec![Slot::Missing; layout.len()], parsers, arena: Arena::default(), own: Own::default(), loaded, layout }
    }

    /// The bundle.
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// The event of a record of the number `seq`, and what it has that has no ECS name.
    pub fn read<'a>(&'a mut self, r: &'a Records, record: usize, seq: u64) -> Option<(Event<'a>, &'a Own)> {
        let one = *r.batch.records.get(record)?;
        let head = Head { source: &r.source, format: r.format.as_deref(), received: r.received, near: r.near };
        self.arena.clear();
        self.own.entries.clear();
        let mut out = Out::new(&r.batch.bytes, &mut self.arena, &mut self.slots, &self.layout, Some(&mut self.own));
        read(&self.loaded, &mut self.parsers, &head, (&r.batch, one), &mut out);
        out.put(field::EVENT_SEQUENCE, Out::number(seq));
        Some((Event::new(&r.batch.bytes, &self.arena, &self.slots, &self.layout), &self.own))
    }
}

/// Those that nobody uses, the last to come back at the end.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Whole>>);

impl Kept {
    /// One for a bundle.
    pub fn take(&self, loaded: Arc<Loaded>) -> Whole {
        let kept = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().rposition(|w| w.loaded.hash == loaded.hash).map(|i| all.remove(i))
        };
        kept.unwrap_or_else(|| Whole::new(loaded))
    }

    /// Takes one back for whoever comes next; of too many the one goes that has lain the longest.
    pub fn give(&self, mut w: Whole) {
        // What a long record has taken is not kept.
        (w.arena, w.own) = (Arena::default(), Own::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == KEPT {
            all.remove(0);
        }
        all.push(w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::pipeline::bundle::Bundle;

    fn bundle(n: u8) -> Arc<Loaded> {
        let (_, loaded, _) = Bundle::of(&Config::default(), Vec::new(), &|_| Err("there is none".into()));
        Arc::new(Loaded { hash: [n; 32], ..loaded })
    }

    #[test]
    fn a_few_are_kept_each_for_its_own_bundle() {
        let (kept, all) = (Kept::default(), [1, 2, 3, 4, 5].map(bundle));
        let lying = |kept: &Kept| kept.0.lock().expect("whole").iter().map(|w| w.loaded.hash[0]).collect::<Vec<_>>();
        let (a, b) = (kept.take(all[0].clone()), kept.take(all[0].clone()));
        assert!(lying(&kept).is_empty(), "two use it at once");
        kept.give(a);
        assert_eq!((lying(&kept), kept.take(all[1].clone()).loaded().hash), (vec![1], [2; 32]));
        drop(kept.take(all[0].clone()));
        assert!(lying(&kept).is_empty());
        kept.give(b);
        for of in &all[1..] {
            let w = kept.take(of.clone());
            kept.give(w);
        }
        assert_eq!(lying(&kept), [2, 3, 4, 5], "the oldest has gone");
    }
}
