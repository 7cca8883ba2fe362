//! Entries as bytes: a short preamble in postcard, then the records' table and their bytes in one piece.

use super::entry::{Mark, Records, What};
use crate::event::{Batch, Record, Stretch, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
enum Preamble<'a> {
    Records {
        #[serde(borrow)]
        source: &'a str,
        stream: &'a str,
        format: Option<&'a str>,
        received: i64,
        near: i64,
        mark: Option<Cow<'a, Mark>>,
        count: u32,
        bytes: u32,
    },
    Tick(i64),
    Behind(&'a str, &'a str, bool),
    Closed(&'a str, &'a str),
    Load([u8; 32], u64),
    Gap(i64, i64),
}

fn varint(mut n: u64, to: &mut Vec<u8>) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

fn read_varint(b: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..42).step_by(7) {
        let (&c, rest) = b.split_first()?;
        *b = rest;
        n |= u64::from(c & 0x7f) << shift;
        if c < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Appends an entry's bytes.
pub(super) fn put(what: &What, to: &mut Vec<u8>) {
    let preamble = match what {
        What::Records(r) => Preamble::Records {
            source: &r.source,
            stream: &r.stream,
            format: r.format.as_deref(),
            received: r.received.0,
            near: r.near.0,
            mark: r.mark.as_ref().map(Cow::Borrowed),
            count: r.batch.records.len() as u32,
            bytes: r.batch.bytes.len() as u32,
        },
        What::Tick(t) => Preamble::Tick(t.0),
        What::Behind { source, stream, yes } => Preamble::Behind(source, stream, *yes),
        What::Closed { source, stream } => Preamble::Closed(source, stream),
        What::Load { hash, rebuild } => Preamble::Load(*hash, *rebuild),
        What::Gap { from, to } => Preamble::Gap(from.0, to.0),
    };
    // Writing to memory has no error, and the preamble has a length.
    let _ = postcard::to_io(&preamble, &mut *to);
    if let What::Records(r) = what {
        let mut end = 0;
        for x in &r.batch.records {
            // A record may begin before the last one's end; such a gap is rather large as an unsigned number.
            varint(u64::from(x.span.off.wrapping_sub(end)), to);
            varint(u64::from(x.span.len) << 1 | u64::from(x.truncated), to);
            end = x.span.off.wrapping_add(x.span.len);
        }
        to.extend_from_slice(&r.batch.bytes);
    }
}

/// The records' table, and its end.
fn table(mut b: &[u8], count: u32, bytes: u32) -> Option<(Vec<Record>, &[u8])> {
    // Each record takes two bytes of the table at least.
    let mut records = Vec::with_capacity((count as usize).min(b.len() / 2));
    let mut end = 0u32;
    for _ in 0..count {
        let off = end.wrapping_add(u32::try_from(read_varint(&mut b)?).ok()?);
        let len = read_varint(&mut b)?;
        let (len, truncated) = (u32::try_from(len >> 1).ok()?, len & 1 == 1);
        end = off.checked_add(len)?;
        if end > bytes {
            return None;
        }
        records.push(Record { span: Stretch { off, len }, truncated });
    }
    (b.len() == bytes as usize).then_some((records, b))
}

/// Reads an entry; `None` if the bytes are none.
pub(super) fn get(body: &[u8]) -> Option<What> {
    let (preamble, rest) = postcard::take_from_bytes::<Preamble>(body).ok()?;
    Some(match preamble {
        Preamble::Records { source, stream, format, received, near, mark, count, bytes } => {
            let (records, bytes) = table(rest, count, bytes)?;
            What::Records(Records {
                source: Arc::from(source),
                stream: Arc::from(stream),
                format: format.map(Arc::from),
                received: Timestamp(received),
                near: Timestamp(near),
                batch: Batch { bytes: bytes.to_vec(), records },
                mark: mark.map(Cow::into_owned),
            })
        }
        Preamble::Tick(t) => What::Tick(Timestamp(t)),
        Preamble::Behind(source, stream, yes) => What::Behind { source: Arc::from(source), stream: Arc::from(stream), yes },
        Preamble::Closed(source, stream) => What::Closed { source: Arc::from(source), stream: Arc::from(stream) },
        Preamble::Load(hash, rebuild) => What::Load { hash, rebuild },
        Preamble::Gap(from, to) => What::Gap { from: Timestamp(from), to: Timestamp(to) },
    })
}

/// The bytes of one record of an entry, without a copy of the others.
pub(super) fn record(body: &[u8], n: u32) -> Option<&[u8]> {
    let (preamble, rest) = postcard::take_from_bytes::<Preamble>(body).ok()?;
    let Preamble::Records { count, bytes, .. } = preamble else { return None };
    let (records, bytes) = table(rest, count, bytes)?;
    let span = records.get(n as usize)?.span;
    bytes.get(span.off as usize..(span.off + span.len) as usize)
}

/// What of an entry the state is made of, and its time.
pub(super) fn told(body: &[u8]) -> Option<(Option<Timestamp>, Option<Mark>)> {
    let (preamble, _) = postcard::take_from_bytes::<Preamble>(body).ok()?;
    Some(match preamble {
        Preamble::Records { received, mark, .. } => (Some(Timestamp(received)), mark.map(Cow::into_owned)),
        Preamble::Tick(t) | Preamble::Gap(_, t) => (Some(Timestamp(t)), None),
        Preamble::Behind(..) | Preamble::Closed(..) | Preamble::Load(..) => (None, None),
    })
}

/// The same of an entry that has not been written yet.
pub(super) fn tell(what: &What) -> (Option<Timestamp>, Option<Mark>) {
    match what {
        What::Records(r) => (Some(r.received), r.mark.clone()),
        What::Tick(t) | What::Gap { to: t, .. } => (Some(*t), None),
        What::Behind { .. } | What::Closed { .. } | What::Load { .. } => (None, None),
    }
}

/// How many records an entry holds.
pub(super) fn count(what: &What) -> u32 {
    match what {
        What::Records(r) => r.batch.records.len() as u32,
        _ => 0,
    }
}
