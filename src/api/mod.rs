//! HTTP: ingest, alerts, `/metrics`, `/livez` and `/readyz`.
//!
//! `/metrics`, `/livez` and `/readyz` are for everybody who reaches the listener; everything else wants the token.
//! Errors are `application/problem+json`. Connections are bounded in number; each has its time for a request's head,
//! the first included, and for its body.

mod alerts;
pub mod token;

use crate::config::Limits;
use crate::metrics::{self, Metrics};
use crate::parse::Format;
use crate::source::http::{Ingest, Refused};
use crate::source::{Intake, LINGER};
use crate::store::Store;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A client that is told to come back later is told to wait so long.
const RETRY: HeaderValue = HeaderValue::from_static("1");

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
    /// Takes records.
    pub ingest: Ingest,
    /// The formats that can be named; `auto` recognises.
    pub formats: BTreeMap<String, Option<Format>>,
    /// The bounds.
    pub limits: Arc<Limits>,
}

/// Serves until the daemon stops, then lets requests that are being answered end.
pub async fn serve(listener: TcpListener, app: Arc<App>, mut intake: Intake) {
    let refused = app.ingest.source().metrics.refused.clone();
    let open = app.ingest.source().metrics.open.clone();
    let room = Arc::new(Semaphore::new(app.limits.http_connections));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(app.limits.header_timeout).max_buf_size(64 << 10);
    let stuck = app.limits.body_timeout;
    let service = TowerToHyperService::new(router(app));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            _ = intake.stopped() => break,
            a = listener.accept() => a,
        };
        let socket = match accepted {
            Ok((s, _)) => s,
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
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service.clone()));
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

/// What is for everybody; all other paths want the token, those that do not exist included.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/metrics"];

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/v1/ingest/{format}", post(ingest))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/{id}", get(alerts::one))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing under this path"))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method"))
        .layer(middleware::from_fn_with_state(app.clone(), authorize))
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

async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let given = request.headers().get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let token = match given.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token.trim_ascii(),
        _ => b"",
    };
    if bool::from(token.ct_eq(app.token.as_bytes())) {
        return next.run(request).await;
    }
    let mut r = problem(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer` with the token of `admin.token` in the data directory");
    r.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    r
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

async fn ingest(State(app): State<Arc<App>>, Path(name): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let Some(&format) = app.formats.get(&name) else {
        let known: Vec<&str> = app.formats.keys().map(String::as_str).collect();
        let mean = crate::config::near(&name, known.iter().copied()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
        return problem(StatusCode::NOT_FOUND, format!("there is no such format; {mean}known: {}", known.join(", ")));
    };
    let gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the only `Content-Encoding` taken is gzip"),
    };
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    match body_records(&app, &name, format, length, gzip, body).await {
        Ok(n) => ([(header::CONTENT_TYPE, "application/json")], format!("{{\"accepted\":{n}}}")).into_response(),
        Err(r) => r,
    }
}

async fn body_records(app: &App, name: &str, format: Option<Format>, length: Option<u64>, gzip: bool, body: Body) -> Result<usize, Response> {
    let memory = app.ingest.reserve(length, gzip).map_err(refuse)?;
    let read = tokio::time::timeout(app.limits.body_timeout, to_bytes(body, app.limits.body_bytes)).await;
    let body = match read {
        Err(_) => {
            let mut r = problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
            r.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Err(r);
        }
        Ok(Ok(b)) => b,
        // A body that ends early has nobody left to tell.
        Ok(Err(e)) if std::error::Error::source(&e).is_some_and(|s| s.to_string().contains("length limit")) => {
            return Err(refuse(Refused::TooLarge(app.limits.body_bytes)));
        }
        Ok(Err(_)) => return Err(problem(StatusCode::BAD_REQUEST, "the body cannot be read")),
    };
    let taken = app.ingest.take(name, format, body.into(), gzip).await;
    drop(memory);
    taken.map_err(refuse)
}

fn refuse(why: Refused) -> Response {
    let status = match why {
        Refused::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::NotGzip(_) => StatusCode::BAD_REQUEST,
        Refused::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refused::Full => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut r = problem(status, format!("{why}; nothing was taken"));
    if matches!(why, Refused::Busy | Refused::Stopping) {
        r.headers_mut().insert(header::RETRY_AFTER, RETRY);
    }
    r
}
