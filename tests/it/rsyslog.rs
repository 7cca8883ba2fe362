//! The real rsyslog of the distribution, sending by every way that it has: the counts at both ends are the same.

use crate::certificates::Root;
use crate::process::{Process, is_left_out, program};
use crate::received::{Received, number};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LINES: usize = 2000;

/// A running rsyslog that reads a file and sends its lines.
pub struct Rsyslog(#[allow(dead_code)] Process);

impl Rsyslog {
    /// Starts it with what stands before all else in its configuration, and actions.
    pub fn start(dir: &Path, first: &str, actions: &str) -> Rsyslog {
        let sbin = ["/usr/sbin/rsyslogd", "/usr/bin/rsyslogd", "/sbin/rsyslogd"].map(Into::into);
        let rsyslogd = program(&sbin, "apt-get install rsyslog rsyslog-gnutls rsyslog-relp, or leave the test out with VIGILD_SKIP=rsyslog");
        let dir = dir.display();
        let text = format!(
            "global(workDirectory=\"{dir}\" {first})\nmodule(load=\"omrelp\")\nmodule(load=\"imfile\" mode=\"polling\" pollingInterval=\"1\")\n\
             input(type=\"imfile\" file=\"{dir}/input.log\" tag=\"sshd[4711]:\" facility=\"auth\" severity=\"info\" ruleset=\"out\")\n\
             ruleset(name=\"out\") {{\n{actions}}}\n"
        );
        let file = format!("{dir}/rsyslog.conf");
        fs::write(&file, text).expect("written");
        Rsyslog(Process::start(Command::new(rsyslogd).args(["-n", "-f", &file, "-i", &format!("{dir}/rsyslog.pid")])))
    }
}

/// An action of rsyslog: its type, where to, and what else it says. It tries for ever, and its queue is large enough.
pub fn action(kind: &str, port: u16, more: &str) -> String {
    format!(
        "action(type=\"{kind}\" target=\"127.0.0.1\" port=\"{port}\" {more}\n queue.type=\"LinkedList\" queue.size=\"100000\" \
         queue.timeoutEnqueue=\"10000\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")\n"
    )
}

/// Writes the lines that rsyslog is to send.
pub fn input(dir: &Path, lines: usize) {
    let line =
        |i: usize| format!("Failed password for invalid user u{i} from 192.0.2.{} port {} ssh2 — «ü» 100% n={i};\n", i % 250 + 1, 40_000 + i % 9000);
    fs::write(dir.join("input.log"), (0..lines).map(line).collect::<String>()).expect("written");
}

/// Fails unless each number has come as often as there are ways.
fn check_all(received: &Received, ways: usize) {
    let all = received.wait("each message by each way", |m| m.len() >= LINES * ways);
    let mut counts = vec![0; LINES];
    all.iter().for_each(|m| counts[number(m).expect("a number")] += 1);
    assert_eq!(counts, vec![ways; LINES]);
}

#[test]
fn rsyslog_sends_over_udp_and_tcp_and_every_line_is_counted() {
    if is_left_out("rsyslog") {
        return;
    }
    let config = "[[source]]\nname = \"udp\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"udp\"]\n\
                  [[source]]\nname = \"lines\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n\
                  [[source]]\nname = \"octets\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n";
    let mut r = Received::start(config);
    let dir = r.daemon.dir.path().to_owned();
    input(&dir, LINES);
    let port = |source: &str, what: &str| r.address(source, what).port();
    let actions = [
        action("omfwd", port("udp", "udp"), "protocol=\"udp\" template=\"RSYSLOG_TraditionalForwardFormat\""),
        action("omfwd", port("lines", "tcp"), "protocol=\"tcp\" template=\"RSYSLOG_ForwardFormat\""),
        action("omfwd", port("octets", "tcp"), "protocol=\"tcp\" template=\"RSYSLOG_SyslogProtocol23Format\" TCP_Framing=\"octet-counted\""),
    ];
    let rsyslog = Rsyslog::start(&dir, "", &actions.concat());
    let n = LINES as u64;
    for source in ["lines", "octets"] {
        assert_eq!(r.wait_stored(source, n), n);
    }
    // Of UDP, what the kernel had to drop counts too.
    let udp = |r: &Received| {
        let dropped = |why: &str| r.daemon.metric(&format!("vigild_records_dropped_total{{source=\"udp\",reason=\"{why}\"}}")) as u64;
        r.stored("udp") + dropped("kernel") + dropped("queue")
    };
    r.daemon.wait("UDP: stored + dropped = sent", |d| {
        let dropped = |why: &str| d.metric(&format!("vigild_records_dropped_total{{source=\"udp\",reason=\"{why}\"}}"));
        d.metric("vigild_records_total{source=\"udp\"}") + dropped("kernel") + dropped("queue") >= LINES as f64
    });
    std::thread::sleep(Duration::from_millis(300));
    for source in ["lines", "octets"] {
        assert_eq!(r.stored(source), n, "{source}: none twice");
        assert_eq!(r.daemon.metric(&format!("vigild_records_truncated_total{{source=\"{source}\"}}")), 0.0);
    }
    assert_eq!(udp(&r), n);
    if r.stored("udp") == n {
        check_all(&r, 3);
    }
    drop(rsyslog);
    assert_eq!(r.daemon.stop().0.code(), Some(0));
}

#[test]
fn rsyslog_sends_over_tls_and_relp_and_every_line_comes_once() {
    if is_left_out("rsyslog") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let root = Root::new(dir.path(), "ca");
    root.sign("server", "log.example.org");
    root.sign("client", "web.example.org");
    let files = |client: &str| {
        let at = |f: &str| dir.path().join(f).display().to_string();
        format!("[source.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n{client}", at("server.pem"), at("server.key"))
    };
    let proved = files(&format!("client_ca = \"{}\"\nclient_names = [\"*.example.org\"]\n", dir.path().join("ca.pem").display()));
    let source = |name: &str, kind: &str, more: &str| format!("[[source]]\nname = \"{name}\"\nkind = \"{kind}\"\nlisten = \"127.0.0.1:0\"\n{more}");
    let config = [
        source("tls", "syslog", &format!("transport = [\"tls\"]\n{}", files(""))),
        source("proved", "syslog", &format!("transport = [\"tls\"]\n{proved}")),
        source("relp", "relp", ""),
        source("relp-tls", "relp", &proved),
    ];
    let mut r = Received::start(&config.concat());
    input(dir.path(), LINES);
    let at = |f: &str| dir.path().join(f).display().to_string();
    let driver = "protocol=\"tcp\" StreamDriver=\"gtls\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" \
                  StreamDriverPermittedPeers=\"log.example.org\" template=\"RSYSLOG_SyslogProtocol23Format\" TCP_Framing=\"octet-counted\"";
    let tls = format!(
        "tls=\"on\" tls.caCert=\"{}\" tls.myCert=\"{}\" tls.myPrivKey=\"{}\" tls.authMode=\"name\" tls.permittedPeer=[\"log.example.org\"]",
        at("ca.pem"),
        at("client.pem"),
        at("client.key")
    );
    let relp = "template=\"RSYSLOG_ForwardFormat\"";
    let port = |source: &str, what: &str| r.address(source, what).port();
    let actions = [
        action("omfwd", port("tls", "tls"), driver),
        action("omfwd", port("proved", "tls"), driver),
        action("omrelp", port("relp", "relp"), relp),
        action("omrelp", port("relp-tls", "relp"), &format!("{relp} {tls}")),
    ];
    let first = format!(
        "defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{}\" defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\"",
        at("ca.pem"),
        at("client.pem"),
        at("client.key")
    );
    let rsyslog = Rsyslog::start(dir.path(), &first, &actions.concat());
    let n = LINES as u64;
    for source in ["tls", "proved", "relp", "relp-tls"] {
        assert_eq!(r.wait_stored(source, n), n, "{source}");
    }
    std::thread::sleep(Duration::from_millis(300));
    for source in ["tls", "proved", "relp", "relp-tls"] {
        assert_eq!(r.stored(source), n, "{source}: none twice");
    }
    check_all(&r, 4);
    drop(rsyslog);
    assert_eq!(r.daemon.stop().0.code(), Some(0));
}

#[test]
fn rsyslog_without_a_certificate_sends_where_none_is_asked_for_and_nowhere_else() {
    if is_left_out("rsyslog") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let root = Root::new(dir.path(), "ca");
    root.sign("server", "log.example.org");
    let at = |f: &str| dir.path().join(f).display().to_string();
    let tls = format!("[source.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", at("server.pem"), at("server.key"));
    let source = |name: &str| format!("[[source]]\nname = \"{name}\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tls\"]\n{tls}");
    let mut r = Received::start(&[source("free"), source("strict"), format!("client_ca = \"{}\"\n", at("ca.pem"))].concat());
    input(dir.path(), LINES);
    let driver = "protocol=\"tcp\" StreamDriver=\"gtls\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"x509/name\" \
                  StreamDriverPermittedPeers=\"log.example.org\" template=\"RSYSLOG_ForwardFormat\"";
    let actions = ["free", "strict"].map(|s| action("omfwd", r.address(s, "tls").port(), driver));
    let first = format!("defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{}\"", at("ca.pem"));
    let _rsyslog = Rsyslog::start(dir.path(), &first, &actions.concat());
    assert_eq!(r.wait_stored("free", LINES as u64), LINES as u64);
    check_all(&r, 1);
    r.daemon.wait("the strict one refuses", |d| d.metric("vigild_refused_total{source=\"strict\"}") >= 1.0);
    assert_eq!(r.stored("strict"), 0);
    let log = r.daemon.log();
    assert_eq!(log.lines().filter(|l| l.contains("a connection is refused")).count(), 1, "once a minute\n{log}");
}
