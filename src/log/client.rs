//! Who asked: a line's client, by one of two rules.

use memchr::{memchr, memmem};

use super::line::is_white;

/// Only so many first bytes of a client count.
pub const CLIENT_BYTES_MAX: usize = 1024;

/// Which part of a line is its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rule {
    /// The first field: white space is skipped, then all bytes up to the first white space or comma.
    #[default]
    FirstField,
    /// The text before the first ` - -`, cut at its first comma, nothing trimmed.
    BeforeDashes,
}

/// What a client is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Dotted decimal, no leading zeros.
    Ipv4,
    /// Any spelling of RFC 4291, no zone id.
    Ipv6,
    /// A host name, `-`, debris: what parses as neither.
    Other,
}

/// The client of a line that is not blank. `line` comes without its LF. The client may be empty.
pub fn client(line: &[u8], rule: Rule) -> &[u8] {
    let client = match rule {
        Rule::FirstField => {
            let start = line.iter().position(|&byte| !is_white(byte)).unwrap_or(line.len());
            let field = &line[start..];
            let end = field.iter().position(|&byte| byte == b',' || is_white(byte)).unwrap_or(field.len());
            &field[..end]
        }
        Rule::BeforeDashes => {
            let line = &line[..memmem::find(line, b" - -").unwrap_or(line.len())];
            &line[..memchr(b',', line).unwrap_or(line.len())]
        }
    };
    &client[..client.len().min(CLIENT_BYTES_MAX)]
}

/// What the bytes of a client are written as.
pub fn kind(client: &[u8]) -> Kind {
    if leading_ipv4(client).is_some_and(|(_, length)| length == client.len()) {
        Kind::Ipv4
    } else if is_ipv6(client) {
        Kind::Ipv6
    } else {
        Kind::Other
    }
}

const HEXADECIMAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_hexdigit();
        byte += 1;
    }
    table
};

/// Are these bytes an IPv6 address? RFC 4291, section 2.2: eight groups of one to four hexadecimal digits
/// with `:` between, the last two as an IPv4 address or not; `::`, once, for one group of zeros or more.
///
/// (The parser of the standard library says the same, in five times the time: it also makes the number.)
pub fn is_ipv6(client: &[u8]) -> bool {
    let (mut groups, mut gap) = (0, false);
    let mut rest = client;
    if let Some(behind) = rest.strip_prefix(b"::") {
        (gap, rest) = (true, behind);
        if rest.is_empty() {
            return true;
        }
    }
    loop {
        let mut digits = 0;
        while digits < 5 && rest.get(digits).is_some_and(|byte| HEXADECIMAL[usize::from(*byte)]) {
            digits += 1;
        }
        match rest.get(digits) {
            _ if digits == 0 || digits > 4 => return false,
            None => {
                groups += 1;
                break;
            }
            Some(b':') => {
                groups += 1;
                rest = &rest[digits + 1..];
                if let Some(behind) = rest.strip_prefix(b":") {
                    if gap {
                        return false;
                    }
                    (gap, rest) = (true, behind);
                    if rest.is_empty() {
                        break;
                    }
                }
            }
            Some(b'.') => {
                groups += 2;
                if leading_ipv4(rest).is_none_or(|(_, length)| length != rest.len()) {
                    return false;
                }
                break;
            }
            Some(_) => return false,
        }
        if groups > 8 {
            return false;
        }
    }
    if gap { groups <= 7 } else { groups == 8 }
}

/// Reads an IPv4 address at the start of `bytes`: its number, and how many bytes wrote it.
///
/// Only the canonical spelling is taken (no leading zeros), so number and text stand for each other. What
/// follows is for the caller to judge: in `1.2.3.4567` it finds `1.2.3.456` is too large, in `1.2.3.4x` it
/// reads `1.2.3.4`.
#[inline]
pub fn leading_ipv4(bytes: &[u8]) -> Option<(u32, usize)> {
    let (mut number, mut at) = (0, 0);
    for part in 0..4 {
        if part > 0 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digit = |at: usize| bytes.get(at).map(|byte| u32::from(byte ^ b'0')).filter(|&digit| digit <= 9);
        let mut octet = digit(at)?;
        at += 1;
        if octet != 0 {
            while let Some(next) = digit(at) {
                octet = octet * 10 + next;
                at += 1;
                if octet > 255 {
                    return None;
                }
            }
        }
        number = number << 8 | octet;
    }
    Some((number, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], first_field: &[u8], before_dashes: &[u8]) {
        assert_eq!(client(line, Rule::FirstField), first_field, "{}", line.escape_ascii());
        assert_eq!(client(line, Rule::BeforeDashes), before_dashes, "{}", line.escape_ascii());
    }

    #[test]
    fn both_rules() {
        check(b"203.0.113.7 - - [x", b"203.0.113.7", b"203.0.113.7");
        check(b"203.0.113.7, 10.0.0.1 - - [x", b"203.0.113.7", b"203.0.113.7");
        check(b"203.0.113.7 - frank [x] - -", b"203.0.113.7", b"203.0.113.7 - frank [x]");
        check(b" \t203.0.113.7\tx - -", b"203.0.113.7", b" \t203.0.113.7\tx");
        check(b", 10.0.0.1 - -", b"", b"");
        check(b" - - x", b"-", b"");
        check(b"a\x0bb", b"a", b"a\x0bb");
        check(b"a\r", b"a", b"a\r");
        check(b"\xff\0 - -", b"\xff\0", b"\xff\0");
        check(b"a - -, b", b"a", b"a");
        check(&[b'x'; 2000], &[b'x'; 1024], &[b'x'; 1024]);
    }

    #[test]
    fn kinds() {
        for text in ["0.0.0.0", "1.2.3.4", "255.255.255.255"] {
            assert_eq!(kind(text.as_bytes()), Kind::Ipv4, "{text}");
        }
        for text in [
            "::",
            "::1",
            "2001:db8::1",
            "2001:DB8::1",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "1:2:3:4:5:6:1.2.3.4",
        ] {
            assert_eq!(kind(text.as_bytes()), Kind::Ipv6, "{text}");
        }
        for text in [
            "",
            "-",
            "01.2.3.4",
            "1.2.3",
            "1.2.3.4:80",
            "256.1.1.1",
            "fe80::1%eth0",
            "[::1]",
            "1:2:3:4:5:6:7:8::",
            "::1/64",
            "host.example",
            "::01.2.3.4",
            "12345::",
        ] {
            assert_eq!(kind(text.as_bytes()), Kind::Other, "{text}");
        }
        assert_eq!(kind(b"\xff"), Kind::Other);
    }

    /// The parsers of the standard library say the same of any text of these bytes.
    #[test]
    fn kinds_are_those_of_the_standard_library() {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let mut random = 7u64;
        let mut kinds = [0; 3];
        for _ in 0..2_000_000 {
            let mut text = String::new();
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut bits = random;
            // Up to 15 pieces, made to be addresses often.
            for _ in 0..bits % 16 {
                bits = bits.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                text.push_str(
                    [
                        "1:", "1:", "f:", "ab:", "0:", "12:", ":", "::", "1.2.3.4", "1.", "255", "00001",
                        "DEAD", "g", "%", " ",
                    ][(bits >> 60) as usize],
                );
            }
            let want = match (text.parse::<Ipv4Addr>(), text.parse::<Ipv6Addr>()) {
                (Ok(_), _) => Kind::Ipv4,
                (_, Ok(_)) => Kind::Ipv6,
                _ => Kind::Other,
            };
            assert_eq!(kind(text.as_bytes()), want, "{text}");
            kinds[want as usize] += 1;
        }
        assert!(kinds.iter().all(|count| *count > 1_000), "{kinds:?}");
    }

    #[test]
    fn a_leading_ipv4_is_canonical() {
        assert_eq!(leading_ipv4(b"1.2.3.4 x"), Some((0x0102_0304, 7)));
        assert_eq!(leading_ipv4(b"0.0.0.0"), Some((0, 7)));
        assert_eq!(leading_ipv4(b"255.255.255.255,"), Some((u32::MAX, 15)));
        assert_eq!(leading_ipv4(b"1.2.3.45678"), None);
        assert_eq!(leading_ipv4(b"1.2.3.04"), Some((0x0102_0300, 7))); // the caller sees the 4 that follows
        for text in ["", "1", "1.2.3", "1.2.3.", "1.256.3.4", ".1.2.3", "a.b.c.d", "1..2.3", "::1"] {
            assert_eq!(leading_ipv4(text.as_bytes()), None, "{text}");
        }
    }
}
