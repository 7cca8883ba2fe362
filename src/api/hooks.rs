//! `POST /hooks/{name}`: webhooks, each with a secret of its own.

use super::{App, Peer, Trouble, answer, body, ingest, problem};
use crate::source::http::hook::{self, Hook, Unproved, Whole};
use crate::source::http::keys::Claim;
use crate::source::http::{self, Refused};
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::net::IpAddr;
use std::sync::Arc;

/// Takes a body.
pub async fn post(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(hook) = app.hooks.get(&name) else {
        return problem(StatusCode::NOT_FOUND, "no source of kind `hook` has this name");
    };
    match take(&app, &name, hook, peer, &headers, body).await {
        Ok(stored) => answer(stored),
        Err(trouble) => {
            if matches!(trouble, Trouble::Unproved | Trouble::Sender | Trouble::Browser) {
                hook.way.source().metrics.refused.inc();
            }
            trouble.into()
        }
    }
}

impl From<Unproved> for Trouble {
    fn from(why: Unproved) -> Trouble {
        match why {
            Unproved::Sender => Trouble::Sender,
            Unproved::Browser => Trouble::Browser,
            Unproved::Signature => Trouble::Unproved,
        }
    }
}

async fn take(app: &App, name: &str, hook: &Hook, peer: IpAddr, headers: &HeaderMap, body: Body) -> Result<Option<(u64, u64)>, Trouble> {
    hook.admits(peer, headers)?;
    if hook.is_signed() && headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Trouble::Compressed);
    }
    let mut aside = body::reserve(app, headers)?;
    let Whole(mut bytes) = body::read(app, headers, body, &mut aside, Whole::default()).await?;
    hook.proves(headers, &bytes)?;
    let form = headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if hook.is_github() && form {
        aside.cover(2 * bytes.capacity(), 0)?;
        bytes = hook::payload(&bytes).ok_or(Trouble::Form)?;
    }
    // Asked only of who has proved to be the sender: nobody else uses up keys.
    let key = ingest::key(headers, if hook.is_github() { "x-github-delivery" } else { ingest::KEY })?;
    let running = match key {
        None => None,
        Some(key) => {
            let hash = http::hash(name, &bytes);
            match app.door.keys().claim((format!("hook:{name}").into(), key.into())) {
                Claim::Used(first) if first.body == hash => return Ok(Some(first.stored)),
                Claim::Used(_) => return Err(Trouble::OtherBody),
                Claim::Busy => return Err(Trouble::Running),
                Claim::New(running) => Some((running, hash)),
            }
        }
    };
    let batch = hook::records(bytes, app.limits.record_bytes).ok_or(Refused::Records(hook::RECORDS))?;
    let source = hook.way.source();
    Ok(app.door.store(&hook.way.stream("hook"), source.format, batch, running).await?)
}
