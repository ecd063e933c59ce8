//! What the daemon must say, whatever it has seen of the way there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::act::is_dated;
use crate::inode::Gone;
use crate::numbers::Numbers;
use crate::run::{Outcome, Run};

/// How long the daemon may take until it says what is true.
pub static PATIENCE_MS: AtomicU64 = AtomicU64::new(20_000);

pub fn patience() -> Duration {
    Duration::from_millis(PATIENCE_MS.load(Ordering::Relaxed))
}

impl Run {
    pub fn get(&self, path: &str) -> Value {
        self.daemon.as_ref().expect("it runs").get(path)
    }

    pub fn files(&self) -> Vec<Value> {
        self.get("/api/v1/files")["files"].as_array().unwrap().clone()
    }

    /// Waits until the daemon knows one file as it is. What follows from that is noted.
    pub fn catch_up(&mut self, id: u64) -> Outcome {
        let names = self.names_of(id);
        if names.len() > 1 || self.linked.contains(&id) {
            return self.settle();
        }
        let inode = &self.inodes[&id];
        let allowed = inode.counted(&self.way);
        let truth: Vec<(usize, Numbers)> =
            allowed.iter().map(|to| (*to, Numbers::of(&inode.bytes[..*to]))).collect();
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
                        && row["log_bytes"] == bytes_of(numbers)
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
            if start.elapsed() > patience() {
                let truth: Vec<_> =
                    truth.iter().map(|(to, numbers)| (to, numbers.total(), numbers.ip())).collect();
                return Err(format!(
                    "{name} ({id}, {length} bytes) is not counted as one of {truth:?}: {row:#?}"
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What follows from it that the daemon knows these files.
    pub fn follow(&mut self, ids: &[u64]) {
        for id in ids {
            let inode = &self.inodes[id];
            let known = inode.known.expect("it is known");
            let names = self.names_of(*id);
            let there = &inode.bytes[..known];
            let (replaced, must_see, unsafe_to_kill) =
                (&mut self.replaced, &mut self.must_see, &mut self.unsafe_to_kill);
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
            let within = |(other, longer): (usize, &Gone)| {
                other != at
                    && longer.bytes.starts_with(&gone.bytes)
                    && (longer.bytes.len() > gone.bytes.len() || other < at)
            };
            if !all.iter().enumerate().any(within) {
                self.gone.push(gone.clone());
            }
        }
    }

    /// Waits until the daemon says what is true.
    pub fn settle(&mut self) -> Outcome {
        let numbers: BTreeMap<u64, Vec<(usize, Numbers)>> = self
            .inodes
            .iter()
            .map(|(id, inode)| {
                (
                    *id,
                    inode
                        .counted(&self.way)
                        .into_iter()
                        .map(|to| (to, Numbers::of(&inode.bytes[..to])))
                        .collect(),
                )
            })
            .collect();
        let start = Instant::now();
        loop {
            let wrong = match self.compare(&numbers) {
                Ok(()) => break,
                Err(wrong) => wrong,
            };
            if start.elapsed() > patience() {
                return Err(wrong);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        let ids: Vec<u64> = self.inodes.keys().copied().collect();
        self.follow(&ids);
        self.must_see = false;
        self.copies.clear();
        self.rewritten.clear();
        self.linked.retain(|id| {
            self.inodes.contains_key(id) && self.names.values().filter(|other| *other == id).count() > 1
        });
        Ok(())
    }

    /// Is what the daemon says what must be?
    pub fn compare(&mut self, truth: &BTreeMap<u64, Vec<(usize, Numbers)>>) -> Outcome {
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
                return Err(format!(
                    "{name} (of {length} bytes) is counted to {to}, not to {:?}: {row:#}",
                    truth.iter().map(|one| one.0).collect::<Vec<_>>()
                ));
            };
            if self.inodes[id].may_turn(*to, &self.way) {
                return Err(format!("it is not known yet whether the half line of {name} counts"));
            }
            let listed = &report[name];
            if (listed["total"].as_u64(), listed["ip"].as_u64())
                != (Some(numbers.total()), Some(numbers.ip()))
            {
                return Err(format!(
                    "{name} is reported as {listed}, not as {} and {}: {row:#}",
                    numbers.total(),
                    numbers.ip()
                ));
            }
            if row["complete"] != true || row["state"] == "counting" {
                return Err(format!("{name} is not complete: {row:#}"));
            }
            if counted.insert(*id, (*to, numbers)).is_some_and(|before| before.0 != *to) {
                return Err(format!("{name} and its other names are not counted alike"));
            }
        }
        let unknown: Vec<&String> =
            report.as_object().unwrap().keys().filter(|name| !self.names.contains_key(*name)).collect();
        if !unknown.is_empty() {
            return Err(format!("{unknown:?} are reported and not there"));
        }
        // What is gone and nothing that is there has, and no new content has replaced.
        let bytes = |id: &u64| &self.inodes[id].bytes[..counted[id].0];
        let replaced = |gone: &Gone| {
            is_dated(&gone.name) && self.names.get(&gone.name).is_some_and(|id| counted[id].0 > 0)
        };
        let mut gone: Vec<&[u8]> = Vec::new();
        let mut left: Vec<&Gone> = self
            .gone
            .iter()
            .filter(|gone| {
                !replaced(gone) && !self.inodes.keys().any(|id| bytes(id).starts_with(&gone.bytes))
            })
            .collect();
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
                || self
                    .inodes
                    .keys()
                    .any(|other| bytes(other).len() > own.len() && bytes(other).starts_with(own));
            let equal: Vec<&u64> = self.inodes.keys().filter(|other| bytes(other) == own).collect();
            if !own.is_empty() && !longer && equal[0] == id {
                sum.add(counted[id].1);
            }
            let same_names: Vec<String> = equal.iter().flat_map(|id| self.names_of(**id)).collect();
            let own_names: Vec<&String> =
                if own.is_empty() { names.iter().collect() } else { same_names.iter().collect() };
            let duplicates =
                own_names.iter().filter(|name| rows[name.as_str()]["state"] == "duplicate").count();
            if own.is_empty() && !self.inodes[id].bytes.is_empty() {
                // Its half line may be the beginning of one that counts, or not.
                continue;
            }
            let must = if longer && !own.is_empty() { own_names.len() } else { own_names.len() - 1 };
            if duplicates != must {
                let states: Vec<_> = own_names
                    .iter()
                    .map(|name| (*name, &rows[name.as_str()]["state"], &rows[name.as_str()]["duplicate_of"]))
                    .collect();
                return Err(format!("{must} of these must be duplicates: {states:?}; {files:#?}"));
            }
            for name in &names {
                let of = &rows[name.as_str()]["duplicate_of"];
                if (rows[name.as_str()]["state"] == "duplicate") != files.iter().any(|row| row["id"] == *of) {
                    return Err(format!(
                        "{name} is a duplicate of {of}, which is none of the files: {files:#?}"
                    ));
                }
            }
        }
        let mut found: Vec<(u64, u64)> = files
            .iter()
            .filter(|row| row["state"] == "gone")
            .map(|row| (row["total"].as_u64().unwrap(), row["ip"].as_u64().unwrap()))
            .collect();
        let mut wanted: Vec<(u64, u64)> =
            gone_numbers.iter().map(|numbers| (numbers.total(), numbers.ip())).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            let names: Vec<_> = self.gone.iter().map(|gone| (&gone.name, gone.bytes.len())).collect();
            return Err(format!(
                "these (total, ip) must be gone: {wanted:?}, these are: {found:?}; {names:?}; {files:#?}"
            ));
        }
        let listed = days["days"].as_array().unwrap().iter().filter(|day| day["requests"] != 0);
        let listed: Vec<(&str, [Option<u64>; 3])> = listed
            .map(|day| {
                (
                    day["day"].as_str().unwrap(),
                    ["requests", "log_bytes", "unique_ips"].map(|key| day[key].as_u64()),
                )
            })
            .collect();
        let wanted: Vec<(&str, [Option<u64>; 3])> = sum
            .days
            .iter()
            .map(|(day, (requests, bytes, clients))| {
                (day.as_str(), [Some(*requests), Some(*bytes), Some(clients.len() as u64)])
            })
            .collect();
        if listed != wanted {
            return Err(format!(
                "the days (requests, bytes, unique) must be {wanted:?}\n and are {listed:?}; {files:#?}"
            ));
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
}
