//! Records of text formats in their true shape, for measurements. The same seed gives the same bytes.

use std::io::Write;

/// A small generator of numbers (splitmix64): what is measured must not depend on a library's version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// An address of the documentation ranges, one in sixteen of them v6.
    fn address(&mut self) -> String {
        let host = self.below(254) + 1;
        match self.below(16) {
            0 => format!("2001:db8::{host:x}:{:x}", self.below(65_536)),
            1..=5 => format!("192.0.2.{host}"),
            6..=10 => format!("198.51.100.{host}"),
            _ => format!("203.0.113.{host}"),
        }
    }
}

const START: u64 = 1_795_392_000; // 2026-11-23T00:00:00Z

fn clock(n: u64) -> (u64, u64, u64) {
    (n / 3600 % 24, n / 60 % 60, n % 60)
}

/// Lines of `fail2ban.log`: of sixteen, eleven `Found`, two `Ban`, one `Unban`, one `already banned`, one of the server.
///
/// Writing into a `Vec` cannot fail.
pub fn fail2ban(n: usize, seed: u64) -> Vec<u8> {
    let mut r = Random(seed);
    let mut out = Vec::with_capacity(n * 104);
    for i in 0..n as u64 {
        let jail = ["sshd", "sshd", "sshd", "nginx-http-auth", "postfix-sasl", "recidive"][r.below(6) as usize];
        let (h, m, s) = clock(i / 20);
        let (ip, ms) = (r.address(), r.below(1000));
        let _ = write!(out, "2026-11-23 {h:02}:{m:02}:{s:02},{ms:03} ");
        let _ = match r.below(16) {
            0..=10 => writeln!(out, "fail2ban.filter         [8739]: INFO    [{jail}] Found {ip} - 2026-11-23 {h:02}:{m:02}:{s:02}"),
            11 | 12 => writeln!(out, "fail2ban.actions        [8739]: NOTICE  [{jail}] Ban {ip}"),
            13 => writeln!(out, "fail2ban.actions        [8739]: NOTICE  [{jail}] Unban {ip}"),
            14 => writeln!(out, "fail2ban.actions        [8739]: NOTICE  [{jail}] {ip} already banned"),
            _ => writeln!(out, "fail2ban.jail           [8739]: INFO    Jail '{jail}' started"),
        };
    }
    out
}

/// Blocks of `alerts.log`, about 340 bytes each: failed and accepted logins, PAM, web attacks, and changed files.
pub fn ossec(n: usize, seed: u64) -> Vec<u8> {
    let mut r = Random(seed);
    let mut out = Vec::with_capacity(n * 360);
    for i in 0..n as u64 {
        let seconds = i / 20;
        let (h, m, s) = clock(seconds);
        let (ip, port, host) = (r.address(), 1024 + r.below(60_000), r.below(20));
        let head = |out: &mut Vec<u8>, groups: &str, place: &str| {
            let _ = write!(
                out,
                "** Alert {}.{i}: - {groups}\n2026 Nov 23 {h:02}:{m:02}:{s:02} (web-{host:02}) 192.0.2.{host}->{place}\n",
                START + seconds
            );
        };
        let stamp = format!("Nov 23 {h:02}:{m:02}:{s:02} web-{host:02}");
        let _ = match r.below(8) {
            0..=3 => {
                head(&mut out, "syslog,sshd,invalid_login,authentication_failed,", "/var/log/auth.log");
                write!(
                    out,
                    "Rule: 5710 (level 5) -> 'Attempt to login using a non-existent user'\nSrc IP: {ip}\nSrc Port: {port}\nUser: user{port}\n\
                     {stamp} sshd[{port}]: Failed password for invalid user user{port} from {ip} port {port} ssh2\n\n"
                )
            }
            4 => {
                head(&mut out, "syslog,sshd,authentication_success,", "/var/log/auth.log");
                write!(
                    out,
                    "Rule: 5715 (level 3) -> 'SSHD authentication success.'\nSrc IP: {ip}\nUser: deploy\n\
                     {stamp} sshd[{port}]: Accepted publickey for deploy from {ip} port {port} ssh2: ED25519 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n\n"
                )
            }
            5 => {
                head(&mut out, "pam,syslog,authentication_failed,", "/var/log/auth.log");
                write!(
                    out,
                    "Rule: 5503 (level 5) -> 'User login failed.'\nSrc IP: {ip}\nUser: root\n{stamp} sshd[{port}]: pam_unix(sshd:auth): authentication failure; \
                     logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}  user=root\n\n"
                )
            }
            6 => {
                head(&mut out, "web,accesslog,attack,sql_injection,", "/var/log/nginx/access.log");
                write!(
                    out,
                    "Rule: 31103 (level 6) -> 'SQL injection attempt.'\nSrc IP: {ip}\n{ip} - - [23/Nov/2026:{h:02}:{m:02}:{s:02} +0000] \
                     \"GET /item?id={port}+union+select+1,2,3-- HTTP/1.1\" 403 239 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n\n"
                )
            }
            _ => {
                head(&mut out, "ossec,syscheck,", "syscheck");
                write!(
                    out,
                    "Rule: 550 (level 7) -> 'Integrity checksum changed.'\nIntegrity checksum changed for: '/etc/app/{port}.conf'\nSize changed from '{port}' to '{i}'\n\
                     Old md5sum was: '0cc175b9c0f1b6a831c399e269772661'\nNew md5sum is : '92eb5ffee6ae2fec3ad71c777531578f'\n\n\n"
                )
            }
        };
    }
    out
}
