//! What can be wrong with a compressed log: numbers for processes, words for people.

use std::fmt;

/// Why a stream ended before its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Damage {
    /// The file ends within a member.
    Cut,
    /// It is not what its format or its checksum says, or something else follows it. (A zst or xz file may be
    /// made without a checksum; then not all damage is seen.)
    Corrupt,
    /// More than [`Limits::bytes`](super::Limits::bytes) come out.
    TooLarge,
    /// More than [`Limits::ratio`](super::Limits::ratio) times as much comes out as went in.
    Ratio,
    /// Decoding it needs more memory than there is for that.
    Memory,
}

impl Damage {
    const ALL: [Damage; 5] = [Damage::Cut, Damage::Corrupt, Damage::TooLarge, Damage::Ratio, Damage::Memory];

    /// A number for it, for messages between processes. It never changes, and is never 0.
    pub fn code(self) -> u64 {
        match self {
            Damage::Cut => 1,
            Damage::Corrupt => 2,
            Damage::TooLarge => 3,
            Damage::Ratio => 4,
            Damage::Memory => 5,
        }
    }

    /// What has this number, if anything has.
    pub fn from_code(code: u64) -> Option<Damage> {
        Damage::ALL.into_iter().find(|damage| damage.code() == code)
    }
}

impl fmt::Display for Damage {
    /// The damage as a clause for the end of a sentence.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Damage::Cut => "the compressed data ends too early",
            Damage::Corrupt => "the compressed data is corrupt, or followed by other data",
            Damage::TooLarge => "the uncompressed log would be larger than the limit",
            Damage::Ratio => "the log is almost nothing but repetition, like a decompression bomb",
            Damage::Memory => "decompression needs more than 64 MiB of memory",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_has_numbers_and_words() {
        assert_eq!(Damage::ALL.map(Damage::code), [1, 2, 3, 4, 5]);
        for damage in Damage::ALL {
            assert_eq!(Damage::from_code(damage.code()), Some(damage));
            assert!(damage.to_string().starts_with(|first: char| first.is_ascii_lowercase()));
        }
        assert_eq!((Damage::from_code(0), Damage::from_code(6)), (None, None));
    }
}
