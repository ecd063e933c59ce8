//! What a line is made of: white space, and the byte order mark that is no part of one.

/// The UTF-8 byte order mark, skipped at the very start of a log.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// Is this ASCII white space within a line: space, tab, CR, VT or FF?
pub const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// Is there nothing but white space on this line? `line` comes without its LF.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|&byte| is_white(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_hold_white_space_only() {
        assert!(is_blank(b""));
        assert!(is_blank(b" \t\r\x0b\x0c"));
        assert!(!is_blank(b" , "));
        assert!(!is_blank(b"\0"));
        assert!(!is_blank("\u{a0}".as_bytes())); // a no-break space is a byte like any other
    }
}
