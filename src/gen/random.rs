//! Numbers that look random and repeat: SplitMix64, so that no library's version changes what is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A generator; the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins at a seed; each stream of one seed has its own numbers.
    pub fn new(seed: u64, stream: u32) -> Random {
        let mut r = Random(seed ^ u64::from(stream).wrapping_mul(0xd134_2543_de82_ef95));
        Random(r.any())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The high half of the product: no division, and no bias that a load would show.
        ((u128::from(self.any()) * u128::from(n)) >> 64) as u64
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// A port that clients use.
    pub fn port(&mut self) -> u64 {
        1024 + self.below(64_000)
    }

    /// An address of somebody outside, of the documentation networks; one in sixteen is of version 6.
    pub fn stranger(&mut self) -> IpAddr {
        let x = self.any();
        let host = (x >> 32) as u8 % 254 + 1;
        match x & 15 {
            0 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, u16::from(host), (x >> 16) as u16)),
            _ => IpAddr::V4(Ipv4Addr::new(198, 51, 100, host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_its_streams_differ() {
        let take = |seed, stream| {
            let mut r = Random::new(seed, stream);
            [r.any(), r.any(), r.below(1000)]
        };
        assert_eq!(take(7, 1), take(7, 1));
        assert_ne!(take(7, 1), take(7, 2));
        assert_ne!(take(7, 1), take(8, 1));
        assert_eq!(Random::new(1, 0).below(0), 0);
    }
}
