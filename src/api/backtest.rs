//! `POST /api/v1/backtest`: rules over what the journal holds.

use super::search::Gone;
use super::{App, problem};
use crate::backtest::{self, Refused, Request};
use crate::diag;
use crate::search::Ground;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rules and the files that they name have so many bytes together at most.
const LONGEST: usize = 8 << 20;

/// What the rules of the body, a [`Request`] as JSON, would have fired.
pub(super) async fn post(State(app): State<Arc<App>>, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, LONGEST).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "rules and the files that they name are longer than 8 MiB");
    };
    let request: Request = match serde_json::from_slice(&body) {
        Ok(r) => r,
        Err(e) => return problem(StatusCode::BAD_REQUEST, format!("the body is no backtest: {e}")),
    };
    let Ok(room) = app.searches.room.clone().try_acquire_owned() else {
        return problem(StatusCode::TOO_MANY_REQUESTS, "as many searches run as `[search] at_once` allows");
    };
    let stop = Arc::new(AtomicBool::new(false));
    let _gone = Gone(stop.clone());
    let done = tokio::task::spawn_blocking(move || {
        let _room = room;
        run(&app, &request, &stop)
    });
    done.await.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "the backtest failed; the log says why"))
}

fn run(app: &App, request: &Request, stop: &AtomicBool) -> Response {
    let s = &app.searches;
    let ground = Ground { reader: &s.reader, index: &app.index, past: &s.past, stop };
    let Some(in_force) = s.past.bundle() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the rules that are in force cannot be read");
    };
    let mut on = |_| if stop.load(Ordering::Relaxed) { Err(std::io::ErrorKind::Interrupted.into()) } else { Ok(()) };
    match backtest::answer(&ground, &in_force, request, s.durable.get(), &mut on) {
        Ok(r) => ([(header::CONTENT_TYPE, "application/json")], serde_json::to_string(&r).unwrap_or_default()).into_response(),
        Err(Refused::Request(why)) => problem(StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(Refused::Rules(said, texts)) => problem(StatusCode::UNPROCESSABLE_ENTITY, diag::draw(&said, &texts, false)),
        Err(Refused::Io(e)) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("journal or index cannot be read: {e}")),
    }
}
