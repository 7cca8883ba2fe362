//! The files of a configuration: the main one and its drop-ins, put together key by key with every value's place kept.
//!
//! All files stand one behind the other in one space of spans, so that a byte range says which file it is in. A later file's
//! scalars take the place of earlier ones, tables are put together key by key, and `[[source]]` and `[[host]]` are added. A
//! source of the name of one in an earlier file takes its place.

use super::{Table, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The names of files, and where each begins in the space of spans.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<File>);

#[derive(Clone, Debug)]
struct File {
    name: String,
    begin: usize,
    /// Where its lines begin, from its own beginning.
    lines: Vec<usize>,
}

/// A setting that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where its value stands, in the space of all files.
    pub span: Range<usize>,
    /// Its value as it is written.
    pub text: String,
}

impl Files {
    /// Of names and texts.
    pub fn of(files: &[(String, String)]) -> Files {
        let mut begin = 0;
        let one = |(name, text): &(String, String)| {
            let lines = std::iter::once(0).chain(text.bytes().enumerate().filter(|b| b.1 == b'\n').map(|b| b.0 + 1)).collect();
            let file = File { name: name.clone(), begin, lines };
            // An end that is the next file's beginning would be in both.
            begin += text.len() + 1;
            file
        };
        Files(files.iter().map(one).collect())
    }

    /// The file in which a range begins, and the range within it.
    pub fn place(&self, span: &Range<usize>) -> (&str, Range<usize>) {
        match self.file(span.start) {
            Some(f) => (&f.name, span.start - f.begin..span.end.saturating_sub(f.begin)),
            None => ("", span.clone()),
        }
    }

    /// The file in which a range begins, and its line, from 1.
    pub fn line(&self, span: &Range<usize>) -> Option<(&str, usize)> {
        let f = self.file(span.start)?;
        Some((&f.name, f.lines.partition_point(|l| *l <= span.start - f.begin)))
    }

    fn file(&self, at: usize) -> Option<&File> {
        self.0.get(self.0.partition_point(|f| f.begin <= at).checked_sub(1)?)
    }

    fn begin(&self, nth: usize) -> usize {
        self.0.get(nth).map_or(0, |f| f.begin)
    }
}

/// Reads every file for itself, with its spans in the space of all: tables, and what is no TOML.
pub(super) fn parse<'i>(texts: &'i [(String, String)], files: &Files) -> (Vec<DeTable<'i>>, Vec<(Range<usize>, String)>) {
    let mut wrong = Vec::new();
    let one = |(nth, (_, text)): (usize, &'i (String, String))| {
        let (root, errors) = DeTable::parse_recoverable(text);
        let by = files.begin(nth);
        let message = |e: toml::de::Error| {
            let span = e.span().unwrap_or(0..0);
            (span.start + by..span.end + by, e.message().to_owned())
        };
        wrong.extend(errors.into_iter().map(message));
        table(root.into_inner(), by)
    };
    (texts.iter().enumerate().map(one).collect(), wrong)
}

fn table(t: DeTable<'_>, by: usize) -> DeTable<'_> {
    t.into_iter().map(|(k, v)| (Spanned::new(k.span().start + by..k.span().end + by, k.into_inner()), value(v, by))).collect()
}

fn value(v: Value<'_>, by: usize) -> Value<'_> {
    let span = v.span().start + by..v.span().end + by;
    let inner = match v.into_inner() {
        DeValue::Table(t) => DeValue::Table(table(t, by)),
        DeValue::Array(a) => DeValue::Array(a.into_iter().map(|v| value(v, by)).collect()),
        other => other,
    };
    Spanned::new(span, inner)
}

/// Puts tables together, the later over the earlier.
pub(super) fn merge(tables: Vec<DeTable<'_>>) -> DeTable<'_> {
    let mut all = DeTable::new();
    for t in tables {
        over(&mut all, t, true);
    }
    all
}

fn over<'i>(earlier: &mut DeTable<'i>, later: DeTable<'i>, root: bool) {
    for (k, mut v) in later {
        let name: &str = k.get_ref();
        let added = root && matches!(name, "source" | "host");
        let names_sources = name == "source";
        match (earlier.get_mut(name).map(Spanned::get_mut), v.get_mut()) {
            (Some(DeValue::Table(old)), DeValue::Table(new)) => over(old, std::mem::take(new), false),
            (Some(DeValue::Array(old)), DeValue::Array(new)) if added => {
                let new = std::mem::replace(new, DeArray::new());
                let again = |old: &Value<'_>| names_sources && source_name(old).is_some_and(|n| new.iter().any(|s| source_name(s) == Some(n)));
                let kept = std::mem::replace(old, DeArray::new()).into_iter().filter(|s| !again(s)).collect::<Vec<_>>();
                *old = kept.into_iter().chain(new.clone()).collect::<DeArray<'_>>();
            }
            _ => {
                // The key's own place is the later one, too.
                earlier.remove(name);
                earlier.insert(k, v);
            }
        }
    }
}

/// What a `[[source]]` goes by: its name, else its kind; a hook its format.
fn source_name<'a>(s: &'a Value<'_>) -> Option<&'a str> {
    let t = s.get_ref().as_table()?;
    let text = |key: &str| t.get(key).and_then(|v| v.get_ref().as_str());
    text("name").or_else(|| text("format").filter(|_| text("kind") == Some("hook"))).or_else(|| text("kind"))
}

/// Every value of a table by its path, as `limits.idle` or `source.0.tls.key`, with those of tables themselves.
pub(super) fn given(root: &Table<'_>, files: &Files, texts: &[(String, String)]) -> BTreeMap<String, Given> {
    let mut all = BTreeMap::new();
    walk(root, "", &mut |path, span| {
        let (name, local) = files.place(&span);
        let text = texts.iter().find(|t| t.0 == name).and_then(|t| t.1.get(local)).unwrap_or_default();
        all.insert(path, Given { span, text: text.to_owned() });
    });
    all
}

fn walk(t: &Table<'_>, before: &str, found: &mut dyn FnMut(String, Range<usize>)) {
    for (k, v) in t.iter() {
        let path = format!("{before}{}", k.get_ref());
        match v.get_ref() {
            DeValue::Table(t) => walk(t, &format!("{path}."), found),
            DeValue::Array(a) => {
                for (i, t) in a.iter().enumerate().filter_map(|(i, e)| Some((i, e.get_ref().as_table()?))) {
                    walk(t, &format!("{path}.{i}."), found);
                }
            }
            _ => {}
        }
        found(path, v.span());
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Kind, read_all};
    use crate::diag::Diagnostic;

    fn read(texts: &[&str]) -> (Config, Vec<Diagnostic>, Vec<(String, String)>) {
        let files: Vec<(String, String)> = texts.iter().enumerate().map(|(i, t)| (format!("{i}.toml"), (*t).to_owned())).collect();
        let (config, said) = read_all(&files);
        (config, said, files)
    }

    #[test]
    fn later_files_win_key_by_key_and_add_sources_and_hosts() {
        let main = "zone = \"Europe/Berlin\"\nrules = [\"a\"]\n[limits]\nidle = \"5m\"\nfiles = 7\n[[host]]\nname = \"a\"\n\
                    [[source]]\nkind = \"file\"\nname = \"app\"\npath = \"old\"\nformat = \"nginx\"\n[[source]]\nkind = \"syslog\"\n";
        let site = "rules = [\"b\"]\n[limits]\nidle = \"7m\"\n[[host]]\nname = \"b\"\n[[source]]\nname = \"app\"\nkind = \"file\"\npath = \"new\"\n";
        let last = "[limits]\nrecord_bytes = \"2KiB\"\n[http]\nlisten = \"127.0.0.1:9\"\n";
        let (c, said, _) = read(&[main, site, last]);
        assert_eq!(said, []);
        assert_eq!((c.zone.iana_name(), c.rules.len(), c.rules[0].value.as_str()), (Some("Europe/Berlin"), 1, "b"));
        assert_eq!((c.limits.idle.as_secs(), c.limits.files, c.limits.record_bytes, c.http.port()), (420, 7, 2048, 9));
        assert_eq!(c.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(c.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["syslog", "app", "http"]);
        assert!(matches!(&c.sources[1].kind, Kind::File(f) if f.paths == ["new"]) && c.sources[1].format.is_none(), "replaced as a whole");
        assert_eq!(c.files.line(&c.given["limits.idle"].span), Some(("1.toml", 3)));
        assert_eq!(c.files.line(&c.given["limits.files"].span), Some(("0.toml", 5)));
        assert_eq!(c.given["source.1.path"].text, "\"new\"");
    }

    #[test]
    fn every_complaint_of_every_file_names_its_file_and_place() {
        let main = "zone = \"Europe/Berlm\"\n[limits]\nidle = 3\n[[host]]\nname = \"a\"\n";
        let site = "rulez = 1\n[limits]\nidle = \"5m\"\n[[host]]\nname = \"A\"\n[[source]]\nkind = \"file\"\npath = \"a\"\n\
                    [[source]]\nkind = \"file\"\npath = \"b\"\n";
        let (_, said, files) = read(&[main, site, "x = \n"]);
        let text = |d: &Diagnostic| {
            let file = files.iter().find(|f| f.0 == d.file).unwrap_or_else(|| panic!("{d:?}"));
            format!("{} {} {}", d.code, d.file, file.1.get(d.span.clone()).unwrap_or("?").trim())
        };
        let got: Vec<String> = said.iter().map(text).collect();
        for want in
            ["V005 0.toml \"Europe/Berlm\"", "V003 0.toml 3", "V002 1.toml rulez", "V007 1.toml \"A\"", "V007 1.toml [[source]]", "V002 2.toml x"]
        {
            assert_eq!(got.iter().filter(|g| *g == want).count(), 1, "{want} in {got:#?}");
        }
        assert!(got.iter().any(|g| g.starts_with("V001 2.toml")), "{got:#?}");
    }

    #[test]
    fn what_holds_only_together_is_judged_together() {
        let (c, said, _) = read(&["[http]\ninsecure = true\n", "[http]\nlisten = \"0.0.0.0:1\"\n"]);
        assert_eq!((said, c.http.port()), (vec![], 1));
        let (_, said, _) = read(&["[http]\n", "[http]\nlisten = \"0.0.0.0:1\"\n"]);
        assert_eq!(said.iter().map(|d| (d.code, d.file.as_str())).collect::<Vec<_>>(), [("V006", "1.toml")]);
        let (_, said, _) = read(&["[[source]]\nkind = \"http\"\nname = \"web\"\n", "[[source]]\nkind = \"http\"\n"]);
        assert_eq!(said.iter().map(|d| (d.code, d.file.as_str())).collect::<Vec<_>>(), [("V007", "1.toml")]);
    }
}
