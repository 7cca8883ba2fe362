//! Reads and checks `parser.toml`. Every complaint at once, each with its place.

use super::apply::{Body, Compute, Const, Conv, Mapping, Test, When};
use super::document::Document;
use super::pattern::{CLOCKS, Capture, Clock, Kind, Mistake, Pattern};
use super::{Decode, Format, Formats, Index, Keys, Line};
use crate::diag::{Diagnostic, Level};
use crate::event::{Field, Schema, Type};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The name that was probably meant, as help.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let best = known.map(|k| (distance(word, k), k)).min()?;
    (best.0 <= (word.len() / 3).max(1) && best.0 < best.1.len()).then(|| format!("did you mean `{}`?", best.1))
}

/// How many letters have to be changed, added, taken away or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(80).collect(), b.chars().take(80).collect());
    let mut d = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]) as usize;
                    let mut v = change.min(d[i - 1][j] + 1).min(d[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        v = v.min(d[i - 2][j - 2] + 1);
                    }
                    v
                }
            };
        }
    }
    d[a.len()][b.len()]
}

type Value<'a> = Spanned<DeValue<'a>>;

/// A member of a table: its key and the key's place, and its value.
type Member<'t, 'a> = (&'t str, Range<usize>, &'t Value<'a>);

/// The members of a table in the order in which they stand.
fn members<'t, 'a>(t: &'t DeTable<'a>) -> Vec<Member<'t, 'a>> {
    let mut all: Vec<_> = t.iter().map(|(k, v)| (k.get_ref().as_ref(), k.span(), v)).collect();
    all.sort_by_key(|m| m.1.start);
    all
}

/// Top-level keys of JSON: those that are there, those that are not, and what some of them hold.
type Shape = (Vec<String>, Vec<String>, Vec<(String, Test)>);

/// How a record of a format is told, as its file says it.
#[derive(Default)]
struct Recognise {
    programs: Vec<(String, Range<usize>)>,
    json: Vec<Shape>,
    lines: Vec<Pattern>,
    early: bool,
}

struct Loader<'a> {
    file: &'a str,
    text: &'a str,
    schema: &'a mut Schema,
    diags: &'a mut Vec<Diagnostic>,
    name: String,
    decode: Decode,
    vars: Vec<String>,
    /// Places where variables are asked for, to be checked when all captures are known.
    asked: Vec<(u16, Range<usize>)>,
    captured: Vec<bool>,
    written: Vec<Field>,
    indexed: Vec<Field>,
    own: Vec<String>,
}

/// Loads all files; see [`Formats::load`].
pub(super) fn load(files: &[(String, String)], schema: &mut Schema) -> (Formats, Vec<Diagnostic>) {
    let (mut diags, mut list, mut indexed) = (Vec::new(), Vec::new(), Vec::new());
    let mut tell: Vec<(String, Recognise)> = Vec::new();
    let mut names: HashMap<String, String> = HashMap::new();
    for (file, text) in files {
        let before = diags.len();
        let mut l = Loader {
            file,
            text,
            schema,
            diags: &mut diags,
            name: String::new(),
            decode: Decode::Json,
            vars: Vec::new(),
            asked: Vec::new(),
            captured: Vec::new(),
            written: Vec::new(),
            indexed: Vec::new(),
            own: Vec::new(),
        };
        let got = l.format();
        indexed.append(&mut l.indexed);
        if let Some((f, at, r)) = got {
            if let Some(other) = names.insert(f.name.clone(), file.clone()) {
                l.complain("P009", at, format!("the format `{}` is declared twice", f.name), format!("also in {other}"), None);
            }
            if diags[before..].iter().all(|d| d.level == Level::Warning) {
                list.push(f);
                tell.push((file.clone(), r));
            }
        }
    }
    let index = index(tell, &mut diags);
    indexed.sort();
    indexed.dedup();
    (Formats { list: Arc::new(list), index: Arc::new(index), indexed: Arc::new(indexed) }, diags)
}

/// The one look for all formats.
fn index(tell: Vec<(String, Recognise)>, diags: &mut Vec<Diagnostic>) -> Index {
    let mut x = Index::default();
    for (format, (file, r)) in tell.into_iter().enumerate() {
        let mut wrong = |code, span: Range<usize>, message: String| {
            diags.push(Diagnostic { code, level: Level::Error, message, file: file.clone(), span, label: String::new(), help: None })
        };
        for (p, span) in r.programs {
            if x.programs.insert(p.as_bytes().into(), format).is_some() {
                wrong("P009", span, format!("another format has claimed the program `{p}`"));
            }
        }
        for p in r.lines {
            if r.early { x.early.push((format, p)) } else { x.lines.push((format, p)) }
        }
        let mut bit = |k: &str| {
            let n = x.keys.len();
            let i = *x.keys.entry(k.as_bytes().into()).or_insert(n.min(127) as u8);
            if n > 127 {
                wrong("P012", 0..0, format!("more than 128 keys of JSON are asked for by all formats together: `{k}`"));
            }
            i
        };
        for (keys, without, values) in r.json {
            let mut k = Keys { format, need: 0, without: 0, values: Vec::new() };
            keys.iter().for_each(|n| k.need |= 1 << bit(n));
            without.iter().for_each(|n| k.without |= 1 << bit(n));
            for (n, test) in values {
                let i = bit(&n);
                k.need |= 1 << i;
                k.values.push((i, test));
            }
            x.json.push(k);
        }
    }
    x.lines.sort_by_key(|l| std::cmp::Reverse(l.1.exactness()));
    x.early.sort_by_key(|l| std::cmp::Reverse(l.1.exactness()));
    x.json.sort_by_key(|k| std::cmp::Reverse(k.need.count_ones() + k.without.count_ones() + k.values.len() as u32));
    x
}

const TOP: &[&str] =
    &["format", "about", "source", "received", "decode", "recognise", "own", "set", "fields", "when", "pattern", "unwrap", "empty", "document"];
const NATIVE: &[&str] = &["format", "about", "source", "received", "decode", "own"];

impl<'l> Loader<'l> {
    fn complain(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        let (message, label, file) = (message.into(), label.into(), self.file.to_owned());
        self.diags.push(Diagnostic { code, level: Level::Error, message, file, span, label, help });
    }

    fn unknown(&mut self, t: &DeTable<'_>, known: &[&str], of: &str) {
        for (k, span, _) in members(t) {
            if !known.contains(&k) {
                let help = nearest(k, known.iter().copied());
                self.complain("P002", span, format!("`{k}` is no key of {of}"), "not known", help);
            }
        }
    }

    fn mistyped(&mut self, v: &Value<'_>, want: &str) {
        self.complain("P004", v.span(), format!("{want} should stand here"), format!("this is a {}", v.get_ref().type_str()), None);
    }

    fn string<'v>(&mut self, v: &'v Value<'_>) -> Option<&'v str> {
        let s = v.get_ref().as_str();
        if s.is_none() {
            self.mistyped(v, "text");
        }
        s
    }

    fn table<'v, 'a>(&mut self, v: &'v Value<'a>) -> Option<&'v DeTable<'a>> {
        let t = v.get_ref().as_table();
        if t.is_none() {
            self.mistyped(v, "a table");
        }
        t
    }

    /// One or several.
    fn many<'v, 'a>(v: &'v Value<'a>) -> Vec<&'v Value<'a>> {
        match v.get_ref().as_array() {
            Some(a) => a.iter().collect(),
            None => vec![v],
        }
    }

    fn strings<'v>(&mut self, v: &'v Value<'_>) -> Vec<(&'v str, Range<usize>)> {
        Self::many(v).into_iter().filter_map(|x| self.string(x).map(|s| (s, x.span()))).collect()
    }

    fn word<T: Copy>(&mut self, v: &Value<'_>, known: &[(&str, T)], what: &str) -> Option<T> {
        let s = self.string(v)?;
        if let Some(x) = known.iter().find(|x| x.0 == s) {
            return Some(x.1);
        }
        let all = known.iter().map(|x| x.0).collect::<Vec<_>>().join(", ");
        let help = nearest(s, known.iter().map(|x| x.0)).or(Some(format!("one of {all}")));
        self.complain("P007", v.span(), format!("`{s}` is no {what}"), "not known", help);
        None
    }

    fn whole(&mut self, v: &Value<'_>) -> Option<i64> {
        let n = v.get_ref().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        if n.is_none() {
            self.mistyped(v, "a whole number");
        }
        n
    }

    /// A decimal number in millionths.
    fn millionths(&mut self, v: &Value<'_>) -> Option<i64> {
        let n = match v.get_ref() {
            DeValue::Integer(n) => n.as_str().parse::<f64>().ok(),
            DeValue::Float(n) => n.as_str().parse::<f64>().ok(),
            _ => None,
        };
        match n.filter(|n| n.abs() < 1e9) {
            Some(n) => Some((n * 1e6).round() as i64),
            None => {
                self.mistyped(v, "a number below 10⁹");
                None
            }
        }
    }

    fn var(&mut self, name: &str, span: Range<usize>) -> u16 {
        let i = self.vars.iter().position(|v| v == name).unwrap_or_else(|| {
            self.vars.push(name.to_owned());
            self.captured.push(false);
            self.vars.len() - 1
        });
        self.asked.push((i as u16, span));
        i as u16
    }

    /// The field of a name; one of the format's own must be declared.
    fn field(&mut self, name: &str, span: Range<usize>) -> Option<(Field, Type, bool)> {
        let prefix = name.split('.').next().unwrap_or_default();
        let own = prefix == self.name && !self.own.iter().any(|o| o == name);
        match self.schema.get(name).filter(|_| !own) {
            Some(f) => {
                self.written.push(f);
                Some((f, self.schema.ty(f), self.schema.many(f)))
            }
            None if prefix == self.name => {
                let help = nearest(name, self.own.iter().map(String::as_str)).or(Some(format!("declare it: `[own]` `\"{name}\" = \"str\"`")));
                self.complain("P005", span, format!("the field `{name}` is not declared"), "not in `own`", help);
                None
            }
            None => {
                let help = nearest(name, crate::event::field::TABLE.iter().map(|d| d.name))
                    .or(Some(format!("a field of the format's own begins with `{}.` and stands in `own`", self.name)));
                self.complain("P005", span, format!("the field `{name}` is not known"), "no field", help);
                None
            }
        }
    }

    /// A field that is part of a group.
    fn part(&mut self, name: String, span: &Range<usize>) -> Field {
        match self.schema.get(&name) {
            Some(f) => {
                self.written.push(f);
                f
            }
            None => {
                self.complain("P005", span.clone(), format!("the field `{name}` is not known"), "no field", None);
                crate::event::field::MESSAGE
            }
        }
    }

    fn format(&mut self) -> Option<(Format, Range<usize>, Recognise)> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for e in errors {
            self.complain("P001", e.span().unwrap_or(0..0), e.message(), "", None);
        }
        let t = table.get_ref();
        let end = self.text.len()..self.text.len();
        let mut at = 0..0;
        for key in ["format", "decode", "about", "source", "received"] {
            if t.get(key).is_none() {
                self.complain("P003", end.clone(), format!("`{key}` is missing"), "", None);
            }
        }
        if let Some(v) = t.get("format") {
            at = v.span();
            self.name = self.string(v)?.to_owned();
            let ok = !self.name.is_empty() && self.name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_');
            if !ok || ["syslog", "ecs"].contains(&self.name.as_str()) {
                self.complain(
                    "P010",
                    at.clone(),
                    format!("`{}` cannot be the name of a format", self.name),
                    "",
                    Some("letters a-z, digits, `-` and `_`; not syslog, not ecs".into()),
                );
            }
            let mut way = self.file.rsplit(['/', '\\']);
            if way.next() == Some("parser.toml")
                && let Some(folder) = way.next()
                && folder != self.name
            {
                self.complain(
                    "P010",
                    at.clone(),
                    format!("the format `{}` is in the folder `{folder}`", self.name),
                    "",
                    Some("both have the same name".into()),
                );
            }
        }
        for key in ["about", "source"] {
            if let Some(v) = t.get(key) {
                self.string(v);
            }
        }
        if let Some(v) = t.get("received")
            && !v.get_ref().is_datetime()
        {
            self.mistyped(v, "a date and time");
        }
        if let Some(v) = t.get("own") {
            self.owned(v);
        }
        let decodes = [("native", None), ("json", Some(Decode::Json)), ("keyvalue", Some(Decode::Keyvalue)), ("pattern", Some(Decode::Pattern))];
        let Some(decode) = self.word(t.get("decode")?, &decodes, "way to read a record")? else {
            self.unknown(t, NATIVE, "the file of a native format");
            return None;
        };
        self.decode = decode;
        self.unknown(t, TOP, "a format's file");
        let mut f = Format {
            name: self.name.clone(),
            decode,
            vars: Vec::new(),
            always: Body::default(),
            fields: Body::default(),
            whens: Vec::new(),
            lines: Vec::new(),
            unwrap: Vec::new(),
            empty: Vec::new(),
            document: None,
            fields_written: Vec::new(),
        };
        f.always.set = vec![(self.part("event.module".into(), &at), false, Const::Str(self.name.as_bytes().into()))];
        if let Some(v) = t.get("set") {
            self.sets(v, &mut f.always);
        }
        if let Some(v) = t.get("empty") {
            f.empty = self.strings(v).into_iter().map(|s| s.0.as_bytes().into()).collect();
        }
        if let Some(v) = t.get("unwrap") {
            for (s, span) in self.strings(v) {
                let mut within = None;
                if let Some((pattern, vars, fields)) = self.pattern(s, span.clone(), &mut within) {
                    match within {
                        Some(i) => f.unwrap.push((pattern, vars, i, Body { set: Vec::new(), fields })),
                        None => self.complain("P006", span, "what is inside is not captured", "", Some("`{:inner}` captures it".into())),
                    }
                }
            }
        }
        if let Some(v) = t.get("pattern") {
            for v in Self::many(v) {
                self.line(v, &mut f);
            }
        }
        if (decode == Decode::Pattern) != t.contains_key("pattern") {
            self.complain("P003", at.clone(), "`[[pattern]]` and `decode = \"pattern\"` belong together", "", None);
        }
        if let Some(v) = t.get("fields") {
            self.fields(v, &mut f.fields);
        }
        if let Some(v) = t.get("when") {
            for v in Self::many(v) {
                self.when(v, &mut f.whens);
            }
        }
        if let Some(v) = t.get("document") {
            f.document = self.document(v);
        }
        let mut r = Recognise::default();
        if let Some(v) = t.get("recognise") {
            self.recognise(v, &mut r);
        }
        if decode == Decode::Pattern {
            for (v, span) in std::mem::take(&mut self.asked) {
                if !self.captured[v as usize] {
                    let name = self.vars[v as usize].clone();
                    let known: Vec<&str> = self.vars.iter().zip(&self.captured).filter(|x| *x.1).map(|x| x.0.as_str()).collect();
                    let help = nearest(&name, known.into_iter());
                    self.complain("P011", span, format!("no pattern captures `{name}`"), "never there", help);
                }
            }
        }
        f.vars = std::mem::take(&mut self.vars);
        self.written.sort();
        self.written.dedup();
        f.fields_written = std::mem::take(&mut self.written);
        Some((f, at, r))
    }

    /// The dotted names of a table's leaves; keys may be nested or dotted.
    fn leaves<'t, 'a>(t: &'t DeTable<'a>, before: &str, leaf: &dyn Fn(&DeTable<'a>) -> bool, out: &mut Vec<(String, Range<usize>, &'t Value<'a>)>) {
        for (k, span, v) in members(t) {
            let name = if before.is_empty() { k.to_owned() } else { format!("{before}.{k}") };
            match v.get_ref().as_table() {
                Some(inner) if !leaf(inner) => Self::leaves(inner, &name, leaf, out),
                _ => out.push((name, span, v)),
            }
        }
    }

    fn owned(&mut self, v: &Value<'_>) {
        const TYPES: &[(&str, Type)] =
            &[("str", Type::Str), ("int", Type::Int), ("float", Type::Float), ("bool", Type::Bool), ("ip", Type::Ip), ("time", Type::Time)];
        let Some(t) = self.table(v) else { return };
        let mut all = Vec::new();
        Self::leaves(t, "", &|t| t.get("type").is_some_and(|v| v.get_ref().is_str()), &mut all);
        for (name, span, v) in all {
            if !name.starts_with(&format!("{}.", self.name)) {
                let help = Some(format!("it begins with `{}.`", self.name));
                self.complain("P005", span.clone(), format!("`{name}` is no field of the format's own"), "", help);
                continue;
            }
            let (mut ty, mut many, mut index) = (Some(Type::Str), false, false);
            match v.get_ref().as_table() {
                Some(t) => {
                    self.unknown(t, &["type", "many", "index"], "a field's declaration");
                    if let Some(v) = t.get("type") {
                        ty = self.word(v, TYPES, "type");
                    }
                    for (key, to) in [("many", &mut many), ("index", &mut index)] {
                        if let Some(v) = t.get(key) {
                            match v.get_ref().as_bool() {
                                Some(b) => *to = b,
                                None => self.mistyped(v, "true or false"),
                            }
                        }
                    }
                }
                None => ty = self.word(v, TYPES, "type"),
            }
            let Some(ty) = ty else { continue };
            match self.schema.intern(&name, ty, many) {
                Some(f) => {
                    if index {
                        self.indexed.push(f);
                    }
                    self.own.push(name);
                }
                None => self.complain("P012", span, format!("no room for `{name}`: at most {} fields", Schema::MAX), "", None),
            }
        }
    }

    /// A constant that fits a field's type.
    fn constant(&mut self, v: &Value<'_>, ty: Type, many: bool) -> Option<Const> {
        let c = match v.get_ref() {
            DeValue::String(s) if matches!(ty, Type::Str | Type::Any) => Const::Str(s.as_bytes().into()),
            DeValue::Integer(_) if matches!(ty, Type::Int | Type::Any) => Const::Int(self.whole(v)?),
            DeValue::Float(n) if ty == Type::Float => Const::Float(n.as_str().parse().ok()?),
            DeValue::Boolean(b) if matches!(ty, Type::Bool | Type::Any) => Const::Bool(*b),
            DeValue::Array(_) if many && ty == Type::Str => Const::List(self.strings(v).into_iter().map(|s| s.0.as_bytes().into()).collect()),
            _ => {
                let want = match ty {
                    Type::Str if many => "a list of texts",
                    Type::Str => "text",
                    Type::Int => "a whole number",
                    Type::Float => "a number with a point",
                    Type::Bool => "true or false",
                    _ => "a value that the field can hold",
                };
                self.complain("P008", v.span(), format!("{want} should stand here"), format!("this is a {}", v.get_ref().type_str()), None);
                return None;
            }
        };
        Some(c)
    }

    fn sets(&mut self, v: &Value<'_>, body: &mut Body) {
        let Some(t) = self.table(v) else { return };
        let mut all = Vec::new();
        Self::leaves(t, "", &|_| false, &mut all);
        for (name, span, v) in all {
            if let Some((f, ty, many)) = self.field(&name, span)
                && let Some(c) = self.constant(v, ty, many)
            {
                body.set.push((f, many, c));
            }
        }
    }

    fn fields(&mut self, v: &Value<'_>, body: &mut Body) {
        let Some(t) = self.table(v) else { return };
        let mut all = Vec::new();
        Self::leaves(t, "", &|t| t.contains_key("from") || t.contains_key("compute"), &mut all);
        for (name, span, v) in all {
            if let Some(m) = self.mapping(&name, span, v) {
                body.fields.push(m);
            }
        }
    }

    fn mapping(&mut self, name: &str, span: Range<usize>, v: &Value<'_>) -> Option<Mapping> {
        let empty = DeTable::new();
        let (t, from) = match v.get_ref() {
            DeValue::Table(t) => (t, t.get("from")),
            _ => (&empty, Some(v)),
        };
        self.unknown(t, &["from", "time", "map", "otherwise", "scale", "as", "after", "before", "forwarded", "compute"], "a mapping");
        let from: Vec<u16> = match from {
            Some(v) => self.strings(v).into_iter().map(|(s, span)| self.var(s, span)).collect(),
            None => Vec::new(),
        };
        let kinds = [("peer", 0), ("request", 1), ("url", 2), ("image", 3), ("kebab", 4), ("lower", 5), ("port", 6)];
        let mut m = Mapping {
            from,
            field: crate::event::field::MESSAGE,
            ty: Type::Str,
            many: false,
            conv: Conv::Plain,
            map: Vec::new(),
            otherwise: None,
            forwarded: None,
            compute: None,
        };
        let kind = match t.get("as") {
            Some(v) => Some(self.word(v, &kinds, "way to read a value")?),
            None => None,
        };
        if let Some(conv) = kind.and_then(|k| self.group(k, name, &span)) {
            m.conv = conv;
            return Some(m);
        }
        (m.field, m.ty, m.many) = self.field(name, span.clone())?;
        match kind {
            Some(4) => m.conv = Conv::Kebab,
            Some(5) => m.conv = Conv::Lower,
            Some(6) => m.conv = Conv::Port,
            _ => {}
        }
        if m.ty == Type::Time {
            m.conv = Conv::Time(Clock::Any);
        }
        if let Some(v) = t.get("time") {
            m.conv = Conv::Time(self.word(v, CLOCKS, "way to write a time")?);
            if m.ty != Type::Time {
                self.complain("P008", v.span(), format!("`{name}` holds no time"), "", None);
            }
        }
        if let Some(v) = t.get("scale") {
            match v.get_ref().as_array().map(|a| a.iter().collect::<Vec<_>>()).as_deref() {
                Some([a, b]) => m.conv = Conv::Scale(self.whole(a)?, self.whole(b)?),
                _ => self.mistyped(v, "two whole numbers, a factor and a divisor"),
            }
        }
        for (key, conv) in [("after", Conv::After as fn(u8) -> Conv), ("before", Conv::Before)] {
            if let Some(v) = t.get(key) {
                match self.string(v)?.as_bytes() {
                    [c] => m.conv = conv(*c),
                    _ => self.mistyped(v, "one ASCII character"),
                }
            }
        }
        if let Some(v) = t.get("map")
            && let Some(t) = self.table(v)
        {
            for (k, _, v) in members(t) {
                if let Some(c) = self.constant(v, m.ty, m.many) {
                    m.map.push((k.as_bytes().into(), c));
                }
            }
        }
        if let Some(v) = t.get("otherwise") {
            m.otherwise = self.constant(v, m.ty, m.many);
        }
        if let Some(v) = t.get("forwarded") {
            let s = self.string(v)?;
            m.forwarded = Some(self.var(s, v.span()));
            if m.ty != Type::Ip {
                self.complain("P008", v.span(), format!("`{name}` holds no address"), "", None);
            }
        }
        if let Some(v) = t.get("compute") {
            m.compute = self.compute(v);
            if m.ty != Type::Float {
                self.complain("P008", v.span(), format!("`{name}` holds no number with a point"), "", None);
            }
        }
        Some(m)
    }

    /// A conversion that writes several fields.
    fn group(&mut self, kind: u8, name: &str, span: &Range<usize>) -> Option<Conv> {
        let (conv, parts): (Conv, &[&str]) = match kind {
            0 => {
                let part = |s: &str| format!("{name}.{s}");
                let (ip, port, address) = (part("ip"), part("port"), part("address"));
                return Some(Conv::Peer { ip: self.part(ip, span), port: self.part(port, span), address: self.part(address, span) });
            }
            1 => (
                Conv::Request,
                &["http.request.method", "http.version", "url.original", "url.path", "url.query", "url.domain", "url.scheme", "url.port"],
            ),
            2 => (Conv::Url, &["url.original", "url.path", "url.query", "url.domain", "url.scheme", "url.port"]),
            3 => (Conv::Image, &["container.image.name", "container.image.tag", "container.image.hash.all"]),
            _ => return None,
        };
        for p in parts {
            self.part((*p).into(), span);
        }
        Some(conv)
    }

    fn compute(&mut self, v: &Value<'_>) -> Option<Compute> {
        let t = self.table(v)?;
        self.unknown(t, &["base", "weights", "least", "most"], "`compute`");
        let mut c = Compute { base: 0, weights: Vec::new(), least: i64::MIN, most: i64::MAX };
        for (key, to) in [("base", &mut c.base), ("least", &mut c.least), ("most", &mut c.most)] {
            if let Some(v) = t.get(key)
                && let Some(n) = self.millionths(v)
            {
                *to = n;
            }
        }
        if let Some(w) = t.get("weights")
            && let Some(t) = self.table(w)
        {
            for (k, span, v) in members(t) {
                if let Some(n) = self.millionths(v) {
                    let var = self.var(k, span);
                    c.weights.push((var, n));
                }
            }
        }
        (c.least <= c.most).then_some(c)
    }

    fn tests(&mut self, v: &Value<'_>) -> Vec<(String, Range<usize>, Test)> {
        let Some(t) = self.table(v) else { return Vec::new() };
        let mut all = Vec::new();
        for (k, span, v) in members(t) {
            let mut any = Vec::new();
            let mut test = None;
            for x in Self::many(v) {
                match x.get_ref() {
                    DeValue::String(s) if s == "?" => test = Some(Test::Present),
                    DeValue::String(s) if s == "!" => test = Some(Test::Absent),
                    DeValue::String(s) => match s.strip_suffix('*') {
                        Some(s) => any.push((s.as_bytes().into(), true)),
                        None => any.push((s.as_bytes().into(), false)),
                    },
                    DeValue::Boolean(b) => any.push((b.to_string().as_bytes().into(), false)),
                    DeValue::Integer(n) => any.push((n.as_str().as_bytes().into(), false)),
                    _ => self.mistyped(x, "a text, a whole number, true or false"),
                }
            }
            all.push((k.to_owned(), span, test.unwrap_or(Test::Any(any))));
        }
        all
    }

    fn when(&mut self, v: &Value<'_>, whens: &mut Vec<When>) {
        let Some(t) = self.table(v) else { return };
        self.unknown(t, &["if", "set", "fields"], "`when`");
        let mut w = When { tests: Vec::new(), body: Body::default() };
        match t.get("if") {
            Some(v) => {
                for (name, span, test) in self.tests(v) {
                    let var = self.var(&name, span);
                    w.tests.push((var, test));
                }
            }
            None => self.complain("P003", v.span(), "`if` is missing", "", None),
        }
        if let Some(v) = t.get("set") {
            self.sets(v, &mut w.body);
        }
        if let Some(v) = t.get("fields") {
            self.fields(v, &mut w.body);
        }
        whens.push(w);
    }

    fn line(&mut self, v: &Value<'_>, f: &mut Format) {
        let Some(t) = self.table(v) else { return };
        self.unknown(t, &["line", "set", "fields"], "`pattern`");
        let Some(l) = t.get("line") else {
            return self.complain("P003", v.span(), "`line` is missing", "", None);
        };
        let mut body = Body::default();
        if let Some(v) = t.get("set") {
            self.sets(v, &mut body);
        }
        for (s, span) in self.strings(l) {
            let Some((pattern, vars, mut fields)) = self.pattern(s, span, &mut None) else { continue };
            let mut body = body.clone();
            body.fields.append(&mut fields);
            if let Some(v) = t.get("fields") {
                self.fields(v, &mut body);
            }
            f.lines.push(Line { pattern, vars, body });
        }
    }

    /// Compiles a pattern: it, its variables, and the mappings that its captures mean.
    fn pattern(&mut self, s: &str, span: Range<usize>, within: &mut Option<u16>) -> Option<(Pattern, Vec<u16>, Vec<Mapping>)> {
        let (mut vars, mut maps) = (Vec::new(), Vec::new());
        let base = self.base(&span);
        let before = self.diags.len();
        let got = Pattern::compile(s, &mut |c| self.capture(c, base, &span, &mut vars, &mut maps, within));
        match got {
            Ok(p) => (self.diags.len() == before).then_some((p, vars, maps)),
            Err(Mistake { message, at, help }) => {
                let at = base.map_or(span.clone(), |b| b + at.start..b + at.end);
                self.complain("P006", at, message, "", help);
                None
            }
        }
    }

    /// Where the text of a literal string begins; `None` where escapes may have moved it.
    fn base(&self, span: &Range<usize>) -> Option<usize> {
        let t = self.text.get(span.clone())?;
        (t.starts_with('\'') && !t.starts_with("'''")).then_some(span.start + 1)
    }

    fn capture(
        &mut self,
        c: &Capture,
        base: Option<usize>,
        span: &Range<usize>,
        vars: &mut Vec<u16>,
        maps: &mut Vec<Mapping>,
        within: &mut Option<u16>,
    ) -> Result<(Option<u16>, Kind), Mistake> {
        let at = base.map_or(span.clone(), |b| b + c.at.start..b + c.at.end);
        let named = !c.name.is_empty() && !c.name.starts_with('_');
        let group =
            matches!(c.kind, Some(Kind::Peer | Kind::Ip | Kind::Request | Kind::Line | Kind::Url)) && named && self.schema.get(&c.name).is_none();
        let known = if named && !group { self.field(&c.name, at.clone()) } else { None };
        let kind = match (c.kind, known) {
            (Some(kind), _) => kind,
            (None, Some((_, Type::Ip, _))) => Kind::Ip,
            (None, Some((_, Type::Int, _))) => Kind::Int,
            (None, Some((_, Type::Float, _))) => Kind::Float,
            (None, Some((_, Type::Time, _))) => {
                let help = Some(format!("say how it is written: `{{{}:iso}}`", c.name));
                return Err(Mistake { message: "a time is written in many ways".into(), at: c.at.clone(), help });
            }
            _ => Kind::Word,
        };
        if kind == Kind::Inner {
            let var = self.var("_inner", at);
            self.captured[var as usize] = true;
            *within = Some(var);
            vars.push(var);
            return Ok((Some(var), kind));
        }
        if c.name.is_empty() {
            return Ok((None, kind));
        }
        let var = self.var(&c.name, at.clone());
        self.captured[var as usize] = true;
        vars.push(var);
        if named {
            let mut m = Mapping {
                from: vec![var],
                field: crate::event::field::MESSAGE,
                ty: Type::Str,
                many: false,
                conv: Conv::Plain,
                map: Vec::new(),
                otherwise: None,
                forwarded: None,
                compute: None,
            };
            if group {
                let g = match kind {
                    Kind::Peer | Kind::Ip => 0,
                    Kind::Url => 2,
                    _ => 1,
                };
                if let Some(conv) = self.group(g, &c.name, &at) {
                    m.conv = conv;
                    maps.push(m);
                }
            } else if let Some((field, ty, many)) = known {
                (m.field, m.ty, m.many) = (field, ty, many);
                m.conv = match kind {
                    Kind::Time(c) => Conv::Time(c),
                    Kind::Port => Conv::Port,
                    _ => Conv::Plain,
                };
                if matches!(kind, Kind::Time(_)) != (ty == Type::Time) {
                    self.complain("P008", at, format!("`{}` cannot hold what is captured", c.name), "", None);
                }
                maps.push(m);
            }
        }
        Ok((Some(var), kind))
    }

    fn recognise(&mut self, v: &Value<'_>, r: &mut Recognise) {
        let Some(t) = self.table(v) else { return };
        self.unknown(t, &["program", "json", "line", "before_program"], "`recognise`");
        if let Some(v) = t.get("program") {
            r.programs = self.strings(v).into_iter().map(|(s, at)| (s.to_owned(), at)).collect();
        }
        if let Some(v) = t.get("before_program") {
            match v.get_ref().as_bool() {
                Some(b) => r.early = b,
                None => self.mistyped(v, "true or false"),
            }
        }
        if let Some(v) = t.get("line") {
            for (s, span) in self.strings(v) {
                match Pattern::compile(s, &mut |c| Ok((None, c.kind.unwrap_or(Kind::Word)))) {
                    Ok(p) => r.lines.push(p),
                    Err(e) => {
                        let at = self.base(&span).map_or(span, |b| b + e.at.start..b + e.at.end);
                        self.complain("P006", at, e.message, "", e.help);
                    }
                }
            }
        }
        if let Some(v) = t.get("json") {
            for v in Self::many(v) {
                let Some(t) = self.table(v) else { continue };
                self.unknown(t, &["keys", "without", "values"], "`recognise.json`");
                let mut list = |k: &str| t.get(k).map_or(Vec::new(), |v| self.strings(v).into_iter().map(|s| s.0.to_owned()).collect());
                let (keys, without): (Vec<String>, Vec<String>) = (list("keys"), list("without"));
                let values: Vec<(String, Test)> = t.get("values").map_or(Vec::new(), |v| self.tests(v).into_iter().map(|x| (x.0, x.2)).collect());
                if keys.is_empty() && values.is_empty() {
                    self.complain("P003", v.span(), "`keys` or `values` is missing", "any JSON would be taken for this format", None);
                }
                r.json.push((keys, without, values));
            }
        }
    }

    fn document(&mut self, v: &Value<'_>) -> Option<Document> {
        let t = self.table(v)?;
        self.unknown(t, &["each", "inherit", "by", "summary"], "`document`");
        let mut d = Document { summary: true, ..Document::default() };
        let each = t.get("each").and_then(|v| self.string(v)).unwrap_or_default().to_owned();
        if each.is_empty() {
            self.complain("P003", v.span(), "`each` is missing", "", None);
            return None;
        }
        let mut way = Vec::new();
        for key in each.split('.') {
            way.push(key.to_owned());
            let plain = key.strip_suffix("[]");
            d.each.push((plain.unwrap_or(key).as_bytes().to_vec(), plain.is_some()));
        }
        if let Some(v) = t.get("inherit") {
            for (s, span) in self.strings(v) {
                let keys: Vec<&str> = s.split('.').collect();
                let steps = keys.iter().zip(&way).take_while(|(a, b)| *a == b).count().min(d.each.len() - 1);
                let rest = &keys[steps.min(keys.len() - 1)..];
                if rest.iter().any(|k| k.ends_with("[]")) {
                    self.complain("P006", span, format!("`{s}` does not lie on the way to `{each}`"), "", None);
                    continue;
                }
                let name = rest.join(".");
                d.inherit.push((steps, rest.iter().map(|k| k.as_bytes().to_vec()).collect(), name));
            }
        }
        if let Some(v) = t.get("by") {
            d.by = Some(self.string(v)?.as_bytes().to_vec());
        }
        if let Some(v) = t.get("summary") {
            match v.get_ref().as_bool() {
                Some(b) => d.summary = b,
                None => self.mistyped(v, "true or false"),
            }
        }
        Some(d)
    }
}
