//! Slices that are not what was written: none is read as if it were.

use super::*;
use crate::disk::sim::Dice;
use std::fs;
use std::path::{Path, PathBuf};

/// Three slices of 40 records each.
fn three(root: &Path) -> Load {
    let index = Index::open(root, JOURNAL).expect("open");
    let mut load = Load::mixed(120);
    for lsns in [1..=40, 41..=80, 81..=120] {
        index.add(load.build(&index, lsns, &mut Common::default())).expect("added");
    }
    load
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for e in fs::read_dir(from).expect("a folder") {
        let e = e.expect("an entry");
        let to = to.join(e.file_name());
        if e.path().is_dir() {
            copy(&e.path(), &to);
        } else {
            fs::copy(e.path(), to).expect("copied");
        }
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(root)
        .expect("a folder")
        .flat_map(|d| fs::read_dir(d.expect("an entry").path()).expect("a slice"))
        .map(|f| f.expect("a file").path())
        .collect();
    all.sort();
    all
}

/// Flips a bit, cuts, lengthens or deletes a file, or swaps it with another.
fn hurt(dice: &mut Dice, file: &Path, other: &Path) -> bool {
    let mut bytes = fs::read(file).expect("read");
    match dice.below(5) {
        0 => fs::remove_file(file).expect("removed"),
        1 => fs::write(file, &bytes[..dice.below(bytes.len() as u64) as usize]).expect("cut"),
        2 => {
            bytes.extend_from_slice(&[0; 3]);
            fs::write(file, &bytes).expect("lengthened");
        }
        3 => {
            let content = fs::read(other).expect("read");
            if content == bytes {
                return false;
            }
            fs::write(file, content).expect("swapped");
        }
        _ => {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << dice.below(8);
            fs::write(file, &bytes).expect("flipped");
        }
    }
    true
}

/// Whatever is done to one file, the slice is put aside or what it says is what it said; the others stay.
fn campaign(trials: u64) {
    let t = tempfile::tempdir().expect("a folder");
    let whole = t.path().join("whole");
    let mut load = three(&whole);
    let all = files(&whole);
    for seed in 0..trials {
        let mut dice = Dice(seed);
        let root = t.path().join("hurt");
        copy(&whole, &root);
        let pick = |dice: &mut Dice| root.join(all[dice.below(all.len() as u64) as usize].strip_prefix(&whole).expect("inside"));
        let (file, other) = (pick(&mut dice), pick(&mut dice));
        let hurt = hurt(&mut dice, &file, &other);
        let index = Index::open(&root, JOURNAL).expect("it opens whatever is there");
        let there: Vec<u64> = index.slices().iter().map(|s| s.first()).collect();
        if hurt {
            assert_eq!(there.len(), 2, "seed {seed}: {} is damaged, and nobody says so", file.display());
            assert_eq!(index.said().len(), 1);
            assert_eq!(index.missing(1..=120).iter().map(|r| r.end() - r.start() + 1).sum::<u64>(), 40, "it is to be built again");
            assert_eq!(fs::read_dir(root.join("damaged")).expect("a folder").count(), 1);
        } else {
            assert_eq!(there, [1, 41, 81]);
        }
        if seed % 50 == 0 {
            index.slices().iter().for_each(|s| load.check(s));
        }
        fs::remove_dir_all(&root).expect("removed");
    }
}

#[test]
fn a_damaged_slice_is_put_aside_and_never_read() {
    campaign(200);
}

#[test]
#[ignore = "takes minutes; tests/run --long damage"]
fn long_damage() {
    campaign(10_000);
}

#[test]
fn damage_is_found_by_a_comparison_while_the_index_is_open() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    let index = Index::open(t.path(), JOURNAL).expect("open");
    assert_eq!((index.slices().len(), index.verify(&|| false).slices), (3, 3));
    let file = files(t.path()).into_iter().find(|f| f.extension().is_some_and(|e| e == "idx")).expect("posting lists");
    let mut bytes = fs::read(&file).expect("read");
    bytes[0] ^= 1;
    // In a file of its own: what is open is the old one.
    fs::remove_file(&file).expect("removed");
    fs::write(&file, bytes).expect("written");
    assert_eq!(index.verify(&|| false).damaged, ["00000000000000000001-00000000000000000040"]);
    assert_eq!((index.slices().len(), index.damaged(), index.missing(1..=120)), (2, 1, vec![1..=40]));
}

#[test]
fn a_slice_of_a_later_version_is_left_and_its_stretch_is_missing() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    let file = t.path().join("00000000000000000041-00000000000000000080/slice.json");
    let manifest = Manifest::read(file.parent().expect("a folder"), JOURNAL).expect("it is whole");
    let write = |format| {
        let mut m = manifest.clone();
        m.format = format;
        fs::write(&file, m.text().expect("text")).expect("written");
    };
    write(99);
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let said = index.said();
    assert!(said.len() == 1 && said[0].fate == Fate::Later && said[0].to_string().contains("format 99"), "{said:?}");
    assert_eq!((index.uncovered(1..=130), index.missing(1..=130)), (vec![41..=80, 121..=130], vec![121..=130]));
    assert!(file.exists());
    // One of an earlier version is built again.
    write(0);
    let index = Index::open(t.path(), JOURNAL).expect("open");
    assert_eq!(index.missing(1..=130), [41..=80, 121..=130]);
    assert!(!file.exists());
}

#[test]
fn what_belongs_to_another_journal_or_to_nobody_is_not_read() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    fs::create_dir(t.path().join("lost+found")).expect("a folder");
    fs::write(t.path().join("README"), "mine").expect("written");
    fs::create_dir(t.path().join("00000000000000000121-00000000000000000130")).expect("a folder");
    let other = Index::look(t.path(), JOURNAL + 1).expect("open");
    assert_eq!((other.slices().len(), other.said().len()), (0, 4));
    let index = Index::open(t.path(), JOURNAL).expect("open");
    assert_eq!(index.slices().len(), 3);
    assert!(t.path().join("lost+found").exists() && t.path().join("README").exists());
    assert!(t.path().join("damaged/00000000000000000121-00000000000000000130").exists());
}

#[test]
fn what_lies_where_a_slice_is_to_be_keeps_none_from_being_published() {
    let name = "00000000000000000041-00000000000000000080";
    let file = |at: &Path| fs::write(at, "mine").expect("written");
    let full = |at: &Path| {
        fs::create_dir(at).expect("a folder");
        fs::write(at.join("mine"), "mine").expect("written");
    };
    let link = |at: &Path| std::os::unix::fs::symlink("nowhere", at).expect("a link");
    let put: [&dyn Fn(&Path); 3] = [&file, &full, &link];
    for (what, put) in ["a file", "a folder", "a link"].into_iter().zip(put) {
        // It comes while the index is open, and where it is found when the index opens it cannot be moved away.
        for movable in [true, false] {
            let t = tempfile::tempdir().expect("a folder");
            let mut load = three(t.path());
            let index = Index::open(t.path(), JOURNAL).expect("open");
            index.remove(|m| m.first == 41).expect("removed");
            put(&t.path().join(name));
            if !movable {
                fs::write(t.path().join("damaged"), "mine").expect("written");
            }
            index.add(load.build(&index, 41..=80, &mut Common::default())).expect("added");
            for index in [index, Index::open(t.path(), JOURNAL).expect("open"), Index::open(t.path(), JOURNAL).expect("open")] {
                assert_eq!(index.missing(1..=120), [], "{what}");
                let all = index.slices();
                assert_eq!(all.iter().map(|s| s.first()).collect::<Vec<_>>(), [1, 41, 81], "{what}");
                all.iter().for_each(|s| load.check(s));
            }
            assert_eq!(t.path().join(name).symlink_metadata().is_ok(), !movable, "{what}: what is not ours is kept");
            assert_eq!(fs::read_dir(t.path().join("damaged")).map_or(0, Iterator::count), usize::from(movable), "{what}");
            let said = Index::open(t.path(), JOURNAL).expect("open").said();
            assert_eq!(
                said.iter().map(|s| (s.name.as_str(), s.fate)).collect::<Vec<_>>(),
                [(name, Fate::Stays)].repeat(usize::from(!movable)),
                "{what}"
            );
        }
    }
}

#[test]
fn what_is_put_aside_may_be_anything() {
    let t = tempfile::tempdir().expect("a folder");
    fs::create_dir(t.path().join("damaged")).expect("a folder");
    for n in 0..20 {
        fs::write(t.path().join(format!("{:020}-{:020}", 1, 1 + n)), "mine").expect("written");
        fs::write(t.path().join("building-1"), "mine").expect("written");
        let index = Index::open(t.path(), JOURNAL).expect("open");
        assert_eq!(index.said().iter().map(|s| s.fate).collect::<Vec<_>>(), [Fate::Aside], "{n}");
    }
    assert_eq!(fs::read_dir(t.path().join("damaged")).expect("a folder").count(), 16);
    assert_eq!(fs::read_dir(t.path()).expect("a folder").count(), 1);
}

#[test]
fn a_slice_that_does_not_answer_is_compared_anew_and_whose_own_error_it_is_is_not() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let all = index.slices();
    let own = |e: &std::io::Error| e.kind() == std::io::ErrorKind::TimedOut;
    let ask = |n: usize, how: &str| match how {
        "panics" => index.ask(&all[n], own, || if all[n].docs() > 0 { panic!("as Tantivy does") } else { Ok(()) }),
        "ends" => index.ask(&all[n], own, || Err(std::io::ErrorKind::TimedOut.into())),
        _ => index.ask(&all[n], own, || Err(std::io::Error::other("it cannot be read"))),
    };
    let said = |r: std::io::Result<()>| r.expect_err("it has failed").to_string();
    assert_eq!(index.ask(&all[0], own, || Ok(7)).expect("an answer"), 7);
    assert!(said(ask(0, "panics")).contains("does not answer") && said(ask(0, "fails")).contains("cannot be read"));
    assert_eq!((index.slices().len(), index.damaged()), (3, 0), "its files are what they were");
    for n in [0, 1] {
        let file = files(all[n].dir().parent().expect("a folder")).into_iter().find(|f| f.starts_with(all[n].dir()) && f.ends_with("sets.bin"));
        let file = file.expect("sets");
        let mut bytes = fs::read(&file).expect("read");
        bytes[0] ^= 1;
        fs::write(&file, bytes).expect("written");
    }
    said(ask(0, "ends"));
    assert_eq!(index.slices().len(), 3, "who ends his question says nothing of the slice");
    for (n, how) in [(0, "panics"), (1, "fails")] {
        let why = said(ask(n, how));
        assert!(why.starts_with("a slice is damaged: "), "{how}: {why}");
        // Others may have it, and ask it again.
        said(ask(n, how));
        assert_eq!((index.slices().len(), index.damaged()), (2 - n, 1 + n as u64), "{how}");
    }
    assert!(index.said().iter().all(|s| s.fate == Fate::Aside));
    assert_eq!(index.missing(1..=120), [1..=80]);
}

#[test]
fn a_view_leaves_nothing_out() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    let firsts = |v: &View| v.slices.iter().map(|s| s.first()).collect::<Vec<_>>();
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let v = index.view(1..=125, |m| m.first > 1);
    assert_eq!((firsts(&v), v.uncovered), (vec![41, 81], vec![121..=125]));
    let file = files(t.path()).into_iter().filter(|f| f.extension().is_some_and(|e| e == "idx")).nth(1).expect("posting lists");
    fs::write(&file, "").expect("written");
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let v = index.view(1..=125, |_| true);
    assert_eq!((firsts(&v), v.uncovered), (vec![1, 81], vec![41..=80, 121..=125]), "what turns out to be damaged is to be read elsewhere");
}

#[test]
fn so_many_damaged_slices_are_kept_and_no_more() {
    let t = tempfile::tempdir().expect("a folder");
    for n in 0..20 {
        fs::create_dir(t.path().join(format!("{:020}-{:020}", 1, 1 + n))).expect("a folder");
        Index::open(t.path(), JOURNAL).expect("open");
    }
    assert_eq!(fs::read_dir(t.path().join("damaged")).expect("a folder").count(), 16);
}

#[test]
fn the_oldest_goes_for_good_for_want_of_room() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    let index = Index::open(t.path(), JOURNAL).expect("open");
    assert!(index.remove_oldest().expect("removed"));
    for index in [index, Index::open(t.path(), JOURNAL).expect("open")] {
        assert_eq!((index.floor(), index.uncovered(1..=120), index.missing(1..=120)), (41, vec![1..=40], vec![]));
    }
    let index = Index::open(t.path(), JOURNAL).expect("open");
    assert_eq!((index.clear().expect("cleared"), index.missing(1..=120)), (2, vec![1..=120]));
}

#[test]
fn what_is_damaged_while_it_is_open_is_not_merged() {
    let t = tempfile::tempdir().expect("a folder");
    three(t.path());
    let index = Index::open(t.path(), JOURNAL).expect("open");
    let all = index.slices();
    let file = files(all[1].dir().parent().expect("a folder")).into_iter().find(|f| f.starts_with(all[1].dir()) && f.ends_with("sets.bin"));
    let file = file.expect("sets");
    let mut bytes = fs::read(&file).expect("read");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).expect("written");
    let e = merge(&index, &all, Arc::default()).err().expect("it is not merged");
    assert!(e.to_string().contains("damaged"), "{e}");
    assert_eq!((index.slices().len(), index.damaged()), (2, 1), "it is put aside");
    assert_eq!(index.missing(1..=120), [41..=80], "and built again");
}
