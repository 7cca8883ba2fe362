//! Webhooks: who may send them, and the records in their bodies.

use super::super::OpenError;
use super::credentials::spellings;
use super::{Take, Way, is_among};
use crate::config::secret::Revealed;
use crate::config::source::hook::{self as config, Signature};
use crate::event::{Batch, Record, Stretch};
use crate::pipeline::Source;
use crate::source::frame::{Framer, whole};
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::Sha256;
use std::net::IpAddr;
use std::sync::Arc;

/// A body is an array of so many records at most.
pub const RECORDS: usize = 100_000;

/// One configured webhook.
pub struct Hook {
    /// Its source and stream.
    pub way: Way,
    signature: Signature,
    secret: Option<Revealed>,
}

/// Why a body is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// The sender's address is not on the source's list.
    Sender,
    /// A browser sends it on behalf of some page.
    Browser,
    /// The signature or the token is missing or wrong.
    Signature,
}

/// The loopback networks: who may send without a proof where no list says otherwise.
fn loopback() -> [IpNet; 2] {
    [IpNet::new_assert([127, 0, 0, 0].into(), 8), IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128)]
}

impl Hook {
    /// Reads the secret of a source of kind hook.
    pub fn open(config: &config::Hook, source: Arc<Source>) -> Result<Hook, OpenError> {
        let secret = match &config.secret {
            None => None,
            Some(s) => Some(s.read().map_err(|e| OpenError::Setting { what: source.name.clone(), why: e.to_string() })?),
        };
        Ok(Hook { way: Way::new(source), signature: config.signature.clone(), secret })
    }

    /// What a hook of GitHub's is identified by, beside what every sender may give.
    pub fn is_github(&self) -> bool {
        self.signature == Signature::Github
    }

    /// Whether its bodies are signed, so that they count as they are on the wire.
    pub fn is_signed(&self) -> bool {
        matches!(self.signature, Signature::Github | Signature::Hmac { .. })
    }

    /// Whether a request with this head may be read further.
    pub fn admits(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Unproved> {
        let allow = &self.way.source().allow;
        let among = if self.signature == Signature::None && allow.is_empty() { is_among(&loopback(), peer) } else { is_among(allow, peer) };
        if !among {
            return Err(Unproved::Sender);
        }
        match (&self.signature, &self.secret) {
            // A page in a browser on this machine reaches loopback too, and cannot help saying where it comes from.
            (Signature::None, _) if headers.contains_key("origin") || headers.contains_key("sec-fetch-site") => Err(Unproved::Browser),
            (Signature::None, _) => Ok(()),
            (Signature::Token { header }, Some(secret)) => {
                let mut values = headers.get_all(header.as_str()).iter();
                let (given, more) = (values.next(), values.next());
                let given = given.filter(|_| more.is_none()).ok_or(Unproved::Signature)?;
                let right = spellings(given.as_bytes()).any(|g| secret.is(&g));
                if right { Ok(()) } else { Err(Unproved::Signature) }
            }
            (Signature::Github | Signature::Hmac { .. }, Some(_)) => Ok(()),
            (_, None) => Err(Unproved::Signature),
        }
    }

    /// Whether a body is the one that was signed.
    pub fn proves(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Unproved> {
        let (header, prefix) = match &self.signature {
            Signature::Github => ("x-hub-signature-256", "sha256="),
            Signature::Hmac { header } => (header.as_str(), ""),
            Signature::Token { .. } | Signature::None => return Ok(()),
        };
        let given = headers.get(header).and_then(|v| v.to_str().ok()).ok_or(Unproved::Signature)?.trim();
        let hex = match given.strip_prefix("sha256=") {
            Some(hex) => hex,
            None if prefix.is_empty() => given,
            None => return Err(Unproved::Signature),
        };
        let (Some(given), Some(secret)) = (unhex(hex), &self.secret) else { return Err(Unproved::Signature) };
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).map_err(|_| Unproved::Signature)?;
        mac.update(body);
        // In constant time.
        mac.verify_slice(&given).map_err(|_| Unproved::Signature)
    }
}

fn unhex(s: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (o, pair) in out.iter_mut().zip(s.as_bytes().chunks(2)) {
        *o = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// A body in memory: a signature is over all of it.
#[derive(Default)]
pub struct Whole(pub Vec<u8>);

impl Take for Whole {
    fn take(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn held(&self) -> usize {
        self.0.capacity()
    }
}

/// The document in a body that a form of one field `payload` holds, as GitHub sends it where it is not told otherwise.
pub fn payload(body: &[u8]) -> Option<Vec<u8>> {
    form_urlencoded::parse(body).find(|(name, _)| name == "payload").map(|(_, v)| v.into_owned().into_bytes())
}

/// The records of a body: the documents of which it is made, the elements of those that are arrays; what is no JSON is cut
/// as a file would be. `None` where there are more than [`RECORDS`].
pub fn records(body: Vec<u8>, max_record: usize) -> Option<Batch> {
    let mut found = Found { begin: body.as_ptr() as usize, max_record, records: Vec::new() };
    for document in serde_json::Deserializer::from_slice(&body).into_iter::<&RawValue>() {
        let Ok(document) = document.map(RawValue::get) else {
            return lines(&body, max_record);
        };
        if document.starts_with('[') {
            // It has been read once already, so that only its length is in the way.
            serde_json::Deserializer::from_str(document).deserialize_seq(Elements(&mut found)).ok()?;
        } else {
            found.add(document);
        }
        if found.records.len() > RECORDS {
            return None;
        }
    }
    let records = found.records;
    Some(Batch { bytes: body, records })
}

fn lines(body: &[u8], max_record: usize) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut framer = Framer::new(None, max_record);
    framer.feed(body, &mut batch);
    framer.flush(&mut batch);
    (batch.records.len() <= RECORDS).then_some(batch)
}

/// Where the records of a body stand in it.
struct Found {
    begin: usize,
    max_record: usize,
    records: Vec<Record>,
}

impl Found {
    fn add(&mut self, text: &str) {
        let truncated = text.len() > self.max_record;
        let len = if truncated { whole(text.as_bytes(), self.max_record) } else { text.len() };
        // Texts that are read raw are slices of the body.
        let off = text.as_ptr() as usize - self.begin;
        self.records.push(Record { span: Stretch { off: off as u32, len: len as u32 }, truncated });
    }
}

struct Elements<'f>(&'f mut Found);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.0.records.len() <= RECORDS {
            match seq.next_element::<&'de RawValue>()? {
                Some(e) => self.0.add(e.get()),
                None => return Ok(()),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str, max: usize) -> Option<Vec<(String, bool)>> {
        let batch = records(body.as_bytes().to_vec(), max)?;
        Some(batch.records.iter().map(|r| (String::from_utf8_lossy(batch.record(*r)).into_owned(), r.truncated)).collect())
    }

    #[track_caller]
    fn check(body: &str, want: &[&str]) {
        let got = texts(body, 1 << 20).expect("few");
        assert_eq!(got.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_body_is_one_document_an_array_or_lines() {
        check("{\"a\":1}", &["{\"a\":1}"]);
        check("  {\"a\": {\n\"b\": [1,\n 2]}}\n", &["{\"a\": {\n\"b\": [1,\n 2]}}"]);
        check("[ {\"a\":1},\n{\"b\":[2]} ]", &["{\"a\":1}", "{\"b\":[2]}"]);
        check("{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]);
        check("06:00:00.1: Notice A shell\n06:00:01.1: Notice B\n", &["06:00:00.1: Notice A shell", "06:00:01.1: Notice B"]);
        check("{\"a\":1}\nnot JSON\n", &["{\"a\":1}", "not JSON"]);
        check("", &[]);
        check("[]", &[]);
    }

    #[test]
    fn long_records_are_cut_and_too_many_are_refused() {
        assert_eq!(texts(&format!("[\"{}\",1]", "ü".repeat(1000)), 1024), Some(vec![(format!("\"{}", "ü".repeat(511)), true), ("1".into(), false)]));
        let many = |n: usize| format!("[{}1]", "1,".repeat(n - 1));
        assert_eq!(texts(&many(RECORDS), 1024).map(|t| t.len()), Some(RECORDS));
        assert_eq!(texts(&many(RECORDS + 1), 1024), None);
        assert_eq!(texts(&"1 ".repeat(RECORDS + 1), 1024), None);
        assert_eq!(texts(&"x\n".repeat(RECORDS + 1), 1024), None);
    }

    #[test]
    fn a_form_holds_its_payload() {
        assert_eq!(payload(b"payload=%7B%22a%22%3A+1%7D&x=y"), Some(b"{\"a\": 1}".to_vec()));
        assert_eq!(payload(b"{\"a\":1}"), None);
    }

    #[test]
    fn hex_is_exactly_a_hash() {
        assert_eq!(unhex(&"0f".repeat(32)), Some([15; 32]));
        for bad in ["0f".repeat(31), "0f".repeat(33), "0g".repeat(32), "+f".repeat(32), "é".repeat(32)] {
            assert_eq!(unhex(&bad), None, "{bad}");
        }
    }
}
