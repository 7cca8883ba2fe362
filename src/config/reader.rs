//! Reads tables of TOML piece by piece. What is wrong becomes a complaint, and reading goes on.

use super::units::bytes;
use super::{Set, near};
use crate::diag::{Diagnostic, Level};
use crate::event::Span;
use jiff::tz::TimeZone;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) type Table<'i> = DeTable<'i>;
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) struct Reader {
    /// What is wrong, with spans in the space of all files and no file's name yet.
    pub(super) found: Vec<Diagnostic>,
}

impl Reader {
    pub(super) fn say(&mut self, code: &'static str, span: Range<usize>, message: String, label: &str, help: Option<String>) {
        self.found.push(Diagnostic { code, level: Level::Error, message, file: String::new(), span, label: label.to_owned(), help });
    }

    /// Complains of every key that is not one of these.
    pub(super) fn keys(&mut self, table: &Table<'_>, place: &str, known: &[&'static str]) {
        for (k, _) in table.iter() {
            let name: &str = k.get_ref();
            if !known.contains(&name) {
                let help = match near(name, known.iter().copied()) {
                    Some(n) => format!("did you mean `{n}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                self.say("V002", k.span(), format!("{place} has no key `{name}`"), "not known here", Some(help));
            }
        }
    }

    pub(super) fn wrong(&mut self, v: &Value<'_>, key: &str, wanted: &str) {
        let is = v.get_ref().type_str();
        self.say("V003", v.span(), format!("`{key}` must be {wanted}"), &format!("this is of type {is}"), None);
    }

    pub(super) fn str<'a>(&mut self, t: &'a Table<'_>, key: &str) -> Option<Set<&'a str>> {
        let v = t.get(key)?;
        match v.get_ref().as_str() {
            Some(s) => Some(Set { value: s, span: v.span() }),
            None => {
                self.wrong(v, key, "a string");
                None
            }
        }
    }

    pub(super) fn bool(&mut self, t: &Table<'_>, key: &str) -> Option<bool> {
        let v = t.get(key)?;
        let b = v.get_ref().as_bool();
        if b.is_none() {
            self.wrong(v, key, "true or false");
        }
        b
    }

    /// The strings of an array; one string is an array of one.
    pub(super) fn list<'a>(&mut self, t: &'a Table<'_>, key: &str) -> Option<Vec<Set<&'a str>>> {
        let v = t.get(key)?;
        if let Some(s) = v.get_ref().as_str() {
            return Some(vec![Set { value: s, span: v.span() }]);
        }
        let Some(array) = v.get_ref().as_array() else {
            self.wrong(v, key, "an array of strings");
            return None;
        };
        let mut all = Vec::new();
        for e in array.iter() {
            match e.get_ref().as_str() {
                Some(s) => all.push(Set { value: s, span: e.span() }),
                None => self.wrong(e, key, "an array of strings"),
            }
        }
        Some(all)
    }

    /// A string that something reads, or the complaint that it cannot.
    pub(super) fn read<T>(&mut self, s: Set<&str>, key: &str, wanted: &str, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        let v = f(s.value);
        if v.is_none() {
            self.say("V005", s.span, format!("`{key}` must be {wanted}"), &format!("cannot be read as {wanted}"), None);
        }
        v
    }

    pub(super) fn read_at<T>(&mut self, t: &Table<'_>, key: &str, wanted: &str, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.str(t, key).and_then(|s| self.read(s, key, wanted, f))
    }

    pub(super) fn read_list<T>(&mut self, t: &Table<'_>, key: &str, wanted: &str, f: impl Fn(&str) -> Option<T>) -> Vec<T> {
        self.list(t, key).unwrap_or_default().into_iter().filter_map(|s| self.read(s, key, wanted, &f)).collect()
    }

    /// A count or a number of bytes, within bounds.
    pub(super) fn size(&mut self, t: &Table<'_>, key: &str, within: Range<usize>, to: &mut usize) {
        let Some(v) = t.get(key) else { return };
        let n = match v.get_ref() {
            DeValue::Integer(i) => usize::from_str_radix(i.as_str(), i.radix()).ok(),
            DeValue::String(s) => bytes(s),
            _ => return self.wrong(v, key, "a number, or a string like \"64MiB\""),
        };
        match n {
            Some(n) if within.contains(&n) => *to = n,
            _ => {
                let message = format!("`{key}` must be a number or a size like \"64MiB\", from {} to {}", within.start, within.end - 1);
                self.say("V005", v.span(), message, "not within these bounds", None)
            }
        }
    }

    pub(super) fn time(&mut self, t: &Table<'_>, key: &str, to: &mut Duration) {
        if let Some(s) = self.read_at(t, key, "a span of time like \"30s\"", |s| Span::parse(s).filter(|s| s.0 > 0)) {
            *to = Duration::from_nanos(s.0 as u64);
        }
    }

    pub(super) fn table<'a, 'i>(&mut self, t: &'a Table<'i>, key: &str) -> Option<&'a Table<'i>> {
        let v = t.get(key)?;
        let inner = v.get_ref().as_table();
        if inner.is_none() {
            self.wrong(v, key, &format!("a table, `[{key}]`"));
        }
        inner
    }

    /// The tables of `[[key]]`, with where they stand.
    pub(super) fn tables<'a, 'i>(&mut self, t: &'a Table<'i>, key: &str) -> Vec<Set<&'a Table<'i>>> {
        let Some(v) = t.get(key) else { return Vec::new() };
        let mut all = Vec::new();
        match v.get_ref().as_array() {
            Some(array) => {
                for e in array.iter() {
                    match e.get_ref().as_table() {
                        Some(t) => all.push(Set { value: t, span: e.span() }),
                        None => self.wrong(e, key, &format!("tables, `[[{key}]]`")),
                    }
                }
            }
            None => self.wrong(v, key, &format!("tables, `[[{key}]]`")),
        }
        all
    }

    pub(super) fn zone(&mut self, t: &Table<'_>) -> Option<TimeZone> {
        self.read_at(t, "zone", "a time zone like \"Europe/Berlin\" or \"UTC\"", |s| {
            let offset = crate::event::time::offset(s.as_bytes()).filter(|&(_, n)| n == s.len() && s.len() > 1);
            match offset {
                Some((east, _)) => jiff::tz::Offset::from_seconds(east as i32).ok().map(TimeZone::fixed),
                None => TimeZone::get(s).ok(),
            }
        })
    }
}
