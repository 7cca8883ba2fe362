//! Rule files: text in, a checked [`RuleSet`] and every complaint out.
//!
//! The files are read as one set: a rule of one may listen to a rule of another, tables and conditions are shared.
//! Tunes are put into the rules' own tables before these are read, so what a tune sets is checked like what the rule
//! says itself, and a complaint points into the tune.

mod adjust;
mod graph;
mod proof;
mod rule;
mod shared;
mod values;

use super::expr::{self, Ast, At, TemplatePart};
use super::testing::{self, Body, Due, Row, RuleTest};
use super::*;
use crate::diag::{Diagnostic, Level};
use crate::event::{Type, field};
use crate::parse::Estate;
use crate::rule::check::{self, Finding, Scope};
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
    load_over(files, files.len(), estate, schema, read)
}

/// The same, but what the files from `over` on define (rules by id, tables, conditions) takes the place of what those before
/// them do.
pub fn load_over(
    files: &[(String, String)],
    over: usize,
    estate: &Estate,
    schema: Schema,
    read: &dyn Fn(&str) -> Result<String, String>,
) -> (RuleSet, Vec<Diagnostic>) {
    let mut l = Loader {
        files,
        over,
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
    /// What files from this one on define takes the place of what those before define.
    over: usize,
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
        let over = self.over;
        let mut take = |kind: &str| replaced(by_kind.remove(kind).unwrap_or_default(), over);
        let (rules, exceptions, tunes) = (take("rule"), take("exception"), take("tune"));
        let (tables, conditions, schedules) = (take("table"), take("condition"), take("schedule"));
        for (name, at, _) in schedules {
            self.error("R010", &at, "this version does not have schedules yet", "comes later", Some(format!("`{name}` cannot be used")));
        }
        self.read_tables(tables);
        self.read_conditions(conditions);
        self.read_facts(rules, &tunes);
        let mut set = RuleSet::default();
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
        (set.tables, set.conditions) = (std::mem::take(&mut self.tables), std::mem::take(&mut self.conditions));
        set
    }
}

/// Without what a file from `over` on defines anew: entries by their name, rules by their id.
fn replaced(mut all: Vec<(String, Spot, Node)>, over: usize) -> Vec<(String, Spot, Node)> {
    let name = |(name, _, n): &(String, Spot, Node)| match n.get("id").map(|n| &n.value) {
        Some(Val::Str(id)) => id.clone(),
        _ => name.clone(),
    };
    let new: BTreeSet<String> = all.iter().filter(|e| e.1.file >= over).map(name).filter(|n| !n.is_empty()).collect();
    all.retain(|e| e.1.file >= over || !new.contains(&name(e)));
    all
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
        Ast::Test(..) | Ast::Text { .. } => {}
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
mod tests;
