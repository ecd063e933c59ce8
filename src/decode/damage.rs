//! What can be wrong with a compressed log: numbers for processes, words for people.

use std::fmt;

/// Why a stream ended before its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Damage {
    /// The file ends within a member.
    Cut,
    /// It is not what its format or its checksum says, or something else follows it. (A zst or xz file may be made without a checksum; then not
    /// all damage is seen.)
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
    /// Half a sentence that says what is wrong with "it".
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Damage::Cut => "it ends in the middle of its compressed data",
            Damage::Corrupt => "its compressed data is damaged, or followed by something else",
            Damage::TooLarge => "it becomes larger than a log may be",
            Damage::Ratio => "it is hardly anything but repetition, as decompression bombs are",
            Damage::Memory => "it takes more than 64 MiB of memory to decompress",
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
            assert!(damage.to_string().starts_with("it"));
        }
        assert_eq!((Damage::from_code(0), Damage::from_code(6)), (None, None));
    }
}
