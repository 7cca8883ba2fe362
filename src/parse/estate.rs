//! The machines and proxies that the operator has named: what makes one host of its name, aliases and addresses.

use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;

/// A machine of the inventory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The name in the spelling that events get.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Its addresses.
    pub ip: Vec<IpAddr>,
    /// What it is: `prod`, `scanner`, …
    pub tags: Vec<String>,
}

/// The inventory and the trusted proxies.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    hosts: Vec<Host>,
    by_name: HashMap<String, usize>,
    by_ip: HashMap<IpAddr, usize>,
    proxies: Vec<IpNet>,
}

impl Estate {
    /// Of hosts and proxies; the first host that has a name or an address owns it.
    pub fn new(hosts: Vec<Host>, proxies: Vec<IpNet>) -> Estate {
        let mut e = Estate { hosts, proxies, ..Estate::default() };
        for (i, h) in e.hosts.iter().enumerate() {
            for n in std::iter::once(&h.name).chain(&h.aliases) {
                e.by_name.entry(n.to_ascii_lowercase()).or_insert(i);
            }
            for ip in &h.ip {
                e.by_ip.entry(crate::event::fold(*ip)).or_insert(i);
            }
        }
        e
    }

    /// All hosts, in the order in which they were named.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of a name or alias, in any case.
    pub fn named(&self, name: &[u8]) -> Option<&Host> {
        if self.by_name.is_empty() || name.len() > 255 {
            return None;
        }
        let mut low = [0u8; 255];
        let low = &mut low[..name.len()];
        low.copy_from_slice(name);
        low.make_ascii_lowercase();
        std::str::from_utf8(low).ok().and_then(|n| self.by_name.get(n)).map(|&i| &self.hosts[i])
    }

    /// The host of an address.
    pub fn at(&self, ip: IpAddr) -> Option<&Host> {
        self.by_ip.get(&ip).map(|&i| &self.hosts[i])
    }

    /// Whether an address is a trusted proxy's.
    pub fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.iter().any(|n| n.contains(&ip))
    }

    /// Whether any proxy is trusted.
    pub fn has_proxies(&self) -> bool {
        !self.proxies.is_empty()
    }
}
