//! Numbers and bytes as hexadecimal digits: what JSON has no room for otherwise.

use std::fmt::Write;

/// A number as 16 lower-case hexadecimal digits.
pub(super) fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// Numbers likewise, one behind the other.
pub(super) fn all_hex(numbers: &[u64]) -> String {
    numbers.iter().fold(String::with_capacity(numbers.len() * 16), |mut text, number| {
        let _ = write!(text, "{number:016x}");
        text
    })
}

/// The bytes of lower-case hexadecimal digits.
pub(super) fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The numbers that [`all_hex`] wrote.
pub(super) fn numbers(hex: &str) -> Option<Vec<u64>> {
    let bytes = bytes(hex)?;
    let (numbers, []) = bytes.as_chunks() else { return None };
    Some(numbers.iter().map(|number| u64::from_be_bytes(*number)).collect())
}

/// The number that [`hex`] wrote.
pub(super) fn number(hex: &str) -> Option<u64> {
    let [number] = numbers(hex)?[..] else { return None };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(hex(0xfe), "00000000000000fe");
        assert_eq!(number(&hex(u64::MAX - 1)), Some(u64::MAX - 1));
        assert_eq!(numbers(&all_hex(&[1, u64::MAX, 0])), Some(vec![1, u64::MAX, 0]));
        assert_eq!((numbers(""), bytes("00ff")), (Some(vec![]), Some(vec![0, 255])));
        for text in [
            "",
            "1",
            "00000000000000FE",
            "00000000000000fe0",
            "0x000000000000fe",
            "00000000000000fe00000000000000fe",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
