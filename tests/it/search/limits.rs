//! Searches that are cut, and journals that cannot be read: what is found is right, and what is not searched is said.

use super::corpus::Corpus;
use super::{BOUNDS, naive, pages, queries, searched};
use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use vigild::disk::sim::Dice;
use vigild::search::find::{Bounds, Cut, Found, Ground, Range, find};
use vigild::search::page::{Key, Order};
use vigild::search::query::Query;

fn all(c: &Corpus) -> Range {
    Range { since: None, until: None, last_lsn: c.last.0, last_seq: c.last.1 }
}

/// Queries that read, with what a scan finds.
fn asked(c: &Corpus, d: &mut Dice, n: usize) -> Vec<(String, Query, Vec<Key>)> {
    let mut some = Vec::new();
    while some.len() < n {
        let text = queries::text(d);
        if let Ok(q) = Query::new(&text, &c.past.today()) {
            let want = naive(c, &q, &all(c), &[]).0;
            some.push((text, q, want));
        }
    }
    some
}

/// What is found is right; what is left out is said.
#[track_caller]
fn right(found: &Found, want: &[Key], what: &str) {
    let got = pages(found, Order::Oldest, 50);
    assert!(got.iter().all(|k| want.contains(k)), "{what}: {got:?} of {want:?}");
    assert_eq!(got.len() as u64, found.total, "{what}");
    assert!(got.len() == want.len() || found.cut.is_some() || !found.missing.is_empty(), "{what}: {got:?} of {want:?}");
}

#[test]
fn a_search_that_is_cut_says_so_and_what_it_has_is_right() {
    let (mut cut, mut some) = (0, 0);
    for seed in 0..8 {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        for (text, q, want) in asked(&c, &mut d, 20) {
            let bounds = Bounds { records: d.below(40), ..BOUNDS };
            let found = searched(&c, &q, &all(&c), &[], &bounds);
            right(&found, &want, &format!("seed {seed}: {text}"));
            assert!(found.scanned <= bounds.records && found.cut.is_none_or(|c| c == Cut::Records), "{text}");
            cut += usize::from(found.cut.is_some());
            some += usize::from(found.cut.is_some() && found.total > 0);
        }
    }
    assert!(cut > 40 && some > 20, "{cut} were cut, {some} of them found something");
}

#[test]
fn the_newest_are_read_where_too_many_are_not_in_the_index() {
    let mut d = Dice(3);
    let c = Corpus::new(&mut d);
    for m in c.index.manifests() {
        c.index.remove(|o| o.first == m.first).expect("removed");
    }
    let q = Query::new("", &c.past.today()).expect("a query");
    let found = searched(&c, &q, &all(&c), &[], &Bounds { records: 20, ..BOUNDS });
    let seqs: Vec<u64> = found.loose.iter().map(|l| l.seq).collect();
    assert!(seqs.len() > 10 && seqs.last() == Some(&c.last.1), "{seqs:?}");
    let [m] = &found.missing[..] else { panic!("{:?}", found.missing) };
    assert_eq!((m.first, m.last), (1, seqs[0] - 1));
    assert!(m.why.contains("not in the index yet"), "{m:?}");
}

#[test]
fn time_memory_and_clients_that_have_gone_end_a_search() {
    let mut d = Dice(5);
    let c = Corpus::new(&mut d);
    let q = Query::new("", &c.past.today()).expect("a query");
    let reader = c.journal.reader();
    for (bounds, gone, want) in [
        (Bounds { time: Duration::ZERO, ..BOUNDS }, false, Cut::Time),
        (BOUNDS, true, Cut::Stopped),
        (Bounds { memory: 0, ..BOUNDS }, false, Cut::Memory),
    ] {
        let stop = AtomicBool::new(gone);
        let ground = Ground { reader: &reader, index: &c.index, past: &c.past, stop: &stop };
        let mut q = q.clone();
        let field = q.field("user.name").expect("a field");
        let found = find(&ground, &q, &all(&c), &[field], &bounds);
        assert_eq!(found.cut, Some(want));
        assert!(!found.missing.is_empty());
        right(&found, &naive(&c, &q, &all(&c), &[]).0, "cut");
    }
}

#[test]
fn what_the_journal_does_not_give_is_missing_and_said() {
    let (mut damaged, mut less) = (0, 0);
    for seed in 100..116 {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        // A load that cannot be read is known from saved states and slices.
        c.past_at(c.last.0);
        let some = asked(&c, &mut d, 20);
        let mut files: Vec<_> = fs::read_dir(c.dir.path().join("journal")).expect("names").map(|f| f.expect("a file").path()).collect();
        files.retain(|f| f.extension().is_some_and(|e| e == "log" || e == "seal"));
        files.sort();
        let file = &files[d.below(files.len() as u64) as usize];
        let mut bytes = fs::read(file).expect("read");
        let at = bytes.len() as u64 / 4 + d.below(bytes.len() as u64 / 2);
        bytes[at as usize] ^= 1 << d.below(8);
        // In its place: the journal has it open.
        std::os::unix::fs::FileExt::write_all_at(&fs::OpenOptions::new().write(true).open(file).expect("open"), &bytes, 0).expect("written");
        for (text, q, want) in some {
            let found = searched(&c, &q, &all(&c), &[], &BOUNDS);
            right(&found, &want, &format!("seed {seed}: {text}"));
            damaged += usize::from(!found.missing.is_empty());
            less += usize::from((found.total as usize) < want.len());
        }
    }
    assert!(damaged > 20 && less > 5, "{damaged} searches met damage, {less} found less");
}
