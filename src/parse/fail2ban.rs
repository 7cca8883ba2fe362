//! Fail2ban 0.8 to 1.1: its log file, its syslog target, and what journald shows of it.
//!
//! One record is one message; lines that follow it without a header (shell commands, tracebacks) belong to it and stay
//! in `message`. Nothing here is read from them.

use super::{Context, syslog::Envelope};
use crate::event::time::{self, SECOND};
use crate::event::{Field, Layout, Out, ParseError, Schema, Timestamp, field as f, ip};
use memchr::{memchr, memmem, memrchr};

/// The parser; one for each worker.
pub struct Parser {
    action: memmem::Finder<'static>,
    address: memmem::Finder<'static>,
    failed: Option<Field>,
}

/// What stands before the message.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Head<'a> {
    time: Option<Timestamp>,
    /// A machine that no envelope has taken off.
    host: Option<&'a [u8]>,
    /// `fail2ban.actions`.
    logger: &'a [u8],
    pid: &'a [u8],
    level: &'a [u8],
    message: &'a [u8],
}

/// What a message in a jail says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said<'a> {
    Found { id: &'a [u8], at: Option<&'a [u8]> },
    Observed { id: &'a [u8], at: Option<&'a [u8]> },
    Ban { id: &'a [u8], restored: bool },
    Unban { id: &'a [u8] },
    Already { id: &'a [u8] },
    Increase { id: &'a [u8], terms: &'a [u8] },
    Ignore { id: &'a [u8] },
    Bad { id: &'a [u8] },
    Other,
}

impl Parser {
    /// A parser for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        let own = |name: &str| schema.get(name).filter(|&x| layout.slot(x).is_some());
        Parser { action: memmem::Finder::new(b"' action '"), address: memmem::Finder::new(b"'ip': '"), failed: own("fail2ban.action") }
    }

    /// Whether a record is of this format, told cheaply and without doubt.
    ///
    /// A message without any header (`[recidive] Increase Ban …`, as journald stores it) is recognised only where it
    /// names an address, since `[word] Found …` could be anybody's.
    pub fn recognise(env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
        if let Some(app) = env.and_then(|e| e.app)
            && is_app(app)
        {
            return true;
        }
        match record.first() {
            Some(b'0'..=b'9') => stamp(record) && record[24..].starts_with(b"fail2ban."),
            Some(b'[') => sure_of(record),
            Some(_) => journal(record).is_some(),
            None => false,
        }
    }

    /// Parses one record without its envelope, versions 0.8 to 1.1.
    ///
    /// - Out: `event.action` as `found`, `ban`, `unban`, `already-banned`, `increase-ban`, `ignore`, `observer-found`,
    ///   `ban-failed` or `unban-failed`; `source.ip` for an address, `source.address` for any other id.
    /// - Time: the file's own, local without a zone; else the envelope's; else none.
    /// - Errors: where the header ends, or 0.
    /// - Source: the log calls of fail2ban `server/*.py`.
    pub fn parse(&mut self, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let head = head(ctx, env, record)?;
        out.word(f::EVENT_MODULE, "fail2ban");
        if let Some(t) = head.time.or(env.and_then(|e| e.time)) {
            out.time(f::TIMESTAMP, t);
        }
        if let Some(host) = head.host {
            out.str(f::HOST_HOSTNAME, host);
        }
        out.str(f::LOG_LOGGER, head.logger);
        out.int_text(f::PROCESS_PID, head.pid);
        level(head.level, out);
        out.str(f::MESSAGE, head.message);

        let line = match memchr(b'\n', head.message) {
            Some(i) => head.message[..i].trim_ascii_end(),
            None => head.message,
        };
        let Some((jail, text)) = jail(line) else {
            out.word(f::EVENT_DATASET, "fail2ban.server");
            out.word(f::EVENT_KIND, "event");
            self.server(line, out);
            return Ok(());
        };
        out.word(f::EVENT_DATASET, "fail2ban.jail");
        out.str(f::RULE_NAME, jail);
        service(jail, out);
        let observer = head.logger.ends_with(b".observer");
        let recidive = jail == b"recidive";
        match said(text, observer) {
            Said::Found { id, at } => {
                finding(out, "alert", "info", "found", 20);
                subject(id, out);
                instant(ctx, at, f::EVENT_START, out);
            }
            Said::Observed { id, at } => {
                finding(out, "event", "info", "observer-found", 20);
                subject(id, out);
                instant(ctx, at, f::EVENT_START, out);
            }
            Said::Ban { id, restored } => {
                finding(
                    out,
                    "alert",
                    "denied",
                    "ban",
                    if restored {
                        20
                    } else if recidive {
                        70
                    } else {
                        50
                    },
                );
                if restored {
                    out.bool(f::FAIL2BAN_RESTORED, true);
                }
                subject(id, out);
            }
            Said::Unban { id } => {
                finding(out, "event", "end", "unban", 0);
                subject(id, out);
            }
            Said::Already { id } => {
                finding(out, "event", "info", "already-banned", 0);
                subject(id, out);
            }
            Said::Increase { id, terms } => {
                finding(out, "event", "change", "increase-ban", 70);
                subject(id, out);
                increase(ctx, terms, out);
            }
            Said::Ignore { id } => {
                finding(out, "event", "allowed", "ignore", 0);
                subject(id, out);
            }
            Said::Bad { id } => {
                out.word(f::EVENT_KIND, "event");
                subject(id, out);
            }
            Said::Other => out.word(f::EVENT_KIND, "event"),
        }
        Ok(())
    }

    /// A message about no jail: most are chatter. An action that failed means a ban that is not in force.
    fn server(&self, line: &[u8], out: &mut Out<'_>) {
        let Some(rest) = line.strip_prefix(b"Failed to execute ") else { return };
        let (action, rest) = match (rest.strip_prefix(b"ban jail '"), rest.strip_prefix(b"unban jail '")) {
            (Some(r), _) => ("ban-failed", r),
            (_, Some(r)) => ("unban-failed", r),
            _ => return,
        };
        out.word(f::EVENT_ACTION, action);
        out.word(f::EVENT_OUTCOME, "failure");
        out.int(f::EVENT_SEVERITY, 60);
        let Some(i) = self.action.find(rest) else { return };
        out.str(f::RULE_NAME, &rest[..i]);
        service(&rest[..i], out);
        let rest = &rest[i + self.action.needle().len()..];
        let Some(i) = memchr(b'\'', rest) else { return };
        match self.failed {
            Some(own) => out.str(own, &rest[..i]),
            None => {
                if let Some(own) = out.own() {
                    let mut text = Vec::new();
                    crate::event::json::string(&rest[..i], &mut text);
                    own.entries.push((vec!["fail2ban".into(), "action".into()], text));
                }
            }
        }
        // Only the first: what follows may quote text of others.
        let Some(i) = self.address.find(rest) else { return };
        let id = &rest[i + self.address.needle().len()..];
        if let Some(i) = memchr(b'\'', id) {
            subject(&id[..i], out);
        }
    }
}

/// Whether a program is Fail2ban: `fail2ban`, `fail2ban-server`, `fail2ban.actions`, …
fn is_app(app: &[u8]) -> bool {
    app.strip_prefix(b"fail2ban").is_some_and(|r| matches!(r, [] | b"-server" | b"-client" | [b'.', ..]))
}

/// Whether `YYYY-MM-DD HH:MM:SS,mmm ` stands at the front, with something behind it.
fn stamp(b: &[u8]) -> bool {
    b.len() > 24 && b[4] == b'-' && b[10] == b' ' && b[19] == b',' && b[23] == b' '
}

/// `[jail] text`.
fn jail(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let b = b.strip_prefix(b"[")?;
    let i = memchr(b']', b)?;
    let text = b[i + 1..].strip_prefix(b" ")?;
    (i > 0).then_some((&b[..i], text))
}

/// `host fail2ban[pid]: `, as `journalctl -o short` shows it with the time cut off: host, pid, message.
fn journal(b: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let i = memchr(b' ', b.get(..b.len().min(300))?)?;
    let rest = b[i + 1..].strip_prefix(b"fail2ban")?;
    let n = memchr(b'[', rest).filter(|&n| n <= 24 && is_app(&b[i + 1..i + 9 + n]))?;
    let end = memchr(b']', rest)?;
    let pid = rest.get(n + 1..end)?;
    let message = rest[end + 1..].strip_prefix(b": ")?;
    (i > 0 && pid.iter().all(u8::is_ascii_digit)).then_some((&b[..i], pid, message))
}

/// Whether a message without a header can be nobody else's.
fn sure(text: &[u8]) -> bool {
    let net = |id: &[u8]| ip(&id[..memchr(b'/', id).unwrap_or(id.len())]).is_some();
    match said(text, false) {
        Said::Found { id, at } => at.is_some() && net(id),
        Said::Observed { id, at } => at.is_some() && net(id),
        Said::Ban { id, .. } | Said::Unban { id } | Said::Already { id } | Said::Increase { id, .. } => net(id),
        Said::Ignore { .. } | Said::Bad { .. } | Said::Other => false,
    }
}

/// Takes the header off, whichever there is.
fn head<'a>(ctx: &Context<'_>, env: Option<&Envelope<'a>>, record: &'a [u8]) -> Result<Head<'a>, ParseError> {
    let mut h = Head::default();
    let mut at = 0;
    if stamp(record) {
        if let Some((t, 23)) = time::iso(&record[..23], ctx.zone) {
            h.time = Some(t);
            at = 24;
        }
    } else if let Some((host, pid, message)) = journal(record) {
        h.host = Some(host);
        h.pid = pid;
        at = record.len() - message.len();
    }
    // `fail2ban.actions        [8739]: NOTICE  `; without pid before 0.9, without padding in syslog.
    let rest = &record[at..];
    if rest.starts_with(b"fail2ban.") {
        let n = rest.iter().position(|&c| c == b' ' || c == b':' || c == b'[').unwrap_or(rest.len());
        h.logger = &rest[..n];
        let mut tail = rest[n..].trim_ascii_start();
        if let Some(t) = tail.strip_prefix(b"[") {
            let i = memchr(b']', t).ok_or(ParseError { expected: "`]`", offset: record.len() - t.len() })?;
            h.pid = &t[..i];
            tail = &t[i + 1..];
        }
        let Some(t) = tail.strip_prefix(b":") else { return Err(ParseError { expected: "`:`", offset: record.len() - tail.len() }) };
        (h.level, h.message) = levelled(t.trim_ascii_start());
        return Ok(h);
    }
    let app = env.and_then(|e| e.app).filter(|a| is_app(a));
    if h.time.is_some() || (app.is_none() && h.host.is_none() && !(rest.first() == Some(&b'[') && (ctx.named || sure_of(rest)))) {
        return Err(ParseError { expected: "a header of Fail2ban", offset: at });
    }
    // Of its own syslog target the program is the logger.
    h.logger = app.filter(|a| a.starts_with(b"fail2ban.")).unwrap_or_default();
    if h.pid.is_empty() {
        h.pid = env.and_then(|e| e.pid).unwrap_or_default();
    }
    (h.level, h.message) = levelled(rest.trim_ascii_start());
    Ok(h)
}

/// The same of a whole record: jails have no blanks in their names.
fn sure_of(b: &[u8]) -> bool {
    jail(b).is_some_and(|(jail, text)| !jail.contains(&b' ') && sure(text))
}

/// Splits `NOTICE  message`; what begins with no level is all message.
fn levelled(b: &[u8]) -> (&[u8], &[u8]) {
    let n = b.iter().take_while(|c| c.is_ascii_uppercase()).count();
    let known =
        matches!(&b[..n], b"NOTICE" | b"INFO" | b"WARNING" | b"ERROR" | b"DEBUG" | b"CRITICAL" | b"TRACEDEBUG" | b"HEAVYDEBUG" | b"MSG" | b"WARN");
    match b.get(n) {
        Some(b' ') if known => (&b[..n], b[n..].trim_ascii_start()),
        _ => (&[], b),
    }
}

fn level(word: &[u8], out: &mut Out<'_>) {
    let low = match word {
        b"NOTICE" => "notice",
        b"INFO" => "info",
        b"WARNING" | b"WARN" => "warning",
        b"ERROR" => "error",
        b"CRITICAL" => "critical",
        [] => return,
        _ => "debug",
    };
    out.word(f::LOG_LEVEL, low);
}

/// Reads what a message says. The verb in front decides: an id is text that others choose where a filter takes it from
/// a log, and `Ban x already banned` is the ban of an id with blanks.
fn said(text: &[u8], observer: bool) -> Said<'_> {
    let id = |n: usize| text[n..].trim_ascii();
    match text.first() {
        Some(b'F') if text.starts_with(b"Found ") => {
            let (id, at, bad) = found(id(6));
            if observer || bad { Said::Observed { id, at } } else { Said::Found { id, at } }
        }
        Some(b'B') if text.starts_with(b"Ban ") => Said::Ban { id: id(4), restored: false },
        Some(b'U') if text.starts_with(b"Unban ") => Said::Unban { id: id(6) },
        Some(b'R') if text.starts_with(b"Restore Ban ") => Said::Ban { id: id(12), restored: true },
        Some(b'R') if text.starts_with(b"Repeal Ban ") => Said::Unban { id: id(11) },
        Some(b'I') if text.starts_with(b"Increase Ban ") => {
            let rest = id(13);
            match memmem::rfind(rest, b" (") {
                Some(i) => Said::Increase { id: &rest[..i], terms: &rest[i + 2..] },
                None => Said::Increase { id: rest, terms: &[] },
            }
        }
        Some(b'I') if text.starts_with(b"Ignore ") => {
            let rest = id(7);
            Said::Ignore { id: &rest[..memmem::rfind(rest, b" by ").unwrap_or(rest.len())] }
        }
        Some(b'I') if text.starts_with(b"IP ") => match memmem::rfind(text, b" is bad: ") {
            Some(i) if i > 3 => Said::Bad { id: &text[3..i] },
            _ => already(text),
        },
        _ => already(text),
    }
}

fn already(text: &[u8]) -> Said<'_> {
    match text.trim_ascii_end().strip_suffix(b" already banned") {
        Some(id) => Said::Already { id },
        None => Said::Other,
    }
}

/// `ID - T` or `ID, bad - T, 1 # -> 2.0[, Ban]`: the id, the time, and whether the observer says it.
fn found(rest: &[u8]) -> (&[u8], Option<&[u8]>, bool) {
    let dated = |i: usize| rest.get(i..i + 19).filter(|t| t[4] == b'-' && t[7] == b'-' && t[10] == b' ' && t[13] == b':');
    if rest.len() > 22
        && rest[rest.len() - 22..].starts_with(b" - ")
        && let Some(t) = dated(rest.len() - 19)
    {
        return match rest[..rest.len() - 22].strip_suffix(b", bad") {
            Some(id) => (id, Some(t), true),
            None => (&rest[..rest.len() - 22], Some(t), false),
        };
    }
    match memmem::rfind(rest, b", bad - ") {
        Some(i) => (&rest[..i], dated(i + 8), true),
        None => (rest, None, false),
    }
}

/// `2 # 32.0s -> 2026-11-23 05:51:59)`.
fn increase(ctx: &Context<'_>, terms: &[u8], out: &mut Out<'_>) {
    let Some(i) = memmem::find(terms, b" # ") else { return };
    out.int_text(f::FAIL2BAN_BAN_COUNT, &terms[..i]);
    let rest = &terms[i + 3..];
    let Some(i) = memmem::find(rest, b" -> ") else { return };
    if let Some(n) = duration(&rest[..i]) {
        out.int(f::EVENT_DURATION, n);
    }
    instant(ctx, rest.get(i + 4..i + 23), f::EVENT_END, out);
}

/// Reads `32.0s`, `2w 6d`, `0:50:00`, `1 day, 7:57:25` or plain seconds: nanoseconds. `permanent` is none.
fn duration(b: &[u8]) -> Option<i64> {
    let mut total = 0i64;
    for part in b.split(|&c| c == b' ' || c == b',').filter(|p| !p.is_empty()) {
        if let Some(i) = memchr(b':', part) {
            let j = memrchr(b':', part).filter(|&j| j > i)?;
            let n = |b: &[u8]| std::str::from_utf8(b).ok()?.parse::<u32>().ok().map(i64::from);
            total = total.checked_add(
                (n(&part[..i])? * 3600 + n(&part[i + 1..j])? * 60).checked_mul(SECOND)?.checked_add(decimal(&part[j + 1..], SECOND)?)?,
            )?;
            continue;
        }
        if matches!(part, b"day" | b"days") {
            // Its number was read as seconds.
            total = total.checked_mul(86_400)?;
            continue;
        }
        let (n, unit) = match part.split_last()? {
            (b's', n) => (n, 1),
            (b'm', n) => (n, 60),
            (b'h', n) => (n, 3600),
            (b'd', n) => (n, 86_400),
            (b'w', n) => (n, 7 * 86_400),
            (b'y', n) => (n, 365 * 86_400),
            _ => (part, 1),
        };
        total = total.checked_add(decimal(n, unit * SECOND)?)?;
    }
    (!b.is_empty()).then_some(total)
}

/// Reads a decimal number and multiplies it.
fn decimal(b: &[u8], unit: i64) -> Option<i64> {
    let n = b.iter().take_while(|c| c.is_ascii_digit()).count();
    let whole: i64 = std::str::from_utf8(&b[..n]).ok()?.parse().ok()?;
    let (nanos, m) = time::fraction(&b[n..]);
    (n + m == b.len()).then_some(())?;
    let part = i128::from(nanos) * i128::from(unit) / i128::from(SECOND);
    whole.checked_mul(unit)?.checked_add(i64::try_from(part).ok()?)
}

fn finding(out: &mut Out<'_>, kind: &'static str, ty: &'static str, action: &'static str, severity: i64) {
    out.word(f::EVENT_KIND, kind);
    for (to, s) in [(f::EVENT_CATEGORY, "intrusion_detection"), (f::EVENT_TYPE, ty)] {
        out.word(to, s);
    }
    out.word(f::EVENT_ACTION, action);
    out.int(f::EVENT_SEVERITY, severity);
}

/// Writes the id that a message is about: an address, or whatever else the jail counts by.
fn subject(id: &[u8], out: &mut Out<'_>) {
    match ip(id) {
        Some(v) => {
            if out.wants(f::SOURCE_IP) {
                out.ip(f::SOURCE_IP, v);
                out.copy(f::SOURCE_IP, f::CLIENT_IP);
            } else {
                out.ip(f::CLIENT_IP, v);
            }
        }
        None => out.str(f::SOURCE_ADDRESS, id),
    }
}

fn instant(ctx: &Context<'_>, at: Option<&[u8]>, to: Field, out: &mut Out<'_>) {
    if !out.wants(to) {
        return;
    }
    if let Some((t, _)) = at.and_then(|b| time::iso(b, ctx.zone)) {
        out.time(to, t);
    }
}

/// The service that a jail of a usual name watches.
fn service(jail: &[u8], out: &mut Out<'_>) {
    const NAMES: &[(&[u8], &str)] = &[
        (b"sshd", "sshd"),
        (b"ssh", "sshd"),
        (b"dropbear", "dropbear"),
        (b"nginx", "nginx"),
        (b"apache", "apache"),
        (b"php-url-fopen", "apache"),
        (b"lighttpd", "lighttpd"),
        (b"haproxy", "haproxy"),
        (b"traefik", "traefik"),
        (b"postfix", "postfix"),
        (b"sendmail", "sendmail"),
        (b"exim", "exim"),
        (b"dovecot", "dovecot"),
        (b"courier", "courier"),
        (b"cyrus", "cyrus"),
        (b"roundcube", "roundcube"),
        (b"vsftpd", "vsftpd"),
        (b"proftpd", "proftpd"),
        (b"pure-ftpd", "pure-ftpd"),
        (b"named", "named"),
        (b"mysqld", "mysqld"),
        (b"mongodb", "mongodb"),
        (b"asterisk", "asterisk"),
        (b"squid", "squid"),
        (b"openvpn", "openvpn"),
        (b"bitwarden", "bitwarden"),
        (b"gitlab", "gitlab"),
        (b"grafana", "grafana"),
    ];
    if !out.wants(f::SERVICE_NAME) {
        return;
    }
    let whole = |n: &[u8]| jail.strip_prefix(n).is_some_and(|r| r.first().is_none_or(|c| !c.is_ascii_alphanumeric()));
    if let Some((_, name)) = NAMES.iter().find(|(n, _)| whole(n)) {
        out.word(f::SERVICE_NAME, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, Event, Own, Slot, Value};
    use crate::parse::Estate;
    use jiff::tz::TimeZone;

    fn with<T>(env: Option<&Envelope<'_>>, record: &[u8], show: impl FnOnce(Result<Event<'_>, ParseError>) -> T) -> T {
        let schema = Schema::default();
        let layout = Layout::full(&schema);
        let (mut arena, mut slots, mut own) = (Arena::default(), vec![Slot::Missing; layout.len()], Own::default());
        let (zone, estate) = (TimeZone::fixed(jiff::tz::offset(1)), Estate::default());
        let ctx = Context { zone: &zone, near: Timestamp(0), named: false, estate: &estate };
        let mut out = Out::new(record, &mut arena, &mut slots, &layout, Some(&mut own));
        let r = Parser::new(&schema, &layout).parse(&ctx, env, record, &mut out);
        show(r.map(|()| Event::new(record, &arena, &slots, &layout)))
    }

    fn text(v: Value<'_>) -> String {
        match v {
            Value::Missing => String::new(),
            Value::Str(s) => String::from_utf8_lossy(s).into_owned(),
            Value::Time(t) => t.to_string(),
            Value::Ip(ip) => ip.to_string(),
            Value::Int(n) => n.to_string(),
            v => format!("{v:?}"),
        }
    }

    fn fields(env: Option<&Envelope<'_>>, record: &str, of: &[Field]) -> Vec<String> {
        with(env, record.as_bytes(), |e| {
            let e = e.expect(record);
            of.iter().map(|&x| text(e.get(x))).collect()
        })
    }

    fn app(app: &'static str) -> Envelope<'static> {
        Envelope { time: Some(Timestamp(1_795_428_000_000_000_000)), host: Some(b"gate"), app: Some(app.as_bytes()), ..Envelope::default() }
    }

    #[test]
    fn headers_of_every_version_and_target() {
        let of = [f::TIMESTAMP, f::LOG_LOGGER, f::PROCESS_PID, f::LOG_LEVEL, f::EVENT_ACTION, f::SOURCE_IP];
        let filed = "2026-11-23T04:51:15.176000Z";
        let carried = "2026-11-23T10:00:00.000000Z";
        for (env, s, want) in [
            (
                None,
                "2026-11-23 05:51:15,176 fail2ban.actions        [8739]: NOTICE  [j] Ban 192.0.2.1",
                [filed, "fail2ban.actions", "8739", "notice"],
            ),
            (None, "2026-11-23 05:51:15,176 fail2ban.actions [99]: NOTICE [j] Ban 192.0.2.1", [filed, "fail2ban.actions", "99", "notice"]),
            (None, "2026-11-23 05:51:15,176 fail2ban.actions[99]: NOTICE [j] Ban 192.0.2.1", [filed, "fail2ban.actions", "99", "notice"]),
            (None, "2026-11-23 05:51:15,176 fail2ban.actions: WARNING [j] Ban 192.0.2.1", [filed, "fail2ban.actions", "", "warning"]),
            (Some(app("fail2ban.actions")), "NOTICE [j] Ban 192.0.2.1", [carried, "fail2ban.actions", "", "notice"]),
            (Some(app("fail2ban-server")), "fail2ban.actions        [7]: NOTICE  [j] Ban 192.0.2.1", [carried, "fail2ban.actions", "7", "notice"]),
            (Some(app("fail2ban")), "[j] Ban 192.0.2.1", [carried, "", "", ""]),
            (None, "gate fail2ban[7]: [j] Ban 192.0.2.1", ["", "", "7", ""]),
            (None, "[j] Ban 192.0.2.1", ["", "", "", ""]),
        ] {
            assert!(Parser::recognise(env.as_ref(), s.as_bytes()), "{s}");
            let want: Vec<_> = want.into_iter().chain(["ban", "192.0.2.1"]).collect();
            assert_eq!(fields(env.as_ref(), s, &of), want, "{s}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not_recognised() {
        for s in [
            "[info] Found 3 files - 2026-11-23 05:51:15",
            "[error] Ban eve",
            "[Mon Nov 23 05:41:34 2026] Ban 192.0.2.1",
            "[j] Found 192.0.2.1",
            "2026-11-23 05:51:15,176 myapp.actions [8739]: NOTICE [j] Ban 192.0.2.1",
            "gate fail2bantest[7]: [j] Ban 192.0.2.1",
            "",
            "[",
            "[]",
        ] {
            assert!(!Parser::recognise(None, s.as_bytes()), "{s}");
            assert!(with(None, s.as_bytes(), |e| e.is_err()), "{s}");
        }
        assert!(!Parser::recognise(Some(&app("fail2banish")), b"[j] x"));
    }

    #[test]
    fn each_message_and_its_id() {
        let t = Some(&b"2026-11-23 05:51:14"[..]);
        for (s, want) in [
            ("Found 192.0.2.1 - 2026-11-23 05:51:14", Said::Found { id: b"192.0.2.1", at: t }),
            ("Found a - b - 2026-11-23 05:51:14", Said::Found { id: b"a - b", at: t }),
            ("Found 192.0.2.1", Said::Found { id: b"192.0.2.1", at: None }),
            ("Found 192.0.2.1, bad - 2026-11-23 05:51:14, 1 # -> 2.0", Said::Observed { id: b"192.0.2.1", at: t }),
            ("Found 192.0.2.1, bad - 2026-11-23 05:51:14, 1 # -> 2.0, Ban", Said::Observed { id: b"192.0.2.1", at: t }),
            ("Ban 203.0.113.0/24", Said::Ban { id: b"203.0.113.0/24", restored: false }),
            ("Ban eve already banned", Said::Ban { id: b"eve already banned", restored: false }),
            ("Restore Ban 2001:db8::1", Said::Ban { id: b"2001:db8::1", restored: true }),
            ("Unban user name", Said::Unban { id: b"user name" }),
            ("Repeal Ban 192.0.2.1", Said::Unban { id: b"192.0.2.1" }),
            ("192.0.2.1 already banned", Said::Already { id: b"192.0.2.1" }),
            ("Increase Ban a (b) (2 # 8s -> x)", Said::Increase { id: b"a (b)", terms: b"2 # 8s -> x)" }),
            ("Ignore 192.0.2.1 by ignoreself rule", Said::Ignore { id: b"192.0.2.1" }),
            ("Ignore x by y by ip", Said::Ignore { id: b"x by y" }),
            ("IP 192.0.2.1 is bad: 1 # last 2026-11-23 05:51:14 - incr 8s to 32.0s", Said::Bad { id: b"192.0.2.1" }),
            ("Flush ticket(s) with x", Said::Other),
            ("Bans are lifted", Said::Other),
        ] {
            assert_eq!(said(s.as_bytes(), false), want, "{s}");
        }
        assert!(matches!(said(b"Found x", true), Said::Observed { .. }), "the observer repeats what the filter has said");
    }

    #[test]
    fn ids_that_are_no_addresses_are_addresses_as_text() {
        let of = [f::SOURCE_IP, f::CLIENT_IP, f::SOURCE_ADDRESS];
        for (id, want) in [
            ("192.0.2.1", ["192.0.2.1", "192.0.2.1", ""]),
            ("2001:0db8:0:0:0:0:0:1", ["2001:db8::1", "2001:db8::1", ""]),
            ("::ffff:192.0.2.1", ["192.0.2.1", "192.0.2.1", ""]),
            ("203.0.113.0/24", ["", "", "203.0.113.0/24"]),
            ("203.0.113.x", ["", "", "203.0.113.x"]),
            ("mail.example.net", ["", "", "mail.example.net"]),
            ("eve] Ban 192.0.2.66", ["", "", "eve] Ban 192.0.2.66"]),
        ] {
            let s = format!("2026-11-23 05:51:15,176 fail2ban.actions [8739]: NOTICE  [sshd] Ban {id}");
            assert_eq!(fields(None, &s, &of), want, "{s}");
        }
    }

    #[test]
    fn durations_as_every_version_writes_them() {
        for (s, want) in [
            ("8s", Some(8)),
            ("32.0s", Some(32)),
            ("20m", Some(1200)),
            ("0:50:00", Some(3000)),
            ("7:57:25", Some(28_645)),
            ("1 day, 0:00:01", Some(86_401)),
            ("2w 6d", Some(1_728_000)),
            ("1y 1w 1d", Some(373 * 86_400)),
            ("600", Some(600)),
            ("permanent", None),
            ("", None),
            ("1:2", None),
            ("99999999999999999999s", None),
            ("9999999999y", None),
        ] {
            assert_eq!(duration(s.as_bytes()), want.map(|n: i64| n * SECOND), "{s}");
        }
        assert_eq!(duration(b"1.5s"), Some(3 * SECOND / 2));
    }

    #[test]
    fn the_first_line_decides_and_the_rest_stays_in_the_message() {
        let s = "2026-11-23 05:51:15,176 fail2ban.action [1]: DEBUG   iptables -N x\n[sshd] Ban 192.0.2.66";
        assert_eq!(fields(None, s, &[f::EVENT_DATASET, f::SOURCE_IP, f::MESSAGE]), ["fail2ban.server", "", "iptables -N x\n[sshd] Ban 192.0.2.66"]);
        let s = "2026-11-23 05:51:15,176 fail2ban.actions [1]: NOTICE  [sshd] Ban 192.0.2.1\nTraceback";
        assert_eq!(fields(None, s, &[f::EVENT_ACTION, f::SOURCE_IP]), ["ban", "192.0.2.1"]);
    }

    #[test]
    fn severities_and_services() {
        let of = [f::EVENT_KIND, f::EVENT_SEVERITY, f::SERVICE_NAME];
        for (s, want) in [
            ("[sshd] Ban 192.0.2.1", ["alert", "50", "sshd"]),
            ("[recidive] Ban 192.0.2.1", ["alert", "70", ""]),
            ("[recidive] Restore Ban 192.0.2.1", ["alert", "20", ""]),
            ("[nginx-http-auth] Found 192.0.2.1 - 2026-11-23 05:51:15", ["alert", "20", "nginx"]),
            ("[postfix-sasl] Unban 192.0.2.1", ["event", "0", "postfix"]),
            ("[sshguard] Increase Ban 192.0.2.1 (2 # 8s -> 2026-11-23 05:51:15)", ["event", "70", ""]),
            ("Failed to execute ban jail 'sshd' action 'x' info 'y': z", ["event", "60", "sshd"]),
        ] {
            let s = format!("2026-11-23 05:51:15,176 fail2ban.x [1]: NOTICE  {s}");
            assert_eq!(fields(None, &s, &of), want, "{s}");
        }
    }

    #[test]
    fn any_cut_of_a_record_is_an_event_or_an_error() {
        for s in [
            "2026-11-23 05:51:15,176 fail2ban.actions        [8739]: NOTICE  [sshd] Increase Ban 192.0.2.1 (2 # 32.0s -> 2026-11-23 05:51:59)",
            "gate fail2ban[15699]: [postfix-sasl] Found 192.0.2.3, bad - 2026-11-23 05:51:14, 1 # -> 2.0",
            "2026-11-23 05:51:15,176 fail2ban.actions [1]: ERROR  Failed to execute ban jail 'a' action 'b' info 'ActionInfo({'ip': '192.0.2.1'",
        ] {
            for n in 0..=s.len() {
                with(None, &s.as_bytes()[..n], |_| ());
                with(Some(&app("fail2ban")), &s.as_bytes()[..n], |_| ());
                Parser::recognise(None, &s.as_bytes()[..n]);
            }
        }
    }
}
