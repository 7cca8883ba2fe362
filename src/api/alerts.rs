//! `GET /api/v1/alerts` and `GET /api/v1/alerts/{id}`: the alerts of the store, in the shape of `replay`.

use super::{App, problem};
use crate::clock;
use crate::event::Timestamp;
use crate::rule::Severity;
use crate::search::parameters::{instant, one_of, parts, shown, unknown};
use crate::store::{Cursor, Filter, Page, Status, Store, StoreError, Stored, unhex};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame};
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::alert::{Step, hex};
    use crate::api::{Missing, router};
    use crate::config::Limits;
    use crate::event::Span;
    use crate::event::time::SECOND;
    use crate::metrics::Metrics;
    use crate::pipeline::{Queue, Source};
    use crate::source::Intake;
    use crate::source::connection::Budget;
    use crate::source::http::{Door, Way};
    use crate::store::{Commit, Options, Told};
    use axum::http::Request;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use tower::ServiceExt;

    const NOW: i64 = 1_700_000_000;

    /// Five alerts, ten seconds apart, the fifth withdrawn.
    pub(crate) fn app() -> (Arc<App>, tokio::sync::watch::Sender<bool>) {
        let store = Store::with_backend(redb::backends::InMemoryBackend::new(), Options::default()).expect("a store");
        let told = |n: u8| {
            let id = [n; 16];
            let line = format!(
                r#"{{"@timestamp":"{}","event":{{"id":"{}"}},"alert":{{"status":"open","final":true,"evidence":[{{"seq":1}},{{"seq":2}}]}}}}"#,
                Timestamp((NOW + n as i64 * 10) * SECOND),
                hex(&id)
            );
            Told {
                id,
                step: if n == 5 { Step::Withdrawn } else { Step::Final },
                line: line.into_bytes(),
                ts: Timestamp((NOW + n as i64 * 10) * SECOND),
                rule: if n.is_multiple_of(2) { "even" } else { "odd" }.into(),
                severity: if n == 2 { Severity::High } else { Severity::Low },
                signal: n == 4,
                is_final: true,
                evidence: vec![(2, b"a \"line\"\xff".to_vec())],
            }
        };
        store.commit(&Commit { mark: 1, told: (1..=5).map(told).collect(), written: vec![] }).expect("room");
        let metrics = Arc::new(Metrics::default());
        let limits = Arc::new(Limits::default());
        let (queue, _) = Queue::new(1 << 20, metrics.clone());
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let source = Source::new("http", Span::seconds(5), metrics.source("http"));
        let budget = Budget::new(1 << 20, metrics.connection_bytes.clone());
        let intake = Intake { queue, limits: limits.clone(), stop: stopping, known: Arc::default(), budget };
        let app = App {
            token: "t".repeat(64),
            door: Door::new(intake, metrics.clone()),
            metrics,
            missing: Arc::new(Missing::default()),
            store: Arc::new(store),
            index: Arc::new(crate::index::Index::look(std::path::Path::new("/there/is/none"), 1).expect("an empty one")),
            http: Way::new(Arc::new(source)),
            hooks: BTreeMap::new(),
            formats: BTreeMap::new(),
            limits,
            sources: Default::default(),
            searches: crate::api::search::tests::empty(),
            backups: crate::api::backup::Backups::of("/no/such/folder".into()),
            backtests: (&crate::config::Backtest::default()).into(),
            reload: tokio::sync::mpsc::channel(1).0,
        };
        (Arc::new(app), stop)
    }

    pub(crate) fn get(app: &Arc<App>, path: &str, token: &str) -> (u16, String, Value) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty()).expect("a request");
            let response = router(app.clone()).oneshot(request).await.expect("an answer");
            let kind = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
            (status, kind, serde_json::from_slice(&body).expect("JSON"))
        })
    }

    fn ids(v: &Value) -> Vec<u8> {
        let first = |a: &Value| u8::from_str_radix(&a["event"]["id"].as_str().expect("an id")[..2], 16).expect("hex");
        v["alerts"].as_array().expect("a list").iter().map(first).collect()
    }

    #[test]
    fn a_list_has_the_alerts_that_its_filters_name() {
        let (app, _stop) = app();
        let at = |n: i64| Timestamp((NOW + n) * SECOND).to_string();
        for (query, want) in [
            (String::new(), vec![4, 3, 2, 1]),
            ("?order=asc".into(), vec![1, 2, 3, 4]),
            ("?rule=even".into(), vec![4, 2]),
            ("?rule=even,odd&rule=none".into(), vec![4, 3, 2, 1]),
            ("?rule=eve".into(), vec![]),
            ("?severity=high".into(), vec![2]),
            ("?severity=high,low&signal=false".into(), vec![3, 2, 1]),
            ("?status=withdrawn".into(), vec![5]),
            ("?status=recorded&status=withdrawn".into(), vec![5, 4]),
            (format!("?since={}&until={}", at(20), at(40)), vec![3, 2]),
            ("?since=2023-11-14T23:13:40%2B01:00&order=asc".into(), vec![2, 3, 4]),
            ("?since=2023-11-14T23:13:40+01:00&order=asc".into(), vec![2, 3, 4]),
            ("?since=1m".into(), vec![]),
            ("?until=1m&limit=10000".into(), vec![4, 3, 2, 1]),
            ("?limit=0".into(), vec![]),
        ] {
            let (status, kind, v) = get(&app, &format!("/api/v1/alerts{query}"), &app.token);
            assert_eq!((status, kind.as_str(), ids(&v)), (200, "application/json", want.clone()), "{query}");
            assert_eq!(v["total"], if query == "?limit=0" { 4 } else { want.len() }, "{query}");
            assert_eq!(v["next"], Value::Null, "{query}");
            assert!(!v.to_string().contains("original"), "a list carries no evidence: {v}");
        }
        let (_, _, v) = get(&app, "/api/v1/alerts?status=withdrawn", &app.token);
        assert_eq!(v["alerts"][0]["alert"]["status"], "withdrawn");
    }

    #[test]
    fn pages_follow_one_another() {
        let (app, _stop) = app();
        let (_, _, first) = get(&app, "/api/v1/alerts?limit=3", &app.token);
        assert_eq!((ids(&first), &first["total"]), (vec![4, 3, 2], &Value::from(4)));
        let cursor = first["next"].as_str().expect("there is more");
        let (_, _, second) = get(&app, &format!("/api/v1/alerts?limit=3&cursor={cursor}"), &app.token);
        assert_eq!((ids(&second), &second["next"]), (vec![1], &Value::Null));
        let (status, _, v) = get(&app, &format!("/api/v1/alerts?order=asc&cursor={cursor}"), &app.token);
        assert_eq!((status, v["detail"].as_str()), (400, Some("`cursor` belongs to a list with other filters or another order")));
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said() {
        let (app, _stop) = app();
        for (query, says) in [
            ("limit=10001", "`limit` is a whole number up to 10000"),
            ("limit=-1", "`limit`"),
            ("limit=1&limit=2", "`limit` is given twice"),
            ("statis=open", "did you mean `status`?"),
            ("status=opne", "did you mean `open`?"),
            ("severity=hihg", "did you mean `high`?"),
            ("order=up", "known: asc, desc"),
            ("signal=maybe", "known: true, false"),
            ("since=yesterday", "`since` is a time as 2026-11-23T05:00:00Z"),
            ("since=2026-11-23T05:00:00", "`since`"),
            ("until=2026-11-23T05:00:00Zx", "`until`"),
            ("since=%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9", "`since`"),
            ("cursor=00", "`cursor` is not one"),
            ("q=x", "`q` is not taken"),
            ("%1b%5b31m=1", "there is no parameter `\\u{1b}[31m`"),
        ] {
            let (status, kind, v) = get(&app, &format!("/api/v1/alerts?{query}"), &app.token);
            assert_eq!((status, kind.as_str()), (400, "application/problem+json"), "{query}");
            assert!(v["detail"].as_str().expect("text").contains(says), "{query}: {v}");
        }
    }

    #[test]
    fn one_alert_comes_with_the_text_of_its_evidence() {
        let (app, _stop) = app();
        let (status, _, v) = get(&app, &format!("/api/v1/alerts/{}", "03".repeat(16)), &app.token);
        let evidence = serde_json::json!([{ "seq": 1 }, { "seq": 2, "event": { "original": "a \"line\"\u{fffd}" } }]);
        assert_eq!((status, &v["alert"]["evidence"]), (200, &evidence));
        for (path, want) in [("09".repeat(16), 404), ("03".repeat(15), 400), ("zz".repeat(16), 400), (format!("{}?x=1", "03".repeat(16)), 400)] {
            let (status, kind, _) = get(&app, &format!("/api/v1/alerts/{path}"), &app.token);
            assert_eq!((status, kind.as_str()), (want, "application/problem+json"), "{path}");
        }
    }

    #[test]
    fn alerts_want_the_token() {
        let (app, _stop) = app();
        for path in ["/api/v1/alerts", "/api/v1/alerts/03030303030303030303030303030303"] {
            assert_eq!(get(&app, path, "no").0, 401, "{path}");
        }
    }
}
