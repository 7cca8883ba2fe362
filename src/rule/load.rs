//! Rule files: text in, a checked [`RuleSet`] and every complaint out.
//!
//! The files are read as one set: a rule of one may listen to a rule of another, tables and conditions are shared.
//! Tunes are put into the rules' own tables before these are read, so what a tune sets is checked like what the rule
//! says itself, and a complaint points into the tune.

use super::check::{self, Finding, Scope};
use super::expr::{self, Ast, At, TemplatePart};
use super::testing::{self, Body, Due, Row, RuleTest};
use super::*;
use crate::diag::{Diagnostic, Level};
use crate::event::{Type, field};
use crate::parse::Estate;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// The longest window and quiet time.
pub const MAX_WINDOW: Span = Span(400 * 86_400 * event_second());
/// The most matches or values that a rule can wait for.
pub const MAX_AT_LEAST: i128 = 100_000;
/// The most `skew`.
pub const MAX_SKEW: Span = Span(5 * event_second());
/// The most steps of a sequence or an `all_of`.
pub const MAX_STEPS: usize = 32;
/// The most fields of a key.
pub const MAX_BY: usize = 8;

const fn event_second() -> i64 {
    crate::event::time::SECOND
}

/// Reads a set of files.
///
/// - In: files by path with their text; the inventory; the fields that formats declare; how to read the `file` of a
///   `[table.NAME]`, by a path joined to the folder of the file that names it.
/// - Out: the set and every complaint, ordered by file and place. With an error among them the set must not be used.
pub fn load(
    files: &[(String, String)],
    estate: &Estate,
    schema: Schema,
    read: &dyn Fn(&str) -> Result<String, String>,
) -> (RuleSet, Vec<Diagnostic>) {
    let mut l = Loader {
        files,
        estate,
        schema,
        read,
        said: Vec::new(),
        broken: vec![false; files.len()],
        tables: BTreeMap::new(),
        conditions: BTreeMap::new(),
        ids: BTreeMap::new(),
        facts: Vec::new(),
    };
    let set = l.all();
    let order: BTreeMap<&str, usize> = files.iter().enumerate().map(|(i, (p, _))| (p.as_str(), i)).collect();
    let mut said = l.said;
    said.sort_by_key(|d| (order.get(d.file.as_str()).copied(), d.span.start, d.span.end, d.code));
    let mut once: Vec<Diagnostic> = Vec::with_capacity(said.len());
    for d in said {
        // One place that several rules come through (a tune by tag, a named condition) is reported once.
        if !once.iter().rev().take_while(|o| o.span == d.span && o.file == d.file).any(|o| *o == d) {
            once.push(d);
        }
    }
    (set, once)
}

/// A place in a file.
#[derive(Clone, Debug)]
struct Spot {
    file: usize,
    span: Range<usize>,
}

/// A value of a file with its place.
#[derive(Clone, Debug)]
struct Node {
    at: Spot,
    value: Val,
}

#[derive(Clone, Debug)]
enum Val {
    Str(String),
    Int(i128),
    Float(f64),
    Bool(bool),
    Date(toml::value::Datetime),
    Array(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
struct Key {
    name: String,
    at: Spot,
}

impl Node {
    fn of(file: usize, v: &toml::Spanned<DeValue<'_>>) -> Node {
        let value = match v.get_ref() {
            DeValue::String(s) => Val::Str(s.to_string()),
            DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Val::Int(n),
                Err(_) => Val::Float(f64::INFINITY),
            },
            DeValue::Float(n) => Val::Float(n.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(b) => Val::Bool(*b),
            DeValue::Datetime(d) => Val::Date(*d),
            DeValue::Array(a) => Val::Array(a.iter().map(|v| Node::of(file, v)).collect()),
            DeValue::Table(t) => Val::Table(Node::table(file, t)),
        };
        Node { at: Spot { file, span: v.span() }, value }
    }

    fn table(file: usize, t: &DeTable<'_>) -> Vec<(Key, Node)> {
        let mut all: Vec<(Key, Node)> =
            t.iter().map(|(k, v)| (Key { name: k.get_ref().to_string(), at: Spot { file, span: k.span() } }, Node::of(file, v))).collect();
        all.sort_by_key(|(k, _)| k.at.span.start);
        all
    }

    fn kind(&self) -> &'static str {
        match &self.value {
            Val::Str(_) => "a string",
            Val::Int(_) => "a whole number",
            Val::Float(_) => "a number",
            Val::Bool(_) => "true or false",
            Val::Date(_) => "a date or time",
            Val::Array(_) => "a list",
            Val::Table(_) => "a table",
        }
    }

    fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Val::Table(t) => t.iter().find(|(k, _)| k.name == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Puts a value where a dotted path leads, making tables on the way.
    fn put(&mut self, path: &[&str], key: &Spot, value: &Node) {
        let [first, rest @ ..] = path else {
            *self = value.clone();
            return;
        };
        if !matches!(self.value, Val::Table(_)) {
            self.value = Val::Table(Vec::new());
        }
        if let Val::Table(t) = &mut self.value {
            let i = match t.iter().position(|(k, _)| k.name == *first) {
                Some(i) => i,
                None => {
                    let node = Node { at: key.clone(), value: Val::Table(Vec::new()) };
                    t.push((Key { name: (*first).to_owned(), at: key.clone() }, node));
                    t.len() - 1
                }
            };
            t[i].1.put(rest, key, value);
        }
    }
}

/// What other rules have to know of a rule before any is read.
#[derive(Clone, Debug)]
struct Fact {
    node: Node,
    id: String,
    id_at: Spot,
    tags: Vec<String>,
    attack: Vec<String>,
    tactics: Vec<String>,
    enabled: bool,
    /// Its index in the set, where it is in it.
    index: Option<usize>,
    /// The fields that its alerts have, key and carried; none where it could not be read.
    gives: Vec<String>,
}

/// A rule that has been read, before its references are ordered.
struct Draft {
    rule: Rule,
    fact: usize,
    /// What it listens to: indices of the set and where that is written.
    refs: Vec<(usize, Spot)>,
}

struct Loader<'a> {
    files: &'a [(String, String)],
    estate: &'a Estate,
    schema: Schema,
    read: &'a dyn Fn(&str) -> Result<String, String>,
    said: Vec<Diagnostic>,
    broken: Vec<bool>,
    tables: BTreeMap<String, Arc<Table>>,
    conditions: BTreeMap<String, Option<Expr>>,
    /// Rules by id, as indices of `facts`.
    ids: BTreeMap<String, usize>,
    facts: Vec<Fact>,
}

const TOP: [&str; 6] = ["rule", "exception", "tune", "table", "condition", "schedule"];
const KINDS: [&str; 8] = ["count", "distinct", "sum", "first_seen", "absent", "sequence", "all_of", "risk"];
const RULE: [&str; 35] = [
    "id",
    "title",
    "summary",
    "severity",
    "attack",
    "where",
    "rule",
    "by",
    "per",
    "rearm",
    "signal",
    "alert",
    "metric",
    "respond",
    "test",
    "count",
    "distinct",
    "sum",
    "first_seen",
    "absent",
    "sequence",
    "all_of",
    "risk",
    "description",
    "reason",
    "false_positives",
    "runbook",
    "references",
    "tags",
    "enabled",
    "carry",
    "max_alerts",
    "keys",
    "missing",
    "skew",
];

impl Loader<'_> {
    fn say(&mut self, level: Level, code: &'static str, at: &Spot, message: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        let file = self.files.get(at.file).map(|f| f.0.clone()).unwrap_or_default();
        self.said.push(Diagnostic { code, level, message: message.into(), file, span: at.span.clone(), label: label.into(), help });
    }

    fn error(&mut self, code: &'static str, at: &Spot, message: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        self.say(Level::Error, code, at, message, label, help);
    }

    fn warn(&mut self, code: &'static str, at: &Spot, message: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        self.say(Level::Warning, code, at, message, label, help);
    }

    /// The place of a stretch of a string's value in its file.
    fn inside(&self, n: &Node, span: &Range<usize>) -> Spot {
        let Val::Str(s) = &n.value else { return n.at.clone() };
        let raw = self.files.get(n.at.file).and_then(|f| f.1.get(n.at.span.clone())).unwrap_or_default();
        let (a, b) = (raw_offset(raw, s, span.start), raw_offset(raw, s, span.end));
        let base = n.at.span.start;
        Spot { file: n.at.file, span: base + a..base + b.max(a) }
    }

    fn findings(&mut self, n: &Node, found: Vec<Finding>) {
        for f in found {
            let at = self.inside(n, &f.span);
            let level = if f.warning { Level::Warning } else { Level::Error };
            self.say(level, f.code, &at, f.message, f.label, f.help);
        }
    }

    fn all(&mut self) -> RuleSet {
        let mut by_kind: BTreeMap<&str, Vec<(String, Spot, Node)>> = BTreeMap::new();
        for file in 0..self.files.len() {
            let (root, errors) = DeTable::parse_recoverable(&self.files[file].1);
            for e in errors {
                self.broken[file] = true;
                let span = e.span().unwrap_or(0..0);
                self.error("R001", &Spot { file, span }, "the file is not valid TOML", e.message().to_owned(), None);
            }
            for (key, node) in Node::table(file, root.get_ref()) {
                let Some(kind) = TOP.into_iter().find(|t| *t == key.name) else {
                    let help = check::near(&key.name, TOP)
                        .map(|n| format!("did you mean `{n}`?"))
                        .or_else(|| Some("a file holds `[[rule]]`, `[[exception]]`, `[[tune]]`, `[table.NAME]`, `[condition.NAME]`".to_owned()));
                    self.error("R002", &key.at, format!("`{}` is not known", key.name), "nothing of this name stands in a rule file", help);
                    continue;
                };
                let out = by_kind.entry(kind).or_default();
                match (kind, node.value) {
                    ("rule" | "exception" | "tune", Val::Array(all)) => out.extend(all.into_iter().map(|n| (String::new(), key.at.clone(), n))),
                    ("table" | "condition" | "schedule", Val::Table(all)) => out.extend(all.into_iter().map(|(k, n)| (k.name, k.at, n))),
                    ("rule" | "exception" | "tune", _) => {
                        self.error(
                            "R004",
                            &key.at,
                            format!("`{kind}` is a list of tables"),
                            "one bracket too few",
                            Some(format!("write `[[{kind}]]`")),
                        );
                    }
                    _ => {
                        let help = Some(format!("write `[{kind}.NAME]`"));
                        self.error("R004", &key.at, format!("`{kind}` needs a name"), "no name", help);
                    }
                }
            }
        }
        let mut take = |kind: &str| by_kind.remove(kind).unwrap_or_default();
        let (rules, exceptions, tunes) = (take("rule"), take("exception"), take("tune"));
        let (tables, conditions, schedules) = (take("table"), take("condition"), take("schedule"));
        for (name, at, _) in schedules {
            self.error("R010", &at, "this version does not have schedules yet", "comes later", Some(format!("`{name}` cannot be used")));
        }
        self.read_tables(tables);
        self.read_conditions(conditions);
        self.read_facts(rules, &tunes);
        let mut set = RuleSet { exceptions: Vec::new(), rules: Vec::new(), schema: Schema::default() };
        let mut drafts = Vec::new();
        let mut index: Vec<(String, usize)> =
            self.facts.iter().enumerate().filter(|(_, f)| f.enabled && !f.id.is_empty()).map(|(i, f)| (f.id.clone(), i)).collect();
        index.sort();
        index.dedup_by(|a, b| a.0 == b.0);
        for (i, (_, fact)) in index.iter().enumerate() {
            self.facts[*fact].index = Some(i);
        }
        for fact in 0..self.facts.len() {
            let gives = self.gives(&self.facts[fact].node.clone());
            self.facts[fact].gives = gives;
        }
        for fact in 0..self.facts.len() {
            if let Some(d) = self.rule(fact) {
                drafts.push(d);
            }
        }
        let mut metrics: BTreeMap<String, MetricKind> = BTreeMap::new();
        for d in &drafts {
            let Some(m) = &d.rule.metric else { continue };
            if *metrics.entry(m.name.clone()).or_insert(m.kind) != m.kind {
                let (at, message) = (self.facts[d.fact].id_at.clone(), format!("the metric `{}` is of another kind in another rule", m.name));
                self.error("R024", &at, message, "of this rule", Some("name it otherwise".into()));
            }
        }
        for (_, _, n) in exceptions {
            self.exception(&n, &mut set, &mut drafts);
        }
        drafts.retain(|d| self.facts[d.fact].index.is_some());
        drafts.sort_by(|a, b| a.rule.id.cmp(&b.rule.id));
        // Where some rule has an error, the others still have their places in the graph.
        let place: BTreeMap<usize, usize> = drafts.iter().enumerate().filter_map(|(i, d)| Some((self.facts[d.fact].index?, i))).collect();
        for d in &mut drafts {
            d.refs = d.refs.iter().filter_map(|(r, at)| Some((*place.get(r)?, at.clone()))).collect();
        }
        self.levels(&mut drafts);
        set.rules = drafts.into_iter().map(|d| d.rule).collect();
        set.schema = std::mem::take(&mut self.schema);
        set
    }

    // Reading values.

    /// Complains of keys that do not belong; `n` must be a table.
    fn keys(&mut self, n: &Node, known: &[&str], what: &str) -> bool {
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

    fn need<'n>(&mut self, n: &'n Node, name: &str, what: &str) -> Option<&'n Node> {
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
    fn head(&self, n: &Node) -> Option<Spot> {
        let text = self.files.get(n.at.file)?.1.get(n.at.span.clone())?;
        let len = text.find('\n').unwrap_or(text.len());
        Some(Spot { file: n.at.file, span: n.at.span.start..n.at.span.start + len })
    }

    fn wrong(&mut self, n: &Node, what: &str, want: &str) {
        self.error("R004", &n.at, format!("`{what}` is {want}"), format!("this is {}", n.kind()), None);
    }

    fn str<'n>(&mut self, n: &'n Node, what: &str) -> Option<&'n str> {
        match &n.value {
            Val::Str(s) => Some(s),
            _ => {
                self.wrong(n, what, "a string");
                None
            }
        }
    }

    fn bool(&mut self, n: Option<&Node>, what: &str, default: bool) -> bool {
        match n.map(|n| (n, &n.value)) {
            None => default,
            Some((_, Val::Bool(b))) => *b,
            Some((n, _)) => {
                self.wrong(n, what, "true or false");
                default
            }
        }
    }

    fn int(&mut self, n: &Node, what: &str, range: std::ops::RangeInclusive<i128>) -> Option<i128> {
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
    fn millionths(&mut self, n: &Node, what: &str) -> Option<i128> {
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

    fn span(&mut self, n: &Node, what: &str, zero: bool, most: Span) -> Option<Span> {
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

    fn strs<'n>(&mut self, n: Option<&'n Node>, what: &str) -> Vec<(&'n str, &'n Node)> {
        let Some(n) = n else { return Vec::new() };
        let Val::Array(all) = &n.value else {
            let help = if let Val::Str(s) = &n.value { Some(format!("write `[\"{}\"]`", s.escape_debug())) } else { None };
            self.error("R004", &n.at, format!("`{what}` is a list of strings"), format!("this is {}", n.kind()), help);
            return Vec::new();
        };
        all.iter().filter_map(|n| self.str(n, what).map(|s| (s, n))).collect()
    }

    fn scope<T>(&mut self, n: &Node, f: impl FnOnce(&mut Scope<'_>) -> T) -> T {
        let mut s =
            Scope { schema: &mut self.schema, tables: &self.tables, conditions: &self.conditions, estate: self.estate, found: Vec::new(), nodes: 0 };
        let out = f(&mut s);
        let found = s.found;
        self.findings(n, found);
        out
    }

    fn field(&mut self, n: &Node, what: &str) -> Option<Field> {
        let s = self.str(n, what)?.to_owned();
        self.named(n, &s, &(0..s.len()))
    }

    fn named(&mut self, n: &Node, name: &str, span: &Range<usize>) -> Option<Field> {
        self.scope(n, |s| s.field(name, span))
    }

    /// A list of fields without repetition.
    fn fields(&mut self, n: &Node, what: &str, most: usize) -> Option<Vec<Field>> {
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

    fn parse(&mut self, n: &Node, what: &str) -> Option<At<Ast>> {
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

    fn condition(&mut self, n: &Node, what: &str) -> Option<Expr> {
        let ast = self.parse(n, what)?;
        self.scope(n, |s| s.resolve(&ast))
    }

    fn template(&mut self, n: &Node, what: &str) -> Option<Template> {
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

    // Tables and conditions.

    fn read_tables(&mut self, all: Vec<(String, Spot, Node)>) {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for (name, at, n) in all {
            if !seen.insert(name.clone()) {
                self.error("R006", &at, format!("there are two tables `{name}`"), "the second", None);
                continue;
            }
            let mut t = Table { name: name.clone(), ..Table::default() };
            if self.keys(&n, &["values", "file", "description"], "a table") {
                match (n.get("values"), n.get("file")) {
                    (Some(v), None) => match &v.value {
                        Val::Array(all) => {
                            for v in all {
                                match &v.value {
                                    Val::Str(s) => table_value(&mut t, s),
                                    Val::Int(i) => table_value(&mut t, &i.to_string()),
                                    _ => self.error(
                                        "R022",
                                        &v.at,
                                        "the values of a table are strings and whole numbers",
                                        format!("this is {}", v.kind()),
                                        None,
                                    ),
                                }
                            }
                        }
                        _ => self.wrong(v, "values", "a list"),
                    },
                    (None, Some(f)) => {
                        if let Some(path) = self.str(f, "file") {
                            let path = beside(&self.files[f.at.file].0, path);
                            match (self.read)(&path) {
                                Ok(text) => {
                                    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
                                        table_value(&mut t, line);
                                    }
                                }
                                Err(e) => self.error("R022", &f.at, format!("cannot read `{}`", path.escape_debug()), e, None),
                            }
                        }
                    }
                    (Some(_), Some(f)) => self.error("R022", &f.at, "a table has `values` or `file`", "not both", None),
                    (None, None) => self.error("R022", &at, format!("the table `{name}` has no values"), "`values` or `file` is missing", None),
                }
            }
            t.nets.sort();
            t.nets.dedup();
            self.tables.insert(name, Arc::new(t));
        }
    }

    fn read_conditions(&mut self, all: Vec<(String, Spot, Node)>) {
        let mut asts: BTreeMap<String, (Spot, Node, Option<At<Ast>>)> = BTreeMap::new();
        for (name, at, n) in all {
            if asts.contains_key(&name) {
                self.error("R006", &at, format!("there are two conditions `{name}`"), "the second", None);
                continue;
            }
            let mut ast = None;
            let mut of = n.clone();
            if self.keys(&n, &["where", "description"], "a condition")
                && let Some(w) = self.need(&n, "where", "a condition")
            {
                ast = self.parse(w, "where");
                of = w.clone();
            }
            asts.insert(name, (at, of, ast));
        }
        // Those that name others are resolved after them; what is left when no more can be is a cycle.
        let mut open: Vec<String> = asts.keys().cloned().collect();
        while !open.is_empty() {
            let before = open.len();
            let waiting: BTreeSet<String> = open.iter().cloned().collect();
            open.retain(|name| {
                let Some((_, n, ast)) = asts.get(name) else { return false };
                let mut uses = Vec::new();
                if let Some(a) = ast {
                    named_conditions(a, &mut uses);
                }
                if uses.iter().any(|u| waiting.contains(u)) {
                    return true;
                }
                let e = ast.as_ref().and_then(|a| self.scope(n, |s| s.resolve(a)));
                self.conditions.insert(name.clone(), e);
                false
            });
            if open.len() == before {
                for name in std::mem::take(&mut open) {
                    if let Some((at, ..)) = asts.get(&name) {
                        self.error("R032", at, format!("the condition `{name}` leads back to itself"), "by `is(..)` of itself or of another", None);
                    }
                    self.conditions.insert(name, None);
                }
            }
        }
    }

    // Rules.

    fn read_facts(&mut self, rules: Vec<(String, Spot, Node)>, tunes: &[(String, Spot, Node)]) {
        for (_, _, n) in rules {
            if !matches!(n.value, Val::Table(_)) {
                self.wrong(&n, "rule", "a table");
                continue;
            }
            let mut fact = Fact {
                id: String::new(),
                id_at: n.at.clone(),
                tags: Vec::new(),
                attack: Vec::new(),
                tactics: Vec::new(),
                enabled: true,
                index: None,
                gives: Vec::new(),
                node: n,
            };
            let node = fact.node.clone();
            if let Some(id) = self.need(&node, "id", "a rule") {
                fact.id_at = id.at.clone();
                if let Some(s) = self.str(id, "id") {
                    if s.is_empty() || s.len() > 128 || !s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
                        let help = Some("small letters, digits and `-`, at most 128".to_owned());
                        self.error("R005", &id.at, format!("`{}` is no id", s.escape_debug()), "not an id", help);
                    } else if let Some(other) = self.ids.get(s).map(|i| self.facts[*i].id_at.clone()) {
                        let place = self.files.get(other.file).map(|f| format!("{}:{}", f.0, line(&f.1, other.span.start))).unwrap_or_default();
                        self.error("R006", &id.at, format!("the id `{s}` is used twice"), "the second", Some(format!("the first is at {place}")));
                    } else {
                        fact.id = s.to_owned();
                        self.ids.insert(s.to_owned(), self.facts.len());
                    }
                }
            }
            self.facts.push(fact);
        }
        // Tags of the rule itself decide which tunes it gets, so they are read before and again after.
        for i in 0..self.facts.len() {
            self.facts[i].tags = words(&self.facts[i].node, "tags");
        }
        for (_, _, n) in tunes {
            self.tune(n);
        }
        for i in 0..self.facts.len() {
            let node = self.facts[i].node.clone();
            let mut attack = Vec::new();
            let mut tactics = BTreeSet::new();
            for (id, at) in self.strs(node.get("attack"), "attack") {
                if attack::number(id).is_none() {
                    let help = Some("techniques are written `T1110` or `T1110.003`; tactics follow from them".to_owned());
                    self.error("R027", &at.at, format!("`{}` is no ATT&CK technique", id.escape_debug()), "not an id", help);
                    continue;
                }
                let before = tactics.len();
                let mut known = false;
                for t in attack::tactics(id) {
                    known = true;
                    tactics.insert(t.to_owned());
                }
                if !known && tactics.len() == before {
                    self.warn("R028", &at.at, format!("the technique `{id}` is not known"), "it gives the rule no tactic", None);
                }
                attack.push(id.to_owned());
            }
            let tags = self.strs(node.get("tags"), "tags").into_iter().map(|(s, _)| s.to_owned()).collect();
            let enabled = self.bool(node.get("enabled"), "enabled", true);
            let f = &mut self.facts[i];
            (f.attack, f.tactics, f.tags, f.enabled) = (attack, tactics.into_iter().collect(), tags, enabled);
        }
    }

    /// The rules that an exception or a tune is about.
    fn about(&mut self, n: &Node, what: &str) -> Vec<usize> {
        if n.get("rules").is_none() && n.get("tags").is_none() {
            let at = self.head(n).unwrap_or(n.at.clone());
            self.error("R020", &at, format!("{what} says which rules it is about"), "`rules` or `tags` is missing", None);
        }
        let mut out = BTreeSet::new();
        for (id, at) in self.strs(n.get("rules"), "rules") {
            match self.ids.get(id) {
                Some(i) => {
                    out.insert(*i);
                }
                None => self.no_rule(id, &at.at),
            }
        }
        for (tag, at) in self.strs(n.get("tags"), "tags") {
            let hits: Vec<usize> = (0..self.facts.len()).filter(|i| self.facts[*i].tags.iter().any(|t| t == tag)).collect();
            if hits.is_empty() {
                self.warn("R015", &at.at, format!("no rule has the tag `{}`", tag.escape_debug()), "matches nothing", None);
            }
            out.extend(hits);
        }
        out.into_iter().collect()
    }

    fn no_rule(&mut self, id: &str, at: &Spot) {
        let help = check::near(id, self.ids.keys().map(String::as_str)).map(|n| format!("did you mean `{n}`?"));
        self.error("R014", at, format!("there is no rule `{}`", id.escape_debug()), "not defined in any file", help);
    }

    fn why(&mut self, n: &Node, what: &str) -> (String, String) {
        let mut one = |name| {
            let v = self.need(n, name, what)?;
            let s = self.str(v, name)?.to_owned();
            if s.trim().is_empty() {
                self.error("R003", &v.at, format!("{what} needs `{name}`"), "it is empty", None);
            }
            Some(s)
        };
        (one("owner").unwrap_or_default(), one("reason").unwrap_or_default())
    }

    fn tune(&mut self, n: &Node) {
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

    /// Key and carried fields of a rule's alerts, as far as they can be read without complaints.
    fn gives(&self, n: &Node) -> Vec<String> {
        let list = |n: Option<&Node>| -> Option<Vec<String>> {
            match &n?.value {
                Val::Array(all) => all.iter().map(|n| if let Val::Str(s) = &n.value { Some(s.clone()) } else { None }).collect(),
                _ => None,
            }
        };
        let by = list(n.get("by")).unwrap_or_default();
        let cool = list(n.get("rearm").and_then(|r| r.get("by"))).unwrap_or_default();
        let carry = list(n.get("carry"));
        let carried = carry.unwrap_or_else(|| CARRY.iter().map(|f| self.schema.name(*f).to_owned()).collect());
        by.into_iter().chain(cool).chain(carried).collect()
    }

    /// Resolves `rule = …` into indices of the set.
    fn listens(&mut self, n: &Node, own: usize) -> Option<Vec<(usize, Spot)>> {
        let names: Vec<(&str, &Node)> = match &n.value {
            Val::Str(s) => vec![(s.as_str(), n)],
            Val::Array(_) => self.strs(Some(n), "rule"),
            _ => {
                self.wrong(n, "rule", "a string or a list of strings");
                return None;
            }
        };
        if names.is_empty() {
            self.error("R017", &n.at, "`rule` names no rule", "an empty list", None);
            return None;
        }
        let before = self.said.iter().filter(|d| d.level == Level::Error).count();
        let mut out: BTreeMap<usize, Spot> = BTreeMap::new();
        for (s, at) in names {
            let hits: Vec<usize> = if let Some(tag) = s.strip_prefix("tag:") {
                (0..self.facts.len()).filter(|i| *i != own && self.facts[*i].tags.iter().any(|t| t == tag)).collect()
            } else if let Some(tactic) = s.strip_prefix("tactic:") {
                if !attack::TACTICS.contains(&tactic) {
                    let help = check::near(tactic, attack::TACTICS).map(|n| format!("did you mean `tactic:{n}`?"));
                    self.error("R014", &at.at, format!("there is no tactic `{}`", tactic.escape_debug()), "not of ATT&CK", help);
                    continue;
                }
                (0..self.facts.len()).filter(|i| *i != own && self.facts[*i].tactics.iter().any(|t| t == tactic)).collect()
            } else {
                match self.ids.get(s).copied() {
                    Some(i) => {
                        if self.facts[i].index.is_none() {
                            self.warn("R031", &at.at, format!("the rule `{s}` is not enabled"), "it gives no alerts", None);
                        }
                        vec![i]
                    }
                    None => {
                        self.no_rule(s, &at.at);
                        continue;
                    }
                }
            };
            if hits.is_empty() {
                let what = s.replace("tag:", "the tag ").replace("tactic:", "the tactic ");
                self.warn("R015", &at.at, format!("no rule has {}", what.escape_debug()), "matches nothing", None);
            }
            for i in hits {
                if let Some(index) = self.facts[i].index {
                    out.entry(index).or_insert_with(|| at.at.clone());
                }
            }
        }
        let after = self.said.iter().filter(|d| d.level == Level::Error).count();
        (before == after).then(|| out.into_iter().collect())
    }

    /// `where` and `rule` of a rule or a step.
    fn when(&mut self, n: &Node, own: usize, what: &str, refs: &mut Vec<(usize, Spot)>) -> Option<When> {
        let (w, r) = (n.get("where"), n.get("rule"));
        if w.is_none() && r.is_none() {
            if !self.broken.get(n.at.file).copied().unwrap_or(false) {
                let at = self.head(n).unwrap_or(n.at.clone());
                self.error("R017", &at, format!("{what} matches nothing"), "`where` or `rule` is missing", None);
            }
            return None;
        }
        let where_ = w.map(|w| self.condition(w, "where"));
        let rules = r.map(|r| self.listens(r, own));
        let where_ = match where_ {
            Some(e) => Some(e?),
            None => None,
        };
        let rules = match rules {
            Some(r) => {
                let r = r?;
                refs.extend(r.iter().cloned());
                Some(r.into_iter().map(|(i, _)| i).collect())
            }
            None => None,
        };
        if let (Some(e), Some(w), None) = (&where_, w, &rules)
            && !check::wakes(e)
        {
            let help = Some("add a condition such as `event.module == \"…\"`".to_owned());
            self.warn("R054", &w.at, format!("{what} is tried on every event"), "no literal that an event must have", help);
        }
        Some(When { where_, rules })
    }

    /// Whether the alerts of the rules named by `rule` have the key fields.
    fn bound(&mut self, n: &Node, by: &[Field], step: bool) {
        let Some(r) = n.get("rule") else { return };
        let Val::Str(s) = &r.value else {
            return;
        };
        let Some(gives) = self.ids.get(s.as_str()).map(|i| self.facts[*i].gives.clone()) else { return };
        for f in by {
            let name = self.schema.name(*f).to_owned();
            let known = gives.contains(&name)
                || ["rule.", "alert.", "event.", "related.", "threat."].iter().any(|p| name.starts_with(p))
                || ["@timestamp", "message"].contains(&name.as_str());
            if !known {
                let level = if step { Level::Error } else { Level::Warning };
                let help = Some(format!("add it to `carry` of `{s}`, or give the step a `by` of its own"));
                self.say(level, "R019", &r.at, format!("an alert of `{s}` has no `{name}`, which is part of the key"), "never in a group", help);
            }
        }
    }

    fn steps(&mut self, n: &Node, own: usize, by: &[Field], null: bool, all_of: bool, refs: &mut Vec<(usize, Spot)>) -> Option<Vec<Step>> {
        let kind = if all_of { "all_of" } else { "sequence" };
        let list = self.need(n, "step", &format!("`{kind}`"))?;
        let Val::Array(all) = &list.value else {
            let help = Some(format!("write `[[rule.{kind}.step]]`"));
            self.error("R004", &list.at, "`step` is a list of tables", format!("this is {}", list.kind()), help);
            return None;
        };
        if all.is_empty() || all.len() > MAX_STEPS {
            self.error("R009", &list.at, format!("`{kind}` has from 1 to {MAX_STEPS} steps"), format!("these are {}", all.len()), None);
            return None;
        }
        let mut out = Vec::new();
        let mut ok = true;
        for s in all {
            let known: &[&str] = if all_of { &["where", "rule", "by", "required", "absent"] } else { &["where", "rule", "by", "absent", "within"] };
            if !self.keys(s, known, "a step") {
                ok = false;
                continue;
            }
            if let Some(a) = s.get("absent") {
                if all_of {
                    self.error("R017", &a.at, "a step of an `all_of` cannot be absent", "only in a `sequence`", None);
                    ok = false;
                } else if self.bool(Some(a), "absent", false) {
                    self.later(&a.at, "absent steps");
                    ok = false;
                }
            }
            if let Some(w) = s.get("within")
                && s.get("absent").is_none()
            {
                self.error("R002", &w.at, "only an absent step has a `within`", "the rule's window holds", None);
                ok = false;
            }
            let own_by = s.get("by").map(|b| (b, self.fields(b, "by", MAX_BY)));
            let mut step_by = None;
            if let Some((b, fields)) = own_by {
                match fields {
                    Some(fields) if fields.len() != by.len() => {
                        let m = format!("the step has {} key fields, the rule {}", fields.len(), by.len());
                        self.error("R018", &b.at, m, "as many are needed, in the same order", None);
                        ok = false;
                    }
                    Some(fields) => {
                        for (f, r) in fields.iter().zip(by) {
                            let (a, c) = (self.schema.ty(*f), self.schema.ty(*r));
                            if a != c && a != Type::Any && c != Type::Any {
                                let (x, y) = (self.schema.name(*f).to_owned(), self.schema.name(*r).to_owned());
                                let m = format!("`{x}` is {}, `{y}` is {}", check::kind(a), check::kind(c));
                                self.error("R018", &b.at, m, "these are never the same key", None);
                                ok = false;
                            }
                        }
                        step_by = Some(fields);
                    }
                    None => ok = false,
                }
            }
            if !null {
                self.bound(s, step_by.as_deref().unwrap_or(by), true);
            }
            let required = self.bool(s.get("required"), "required", false);
            match self.when(s, own, "the step", refs) {
                Some(when) => {
                    let step = Step { when, by: step_by, required };
                    if all_of && out.iter().any(|o: &Step| overlap(&o.when, &step.when)) {
                        let at = self.head(s).unwrap_or(s.at.clone());
                        let help = Some("an event fills every step that it matches".to_owned());
                        self.warn("R053", &at, "whatever fills one of two steps fills the other too", "overlaps with a step before it", help);
                    }
                    out.push(step);
                }
                None => ok = false,
            }
        }
        ok.then_some(out)
    }

    fn later(&mut self, at: &Spot, what: &str) {
        self.error("R010", at, format!("this version does not have {what} yet"), "comes later", None);
    }

    fn kind(&mut self, n: &Node, own: usize, by: &[Field], null: bool, refs: &mut Vec<(usize, Spot)>) -> Option<Kind> {
        let Val::Table(t) = &n.value else { return None };
        let mut kinds = t.iter().filter(|(k, _)| KINDS.contains(&k.name.as_str()));
        let Some((key, v)) = kinds.next() else { return Some(Kind::Single) };
        if let Some((second, _)) = kinds.next() {
            let help = Some("make two rules; one may listen to the other by `rule`".to_owned());
            self.error("R011", &second.at, format!("a rule has one of {}", KINDS.join(", ")), format!("it has `{}` already", key.name), help);
            return None;
        }
        let what = format!("`{}`", key.name);
        let within = |l: &mut Self| l.need(v, "within", &what).and_then(|w| l.span(w, "within", false, MAX_WINDOW));
        match key.name.as_str() {
            "count" => {
                self.keys(v, &["at_least", "within"], &what);
                let at_least = self.need(v, "at_least", &what).and_then(|a| self.at_least(a));
                Some(Kind::Count { within: within(self)?, at_least: at_least? })
            }
            "distinct" => {
                self.keys(v, &["field", "at_least", "within"], &what);
                let fields = self.need(v, "field", &what).and_then(|f| match &f.value {
                    Val::Array(a) if a.is_empty() => {
                        self.error("R009", &f.at, "`distinct` needs a field", "an empty list", None);
                        None
                    }
                    Val::Array(_) => self.fields(f, "field", MAX_BY),
                    _ => self.field(f, "field").map(|f| vec![f]),
                });
                let at_least = self.need(v, "at_least", &what).and_then(|a| self.at_least(a).map(|n| (n, a)));
                if let (Some(fields), Some((n, a))) = (&fields, at_least) {
                    let only = fields.iter().all(|f| self.schema.ty(*f) == Type::Bool);
                    if only && n > 1 << fields.len().min(16) {
                        self.error("R030", &a.at, format!("there are never {n} different values"), "the fields are true or false", None);
                    }
                }
                Some(Kind::Distinct { within: within(self)?, fields: fields?, at_least: at_least?.0 })
            }
            "sum" => {
                self.keys(v, &["field", "at_least", "within"], &what);
                let f = self.need(v, "field", &what).and_then(|f| {
                    let id = self.field(f, "field")?;
                    if !matches!(self.schema.ty(id), Type::Int | Type::Float | Type::Any) {
                        let m = format!("`{}` is {}, which has no sum", self.schema.name(id), check::kind(self.schema.ty(id)));
                        self.error("C002", &f.at, m, "no number", None);
                        return None;
                    }
                    Some(id)
                });
                let at_least = self.need(v, "at_least", &what).and_then(|a| self.millionths(a, "at_least"));
                Some(Kind::Sum { within: within(self)?, field: f?, at_least: at_least? })
            }
            "sequence" => {
                self.keys(v, &["within", "step", "until"], &what);
                if let Some((k, _)) = if let Val::Table(t) = &v.value { t.iter().find(|(k, _)| k.name == "until") } else { None } {
                    self.later(&k.at, "`until`");
                }
                let steps = self.steps(v, own, by, null, false, refs);
                Some(Kind::Sequence { within: within(self)?, steps: steps? })
            }
            "all_of" => {
                self.keys(v, &["within", "step", "at_least"], &what);
                let steps = self.steps(v, own, by, null, true, refs);
                let count = v.get("step").map_or(0, |s| if let Val::Array(a) = &s.value { a.len() } else { 0 });
                let at_least = match v.get("at_least") {
                    None => Some(count as i128),
                    Some(a) => self.int(a, "at_least", 1..=MAX_AT_LEAST).and_then(|n| {
                        if n > count as i128 {
                            self.error("R030", &a.at, format!("there are {count} steps, never {n}"), "cannot be reached", None);
                            return None;
                        }
                        Some(n)
                    }),
                };
                Some(Kind::AllOf { within: within(self)?, at_least: at_least? as u32, steps: steps? })
            }
            other => {
                self.later(&key.at, &format!("`{other}`"));
                None
            }
        }
    }

    fn at_least(&mut self, n: &Node) -> Option<u32> {
        match &n.value {
            Val::Int(i) if *i > MAX_AT_LEAST => {
                let m = format!("state holds at most {MAX_AT_LEAST} matches of a key");
                self.error("R030", &n.at, m, "cannot be reached", Some("count coarser, or add up with `sum`".into()));
                None
            }
            _ => self.int(n, "at_least", 1..=MAX_AT_LEAST).map(|n| n as u32),
        }
    }

    fn rearm(&mut self, n: &Node, by: &[Field], kind: Option<&Kind>) -> Option<Rearm> {
        let Some(r) = n.get("rearm") else {
            return kind.map(|k| if k.within().is_some() { Rearm::Reset } else { Rearm::Every });
        };
        match &r.value {
            Val::Str(s) if s == "every" => Some(Rearm::Every),
            Val::Str(s) if s == "reset" => {
                if kind.is_some_and(|k| k.within().is_none()) {
                    let help = Some("write `rearm = { cooldown = \"30m\", by = [..] }`".to_owned());
                    self.error("R013", &r.at, "`reset` is for rules with `within`", "there is no window to clear", help);
                    return None;
                }
                Some(Rearm::Reset)
            }
            Val::Str(s) => {
                let help = check::near(s, ["every", "reset"]).map(|n| format!("did you mean `{n}`?"));
                let help = help.or_else(|| Some("`\"every\"`, `\"reset\"`, `{ cooldown = \"30m\" }` or `{ below = 3 }`".to_owned()));
                self.error("R007", &r.at, format!("`{}` is no way to re-arm", s.escape_debug()), "not known", help);
                None
            }
            Val::Table(_) => {
                self.keys(r, &["cooldown", "by", "below"], "`rearm`");
                match (r.get("cooldown"), r.get("below")) {
                    (Some(c), None) => {
                        let time = self.span(c, "cooldown", false, MAX_WINDOW);
                        let fields = match r.get("by") {
                            None => None,
                            Some(b) => {
                                let f = self.fields(b, "by", MAX_BY)?;
                                if !by.is_empty() {
                                    for x in f.iter().filter(|x| !by.contains(x)) {
                                        let m = format!("`{}` is not in the rule's `by`", self.schema.name(*x));
                                        self.error("R013", &b.at, m, "a quiet time is shared by fields of the key", None);
                                    }
                                }
                                Some(f)
                            }
                        };
                        Some(Rearm::Cooldown { time: time?, by: fields })
                    }
                    (None, Some(b)) => {
                        if let Some(by) = r.get("by") {
                            self.error("R013", &by.at, "`by` belongs to `cooldown`", "not to `below`", None);
                        }
                        match kind? {
                            Kind::Count { at_least, .. } | Kind::Distinct { at_least, .. } => {
                                let n = self.int(b, "below", i128::MIN..=i128::MAX)?;
                                if n < 2 || n > *at_least as i128 {
                                    let m = format!("`below` is from 2 to `at_least`, which is {at_least}");
                                    self.error("R013", &b.at, m, "out of range", None);
                                    return None;
                                }
                                Some(Rearm::Below(n))
                            }
                            Kind::Sum { at_least, .. } => {
                                let n = self.millionths(b, "below")?;
                                if n > *at_least {
                                    self.error("R013", &b.at, "`below` is at most `at_least`", "out of range", None);
                                    return None;
                                }
                                Some(Rearm::Below(n))
                            }
                            _ => {
                                self.error("R013", &b.at, "`below` is for `count`, `distinct` and `sum`", "nothing here can fall", None);
                                None
                            }
                        }
                    }
                    _ => {
                        self.error("R013", &r.at, "`rearm` has either `cooldown` or `below`", "one of the two", None);
                        None
                    }
                }
            }
            _ => {
                self.wrong(r, "rearm", "a string or a table");
                None
            }
        }
    }

    fn metric(&mut self, n: &Node, title: &str) -> Option<Metric> {
        self.keys(n, &["name", "kind", "value", "labels", "label_fields", "max_series", "help"], "`metric`").then_some(())?;
        let before = self.said.len();
        let name = self.need(n, "name", "`metric`").and_then(|v| {
            let s = self.str(v, "name")?;
            let fits = |b: u8, first: bool| b.is_ascii_alphabetic() || b == b'_' || b == b':' || (!first && b.is_ascii_digit());
            if s.is_empty() || s.len() > 200 || !s.bytes().enumerate().all(|(i, b)| fits(b, i == 0)) {
                let help = Some("letters, digits, `_` and `:`, not beginning with a digit".to_owned());
                self.error("R024", &v.at, format!("`{}` is no name of a metric", s.escape_debug()), "not a name", help);
            }
            Some(s.to_owned())
        });
        let kind = self.need(n, "kind", "`metric`").and_then(|v| match self.str(v, "kind")? {
            "counter" => Some(MetricKind::Counter),
            "gauge" => Some(MetricKind::Gauge),
            s => {
                let help = check::near(s, ["counter", "gauge"]).map(|n| format!("did you mean `{n}`?"));
                self.error("R007", &v.at, format!("`{}` is no kind of metric", s.escape_debug()), "`counter` or `gauge`", help);
                None
            }
        });
        let value = n.get("value").and_then(|v| {
            let f = self.field(v, "value")?;
            if !matches!(self.schema.ty(f), Type::Int | Type::Float | Type::Any) {
                let m = format!("`{}` is {}, no number", self.schema.name(f), check::kind(self.schema.ty(f)));
                self.error("R024", &v.at, m, "a metric has numbers", None);
            }
            Some(f)
        });
        if kind == Some(MetricKind::Gauge) && n.get("value").is_none() {
            let at = self.head(n).unwrap_or(n.at.clone());
            self.error("R024", &at, "a gauge needs `value`", "nothing to set it to", None);
        }
        let mut labels = Vec::new();
        let mut label_fields = Vec::new();
        for what in ["labels", "label_fields"] {
            let Some(t) = n.get(what) else { continue };
            let Val::Table(all) = &t.value else {
                self.wrong(t, what, "a table");
                continue;
            };
            for (k, v) in all {
                let fits = |b: u8, first: bool| b.is_ascii_alphabetic() || b == b'_' || (!first && b.is_ascii_digit());
                if k.name.is_empty() || k.name.starts_with("__") || !k.name.bytes().enumerate().all(|(i, b)| fits(b, i == 0)) {
                    self.error("R024", &k.at, format!("`{}` is no name of a label", k.name.escape_debug()), "not a name", None);
                }
                if label_fields.iter().any(|(n, _): &(String, Template)| *n == k.name) || labels.iter().any(|(n, _): &(String, String)| *n == k.name)
                {
                    self.error("R024", &k.at, format!("the label `{}` stands twice", k.name.escape_debug()), "the second", None);
                }
                let Some(s) = self.str(v, what) else { continue };
                if what == "labels" {
                    labels.push((k.name.clone(), s.to_owned()));
                } else if s.contains('{') {
                    if let Some(t) = self.template(v, what) {
                        label_fields.push((k.name.clone(), t));
                    }
                } else if let Some(f) = self.field(v, what) {
                    label_fields.push((k.name.clone(), Template(vec![Part::Field(f)])));
                }
            }
        }
        let max_series = n.get("max_series").map_or(Some(100), |v| self.int(v, "max_series", 1..=10_000));
        let help = n.get("help").map_or(Some(title.to_owned()), |v| self.str(v, "help").map(str::to_owned));
        if self.said.len() > before {
            return None;
        }
        Some(Metric { name: name?, kind: kind?, value, labels, label_fields, max_series: max_series? as usize, help: help? })
    }

    fn rule(&mut self, own: usize) -> Option<Draft> {
        let errors = |l: &Self| l.said.iter().filter(|d| d.level == Level::Error).count();
        let before = errors(self);
        let fact = self.facts[own].clone();
        let n = &fact.node;
        self.keys(n, &RULE, "a rule");
        let title = self.need(n, "title", "a rule").and_then(|v| self.str(v, "title").map(str::to_owned));
        let severity = self.need(n, "severity", "a rule").and_then(|v| {
            let s = self.str(v, "severity")?;
            let out = Severity::of(s);
            if out.is_none() {
                let all = ["informational", "low", "medium", "high", "critical"];
                let help = check::near(s, all).map(|n| format!("did you mean `{n}`?")).or_else(|| Some(all.join(", ")));
                self.error("R007", &v.at, format!("`{}` is no severity", s.escape_debug()), "not known", help);
            }
            out
        });
        for k in ["description", "reason"] {
            if let Some(v) = n.get(k) {
                self.str(v, k);
            }
        }
        for k in ["false_positives", "references", "runbook"] {
            match n.get(k) {
                Some(v) if matches!(v.value, Val::Str(_)) && k != "references" => {}
                v => {
                    self.strs(v, k);
                }
            }
        }
        let summary = n.get("summary").and_then(|v| self.template(v, "summary"));
        let signal = self.bool(n.get("signal"), "signal", false);
        let alert = self.bool(n.get("alert"), "alert", true);
        let by = n.get("by").map_or(Some(Vec::new()), |v| self.fields(v, "by", MAX_BY)).unwrap_or_default();
        let missing_null = match n.get("missing") {
            None => false,
            Some(v) => match self.str(v, "missing") {
                Some("null") => true,
                Some(s) => {
                    let m = format!("`{}` is nothing that `missing` can be", s.escape_debug());
                    self.error("R007", &v.at, m, "only \"null\"", None);
                    false
                }
                None => false,
            },
        };
        let mut refs = Vec::new();
        let kind = self.kind(n, own, &by, missing_null, &mut refs);
        let stepped = n.get("sequence").is_some() || n.get("all_of").is_some();
        let own_source = n.get("risk").is_some();
        let when = if stepped {
            for k in ["where", "rule"] {
                if let Some(v) = n.get(k) {
                    self.error("R017", &v.at, format!("a rule with steps has no `{k}` of its own"), "say it in the steps", None);
                }
            }
            Some(When::default())
        } else if own_source && n.get("where").is_none() && n.get("rule").is_none() {
            None
        } else {
            if !missing_null {
                self.bound(n, &by, false);
            }
            self.when(n, own, "the rule", &mut refs)
        };
        let per = n.get("per").and_then(|v| {
            if !["count", "distinct", "sum"].iter().any(|k| n.get(k).is_some()) {
                self.error("R018", &v.at, "`per` is for `count`, `distinct` and `sum`", "nothing is counted here", None);
            }
            self.field(v, "per")
        });
        let rearm = self.rearm(n, &by, kind.as_ref());
        let carry = match n.get("carry") {
            None => CARRY.to_vec(),
            Some(v) => self.fields(v, "carry", 64).unwrap_or_default(),
        };
        let max_alerts = n.get("max_alerts").map_or(Some(1000), |v| self.int(v, "max_alerts", 1..=1_000_000));
        let keys = match n.get("keys") {
            None => Some(None),
            Some(v) => self.int(v, "keys", 1..=10_000_000).map(Some),
        };
        let skew = n.get("skew").map_or(Some(Span(0)), |v| {
            if n.get("sequence").is_none() {
                self.error("R018", &v.at, "`skew` is for the order of steps of a `sequence`", "there is no order here", None);
            }
            self.span(v, "skew", true, MAX_SKEW)
        });
        let respond = self.strs(n.get("respond"), "respond").into_iter().map(|(s, _)| s.to_owned()).collect();
        let metric = n.get("metric").and_then(|m| self.metric(m, title.as_deref().unwrap_or_default()));
        let tests = self.tests(n);
        if errors(self) > before {
            return None;
        }
        let (kind, rearm, severity) = (kind?, rearm?, severity?);
        if kind == Kind::Single && n.get("rearm").is_none() && alert {
            let help = Some("name a cooldown: `rearm = { cooldown = \"30m\", by = [..] }`, or say `rearm = \"every\"`".to_owned());
            self.warn("R050", &fact.id_at, "each match of this rule is an alert", "a single-event rule without `rearm`", help);
        }
        if !alert && metric.is_none() {
            self.warn("R052", &fact.id_at, "the rule does nothing", "neither alerts nor a metric", None);
        }
        if severity >= Severity::High && alert {
            let due = |t: &RuleTest| match &t.body {
                Body::Timeline(rows) => rows.iter().any(|r| r.due),
                Body::Lines { alerts, .. } => !alerts.is_empty(),
            };
            let (yes, no) = (tests.iter().any(due), tests.iter().any(|t| !due(t)));
            if !yes || !no {
                let label = match (yes, no) {
                    (true, _) => "a test in which it stays quiet is missing",
                    (_, true) => "a test in which it fires is missing",
                    _ => "it has no tests",
                };
                self.warn("R051", &fact.id_at, format!("severity `{}` is worth two tests", severity.name()), label, None);
            }
        }
        refs.sort_by_key(|(i, _)| *i);
        refs.dedup_by_key(|(i, _)| *i);
        let rule = Rule {
            id: fact.id.as_str().into(),
            title: title?,
            summary,
            severity,
            attack: fact.attack,
            tactics: fact.tactics,
            tags: fact.tags,
            signal,
            alert,
            when: when?,
            by,
            per,
            missing_null,
            kind,
            rearm,
            carry,
            max_alerts: max_alerts? as u32,
            keys: keys?.map(|k| k as usize),
            skew: skew?,
            metric,
            respond,
            exceptions: Vec::new(),
            meaning: [0; 16],
            level: 1,
            file: self.files[n.at.file].0.clone(),
            tests,
        };
        Some(Draft { rule, fact: own, refs })
    }

    // Tests.

    fn tests(&mut self, n: &Node) -> Vec<RuleTest> {
        let Some(list) = n.get("test") else { return Vec::new() };
        let Val::Array(all) = &list.value else {
            let help = Some("write `[[rule.test]]`".to_owned());
            self.error("R004", &list.at, "`test` is a list of tables", format!("this is {}", list.kind()), help);
            return Vec::new();
        };
        all.iter().filter_map(|t| self.test(t)).collect()
    }

    fn test(&mut self, t: &Node) -> Option<RuleTest> {
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
    fn fits(&mut self, at: &Spot, f: Field, value: &str) -> bool {
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

    fn timeline(&mut self, n: &Node, each: Option<&Node>) -> Option<Body> {
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

    fn lines(&mut self, t: &Node, lines: &Node) -> Option<Body> {
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

    fn moment(&mut self, n: &Node, what: &str) -> Option<Timestamp> {
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

    // Exceptions.

    fn exception(&mut self, n: &Node, set: &mut RuleSet, drafts: &mut [Draft]) {
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
    fn day(&mut self, n: &Node, what: &str, end: bool) -> Option<Timestamp> {
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

    // The graph.

    fn levels(&mut self, drafts: &mut [Draft]) {
        let count = drafts.len();
        let mut done = vec![false; count];
        let mut order = Vec::with_capacity(count);
        loop {
            let ready: Vec<usize> =
                (0..count).filter(|&i| !done[i] && drafts[i].refs.iter().all(|(r, _)| done.get(*r).copied().unwrap_or(true))).collect();
            if ready.is_empty() {
                break;
            }
            for i in ready {
                done[i] = true;
                let level = drafts[i].refs.iter().filter_map(|(r, _)| drafts.get(*r)).map(|d| d.rule.level).max().unwrap_or(0);
                drafts[i].rule.level = level.saturating_add(1);
                order.push(i);
            }
        }
        let mut told: BTreeSet<usize> = BTreeSet::new();
        for start in 0..count {
            if done[start] || told.contains(&start) {
                continue;
            }
            // Every rule that is left leads to another that is left, so the walk comes back to where it has been.
            let mut path = vec![start];
            let round = loop {
                let last = path[path.len() - 1];
                let Some(next) = drafts[last].refs.iter().map(|(r, _)| *r).find(|r| !done[*r]) else { break path.len() };
                if let Some(i) = path.iter().position(|p| *p == next) {
                    break i;
                }
                path.push(next);
            };
            let cycle = path.get(round..).unwrap_or_default();
            if cycle.is_empty() || cycle.iter().any(|i| told.contains(i)) {
                continue;
            }
            told.extend(cycle);
            let names: Vec<String> = cycle.iter().chain(cycle.first()).map(|i| format!("`{}`", drafts[*i].rule.id)).collect();
            let (first, second) = (cycle[0], cycle.get(1).copied().unwrap_or(cycle[0]));
            if let Some((_, at)) = drafts[first].refs.iter().find(|(r, _)| *r == second).cloned() {
                self.error("R016", &at, "rules listen to each other in a circle", names.join(" → "), Some("one of them must not".into()));
            }
        }
        for i in order {
            let meaning = self.meaning(&drafts[i].rule, drafts);
            drafts[i].rule.meaning = meaning;
        }
    }

    fn meaning(&self, r: &Rule, drafts: &[Draft]) -> [u8; 16] {
        use std::fmt::Write as _;
        let name = |f: &Field| self.schema.name(*f).to_owned();
        let names = |all: &[Field]| all.iter().map(name).collect::<Vec<_>>().join(",");
        let when = |w: &When| {
            let mut s = String::new();
            if let Some(e) = &w.where_ {
                let _ = write!(s, "where {};", expr::render(e, &self.schema));
            }
            if let Some(all) = &w.rules {
                s.push_str("rule");
                for d in all.iter().filter_map(|i| drafts.get(*i)) {
                    let _ = write!(s, " {}:", d.rule.id);
                    for b in d.rule.meaning {
                        let _ = write!(s, "{b:02x}");
                    }
                }
                s.push(';');
            }
            s
        };
        let steps = |all: &[Step]| {
            all.iter()
                .map(|s| format!("step {} by {} required {};", when(&s.when), s.by.as_deref().map(names).unwrap_or_default(), s.required))
                .collect::<String>()
        };
        let mut s = format!("{}by {};per {};null {};", when(&r.when), names(&r.by), r.per.as_ref().map(name).unwrap_or_default(), r.missing_null);
        let _ = match &r.kind {
            Kind::Single => write!(s, "single;"),
            Kind::Count { at_least, within } => write!(s, "count {at_least} {};", within.0),
            Kind::Distinct { fields, at_least, within } => write!(s, "distinct {} {at_least} {};", names(fields), within.0),
            Kind::Sum { field, at_least, within } => write!(s, "sum {} {at_least} {};", name(field), within.0),
            Kind::Sequence { within, steps: all } => write!(s, "sequence {} {}", within.0, steps(all)),
            Kind::AllOf { within, at_least, steps: all } => write!(s, "all_of {} {at_least} {}", within.0, steps(all)),
        };
        let _ = match &r.rearm {
            Rearm::Every => write!(s, "every;"),
            Rearm::Reset => write!(s, "reset;"),
            Rearm::Cooldown { time, by } => write!(s, "cooldown {} {};", time.0, by.as_deref().map_or("-".to_owned(), names)),
            Rearm::Below(n) => write!(s, "below {n};"),
        };
        let _ = write!(s, "carry {};max {};keys {:?};skew {};alert {}", names(&r.carry), r.max_alerts, r.keys, r.skew.0, r.alert);
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::hash(s.as_bytes()).as_bytes()[..16]);
        out
    }
}

/// Whether all that one of the two takes is taken by the other.
fn overlap(a: &When, b: &When) -> bool {
    let covers = |a: &When, b: &When| match (&a.where_, &b.where_) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(x), Some(y)) => check::covers(x, y),
    };
    a.rules == b.rules && (covers(a, b) || covers(b, a))
}

/// What an alert carries unless the rule says otherwise.
const CARRY: [Field; 3] = [field::HOST_NAME, field::USER_NAME, field::CLIENT_IP];

/// A value of a table under every reading that it has.
fn table_value(t: &mut Table, s: &str) {
    t.text.insert(s.to_owned());
    if s.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        && let Ok(n) = s.parse::<i128>()
    {
        t.numbers.insert(n);
    }
    t.nets.extend(check::network(s));
}

/// A path beside a file, unless it is absolute.
fn beside(file: &str, path: &str) -> String {
    match file.rfind('/') {
        Some(i) if !path.starts_with('/') => format!("{}/{path}", &file[..i]),
        _ => path.to_owned(),
    }
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}

fn words(n: &Node, key: &str) -> Vec<String> {
    match n.get(key).map(|n| &n.value) {
        Some(Val::Array(all)) => all.iter().filter_map(|n| if let Val::Str(s) = &n.value { Some(s.clone()) } else { None }).collect(),
        _ => Vec::new(),
    }
}

fn named_conditions(a: &At<Ast>, out: &mut Vec<String>) {
    match &a.node {
        Ast::And(all) | Ast::Or(all) => all.iter().for_each(|a| named_conditions(a, out)),
        Ast::Not(a) => named_conditions(a, out),
        Ast::Is(n) => out.push(n.node.clone()),
        Ast::Test(..) => {}
    }
}

/// Keys of an event, `"host.name" = …` and `host = { name = … }` alike.
fn leaves(all: &[(Key, Node)]) -> Vec<(Key, &Node)> {
    let mut out = Vec::new();
    for (k, v) in all {
        match &v.value {
            Val::Table(inner) => {
                for (mut ik, iv) in leaves(inner) {
                    ik.name = format!("{}.{}", k.name, ik.name);
                    out.push((ik, iv));
                }
            }
            _ => out.push((k.clone(), v)),
        }
    }
    out
}

fn scalar(n: &Node) -> Option<String> {
    match &n.value {
        Val::Str(s) => Some(s.clone()),
        Val::Int(i) => Some(i.to_string()),
        Val::Float(f) => Some(f.to_string()),
        Val::Bool(b) => Some(b.to_string()),
        Val::Date(d) => Some(d.to_string()),
        Val::Array(_) | Val::Table(_) => None,
    }
}

/// The offset in a TOML string's text, quotes included, of the offset in its value.
fn raw_offset(raw: &str, value: &str, target: usize) -> usize {
    let (quote, multi) = if raw.starts_with("\"\"\"") || raw.starts_with("'''") { (&raw[..3], true) } else { (raw.get(..1).unwrap_or(""), false) };
    let basic = quote.starts_with('"');
    if !basic && !quote.starts_with('\'') {
        return 0;
    }
    let b = raw.as_bytes();
    let mut at = quote.len();
    if multi {
        if raw[at..].starts_with("\r\n") {
            at += 2;
        } else if raw[at..].starts_with('\n') {
            at += 1;
        }
    }
    let end = raw.len().saturating_sub(quote.len());
    for (i, c) in value.char_indices() {
        // A backslash at the end of a line takes the line's end and the blanks behind it away.
        while basic && multi && b.get(at) == Some(&b'\\') {
            let rest = &raw[at + 1..];
            let blank = rest.len() - rest.trim_start().len();
            if blank == 0 || !rest[..blank].contains('\n') {
                break;
            }
            at += 1 + blank;
        }
        if i >= target || at >= end {
            return at.min(end);
        }
        at += if basic && b.get(at) == Some(&b'\\') {
            match b.get(at + 1) {
                Some(b'u') => 6,
                Some(b'U') => 10,
                Some(b'x') => 4,
                _ => 2,
            }
        } else if c == '\n' && raw.get(at..).is_some_and(|r| r.starts_with("\r\n")) {
            2
        } else {
            c.len_utf8()
        };
        if !raw.is_char_boundary(at.min(raw.len())) {
            return at.min(end);
        }
    }
    at.min(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::estate::Host;

    fn estate() -> Estate {
        let host =
            Host { name: "web-1".into(), aliases: vec!["www".into()], ip: "10.0.0.7".parse().into_iter().collect(), tags: vec!["scanner".into()] };
        Estate::new(vec![host], Vec::new())
    }

    fn try_load(text: &str) -> (RuleSet, Vec<Diagnostic>) {
        let read = |p: &str| if p == "rules/list.txt" { Ok("# names\nroot\n\n10.0.0.0/8\n".to_owned()) } else { Err("no such file".to_owned()) };
        load(&[("rules/a.toml".into(), text.into())], &estate(), Schema::default(), &read)
    }

    fn good(text: &str) -> RuleSet {
        let (set, said) = try_load(text);
        let errors: Vec<_> = said.iter().filter(|d| d.level == Level::Error).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        set
    }

    /// A rule of these lines, with what every rule needs before them.
    fn rule(lines: &str) -> String {
        format!("[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\n{lines}\n")
    }

    const W: &str = "where = 'event.action == \"x\"'\n";

    fn single(cond: &str) -> String {
        rule(&format!("where = '''{cond}'''\nrearm = \"every\""))
    }

    fn kind(lines: &str) -> String {
        rule(&format!("{W}{lines}"))
    }

    fn two(second: &str) -> String {
        format!("{}[[rule]]\nid = \"s\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\n{second}\n", single("event.action == \"x\""))
    }

    /// Every code, a file that has it, and the text that is marked.
    #[test]
    fn every_complaint_is_made_where_it_belongs() {
        let cases: Vec<(&str, String, &str)> = vec![
            ("R001", "x = [".into(), ""),
            ("R002", rule(&format!("{W}wher = 1")), "wher"),
            ("R002", "[[rulez]]\nid = 1".into(), "rulez"),
            ("R003", "[[rule]]\nid = \"r\"\nseverity = \"low\"\nwhere = 'tags == \"x\"'".into(), "[[rule]]"),
            ("R004", kind("by = \"host.name\""), "\"host.name\""),
            ("R005", single("tags == \"x\"").replace("\"r\"", "\"R 1\""), "\"R 1\""),
            ("R006", format!("{}{}", single("tags == \"x\""), single("tags == \"y\"")), "\"r\""),
            ("R007", single("tags == \"x\"").replace("\"low\"", "\"lo\""), "\"lo\""),
            ("R007", kind("rearm = \"never\""), "\"never\""),
            ("R007", kind("missing = \"no\""), "\"no\""),
            ("R008", kind("count = { at_least = 1, within = \"1w\" }"), "\"1w\""),
            ("R008", kind("count = { at_least = 1, within = \"401d\" }"), "\"401d\""),
            ("R008", kind("count = { at_least = 1, within = \"0s\" }"), "\"0s\""),
            ("R009", kind("count = { at_least = 0, within = \"1s\" }"), "0"),
            ("R010", kind("absent = { for = \"5m\" }"), "absent"),
            ("R010", single("source.ip in feed(\"x\")"), "feed"),
            ("R010", "[schedule.office]\ndays = [\"mon-fri\"]".into(), "office"),
            ("R011", kind("count = { at_least = 1, within = \"1s\" }\nsum = { field = \"source.bytes\", at_least = 1, within = \"1s\" }"), "sum"),
            ("R012", single("user.nam == \"x\""), "user.nam"),
            ("R013", kind("rearm = \"reset\""), "\"reset\""),
            ("R013", kind("by = [\"host.name\"]\nrearm = { cooldown = \"1h\", by = [\"user.name\"] }"), "[\"user.name\"]"),
            ("R013", kind("count = { at_least = 3, within = \"1s\" }\nrearm = { below = 4 }"), "4"),
            ("R014", rule("rule = \"q\""), "\"q\""),
            ("R014", rule("rule = \"tactic:persistance\""), "\"tactic:persistance\""),
            ("R015", rule("rule = \"tag:none\""), "\"tag:none\""),
            ("R016", two("rule = \"s\""), "\"s\""),
            ("R017", rule(""), "[[rule]]"),
            ("R018", kind("per = \"host.name\""), "\"host.name\""),
            ("R018", kind("skew = \"1s\""), "\"1s\""),
            (
                "R018",
                rule("by = [\"source.ip\"]\nsequence.within = \"1m\"\nsequence.step = [{ where = 'tags == \"x\"', by = [\"user.name\"] }]"),
                "[\"user.name\"]",
            ),
            ("R019", two("rule = \"r\"\nby = [\"file.path\"]"), "\"r\""),
            (
                "R020",
                format!("{}[[exception]]\nrules = [\"r\"]\nwhere = 'tags == \"x\"'\nowner = \"o\"\nreason = \"r\"", single("tags == \"y\"")),
                "[[exception]]",
            ),
            (
                "R021",
                format!("{}[[tune]]\nrules = [\"r\"]\nset = {{ \"count.within\" = \"1m\" }}\nowner = \"o\"\nreason = \"r\"", single("tags == \"y\"")),
                "\"count.within\"",
            ),
            ("R022", "[table.t]\nfile = \"gone.txt\"".into(), "\"gone.txt\""),
            ("R023", kind("summary = \"on {host.name\""), "{"),
            ("R024", kind("metric = { name = \"a-b\", kind = \"counter\" }"), "\"a-b\""),
            ("R025", kind("test = [{ name = \"n\" }]"), "{ name = \"n\" }"),
            ("R026", kind("test = [{ name = \"n\", timeline = \"0s source.port=x\" }]"), "x"),
            ("R027", kind("attack = [\"1110\"]"), "\"1110\""),
            ("R028", kind("attack = [\"T9999\"]"), "\"T9999\""),
            ("R030", kind("count = { at_least = 100001, within = \"1s\" }"), "100001"),
            ("R030", rule(&format!("all_of = {{ within = \"1m\", at_least = 2, step = [{{ {} }}] }}", W.trim())), "2"),
            ("R031", two("rule = \"r\"").replacen("rearm", "enabled = false\nrearm", 1), "\"r\""),
            ("R032", "[condition.a]\nwhere = 'is(\"b\")'\n[condition.b]\nwhere = 'not is(\"a\")'".into(), "a"),
            ("R050", kind(""), "\"r\""),
            ("R051", single("tags == \"x\"").replace("\"low\"", "\"high\""), "\"r\""),
            ("R052", kind("alert = false"), "\"r\""),
            (
                "R053",
                rule(&format!("all_of = {{ within = \"1m\", step = [{{ {0} }}, {{ {0} }}] }}", W.trim())),
                "{ where = 'event.action == \"x\"' }",
            ),
            (
                "R053",
                rule(&format!(
                    "all_of = {{ within = \"1m\", step = [{{ {} }}, {{ where = 'tags == \"a\" and event.action == \"x\"' }}] }}",
                    W.trim()
                )),
                "{ where = 'tags == \"a\" and event.action == \"x\"' }",
            ),
            ("R054", single("source.port > 5"), "'''source.port > 5'''"),
            ("C001", single("user.name = \"x\""), "="),
            ("C002", single("source.port == \"22\""), "\"22\""),
            ("C002", single("source.ip : \"10.*\""), "source.ip"),
            ("C002", single("user.name > \"a\""), "\"a\""),
            ("C002", single("user.name in cidr(\"10.0.0.0/8\")"), "cidr"),
            ("C002", single("source.ip == source.port"), "source.port"),
            ("C003", single("source.ip == \"10.0.0.0/8\""), "\"10.0.0.0/8\""),
            ("C003", single("source.ip in cidr(\"10.0.0.0/33\")"), "\"10.0.0.0/33\""),
            ("C003", single("event.start > \"yesterday\""), "\"yesterday\""),
            ("C004", single("user.name matches \"a(b\""), "\"a(b\""),
            ("C005", single("user.name matches \"(\\\\w{1000}){1000}\""), "\"(\\\\w{1000}){1000}\""),
            ("C006", single("user.name in table(\"adminz\")"), "\"adminz\""),
            ("C007", single("is(\"nothing\")"), "\"nothing\""),
            ("C008", single("user.name in []"), "user.name in []"),
            ("C009", single("user.name == \"a\" or not user.name == \"a\""), "user.name == \"a\" or not user.name == \"a\""),
            ("C010", single(&format!("{}tags == \"x\"", "not ".repeat(200))), "not"),
            ("C011", single("host.name in hosts(\"scaner\")"), "\"scaner\""),
            ("C012", single("url.path matches \"passwd\""), "\"passwd\""),
            ("C013", single("process.command_line contains \"curl\""), "process.command_line"),
        ];
        let mut codes: BTreeSet<&str> = BTreeSet::new();
        for (code, text, marked) in &cases {
            let (_, said) = try_load(text);
            let hits: Vec<&Diagnostic> = said.iter().filter(|d| d.code == *code).collect();
            assert!(!hits.is_empty(), "{code} is not said of\n{text}\n{said:#?}");
            assert!(
                hits.iter().any(|d| text.get(d.span.clone()) == Some(marked) || marked.is_empty()),
                "{code} marks something else in\n{text}\n{hits:#?}"
            );
            let error = hits[0].level == Level::Error;
            let warning = ["R015", "R028", "R031", "C011", "C012", "C013"].contains(code) || code.starts_with("R05");
            assert!(error != warning || *code == "R019", "{code}");
            codes.insert(code);
        }
        // The reference lists what there is, and nothing that there is not. R029 needs 4096 fields.
        codes.insert("R029");
        let listed: BTreeSet<&str> = include_str!("../../rules/README.md")
            .lines()
            .filter_map(|l| l.strip_prefix("| `")?.split('`').next())
            .filter(|c| c.len() == 4 && c.bytes().skip(1).all(|b| b.is_ascii_digit()))
            .collect();
        assert_eq!(codes, listed);
    }

    #[test]
    fn all_complaints_come_at_once_and_say_what_was_meant() {
        let (_, said) =
            try_load("[[rule]]\nid = \"a\"\ntitel = \"t\"\nseverity = \"hihg\"\nwhere = 'user.nam == 1 and sorce.ip exists'\n[[rule]]\nid = \"b\"\n");
        let help: Vec<&str> = said.iter().filter_map(|d| d.help.as_deref()).collect();
        assert_eq!(help, ["did you mean `title`?", "did you mean `high`?", "did you mean `user.name`?", "did you mean `source.ip`?"]);
        assert_eq!(said.iter().filter(|d| d.code == "R003").count(), 2, "of the second rule: {said:#?}");
    }

    #[test]
    fn a_place_in_a_string_is_its_place_in_the_file() {
        for quoted in [
            "'tags == \"é\" and user.nam exists'",
            "\"tags == \\\"\\u00e9\\\" and user.nam exists\"",
            "'''\ntags == \"é\"\n  and user.nam exists'''",
            "\"\"\"\r\ntags == \\\"x\\\" \\\r\n\r\n   and \\\n user.nam exists\"\"\"",
            "'''\r\ntags == \"x\"\r\nand user.nam exists'''",
            "\"\"\"tags == \\\"\\U000000e9\\\" and \\t user.nam exists\"\"\"",
        ] {
            let text = rule(&format!("where = {quoted}"));
            let (_, said) = try_load(&text);
            let d = said.iter().find(|d| d.code == "R012");
            assert_eq!(d.and_then(|d| text.get(d.span.clone())), Some("user.nam"), "{text}\n{said:#?}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_language() {
        let set = good(&kind("count = { at_least = 3, within = \"2m\" }"));
        let r = &set.rules[0];
        assert_eq!((&r.rearm, r.max_alerts, r.keys, r.alert, r.signal, r.level), (&Rearm::Reset, 1000, None, true, false, 1));
        assert_eq!(r.carry, [field::HOST_NAME, field::USER_NAME, field::CLIENT_IP]);
        assert_eq!(good(&kind("")).rules[0].rearm, Rearm::Every);
        let all = rule(&format!("all_of = {{ within = \"1m\", step = [{{ {} }}, {{ where = 'tags == \"x\"' }}] }}", W.trim()));
        assert!(matches!(good(&all).rules[0].kind, Kind::AllOf { at_least: 2, .. }));
    }

    #[test]
    fn literals_take_the_type_of_their_field() {
        let op = |cond: &str| match good(&single(cond)).rules.remove(0).when.where_ {
            Some(Expr::Test(t)) => t.op,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            op("source.ip == \"::ffff:192.0.2.1\""),
            Op::In(vec![Literal::Ip("192.0.2.1".parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))])
        );
        assert_eq!(op("vulnerability.score.base >= 7"), Op::Order(Order::AtLeast, Literal::Float(7.0)));
        assert_eq!(op("source.port > 2.5"), Op::Order(Order::Greater, Literal::Int(2)));
        assert_eq!(op("source.port >= 2.5"), Op::Order(Order::AtLeast, Literal::Int(3)));
        assert_eq!(op("suricata.new.thing == true"), Op::In(vec![Literal::Bool(true)]));
        assert_eq!(op("event.start < \"1970-01-01T00:00:01Z\""), Op::Order(Order::Less, Literal::Time(Timestamp(1_000_000_000))));
        assert!(matches!(op("source.ip in cidr(\"::ffff:10.0.0.9/104\")"), Op::Cidr(n) if n[0].to_string() == "10.0.0.0/8"));
    }

    #[test]
    fn tables_and_hosts_are_put_in() {
        let text = format!(
            "[table.t]\nfile = \"list.txt\"\n[table.u]\nvalues = [22, \"x\"]\n{}",
            single("user.name in table(\"t\") and source.ip in hosts(\"scanner\") and source.port in table(\"u\")")
        );
        let Some(Expr::And(all)) = good(&text).rules.remove(0).when.where_ else { panic!("no condition") };
        let tables: Vec<&Table> =
            all.iter().filter_map(|e| if let Expr::Test(Test { op: Op::Table(t), .. }) = e { Some(&**t) } else { None }).collect();
        assert!(tables[0].text.contains("root") && tables[0].nets.len() == 1);
        assert!(tables[1].text.contains("web-1") && tables[1].text.contains("www") && tables[1].nets[0].to_string() == "10.0.0.7/32");
        assert!(tables[2].numbers.contains(&22) && tables[2].text.contains("x"));
    }

    #[test]
    fn rules_listen_by_id_tag_and_tactic_and_have_levels() {
        let r = |id: &str, rest: &str| format!("[[rule]]\nid = \"{id}\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\n{rest}\n");
        let text = [
            r("c", &format!("{W}tags = [\"web\"]\nattack = [\"T1505.003\"]")),
            r("a", "rule = \"b\""),
            r("b", "rule = [\"tag:web\", \"tactic:persistence\"]\ntags = [\"web\"]"),
            r("d", &format!("{W}tags = [\"web\"]\nenabled = false")),
        ]
        .concat();
        let set = good(&text);
        let got: Vec<(&str, Option<Vec<usize>>, u16)> = set.rules.iter().map(|r| (&*r.id, r.when.rules.clone(), r.level)).collect();
        assert_eq!(got, [("a", Some(vec![1]), 3), ("b", Some(vec![2]), 2), ("c", None, 1)]);
    }

    #[test]
    fn a_circle_is_named() {
        let r = |id: &str, of: &str| format!("[[rule]]\nid = \"{id}\"\ntitle = \"t\"\nseverity = \"low\"\nrule = \"{of}\"\n");
        let (_, said) = try_load(&[r("a", "b"), r("b", "c"), r("c", "b")].concat());
        let all: Vec<&str> = said.iter().filter(|d| d.code == "R016").map(|d| d.label.as_str()).collect();
        assert_eq!(all, ["`b` → `c` → `b`"]);
    }

    #[test]
    fn tunes_come_before_and_are_checked_in_their_own_place() {
        let base = kind("count = { at_least = 9, within = \"1s\" }\nenabled = false");
        let tune = |set: &str| format!("{base}[[tune]]\nrules = [\"r\"]\nset = {{ {set} }}\nowner = \"o\"\nreason = \"r\"\n");
        for set in [
            "enabled = true, \"count.at_least\" = 2, severity = \"high\", respond = [\"x\"], \"rearm.cooldown\" = \"1h\"",
            "enabled = true, count.at_least = 2, severity = \"high\", respond = [\"x\"], rearm = { cooldown = \"1h\" }",
        ] {
            let r = good(&tune(set)).rules.remove(0);
            assert_eq!(r.kind, Kind::Count { at_least: 2, within: Span::seconds(1) });
            assert_eq!(
                (r.severity, &r.respond[..], &r.rearm),
                (Severity::High, &["x".to_owned()][..], &Rearm::Cooldown { time: Span::seconds(3600), by: None })
            );
        }
        let text = tune("\"count.at_least\" = 0");
        let (_, said) = try_load(&text);
        assert_eq!(said.iter().map(|d| (d.code, d.span.start > base.len())).collect::<Vec<_>>(), [("R009", true)]);
    }

    #[test]
    fn exceptions_end_with_their_day_or_at_their_instant() {
        let ex = |line: &str| {
            let text = format!(
                "{}[[exception]]\nrules = [\"r\"]\nwhere = 'user.name == \"a\"'\nowner = \"o\"\nreason = \"r\"\n{line}\n",
                single("tags == \"x\"")
            );
            let set = good(&text);
            assert_eq!(set.rules[0].exceptions, [0]);
            (set.exceptions[0].until.map(|t| t.to_string()), set.exceptions[0].review.map(|t| t.to_string()))
        };
        assert_eq!(ex("expires = 2026-01-31"), (Some("2026-02-01T00:00:00.000000Z".into()), None));
        assert_eq!(ex("expires = 2026-02-02T12:00:00+01:00"), (Some("2026-02-02T11:00:00.000000Z".into()), None));
        assert_eq!(ex("review = \"2020-01-01\""), (None, Some("2020-01-01T00:00:00.000000Z".into())));
    }

    #[test]
    fn meaning_is_what_decides_when_it_fires() {
        let base = kind("by = [\"host.name\"]\ncount = { at_least = 3, within = \"2m\" }\ntags = [\"x\"]\nsummary = \"s\"");
        let meaning = |text: &str| good(text).rules.last().map(|r| r.meaning);
        let same = meaning(&base);
        for (from, to) in [
            ("\"t\"", "\"another title\""),
            ("\"low\"", "\"medium\""),
            ("[\"x\"]", "[]"),
            ("\"s\"", "\"z\""),
            ("'event.action == \"x\"'", "'(event.action  ==  \"x\")'"),
        ] {
            assert_eq!(meaning(&base.replace(from, to)), same, "{to}");
        }
        for (from, to) in [
            ("at_least = 3", "at_least = 4"),
            ("2m", "3m"),
            ("host.name", "user.name"),
            ("\"x\"'", "\"y\"'"),
            ("summary", "rearm = \"every\"\nsummary"),
        ] {
            assert_ne!(meaning(&base.replace(from, to)), same, "{to}");
        }
        let table = |v: &str| meaning(&format!("[table.t]\nvalues = [\"{v}\"]\n{}", single("user.name in table(\"t\")")));
        assert_eq!(table("a"), table("b"), "what a table holds is no part of it");
        let own = |first: &str| {
            meaning(&format!("[[rule]]\nid = \"a\"\ntitle = \"t\"\nseverity = \"low\"\nwhere = '{first} == 1'\n{}", single("falco.two == 1")))
        };
        assert_eq!(own("falco.one"), own("falco.two"), "the order in which fields come up is none either");
        let below = |w: &str| meaning(&two("rule = \"r\"").replace("\"x\"", w));
        assert_ne!(below("\"x\""), below("\"y\""), "the rules that it listens to are");
    }

    #[test]
    fn only_what_is_certain_never_holds() {
        let codes = |c: &str| try_load(&single(c)).1.iter().filter(|d| ["C008", "C009"].contains(&d.code)).map(|d| d.code).collect::<Vec<_>>();
        for c in [
            "user.name == \"a\" and user.name == \"b\"",
            "source.port > 5 and source.port < 5",
            "source.port == 5 and source.port >= 6",
            "user.name == \"a\" and not (user.name exists)",
            "user.name in [\"a\"] and (source.port == 1 and user.name != \"a\")",
            "not (user.name in []) and user.name in []",
        ] {
            assert_eq!(codes(c), ["C008"], "{c}");
        }
        for c in [
            "tags == \"a\" and tags == \"b\"",
            "falco.x == \"a\" and falco.x == \"b\"",
            "source.port >= 5 and source.port <= 5",
            "user.name != \"a\" and user.name != \"b\"",
            "user.name == \"a\" or user.name == \"b\"",
            "user.name in [\"a\", \"b\"] and user.name in [\"b\", \"c\"]",
        ] {
            assert!(codes(c).is_empty(), "{c}");
        }
    }

    #[test]
    fn a_test_becomes_events_and_what_is_due() {
        let text = kind(
            "[[rule.test]]\nname = \"n\"\neach = { \"user.name\" = \"a\", host = { name = \"h\" } }\ntimeline = '''\n0s\n1m30s user.name=\"b c\" ! now\n2m - # later\n'''\n[[rule.test]]\nname = \"m\"\nlines = [\"x\"]\nalerts = [{ at = \"2026-01-05T00:00:02Z\", key = { \"destination.port\" = 22 } }]",
        );
        let r = good(&text).rules.remove(0);
        let Body::Timeline(rows) = &r.tests[0].body else { panic!("no timeline") };
        let s = |v: &str| v.to_owned();
        assert_eq!(rows[0].event, Some(vec![(field::USER_NAME, s("a")), (field::HOST_NAME, s("h"))]));
        assert_eq!(
            (rows[1].at, rows[1].due, &rows[1].event),
            (Span::seconds(90), true, &Some(vec![(field::HOST_NAME, s("h")), (field::USER_NAME, s("b c"))]))
        );
        assert_eq!(rows[2].event, None);
        assert!(matches!(&r.tests[1].body, Body::Lines { alerts, .. } if alerts[0].key == Some(vec![(field::DESTINATION_PORT, s("22"))])));
        assert!(text[r.tests[1].offset..].starts_with("[[rule.test]]"));
    }

    #[test]
    fn named_conditions_do_not_grow_without_end() {
        let mut text = String::from("[condition.c0]\nwhere = 'tags == \"x\"'\n");
        for i in 1..40 {
            text += &format!("[condition.c{i}]\nwhere = 'is(\"c{0}\") or is(\"c{0}\")'\n", i - 1);
        }
        assert!(try_load(&text).1.iter().any(|d| d.code == "C010"));
    }

    #[test]
    fn depth_and_odd_shapes_are_refused_quietly() {
        for text in [
            format!("x = {}", "[".repeat(100_000)),
            format!("[table.a]\nvalues = {}1{}", "[".repeat(60), "]".repeat(60)),
            format!("{} = 1", vec!["rule"; 50_000].join(".")),
            "rule = [1, [2], {}]\nexception = [{}]\ntune = [{}, 1]\ntable = []\ncondition = { a = 1, b = {} }".to_owned(),
            "[[rule]]\nid = 1\ntitle = []\nseverity = {}\nwhere = 1\nby = [1]\ncount = 1\nrearm = 1\ntest = 1\nmetric = 1\nattack = 1\ntags = 1"
                .to_owned(),
            "\u{feff}[[rule]]\r\nid = \"r\"".to_owned(),
        ] {
            let (_, said) = try_load(&text);
            assert!(said.iter().any(|d| d.level == Level::Error), "{}", &text[..40]);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]
        #[test]
        fn any_text_is_loaded_or_refused(lines in proptest::collection::vec("(\\[\\[rule\\]\\]|\\[\\[rule.test\\]\\]|\\[\\[tune\\]\\]|\\[table.a\\]|id|where|by|count|sequence|rearm|test|rule|set|timeline|within|at_least|values|rules) ?=? ?(|'tags == \"é\"'|\"r\"|\\[\"r\"\\]|1|\\{at_least=1\\}|\\{step=\\[\\{\\}\\]\\}|2026-01-01|[\"'{}\\[\\]a-z=\\\\. é0-9]{0,12})", 0..14)) {
            let text = lines.join("\n");
            let (_, said) = try_load(&text);
            for d in &said {
                assert!(text.get(d.span.clone()).is_some(), "{d:?} in {text:?}");
            }
            crate::diag::draw(&said, &[("rules/a.toml".into(), text)], false);
        }
    }
}
