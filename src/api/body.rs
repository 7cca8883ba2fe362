//! Reads the body of a request, within the limits of size and time.

use super::{App, Trouble};
use crate::source::http::coding::Coding;
use crate::source::http::{Aside, Refused, Take};
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, header};
use std::pin::Pin;

/// Sets memory aside for a body as its head describes it.
pub fn reserve<'a>(app: &'a App, headers: &HeaderMap) -> Result<Aside<'a>, Trouble> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    Ok(app.door.reserve(length)?)
}

/// Reads a body, decompressed, into what is made of it.
pub async fn read<T: Take>(app: &App, headers: &HeaderMap, body: Body, aside: &mut Aside<'_>, to: T) -> Result<T, Trouble> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let coding = Coding::named(codings).ok_or(Refused::Coding)?;
    let reading = pieces(body, app.door.body(coding, to), aside);
    tokio::time::timeout(app.limits.body_timeout, reading).await.map_err(|_| Trouble::Slow)?
}

async fn pieces<T: Take>(mut body: Body, mut incoming: crate::source::http::Incoming<T>, aside: &mut Aside<'_>) -> Result<T, Trouble> {
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // A body that ends early has nobody left to tell.
        let frame = frame.map_err(|_| Trouble::Broken)?;
        if let Some(bytes) = frame.data_ref() {
            incoming.feed(bytes, aside)?;
        }
    }
    Ok(incoming.end(aside)?)
}
