//! A request answered, as JSON: the same for a running daemon and for the directory of a stopped one.

use super::find::{self, Bounds, Cut, Found, Ground, Range};
use super::histogram::histogram;
use super::page::{Cursor, page};
use super::query::Query;
use super::request::Request;
use super::show::{Shown, show};
use super::tally::Tally;
use crate::diag::Diagnostic;
use crate::event::{Field, Type};
use crate::journal::{Reader, What};
use crate::pipeline::bundle::Loaded;
use serde_json::{Value, json};

/// A request's answer.
pub struct Answered {
    /// As JSON.
    pub body: Vec<u8>,
    /// Why it is not of everything, in a word, if it is not.
    pub cut: Option<&'static str>,
}

/// Why a request is not answered.
#[derive(Debug)]
pub enum Refused {
    /// A parameter is wrong.
    Parameter(String),
    /// The query is; complaints about a file whose text is the query.
    Query(Vec<Diagnostic>),
}

/// The last record of the journal's entries up to this one, 0 if there is none.
pub fn last_seq(reader: &Reader, lsn: u64) -> u64 {
    if lsn == 0 {
        return 0;
    }
    match reader.entries(lsn).next() {
        Some(Ok(e)) => match &e.what {
            What::Records(r) => (e.seq + r.batch.records.len() as u64).saturating_sub(1),
            _ => e.seq.saturating_sub(1),
        },
        Some(Err(d)) => d.last_seq,
        None => u64::MAX,
    }
}

/// A field that the answer is made of, and its place among those that are counted.
fn counted(query: &mut Query, name: Option<&String>, fields: &mut Vec<Field>) -> Result<Option<usize>, Refused> {
    let Some(name) = name else { return Ok(None) };
    let f = query.field(name).map_err(Refused::Parameter)?;
    let i = fields.iter().position(|x| *x == f).unwrap_or(fields.len());
    if i == fields.len() {
        fields.push(f);
    }
    Ok(Some(i))
}

/// Answers a request. `today` is the bundle in whose words it is asked, `last_lsn` the last entry of the journal that is searched.
pub fn answer(ground: &Ground<'_>, today: &Loaded, r: &Request, last_lsn: u64, bounds: &Bounds) -> Result<Answered, Refused> {
    let mut query = Query::new(&r.query, today).map_err(Refused::Query)?;
    let mut fields = Vec::new();
    let top = counted(&mut query, r.top.as_ref(), &mut fields)?;
    let distinct = counted(&mut query, r.distinct.as_ref(), &mut fields)?;
    let stats = counted(&mut query, r.stats.as_ref(), &mut fields)?;
    if let (Some(i), Some(name)) = (stats, &r.stats)
        && !matches!(query.schema().ty(fields[i]), Type::Int | Type::Float | Type::Any)
    {
        return Err(Refused::Parameter(format!("`stats` is of numbers, and `{name}` is {}", crate::rule::check::kind(query.schema().ty(fields[i])))));
    }
    for name in &r.fields {
        query.shows(name).map_err(|why| Refused::Parameter(format!("`fields`: {why}")))?;
    }
    let (last_lsn, last_seq) = match &r.cursor {
        Some(c) => (c.last_lsn.min(last_lsn), c.last_seq),
        None => (last_lsn, last_seq(ground.reader, last_lsn)),
    };
    let range = Range { since: r.since, until: r.until, last_lsn, last_seq };
    let found = find::find(ground, &query, &range, &fields, bounds);
    let (hits, more) = page(&found, r.order, r.cursor.map(|c| c.after), r.limit);
    let shown = show(ground.reader, &query, ground.past, &hits, &r.fields, bounds.memory);
    let more = more || shown.len() < hits.len();
    let next = hits.get(..shown.len()).and_then(<[_]>::last).filter(|_| more).map(|h| Cursor {
        last_lsn,
        last_seq,
        since: r.since,
        until: r.until,
        after: h.key,
        asked: r.asked,
    });

    let mut rest: Vec<(&str, String)> = Vec::new();
    if !query.phrases().is_empty() {
        let words: Vec<_> = shown.iter().map(|s| &s.words).collect();
        rest.push(("highlights", json!(words).to_string()));
    }
    if let Some(n) = r.buckets {
        rest.push(("histogram", buckets(&found, r, n).to_string()));
    }
    let name = |i: usize| query.schema().name(fields[i]);
    if let Some(i) = top {
        rest.push(("top", tops(&found.tallies[i], name(i), r.values)));
    }
    if let Some(i) = distinct {
        rest.push(("distinct", json!({ "field": name(i), "count": found.tallies[i].distinct() }).to_string()));
    }
    if let Some(i) = stats {
        let s = found.tallies[i].stats();
        // As text: a sum may have more digits than a number of JSON's readers.
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "null".into());
        let (field, avg) = (json!(name(i)), json!(s.avg));
        let body =
            format!(r#"{{"field":{field},"count":{},"min":{},"max":{},"sum":{},"avg":{avg}}}"#, s.count, text(&s.min), text(&s.max), text(&s.sum));
        rest.push(("stats", body));
    }
    rest.push(("complete", (found.cut.is_none() && found.missing.is_empty()).to_string()));
    if let Some(c) = found.cut {
        rest.push(("reason", json!(c.to_string()).to_string()));
    }
    rest.push(("scanned", found.scanned.to_string()));
    let missing: Vec<Value> = found.missing.iter().map(|m| json!({ "first": m.first, "last": m.last, "why": m.why })).collect();
    rest.push(("missing", Value::from(missing).to_string()));
    rest.push(("next", json!(next.map(|c| c.to_string())).to_string()));
    let cut = found.cut.map(Cut::name).or((!found.missing.is_empty()).then_some("incomplete"));
    Ok(Answered { body: written(found.total, &shown, &rest), cut })
}

/// The hits are JSON already.
fn written(total: u64, shown: &[Shown], rest: &[(&str, String)]) -> Vec<u8> {
    let mut out = format!("{{\"total\":{total},\"hits\":[").into_bytes();
    for (i, s) in shown.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&s.json);
    }
    out.push(b']');
    for (k, v) in rest {
        out.extend_from_slice(format!(",\"{k}\":{v}").as_bytes());
    }
    out.push(b'}');
    out
}

fn buckets(found: &Found, r: &Request, n: usize) -> Value {
    let Some(h) = histogram(found, r.since, r.until, n) else { return json!({ "seconds": null, "buckets": [] }) };
    let one = |(i, count): (usize, &u64)| {
        let from = crate::event::Timestamp(h.from.0.saturating_add(h.step.0.saturating_mul(i as i64)));
        json!({ "from": from.to_string(), "count": count })
    };
    json!({ "seconds": h.step.0 as f64 / 1e9, "buckets": h.counts.iter().enumerate().map(one).collect::<Vec<_>>() })
}

fn tops(t: &Tally, field: &str, n: usize) -> String {
    let values: Vec<String> = t.top(n).into_iter().map(|(k, count)| format!(r#"{{"value":{},"count":{count}}}"#, k.json())).collect();
    format!(r#"{{"field":{},"distinct":{},"values":[{}]}}"#, json!(field), t.distinct(), values.join(","))
}
