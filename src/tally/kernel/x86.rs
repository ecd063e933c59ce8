//! The kernel for x86-64 processors with AVX2.
//!
//! Reading an IPv4 address with shuffles: W. Mula's and D. Lemire's "ip to integer" notes describe the idea.
//! A mask of the separators tells the lengths of the four numbers; for each of the 81 combinations a table
//! says where each digit goes, so that two multiplications make all four numbers at once.

use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::{Kernel, Work};

/// Proof that the processor has AVX2 and BMI.
#[derive(Clone, Copy)]
pub(super) struct Avx2 {
    shapes: &'static Shapes,
}

impl Avx2 {
    /// The proof, if it is true.
    #[inline]
    pub(super) fn detect() -> Option<Avx2> {
        static SHAPES: OnceLock<Option<Box<Shapes>>> = OnceLock::new();
        let has = || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
        };
        let shapes = SHAPES.get_or_init(|| has().then(Shapes::new)).as_deref()?;
        Some(Avx2 { shapes })
    }

    /// Does some work with these instructions allowed throughout.
    #[inline]
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
        fn allowed<W: Work>(kernel: Avx2, work: W) -> W::Output {
            work.run(kernel)
        }
        // SAFETY: `self` proves that the processor has AVX2 and BMI; those that do have the other two.
        unsafe { allowed(self, work) }
    }
}

/// The 81 shapes of an IPv4 address.
struct Shapes {
    /// By the mask of the separators (three dots and the end): the shape, or `NO_SHAPE`.
    by_mask: [u8; 1 << 16],
    shapes: [Shape; 81],
}

const NO_SHAPE: u8 = 255;

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Shape {
    /// Where the digits go: for each number four bytes, nothing, hundreds, tens, ones.
    places: [u8; 16],
    /// The least each number can be with its count of digits: so leading zeros are found.
    least: [u32; 4],
}

impl Shapes {
    fn new() -> Box<Shapes> {
        let mut all = Box::new(Shapes {
            by_mask: [NO_SHAPE; 1 << 16],
            shapes: [Shape { places: [0x80; 16], least: [0; 4] }; 81],
        });
        for number in 0..81 {
            let lengths = [number / 27, number / 9 % 3, number / 3 % 3, number % 3].map(|length| length + 1);
            let shape = &mut all.shapes[number];
            let (mut at, mut mask) = (0, 0);
            for (part, length) in lengths.into_iter().enumerate() {
                for digit in 0..length {
                    shape.places[part * 4 + 4 - length + digit] = (at + digit) as u8;
                }
                shape.least[part] = [0, 10, 100][length - 1];
                at += length;
                mask |= 1 << at;
                at += 1;
            }
            all.by_mask[mask] = number as u8;
        }
        all
    }
}

#[inline(always)]
fn load(text: &[u8; 16]) -> __m128i {
    // SAFETY: there are 16 bytes, and the load asks for no alignment. SSE2 is part of x86-64.
    unsafe { _mm_loadu_si128(text.as_ptr().cast()) }
}

impl Kernel for Avx2 {
    #[inline(always)]
    fn newlines(self, block: &[u8; 64]) -> u64 {
        // SAFETY: `self` proves AVX2; both loads stay within the 64 bytes and ask for no alignment.
        unsafe {
            let newline = _mm256_set1_epi8(b'\n'.cast_signed());
            let low = _mm256_cmpeq_epi8(_mm256_loadu_si256(block.as_ptr().cast()), newline);
            let high = _mm256_cmpeq_epi8(_mm256_loadu_si256(block.as_ptr().add(32).cast()), newline);
            let (low, high) =
                (_mm256_movemask_epi8(low).cast_unsigned(), _mm256_movemask_epi8(high).cast_unsigned());
            u64::from(low) | u64::from(high) << 32
        }
    }

    #[inline(always)]
    fn ipv4(self, text: &[u8; 16]) -> Option<(u32, usize)> {
        let text = load(text);
        // SAFETY: `self` proves AVX2, which includes all these; no memory is touched but the two arrays of a
        // shape, 16 bytes each.
        unsafe {
            let digits = _mm_sub_epi8(text, _mm_set1_epi8(b'0'.cast_signed()));
            let is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits);
            let is_dot = _mm_cmpeq_epi8(text, _mm_set1_epi8(b'.'.cast_signed()));
            let dots = _mm_movemask_epi8(is_dot).cast_unsigned();
            let either = dots | _mm_movemask_epi8(is_digit).cast_unsigned();
            // The first byte that is neither ends it. With none, the mask below has no end, and so no shape.
            let end = !either & either.wrapping_add(1);
            let mask = (dots & end.wrapping_sub(1)) | end;
            let shape = *self.shapes.by_mask.get(mask as usize)?;
            let shape = self.shapes.shapes.get(usize::from(shape))?;
            let placed = _mm_shuffle_epi8(digits, _mm_loadu_si128(shape.places.as_ptr().cast()));
            let pairs = _mm_maddubs_epi16(placed, _mm_set1_epi32(i32::from_le_bytes([0, 100, 10, 1])));
            let numbers = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
            let least = _mm_loadu_si128(shape.least.as_ptr().cast());
            let wrong =
                _mm_or_si128(_mm_cmpgt_epi32(numbers, _mm_set1_epi32(255)), _mm_cmpgt_epi32(least, numbers));
            if _mm_movemask_epi8(wrong) != 0 {
                return None;
            }
            let gather = _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12);
            let address = _mm_cvtsi128_si32(_mm_shuffle_epi8(numbers, gather)).cast_unsigned();
            Some((address, end.trailing_zeros() as usize))
        }
    }

    #[inline(always)]
    fn field(self, block: &[u8; 64]) -> usize {
        // SAFETY: `self` proves AVX2; both loads stay within the 64 bytes and ask for no alignment.
        unsafe {
            let ends = |at: usize| {
                let bytes = _mm256_loadu_si256(block.as_ptr().add(at).cast());
                let space =
                    _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, _mm256_set1_epi8(0x20)), _mm256_set1_epi8(0x20));
                let comma = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b','.cast_signed()));
                u64::from(_mm256_movemask_epi8(_mm256_or_si256(space, comma)).cast_unsigned())
            };
            (ends(0) | ends(32) << 32).trailing_zeros() as usize
        }
    }

    #[inline(always)]
    fn same(self, one: &[u8; 16], two: &[u8; 16]) -> bool {
        let (one, two) = (load(one), load(two));
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(one, two)) == 0xffff }
    }

    #[inline(always)]
    fn clock(self, text: &[u8; 16]) -> Option<u8> {
        const ZERO: [u8; 16] = *b":00:00:00 +0000]";
        // How far each byte may be above that: the tens of hours, minutes and seconds less than other digits,
        // `-` by two.
        const MOST: [u8; 16] = [0, 2, 9, 0, 5, 9, 0, 6, 9, 0, 2, 9, 9, 9, 9, 0];
        let above;
        let within;
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            above = _mm_sub_epi8(load(text), load(&ZERO));
            within = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(above, load(&MOST)), above)) == 0xffff;
        }
        // SAFETY: both are 16 plain bytes.
        let above: [u8; 16] = unsafe { std::mem::transmute(above) };
        let hour = above[1].wrapping_mul(10).wrapping_add(above[2]);
        // What the bounds of single bytes let through: hours 24 to 29, seconds 61 to 69, and the comma
        // between `+` and `-`.
        let real = hour < 24 && (above[7] < 6 || above[8] == 0) && above[10] != 1;
        (within && real).then_some(hour)
    }
}
