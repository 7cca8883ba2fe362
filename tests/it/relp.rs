//! RELP word by word: what is answered, in which order, and what is not taken.

use crate::daemon::Daemon;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const OFFER: &str = "relp_version=0\nrelp_software=test\ncommands=syslog";
const CONFIG: &str = "[[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:0\"\n";

struct Client(TcpStream);

impl Client {
    fn connect(d: &Daemon) -> Client {
        let s = TcpStream::connect(d.address("relp")).expect("it listens");
        s.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        Client(s)
    }

    /// With a session opened.
    fn open(d: &Daemon) -> Client {
        let mut c = Client::connect(d);
        c.send(&format!("1 open {} {OFFER}\n", OFFER.len()));
        let granted = c.line();
        assert!(granted.starts_with("1 rsp ") && granted.ends_with(" 200 OK"), "{granted}");
        assert_eq!(c.line(), "relp_version=0");
        assert!(c.line().starts_with("relp_software=vigild,"));
        assert_eq!(c.line(), "commands=syslog");
        c
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("sent");
    }

    fn line(&mut self) -> String {
        let (mut line, mut c) = (Vec::new(), [0]);
        while self.0.read_exact(&mut c).is_ok() && c[0] != b'\n' {
            line.push(c[0]);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// What comes until it is closed.
    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        // A reset after the answer is as good as its end.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn syslog(number: usize) -> String {
    let text = format!("<13>Nov 24 05:47:10 vm-prod app: {number}");
    format!("{number} syslog {} {text}\n", text.len())
}

#[test]
fn each_frame_is_answered_once_in_order_when_it_is_stored() {
    let mut d = Daemon::start(&format!("{CONFIG}window = 3\n"), &[]);
    let mut c = Client::open(&d);
    let all: String = (2..1002).map(syslog).collect();
    let mut to = c.0.try_clone().expect("a socket");
    let sender = std::thread::spawn(move || to.write_all(all.as_bytes()).expect("sent"));
    for n in 2..1002 {
        assert_eq!(c.line(), format!("{n} rsp 6 200 OK"));
    }
    assert_eq!(d.metric("vigild_records_total{source=\"relp\"}"), 1000.0, "answered when it is stored");
    sender.join().expect("no panic");
    c.send("1002 syslog 9 <13>a\nb\0c\n1003 close 0\n");
    assert_eq!(c.rest(), "1002 rsp 6 200 OK\n1003 rsp 0\n0 serverclose 0\n");
    d.wait_metric("vigild_records_total{source=\"relp\"}", 1001.0);
    d.wait_metric("vigild_open{source=\"relp\"}", 0.0);
    assert_eq!(d.metric("vigild_cut_off_total{source=\"relp\"}"), 0.0);
}

#[test]
fn a_session_that_is_open_has_time() {
    let mut d = Daemon::start(&format!("{CONFIG}[limits]\nhandshake_timeout = \"200ms\"\n"), &[]);
    let mut c = Client::open(&d);
    std::thread::sleep(Duration::from_millis(500));
    c.send(&syslog(2));
    assert_eq!(c.line(), "2 rsp 6 200 OK");
    assert_eq!(d.stop().0.code(), Some(0));
    assert_eq!(c.rest(), "0 serverclose 0\n");
}

#[test]
fn what_is_not_relp_is_answered_with_500_behind_what_was_whole() {
    let mut d = Daemon::start(CONFIG, &[]);
    for (n, (text, answer)) in [
        ("2 syslog 5 <13>a\n3 syslog 5 <13>b!", "2 rsp 6 200 OK\n3 rsp 30 500 no newline behind the data\n0 serverclose 0\n"),
        ("2 unheard 0\n", "2 rsp 19 500 no such command\n0 serverclose 0\n"),
        ("2 open 0\n", "2 rsp 31 500 the session is open already\n0 serverclose 0\n"),
        ("2 syslog 99999999 x", "2 rsp 24 500 the data is too long\n0 serverclose 0\n"),
        ("GET / HTTP/1.1\n", "0 serverclose 0\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut c = Client::open(&d);
        c.send(text);
        assert_eq!(c.rest(), answer, "{text}");
        d.wait_metric("vigild_cut_off_total{source=\"relp\"}", (n + 1) as f64);
    }
    let mut c = Client::connect(&d);
    c.send("1 syslog 5 <13>a\n");
    assert_eq!(c.rest(), "1 rsp 27 500 the session is not open\n0 serverclose 0\n");
    assert_eq!(d.metric("vigild_records_total{source=\"relp\"}"), 1.0, "no half frame is a record");
}

#[test]
fn at_a_clean_stop_what_has_arrived_is_stored_and_answered() {
    let mut d = Daemon::start(CONFIG, &[]);
    let mut c = Client::open(&d);
    c.send(&(2..502).map(syslog).collect::<String>());
    // Half a frame more, which is not answered.
    c.send("502 syslog 100 <13>half");
    assert_eq!(d.stop().0.code(), Some(0));
    let answers: String = (2..502).map(|n| format!("{n} rsp 6 200 OK\n")).collect();
    assert_eq!(c.rest(), format!("{answers}0 serverclose 0\n"));
    assert!(d.log().contains("source=relp records=500 "), "{}", d.log());
}
