//! Bytes to events: recognition, carriers, the native and the declared formats, and what is the same for all.

pub mod declared;
pub mod ecs;
pub mod enrich;
pub mod estate;
pub mod fail2ban;
pub mod falco;
pub mod json;
pub mod modsecurity;
pub mod ossec;
pub mod suricata;
pub mod syslog;

pub use estate::Estate;

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
