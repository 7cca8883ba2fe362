//! Records into the journal, beside plain writes of 1 MiB with fdatasync to the same disk in the same run.
//!
//! `VIGILD_BENCH_DIR` names the folder; without it a temporary one is used. `VIGILD_BENCH_MB` is how much is written (512).

#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use vigild::disk::{Disk, Real};
use vigild::event::{Batch, Timestamp};
use vigild::r#gen::{Form, sample};
use vigild::journal::{Journal, Options, Records, What};

const CHUNK: usize = 128 << 10;
const MIB: f64 = (1 << 20) as f64;

fn main() {
    let temporary = tempfile::tempdir().expect("a folder");
    let base = std::env::var("VIGILD_BENCH_DIR").map_or_else(|_| temporary.path().to_owned(), PathBuf::from);
    let mib: usize = std::env::var("VIGILD_BENCH_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(512);
    let dir = tempfile::tempdir_in(&base).expect("a folder there");

    let block = vec![0x5a; 1 << 20];
    let file = Real.create(&dir.path().join("plain")).expect("a file");
    let begun = Instant::now();
    for i in 0..mib as u64 {
        file.write_all_at(&block, i << 20).expect("room");
        file.sync_data().expect("a disk");
    }
    let plain = mib as f64 / begun.elapsed().as_secs_f64();
    println!("{:<44} {plain:>8.0} MiB/s", "1 MiB write + fdatasync");
    Real.remove(&dir.path().join("plain")).expect("it is there");

    let lines = sample(Form::Suricata, 1000, 1);
    let mut batch = Batch::default();
    for l in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        if batch.bytes.len() + l.len() > CHUNK {
            break;
        }
        batch.push(l, false);
    }
    let (count, bytes) = (batch.records.len(), batch.bytes.len());
    let what = What::Records(Records {
        source: Arc::from("tcp"),
        stream: Arc::from("192.0.2.1:1000"),
        format: None,
        received: Timestamp(0),
        near: Timestamp(0),
        batch,
        mark: None,
    });
    for group in [1usize, 8, 32] {
        let path = dir.path().join(format!("journal{group}"));
        let options = Options { min_free: 0, ..Options::default() };
        let (mut j, _) = Journal::open(Arc::new(Real), &path, options, || 1).expect("a new journal");
        let groups = (mib << 20) / (bytes * group);
        let (mut appending, mut writing) = (0.0, 0.0);
        let begun = Instant::now();
        for _ in 0..groups {
            let t = Instant::now();
            for _ in 0..group {
                j.append(&what);
            }
            appending += t.elapsed().as_secs_f64();
            let t = Instant::now();
            j.write().expect("room");
            writing += t.elapsed().as_secs_f64();
            j.sync().expect("a disk");
        }
        let seconds = begun.elapsed().as_secs_f64();
        let done = (groups * group) as f64;
        assert_eq!(j.durable(), (groups * group) as u64, "all is durable");
        let rate = done * bytes as f64 / MIB / seconds;
        println!(
            "{:<44} {rate:>8.0} MiB/s, {:.0} records/s, {:.2} of plain; append {:.0} MiB/s, write {:.0} MiB/s",
            format!("journal, groups of {group} × 128 KiB"),
            done * count as f64 / seconds,
            rate / plain,
            done * bytes as f64 / MIB / appending,
            done * bytes as f64 / MIB / writing,
        );
        let begun = Instant::now();
        let read: usize = j.reader().entries(1).map(|e| e.map_or(0, |e| matches!(e.what, What::Records(_)) as usize)).sum();
        assert_eq!(read, groups * group, "all is read");
        println!("{:<44} {:>8.0} MiB/s", "  read again", done * bytes as f64 / MIB / begun.elapsed().as_secs_f64());
        let size = j.reader().size();
        let mut keeper = j.keeper();
        let begun = Instant::now();
        while keeper.step().expect("a disk") {}
        let seconds = begun.elapsed().as_secs_f64();
        let sealed = j.reader().size().bytes;
        println!("{:<44} {:>8.0} MiB/s, to {:.2} of it", "  sealed", size.bytes as f64 / MIB / seconds, sealed as f64 / size.bytes as f64);
        drop((j, keeper));
        std::fs::remove_dir_all(&path).expect("it is there");
    }
}
