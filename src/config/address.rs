//! Addresses: where to listen, who is meant by a network.

use super::reader::{Reader, Table};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The default port of syslog, on loopback.
pub const SYSLOG: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5514);
/// The default address of HTTP.
pub const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8514);

/// Whether an address can be reached from other machines.
pub fn is_public(addr: SocketAddr) -> bool {
    !addr.ip().to_canonical().is_loopback()
}

impl Reader {
    pub(super) fn listen(&mut self, t: &Table<'_>, to: &mut SocketAddr) {
        if let Some(addr) = self.listen_for(t, false) {
            *to = addr;
        }
    }

    /// The address at `listen`; one that others can reach must be encrypted, or said to be wanted.
    pub(super) fn listen_for(&mut self, t: &Table<'_>, encrypted: bool) -> Option<SocketAddr> {
        let insecure = self.bool(t, "insecure").unwrap_or(false);
        let s = self.str(t, "listen")?;
        let span = s.span.clone();
        let addr = self.read(s, "listen", "an address and a port like \"127.0.0.1:8514\"", |s| s.parse::<SocketAddr>().ok())?;
        if is_public(addr) && !insecure && !encrypted {
            self.say(
                "V006",
                span,
                format!("{addr} can be reached from other machines, and what comes there is neither encrypted nor proved"),
                "not a loopback address",
                Some("listen on 127.0.0.1, or write `insecure = true` beside it if the network in between is your own".into()),
            );
        }
        Some(addr)
    }
}

/// Reads a network, or an address as the network of one.
pub(super) fn net(s: &str) -> Option<IpNet> {
    s.parse::<IpNet>().ok().or_else(|| s.parse::<IpAddr>().ok().map(IpNet::from))
}
