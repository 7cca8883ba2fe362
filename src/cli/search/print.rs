//! Answers of a search as a table, as JSON lines and as CSV.

use super::super::safe;
use super::csv::{guarded, quoted};
use super::{Answer, Output};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Write};

/// The columns of events unless others are chosen; behind them stands the text.
const COLUMNS: [&str; 6] = ["@timestamp", "event.module", "event.action", "host.name", "user.name", "source.ip"];
/// The column of the text: `message`, else `event.original`.
const TEXT: &str = "message";
/// A cell of the table has so many characters at most, that of the text so many.
const CELL: usize = 40;
const LONGEST: usize = 160;
/// The longest bar of a histogram.
const BAR: usize = 50;

/// See the module.
pub struct Print {
    output: Output,
    columns: Vec<String>,
    color: bool,
    header: bool,
}

impl Print {
    /// `fields` are the columns that are wanted, with commas between them.
    pub fn new(output: Output, fields: Option<&str>, color: bool) -> Print {
        let chosen = fields.map(|f| f.split(',').map(|f| f.trim().to_owned()).filter(|f| !f.is_empty()).collect());
        let columns = chosen.unwrap_or_else(|| COLUMNS.iter().chain([&TEXT]).map(|c| (*c).to_owned()).collect());
        Print { output, columns, color, header: true }
    }

    /// What was made of all events.
    pub fn counts(&self, a: &Answer, out: &mut impl Write) -> io::Result<()> {
        if let Some(h) = &a.histogram {
            let most = h.buckets.iter().map(|b| b.count).max().unwrap_or(0).max(1);
            for b in &h.buckets {
                match self.output {
                    Output::Ndjson => writeln!(out, "{}", serde_json::json!({ "from": b.from, "count": b.count }))?,
                    Output::Csv => writeln!(out, "{},{}", quoted(&b.from), b.count)?,
                    Output::Table => {
                        // A stretch with an event has a bar.
                        let eighths = (b.count as u128 * (BAR as u128 * 8)).div_ceil(most.into()) as usize;
                        writeln!(out, "{:<27}  {:>9}  {}", safe(&b.from), b.count, bar(eighths))?;
                    }
                }
            }
        }
        if let Some(t) = &a.top {
            let width = t.values.iter().map(|v| plain(v.value.get()).chars().count().min(LONGEST)).max().unwrap_or(0);
            if self.output == Output::Table {
                writeln!(out, "{} different values of {}", t.distinct, safe(&t.field))?;
            }
            for v in &t.values {
                match self.output {
                    Output::Ndjson => writeln!(out, "{{\"value\":{},\"count\":{}}}", v.value.get(), v.count)?,
                    Output::Csv => writeln!(out, "{},{}", guarded(&plain(v.value.get())), v.count)?,
                    Output::Table => writeln!(out, "{:<width$}  {:>9}", cut(&safe(&plain(v.value.get())), LONGEST), v.count)?,
                }
            }
        }
        for (name, body) in [("distinct", &a.distinct), ("stats", &a.stats)] {
            let Some(body) = body else { continue };
            match self.output {
                Output::Ndjson => writeln!(out, "{}", body.get())?,
                Output::Csv | Output::Table => {
                    let v: Value = serde_json::from_str(body.get()).unwrap_or_default();
                    let rest = v.as_object().into_iter().flatten().filter(|(k, _)| *k != "field");
                    let cells: Vec<String> = rest.map(|(k, v)| format!("{k} {v}")).collect();
                    let field = safe(v["field"].as_str().unwrap_or_default());
                    match self.output {
                        Output::Csv => writeln!(out, "{},{}", quoted(&field), cells.join(","))?,
                        _ => writeln!(out, "{name} of {field}: {}", cells.join(", "))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The events of a page.
    pub fn hits(&mut self, a: &Answer, out: &mut impl Write) -> io::Result<()> {
        if a.hits.is_empty() {
            return Ok(());
        }
        if self.output == Output::Ndjson {
            return a.hits.iter().try_for_each(|h| writeln!(out, "{}", h.get()));
        }
        let events: Vec<Value> = a.hits.iter().map(|h| serde_json::from_str(h.get()).unwrap_or_default()).collect();
        let rows: Vec<Vec<String>> = events.iter().map(|e| self.columns.iter().map(|c| cell(e, c)).collect()).collect();
        if self.output == Output::Csv {
            if std::mem::take(&mut self.header) {
                writeln!(out, "{}", self.columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(","))?;
            }
            return rows.iter().try_for_each(|r| writeln!(out, "{}", r.iter().map(|c| guarded(c)).collect::<Vec<_>>().join(",")));
        }
        self.table(&rows, a, out)
    }

    fn table(&mut self, rows: &[Vec<String>], a: &Answer, out: &mut impl Write) -> io::Result<()> {
        let last = self.columns.len().saturating_sub(1);
        let room = |i: usize| if i == last { LONGEST } else { CELL };
        let width: Vec<usize> = (0..self.columns.len())
            .map(|i| rows.iter().map(|r| safe(&r[i]).chars().count().min(room(i))).max().unwrap_or(0).max(self.columns[i].chars().count()))
            .collect();
        if std::mem::take(&mut self.header) {
            let line: Vec<String> = self.columns.iter().zip(&width).map(|(c, w)| format!("{:<w$}", safe(c))).collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
        }
        for (n, r) in rows.iter().enumerate() {
            let mut line = String::new();
            for (i, c) in r.iter().enumerate() {
                let text = cut(&safe(c), room(i));
                let pad = width[i].saturating_sub(text.chars().count());
                let words = a.highlights.get(n).filter(|_| self.color && self.columns[i] == TEXT);
                line.push_str(&words.map_or_else(|| text.clone(), |w| marked(&text, w)));
                if i < last {
                    let _ = write!(line, "{:pad$}  ", "");
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Behind the last page.
    pub fn end(&self, _out: &mut impl Write) -> io::Result<()> {
        Ok(())
    }
}

/// What is to be said of an answer beside its events.
pub fn summary(a: &Answer, shown: usize) -> String {
    let mut s = format!("{} event{}", a.total, if a.total == 1 { "" } else { "s" });
    if shown > 0 && (shown as u64) < a.total {
        let _ = write!(s, ", {shown} shown");
    }
    let _ = writeln!(s, "; {} record{} read beside the index", a.scanned, if a.scanned == 1 { "" } else { "s" });
    if !a.complete {
        let why = a.reason.as_ref().map_or_else(String::new, |r| format!(": {}", safe(r)));
        let _ = writeln!(s, "vigild: not everything was searched{why}");
        for m in &a.missing {
            let _ = writeln!(s, "vigild: records {} to {}: {}", m.first, m.last, safe(&m.why));
        }
    }
    s
}

/// The value at a dotted name of nested JSON, as a cell.
fn cell(event: &Value, column: &str) -> String {
    let at = |name: &str| name.split('.').try_fold(event, |v, k| v.get(k)).or_else(|| event.get(name));
    match at(column) {
        Some(v) => plain_of(v),
        None if column == TEXT => at("event.original").map_or_else(String::new, plain_of),
        None => String::new(),
    }
}

fn plain_of(v: &Value) -> String {
    match v {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        Value::Array(all) => all.iter().map(plain_of).collect::<Vec<_>>().join(","),
        v => v.to_string(),
    }
}

fn plain(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(s)) => s,
        _ => json.to_owned(),
    }
}

fn cut(s: &str, most: usize) -> String {
    if s.chars().count() <= most { s.to_owned() } else { s.chars().take(most - 1).chain(['…']).collect() }
}

/// Bold where the words are. Text that was made safe has as many characters as before.
fn marked(text: &str, words: &[(usize, usize)]) -> String {
    let (mut out, mut bold) = (String::new(), false);
    for (i, c) in text.chars().enumerate() {
        let inside = words.iter().any(|w| (w.0..w.1).contains(&i));
        if inside != bold {
            out.push_str(if inside { "\u{1b}[1m" } else { "\u{1b}[0m" });
            bold = inside;
        }
        out.push(c);
    }
    if bold {
        out.push_str("\u{1b}[0m");
    }
    out
}

/// A bar of so many eighths of a character.
fn bar(eighths: usize) -> String {
    const PART: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    "█".repeat(eighths / 8) + PART[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        serde_json::from_str(body).expect("an answer")
    }

    fn printed(output: Output, fields: Option<&str>, color: bool, body: &str) -> String {
        let (mut out, a) = (Vec::new(), answer(body));
        let mut p = Print::new(output, fields, color);
        p.counts(&a, &mut out).expect("room");
        p.hits(&a, &mut out).expect("room");
        String::from_utf8(out).expect("text")
    }

    const HITS: &str = r#"{"total":2,"hits":[{"@timestamp":"2026-11-23T05:00:00Z","message":"a \u001b[2Jbad \"word\"","source":{"ip":"192.0.2.1"},"tags":["x","y"]},
        {"@timestamp":"2026-11-23T05:00:01Z","event":{"original":"raw"}}],"highlights":[[[2,3],[6,9]],[]],"complete":true,"scanned":0,"missing":[],"next":null}"#;

    #[test]
    fn a_table_is_safe_and_marks_the_words() {
        let t = printed(Output::Table, Some("source.ip,message"), false, HITS);
        assert_eq!(t, "source.ip  message\n192.0.2.1  a \u{fffd}[2Jbad \"word\"\n           raw\n");
        let t = printed(Output::Table, Some("message"), true, HITS);
        assert!(t.contains("a \u{1b}[1m\u{fffd}\u{1b}[0m[2J\u{1b}[1mbad\u{1b}[0m \"word\"\n"), "{t:?}");
        assert!(printed(Output::Table, None, false, HITS).starts_with("@timestamp            event.module"));
    }

    #[test]
    fn csv_quotes_what_it_holds() {
        assert_eq!(
            printed(Output::Csv, Some("tags,message"), false, HITS),
            "\"tags\",\"message\"\n\"x,y\",\"a \u{1b}[2Jbad \"\"word\"\"\"\n\"\",\"raw\"\n"
        );
    }

    #[test]
    fn csv_holds_no_formula_but_in_the_name_of_a_column() {
        let body = r#"{"total":1,"hits":[{"@timestamp":"2026-11-23T05:00:00Z","message":"=1+1","tags":["@x","y"],"n":-5}],
            "top":{"field":"user.name","distinct":2,"values":[{"value":"=root","count":8},{"value":-7,"count":1}]},
            "complete":true,"scanned":0,"missing":[],"next":null}"#;
        assert_eq!(
            printed(Output::Csv, Some("@timestamp,message,tags,n"), false, body),
            "\"'=root\",8\n\"-7\",1\n\"@timestamp\",\"message\",\"tags\",\"n\"\n\"2026-11-23T05:00:00Z\",\"'=1+1\",\"'@x,y\",\"-5\"\n"
        );
        assert!(printed(Output::Ndjson, None, false, body).contains(r#""message":"=1+1""#), "only CSV is changed");
    }

    #[test]
    fn counts_are_drawn() {
        let body = r#"{"total":9,"hits":[],"histogram":{"seconds":60,"buckets":[{"from":"2026-11-23T05:00:00Z","count":8},{"from":"2026-11-23T05:01:00Z","count":1}]},
            "top":{"field":"user.name","distinct":2,"values":[{"value":"root","count":8},{"value":7,"count":1}]},
            "distinct":{"field":"user.name","count":2},"complete":false,"reason":"it took longer","scanned":1,"missing":[{"first":1,"last":4,"why":"damaged"}],"next":null}"#;
        let t = printed(Output::Table, None, false, body);
        let want = format!(
            "2026-11-23T05:00:00Z                 8  {}\n2026-11-23T05:01:00Z                 1  ██████▎\n2 different values of user.name\nroot          8\n7             1\ndistinct of user.name: count 2\n",
            "█".repeat(50)
        );
        assert_eq!(t, want);
        assert_eq!(printed(Output::Ndjson, None, false, body).lines().last(), Some("{\"field\":\"user.name\",\"count\":2}"));
        let s = summary(&answer(body), 0);
        assert_eq!(
            s,
            "9 events; 1 record read beside the index\nvigild: not everything was searched: it took longer\nvigild: records 1 to 4: damaged\n"
        );
    }
}
