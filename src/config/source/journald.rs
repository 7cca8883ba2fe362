//! A source of kind `journald`.

use super::super::{Reader, Table};
use super::file::Start;
use std::path::PathBuf;

/// The journal of systemd, followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Journald {
    /// What reads the journal.
    pub program: PathBuf,
    /// Only entries of these units; none named means all.
    pub units: Vec<String>,
    /// Only entries under these names of programs; none named means all.
    pub identifiers: Vec<String>,
    /// Only entries of this priority or a graver one.
    pub priority: Option<String>,
    /// Where reading begins at the first start.
    pub from: Start,
}

impl Default for Journald {
    fn default() -> Journald {
        Journald { program: PathBuf::from("journalctl"), units: Vec::new(), identifiers: Vec::new(), priority: None, from: Start::Begin }
    }
}

/// Its keys.
pub const KEYS: &[&str] = &["program", "units", "identifiers", "priority", "from"];

/// The names of priorities, the gravest first.
const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

impl Reader {
    pub(super) fn journald(&mut self, t: &Table<'_>) -> Journald {
        let mut j = Journald::default();
        if let Some(p) = self.str(t, "program") {
            j.program = PathBuf::from(p.value);
        }
        // An empty pattern would name nothing at all.
        let name = |s: &str| (!s.is_empty() && !s.contains('\0')).then(|| s.to_owned());
        j.units = self.read_list(t, "units", "names of units like \"ssh.service\"", name);
        j.identifiers = self.read_list(t, "identifiers", "names of programs like \"sshd\"", name);
        let known = |s: &str| PRIORITIES.iter().find(|p| **p == s).map(|p| String::from(*p));
        j.priority = self.read_at(t, "priority", "one of emerg, alert, crit, err, warning, notice, info and debug", known);
        j.from = self.start(t);
        j
    }
}
