//! One log as the ledger knows it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::super::content::{Content, Place};
use super::super::scan::FileId;
use super::plan::Plan;
use crate::board::{LogState, Reason};
use crate::decode::{Compression, Damage};
use crate::log::{Day, day_of_name};
use crate::range::Range;
use crate::sample::Sample;

/// A log: its content, and where that is now.
#[derive(Debug, Clone)]
pub struct Log {
    /// The watched folder it belongs to: only there the same content is the same log.
    pub folder: Vec<u8>,
    /// Its name as reported.
    pub name: Vec<u8>,
    /// Where it is, or was.
    pub path: PathBuf,
    /// Device and inode: where it is, or was.
    pub file: FileId,
    /// It is in no file that is there; its numbers stay.
    pub gone: bool,
    /// What compresses it.
    pub format: Option<Compression>,
    /// The day in its name.
    pub day: Option<Day>,
    /// Other names of the same file.
    pub links: Vec<Vec<u8>>,
    /// The file's size when it was last looked at.
    pub size: u64,
    /// When it was last changed, as the file system says.
    pub changed: Duration,
    /// What is known of it: what has been counted, by the rules of today or by others.
    pub content: Content,
    /// Of a compressed log: samples of the file itself, by which it is known again without decoding it.
    pub raw: Vec<Sample>,
    /// A higher number is another content.
    pub generation: u64,
    /// What could not be counted.
    pub quarantine: Vec<(Range, Reason)>,
    /// Why a compressed log ended before its end.
    pub damage: Option<Damage>,
    /// It cannot be opened: the system's error number.
    pub unreadable: Option<i32>,
    /// The log that this one is the beginning of: it counts within that one.
    pub within: Option<u64>,
    /// Logs that count within this one, or did when they went, and up to where they were counted then: they
    /// may be in the store by themselves.
    pub absorbed: BTreeMap<u64, u64>,
    /// It was taken back: it counts no more, wherever it is found.
    pub deleted: bool,
    /// The files that are to take its name and its place, as those who upload them want. Of several, one
    /// comes there.
    pub successors: BTreeSet<FileId>,
    /// An unfinished last line was counted.
    pub unterminated: bool,
    /// It has had another name before: it will not grow for long.
    pub rotated: bool,
    /// It was counted by other rules: if it is there, it is counted again.
    pub old: bool,
    /// It is being counted again.
    pub(super) again: Option<Again>,
    /// When its file was last seen to be another one than at the look before.
    pub(super) seen: Duration,
    /// Has its writer closed it, as far as is known?
    pub(super) closed: bool,
    /// It was told from other logs that begin alike, as far as it was then.
    pub(super) told: Option<u64>,
    /// It was taken for the beginning of another one, or not, while a file could not be looked into, or one
    /// of them was being counted again.
    pub unsure: bool,
    /// It was compared with what else was counted, once something of it was.
    pub(super) met: bool,
    /// What was found where a compressed log was looked at for another one's end.
    pub(super) probed: Vec<(Sample, bool)>,
    /// What it was last is believed only after a look at it.
    pub(super) doubted: bool,
    /// The latest look at the folders did not find it.
    pub(super) missed: bool,
    pub(super) is_final: bool,
    /// Has all of it that there was once been counted?
    pub(super) caught_up: bool,
    /// The size at which its last line was found to be unfinished.
    pub(super) held_at: Option<u64>,
    pub(super) plan: Option<Plan>,
}

/// A log that was counted by other rules, or with half a line that went on, is counted again from its start.
/// Until that is done, it is known by what it was.
#[derive(Debug, Clone)]
pub(super) struct Again {
    /// What has been counted of it by now.
    pub counted: Content,
    /// What it was.
    before: Box<Log>,
}

impl Log {
    /// A log that was counted in an earlier life.
    pub fn counted(
        folder: Vec<u8>,
        name: Vec<u8>,
        file: FileId,
        format: Option<Compression>,
        size: u64,
        changed: Duration,
        content: Content,
    ) -> Log {
        Log {
            path: PathBuf::new(),
            day: day_of_name(&name),
            // Of a log that may have grown since, that is seen when it is found.
            caught_up: format.is_some() || content.to >= size,
            told: Some(size),
            seen: changed,
            doubted: true,
            content,
            ..Log::new(folder, name, file, format, size, changed)
        }
    }

    /// It was counted up to its end once; `is_final`: and was not expected to grow any more.
    pub fn that_was_caught_up(self, is_final: bool) -> Log {
        Log { caught_up: true, is_final, ..self }
    }

    /// All of it was counted in an earlier life, but the half line at its end.
    pub fn with_held_line(self) -> Log {
        Log { caught_up: true, held_at: Some(self.size), ..self }
    }

    /// A log of which nothing is counted.
    pub(super) fn new(
        folder: Vec<u8>,
        name: Vec<u8>,
        file: FileId,
        format: Option<Compression>,
        size: u64,
        changed: Duration,
    ) -> Log {
        Log {
            folder,
            day: day_of_name(&name),
            name,
            path: PathBuf::new(),
            file,
            gone: false,
            format,
            links: Vec::new(),
            size,
            changed,
            content: Content::default(),
            raw: Vec::new(),
            generation: 0,
            quarantine: Vec::new(),
            damage: None,
            unreadable: None,
            within: None,
            absorbed: BTreeMap::new(),
            deleted: false,
            successors: BTreeSet::new(),
            unterminated: false,
            rotated: false,
            old: false,
            again: None,
            seen: Duration::ZERO,
            closed: false,
            told: None,
            unsure: false,
            met: false,
            probed: Vec::new(),
            doubted: false,
            missed: false,
            is_final: false,
            caught_up: false,
            held_at: None,
            plan: None,
        }
    }

    /// What it is to the daemon.
    pub fn state(&self) -> LogState {
        match self {
            Log { deleted: true, .. } => LogState::Skipped,
            Log { gone: true, .. } => LogState::Gone,
            Log { within: Some(_), .. } => LogState::Duplicate,
            Log { quarantine, .. } if !quarantine.is_empty() => LogState::Quarantined,
            Log { caught_up: false, .. } => LogState::Counting,
            Log { is_final: true, .. } => LogState::Final,
            _ => LogState::Live,
        }
    }

    /// Do its lines count in the days? Not those of a log that is the beginning of another, and not before it
    /// is known whether it is.
    pub fn counts(&self) -> bool {
        self.within.is_none() && !self.deleted && self.told.is_some()
    }

    /// Is all of it in the numbers?
    pub fn is_complete(&self) -> bool {
        let is_whole = self.quarantine.is_empty()
            && self.unreadable.is_none()
            && self.damage.is_none()
            && self.again.is_none();
        is_whole && self.caught_up && self.uncounted() == 0
    }

    /// Is it to be counted from its start once more: by other rules than it was, or because half a line was
    /// counted as its last one, and is none?
    pub(super) fn is_to_be_counted_again(&self) -> bool {
        let goes_on = self.format.is_none() && self.unterminated && self.size > self.counted_content().to;
        !self.gone && !self.deleted && (self.old || goes_on)
    }

    /// Is it being counted again? Until that is done, its numbers are those that it had.
    pub fn is_counted_again(&self) -> bool {
        self.again.is_some()
    }

    /// Do its numbers come from other rules than those of today?
    pub(super) fn is_by_other_rules(&self) -> bool {
        self.again.as_ref().map_or(self.old, |again| again.before.old)
    }

    /// What is to be stored of it: what it is, or was, if it is being counted again.
    pub fn known(&self) -> Cow<'_, Log> {
        self.as_before().map_or(Cow::Borrowed(self), Cow::Owned)
    }

    /// What has been counted of it, since it is counted again if it is.
    pub fn counted_content(&self) -> &Content {
        self.again.as_ref().map_or(&self.content, |again| &again.counted)
    }

    /// Likewise, to be added to.
    pub(super) fn counted_content_mut(&mut self) -> &mut Content {
        self.again.as_mut().map_or(&mut self.content, |again| &mut again.counted)
    }

    /// It is counted again from now on. What has a hole is not known well enough to be told from others by
    /// what it was.
    pub(super) fn begin_again(&mut self) {
        if self.again.is_none() && self.is_counted() && self.quarantine.is_empty() {
            let before = Box::new(Log { plan: None, ..self.clone() });
            self.again = Some(Again { counted: Content::default(), before });
        }
        self.old = false;
    }

    /// If all of it that was known has been counted again, what has been counted is what is known. Says
    /// whether that is so. It was compared with others as what it was, perhaps when more could be seen of
    /// them than now: that holds.
    pub(super) fn end_again(&mut self) -> bool {
        // Damage may come sooner than it did; what was given up is no news. A half line that counted is
        // waited for.
        let is_stream_over = self.format.is_some() && self.caught_up && self.quarantine.is_empty();
        let is_over = |again: &mut Again| again.counted.to >= self.content.to || is_stream_over;
        let again = self.again.take_if(is_over);
        let is_news = again.is_some();
        again.into_iter().for_each(|again| self.content = again.counted);
        is_news
    }

    /// It will not be counted again: it is what it was, where it was last. Says whether it was anything.
    pub(super) fn recall(&mut self) -> bool {
        let Some(before) = self.as_before() else { return false };
        *self = Log { generation: self.generation + 1, ..before };
        true
    }

    /// What it was when it was begun to be counted again, where it is now.
    fn as_before(&self) -> Option<Log> {
        let before = &self.again.as_ref()?.before;
        Some(Log {
            folder: self.folder.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
            file: self.file,
            day: self.day,
            links: self.links.clone(),
            gone: self.gone,
            missed: self.missed,
            unsure: self.unsure,
            rotated: self.rotated,
            within: self.within,
            absorbed: self.absorbed.clone(),
            successors: self.successors.clone(),
            format: self.format,
            size: self.size,
            changed: self.changed,
            raw: self.raw.clone(),
            // A compressed file has nothing behind what is known.
            caught_up: before.caught_up || self.format.is_some(),
            ..(**before).clone()
        })
    }

    /// Did half a line count as its last one before, and is that still the last one? Then it counts at once.
    pub(super) fn ends_as_before(&self) -> bool {
        self.again.as_ref().is_some_and(|again| again.before.unterminated && self.size == self.content.to)
    }

    /// Is it not expected to grow any more?
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Bytes that are known and not counted. A line that is held back is not among them, nor is what cannot
    /// be read.
    pub fn pending(&self) -> u64 {
        if self.gone || self.deleted || self.unreadable.is_some() { 0 } else { self.uncounted() }
    }

    /// Bytes that are known and not counted, whether they can be read or not.
    pub fn uncounted(&self) -> u64 {
        match (&self.plan, self.format) {
            (Some(plan), _) => self.size.max(plan.to) - plan.next,
            (None, Some(_)) if self.caught_up => 0,
            (None, Some(_)) => self.size,
            (None, None) => {
                self.size.saturating_sub(self.held_at.unwrap_or(0).max(self.counted_content().to))
            }
        }
    }

    /// Where its file is, or was.
    pub fn place(&self) -> Place {
        Place { path: self.path.clone(), file: self.file }
    }

    /// Where its bytes can be looked at as they are.
    pub(super) fn plain_place(&self) -> Option<Place> {
        (!self.gone && !self.missed && self.format.is_none()).then(|| self.place())
    }

    /// What must stand in its file, or that is another content: its first and its last bytes.
    pub fn ends(&self) -> Vec<Sample> {
        if self.format.is_some() {
            return self.raw.clone();
        }
        let (at, length) = crate::sample::block(0);
        let first = self
            .content
            .blocks
            .first()
            .filter(|hash| **hash != crate::sample::UNSEEN)
            .map(|hash| Sample { at, length, hash: *hash });
        first.into_iter().chain(self.content.anchor).collect()
    }

    /// Why something of it is not counted.
    pub fn reason(&self) -> Reason {
        match self {
            Log { deleted: true, .. } => Reason::Deleted,
            Log { unreadable: Some(errno), .. } => Reason::Unreadable(*errno),
            Log { damage: Some(damage), .. } => Reason::Damage(*damage),
            Log { quarantine, .. } => quarantine.first().map_or(Reason::Nothing, |(_, reason)| *reason),
        }
    }

    /// Once its file is gone, does what its name holds then replace it? Under a name with a date, whatever
    /// that is; else what was uploaded for it.
    pub(super) fn is_replaceable(&self) -> bool {
        self.day.is_some() || !self.successors.is_empty()
    }

    /// Is there anything to keep of it once its file is gone?
    pub(super) fn is_counted(&self) -> bool {
        self.content.to > 0
    }
}
