//! `POST /api/v1/index/verify` and `POST /api/v1/index/rebuild`.

use super::{App, problem};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use tokio::task::spawn_blocking;

fn answer(done: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], serde_json::to_string(done).unwrap_or_default()).into_response()
}

/// Compares every file of the index with what was written. What differs is put aside, and built again; answers what was found.
pub(super) async fn verify(State(app): State<Arc<App>>) -> Response {
    let index = app.index.clone();
    match spawn_blocking(move || index.verify(&|| false)).await {
        Ok(found) => answer(&found),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the comparison has failed; the log says why"),
    }
}

/// Removes all slices, so that they are built again in the background; answers how many there were. 409 where nothing is indexed.
pub(super) async fn rebuild(State(app): State<Arc<App>>) -> Response {
    let index = app.index.clone();
    match spawn_blocking(move || index.clear()).await {
        Ok(Ok(removed)) => answer(&json!({ "removed": removed })),
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            problem(StatusCode::CONFLICT, "`[index] enabled` is false: nothing would be built")
        }
        Ok(Err(e)) => problem(StatusCode::INTERNAL_SERVER_ERROR, format!("the slices cannot all be removed: {e}")),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the removal has failed; the log says why"),
    }
}
