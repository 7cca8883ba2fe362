//! `GET /api/v1/search` and `GET /api/v1/histogram`: events of the past.

use super::{App, problem};
use crate::clock;
use crate::diag::{self, Diagnostic};
use crate::journal::Reader;
use crate::pipeline::durable::Durable;
use crate::pipeline::past::Past;
use crate::search::{self, Bounds, Ground, Refused, Request};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many stretches a histogram has unless `buckets` says otherwise.
const BUCKETS: &str = "60";

/// What searches are answered from.
pub struct Searches {
    /// The journal.
    pub reader: Reader,
    /// How far it is durable: nothing behind that is found.
    pub durable: Arc<Durable>,
    /// What was in force when.
    pub past: Arc<Past>,
    /// What one search may take.
    pub bounds: Bounds,
    /// How many may run at once.
    pub room: Arc<Semaphore>,
}

/// Set when it is dropped: the client has gone, or has its answer.
pub(super) struct Gone(pub Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The events that a query holds for, and what they come to.
pub(super) async fn search(State(app): State<Arc<App>>, query: Result<Query<Vec<(String, String)>>, QueryRejection>) -> Response {
    match query {
        Ok(Query(pairs)) => answered(&app, pairs).await,
        Err(_) => problem(StatusCode::BAD_REQUEST, "the query cannot be read"),
    }
}

/// How many events there are in each stretch of time: a search without its events.
pub(super) async fn histogram(State(app): State<Arc<App>>, query: Result<Query<Vec<(String, String)>>, QueryRejection>) -> Response {
    const TAKEN: [&str; 4] = ["q", "since", "until", "buckets"];
    let Ok(Query(mut pairs)) = query else { return problem(StatusCode::BAD_REQUEST, "the query cannot be read") };
    if let Some((name, _)) = pairs.iter().find(|(n, _)| !TAKEN.contains(&n.as_str())) {
        return problem(StatusCode::BAD_REQUEST, search::parameters::unknown("parameter", name, &TAKEN));
    }
    if !pairs.iter().any(|(n, _)| n == "buckets") {
        pairs.push(("buckets".into(), BUCKETS.into()));
    }
    pairs.push(("limit".into(), "0".into()));
    answered(&app, pairs).await
}

async fn answered(app: &Arc<App>, pairs: Vec<(String, String)>) -> Response {
    let request = match Request::of(&pairs, clock::now()) {
        Ok(r) => r,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let Ok(room) = app.searches.room.clone().try_acquire_owned() else {
        app.metrics.search("refused");
        let mut r = problem(StatusCode::TOO_MANY_REQUESTS, "as many searches run as `[search] at_once` allows");
        r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return r;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let _gone = Gone(stop.clone());
    let app = app.clone();
    match tokio::task::spawn_blocking(move || run(&app, &request, &stop, room)).await {
        Ok(r) => r,
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the search failed; the log says why"),
    }
}

fn run(app: &App, request: &Request, stop: &AtomicBool, _room: OwnedSemaphorePermit) -> Response {
    let s = &app.searches;
    let ground = Ground { reader: &s.reader, index: &app.index, past: &s.past, stop };
    let last = s.durable.get();
    let answer = search::answer(&ground, &s.past.today(), request, last, &s.bounds);
    app.metrics.search(answer.as_ref().map_or("wrong", |a| a.cut.unwrap_or("complete")));
    match answer {
        Ok(a) => ([(header::CONTENT_TYPE, "application/json")], a.body).into_response(),
        Err(Refused::Parameter(why)) => problem(StatusCode::BAD_REQUEST, why),
        Err(Refused::Query(said)) => wrong(&request.query, &said),
    }
}

/// What is wrong with a query, and at which of its characters, from 1.
fn wrong(query: &str, said: &[Diagnostic]) -> Response {
    let chars = |to: usize| query.get(..to).map_or(0, |s| s.chars().count());
    let one = |d: &Diagnostic| {
        json!({
            "code": d.code,
            "message": d.message,
            "column": chars(d.span.start) + 1,
            "length": chars(d.span.end).saturating_sub(chars(d.span.start)),
            "label": d.label,
            "help": d.help,
        })
    };
    let errors: Vec<_> = said.iter().map(one).collect();
    let detail = said.first().map_or_else(String::new, |d| d.help.as_ref().map_or_else(|| d.message.clone(), |h| format!("{}; {h}", d.message)));
    let body = json!({
        "title": "Bad Request",
        "status": 400,
        "detail": detail,
        "column": errors.first().map(|e| e["column"].clone()),
        "errors": errors,
        "drawn": diag::draw(said, &[(search::query::FILE.into(), query.into())], false),
    });
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::alerts;
    use crate::config::Config;
    use crate::disk::Real;
    use crate::journal::{Journal, Options};
    use crate::pipeline::bundle::Bundle;
    use crate::pipeline::snapshot::Snapshots;

    /// What there is to search where nothing has come in.
    pub(crate) fn empty() -> Searches {
        let dir = tempfile::tempdir().expect("a folder");
        let (journal, _) = Journal::open(Arc::new(Real), &dir.path().join("journal"), Options::default(), || 7).expect("a journal");
        let snapshots = Snapshots::open(Arc::new(Real), dir.path(), 7).expect("a folder");
        let (config, none) = (Config::default(), |_: &str| Err("there is none".to_owned()));
        let (_, loaded, _) = Bundle::of(&config, Vec::new(), &none);
        Searches {
            reader: journal.reader(),
            durable: Arc::default(),
            past: Arc::new(Past::of(snapshots, Arc::new(loaded), &[])),
            bounds: Bounds::from(&config.search),
            room: Arc::new(Semaphore::new(1)),
        }
    }

    #[test]
    fn more_searches_than_may_run_at_once_are_refused() {
        let (app, _stop) = alerts::tests::app();
        let running = app.searches.room.clone().try_acquire_owned().expect("there is room for one");
        for path in ["/api/v1/search", "/api/v1/histogram?q=x"] {
            let (status, kind, v) = alerts::tests::get(&app, path, &app.token);
            assert_eq!((status, kind.as_str()), (429, "application/problem+json"), "{v}");
        }
        drop(running);
        let (status, _, v) = alerts::tests::get(&app, "/api/v1/search?q=x", &app.token);
        assert_eq!((status, v["total"].as_u64()), (200, Some(0)), "{v}");
        let text = app.metrics.text();
        for line in ["vigild_searches_total{outcome=\"refused\"} 2", "vigild_searches_total{outcome=\"complete\"} 1"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
