//! Why something is not counted, as it goes through shared memory and into files.

use std::fmt;

use crate::decode::Damage;
use crate::log::Foreign;

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
    /// The entry is skipped.
    Skipped(Skip),
    /// The log was deleted.
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
            Reason::Skipped(skip) => (7, skip.code()),
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
            7 => Skip::from_code(word & 0xffff_ffff).map_or(Reason::Nothing, Reason::Skipped),
            8 => Reason::Deleted,
            _ => Reason::Nothing,
        }
    }
}

/// Why an entry of a watched folder is no log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Skip {
    /// Its name starts with a dot.
    Hidden,
    /// Its name ends like that of an unfinished file.
    Temporary,
    /// A pipe, a socket, a device.
    NotRegular,
    /// A link to a file that is not in the watched folder.
    LinkOut,
    /// A link to nothing.
    LinkNowhere,
    /// A link to a folder: these are never followed.
    LinkToFolder,
    /// A subfolder, and only the folder itself is watched.
    Folder,
    /// The patterns exclude its name, or do not include it.
    Pattern,
    /// A subfolder that is deeper than folders are scanned.
    TooDeep,
    /// Its name is that of an error log, and no pattern includes names.
    ErrorLog,
    /// Its first bytes are those of an archive or a program.
    Foreign(Foreign),
}

impl Skip {
    /// The reasons that need no further word, each at its number, from 1 on.
    const PLAIN: [Skip; 10] = [
        Skip::Hidden,
        Skip::Temporary,
        Skip::NotRegular,
        Skip::LinkOut,
        Skip::LinkNowhere,
        Skip::LinkToFolder,
        Skip::Folder,
        Skip::Pattern,
        Skip::TooDeep,
        Skip::ErrorLog,
    ];
    /// The number of the first kind of foreign content.
    const FOREIGN: u64 = 1 << 16;

    /// A number for the reason, never 0.
    fn code(self) -> u64 {
        match self {
            Skip::Foreign(kind) => Skip::FOREIGN + kind.code(),
            plain => Skip::PLAIN.iter().position(|skip| *skip == plain).map_or(0, |at| at as u64 + 1),
        }
    }

    /// The reason of this number.
    fn from_code(code: u64) -> Option<Skip> {
        match code.checked_sub(Skip::FOREIGN) {
            Some(kind) => Foreign::from_code(kind).map(Skip::Foreign),
            None => Skip::PLAIN.get(usize::try_from(code.checked_sub(1)?).ok()?).copied(),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Skip::Hidden => "a hidden file",
            Skip::Temporary => "a temporary name",
            Skip::NotRegular => "not a regular file",
            Skip::LinkOut => "a link to a file outside the watched folder",
            Skip::LinkNowhere => "a broken link",
            Skip::LinkToFolder => "a link to a folder",
            Skip::Folder => "a subfolder; --recursive scans subfolders",
            Skip::Pattern => "the patterns of --include and --exclude do not match its name",
            Skip::TooDeep => "a subfolder that is nested too deeply",
            Skip::ErrorLog => "its name is that of an error log; --include '*' counts it",
            Skip::Foreign(kind) => kind.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_back_from_words() {
        let skipped = Skip::PLAIN.into_iter().chain(Foreign::all().map(Skip::Foreign)).map(Reason::Skipped);
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
        for word in [9 << 32, 7 << 32, 7 << 32 | 11, 7 << 32 | 1 << 17, 6 << 32, u64::MAX] {
            assert_eq!(Reason::from_word(word), Reason::Nothing, "{word:x}");
        }
    }
}
