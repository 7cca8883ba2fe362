//! `GET /api/v1/sources` and `POST /api/v1/reload`.

use super::{App, problem};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

/// Each source as it stands: what it has taken and dropped, its last event, its lag, and whether its zone seems wrong.
pub(super) async fn sources(State(app): State<Arc<App>>) -> Response {
    let all = app.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
    let one = |s: &Arc<crate::pipeline::Source>| {
        let (m, last) = (&s.metrics, s.sight.last());
        json!({
            "name": s.name,
            "kind": s.kind,
            "records": m.records.get(),
            "bytes": m.bytes.get(),
            "parse_errors": m.parse_errors.get(),
            "late": m.late.get(),
            "dropped": m.dropped_by_reason().into_iter().collect::<serde_json::Map<_, _>>(),
            "open": m.open.get(),
            "lag_bytes": m.lag_bytes.get(),
            "last_event": last.map(|(e, _)| e.to_string()),
            "last_received": last.map(|(_, r)| r.to_string()),
            "lag_seconds": last.map(|(e, r)| (r.0 - e.0).max(0) as f64 / 1e9),
            "zone_off_minutes": s.sight.zone_off(),
            "silent_after_seconds": s.silent_after.map(|d| d.as_secs_f64()),
            "silent": s.sight.is_silent(),
        })
    };
    let body = json!({ "sources": all.iter().map(one).collect::<Vec<_>>() });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Reads configuration and rules again; 422 with what is wrong, and then nothing has changed.
pub(super) async fn reload(State(app): State<Arc<App>>) -> Response {
    let (ask, answer) = oneshot::channel();
    if app.reload.send(ask).await.is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the daemon stops");
    }
    match answer.await {
        Ok(Ok(done)) => ([(header::CONTENT_TYPE, "application/json")], serde_json::to_string(&done).unwrap_or_default()).into_response(),
        Ok(Err(why)) => problem(StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "the daemon stops"),
    }
}
