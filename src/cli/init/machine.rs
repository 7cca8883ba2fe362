//! This machine and those it knows by name: from its host name, its addresses and `/etc/hosts`.

use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// More lines of `/etc/hosts` are a block list, and no inventory.
const HOSTS: usize = 200;
/// Nothing longer is read of any of the files.
const LONGEST: usize = 4 << 20;

/// A machine for the inventory.
pub struct Host {
    pub name: String,
    pub aliases: Vec<String>,
    pub ip: Vec<String>,
}

/// What was found.
pub struct Machine {
    /// This machine first, then those of `/etc/hosts` in their order.
    pub hosts: Vec<Host>,
    /// The zone of its clock, if it is one that has a name.
    pub zone: Option<String>,
}

/// Reads what stands under `root`; what cannot be read is not there.
pub fn look(root: &Path) -> Machine {
    let read =
        |path: &str| std::fs::read(root.join(path)).map(|b| String::from_utf8_lossy(&b[..b.len().min(LONGEST)]).into_owned()).unwrap_or_default();
    let own: BTreeSet<IpAddr> = own_v4(&read("proc/net/fib_trie")).chain(own_v6(&read("proc/net/if_inet6"))).collect();
    let mut hosts: Vec<Host> = Vec::new();
    let name = read("proc/sys/kernel/hostname").trim().to_owned();
    let named = is_name(&name);
    if named {
        hosts.push(Host { name, aliases: Vec::new(), ip: own.iter().map(IpAddr::to_string).collect() });
    }
    for (ip, names) in entries(&read("etc/hosts")).take(HOSTS) {
        // 127.0.1.1 is how Debian names the machine itself where it has no fixed address.
        let ours = named && (own.contains(&ip) || ip == IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)));
        let known = hosts.iter().enumerate().position(|(i, h)| (ours && i == 0) || names.iter().any(|n| h.answers_to(n)));
        if known.is_none() && !ip.is_loopback() {
            hosts.push(Host { name: names.first().cloned().unwrap_or_default(), aliases: Vec::new(), ip: Vec::new() });
        } else if known.is_none() {
            continue;
        }
        let place = known.unwrap_or(hosts.len() - 1);
        let Some(host) = hosts.get_mut(place) else { continue };
        for n in names {
            if !host.answers_to(&n) {
                host.aliases.push(n);
            }
        }
        let text = ip.to_string();
        if !ours && !ip.is_loopback() && !host.ip.contains(&text) {
            host.ip.push(text);
        }
    }
    Machine { hosts, zone: zone(root) }
}

impl Host {
    fn answers_to(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    }
}

/// The zone that `/etc/localtime` links to.
fn zone(root: &Path) -> Option<String> {
    let target = std::fs::read_link(root.join("etc/localtime")).ok()?;
    let name = target.to_str()?.split_once("zoneinfo/")?.1.to_owned();
    TimeZone::get(&name).is_ok().then_some(name)
}

/// Addresses with at least one name each; `localhost` and the groups of IPv6 are none.
fn entries(text: &str) -> impl Iterator<Item = (IpAddr, Vec<String>)> {
    text.lines().filter_map(|l| {
        let mut words = l.split('#').next().unwrap_or_default().split_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        let names: Vec<String> = words.filter(|n| is_name(n) && !n.starts_with("localhost") && !n.starts_with("ip6-")).map(str::to_owned).collect();
        (!names.is_empty() && !ip.is_multicast() && !ip.is_unspecified()).then_some((ip, names))
    })
}

/// A host's name as RFC 1123 has it.
fn is_name(s: &str) -> bool {
    (1..=253).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// The local addresses in the kernel's `fib_trie`: the last one named before `host LOCAL`.
fn own_v4(text: &str) -> impl Iterator<Item = IpAddr> {
    let mut last = None;
    text.lines().filter_map(move |l| match l.trim().strip_prefix("|-- ") {
        Some(ip) => {
            last = ip.trim().parse::<Ipv4Addr>().ok();
            None
        }
        None => last.filter(|ip| l.contains("host LOCAL") && !ip.is_loopback()).map(IpAddr::V4),
    })
}

/// The addresses in the kernel's `if_inet6` that mean something beyond the link.
fn own_v6(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|l| {
        let hex = l.split_whitespace().next().filter(|h| h.len() == 32)?;
        let ip = Ipv6Addr::from_bits(u128::from_str_radix(hex, 16).ok()?);
        (!ip.is_loopback() && !ip.is_unicast_link_local()).then_some(IpAddr::V6(ip))
    })
}
