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

/// A log: what has been counted of it, and where its file is.
#[derive(Debug, Clone)]
pub struct Log {
    /// The watched folder that the log belongs to: files of the same content in two folders are two logs.
    pub folder: Vec<u8>,
    /// The name as reported.
    pub name: Vec<u8>,
    /// The path of the file, or of the last file that held the log.
    pub path: PathBuf,
    /// Device and inode of that file.
    pub file: FileId,
    /// Whether the file is there.
    pub presence: Presence,
    /// The compression of the file.
    pub format: Option<Compression>,
    /// The day in the name.
    pub day: Option<Day>,
    /// Other names of the same file.
    pub links: Vec<Vec<u8>>,
    /// The size of the file at the last scan, in bytes.
    pub size: u64,
    /// The time of the last change, as the file system has it, since 1970.
    pub changed: Duration,
    /// What is shown and stored: by today's rules or by others.
    pub count: Count,
    /// A count from the start, which replaces `count` once it has come as far: because the rules changed, because half a
    /// line was counted that went on, or because somebody asked for it.
    pub recount: Option<Count>,
    /// Samples of a compressed file itself, by which it is recognised without decoding it.
    pub raw: Vec<Sample>,
    /// The system's error number, if the file cannot be opened or read.
    pub unreadable: Option<i32>,
    /// The log that this log is a prefix or a copy of; that log has the requests of both.
    pub prefix_of: Option<u64>,
    /// Logs that are prefixes of this log, or were when their files went, each with the offset up to which it was counted
    /// then. A crash may leave their own partials in the store.
    pub absorbed_prefixes: BTreeMap<u64, u64>,
    /// True after a request to delete the log, for good: the log counts no more, in whichever file it is found.
    pub deleted: bool,
    /// Uploaded files that are to take the log's name and place. At most one of them gets there.
    pub successors: BTreeSet<FileId>,
    /// True once the log has had another name: it is not expected to grow for long.
    pub rotated: bool,
    /// The time of the last scan that found the file changed, since 1970.
    pub(super) seen: Duration,
    /// True if the last writer has closed the file, as far as inotify tells.
    pub(super) closed: bool,
    /// The file size at which the log was last compared with logs that begin alike; `None`: not yet.
    pub(super) identified_at: Option<u64>,
    /// True if `prefix_of` was decided while a file could not be read, or while one of the logs was recounted.
    /// [`super::Ledger::see`] decides again once that is over.
    pub guessed: bool,
    /// True if the log was compared with all other counted logs, after the first bytes of it were counted.
    pub(super) compared: bool,
    /// Samples of a compressed log at offsets where other logs end. True: read; false: wanted from the next count.
    pub(super) probed: Vec<(Sample, bool)>,
    /// True if the log is not expected to grow any more.
    pub(super) is_final: bool,
}

/// Whether the file of a log is there.
///
/// `verified`: the file was found to hold the log since the daemon started. Until then nothing more of it is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// The file is there.
    Here {
        /// See above.
        verified: bool,
    },
    /// The latest scan did not find the file, which may have been renamed while the folder was read.
    Missed {
        /// See above.
        verified: bool,
    },
    /// The log is in no file that is there; its numbers stay.
    Gone,
}

/// What has been counted of a log, and how far.
#[derive(Debug, Clone, Default)]
pub struct Count {
    /// True if other rules than today's counted it: if the log is there, it is recounted.
    pub by_other_rules: bool,
    /// The bytes that were counted.
    pub content: Content,
    /// A higher number is another content.
    pub generation: u64,
    /// Ranges that could not be counted.
    pub quarantine: Vec<(Range, Reason)>,
    /// Why a compressed log ended before its end.
    pub damage: Option<Damage>,
    /// True if an unfinished last line was counted.
    pub unterminated: bool,
    /// True once all bytes that were there at one moment have been counted.
    pub(super) caught_up: bool,
    /// The size at which the last line was found to be unfinished.
    pub(super) held_at: Option<u64>,
    /// The bytes that are being counted.
    pub(super) plan: Option<Plan>,
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
            count: Count { caught_up: format.is_some() || content.to >= size, content, ..Count::default() },
            identified_at: Some(size),
            seen: changed,
            presence: Presence::Here { verified: false },
            ..Log::new(folder, name, file, format, size, changed)
        }
    }

    /// It was counted up to its end once; `is_final`: and was not expected to grow any more.
    pub fn that_was_caught_up(self, is_final: bool) -> Log {
        Log { count: Count { caught_up: true, ..self.count }, is_final, ..self }
    }

    /// All of it was counted in an earlier life, but the half line at its end.
    pub fn with_held_line(self) -> Log {
        Log { count: Count { caught_up: true, held_at: Some(self.size), ..self.count }, ..self }
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
            presence: Presence::Here { verified: true },
            format,
            links: Vec::new(),
            size,
            changed,
            raw: Vec::new(),
            count: Count::default(),
            recount: None,
            unreadable: None,
            prefix_of: None,
            absorbed_prefixes: BTreeMap::new(),
            deleted: false,
            successors: BTreeSet::new(),
            rotated: false,
            seen: Duration::ZERO,
            closed: false,
            identified_at: None,
            guessed: false,
            compared: false,
            probed: Vec::new(),
            is_final: false,
        }
    }

    /// The count that goes on: the recount, if there is one.
    pub fn active(&self) -> &Count {
        self.recount.as_ref().unwrap_or(&self.count)
    }

    /// The count that goes on, to be changed.
    pub(super) fn active_mut(&mut self) -> &mut Count {
        self.recount.as_mut().unwrap_or(&mut self.count)
    }

    /// Is it in no file that is there?
    pub fn is_gone(&self) -> bool {
        self.presence == Presence::Gone
    }

    /// Is its file missing: gone, or not found by the latest scan?
    pub(super) fn is_missing(&self) -> bool {
        !matches!(self.presence, Presence::Here { .. })
    }

    /// Is it there, or was at the last scan but one, and was it found to be what it was?
    pub(super) fn is_verified(&self) -> bool {
        matches!(self.presence, Presence::Here { verified: true } | Presence::Missed { verified: true })
    }

    /// What it is to the daemon.
    pub fn state(&self) -> LogState {
        let Count { quarantine, caught_up, .. } = self.active();
        match self {
            Log { deleted: true, .. } => LogState::Skipped,
            Log { presence: Presence::Gone, .. } => LogState::Gone,
            Log { prefix_of: Some(_), .. } => LogState::Duplicate,
            _ if !quarantine.is_empty() => LogState::Quarantined,
            _ if !caught_up => LogState::Counting,
            Log { is_final: true, .. } => LogState::Final,
            _ => LogState::Live,
        }
    }

    /// Do its lines count in the days? Not those of a log that is the beginning of another, and not before it
    /// is known whether it is.
    pub fn counts(&self) -> bool {
        self.prefix_of.is_none() && !self.deleted && self.identified_at.is_some()
    }

    /// Is all of it in the numbers?
    pub fn is_complete(&self) -> bool {
        let Count { quarantine, damage, caught_up, .. } = &self.count;
        let is_whole = quarantine.is_empty() && self.unreadable.is_none() && damage.is_none();
        is_whole && self.recount.is_none() && *caught_up && self.uncounted() == 0
    }

    /// Is it to be counted from its start once more: by other rules than it was, or because half a line was
    /// counted as its last one, and is none?
    pub(super) fn is_to_be_recounted(&self) -> bool {
        let count = self.active();
        let goes_on = self.format.is_none() && count.unterminated && self.size > count.content.to;
        !self.is_gone() && !self.deleted && (count.by_other_rules || goes_on)
    }

    /// Is it being recounted? Until that is done, its numbers are those that it had.
    pub fn is_recounted(&self) -> bool {
        self.recount.is_some()
    }

    /// Returns the log as it is to be stored: without a recount in progress.
    pub fn known(&self) -> Cow<'_, Log> {
        if self.recount.is_none() {
            return Cow::Borrowed(self);
        }
        let mut log = self.clone();
        log.recount = None;
        log.count.settle(self.format);
        Cow::Owned(log)
    }

    /// Begins a recount. A count with a hole is not known well enough to be compared with other logs, so there is nothing
    /// to keep of it.
    pub(super) fn begin_recount(&mut self) {
        if self.recount.is_none() && self.is_counted() && self.count.quarantine.is_empty() {
            self.recount = Some(Count { generation: self.count.generation, ..Count::default() });
            self.count.plan = None;
        } else {
            self.active_mut().by_other_rules = false;
        }
    }

    /// Replaces the count by the recount, if that has come as far. Returns whether it has.
    ///
    /// The log was compared with others as what it was, perhaps when more could be seen of them than now: that holds.
    pub(super) fn end_recount(&mut self) -> bool {
        let (known, is_stream) = (self.count.content.to, self.format.is_some());
        // Damage may come sooner than it did; what was given up is no news. A half line that counted is
        // waited for.
        let is_over = |recount: &mut Count| {
            recount.content.to >= known || (is_stream && recount.caught_up && recount.quarantine.is_empty())
        };
        match self.recount.take_if(is_over) {
            Some(recount) => {
                self.count = recount;
                true
            }
            None => false,
        }
    }

    /// Gives the recount up, if there is one: the log is what it was, where it was last. Returns whether there was one.
    pub(super) fn abandon_recount(&mut self) -> bool {
        let was_recounted = self.recount.is_some();
        self.drop_recount();
        if was_recounted {
            self.count.generation += 1;
            self.count.settle(self.format);
        }
        was_recounted
    }

    /// Drops the recount, if there is one. Jobs that were given out for it are of an earlier generation from now on.
    pub(super) fn drop_recount(&mut self) {
        if let Some(recount) = self.recount.take() {
            self.count.generation = recount.generation;
        }
    }

    /// Did half a line count as its last one before, and is that still the last one? Then it counts at once.
    pub(super) fn ends_as_before(&self) -> bool {
        self.recount.is_some() && self.count.unterminated && self.size == self.count.content.to
    }

    /// Is it not expected to grow any more?
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Bytes that are known and not counted. A line that is held back is not among them, nor is what cannot
    /// be read.
    pub fn pending(&self) -> u64 {
        if self.is_gone() || self.deleted || self.unreadable.is_some() { 0 } else { self.uncounted() }
    }

    /// Bytes that are known and not counted, whether they can be read or not.
    pub fn uncounted(&self) -> u64 {
        let Count { plan, caught_up, held_at, content, .. } = self.active();
        match (plan, self.format) {
            (Some(plan), _) => self.size.max(plan.to) - plan.next,
            (None, Some(_)) if *caught_up => 0,
            (None, Some(_)) => self.size,
            (None, None) => self.size.saturating_sub(held_at.unwrap_or(0).max(content.to)),
        }
    }

    /// Where its file is, or was.
    pub fn place(&self) -> Place {
        Place { path: self.path.clone(), file: self.file }
    }

    /// Where its bytes can be looked at as they are.
    pub(super) fn plain_place(&self) -> Option<Place> {
        (!self.is_missing() && self.format.is_none()).then(|| self.place())
    }

    /// What must stand in its file, or that is another content: its first and its last bytes.
    pub fn ends(&self) -> Vec<Sample> {
        if self.format.is_some() {
            return self.raw.clone();
        }
        let (at, length) = crate::sample::block(0);
        let Content { blocks, anchor, .. } = &self.count.content;
        let first = blocks.first().filter(|hash| **hash != crate::sample::UNSEEN);
        first.map(|hash| Sample { at, length, hash: *hash }).into_iter().chain(*anchor).collect()
    }

    /// Why something of it is not counted.
    pub fn reason(&self) -> Reason {
        let Count { damage, quarantine, .. } = self.active();
        match (self, damage) {
            (Log { deleted: true, .. }, _) => Reason::Deleted,
            (Log { unreadable: Some(errno), .. }, _) => Reason::Unreadable(*errno),
            (_, Some(damage)) => Reason::Damage(*damage),
            _ => quarantine.first().map_or(Reason::Nothing, |(_, reason)| *reason),
        }
    }

    /// Once its file is gone, does what its name holds then replace it? Under a name with a date, whatever
    /// that is; else what was uploaded for it.
    pub(super) fn is_replaceable(&self) -> bool {
        self.day.is_some() || !self.successors.is_empty()
    }

    /// Does it have the name of another log, and was its file uploaded to take that log's place?
    pub(super) fn replaces(&self, old: &Log) -> bool {
        old.successors.contains(&self.file) && self.has_name_of(old)
    }

    /// Does its file have the name of another log of the folder?
    pub(super) fn has_name_of(&self, other: &Log) -> bool {
        other.folder == self.folder && (other.name == self.name || self.links.contains(&other.name))
    }

    /// Is there anything to keep of it once its file is gone?
    pub(super) fn is_counted(&self) -> bool {
        self.count.content.to > 0
    }
}

impl Count {
    /// Returns the count for a log that has this content now, all of which was counted.
    pub(super) fn taken_over(self) -> Count {
        Count { by_other_rules: false, caught_up: true, held_at: None, plan: None, ..self }
    }

    /// Begins from the start of the log once more.
    pub(super) fn begin_anew(&mut self) {
        let (generation, by_other_rules) = (self.generation + 1, self.by_other_rules);
        *self = Count { generation, by_other_rules, ..Count::default() };
    }

    /// Ends what was going on: nothing more is counted.
    fn settle(&mut self, format: Option<Compression>) {
        self.plan = None;
        // A compressed file has nothing behind what is known.
        self.caught_up |= format.is_some();
    }
}
