//! Counting without a daemon: `tallyd count` and `tallyd verify`.
//!
//! All cores take ranges of the files in turn. A core that goes on with the same file goes on with the same tally; tallies are
//! never merged, only their clients' union is counted.
//! A path that cannot be counted is an error of its own; the others are counted all the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::ops::Add;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::decode::{self, Damage, Decoder, Format, Limits};
use crate::log::{BOM, Day, day_of_name};
use crate::range::{self, How, Io, LastLine, Range};
use crate::sys::map::shield;
use crate::tally::union::{self, Sizes};
use crate::tally::{Clients, Counter, DayTally, Rules, Tally, Totals, plain};

const RANGE_BYTES: u64 = 16 << 20;

/// A log that was counted.
#[derive(Debug)]
pub struct CountedFile {
    /// Its path as found.
    pub path: PathBuf,
    /// What was counted, by each core that did.
    tallies: Vec<Tally>,
}

/// Everything that was counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// The logs, in the order of the paths given, those of a folder by name.
    files: Vec<CountedFile>,
    /// What could not be counted, in a sentence each.
    pub errors: Vec<String>,
    /// Unions that were counted already, by the places of their parts: a log, its only day and all that there is may be one and the same.
    unions: RefCell<HashMap<Vec<usize>, Sizes>>,
}

/// How the bytes of a path are to be had.
enum Source {
    /// A regular file of this length: ranges of it can be counted apart.
    Plain(Arc<File>, u64),
    /// What must be read from front to back: standard input, a pipe.
    Stream(Box<dyn Read + Send>),
    /// A compressed file of this length: likewise from front to back.
    Compressed(File, Format, u64),
}

impl Source {
    /// How many bytes there are to read, as far as that is known.
    fn length(&self) -> u64 {
        match self {
            Source::Plain(_, length) | Source::Compressed(_, _, length) => *length,
            Source::Stream(_) => 0,
        }
    }
}

impl Counts {
    /// The logs, in the order of the paths given, those of a folder by name.
    pub fn files(&self) -> &[CountedFile] {
        &self.files
    }

    /// The numbers of each day over all files. Requests without a time stamp are under the day of their file's name, or under `None`.
    pub fn days(&self) -> BTreeMap<Option<Day>, Totals> {
        let mut days: BTreeMap<Option<Day>, Vec<&DayTally>> = BTreeMap::new();
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
        let parts: Vec<&DayTally> = tallies.clone().into_iter().flat_map(|tally| tally.days.values()).collect();
        tallies.into_iter().fold(self.sum_up(&parts), |sum, tally| Totals { blank: sum.blank + tally.blank, bytes: sum.bytes + tally.blank_bytes, ..sum })
    }

    /// The sum of some parts. Their clients are united by all cores.
    fn sum_up(&self, parts: &[&DayTally]) -> Totals {
        let mut totals = parts.iter().fold(Totals::default(), |sum, part| sum.plus(&part.totals()));
        let sets: Vec<&Clients> = parts.iter().map(|part| &part.clients).collect();
        let places: Vec<usize> = sets.iter().map(|set| std::ptr::from_ref(*set).addr()).collect();
        let count = || union::parts(&sets).collect::<Vec<_>>().into_par_iter().map(|part| union::count(&sets, part)).reduce(Sizes::default, Sizes::add);
        totals.set_sizes(match sets[..] {
            [only] => only.sizes(),
            _ => *self.unions.borrow_mut().entry(places).or_insert_with(count),
        });
        totals
    }
}

impl CountedFile {
    /// The last part of the path.
    pub fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or(self.path.as_os_str()).as_bytes()
    }
}

/// Counts files, the files of folders, and standard input (`-`).
pub fn count(paths: &[PathBuf], rules: Rules) -> Counts {
    let mut errors = Vec::new();
    let mut sources = Vec::new();
    for path in list(paths, &mut errors) {
        match open(&path) {
            Ok(source) => sources.push((path, source)),
            Err(error) => errors.push(cannot_read(&path, &error.into())),
        }
    }
    let pieces: Vec<(usize, Option<Range>)> = (0..sources.len())
        .flat_map(|at| match &sources[at].1 {
            Source::Plain(_, length) => Range::new(0, *length).into_iter().flat_map(|whole| whole.cut(RANGE_BYTES)).map(|range| (at, Some(range))).collect(),
            Source::Stream(_) | Source::Compressed(..) => vec![(at, None)],
        })
        .collect();
    let progress = progress(sources.iter().map(|(_, source)| source.length()).sum());
    // A file may be cut short while it is counted, and here is no process to lose.
    let io = if shield().is_ok() { Io::Auto } else { Io::Read };
    let plan: Vec<Plan> = sources
        .into_iter()
        .map(|(path, source)| Plan { path, source: Mutex::new(source), tallies: Mutex::default(), io, failed: AtomicBool::new(false) })
        .collect();
    let errors = Mutex::new(errors);
    let next = AtomicUsize::new(0);
    rayon::broadcast(|_| {
        // What this core has counted of the file it is at.
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
    let files = files.map(|file| CountedFile { path: file.path, tallies: file.tallies.into_inner().expect("no holder panics") }).collect();
    Counts { files, errors: errors.into_inner().expect("no holder panics"), unions: RefCell::default() }
}

/// One file on its way to its tallies.
struct Plan {
    path: PathBuf,
    source: Mutex<Source>,
    tallies: Mutex<Vec<Tally>>,
    /// How its bytes are looked at.
    io: Io,
    failed: AtomicBool,
}

impl Plan {
    /// Counts a range on top of what was counted before, or a stream. Of a compressed one, also says why it ended before its end.
    fn count(&self, before: Tally, range: Option<Range>, rules: Rules, beat: impl Fn(u64)) -> Result<(Tally, Option<Damage>), range::Trouble> {
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
                // What was cut off and written anew meanwhile may have read as zeros.
                if counted.head.holds(&file)? && counted.tail.holds(&file)? { Ok((counted.tally, None)) } else { Err(range::Trouble::Shorter) }
            }
            (Source::Compressed(file, format, _), _) => {
                let mut decoder = Decoder::open(file, *format, Limits::default())?;
                let tally = count_stream(&mut decoder, rules, |decoder| beat(decoder.read_bytes()))?;
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

/// The paths to count: folders become the files in them, without hidden ones and subfolders.
fn list(paths: &[PathBuf], errors: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" || !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => {
                let visible = entries.iter().filter(|entry| !entry.file_name().as_bytes().starts_with(b"."));
                let mut inside: Vec<_> = visible.map(fs::DirEntry::path).filter(|path| path.is_file()).collect();
                inside.sort();
                files.append(&mut inside);
            }
            Err(error) => errors.push(cannot_read(path, &error.into())),
        }
    }
    files
}

fn open(path: &Path) -> io::Result<Source> {
    if path.as_os_str() == "-" {
        return Ok(Source::Stream(Box::new(io::stdin())));
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    // Of a file in /proc, no length tells how much there is.
    if !about.is_file() || about.len() == 0 {
        return Ok(Source::Stream(Box::new(file)));
    }
    Ok(match decode::format(&file)? {
        None => Source::Plain(Arc::new(file), about.len()),
        Some(format) => Source::Compressed(file, format, about.len()),
    })
}

/// A sentence on what went wrong with a path.
fn cannot_read(path: &Path, error: &range::Trouble) -> String {
    let path = crate::log::shown_to_people(path.as_os_str().as_bytes());
    match error {
        range::Trouble::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("cannot read {path}: permission denied (tallyd runs as uid {})", crate::sys::process::uid())
        }
        _ => format!("cannot read {path}: {error}"),
    }
}

/// A sentence on a file that could be read in part.
fn damaged(path: &Path, damage: Damage) -> String {
    format!("{}: counted up to the damage: {damage}", crate::log::shown_to_people(path.as_os_str().as_bytes()))
}

/// A bar on stderr, for people, once the work has taken a second.
pub fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
    let style = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
    let shown = bar.clone();
    // Ends with the program, or shows a bar that is finished: neither harms.
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        if !shown.is_finished() {
            shown.set_draw_target(ProgressDrawTarget::stderr());
        }
    });
    bar
}

/// Counts each file twice, by the engine and by the plain program. Says which files were counted, and whether both agree on them.
pub fn verify(paths: &[PathBuf], rules: Rules) -> (Vec<(PathBuf, bool)>, Vec<String>) {
    let mut errors = Vec::new();
    let mut verdicts = Vec::new();
    for path in list(paths, &mut errors) {
        match open(&path).and_then(read_whole) {
            Ok((whole, damage)) => {
                errors.extend(damage.map(|damage| damaged(&path, damage)));
                let fast = in_ranges(&whole, rules);
                let slow = plain::tally(&whole, rules);
                let agree = plain::PlainTally::from(&fast) == slow && fast.totals() == slow.totals();
                verdicts.push((path, agree));
            }
            Err(error) => errors.push(cannot_read(&path, &error.into())),
        }
    }
    (verdicts, errors)
}

/// All bytes there are; of a compressed file, also why it ended before its end.
fn read_whole(source: Source) -> io::Result<(Vec<u8>, Option<Damage>)> {
    let mut whole = Vec::new();
    let damage = match source {
        Source::Plain(file, _) => (&*file).read_to_end(&mut whole).map(|_| None),
        Source::Stream(mut stream) => stream.read_to_end(&mut whole).map(|_| None),
        Source::Compressed(file, format, _) => {
            let mut decoder = Decoder::open(file, format, Limits::default())?;
            decoder.read_to_end(&mut whole).map(|_| decoder.damage())
        }
    };
    Ok((whole, damage?))
}

/// The engine over bytes in memory, fed in uneven pieces so that lines are torn as they are when files are read.
fn in_ranges(bytes: &[u8], rules: Rules) -> Tally {
    let mut counter = Counter::new(rules);
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    bytes.chunks(65_521).for_each(|piece| counter.feed(piece));
    counter.finish_line();
    counter.into_tally()
}
