//! Which slices are merged, and what of them is left.

use super::*;
use std::sync::atomic::AtomicBool;

/// Slices of so many documents side by side; 0 leaves a hole.
fn beside(docs: &[u32]) -> Vec<Manifest> {
    let all = docs.iter().enumerate().map(|(i, d)| (10 * i as u64 + 1, *d));
    all.filter(|m| m.1 > 0)
        .map(|(lsn, d)| {
            let mut m = Manifest::new(JOURNAL, lsn, lsn + 9);
            m.docs = d;
            m
        })
        .collect()
}

#[test]
fn neighbours_of_a_size_are_merged_the_smallest_first() {
    let (small, middle, large, mature) = (100, 100_000, 800_000, MATURE - 1);
    for (docs, want) in [
        (vec![small; 7], None),
        (vec![small; 8], Some(0..8)),
        (vec![middle; 8], Some(0..8)),
        ([vec![middle; 8], vec![small; 9]].concat(), Some(8..17)),
        ([vec![small; 4], vec![0], vec![small; 7]].concat(), None),
        ([vec![mature], vec![small; 5], vec![mature], vec![small; 5]].concat(), None),
        ([vec![small; 5], vec![middle; 3]].concat(), Some(0..8)),
        (vec![large; 6], Some(0..5)),
        (vec![large; 4], None),
        ([vec![mature; 9], vec![small; 3]].concat(), None),
        (vec![], None),
    ] {
        assert_eq!(pick(&beside(&docs)), want, "{docs:?}");
    }
}

#[test]
fn however_slices_come_they_stay_few_and_are_merged_not_too_often() {
    let mut all = Vec::new();
    let (mut lsn, mut written, mut built) = (1, 0u64, 0u64);
    for n in 0..20_000u32 {
        let docs = [90_000, 3, 20_000, 100_000, 500][(n.wrapping_mul(2_654_435_761) >> 16) as usize % 5];
        let mut m = Manifest::new(JOURNAL, lsn, lsn + 9);
        m.docs = docs;
        (lsn, built) = (lsn + 10, built + u64::from(docs));
        all.push(m);
        while let Some(r) = pick(&all) {
            assert!(r.len() > 1);
            let docs: u32 = all[r.clone()].iter().map(|m| m.docs).sum();
            assert!(docs <= MATURE);
            let mut m = Manifest::new(JOURNAL, all[r.start].first, all[r.end - 1].last);
            m.docs = docs;
            written += u64::from(docs);
            all.splice(r, [m]);
        }
        assert!(all.len() < 60 + (built / u64::from(MATURE / 2)) as usize, "{n}: {}", all.len());
    }
    assert!(written < 5 * built, "each document is written {} times", written as f64 / built as f64);
}

#[test]
fn a_merge_is_what_building_it_at_once_would_be() {
    let t = tempfile::tempdir().expect("a folder");
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let mut load = Load::mixed(1200);
    let mut common = Common::default();
    for lsns in [1..=700, 701..=701, 702..=900, 901..=1200] {
        index.add(load.build(&index, lsns, &mut common)).expect("added");
    }
    let held = index.slices();
    let merged = merge(&index, &held, Arc::default()).expect("merged");
    load.check(&merged);
    index.add(merged).expect("added");
    let names = || std::fs::read_dir(t.path()).expect("a folder").filter_map(|e| e.ok()?.file_name().into_string().ok()).collect::<Vec<_>>();
    assert_eq!(names(), ["00000000000000000001-00000000000000001200"]);
    // Whoever has the old ones can still read them.
    held.iter().for_each(|s| load.check(s));
    let again = Index::open(t.path(), JOURNAL).expect("open");
    load.check(&again.slices()[0]);
    assert_eq!((again.uncovered(1..=1300), again.manifests().len()), (vec![1201..=1300], 1));
    assert_eq!(again.manifests()[0].bundles().collect::<Vec<_>>(), [(1, [7; 32])]);
}

#[test]
fn a_merge_that_is_told_to_end_leaves_nothing() {
    let t = tempfile::tempdir().expect("a folder");
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let mut load = Load::mixed(100);
    for lsns in [1..=50, 51..=100] {
        index.add(load.build(&index, lsns, &mut Common::default())).expect("added");
    }
    let stopped = merge(&index, &index.slices(), Arc::new(AtomicBool::new(true)));
    assert!(stopped.is_err());
    assert_eq!(std::fs::read_dir(t.path()).expect("a folder").count(), 2);
}

#[test]
fn what_a_crash_leaves_of_a_merge_is_tidied_up() {
    let t = tempfile::tempdir().expect("a folder");
    let mut load = Load::mixed(60);
    {
        let index = Index::open(t.path(), JOURNAL).expect("open");
        for lsns in [1..=20, 21..=40, 41..=60] {
            index.add(load.build(&index, lsns, &mut Common::default())).expect("added");
        }
        // It was published, and the narrower ones were not removed.
        merge(&index, &index.slices()[..2], Arc::default()).expect("merged");
        std::fs::create_dir(t.path().join("building-61")).expect("a folder");
    }
    let look = Index::look(t.path(), JOURNAL).expect("open");
    assert_eq!(look.slices().iter().map(|s| (s.first(), s.last())).collect::<Vec<_>>(), [(1, 40), (41, 60)]);
    assert_eq!(std::fs::read_dir(t.path()).expect("a folder").count(), 5, "who only looks changes nothing");
    let index = Index::open(t.path(), JOURNAL).expect("open");
    assert_eq!(index.slices().iter().map(|s| (s.first(), s.last())).collect::<Vec<_>>(), [(1, 40), (41, 60)]);
    assert_eq!(std::fs::read_dir(t.path()).expect("a folder").count(), 2);
}
