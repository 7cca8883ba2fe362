//! Why a body is not taken, and the status that says so.

use super::problem;
use crate::source::http::Refused;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// A client that is told to come back later is told to wait so long.
const RETRY: HeaderValue = HeaderValue::from_static("1");
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, zstd");

/// Why nothing of a body was stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Trouble {
    /// The way in does not take it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It did not come in time.
    #[error("the body did not come in time")]
    Slow,
    /// It ended early.
    #[error("the body cannot be read")]
    Broken,
    /// It is no bulk request.
    #[error("{0}")]
    Malformed(String),
    /// The key cannot be one.
    #[error("an idempotency key is given once and has 1 to 255 visible letters of ASCII")]
    Key,
    /// The first request under the key has not ended.
    #[error("the first request with this idempotency key still runs")]
    Running,
    /// The key has been used for another body.
    #[error("this idempotency key came with another body before")]
    OtherBody,
    /// The sender's address is not allowed.
    #[error("the source does not take records from this address")]
    Sender,
    /// A page in a browser sent it.
    #[error("the source does not take records from a browser")]
    Browser,
    /// The signature or token is missing or wrong.
    #[error("the signature or the token is missing or wrong")]
    Unproved,
    /// A signed body may not be compressed.
    #[error("a signed body is taken as it was signed, without `Content-Encoding`")]
    Compressed,
    /// A form without the field that holds the document.
    #[error("the form has no field `payload`")]
    Form,
}

impl Trouble {
    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Trouble::Refused(Refused::TooLarge(_) | Refused::TooMany(_) | Refused::Records(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Trouble::Refused(Refused::Coding) | Trouble::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Trouble::Refused(Refused::Busy) => StatusCode::TOO_MANY_REQUESTS,
            Trouble::Refused(Refused::Full) => StatusCode::INSUFFICIENT_STORAGE,
            Trouble::Refused(Refused::Stopping) => StatusCode::SERVICE_UNAVAILABLE,
            Trouble::Slow => StatusCode::REQUEST_TIMEOUT,
            Trouble::Refused(Refused::Malformed(..)) | Trouble::Broken | Trouble::Malformed(_) | Trouble::Key | Trouble::Form => {
                StatusCode::BAD_REQUEST
            }
            Trouble::Running => StatusCode::CONFLICT,
            Trouble::OtherBody => StatusCode::UNPROCESSABLE_ENTITY,
            Trouble::Sender | Trouble::Browser => StatusCode::FORBIDDEN,
            Trouble::Unproved => StatusCode::UNAUTHORIZED,
        }
    }

    /// Whether the same request can be taken a little later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Trouble::Refused(Refused::Busy | Refused::Full | Refused::Stopping))
    }

    /// Adds the headers that tell a client what to do.
    pub fn advise(&self, mut r: Response) -> Response {
        if self.is_passing() || *self == Trouble::Running {
            r.headers_mut().insert(header::RETRY_AFTER, RETRY);
        }
        match self {
            Trouble::Refused(Refused::Coding) => {
                r.headers_mut().insert(header::ACCEPT_ENCODING, CODINGS);
            }
            Trouble::Unproved => {
                r.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Trouble::Slow => {
                r.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        r
    }
}

impl From<Trouble> for Response {
    fn from(t: Trouble) -> Response {
        t.advise(problem(t.status(), format!("{t}; nothing was taken")))
    }
}
