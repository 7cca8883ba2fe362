//! `[[host]]`: the inventory.

use super::Set;
use super::reader::{Reader, Table};
use crate::parse::estate::Host;

impl Reader {
    pub(super) fn host(&mut self, before: &[Host], t: &Set<&Table<'_>>) -> Option<Host> {
        self.keys(t.value, "`[[host]]`", &["name", "aliases", "ip", "tags"]);
        let owned = |l: Option<Vec<Set<&str>>>| l.unwrap_or_default().into_iter().map(|s| s.value.to_owned()).collect::<Vec<_>>();
        let aliases = owned(self.list(t.value, "aliases"));
        let ip = self.read_list(t.value, "ip", "addresses", |s| s.parse().ok());
        let tags = owned(self.list(t.value, "tags"));
        let name = match self.str(t.value, "name") {
            Some(s) => s,
            None => {
                if !t.value.contains_key("name") {
                    self.say("V004", t.span.clone(), "a `[[host]]` must have a `name`".into(), "no name here", None);
                }
                return None;
            }
        };
        if before.iter().any(|h| h.name.eq_ignore_ascii_case(name.value)) {
            self.say("V007", name.span, format!("there is another host with the name `{}`", name.value), "named a second time", None);
        }
        Some(Host { name: name.value.to_owned(), aliases, ip, tags })
    }
}
