//! `POST /api/v1/ingest/{format}`: lines or JSON in, and an answer when they are durable.
//!
//! With an `Idempotency-Key`, a request that is repeated gets the answer of the first and stores nothing. A key belongs to
//! whose token it came with and to the path.

use super::{App, Peer, Trouble, answer, body, problem};
use crate::parse::Format;
use crate::source::http::Lines;
use crate::source::http::keys::{self, Claim};
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use std::sync::Arc;

/// The header that names a request.
pub const KEY: &str = "idempotency-key";

/// Takes a body.
pub async fn post(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(&format) = app.formats.get(&name) else {
        let known: Vec<&str> = app.formats.keys().map(String::as_str).collect();
        let mean = crate::config::near(&name, known.iter().copied()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
        return problem(StatusCode::NOT_FOUND, format!("there is no such format; {mean}known: {}", known.join(", ")));
    };
    if !app.http.allows(peer) {
        app.http.source().metrics.refused.inc();
        return Trouble::Sender.into();
    }
    match take(&app, &name, format, &headers, body).await {
        Ok(stored) => answer(stored),
        Err(trouble) => trouble.into(),
    }
}

/// The key of a request, from the header of this name.
pub fn key<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Trouble> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None, _) => Ok(None),
        (Some(k), None) if keys::is_key(k) => Ok(std::str::from_utf8(k).ok()),
        _ => Err(Trouble::Key),
    }
}

async fn take(app: &App, name: &str, format: Option<Format>, headers: &HeaderMap, body: Body) -> Result<Option<(u64, u64)>, Trouble> {
    let claim = key(headers, KEY)?.map(|key| {
        // There is one token, and who has it is the administrator.
        let scope = format!("admin:/api/v1/ingest/{name}");
        app.door.keys().claim((scope.into(), key.into()))
    });
    if let Some(Claim::Busy) = claim {
        return Err(Trouble::Running);
    }
    let mut aside = body::reserve(app, headers)?;
    let lines = Lines::new(format, app.limits.record_bytes, claim.as_ref().map(|_| name));
    let (batch, hash) = body::read(app, headers, body, &mut aside, lines).await?.end();
    let running = match claim {
        Some(Claim::Used(first)) if first.body == hash => return Ok(Some(first.stored)),
        Some(Claim::Used(_)) => return Err(Trouble::OtherBody),
        Some(Claim::New(running)) => Some((running, hash)),
        Some(Claim::Busy) | None => None,
    };
    Ok(app.door.store(&app.http.stream(name), format, batch, running).await?)
}
