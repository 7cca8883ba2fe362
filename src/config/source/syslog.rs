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

impl Reader<'_> {
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
