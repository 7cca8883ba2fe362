//! A source of kind `syslog`.

use super::super::{Reader, SYSLOG, Table};
use super::tls::Tls;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where syslog is listened for.
#[derive(Clone, Debug, PartialEq)]
pub struct Syslog {
    /// Address of all its network sockets.
    pub listen: SocketAddr,
    /// Whether it takes datagrams.
    pub udp: bool,
    /// Whether it takes plain connections.
    pub tcp: bool,
    /// Whether it takes encrypted connections, and how.
    pub tls: Option<Tls>,
    /// A socket in the file system beside them, or in their place.
    pub unix: Option<Unix>,
}

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq)]
pub struct Unix {
    /// Where it stands.
    pub path: PathBuf,
    /// What it takes.
    pub kind: UnixKind,
    /// Who may write to it, as bits of a file's mode.
    pub mode: u32,
}

/// What a socket in the file system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnixKind {
    /// Datagrams, each a record.
    Datagram,
    /// Connections, framed as those of TCP are.
    Stream,
}

/// Its keys.
pub const KEYS: &[&str] = &["listen", "insecure", "transport", "tls", "unix", "unix_type", "unix_mode"];

/// The longest path of a socket: the kernel takes 107 bytes, and the name under which it is made is longer than the last one.
const PATH: usize = 90;
const MODE: u32 = 0o660;

#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Udp,
    Tcp,
    Tls,
}

const TRANSPORTS: [(&str, Transport); 3] = [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog { listen: SYSLOG, udp: true, tcp: true, tls: None, unix: None }
    }
}

impl Syslog {
    /// Whether it listens on an address.
    pub fn has_address(&self) -> bool {
        self.udp || self.tcp || self.tls.is_some()
    }
}

impl Reader {
    pub(super) fn syslog(&mut self, t: &Table<'_>) -> Syslog {
        let unix = self.unix(t);
        let given = self.list(t, "transport").unwrap_or_default();
        let mut transport = Vec::new();
        for s in given {
            match TRANSPORTS.iter().find(|x| x.0 == s.value) {
                Some(x) => transport.push((x.1, s.span)),
                None => {
                    let help = super::super::near(s.value, TRANSPORTS.iter().map(|t| t.0)).map(|n| format!("did you mean `{n}`?"));
                    self.say("V005", s.span, "`transport` must be of \"udp\", \"tcp\" and \"tls\"".into(), "not one of them", help);
                }
            }
        }
        let has = |x: Transport| transport.iter().any(|t| t.0 == x);
        // A socket in the file system alone needs no address.
        let network = !t.contains_key("unix") || t.contains_key("listen") || t.contains_key("transport");
        let defaults = network && !t.contains_key("transport");
        let (udp, tcp, encrypted) = (defaults || has(Transport::Udp), defaults || has(Transport::Tcp), has(Transport::Tls));
        if let Some((_, span)) = transport.iter().find(|t| t.0 == Transport::Tls) {
            if !t.contains_key("tls") {
                let help = "add `[source.tls]` with `certificate` and `key`";
                self.say("V004", span.clone(), "the transport \"tls\" needs a certificate".into(), "no `[source.tls]` for it", Some(help.into()));
            }
            if tcp {
                let help = "give one of them a `[[source]]` with an address of its own";
                self.say("V005", span.clone(), "\"tcp\" and \"tls\" cannot share an address".into(), "the second of them", Some(help.into()));
            }
        } else if let Some(v) = t.get("tls") {
            let help = "write `transport = [\"tls\"]`";
            self.say("V005", v.span(), "`[source.tls]` is there, and nothing uses it".into(), "no transport \"tls\"", Some(help.into()));
        }
        let tls = self.tls(t).filter(|_| encrypted);
        let listen = self.listen_for(t, encrypted && !udp && !tcp).unwrap_or(SYSLOG);
        Syslog { listen, udp, tcp, tls, unix }
    }

    fn unix(&mut self, t: &Table<'_>) -> Option<Unix> {
        let wanted = format!("an absolute path of at most {PATH} bytes");
        let path = self.read_at(t, "unix", &wanted, |s| (s.starts_with('/') && !s.ends_with('/') && s.len() <= PATH).then(|| PathBuf::from(s)));
        let kind = self.read_at(t, "unix_type", "\"datagram\" or \"stream\"", |s| match s {
            "datagram" => Some(UnixKind::Datagram),
            "stream" => Some(UnixKind::Stream),
            _ => None,
        });
        let mode = |s: &str| u32::from_str_radix(s, 8).ok().filter(|m| *m <= 0o777 && s.bytes().all(|c| c.is_ascii_digit()));
        let mode = self.read_at(t, "unix_mode", "the mode of a file in octal digits, like \"0660\"", mode);
        for key in ["unix_type", "unix_mode"] {
            if let Some(v) = t.get(key).filter(|_| !t.contains_key("unix")) {
                self.say("V004", v.span(), format!("`{key}` needs a `unix`, the path of a socket"), "no `unix` beside it", None);
            }
        }
        Some(Unix { path: path?, kind: kind.unwrap_or(UnixKind::Datagram), mode: mode.unwrap_or(MODE) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Kind, read};

    fn source(text: &str) -> Syslog {
        let (config, said) = read("vigild.toml", text);
        assert_eq!(said, []);
        match &config.sources[0].kind {
            Kind::Syslog(s) => s.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_listened_on_follows_from_what_is_named() {
        let tls = "[source.tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        for (text, udp, tcp, encrypted, unix) in [
            ("", true, true, false, false),
            ("transport = [\"tcp\"]\n", false, true, false, false),
            (&format!("listen = \"0.0.0.0:6514\"\ntransport = [\"tls\"]\n{tls}"), false, false, true, false),
            (&format!("transport = [\"udp\", \"tls\"]\n{tls}"), true, false, true, false),
            ("unix = \"/run/s\"\n", false, false, false, true),
            ("unix = \"/run/s\"\nlisten = \"127.0.0.1:514\"\n", true, true, false, true),
            ("unix = \"/run/s\"\ntransport = [\"udp\"]\n", true, false, false, true),
        ] {
            let s = source(&format!("[[source]]\nkind = \"syslog\"\n{text}"));
            assert_eq!((s.udp, s.tcp, s.tls.is_some(), s.unix.is_some()), (udp, tcp, encrypted, unix), "{text}");
        }
        let unix = source("[[source]]\nkind = \"syslog\"\nunix = \"/run/s\"\nunix_type = \"stream\"\nunix_mode = \"0600\"\n").unix;
        assert_eq!(unix, Some(Unix { path: "/run/s".into(), kind: UnixKind::Stream, mode: 0o600 }));
    }

    #[test]
    fn the_examples_of_the_readme_are_read_without_a_complaint() {
        let examples = include_str!("../../../README.md").split("```toml\n").skip(1).filter_map(|r| r.split("```").next());
        let sources: Vec<&str> = examples.filter(|e| e.contains("\"syslog\"") || e.contains("\"relp\"")).collect();
        assert!(sources.len() >= 2, "the README shows both");
        for e in sources {
            assert_eq!(read("README.md", e).1, [], "{e}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told_all_at_once() {
        for (text, said) in [
            ("transport = [\"tsl\"]\n", &["V005 \"tsl\""][..]),
            ("transport = [\"tls\"]\n", &["V004 \"tls\""]),
            ("transport = [\"tcp\", \"tls\"]\nlisten = \"192.0.2.1:1\"\n", &["V004 \"tls\"", "V005 \"tls\"", "V006 \"192.0.2.1:1\""]),
            ("unix = \"socket\"\nunix_mode = \"888\"\n", &["V005 \"socket\"", "V005 \"888\""]),
            ("unix_type = \"stream\"\n", &["V004 \"stream\""]),
            ("transport = [\"tls\"]\n[source.tls]\ncertificate = 1\nkeys = \"k\"\n", &["V004 [source.tls]", "V003 1", "V002 keys"]),
            (
                "transport = [\"tls\"]\n[source.tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_names = [\"a*.example.org\"]\n",
                &["V004 [source.tls]", "V005 \"a*.example.org\""],
            ),
            ("[source.tls]\ncertificate = \"c\"\nkey = \"k\"\n", &["V005 [source.tls]"]),
        ] {
            let text = format!("[[source]]\nkind = \"syslog\"\n{text}");
            let got: Vec<String> = read("vigild.toml", &text).1.iter().map(|d| format!("{} {}", d.code, &text[d.span.clone()])).collect();
            assert_eq!(got, said, "{text}");
        }
        let help = |text: &str| read("vigild.toml", text).1.into_iter().find_map(|d| d.help);
        assert_eq!(help("[[source]]\nkind = \"syslog\"\ntransport = [\"tsl\"]\n").as_deref(), Some("did you mean `tls`?"));
    }
}
