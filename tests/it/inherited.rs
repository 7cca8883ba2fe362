//! Sockets that the service manager has bound: they are used in place of what the configuration says, before and after reloads.

use crate::daemon::Daemon;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const RECORDS: &str = "vigild_records_total{source=\"syslog\"}";

/// The configuration with the source, or without.
fn config(listen: SocketAddr, source: Option<&str>) -> String {
    let source = source.map(|more| format!("[[source]]\nkind = \"syslog\"\nlisten = \"{listen}\"\ntransport = [\"udp\", \"tcp\"]\n{more}"));
    format!("[[source]]\nkind = \"http\"\n{}", source.unwrap_or_default())
}

#[test]
fn an_inherited_socket_goes_on_through_reloads_that_open_its_source_again() {
    // Nobody else can listen where the configuration says.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("bound");
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").expect("a port"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let (to, datagrams) = (tcp.local_addr().expect("bound"), udp.local_addr().expect("bound"));
    let mut d = Daemon::activated(&config(listen, Some("")), "syslog", [tcp.into(), udp.into()]);
    assert_eq!((d.address("tcp"), d.address("udp")), (to, datagrams));
    let stop = Arc::new(AtomicBool::new(false));
    let on = stop.clone();
    // One connection after the other: there is no moment at which one is refused, and what it says is never lost.
    let sender = std::thread::spawn(move || {
        let (from, mut n) = (UdpSocket::bind("127.0.0.1:0").expect("a socket"), 0);
        while !on.load(Ordering::Relaxed) {
            let mut s = TcpStream::connect(to).unwrap_or_else(|e| panic!("connection {n}: {e}"));
            s.write_all(format!("<13>line {n}\n").as_bytes()).expect("taken");
            from.send_to(format!("<13>datagram {n}").as_bytes(), datagrams).expect("sent");
            n += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        n
    });
    let path = d.dir.path().join("vigild.toml");
    for source in [Some("lateness = \"7s\"\n"), Some("zone = \"Europe/Berlin\"\n"), None, Some("")] {
        let before = d.metric(RECORDS);
        d.wait("it is read from", |d| source == Some("") || d.metric(RECORDS) > before);
        fs::write(&path, config(listen, source)).expect("written");
        let reloads = d.log().matches("sources begun anew: syslog").count();
        d.signal("HUP");
        d.wait("it is reloaded", |d| d.log().matches("sources begun anew: syslog").count() > reloads);
    }
    let before = d.metric(RECORDS);
    d.wait("it is read from after all", |d| d.metric(RECORDS) > before + 50.0);
    stop.store(true, Ordering::Relaxed);
    let n: u32 = sender.join().expect("it sends");
    d.wait_metric(RECORDS, 2.0 * f64::from(n));
    assert!(!d.log().contains("not reloaded"), "{}", d.log());
}
