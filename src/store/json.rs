//! The JSON of a partial's footer. Its words are a contract; these types are private to it.
//!
//! Ids, hashes, devices and inodes are texts of 16 hexadecimal digits: readers of JSON lose bits of numbers
//! above 2^53. For the same reason no number above that is written or taken.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{REMOVALS, StoreError, VERSION};
use super::hex::{all_hex, bytes, hex, number, numbers};
use super::meta::{Hole, Identity, Meta, State};
use super::removal::{DayUnion, Removal};
use crate::log::{Day, Rule, shown};
use crate::range::Range;
use crate::sample::Sample;
use crate::tally::{Counts, Distinct, Rules, Totals};

/// What is in the text before its last entry.
const CHECKSUMS: &str = ",\"checksums\":{";
const NUMBER_MAX: u64 = 1 << 53;
/// The version of the counting rules.
const RULES: u64 = 1;

/// The checksums beside the JSON's own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    /// Of the footer without the JSON.
    pub(super) footer: u64,
    /// Of the rows.
    pub(super) data: u64,
    /// Of the columns' bytes in the file, by row group.
    pub(super) chunks: Vec<Vec<u64>>,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    version: u64,
    #[serde(default)]
    writer: String,
    rules: WireRules,
    log: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    folder: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder_hex: Option<String>,
    #[serde(borrow)]
    identity: WireIdentity<'a>,
    generation: u64,
    done: Vec<(u64, u64)>,
    counted_to: u64,
    holes: Vec<WireHole>,
    lines: u64,
    blank: u64,
    blank_bytes: u64,
    days: Vec<WireDay>,
    totals: WireTotals,
    #[serde(default, skip_serializing_if = "is_false")]
    at_least: bool,
    state: String,
    complete: bool,
    unterminated: bool,
    rotated: bool,
    reason: u64,
    duplicate_of: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    absorbed: Vec<(String, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    successors: Vec<WireFile>,
    written_at: u64,
}

/// A file by its device and inode.
#[derive(Serialize, Deserialize)]
struct WireFile {
    device: String,
    inode: String,
}

#[derive(Serialize, Deserialize)]
struct WireRules {
    version: u64,
    client: String,
}

#[derive(Serialize, Deserialize)]
struct WireIdentity<'a> {
    device: String,
    inode: String,
    size: u64,
    /// Seconds and nanoseconds.
    changed: (u64, u32),
    encoding: u64,
    blocks: Cow<'a, str>,
    anchor: Option<WireSample>,
    raw: Vec<WireSample>,
}

#[derive(Serialize, Deserialize)]
struct WireSample {
    at: u64,
    length: u32,
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct WireHole {
    from: u64,
    to: u64,
    reason: u64,
}

#[derive(Serialize, Deserialize)]
struct WireDay {
    /// None: without a time stamp.
    day: Option<String>,
    #[serde(flatten)]
    totals: WireTotals,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removal: Option<WireRemoval>,
}

/// What became of the clients of a day.
#[derive(Serialize, Deserialize)]
struct WireRemoval {
    done: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    at_least: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    union: Option<WireUnion>,
}

#[derive(Serialize, Deserialize)]
struct WireUnion {
    id: String,
    parts: u64,
    ipv4: u64,
    ipv6: u64,
    other: u64,
}

#[derive(Serialize, Deserialize)]
struct WireTotals {
    requests: u64,
    parsed: u64,
    malformed: u64,
    unique_ips: u64,
    ipv4: u64,
    ipv6: u64,
    other: u64,
    bytes: u64,
    requests_by_hour: [u64; 24],
    /// Of a whole log. A day has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    blank: u64,
}

#[derive(Deserialize)]
struct WireVersion {
    version: u64,
}

#[derive(Deserialize)]
struct WireChecks {
    checksums: WireChecksums,
}

#[derive(Deserialize)]
struct WireChecksums {
    metadata: String,
    footer: String,
    data: String,
    chunks: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(is: &bool) -> bool {
    !is
}

/// The JSON text. Its checksum of the footer may be put in later: it has the same length whatever it is.
///
/// `None` if a number is too large to be a JSON reader's.
pub(super) fn write(meta: &Meta, checks: &Checks) -> Option<String> {
    let body = serde_json::to_string(&Wire::try_from(meta).ok()?).ok()?;
    let text = body.strip_suffix('}')?;
    let chunks: Vec<String> = checks.chunks.iter().map(|group| format!("\"{}\"", all_hex(group))).collect();
    let (metadata, footer, data) = (hex(xxh3_64(body.as_bytes())), hex(checks.footer), hex(checks.data));
    Some(format!(
        "{text}{CHECKSUMS}\"metadata\":\"{metadata}\",\"footer\":\"{footer}\",\"data\":\"{data}\",\"chunks\":[{}]}}}}",
        chunks.join(",")
    ))
}

/// Where in the text the digits of the footer's checksum stand.
pub(super) fn place_of_footer_check(text: &str) -> Option<usize> {
    let key = "\"footer\":\"";
    let checksums = text.rfind(CHECKSUMS)?;
    Some(checksums + text.get(checksums..)?.find(key)? + key.len())
}

/// Reads the text of a footer.
///
/// # Errors
/// `Damaged` or `Newer`.
pub(super) fn read(text: &str) -> Result<(Meta, Checks), StoreError> {
    match serde_json::from_str(text).map(|WireVersion { version }| version) {
        Ok(1..=VERSION) => {}
        Ok(newer) if newer > VERSION => return Err(StoreError::Newer(newer)),
        _ => return Err(StoreError::Damaged("the JSON is not readable")),
    }
    let body = text
        .rfind(CHECKSUMS)
        .and_then(|at| text.get(..at))
        .ok_or(StoreError::Damaged("the JSON has no checksums"))?;
    let body = format!("{body}}}");
    let wire: WireChecks =
        serde_json::from_str(text).map_err(|_| StoreError::Damaged("the checksums are not readable"))?;
    let wire = wire.checksums;
    if number(&wire.metadata) != Some(xxh3_64(body.as_bytes())) {
        return Err(StoreError::Damaged("the checksum of its JSON is wrong"));
    }
    let checks = || {
        Some(Checks {
            footer: number(&wire.footer)?,
            data: number(&wire.data)?,
            chunks: wire.chunks.iter().map(|group| numbers(group)).collect::<Option<_>>()?,
        })
    };
    let checks = checks().ok_or(StoreError::Damaged("the checksums are not readable"))?;
    let meta = serde_json::from_str::<Wire>(&body).ok().and_then(|wire| Meta::try_from(wire).ok());
    Ok((meta.ok_or(StoreError::Damaged("the JSON has values that are not possible"))?, checks))
}

/// A value that the JSON cannot have.
struct MetaError;

impl TryFrom<&Meta> for Wire<'_> {
    type Error = MetaError;

    fn try_from(meta: &Meta) -> Result<Self, MetaError> {
        let hex_of = |bytes: &[u8]| {
            str::from_utf8(bytes).is_err().then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let identity = &meta.identity;
        let wire = Wire {
            version: if meta.removals.values().any(|removal| removal.done) { REMOVALS } else { 1 },
            writer: meta.writer.clone(),
            rules: WireRules { version: RULES, client: rule_word(meta.rules.client).to_owned() },
            log: hex(meta.log),
            name: shown(&meta.name),
            name_hex: hex_of(&meta.name),
            folder: shown(&meta.folder),
            folder_hex: hex_of(&meta.folder),
            identity: WireIdentity {
                device: hex(identity.file.0),
                inode: hex(identity.file.1),
                size: sane(identity.size)?,
                changed: (sane(identity.changed.as_secs())?, identity.changed.subsec_nanos()),
                encoding: sane(identity.encoding)?,
                blocks: all_hex(&identity.blocks).into(),
                anchor: identity.anchor.map(WireSample::from),
                raw: identity.raw.iter().copied().map(WireSample::from).collect(),
            },
            generation: sane(meta.generation)?,
            done: meta.done().iter().map(|range| (range.from(), range.to())).collect(),
            counted_to: sane(meta.counted_to)?,
            holes: meta
                .holes
                .iter()
                .map(|hole| WireHole { from: hole.range.from(), to: hole.range.to(), reason: hole.reason })
                .collect(),
            lines: sane(meta.totals.counts.requests())? + sane(meta.blank.blank)?,
            blank: meta.blank.blank,
            blank_bytes: sane(meta.blank.log_bytes)?,
            days: meta
                .days
                .iter()
                .map(|(day, totals)| {
                    let removal = meta.removals.get(day).copied().map(WireRemoval::try_from).transpose()?;
                    Ok(WireDay { day: day.map(|day| day.to_string()), totals: totals.try_into()?, removal })
                })
                .collect::<Result<_, _>>()?,
            totals: (&meta.totals).try_into()?,
            at_least: meta.at_least,
            state: meta.state.word().to_owned(),
            complete: meta.complete,
            unterminated: meta.unterminated,
            rotated: meta.rotated,
            reason: sane(meta.reason)?,
            duplicate_of: hex(meta.duplicate_of),
            absorbed: meta.absorbed.iter().map(|(log, to)| (hex(*log), *to)).collect(),
            successors: meta
                .successors
                .iter()
                .map(|(device, inode)| WireFile { device: hex(*device), inode: hex(*inode) })
                .collect(),
            written_at: sane(meta.written_at)?,
        };
        Ok(wire)
    }
}

impl TryFrom<Wire<'_>> for Meta {
    type Error = MetaError;

    fn try_from(wire: Wire<'_>) -> Result<Meta, MetaError> {
        let bytes_of = |text: String, hex: Option<String>| {
            hex.map_or(Some(text.into_bytes()), |hex| bytes(&hex)).ok_or(MetaError)
        };
        let identity = wire.identity;
        let (mut days, mut removals) = (BTreeMap::new(), BTreeMap::new());
        for WireDay { day, totals, removal } in wire.days {
            let day = day.map(|day| Day::parse(&day).ok_or(MetaError)).transpose()?;
            days.insert(day, totals.try_into()?);
            if let Some(removal) = removal {
                removals.insert(day, removal.try_into()?);
            }
        }
        if wire.rules.version != RULES {
            return Err(MetaError);
        }
        let holes = wire.holes.iter().map(|hole| {
            Some(Hole { range: Range::new(sane(hole.from).ok()?, sane(hole.to).ok()?)?, reason: hole.reason })
        });
        Ok(Meta {
            log: number(&wire.log).ok_or(MetaError)?,
            writer: wire.writer,
            rules: Rules { client: rule(&wire.rules.client).ok_or(MetaError)? },
            name: bytes_of(wire.name, wire.name_hex)?,
            folder: bytes_of(wire.folder, wire.folder_hex)?,
            identity: Identity {
                file: (number(&identity.device).ok_or(MetaError)?, number(&identity.inode).ok_or(MetaError)?),
                size: sane(identity.size)?,
                changed: if identity.changed.1 < 1_000_000_000 {
                    Duration::new(identity.changed.0, identity.changed.1)
                } else {
                    return Err(MetaError);
                },
                encoding: identity.encoding,
                blocks: numbers(&identity.blocks).ok_or(MetaError)?,
                anchor: identity.anchor.map(Sample::try_from).transpose()?,
                raw: identity.raw.into_iter().map(Sample::try_from).collect::<Result<_, _>>()?,
            },
            generation: wire.generation,
            counted_to: sane(wire.counted_to)?,
            holes: holes.collect::<Option<_>>().ok_or(MetaError)?,
            blank: Counts {
                blank: sane(wire.blank)?,
                log_bytes: sane(wire.blank_bytes)?,
                ..Counts::default()
            },
            days,
            removals,
            totals: wire.totals.try_into()?,
            at_least: wire.at_least,
            state: State::from_word(&wire.state).ok_or(MetaError)?,
            complete: wire.complete,
            unterminated: wire.unterminated,
            rotated: wire.rotated,
            reason: wire.reason,
            duplicate_of: number(&wire.duplicate_of).ok_or(MetaError)?,
            absorbed: wire
                .absorbed
                .iter()
                .map(|(log, to)| Some((number(log)?, *to)))
                .collect::<Option<_>>()
                .ok_or(MetaError)?,
            successors: wire
                .successors
                .iter()
                .map(|file| number(&file.device).zip(number(&file.inode)))
                .collect::<Option<_>>()
                .ok_or(MetaError)?,
            written_at: wire.written_at,
        })
    }
}

impl TryFrom<&Totals> for WireTotals {
    type Error = MetaError;

    fn try_from(totals: &Totals) -> Result<WireTotals, MetaError> {
        totals.to_words().into_iter().try_for_each(|number| sane(number).map(drop))?;
        let Totals {
            counts: Counts { blank, parsed, malformed, log_bytes, hours },
            clients: Distinct { ipv4, ipv6, other },
        } = *totals;
        let (requests, unique_ips) = (totals.counts.requests(), totals.clients.all());
        Ok(WireTotals {
            requests,
            parsed,
            malformed,
            unique_ips,
            ipv4,
            ipv6,
            other,
            bytes: log_bytes,
            requests_by_hour: hours,
            blank,
        })
    }
}

impl TryFrom<WireTotals> for Totals {
    type Error = MetaError;

    fn try_from(wire: WireTotals) -> Result<Totals, MetaError> {
        let WireTotals {
            parsed, malformed, ipv4, ipv6, other, bytes, requests_by_hour: hours, blank, ..
        } = wire;
        let totals = Totals {
            counts: Counts { blank, parsed, malformed, log_bytes: bytes, hours },
            clients: Distinct { ipv4, ipv6, other },
        };
        WireTotals::try_from(&totals).map(|_| totals)
    }
}

impl TryFrom<Removal> for WireRemoval {
    type Error = MetaError;

    fn try_from(removal: Removal) -> Result<WireRemoval, MetaError> {
        let union = |DayUnion { id, parts, distinct: Distinct { ipv4, ipv6, other } }| {
            Ok(WireUnion {
                id: hex(id),
                parts: sane(parts)?,
                ipv4: sane(ipv4)?,
                ipv6: sane(ipv6)?,
                other: sane(other)?,
            })
        };
        Ok(WireRemoval {
            done: removal.done,
            at_least: removal.late,
            union: removal.union.map(union).transpose()?,
        })
    }
}

impl TryFrom<WireRemoval> for Removal {
    type Error = MetaError;

    fn try_from(wire: WireRemoval) -> Result<Removal, MetaError> {
        let union = |WireUnion { id, parts, ipv4, ipv6, other }| {
            let distinct = Distinct { ipv4: sane(ipv4)?, ipv6: sane(ipv6)?, other: sane(other)? };
            Ok(DayUnion { id: number(&id).ok_or(MetaError)?, parts: sane(parts)?, distinct })
        };
        Ok(Removal { done: wire.done, late: wire.at_least, union: wire.union.map(union).transpose()? })
    }
}

impl From<Sample> for WireSample {
    fn from(sample: Sample) -> WireSample {
        WireSample { at: sample.at, length: sample.length, hash: hex(sample.hash) }
    }
}

impl TryFrom<WireSample> for Sample {
    type Error = MetaError;

    fn try_from(wire: WireSample) -> Result<Sample, MetaError> {
        Ok(Sample { at: sane(wire.at)?, length: wire.length, hash: number(&wire.hash).ok_or(MetaError)? })
    }
}

fn sane(number: u64) -> Result<u64, MetaError> {
    if number <= NUMBER_MAX { Ok(number) } else { Err(MetaError) }
}

fn rule_word(rule: Rule) -> &'static str {
    match rule {
        Rule::FirstField => "first-field",
        Rule::BeforeDashes => "before-dashes",
    }
}

fn rule(word: &str) -> Option<Rule> {
    [Rule::FirstField, Rule::BeforeDashes].into_iter().find(|rule| rule_word(*rule) == word)
}
