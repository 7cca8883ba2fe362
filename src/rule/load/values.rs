//! Values of a file in the type that is wanted, or a complaint: strings, numbers, spans, fields, conditions, templates.

use super::*;

impl Loader<'_> {
    // Reading values.

    /// Complains of keys that do not belong; `n` must be a table.
    pub(super) fn keys(&mut self, n: &Node, known: &[&str], what: &str) -> bool {
        let Val::Table(t) = &n.value else {
            self.error("R004", &n.at, format!("{what} is written as a table"), format!("this is {}", n.kind()), None);
            return false;
        };
        for (k, _) in t {
            if !known.contains(&k.name.as_str()) {
                let help = if k.name == "why" { Some("reason") } else { check::near(&k.name, known.iter().copied()) };
                let help = help
                    .map(|n| format!("did you mean `{n}`?"))
                    .or_else(|| Some(format!("known are: {}", known.join(", "))).filter(|h| h.len() < 120));
                self.error("R002", &k.at, format!("{what} has no `{}`", k.name.escape_debug()), "not known here", help);
            }
        }
        true
    }

    pub(super) fn need<'n>(&mut self, n: &'n Node, name: &str, what: &str) -> Option<&'n Node> {
        let v = n.get(name);
        // A key that is nearly this one is reported as unknown, which says enough.
        let meant = matches!(&n.value, Val::Table(t) if t.iter().any(|(k, _)| check::near(&k.name, [name]).is_some()));
        if v.is_none() && !meant && !self.broken.get(n.at.file).copied().unwrap_or(false) {
            let at = Spot { file: n.at.file, span: n.at.span.start..n.at.span.end.min(n.at.span.start + 1).max(n.at.span.start) };
            let at = self.head(n).unwrap_or(at);
            self.error("R003", &at, format!("{what} needs `{name}`"), format!("`{name}` is missing"), None);
        }
        v
    }

    /// The line on which a table begins, for complaints about what is not there.
    pub(super) fn head(&self, n: &Node) -> Option<Spot> {
        let text = self.files.get(n.at.file)?.1.get(n.at.span.clone())?;
        let len = text.find('\n').unwrap_or(text.len());
        Some(Spot { file: n.at.file, span: n.at.span.start..n.at.span.start + len })
    }

    pub(super) fn wrong(&mut self, n: &Node, what: &str, want: &str) {
        self.error("R004", &n.at, format!("`{what}` is {want}"), format!("this is {}", n.kind()), None);
    }

    pub(super) fn str<'n>(&mut self, n: &'n Node, what: &str) -> Option<&'n str> {
        match &n.value {
            Val::Str(s) => Some(s),
            _ => {
                self.wrong(n, what, "a string");
                None
            }
        }
    }

    pub(super) fn bool(&mut self, n: Option<&Node>, what: &str, default: bool) -> bool {
        match n.map(|n| (n, &n.value)) {
            None => default,
            Some((_, Val::Bool(b))) => *b,
            Some((n, _)) => {
                self.wrong(n, what, "true or false");
                default
            }
        }
    }

    pub(super) fn int(&mut self, n: &Node, what: &str, range: std::ops::RangeInclusive<i128>) -> Option<i128> {
        match &n.value {
            Val::Int(i) if range.contains(i) => Some(*i),
            Val::Int(i) => {
                let (lo, hi) = range.into_inner();
                self.error("R009", &n.at, format!("`{what}` is from {lo} to {hi}"), format!("{i} is not"), None);
                None
            }
            _ => {
                self.wrong(n, what, "a whole number");
                None
            }
        }
    }

    /// A number in millionths, above 0.
    pub(super) fn millionths(&mut self, n: &Node, what: &str) -> Option<i128> {
        let v = match &n.value {
            Val::Int(i) => i.checked_mul(1_000_000),
            Val::Float(f) if f.is_finite() && f.abs() < 1e24 => Some((f * 1e6).round() as i128),
            Val::Float(_) => None,
            _ => {
                self.wrong(n, what, "a number");
                return None;
            }
        };
        let v = v.filter(|v| *v > 0 && *v < 1i128 << 100);
        if v.is_none() {
            self.error("R009", &n.at, format!("`{what}` is a number above 0"), "this is not", None);
        }
        v
    }

    pub(super) fn span(&mut self, n: &Node, what: &str, zero: bool, most: Span) -> Option<Span> {
        let s = self.str(n, what)?;
        match Span::parse(s) {
            Some(v) if v.0 > 0 && v <= most => Some(v),
            Some(v) if v.0 == 0 && zero => Some(v),
            Some(v) if v.0 == 0 => {
                self.error("R008", &n.at, format!("`{what}` is longer than nothing"), "no time at all", None);
                None
            }
            Some(_) => {
                self.error("R008", &n.at, format!("`{what}` is at most {most}"), "too long", None);
                None
            }
            None => {
                let help = Some("a whole number with `ms`, `s`, `m`, `h` or `d`: `90s`, `24h`".to_owned());
                self.error("R008", &n.at, format!("`{}` is no span of time", s.escape_debug()), "not read", help);
                None
            }
        }
    }

    pub(super) fn strs<'n>(&mut self, n: Option<&'n Node>, what: &str) -> Vec<(&'n str, &'n Node)> {
        let Some(n) = n else { return Vec::new() };
        let Val::Array(all) = &n.value else {
            let help = if let Val::Str(s) = &n.value { Some(format!("write `[\"{}\"]`", s.escape_debug())) } else { None };
            self.error("R004", &n.at, format!("`{what}` is a list of strings"), format!("this is {}", n.kind()), help);
            return Vec::new();
        };
        all.iter().filter_map(|n| self.str(n, what).map(|s| (s, n))).collect()
    }

    pub(super) fn scope<T>(&mut self, n: &Node, f: impl FnOnce(&mut Scope<'_>) -> T) -> T {
        let mut s =
            Scope { schema: &mut self.schema, tables: &self.tables, conditions: &self.conditions, estate: self.estate, found: Vec::new(), nodes: 0 };
        let out = f(&mut s);
        let found = s.found;
        self.findings(n, found);
        out
    }

    pub(super) fn field(&mut self, n: &Node, what: &str) -> Option<Field> {
        let s = self.str(n, what)?.to_owned();
        self.named(n, &s, &(0..s.len()))
    }

    pub(super) fn named(&mut self, n: &Node, name: &str, span: &Range<usize>) -> Option<Field> {
        self.scope(n, |s| s.field(name, span))
    }

    /// A list of fields without repetition.
    pub(super) fn fields(&mut self, n: &Node, what: &str, most: usize) -> Option<Vec<Field>> {
        let before = self.said.len();
        let mut out = Vec::new();
        for (_, item) in self.strs(Some(n), what) {
            if let Some(f) = self.field(item, what) {
                if out.contains(&f) {
                    self.error("R018", &item.at, format!("`{}` stands twice in `{what}`", self.schema.name(f)), "once is enough", None);
                }
                out.push(f);
            }
        }
        if out.len() > most {
            self.error("R018", &n.at, format!("`{what}` has at most {most} fields"), format!("these are {}", out.len()), None);
        }
        (self.said.len() == before).then_some(out)
    }

    pub(super) fn parse(&mut self, n: &Node, what: &str) -> Option<At<Ast>> {
        let s = self.str(n, what)?;
        match expr::parse(s) {
            Ok(a) => Some(a),
            Err(c) => {
                let at = self.inside(n, &c.span);
                self.error(if c.deep { "C010" } else { "C001" }, &at, c.message, "the condition cannot be read", c.help);
                None
            }
        }
    }

    pub(super) fn condition(&mut self, n: &Node, what: &str) -> Option<Expr> {
        let ast = self.parse(n, what)?;
        self.scope(n, |s| s.resolve(&ast))
    }

    pub(super) fn template(&mut self, n: &Node, what: &str) -> Option<Template> {
        let s = self.str(n, what)?;
        let parts = match expr::template(s) {
            Ok(p) => p,
            Err(c) => {
                let at = self.inside(n, &c.span);
                self.error("R023", &at, c.message, "in this text", c.help);
                return None;
            }
        };
        let mut out = Vec::new();
        for p in parts {
            match p {
                TemplatePart::Text(t) => out.push(Part::Text(t)),
                TemplatePart::Field(f) => out.push(Part::Field(self.named(n, &f.node, &f.span)?)),
            }
        }
        Some(Template(out))
    }

    pub(super) fn moment(&mut self, n: &Node, what: &str) -> Option<Timestamp> {
        let t = match &n.value {
            Val::Str(s) => check::instant(s),
            Val::Date(d) if d.date.is_some() && d.time.is_some() => check::instant(&d.to_string()),
            _ => None,
        };
        if t.is_none() {
            let help = Some("write it as in \"2026-01-31T00:00:00Z\"".to_owned());
            self.error("R025", &n.at, format!("`{what}` is an instant"), "not read as one", help);
        }
        t
    }
}
