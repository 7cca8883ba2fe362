//! `[source.tls]`: how connections of a source are encrypted.

use super::super::{Reader, Table};
use crate::source::tls::name::ClientName;
use std::path::PathBuf;

/// The files of TLS, and who may connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// The certificate and those between it and its root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, not encrypted.
    pub key: PathBuf,
    /// The roots that a client's certificate must come from; `None` asks for no certificate.
    pub client_ca: Option<PathBuf>,
    /// Names of which a client's certificate must bear one; none named means any.
    pub client_names: Vec<ClientName>,
}

const KEYS: &[&str] = &["certificate", "key", "client_ca", "client_names"];

impl Reader {
    /// Reads the table `tls` of a source, if it has one that can be had.
    pub(super) fn tls(&mut self, source: &Table<'_>) -> Option<Tls> {
        let at = source.get("tls")?.span();
        let t = self.table(source, "tls")?;
        self.keys(t, "`[source.tls]`", KEYS);
        let mut path = |key: &str, must: bool| {
            let s = self.str(t, key);
            if s.is_none() && must && !t.contains_key(key) {
                self.say("V004", at.clone(), format!("`[source.tls]` must have a `{key}`, a file in PEM"), "it is not here", None);
            }
            s.map(|s| PathBuf::from(s.value))
        };
        let (certificate, key, client_ca) = (path("certificate", true), path("key", true), path("client_ca", false));
        let wanted = "names or addresses like \"*.example.org\", with `*` for the first label alone";
        let client_names = self.read_list(t, "client_names", wanted, ClientName::parse);
        if t.contains_key("client_names") && !t.contains_key("client_ca") {
            let help = "name the file of the roots that they come from";
            self.say("V004", at, "`client_names` needs a `client_ca`".into(), "no `client_ca` here", Some(help.into()));
        }
        Some(Tls { certificate: certificate?, key: key?, client_ca, client_names })
    }
}
