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
    let text = |t: &str| s.equal("user.name", &[Value::Str(t.as_bytes())]).unwrap();
    assert_eq!(text(&long), Answer::perhaps(docs(&[0])), "it is named by its signature");
    assert_eq!(text(&long.to_lowercase()), Answer::perhaps(docs(&[0])));
    assert_eq!(text(&long[1..]), Answer::default());
    assert_eq!((text("Bob"), text("bob")), (Answer::exact(docs(&[2])), Answer::default()));
    assert_eq!(s.folded("user.name", &[b"bob".to_vec()]).unwrap(), Answer::exact(docs(&[2])));
    let tag = |t: &str| s.equal("tags", &[Value::Str(t.as_bytes())]).unwrap();
    assert_eq!((s.unsure("tags").unwrap(), tag("t63")), (docs(&[1]), Answer::exact(docs(&[1]))));
    assert_eq!(tag("t64"), Answer::perhaps(docs(&[1])), "of too many values the rest is not known");
    let chunk = docs(&[0, 1, 2]);
    assert_eq!((s.word("w8191").unwrap(), s.word("w8192").unwrap()), (Answer::perhaps(chunk), Answer::perhaps(docs(&[2]))));
    assert!(s.word(&"Ä".repeat(20)).unwrap().may.contains(1) && s.word(&"ä".repeat(16)).unwrap() == Answer::perhaps(docs(&[2])));
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
    assert!(s.word("any").unwrap() == Answer::default() && s.within(Timestamp::MIN, Timestamp::MAX).is_empty());
    assert!(s.having("user.name").unwrap().is_empty() && s.equal("user.name", &[Value::Str(b"x")]).unwrap() == Answer::default());
    let merged = merge(&index, &index.slices(), Arc::default()).expect("merged");
    assert_eq!((merged.docs(), merged.last(), merged.manifest().bundles().count()), (20, 30, 2));
    // Nothing and nothing is nothing.
    let from = From { lsn: 31, bundle: &[8; 32] };
    let empty = Builder::new(&index, from, load.plan.clone(), &mut Common::default(), Arc::default()).expect("a builder");
    let two = [s, Arc::new(empty.publish(40, &Common::default()).expect("published"))];
    let merged = merge(&index, &two, Arc::default()).expect("merged");
    assert_eq!((merged.docs(), merged.first(), merged.last()), (0, 21, 40));
}

#[test]
fn what_comes_again_is_a_term_and_what_does_not_is_a_signature() {
    let t = tempfile::tempdir().expect("a folder");
    let record = |n: u64| {
        let often = ["0123456789abcdef", "4711", "beefbeefbeefbeef"][n as usize % 3];
        format!(
            "{{\"@timestamp\":\"2026-11-23T05:00:00Z\",\"event\":{{\"kind\":\"event\",\"module\":\"x\",\"id\":\"{often}\"}},\"file\":{{\"hash\":{{\"sha256\":\"{n:064x}\"}}}},\"ecs\":{{\"version\":\"8.11\"}},\"source\":{{\"port\":{}}},\"user\":{{\"name\":\"alice\"}},\"message\":\"{often} once{n} {n:020}\"}}",
            40_000 + n % 7 * 1000
        )
        .into_bytes()
    };
    let mut load = Load::new(&(0..3000).map(record).collect::<Vec<_>>());
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let s = load.build(&index, 1..=3000, &mut Common::default());
    let text = |f: &str, t: &str| s.equal(f, &[Value::Str(t.as_bytes())]).expect("read");
    let often = text("event.id", "4711");
    assert_eq!((often.sure.len(), often.sure.contains(1), often.may.contains(1)), (997, false, true), "the first three are signatures");
    assert!(s.unsure("event.id").unwrap().max() < Some(9));
    let once = text("file.hash.sha256", &format!("{:064x}", 2000));
    assert!(once.sure.is_empty() && once.may.contains(2000) && once.may.len() < 2000, "{}", once.may.len());
    assert!(text("file.hash.sha256", &format!("{:064x}", 5000)).may.len() < 2000);
    let word = s.word("once2000").unwrap();
    assert!(word.sure.is_empty() && word.may.contains(2000) && word.may.len() < 2000, "{}", word.may.len());
    let ports = s.equal("source.port", &[Value::Int(43_000), Value::Float(45_000.0), Value::Int(1)]).unwrap();
    assert_eq!(ports, Answer::exact((0..3000).filter(|n| matches!(n % 7, 3 | 5)).collect()));
    let range = s.values("source.port", &mut |v, _| Ok(matches!(v, Value::Int(n) if n > 42_500))).unwrap();
    assert_eq!(range, Answer::exact((0..3000).filter(|n| n % 7 > 2).collect()));
}
