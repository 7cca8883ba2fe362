//! `POST /_bulk`: what speaks to Elasticsearch can speak to vigild; answered when all records are durable.
//!
//! Parameters (`pipeline`, `refresh`, `filter_path`, …) are taken and mean nothing. A client's `_id` is given back and does not
//! keep a document that comes twice from being stored twice. Where nothing can be stored, the whole request is refused.
//!
//! rsyslog's omelasticsearch gives up what is refused so, and sends again what is not answered at all. So it is not answered
//! where it should come back later.

use super::elastic::{self, JSON};
use super::{App, HangUp, Peer, Trouble, body};
use crate::source::http::bulk::{Bulk, Item};
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io::Write;
use std::sync::Arc;

/// Takes a body without an index in the path.
pub async fn post(state: State<Arc<App>>, peer: Extension<Peer>, headers: HeaderMap, body: Body) -> Response {
    take(state, peer, None, headers, body).await
}

/// Takes a body for an index.
pub async fn post_to(state: State<Arc<App>>, peer: Extension<Peer>, Path(index): Path<String>, headers: HeaderMap, body: Body) -> Response {
    take(state, peer, Some(&index), headers, body).await
}

async fn take(State(app): State<Arc<App>>, Extension(Peer(peer)): Extension<Peer>, index: Option<&str>, headers: HeaderMap, body: Body) -> Response {
    let begin = crate::clock::monotonic();
    if !app.http.allows(peer) {
        app.http.source().metrics.refused.inc();
        return elastic::trouble(&Trouble::Sender);
    }
    match store(&app, index, &headers, body).await {
        Ok((items, stored)) => {
            let took = begin.elapsed().as_millis();
            (StatusCode::OK, [(header::CONTENT_TYPE, JSON), elastic::PRODUCT], answer(&items, stored, took)).into_response()
        }
        Err(t) => {
            let mut answer = elastic::trouble(&t);
            if t.is_passing() && is_omelasticsearch(&headers) {
                answer.extensions_mut().insert(HangUp);
            }
            answer
        }
    }
}

/// Whether a request looks as that module makes it: it does not say who it is, as all others do.
fn is_omelasticsearch(headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(name).is_some_and(|v| v.as_bytes() == value.as_bytes());
    !headers.contains_key(header::USER_AGENT) && is(header::ACCEPT, "*/*") && is(header::CONTENT_TYPE, "application/json; charset=utf-8")
}

async fn store(app: &App, index: Option<&str>, headers: &HeaderMap, body: Body) -> Result<(Vec<Item>, u64), Trouble> {
    let mut aside = body::reserve(app, headers)?;
    let bulk = Bulk::new(index, app.limits.record_bytes);
    let (items, batch) = body::read(app, headers, body, &mut aside, bulk).await?.end().map_err(Trouble::Malformed)?;
    let stored = app.door.store(&app.http.stream("bulk"), app.http.source().format, batch, None).await?;
    Ok((items, stored.map_or(0, |s| s.0)))
}

/// The answer, item by item; `seq` is the number of the first record, which is its id where the client named none.
fn answer(items: &[Item], mut seq: u64, took: u128) -> Vec<u8> {
    let errors = items.iter().any(|i| i.refused.is_some());
    let mut out = Vec::with_capacity(64 + 128 * items.len());
    let string = |s: &str| serde_json::Value::from(s);
    // Writing to memory cannot fail.
    let _ = write!(out, "{{\"took\":{took},\"errors\":{errors},\"items\":[");
    for (n, item) in items.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let (verb, index) = (item.verb.name(), string(&item.index));
        let _ = write!(out, "{comma}{{\"{verb}\":{{\"_index\":{index},");
        let _ = match (&item.id, item.refused) {
            (Some(id), _) => write!(out, "\"_id\":{},", string(id)),
            (None, None) => write!(out, "\"_id\":\"{seq}\","),
            (None, Some(_)) => write!(out, "\"_id\":null,"),
        };
        let _ = match item.refused {
            None => write!(out, "\"_version\":1,\"result\":\"created\",\"_seq_no\":{seq},\"_primary_term\":1,\"status\":201}}}}"),
            Some(why) => write!(out, "\"status\":400,\"error\":{{\"type\":\"illegal_argument_exception\",\"reason\":{}}}}}}}", string(why)),
        };
        seq += item.refused.is_none() as u64;
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::http::bulk::Verb;

    #[test]
    fn an_answer_has_an_item_for_each_action() {
        let item = |verb, id: Option<&str>, refused| Item { verb, index: "lo\"gs".into(), id: id.map(Into::into), refused };
        let items = [item(Verb::Create, None, None), item(Verb::Delete, Some("x\ny"), Some("no")), item(Verb::Index, Some("z"), None)];
        let v: serde_json::Value = serde_json::from_slice(&answer(&items, 7, 3)).expect("JSON");
        assert_eq!((&v["took"], &v["errors"]), (&3.into(), &true.into()));
        assert_eq!((&v["items"][0]["create"]["_id"], &v["items"][0]["create"]["status"]), (&"7".into(), &201.into()));
        assert_eq!((&v["items"][0]["create"]["_index"], &v["items"][2]["index"]["_seq_no"]), (&"lo\"gs".into(), &8.into()));
        assert_eq!((&v["items"][1]["delete"]["_id"], &v["items"][1]["delete"]["error"]["reason"]), (&"x\ny".into(), &"no".into()));
        let v: serde_json::Value = serde_json::from_slice(&answer(&items[..1], 7, 3)).expect("JSON");
        assert_eq!(v["errors"], false);
    }
}
