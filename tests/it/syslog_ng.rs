//! The real syslog-ng, unpacked beside the distribution's rsyslog: what it sends is what is stored.

use crate::certificates::Root;
use crate::process::{Process, cache, is_left_out, program};
use crate::received::{Received, number};
use std::fs;
use std::process::Command;
use std::time::Duration;

const LINES: usize = 2000;

#[test]
fn syslog_ng_sends_over_tcp_udp_and_tls_and_every_line_is_counted() {
    if is_left_out("syslog-ng") {
        return;
    }
    let unpacked = cache().join("syslog-ng/root");
    let how = "tests/run unpacks it, or leave the test out with VIGILD_SKIP=syslog-ng";
    let syslog_ng = program(&[unpacked.join("usr/sbin/syslog-ng")], how);
    let dir = tempfile::tempdir().expect("a folder");
    let root = Root::new(dir.path(), "ca");
    // It compares the name with the address that it connects to.
    root.sign("server", "127.0.0.1");
    root.sign("client", "web.example.org");
    let at = |f: &str| dir.path().join(f).display().to_string();
    let source = |name: &str, transport: &str| {
        format!("[[source]]\nname = \"{name}\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"{transport}\"]\n")
    };
    let tls = format!(
        "[source.tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\nclient_names = [\"web.example.org\"]\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    let mut r = Received::start(&[source("udp", "udp"), source("lines", "tcp"), source("octets", "tcp"), source("tls", "tls"), tls].concat());
    let text: String = (0..LINES).map(|i| format!("session opened for user u{i} by (uid=0) «ü» n={i};\n")).collect();
    fs::write(dir.path().join("input.log"), text).expect("written");
    let port = |source: &str, what: &str| r.address(source, what).port();
    let config = format!(
        "@version: 3.38\n\
         source in {{ file(\"{}\" follow-freq(0.2) program-override(\"su\") flags(no-parse)); }};\n\
         destination udp {{ network(\"127.0.0.1\" port({}) transport(\"udp\")); }};\n\
         destination lines {{ network(\"127.0.0.1\" port({}) transport(\"tcp\") flags(no-multi-line)); }};\n\
         destination octets {{ syslog(\"127.0.0.1\" port({}) transport(\"tcp\")); }};\n\
         destination tls {{ syslog(\"127.0.0.1\" port({}) transport(\"tls\") tls(ca-file(\"{}\") cert-file(\"{}\") key-file(\"{}\") \
         peer-verify(required-trusted))); }};\n\
         log {{ source(in); destination(udp); destination(lines); destination(octets); destination(tls); flags(flow-control); }};\n",
        at("input.log"),
        port("udp", "udp"),
        port("lines", "tcp"),
        port("octets", "tcp"),
        port("tls", "tls"),
        at("ca.pem"),
        at("client.pem"),
        at("client.key"),
    );
    fs::write(dir.path().join("syslog-ng.conf"), config).expect("written");
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/syslog-ng", "usr/lib/aarch64-linux-gnu", "lib/aarch64-linux-gnu"];
    let mut c = Command::new(syslog_ng);
    c.env("LD_LIBRARY_PATH", libraries.map(|l| unpacked.join(l).display().to_string()).join(":")).args(["--foreground", "--no-caps"]);
    // The folder of its modules is named by its version.
    let modules = fs::read_dir(unpacked.join("usr/lib/syslog-ng")).expect("a folder").map(|e| e.expect("an entry").path());
    c.arg("--module-path").arg(modules.into_iter().find(|p| p.is_dir()).expect("modules"));
    for (flag, file) in [("--cfgfile", "syslog-ng.conf"), ("--persist-file", "persist"), ("--pidfile", "pid"), ("--control", "control")] {
        c.arg(flag).arg(dir.path().join(file));
    }
    let _syslog_ng = Process::start(&mut c);
    let n = LINES as u64;
    for source in ["lines", "octets", "tls"] {
        assert_eq!(r.wait_stored(source, n), n, "{source}");
    }
    r.daemon.wait("UDP: stored + dropped = sent", |d| {
        let dropped = |why: &str| d.metric(&format!("vigild_records_dropped_total{{source=\"udp\",reason=\"{why}\"}}"));
        d.metric("vigild_records_total{source=\"udp\"}") + dropped("kernel") + dropped("queue") == n as f64
    });
    std::thread::sleep(Duration::from_millis(300));
    for source in ["lines", "octets", "tls"] {
        assert_eq!(r.stored(source), n, "{source}: none twice");
    }
    let udp = r.stored("udp") as usize;
    let all = r.wait("each message by each way", |m| m.len() >= 3 * LINES + udp);
    let mut counts = vec![0; LINES];
    all.iter().for_each(|m| counts[number(m).expect("a number")] += 1);
    assert_eq!(counts.iter().sum::<usize>(), 3 * LINES + udp);
    assert!(counts.iter().all(|c| matches!(c, 3 | 4)), "{counts:?}");
    assert_eq!(r.daemon.stop().0.code(), Some(0));
}
