//! Who a client is by its certificate, and whom the operator wants.
//!
//! - In: a certificate whose chain has been checked, and the names in `client_names`.
//! - Out: whether one of the certificate's names is among them. Its names are the DNS names and addresses among its subject
//!   alternative names; its common name counts only where it has no subject alternative names at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::extensions::GeneralName;

/// A name that is wanted: a DNS name, one with `*` for its first label, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientName {
    /// This name.
    Exact(String),
    /// One label, and this behind it, with its dot.
    Below(String),
    /// This address.
    Ip(IpAddr),
}

/// A name that a certificate bears.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Borne {
    Dns(String),
    Ip(IpAddr),
}

/// A DNS name in the form in which names are compared; `None` where it is none.
fn dns(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    (name.len() <= 253 && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

impl ClientName {
    /// Reads `host.example.org`, `*.example.org` or an address.
    pub fn parse(s: &str) -> Option<ClientName> {
        if let Ok(ip) = s.parse::<IpAddr>() {
            return Some(ClientName::Ip(ip.to_canonical()));
        }
        match s.strip_prefix("*.") {
            Some(rest) => Some(ClientName::Below(format!(".{}", dns(rest)?))),
            None => Some(ClientName::Exact(dns(s)?)),
        }
    }

    fn is(&self, name: &Borne) -> bool {
        match (self, name) {
            (ClientName::Exact(e), Borne::Dns(n)) => e == n,
            // The first label only: what stands in front of the suffix has no dot, and `*` itself is one label.
            (ClientName::Below(suffix), Borne::Dns(n)) => n.strip_suffix(suffix.as_str()).is_some_and(|l| !l.is_empty() && !l.contains('.')),
            (ClientName::Ip(a), Borne::Ip(b)) => a == b,
            _ => false,
        }
    }
}

/// Whether a certificate bears one of the names; else what it bears, for the log.
pub fn check(certificate: &[u8], wanted: &[ClientName]) -> Result<(), String> {
    let borne = borne(certificate).ok_or("a certificate that cannot be read")?;
    if wanted.is_empty() || borne.iter().any(|n| wanted.iter().any(|w| w.is(n))) {
        return Ok(());
    }
    let said = |n: &Borne| match n {
        Borne::Dns(n) => n.escape_debug().take(100).collect(),
        Borne::Ip(ip) => ip.to_string(),
    };
    let names: Vec<String> = borne.iter().take(5).map(said).collect();
    Err(if names.is_empty() { "no name".into() } else { names.join(", ") })
}

fn borne(certificate: &[u8]) -> Option<Vec<Borne>> {
    let (_, c) = x509_parser::parse_x509_certificate(certificate).ok()?;
    // A wildcard in a certificate is a name like any other: it matches no more than is written.
    let of_dns = |n: &str| match n.strip_prefix("*.") {
        Some(rest) => dns(rest).map(|r| Borne::Dns(format!("*.{r}"))),
        None => dns(n).map(Borne::Dns),
    };
    if let Some(alternative) = c.subject_alternative_name().ok()? {
        let name = |n: &GeneralName<'_>| match n {
            GeneralName::DNSName(n) => of_dns(n),
            GeneralName::IPAddress(b) => match b.len() {
                4 => <[u8; 4]>::try_from(*b).ok().map(|b| Borne::Ip(Ipv4Addr::from(b).into())),
                16 => <[u8; 16]>::try_from(*b).ok().map(|b| Borne::Ip(IpAddr::from(Ipv6Addr::from(b)).to_canonical())),
                _ => None,
            },
            _ => None,
        };
        return Some(alternative.value.general_names.iter().filter_map(name).collect());
    }
    let mut common = c.subject().iter_common_name();
    // Of several nobody can say which one is meant.
    match (common.next(), common.next()) {
        (Some(n), None) => Some(n.as_str().ok().and_then(of_dns).into_iter().collect()),
        _ => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    #[test]
    fn names_are_read_or_refused() {
        for (s, ok) in [
            ("log.example.org", true),
            ("LOG.example.org.", true),
            ("*.example.org", true),
            ("192.0.2.1", true),
            ("2001:db8::1", true),
            ("relay_1", true),
            ("*", false),
            ("*.", false),
            ("a*.example.org", false),
            ("log.*.example.org", false),
            ("*.*.example.org", false),
            ("", false),
            ("a..b", false),
            ("a b", false),
            ("192.0.2.0/24", false),
        ] {
            assert_eq!(ClientName::parse(s).is_some(), ok, "{s}");
        }
    }

    /// Whether a certificate with a common name and alternative names is let in by a wanted name.
    fn check_one(common: Option<&str>, alternative: &[&str], wanted: &str) -> bool {
        let mut p = CertificateParams::default();
        p.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(c) = common {
            p.distinguished_name.push(DnType::CommonName, c);
        }
        p.subject_alt_names = alternative
            .iter()
            .map(|n| match (n.parse(), n.strip_prefix("mail:")) {
                (Ok(ip), _) => SanType::IpAddress(ip),
                (_, Some(m)) => SanType::Rfc822Name(m.try_into().expect("ASCII")),
                _ => SanType::DnsName((*n).try_into().expect("ASCII")),
            })
            .collect();
        let key = KeyPair::generate().expect("a key");
        let der = p.self_signed(&key).expect("a certificate");
        check(der.der(), &[ClientName::parse(wanted).expect(wanted)]).is_ok()
    }

    #[test]
    fn a_certificate_bears_a_wanted_name_or_not() {
        for (common, alternative, wanted, yes) in [
            (None, &["web.example.org"][..], "web.example.org", true),
            (None, &["WEB.Example.ORG"], "web.example.org", true),
            (None, &["db.example.org", "web.example.org"], "web.example.org", true),
            (None, &["web.example.org"], "*.example.org", true),
            (None, &["a.web.example.org"], "*.example.org", false),
            (None, &["example.org"], "*.example.org", false),
            (None, &["web.example.org.example.net"], "*.example.org", false),
            (None, &["webexample.org"], "*.example.org", false),
            (None, &["web.example.net"], "web.example.org", false),
            // A wildcard in the certificate matches what is written and no more.
            (None, &["*.example.org"], "web.example.org", false),
            (None, &["*.example.org"], "*.example.org", true),
            // The common name counts only without alternative names.
            (Some("web.example.org"), &[], "web.example.org", true),
            (Some("web.example.org"), &[], "*.example.org", true),
            (Some("web.example.org"), &["db.example.org"], "web.example.org", false),
            (Some("web.example.org"), &["mail:ops@example.org"], "web.example.org", false),
            (Some("web.example.org\0.example.net"), &[], "web.example.org", false),
            (Some("192.0.2.1"), &[], "192.0.2.1", false),
            (None, &[], "web.example.org", false),
            (None, &["192.0.2.1"], "192.0.2.1", true),
            (None, &["192.0.2.2"], "192.0.2.1", false),
            (None, &["2001:db8::1"], "2001:db8:0::1", true),
            (None, &["::ffff:192.0.2.1"], "192.0.2.1", true),
        ] {
            assert_eq!(check_one(common, alternative, wanted), yes, "{common:?} {alternative:?} for {wanted}");
        }
    }

    #[test]
    fn what_is_no_certificate_bears_nothing() {
        for b in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0xff; 300]] {
            assert!(check(b, &[]).is_err());
        }
    }
}
