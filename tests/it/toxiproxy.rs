//! Networks that break: toxiproxy between the sender and the daemon.

use crate::process::{Process, cache, free, is_left_out, program, wait_for};
use crate::received::{Received, number};
use crate::rsyslog::{Rsyslog, action, input};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A toxiproxy with one proxy, `p`.
struct Proxy {
    api: SocketAddr,
    listen: SocketAddr,
    _server: Process,
}

impl Proxy {
    fn start(upstream: SocketAddr) -> Proxy {
        let how = "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0, or leave the test out with VIGILD_SKIP=toxiproxy";
        let server = program(&[cache().join("bin/server")], how);
        let (api, listen) = (free(), free());
        let server = Process::start(Command::new(server).args(["-host", "127.0.0.1", "-port", &api.port().to_string()]));
        wait_for(api);
        let p = Proxy { api, listen, _server: server };
        p.ask("POST", "/proxies", &format!("{{\"name\":\"p\",\"listen\":\"{listen}\",\"upstream\":\"{upstream}\",\"enabled\":true}}"));
        p
    }

    fn ask(&self, method: &str, path: &str, body: &str) {
        let mut s = TcpStream::connect(self.api).expect("it listens");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n");
        s.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).expect("sent");
        let mut answer = String::new();
        s.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path} {body}\n{answer}");
    }

    fn add(&self, kind: &str, stream: &str, attributes: &str) {
        let body = format!("{{\"name\":\"{kind}\",\"type\":\"{kind}\",\"stream\":\"{stream}\",\"toxicity\":1,\"attributes\":{{{attributes}}}}}");
        self.ask("POST", "/proxies/p/toxics", &body);
    }

    fn remove(&self, kind: &str) {
        self.ask("DELETE", &format!("/proxies/p/toxics/{kind}"), "");
    }

    /// Breaks the network in one of several ways for a while.
    fn fault(&self, n: usize, upstream_only: bool) {
        let during = |kind: &str, stream: &str, attributes: &str, millis: u64| {
            self.add(kind, stream, attributes);
            std::thread::sleep(Duration::from_millis(millis));
            self.remove(kind);
        };
        match n % if upstream_only { 4 } else { 6 } {
            0 => during("reset_peer", "upstream", "\"timeout\":0", 200),
            1 => {
                self.ask("POST", "/proxies/p", "{\"enabled\":false}");
                std::thread::sleep(Duration::from_millis(200));
                self.ask("POST", "/proxies/p", "{\"enabled\":true}");
            }
            2 => during("limit_data", "upstream", "\"bytes\":15001", 1000),
            3 => during("timeout", "upstream", "\"timeout\":400", 600),
            // The answers are lost: what was stored is sent again.
            4 => during("timeout", "downstream", "\"timeout\":500", 700),
            _ => during("limit_data", "downstream", "\"bytes\":999", 1000),
        }
    }
}

/// The bytes of one connection.
type Kept = Arc<Mutex<Vec<u8>>>;

/// What the sender sent on each of its connections, kept on its way to the proxy.
struct Tap {
    listen: SocketAddr,
    sent: Arc<Mutex<Vec<Kept>>>,
}

impl Tap {
    fn start(to: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listen = listener.local_addr().expect("it has one");
        let sent: Arc<Mutex<Vec<Kept>>> = Arc::default();
        let all = sent.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let kept = Kept::default();
                all.lock().expect("no panic").push(kept.clone());
                let (c, s) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                std::thread::spawn(move || pass(client, server, Some(&kept)));
                std::thread::spawn(move || pass(s, c, None));
            }
        });
        Tap { listen, sent }
    }

    /// How often each number was sent as a whole frame.
    fn counts(&self, n: usize) -> Vec<usize> {
        let mut counts = vec![0; n];
        for connection in self.sent.lock().expect("no panic").iter() {
            let bytes = connection.lock().expect("no panic");
            let text = String::from_utf8_lossy(&bytes);
            for part in text.split("n=").skip(1) {
                if let Some(n) = part.split_once(';').and_then(|(n, _)| n.parse::<usize>().ok()) {
                    counts[n] += 1;
                }
            }
        }
        counts
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, keep: Option<&Mutex<Vec<u8>>>) {
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if let Some(k) = keep {
            k.lock().expect("no panic").extend_from_slice(&buffer[..n]);
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

/// Sends so many lines by rsyslog's RELP through so many faults, and compares what was stored with what was sent.
fn check_relp(lines: usize, faults: usize) {
    let r = Received::start("[[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:0\"\n");
    let proxy = Proxy::start(r.address("relp", "relp"));
    let tap = Tap::start(proxy.listen);
    let dir = tempfile::tempdir().expect("a folder");
    input(dir.path(), lines);
    // Slow enough that each fault meets messages on their way.
    proxy.add("bandwidth", "upstream", "\"rate\":150");
    let relp = action("omrelp", tap.listen.port(), "template=\"RSYSLOG_ForwardFormat\" timeout=\"5\"");
    let _rsyslog = Rsyslog::start(dir.path(), "", &relp);
    r.wait_stored("relp", 200);
    for n in 0..faults {
        proxy.fault(n, false);
        std::thread::sleep(Duration::from_millis(300));
    }
    proxy.remove("bandwidth");
    let whole = |m: &[String]| m.iter().filter_map(|m| number(m)).collect::<std::collections::BTreeSet<_>>().len() == lines;
    r.wait("each message has come", whole);
    std::thread::sleep(Duration::from_millis(1000));
    let mut stored = vec![0; lines];
    r.messages().iter().for_each(|m| stored[number(m).expect("a number")] += 1);
    let sent = tap.counts(lines);
    for n in 0..lines {
        assert!((1..=sent[n]).contains(&stored[n]), "{n}: stored {} times, sent {} times", stored[n], sent[n]);
    }
    assert!(tap.sent.lock().expect("no panic").len() > faults / 3, "a fault ends a connection, but for those that meet none");
    assert!(stored.iter().any(|n| *n > 1), "answers were lost, so that something was sent and stored again");
}

#[test]
fn relp_misses_nothing_through_a_broken_network_and_repeats_only_what_was_sent_again() {
    if !(is_left_out("toxiproxy") || is_left_out("rsyslog")) {
        check_relp(12_000, 12);
    }
}

#[test]
#[ignore = "two minutes of faults: tests/run --long relp"]
fn long_relp() {
    check_relp(100_000, 90);
}

#[test]
fn of_each_plain_connection_a_gapless_prefix_is_stored() {
    if is_left_out("toxiproxy") {
        return;
    }
    let r = Received::start("[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n");
    let proxy = Proxy::start(r.address("syslog", "tcp"));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let to = proxy.listen;
    let sender = std::thread::spawn({
        let stop = stop.clone();
        move || {
            // How many lines were handed to the kernel, by connection.
            let mut sent = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok(mut s) = TcpStream::connect(to) else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                let (c, mut i) = (sent.len(), 0);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let now = jiff::Timestamp::from_microsecond(micros()).expect("in range");
                    if s.write_all(format!("<13>1 {now} vm-prod app - - - n={};\n", c * 1_000_000 + i).as_bytes()).is_err() {
                        break;
                    }
                    i += 1;
                    std::thread::sleep(Duration::from_micros(300));
                }
                sent.push(i);
            }
            sent
        }
    });
    for n in 0..12 {
        std::thread::sleep(Duration::from_millis(200));
        proxy.fault(n, true);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = sender.join().expect("no panic");
    std::thread::sleep(Duration::from_millis(1500));
    let mut next = vec![0; sent.len()];
    let mut stored = 0;
    for m in r.messages() {
        // The last line of a connection may have been cut before its semicolon.
        let Some(n) = number(&m) else { continue };
        let (c, i) = (n / 1_000_000, n % 1_000_000);
        assert_eq!(i, next[c], "connection {c}: a gap or a repeat");
        next[c] += 1;
        stored += 1;
    }
    assert!(next.iter().zip(&sent).all(|(stored, sent)| *stored <= sent + 1), "{next:?} of {sent:?}");
    assert!(sent.len() > 5 && stored > 500, "{} connections, {stored} records", sent.len());
}

fn micros() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros() as i64
}
