//! Counts one byte range of one open log: the only place where the bytes of a log are read to be counted.
//!
//! A range owns the lines that *start* in it: what comes before its first line start belongs to the range
//! before, and its last line is read to its LF wherever that is. So any cutting of a log into ranges counts
//! each line once. Deliberately absent: which ranges to count, and what to do when one fails.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};

use crate::decode::Damage;
use crate::log::BOM;
use crate::sample::{SAMPLE_BYTES, Sample, Sampler};
use crate::sys::map::{FileView, read_at};
use crate::tally::{Counter, Rules, Tally};

/// How much is read, or counted of a mapping, between two beats. Large enough to be fast, small enough to
/// stay in the cache.
const PIECE_BYTES: usize = 1 << 20;
/// With `Io::Auto`, shorter ranges are read: a mapping costs more than it saves.
const MAP_BYTES_MIN: u64 = 1 << 20;

thread_local! {
    /// Where ranges are read to. Kept, because giving it back costs the other threads a stop each time.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes `from..to` of a log. Never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Range {
    from: u64,
    to: u64,
}

impl Range {
    /// The bytes `from..to`, or `None` if there are none.
    pub fn new(from: u64, to: u64) -> Option<Range> {
        (from < to).then_some(Range { from, to })
    }

    /// The offset of the first byte.
    pub fn from(self) -> u64 {
        self.from
    }

    /// The offset behind the last byte.
    pub fn to(self) -> u64 {
        self.to
    }

    /// How many bytes there are. (Never none, so there is no `is_empty`.)
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        self.to - self.from
    }

    /// Both halves, or `None` if there is only one byte.
    pub fn halves(self) -> Option<(Range, Range)> {
        let middle = self.from + self.len() / 2;
        Some((Range::new(self.from, middle)?, Range::new(middle, self.to)?))
    }

    /// Cuts the range into pieces of `bytes`, the last one shorter.
    pub fn cut(self, bytes: u64) -> impl Iterator<Item = Range> {
        let Range { from, to } = self;
        (0..self.len().div_ceil(bytes))
            .filter_map(move |at| Range::new(from + at * bytes, (from + (at + 1) * bytes).min(to)))
    }
}

/// How the bytes of a range are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Io {
    /// Map ranges of 1 MiB and more, read the others.
    #[default]
    Auto,
    /// Map the range; a line's end beyond it is read.
    Map,
    /// Read it piece by piece.
    Read,
}

/// What a last line without LF means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastLine {
    /// The log may grow: the line is held back, not counted.
    Hold,
    /// The log is final: the line counts.
    Count,
}

/// How the counted bytes end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With an LF, or there is no line.
    Whole,
    /// With a line without LF, which was held back.
    Held,
    /// With a line without LF, which was counted.
    Unterminated,
}

/// How far the counting of a range came, and samples of the bytes that were counted.
///
/// The samples tell whether the log still holds these bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The offset of the next line that is not counted here: that of a line that was held back, too. If no
    /// line starts in the range: the range's start.
    pub end: u64,
    /// How the bytes end.
    pub ending: Ending,
    /// The first bytes that were read, from the byte before the range on.
    pub head: Sample,
    /// The last bytes that were read. They may lie beyond the range.
    pub tail: Sample,
    /// The blocks of the grid that end behind the range's start, as far as was read: the number of the first
    /// one, and their hashes.
    pub blocks: (usize, Vec<u64>),
    /// The bytes at the offset that [`count_stream`] was asked to sample, if the stream is that long.
    pub probe: Option<Sample>,
    /// Why a compressed log ended before its end.
    pub damage: Option<Damage>,
}

/// A range that has been counted.
#[derive(Debug, PartialEq)]
pub struct Counted {
    /// The lines that start in the range.
    pub tally: Tally,
    /// How far the counting came.
    pub checkpoint: Checkpoint,
}

/// Where else a stream is to be sampled: offset and length, at most 1 KiB.
pub type Probe = (u64, u32);

/// Why a range could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// The file ends before the range does.
    #[error("the file was truncated or replaced while tallyd read it")]
    Shorter,
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How a range is to be counted.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// What the numbers mean.
    pub rules: Rules,
    /// How its bytes are looked at.
    pub io: Io,
    /// What an unterminated last line means.
    pub last: LastLine,
}

/// Counts the lines that start in `range`. Calls `beat` now and then, with the number of bytes of the range
/// that are done.
///
/// A log can be cut into ranges anywhere but within or right behind a byte order mark: that would part it
/// from its line.
pub fn count(file: &File, range: Range, how: How, beat: impl FnMut(u64)) -> Result<Counted, RangeError> {
    count_on(Tally::default(), file, range, how, beat)
}

/// Likewise, on top of what was counted before. If there is trouble, that is lost too.
pub fn count_on(
    before: Tally,
    file: &File,
    range: Range,
    how: How,
    mut beat: impl FnMut(u64),
) -> Result<Counted, RangeError> {
    let How { rules, io, last } = how;
    if file.metadata()?.len() < range.to {
        return Err(RangeError::Shorter);
    }
    // The byte before tells whether the range starts with a line.
    let start = range.from.saturating_sub(1);
    let mut course = Course::new(Counter::resume(before, rules), range.from);
    course.sample_before(file)?;
    let length = usize::try_from(range.to - start).map_err(io::Error::other)?;
    if io == Io::Map || (io == Io::Auto && range.len() >= MAP_BYTES_MIN) {
        let view = FileView::open(file, start, length)?;
        for piece in view.chunks(PIECE_BYTES) {
            course.take(piece, Counter::feed_all);
            beat(course.at - start);
        }
        if view.is_cut() {
            return Err(RangeError::Shorter);
        }
    } else {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(PIECE_BYTES, 0);
            while course.at < range.to {
                let want = PIECE_BYTES.min((range.to - course.at) as usize);
                let piece = &mut scratch[..want];
                if read_at(file, piece, course.at)? < want {
                    return Err(RangeError::Shorter);
                }
                course.take(piece, Counter::feed_all);
                beat(course.at - start);
            }
            Ok(())
        })?;
    }
    course.read_last_line(file, &mut beat)?;
    // What a truncated mapping shows beyond the new end is not what was in the log.
    if file.metadata()?.len() < course.at {
        return Err(RangeError::Shorter);
    }
    Ok(course.end(range, last))
}

/// Counts a stream of decoded bytes to its end: a compressed log, whose last line counts as it is. Calls
/// `beat` now and then, with the number of bytes that came.
///
/// # Errors
/// If the stream cannot be read.
pub fn count_stream(
    stream: &mut impl Read,
    rules: Rules,
    probe: Option<Probe>,
    mut beat: impl FnMut(u64),
) -> io::Result<Counted> {
    let mut course = Course { probe, ..Course::new(Counter::new(rules), 0) };
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                // It took much and has nothing to give yet.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => beat(course.at),
                Err(error) => return Err(error),
            }
        }
        course.take(&buffer[..filled], Counter::feed_all);
        beat(course.at);
        if filled < buffer.len() {
            let end = course.at;
            return Ok(course.end(Range { from: 0, to: end }, LastLine::Count));
        }
    }
}

/// The way through a range: what has been counted, and how far it is.
struct Course {
    counter: Counter,
    /// The offset behind the last byte taken.
    at: u64,
    /// Where the first line of the range starts.
    started: Option<u64>,
    /// The length of the byte order mark, if the range has one.
    mark: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_from: u64,
    sampler: Sampler,
    probe: Option<Probe>,
    probed: Vec<u8>,
}

impl Course {
    /// Begins at `from`, or rather a byte before it: that one tells whether a line starts there.
    fn new(mut counter: Counter, from: u64) -> Course {
        if from > 0 {
            counter.skip_to_newline();
        }
        let at = from.saturating_sub(1);
        let (head, tail, probed) = (Vec::new(), Vec::new(), Vec::new());
        Course {
            counter,
            at,
            started: None,
            mark: 0,
            head,
            tail,
            tail_from: at,
            sampler: Sampler::new(from),
            probe: None,
            probed,
        }
    }

    /// A block that ends in this range may have begun before it.
    fn sample_before(&mut self, file: &File) -> io::Result<()> {
        let from = self.sampler.wanted_from();
        let mut before = [0; SAMPLE_BYTES];
        if let Some(before) =
            self.at.checked_sub(from).and_then(|length| before.get_mut(..usize::try_from(length).ok()?))
        {
            let length = read_at(file, before, from)?;
            self.sampler.take(from, &before[..length]);
        }
        Ok(())
    }

    /// Takes the next bytes of the log, with one of the counter's ways to do it.
    fn take(&mut self, bytes: &[u8], feed: impl Fn(&mut Counter, &[u8]) -> usize) -> usize {
        let mark = if self.at == 0 && bytes.starts_with(BOM) { BOM.len() } else { 0 };
        self.mark += mark as u64;
        let skipping = self.counter.is_skipping();
        let taken = mark + feed(&mut self.counter, &bytes[mark..]);
        if self.started.is_none() && !self.counter.is_skipping() {
            let newline =
                if skipping { memchr::memchr(b'\n', bytes).map_or(0, |newline| newline + 1) } else { 0 };
            self.started = Some(self.at + newline as u64);
        }
        self.sample(&bytes[..taken]);
        self.at += taken as u64;
        taken
    }

    fn sample(&mut self, bytes: &[u8]) {
        self.sampler.take(self.at, bytes);
        if let Some((at, length)) = self.probe {
            let offset = |place: u64| (place.saturating_sub(self.at) as usize).min(bytes.len());
            self.probed.extend_from_slice(&bytes[offset(at)..offset(at + u64::from(length))]);
        }
        let more = (SAMPLE_BYTES - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..more]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(SAMPLE_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(SAMPLE_BYTES));
        self.tail_from = self.at + bytes.len() as u64 - self.tail.len() as u64;
    }

    /// Reads on to the end of the last line, be it far beyond the range.
    fn read_last_line(&mut self, file: &File, beat: &mut impl FnMut(u64)) -> io::Result<()> {
        let mut buffer = vec![0; 4096];
        while self.counter.torn_bytes() > 0 {
            let count = read_at(file, &mut buffer, self.at)?;
            if count == 0 {
                break;
            }
            self.take(&buffer[..count], Counter::feed_line);
            beat(0);
            // A line of ordinary length ends within the first few kilobytes. One that does not may be a
            // gigabyte.
            buffer.resize(PIECE_BYTES, 0);
        }
        Ok(())
    }

    fn end(mut self, range: Range, last: LastLine) -> Counted {
        let torn = self.counter.torn_bytes();
        // A byte order mark is part of the first line, though not of what it counts: a line that is held
        // starts before it.
        let only_mark = self.mark > 0 && self.at == self.mark;
        let unfinished = torn > 0 || only_mark;
        let ending = match last {
            _ if !unfinished => Ending::Whole,
            LastLine::Hold => Ending::Held,
            LastLine::Count => Ending::Unterminated,
        };
        if ending == Ending::Unterminated {
            self.counter.finish_line();
        }
        let next = match ending {
            Ending::Held if self.at - torn == self.mark => 0,
            Ending::Held => self.at - torn,
            Ending::Whole | Ending::Unterminated => self.at,
        };
        // If no line starts in the range, nothing is known of where the next one does.
        let starts = self.started.is_some_and(|start| start < range.to);
        let checkpoint = Checkpoint {
            end: if starts { next } else { range.from },
            ending,
            head: Sample::of(range.from.saturating_sub(1), &self.head),
            tail: Sample::of(self.tail_from, &self.tail),
            blocks: self.sampler.into_blocks(),
            probe: self
                .probe
                .filter(|(_, length)| self.probed.len() == *length as usize)
                .map(|(at, _)| Sample::of(at, &self.probed)),
            damage: None,
        };
        Counted { tally: self.counter.into_tally(), checkpoint }
    }
}
