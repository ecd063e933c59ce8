//! What the store knows of earlier lives: taken over before the first byte of a log is read.
//!
//! Whatever is there, the coordinator starts. What cannot be believed is put aside and said; what a newer
//! version wrote is left as it is.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::{info, warn};

use super::content::Content;
use super::ledger::{Ledger, Log, Presence};
use super::sums::{Kept, Sums};
use super::write_queue::{WriteQueue, mark};
use crate::board::Reason;
use crate::config::Settings;
use crate::decode::Compression;
use crate::log::day_of_name;
use crate::store::{Entry, Hole, Host, Identity, Meta, State, StoreError, folder, read_meta};
use crate::tally::Rules;

/// What must be known of the store for as long as the coordinator lives.
#[derive(Debug, Default)]
pub struct Restored {
    /// Where the partials of other hosts are, by the numbers that their logs have here.
    pub foreign: HashMap<u64, PathBuf>,
    /// How the logs were counted that were counted otherwise than it is done now.
    pub before: HashMap<u64, Before>,
}

/// How a log was counted: by which rules, by which version.
#[derive(Debug, Clone)]
pub struct Before {
    rules: Rules,
    writer: String,
}

impl Before {
    /// How it is done by this version.
    pub fn now(rules: Rules) -> Before {
        Before { rules, writer: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// Takes over what the store has. Calls `beat` now and then.
pub fn restore(
    settings: &Settings,
    host: &Host,
    ledger: &mut Ledger,
    sums: &mut Sums,
    queue: &mut WriteQueue,
    beat: impl Fn(),
) -> Restored {
    let (mut foreign, mut before) = (HashMap::new(), HashMap::new());
    let entries = match folder::list(&settings.state) {
        Ok(entries) => entries,
        Err(error) => {
            warn!(%error, "cannot read the store; every log is counted again");
            return Restored::default();
        }
    };
    let watched: Vec<PathBuf> =
        settings.logs.iter().filter_map(|folder| std::fs::canonicalize(folder).ok()).collect();
    let (mut logs, mut elsewhere, now) = (0, None, Instant::now());
    for entry in &entries {
        beat();
        let own = entry.host == *host;
        match File::open(&entry.path).map_err(StoreError::from).and_then(read_meta) {
            Ok(meta) if own && meta.log == entry.log => {
                logs += 1;
                let (id, deleted) = (meta.log, meta.state == State::Deleted);
                let log = log_of(&meta, settings.rules());
                sums.restore(id, log.day, &kept_of(&meta));
                if log.count.by_other_rules {
                    before.insert(id, Before { rules: meta.rules, writer: meta.writer.clone() });
                }
                let state = log.clone();
                ledger.restore(id, log);
                queue.found(id, Some(mark(&state)), now);
                queue.note(id, Some(&state), now);
                if deleted {
                    sums.remove(id);
                }
            }
            // Of another host: its logs count in the days; nothing else is known of them here.
            Ok(meta) if !own && meta.counts() => {
                let id = foreign_id(entry);
                sums.restore(id, day_of_name(&meta.name), &kept_of(&meta));
                sums.set_counts(id, true);
                foreign.insert(id, entry.path.clone());
                if watched.iter().any(|folder| folder.as_os_str().as_bytes() == meta.folder) {
                    elsewhere = Some(&entry.host);
                }
            }
            Ok(_) if !own => {}
            Err(StoreError::Newer(version)) => {
                warn!(path = %entry.path.display(), version, "a newer tallyd wrote this partial; it stays as it is, and its log is counted again");
                ledger.reserve(entry.log);
            }
            Err(StoreError::Io(error)) if own => {
                warn!(path = %entry.path.display(), %error, "cannot read a partial now; it stays as it is, and its log is counted again if it exists");
                ledger.reserve(entry.log);
            }
            Ok(_) => set_aside(&entry.path, "the partial of another log has its name"),
            Err(trouble) if own => set_aside(&entry.path, &trouble.to_string()),
            Err(trouble) => {
                warn!(path = %entry.path.display(), %trouble, "cannot use a partial of another host")
            }
        }
    }
    ledger.restored();
    if let Some(other) = elsewhere.filter(|_| logs == 0) {
        warn!(host = %host, stored = %other, "the logs of a watched folder are stored under another host, too: if the setting host was changed, all of them count twice; docs/OPERATIONS.md shows how to move them");
    }
    if logs > 0 {
        info!(logs, took_ms = now.elapsed().as_millis() as u64, "restored the stored logs");
    }
    Restored { foreign, before }
}

/// A partial that cannot be used gets a name that nobody takes for one: its log is counted again, if it is
/// there.
pub fn set_aside(path: &Path, why: &str) {
    let aside = path.with_extension("damaged");
    match std::fs::rename(path, &aside) {
        Ok(()) => {
            warn!(path = %path.display(), why, aside = %aside.display(), "a partial cannot be used: it is set aside, and its log is counted again if it exists")
        }
        Err(error) => {
            warn!(path = %path.display(), why, %error, "a partial cannot be used, and cannot be set aside")
        }
    }
}

/// The number under which another host's log is known.
fn foreign_id(entry: &Entry) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(entry.host.to_string().as_bytes(), entry.log)
}

/// What a partial tells of the numbers of its log.
pub fn kept_of(meta: &Meta) -> Kept {
    let (days, removals) = (meta.days.clone(), meta.removals.clone());
    Kept { totals: meta.totals, at_least: meta.at_least, blank: meta.blank, days, removals, clients: None }
}

/// The log that a partial tells of.
fn log_of(meta: &Meta, rules: Rules) -> Log {
    let Identity { file, size, changed, encoding, blocks, anchor, raw } = &meta.identity;
    let format = Compression::from_code(*encoding);
    let reason = Reason::from_word(meta.reason);
    let damage = if let Reason::Damage(damage) = reason { Some(damage) } else { None };
    let content = Content { to: meta.counted_to, blocks: blocks.clone(), anchor: *anchor };
    // What was given up may count by now: a new version may have learned it.
    let old = meta.rules != rules || (!meta.holes.is_empty() && meta.writer != env!("CARGO_PKG_VERSION"));
    let mut log =
        Log::counted(meta.folder.clone(), meta.name.clone(), *file, format, *size, *changed, content);
    if meta.state == State::Gone {
        log.presence = Presence::Gone;
    }
    log.deleted = meta.state == State::Deleted;
    log.count.quarantine =
        meta.holes.iter().map(|hole| (hole.range, Reason::from_word(hole.reason))).collect();
    (log.count.generation, log.count.unterminated) = (meta.generation, meta.unterminated);
    (log.count.by_other_rules, log.count.damage) = (old, damage);
    (log.raw, log.rotated) = (raw.clone(), meta.rotated);
    // It may have been told from others that it was compared with.
    log.guessed = meta.state == State::Counting;
    log.absorbed_prefixes = meta.absorbed.clone();
    log.successors = meta.successors.clone();
    if matches!(meta.state, State::Live | State::Final) {
        // Whether what is behind that in its file is of it was not known yet.
        log = log.that_was_caught_up(meta.state == State::Final);
    }
    let held = meta.complete && format.is_none() && meta.counted_to < *size;
    if held { log.with_held_line() } else { log }
}

/// What is stored of a log, beside its clients.
pub fn meta_of(id: u64, log: &Log, kept: &Kept, by: Before, written_at: u64) -> Meta {
    let state = match log.state() {
        _ if log.deleted => State::Deleted,
        crate::board::LogState::Gone => State::Gone,
        _ if log.guessed => State::Counting,
        crate::board::LogState::Final => State::Final,
        crate::board::LogState::Counting => State::Counting,
        _ => State::Live,
    };
    let (days, removals) =
        if log.deleted { Default::default() } else { (kept.days.clone(), kept.removals.clone()) };
    Meta {
        log: id,
        writer: by.writer,
        rules: by.rules,
        name: log.name.clone(),
        folder: log.folder.clone(),
        identity: Identity {
            file: log.file,
            size: log.size,
            changed: log.changed,
            encoding: log.format.map_or(0, Compression::code),
            blocks: log.count.content.blocks.clone(),
            anchor: log.count.content.anchor,
            raw: log.raw.clone(),
        },
        generation: log.count.generation,
        counted_to: log.count.content.to,
        holes: log
            .count
            .quarantine
            .iter()
            .map(|(range, reason)| Hole { range: *range, reason: reason.to_word() })
            .collect(),
        blank: kept.blank,
        days,
        removals,
        totals: kept.totals,
        at_least: kept.at_least,
        state,
        complete: log.is_complete(),
        unterminated: log.count.unterminated,
        rotated: log.rotated,
        reason: log.reason().to_word(),
        duplicate_of: 0,
        absorbed: log.absorbed_prefixes.clone(),
        successors: log.successors.clone(),
        written_at,
    }
}
