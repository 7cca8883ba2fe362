//! Sockets in the file system, and the limits of connections: bounded by sender, by memory and by time.

use crate::daemon::Daemon;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

fn connect(to: SocketAddr) -> TcpStream {
    let s = TcpStream::connect(to).expect("it listens");
    s.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    s
}

/// Whether the other side closes within ten seconds.
fn ends(mut s: TcpStream) -> bool {
    let mut rest = Vec::new();
    !matches!(s.read_to_end(&mut rest), Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
}

#[test]
fn datagrams_of_a_socket_in_the_file_system_are_never_dropped() {
    const N: usize = 5000;
    let config = "[[source]]\nname = \"local\"\nkind = \"syslog\"\nunix = \"{dir}/socket\"\nunix_mode = \"0622\"\n[limits]\nqueue_bytes = 4096\n";
    let mut d = Daemon::start(config, &[]);
    let path = d.dir.path().join("socket");
    assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o622);
    let s = UnixDatagram::unbound().expect("a socket");
    for i in 0..N {
        // It blocks while the socket is full.
        s.send_to(format!("<13>Nov 24 05:47:10 vm-prod app: line {i}").as_bytes(), &path).expect("sent");
    }
    d.wait_metric("vigild_records_total{source=\"local\"}", N as f64);
    assert!(!d.log().contains(" udp="), "a socket in the file system alone listens on no address");
    s.send_to(b"the last\n", &path).expect("sent");
    assert_eq!(d.stop().0.code(), Some(0));
    assert!(d.log().contains(&format!("records={}", N + 1)), "what has arrived is taken\n{}", d.log());
    assert!(!path.exists(), "removed at the end");
}

#[test]
fn a_socket_that_was_left_behind_is_replaced() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("socket");
    let config = format!("[[source]]\nname = \"local\"\nkind = \"syslog\"\nunix = \"{}\"\n", path.display());
    // Killed, so that nothing is tidied up.
    drop(Daemon::start(&config, &[]));
    assert!(path.exists());
    let mut d = Daemon::start(&config, &[]);
    UnixDatagram::unbound().expect("a socket").send_to(b"<13>again", &path).expect("sent");
    d.wait_metric("vigild_records_total{source=\"local\"}", 1.0);
}

#[test]
fn connections_of_a_socket_in_the_file_system_are_framed_as_those_of_tcp() {
    let config = "[[source]]\nname = \"local\"\nkind = \"syslog\"\nunix = \"{dir}/socket\"\nunix_type = \"stream\"\n";
    let mut d = Daemon::start(config, &[]);
    let path = d.dir.path().join("socket");
    for _ in 0..3 {
        UnixStream::connect(&path).expect("it listens").write_all(b"<13>one\n7 <13>two<13>three\n").expect("sent");
    }
    d.wait_metric("vigild_records_total{source=\"local\"}", 9.0);
    d.wait_metric("vigild_open{source=\"local\"}", 0.0);
    assert_eq!(d.stop().0.code(), Some(0));
    assert!(!path.exists(), "removed at the end");
}

#[test]
fn what_the_kernel_drops_of_udp_over_ipv6_is_counted() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"[::1]:0\"\ntransport = [\"udp\"]\n[limits]\nudp_buffer_bytes = 1024\n";
    let Ok(s) = UdpSocket::bind("[::1]:0") else { return };
    let mut d = Daemon::start(config, &[]);
    let to = d.address("udp");
    for _ in 0..10_000 {
        s.send_to(&[b'x'; 800], to).expect("sent");
    }
    let kernel = "vigild_records_dropped_total{source=\"syslog\",reason=\"kernel\"}";
    d.wait("in = stored + dropped", |d| {
        d.metric("vigild_records_total{source=\"syslog\"}")
            + d.metric(kernel)
            + d.metric("vigild_records_dropped_total{source=\"syslog\",reason=\"queue\"}")
            == 10_000.0
    });
    assert!(d.metric(kernel) > 0.0, "so small a buffer must overflow");
}

#[test]
fn one_sender_has_not_all_connections() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n[limits]\nconnections = 10\nconnections_per_sender = 2\n";
    let mut d = Daemon::start(config, &[]);
    let to = d.address("tcp");
    let (a, _b) = (connect(to), connect(to));
    d.wait_metric("vigild_open{source=\"syslog\"}", 2.0);
    assert!(ends(connect(to)), "the third is refused");
    assert_eq!(d.metric("vigild_refused_total{source=\"syslog\"}"), 1.0);
    drop(a);
    d.wait_metric("vigild_open{source=\"syslog\"}", 1.0);
    let mut again = connect(to);
    again.write_all(b"<13>there is room again\n").expect("sent");
    d.wait_metric("vigild_records_total{source=\"syslog\"}", 1.0);
}

#[test]
fn what_connections_have_begun_is_bounded_for_all_of_them_together() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n\
                  [[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:0\"\n[limits]\nconnection_bytes = \"100KiB\"\n";
    let mut d = Daemon::start(config, &[]);
    let (tcp, relp) = (d.address("tcp"), d.address("relp"));
    let mut first = connect(tcp);
    first.write_all(&vec![b'x'; 60_000]).expect("sent");
    d.wait("the first holds its share", |d| d.metric("vigild_connection_bytes") >= 60_000.0);
    let mut second = connect(tcp);
    second.write_all(&vec![b'y'; 60_000]).expect("sent");
    assert!(ends(second), "there is no room for the second");
    d.wait_metric("vigild_cut_off_total{source=\"syslog\"}", 1.0);
    d.wait_metric("vigild_records_truncated_total{source=\"syslog\"}", 1.0);
    let mut third = connect(relp);
    let open = "relp_version=0\ncommands=syslog";
    third.write_all(format!("1 open {} {open}\n2 syslog 90000 ", open.len()).as_bytes()).expect("sent");
    // It may be closed before all of it has been sent.
    let _ = third.write_all(&vec![b'z'; 80_000]);
    assert!(ends(third), "nor for one of RELP");
    d.wait_metric("vigild_cut_off_total{source=\"relp\"}", 1.0);
    first.write_all(b"\n").expect("the first goes on");
    d.wait_metric("vigild_records_total{source=\"syslog\"}", 2.0);
    drop(first);
    d.wait_metric("vigild_connection_bytes", 0.0);
}

#[test]
fn a_connection_that_completes_no_record_is_cut_off_however_it_trickles() {
    let config = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\n[[source]]\nkind = \"relp\"\nlisten = \"127.0.0.1:0\"\n\
                  [limits]\nidle = \"600ms\"\nhandshake_timeout = \"300ms\"\n";
    let mut d = Daemon::start(config, &[]);
    let mut slow = connect(d.address("tcp"));
    let silent = connect(d.address("relp"));
    for _ in 0..20 {
        if slow.write_all(b"x").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ends(slow), "a byte now and then is not enough");
    assert!(ends(silent), "a session that is not opened");
    d.wait_metric("vigild_cut_off_total{source=\"syslog\"}", 1.0);
    d.wait_metric("vigild_cut_off_total{source=\"relp\"}", 1.0);
    assert_eq!(d.metric("vigild_records_truncated_total{source=\"syslog\"}"), 0.0);
}
