//! Exceptions and tunes.

use super::*;

impl Loader<'_> {
    pub(super) fn tune(&mut self, n: &Node) {
        if !self.keys(n, &["rules", "tags", "set", "owner", "reason"], "a tune") {
            return;
        }
        let rules = self.about(n, "a tune");
        self.why(n, "a tune");
        let Some(set) = self.need(n, "set", "a tune") else { return };
        let Val::Table(pairs) = &set.value else {
            self.wrong(set, "set", "a table");
            return;
        };
        for (k, v) in pairs {
            let path: Vec<&str> = k.name.split('.').collect();
            let first = path[0];
            if ["id", "test"].contains(&first) || path.len() > 8 {
                self.error("R021", &k.at, format!("a tune cannot set `{}`", k.name.escape_debug()), "not to be tuned", None);
                continue;
            }
            if !RULE.contains(&first) {
                let help = check::near(first, RULE).map(|n| format!("did you mean `{n}`?"));
                self.error("R021", &k.at, format!("a rule has no `{}`", first.escape_debug()), "not known", help);
                continue;
            }
            for &i in &rules {
                if KINDS.contains(&first) && self.facts[i].node.get(first).is_none() {
                    let help = KINDS.into_iter().find(|k| self.facts[i].node.get(k).is_some()).map(|k| format!("it has `{k}`"));
                    self.error("R021", &k.at, format!("the rule `{}` has no `{first}`", self.facts[i].id), "nothing to tune", help);
                    continue;
                }
                if path.len() > 1 && matches!(self.facts[i].node.get(first).map(|n| &n.value), Some(Val::Array(_))) {
                    self.error("R021", &k.at, format!("`{first}` is a list"), "set it as a whole", None);
                    continue;
                }
                match &v.value {
                    // `{ count.within = "1m" }` is the same as `{ "count.within" = "1m" }`.
                    Val::Table(all) if KINDS.contains(&k.name.as_str()) => {
                        for (inner, v) in leaves(all) {
                            let path: Vec<&str> = path.iter().copied().chain(inner.name.split('.')).take(8).collect();
                            self.facts[i].node.put(&path, &inner.at, v);
                        }
                    }
                    _ => self.facts[i].node.put(&path, &k.at, v),
                }
            }
        }
    }

    // Exceptions.

    pub(super) fn exception(&mut self, n: &Node, set: &mut RuleSet, drafts: &mut [Draft]) {
        if !self.keys(n, &["rules", "tags", "where", "owner", "reason", "review", "expires"], "an exception") {
            return;
        }
        let rules = self.about(n, "an exception");
        let (owner, reason) = self.why(n, "an exception");
        let where_ = self.need(n, "where", "an exception").and_then(|w| self.condition(w, "where"));
        if n.get("review").is_none() && n.get("expires").is_none() {
            let at = self.head(n).unwrap_or(n.at.clone());
            let help = Some("`review = 2026-12-31` reminds and stays in force, `expires` ends it".to_owned());
            self.error("R020", &at, "an exception has a date", "`review` or `expires` is missing", help);
        }
        let until = n.get("expires").and_then(|v| self.day(v, "expires", true));
        let review = n.get("review").and_then(|v| self.day(v, "review", false));
        if let Some(where_) = where_ {
            let index = set.exceptions.len();
            set.exceptions.push(Exception { where_, until, review, owner, reason });
            for d in drafts.iter_mut().filter(|d| rules.contains(&d.fact)) {
                d.rule.exceptions.push(index);
            }
        }
    }

    /// A date or an instant; the end of a date is the first instant after it.
    pub(super) fn day(&mut self, n: &Node, what: &str, end: bool) -> Option<Timestamp> {
        let text = match &n.value {
            Val::Date(d) if d.date.is_some() => d.to_string(),
            Val::Str(s) => s.clone(),
            _ => {
                self.wrong(n, what, "a date, as in 2026-12-31, or an instant");
                return None;
            }
        };
        let date = text.len() == 10;
        let t = check::instant(&if date { format!("{text}T00:00:00Z") } else { text });
        match t {
            Some(t) if date && end => Some(t.plus(Span(86_400 * event_second()))),
            Some(t) => Some(t),
            None => {
                self.error("R004", &n.at, format!("`{what}` is a date, as in 2026-12-31, or an instant"), "not read as one", None);
                None
            }
        }
    }
}
