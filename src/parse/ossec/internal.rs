//! What OSSEC says about itself: active responses, and the daemons' log.

use super::{Names, begin, end, some};
use crate::event::time::{Civil, asctime, clock, digits};
use crate::event::{Out, field as f};
use crate::parse::Context;
use jiff::tz::TimeZone;
use memchr::{memchr, memrchr};

/// A line of `active-responses.log`: `Sat May  7 03:17:27 CDT 2011 <script> add - 192.0.2.1 1304756247.60385 31151`.
struct Response<'a> {
    /// Up to the zone.
    time: &'a [u8],
    zone: &'a [u8],
    year: &'a [u8],
    script: &'a [u8],
    verb: &'a [u8],
    user: &'a [u8],
    ip: &'a [u8],
    alert: &'a [u8],
    rule: &'a [u8],
}

fn read(b: &[u8]) -> Option<Response<'_>> {
    let (head, rest) = (b.get(..20)?, b.get(20..)?);
    if head[3] != b' ' || head[7] != b' ' || head[13] != b':' || head[16] != b':' || head[19] != b' ' {
        return None;
    }
    let word = |b: &'_ [u8]| memchr(b' ', b).filter(|&i| i > 0);
    let i = word(rest)?;
    let (zone, rest) = (&rest[..i], &rest[i + 1..]);
    let i = word(rest).filter(|&i| i == 4)?;
    let (year, rest) = (&rest[..i], &rest[i + 1..]);
    let i = word(rest)?;
    let (script, rest) = (&rest[..i], &rest[i + 1..]);
    if !script.starts_with(b"/") || !year.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let i = word(rest)?;
    let (verb, rest) = (&rest[..i], rest[i + 1..].trim_ascii_end());
    // Agents add the program and a path behind the rule.
    let mut words = rest.split(|&c| c == b' ');
    let [user, ip, alert, rule] = std::array::from_fn(|_| words.next().unwrap_or_default());
    let dot = memchr(b'.', alert)?;
    let number = |b: &[u8]| !b.is_empty() && b.iter().all(u8::is_ascii_digit);
    let fits = matches!(verb, b"add" | b"delete") && number(&alert[..dot]) && number(&alert[dot + 1..]) && number(rule);
    fits.then_some(Response { time: &head[..19], zone, year, script, verb, user, ip, alert, rule })
}

pub(super) fn is_response(b: &[u8]) -> bool {
    read(b).is_some()
}

/// Parses a line of `active-responses.log`. The zones that RFC 822 names, and those of Europe, are read as what they
/// say; any other abbreviation stands for the zone of the source.
pub(super) fn response(ctx: &Context<'_>, b: &[u8], own: &Names, out: &mut Out<'_>) -> bool {
    let Some(r) = read(b) else { return false };
    let east = match r.zone {
        b"UTC" | b"GMT" | b"UT" | b"Z" | b"WET" => Some(0),
        b"EST" => Some(-5),
        b"EDT" => Some(-4),
        b"CST" => Some(-6),
        b"CDT" => Some(-5),
        b"MST" => Some(-7),
        b"MDT" => Some(-6),
        b"PST" => Some(-8),
        b"PDT" => Some(-7),
        b"CET" | b"WEST" => Some(1),
        b"CEST" | b"EET" => Some(2),
        b"EEST" => Some(3),
        _ => None,
    };
    let mut text = [b' '; 24];
    text[..19].copy_from_slice(r.time);
    text[20..].copy_from_slice(r.year);
    let time = match east {
        Some(h) => asctime(&text, &TimeZone::UTC).and_then(|t| t.0.checked_sub(h * 3600 * crate::event::time::SECOND)).map(crate::event::Timestamp),
        None => asctime(&text, ctx.zone),
    };
    let Some(time) = time else { return false };
    begin("ossec.active-response", "event", out);
    out.time(f::TIMESTAMP, time);
    out.str(f::EVENT_ACTION, r.verb);
    out.word(f::EVENT_CATEGORY, "intrusion_detection");
    out.word(f::EVENT_TYPE, if r.verb == b"add" { "denied" } else { "end" });
    out.str(f::PROCESS_EXECUTABLE, r.script);
    out.str(f::PROCESS_NAME, &r.script[memrchr(b'/', r.script).map_or(0, |i| i + 1)..]);
    end(r.ip, [f::SOURCE_IP, f::SOURCE_ADDRESS], out);
    end(r.ip, [f::CLIENT_IP, f::CLIENT_ADDRESS], out);
    out.str(f::USER_NAME, some(r.user));
    out.str(f::RULE_ID, r.rule);
    own.put("ossec.alert_id", r.alert, out);
    out.str(f::MESSAGE, b.trim_ascii_end());
    true
}

/// Parses a line of `ossec.log`: `2015/01/29 21:09:49 ossec-logcollector(1950): INFO: text`.
pub(super) fn status(ctx: &Context<'_>, b: &[u8], out: &mut Out<'_>) -> bool {
    let Some((time, rest)) = slashed(ctx, b) else { return false };
    let Some(i) = rest.iter().position(|&c| c == b':' || c == b' ' || c == b'(').filter(|&i| i > 0) else { return false };
    let (name, mut rest) = rest.split_at(i);
    let mut code: &[u8] = &[];
    if let Some(r) = rest.strip_prefix(b"(") {
        let Some(j) = memchr(b')', r) else { return false };
        (code, rest) = (&r[..j], &r[j + 1..]);
    }
    let Some(rest) = rest.strip_prefix(b": ") else { return false };
    begin("ossec.internal", "event", out);
    out.time(f::TIMESTAMP, time);
    out.str(f::PROCESS_NAME, name);
    out.str(f::EVENT_CODE, code);
    let n = rest.iter().take_while(|c| c.is_ascii_uppercase()).count();
    let level = match &rest[..n] {
        b"INFO" => "info",
        b"WARN" | b"WARNING" => "warning",
        b"ERROR" => "error",
        b"CRITICAL" => "critical",
        b"DEBUG" => "debug",
        _ => "",
    };
    let text = match rest[n..].strip_prefix(b": ") {
        Some(t) if !level.is_empty() => {
            out.word(f::LOG_LEVEL, level);
            t
        }
        _ => rest,
    };
    out.str(f::MESSAGE, text.trim_ascii_end());
    true
}

fn slashed<'a>(ctx: &Context<'_>, b: &'a [u8]) -> Option<(crate::event::Timestamp, &'a [u8])> {
    if b.len() < 21 || b[4] != b'/' || b[7] != b'/' || b[10] != b' ' || b[19] != b' ' {
        return None;
    }
    let (hour, minute, second) = clock(&b[11..])?;
    let c = Civil { year: digits(b, 4)? as i64, month: digits(&b[5..], 2)? as u8, day: digits(&b[8..], 2)? as u8, hour, minute, second, nanos: 0 };
    Some((c.in_zone(ctx.zone)?, &b[20..]))
}
