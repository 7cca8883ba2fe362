//! More than it can take: datagrams are lost, each of them counted; whoever can wait does, and loses nothing; memory stays
//! bounded.

use super::kill::{self, Estate};
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn three_times_the_load_loses_datagrams_alone_and_counts_each() {
    let dir = tempfile::tempdir().expect("a folder");
    let udp = super::process::free();
    let more = format!(
        "[[source]]\nname = \"udp\"\nkind = \"syslog\"\nlisten = \"{udp}\"\ntransport = [\"udp\"]\nformat = \"fail2ban\"\nlateness = \"1s\"\n\
         [limits]\nqueue_bytes = \"128KiB\"\nudp_buffer_bytes = \"64KiB\"\n"
    );
    let e = Arc::new(Estate::with(dir.path(), &dir.path().join("data"), &more, 6));
    let mut daemon = e.start_with("VIGILD_FAIL", None);
    e.wait("it is ready", || e.is_ready());
    let http = std::thread::spawn({
        let e = e.clone();
        move || kill::http_sender(&e, "http1")
    });
    let file = std::thread::spawn({
        let e = e.clone();
        move || kill::file_writer(&e, 11)
    });
    let tcp = std::thread::spawn({
        let e = e.clone();
        move || kill::tcp_sender(&e)
    });
    let flooding = Arc::new(AtomicBool::new(true));
    let flood = std::thread::spawn({
        let flooding = flooding.clone();
        move || {
            let s = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let mut n = 0;
            while flooding.load(Ordering::Relaxed) {
                s.send_to(kill::record("udp", n).as_bytes(), udp).expect("sent");
                n += 1;
            }
            n
        }
    });
    let signal = |name: &str| Command::new("kill").args(["-s", name, &daemon.id().to_string()]).status().expect("kill is there");
    std::thread::sleep(Duration::from_millis(1000));
    signal("STOP");
    std::thread::sleep(Duration::from_millis(500));
    signal("CONT");
    let dropped = |reason: &str| e.metric("vigild_records_dropped_total", &["source=\"udp\"", &format!("reason=\"{reason}\"")]);
    let took = || e.metric("vigild_records_total", &["source=\"udp\""]);
    // On a quiet machine the kernel may lose all that is too much for a while.
    e.wait("the queue sheds too", || dropped("queue") > 0);
    flooding.store(false, Ordering::Relaxed);
    let datagrams: u64 = flood.join().expect("the sender");
    let before = e.acknowledged.load(Ordering::Relaxed);
    e.wait("requests are acknowledged", || e.acknowledged.load(Ordering::Relaxed) > before);
    e.stop.store(true, Ordering::Relaxed);
    let accepted = BTreeMap::from([("http1".to_owned(), http.join().expect("a sender"))]);
    let whole = BTreeMap::from([("file".to_owned(), file.join().expect("the writer"))]);
    let mut sent = tcp.join().expect("the sender");

    e.wait("each datagram is stored or counted as dropped", || took() + dropped("queue") + dropped("kernel") == datagrams);
    let (stored, queue, kernel) = (took(), dropped("queue"), dropped("kernel"));
    assert!(kernel > 0 && queue > 0 && datagrams >= 3 * stored, "{datagrams} sent, {stored} stored, {queue} and {kernel} dropped");
    assert_eq!(e.metric("vigild_records_dropped_total", &[]), queue + kernel, "nobody else lost anything");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it lives");
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).expect("a size");
    // Most of it is what waits, 200 000 matches at most, 2.2 KiB each where each has told an alert that is not final.
    assert!(peak < 500 << 10, "{peak} KiB");
    let connections = sent.clone();
    sent.insert("udp".to_owned(), datagrams);
    let judged = kill::judge(&e, &mut daemon, &accepted, &whole, &sent, &|what| what.to_owned());
    let all = kill::dump(&e);
    let of = |jail: &str| all.values().filter(|r| kill::number(r).is_some_and(|n| n.0 == jail)).count() as u64;
    assert_eq!(of("udp"), stored, "what was counted as stored is stored");
    for (jail, most) in connections {
        assert_eq!(of(&jail) + 5, most, "a connection waited and lost nothing");
    }
    eprintln!("overload: {datagrams} datagrams, {stored} stored, {queue} dropped by the queue, {kernel} by the kernel, {peak} KiB, {judged:?}");
}
