//! What a condition means and whether it can: names become fields, literals take their field's type, tables and named
//! conditions are put in, and what cannot hold, cannot fail or wakes no rule is found.

use super::expr::{Ast, At, MAX_DEPTH, Raw, Rhs};
use super::{Compare, Expr, Literal, Op, Order, Pattern, Place, Table, Test};
use crate::event::field::TABLE;
use crate::event::{self, Field, Schema, Timestamp, Type};
use ipnet::IpNet;
use regex_syntax::hir::{Hir, HirKind, Look};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// A compiled regular expression is at most so large, in bytes.
pub const REGEX_LIMIT: usize = 1 << 20;

/// First segments of names that are some tool's own; fields below them need no declaration.
pub const PREFIXES: [&str; 52] = [
    "aide",
    "apache",
    "argocd",
    "auditd",
    "bandit",
    "chkrootkit",
    "clamav",
    "cloudflare",
    "cri",
    "docker",
    "dovecot",
    "fail2ban",
    "falco",
    "github",
    "gitleaks",
    "grafana",
    "haproxy",
    "harbor",
    "journald",
    "k8s",
    "k8s_audit",
    "kubernetes",
    "lynis",
    "modsecurity",
    "mysql",
    "netdata",
    "nginx",
    "ossec",
    "pam",
    "postfix",
    "postgresql",
    "prometheus",
    "redis",
    "rkhunter",
    "rsyslog",
    "semgrep",
    "snyk",
    "sonarqube",
    "sshd",
    "sudo",
    "suricata",
    "syslog",
    "systemd",
    "traefik",
    "trivy",
    "ufw",
    "uptime_kuma",
    "vault",
    "vigild",
    "wazuh",
    "zap",
    "zeek",
];

/// A complaint about a part of a text, before the file is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The stable code.
    pub code: &'static str,
    /// Whether it is only a warning.
    pub warning: bool,
    /// What is wrong.
    pub message: String,
    /// The bytes it is about.
    pub span: Range<usize>,
    /// What stands beside the caret.
    pub label: String,
    /// The way out.
    pub help: Option<String>,
}

/// What conditions are resolved against.
pub struct Scope<'a> {
    /// The fields; own-prefix names are added as they come up.
    pub schema: &'a mut Schema,
    /// `[table.NAME]`.
    pub tables: &'a BTreeMap<String, Arc<Table>>,
    /// `[condition.NAME]`, `None` where it has an error of its own.
    pub conditions: &'a BTreeMap<String, Option<Expr>>,
    /// The inventory.
    pub estate: &'a crate::parse::Estate,
    /// What has been found.
    pub found: Vec<Finding>,
    /// Tests put in for named conditions so far.
    pub nodes: usize,
}

impl Scope<'_> {
    fn add(&mut self, code: &'static str, span: &Range<usize>, message: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        let warning = matches!(code, "C011" | "C012" | "C013");
        self.found.push(Finding { code, warning, message: message.into(), span: span.clone(), label: label.into(), help });
    }

    /// The field of that name. An own-prefix name is added as [`Type::Any`]; anything else that is not known is a finding.
    pub fn field(&mut self, name: &str, span: &Range<usize>) -> Option<Field> {
        if let Some(f) = self.schema.get(name) {
            return Some(f);
        }
        let first = name.split('.').next().unwrap_or(name);
        let shaped = name.len() <= 256 && name.contains('.') && name.split('.').all(|s| !s.is_empty());
        if shaped && (PREFIXES.contains(&first) || self.declared(first)) {
            let f = self.schema.intern(name, Type::Any, false);
            if f.is_none() {
                self.add("R029", span, format!("there are more than {} fields", Schema::MAX), "one too many", None);
            }
            return f;
        }
        let schema = &*self.schema;
        let help = near(name, schema.fields().map(|f| schema.name(f)))
            .map(|n| format!("did you mean `{n}`?"))
            .or_else(|| Some("fields have ECS names, or stand under the prefix of the tool that gives them, as in `suricata.flow_id`".into()));
        self.add("R012", span, format!("the field `{name}` is not known"), "no parser gives it", help);
        None
    }

    /// Whether a format that is no part of the code declares fields under this prefix.
    fn declared(&self, first: &str) -> bool {
        let ecs = TABLE.iter().any(|d| d.name.split('.').next() == Some(first));
        !ecs && self.schema.fields().skip(TABLE.len()).any(|f| self.schema.name(f).split('.').next() == Some(first))
    }

    /// The condition with everything put in, or `None` where there is an error; all errors are found.
    pub fn resolve(&mut self, ast: &At<Ast>) -> Option<Expr> {
        let e = self.expr(ast)?;
        if size(&e).1 > MAX_DEPTH {
            let m = format!("the condition is nested deeper than {MAX_DEPTH}");
            self.add("C010", &ast.span, m, "too deep with the named conditions put in", None);
            return None;
        }
        match truth(&e, self.schema) {
            Some(true) => self.add("C009", &ast.span, "the condition always holds", "nothing is left out by this", None),
            Some(false) => self.add("C008", &ast.span, "the condition never holds", "nothing can be all of this", None),
            None => return Some(e),
        }
        None
    }

    fn expr(&mut self, ast: &At<Ast>) -> Option<Expr> {
        match &ast.node {
            Ast::And(all) | Ast::Or(all) => {
                // All are tried before the first error counts, so that each is reported.
                let all: Vec<Option<Expr>> = all.iter().map(|a| self.expr(a)).collect();
                let all: Option<Vec<Expr>> = all.into_iter().collect();
                Some(if matches!(ast.node, Ast::And(_)) { Expr::And(all?) } else { Expr::Or(all?) })
            }
            Ast::Not(a) => Some(Expr::Not(Box::new(self.expr(a)?))),
            Ast::Is(name) => match self.conditions.get(&name.node) {
                Some(Some(e)) => {
                    self.nodes = self.nodes.saturating_add(size(e).0);
                    if self.nodes > MAX_NODES {
                        self.add("C010", &name.span, format!("the condition has more than {MAX_NODES} parts"), "too large with this put in", None);
                        return None;
                    }
                    Some(e.clone())
                }
                Some(None) => None,
                None => {
                    let help = near(&name.node, self.conditions.keys().map(String::as_str)).map(|n| format!("did you mean `{n}`?"));
                    self.add("C007", &name.span, format!("there is no condition `{}`", name.node), "not defined in any file", help);
                    None
                }
            },
            Ast::Text { text, bare } => self.words(text, *bare, &ast.span),
            Ast::Test(name, rhs) => {
                let field = self.field(&name.node, &name.span);
                match rhs {
                    Rhs::Field(c, right) => {
                        let other = self.field(&right.node, &right.span);
                        self.fields(field?, *c, other?, &right.span)
                    }
                    rhs => {
                        let field = field?;
                        let op = self.op(field, rhs, &name.span)?;
                        Some(Expr::Test(Test { field, op }))
                    }
                }
            }
        }
    }

    /// A text alone. A field alone is a test forgotten, and is not taken for words.
    fn words(&mut self, text: &str, bare: bool, span: &Range<usize>) -> Option<Expr> {
        if bare && text.contains(['.', '@']) && self.schema.get(text).is_some() {
            let help = Some(format!("a field needs a test: `{text} exists`; for the words of its name, write \"{text}\""));
            self.add("C015", span, format!("`{text}` is a field"), "it is not tested for anything", help);
            return None;
        }
        let words: Vec<String> = words(text);
        if words.is_empty() {
            let help = Some("a word is letters, digits and `_`; for other characters, write `message contains \"…\"`".to_owned());
            self.add("C014", span, "there is no word in this text", "letters and digits are searched for", help);
            return None;
        }
        Some(Expr::Test(Test { field: event::field::MESSAGE, op: Op::Words(words) }))
    }

    fn fields(&mut self, left: Field, c: Compare, right: Field, span: &Range<usize>) -> Option<Expr> {
        let (a, b) = (self.schema.ty(left), self.schema.ty(right));
        let number = |t| matches!(t, Type::Int | Type::Float);
        let fits = a == b || a == Type::Any || b == Type::Any || (number(a) && number(b));
        if !fits {
            let m = format!("`{}` is {}, `{}` is {}", self.schema.name(left), kind(a), self.schema.name(right), kind(b));
            self.add("C002", span, m, "these are never equal", None);
            return None;
        }
        let ordered = |t| matches!(t, Type::Int | Type::Float | Type::Time | Type::Any);
        if matches!(c, Compare::Order(_)) && !(ordered(a) && ordered(b)) {
            self.add("C002", span, format!("`{}` has no order", self.schema.name(left)), "numbers and timestamps have one", None);
            return None;
        }
        Some(Expr::Test(Test { field: left, op: Op::Field(c, right) }))
    }

    fn op(&mut self, field: Field, rhs: &Rhs, at: &Range<usize>) -> Option<Op> {
        let ty = self.schema.ty(field);
        let name = self.schema.name(field).to_owned();
        match rhs {
            Rhs::Field(..) => None,
            Rhs::Exists => Some(Op::Exists),
            Rhs::Literal(Compare::Equal, l) => {
                let v = self.literal(&name, ty, l)?;
                self.sees_case(&name, ty, at, "==");
                Some(Op::In(vec![v]))
            }
            Rhs::Literal(Compare::NotEqual, l) => Some(Op::NotEqual(self.literal(&name, ty, l)?)),
            Rhs::Literal(Compare::Order(o), l) => self.order(&name, ty, *o, l),
            Rhs::List(all) => {
                let all: Vec<Option<Literal>> = all.node.iter().map(|l| self.literal(&name, ty, l)).collect();
                all.into_iter().collect::<Option<Vec<_>>>().map(Op::In)
            }
            Rhs::Set(set, args) => self.set(&name, ty, set, args),
            Rhs::Text(place, s) => {
                self.text(&name, ty, at)?;
                if *place == Place::Contains {
                    self.sees_case(&name, ty, at, "contains");
                }
                Some(Op::Text(*place, s.node.clone()))
            }
            Rhs::Like(all) => {
                self.text(&name, ty, at)?;
                Some(Op::Like(all.node.iter().map(|s| s.node.clone()).collect()))
            }
            Rhs::Matches(p) => {
                self.text(&name, ty, at)?;
                self.pattern(&name, p).map(Op::Matches)
            }
        }
    }

    /// Whether the field holds text, as the operators over text need.
    fn text(&mut self, name: &str, ty: Type, at: &Range<usize>) -> Option<()> {
        let help = match ty {
            Type::Str | Type::Any => return Some(()),
            Type::Ip => format!("`{name} == \"…\"` compares addresses, `{name} in cidr(\"10.0.0.0/8\")` asks for a network"),
            Type::Int | Type::Float | Type::Time => "`==`, `in [..]` and the orderings fit it".into(),
            Type::Bool => format!("write `{name} == true`"),
        };
        self.add("C002", at, format!("`{name}` is {}, no text", kind(ty)), "this operator needs text", Some(help));
        None
    }

    /// A literal in its field's type.
    fn literal(&mut self, name: &str, ty: Type, l: &At<Raw>) -> Option<Literal> {
        let out = match (ty, &l.node) {
            (Type::Str | Type::Any, Raw::Str(s)) => Some(Literal::Str(s.clone())),
            (Type::Int | Type::Any, Raw::Int(n)) => whole(*n),
            (Type::Any, Raw::Float(n)) => n.is_finite().then_some(Literal::Float(*n)),
            (Type::Int, Raw::Float(n)) if n.fract() == 0.0 && n.abs() < 1e18 => Some(Literal::Int(*n as i128)),
            (Type::Float, Raw::Int(n)) => Some(Literal::Float(*n as f64)),
            (Type::Float, Raw::Float(n)) => n.is_finite().then_some(Literal::Float(*n)),
            (Type::Bool | Type::Any, Raw::Bool(b)) => Some(Literal::Bool(*b)),
            (Type::Ip, Raw::Str(s)) => match event::ip(s.as_bytes()) {
                Some(ip) => Some(Literal::Ip(ip)),
                None => {
                    let help = network(s).map(|_| format!("for a network, write `{name} in cidr(\"{s}\")`"));
                    self.add("C003", &l.span, format!("`{}` is no address", s.escape_debug()), format!("`{name}` is an address"), help);
                    return None;
                }
            },
            (Type::Time, Raw::Str(s)) => match instant(s) {
                Some(t) => Some(Literal::Time(t)),
                None => {
                    let help = Some("write it as in \"2026-01-31T00:00:00Z\"".into());
                    self.add("C003", &l.span, format!("`{}` is no timestamp", s.escape_debug()), format!("`{name}` is a timestamp"), help);
                    return None;
                }
            },
            _ => None,
        };
        if out.is_none() {
            let help = match (ty, &l.node) {
                (Type::Str, Raw::Int(n)) => Some(format!("write it in quotes: \"{n}\"")),
                (Type::Str, Raw::Bool(b)) => Some(format!("write it in quotes: \"{b}\"")),
                (Type::Int | Type::Float | Type::Bool, Raw::Str(s)) => Some(format!("write it without quotes: {}", s.escape_debug())),
                (Type::Ip, _) => Some("an address is written in quotes".into()),
                _ => None,
            };
            let message = format!("`{name}` is {} and never equals {}", kind(ty), written(&l.node));
            self.add("C002", &l.span, message, format!("expected {}", kind(ty)), help);
        }
        out
    }

    fn order(&mut self, name: &str, ty: Type, o: Order, l: &At<Raw>) -> Option<Op> {
        if matches!(ty, Type::Str | Type::Bool | Type::Ip) {
            let help = if ty == Type::Ip { Some("for a range of addresses, write `in cidr(..)`".into()) } else { None };
            self.add("C002", &l.span, format!("`{name}` is {} and has no order", kind(ty)), "numbers and timestamps have one", help);
            return None;
        }
        if ty == Type::Any && !matches!(l.node, Raw::Int(_) | Raw::Float(_)) {
            self.add("C002", &l.span, "an ordering needs a number", "no number", None);
            return None;
        }
        // A whole number is compared with a whole number: `> 2.5` is `> 2`, `>= 2.5` is `>= 3`.
        if let (Type::Int, Raw::Float(n)) = (ty, &l.node)
            && n.abs() < 1e18
        {
            let n = if matches!(o, Order::Greater | Order::AtMost) { n.floor() } else { n.ceil() };
            return Some(Op::Order(o, Literal::Int(n as i128)));
        }
        Some(Op::Order(o, self.literal(name, ty, l)?))
    }

    fn set(&mut self, name: &str, ty: Type, set: &At<&'static str>, args: &[At<String>]) -> Option<Op> {
        let fit = |ok: bool, s: &mut Self| {
            if !ok {
                let m = format!("`{name}` is {}, which is never `in {}(..)`", kind(ty), set.node);
                s.add("C002", &set.span, m, "does not fit the field's type", None);
            }
            ok.then_some(())
        };
        let one = |s: &mut Self| match args {
            [a] => Some(a.clone()),
            _ => {
                s.add("C001", &set.span, format!("`{}` takes one name", set.node), "several are given", None);
                None
            }
        };
        match set.node {
            "cidr" => {
                let mut nets = Vec::new();
                let mut ok = true;
                for a in args {
                    match network(&a.node) {
                        Some(n) => nets.push(n),
                        None => {
                            ok = false;
                            let help = Some("write it as in \"10.0.0.0/8\" or \"2001:db8::/32\"".into());
                            self.add(
                                "C003",
                                &a.span,
                                format!("`{}` is no network", a.node.escape_debug()),
                                "not an address with a prefix length",
                                help,
                            );
                        }
                    }
                }
                fit(matches!(ty, Type::Ip | Type::Any), self)?;
                ok.then_some(Op::Cidr(nets))
            }
            "table" => {
                let a = one(self)?;
                fit(!matches!(ty, Type::Bool | Type::Time), self)?;
                match self.tables.get(&a.node) {
                    Some(t) => Some(Op::Table(t.clone())),
                    None => {
                        let help = near(&a.node, self.tables.keys().map(String::as_str))
                            .map(|n| format!("did you mean `{n}`?"))
                            .or_else(|| Some(format!("define it: `[table.{}]` with `values = [..]`", a.node.escape_debug())));
                        self.add("C006", &a.span, format!("there is no table `{}`", a.node.escape_debug()), "not defined in any file", help);
                        None
                    }
                }
            }
            "hosts" => {
                let a = one(self)?;
                fit(matches!(ty, Type::Str | Type::Ip | Type::Any), self)?;
                let mut t = Table { name: format!("hosts({})", a.node), ..Table::default() };
                let mut any = false;
                for h in self.estate.hosts().iter().filter(|h| h.tags.contains(&a.node)) {
                    any = true;
                    t.text.insert(h.name.clone());
                    t.text.extend(h.aliases.iter().cloned());
                    t.text.extend(h.ip.iter().map(|ip| event::fold(*ip).to_string()));
                    t.nets.extend(h.ip.iter().map(|ip| IpNet::from(event::fold(*ip))));
                }
                t.nets.sort();
                t.nets.dedup();
                if !any {
                    let tags = self.estate.hosts().iter().flat_map(|h| h.tags.iter().map(String::as_str));
                    if let Some(n) = near(&a.node, tags) {
                        let help = Some(format!("did you mean `{n}`?"));
                        self.add("C011", &a.span, format!("no host has the tag `{}`", a.node.escape_debug()), "the set is empty", help);
                    }
                }
                Some(Op::Table(Arc::new(t)))
            }
            other => {
                let help = Some("a `[table.NAME]` serves where the values are known".into());
                self.add("R010", &set.span, format!("this version does not have `in {other}(..)` yet"), "comes later", help);
                None
            }
        }
    }

    fn pattern(&mut self, name: &str, p: &At<String>) -> Option<Pattern> {
        match regex::bytes::RegexBuilder::new(&p.node).size_limit(REGEX_LIMIT).build() {
            Ok(r) => {
                let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(&p.node);
                if hostile(name) && hir.as_ref().is_ok_and(|h| !anchored(h)) {
                    let help = Some("begin it with `^` or end it with `$`, or use `:` or `contains`".into());
                    self.add("C012", &p.span, format!("an attacker writes `{name}` and can put this anywhere in it"), "not anchored", help);
                }
                Some(Pattern(r))
            }
            Err(regex::Error::CompiledTooBig(_)) => {
                let m = format!("the regular expression is larger than {} KiB when compiled", REGEX_LIMIT / 1024);
                self.add("C005", &p.span, m, "too large", Some("lower its repetitions, or split it".into()));
                None
            }
            Err(_) => {
                let (why, label) = match regex_syntax::Parser::new().parse(&p.node) {
                    Err(regex_syntax::Error::Parse(e)) => (e.kind().to_string(), part(&p.node, e.span().start.offset..e.span().end.offset)),
                    Err(regex_syntax::Error::Translate(e)) => (e.kind().to_string(), part(&p.node, e.span().start.offset..e.span().end.offset)),
                    _ => ("it is not read".into(), String::new()),
                };
                self.add("C004", &p.span, format!("the regular expression is not valid: {why}"), label, None);
                None
            }
        }
    }

    fn sees_case(&mut self, name: &str, ty: Type, at: &Range<usize>, op: &str) {
        let text = matches!(ty, Type::Str | Type::Any);
        if text && (name == "user_agent.original" || name.starts_with("url.") || name == "process.command_line") {
            let help = Some(if op == "==" { "`:` does not see it".to_owned() } else { "`: \"*…*\"` does not see it".to_owned() });
            self.add("C013", at, format!("`{op}` sees case, and an attacker chooses it in `{name}`"), "sees case; use `:`", help);
        }
    }
}

/// The words of a text in lower case, in order.
pub fn words(text: &str) -> Vec<String> {
    let lower = |w| {
        let mut to = Vec::new();
        event::words::fold(w, &mut to);
        String::from_utf8_lossy(&to).into_owned()
    };
    event::words::words(text.as_bytes()).map(lower).collect()
}

/// The most parts of a condition once the named ones have been put in.
pub const MAX_NODES: usize = 65_536;

/// How many parts a condition has, and how deep they are nested.
fn size(e: &Expr) -> (usize, usize) {
    match e {
        Expr::And(all) | Expr::Or(all) => {
            let sizes = all.iter().map(size).fold((1usize, 0), |a, b| (a.0 + b.0, a.1.max(b.1)));
            (sizes.0, sizes.1 + 1)
        }
        Expr::Not(e) => {
            let s = size(e);
            (s.0 + 1, s.1 + 1)
        }
        Expr::Test(_) => (1, 1),
    }
}

fn part(text: &str, span: Range<usize>) -> String {
    text.get(span).filter(|s| !s.is_empty()).map(|s| format!("at `{}`", s.escape_debug())).unwrap_or_default()
}

/// Fields whose text the other side writes.
fn hostile(name: &str) -> bool {
    ["url.", "user_agent.", "http."].iter().any(|p| name.starts_with(p)) || ["process.command_line", "message", "event.original"].contains(&name)
}

fn anchored(h: &Hir) -> bool {
    let p = h.properties();
    p.look_set_prefix().contains(Look::Start) || p.look_set_suffix().contains(Look::End)
}

/// The type with its article, for messages.
pub fn kind(t: Type) -> &'static str {
    match t {
        Type::Str => "text",
        Type::Int => "a whole number",
        Type::Float => "a number",
        Type::Bool => "true or false",
        Type::Ip => "an address",
        Type::Time => "a timestamp",
        Type::Any => "of any type",
    }
}

fn written(r: &Raw) -> String {
    match r {
        Raw::Str(s) => format!("the text \"{}\"", s.escape_debug()),
        Raw::Int(n) => n.to_string(),
        Raw::Float(n) => format!("{n:?}"),
        Raw::Bool(b) => b.to_string(),
    }
}

fn whole(n: i128) -> Option<Literal> {
    (n >= i64::MIN as i128 && n <= u64::MAX as i128).then_some(Literal::Int(n))
}

/// Reads a network, or an address as a network of one; v4-mapped ones are folded, bits behind the prefix are cleared.
pub fn network(s: &str) -> Option<IpNet> {
    let Some((ip, len)) = s.split_once('/') else { return event::ip(s.as_bytes()).map(IpNet::from) };
    let len: u8 = if len.bytes().all(|b| b.is_ascii_digit()) { len.parse().ok()? } else { return None };
    let raw: IpAddr = ip.parse().ok()?;
    let net = match (raw, event::fold(raw)) {
        (IpAddr::V6(_), IpAddr::V4(v4)) if len >= 96 => IpNet::new(IpAddr::V4(v4), len - 96),
        _ => IpNet::new(raw, len),
    };
    net.ok().map(|n| n.trunc())
}

/// Reads an RFC 3339 timestamp; UTC where it names no zone.
pub fn instant(s: &str) -> Option<Timestamp> {
    let (t, n) = event::time::iso(s.as_bytes(), &jiff::tz::TimeZone::UTC)?;
    (n == s.len()).then_some(t)
}

/// The candidate that was probably meant: at most a third of the letters differ.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 4);
    if name.len() > 128 {
        return None;
    }
    candidates.into_iter().filter_map(|c| distance(name, c, limit).map(|d| (d, c))).min().map(|(_, c)| c)
}

/// How many letters have to be put in, taken out, changed or swapped with their neighbour; `None` above the limit.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit || b.len() > 128 {
        return None;
    }
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (j, c) in rows[0].iter_mut().enumerate() {
        *c = j;
    }
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let same = a[i - 1].eq_ignore_ascii_case(&b[j - 1]);
            let mut d = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + !same as usize);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                d = d.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = d;
        }
    }
    let d = rows[a.len()][b.len()];
    (d <= limit).then_some(d)
}

/// Whether the condition holds for every event, for none, or (`None`) it depends. Only what is certain is said: an
/// array satisfies contradictory tests, so only fields with one value contradict themselves, and no table counts, since
/// its content changes.
pub fn truth(e: &Expr, schema: &Schema) -> Option<bool> {
    match e {
        Expr::Not(e) => truth(e, schema).map(|t| !t),
        Expr::Test(t) => match &t.op {
            Op::In(all) if all.is_empty() => Some(false),
            Op::Like(all) if all.is_empty() => Some(false),
            _ => None,
        },
        Expr::And(_) => {
            let mut all = Vec::new();
            flat(e, true, &mut all);
            let truths: Vec<Option<bool>> = all.iter().map(|e| truth(e, schema)).collect();
            if truths.contains(&Some(false)) || opposite(&all) || contradict(&all, schema) {
                return Some(false);
            }
            truths.iter().all(|t| *t == Some(true)).then_some(true)
        }
        Expr::Or(_) => {
            let mut all = Vec::new();
            flat(e, false, &mut all);
            let truths: Vec<Option<bool>> = all.iter().map(|e| truth(e, schema)).collect();
            if truths.contains(&Some(true)) || opposite(&all) {
                return Some(true);
            }
            truths.iter().all(|t| *t == Some(false)).then_some(false)
        }
    }
}

/// Whether the first condition surely holds wherever the second does: all of its parts are parts of the second.
pub fn covers(wide: &Expr, narrow: &Expr) -> bool {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    flat(wide, true, &mut a);
    flat(narrow, true, &mut b);
    a.iter().all(|e| b.contains(e))
}

fn flat<'e>(e: &'e Expr, and: bool, out: &mut Vec<&'e Expr>) {
    match e {
        Expr::And(all) if and => all.iter().for_each(|e| flat(e, and, out)),
        Expr::Or(all) if !and => all.iter().for_each(|e| flat(e, and, out)),
        e => out.push(e),
    }
}

/// Whether one of these is the negation of another.
fn opposite(all: &[&Expr]) -> bool {
    all.iter().any(|e| matches!(e, Expr::Not(inner) if all.iter().any(|o| **o == **inner)))
}

fn contradict(all: &[&Expr], schema: &Schema) -> bool {
    let tests: Vec<&Test> = all.iter().filter_map(|e| if let Expr::Test(t) = e { Some(t) } else { None }).collect();
    // A test that holds says that the field is there.
    let absent =
        |f: Field| all.iter().any(|e| matches!(e, Expr::Not(n) if matches!(&**n, Expr::Test(Test { field, op: Op::Exists }) if *field == f)));
    for (i, a) in tests.iter().enumerate() {
        if absent(a.field) && !matches!(a.op, Op::Words(_)) {
            return true;
        }
        if schema.many(a.field) || schema.ty(a.field) == Type::Any {
            continue;
        }
        if tests[i + 1..].iter().filter(|b| b.field == a.field).any(|b| excludes(&a.op, &b.op) || excludes(&b.op, &a.op)) {
            return true;
        }
    }
    false
}

/// Whether no value passes both tests, as far as one of them names its values.
fn excludes(a: &Op, b: &Op) -> bool {
    if let Op::In(values) = a {
        return values.iter().all(|v| passes(v, b) == Some(false));
    }
    match (a, b) {
        (Op::Order(Order::Less | Order::AtMost, hi), Op::Order(Order::Greater | Order::AtLeast, lo)) => match compare(lo, hi) {
            Some(std::cmp::Ordering::Greater) => true,
            Some(std::cmp::Ordering::Equal) => !matches!((a, b), (Op::Order(Order::AtMost, _), Op::Order(Order::AtLeast, _))),
            _ => false,
        },
        _ => false,
    }
}

fn passes(v: &Literal, op: &Op) -> Option<bool> {
    use std::cmp::Ordering::*;
    match op {
        Op::In(all) => Some(all.contains(v)),
        Op::NotEqual(l) => Some(l != v),
        Op::Order(o, l) => compare(v, l).map(|c| match o {
            Order::Less => c == Less,
            Order::AtMost => c != Greater,
            Order::Greater => c == Greater,
            Order::AtLeast => c != Less,
        }),
        Op::Text(p, s) => match v {
            Literal::Str(v) => Some(match p {
                Place::Contains => v.contains(s.as_str()),
                Place::Starts => v.starts_with(s.as_str()),
                Place::Ends => v.ends_with(s.as_str()),
            }),
            _ => None,
        },
        Op::Cidr(nets) => match v {
            Literal::Ip(ip) => Some(nets.iter().any(|n| n.contains(ip))),
            _ => None,
        },
        _ => None,
    }
}

fn compare(a: &Literal, b: &Literal) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Literal::Int(a), Literal::Int(b)) => Some(a.cmp(b)),
        (Literal::Float(a), Literal::Float(b)) => a.partial_cmp(b),
        (Literal::Time(a), Literal::Time(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether every event that the condition holds for has one of its literals, so that an index can wake the rule.
pub fn wakes(e: &Expr) -> bool {
    match e {
        Expr::And(all) => all.iter().any(wakes),
        Expr::Or(all) => all.iter().all(wakes),
        Expr::Not(_) => false,
        Expr::Test(t) => match &t.op {
            Op::In(_) | Op::Cidr(_) | Op::Table(_) => true,
            Op::Text(_, s) => !s.is_empty(),
            Op::Like(all) => all.iter().all(|p| p.chars().any(|c| c != '*' && c != '?')),
            Op::Matches(p) => regex_syntax::ParserBuilder::new().utf8(false).build().parse(p.0.as_str()).is_ok_and(|h| required(&h)),
            Op::NotEqual(_) | Op::Order(..) | Op::Words(_) | Op::Exists | Op::Field(..) => false,
        },
    }
}

/// Whether the index knows events for which the condition does not hold, so that a backtest need not read all. It has the words and
/// all values of a field, and so knows more than what wakes a rule.
pub fn narrows(e: &Expr) -> bool {
    match e {
        Expr::And(all) => all.iter().any(narrows),
        Expr::Or(all) => all.iter().all(narrows),
        Expr::Not(_) => false,
        Expr::Test(t) => !matches!(&t.op, Op::NotEqual(_) | Op::Field(..)),
    }
}

fn required(h: &Hir) -> bool {
    match h.kind() {
        HirKind::Literal(_) => true,
        HirKind::Concat(all) => all.iter().any(required),
        HirKind::Alternation(all) => all.iter().all(required),
        HirKind::Repetition(r) => r.min > 0 && required(&r.sub),
        HirKind::Capture(c) => required(&c.sub),
        // A letter in both cases.
        HirKind::Class(c) => match c {
            regex_syntax::hir::Class::Unicode(c) => c.iter().map(|r| r.len()).sum::<usize>() <= 4,
            regex_syntax::hir::Class::Bytes(c) => c.iter().map(|r| r.len()).sum::<usize>() <= 4,
        },
        HirKind::Empty | HirKind::Look(_) => false,
    }
}
