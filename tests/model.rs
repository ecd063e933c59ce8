//! Random sequences of what happens to logs and to the daemon, against a model of what must be counted.
//!
//! The model is a set: the contents that are in the folder, and those that were counted and are gone. A content that is the beginning of another one counts within
//! that. What the daemon says must follow from this set, whatever it has seen of the way there. Where it cannot know what stood in a log before it was destroyed,
//! the test lets it count that first.
//!
//! `TALLYD_MODEL_SEQUENCES` runs more sequences, `TALLYD_MODEL_SEED` begins with another one (each sequence has its own seed: with one sequence, that one is
//! repeated; or a list of them), `TALLYD_MODEL_SHRINK` looks for a shorter list of actions that fails too.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::libc::{SIGKILL, SIGTERM};
use serde_json::Value;
use support::{Daemon, Folder, signal};
use tallyd::sample::{block, blocks_within};
use tallyd::store::{State, folder, read_meta};

/// How long the daemon may take until it says what is true.
static PATIENCE_MS: AtomicU64 = AtomicU64::new(20_000);
/// So many daemons run at once, if `TALLYD_MODEL_AT_ONCE` does not say otherwise: they wait most of the time.
const AT_ONCE: u64 = 16;
const SEQUENCES: u64 = 200;

/// Undated names first. The last three parts of the undated ones are a chain of rotation.
const NAMES: [&str; 11] = [
    "access.log",
    "access.log.1",
    "access.log.2",
    "access.log.3",
    "error.log",
    "other.txt",
    "access.log-20210322",
    "access.log-20210323",
    "20210322.log",
    "2021-03-24.log",
    "x-20210325.log",
];

fn is_dated(name: &str) -> bool {
    tallyd::log::day_of_name(name.as_bytes()).is_some()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What is written: perhaps a beginning that others have too, then lines that nothing else has.
#[derive(Clone, Copy, Debug)]
struct Text {
    base: Option<u8>,
    lines: u16,
    half: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packer {
    Gz,
    Zst,
    Bz2,
    Xz,
}

/// Something that happens. Logs are picked by number among those that are there, names by their place in [`NAMES`].
#[derive(Clone, Copy, Debug)]
enum Act {
    Create(usize, Text),
    Append(usize, Text),
    Finish(usize, u16),
    Rename(usize, usize),
    RotateChain(Option<Text>),
    CopyTruncate(usize, usize, Option<u16>, Option<Text>),
    Pack(usize, Packer, bool),
    Unpack(usize),
    Delete(usize),
    Rewrite(usize, Text),
    Recreate(usize, Text),
    RenameOver(usize, Text),
    Swap(usize, usize),
    Link(usize, usize),
    Unlink(usize),
    Copy(usize, usize, Option<u16>),
    Cut(usize, u16),
    ComeBack(usize, usize),
    Restart(i32, u8),
    Kill(&'static str),
    Settle,
}

fn text(random: &mut Random, rich: bool) -> Text {
    let lines = match random.below(20) {
        0..6 => 1,
        6..11 => 2 + random.below(4),
        11..17 => 6 + random.below(60),
        17..19 => 100 + random.below(400),
        _ => 500 + random.below(1500),
    };
    let base = (rich && random.one_in(5)).then(|| random.below(4) as u8);
    let lines = if base.is_some() && random.one_in(3) { 0 } else { lines };
    Text { base, lines: lines as u16, half: random.one_in(8) }
}

fn act(random: &mut Random) -> Act {
    let pick = random.below(1000) as usize;
    let other = random.below(1000) as usize;
    let some_name = random.below(NAMES.len() as u64) as usize;
    let keep = |random: &mut Random| match random.below(3) {
        0 => None,
        _ => Some(random.below(1000) as u16),
    };
    match random.below(100) {
        0..10 => Act::Create(some_name, text(random, true)),
        10..30 => Act::Append(pick, text(random, false)),
        30..36 => Act::Finish(pick, random.below(3) as u16),
        36..43 => Act::Rename(pick, some_name),
        43..49 => Act::RotateChain((!random.one_in(3)).then(|| text(random, true))),
        49..56 => Act::CopyTruncate(pick, some_name, keep(random).filter(|_| random.below(2) == 0), (!random.one_in(3)).then(|| text(random, true))),
        56..60 => {
            let packer = [Packer::Gz, Packer::Gz, Packer::Gz, Packer::Zst, Packer::Bz2, Packer::Xz][random.below(6) as usize];
            Act::Pack(pick, packer, random.one_in(4))
        }
        60..61 => Act::Unpack(pick),
        61..64 => Act::Delete(pick),
        64..67 => Act::Rewrite(pick, text(random, true)),
        67..70 => Act::Recreate(pick, text(random, true)),
        70..72 => Act::RenameOver(pick, text(random, true)),
        72..75 => Act::Swap(pick, other),
        75..77 => Act::Link(pick, some_name),
        77..79 => Act::Unlink(pick),
        79..84 => Act::Copy(pick, some_name, keep(random)),
        84..86 => Act::Cut(pick, random.below(1000) as u16),
        86..88 => Act::ComeBack(pick, some_name),
        88..91 => Act::Restart(if random.one_in(2) { SIGKILL } else { SIGTERM }, random.below(4) as u8),
        91..94 => Act::Kill(["worker", "coordinator", "api"][random.below(3) as usize]),
        _ => Act::Settle,
    }
}

/// How a sequence is run.
#[derive(Clone, Debug)]
struct Way {
    inotify: bool,
    /// Half lines count after 2 s; else never, but in rotated and compressed logs.
    final_soon: bool,
    scan_ms: u64,
}

impl Way {
    fn options(&self) -> Vec<String> {
        let mut options = vec!["--range-mib", "1", "--scan-every-ms"].into_iter().map(str::to_owned).collect::<Vec<_>>();
        options.push(self.scan_ms.to_string());
        options.extend((!self.inotify).then(|| "--no-inotify".to_owned()));
        options.extend(["--final-after-s".to_owned(), if self.final_soon { "2" } else { "3000" }.to_owned()]);
        options
    }
}

/// The numbers of a content.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Numbers {
    days: BTreeMap<String, (u64, u64, HashSet<Vec<u8>>)>,
    hours: [u64; 24],
}

impl Numbers {
    fn of(bytes: &[u8]) -> Numbers {
        let mut numbers = Numbers::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let client = line.split(|byte| *byte == b' ').next().expect("a line has a first field").to_vec();
            let at = line.iter().position(|byte| *byte == b'[').expect("each line has a time stamp");
            let day = String::from_utf8(line[at + 1..][..2].to_vec()).expect("it is of digits");
            let entry = numbers.days.entry(format!("2021-03-{day}")).or_default();
            entry.0 += 1;
            entry.1 += line.len() as u64;
            entry.2.insert(client);
            let hour = std::str::from_utf8(&line[at + 13..][..2]).expect("it is of digits");
            numbers.hours[hour.parse::<usize>().expect("it is of digits")] += 1;
        }
        numbers
    }

    fn add(&mut self, other: &Numbers) {
        for (day, (requests, bytes, clients)) in &other.days {
            let entry = self.days.entry(day.clone()).or_default();
            entry.0 += requests;
            entry.1 += bytes;
            entry.2.extend(clients.iter().cloned());
        }
    }

    fn total(&self) -> u64 {
        self.days.values().map(|day| day.0).sum()
    }

    fn ip(&self) -> u64 {
        self.days.values().flat_map(|day| &day.2).collect::<HashSet<_>>().len() as u64
    }
}

/// A file of the folder.
#[derive(Clone, Debug)]
struct Inode {
    bytes: Vec<u8>,
    packed: bool,
    /// What a half line at its end lacks.
    rest: Vec<u8>,
    /// Has it had another name, as the daemon sees it? `None`: who knows.
    rotated: Option<bool>,
    /// The name that it had when the daemon knew it last, if it has had others since.
    was: Option<String>,
    /// The daemon was seen to have counted it as it is, up to here.
    known: Option<usize>,
    /// And to have stored that.
    stored: bool,
    changed: Instant,
}

impl Inode {
    fn new(bytes: Vec<u8>, rest: Vec<u8>) -> Inode {
        Inode { bytes, packed: false, rest, rotated: Some(false), was: None, known: None, stored: false, changed: Instant::now() }
    }

    fn know(&mut self, to: usize) {
        (self.known, self.was) = (Some(to), None);
    }

    fn whole_lines(&self) -> usize {
        self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    }

    /// May it still be seen to be a rotated log, whose half line counts?
    fn may_turn(&self, to: usize, way: &Way) -> bool {
        to < *self.counted(way).last().expect("there is one") && self.changed.elapsed() < Duration::from_secs(3)
    }

    /// Up to where it may be counted.
    fn counted(&self, way: &Way) -> Vec<usize> {
        let (lines, size) = (self.whole_lines(), self.bytes.len());
        match self.rotated {
            _ if lines == size || self.packed || way.final_soon => vec![size],
            Some(true) => vec![size],
            Some(false) => vec![lines],
            None => vec![lines, size],
        }
    }
}

/// What was counted and is in the folder no more.
#[derive(Clone, Debug)]
struct Gone {
    name: String,
    bytes: Vec<u8>,
    stored: bool,
}

struct Run {
    way: Way,
    daemon: Option<Daemon>,
    folder: Option<Folder>,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    gone: Vec<Gone>,
    /// Contents that once were, to come back.
    past: Vec<Vec<u8>>,
    bases: Vec<Vec<u8>>,
    inode: u64,
    line: u64,
    /// How many more actions the daemon is down for.
    down: u8,
    /// Was it killed?
    killed: bool,
    /// Of these names, contents were replaced that the store may still know.
    replaced: BTreeSet<String>,
    /// The store must follow before the daemon is killed.
    unsafe_to_kill: bool,
    /// Something is gone within another content, which the daemon must see before that one is replaced.
    must_see: bool,
    /// There was a second name since all was settled.
    linked: BTreeSet<u64>,
    /// Copies of logs that were truncated. Until the daemon sees what such a log holds now, the copy is a copy only: if it went first, it would say nothing.
    copies: BTreeSet<u64>,
    /// Files that were rewritten in place, which the daemon may not have seen: if such a file goes, it looks as if what it held before had gone on and was not counted to its end.
    rewritten: BTreeSet<u64>,
    said: Vec<String>,
}

type Outcome = Result<(), String>;

impl Run {
    fn new(way: Way) -> Run {
        let options = way.options();
        let daemon = Daemon::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
        let mut run = Run {
            way,
            daemon: Some(daemon),
            folder: None,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            gone: Vec::new(),
            past: Vec::new(),
            bases: Vec::new(),
            inode: 0,
            line: 0,
            down: 0,
            killed: false,
            replaced: BTreeSet::new(),
            unsafe_to_kill: false,
            must_see: false,
            linked: BTreeSet::new(),
            copies: BTreeSet::new(),
            rewritten: BTreeSet::new(),
            said: Vec::new(),
        };
        for lines in [1, 3, 800, 1000] {
            let base = run.lines(lines);
            run.bases.push(base);
        }
        run
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        let folder = self.daemon.as_ref().map(|daemon| &daemon.folder).or(self.folder.as_ref());
        folder.expect("there is a folder").join("logs").join(name)
    }

    fn say(&mut self, what: String) {
        self.said.push(what);
    }

    /// Lines that nothing else has. Nearly all of the first of several are of other lengths.
    fn lines(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            self.line += 1;
            let number = self.line;
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let (client, day) = (mixed % 500, 20 + number / 7 % 5);
            let pad = "x".repeat((number % 61) as usize);
            writeln!(bytes, "10.7.{}.{} - - [{day}/Mar/2021:{:02}:10:00 +0000] \"GET /{number}{pad} HTTP/1.1\" 200 1", client / 250, client % 250, number % 24)
                .unwrap();
        }
        bytes
    }

    /// The bytes of a text, and what its half line lacks.
    fn text(&mut self, text: Text) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = text.base.map(|base| self.bases[usize::from(base)].clone()).unwrap_or_default();
        let lines = self.lines(text.lines.into());
        bytes.extend_from_slice(&lines);
        let mut rest = Vec::new();
        if text.half {
            let line = self.lines(1);
            // Behind the time stamp: so it is of that day, even if it counts as it is.
            let cut = line.iter().position(|byte| *byte == b']').unwrap() + 1 + (self.line % 12) as usize;
            bytes.extend_from_slice(&line[..cut]);
            rest = line[cut..].to_vec();
        }
        (bytes, rest)
    }

    fn pick(&self, number: usize) -> Option<String> {
        (!self.names.is_empty()).then(|| self.names.keys().nth(number % self.names.len()).unwrap().clone())
    }

    /// A file that is no compressed one.
    fn pick_plain(&self, number: usize) -> Option<String> {
        let plain: Vec<&String> = self.names.iter().filter(|(_, inode)| !self.inodes[inode].packed).map(|(name, _)| name).collect();
        (!plain.is_empty()).then(|| plain[number % plain.len()].clone())
    }

    fn names_of(&self, inode: u64) -> Vec<String> {
        self.names.iter().filter(|(_, other)| **other == inode).map(|(name, _)| name.clone()).collect()
    }

    fn changed(&mut self, inode: u64) {
        let inode = self.inodes.get_mut(&inode).unwrap();
        (inode.known, inode.stored, inode.changed) = (None, false, Instant::now());
    }

    fn put(&mut self, name: &str, inode: Inode) {
        self.inode += 1;
        self.inodes.insert(self.inode, inode);
        self.names.insert(name.to_owned(), self.inode);
    }

    /// May what this file holds be destroyed, so that it is known what was counted of it? If need be, the daemon counts it first. `false`: it cannot now.
    fn may_destroy(&mut self, name: &str) -> Result<bool, String> {
        let id = self.names[name];
        self.may_move(name)?;
        if self.daemon.is_none() {
            let inode = &self.inodes[&id];
            return Ok(inode.known.is_some()
                && !self.is_within(id, &inode.bytes)
                && (!self.killed || inode.stored)
                && !self.linked.contains(&id)
                && !self.copies.contains(&id)
                && self.may_move(name)?);
        }
        if self.inodes[&id].known.is_none() || self.linked.contains(&id) {
            self.catch_up(id)?;
        }
        // Does it count within something that is being replaced, or by itself already?
        let bytes = &self.inodes[&id].bytes;
        let outer = self.gone.iter().filter(|gone| is_dated(&gone.name) && gone.bytes.starts_with(bytes));
        let new: Vec<u64> = outer.filter_map(|gone| self.names.get(&gone.name).copied()).filter(|new| self.inodes[new].known.is_none()).collect();
        for new in new {
            self.catch_up(new)?;
        }
        if std::mem::take(&mut self.must_see) || self.copies.contains(&id) {
            self.settle()?;
        }
        Ok(true)
    }

    /// A name that held something else before must be seen to hold something new before it is gone again.
    fn may_move(&mut self, name: &str) -> Result<bool, String> {
        let id = self.names[name];
        let names = self.names_of(id);
        if self.inodes[&id].known.is_none() && is_dated(name) && self.gone.iter().any(|gone| names.contains(&gone.name)) {
            if self.daemon.is_none() {
                return Ok(false);
            }
            self.catch_up(id)?;
        }
        if self.replaced.contains(name) {
            if self.daemon.is_none() && self.killed {
                // What the store still knows under this name was replaced, and nobody could tell.
                return Ok(false);
            }
            self.unsafe_to_kill = true;
        }
        Ok(true)
    }

    /// The names of one file have dates, or none has: else it is not said whether new content in it replaces the old.
    fn may_be_called(&self, from: &str, to: &str) -> bool {
        is_dated(from) == is_dated(to) || self.names_of(self.names[from]).len() == 1
    }

    /// What a file held is destroyed: it is gone, if nothing that is there has it.
    fn destroy(&mut self, name: &str) {
        let id = self.names[name];
        let inode = &self.inodes[&id];
        let bytes = inode.bytes[..inode.known.expect("it was known")].to_vec();
        let stored = inode.stored;
        self.past.push(bytes.clone());
        // A half line that is held back elsewhere is part of what is there.
        let there = self.inodes.iter().any(|(other, inode)| *other != id && inode.known.is_some() && inode.bytes.starts_with(&bytes));
        if !bytes.is_empty() && !there && !self.gone.iter().any(|gone| gone.bytes.starts_with(&bytes)) {
            self.gone.push(Gone { name: name.to_owned(), bytes, stored });
        } else if !bytes.is_empty() {
            self.must_see = true;
        }
    }

    /// Is it not said what becomes of what a file holds, once it holds something else? So it is if the file has several names with dates, for one of them may get
    /// something new and the others not; or if a half line that counts in it is held back in another one that has the same bytes.
    fn is_open(&self, name: &str) -> bool {
        let id = self.names[name];
        if is_dated(name) && self.names_of(id).len() > 1 {
            return true;
        }
        let bytes = &self.inodes[&id].bytes;
        let Some(known) = self.inodes[&id].known.filter(|known| *known > self.inodes[&id].whole_lines()) else { return false };
        let others = self.inodes.iter().filter(|(other, _)| **other != id).map(|(_, inode)| inode);
        others.filter(|other| other.bytes.starts_with(&bytes[..known])).any(|other| other.known.is_none_or(|to| to < known))
    }

    /// Does something else begin with this?
    fn is_within(&self, id: u64, bytes: &[u8]) -> bool {
        let others = self.inodes.iter().filter(|(other, _)| **other != id).map(|(_, inode)| &inode.bytes);
        others.chain(self.gone.iter().map(|gone| &gone.bytes)).any(|other| other.starts_with(bytes))
    }

    fn unlink(&mut self, name: &str) {
        let id = self.names.remove(name).unwrap();
        if self.names_of(id).is_empty() {
            self.inodes.remove(&id);
        }
    }

    /// The file of a name is removed, or another one is put over it. `false`: it must not be now.
    fn remove(&mut self, name: &str) -> Result<bool, String> {
        let id = self.names[name];
        if self.names_of(id).len() > 1 {
            if !self.may_move(name)? {
                return Ok(false);
            }
            self.linked.insert(id);
            self.changed(id);
            self.inodes.get_mut(&id).unwrap().rotated = None;
        } else {
            if !self.may_destroy(name)? {
                return Ok(false);
            }
            self.destroy(name);
        }
        self.unlink(name);
        Ok(true)
    }

    /// Renames. What was there must have been removed.
    fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
        let id = self.names.remove(from).unwrap();
        self.names.insert(to.to_owned(), id);
        let alone = self.names_of(id).len() == 1 && !self.linked.contains(&id);
        let inode = self.inodes.get_mut(&id).unwrap();
        // A log is rotated if it was known under its old name.
        let is_back = inode.was.get_or_insert(from.to_owned()) == to;
        inode.rotated = if is_back || inode.bytes.is_empty() {
            // Perhaps the other name was not seen.
            None
        } else if inode.rotated == Some(true) || (inode.known.is_some() && alone && inode.rotated.is_some()) {
            Some(true)
        } else {
            None
        };
        if inode.bytes.len() != inode.whole_lines() && !self.way.final_soon {
            // Whether its half line counts depends on whether its new name is seen before the next.
            inode.rotated = inode.rotated.filter(|_| inode.known.is_some());
        }
        self.changed(id);
    }

    fn write(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn append(&mut self, name: &str, bytes: &[u8]) {
        File::options().append(true).open(self.path(name)).unwrap().write_all(bytes).unwrap();
        let id = self.names[name];
        self.inodes.get_mut(&id).unwrap().bytes.extend_from_slice(bytes);
        self.changed(id);
    }

    /// Writes something new into the file that a name has, in place.
    fn refill(&mut self, name: &str, bytes: Vec<u8>, rest: Vec<u8>) {
        self.write(name, &bytes);
        let id = self.names[name];
        let inode = self.inodes.get_mut(&id).unwrap();
        // It is a new log in an old file.
        let rotated = if self.linked.contains(&id) { None } else { Some(false) };
        *inode = Inode { rotated, ..Inode::new(bytes, rest) };
        self.rewritten.insert(id);
    }

    fn do_one(&mut self, act: Act) -> Outcome {
        match act {
            Act::Settle if self.daemon.is_none() => {}
            Act::Settle => {
                self.say("settle".into());
                self.settle()?;
            }
            Act::Create(name, text) => {
                let name = NAMES[name];
                if !self.names.contains_key(name) {
                    let (bytes, rest) = self.text(text);
                    self.say(format!("create {name}: {text:?}, {} bytes", bytes.len()));
                    self.write(name, &bytes);
                    let mut inode = Inode::new(bytes, rest);
                    inode.rotated = inode.rotated.filter(|_| text.base.is_none());
                    self.put(name, inode);
                }
            }
            Act::Append(pick, text) => {
                if let Some(name) = self.pick_plain(pick) {
                    let id = self.names[&name];
                    if !self.inodes[&id].rest.is_empty() {
                        return Ok(());
                    }
                    let (bytes, rest) = self.text(text);
                    self.say(format!("append to {name}: {text:?}, {} bytes", bytes.len()));
                    self.append(&name, &bytes);
                    self.inodes.get_mut(&id).unwrap().rest = rest;
                }
            }
            Act::Finish(pick, lines) => {
                let halves: Vec<String> =
                    self.names.iter().filter(|(_, id)| !self.inodes[id].rest.is_empty() && !self.inodes[id].packed).map(|(name, _)| name.clone()).collect();
                if !halves.is_empty() {
                    let name = &halves[pick % halves.len()];
                    self.say(format!("finish the half line of {name}, and {lines} lines more"));
                    let id = self.names[name];
                    let mut bytes = std::mem::take(&mut self.inodes.get_mut(&id).unwrap().rest);
                    bytes.extend(self.lines(lines.into()));
                    self.append(name, &bytes);
                }
            }
            Act::Rename(pick, to) => {
                if let Some(from) = self.pick(pick) {
                    let to = self.new_name(&from, to);
                    if self.names.contains_key(&to) || !self.may_be_called(&from, &to) || !self.may_move(&from)? {
                        return Ok(());
                    }
                    self.say(format!("rename {from} to {to}"));
                    self.rename(&from, &to);
                }
            }
            Act::RotateChain(text) => {
                let chain = &NAMES[..4];
                if !self.names.contains_key(chain[0]) {
                    return Ok(());
                }
                // Up to the first gap.
                let length = chain.iter().take_while(|name| self.names.contains_key(**name)).count();
                self.say(format!("rotate {length} of {chain:?}"));
                for at in (0..length).rev() {
                    if at == 3 {
                        if !self.remove(chain[3])? {
                            return Ok(());
                        }
                    } else {
                        self.rename(chain[at], chain[at + 1]);
                    }
                }
                if let Some(text) = text {
                    return self.do_one(Act::Create(0, text));
                }
            }
            Act::CopyTruncate(pick, to, keep, text) => {
                let Some(from) = self.pick_plain(pick) else { return Ok(()) };
                let to = NAMES[to].to_owned();
                let id = self.names[&from];
                if self.names.contains_key(&to) || (keep.is_some() && (!self.may_destroy(&from)? || self.is_open(&from))) || !self.may_move(&from)? {
                    return Ok(());
                }
                let bytes = self.inodes[&id].bytes.clone();
                let cut = self.safe_cut(&bytes, keep);
                let (new, new_rest) = text.map(|text| self.text(text)).unwrap_or_default();
                self.say(format!("copytruncate {from} to {to}: {cut} of {} bytes; then {} new bytes, {text:?}", bytes.len(), new.len()));
                if cut < bytes.len() {
                    self.destroy(&from);
                }
                self.write(&to, &bytes[..cut]);
                let rest = if cut == bytes.len() { self.inodes[&id].rest.clone() } else { Vec::new() };
                let copy = Inode { rotated: None, ..Inode::new(bytes[..cut].to_vec(), rest) };
                self.put(&to, copy);
                self.copies.insert(self.names[&to]);
                self.refill(&from, Vec::new(), Vec::new());
                self.append(&from, &new);
                self.inodes.get_mut(&id).unwrap().rest = new_rest;
                if text.is_some_and(|text| text.base.is_some()) {
                    self.inodes.get_mut(&id).unwrap().rotated = None;
                }
            }
            Act::Pack(pick, packer, keep) => {
                let Some(from) = self.pick_plain(pick) else { return Ok(()) };
                let (extension, program) = match packer {
                    Packer::Gz => ("gz", "gzip"),
                    Packer::Zst => ("zst", "zstd"),
                    Packer::Bz2 => ("bz2", "bzip2"),
                    Packer::Xz => ("xz", "xz"),
                };
                let to = format!("{from}.{extension}");
                let id = self.names[&from];
                if self.names.contains_key(&to) || self.inodes[&id].bytes.is_empty() || self.looks_like_another(id) || !self.may_move(&from)? {
                    return Ok(());
                }
                if !keep && self.rewritten.contains(&id) {
                    if self.daemon.is_none() {
                        return Ok(());
                    }
                    self.catch_up(id)?;
                }
                self.say(format!("pack {from} with {program}{}", if keep { ", keep it" } else { "" }));
                let packed = pack(program, &self.inodes[&id].bytes);
                self.write(&to, &packed);
                let copy = Inode { packed: true, rest: Vec::new(), known: None, stored: false, changed: Instant::now(), ..self.inodes[&id].clone() };
                self.put(&to, copy);
                if keep {
                    // The half line that counts in the packed file is held back here, until only this one is left.
                    self.inodes.get_mut(&id).unwrap().rotated = None;
                } else {
                    self.drop_name(&from);
                }
            }
            Act::Unpack(pick) => {
                let packed: Vec<String> = self.names.iter().filter(|(_, id)| self.inodes[id].packed).map(|(name, _)| name.clone()).collect();
                if packed.is_empty() {
                    return Ok(());
                }
                let from = packed[pick % packed.len()].clone();
                let to = from.rsplit_once('.').unwrap().0.to_owned();
                if self.names.contains_key(&to) || !self.may_move(&from)? {
                    return Ok(());
                }
                self.say(format!("unpack {from} to {to}"));
                let bytes = self.inodes[&self.names[&from]].bytes.clone();
                self.write(&to, &bytes);
                self.put(&to, Inode { rotated: None, ..Inode::new(bytes, Vec::new()) });
                // What the packed file counted as a whole may be held back in the plain one.
                let id = self.names[&to];
                if self.inodes[&id].whole_lines() == self.inodes[&id].bytes.len() {
                    self.drop_name(&from);
                }
            }
            Act::Delete(pick) => {
                if let Some(name) = self.pick(pick) {
                    let why = format!("delete {name}");
                    if self.remove(&name)? {
                        self.say(why);
                        fs::remove_file(self.path(&name)).unwrap();
                    }
                }
            }
            Act::Rewrite(pick, text) => {
                if let Some(name) = self.pick_plain(pick) {
                    let id = self.names[&name];
                    if !self.may_destroy(&name)? || self.is_open(&name) {
                        return Ok(());
                    }
                    let (bytes, rest) = self.text(text);
                    self.say(format!("rewrite {name} in place: {text:?}, {} bytes", bytes.len()));
                    self.destroy(&name);
                    self.refill(&name, bytes, rest);
                    if text.base.is_some() {
                        self.inodes.get_mut(&id).unwrap().rotated = None;
                    }
                }
            }
            Act::Recreate(pick, text) => {
                if let Some(name) = self.pick(pick) {
                    if !self.remove(&name)? {
                        return Ok(());
                    }
                    let (bytes, rest) = self.text(text);
                    self.say(format!("remove {name} and make it anew: {text:?}, {} bytes", bytes.len()));
                    fs::remove_file(self.path(&name)).unwrap();
                    self.write(&name, &bytes);
                    self.put(&name, Inode { rotated: Some(false).filter(|_| text.base.is_none()), ..Inode::new(bytes, rest) });
                }
            }
            Act::RenameOver(pick, text) => {
                if let Some(name) = self.pick(pick) {
                    if !self.remove(&name)? {
                        return Ok(());
                    }
                    let (bytes, rest) = self.text(text);
                    self.say(format!("write {name}.tmp and rename it over {name}: {text:?}, {} bytes", bytes.len()));
                    let temporary = format!("{name}.tmp");
                    self.write(&temporary, &bytes);
                    fs::rename(self.path(&temporary), self.path(&name)).unwrap();
                    self.put(&name, Inode { rotated: Some(false).filter(|_| text.base.is_none()), ..Inode::new(bytes, rest) });
                }
            }
            Act::Swap(one, two) => {
                let (Some(one), Some(two)) = (self.pick(one), self.pick(two)) else { return Ok(()) };
                if self.names[&one] == self.names[&two]
                    || !self.may_be_called(&one, &two)
                    || !self.may_be_called(&two, &one)
                    || !self.may_move(&one)?
                    || !self.may_move(&two)?
                {
                    return Ok(());
                }
                self.say(format!("swap {one} and {two}"));
                let between = "swapping.tmp";
                self.rename(&one, between);
                self.rename(&two, &one);
                self.rename(between, &two);
            }
            Act::Link(pick, to) => {
                let Some(from) = self.pick(pick) else { return Ok(()) };
                let to = self.new_name(&from, to);
                if self.names.contains_key(&to) || is_dated(&from) != is_dated(&to) {
                    return Ok(());
                }
                self.say(format!("link {from} as {to}"));
                fs::hard_link(self.path(&from), self.path(&to)).unwrap();
                let id = self.names[&from];
                self.names.insert(to, id);
                self.linked.insert(id);
                self.inodes.get_mut(&id).unwrap().rotated = None;
                self.changed(id);
            }
            Act::Unlink(pick) => {
                let links: Vec<String> = self.names.iter().filter(|(_, id)| self.names_of(**id).len() > 1).map(|(name, _)| name.clone()).collect();
                if !links.is_empty() {
                    let name = links[pick % links.len()].clone();
                    if self.remove(&name)? {
                        self.say(format!("unlink {name}"));
                        fs::remove_file(self.path(&name)).unwrap();
                    }
                }
            }
            Act::Copy(pick, to, keep) => {
                let Some(from) = self.pick(pick) else { return Ok(()) };
                let to = self.new_name(&from, to);
                let id = self.names[&from];
                let packed = self.inodes[&id].packed;
                if self.names.contains_key(&to) || (packed && keep.is_some()) {
                    return Ok(());
                }
                let bytes = self.inodes[&id].bytes.clone();
                let cut = self.safe_cut(&bytes, keep);
                self.say(format!("copy {cut} of {} bytes of {from} to {to}", bytes.len()));
                if packed {
                    fs::copy(self.path(&from), self.path(&to)).unwrap();
                } else {
                    self.write(&to, &bytes[..cut]);
                }
                let rest = if cut == bytes.len() && !packed { self.inodes[&id].rest.clone() } else { Vec::new() };
                self.put(&to, Inode { packed, rotated: None, ..Inode::new(bytes[..cut].to_vec(), rest) });
                self.inodes.get_mut(&id).unwrap().rotated = None;
            }
            Act::Cut(pick, keep) => {
                if let Some(name) = self.pick_plain(pick) {
                    let id = self.names[&name];
                    if !self.may_destroy(&name)? || self.is_open(&name) {
                        return Ok(());
                    }
                    let bytes = self.inodes[&id].bytes.clone();
                    let cut = self.safe_cut(&bytes, Some(keep));
                    self.say(format!("cut {name} to {cut} of {} bytes", bytes.len()));
                    if cut < bytes.len() {
                        self.destroy(&name);
                    }
                    File::options().write(true).open(self.path(&name)).unwrap().set_len(cut as u64).unwrap();
                    let inode = self.inodes.get_mut(&id).unwrap();
                    *inode = Inode { rotated: None, ..Inode::new(bytes[..cut].to_vec(), Vec::new()) };
                    self.rewritten.insert(id);
                }
            }
            Act::ComeBack(pick, name) => {
                let name = NAMES[name];
                if !self.past.is_empty() && !self.names.contains_key(name) {
                    let bytes = self.past[pick % self.past.len()].clone();
                    self.say(format!("{} bytes that were there before come back as {name}", bytes.len()));
                    self.write(name, &bytes);
                    self.put(name, Inode { rotated: None, ..Inode::new(bytes, Vec::new()) });
                }
            }
            Act::Restart(number, down) => {
                if self.daemon.is_none() {
                    return Ok(());
                }
                if number == SIGKILL {
                    self.make_safe_to_kill()?;
                }
                self.say(format!("end the daemon with signal {number}, for {down} actions"));
                self.folder = self.daemon.take().map(|daemon| daemon.end(number));
                self.killed = number == SIGKILL;
                if !self.killed {
                    self.inodes.values_mut().for_each(|inode| inode.stored = inode.known.is_some());
                    self.gone.iter_mut().for_each(|gone| gone.stored = true);
                }
                self.down = down;
                if down == 0 {
                    self.start();
                }
                return Ok(());
            }
            Act::Kill(role) => {
                if self.daemon.is_some() {
                    if role == "coordinator" {
                        self.make_safe_to_kill()?;
                    }
                    let daemon = self.daemon.as_ref().unwrap();
                    let before = daemon.pids(role);
                    if let Some(pid) = before.first() {
                        signal(*pid, SIGKILL);
                    }
                    self.say(format!("kill -9 the {role}"));
                    if role == "coordinator" {
                        self.wait_for_another_coordinator(before.first().copied())?;
                        self.forget_what_is_not_stored();
                    }
                }
            }
        }
        self.part();
        if std::mem::take(&mut self.must_see) && self.daemon.is_some() {
            self.settle()?;
            self.say("  (all is settled)".into());
        }
        if self.daemon.is_none() {
            self.down = self.down.saturating_sub(1);
            if self.down == 0 {
                self.start();
            }
        }
        Ok(())
    }

    /// By the samples that are taken of it, can what a file holds not be told from something that has parted from it? Once both are in no plain file, nobody could.
    fn looks_like_another(&self, id: u64) -> bool {
        let own = &self.inodes[&id].bytes;
        let others = self.inodes.iter().filter(|(other, _)| **other != id).map(|(_, inode)| &inode.bytes);
        let mut others = others.chain(&self.past).chain(&self.bases).chain(self.gone.iter().map(|gone| &gone.bytes));
        let seems = |one: &[u8], other: &[u8]| !other.starts_with(one) && may_begin(one, other);
        others.any(|other| seems(own, other) || seems(other, own))
    }

    /// By what is kept of a content that is in no plain file, not all others can be told from it. Contents that have parted go on until they can be.
    fn part(&mut self) {
        let ids: Vec<u64> = self.inodes.iter().filter(|(_, inode)| !inode.packed).map(|(id, _)| *id).collect();
        for id in ids {
            loop {
                let inode = &self.inodes[&id];
                let own = &inode.bytes[..inode.whole_lines()];
                let others = self.inodes.iter().filter(|(other, inode)| **other != id && inode.packed).map(|(_, inode)| &inode.bytes);
                let mut others = others.chain(&self.past).chain(self.gone.iter().map(|gone| &gone.bytes));
                if !others.any(|other| (!other.starts_with(own) || !other.starts_with(&inode.bytes)) && may_begin(own, other)) {
                    break;
                }
                let name = self.names_of(id)[0].clone();
                let mut bytes = std::mem::take(&mut self.inodes.get_mut(&id).unwrap().rest);
                bytes.extend(self.lines(10));
                self.say(format!("  append {} bytes to {name}, by which it can be told from others", bytes.len()));
                self.append(&name, &bytes);
            }
        }
    }

    fn start(&mut self) {
        self.say("start the daemon".into());
        let options = self.way.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.daemon = self.folder.take().map(|folder| Daemon::start_in(folder, &options, &[]));
        if self.killed {
            self.forget_what_is_not_stored();
        }
    }

    /// What the daemon knew and had not stored, it finds out again from the files. That a compressed file has what another one has is not stored either, and found out when
    /// it is decoded.
    fn forget_what_is_not_stored(&mut self) {
        let copies: Vec<u64> = self.inodes.iter().filter(|(id, inode)| inode.packed && self.is_within(**id, &inode.bytes)).map(|(id, _)| *id).collect();
        for (_, inode) in self.inodes.iter_mut().filter(|(id, inode)| !inode.stored || copies.contains(id)) {
            (inode.known, inode.rotated) = (None, None);
        }
    }

    /// What the dead one showed is not known to its successor.
    fn wait_for_another_coordinator(&self, before: Option<i32>) -> Outcome {
        let start = Instant::now();
        loop {
            let status = self.get("/api/v1/status");
            let is_new = |process: &&Value| process["role"] == "coordinator" && process["pid"].as_i64().is_some_and(|pid| Some(pid as i32) != before);
            if status["processes"].as_array().unwrap().iter().find(is_new).is_some_and(|process| process["state"] != "starting") {
                return Ok(());
            }
            if start.elapsed() > Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed)) {
                return Err(format!("there is no new coordinator: {status}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn make_safe_to_kill(&mut self) -> Outcome {
        if self.unsafe_to_kill || self.gone.iter().any(|gone| !gone.stored) {
            self.settle()?;
            self.wait_for_store()?;
        }
        Ok(())
    }

    /// The name that a log of this name can get: what compresses it stays in it.
    fn new_name(&self, from: &str, to: usize) -> String {
        let packed = self.inodes[&self.names[from]].packed;
        let extension = from.rsplit_once('.').map_or("", |(_, extension)| extension);
        if packed { format!("{}.{extension}", NAMES[to]) } else { NAMES[to].to_owned() }
    }

    /// Where to cut: anywhere, but in no line before its time stamp has ended; and before the end of the last sample, by which the whole can be told from what goes
    /// on otherwise.
    fn safe_cut(&self, bytes: &[u8], keep: Option<u16>) -> usize {
        let Some(keep) = keep else { return bytes.len() };
        let sampled = blocks_within(bytes.len() as u64).checked_sub(1).map_or(0, |last| block(last).0 + u64::from(block(last).1)) as usize;
        let cut = (bytes.len() * usize::from(keep) / 1000).min(sampled.saturating_sub(1));
        let start = bytes[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if bytes[start..cut].contains(&b']') { cut } else { start }
    }

    /// A plain file whose content is in another file now goes.
    fn drop_name(&mut self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
        let id = self.names[name];
        if self.names_of(id).len() > 1 {
            self.linked.insert(id);
            self.inodes.get_mut(&id).unwrap().rotated = None;
            self.changed(id);
        } else if let Some(inode) = self.inodes.get(&id)
            && let Some(known) = inode.known
        {
            // Until the other file is known, it is where this was.
            let (bytes, stored) = (inode.bytes[..known].to_vec(), inode.stored);
            if known > 0 {
                self.gone.push(Gone { name: name.to_owned(), bytes, stored });
            }
        }
        self.unlink(name);
    }

    // What the daemon must say.

    fn get(&self, path: &str) -> Value {
        self.daemon.as_ref().expect("it runs").get(path)
    }

    fn files(&self) -> Vec<Value> {
        self.get("/api/v1/files")["files"].as_array().unwrap().clone()
    }

    /// Waits until the daemon knows one file as it is. What follows from that is noted.
    fn catch_up(&mut self, id: u64) -> Outcome {
        let names = self.names_of(id);
        if names.len() > 1 || self.linked.contains(&id) {
            return self.settle();
        }
        let inode = &self.inodes[&id];
        let allowed = inode.counted(&self.way);
        let truth: Vec<(usize, Numbers)> = allowed.iter().map(|to| (*to, Numbers::of(&inode.bytes[..*to]))).collect();
        let bytes_of = |numbers: &Numbers| numbers.days.values().map(|day| day.1).sum::<u64>();
        let packed = inode.packed;
        let (start, length, name) = (Instant::now(), inode.bytes.len() as u64, names[0].clone());
        loop {
            let files = self.files();
            let row = files.iter().find(|row| row["name"] == *name && row["state"] != "gone");
            let fits = |(to, numbers): &&(usize, Numbers)| {
                row.is_some_and(|row| {
                    (packed || row["size"] == length)
                        && row["counted_to"] == *to as u64
                        && row["total"] == numbers.total()
                        && row["ip"] == numbers.ip()
                        && row["bytes"] == bytes_of(numbers)
                        && row["requests_by_hour"] == serde_json::json!(numbers.hours)
                        && row["state"] != "counting"
                        && row["complete"] == true
                })
            };
            if let Some((to, _)) = truth.iter().find(fits)
                && !self.inodes[&id].may_turn(*to, &self.way)
            {
                let to = *to;
                self.inodes.get_mut(&id).unwrap().know(to);
                self.rewritten.remove(&id);
                self.follow(&[id]);
                self.say(format!("  (the daemon knows {name})"));
                return Ok(());
            }
            if start.elapsed() > Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed)) {
                let truth: Vec<_> = truth.iter().map(|(to, numbers)| (to, numbers.total(), numbers.ip())).collect();
                return Err(format!("{name} ({id}, {length} bytes) is not counted as one of {truth:?}: {row:#?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What follows from it that the daemon knows these files.
    fn follow(&mut self, ids: &[u64]) {
        for id in ids {
            let inode = &self.inodes[id];
            let known = inode.known.expect("it is known");
            let names = self.names_of(*id);
            let there = &inode.bytes[..known];
            let (replaced, must_see, unsafe_to_kill) = (&mut self.replaced, &mut self.must_see, &mut self.unsafe_to_kill);
            self.gone.retain(|gone| {
                let covered = there.starts_with(&gone.bytes);
                let replaces = known > 0 && is_dated(&gone.name) && names.contains(&gone.name);
                if covered || replaces {
                    replaced.extend(names.iter().cloned());
                }
                // That this is where it is now, and no more where it was.
                *must_see |= covered;
                // The store may know it under another name, which nothing has replaced.
                *unsafe_to_kill |= replaces && !covered && !gone.stored;
                !covered && !replaces
            });
        }
        // One gone content may be the beginning of another.
        let all = std::mem::take(&mut self.gone);
        for (at, gone) in all.iter().enumerate() {
            let within =
                |(other, longer): (usize, &Gone)| other != at && longer.bytes.starts_with(&gone.bytes) && (longer.bytes.len() > gone.bytes.len() || other < at);
            if !all.iter().enumerate().any(within) {
                self.gone.push(gone.clone());
            }
        }
    }

    /// Waits until the daemon says what is true.
    fn settle(&mut self) -> Outcome {
        let numbers: BTreeMap<u64, Vec<(usize, Numbers)>> = self
            .inodes
            .iter()
            .map(|(id, inode)| (*id, inode.counted(&self.way).into_iter().map(|to| (to, Numbers::of(&inode.bytes[..to]))).collect()))
            .collect();
        let start = Instant::now();
        loop {
            let wrong = match self.compare(&numbers) {
                Ok(()) => break,
                Err(wrong) => wrong,
            };
            if start.elapsed() > Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed)) {
                return Err(wrong);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let ids: Vec<u64> = self.inodes.keys().copied().collect();
        self.follow(&ids);
        self.must_see = false;
        self.copies.clear();
        self.rewritten.clear();
        self.linked.retain(|id| self.inodes.contains_key(id) && self.names.values().filter(|other| *other == id).count() > 1);
        Ok(())
    }

    /// Is what the daemon says what must be?
    fn compare(&mut self, truth: &BTreeMap<u64, Vec<(usize, Numbers)>>) -> Outcome {
        let status = self.get("/api/v1/status");
        if status["pending_bytes"] != 0 || status["quarantine"] != serde_json::json!([]) {
            return Err(format!("not all is counted: {status}"));
        }
        let files = self.files();
        let (report, days) = (self.get("/api/v1/report"), self.get("/api/v1/days"));
        let mut counted: BTreeMap<u64, (usize, &Numbers)> = BTreeMap::new();
        let mut rows: BTreeMap<&str, &Value> = BTreeMap::new();
        for row in files.iter().filter(|row| row["state"] != "gone" && row["state"] != "skipped") {
            let name = row["name"].as_str().unwrap();
            if rows.insert(name, row).is_some() {
                return Err(format!("{name} is listed twice: {files:#?}"));
            }
        }
        if let Some(name) = rows.keys().find(|name| !self.names.contains_key(**name)) {
            return Err(format!("{name} is listed and is not there"));
        }
        for (name, id) in &self.names {
            let row = rows.get(name.as_str()).ok_or_else(|| format!("{name} is not in /files"))?;
            let truth = &truth[id];
            let to = row["counted_to"].as_u64().unwrap() as usize;
            let length = self.inodes[id].bytes.len();
            let Some((to, numbers)) = truth.iter().find(|one| one.0 == to) else {
                return Err(format!("{name} (of {length} bytes) is counted to {to}, not to {:?}: {row:#}", truth.iter().map(|one| one.0).collect::<Vec<_>>()));
            };
            if self.inodes[id].may_turn(*to, &self.way) {
                return Err(format!("it is not known yet whether the half line of {name} counts"));
            }
            let listed = &report[name];
            if (listed["total"].as_u64(), listed["ip"].as_u64()) != (Some(numbers.total()), Some(numbers.ip())) {
                return Err(format!("{name} is reported as {listed}, not as {} and {}: {row:#}", numbers.total(), numbers.ip()));
            }
            if row["complete"] != true || row["state"] == "counting" {
                return Err(format!("{name} is not complete: {row:#}"));
            }
            if counted.insert(*id, (*to, numbers)).is_some_and(|before| before.0 != *to) {
                return Err(format!("{name} and its other names are not counted alike"));
            }
        }
        let unknown: Vec<&String> = report.as_object().unwrap().keys().filter(|name| !self.names.contains_key(*name)).collect();
        if !unknown.is_empty() {
            return Err(format!("{unknown:?} are reported and not there"));
        }
        // What is gone and nothing that is there has, and no new content has replaced.
        let bytes = |id: &u64| &self.inodes[id].bytes[..counted[id].0];
        let replaced = |gone: &Gone| is_dated(&gone.name) && self.names.get(&gone.name).is_some_and(|id| counted[id].0 > 0);
        let mut gone: Vec<&[u8]> = Vec::new();
        let mut left: Vec<&Gone> =
            self.gone.iter().filter(|gone| !replaced(gone) && !self.inodes.keys().any(|id| bytes(id).starts_with(&gone.bytes))).collect();
        left.sort_by_key(|gone| std::cmp::Reverse(gone.bytes.len()));
        for one in left {
            if !gone.iter().any(|other| other.starts_with(&one.bytes)) {
                gone.push(&one.bytes);
            }
        }
        let gone_numbers: Vec<Numbers> = gone.iter().map(|bytes| Numbers::of(bytes)).collect();
        // Which are the beginnings of others?
        let mut sum = Numbers::default();
        gone_numbers.iter().for_each(|numbers| sum.add(numbers));
        for id in self.inodes.keys() {
            let own = bytes(id);
            let names = self.names_of(*id);
            let longer = gone.iter().any(|gone| gone.starts_with(own))
                || self.inodes.keys().any(|other| bytes(other).len() > own.len() && bytes(other).starts_with(own));
            let equal: Vec<&u64> = self.inodes.keys().filter(|other| bytes(other) == own).collect();
            if !own.is_empty() && !longer && equal[0] == id {
                sum.add(counted[id].1);
            }
            let same_names: Vec<String> = equal.iter().flat_map(|id| self.names_of(**id)).collect();
            let own_names: Vec<&String> = if own.is_empty() { names.iter().collect() } else { same_names.iter().collect() };
            let duplicates = own_names.iter().filter(|name| rows[name.as_str()]["state"] == "duplicate").count();
            if own.is_empty() && !self.inodes[id].bytes.is_empty() {
                // Its half line may be the beginning of one that counts, or not.
                continue;
            }
            let must = if longer && !own.is_empty() { own_names.len() } else { own_names.len() - 1 };
            if duplicates != must {
                let states: Vec<_> = own_names.iter().map(|name| (*name, &rows[name.as_str()]["state"], &rows[name.as_str()]["duplicate_of"])).collect();
                return Err(format!("{must} of these must be duplicates: {states:?}; {files:#?}"));
            }
            for name in &names {
                let of = &rows[name.as_str()]["duplicate_of"];
                if (rows[name.as_str()]["state"] == "duplicate") != files.iter().any(|row| row["id"] == *of) {
                    return Err(format!("{name} is a duplicate of {of}, which is none of the files: {files:#?}"));
                }
            }
        }
        let mut found: Vec<(u64, u64)> =
            files.iter().filter(|row| row["state"] == "gone").map(|row| (row["total"].as_u64().unwrap(), row["ip"].as_u64().unwrap())).collect();
        let mut wanted: Vec<(u64, u64)> = gone_numbers.iter().map(|numbers| (numbers.total(), numbers.ip())).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            let names: Vec<_> = self.gone.iter().map(|gone| (&gone.name, gone.bytes.len())).collect();
            return Err(format!("these (total, ip) must be gone: {wanted:?}, these are: {found:?}; {names:?}; {files:#?}"));
        }
        let listed = days["days"].as_array().unwrap().iter().filter(|day| day["requests"] != 0);
        let listed: Vec<(&str, [Option<u64>; 3])> =
            listed.map(|day| (day["day"].as_str().unwrap(), ["requests", "bytes", "unique_ips"].map(|key| day[key].as_u64()))).collect();
        let wanted: Vec<(&str, [Option<u64>; 3])> =
            sum.days.iter().map(|(day, (requests, bytes, clients))| (day.as_str(), [Some(*requests), Some(*bytes), Some(clients.len() as u64)])).collect();
        if listed != wanted {
            return Err(format!("the days (requests, bytes, unique) must be {wanted:?}\n and are {listed:?}; {files:#?}"));
        }
        if days["days"].as_array().unwrap().iter().any(|day| day["complete"] != true) {
            return Err(format!("the days are not complete: {days}; {files:#?}"));
        }
        let known: Vec<(u64, usize)> = counted.iter().map(|(id, (to, _))| (*id, *to)).collect();
        for (id, to) in known {
            self.inodes.get_mut(&id).unwrap().know(to);
        }
        Ok(())
    }

    /// Waits until the store holds what is known. All must be settled.
    fn wait_for_store(&mut self) -> Outcome {
        let counted = |inode: &Inode| inode.bytes[..inode.known.expect("all is settled")].to_vec();
        let mut contents: Vec<(bool, Vec<u8>)> = self.inodes.values().map(|inode| (false, counted(inode))).filter(|(_, bytes)| !bytes.is_empty()).collect();
        // Of what has several names, any may be the stored one.
        let mut names: BTreeMap<(u64, u64), Vec<&String>> = BTreeMap::new();
        for (name, id) in &self.names {
            let bytes = counted(&self.inodes[id]);
            names.entry((bytes.len() as u64, Numbers::of(&bytes).total())).or_default().push(name);
        }
        contents.sort();
        contents.dedup();
        contents.extend(self.gone.iter().map(|gone| (true, gone.bytes.clone())));
        let within = |bytes: &Vec<u8>| {
            contents.iter().any(|(_, other)| other.len() > bytes.len() && other.starts_with(bytes)) || self.gone.iter().any(|gone| gone.bytes == *bytes)
        };
        let mut wanted: Vec<(bool, u64, u64)> = contents
            .iter()
            .filter(|(gone, bytes)| *gone || !within(bytes))
            .map(|(gone, bytes)| (*gone, bytes.len() as u64, Numbers::of(bytes).total()))
            .collect();
        wanted.sort_unstable();
        let state = self.daemon.as_ref().expect("it runs").folder.join("state");
        let start = Instant::now();
        loop {
            let entries = folder::list(&state).unwrap_or_default();
            let metas = entries.iter().filter_map(|entry| read_meta(File::open(&entry.path).ok()?).ok());
            let stored: Vec<_> = metas.filter(|meta| meta.state != State::Deleted).collect();
            let mut found: Vec<(bool, u64, u64)> = stored.iter().map(|meta| (meta.state == State::Gone, meta.counted_to, meta.totals.requests())).collect();
            found.sort_unstable();
            let stale = stored.iter().find(|meta| {
                let known = names.get(&(meta.counted_to, meta.totals.requests()));
                meta.state != State::Gone && known.is_some_and(|names| !names.iter().any(|name| name.as_bytes() == meta.name))
            });
            if found == wanted && stale.is_none() {
                break;
            }
            if start.elapsed() > Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed)) {
                return Err(format!("the store must hold (gone, counted_to, requests) {wanted:?} and holds {found:?}, {stale:?}"));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        self.inodes.values_mut().for_each(|inode| inode.stored = true);
        self.gone.iter_mut().for_each(|gone| gone.stored = true);
        self.replaced.clear();
        self.unsafe_to_kill = false;
        self.say("  (all is stored)".into());
        Ok(())
    }
}

/// Do the samples that are taken of it fail to show that it is no beginning of the other?
fn may_begin(one: &[u8], other: &[u8]) -> bool {
    let blocks = (0..blocks_within(one.len() as u64)).map(block);
    one.len() <= other.len() && blocks.map(|(at, length)| at as usize..at as usize + length as usize).all(|range| one[range.clone()] == other[range])
}

fn pack(program: &str, bytes: &[u8]) -> Vec<u8> {
    match program {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// Runs actions; says what was done and what is wrong.
fn run(way: &Way, acts: &[Act]) -> Result<(), (Vec<String>, String, String)> {
    let mut run = Run::new(way.clone());
    let mut outcome = acts.iter().try_for_each(|act| run.do_one(*act));
    // In the end everything is looked at, and again by a daemon that knows no more than the store.
    if outcome.is_ok() {
        outcome = run.finish();
    }
    outcome.map_err(|wrong| {
        let journal = run.daemon.as_ref().map(Daemon::journal).unwrap_or_default();
        (std::mem::take(&mut run.said), wrong, journal)
    })
}

impl Run {
    fn finish(&mut self) -> Outcome {
        if self.daemon.is_none() {
            self.start();
        }
        self.say("settle, at the end".into());
        self.settle()?;
        self.do_one(Act::Restart(SIGTERM, 0))?;
        self.settle()
    }
}

fn sequence(seed: u64) -> (Way, Vec<Act>) {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x7461_6c6c);
    let inotify = random.one_in(2);
    let way = Way { inotify, final_soon: random.one_in(2), scan_ms: if inotify { 5000 } else { 150 } };
    let count = 30 + random.below(31);
    (way, (0..count).map(|_| act(&mut random)).collect())
}

/// Leaves out what is not needed for it to fail.
fn shrink(way: &Way, acts: &[Act]) -> Vec<Act> {
    let mut acts = acts.to_vec();
    let mut piece = acts.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < acts.len() {
            let fewer = [&acts[..at], &acts[(at + piece).min(acts.len())..]].concat();
            if run(way, &fewer).is_err() { acts = fewer } else { at += piece }
        }
        piece /= 2;
    }
    acts
}

/// The seeds that are named, or so many from the first one on.
fn seeds() -> Vec<u64> {
    let first = std::env::var("TALLYD_MODEL_SEED").unwrap_or_else(|_| "1".to_owned());
    let first: Vec<u64> = first.split(',').map(|seed| seed.parse().expect("TALLYD_MODEL_SEED is a number, or several")).collect();
    let count = number("TALLYD_MODEL_SEQUENCES").unwrap_or(SEQUENCES);
    if first.len() > 1 { first } else { (first[0]..first[0] + count).collect() }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn each_line_counts_once_whatever_happens_to_the_logs() {
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let failed: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..number("TALLYD_MODEL_AT_ONCE").unwrap_or(AT_ONCE).min(seeds.len() as u64) {
            scope.spawn(|| {
                loop {
                    let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    if failed.lock().unwrap().len() >= 10 {
                        return;
                    }
                    let (way, acts) = sequence(seed);
                    let Err(mut wrong) = run(&way, &acts) else { continue };
                    failed.lock().unwrap().push(seed);
                    if number("TALLYD_MODEL_SHRINK").is_some() {
                        PATIENCE_MS.store(6_000, Ordering::Relaxed);
                        let fewer = shrink(&way, &acts);
                        eprintln!("seed {seed}: {fewer:?}");
                        if let Err(again) = run(&way, &fewer) {
                            wrong = again;
                        }
                    }
                    let (said, why, journal) = wrong;
                    eprintln!("--- seed {seed}, {way:?}:\n{}\n--- wrong: {why}\n--- the daemon said:\n{journal}", said.join("\n"));
                }
            });
        }
    });
    // Some things are decided by who is first, and on a machine that is busy the sequences' waits may mislead the model: what was wrong once, and is right twice when it runs
    // alone, is said above and is not held against the daemon.
    let mut failed = failed.into_inner().unwrap();
    failed.retain(|seed| {
        let (way, acts) = sequence(*seed);
        let again = (0..2).any(|_| run(&way, &acts).is_err());
        eprintln!("--- seed {seed} was wrong, and {} when it ran alone", if again { "wrong again" } else { "right twice" });
        again
    });
    assert!(failed.is_empty(), "wrong after the sequences of these seeds: {failed:?}; repeat one with TALLYD_MODEL_SEED=… TALLYD_MODEL_SEQUENCES=1");
}
