//! How many distinct clients days have together, from what is stored: for the start, when no clients are in
//! memory, and for days whose unions would take too much of it.
//!
//! Each log is opened once for all its days, and its clients are folded into the unions of these, some logs
//! at a time. So it takes memory for the unions and for a few logs.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{Part, Union};
use crate::log::Day;
use crate::store::error::StoreError;
use crate::store::partial::Partial;
use crate::tally::{Clients, Distinct};

/// So much is decoded at once, in bytes.
const CHUNK_BYTES: u64 = 16 << 20;
/// What a part takes beside its clients, and what a client takes, about.
const PART_BYTES: u64 = 256;
const CLIENT_BYTES: u64 = 16;

/// Days of a log that are to be united with those of other logs.
#[derive(Debug)]
pub struct Wanted {
    /// The log.
    pub log: u64,
    /// Its partial.
    pub path: PathBuf,
    /// Its days.
    pub days: Vec<WantedDay>,
    /// How many clients these have, about.
    pub clients: u64,
}

/// A day of a log that is to be united.
#[derive(Debug)]
pub struct WantedDay {
    /// The day as the lines say.
    pub day: Option<Day>,
    /// The day that it is reported under.
    pub reported: Option<Day>,
    /// How many clients it must have.
    pub distinct: Distinct,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct United {
    /// How many clients each reported day has, without those of the logs that cannot be used.
    pub days: BTreeMap<Option<Day>, Distinct>,
    /// The logs that cannot be used, and why.
    pub wrong: Vec<(u64, StoreError)>,
}

/// Unites days of logs, by all cores: those that are stored, and those that are in memory, each under the day
/// that it is reported under.
pub fn unite_days(mut wanted: &[Wanted], present: &[(Option<Day>, Arc<Clients>)]) -> United {
    let mut unions: BTreeMap<Option<Day>, Union> = BTreeMap::new();
    let mut united = United::default();
    while !wanted.is_empty() {
        let (chunk, rest) = wanted.split_at(chunk_of(wanted));
        let decoded: Vec<Result<Vec<Part>, StoreError>> = chunk.par_iter().map(decode).collect();
        let mut parts: BTreeMap<Option<Day>, Vec<(Option<Day>, &Part)>> = BTreeMap::new();
        for (wanted, decoded) in chunk.iter().zip(&decoded) {
            for (WantedDay { reported, .. }, part) in wanted.days.iter().zip(decoded.iter().flatten()) {
                parts.entry(*reported).or_default().push((*reported, part));
            }
        }
        for (day, parts) in &parts {
            unions.entry(*day).or_default().fold(parts, false);
        }
        united.wrong.extend(
            chunk.iter().zip(decoded).filter_map(|(wanted, decoded)| Some((wanted.log, decoded.err()?))),
        );
        wanted = rest;
    }
    for (day, clients) in present {
        unions.entry(*day).or_default().fold(&[(*day, &Part::of_clients(clients))], false);
    }
    united.days = unions.iter().map(|(day, union)| (*day, union.distinct())).collect();
    united
}

/// How many of the first logs are decoded at once: at least one.
fn chunk_of(wanted: &[Wanted]) -> usize {
    let mut bytes = 0;
    let fits = |wanted: &&Wanted| {
        bytes += wanted.days.len() as u64 * PART_BYTES + wanted.clients * CLIENT_BYTES;
        bytes <= CHUNK_BYTES
    };
    wanted.iter().take_while(fits).count().max(1)
}

fn decode(wanted: &Wanted) -> Result<Vec<Part>, StoreError> {
    let partial = Partial::open(File::open(&wanted.path)?)?;
    let decode = |wanted: &WantedDay| {
        let part = Part::decode(&partial, wanted.day)?;
        if part.distinct() == wanted.distinct {
            Ok(part)
        } else {
            Err(StoreError::Damaged("the clients do not match the numbers"))
        }
    };
    wanted.days.iter().map(decode).collect()
}
