//! `POST /api/v1/backup`: a copy of the data directory, written by the daemon where it is told to.

use super::search::Gone;
use super::{App, problem};
use crate::backup::{self, BackupError, Ground, Options};
use crate::{clock, diag};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::Semaphore;

/// A request is never longer.
const LONGEST: usize = 64 << 10;

/// What backups are made of.
pub struct Backups {
    /// The data directory.
    pub data: PathBuf,
    /// One is made at a time.
    pub room: Arc<Semaphore>,
}

impl Backups {
    /// Of a data directory.
    pub fn of(data: PathBuf) -> Backups {
        Backups { data, room: Arc::new(Semaphore::new(1)) }
    }
}

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// An empty folder, or one to be made.
    to: PathBuf,
    /// Whether the index is copied, too.
    #[serde(default)]
    index: bool,
}

/// Makes a backup; answers how much it holds. 409 where the folder cannot take one, 507 where there is no room.
pub(super) async fn post(State(app): State<Arc<App>>, body: Body) -> Response {
    let body = match tokio::time::timeout(app.limits.body_timeout, axum::body::to_bytes(body, LONGEST)).await {
        Ok(Ok(b)) => b,
        Ok(Err(_)) => return problem(StatusCode::PAYLOAD_TOO_LARGE, "this is more than a path"),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(a) => a,
        Err(e) => return problem(StatusCode::BAD_REQUEST, format!("the body asks for no backup: {e}")),
    };
    if !asked.to.is_absolute() {
        return problem(StatusCode::BAD_REQUEST, "`to` is no absolute path");
    }
    let Ok(room) = app.backups.room.clone().try_acquire_owned() else {
        app.metrics.backup("refused");
        let mut r = problem(StatusCode::TOO_MANY_REQUESTS, "a backup is being made");
        r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return r;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let _gone = Gone(stop.clone());
    let done = tokio::task::spawn_blocking(move || {
        let r = run(&app, &asked, &stop);
        drop(room);
        r
    });
    done.await.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the backup failed; the log says why"))
}

fn run(app: &App, asked: &Asked, stop: &AtomicBool) -> Response {
    let ground = Ground { data: &app.backups.data, reader: &app.searches.reader, store: Some(&app.store), stop, now: clock::now() };
    match backup::make(&ground, &asked.to, &Options { index: asked.index }) {
        Ok(m) => {
            app.metrics.backup("made");
            tracing::info!(to = %asked.to.display(), files = m.files.len(), bytes = m.bytes(), "a backup is made");
            let body = json!({ "files": m.files.len(), "bytes": m.bytes(), "first_lsn": m.first_lsn, "last_lsn": m.last_lsn });
            ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Err(e) => {
            let status = match e {
                BackupError::NotEmpty(_) | BackupError::Inside(_) => StatusCode::CONFLICT,
                BackupError::Room { .. } => StatusCode::INSUFFICIENT_STORAGE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            app.metrics.backup("failed");
            let why = diag::causes(&e);
            tracing::error!(to = %asked.to.display(), why, "no backup is made");
            problem(status, why)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::{alerts, router};
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    #[test]
    fn one_is_made_at_a_time_and_only_where_the_place_is_named_in_full() {
        let (app, _stop) = alerts::tests::app();
        let post = |to: &str| {
            let request = Request::post("/api/v1/backup").header("authorization", format!("Bearer {}", app.token));
            let request = request.body(Body::from(format!("{{\"to\":\"{to}\"}}")));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let answer = router(app.clone()).oneshot(request.expect("a request"));
            runtime.block_on(answer).expect("it answers").status().as_u16()
        };
        assert_eq!((post("here"), post(&"x".repeat(70_000))), (400, 413));
        let making = app.backups.room.clone().try_acquire_owned().expect("there is room for one");
        assert_eq!(post("/there"), 429);
        drop(making);
        assert!(app.metrics.text().contains("vigild_backups_total{outcome=\"refused\"} 1"));
    }
}
