//! What the engine asks of the processor: a few operations on short runs of bytes, with vector instructions
//! where there are some.
//!
//! Each kernel gives the same answers; the tests hold them against each other. The engine is written once,
//! generic over them, and compiled once for each. Which one runs is found out at run time. This folder and
//! `sys` are the only places with unsafe code.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The operations. Implementations are tokens: who holds one may use it.
pub(super) trait Kernel: Copy {
    /// Bit i is set if byte i is LF.
    fn newlines(self, block: &[u8; 64]) -> u64;

    /// An IPv4 address in its canonical spelling at the start: its number and its length. The byte after it,
    /// if it stands in `text`, is neither a digit nor a dot.
    fn ipv4(self, text: &[u8; 16]) -> Option<(u32, usize)>;

    /// Where the first byte is that ends a field or is a control character: up to and with the space, or a
    /// comma. 64: nowhere.
    fn field(self, block: &[u8; 64]) -> usize;

    /// Are they the same?
    fn same(self, one: &[u8; 16], two: &[u8; 16]) -> bool;

    /// The hour of `:HH:MM:SS ±hhmm]`, if that is a real time.
    fn clock(self, text: &[u8; 16]) -> Option<u8>;
}

/// Work that is compiled for each kernel.
pub(super) trait Work {
    /// What it gives.
    type Output;

    /// Does it. Implementations are `#[inline(always)]`, so that they become part of a function that may use
    /// the kernel's instructions.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// Does some work with the best kernel that this processor has, or with the one for any.
#[inline]
pub(super) fn dispatch<W: Work>(portable: bool, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if !portable && let Some(avx2) = x86::Avx2::detect() {
        return avx2.run(work);
    }
    work.run(portable::Portable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of every kernel this processor has must be those of the plain words.
    struct Check<'a>(&'a [u8; 64]);

    impl Work for Check<'_> {
        type Output = ();

        fn run<K: Kernel>(self, kernel: K) {
            let block = self.0;
            let shown = block.escape_ascii().to_string();
            let mask = block
                .iter()
                .enumerate()
                .fold(0u64, |mask, (at, byte)| mask | u64::from(*byte == b'\n') << at);
            assert_eq!(kernel.newlines(block), mask, "{shown}");
            let field = block.iter().position(|byte| *byte <= b' ' || *byte == b',').unwrap_or(64);
            assert_eq!(kernel.field(block), field, "{shown}");
            let text: &[u8; 16] = block.first_chunk().unwrap();
            let ipv4 = crate::log::leading_ipv4(text).filter(|(_, length)| {
                text.get(*length).is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'.')
            });
            assert_eq!(kernel.ipv4(text), ipv4, "{shown}");
            let mut stamp = *b"[22/Mar/2021                ";
            stamp[12..].copy_from_slice(text);
            assert_eq!(
                kernel.clock(text),
                crate::log::Stamp::parse(&stamp).map(|stamp| stamp.hour),
                "{shown}"
            );
            let other: &[u8; 16] = block[16..].first_chunk().unwrap();
            assert_eq!(kernel.same(text, other), text == other, "{shown}");
            assert!(kernel.same(text, &text.clone()));
        }
    }

    fn check(start: &[u8]) {
        let mut block = [b' '; 64];
        block[..start.len()].copy_from_slice(start);
        dispatch(false, Check(&block));
        dispatch(true, Check(&block));
    }

    #[test]
    fn addresses_of_every_shape() {
        for octets in
            [[0, 1, 9, 10], [99, 100, 199, 200], [249, 250, 255, 0], [1, 22, 133, 4], [127, 0, 0, 1]]
        {
            for turn in 0..4 {
                let [a, b, c, d] = std::array::from_fn(|at| octets[(at + turn) % 4]);
                check(format!("{a}.{b}.{c}.{d} - - [").as_bytes());
                check(format!("{a}.{b}.{c}.{d}, 10.0.0.1").as_bytes());
                check(format!("{a}.{b}.{c}.{d}.5").as_bytes());
                check(format!("{a}.{b}.{c}.").as_bytes());
                check(format!("{a}.{b}..{c}.{d}").as_bytes());
                check(format!("0{a}.{b}.{c}.{d} ").as_bytes());
                check(format!("{a}.{b}.{c}.0{d} ").as_bytes());
                check(format!("{a}.{b}.{c}{d}7.1 ").as_bytes());
            }
        }
        check(b"255.255.255.255 ");
        check(b"255.255.255.2555");
        check(b"255.255.255.256 ");
        check(b"1111.1.1.1 ");
        check(b"1234567890123456");
        check(b"................");
        check(b"::ffff:1.2.3.4 ");
    }

    #[test]
    fn clocks_of_every_shape() {
        for text in [
            ":00:00:00 +0000]",
            ":23:59:60 -9999]",
            ":19:09:59 +0100]",
            ":29:00:00 +0000]",
            ":24:00:00 +0000]",
            ":23:60:00 +0000]",
            ":23:59:61 +0000]",
        ] {
            check(text.as_bytes());
            // Each byte, each value.
            for at in 0..16 {
                for value in 0..=255 {
                    let mut changed = text.as_bytes().to_vec();
                    changed[at] = value;
                    check(&changed);
                }
            }
        }
    }

    #[test]
    fn fields_of_every_length() {
        for length in 0..=64 {
            for filler in [b'x', b'!', 0x7f, 0x80, 0xff, b'-', b'+'] {
                let mut block = [filler; 64];
                check(&block);
                for end in 0..=255 {
                    if let Some(byte) = block.get_mut(length) {
                        *byte = end;
                        check(&block);
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_of_any_kind() {
        let mut random = 7u64;
        for _ in 0..200_000 {
            let mut block = [0u8; 64];
            for byte in &mut block {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Often what makes up addresses and times, sometimes anything.
                *byte =
                    *b"0123456789....25 :\n+-]".get(random as usize % 40).unwrap_or(&((random >> 32) as u8));
            }
            dispatch(false, Check(&block));
            dispatch(true, Check(&block));
        }
    }
}
