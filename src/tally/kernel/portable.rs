//! The kernel for any processor: eight bytes at a time at best.

use super::Kernel;
use crate::log::{STAMP_BYTES, Stamp, leading_ipv4};

#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    #[inline(always)]
    fn newlines(self, block: &[u8; 64]) -> u64 {
        const LOW: u64 = u64::MAX / 255;
        const HIGH: u64 = LOW << 7;
        block.as_chunks::<8>().0.iter().enumerate().fold(0, |mask, (at, word)| {
            // A byte of `zero` has its upper bit set exactly if the byte of the word is LF; the product
            // gathers these bits.
            let word = u64::from_le_bytes(*word) ^ (LOW * u64::from(b'\n'));
            let zero = !((word & !HIGH).wrapping_add(!HIGH) | word) & HIGH;
            mask | ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at * 8)
        })
    }

    #[inline(always)]
    fn ipv4(self, text: &[u8; 16]) -> Option<(u32, usize)> {
        leading_ipv4(text).filter(|(_, length)| {
            text.get(*length).is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'.')
        })
    }

    #[inline(always)]
    fn field(self, block: &[u8; 64]) -> usize {
        block.iter().position(|byte| *byte <= b' ' || *byte == b',').unwrap_or(64)
    }

    #[inline(always)]
    fn same(self, one: &[u8; 16], two: &[u8; 16]) -> bool {
        one == two
    }

    #[inline(always)]
    fn clock(self, text: &[u8; 16]) -> Option<u8> {
        let mut stamp = [0; STAMP_BYTES];
        stamp[12..].copy_from_slice(text);
        Stamp::parse_clock(&stamp)
    }
}
