//! Bytes to events: recognition, carriers, the native and the declared formats, and what is the same for all.

mod carrier;
pub mod declared;
mod dispatch;
pub mod ecs;
pub mod enrich;
pub mod estate;
pub mod fail2ban;
pub mod falco;
pub mod json;
pub mod modsecurity;
pub mod ossec;
mod render;
pub mod suricata;
pub mod syslog;

pub(crate) use carrier::cri_head;
pub use dispatch::{Parsers, Seen};
pub use estate::Estate;
pub use render::Renderer;

use crate::event::Timestamp;
use jiff::tz::TimeZone;

/// What a parser may know beside the bytes.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The zone of times that name none.
    pub zone: &'a TimeZone,
    /// The moment that a missing year or date is nearest to: arrival, or for a file when it was last written.
    pub near: Timestamp,
    /// Whether the user named the format: start-up chatter is recognised only then.
    pub named: bool,
    /// The machines and proxies of the estate.
    pub estate: &'a Estate,
}

/// The formats read by functions of their own, in the order in which recognition asks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// OSSEC.
    Ossec,
    /// Falco.
    Falco,
    /// Suricata.
    Suricata,
    /// Fail2ban.
    Fail2ban,
    /// ModSecurity.
    Modsecurity,
}

/// A format that a user can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One of the five.
    Native(Native),
    /// A declared one, by its place among those loaded.
    Declared(usize),
    /// The syslog envelope, with what is inside recognised.
    Syslog,
    /// ECS JSON as `vigild parse` writes it.
    Ecs,
}

impl Native {
    /// All five, in the order in which recognition asks them.
    pub const ALL: [Native; 5] = [Native::Ossec, Native::Falco, Native::Suricata, Native::Fail2ban, Native::Modsecurity];

    /// The folder in `parsers/`.
    pub fn name(self) -> &'static str {
        match self {
            Native::Ossec => "ossec",
            Native::Falco => "falco",
            Native::Suricata => "suricata",
            Native::Fail2ban => "fail2ban",
            Native::Modsecurity => "modsecurity",
        }
    }
}

impl Format {
    /// The format of that name.
    pub fn named(name: &str, declared: &declared::Formats) -> Option<Format> {
        match name {
            "syslog" => Some(Format::Syslog),
            "ecs" => Some(Format::Ecs),
            _ => Native::ALL.into_iter().find(|n| n.name() == name).map(Format::Native).or_else(|| declared.find(name).map(Format::Declared)),
        }
    }

    /// The name by which a user names it.
    pub fn name(self, declared: &declared::Formats) -> &str {
        match self {
            Format::Native(n) => n.name(),
            Format::Declared(i) => declared.names().nth(i).unwrap_or("declared"),
            Format::Syslog => "syslog",
            Format::Ecs => "ecs",
        }
    }

    /// All names that [`Format::named`] knows, in alphabetical order.
    pub fn names(declared: &declared::Formats) -> Vec<&str> {
        let mut all: Vec<&str> = Native::ALL.iter().map(|n| n.name()).chain(["ecs", "syslog"]).chain(declared.names()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
