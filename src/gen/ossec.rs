//! OSSEC's alerts, as blocks of `alerts.log` (about 340 bytes) and as lines of `alerts.json`: failed and accepted logins,
//! PAM, web attacks, and changed files.
//!
//! Source: ossec-hids `src/analysisd/alerts/log.c` and `src/analysisd/format/to_json.c`.

use super::pen::Pen;
use super::{Form, Scene};
use std::net::{IpAddr, Ipv4Addr};

/// One alert, before it is a block or a line.
struct Alert<'a> {
    rule: (u64, u64, &'a str),
    groups: &'a str,
    decoder: &'a str,
    place: &'a str,
    client: Option<(IpAddr, u64)>,
    user: &'a str,
    /// The path of a changed file.
    file: Option<&'a str>,
    log: &'a str,
}

const MD5: [&str; 2] = ["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"];

fn write(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form, host: u64, a: &Alert<'_>) {
    let (rule, level, comment) = a.rule;
    let epoch = s.times.epoch();
    if form == Form::OssecJson {
        p.s(r#"{"rule":{"level":"#).n(level).s(r#","comment":""#).s(comment).s(r#"","sidid":"#).n(rule).s(r#","firedtimes":1,"group":""#).s(a.groups);
        p.s(r#"","groups":["#);
        for (i, g) in a.groups.split_terminator(',').enumerate() {
            p.s(if i == 0 { "\"" } else { ",\"" }).s(g).s("\"");
        }
        p.s(r#"]},"id":""#).n(epoch).s(".").n(s.number).s(r#"","TimeStamp":"#).n(epoch).pad(s.times.millis(), 3).s(r#","decoder":""#).s(a.decoder);
        if let Some((ip, port)) = a.client {
            p.s(r#"","srcip":""#).ip(ip).s(r#"","srcport":""#).n(port);
        }
        if !a.user.is_empty() {
            p.s(r#"","dstuser":""#).s(a.user);
        }
        if let Some(path) = a.file {
            p.s(r#"","SyscheckFile":{"path":""#).s(path).s(r#"","md5_before":""#).s(MD5[0]).s(r#"","md5_after":""#).s(MD5[1]);
            p.s(r#""},"location":""#);
        } else {
            p.s(r#"","location":""#);
        }
        p.s("(web-").pad(host, 2).s(") 192.0.2.").n(host).s("->").s(a.place).s(r#"","full_log":""#);
        p.s(&a.log.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        p.s(r#"","hostname":"web-"#).pad(host, 2).s(r#"","agent_name":"web-"#).pad(host, 2).s(r#"","timestamp":""#).s(&s.times.ossec);
        p.s(r#"","logfile":""#).s(a.place).s(r#""}"#);
        return;
    }
    p.s("** Alert ").n(epoch).s(".").n(s.number).s(": - ").s(a.groups).s("\n").s(&s.times.ossec).s(" (web-").pad(host, 2).s(") 192.0.2.").n(host);
    p.s("->").s(a.place).s("\nRule: ").n(rule).s(" (level ").n(level).s(") -> '").s(comment).s("'\n");
    if let Some((ip, port)) = a.client {
        p.s("Src IP: ").ip(ip).s("\nSrc Port: ").n(port).s("\n");
    }
    if !a.user.is_empty() {
        p.s("User: ").s(a.user).s("\n");
    }
    p.s(a.log);
}

fn host(s: &mut Scene<'_>) -> u64 {
    1 + s.random.below(s.hosts.min(250))
}

/// One alert of an ordinary day.
pub fn ordinary(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form) {
    let ip = s.random.stranger();
    match s.random.below(8) {
        0..=3 => {
            let user = format!("user{}", s.random.below(60_000));
            failed_login(p, s, form, ip, &user, false);
        }
        4 => {
            // Staff, from where no stranger is.
            let staff = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 251));
            login(p, s, form, staff, "deploy");
        }
        5 => {
            let (host, port) = (host(s), s.random.port());
            let log = format!(
                "{} web-{host:02} sshd[{port}]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}  user=root",
                s.times.bsd
            );
            let a = Alert {
                rule: (5503, 5, "User login failed."),
                groups: "pam,syslog,authentication_failed,",
                decoder: "pam",
                place: "/var/log/auth.log",
                client: Some((ip, port)),
                user: "root",
                file: None,
                log: &log,
            };
            write(p, s, form, host, &a);
        }
        6 => web_attack(p, s, form, ip),
        _ => {
            let path = format!("/etc/app/{}.conf", s.random.port());
            changed(p, s, form, &path);
        }
    }
}

/// A password that was wrong, for a user that exists or not.
pub fn failed_login(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form, ip: IpAddr, user: &str, exists: bool) {
    let (host, port) = (host(s), s.random.port());
    let invalid = if exists { "" } else { "invalid user " };
    let log = format!("{} web-{host:02} sshd[{port}]: Failed password for {invalid}{user} from {ip} port {port} ssh2", s.times.bsd);
    let (rule, groups) = match exists {
        true => ((5716, 5, "SSHD authentication failed."), "syslog,sshd,authentication_failed,"),
        false => ((5710, 5, "Attempt to login using a non-existent user"), "syslog,sshd,invalid_login,authentication_failed,"),
    };
    let a = Alert { rule, groups, decoder: "sshd", place: "/var/log/auth.log", client: Some((ip, port)), user, file: None, log: &log };
    write(p, s, form, host, &a);
}

/// A login.
pub fn login(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form, ip: IpAddr, user: &str) {
    let (host, port) = (host(s), s.random.port());
    let log = format!(
        "{} web-{host:02} sshd[{port}]: Accepted publickey for {user} from {ip} port {port} ssh2: ED25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        s.times.bsd
    );
    let a = Alert {
        rule: (5715, 3, "SSHD authentication success."),
        groups: "syslog,sshd,authentication_success,",
        decoder: "sshd",
        place: "/var/log/auth.log",
        client: Some((ip, port)),
        user,
        file: None,
        log: &log,
    };
    write(p, s, form, host, &a);
}

/// A request in the access log that looks like SQL injection.
pub fn web_attack(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form, ip: IpAddr) {
    let (host, port) = (host(s), s.random.port());
    let log = format!(
        "{ip} - - [{} +0000] \"GET /item?id={port}+union+select+1,2,3-- HTTP/1.1\" 403 239 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
        s.times.clf
    );
    let a = Alert {
        rule: (31103, 6, "SQL injection attempt."),
        groups: "web,accesslog,attack,sql_injection,",
        decoder: "web-accesslog",
        place: "/var/log/nginx/access.log",
        client: Some((ip, port)),
        user: "",
        file: None,
        log: &log,
    };
    write(p, s, form, host, &a);
}

/// A file whose content has changed.
pub fn changed(p: &mut Pen<'_>, s: &mut Scene<'_>, form: Form, path: &str) {
    let (host, was, is) = (host(s), s.random.below(90_000), s.random.below(90_000));
    let log = format!(
        "Integrity checksum changed for: '{path}'\nSize changed from '{was}' to '{is}'\nOld md5sum was: '{}'\nNew md5sum is : '{}'",
        MD5[0], MD5[1]
    );
    let a = Alert {
        rule: (550, 7, "Integrity checksum changed."),
        groups: "ossec,syscheck,",
        decoder: "syscheck_integrity_changed",
        place: "syscheck",
        client: None,
        user: "",
        file: Some(path),
        log: &log,
    };
    write(p, s, form, host, &a);
}
