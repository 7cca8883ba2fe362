//! Certificates for tests: a root, and what it signs.

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// A root, with its certificate in a file.
pub struct Root {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    dir: PathBuf,
}

impl Root {
    /// Makes a root; its files stand in the folder, `NAME.pem` among them.
    pub fn new(dir: &Path, name: &str) -> Root {
        let key = KeyPair::generate().expect("a key");
        let mut p = CertificateParams::default();
        p.distinguished_name.push(DnType::CommonName, format!("root {name}"));
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = p.self_signed(&key).expect("a certificate");
        fs::write(dir.join(format!("{name}.pem")), certificate.pem()).expect("written");
        Root { issuer: Issuer::new(p, key), certificate, dir: dir.to_owned() }
    }

    /// The root's certificate.
    pub fn der(&self) -> rustls::pki_types::CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// Signs a certificate for a name: `FILE.pem` and `FILE.key`, put in place at once.
    pub fn sign(&self, file: &str, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut p = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        p.distinguished_name.push(DnType::CommonName, name);
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let c = p.signed_by(&key, &self.issuer).expect("a certificate");
        for (ending, text) in [("key", key.serialize_pem()), ("pem", c.pem())] {
            let (new, file) = (self.dir.join(format!("{file}.new")), self.dir.join(format!("{file}.{ending}")));
            fs::write(&new, text).and_then(|()| fs::rename(new, file)).expect("written");
        }
    }
}
