//! Parquet's delta encodings, read: `DELTA_BINARY_PACKED` for numbers and `DELTA_BYTE_ARRAY` for keys.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/>. The library's own reader makes two
//! allocations for each key, which would be most of the time that a union over many days takes; and it
//! believes the number of values that a page claims. Here nothing grows beyond what the caller says there
//! must be.

/// The number of values in a block, and the most of them that are taken: writers have 128 or 256.
const BLOCK_MAX: u64 = 1 << 16;

/// Shows exactly `count` numbers, and takes their bytes from `bytes`. Numbers of 32 bits stand in the lower
/// halves; what is above is not to be used.
pub(super) fn unpack(bytes: &mut &[u8], count: usize, mut take: impl FnMut(u64)) -> Option<()> {
    let (block, miniblocks, total) = (varint(bytes)?, varint(bytes)?, varint(bytes)?);
    let mut number = zigzag(bytes)?;
    if total != count as u64
        || block == 0
        || block > BLOCK_MAX
        || miniblocks == 0
        || block % miniblocks != 0
        || block / miniblocks % 32 != 0
    {
        return None;
    }
    let (miniblocks, values) = (usize::try_from(miniblocks).ok()?, usize::try_from(block / miniblocks).ok()?);
    let mut left = count;
    if left > 0 {
        take(number);
        left -= 1;
    }
    while left > 0 {
        let least = zigzag(bytes)?;
        let widths = bytes.split_off(..miniblocks)?;
        for width in widths.iter().map(|width| usize::from(*width)) {
            if left == 0 {
                break;
            }
            if width > 64 {
                return None;
            }
            let packed = bytes.split_off(..values / 8 * width)?;
            let here = left.min(values);
            left -= here;
            let mut next = |more: u64| {
                number = number.wrapping_add(least).wrapping_add(more);
                take(number);
            };
            if width > 7 {
                (0..here).for_each(|at| next(bits(packed, at * width, width)));
                continue;
            }
            // Eight of them are in one word.
            for first in (0..here).step_by(8) {
                let word = bits(packed, first * width, width * 8);
                (0..8.min(here - first)).for_each(|at| next(word >> (at * width) & !(u64::MAX << width)));
            }
        }
    }
    Some(())
}

/// The `width` bits from the bit `at` on.
#[inline]
fn bits(packed: &[u8], at: usize, width: usize) -> u64 {
    if width == 0 {
        return 0;
    }
    let (start, shift) = (at / 8, at % 8);
    let mask = u64::MAX >> (64 - width);
    if width <= 56
        && let Some(word) = packed.get(start..).and_then(|rest| rest.first_chunk())
    {
        return u64::from_le_bytes(*word) >> shift & mask;
    }
    let mut word = [0; 16];
    let rest = packed.get(start..).unwrap_or(&[]);
    let length = rest.len().min(16);
    word[..length].copy_from_slice(&rest[..length]);
    (u128::from_le_bytes(word) >> shift) as u64 & mask
}

/// Reads the `count` keys of a page, none longer than `longest`. Each is shown with how many of its first
/// bytes it has from the one before.
pub(super) fn keys(
    mut bytes: &[u8],
    count: usize,
    longest: usize,
    mut take: impl FnMut(usize, &[u8]) -> Option<()>,
) -> Option<()> {
    // Most suffixes are short: they are copied as if they all had this length, which takes no call.
    const COPIED: usize = 16;
    let (mut prefixes, mut suffixes) = (Vec::<u32>::new(), Vec::<u32>::new());
    unpack(&mut bytes, count, |prefix| prefixes.push(prefix as u32))?;
    unpack(&mut bytes, count, |suffix| suffixes.push(suffix as u32))?;
    let (mut key, mut length) = (vec![0; longest + COPIED], 0);
    for (prefix, suffix) in prefixes.into_iter().zip(suffixes) {
        let (prefix, suffix) = (prefix as usize, suffix as usize);
        if prefix > length || suffix > longest - prefix {
            return None;
        }
        match bytes.first_chunk::<COPIED>() {
            Some(chunk) if suffix <= COPIED => key[prefix..prefix + COPIED].copy_from_slice(chunk),
            _ => key[prefix..prefix + suffix].copy_from_slice(bytes.get(..suffix)?),
        }
        (bytes, length) = (&bytes[suffix..], prefix + suffix);
        take(prefix, &key[..length])?;
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn zigzag(bytes: &mut &[u8]) -> Option<u64> {
    let number = varint(bytes)?;
    Some(number >> 1 ^ (number & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_of_the_specification() {
        // 7, 5, 3, 1, 2, 3, 4, 5 as one block of 128 in 4 miniblocks: first value 7, least delta -2, deltas
        // less that 0 0 0 3 3 3 3, in 2 bits each.
        let bytes = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let (mut rest, mut numbers) = (&bytes[..], Vec::new());
        assert_eq!(unpack(&mut rest, 8, |number| numbers.push(number)), Some(()));
        assert_eq!((numbers, rest.len()), (vec![7, 5, 3, 1, 2, 3, 4, 5], 0));
    }

    #[test]
    fn nothing_is_taken_that_is_not_there() {
        let bytes = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        for length in 0..bytes.len() {
            assert_eq!(unpack(&mut &bytes[..length], 8, drop), None, "{length}");
        }
        assert_eq!(unpack(&mut &bytes[..], 7, drop), None);
        for (at, byte) in [(1, 0), (2, 0), (2, 3), (6, 65)] {
            let mut wrong = bytes;
            wrong[at] = byte;
            assert_eq!(unpack(&mut &wrong[..], 8, drop), None, "{at}");
        }
        assert_eq!(unpack(&mut &[0xff; 20][..], 8, drop), None);
    }

    #[test]
    fn bits_of_every_width_and_place() {
        let packed: Vec<u8> = (0..64).map(|at: u8| at.wrapping_mul(151)).collect();
        let bit = |at: usize| u64::from(packed[at / 8] >> (at % 8) & 1);
        for width in 1..=64 {
            for at in (0..packed.len() * 8 - width).step_by(width) {
                let want = (0..width).fold(0, |sum, place| sum | bit(at + place) << place);
                assert_eq!(bits(&packed, at, width), want, "{width} bits from {at}");
            }
        }
    }
}
