//! What each action does.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use nix::libc::SIGKILL;

use crate::act::{Act, NAMES, Packer, is_dated};
use crate::inode::Inode;
use crate::run::{Outcome, Run};
use crate::support::signal;

/// When it is asked to end, the daemon writes what it can in a second. On a machine that is busy enough, that
/// is not all.
const STOP: Duration = Duration::from_secs(1);

impl Run {
    pub fn do_one(&mut self, act: Act) -> Outcome {
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
                let halves: Vec<String> = self
                    .names
                    .iter()
                    .filter(|(_, id)| !self.inodes[id].rest.is_empty() && !self.inodes[id].packed)
                    .map(|(name, _)| name.clone())
                    .collect();
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
                    if self.names.contains_key(&to)
                        || !self.may_be_called(&from, &to)
                        || !self.may_move(&from)?
                    {
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
                if self.names.contains_key(&to)
                    || (keep.is_some() && (!self.may_destroy(&from)? || self.is_open(&from)))
                    || !self.may_move(&from)?
                {
                    return Ok(());
                }
                let bytes = self.inodes[&id].bytes.clone();
                let cut = self.safe_cut(&bytes, keep);
                let (new, new_rest) = text.map(|text| self.text(text)).unwrap_or_default();
                self.say(format!(
                    "copytruncate {from} to {to}: {cut} of {} bytes; then {} new bytes, {text:?}",
                    bytes.len(),
                    new.len()
                ));
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
                if self.names.contains_key(&to)
                    || self.inodes[&id].bytes.is_empty()
                    || self.looks_like_another(id)
                    || !self.may_move(&from)?
                {
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
                let copy = Inode {
                    packed: true,
                    rest: Vec::new(),
                    known: None,
                    stored: false,
                    changed: Instant::now(),
                    ..self.inodes[&id].clone()
                };
                self.put(&to, copy);
                if keep {
                    // The half line that counts in the packed file is held back here, until only this one is
                    // left.
                    self.inodes.get_mut(&id).unwrap().rotated = None;
                } else {
                    self.drop_name(&from);
                }
            }
            Act::Unpack(pick) => {
                let packed: Vec<String> = self
                    .names
                    .iter()
                    .filter(|(_, id)| self.inodes[id].packed)
                    .map(|(name, _)| name.clone())
                    .collect();
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
                    self.put(
                        &name,
                        Inode {
                            rotated: Some(false).filter(|_| text.base.is_none()),
                            ..Inode::new(bytes, rest)
                        },
                    );
                }
            }
            Act::RenameOver(pick, text) => {
                if let Some(name) = self.pick(pick) {
                    if !self.remove(&name)? {
                        return Ok(());
                    }
                    let (bytes, rest) = self.text(text);
                    self.say(format!(
                        "write {name}.tmp and rename it over {name}: {text:?}, {} bytes",
                        bytes.len()
                    ));
                    let temporary = format!("{name}.tmp");
                    self.write(&temporary, &bytes);
                    fs::rename(self.path(&temporary), self.path(&name)).unwrap();
                    self.put(
                        &name,
                        Inode {
                            rotated: Some(false).filter(|_| text.base.is_none()),
                            ..Inode::new(bytes, rest)
                        },
                    );
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
                let links: Vec<String> = self
                    .names
                    .iter()
                    .filter(|(_, id)| self.names_of(**id).len() > 1)
                    .map(|(name, _)| name.clone())
                    .collect();
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
                let rest =
                    if cut == bytes.len() && !packed { self.inodes[&id].rest.clone() } else { Vec::new() };
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
                let start = Instant::now();
                self.folder = self.daemon.take().map(|daemon| daemon.end(number));
                self.killed = number == SIGKILL;
                if !self.killed && start.elapsed() >= STOP {
                    eprintln!(
                        "a sequence ends early: the daemon took {:?} to stop, so nobody knows what it has written",
                        start.elapsed()
                    );
                    self.over = true;
                }
                if !self.killed {
                    self.inodes.values_mut().for_each(|inode| inode.stored = inode.known.is_some());
                    self.gone.iter_mut().for_each(|gone| gone.stored = true);
                }
                // One time in four.
                self.way.before_dashes ^= down == 1;
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
