//! What shippers of logs ask an Elasticsearch before they send: as little as makes them go on.
//!
//! | asked | by | answered |
//! |---|---|---|
//! | `GET /`, `HEAD /` | Filebeat, Logstash, Vector | a version and the product's header |
//! | `GET /_license`, `/_xpack` | Filebeat, Logstash | a basic licence, active |
//! | `GET`, `HEAD`, `PUT` of templates, policies, pipelines, data streams | Filebeat, Logstash | they are there |
//! | `GET /_cluster/health`, `/_cat/…` | Vector, rsyslog's omelasticsearch | green |
//! | `GET /_nodes/http` | Logstash, Vector | no other nodes |

use super::{App, Trouble};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};
use std::sync::Arc;

/// By this clients know with whom they speak.
pub const PRODUCT: (HeaderName, HeaderValue) = (HeaderName::from_static("x-elastic-product"), HeaderValue::from_static("Elasticsearch"));
/// The media type of answers.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The version that is spoken.
const VERSION: &str = "8.17.0";

/// Whether a path is one of those that such clients ask for.
pub fn is_path(path: &str) -> bool {
    path == "/" || path.starts_with("/_") || path.ends_with("/_bulk")
}

/// The paths beside `_bulk`.
pub fn router() -> Router<Arc<App>> {
    let there = || get(async || answer(&json!({}))).put(async || answer(&json!({ "acknowledged": true })));
    Router::new()
        .route("/", get(async || answer(&root())))
        .route("/_license", get(async || answer(&json!({ "license": license() }))))
        .route("/_xpack", get(async || answer(&json!({ "license": license(), "features": {} }))))
        .route("/_cluster/health", get(async || answer(&health())))
        .route("/_cat/{*what}", get(async || ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain")), PRODUCT], "vigild green\n")))
        .route("/_nodes/http", get(async || answer(&json!({ "cluster_name": "vigild", "nodes": {} }))))
        .route("/_index_template/{name}", there())
        .route("/_template/{name}", there())
        .route("/_component_template/{name}", there())
        .route("/_data_stream/{name}", there())
        .route("/_ilm/policy/{name}", there())
        .route("/_ingest/pipeline/{name}", there())
        .route("/_ingest/pipeline", put(async || answer(&json!({ "acknowledged": true }))))
}

fn answer(v: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON), PRODUCT], v.to_string()).into_response()
}

fn root() -> Value {
    json!({
        "name": "vigild",
        "cluster_name": "vigild",
        "cluster_uuid": "dmlnaWxkLXZpZ2lsZC12aQ",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": env!("CARGO_PKG_VERSION"),
            "build_date": "2024-12-11T12:08:05Z",
            "build_snapshot": false,
            "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    })
}

fn license() -> Value {
    json!({ "status": "active", "uid": "76696769-6c64-4000-8000-000000000000", "type": "basic", "issued_to": "vigild", "issuer": "vigild" })
}

fn health() -> Value {
    json!({
        "cluster_name": "vigild",
        "status": "green",
        "timed_out": false,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "unassigned_shards": 0,
        "active_shards_percent_as_number": 100.0,
    })
}

/// An error of a whole request.
fn error(status: StatusCode, kind: &str, reason: &str) -> Response {
    let cause = json!({ "type": kind, "reason": reason });
    let mut v = json!({ "error": cause, "status": status.as_u16() });
    v["error"]["root_cause"] = json!([cause]);
    (status, [(header::CONTENT_TYPE, JSON), PRODUCT], v.to_string()).into_response()
}

/// Why nothing of a request was stored.
pub fn trouble(t: &Trouble) -> Response {
    let status = t.status();
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "es_rejected_execution_exception",
        StatusCode::INSUFFICIENT_STORAGE => "cluster_block_exception",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable_shards_exception",
        StatusCode::PAYLOAD_TOO_LARGE => "content_too_long_exception",
        StatusCode::FORBIDDEN => "security_exception",
        _ => "illegal_argument_exception",
    };
    t.advise(error(status, kind, &format!("{t}; nothing was taken")))
}

/// The token is missing or wrong.
pub fn unauthorized() -> Response {
    let reason = "send the token of `admin.token` in the data directory as `Bearer`, `ApiKey` or the password of `Basic`";
    let mut r = error(StatusCode::UNAUTHORIZED, "security_exception", reason);
    for scheme in ["Basic realm=\"vigild\"", "Bearer realm=\"vigild\"", "ApiKey"] {
        r.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
    }
    r
}
