//! A disk of 64 MB, filled, held and freed under load: retention gives way first, then nothing is acknowledged that is not
//! stored, what is stored is alerted on all the same, and everything goes on by itself when there is room again.

use super::kill::{self, Estate};
use super::process::{Process, is_left_out};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// A file system of 64 MB of its own, gone when dropped.
pub struct Small(PathBuf);

impl Small {
    pub fn mount(at: &Path) -> Small {
        fs::create_dir(at).expect("a folder");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "vigild-test"]).arg(at).status().expect("mount is there");
        assert!(done.success(), "a tmpfs cannot be mounted: without root, VIGILD_SKIP=full leaves this out");
        Small(at.to_owned())
    }

    fn free(&self) -> u64 {
        let s = rustix::fs::statvfs(&self.0).expect("a file system");
        s.f_bavail * s.f_frsize
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes room until so much is left.
    pub fn fill(&self, left: u64) {
        let mut f = File::options().create(true).append(true).open(self.ballast()).expect("a file");
        let zeros = vec![0; 64 << 10];
        while self.free() > left {
            let n = (self.free() - left).min(zeros.len() as u64) as usize;
            if f.write_all(&zeros[..n]).is_err() {
                break;
            }
        }
    }

    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a daemon that a failed test leaves may still stand in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn settings(max: &str, reserve: &str, udp: SocketAddr) -> String {
    format!(
        "[[source]]\nname = \"udp\"\nkind = \"syslog\"\nlisten = \"{udp}\"\ntransport = [\"udp\"]\nformat = \"fail2ban\"\nlateness = \"1s\"\n\
         [journal]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"{max}\"\nmin_free = \"1MiB\"\n[store]\nreserve = \"{reserve}\"\n"
    )
}

/// Records that match no rule and do not compress.
pub fn noise(bytes: usize, seed: u64) -> String {
    let (mut text, mut x) = (String::with_capacity(bytes + 1100), seed | 1);
    while text.len() < bytes {
        for _ in 0..64 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(&format!("{:016x}", x ^ x >> 29));
        }
        text.push('\n');
    }
    text
}

fn begin(more: &str) -> Option<(tempfile::TempDir, Small, Estate, Process)> {
    if is_left_out("full") {
        return None;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let small = Small::mount(&dir.path().join("small"));
    let e = Estate::with(dir.path(), &small.0.join("data"), more, 20);
    let daemon = e.start_with("VIGILD_FAIL", None);
    e.wait("it is ready", || e.is_ready());
    Some((dir, small, e, daemon))
}

#[test]
fn on_a_full_disk_retention_gives_way_before_anything_is_refused() {
    let udp = super::process::free();
    let Some((_dir, small, e, mut daemon)) = begin(&settings("24MiB", "1MiB", udp)) else { return };
    small.fill(12 * MIB);
    for i in 0..30 {
        assert_eq!(e.post(&format!("noise-{i}"), &noise(1 << 20, i)), 200, "request {i}, {} bytes free", small.free());
    }
    kill::stop(&mut daemon);
    let names = fs::read_dir(e.data.join("journal")).expect("a folder").map(|f| f.expect("a file").file_name().into_string().expect("UTF-8"));
    let first = names.filter_map(|n| n.split_once('.')?.0.parse::<u64>().ok()).min();
    assert!(first.is_some_and(|f| f > 1), "the oldest segments have gone: {first:?}");
}

#[test]
fn what_is_stored_is_alerted_on_from_the_reserve() {
    let udp = super::process::free();
    let Some((_dir, small, e, mut daemon)) = begin(&settings("40MiB", "12MiB", udp)) else { return };
    small.fill(5 * MIB / 2);
    // Little in the journal, much in the store.
    let body: String = (0..3000).map(|n| kill::record("reserve", n) + "\n").collect();
    assert_eq!(e.post("reserve", &body), 200);
    e.wait("every record is alerted on while the disk is full", || kill::alerts(&e, "&rule=each").len() == 3000);
    assert!(e.said().contains("the store's reserve is used"), "{}", e.said());
    e.wait("every alert is a line", || kill::lines(&e).len() >= 3000);
    e.wait("nothing more is taken while the reserve is used", || e.post("refused", &(kill::record("refused", 0) + "\n")) == 507);
    assert!(e.is_ready());
    small.empty();
    e.wait("records are taken again", || e.post("healed", &(kill::record("healed", 0) + "\n")) == 200);
    e.wait("it is alerted on", || kill::alerts(&e, "&rule=each").len() == 3001);
    assert!(fs::metadata(small.0.join("data/store.reserve")).is_ok_and(|m| m.len() == 12 * MIB), "the reserve is taken again");
    kill::stop(&mut daemon);
}

#[test]
fn a_daemon_that_is_killed_on_a_full_disk_comes_up_on_it() {
    let udp = super::process::free();
    let Some((_dir, small, e, mut daemon)) = begin(&settings("40MiB", "4MiB", udp)) else { return };
    let body: String = (0..200).map(|n| kill::record("before", n) + "\n").collect();
    assert_eq!(e.post("before", &body), 200);
    small.fill(0);
    e.wait("it is full", || e.post("full", &(kill::record("full", 0) + "\n")) == 507);
    kill::kill(&mut daemon);
    small.fill(0);
    let child = std::cell::RefCell::new(e.start_with("VIGILD_FAIL", None));
    e.wait("it is ready", || {
        assert!(child.borrow_mut().try_wait().expect("a child").is_none(), "it does not come up\n{}", e.said());
        e.is_ready()
    });
    e.wait("what is stored is alerted on", || kill::alerts(&e, "&rule=each").len() == 200);
    assert_eq!(e.post("refused", &(kill::record("refused", 0) + "\n")), 507);
    small.empty();
    e.wait("records are taken again", || e.post("healed", &(kill::record("healed", 0) + "\n")) == 200);
    e.wait("they are alerted on", || kill::alerts(&e, "&rule=each").len() == 201);
    kill::stop(&mut child.borrow_mut());
}

#[test]
fn a_disk_filled_and_freed_again_and_again_loses_nothing_that_was_acknowledged() {
    let udp = super::process::free();
    let Some((_dir, small, e, mut daemon)) = begin(&settings("40MiB", "4MiB", udp)) else { return };
    let e = Arc::new(e);
    let http = std::thread::spawn({
        let e = e.clone();
        move || kill::http_sender(&e, "http1")
    });
    let file = std::thread::spawn({
        let e = e.clone();
        move || kill::file_writer(&e, 7)
    });
    let tcp = std::thread::spawn({
        let e = e.clone();
        move || kill::tcp_sender(&e)
    });
    let datagrams = std::thread::spawn({
        let e = e.clone();
        move || {
            let s = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let mut n = 0;
            while e.on() {
                s.send_to(kill::record("udp", n).as_bytes(), udp).expect("sent");
                n += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            n
        }
    });
    let stored = || e.metric("vigild_records_total", &[]);
    let dropped = |reason: &str| e.metric("vigild_records_dropped_total", &["source=\"udp\"", &format!("reason=\"{reason}\"")]);
    for round in 0..4 {
        let before = e.acknowledged.load(Ordering::Relaxed);
        e.wait("requests are acknowledged", || e.acknowledged.load(Ordering::Relaxed) > before + 20);
        let lost = dropped("disk");
        small.fill(0);
        e.wait("it is full", || e.post(&format!("probe-{round}"), &(kill::record("probe", 0) + "\n")) == 507);
        let begin = Instant::now();
        assert_eq!(e.post("again", &(kill::record("probe", 1) + "\n")), 507);
        assert!(begin.elapsed() < Duration::from_secs(1), "it is refused at once: {:?}", begin.elapsed());
        e.wait("datagrams are dropped for the disk", || dropped("disk") > lost);
        let (acknowledged, there) = (e.acknowledged.load(Ordering::Relaxed), stored());
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!((e.acknowledged.load(Ordering::Relaxed), stored()), (acknowledged, there), "nothing is taken");
        e.wait("what is stored is alerted on", || kill::alerts(&e, "&rule=each").len() as u64 == there);
        assert!(e.is_ready());
        assert!(daemon.try_wait().expect("a child").is_none(), "it lives");
        small.empty();
        e.wait("it goes on by itself", || e.acknowledged.load(Ordering::Relaxed) > acknowledged);
    }
    e.stop.store(true, Ordering::Relaxed);
    let accepted = BTreeMap::from([("http1".to_owned(), http.join().expect("a sender"))]);
    let whole = BTreeMap::from([("file".to_owned(), file.join().expect("the writer"))]);
    let mut sent = tcp.join().expect("the sender");
    let datagrams = datagrams.join().expect("the sender");
    e.wait("the file and the connections are read", || e.metric("vigild_source_lag_bytes", &[]) == 0);
    let took = || e.metric("vigild_records_total", &["source=\"udp\""]);
    e.wait("each datagram is stored or counted", || took() + ["queue", "kernel", "disk"].map(dropped).iter().sum::<u64>() == datagrams);
    let udp = took();
    let connections = sent.clone();
    sent.insert("udp".to_owned(), datagrams);
    let fail = |what: &str| what.to_owned();
    let judged = kill::judge(&e, &mut daemon, &accepted, &whole, &sent, &fail);
    let all = kill::dump(&e);
    let of = |jail: &str| all.values().filter(|r| kill::number(r).is_some_and(|n| n.0 == jail)).count() as u64;
    assert_eq!(of("udp"), udp, "what was counted as stored is stored");
    for (jail, most) in connections {
        assert_eq!(of(&jail) + 5, most, "a connection waited and lost nothing");
    }
    eprintln!("full: {judged:?}");
}
