//! Why something is not counted, as it goes through shared memory and into files.

/// Why something of a log is not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reason {
    /// Nothing is missing.
    #[default]
    Nothing,
    /// A signal ended each worker that counted it.
    Signal(i32),
    /// Each worker that counted it ended with this code.
    Exit(i32),
    /// Each worker that counted it hung.
    Hang,
    /// It cannot be opened or read: the system's error number.
    Unreadable(i32),
    /// No worker gave a result that could be taken.
    Refused,
    /// A compressed log ended before its end: the code of a [`crate::decode::Damage`].
    Damage(u64),
    /// It is left out: a code of the scan's.
    Skipped(u64),
    /// It was taken back.
    Deleted,
}

impl Reason {
    /// As a word of memory or of a file.
    pub fn to_word(self) -> u64 {
        let (kind, number) = match self {
            Reason::Nothing => (0, 0),
            Reason::Signal(number) => (1, u64::from(number.cast_unsigned())),
            Reason::Exit(code) => (2, u64::from(code.cast_unsigned())),
            Reason::Hang => (3, 0),
            Reason::Unreadable(errno) => (4, u64::from(errno.cast_unsigned())),
            Reason::Refused => (5, 0),
            Reason::Damage(code) => (6, code),
            Reason::Skipped(code) => (7, code),
            Reason::Deleted => (8, 0),
        };
        kind << 32 | number
    }

    /// The reason of a word.
    pub fn from_word(word: u64) -> Reason {
        let number = (word as u32).cast_signed();
        match word >> 32 {
            1 => Reason::Signal(number),
            2 => Reason::Exit(number),
            3 => Reason::Hang,
            4 => Reason::Unreadable(number),
            5 => Reason::Refused,
            6 => Reason::Damage(word as u32 as u64),
            7 => Reason::Skipped(word as u32 as u64),
            8 => Reason::Deleted,
            _ => Reason::Nothing,
        }
    }
}
