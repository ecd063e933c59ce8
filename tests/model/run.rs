//! One run: the daemon, its folder, and all that is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::act::{Text, Way};
use crate::inode::{Gone, Inode};
use crate::said::patience;
use crate::support::{Daemon, Folder};

/// A run, as far as it has come.
pub struct Run {
    pub way: Way,
    pub daemon: Option<Daemon>,
    pub folder: Option<Folder>,
    pub inodes: BTreeMap<u64, Inode>,
    pub names: BTreeMap<String, u64>,
    pub gone: Vec<Gone>,
    /// Contents that once were, to come back.
    pub past: Vec<Vec<u8>>,
    pub bases: Vec<Vec<u8>>,
    inode: u64,
    line: u64,
    /// How many more actions the daemon is down for.
    pub down: u8,
    /// Was it killed?
    pub killed: bool,
    /// Of these names, contents were replaced that the store may still know.
    pub replaced: BTreeSet<String>,
    /// The store must follow before the daemon is killed.
    pub unsafe_to_kill: bool,
    /// Nothing more can be said.
    pub over: bool,
    /// Something is gone within another content, which the daemon must see before that one is replaced.
    pub must_see: bool,
    /// There was a second name since all was settled.
    pub linked: BTreeSet<u64>,
    /// Copies of logs that were truncated. Until the daemon sees what such a log holds now, the copy is a
    /// copy only: if it went first, it would say nothing.
    pub copies: BTreeSet<u64>,
    /// Files that were rewritten in place, which the daemon may not have seen: if such a file goes, it looks
    /// as if what it held before had gone on and was not counted to its end.
    pub rewritten: BTreeSet<u64>,
    pub said: Vec<String>,
}

/// All is well, or this is wrong.
pub type Outcome = Result<(), String>;

impl Run {
    pub fn new(way: Way) -> Run {
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
            over: false,
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

    pub fn path(&self, name: &str) -> PathBuf {
        let folder = self.daemon.as_ref().map(|daemon| &daemon.folder).or(self.folder.as_ref());
        folder.expect("there is a folder").join("logs").join(name)
    }

    pub fn say(&mut self, what: String) {
        self.said.push(what);
    }

    /// Lines that nothing else has. Nearly all of the first of several are of other lengths.
    pub fn lines(&mut self, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            self.line += 1;
            let number = self.line;
            let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let (client, day) = (mixed % 500, 20 + number / 7 % 5);
            let pad = "x".repeat((number % 61) as usize);
            writeln!(
                bytes,
                "10.7.{}.{} - - [{day}/Mar/2021:{:02}:10:00 +0000] \"GET /{number}{pad} HTTP/1.1\" 200 1",
                client / 250,
                client % 250,
                number % 24
            )
            .unwrap();
        }
        bytes
    }

    /// The bytes of a text, and what its half line lacks.
    pub fn text(&mut self, text: Text) -> (Vec<u8>, Vec<u8>) {
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

    pub fn pick(&self, number: usize) -> Option<String> {
        (!self.names.is_empty()).then(|| self.names.keys().nth(number % self.names.len()).unwrap().clone())
    }

    /// A file that is no compressed one.
    pub fn pick_plain(&self, number: usize) -> Option<String> {
        let plain: Vec<&String> =
            self.names.iter().filter(|(_, inode)| !self.inodes[inode].packed).map(|(name, _)| name).collect();
        (!plain.is_empty()).then(|| plain[number % plain.len()].clone())
    }

    pub fn names_of(&self, inode: u64) -> Vec<String> {
        self.names.iter().filter(|(_, other)| **other == inode).map(|(name, _)| name.clone()).collect()
    }

    pub fn changed(&mut self, inode: u64) {
        let inode = self.inodes.get_mut(&inode).unwrap();
        (inode.known, inode.stored, inode.changed) = (None, false, Instant::now());
    }

    pub fn put(&mut self, name: &str, inode: Inode) {
        self.inode += 1;
        self.inodes.insert(self.inode, inode);
        self.names.insert(name.to_owned(), self.inode);
    }

    // The lives of the daemon.

    pub fn start(&mut self) {
        self.say(format!("start the daemon{}", if self.way.before_dashes { ", before-dashes" } else { "" }));
        let options = self.way.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.daemon = self.folder.take().map(|folder| Daemon::start_in(folder, &options, &[]));
        if self.killed {
            self.forget_what_is_not_stored();
        }
    }

    /// What the daemon knew and had not stored, it finds out again from the files. That a compressed file has
    /// what another one has is not stored either, and found out when it is decoded.
    pub fn forget_what_is_not_stored(&mut self) {
        let copies: Vec<u64> = self
            .inodes
            .iter()
            .filter(|(id, inode)| inode.packed && self.is_within(**id, &inode.bytes))
            .map(|(id, _)| *id)
            .collect();
        for (_, inode) in self.inodes.iter_mut().filter(|(id, inode)| !inode.stored || copies.contains(id)) {
            (inode.known, inode.rotated) = (None, None);
        }
    }

    /// What the dead one showed is not known to its successor.
    pub fn wait_for_another_coordinator(&self, before: Option<i32>) -> Outcome {
        let start = Instant::now();
        loop {
            let status = self.get("/api/v1/status");
            let is_new = |process: &&Value| {
                process["role"] == "coordinator"
                    && process["pid"].as_i64().is_some_and(|pid| Some(pid as i32) != before)
            };
            if status["processes"]
                .as_array()
                .unwrap()
                .iter()
                .find(is_new)
                .is_some_and(|process| process["state"] != "starting")
            {
                return Ok(());
            }
            if start.elapsed() > patience() {
                return Err(format!("there is no new coordinator: {status}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn make_safe_to_kill(&mut self) -> Outcome {
        if self.unsafe_to_kill || self.gone.iter().any(|gone| !gone.stored) {
            self.settle()?;
            self.wait_for_store()?;
        }
        Ok(())
    }
}
