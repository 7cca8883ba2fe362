//! The ways in which clients send a secret in a header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

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
