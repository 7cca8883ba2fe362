//! The tests of a rule.

use super::*;

impl Loader<'_> {
    // Tests.

    pub(super) fn tests(&mut self, n: &Node) -> Vec<RuleTest> {
        let Some(list) = n.get("test") else { return Vec::new() };
        let Val::Array(all) = &list.value else {
            let help = Some("write `[[rule.test]]`".to_owned());
            self.error("R004", &list.at, "`test` is a list of tables", format!("this is {}", list.kind()), help);
            return Vec::new();
        };
        all.iter().filter_map(|t| self.test(t)).collect()
    }

    pub(super) fn test(&mut self, t: &Node) -> Option<RuleTest> {
        self.keys(t, &["name", "each", "timeline", "format", "lines", "received", "alerts"], "a test").then_some(())?;
        let name = self.need(t, "name", "a test").and_then(|v| self.str(v, "name").map(str::to_owned));
        let body = match (t.get("timeline"), t.get("lines")) {
            (Some(tl), None) => {
                for k in ["format", "received", "alerts"] {
                    if let Some(v) = t.get(k) {
                        self.error("R025", &v.at, format!("`{k}` belongs to `lines`"), "a timeline marks alerts with `!`", None);
                    }
                }
                self.timeline(tl, t.get("each"))?
            }
            (None, Some(lines)) => {
                if let Some(v) = t.get("each") {
                    self.error("R025", &v.at, "`each` belongs to a `timeline`", "lines stand for themselves", None);
                }
                self.lines(t, lines)?
            }
            (Some(_), Some(l)) => {
                self.error("R025", &l.at, "a test has a `timeline` or `lines`", "not both", None);
                return None;
            }
            (None, None) => {
                let at = self.head(t).unwrap_or(t.at.clone());
                self.error("R025", &at, "the test says nothing", "`timeline` or `lines` is missing", None);
                return None;
            }
        };
        Some(RuleTest { name: name?, body, offset: t.at.span.start })
    }

    /// A value of a test has to read as its field's type, or the event would not have it.
    pub(super) fn fits(&mut self, at: &Spot, f: Field, value: &str) -> bool {
        let ok = match self.schema.ty(f) {
            Type::Str | Type::Any => true,
            Type::Int => value.parse::<i64>().is_ok() || value.parse::<u64>().is_ok(),
            Type::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
            Type::Bool => value == "true" || value == "false",
            Type::Ip => crate::event::ip(value.as_bytes()).is_some(),
            Type::Time => check::instant(value).is_some(),
        };
        if !ok {
            let name = self.schema.name(f).to_owned();
            let m = format!("`{name}` is {}, `{}` is not", check::kind(self.schema.ty(f)), value.escape_debug());
            self.error("R026", at, m, "the event would lack it", None);
        }
        ok
    }

    pub(super) fn timeline(&mut self, n: &Node, each: Option<&Node>) -> Option<Body> {
        let text = self.str(n, "timeline")?.to_owned();
        let mut base: Vec<(Field, String)> = Vec::new();
        if let Some(e) = each {
            let Val::Table(all) = &e.value else {
                self.wrong(e, "each", "a table");
                return None;
            };
            for (k, v) in leaves(all) {
                // A quoted key stands in its file with its quotes, so the whole key is marked.
                let before = self.said.len();
                let f = self.named(&Node { at: k.at.clone(), value: Val::Bool(true) }, &k.name, &(0..0));
                if self.said.len() > before {
                    continue;
                }
                let Some(f) = f else { continue };
                for v in if let Val::Array(all) = &v.value { all.iter().collect() } else { vec![v] } {
                    match scalar(v) {
                        Some(s) => {
                            self.fits(&v.at, f, &s);
                            base.push((f, s));
                        }
                        None => self.error(
                            "R025",
                            &v.at,
                            "a value of an event is a string, a number or true or false",
                            format!("this is {}", v.kind()),
                            None,
                        ),
                    }
                }
            }
        }
        let (rows, wrong) = testing::timeline(&text);
        for (span, message, help) in wrong {
            let at = self.inside(n, &span);
            self.error("R026", &at, message, "this row cannot be read", help);
        }
        let mut out = Vec::new();
        for r in rows {
            let event = match r.pairs {
                None => None,
                Some(p) if p.is_empty() && each.is_none() => None,
                Some(pairs) => {
                    let mut own = Vec::new();
                    for p in pairs {
                        let Some(f) = self.named(n, &p.name, &p.name_span) else { continue };
                        let at = self.inside(n, &p.value_span);
                        if f == field::TIMESTAMP {
                            let at = self.inside(n, &p.name_span);
                            self.error("R026", &at, "the offset says when the event happened", "not to be set", None);
                        }
                        self.fits(&at, f, &p.value);
                        own.push((f, p.value));
                    }
                    let mut event: Vec<(Field, String)> = base.iter().filter(|(f, _)| !own.iter().any(|(o, _)| o == f)).cloned().collect();
                    event.extend(own);
                    Some(event)
                }
            };
            out.push(Row { at: r.at, event, due: r.due, text: r.text });
        }
        if out.is_empty() {
            self.error("R026", &n.at, "the timeline has no rows", "nothing happens", None);
        }
        Some(Body::Timeline(out))
    }

    pub(super) fn lines(&mut self, t: &Node, lines: &Node) -> Option<Body> {
        let format = t.get("format").and_then(|v| self.str(v, "format").map(str::to_owned));
        let lines = self.strs(Some(lines), "lines").into_iter().map(|(s, _)| s.to_owned()).collect();
        let received = t.get("received").and_then(|v| self.moment(v, "received"));
        let mut alerts = Vec::new();
        let list = self.need(t, "alerts", "a test of lines")?;
        let Val::Array(all) = &list.value else {
            self.wrong(list, "alerts", "a list of tables");
            return None;
        };
        for a in all {
            if !self.keys(a, &["at", "key"], "an expected alert") {
                continue;
            }
            let at = self.need(a, "at", "an expected alert").and_then(|v| self.moment(v, "at"));
            let mut key = None;
            if let Some(k) = a.get("key") {
                let Val::Table(all) = &k.value else {
                    self.wrong(k, "key", "a table");
                    continue;
                };
                let mut pairs = Vec::new();
                for (k, v) in leaves(all) {
                    let f = self.named(&Node { at: k.at.clone(), value: Val::Bool(true) }, &k.name, &(0..0));
                    match (f, scalar(v)) {
                        (Some(f), Some(s)) => {
                            self.fits(&v.at, f, &s);
                            pairs.push((f, s));
                        }
                        (_, None) => self.wrong(v, &k.name, "a single value"),
                        _ => {}
                    }
                }
                key = Some(pairs);
            }
            if let Some(at) = at {
                alerts.push(Due { at, key });
            }
        }
        Some(Body::Lines { format, lines, received, alerts })
    }
}
