//! Files that are known to be no access logs: by their name, or by their first bytes.
//!
//! Pure, and without false alarms: a name or a signature that an access log could have is not in here.
//! Deliberately absent: text that merely looks odd. A log in an unknown format is still counted, and marked.

/// Bytes that [`Foreign::of`] needs of a file's beginning to recognise every signature; fewer are allowed.
pub const FOREIGN_HEAD_BYTES: usize = 262;

/// Returns whether a file of this name holds the error messages of a web server: `error.log` or `error_log`,
/// alone or after a `.`, `_` or `-` (`site.error.log`, `ssl_error_log`), with whatever a rotation appends.
///
/// These are the default names of nginx and of Apache (`ErrorLog`) in Debian's and Red Hat's packages.
pub fn is_error_log(name: &[u8]) -> bool {
    let starts = |at: usize| at == 0 || matches!(name[at - 1], b'.' | b'_' | b'-');
    (0..name.len()).any(|at| {
        starts(at) && [&b"error.log"[..], b"error_log"].iter().any(|stem| name[at..].starts_with(stem))
    })
}

/// A kind of file that is no access log: an archive, another compression than tallyd reads, a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Foreign(usize);

/// The first bytes of each kind and its words. Sources: the formats' own specifications.
///
/// Where the signature itself is plain text, a byte that no log has behind such a word belongs to the
/// signature.
const SIGNATURES: [(&[u8], &str); 14] = [
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"\x02\x21\x4c\x18", "compressed by lz4 (legacy frames)"),
    (b"\x1f\x9d", "compressed by compress (.Z)"),
    (b"LZIP\x01", "compressed by lzip"),
    (b"\x89LZO\x00\x0d\x0a\x1a\x0a", "compressed by lzop"),
    (b"\x5d\x00\x00", "compressed by lzma"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"PAR1\x15", "a Parquet file"),
    (b"\x7fELF", "a program (ELF)"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy"),
];
/// The kinds that no first bytes tell, by their numbers.
const TAR: Foreign = Foreign(SIGNATURES.len());
const BROTLI: Foreign = Foreign(SIGNATURES.len() + 1);

impl Foreign {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Foreign> {
        (0..=BROTLI.0).map(Foreign)
    }

    /// Returns the kind of a file with this name and these first bytes; `None`: the file may be a log.
    ///
    /// A tar archive has `ustar` at offset 257 (POSIX.1-1988). Brotli has no signature: a file whose name
    /// ends in `.br` is compressed by brotli unless it begins with text, since a host name may end in `.br`
    /// too.
    pub fn of(name: &[u8], head: &[u8]) -> Option<Foreign> {
        if let Some(kind) = SIGNATURES.iter().position(|(signature, _)| head.starts_with(signature)) {
            return Some(Foreign(kind));
        }
        if head.get(257..262).is_some_and(|bytes| bytes == b"ustar") {
            return Some(TAR);
        }
        (name.ends_with(b".br") && has_controls(head)).then_some(BROTLI)
    }

    /// The kind in words: "a zip archive".
    pub fn name(self) -> &'static str {
        match self {
            TAR => "a tar archive",
            BROTLI => "compressed by brotli",
            Foreign(kind) => SIGNATURES.get(kind).map_or("no log", |(_, name)| name),
        }
    }

    /// A number for the kind, for messages between the processes of one daemon.
    pub fn code(self) -> u64 {
        self.0 as u64
    }

    /// The kind of this number.
    pub fn from_code(code: u64) -> Option<Foreign> {
        Foreign::all().find(|kind| kind.code() == code)
    }
}

/// Returns whether a control character other than tabs and line ends is in these bytes. Web servers write
/// such characters as escapes, and of 262 compressed bytes some are control characters.
fn has_controls(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| *byte == 0x7f || (*byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_logs_by_name() {
        for name in [
            "error.log",
            "error.log.1",
            "error.log-20210322.gz",
            "site.error.log",
            "site_error.log.2.gz",
            "a-error_log",
            "ssl_error_log-20210322",
        ] {
            assert!(is_error_log(name.as_bytes()), "{name}");
        }
        for name in
            ["access.log", "errors.log", "terror.log", "error", "error-log", "access_error_codes.log", ""]
        {
            assert!(!is_error_log(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn signatures_are_found_and_logs_are_not() {
        let of = |head: &[u8]| Foreign::of(b"", head).map(Foreign::name);
        let mut tar = vec![b'a'; 257];
        tar.extend(b"ustar\x0000");
        for (head, kind) in [
            (&b"PK\x03\x04rest"[..], "a zip archive"),
            (&tar, "a tar archive"),
            (b"\x7fELF\x02", "a program (ELF)"),
            (b"LZIP\x01", "compressed by lzip"),
        ] {
            assert_eq!(of(head), Some(kind));
        }
        for head in [
            &b""[..],
            b"203.0.113.7 - - [",
            b"PK",
            b"PKI.example.org - - [22/Mar/2021",
            b"\x1f\x8b\x08",
            b"{\"a\":1}",
            b"\xef\xbb\xbf1.2.3.4",
        ] {
            assert_eq!(of(head), None, "{}", head.escape_ascii());
        }
        for (head, kind) in [
            (&b"PAR1 - - [22/Mar/2021"[..], None),
            (b"PAR1\x15\x04", Some("a Parquet file")),
            (b"LZIP - - [22/Mar/2021", None),
        ] {
            assert_eq!(of(head), kind, "{}", head.escape_ascii());
        }
    }

    #[test]
    fn brotli_is_known_by_its_name_unless_the_file_begins_with_text() {
        let of = |name: &[u8], head: &[u8]| Foreign::of(name, head).map(Foreign::name);
        assert_eq!(of(b"access.log.br", b"\x1b\x2f\x00\xf8"), Some("compressed by brotli"));
        assert_eq!(of(b"access.log", b"\x1b\x2f\x00\xf8"), None);
        assert_eq!(of(b"www.example.com.br", b"203.0.113.7 - - [22/Mar/2021"), None);
        assert_eq!(of(b"www.example.com.br", b""), None);
    }

    #[test]
    fn kinds_read_back_from_numbers() {
        for kind in Foreign::all() {
            assert_eq!(Foreign::from_code(kind.code()), Some(kind));
            assert_ne!(kind.name(), "no log");
        }
        assert_eq!(Foreign::from_code(Foreign::all().count() as u64), None);
    }
}
