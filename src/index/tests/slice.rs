//! Slices as they are built.

use super::*;

#[test]
fn a_slice_says_what_a_naive_reading_says() {
    let t = tempfile::tempdir().expect("a folder");
    let mut load = Load::mixed(2600);
    let mut common = Common::default();
    let index = Index::open(t.path(), JOURNAL).expect("open");
    for lsns in [1..=2300, 2301..=2301, 2302..=2600] {
        let s = load.build(&index, lsns.clone(), &mut common);
        load.check(&s);
        let m = Manifest::read(s.dir(), JOURNAL).expect("it is described");
        load.check(&Slice::verified(s.dir(), m).expect("it opens again"));
    }
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let firsts: Vec<u64> = index.slices().iter().map(|s| s.first()).collect();
    assert_eq!(firsts, [1, 2301, 2302]);
}

#[test]
fn what_is_too_long_or_too_many_is_said_to_be_so() {
    let t = tempfile::tempdir().expect("a folder");
    let many: Vec<String> = (0..MAX_VALUES + 5).map(|n| format!("\"t{n}\"")).collect();
    let words: Vec<String> = (0..MAX_WORDS + 5).map(|n| format!("w{n}")).collect();
    let ecs = |rest: &str| {
        format!(
            "{{\"@timestamp\":\"2026-11-23T05:00:00Z\",\"event\":{{\"kind\":\"event\",\"module\":\"x\"}},\"ecs\":{{\"version\":\"8.11\"}},{rest}}}"
        )
        .into_bytes()
    };
    let long = "Lang".repeat(40);
    let mut load = Load::new(&[
        ecs(&format!("\"user\":{{\"name\":\"{long}\"}},\"message\":\"short\"")),
        ecs(&format!("\"tags\":[{}],\"message\":\"{}\"", many.join(","), "ä".repeat(20))),
        ecs(&format!("\"user\":{{\"name\":\"Bob\"}},\"message\":\"{}\"", words.join(" "))),
    ]);
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let s = load.build(&index, 1..=3, &mut Common::default());
    load.each(1..=3, |lsn, e, _, _| assert!(e.get(field::MESSAGE).str().is_some(), "{lsn} is read as ECS"));
    let docs = |d: &[u32]| d.iter().copied().collect::<RoaringBitmap>();
    assert_eq!((s.unsure("user.name").unwrap(), s.having("user.name").unwrap()), (docs(&[0]), docs(&[0, 2])));
    assert_eq!((s.unsure("tags").unwrap(), s.equal("tags", &Value::Str(b"t63")).unwrap()), (docs(&[1]), docs(&[1])));
    assert_eq!(s.equal("tags", &Value::Str(b"t64")).unwrap(), docs(&[]));
    assert_eq!((s.folded("user.name", b"bob").unwrap(), s.equal("user.name", &Value::Str(b"bob")).unwrap()), (docs(&[2]), docs(&[])));
    assert_eq!(
        (s.wordy().unwrap(), s.word("w8191").unwrap(), s.word("w8192").unwrap()),
        (docs(&[2]), Words::Docs(docs(&[2])), Words::Docs(docs(&[])))
    );
    assert_eq!(s.word(&"Ä".repeat(20)).unwrap(), Words::Perhaps(docs(&[1])));
    assert_eq!(s.word(&"ä".repeat(16)).unwrap(), Words::Docs(docs(&[])), "no other word is its beginning");
    assert!(s.indexes("user.name") && !s.indexes("message") && !s.indexes("own.field"));
    let stopped = s.values("tags", &mut |_, _| Err(std::io::Error::other("enough")));
    assert_eq!(stopped.map_err(|e| e.to_string()), Err("enough".into()));
}

#[test]
fn a_stretch_without_records_is_covered_too() {
    let t = tempfile::tempdir().expect("a folder");
    let mut load = Load::mixed(20);
    let index = Index::open(t.path(), JOURNAL).expect("open");
    for lsns in [1..=10, 11..=20] {
        index.add(load.build(&index, lsns, &mut Common::default())).expect("added");
    }
    let from = From { lsn: 21, bundle: &[8; 32] };
    let empty = Builder::new(&index, from, load.plan.clone(), &mut Common::default(), Arc::default()).expect("a builder");
    index.add(empty.publish(30, &Common::default()).expect("published")).expect("added");
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let s = index.slices()[2].clone();
    assert_eq!((s.docs(), s.first(), s.last(), index.uncovered(1..=40)), (0, 21, 30, vec![31..=40]));
    assert!(s.word("any").unwrap() == Words::Docs(RoaringBitmap::new()) && s.within(Timestamp::MIN, Timestamp::MAX).is_empty());
    assert!(s.having("user.name").unwrap().is_empty() && s.equal("user.name", &Value::Str(b"x")).unwrap().is_empty());
    let merged = merge(&index, &index.slices(), Arc::default()).expect("merged");
    assert_eq!((merged.docs(), merged.last(), merged.manifest().bundles().count()), (20, 30, 2));
}
