//! Why something is not counted, as it goes through shared memory and into files.

use std::fmt;

use crate::decode::Damage;

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
    /// A compressed log ended before its end.
    Damage(Damage),
    /// It is left out.
    Skipped(Skip),
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
            Reason::Damage(damage) => (6, damage.code()),
            Reason::Skipped(skip) => (7, skip as u64),
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
            6 => Damage::from_code(word & 0xffff_ffff).map_or(Reason::Nothing, Reason::Damage),
            7 => Skip::ALL.into_iter().find(|skip| *skip as u64 == word & 0xffff_ffff).map_or(Reason::Nothing, Reason::Skipped),
            8 => Reason::Deleted,
            _ => Reason::Nothing,
        }
    }
}

/// Why an entry of a watched folder is no log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Skip {
    /// Its name starts with a dot.
    Hidden = 1,
    /// Its name says that it is not finished.
    Temporary = 2,
    /// A pipe, a socket, a device.
    NotRegular = 3,
    /// A link to a file that is not in the watched folder.
    LinkOut = 4,
    /// A link to nothing.
    LinkNowhere = 5,
    /// A link to a folder, which is never followed.
    LinkToFolder = 6,
    /// A subfolder, and only the folder itself is watched.
    Folder = 7,
    /// It is excluded, or not included.
    Pattern = 8,
    /// A subfolder that is deeper than is looked into.
    TooDeep = 9,
}

impl Skip {
    const ALL: [Skip; 9] =
        [Skip::Hidden, Skip::Temporary, Skip::NotRegular, Skip::LinkOut, Skip::LinkNowhere, Skip::LinkToFolder, Skip::Folder, Skip::Pattern, Skip::TooDeep];
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Hidden => "hidden",
            Skip::Temporary => "a temporary name",
            Skip::NotRegular => "not a regular file",
            Skip::LinkOut => "a link out of the folder",
            Skip::LinkNowhere => "a link that leads nowhere",
            Skip::LinkToFolder => "a link to a folder",
            Skip::Folder => "a subfolder, which only --recursive looks into",
            Skip::Pattern => "its name, by the patterns of --include and --exclude",
            Skip::TooDeep => "a subfolder that is too deep",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_back_from_words() {
        let skipped = Skip::ALL.into_iter().map(Reason::Skipped);
        let others = [
            Reason::Nothing,
            Reason::Signal(6),
            Reason::Exit(101),
            Reason::Hang,
            Reason::Unreadable(libc::EIO),
            Reason::Refused,
            Reason::Damage(Damage::Cut),
            Reason::Deleted,
        ];
        for reason in others.into_iter().chain(skipped) {
            assert_eq!(Reason::from_word(reason.to_word()), reason);
        }
        for word in [9 << 32, 7 << 32, 7 << 32 | 10, 6 << 32, u64::MAX] {
            assert_eq!(Reason::from_word(word), Reason::Nothing, "{word:x}");
        }
    }
}
