//! Lines of sshd as syslog writes them, for measurements. The same seed gives the same bytes.

use std::io::Write;

/// `n` lines of `auth.log`: of eight, five failed passwords, one login, two ends of connections.
pub fn sshd(n: usize, seed: u64) -> Vec<u8> {
    let (mut out, mut x) = (Vec::with_capacity(n * 108), seed | 1);
    let mut below = |n: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x % n
    };
    for i in 0..n {
        // About fifty lines a second, within one day.
        let s = i / 50 % 86_400;
        let (pid, host, net, port) = (1000 + below(30_000), 1 + below(254), ["192.0.2", "198.51.100", "203.0.113"][below(3) as usize], 1024 + below(60_000));
        let user = ["root", "admin", "oracle", "deploy", "alice"][below(5) as usize];
        // Writing to a Vec cannot fail.
        let _ = write!(out, "Nov 23 {:02}:{:02}:{:02} bastion sshd[{pid}]: ", s / 3600, s / 60 % 60, s % 60);
        let _ = match below(8) {
            0..3 => writeln!(out, "Failed password for {user} from {net}.{host} port {port} ssh2"),
            3..5 => writeln!(out, "Failed password for invalid user {user} from {net}.{host} port {port} ssh2"),
            5 => writeln!(out, "Accepted publickey for {user} from {net}.{host} port {port} ssh2: ED25519 SHA256:0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"),
            6 => writeln!(out, "Connection closed by authenticating user {user} {net}.{host} port {port} [preauth]"),
            _ => writeln!(out, "Disconnected from user {user} {net}.{host} port {port}"),
        };
    }
    out
}
