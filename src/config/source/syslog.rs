//! A source of kind `syslog`.

use super::super::{Reader, SYSLOG, Table};
use std::net::SocketAddr;

/// Where syslog is listened for.
#[derive(Clone, Debug, PartialEq)]
pub struct Syslog {
    /// Address of both sockets.
    pub listen: SocketAddr,
    /// Whether it takes datagrams.
    pub udp: bool,
    /// Whether it takes connections.
    pub tcp: bool,
}

/// Its keys.
pub const KEYS: &[&str] = &["listen", "insecure", "transport"];

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog { listen: SYSLOG, udp: true, tcp: true }
    }
}

impl Reader<'_> {
    pub(super) fn syslog(&mut self, t: &Table<'_>) -> Syslog {
        let mut listen = SYSLOG;
        self.listen(t, &mut listen);
        let transport = self.read_list(t, "transport", "\"udp\" and \"tcp\"", |s| match s {
            "udp" => Some(true),
            "tcp" => Some(false),
            _ => None,
        });
        let (udp, tcp) = if transport.is_empty() { (true, true) } else { (transport.contains(&true), transport.contains(&false)) };
        Syslog { listen, udp, tcp }
    }
}
