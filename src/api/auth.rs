//! Who may ask: the administrator's token, however a client sends it.

use super::{App, elastic, problem};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What is for everybody; all other paths want the token, those that do not exist included.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// What stands below has proofs of its own.
const HOOKS: &str = "/hooks/";

/// What a header may mean by a secret: all of it, what stands behind `Bearer`, the password behind `Basic`, and what stands
/// behind `ApiKey`, as it is or as the key of `id:key` in base64.
pub fn spellings(header: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let header = header.trim_ascii();
    let space = header.iter().position(|b| *b == b' ');
    let (scheme, rest) = space.map_or((&b""[..], &b""[..]), |n| (&header[..n], header[n..].trim_ascii()));
    let is = |name: &str| scheme.eq_ignore_ascii_case(name.as_bytes());
    let behind_colon = || {
        let mut pair = STANDARD.decode(rest).ok()?;
        let colon = pair.iter().position(|b| *b == b':')?;
        Some(Cow::Owned(pair.split_off(colon + 1)))
    };
    let plain = (is("Bearer") || is("ApiKey")).then_some(Cow::Borrowed(rest));
    let inner = if is("Basic") || is("ApiKey") { behind_colon() } else { None };
    [Some(Cow::Borrowed(header)), plain, inner].into_iter().flatten()
}

/// Lets those pass who have the token. `Bearer` is understood everywhere, the rest where shippers of logs send it.
pub async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_sent() {
        let all = |h: &str| spellings(h.as_bytes()).map(|s| String::from_utf8_lossy(&s).into_owned()).collect::<Vec<_>>();
        let encoded = |s: &str| STANDARD.encode(s);
        assert_eq!(all("s3cret"), ["s3cret"]);
        assert_eq!(all("bearer  s3cret "), ["bearer  s3cret", "s3cret"]);
        let basic = format!("Basic {}", encoded("elastic:s3:cret"));
        assert_eq!(all(&basic), [basic.as_str(), "s3:cret"]);
        let key = encoded("id:s3cret");
        assert_eq!(all(&format!("ApiKey {key}")), [format!("ApiKey {key}"), key.clone(), "s3cret".into()]);
        assert_eq!(all("ApiKey s3cret"), ["ApiKey s3cret", "s3cret"]);
        assert_eq!(all("Basic !!!"), ["Basic !!!"]);
        assert_eq!(all(""), [""]);
    }
}
