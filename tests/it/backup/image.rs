//! The journal's files as they are copied while it is written, sealed and deleted from: what is opened there is what was durable.

use std::fs;
use std::io::Read;
use std::sync::Arc;
use vigild::disk::Real;
use vigild::disk::sim::Dice;
use vigild::event::{Batch, Timestamp};
use vigild::journal::{Entry, Journal, Keeper, Options, Records, What};

fn options() -> Options {
    Options { segment_bytes: 8 << 10, max_bytes: 40 << 10, min_free: 0, floor_bytes: 8 << 10, block_bytes: 2 << 10, ..Options::default() }
}

struct Writer {
    journal: Journal,
    keeper: Keeper,
    /// All that was ever appended, from the first entry on.
    all: Vec<Entry>,
}

impl Writer {
    /// Does one thing or another.
    fn step(&mut self, d: &mut Dice) {
        match d.below(10) {
            0 => drop(self.keeper.step().expect("no fault")),
            1 | 2 => self.journal.write().expect("room"),
            3 => {
                self.journal.write().expect("room");
                self.journal.sync().expect("no fault");
                self.keeper.hold(self.journal.durable());
            }
            _ => {
                let mut batch = Batch::default();
                (0..=d.below(3)).for_each(|_| batch.push("x".repeat(d.below(900) as usize).as_bytes(), false));
                let t = Timestamp(1_000_000_000 * self.all.len() as i64);
                let what = What::Records(Records { source: "s".into(), stream: "s".into(), format: None, received: t, near: t, batch, mark: None });
                let at = self.journal.append(&what);
                self.all.push(Entry { lsn: at.lsn, seq: at.seq, what });
            }
        }
    }
}

#[test]
fn an_image_of_a_journal_has_all_that_was_durable_whatever_goes_on_meanwhile() {
    let (mut sealed, mut gone, mut ahead, mut overtaken) = (0, 0, 0, 0);
    for seed in 0..40 {
        let mut d = Dice(seed);
        let t = tempfile::tempdir().expect("a folder");
        let (from, to) = (t.path().join("from"), t.path().join("to"));
        let (journal, _) = Journal::open(Arc::new(Real), &from, options(), || 7).expect("a journal");
        let keeper = journal.keeper();
        let mut w = Writer { journal, keeper, all: Vec::new() };
        (0..d.below(300)).for_each(|_| w.step(&mut d));
        let reader = w.journal.reader();
        let pinned = reader.pin();
        let meanwhile = d.below(200);
        (0..meanwhile).for_each(|_| w.step(&mut d));
        let (first, durable) = (pinned.first_lsn(), w.journal.durable());
        let Some(parts) = reader.image(&pinned) else {
            assert!(meanwhile > 20, "seed {seed}");
            overtaken += 1;
            continue;
        };
        fs::create_dir(&to).expect("a folder");
        fs::copy(from.join("identity"), to.join("identity")).expect("copied");
        for p in &parts {
            (0..d.below(40)).for_each(|_| w.step(&mut d));
            let mut bytes = Vec::new();
            p.bytes().read_to_end(&mut bytes).expect("it is there");
            if let Some(path) = p.settled() {
                sealed += 1;
                if path.exists() {
                    assert_eq!(fs::read(path).expect("read"), bytes, "what has a second name is what is copied");
                }
            }
            gone += usize::from(!from.join(p.name()).exists());
            fs::write(to.join(p.name()), bytes).expect("written");
        }
        let (copy, opened) = Journal::open(Arc::new(Real), &to, options(), || 8).expect("it opens");
        assert!(opened.repairs.is_empty(), "seed {seed}: {:?}", opened.repairs);
        assert!(copy.seed() == 7 && copy.last() >= durable, "seed {seed}: {} of {durable}", copy.last());
        ahead += usize::from(copy.last() > durable);
        let got: Vec<String> = copy.reader().entries(first).map(|e| format!("{:?}", e.expect("whole"))).collect();
        let want: Vec<String> = w.all[first as usize - 1..copy.last() as usize].iter().map(|e| format!("{e:?}")).collect();
        assert!(got == want, "seed {seed}: {} entries of {}", got.len(), want.len());
    }
    assert!(sealed > 10 && gone > 3 && ahead > 1 && overtaken < 20, "{sealed} sealed, {gone} had gone when they were read, {ahead} ahead");
}
