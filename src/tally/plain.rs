//! The counting rules once more, as a plain slow program: what `tallyd verify` and the tests hold the engine
//! against.
//!
//! It shares no code with the engine on purpose, from the end of a line to the kind of a client. Where the
//! two differ, one of them is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::clients::Key;
use super::counts::Counts;
use super::part::Tally;
use super::rules::Rules;
use super::totals::Totals;
use super::usage::Usage;
use crate::log::Rule;

/// Counts of one log, by day as text (`2021-03-22`; empty for requests without a time stamp).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PlainTally {
    /// The blank lines.
    pub blank: Counts,
    /// The requests of each day.
    pub days: BTreeMap<String, PlainPart>,
}

/// Counts of one day.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PlainPart {
    /// The requests.
    pub counts: Counts,
    /// What each client did, by the client as logged.
    pub clients: HashMap<Vec<u8>, Usage>,
}

/// Counts a whole log from its first byte to its last.
pub fn tally(bytes: &[u8], rules: Rules) -> PlainTally {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut tally = PlainTally::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let length = line.len() as u64;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.iter().all(|byte| WHITE.contains(byte)) {
            tally.blank.blank += 1;
            tally.blank.log_bytes += length;
            continue;
        }
        let when = time(line);
        let day = tally.days.entry(when.as_ref().map_or(String::new(), |(day, _)| day.clone())).or_default();
        day.counts.log_bytes += length;
        let usage = day.clients.entry(client(line, rules.client).to_vec()).or_default();
        usage.requests += 1;
        usage.bytes += length;
        match when {
            Some((_, hour)) => {
                day.counts.parsed += 1;
                day.counts.hours[hour] += 1;
                usage.hours |= 1 << hour;
            }
            None => day.counts.malformed += 1,
        }
    }
    tally
}

const WHITE: &[u8] = b" \t\r\x0b\x0c";

fn client(line: &[u8], rule: Rule) -> &[u8] {
    let mut client = line;
    match rule {
        Rule::FirstField => {
            while WHITE.contains(&client[0]) {
                client = &client[1..];
            }
            if let Some(end) = client.iter().position(|byte| WHITE.contains(byte) || *byte == b',') {
                client = &client[..end];
            }
        }
        Rule::BeforeDashes => {
            if let Some(end) = line.windows(4).position(|four| four == b" - -") {
                client = &client[..end];
            }
            if let Some(end) = client.iter().position(|byte| *byte == b',') {
                client = &client[..end];
            }
        }
    }
    if client.len() > 1024 { &client[..1024] } else { client }
}

/// The day and hour of the first `[dd/Mon/yyyy:HH:MM:SS ±hhmm]` that is real.
fn time(line: &[u8]) -> Option<(String, usize)> {
    for text in line.windows(28) {
        let shape = text.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte });
        if !(shape.clone().take(4).eq(*b"[00/")
            && shape.clone().skip(7).take(15).eq(*b"/0000:00:00:00 ")
            && shape.skip(23).eq(*b"0000]"))
        {
            continue;
        }
        let number = |from: usize, to: usize| {
            text[from..to].iter().fold(0usize, |number, digit| number * 10 + usize::from(digit - b'0'))
        };
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Some(month) = months.iter().position(|name| name.as_bytes() == &text[4..7]) else { continue };
        let (day, year) = (number(1, 3), number(8, 12));
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
        let sign = text[22] == b'+' || text[22] == b'-';
        let clock = number(13, 15) < 24 && number(16, 18) < 60 && number(19, 21) <= 60;
        if sign && clock && year > 0 && day > 0 && day <= length {
            return Some((format!("{year:04}-{:02}-{day:02}", month + 1), number(13, 15)));
        }
    }
    None
}

fn is_ipv4(client: &[u8]) -> bool {
    let parts: Vec<&[u8]> = client.split(|byte| *byte == b'.').collect();
    parts.len() == 4
        && parts.iter().all(|part| {
            (1..=3).contains(&part.len())
                && part.iter().all(u8::is_ascii_digit)
                && (part.len() == 1 || part[0] != b'0')
                && part.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')) <= 255
        })
}

/// RFC 4291, section 2.2: groups of up to four hexadecimal digits, `::` once for one or more groups of zeros,
/// the last two groups as IPv4 or not.
fn is_ipv6(client: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(client) else { return false };
    let groups = |text: &str, last: bool| -> Option<usize> {
        if text.is_empty() {
            return Some(0);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let mut count = 0;
        for (at, part) in parts.iter().enumerate() {
            if last && at + 1 == parts.len() && is_ipv4(part.as_bytes()) {
                count += 2;
            } else if (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                count += 1;
            } else {
                return None;
            }
        }
        Some(count)
    };
    match text.split_once("::") {
        Some((left, right)) => {
            matches!((groups(left, false), groups(right, true)), (Some(left), Some(right)) if left + right <= 7)
        }
        None => groups(text, true) == Some(8),
    }
}

impl PlainTally {
    /// The numbers over all days.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { counts: self.blank, ..Totals::default() };
        let mut union = BTreeSet::new();
        for day in self.days.values() {
            totals.counts.parsed += day.counts.parsed;
            totals.counts.malformed += day.counts.malformed;
            totals.counts.log_bytes += day.counts.log_bytes;
            (0..24).for_each(|hour| totals.counts.hours[hour] += day.counts.hours[hour]);
            union.extend(day.clients.keys());
        }
        for client in union {
            match (is_ipv4(client), is_ipv6(client)) {
                (true, _) => totals.clients.ipv4 += 1,
                (_, true) => totals.clients.ipv6 += 1,
                _ => totals.clients.other += 1,
            }
        }
        totals
    }
}

impl From<&Tally> for PlainTally {
    /// What the engine counted, in the words of this module.
    fn from(tally: &Tally) -> PlainTally {
        let days = tally.days.iter().map(|(day, part)| {
            let clients = part.clients.iter().map(|(client, usage)| {
                let client = match client {
                    Key::V4(address) => std::net::Ipv4Addr::from(address).to_string().into_bytes(),
                    Key::Bytes(bytes) => bytes.to_vec(),
                };
                (client, usage)
            });
            let day = day.map_or(String::new(), |day| day.to_string());
            (day, PlainPart { counts: part.counts, clients: clients.collect() })
        });
        PlainTally { blank: tally.blank, days: days.collect() }
    }
}
