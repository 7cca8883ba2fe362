//! Slices against a naive reading of the same events: what the tests are made with.

mod damage;
mod merge;
mod slice;

use super::*;
use crate::event::{Arena, Batch, Event, Layout, Out, Schema, Slot, Timestamp, Value, field, words};
use crate::r#gen::{Form, Recipe, START, Stream};
use crate::journal::Address;
use crate::parse::{Context, Estate, Parsers, declared};
use crate::rule::RuleSet;
use jiff::tz::TimeZone;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The journal's identity in these tests.
pub const JOURNAL: u64 = 7;

/// Records, one an entry, that the tests build slices of; entry 1 holds the first.
pub struct Load {
    pub batch: Batch,
    pub plan: Arc<Plan>,
    parsers: Parsers,
    arena: Arena,
    slots: Vec<Slot>,
}

impl Load {
    pub fn new(records: &[Vec<u8>]) -> Load {
        let (rules, formats) = (RuleSet::default(), declared::Formats::default());
        let plan = Arc::new(Plan::new(&rules, &[]));
        let mut batch = Batch::default();
        records.iter().for_each(|r| batch.push(r, false));
        let parsers = Parsers::new(&rules.schema, plan.layout(), &formats);
        Load { batch, parsers, arena: Arena::default(), slots: vec![Slot::Missing; plan.layout().len()], plan }
    }

    /// Records of all tools.
    pub fn mixed(n: u64) -> Load {
        let mut s = Stream::new(&Recipe { forms: Form::MIXED.to_vec(), count: Some(n), start: Some(START), ..Recipe::default() }, 0);
        let mut all = Vec::new();
        let mut one = Vec::new();
        while s.next(START, &mut one).is_some() {
            all.push(std::mem::take(&mut one));
        }
        Load::new(&all)
    }

    /// Calls `f` with each event and its time.
    pub fn each(&mut self, lsns: std::ops::RangeInclusive<u64>, mut f: impl FnMut(u64, &Event<'_>, &[u8], Timestamp)) {
        let estate = Estate::default();
        let ctx = Context { zone: &TimeZone::UTC, near: START, named: false, estate: &estate };
        for lsn in lsns {
            let r = self.batch.records[lsn as usize - 1];
            self.arena.clear();
            let layout: &Layout = self.plan.layout();
            let mut out = Out::new(&self.batch.bytes, &mut self.arena, &mut self.slots, layout, None);
            self.parsers.event(&ctx, None, self.batch.record(r), false, &mut out);
            let event = Event::new(&self.batch.bytes, &self.arena, &self.slots, layout);
            f(lsn, &event, self.batch.record(r), event.timestamp().unwrap_or(START));
        }
    }

    /// Builds and publishes the slice of these entries.
    pub fn build(&mut self, index: &Index, lsns: std::ops::RangeInclusive<u64>, common: &mut Common) -> Slice {
        let from = From { lsn: *lsns.start(), bundle: &[7; 32] };
        let mut b = Builder::new(index, from, self.plan.clone(), common, Arc::default()).expect("a builder");
        self.each(lsns.clone(), |lsn, event, raw, time| {
            let r = Record { seq: lsn, at: at(lsn), time, stream: if lsn % 3 == 0 { "three" } else { "other" }, raw };
            b.add(&r, event, common).expect("added");
        });
        b.publish(*lsns.end(), common).expect("published")
    }

    /// Compares all that a slice of these entries says with a naive reading.
    #[track_caller]
    pub fn check(&mut self, s: &Slice) {
        let mut of: BTreeMap<String, BTreeMap<String, RoaringBitmap>> = BTreeMap::new();
        let mut beyond: BTreeMap<String, RoaringBitmap> = BTreeMap::new();
        let (mut by_word, mut times): (BTreeMap<String, RoaringBitmap>, Vec<Timestamp>) = Default::default();
        let schema = Schema::default();
        let (first, last) = (s.first(), s.last());
        self.each(first..=last, |lsn, event, raw, time| {
            let doc = (lsn - first) as u32;
            assert_eq!((s.time(doc), s.seq(doc), s.address(doc)), (time, lsn, at(lsn)));
            let stream = event.get(field::EVENT_STREAM).str().map(|s| String::from_utf8_lossy(s).into_owned());
            let stream = stream.unwrap_or(if lsn % 3 == 0 { "three".into() } else { "other".into() });
            assert_eq!(s.stream_name(s.stream(doc)).expect("a name"), stream);
            times.push(time);
            for &f in event.layout().fields() {
                for (i, v) in event.get(f).each().enumerate() {
                    let name = schema.name(f).to_owned();
                    if i >= MAX_VALUES {
                        beyond.entry(name).or_default().insert(doc);
                    } else {
                        of.entry(name).or_default().entry(format!("{v:?}")).or_default().insert(doc);
                    }
                }
            }
            for w in words::words(event.get(field::MESSAGE).str().unwrap_or(raw)) {
                by_word.entry(folded(w)).or_default().insert(doc);
            }
        });
        assert_eq!(u64::from(s.docs()), last - first + 1);
        let none = RoaringBitmap::new();
        for name in s.fields() {
            let (want, beyond) = (of.entry(name.clone()).or_default(), beyond.get(name).unwrap_or(&none));
            assert_eq!(s.having(name).expect("read"), want.values().fold(beyond.clone(), |a, b| a | b), "{name}");
            let unsure = s.unsure(name).expect("read");
            assert!(unsure.is_superset(beyond), "{name}");
            // What the walk over values comes to.
            let (mut walked, mut sure) = (BTreeMap::new(), BTreeMap::new());
            s.tally(name, None, &mut |v, n| {
                walked.insert(format!("{v:?}"), n);
                let one = s.values(name, &mut |o, docs| Ok(o == v && docs == n))?;
                assert_eq!((one.sure.len(), &one.may - &one.sure), (n, &unsure - &one.sure), "{name} {v:?}");
                sure.insert(format!("{v:?}"), one.sure);
                Ok(())
            })
            .expect("read");
            let counted: BTreeMap<String, u64> = sure.iter().map(|(v, d)| (v.clone(), d.len())).collect();
            assert_eq!(walked, counted, "{name}");
            for (v, docs) in want.iter() {
                let sure = sure.get(v).unwrap_or(&none);
                assert!(docs.is_superset(sure) && (sure | &unsure).is_superset(docs), "{name} {v}");
            }
            assert!(sure.keys().all(|v| want.contains_key(v)), "{name}");
            for doc in &unsure {
                let hidden = |(v, docs): (&String, &RoaringBitmap)| docs.contains(doc) && !sure.get(v).is_some_and(|s| s.contains(doc));
                assert!(beyond.contains(doc) || want.iter().any(hidden), "{name}: {doc} is unsure without a reason");
            }
            let odd: RoaringBitmap = (0..s.docs()).filter(|d| d % 2 == 1).collect();
            let mut some = BTreeMap::new();
            s.tally(name, Some(&odd), &mut |v, n| {
                some.insert(format!("{v:?}"), n);
                Ok(())
            })
            .expect("read");
            let some_want: BTreeMap<String, u64> = sure.iter().map(|(v, d)| (v.clone(), (d & &odd).len())).filter(|v| v.1 > 0).collect();
            assert_eq!(some, some_want, "{name}");
        }
        // Each value is found by its name.
        let mut seen = std::collections::BTreeSet::new();
        let mut vague = (0, 0);
        self.each(first..=last, |_, event, _, _| {
            for &f in event.layout().fields() {
                let name = schema.name(f);
                for v in event.get(f).each().take(MAX_VALUES).filter(|v| s.indexes(name) && seen.insert(format!("{name} {v:?}"))) {
                    let (docs, a) = (&of[name][&format!("{v:?}")], s.equal(name, &[v]).expect("read"));
                    assert!(docs.is_superset(&a.sure) && a.may.is_superset(docs) && a.may.is_superset(&a.sure), "{name} {v:?}");
                    vague = (vague.0 + (&a.may - docs).len(), vague.1 + docs.len());
                    if let Value::Str(text) = v {
                        let lower = folded(text).into_bytes();
                        let b = s.folded(name, std::slice::from_ref(&lower)).expect("read");
                        let text = s.values(name, &mut |o, _| Ok(o.str().is_some_and(|o| folded(o).as_bytes() == lower))).expect("read");
                        assert!(b.sure == text.sure && b.may.is_superset(docs) && b.may.is_superset(&a.sure), "{name} {v:?}");
                    }
                }
            }
        });
        for (w, docs) in &by_word {
            let a = s.word(&w.to_uppercase()).expect("read");
            assert!(docs.is_superset(&a.sure) && a.may.is_superset(docs), "{w}");
            if s.manifest().common.contains(w) {
                assert_eq!(a.may.len(), u64::from(s.docs()));
            } else {
                vague = (vague.0 + (&a.may - docs).len(), vague.1 + docs.len());
            }
        }
        // A chunk of documents is named for each word that comes seldom.
        assert!(vague.0 <= 400 * vague.1, "{} documents are named for nothing, {} for something", vague.0, vague.1);
        let (mut sorted, n) = (times.clone(), times.len());
        sorted.sort_unstable();
        assert_eq!((s.oldest(), s.newest()), (sorted[0], sorted[n - 1]));
        for (a, b) in [(0, n - 1), (n / 3, n / 2), (n / 2, n / 3), (n - 1, n - 1)] {
            let (since, until) = (sorted[a], sorted[b]);
            let want: RoaringBitmap = (0..n as u32).filter(|d| since <= times[*d as usize] && times[*d as usize] < until).collect();
            assert_eq!(s.within(since, until), want);
        }
        assert_eq!(s.within(Timestamp::MIN, Timestamp::MAX).len(), n as u64);
    }
}

/// Where the record of an entry stands.
pub fn at(lsn: u64) -> Address {
    Address { segment: 1 + lsn / 500 * 500, offset: lsn * 900, record: (lsn % 3) as u32 }
}

fn folded(text: &[u8]) -> String {
    let mut lower = Vec::new();
    words::fold(text, &mut lower);
    String::from_utf8_lossy(&lower).into_owned()
}
