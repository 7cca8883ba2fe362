//! `POST /api/v1/backtest`: rules over what the journal holds.
//!
//! The answer is the report as JSON. Who accepts `application/x-ndjson` is told on the way how far it is: lines `{"progress":0.42}`,
//! then one with the `report`, or with the `problem` for which there is none.

use super::search::Gone;
use super::{App, problem};
use crate::backtest::{self, Bounds, Refused, Request};
use crate::clock;
use crate::diag;
use crate::search::Ground;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde_json::json;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_millis(200);
/// So many of these wait for the client; there is no need for more.
const WAITING: usize = 4;
/// The type of lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// What backtests may take.
pub struct Backtests {
    /// Each of them.
    pub bounds: Bounds,
    /// The rules, and the files that they name.
    pub body_bytes: usize,
    /// How many may run at once.
    pub room: Arc<Semaphore>,
}

impl From<&crate::config::Backtest> for Backtests {
    fn from(c: &crate::config::Backtest) -> Backtests {
        Backtests { bounds: Bounds::from(c), body_bytes: c.body_bytes, room: Arc::new(Semaphore::new(c.at_once)) }
    }
}

/// Why there is no report.
type Problem = (StatusCode, String);

/// What the thread that runs it says.
enum Told {
    /// The share that is done.
    Part(f64),
    /// The report as JSON.
    End(Result<String, Problem>),
}

/// What the rules of the body, a [`Request`] as JSON, would have fired.
pub(super) async fn post(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    // Before the body is read: it is as many bodies as may run that are held.
    let Ok(room) = app.backtests.room.clone().try_acquire_owned() else {
        app.metrics.backtest("refused");
        let mut r = problem(StatusCode::TOO_MANY_REQUESTS, "as many backtests run as `[backtest] at_once` allows");
        r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return r;
    };
    let longest = app.backtests.body_bytes;
    let body = match tokio::time::timeout(app.limits.body_timeout, axum::body::to_bytes(body, longest)).await {
        Ok(Ok(b)) => b,
        Ok(Err(_)) => {
            let why = format!("rules and the files that they name are longer than the {longest} bytes of `[backtest] body_bytes`");
            return problem(StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let request: Request = match serde_json::from_slice(&body) {
        Ok(r) => r,
        Err(e) => return problem(StatusCode::BAD_REQUEST, format!("the body is no backtest: {e}")),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let gone = Gone(stop.clone());
    let (to, mut from) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let end = run(&app, &request, &stop, &to);
        // Whoever has the answer may ask for the next.
        drop(room);
        // Whoever asked may have gone.
        let _ = to.blocking_send(Told::End(end));
    });
    let lines = headers.get_all(header::ACCEPT).iter().any(|v| v.to_str().is_ok_and(|v| v.contains(NDJSON)));
    loop {
        match from.recv().await {
            Some(Told::Part(_)) if !lines => {}
            // What is wrong with the rules is known before any record is read, and has a status of its own.
            Some(Told::End(Err((status, why)))) => return problem(status, why),
            Some(Told::End(Ok(report))) if !lines => return ([(header::CONTENT_TYPE, "application/json")], report).into_response(),
            Some(first) => {
                let body = Lines { first: Some(first), from, ended: false, _gone: gone };
                return ([(header::CONTENT_TYPE, NDJSON)], Body::new(body)).into_response();
            }
            None => return problem(StatusCode::INTERNAL_SERVER_ERROR, FAILED),
        }
    }
}

/// For a thread that ends without a word.
const FAILED: &str = "the backtest failed; the log says why";

fn run(app: &App, request: &Request, stop: &AtomicBool, to: &mpsc::Sender<Told>) -> Result<String, Problem> {
    let s = &app.searches;
    let ground = Ground { reader: &s.reader, index: &app.index, past: &s.past, stop };
    let Some(in_force) = s.past.bundle() else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the rules that are in force cannot be read".into()));
    };
    let mut told: Option<Instant> = None;
    let mut on = |share| {
        if stop.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        if told.is_none_or(|t| t.elapsed() >= TOLD) {
            told = Some(clock::monotonic());
            // A client that does not read is told later.
            let _ = to.try_send(Told::Part(share));
        }
        Ok(())
    };
    let answer = backtest::answer(&ground, &in_force, request, s.durable.get(), app.backtests.bounds, &mut on);
    let outcome = match &answer {
        Ok(r) => r.cut.unwrap_or(if r.complete { "complete" } else { "incomplete" }),
        Err(Refused::Request(_) | Refused::Rules(..)) => "wrong",
        Err(Refused::Io(_)) if stop.load(Ordering::Relaxed) => "stopped",
        Err(Refused::Io(_)) => "failed",
    };
    app.metrics.backtest(outcome);
    match answer {
        Ok(r) => Ok(serde_json::to_string(&r).unwrap_or_default()),
        Err(Refused::Request(why)) => Err((StatusCode::UNPROCESSABLE_ENTITY, why)),
        Err(Refused::Rules(said, texts)) => Err((StatusCode::UNPROCESSABLE_ENTITY, diag::draw(&said, &texts, false))),
        Err(Refused::Io(e)) => Err((StatusCode::INTERNAL_SERVER_ERROR, format!("journal or index cannot be read: {e}"))),
    }
}

/// The answer line by line. Dropped, it ends the backtest.
struct Lines {
    first: Option<Told>,
    from: mpsc::Receiver<Told>,
    ended: bool,
    _gone: Gone,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Lines>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let told = match self.first.take() {
            Some(t) => t,
            None => match self.from.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(t) => t.unwrap_or_else(|| Told::End(Err((StatusCode::INTERNAL_SERVER_ERROR, FAILED.into())))),
            },
        };
        let line = match told {
            Told::Part(share) => format!("{{\"progress\":{share:.4}}}\n"),
            Told::End(end) => {
                self.ended = true;
                match end {
                    Ok(report) => format!("{{\"report\":{report}}}\n"),
                    Err((status, why)) => format!("{}\n", json!({ "problem": { "status": status.as_u16(), "detail": why } })),
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(line.into()))))
    }
}

#[cfg(test)]
mod tests {
    use crate::api::alerts::tests::app;
    use crate::api::router;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    /// Status and body of the answer to a request with this body.
    fn post(app: &std::sync::Arc<crate::api::App>, body: String) -> (u16, String) {
        let request = Request::post("/api/v1/backtest").header("authorization", format!("Bearer {}", app.token)).body(Body::from(body));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let answer = router(app.clone()).oneshot(request.expect("a request")).await.expect("it answers");
            let status = answer.status().as_u16();
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }

    #[test]
    fn no_more_run_at_once_and_no_longer_bodies_are_taken_than_are_allowed() {
        let (app, _stop) = app();
        let running = app.backtests.room.clone().try_acquire_owned().expect("there is room for one");
        let (status, said) = post(&app, "{}".into());
        assert!(status == 429 && said.contains("[backtest] at_once"), "{status} {said}");
        drop(running);
        let (status, said) = post(&app, "{}".into());
        assert!(status == 400 && said.contains("files"), "{status} {said}");
        let (status, said) = post(&app, " ".repeat(app.backtests.body_bytes + 1));
        assert!(status == 413 && said.contains("[backtest] body_bytes"), "{status} {said}");
        let text = app.metrics.text();
        assert!(text.contains("vigild_backtests_total{outcome=\"refused\"} 1"), "{text}");
    }
}
