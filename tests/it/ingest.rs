//! `POST /api/v1/ingest/{format}` of the shipped binary: encodings, idempotency keys, and clients that do not behave.

use crate::daemon::{Answer, Daemon, answer, lines};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const HTTP: &str = "[[source]]\nkind = \"http\"\n";
const RECORDS: &str = "vigild_records_total{source=\"http\"}";
const PATH: &str = "/api/v1/ingest/syslog";

fn key(k: &str) -> String {
    format!("idempotency-key: {k}\r\n")
}

fn said(a: &Answer) -> (u16, &str) {
    (a.status, a.body.as_str())
}

fn first_to_last(first: u64, last: u64) -> String {
    format!("{{\"accepted\":{},\"first\":{first},\"last\":{last}}}", last - first + 1)
}

/// A request of which the body is yet to come.
fn head(d: &Daemon, path: &str, length: usize, headers: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\n{headers}\r\n",
        d.token()
    )
}

#[test]
fn the_answer_names_the_records_however_the_body_is_encoded() {
    let d = Daemon::start(HTTP, &[]);
    let text = lines(100);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).expect("memory");
    let bodies = [("identity", text.clone()), ("gzip", gzip.finish().expect("memory")), ("zstd", zstd::encode_all(&text[..], 3).expect("memory"))];
    for (n, (coding, body)) in bodies.iter().enumerate() {
        let a = d.post(PATH, &format!("content-encoding: {coding}\r\n"), body);
        let n = n as u64 * 100;
        assert_eq!(said(&a), (200, first_to_last(n + 1, n + 100).as_str()), "{coding}");
    }
    // A key knows the bytes, not how they were compressed.
    for (coding, body) in &bodies {
        let a = d.post(PATH, &format!("{}content-encoding: {coding}\r\n", key("a")), body);
        assert_eq!(said(&a), (200, first_to_last(301, 400).as_str()), "{coding}");
    }
    assert_eq!(said(&d.post(PATH, "", b"\n\n")), (200, "{\"accepted\":0}"));
    let a = d.post(PATH, "content-encoding: gzip, zstd\r\n", b"x");
    assert!(a.status == 415 && a.head.contains("accept-encoding: gzip, zstd"), "{}", a.head);
    assert_eq!(d.post(PATH, "content-encoding: zstd\r\n", b"x").status, 400);
    assert_eq!(d.metric(RECORDS), 400.0);
    assert_eq!(d.metric("vigild_http_bodies_bytes"), 0.0);
}

#[test]
fn a_repeated_request_gets_the_first_answer_and_stores_nothing() {
    let mut d = Daemon::start(&format!("{HTTP}[limits]\nbody_bytes = 4000\nbodies_bytes = 6000\nidempotency_keys = 3\n"), &[]);
    let one = first_to_last(1, 2);
    for _ in 0..3 {
        assert_eq!(said(&d.post(PATH, &key("a"), &lines(2))), (200, one.as_str()));
    }
    assert_eq!(d.post(PATH, &key("a"), &lines(3)).status, 422);
    assert_eq!(said(&d.post("/api/v1/ingest/auto", &key("a"), &lines(2))), (200, first_to_last(3, 4).as_str()), "a key belongs to its path");
    for bad in ["", "a b", &"x".repeat(256), "ü"] {
        assert_eq!(d.post(PATH, &key(bad), b"x\n").status, 400, "{bad}");
    }
    assert_eq!(d.post(PATH, &format!("{}{}", key("a"), key("a")), b"x\n").status, 400, "two keys");
    assert_eq!(d.metric(RECORDS), 4.0);

    // What stored nothing leaves its key free.
    assert_eq!(d.post(PATH, &key("b"), &[b'x'; 4001]).status, 413);
    let mut slow = d.connect();
    slow.write_all(head(&d, PATH, 3000, "").as_bytes()).expect("sent");
    d.wait_metric("vigild_http_bodies_bytes", 3000.0);
    assert_eq!(d.post(PATH, &key("b"), &[b'x'; 3500]).status, 429);
    drop(slow);
    d.wait_metric("vigild_http_bodies_bytes", 0.0);
    assert_eq!(said(&d.post(PATH, &key("b"), b"x\n")), (200, first_to_last(5, 5).as_str()));

    // A fourth key, and the first is forgotten.
    assert_eq!(d.metric("vigild_idempotency_keys"), 3.0);
    assert_eq!(d.post(PATH, &key("c"), b"x\n").status, 200);
    assert_eq!((d.metric("vigild_idempotency_keys"), d.metric("vigild_idempotency_keys_forgotten_total")), (3.0, 1.0));
    assert_eq!(said(&d.post(PATH, &key("a"), &lines(2))), (200, first_to_last(7, 8).as_str()));
}

#[test]
fn a_key_is_busy_while_its_first_request_runs_and_free_when_that_breaks_off() {
    let mut d = Daemon::start(HTTP, &[]);
    let mut first = d.connect();
    first.write_all(head(&d, PATH, 4, &key("a")).as_bytes()).expect("sent");
    d.wait_metric("vigild_http_bodies_bytes", 4.0);
    let busy = d.post(PATH, &key("a"), b"a\nb\n");
    assert!(busy.status == 409 && busy.head.contains("retry-after: 1"), "{}", busy.head);
    first.write_all(b"a\nb\n").expect("sent");
    let one = first_to_last(1, 2);
    assert_eq!(said(&answer(&mut first)), (200, one.as_str()));
    assert_eq!(said(&d.post(PATH, &key("a"), b"a\nb\n")), (200, one.as_str()));

    let mut half = d.connect();
    half.write_all(head(&d, PATH, 4, &key("b")).as_bytes()).expect("sent");
    half.write_all(b"a\n").expect("sent");
    d.wait("it is being read", |d| d.metric("vigild_http_bodies_bytes") > 4.0);
    drop(half);
    d.wait_metric("vigild_http_bodies_bytes", 0.0);
    assert_eq!(said(&d.post(PATH, &key("b"), b"c\n")), (200, first_to_last(3, 3).as_str()), "nothing of half a body was stored");
}

#[test]
fn what_was_sent_whole_is_stored_once_although_its_sender_has_gone() {
    let mut d = Daemon::start(HTTP, &[]);
    for i in 0..20 {
        let mut s = d.connect();
        s.write_all(&[head(&d, PATH, 4, &key(&format!("k{i}"))).as_bytes(), b"a\nb\n"].concat()).expect("sent");
        drop(s);
    }
    // Each is stored by now or when it is sent again, under its key either way.
    for i in 0..20 {
        d.wait("it is answered", |d| d.post(PATH, &key(&format!("k{i}")), b"a\nb\n").status == 200);
    }
    assert_eq!(d.metric(RECORDS), 40.0);
    assert_eq!(d.metric("vigild_idempotency_keys"), 20.0);
}

#[test]
fn pieces_waits_and_several_requests_at_once_are_understood() {
    let d = Daemon::start(HTTP, &[]);
    let chunked = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n", d.token());
    let a = d.ask(&format!("{chunked}connection: close\r\n\r\n"), b"3\r\na\nb\r\n1\r\n\n\r\n0\r\n\r\n");
    assert_eq!(said(&a), (200, first_to_last(1, 2).as_str()));

    // One that asks first is told to go on, or at once that it need not.
    let mut s = d.connect();
    s.write_all(head(&d, PATH, 2, "expect: 100-continue\r\n").as_bytes()).expect("sent");
    let mut go = [0; 25];
    s.read_exact(&mut go).expect("it is told to go on");
    assert!(go.starts_with(b"HTTP/1.1 100 Continue\r\n"), "{}", String::from_utf8_lossy(&go));
    s.write_all(b"x\n").expect("sent");
    assert_eq!(answer(&mut s).status, 200);
    let mut s = d.connect();
    s.write_all(head(&d, PATH, 1 << 30, "expect: 100-continue\r\n").as_bytes()).expect("sent");
    assert_eq!(answer(&mut s).status, 413);

    // Several requests behind each other on one connection are answered in their order.
    let mut s = d.connect();
    let open = head(&d, PATH, 2, "").replace("connection: close\r\n", "");
    s.write_all(format!("{open}a\n{open}b\n{}c\n", head(&d, PATH, 2, "")).as_bytes()).expect("sent");
    let mut all = String::new();
    s.read_to_string(&mut all).expect("answers");
    let at = |n: u64| all.find(&first_to_last(n, n)).unwrap_or_else(|| panic!("{n} is not in\n{all}"));
    assert!(at(4) < at(5) && at(5) < at(6), "{all}");
}

#[test]
fn heads_and_records_have_limits() {
    let d = Daemon::start(&format!("{HTTP}[limits]\nbody_bytes = 100000\nbodies_bytes = 200000\n"), &[]);
    let many: String = (0..200).map(|i| format!("x-{i}: y\r\n")).collect();
    assert_eq!(d.post(PATH, &many, b"x\n").status, 431);
    assert_eq!(d.post(PATH, &format!("x: {}\r\n", "y".repeat(100_000)), b"x\n").status, 431);
    let a = d.post(PATH, "", "a\n".repeat(49_000).as_bytes());
    assert!(a.status == 413 && a.body.contains("200000 bytes of memory"), "{} {}", a.status, a.body);
    assert_eq!(d.metric(RECORDS), 0.0);
    assert_eq!(d.metric("vigild_http_bodies_bytes"), 0.0);
}

#[test]
fn only_senders_on_the_list_are_heard_whatever_their_headers_say() {
    let d = Daemon::start("[network]\ntrusted_proxies = [\"127.0.0.1\"]\n[[source]]\nkind = \"http\"\nallow = [\"192.0.2.0/24\"]\n", &[]);
    let a = d.post(PATH, "x-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n", b"x\n");
    assert_eq!(a.status, 403, "{}", a.body);
    assert_eq!(d.post("/_bulk", "", b"{\"index\":{}}\n{}\n").status, 403);
    assert_eq!((d.metric("vigild_refused_total{source=\"http\"}"), d.metric(RECORDS)), (2.0, 0.0));
    let d = Daemon::start("[[source]]\nkind = \"http\"\nallow = [\"127.0.0.0/8\"]\n", &[]);
    assert_eq!(d.post(PATH, "", b"x\n").status, 200);
}

#[test]
fn a_body_that_stalls_is_given_up_and_its_key_with_it() {
    let d = Daemon::start(&format!("{HTTP}[limits]\nbody_timeout = \"300ms\"\n"), &[]);
    let mut s: TcpStream = d.connect();
    s.write_all(head(&d, PATH, 10, &key("a")).as_bytes()).expect("sent");
    s.write_all(b"half").expect("sent");
    assert_eq!(answer(&mut s).status, 408);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(d.post(PATH, &key("a"), b"x\n").status, 200);
    assert_eq!(d.metric(RECORDS), 1.0);
}
