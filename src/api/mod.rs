//! HTTP: the ways in for records, alerts, `/metrics`, `/livez` and `/readyz`.
//!
//! `/metrics`, `/livez` and `/readyz` are for everybody who reaches the listener, webhooks have secrets of their own; everything
//! else wants the token. Errors are `application/problem+json`, those of `_bulk` as Elasticsearch has them. Connections are
//! bounded in number; each has its time for a request's head, the first included, and for its body.

mod alerts;
pub mod auth;
pub mod backtest;
pub mod backup;
mod body;
mod bulk;
mod elastic;
mod hooks;
mod index;
mod ingest;
mod operate;
pub mod search;
pub mod token;
mod trouble;

use crate::config::Limits;
use crate::daemon::Reload;
use crate::index::Index;
use crate::metrics::{self, Metrics};
use crate::parse::Format;
use crate::pipeline::evaluate::Sources;
use crate::source::http::hook::Hook;
use crate::source::http::{Door, Way};
use crate::source::{Intake, LINGER};
use crate::store::Store;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use backtest::Backtests;
use backup::Backups;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceExt;
use trouble::Trouble;

/// The head of a request has so many headers and bytes at most.
const HEADERS: usize = 100;
const HEAD: usize = 32 << 10;

/// What is still missing before records are taken.
#[derive(Debug, Default)]
pub struct Missing(Mutex<Vec<&'static str>>);

impl Missing {
    /// Waits for all of these.
    pub fn of(what: &[&'static str]) -> Missing {
        Missing(Mutex::new(what.to_vec()))
    }

    /// This is there now.
    pub fn found(&self, what: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|w| *w != what);
    }

    /// This is there no longer.
    pub fn lost(&self, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Whether this is still missing.
    pub fn has(&self, what: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&what)
    }

    fn list(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What answers are made from.
pub struct App {
    /// The administrator's token.
    pub token: String,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// What is missing.
    pub missing: Arc<Missing>,
    /// The alerts.
    pub store: Arc<Store>,
    /// The index.
    pub index: Arc<Index>,
    /// What all ways in share.
    pub door: Door,
    /// The source of kind http.
    pub http: Way,
    /// The sources of kind hook, by name.
    pub hooks: BTreeMap<String, Hook>,
    /// The formats that can be named; `auto` recognises.
    pub formats: BTreeMap<String, Option<Format>>,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// All sources.
    pub sources: Sources,
    /// What searches are answered from.
    pub searches: search::Searches,
    /// What backtests may take.
    pub backtests: Backtests,
    /// What backups are made of.
    pub backups: Backups,
    /// Takes requests to reload.
    pub reload: mpsc::Sender<Reload>,
}

/// Serves until the daemon stops, then lets requests that are being answered end.
pub async fn serve(listener: TcpListener, app: Arc<App>, mut intake: Intake) {
    let refused = app.http.source().metrics.refused.clone();
    let open = app.http.source().metrics.open.clone();
    let room = Arc::new(Semaphore::new(app.limits.http_connections));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(app.limits.header_timeout).max_buf_size(64 << 10).max_headers(HEADERS).max_header_size(HEAD);
    let stuck = app.limits.body_timeout;
    let router = router(app);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            _ = intake.stopped() => break,
            a = listener.accept() => a,
        };
        let (socket, peer) = match accepted {
            Ok(s) => s,
            Err(e) => {
                tracing::warn!(error = %e, "an HTTP connection cannot be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            refused.inc();
            continue;
        };
        // A client that does not read its answer holds the connection no longer than one that does not send.
        drop(SockRef::from(&socket).set_tcp_user_timeout(Some(stuck)));
        let (router, peer) = (router.clone(), Peer(peer.ip().to_canonical()));
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let answer = router.clone().oneshot(request);
            async {
                let answer = answer.await.unwrap_or_else(|never| match never {});
                // A service that fails ends its connection, and nothing is said.
                let hangs_up = answer.extensions().get::<HangUp>().is_some();
                if hangs_up { Err(io::Error::from(io::ErrorKind::ConnectionAborted)) } else { Ok(answer) }
            }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
        let open = open.clone();
        tokio::spawn(async move {
            open.inc();
            // An error is the client's: it went away, was too slow or does not speak HTTP.
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "an HTTP connection ended");
            }
            open.dec();
            drop(permit);
        });
    }
    drop(listener);
    // Those that have not been answered by then are cut off.
    let _ = tokio::time::timeout(LINGER, graceful.shutdown()).await;
}

/// The address that a connection comes from: never one that a header names.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

/// In an answer: the connection is ended in its place.
#[derive(Clone, Copy)]
struct HangUp;

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/v1/ingest/{format}", post(ingest::post))
        .route("/api/v1/sources", get(operate::sources))
        .route("/api/v1/reload", post(operate::reload))
        .route("/api/v1/index/verify", post(index::verify))
        .route("/api/v1/index/rebuild", post(index::rebuild))
        .route("/api/v1/search", get(search::search))
        .route("/api/v1/histogram", get(search::histogram))
        .route("/api/v1/backtest", post(backtest::post))
        .route("/api/v1/backup", post(backup::post))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/{id}", get(alerts::one))
        .route("/hooks/{name}", post(hooks::post))
        .route("/_bulk", post(bulk::post).put(bulk::post))
        .route("/{index}/_bulk", post(bulk::post_to).put(bulk::post_to))
        .merge(elastic::router())
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing under this path"))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method"))
        .layer(middleware::from_fn_with_state(app.clone(), auth::authorize))
        .layer(middleware::from_fn_with_state(app.clone(), count))
        .with_state(app)
}

/// An error as RFC 9457 has it.
fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail.into() });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    app.metrics.http(response.status().as_u16());
    response
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.missing.list() {
        m if m.is_empty() => "ready\n".into_response(),
        m => problem(StatusCode::SERVICE_UNAVAILABLE, format!("missing: {}", m.join(", "))),
    }
}

async fn scrape(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], app.metrics.text()).into_response()
}

/// What was stored: how many records, and the numbers of the first and the last.
fn answer(stored: Option<(u64, u64)>) -> Response {
    let body = match stored {
        Some((first, last)) => format!("{{\"accepted\":{},\"first\":{first},\"last\":{last}}}", last - first + 1),
        None => "{\"accepted\":0}".to_owned(),
    };
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
