//! `GET /api/v1/alerts` and `GET /api/v1/alerts/{id}`: the alerts of the store, in the shape of `replay`.

use super::{App, problem};
use crate::clock;
use crate::config::near;
use crate::event::{Span, Timestamp, time};
use crate::rule::Severity;
use crate::store::{Cursor, Filter, Page, Status, Store, StoreError, Stored, unhex};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame};
use jiff::tz::TimeZone;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The most alerts on a page.
const MAX_LIMIT: usize = 10_000;
/// The most characters of a query.
const MAX_QUERY: usize = 8 << 10;
/// The list is made and sent in pieces of about so many bytes, two of which wait at most.
const PIECE: usize = 64 << 10;
/// The parameters of the list.
const PARAMETERS: [&str; 9] = ["status", "severity", "rule", "since", "until", "signal", "order", "limit", "cursor"];

/// The list: pieces of it are read from the store as the client takes them.
pub async fn list(State(app): State<Arc<App>>, query: Result<Query<Vec<(String, String)>>, QueryRejection>) -> Response {
    let filter = match query {
        Ok(Query(pairs)) => filter(&pairs, clock::now()),
        Err(_) => Err("the query cannot be read".to_owned()),
    };
    let filter = match filter {
        Ok(f) => f,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let store = app.store.clone();
    let page = match blocking(move || store.alerts(&filter)).await {
        Ok(page) => page,
        Err(r) => return r,
    };
    let (tx, rx) = mpsc::channel(2);
    let store = app.store.clone();
    tokio::task::spawn_blocking(move || send(&store, &page, &tx));
    json(Body::new(Pieces(rx)))
}

/// One alert, with the text of its evidence where the store has a copy.
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, query: Result<Query<Vec<(String, String)>>, QueryRejection>) -> Response {
    if query.map_or(true, |q| !q.is_empty()) {
        return problem(StatusCode::BAD_REQUEST, "this path takes no parameters");
    }
    let Some(id) = unhex::<16>(&id) else {
        return problem(StatusCode::BAD_REQUEST, "an alert is named by its `event.id`: 32 hex digits");
    };
    let store = app.store.clone();
    match blocking(move || store.alert(&id)).await {
        Ok(Some(alert)) => json(Body::from(with_evidence(&alert))),
        Ok(None) => problem(StatusCode::NOT_FOUND, "there is no alert under this id"),
        Err(r) => r,
    }
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Calls the store on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, Response> {
    match tokio::task::spawn_blocking(f).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(e)) => {
            tracing::error!(error = %e, cause = std::error::Error::source(&e).map(tracing::field::display), "alerts cannot be read");
            Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read; the log says why"))
        }
        Err(_) => Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read; the log says why")),
    }
}

/// Reads a query; what is wrong with it is the error.
fn filter(pairs: &[(String, String)], now: Timestamp) -> Result<Filter, String> {
    if pairs.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > MAX_QUERY {
        return Err(format!("the query is longer than {MAX_QUERY} characters"));
    }
    let mut f = Filter::default();
    let mut seen = Vec::new();
    for (name, text) in pairs {
        let several = matches!(name.as_str(), "status" | "severity" | "rule");
        if !several && seen.contains(&name.as_str()) {
            return Err(format!("`{}` is given twice", shown(name)));
        }
        seen.push(name);
        match name.as_str() {
            "rule" => f.rules.extend(parts(text).map(str::to_owned)),
            "severity" => {
                for s in parts(text) {
                    f.severities
                        .push(Severity::of(s).ok_or_else(|| unknown("severity", s, &["informational", "low", "medium", "high", "critical"]))?);
                }
            }
            "status" => {
                for s in parts(text) {
                    let names = Status::ALL.map(Status::name);
                    f.statuses.push(Status::ALL.into_iter().find(|k| k.name() == s).ok_or_else(|| unknown("status", s, &names))?);
                }
            }
            "since" => f.since = instant("since", text, now)?,
            "until" => f.until = Some(instant("until", text, now)?),
            "signal" => f.signal = Some(one_of("signal", text, [("true", true), ("false", false)])?),
            "order" => f.ascending = one_of("order", text, [("asc", true), ("desc", false)])?,
            "limit" => {
                let n = text.parse().ok().filter(|n| *n <= MAX_LIMIT);
                f.limit = n.ok_or_else(|| format!("`limit` is a whole number up to {MAX_LIMIT}"))?;
            }
            "cursor" => f.cursor = Some(Cursor::parse(text).ok_or("`cursor` is not one that an earlier answer gave as `next`")?),
            "q" => return Err(format!("`q` is not taken for alerts; filter by {}", PARAMETERS.join(", "))),
            _ => return Err(unknown("parameter", name, &PARAMETERS)),
        }
    }
    if !f.goes_on() {
        return Err("`cursor` belongs to a list with other filters or another order".into());
    }
    Ok(f)
}

/// The parts of a list with commas; an empty one names nothing.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty())
}

fn one_of<const N: usize>(name: &str, text: &str, values: [(&str, bool); N]) -> Result<bool, String> {
    values.iter().find(|(v, _)| *v == text).map(|(_, b)| *b).ok_or_else(|| unknown(name, text, &values.map(|(v, _)| v)))
}

/// What somebody sent, as it may stand in an answer.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let mean = near(given, known.iter().copied()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
    format!("there is no {what} `{}`; {mean}known: {}", shown(given), known.join(", "))
}

/// An instant in RFC 3339, or a span back from now.
fn instant(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(back) = Span::parse(text) {
        return Ok(now.minus(back));
    }
    // In a query a plus sign is a blank, and a zone is often written with one.
    let b = text.as_bytes();
    let zoned = b.len() > 19 && (b.ends_with(b"Z") || b.ends_with(b"z") || b[19..].iter().any(|c| matches!(c, b'+' | b'-' | b' ')));
    let plus = if b.len() > 19 && text.is_char_boundary(19) { format!("{}{}", &text[..19], text[19..].replace(' ', "+")) } else { text.to_owned() };
    match time::iso(plus.as_bytes(), &TimeZone::UTC) {
        Some((ts, n)) if n == plus.len() && zoned => Ok(ts),
        _ => Err(format!("`{name}` is a time as 2026-11-23T05:00:00Z, or a span back from now as 90s, 1h or 30d")),
    }
}

/// Writes the list in pieces, as long as somebody takes them.
fn send(store: &Store, page: &Page, to: &mpsc::Sender<Result<Bytes, StoreError>>) {
    let mut piece = format!("{{\"total\":{},\"alerts\":[", page.total).into_bytes();
    let (mut at, mut first) = (0, true);
    while let Some(rest) = page.ids.get(at..).filter(|r| !r.is_empty()) {
        let (n, lines) = match store.lines(rest, PIECE) {
            Ok(read) => read,
            // An answer that was begun is cut off, which no client takes for its end.
            Err(e) => return drop(to.blocking_send(Err(e))),
        };
        at += n.max(1);
        for line in lines {
            if !first {
                piece.push(b',');
            }
            first = false;
            piece.extend_from_slice(&line);
        }
        if to.blocking_send(Ok(std::mem::take(&mut piece).into())).is_err() {
            return;
        }
    }
    let next = page.next.as_ref().map_or("null".to_owned(), |c| format!("\"{c}\""));
    piece.extend_from_slice(format!("],\"next\":{next}}}").as_bytes());
    let _ = to.blocking_send(Ok(piece.into()));
}

/// A body that comes in pieces.
struct Pieces(mpsc::Receiver<Result<Bytes, StoreError>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|p| p.map(Frame::data)))
    }
}

/// The alert's JSON with `event.original` beside each evidence entry of which there is a copy.
fn with_evidence(alert: &Stored) -> Vec<u8> {
    let Ok(mut v) = serde_json::from_slice::<serde_json::Value>(&alert.line) else { return alert.line.clone() };
    let entries = v.get_mut("alert").and_then(|a| a.get_mut("evidence")).and_then(|e| e.as_array_mut());
    for entry in entries.into_iter().flatten() {
        let Some(seq) = entry.get("seq").and_then(serde_json::Value::as_u64) else { continue };
        let Ok(i) = alert.evidence.binary_search_by_key(&seq, |(s, _)| *s) else { continue };
        if let Some(o) = entry.as_object_mut() {
            let text = String::from_utf8_lossy(&alert.evidence[i].1).into_owned();
            o.insert("event".into(), serde_json::json!({ "original": text }));
        }
    }
    v.to_string().into_bytes()
}
