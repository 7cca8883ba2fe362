//! TLS by a client of our own: who is let in, and certificates that change while the daemon runs.

use crate::certificates::Root;
use crate::daemon::Daemon;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sends a line; `Ok` where the other side ends the connection cleanly, having read it.
fn send(d: &Daemon, root: &Root, client: Option<&Path>, version: &'static rustls::SupportedProtocolVersion) -> io::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(root.der()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("known").with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let chain = CertificateDer::pem_file_iter(file.with_extension("pem")).expect("PEM").map(|c| c.expect("PEM")).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file.with_extension("key")).expect("PEM")).expect("a key")
        }
    };
    let name = ServerName::try_from("log.example.org").expect("a name");
    let tcp = TcpStream::connect(d.address("tls"))?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut s = StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("settings"), tcp);
    s.write_all(b"<13>Nov 24 05:47:10 vm-prod app: text\n")?;
    s.conn.send_close_notify();
    s.flush()?;
    // In TLS 1.3 a refusal comes after the handshake.
    match s.read(&mut [0; 10]) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(e) => Err(e),
    }
}

const LISTEN: &str = "[[source]]\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tls\"]\n";

fn files(dir: &Path, more: &str) -> String {
    format!("{LISTEN}[source.tls]\ncertificate = \"{0}/server.pem\"\nkey = \"{0}/server.key\"\n{more}", dir.display())
}

#[test]
fn only_a_client_with_a_wanted_name_from_the_right_root_is_let_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let (root, other) = (Root::new(dir.path(), "ca"), Root::new(dir.path(), "other"));
    root.sign("server", "log.example.org");
    root.sign("web", "web.example.org");
    root.sign("deep", "a.web.example.org");
    root.sign("address", "192.0.2.7");
    other.sign("stranger", "web.example.org");
    let more = format!("client_ca = \"{}/ca.pem\"\nclient_names = [\"*.example.org\", \"192.0.2.7\"]\n", dir.path().display());
    let mut d = Daemon::start(&files(dir.path(), &more), &[]);
    let (mut taken, mut refused) = (0.0, 0.0);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (client, ok) in [(Some("web"), true), (Some("deep"), false), (Some("address"), true), (Some("stranger"), false), (None, false)] {
            let path = client.map(|c| dir.path().join(c));
            let sent = send(&d, &root, path.as_deref(), version);
            assert_eq!(sent.is_ok(), ok, "{client:?} {version:?} {sent:?}");
            if ok { taken += 1.0 } else { refused += 1.0 }
        }
    }
    d.wait_metric("vigild_records_total{source=\"syslog\"}", taken);
    assert_eq!(d.metric("vigild_refused_total{source=\"syslog\"}"), refused);
    let log = d.log();
    assert!(log.contains("bears none of `client_names`, but a.web.example.org"), "{log}");
    assert_eq!(log.lines().filter(|l| l.contains("a connection is refused")).count(), 1, "once a minute\n{log}");
}

#[test]
fn certificates_are_read_again_when_their_files_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, second) = (Root::new(dir.path(), "first"), Root::new(dir.path(), "second"));
    first.sign("server", "log.example.org");
    let mut d = Daemon::start(&files(dir.path(), ""), &[]);
    let version = &rustls::version::TLS13;
    assert!(send(&d, &first, None, version).is_ok());
    second.sign("server", "log.example.org");
    let begin = Instant::now();
    while send(&d, &second, None, version).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}", d.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(send(&d, &first, None, version).is_err(), "the old one is gone");
    // What cannot be read leaves what was read before.
    std::fs::write(dir.path().join("server.pem"), "nothing").expect("written");
    std::thread::sleep(Duration::from_millis(1100));
    assert!(send(&d, &second, None, version).is_ok());
    let log = d.log();
    assert!(log.contains("server.pem holds no certificate"), "{log}");
    d.wait("three lines at least", |d| d.metric("vigild_records_total{source=\"syslog\"}") >= 3.0);
}

#[test]
fn a_handshake_that_is_not_finished_is_cut_off() {
    let dir = tempfile::tempdir().expect("a folder");
    Root::new(dir.path(), "ca").sign("server", "log.example.org");
    let mut d = Daemon::start(&format!("{}[limits]\nhandshake_timeout = \"300ms\"\n", files(dir.path(), "")), &[]);
    let mut silent = TcpStream::connect(d.address("tls")).expect("it listens");
    silent.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    assert!(matches!(silent.read(&mut [0; 10]), Ok(0) | Err(_)));
    d.wait_metric("vigild_cut_off_total{source=\"syslog\"}", 1.0);
    let mut plain = TcpStream::connect(d.address("tls")).expect("it listens");
    plain.write_all(b"<13>Nov 24 05:47:10 vm-prod app: not encrypted\n").expect("sent");
    d.wait_metric("vigild_refused_total{source=\"syslog\"}", 1.0);
    assert_eq!(d.metric("vigild_records_total{source=\"syslog\"}"), 0.0);
}
