//! Slices whose files change while they are open: a search says what it has not searched, and the slice is put aside.

use super::corpus::Corpus;
use super::{BOUNDS, queries, searched};
use std::fs;
use std::os::unix::fs::FileExt;
use vigild::disk::sim::Dice;
use vigild::index::Slice;
use vigild::search::find::Range;
use vigild::search::query::Query;

/// Flips bits of the terms or of the posting lists of an open slice, in their place.
fn hurt(d: &mut Dice, s: &Slice) {
    let mut files: Vec<_> = fs::read_dir(s.dir()).expect("names").map(|f| f.expect("a file").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "term" || e == "idx"));
    files.sort();
    let file = &files[d.below(files.len() as u64) as usize];
    let len = fs::metadata(file).expect("there").len();
    let f = fs::OpenOptions::new().read(true).write(true).open(file).expect("open");
    for _ in 0..32 {
        let (at, mut b) = (d.below(len), [0]);
        f.read_exact_at(&mut b, at).expect("read");
        b[0] ^= 1 << d.below(8);
        f.write_all_at(&b, at).expect("written");
    }
}

#[test]
fn a_slice_that_is_damaged_while_it_is_open_is_told_as_missing_and_put_aside() {
    let mut told = 0;
    for seed in 0..40 {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        c.past_at(c.last.0);
        let slices = c.index.slices();
        let s = slices.iter().max_by_key(|s| s.docs()).expect("there are slices");
        hurt(&mut d, s);
        let range = Range { since: None, until: None, last_lsn: c.last.0, last_seq: c.last.1 };
        for _ in 0..20 {
            let Ok(mut q) = Query::new(&queries::text(&mut d), &c.past.today()) else { continue };
            let fields = ["user.name", "tags"].map(|n| q.field(n).expect("a field"));
            let found = searched(&c, &q, &range, &fields, &BOUNDS);
            // It may not have been asked for what has changed.
            let Some(m) = found.missing.first() else { continue };
            let (first, next) = s.manifest().seqs;
            assert_eq!((found.missing.len(), m.first, m.last), (1, first, next - 1), "seed {seed}");
            assert!(m.why.contains("the index cannot be read: a slice is damaged"), "seed {seed}: {m:?}");
            assert!(
                c.index.damaged() == 1 && c.index.missing(s.first()..=s.last()) == [s.first()..=s.last()],
                "seed {seed}: it is to be built again"
            );
            assert!(!s.dir().exists(), "seed {seed}: it is put aside");
            // From now on what it covered is read in the journal.
            assert_eq!(searched(&c, &q, &range, &fields, &BOUNDS).missing, [], "seed {seed}");
            told += 1;
            break;
        }
    }
    assert!(told > 10, "{told} slices did not answer");
}
