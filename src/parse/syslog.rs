//! The syslog envelope: RFC 3164, RFC 5424, and what rsyslog and syslog-ng really send.

use crate::event::Timestamp;

/// What stands around a message in syslog, or in another carrier that names a time and a host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Envelope<'a> {
    /// Facility times 8 plus severity, 0 to 191.
    pub priority: Option<u8>,
    /// When it was written.
    pub time: Option<Timestamp>,
    /// The machine.
    pub host: Option<&'a [u8]>,
    /// The program (`sshd`, `falco`), without its pid.
    pub app: Option<&'a [u8]>,
    /// The process id.
    pub pid: Option<&'a [u8]>,
    /// The message id of RFC 5424.
    pub msgid: Option<&'a [u8]>,
    /// The structured data of RFC 5424, as it stands, brackets included.
    pub structured: Option<&'a [u8]>,
    /// What it carries.
    pub message: &'a [u8],
}
