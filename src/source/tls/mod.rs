//! TLS for connections that come in: versions 1.2 and 1.3, certificates read again when their files change.
//!
//! Sessions are never resumed: each connection proves its client anew, by the roots and names that hold now.

pub mod name;

use super::OpenError;
use crate::config::source::tls as config;
use name::ClientName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, ServerConfig, SignatureScheme};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);
/// A file of certificates is no larger.
const FILE: u64 = 4 << 20;

/// The TLS of a source.
pub struct Tls {
    source: String,
    files: config::Tls,
    now: Mutex<Now>,
}

struct Now {
    config: Arc<ServerConfig>,
    /// The files as they were when they were last read, well or not.
    seen: Vec<Stamp>,
    looked: Instant,
}

/// What shows that a file is another one: device, inode, size, and time of change in seconds and nanoseconds.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Tls {
    /// Reads the files.
    pub fn open(files: &config::Tls, source: &str) -> Result<Arc<Tls>, OpenError> {
        let seen = stamps(files);
        let config = load(files).map_err(|why| OpenError::Setting { what: source.to_owned(), why })?;
        let now = Mutex::new(Now { config, seen, looked: Instant::now() });
        Ok(Arc::new(Tls { source: source.to_owned(), files: files.clone(), now }))
    }

    /// What holds now: the files are read again where they have changed, and what was read before stands while they are wrong.
    fn config(&self) -> Arc<ServerConfig> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() >= LOOK {
            now.looked = Instant::now();
            let seen = stamps(&self.files);
            if seen != now.seen {
                match load(&self.files) {
                    Ok(c) => {
                        tracing::info!(source = %self.source, "the files of TLS have changed and are read again");
                        now.config = c;
                    }
                    Err(why) => tracing::warn!(source = %self.source, why, "the files of TLS have changed; what they held before stands"),
                }
                now.seen = seen;
            }
        }
        now.config.clone()
    }

    /// Makes a connection an encrypted one. Errors: why it is not, without text of the other side but names, escaped.
    pub async fn accept(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        TlsAcceptor::from(self.config()).accept(socket).await.map_err(|e| match e.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(CertificateError::Other(OtherError(e)))) => e.to_string(),
            Some(e) => format!("{e}"),
            None => e.kind().to_string(),
        })
    }
}

fn stamps(files: &config::Tls) -> Vec<Stamp> {
    let of = |p: &Path| fs::metadata(p).ok().map(|m| (m.dev(), m.ino(), m.size(), m.ctime(), m.ctime_nsec()));
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten().map(|p| of(p)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).and_then(|f| f.take(FILE + 1).read_to_end(&mut bytes));
    file.map_err(|e: io::Error| format!("cannot read {}: {e}", path.display()))?;
    if bytes.len() as u64 > FILE { Err(format!("{} is larger than {FILE} bytes", path.display())) } else { Ok(bytes) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let all = all.map_err(|e| format!("{} is not whole PEM: {e}", path.display()))?;
    if all.is_empty() {
        return Err(format!("{} holds no certificate (no `-----BEGIN CERTIFICATE-----`)", path.display()));
    }
    if let Some(i) = all.iter().position(|c| x509_parser::parse_x509_certificate(c).is_err()) {
        return Err(format!("certificate {} in {} cannot be read", i + 1, path.display()));
    }
    Ok(all)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        pem::Error::NoItemsFound if memchr::memmem::find(&text, b"ENCRYPTED").is_some() => {
            format!("the key in {} is encrypted; a key without a passphrase is needed", path.display())
        }
        pem::Error::NoItemsFound => format!("{} holds no private key (no `-----BEGIN PRIVATE KEY-----`)", path.display()),
        e => format!("{} is not whole PEM: {e}", path.display()),
    })
}

/// Reads the files; what is wrong names the file.
fn load(files: &config::Tls) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = key(&files.key)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for c in certificates(path)? {
                roots.add(c).map_err(|e| format!("a certificate in {} cannot be a root: {e}", path.display()))?;
            }
            let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| format!("{} gives no roots: {e}", path.display()))?;
            builder.with_client_cert_verifier(Arc::new(Verifier { chain, names: files.client_names.clone() }))
        }
    };
    let (c, k) = (files.certificate.display(), files.key.display());
    let mut config = builder.with_single_cert(chain, key).map_err(|e| match e {
        Error::InconsistentKeys(_) => format!("the key in {k} does not belong to the certificate in {c}"),
        e => format!("the certificate in {c} and the key in {k} cannot be used: {e}"),
    })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client's certificate comes from the roots, and bears a name that is wanted.
#[derive(Debug)]
struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    names: Vec<ClientName>,
}

/// The names that a certificate bears are not wanted.
#[derive(Debug, thiserror::Error)]
#[error("its certificate bears none of `client_names`, but {0}")]
struct WrongName(String);

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(&self, end: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end, between, now)?;
        if !self.names.is_empty() {
            name::check(end, &self.names)
                .map_err(|names| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WrongName(names))))))?;
        }
        Ok(verified)
    }

    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(m, c, d)
    }

    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(m, c, d)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = |name: &str| {
            let k = rcgen::KeyPair::generate().expect("a key");
            let c = rcgen::CertificateParams::new(vec!["log.example.org".into()]).expect("names").self_signed(&k).expect("a certificate");
            fs::write(dir.path().join(format!("{name}.pem")), c.pem()).expect("written");
            fs::write(dir.path().join(format!("{name}.key")), k.serialize_pem()).expect("written");
        };
        key("a");
        key("b");
        for (file, text) in [
            ("empty", ""),
            ("cut", "-----BEGIN CERTIFICATE-----\nMIIB"),
            ("noise", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            ("locked", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        ] {
            fs::write(dir.path().join(file), text).expect("written");
        }
        for (certificate, key, ca, said) in [
            ("a.pem", "a.key", Some("a.pem"), None),
            ("none", "a.key", None, Some(("none", "cannot read"))),
            ("empty", "a.key", None, Some(("empty", "holds no certificate"))),
            ("a.key", "a.key", None, Some(("a.key", "holds no certificate"))),
            ("cut", "a.key", None, Some(("cut", "not whole PEM"))),
            ("noise", "a.key", None, Some(("noise", "cannot be read"))),
            ("a.pem", "a.pem", None, Some(("a.pem", "holds no private key"))),
            ("a.pem", "locked", None, Some(("locked", "is encrypted"))),
            ("a.pem", "b.key", None, Some(("b.key", "does not belong"))),
            ("a.pem", "a.key", Some("empty"), Some(("empty", "holds no certificate"))),
        ] {
            let path = |n: &str| dir.path().join(n);
            let files = config::Tls { certificate: path(certificate), key: path(key), client_ca: ca.map(path), client_names: Vec::new() };
            match (load(&files), said) {
                (Ok(_), None) => {}
                (Err(why), Some((file, word))) => assert!(why.contains(file) && why.contains(word), "{why}"),
                (got, said) => panic!("{certificate} {key} {ca:?}: {:?} where {said:?} is due", got.err()),
            }
        }
    }
}
