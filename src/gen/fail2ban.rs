//! `fail2ban.log` of versions from 0.11 on, times in UTC: of sixteen lines eleven `Found`, two `Ban`, one `Unban`, one
//! `already banned`, one of the server.
//!
//! Source: the log calls of fail2ban `server/*.py`.

use super::Scene;
use super::pen::Pen;
use std::net::{IpAddr, Ipv6Addr};

fn head(p: &mut Pen<'_>, s: &Scene<'_>, logger: &str, level: &str) {
    p.s(&s.times.plain).s(",").pad(s.times.millis(), 3).s(" fail2ban.").s(logger).s(&"               "[logger.len().min(15)..]);
    p.s(" [").n(s.number).s("]: ").s(level).s(&"       "[level.len().min(7)..]).s(" ");
}

/// One line of an ordinary day.
pub fn ordinary(p: &mut Pen<'_>, s: &mut Scene<'_>) {
    let jail = s.random.pick(&["sshd", "sshd", "sshd", "nginx-http-auth", "postfix-sasl", "recidive"]);
    let ip = s.random.stranger();
    match s.random.below(16) {
        0..=10 => found(p, s, jail, ip),
        11 | 12 => {
            head(p, s, "actions", "NOTICE");
            p.s("[").s(jail).s("] Ban ").ip(ip);
        }
        13 => {
            head(p, s, "actions", "NOTICE");
            p.s("[").s(jail).s("] Unban ").ip(ip);
        }
        14 => {
            // Another address each time: one that goes on and on would be a ban without effect.
            let n = s.number;
            let once = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, (n >> 40) as u16, 0, (n >> 32) as u16, (n >> 16) as u16, n as u16));
            head(p, s, "actions", "NOTICE");
            p.s("[").s(jail).s("] ").ip(once).s(" already banned");
        }
        _ => {
            head(p, s, "jail", "INFO");
            p.s("Jail '").s(jail).s("' started");
        }
    }
}

/// A failure that the jail's filter found.
pub fn found(p: &mut Pen<'_>, s: &mut Scene<'_>, jail: &str, ip: IpAddr) {
    head(p, s, "filter", "INFO");
    p.s("[").s(jail).s("] Found ").ip(ip).s(" - ").s(&s.times.plain);
}
