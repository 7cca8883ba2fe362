//! Writes text and numbers at the end of a buffer, without the machinery of `format!`: a load must cost less than what it loads.

use super::random::Random;
use std::net::IpAddr;

/// Writes at the end of a buffer.
pub struct Pen<'a>(pub &'a mut Vec<u8>);

impl Pen<'_> {
    /// Text as it stands.
    pub fn s(&mut self, s: &str) -> &mut Self {
        self.0.extend_from_slice(s.as_bytes());
        self
    }

    /// A number in decimal.
    pub fn n(&mut self, n: u64) -> &mut Self {
        self.pad(n, 1)
    }

    /// A number in decimal, with zeros before it up to `width` digits (at most 20).
    pub fn pad(&mut self, mut n: u64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while n > 0 {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
        }
        self.0.extend_from_slice(&digits[at.min(digits.len().saturating_sub(width))..]);
        self
    }

    /// An address.
    pub fn ip(&mut self, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets().map(u64::from);
                self.n(a).s(".").n(b).s(".").n(c).s(".").n(d)
            }
            IpAddr::V6(v6) => self.s(&v6.to_string()),
        }
    }

    /// Random hexadecimal digits.
    pub fn hex(&mut self, r: &mut Random, n: usize) -> &mut Self {
        self.random(r, n, 4, b"0123456789abcdef")
    }

    /// Random characters of base64.
    pub fn base64(&mut self, r: &mut Random, n: usize) -> &mut Self {
        self.random(r, n, 6, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    }

    fn random(&mut self, r: &mut Random, n: usize, bits: u32, alphabet: &[u8]) -> &mut Self {
        let (mut x, mut left) = (0, 0);
        for _ in 0..n {
            if left < bits {
                (x, left) = (r.any(), 64);
            }
            self.0.push(alphabet[(x & ((1 << bits) - 1)) as usize]);
            x >>= bits;
            left -= bits;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_format_writes_them() {
        for n in [0, 7, 10, 4711, u64::MAX] {
            for width in [1, 3, 6, 9, 20] {
                let mut out = Vec::new();
                Pen(&mut out).pad(n, width);
                assert_eq!(String::from_utf8(out).expect("digits"), format!("{n:0width$}"));
            }
        }
        let mut out = Vec::new();
        Pen(&mut out).ip("192.0.2.10".parse().expect("an address")).s(" ").ip("2001:db8::1".parse().expect("an address"));
        assert_eq!(out, b"192.0.2.10 2001:db8::1");
    }
}
