//! Parquet's delta encodings, read: `DELTA_BINARY_PACKED` for numbers and `DELTA_BYTE_ARRAY` for keys.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/>. The library's own reader makes two allocations for each key, which would be most of the time that a union over
//! many days takes; and it believes the number of values that a page claims. Here nothing grows beyond what the caller says there must be.

/// The number of values in a block, and the most of them that are taken: writers have 128 or 256.
const BLOCK_MAX: u64 = 1 << 16;

/// Appends exactly `count` numbers to `numbers`, and takes their bytes from `bytes`. Numbers of 32 bits stand in the lower halves; what is above is not to be used.
pub(super) fn unpack(bytes: &mut &[u8], count: usize, numbers: &mut Vec<u64>) -> Option<()> {
    let (block, miniblocks, total) = (varint(bytes)?, varint(bytes)?, varint(bytes)?);
    let mut number = zigzag(bytes)?;
    if total != count as u64 || block == 0 || block > BLOCK_MAX || miniblocks == 0 || block % miniblocks != 0 || block / miniblocks % 32 != 0 {
        return None;
    }
    let (miniblocks, values) = (usize::try_from(miniblocks).ok()?, usize::try_from(block / miniblocks).ok()?);
    let mut left = count;
    if left > 0 {
        numbers.push(number);
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
            let take = left.min(values);
            for at in 0..take {
                number = number.wrapping_add(least).wrapping_add(bits(packed, at * width, width));
                numbers.push(number);
            }
            left -= take;
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

/// Reads the `count` keys of a page, none longer than `longest`. Each is shown with how many of its first bytes it has from the one before.
pub(super) fn keys(mut bytes: &[u8], count: usize, longest: usize, mut take: impl FnMut(usize, &[u8]) -> Option<()>) -> Option<()> {
    let (mut prefixes, mut suffixes) = (Vec::new(), Vec::new());
    unpack(&mut bytes, count, &mut prefixes)?;
    unpack(&mut bytes, count, &mut suffixes)?;
    let mut key = Vec::with_capacity(longest.min(64));
    for (prefix, suffix) in prefixes.into_iter().zip(suffixes) {
        let (prefix, suffix) = (prefix as u32 as usize, suffix as u32 as usize);
        if prefix > key.len() || suffix > longest - prefix.min(longest) {
            return None;
        }
        key.truncate(prefix);
        key.extend_from_slice(bytes.split_off(..suffix)?);
        take(prefix, &key)?;
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
        // 7, 5, 3, 1, 2, 3, 4, 5 as one block of 128 in 4 miniblocks: first value 7, least delta -2, deltas less that 0 0 0 3 3 3 3, in 2 bits each.
        let bytes = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let (mut rest, mut numbers) = (&bytes[..], Vec::new());
        assert_eq!(unpack(&mut rest, 8, &mut numbers), Some(()));
        assert_eq!((numbers, rest.len()), (vec![7, 5, 3, 1, 2, 3, 4, 5], 0));
    }

    #[test]
    fn nothing_is_taken_that_is_not_there() {
        let bytes = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        for length in 0..bytes.len() {
            assert_eq!(unpack(&mut &bytes[..length], 8, &mut Vec::new()), None, "{length}");
        }
        assert_eq!(unpack(&mut &bytes[..], 7, &mut Vec::new()), None);
        for (at, byte) in [(1, 0), (2, 0), (2, 3), (6, 65)] {
            let mut wrong = bytes;
            wrong[at] = byte;
            assert_eq!(unpack(&mut &wrong[..], 8, &mut Vec::new()), None, "{at}");
        }
        assert_eq!(unpack(&mut &[0xff; 20][..], 8, &mut Vec::new()), None);
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
