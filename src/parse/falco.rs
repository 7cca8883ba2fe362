//! Falco: JSON of all versions, and text in both styles.

use super::json::{Json, OwnFields, PathId, Paths, Scanner, path_ids};
use super::suricata::{sub, write_url};
use super::{Context, syslog::Envelope};
use crate::event::field as f;
use crate::event::{Layout, Out, ParseError, Schema, Slot, Value, ip, time};

path_ids! {
    output_fields "output_fields" EVENT_KIND;
    output "output" MESSAGE PROCESS_NAME PROCESS_COMMAND_LINE USER_NAME FILE_PATH CONTAINER_ID CONTAINER_NAME SOURCE_IP ORCHESTRATOR_NAMESPACE EVENT_ACTION
        PROCESS_PARENT_NAME PROCESS_EXECUTABLE CONTAINER_IMAGE_NAME;
    uuid "uuid" EVENT_ID;
    hostname "hostname" HOST_NAME HOST_HOSTNAME;
    tags "tags[]" TAGS THREAT_TECHNIQUE_ID THREAT_TACTIC_NAME;
    evt_time "output_fields.\"evt.time\"" TIMESTAMP;
    evt_iso "output_fields.\"evt.time.iso8601\"" TIMESTAMP;
    evt_type "output_fields.\"evt.type\"" EVENT_ACTION;
    proc_name "output_fields.\"proc.name\"" PROCESS_NAME;
    proc_pid "output_fields.\"proc.pid\"" PROCESS_PID;
    proc_exepath "output_fields.\"proc.exepath\"" PROCESS_EXECUTABLE;
    proc_cmdline "output_fields.\"proc.cmdline\"" PROCESS_COMMAND_LINE;
    proc_cwd "output_fields.\"proc.cwd\"" PROCESS_WORKING_DIRECTORY;
    proc_tty "output_fields.\"proc.tty\"" PROCESS_TTY;
    proc_pname "output_fields.\"proc.pname\"" PROCESS_PARENT_NAME;
    proc_ppid "output_fields.\"proc.ppid\"" PROCESS_PARENT_PID;
    proc_pexepath "output_fields.\"proc.pexepath\"" PROCESS_PARENT_EXECUTABLE;
    proc_pcmdline "output_fields.\"proc.pcmdline\"" PROCESS_PARENT_COMMAND_LINE;
    user_name "output_fields.\"user.name\"" USER_NAME;
    user_uid "output_fields.\"user.uid\"" USER_ID;
    user_loginuid "output_fields.\"user.loginuid\"" USER_AUDIT_ID;
    group_name "output_fields.\"group.name\"" GROUP_NAME;
    fd_name "output_fields.\"fd.name\"" FILE_PATH SOURCE_IP SOURCE_PORT DESTINATION_IP DESTINATION_PORT CLIENT_IP CLIENT_PORT SERVER_IP SERVER_PORT EVENT_CATEGORY;
    fs_path "output_fields.\"fs.path.name\"" FILE_PATH;
    container_id "output_fields.\"container.id\"" CONTAINER_ID CONTAINER_NAME CONTAINER_IMAGE_NAME CONTAINER_IMAGE_TAG;
    container_name "output_fields.\"container.name\"" CONTAINER_NAME;
    container_type "output_fields.\"container.type\"" CONTAINER_RUNTIME;
    image "output_fields.\"container.image\"" CONTAINER_IMAGE_NAME CONTAINER_IMAGE_TAG;
    repository "output_fields.\"container.image.repository\"" CONTAINER_IMAGE_NAME;
    image_tag "output_fields.\"container.image.tag\"" CONTAINER_IMAGE_TAG;
    digest "output_fields.\"container.image.digest\"" CONTAINER_IMAGE_HASH_ALL;
    k8s_ns "output_fields.\"k8s.ns.name\"" ORCHESTRATOR_NAMESPACE ORCHESTRATOR_TYPE;
    k8s_pod "output_fields.\"k8s.pod.name\"" ORCHESTRATOR_RESOURCE_NAME ORCHESTRATOR_RESOURCE_TYPE ORCHESTRATOR_TYPE;
    ka_user "output_fields.\"ka.user.name\"" USER_NAME;
    ka_verb "output_fields.\"ka.verb\"" EVENT_ACTION ORCHESTRATOR_TYPE;
    ka_uri "output_fields.\"ka.uri\"" URL_ORIGINAL URL_PATH URL_QUERY;
    ka_code "output_fields.\"ka.response.code\"" HTTP_RESPONSE_STATUS_CODE;
    ka_name "output_fields.\"ka.target.name\"" ORCHESTRATOR_RESOURCE_NAME;
    ka_resource "output_fields.\"ka.target.resource\"" ORCHESTRATOR_RESOURCE_TYPE;
    ka_ns "output_fields.\"ka.target.namespace\"" ORCHESTRATOR_NAMESPACE;
    ka_agent "output_fields.\"ka.useragent\"" USER_AGENT_ORIGINAL;
    ka_ips "output_fields.\"ka.sourceips\"[]" SOURCE_IP CLIENT_IP;
    ct_user "output_fields.\"ct.user\"" USER_NAME;
    ct_name "output_fields.\"ct.name\"" EVENT_ACTION;
    ct_ip "output_fields.\"ct.srcip\"" SOURCE_IP CLIENT_IP;
}

/// The parser; one for each worker.
pub struct Parser {
    scanner: Scanner,
    time: PathId,
    rule: PathId,
    priority: PathId,
    source: PathId,
    ids: Ids,
    own: OwnFields,
    scratch: Vec<u8>,
}

/// The priorities, worst first, and what they are on the common scale.
const PRIORITIES: [(&str, i64); 9] = [
    ("emergency", 100),
    ("alert", 95),
    ("critical", 90),
    ("error", 70),
    ("warning", 50),
    ("notice", 30),
    ("informational", 10),
    ("info", 10),
    ("debug", 0),
];

fn severity(priority: &[u8]) -> Option<(&'static str, i64)> {
    PRIORITIES.into_iter().find(|(n, _)| n.as_bytes().eq_ignore_ascii_case(priority))
}

/// Whether this is an ATT&CK technique: `T1110` or `T1110.003`.
pub(super) fn is_technique(t: &[u8]) -> bool {
    let digits = |d: &[u8]| d.iter().all(u8::is_ascii_digit);
    match t {
        [b'T', n @ ..] if n.len() == 4 => digits(n),
        [b'T', n @ ..] if n.len() == 8 => digits(&n[..4]) && n[4] == b'.' && digits(&n[5..]),
        _ => false,
    }
}

/// A tactic in the spelling of rules: `Credential_Access` and `credential-access` are `credential_access`.
pub(super) fn tactic(t: &[u8], out: &mut Out<'_>) -> Slot {
    if t.iter().all(|c| c.is_ascii_lowercase() || *c == b'_') {
        return out.text(t);
    }
    out.build(|o| o.extend(t.iter().map(|c| if matches!(c, b' ' | b'-') { b'_' } else { c.to_ascii_lowercase() })))
}

/// Whether a value says that there is none.
fn empty(v: &[u8]) -> bool {
    matches!(v, b"" | b"<NA>" | b"null" | b"(none)" | b"N/A")
}

#[inline(always)]
fn known(j: Json<'_>) -> Json<'_> {
    match j {
        Json::Str(s) if empty(s) => Json::Missing,
        j => j,
    }
}

fn by_falco(env: Option<&Envelope<'_>>) -> bool {
    env.and_then(|e| e.app).is_some_and(|a| a.eq_ignore_ascii_case(b"falco"))
}

/// What stands before the text of an alert.
enum Head {
    /// A time of day.
    Clock(time::Civil),
    /// An instant.
    At(crate::event::Timestamp),
    /// Nothing.
    None,
}

/// Takes `hh:mm:ss.nnnnnnnnn: Priority ` or the same with a whole time off a line: the time, the priority and the rest.
fn head<'r>(env: Option<&Envelope<'_>>, b: &'r [u8]) -> Option<(Head, &'r [u8], &'r [u8])> {
    let utc = jiff::tz::TimeZone::UTC;
    let (at, rest) = if let Some((hour, minute, second)) = time::clock(b) {
        let (nanos, n) = time::fraction(&b[8..]);
        if n == 0 {
            return None;
        }
        (Head::Clock(time::Civil { hour, minute, second, nanos, ..time::Civil::default() }), b[8 + n..].strip_prefix(b": ")?)
    } else if let Some((t, n)) = time::iso(b, &utc) {
        (Head::At(t), b[n..].strip_prefix(b": ")?)
    } else if by_falco(env) {
        (Head::None, b)
    } else {
        return None;
    };
    let (priority, text) = rest.split_at(memchr::memchr(b' ', &rest[..rest.len().min(16)])?);
    severity(priority)?;
    Some((at, priority, &text[1..]))
}

impl Parser {
    /// A parser for events of this schema and layout.
    pub fn new(schema: &Schema, layout: &Layout) -> Parser {
        let mut paths = Paths::default();
        let (time, rule, priority, source) = (paths.add("time"), paths.add("rule"), paths.add("priority"), paths.add("source"));
        let ids = Ids::new(&mut paths, &|f| f == f::EVENT_KIND || layout.slot(f).is_some());
        let own = OwnFields::bind(schema, layout, "falco", &[f::FALCO_PRIORITY, f::FALCO_SOURCE], &mut paths);
        Parser { scanner: Scanner::new(paths), time, rule, priority, source, ids, own, scratch: Vec::new() }
    }

    /// Whether a record is of this format, told cheaply and without doubt; for JSON by a look at its first keys, the
    /// parser has the last word.
    pub fn recognise(env: Option<&Envelope<'_>>, record: &[u8]) -> bool {
        let b = record.trim_ascii();
        if b.first() == Some(&b'{') {
            let first = &b[..b.len().min(512)];
            let has = |k: &[u8]| memchr::memmem::find(first, k).is_some();
            return has(b"\"output\"") || has(b"\"output_fields\"") || has(b"\"priority\"") && has(b"\"rule\"");
        }
        head(env, b).is_some()
    }

    /// Parses one record without its envelope: an alert as JSON or text, or with `ctx.named` what Falco says when it starts.
    ///
    /// - Out: `event.dataset` is `falco.alert`, or `falco.internal` for what is about Falco itself.
    /// - Time: that of the JSON, with nanoseconds; in text a time of day in `ctx.zone`, on the day nearest to `ctx.near`;
    ///   the envelope's where a record has none.
    /// - Errors: JSON without `rule` and `priority`; text without a time and a priority.
    /// - Source: Falco `userspace/engine/formats.cpp`; see `parsers/falco/parser.toml`.
    pub fn parse(&mut self, ctx: &Context<'_>, env: Option<&Envelope<'_>>, record: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        let b = record.trim_ascii();
        if b.first() == Some(&b'{') {
            self.json(env, b, out)?;
        } else if let Some((at, priority, text)) = head(env, b) {
            let t = match at {
                Head::Clock(c) => c.nearest_day(ctx.zone, ctx.near),
                Head::At(t) => Some(t),
                Head::None => env.and_then(|e| e.time),
            };
            out.time(f::TIMESTAMP, t.ok_or(ParseError { expected: "a time", offset: 0 })?);
            alert(priority, out);
            out.str(f::MESSAGE, text);
            Self::text(text, out);
        } else {
            let at = b.get(..24).and_then(|t| time::asctime(t, ctx.zone)).filter(|_| b.get(24) == Some(&b':'));
            let at = at.or(if by_falco(env) { env.and_then(|e| e.time) } else { None });
            let Some(at) = at.filter(|_| ctx.named) else {
                return Err(ParseError { expected: "a time and a priority", offset: 0 });
            };
            out.time(f::TIMESTAMP, at);
            internal(out);
            out.str(f::MESSAGE, b.get(24..).and_then(|r| r.strip_prefix(b": ")).unwrap_or(b));
        }
        out.word(f::EVENT_MODULE, "falco");
        if let Some(host) = env.and_then(|e| e.host) {
            out.str(f::HOST_HOSTNAME, host);
            if !out.has(f::HOST_NAME) {
                out.str(f::HOST_NAME, host);
            }
        }
        Ok(())
    }

    fn json(&mut self, env: Option<&Envelope<'_>>, b: &[u8], out: &mut Out<'_>) -> Result<(), ParseError> {
        self.scanner.scan(b)?;
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| known(s.get(id, b));
        let (rule, priority, fields) = (get(self.rule), get(self.priority), get(ids.output_fields));
        if !rule.is_str() || !priority.is_str() {
            return Err(ParseError { expected: "a rule and a priority", offset: 0 });
        }
        let utc = jiff::tz::TimeZone::UTC;
        let at = match get(self.time) {
            Json::Str(t) => time::iso(t, &utc).filter(|(_, n)| *n == t.len()).map(|(t, _)| t),
            _ => None,
        };
        let event = || [get(ids.evt_time), get(ids.evt_iso)].into_iter().find_map(|j| if let Json::Number(n) = j { time::epoch(n) } else { None });
        if let Some(t) = at.or_else(event).or(env.and_then(|e| e.time)) {
            out.time(f::TIMESTAMP, t);
        }
        rule.put_str(f::RULE_NAME, out);
        get(self.source).put_str(f::FALCO_SOURCE, out);
        get(ids.uuid).put_str(f::EVENT_ID, out);
        get(ids.hostname).put_str(f::HOST_NAME, out);
        get(ids.hostname).put_str(f::HOST_HOSTNAME, out);
        get(ids.output).put_str(f::MESSAGE, out);
        for (_, t) in s.list(ids.tags, b) {
            match t {
                Json::Str(t) if is_technique(t) => out.add(f::THREAT_TECHNIQUE_ID, t),
                Json::Str(t) if t.starts_with(b"mitre_") => {
                    let t = tactic(&t[6..], out);
                    out.push(f::THREAT_TACTIC_NAME, t);
                }
                t => {
                    let t = t.str_slot(out);
                    out.push(f::TAGS, t);
                }
            }
        }
        let mut word = [0u8; 16];
        let priority = priority.text(&mut self.scratch).and_then(|p| {
            let w = word.get_mut(..p.len())?;
            w.copy_from_slice(p);
            Some(&*w)
        });
        alert(priority.unwrap_or(b""), out);
        if matches!(rule, Json::Str(r) if r.starts_with(b"Falco internal")) || get(self.source).is("internal") {
            out.clear(f::EVENT_CATEGORY);
            out.clear(f::EVENT_TYPE);
            internal(out);
        } else if matches!(fields, Json::Object(_)) {
            self.fields(b, out);
        } else if get(ids.output) != Json::Missing {
            let mut scratch = std::mem::take(&mut self.scratch);
            if let Some(text) = get(ids.output).text(&mut scratch) {
                let text = head(None, text).map_or(text, |h| h.2);
                Self::text(text, out);
            }
            self.scratch = scratch;
        }
        self.own.write(&self.scanner, b, out);
        if let Some(own) = out.own() {
            let ids = &self.ids;
            let looked_at = [ids.output_fields, ids.evt_time, ids.evt_iso];
            self.scanner.unmapped_but(b, &["falco"], &|id| !looked_at.contains(&id), own);
        }
        Ok(())
    }

    fn fields(&self, b: &[u8], out: &mut Out<'_>) {
        let (s, ids) = (&self.scanner, &self.ids);
        let get = |id: PathId| known(s.get(id, b));
        let or = |a: PathId, z: PathId| if get(a) == Json::Missing || get(a) == Json::Null { get(z) } else { get(a) };
        if get(self.source) == Json::Missing || matches!(get(self.source), Json::Str(s) if s.starts_with(b"syscall")) {
            out.add(f::EVENT_CATEGORY, b"process");
        }
        for (id, field) in [
            (ids.proc_name, f::PROCESS_NAME),
            (ids.proc_exepath, f::PROCESS_EXECUTABLE),
            (ids.proc_cmdline, f::PROCESS_COMMAND_LINE),
            (ids.proc_cwd, f::PROCESS_WORKING_DIRECTORY),
            (ids.proc_tty, f::PROCESS_TTY),
            (ids.proc_pname, f::PROCESS_PARENT_NAME),
            (ids.proc_pexepath, f::PROCESS_PARENT_EXECUTABLE),
            (ids.proc_pcmdline, f::PROCESS_PARENT_COMMAND_LINE),
            (ids.user_uid, f::USER_ID),
            (ids.group_name, f::GROUP_NAME),
            (ids.fs_path, f::FILE_PATH),
            (ids.ka_agent, f::USER_AGENT_ORIGINAL),
        ] {
            get(id).put_str(field, out);
        }
        get(ids.proc_pid).put_int(f::PROCESS_PID, out);
        get(ids.proc_ppid).put_int(f::PROCESS_PARENT_PID, out);
        get(ids.ka_code).put_int(f::HTTP_RESPONSE_STATUS_CODE, out);
        match get(ids.user_loginuid) {
            // Nobody has logged in.
            Json::Number(b"-1" | b"4294967295") => {}
            id => id.put_str(f::USER_AUDIT_ID, out),
        }
        let user = or(ids.user_name, ids.ka_user);
        if matches!(user, Json::Missing | Json::Null) { get(ids.ct_user) } else { user }.put_str(f::USER_NAME, out);
        let action = or(ids.ka_verb, ids.ct_name);
        if matches!(action, Json::Missing | Json::Null) { get(ids.evt_type) } else { action }.put_str(f::EVENT_ACTION, out);
        let fd = get(ids.fd_name).str_slot(out);
        descriptor(fd, out);
        if !get(ids.container_id).is("host") {
            get(ids.container_id).put_str(f::CONTAINER_ID, out);
            get(ids.container_name).put_str(f::CONTAINER_NAME, out);
            get(ids.container_type).put_str(f::CONTAINER_RUNTIME, out);
            let image = get(ids.image).str_slot(out);
            image_ref(image, out);
            get(ids.repository).put_str(f::CONTAINER_IMAGE_NAME, out);
            let tag = get(ids.image_tag).str_slot(out);
            if tag != Slot::Missing {
                out.put(f::CONTAINER_IMAGE_TAG, tag);
            }
            get(ids.digest).put(f::CONTAINER_IMAGE_HASH_ALL, crate::event::Type::Str, out);
        }
        or(ids.k8s_ns, ids.ka_ns).put_str(f::ORCHESTRATOR_NAMESPACE, out);
        if get(ids.k8s_pod).is_str() {
            get(ids.k8s_pod).put_str(f::ORCHESTRATOR_RESOURCE_NAME, out);
            out.word(f::ORCHESTRATOR_RESOURCE_TYPE, "pod");
        }
        get(ids.ka_name).put_str(f::ORCHESTRATOR_RESOURCE_NAME, out);
        get(ids.ka_resource).put_str(f::ORCHESTRATOR_RESOURCE_TYPE, out);
        if get(ids.k8s_ns).is_str() || get(ids.k8s_pod).is_str() || get(ids.ka_verb).is_str() {
            out.word(f::ORCHESTRATOR_TYPE, "kubernetes");
        }
        let uri = get(ids.ka_uri).str_slot(out);
        write_url(uri, out);
        let address = s.list(ids.ka_ips, b).map(|v| v.1).chain([get(ids.ct_ip)]).find(Json::is_str);
        if let Some(address) = address {
            address.put_ip(f::SOURCE_IP, out);
            address.put_ip(f::CLIENT_IP, out);
        }
    }

    /// Reads `key=value` pairs out of the text of an alert. Where a key comes twice the last one that says something counts.
    fn text(text: &[u8], out: &mut Out<'_>) {
        let mut at = 0;
        let mut pair = next_pair(text, &mut at, true);
        out.add(f::EVENT_CATEGORY, b"process");
        while let Some((key, start)) = pair {
            let free = FREE.contains(&key);
            at = start;
            pair = next_pair(text, &mut at, free);
            let mut v = text[start..pair.map_or(text.len(), |(k, s)| s - k.len() - 1)].trim_ascii();
            if !free {
                for end in [&b" | "[..], b") "] {
                    v = memchr::memmem::find(v, end).map_or(v, |i| v[..i].trim_ascii_end());
                }
            }
            // The bracket that closes the list is no part of the value, one that was opened in it is.
            let count = |b: u8| v.iter().filter(|c| **c == b).count();
            for _ in count(b'(')..count(b')') {
                v = v.strip_suffix(b")").unwrap_or(v);
            }
            if !empty(v)
                && !value(key, v, out)
                && let Some(own) = out.own()
            {
                let mut json = Vec::new();
                crate::event::json::string(v, &mut json);
                own.entries.push((vec!["falco".into(), "output_fields".into(), String::from_utf8_lossy(key).into_owned()], json));
            }
        }
    }
}

fn internal(out: &mut Out<'_>) {
    out.word(f::EVENT_DATASET, "falco.internal");
    out.word(f::EVENT_KIND, "event");
}

fn alert(priority: &[u8], out: &mut Out<'_>) {
    out.word(f::EVENT_DATASET, "falco.alert");
    out.word(f::EVENT_KIND, "alert");
    out.add(f::EVENT_CATEGORY, b"intrusion_detection");
    out.add(f::EVENT_TYPE, b"info");
    out.str(f::FALCO_PRIORITY, priority);
    if let Some((level, n)) = severity(priority) {
        out.word(f::LOG_LEVEL, level);
        out.int(f::EVENT_SEVERITY, n);
    }
}

/// Writes what a file descriptor is: a path, or a connection `a:p->b:q`, in which the client stands first.
fn descriptor(fd: Slot, out: &mut Out<'_>) {
    let Value::Str(n) = out.value(fd) else { return };
    if n.first() == Some(&b'/') {
        out.put(f::FILE_PATH, fd);
        out.add(f::EVENT_CATEGORY, b"file");
        return;
    }
    let Some(arrow) = memchr::memmem::find(n, b"->") else { return };
    let end = |s: &[u8]| {
        let i = memchr::memrchr(b':', s)?;
        let port = time_digits(&s[i + 1..])?;
        Some((ip(&s[..i])?, port))
    };
    let (Some((a, ap)), Some((z, zp))) = (end(&n[..arrow]), end(&n[arrow + 2..])) else { return };
    for (addr, port, fields) in [
        (a, ap, [(f::SOURCE_IP, f::SOURCE_PORT), (f::CLIENT_IP, f::CLIENT_PORT)]),
        (z, zp, [(f::DESTINATION_IP, f::DESTINATION_PORT), (f::SERVER_IP, f::SERVER_PORT)]),
    ] {
        for (to_ip, to_port) in fields {
            out.ip(to_ip, addr);
            if port != 0 {
                out.int(to_port, port);
            }
        }
    }
    out.add(f::EVENT_CATEGORY, b"network");
}

fn time_digits(s: &[u8]) -> Option<i64> {
    (!s.is_empty() && s.len() <= 5).then(|| time::digits(s, s.len())).flatten().filter(|p| *p <= 65535).map(i64::from)
}

/// Writes an image reference: name, tag and digest apart.
fn image_ref(image: Slot, out: &mut Out<'_>) {
    let Value::Str(n) = out.value(image) else { return };
    let len = n.len();
    let at = memchr::memchr(b'@', n);
    let name = at.unwrap_or(len);
    // A colon before the last slash belongs to the registry's port.
    let slash = memchr::memrchr(b'/', &n[..name]).unwrap_or(0);
    let colon = memchr::memrchr(b':', &n[slash..name]).map(|i| slash + i);
    out.put(f::CONTAINER_IMAGE_NAME, sub(image, 0, colon.unwrap_or(name)));
    if let Some(c) = colon {
        out.put(f::CONTAINER_IMAGE_TAG, sub(image, c + 1, name));
    }
    if let Some(a) = at {
        out.put(f::CONTAINER_IMAGE_HASH_ALL, sub(image, a + 1, len));
    }
}

/// Keys whose values are free text: only a key that is known ends one.
const FREE: [&[u8]; 12] =
    [b"command", b"cmdline", b"cmd", b"pcmdline", b"reason", b"proc_exeline", b"proc_args", b"args", b"gparent", b"ggparent", b"parent", b"proc_env"];

/// Keys that the rules of the project write, beside those that [`value`] reads.
const KEYS: &[&[u8]] = &[
    b"user",
    b"user_uid",
    b"uid",
    b"user_loginuid",
    b"loginuid",
    b"user_loginname",
    b"loginname",
    b"process",
    b"proc_name",
    b"proc",
    b"program",
    b"shell",
    b"proc_exepath",
    b"exepath",
    b"proc_exe",
    b"exe",
    b"proc_sname",
    b"sname",
    b"parent",
    b"pname",
    b"gparent",
    b"ggparent",
    b"gggparent",
    b"command",
    b"cmdline",
    b"cmd",
    b"pcmdline",
    b"pid",
    b"proc_pid",
    b"ppid",
    b"proc_ppid",
    b"proc_cwd",
    b"cwd",
    b"terminal",
    b"tty",
    b"file",
    b"fd",
    b"fd_name",
    b"connection",
    b"lport",
    b"rport",
    b"fd_type",
    b"fd_proto",
    b"container_id",
    b"container",
    b"container_name",
    b"image",
    b"container_image",
    b"container_image_repository",
    b"container_image_tag",
    b"container_start_ts",
    b"k8s_pod",
    b"k8s.pod",
    b"k8s_pod_name",
    b"k8s.pod.name",
    b"k8s_ns",
    b"k8s.ns",
    b"k8s_ns_name",
    b"k8s.ns.name",
    b"ns",
    b"pod",
    b"evt_type",
    b"evt_args",
    b"evt_res",
    b"res",
    b"uri",
    b"verb",
    b"resp",
    b"reason",
    b"target",
    b"resource",
    b"exe_flags",
    b"flags",
    b"proc_exe_ino_ctime",
    b"proc_exe_ino_mtime",
    b"proc_exe_ino_ctime_duration_proc_start",
    b"proc_exeline",
    b"proc_args",
    b"args",
    b"proc_env",
    b"source",
    b"path",
    b"name",
    b"newpath",
    b"oldpath",
    b"linkpath",
    b"mode",
    b"images",
    b"decision",
    b"arg_arguments",
    b"binary",
    b"python",
    b"domain",
    b"type",
    b"protocol",
];

/// The next key from `at` on and where its value starts. `known` keys only, or any word that is followed by `=`.
fn next_pair<'t>(text: &'t [u8], at: &mut usize, known: bool) -> Option<(&'t [u8], usize)> {
    let mut from = *at;
    while let Some(i) = memchr::memchr(b'=', text.get(from..)?).map(|i| from + i) {
        from = i + 1;
        let key = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.[]".contains(c);
        let start = text[*at..i].iter().rposition(|c| !key(c)).map_or(*at, |p| *at + p + 1);
        let word = &text[start..i];
        let before = start == 0 || matches!(text[start - 1], b' ' | b'(');
        if before && word.first().is_some_and(|c| c.is_ascii_lowercase() || *c == b'_') && (!known || KEYS.contains(&word)) {
            *at = i + 1;
            return Some((word, i + 1));
        }
    }
    None
}

/// Writes a value of the text form to its field; `false` for a key that has none.
fn value(key: &[u8], v: &[u8], out: &mut Out<'_>) -> bool {
    let field = match key {
        b"user" => f::USER_NAME,
        b"user_uid" | b"uid" => f::USER_ID,
        b"user_loginuid" | b"loginuid" => {
            if v != b"-1" {
                out.str(f::USER_AUDIT_ID, v);
            }
            return true;
        }
        b"process" | b"proc_name" | b"proc" | b"program" | b"shell" => f::PROCESS_NAME,
        b"proc_exepath" | b"exepath" => f::PROCESS_EXECUTABLE,
        b"parent" | b"pname" => f::PROCESS_PARENT_NAME,
        b"command" | b"cmdline" | b"cmd" => f::PROCESS_COMMAND_LINE,
        b"pcmdline" => f::PROCESS_PARENT_COMMAND_LINE,
        b"proc_cwd" | b"cwd" => f::PROCESS_WORKING_DIRECTORY,
        b"terminal" | b"tty" => f::PROCESS_TTY,
        b"pid" | b"proc_pid" => {
            out.int_text(f::PROCESS_PID, v);
            return true;
        }
        b"ppid" | b"proc_ppid" => {
            out.int_text(f::PROCESS_PARENT_PID, v);
            return true;
        }
        b"file" | b"connection" | b"fd" | b"fd_name" => {
            let fd = out.text(v);
            descriptor(fd, out);
            return v[0] == b'/' || memchr::memmem::find(v, b"->").is_some();
        }
        b"container_id" | b"container" => {
            // The suffix `container=` holds an id; rules of one's own often put the name there.
            let id = key == b"container_id" || matches!(v.len(), 12 | 64) && v.iter().all(u8::is_ascii_hexdigit);
            if v != b"host" {
                out.str(if id { f::CONTAINER_ID } else { f::CONTAINER_NAME }, v);
            }
            return true;
        }
        b"container_name" => f::CONTAINER_NAME,
        b"image" | b"container_image" => {
            let image = out.text(v);
            image_ref(image, out);
            return true;
        }
        b"container_image_repository" => f::CONTAINER_IMAGE_NAME,
        b"container_image_tag" => f::CONTAINER_IMAGE_TAG,
        b"k8s_pod" | b"k8s.pod" | b"k8s_pod_name" | b"k8s.pod.name" | b"pod" => {
            out.word(f::ORCHESTRATOR_TYPE, "kubernetes");
            out.word(f::ORCHESTRATOR_RESOURCE_TYPE, "pod");
            f::ORCHESTRATOR_RESOURCE_NAME
        }
        b"k8s_ns" | b"k8s.ns" | b"k8s_ns_name" | b"k8s.ns.name" | b"ns" => {
            out.word(f::ORCHESTRATOR_TYPE, "kubernetes");
            f::ORCHESTRATOR_NAMESPACE
        }
        b"evt_type" | b"verb" => f::EVENT_ACTION,
        b"uri" => {
            let url = out.text(v);
            write_url(url, out);
            return true;
        }
        b"resp" => {
            out.int_text(f::HTTP_RESPONSE_STATUS_CODE, v);
            return true;
        }
        _ => return false,
    };
    out.str(field, v);
    true
}

#[cfg(test)]
mod tests {
    use super::super::json::tests::event;
    use super::*;

    fn try_one(named: bool, env: Option<&Envelope<'_>>, line: &str) -> Result<serde_json::Value, ParseError> {
        let schema = Schema::default();
        let mut p = Parser::new(&schema, &Layout::full(&schema));
        let text = event(&schema, line, |ctx, b, out| p.parse(&Context { named, ..*ctx }, env, b, out))?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn what_is_no_alert_is_refused() {
        for line in [
            r#"{"rule":{"id":"1"},"priority":"Error","output":"x"}"#,
            r#"{"rule":"a","output":"x"}"#,
            r#"{"rule":"a","priority":"Error","output":"#,
            "05:00:00: Error x",
            "05:00:00.1: Terrible x",
            "Mon Nov 23 05:00:02 2026: Falco version: 0.40.0 (x86_64)",
            "",
        ] {
            assert!(try_one(false, None, line).is_err(), "{line}");
            assert!(line.starts_with('{') || !Parser::recognise(None, line.as_bytes()), "{line}");
        }
        assert!(try_one(true, None, "Mon Nov 23 05:00:02 2026: Falco version: 0.40.0 (x86_64)").is_ok(), "where the format is named");
    }

    #[test]
    fn the_envelope_gives_host_and_time_only_where_the_record_has_none() {
        let env = Envelope { time: crate::event::Timestamp::new(1_795_410_000, 0), host: Some(b"gate"), app: Some(b"Falco"), ..Envelope::default() };
        for (line, time, name) in [
            (
                r#"{"rule":"a","priority":"Info","time":"2026-11-23T01:00:00Z","hostname":"node-1","output":"x"}"#,
                "2026-11-23T01:00:00.000000Z",
                "node-1",
            ),
            (r#"{"rule":"a","priority":"Info","output":"x"}"#, "2026-11-23T05:00:00.000000Z", "gate"),
            ("01:00:00.5: Error x (user=root)", "2026-11-23T01:00:00.500000Z", "gate"),
            ("Error x (user=root)", "2026-11-23T05:00:00.000000Z", "gate"),
        ] {
            assert!(Parser::recognise(Some(&env), line.as_bytes()), "{line}");
            let e = try_one(false, Some(&env), line).unwrap();
            assert_eq!((&e["@timestamp"], &e["host"]["name"]), (&time.into(), &name.into()), "{line}");
            assert_eq!((&e["host"]["hostname"], &e["event"]["kind"]), (&"gate".into(), &"alert".into()), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(b in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), cut in 0usize..1500, at in 0usize..1500, c in 0u8..) {
            let _ = try_one(true, None, &String::from_utf8_lossy(&b));
            for sample in [include_str!("../../parsers/falco/samples/json.log"), include_str!("../../parsers/falco/samples/text.log")] {
                let mut t = sample.lines().next().unwrap_or_default().as_bytes().to_vec();
                t.truncate(cut);
                if at < t.len() {
                    t[at] = c;
                }
                let text = String::from_utf8_lossy(&t).into_owned();
                let _ = Parser::recognise(None, text.as_bytes());
                let _ = try_one(true, None, &text);
            }
        }
    }
}
