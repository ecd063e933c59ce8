//! Files, a ledger that is told of them, and what is merged: all that the coordinator does with a ledger,
//! without processes and disks.
//!
//! Lines are 16 bytes long, but for the last of a file. The first byte of a line tells who wrote it (the
//! *pen*), the others follow from that and from its place: so two files have the same line only if one is a
//! copy of the other, or if both were written by one pen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use super::*;
use crate::coordinator::content::{Place, Probe};
use crate::coordinator::scan::Found;
use crate::decode::{Compression, FileKind};
use crate::range::{Checkpoint, Ending};
use crate::sample::{SAMPLE_BYTES, START_BYTES, Sampler};

pub const FINAL_AFTER: Duration = Duration::from_secs(300);
/// A time at which nothing that was changed at its own time is final yet.
pub const NOW: Duration = Duration::from_secs(1_000_000);
pub const LINE: u64 = 16;
/// The watched folder.
pub const FOLDER: &[u8] = b"/logs";

/// A line: its pen, and its number in the log.
pub type Line = (u8, u64);

/// So many bytes of what a pen writes, from an offset on.
pub fn text(pen: u8, from: u64, to: u64) -> Vec<u8> {
    let byte = |at: u64| match at % LINE {
        0 => pen,
        15 => b'\n',
        _ => {
            b'a' + ((at.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ (u64::from(pen) << 40).wrapping_mul(0xbf58_476d_1ce4_e5b9))
                >> 35) as u8
                % 26
        }
    };
    (from..to).map(byte).collect()
}

/// The lines of a text.
pub fn lines(text: &[u8]) -> BTreeSet<Line> {
    text.chunks(LINE as usize).zip(0..).map(|(line, number)| (line[0], number)).collect()
}

/// A file.
#[derive(Clone, Debug)]
pub struct Content {
    /// What is to be counted.
    pub text: Vec<u8>,
    /// What stands in the file: the text, or what it is compressed to.
    pub raw: Vec<u8>,
    pub format: Option<Compression>,
    pub changed: Duration,
    pub closed: bool,
}

/// The files, by inode, and their names.
#[derive(Debug, Default)]
pub struct Disk {
    pub names: BTreeMap<String, u64>,
    pub files: BTreeMap<u64, Content>,
    /// Every look fails.
    pub blind: bool,
    /// No log has the clients of another one.
    pub unlike: bool,
}

impl Disk {
    pub fn file(&self, name: &str) -> &Content {
        &self.files[&self.names[name]]
    }

    /// What a scan finds.
    pub fn found(&self) -> BTreeMap<Vec<u8>, Found> {
        let found = |(name, inode): (&String, &u64)| {
            let Content { raw, changed, closed, .. } = &self.files[inode];
            let found = Found {
                folder: 0,
                name: name.clone().into_bytes(),
                path: name.into(),
                file: (1, *inode),
                size: raw.len() as u64,
                changed: *changed,
                closed: *closed,
            };
            (name.clone().into_bytes(), found)
        };
        self.names.iter().map(found).collect()
    }

    fn open(&self, path: &std::path::Path, file: FileId) -> io::Result<&Content> {
        let inode = self.names.get(path.to_str().unwrap()).filter(|inode| (1, **inode) == file);
        inode.map(|inode| &self.files[inode]).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }
}

impl Probe for Disk {
    fn fits(&self, _inner: u64, _outer: u64, by_clients: bool) -> bool {
        !(by_clients && self.unlike)
    }

    fn sample(&mut self, place: &Place, at: u64, length: u32) -> io::Result<Option<Sample>> {
        if self.blind {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        Ok(sample(&self.open(&place.path, place.file)?.raw, at, length))
    }

    fn start(&mut self, place: &Place, size: u64) -> io::Result<Vec<u64>> {
        if self.blind {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let raw = &self.open(&place.path, place.file)?.raw;
        let mut sampler = Sampler::new(0);
        sampler.take(0, &raw[..raw.len().min(size.min(START_BYTES) as usize)]);
        Ok(sampler.into_blocks().1)
    }

    fn kind(&mut self, place: &Place) -> io::Result<FileKind> {
        let content = self.open(&place.path, place.file)?;
        Ok(content
            .format
            .map_or_else(|| FileKind::of(b"", &content.raw), |format| FileKind::Log(Some(format))))
    }
}

fn sample(bytes: &[u8], at: u64, length: u32) -> Option<Sample> {
    let (at, to) = (at as usize, at as usize + length as usize);
    bytes.get(at..to).map(|bytes| Sample::of(at as u64, bytes))
}

fn hold(samples: &[Sample], bytes: &[u8]) -> bool {
    samples.iter().all(|known| sample(bytes, known.at, known.length) == Some(*known))
}

/// What a worker counted.
#[derive(Clone, Debug)]
pub struct Counted {
    pub checkpoint: Checkpoint,
    pub lines: Vec<Line>,
}

/// Counts as `range::count` and `range::count_stream` do. `None`: the file is shorter than the range.
pub fn count(job: &Job, file: &Content) -> Option<Counted> {
    let (text, size) = (&file.text, file.text.len() as u64);
    let (from, to) = if job.stream.is_some() { (0, size) } else { (job.range.from(), job.range.to()) };
    if size < to {
        return None;
    }
    let starts: Vec<u64> = (from.div_ceil(LINE)..to.div_ceil(LINE)).map(|line| line * LINE).collect();
    let reach = starts.last().map_or(to, |last| (last + LINE).min(size).max(to));
    let torn = starts.last().filter(|last| **last + LINE > size).copied();
    let held = torn.filter(|_| job.last == LastLine::Hold && job.stream.is_none());
    let counted: Vec<Line> = starts
        .iter()
        .filter(|start| Some(**start) != held)
        .map(|start| (text[*start as usize], start / LINE))
        .collect();
    let looked = from.saturating_sub(1);
    let mut sampler = Sampler::new(from);
    let wanted = sampler.wanted_from();
    sampler.take(wanted, &text[wanted.min(reach) as usize..reach as usize]);
    let short = |from: u64, to: u64| Sample::of(from, &text[from as usize..to as usize]);
    let ending = match torn {
        None => Ending::Whole,
        Some(_) if held.is_some() => Ending::Held,
        Some(_) => Ending::Unterminated,
    };
    let checkpoint = Checkpoint {
        end: if starts.is_empty() { from } else { held.unwrap_or(reach) },
        ending,
        head: short(looked, reach.min(looked + SAMPLE_BYTES as u64)),
        tail: short(looked.max(reach.saturating_sub(SAMPLE_BYTES as u64)), reach),
        blocks: sampler.into_blocks(),
        probe: job.stream.and_then(|stream| stream.probe).and_then(|(at, length)| sample(text, at, length)),
        damage: None,
    };
    Some(Counted { checkpoint, lines: counted })
}

/// A job that a worker has, and the file that is open for it.
#[derive(Clone, Debug)]
pub struct Flight {
    pub job: Job,
    pub inode: u64,
}

/// What is merged of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub lines: BTreeSet<Line>,
    pub counts: bool,
}

/// Lines that were taken out of a sum.
#[derive(Clone, Debug)]
pub struct Lost {
    pub event: Event,
    pub sum: Sum,
}

pub struct World {
    pub disk: Disk,
    pub ledger: Ledger,
    pub now: Duration,
    pub sums: BTreeMap<u64, Sum>,
    /// What has been counted of the logs that are being counted again.
    pub again: BTreeMap<u64, Sum>,
    pub flights: Vec<Flight>,
    pub results: HashMap<u64, (Flight, Counted)>,
    pub events: Vec<Event>,
    pub lost: Vec<Lost>,
    /// In which look a name was last found, and how many looks there were.
    seen: (BTreeMap<Vec<u8>, u64>, u64),
    pub inodes: u64,
    /// Says what comes of it.
    pub tells: bool,
}

pub fn policy(range_bytes: u64) -> Policy {
    Policy {
        folders: vec![FOLDER.to_vec()],
        range_bytes,
        io: Io::Auto,
        final_after: FINAL_AFTER,
        streams_max: 2,
    }
}

impl World {
    pub fn new(range_bytes: u64) -> World {
        World {
            disk: Disk::default(),
            ledger: Ledger::new(policy(range_bytes)),
            now: NOW,
            sums: BTreeMap::new(),
            again: BTreeMap::new(),
            flights: Vec::new(),
            results: HashMap::new(),
            events: Vec::new(),
            lost: Vec::new(),
            seen: Default::default(),
            inodes: 0,
            tells: false,
        }
    }

    // What happens to files. No two changes bear the same time.

    /// A file that was not there: under a new inode, or one that nobody has open any more.
    pub fn create(&mut self, name: &str, text: Vec<u8>) -> u64 {
        self.inodes += 1;
        self.create_as(self.inodes, name, text);
        self.inodes
    }

    pub fn create_as(&mut self, inode: u64, name: &str, text: Vec<u8>) {
        let file = Content { raw: text.clone(), text, format: None, changed: self.tick(), closed: false };
        self.disk.files.insert(inode, file);
        self.disk.names.insert(name.to_owned(), inode);
    }

    fn tick(&mut self) -> Duration {
        self.now += Duration::from_millis(1);
        self.now
    }

    pub fn write(&mut self, name: &str, text: Vec<u8>) {
        let changed = self.tick();
        let inode = self.disk.names[name];
        self.disk
            .files
            .insert(inode, Content { raw: text.clone(), text, format: None, changed, closed: false });
    }

    /// Compresses a text.
    pub fn pack(&mut self, name: &str, text: Vec<u8>, closed: bool) -> u64 {
        let inode = self.create(name, text);
        let file = self.disk.files.get_mut(&inode).unwrap();
        let seed = xxhash_rust::xxh3::xxh3_64(&file.text);
        let length = 20 + file.text.len() as u64 / 3;
        file.raw = (0..length)
            .map(|at| (xxhash_rust::xxh3::xxh3_64_with_seed(&at.to_le_bytes(), seed) & 0xff) as u8)
            .collect();
        (file.format, file.closed) = (Some(Compression::Gz), closed);
        inode
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let inode = self.disk.names.remove(from).unwrap();
        self.disk.names.insert(to.to_owned(), inode);
    }

    pub fn remove(&mut self, name: &str) {
        self.disk.names.remove(name);
    }

    // What the coordinator does.

    pub fn see(&mut self) {
        let found = self.disk.found();
        self.see_view(&found, true, &[]);
    }

    /// Often enough that what is not there is gone.
    pub fn see_twice(&mut self) {
        self.see();
        self.see();
    }

    pub fn see_view(&mut self, found: &BTreeMap<Vec<u8>, Found>, full: bool, troubled: &[usize]) {
        self.seen.1 += u64::from(troubled.is_empty());
        self.seen.0.extend(found.keys().map(|name| (name.clone(), self.seen.1)));
        self.ledger.see(View { found, full, troubled }, self.now, &mut self.disk);
        self.follow();
    }

    fn identify(&self, what: impl FnOnce() -> String) {
        if self.tells {
            eprintln!("      {}", what());
        }
    }

    /// Was a name in one of the latest looks?
    pub fn was_seen(&self, name: &str) -> bool {
        self.seen.0.get(name.as_bytes()).is_some_and(|probe| probe + 8 > self.seen.1)
    }

    pub fn follow(&mut self) {
        for event in self.ledger.take_events() {
            self.events.push(event);
            self.identify(|| format!("{event:x?}"));
            let counts = |id: u64| self.ledger.log(id).is_some_and(Log::counts);
            let lose = |sum: Option<Sum>| sum.map(|sum| Lost { event, sum });
            match event {
                Event::Void(id) => {
                    self.again.remove(&id);
                    let lost = self.sums.insert(id, Sum { counts: counts(id), ..Sum::default() });
                    self.lost.extend(lose(lost));
                }
                Event::Dropped(id) => {
                    self.again.remove(&id);
                    self.lost.extend(lose(self.sums.remove(&id)));
                }
                Event::Again(id) => drop(self.again.insert(id, Sum::default())),
                Event::Recounted(id) => {
                    let (before, sum) = (self.sums.remove(&id).unwrap(), self.again.remove(&id).unwrap());
                    self.sums.insert(id, Sum { counts: before.counts, ..sum });
                    self.lost.push(Lost { event, sum: before });
                }
                Event::Recalled(id) => drop(self.again.remove(&id).unwrap()),
                Event::Moved { from, to } => {
                    self.again.remove(&from);
                    self.again.remove(&to);
                    let before = self.sums.remove(&to).unwrap_or_default();
                    let sum = Sum { counts: before.counts, ..self.sums.remove(&from).unwrap_or_default() };
                    self.lost.push(Lost { event, sum: before });
                    self.sums.insert(to, sum);
                }
                Event::Renamed(_) => {}
                Event::Counts(id, counts) => self.sums.entry(id).or_default().counts = counts,
            }
        }
    }

    /// Gives out a job, if there is one, and its log can be opened and is still what it was.
    pub fn dispatch(&mut self) -> Option<Job> {
        while let Some(Dispatch { job, path, file, samples }) = self.ledger.next_job(false) {
            match self.disk.open(&path, file) {
                Ok(open) if hold(&samples, &open.raw) => {
                    let length = (open.raw.len().min(SAMPLE_BYTES)) as u32;
                    let raw = [
                        sample(&open.raw, 0, length),
                        sample(&open.raw, open.raw.len() as u64 - u64::from(length), length),
                    ];
                    self.ledger.opened(
                        &job,
                        if job.stream.is_some() { raw.into_iter().flatten().collect() } else { Vec::new() },
                    );
                    self.flights.push(Flight { job, inode: file.1 });
                    return Some(job);
                }
                Ok(_) => self.lose_content(&job),
                Err(error) => self.ledger.cannot_open(job.number, error.raw_os_error().unwrap()),
            }
        }
        None
    }

    /// All jobs that can be given out now.
    pub fn dispatch_all(&mut self) -> Vec<Job> {
        std::iter::from_fn(|| self.dispatch()).collect()
    }

    /// The worker is through: what it was given is counted as the file is now.
    pub fn answer(&mut self, number: u64) {
        let Some(at) = self.flights.iter().position(|flight| flight.job.number == number) else { return };
        let flight = self.flights.swap_remove(at);
        match count(&flight.job, &self.disk.files[&flight.inode]) {
            Some(counted) => self.take(flight, counted),
            None => self.lose_content(&flight.job),
        }
    }

    pub fn take(&mut self, flight: Flight, counted: Counted) {
        let job = flight.job;
        if !self.ledger.wants(job.number, job.log) {
            return self.ledger.put_back(job.number);
        }
        self.ledger.done(job.number, counted.checkpoint.clone());
        self.results.insert(job.number, (flight, counted));
        self.drain(job.log);
    }

    /// A flight ends without a result.
    pub fn end(&mut self, number: u64, how: impl FnOnce(&mut Ledger, u64)) {
        let Some(at) = self.flights.iter().position(|flight| flight.job.number == number) else { return };
        let Flight { job, inode } = self.flights.swap_remove(at);
        if job.stream.is_none() && (self.disk.files[&inode].raw.len() as u64) < job.range.to() {
            return self.lose_content(&job);
        }
        how(&mut self.ledger, number);
        self.drain(job.log);
    }

    pub fn drain(&mut self, log: u64) {
        while let Some(number) = self.ledger.ready(log, self.now) {
            let Some((flight, counted)) = self.results.remove(&number) else { break };
            self.merge(&flight, &counted);
        }
        self.results.retain(|number, (flight, _)| self.ledger.wants(*number, flight.job.log));
        self.follow();
    }

    fn merge(&mut self, Flight { job, inode }: &Flight, counted: &Counted) {
        let Some(log) = self.ledger.log(job.log) else { return };
        let (file, checkpoint) = (&self.disk.files[inode], &counted.checkpoint);
        let stands = match job.stream {
            Some(_) => (file.raw.len() as u64, file.changed) == (log.size, log.changed),
            None => hold(&[checkpoint.head, checkpoint.tail], &file.raw),
        };
        if !stands || !hold(&log.ends(), &file.raw) {
            return self.lose_content(job);
        }
        let to = end_of(checkpoint, job.range, job.stream.is_some());
        let length = to.min(SAMPLE_BYTES as u64);
        let anchor = sample(&file.text, to - length, length as u32).filter(|anchor| anchor.length > 0);
        let again = log.is_recounted();
        let sum = self.again.get_mut(&job.log).unwrap_or_else(|| self.sums.entry(job.log).or_default());
        for line in &counted.lines {
            assert!(sum.lines.insert(*line), "{line:?} is merged twice into one log");
        }
        self.identify(|| format!("merged: {:?} of {:x}, to {to}", job.range, job.log));
        self.ledger.merged(job.log, anchor, self.now);
        if again {
            self.follow();
        }
        self.ledger.identify_stream(job.log, self.now, &mut self.disk);
        self.ledger.reevaluate(job.log, &mut self.disk);
        self.follow();
    }

    pub fn lose_content(&mut self, job: &Job) {
        self.ledger.put_back(job.number);
        if self
            .ledger
            .log(job.log)
            .is_some_and(|log| !log.is_gone() && log.active().generation == job.generation)
        {
            self.ledger.lose_content(job.log, self.now, &mut self.disk);
            self.follow();
        }
    }

    /// Counts all there is to count.
    pub fn count_all(&mut self) {
        while let Some(job) = self.dispatch() {
            self.answer(job.number);
        }
    }

    /// Looks, and counts all there is.
    pub fn settle(&mut self) {
        for _ in 0..4 {
            self.see();
            self.count_all();
        }
    }

    // What came of it.

    /// The lines that are in the days.
    pub fn counted(&self) -> Vec<Line> {
        self.sums.values().filter(|sum| sum.counts).flat_map(|sum| sum.lines.iter().copied()).collect()
    }
}
