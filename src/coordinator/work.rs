//! A range on its way to being counted, and what is done when it ends the worker that counts it.
//!
//! A range is suspected only if its own doing ended the worker. Then it is read instead of mapped, then
//! counted in halves, and the smallest part that still kills is given up. Pure. Deliberately absent: which
//! log it is of, and who counts it.

use super::inflight::Suspect;
use super::scan::FileId;
use crate::board::Reason;
use crate::job::Hang;
use crate::range::Range;
use crate::sys::process::Death;

/// A range that still ends every worker when it is no longer than this is given up.
pub(super) const QUARANTINE_BYTES: u64 = 4096;
/// So many kills from outside in a row on one range are no chance any more.
pub(super) const KILLS_MAX: u32 = 5;

/// What a lost flight says of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blame {
    /// Nothing: the worker died for another reason.
    Nobody,
    /// Perhaps something, if it happens again and again.
    Chance(Reason),
    /// Its own doing ended the worker.
    Range(Reason),
}

/// A range to count, and what has befallen it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    pub(super) range: Range,
    /// How often it ended a worker.
    pub(super) strikes: u32,
    /// How often in a row its worker was killed from outside.
    pub(super) kills: u32,
}

/// What to do with a range that has ended a worker once more.
pub(super) enum Struck {
    /// Count it again, read instead of mapped.
    Again(Work),
    /// Count its halves apart.
    Halves(Work, Work),
    /// It is small enough to be given up.
    GivenUp,
}

impl Work {
    pub(super) fn new(range: Range) -> Work {
        Work { range, strikes: 0, kills: 0 }
    }

    /// The first strike: again. The next: in halves. At last: no more.
    pub(super) fn struck(self) -> Struck {
        let again = |range| Work { range, strikes: 1, kills: 0 };
        match self.range.halves() {
            _ if self.strikes == 0 => Struck::Again(again(self.range)),
            Some((one, two)) if self.range.len() > QUARANTINE_BYTES => Struck::Halves(again(one), again(two)),
            _ => Struck::GivenUp,
        }
    }
}

/// A range as work, cut so that a suspect in it is work of its own, with what is known of it. A stream is not
/// cut: what is suspected of a part of its file, that held when it was another log's.
pub(super) fn set_apart(
    range: Range,
    is_stream: bool,
    file: FileId,
    suspects: &mut Vec<Suspect>,
    given_up: &mut Vec<Work>,
) -> Vec<Work> {
    let within = |suspect: Range| {
        if is_stream {
            suspect == range
        } else {
            range.from() <= suspect.from() && suspect.to() <= range.to()
        }
    };
    let inside = |suspect: &Suspect| suspect.file == file && within(suspect.range);
    let Some(at) = suspects.iter().position(inside) else { return vec![Work::new(range)] };
    let Suspect { range: middle, strikes, kills, .. } = suspects.swap_remove(at);
    let mut work = Vec::new();
    if let Some(before) = Range::new(range.from(), middle.from()) {
        work.extend(set_apart(before, is_stream, file, suspects, given_up));
    }
    let suspect = Work { range: middle, strikes, kills };
    match suspect.struck() {
        _ if kills < KILLS_MAX => work.push(suspect),
        Struck::Again(again) => work.push(again),
        Struck::Halves(one, two) if !is_stream => work.extend([one, two]),
        Struck::Halves(..) | Struck::GivenUp => given_up.push(suspect),
    }
    if let Some(after) = Range::new(middle.to(), range.to()) {
        work.extend(set_apart(after, is_stream, file, suspects, given_up));
    }
    work
}

/// How a worker ended, as a reason.
fn crash(death: Death) -> Reason {
    match death {
        Death::Signal(number) => Reason::Signal(number),
        Death::Exit(code) => Reason::Exit(code),
    }
}

/// What the death of a worker says of the range it counted.
pub(super) fn blame(death: Death, hung: Option<Hang>) -> Blame {
    match (hung, death) {
        (Some(Hang::Busy), _) => Blame::Range(Reason::Hang),
        // It was stopped, or waited for a disk.
        (Some(Hang::Still), _) => Blame::Nobody,
        (
            None,
            Death::Signal(
                libc::SIGSEGV | libc::SIGBUS | libc::SIGABRT | libc::SIGSYS | libc::SIGILL | libc::SIGFPE,
            ),
        ) => Blame::Range(crash(death)),
        // The exit code of a panic.
        (None, Death::Exit(101)) => Blame::Range(crash(death)),
        // From outside, or for want of memory.
        (None, Death::Signal(libc::SIGKILL)) => Blame::Chance(crash(death)),
        (None, _) => Blame::Nobody,
    }
}
