//! Counting without a daemon: `tallyd count` and `tallyd verify`.
//!
//! All cores take ranges of the logs in turn. A core keeps one tally as long as its next range is of the same
//! log; tallies are never merged, only the union of their clients is counted. A path that cannot be counted
//! is an error of its own; the other paths are counted all the same.

mod found;
mod sentence;
mod source;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

pub use found::Patterns;
use found::{Report, list};
pub use sentence::STDIN;
use sentence::{cannot_read, damaged};
use source::{Source, open};

use crate::decode::{Damage, Decoder, Limits};
use crate::log::{BOM, Day, day_of_name};
use crate::range::{self, Checkpoint, How, Io, LastLine, Range};
use crate::sys::map::shield;
use crate::tally::union;
use crate::tally::{Clients, Counter, Distinct, PartTally, Rules, Tally, Totals, plain};

const RANGE_BYTES: u64 = 16 << 20;

/// A log that was counted.
#[derive(Debug)]
pub struct CountedFile {
    /// The path as given or found.
    pub path: PathBuf,
    /// One tally for each core that counted a part of the log.
    tallies: Vec<Tally>,
}

/// Everything that was counted.
#[derive(Debug, Default)]
pub struct CountedFiles {
    /// The logs, in the order of the paths given, those of a folder by name.
    files: Vec<CountedFile>,
    /// Remarks for stderr: what was skipped, and why.
    pub notes: Vec<String>,
    /// What could not be counted, in a sentence each.
    pub errors: Vec<String>,
    /// Unions that were counted already, by the addresses of their parts: a log, its only day and the total
    /// may have the same parts.
    unions: RefCell<HashMap<Vec<usize>, Distinct>>,
}

impl CountedFiles {
    /// The logs, in the order of the paths given, those of a folder by name.
    pub fn files(&self) -> &[CountedFile] {
        &self.files
    }

    /// The numbers of each day over all files. Requests without a time stamp are under the day of their
    /// file's name, or under `None`.
    pub fn days(&self) -> BTreeMap<Option<Day>, Totals> {
        let mut days: BTreeMap<Option<Day>, Vec<&PartTally>> = BTreeMap::new();
        for file in &self.files {
            let name_day = day_of_name(file.name());
            for (day, tally) in file.tallies.iter().flat_map(|tally| &tally.days) {
                days.entry(day.or(name_day)).or_default().push(tally);
            }
        }
        days.into_iter().map(|(day, parts)| (day, self.sum_up(&parts))).collect()
    }

    /// The numbers over all files; the clients are united.
    pub fn all(&self) -> Totals {
        self.totals(self.files.iter().flat_map(|file| &file.tallies))
    }

    /// The numbers of one of the files.
    pub fn of(&self, file: &CountedFile) -> Totals {
        self.totals(&file.tallies)
    }

    fn totals<'a>(&self, tallies: impl IntoIterator<Item = &'a Tally> + Clone) -> Totals {
        let parts: Vec<&PartTally> =
            tallies.clone().into_iter().flat_map(|tally| tally.days.values()).collect();
        let mut totals = self.sum_up(&parts);
        totals.counts += tallies.into_iter().map(|tally| tally.blank).sum();
        totals
    }

    /// The sum of some parts. Their clients are united by all cores.
    fn sum_up(&self, parts: &[&PartTally]) -> Totals {
        let counts = parts.iter().map(|part| part.counts).sum();
        let sets: Vec<&Clients> = parts.iter().map(|part| &part.clients).collect();
        let places: Vec<usize> = sets.iter().map(|set| std::ptr::from_ref(*set).addr()).collect();
        let count = || {
            union::parts(&sets)
                .collect::<Vec<_>>()
                .into_par_iter()
                .map(|part| union::count(&sets, part))
                .reduce(Distinct::default, Distinct::plus_disjoint)
        };
        let clients = match sets[..] {
            [only] => only.distinct(),
            _ => *self.unions.borrow_mut().entry(places).or_insert_with(count),
        };
        Totals { counts, clients }
    }
}

impl CountedFile {
    /// The last part of the path.
    pub fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or(self.path.as_os_str()).as_bytes()
    }
}

/// Counts files, the files of folders that `patterns` accept, and standard input ([`STDIN`]).
pub fn count(paths: &[PathBuf], patterns: &Patterns, rules: Rules) -> CountedFiles {
    let mut report = Report::default();
    let candidates = list(paths, patterns, &mut report);
    let sources: Vec<_> =
        candidates.into_iter().filter_map(|candidate| open(candidate, &mut report)).collect();
    let pieces: Vec<(usize, Option<Range>)> = (0..sources.len())
        .flat_map(|at| match &sources[at].1 {
            Source::Plain(_, length) => Range::new(0, *length)
                .into_iter()
                .flat_map(|whole| whole.cut(RANGE_BYTES))
                .map(|range| (at, Some(range)))
                .collect(),
            Source::Stream(_) | Source::Compressed(..) => vec![(at, None)],
        })
        .collect();
    let progress = progress(sources.iter().map(|(_, source)| source.length()).sum());
    // A log may be truncated while it is mapped, and no worker process would take the SIGBUS.
    let io = if shield().is_ok() { Io::Auto } else { Io::Read };
    let plan: Vec<Plan> = sources
        .into_iter()
        .map(|(path, source)| Plan {
            path,
            source: Mutex::new(source),
            tallies: Mutex::default(),
            io,
            failed: AtomicBool::new(false),
        })
        .collect();
    let errors = Mutex::new(std::mem::take(&mut report.errors));
    let next = AtomicUsize::new(0);
    rayon::broadcast(|_| {
        // What this core has counted of its current log.
        let mut hand: Option<(usize, Tally)> = None;
        while let Some(&(at, range)) = pieces.get(next.fetch_add(1, Relaxed)) {
            let file = &plan[at];
            if hand.as_ref().is_some_and(|(held, _)| *held != at) {
                put_down(&plan, hand.take());
            }
            if file.failed.load(Relaxed) {
                continue;
            }
            let before = hand.take().map_or_else(Tally::default, |(_, tally)| tally);
            match file.count(before, range, rules, |bytes| progress.inc(bytes)) {
                Ok((tally, damage)) => {
                    hand = Some((at, tally));
                    let sentence = damage.map(|damage| damaged(&file.path, damage));
                    errors.lock().expect("no holder panics").extend(sentence);
                }
                Err(error) => {
                    if !file.failed.swap(true, Relaxed) {
                        errors.lock().expect("no holder panics").push(cannot_read(&file.path, &error));
                    }
                }
            }
        }
        put_down(&plan, hand);
    });
    progress.finish_and_clear();
    let files = plan.into_iter().filter(|file| !file.failed.load(Relaxed));
    let files = files
        .map(|file| CountedFile {
            path: file.path,
            tallies: file.tallies.into_inner().expect("no holder panics"),
        })
        .collect();
    CountedFiles {
        files,
        notes: report.notes(),
        errors: errors.into_inner().expect("no holder panics"),
        unions: RefCell::default(),
    }
}

/// A log and its tallies so far.
struct Plan {
    path: PathBuf,
    source: Mutex<Source>,
    tallies: Mutex<Vec<Tally>>,
    /// How ranges of the log are read.
    io: Io,
    failed: AtomicBool,
}

impl Plan {
    /// Counts a range on top of the tally `before`, or a whole stream. Also returns why a compressed stream
    /// ended early, if it did.
    fn count(
        &self,
        before: Tally,
        range: Option<Range>,
        rules: Rules,
        beat: impl Fn(u64),
    ) -> Result<(Tally, Option<Damage>), range::RangeError> {
        let mut source = self.source.lock().expect("no holder panics");
        let mut done = 0;
        let mut beat = |bytes: u64| {
            beat(bytes.saturating_sub(done));
            done = done.max(bytes);
        };
        match (&mut *source, range) {
            (Source::Plain(file, _), Some(range)) => {
                let file = Arc::clone(file);
                drop(source);
                // A last line without LF counts whichever range it starts in.
                let last = LastLine::Count;
                let counted = range::count_on(before, &file, range, How { rules, io: self.io, last }, beat)?;
                // A log that was truncated and rewritten meanwhile may have read as zeros.
                let Checkpoint { head, tail, .. } = counted.checkpoint;
                if head.holds(&file)? && tail.holds(&file)? {
                    Ok((counted.tally, None))
                } else {
                    Err(range::RangeError::Shorter)
                }
            }
            (Source::Compressed(stream, format, length), _) => {
                let mut decoder = Decoder::open(stream, *format, Limits::default())?;
                // The bar knows nothing of streams without a length.
                let tally =
                    count_stream(&mut decoder, rules, |decoder| beat(decoder.read_bytes().min(*length)))?;
                Ok((tally, decoder.damage()))
            }
            (Source::Stream(stream), _) => Ok((count_stream(stream, rules, |_| ())?, None)),
            (Source::Plain(..), None) => Ok((Tally::default(), None)),
        }
    }
}

fn put_down(plan: &[Plan], hand: Option<(usize, Tally)>) {
    if let Some((at, tally)) = hand {
        plan[at].tallies.lock().expect("no holder panics").push(tally);
    }
}

/// Counts a stream to its end. Calls `beat` now and then.
fn count_stream<R: Read>(stream: &mut R, rules: Rules, mut beat: impl FnMut(&R)) -> io::Result<Tally> {
    let mut buffer = vec![0; 1 << 20];
    let mut counter = Counter::new(rules);
    let mut start = true;
    loop {
        let mut filled = 0;
        let mut ended = false;
        while filled < buffer.len() && !ended {
            match stream.read(&mut buffer[filled..]) {
                Ok(count) => {
                    filled += count;
                    ended = count == 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = &buffer[..filled];
        counter.feed(if start { bytes.strip_prefix(BOM).unwrap_or(bytes) } else { bytes });
        start = false;
        beat(stream);
        if ended {
            counter.finish_line();
            return Ok(counter.into_tally());
        }
    }
}

/// Shows a progress bar on stderr, if that is a terminal, once the work has taken a second.
pub fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
    let style = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
    let shown = bar.clone();
    // This thread ends with the program, or finds the bar finished.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        if !shown.is_finished() {
            shown.set_draw_target(ProgressDrawTarget::stderr());
        }
    });
    bar
}

/// What `tallyd verify` found out.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// By rule, in the order given: each log, and whether both engines agree on it.
    pub by_rule: Vec<Vec<(PathBuf, bool)>>,
    /// Remarks for stderr: what was skipped, and why.
    pub notes: Vec<String>,
    /// What could not be counted, in a sentence each.
    pub errors: Vec<String>,
}

/// Counts each log by the engine and by the plain program, by each of the rules, and compares.
pub fn verify(paths: &[PathBuf], patterns: &Patterns, rules: &[Rules]) -> Verdicts {
    let mut report = Report::default();
    let mut by_rule = vec![Vec::new(); rules.len()];
    for candidate in list(paths, patterns, &mut report) {
        let Some((path, source)) = open(candidate, &mut report) else { continue };
        match read_whole(source) {
            Ok((whole, damage)) => {
                report.errors.extend(damage.map(|damage| damaged(&path, damage)));
                for (rules, verdicts) in rules.iter().zip(&mut by_rule) {
                    let fast = in_ranges(&whole, *rules);
                    let slow = plain::tally(&whole, *rules);
                    verdicts.push((
                        path.clone(),
                        plain::PlainTally::from(&fast) == slow && fast.totals() == slow.totals(),
                    ));
                }
            }
            Err(error) => report.errors.push(cannot_read(&path, &error.into())),
        }
    }
    Verdicts { by_rule, notes: report.notes(), errors: report.errors }
}

/// Reads all bytes of a log; also returns why a compressed log ended early, if it did.
fn read_whole(source: Source) -> io::Result<(Vec<u8>, Option<Damage>)> {
    let mut whole = Vec::new();
    let damage = match source {
        Source::Plain(file, _) => (&*file).read_to_end(&mut whole).map(|_| None),
        Source::Stream(mut stream) => stream.read_to_end(&mut whole).map(|_| None),
        Source::Compressed(stream, format, _) => {
            let mut decoder = Decoder::open(stream, format, Limits::default())?;
            decoder.read_to_end(&mut whole).map(|_| decoder.damage())
        }
    };
    Ok((whole, damage?))
}

/// Counts bytes in memory by the engine, fed in uneven pieces so that lines are torn as in files.
fn in_ranges(bytes: &[u8], rules: Rules) -> Tally {
    let mut counter = Counter::new(rules);
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    bytes.chunks(65_521).for_each(|piece| counter.feed(piece));
    counter.finish_line();
    counter.into_tally()
}
