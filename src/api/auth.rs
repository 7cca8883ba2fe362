//! Who may ask: the administrator's token, however a client sends it.

use super::{App, elastic, problem};
use crate::source::http::credentials::spellings;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What is for everybody; all other paths want the token, those that do not exist included.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// What stands below has proofs of its own.
const HOOKS: &str = "/hooks/";

/// Lets those pass who have the token. `Bearer` is understood everywhere, the rest where shippers of logs send it.
pub async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // What comes before recovery is complete would stand in the journal before the gap and the load that it comes behind.
    if matches!(*request.method(), Method::POST | Method::PUT) && app.missing.has("engine") {
        let mut r = problem(StatusCode::SERVICE_UNAVAILABLE, "the journal is being replayed; nothing was taken");
        r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return r;
    }
    if OPEN.contains(&path) || path.starts_with(HOOKS) {
        return next.run(request).await;
    }
    let elastic = elastic::is_path(path);
    let given = request.headers().get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let bearer = given.get(..7).is_some_and(|s| s.eq_ignore_ascii_case(b"Bearer "));
    // The header as it stands is no spelling of a token: what comes first is left out.
    let right = spellings(given).skip(1).any(|g| g.ct_eq(app.token.as_bytes()).into());
    if right && (bearer || elastic) {
        return next.run(request).await;
    }
    if elastic {
        return elastic::unauthorized();
    }
    let mut r = problem(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer` with the token of `admin.token` in the data directory");
    r.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    r
}
