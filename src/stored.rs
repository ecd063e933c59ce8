//! `tallyd store` and `tallyd report`: what a state folder contains, without a daemon. A running daemon may
//! use the folder: the daemon replaces partials whole, so each partial that is read here is complete.
//!
//! A damaged or unreadable partial is an error of its own. A partial of a newer version is only a note: a
//! newer tallyd can read the partial.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::count::progress;
use crate::log::{Day, shown, shown_to_people};
use crate::show::{UNDATED, columns, day_fields, thousands};
use crate::store::folder::{self, Entry};
use crate::store::span::{self, Numbers, Share, Span, Stored, Sum};
use crate::store::unite::{self, Part};
use crate::store::{Meta, Partial, StoreError, read_meta, utc};

/// The output of a command.
#[derive(Debug, Default)]
pub struct Answer {
    /// For stdout.
    pub text: String,
    /// For stderr: remarks that are no errors.
    pub notes: Vec<String>,
    /// For stderr: errors, in a sentence each.
    pub errors: Vec<String>,
}

impl Answer {
    /// Returns the value of a partial that could be read; notes or reports a partial that could not.
    fn take<T>(&mut self, path: &Path, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            // The daemon has deleted the partial since the folder was listed.
            Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(trouble @ StoreError::Newer(_)) => {
                self.notes.push(format!("{} is skipped: {trouble}", shown_path(path)))
            }
            Err(trouble) => self.errors.push(format!("{}: {trouble}", shown_path(path))),
        }
        None
    }

    /// Lists the partials of a state folder; `None` and an error if `state` is no state folder.
    fn list(&mut self, state: &Path) -> Option<Vec<Entry>> {
        if !state.join("partials").is_dir() {
            let what = if state.is_dir() { "is not a state folder of tallyd" } else { "does not exist" };
            self.errors.push(format!(
                "the folder {} {what}: give the state folder of the daemon as --state",
                shown_path(state)
            ));
            return None;
        }
        folder::list(state)
            .map_err(|error| self.errors.push(format!("cannot read {}: {error}", shown_path(state))))
            .ok()
    }
}

/// `tallyd store ls`: a line for each partial, or an object.
pub fn ls(state: &Path, as_json: bool) -> Answer {
    let mut answer = Answer::default();
    let Some(entries) = answer.list(state) else { return answer };
    let mut listed: Vec<(Entry, Meta, u64)> = Vec::new();
    for entry in entries {
        let read = || {
            let file = File::open(&entry.path)?;
            let size = file.metadata()?.len();
            Ok((read_meta(file)?, size))
        };
        if let Some((meta, size)) = answer.take(&entry.path, read()) {
            listed.push((entry, meta, size));
        }
    }
    listed.sort_by(|(_, one, _), (_, two, _)| one.name.cmp(&two.name));
    answer.text = if as_json { as_objects(&listed) } else { as_table(&listed) };
    answer
}

fn as_objects(listed: &[(Entry, Meta, u64)]) -> String {
    let object = |(entry, meta, size): &(Entry, Meta, u64)| {
        json!({
            "id": format!("{:016x}", entry.log),
            "host": entry.host.to_string(),
            "name": shown(&meta.name),
            "state": meta.state.word(),
            "complete": meta.complete,
            "days": meta.days.len(),
            "requests": meta.totals.counts.requests(),
            "unique_ips": meta.totals.clients.all(),
            "size": size,
            "written_at": meta.written_at,
        })
    };
    let objects: Vec<_> = listed.iter().map(object).collect();
    serde_json::to_string_pretty(&json!({"partials": objects})).expect("keys are strings") + "\n"
}

fn as_table(listed: &[(Entry, Meta, u64)]) -> String {
    let mut cells = vec![
        ["log", "host", "id", "state", "days", "requests", "clients", "bytes stored", "written (UTC)"]
            .map(str::to_owned),
    ];
    cells.extend(listed.iter().map(|(entry, meta, size)| {
        [
            shown_to_people(&meta.name),
            entry.host.to_string(),
            format!("{:016x}", entry.log),
            meta.state.word().to_owned(),
            thousands(meta.days.len() as u64),
            thousands(meta.totals.counts.requests()),
            thousands(meta.totals.clients.all()),
            thousands(*size),
            utc(meta.written_at),
        ]
    }));
    columns(&cells)
}

/// `tallyd store check`: decodes every partial.
pub fn check(state: &Path) -> Answer {
    let mut answer = Answer::default();
    let (mut whole, mut clients) = (0, 0);
    let Some(entries) = answer.list(state) else { return answer };
    for_each(&mut answer, entries, |answer, entry| {
        let read = || {
            let partial = Partial::open(File::open(&entry.path)?)?;
            partial.check()?;
            Ok(partial.meta().days_with_clients().map(|(_, totals)| totals.clients.all()).sum::<u64>())
        };
        if let Some(count) = answer.take(&entry.path, read()) {
            (whole, clients) = (whole + 1, clients + count);
        }
    });
    answer.text = format!(
        "{} partials are as they were written, with {} clients by day\n",
        thousands(whole),
        thousands(clients)
    );
    answer
}

/// `tallyd store export`: checks and copies the partials. A different partial that is already at the
/// destination stays and is an error.
pub fn export(state: &Path, to: &Path) -> Answer {
    let mut answer = Answer::default();
    let (mut copied, mut same) = (0, 0);
    let Some(entries) = answer.list(state) else { return answer };
    for_each(&mut answer, entries, |answer, entry| {
        let read = || {
            let bytes = fs::read(&entry.path)?;
            match Partial::from_bytes(bytes.clone()).and_then(|partial| partial.check()) {
                // A newer partial can be copied, though not checked.
                Ok(()) | Err(StoreError::Newer(_)) => Ok(bytes),
                Err(trouble) => Err(trouble),
            }
        };
        let Some(bytes) = answer.take(&entry.path, read()) else { return };
        match copy(entry, &bytes, to) {
            Ok(true) => copied += 1,
            Ok(false) => same += 1,
            Err(error) => answer.errors.push(format!(
                "cannot write {}: {error}",
                shown_path(&folder::path(&folder::of(to, &entry.host), entry.log))
            )),
        }
    });
    answer.text = format!("{} partials copied, {} were there already\n", thousands(copied), thousands(same));
    answer
}

/// Writes a partial to another state folder; returns whether the partial was missing there.
fn copy(entry: &Entry, bytes: &[u8], to: &Path) -> io::Result<bool> {
    let folder = folder::make(to, &entry.host)?;
    match fs::read(folder::path(&folder, entry.log)) {
        Ok(there) if there == bytes => return Ok(false),
        Ok(there) if !there.is_empty() => {
            return Err(io::Error::other(
                "a different partial is already there and stays; move it away, or export to an empty folder",
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    folder::write(&folder, entry.log, bytes)?;
    Ok(true)
}

/// Runs `act` on each partial, with a progress bar on stderr if that takes long.
fn for_each(answer: &mut Answer, entries: Vec<Entry>, mut act: impl FnMut(&mut Answer, &Entry)) {
    let size = |entry: &Entry| entry.path.metadata().map_or(0, |about| about.len());
    let bar = progress(entries.iter().map(size).sum());
    for entry in &entries {
        let size = size(entry);
        act(answer, entry);
        bar.inc(size);
    }
    bar.finish_and_clear();
}

/// `tallyd report`: the numbers of the days from `from` to `to`, both inclusive: a line for each day and one
/// for all, or the object of `GET /api/v1/range`.
pub fn report(state: &Path, from: Option<Day>, to: Option<Day>, as_json: bool) -> Answer {
    let mut answer = Answer::default();
    let Some(entries) = answer.list(state) else { return answer };
    let mut logs = Vec::new();
    for entry in entries {
        let read = File::open(&entry.path).map_err(StoreError::from).and_then(read_meta);
        if let Some(meta) = answer.take(&entry.path, read) {
            logs.push(Stored { path: entry.path, meta });
        }
    }
    let span = if from.is_none() && to.is_none() { Span::All } else { Span::Days(from, to) };
    let (days, all) = unite_days(&mut answer, &mut logs, span);
    // A partial that could not be read may contain lines of any day.
    let counted = answer.errors.is_empty() && answer.notes.is_empty() && span::is_complete(&logs, span);
    if as_json {
        let day = |day: Option<Day>| day.map(|day| day.to_string());
        let mut object = serde_json::Map::from_iter([
            ("from".to_owned(), json!(day(from))),
            ("to".to_owned(), json!(day(to))),
        ]);
        object.append(&mut day_fields(&all.totals));
        let complete = counted && !all.at_least;
        object.extend([
            ("files".to_owned(), json!(all.files)),
            ("complete".to_owned(), json!(complete)),
            ("unique_ips_at_least".to_owned(), json!(all.at_least)),
        ]);
        answer.text = serde_json::to_string_pretty(&object).expect("keys are strings") + "\n";
    } else {
        let line = |name: String, Numbers { totals, files, at_least }: &Numbers| {
            let numbers = [
                totals.counts.requests(),
                totals.clients.all(),
                totals.counts.malformed,
                totals.counts.log_bytes,
                *files,
            ]
            .map(thousands);
            let [requests, clients, malformed, bytes, files] = numbers;
            [
                name,
                requests,
                if *at_least { format!("≥ {clients}") } else { clients },
                malformed,
                bytes,
                files,
            ]
        };
        let mut cells =
            vec![["day", "requests", "unique clients", "malformed", "log bytes", "logs"].map(str::to_owned)];
        cells.extend(
            days.iter()
                .map(|(day, numbers)| line(day.map_or(UNDATED.to_owned(), |day| day.to_string()), numbers)),
        );
        cells.push(line(format!("all {}", thousands(days.len() as u64)), &all));
        answer.text = columns(&cells);
        if all.at_least || days.iter().any(|(_, day)| day.at_least) {
            answer.notes.push("≥: clients of some of these days were deleted (retention_days), so there may be more unique clients".to_owned());
        }
        if !counted {
            answer.notes.push(
                "these days are not complete: a log is still being counted, or could not be read".to_owned(),
            );
        }
    }
    answer
}

/// The numbers of each day of the span, undated last, and their total.
///
/// A partial that is replaced meanwhile is read again; a partial that cannot be decoded is left out and
/// reported.
fn unite_days(
    answer: &mut Answer,
    logs: &mut Vec<Stored>,
    span: Span,
) -> (Vec<(Option<Day>, Numbers)>, Numbers) {
    let mut parts: BTreeMap<(PathBuf, Option<Day>), Part> = BTreeMap::new();
    loop {
        let shares = span::shares(logs, span);
        let of_days: Vec<(&[Share], Sum)> = shares
            .chunk_by(|one, two| one.reported == two.reported)
            .map(|shares| (shares, span::sum(logs, shares)))
            .collect();
        let all = span::sum(logs, &shares);
        let key = |share: &Share| (logs[share.log].path.clone(), share.day);
        // Days whose numbers are in the footers are not decoded.
        let wanted = of_days
            .iter()
            .filter(|(_, sum)| all.wants_union() || sum.wants_union())
            .flat_map(|(shares, _)| *shares);
        let missing: Vec<Share> = wanted
            .filter(|share| !share.is_removed(logs) && !parts.contains_key(&key(share)))
            .copied()
            .collect();
        let mut wrong = BTreeMap::new();
        for (share, part) in missing.iter().zip(unite::decode(logs, &missing, false)) {
            match part {
                Ok(part) => drop(parts.insert(key(share), part)),
                Err(trouble) => drop(wrong.insert(share.log, trouble)),
            }
        }
        if wrong.is_empty() {
            let united = |shares: &[Share]| {
                unite::unite(&shares.iter().filter_map(|share| parts.get(&key(share))).collect::<Vec<_>>())
            };
            let numbers = |sum: Sum, shares: &[Share]| {
                if sum.wants_union() { sum.with(united(shares)) } else { sum.numbers }
            };
            let mut days: Vec<_> =
                of_days.into_iter().map(|(shares, sum)| (shares[0].reported, numbers(sum, shares))).collect();
            days.sort_by_key(|(day, _)| (day.is_none(), *day));
            return (days, numbers(all, &shares));
        }
        // From the last one on, so that the places of the others stay valid.
        for (log, trouble) in wrong.into_iter().rev() {
            let path = logs[log].path.clone();
            parts.retain(|(part, _), _| *part != path);
            let again = match trouble {
                StoreError::Replaced => File::open(&path).map_err(StoreError::from).and_then(read_meta),
                trouble => Err(trouble),
            };
            match answer.take(&path, again) {
                Some(meta) => logs[log].meta = meta,
                None => drop(logs.remove(log)),
            }
        }
    }
}

fn shown_path(path: &Path) -> String {
    shown_to_people(path.as_os_str().as_encoded_bytes())
}
