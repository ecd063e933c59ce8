//! The fast engine: takes bytes piece by piece, counts the lines in them.

use std::collections::BTreeMap;

use memchr::{memchr, memchr_iter, memrchr};

use super::{DayTally, Key, Rules, Tally};
use crate::log::{Day, Rule, STAMP_BYTES, Stamp, TornLine, client, is_blank, is_white, leading_ipv4};

/// Counts lines as their bytes come. Pieces may end anywhere.
#[derive(Debug)]
pub struct Counter {
    rules: Rules,
    blank: u64,
    blank_bytes: u64,
    /// The tallies of the days met, in the order they were met, and where each stands.
    days: Vec<DayTally>,
    places: BTreeMap<Option<Day>, usize>,
    /// The date of the latest parsed line as it was written, with its `[`, and the place of its day: it rarely changes.
    latest: Option<([u8; 12], usize)>,
    torn: Option<TornLine>,
    skipping: bool,
}

impl Counter {
    /// A counter that begins at the start of a line.
    pub fn new(rules: Rules) -> Counter {
        let (days, places) = (Vec::new(), BTreeMap::new());
        Counter { rules, blank: 0, blank_bytes: 0, days, places, latest: None, torn: None, skipping: false }
    }

    /// Leaves out all bytes up to and with the first LF that comes: they belong to a line that began before.
    pub fn skip_to_newline(&mut self) {
        self.skipping = true;
    }

    /// Is a line being left out still?
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// How many bytes of an unfinished line have come. 0: this is the start of a line.
    pub fn torn_bytes(&self) -> u64 {
        self.torn.as_ref().map_or(0, TornLine::length)
    }

    /// Counts the lines in the next bytes. What follows the last LF waits for the rest of its line.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        if self.skipping {
            let Some(newline) = memchr(b'\n', bytes) else { return };
            self.skipping = false;
            bytes = &bytes[newline + 1..];
        }
        if self.torn.is_some() {
            let taken = self.feed_line(bytes);
            bytes = &bytes[taken..];
        }
        let Some(newline) = memrchr(b'\n', bytes) else { return self.tear(bytes) };
        let mut start = 0;
        for end in memchr_iter(b'\n', &bytes[..=newline]) {
            self.line(&bytes[start..end]);
            start = end + 1;
        }
        self.tear(&bytes[start..]);
    }

    /// [`Counter::feed`], with the answer of [`Counter::feed_line`]: it always takes all.
    pub fn feed_all(&mut self, bytes: &[u8]) -> usize {
        self.feed(bytes);
        bytes.len()
    }

    /// Takes bytes for the unfinished line only, up to and with its LF. Says how many it took: all of them if no LF came.
    pub fn feed_line(&mut self, bytes: &[u8]) -> usize {
        let Some(newline) = memchr(b'\n', bytes) else {
            self.tear(bytes);
            return bytes.len();
        };
        self.tear(&bytes[..newline]);
        match self.torn.take() {
            Some(torn) => self.count_torn(&torn, 1),
            None => self.line(b""),
        }
        newline + 1
    }

    /// The end has come: an unfinished line counts as it is.
    pub fn finish_line(&mut self) {
        if let Some(torn) = self.torn.take() {
            self.count_torn(&torn, 0);
        }
    }

    /// What has been counted. An unfinished line is not in it.
    pub fn into_tally(self) -> Tally {
        let mut days: Vec<Option<DayTally>> = self.days.into_iter().map(Some).collect();
        let days = self.places.into_iter().filter_map(|(day, place)| Some((day, days[place].take()?))).collect();
        Tally { blank: self.blank, blank_bytes: self.blank_bytes, days }
    }

    fn tear(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.torn.get_or_insert_with(|| TornLine::new(self.rules.client)).push(bytes);
        }
    }

    fn count_torn(&mut self, torn: &TornLine, newline: u64) {
        let bytes = torn.length() + newline;
        if torn.is_blank() {
            return self.count_blank(bytes);
        }
        let client = match leading_ipv4(torn.client()) {
            Some((address, length)) if length == torn.client().len() => Key::V4(address),
            _ => Key::Bytes(torn.client()),
        };
        self.count(client, torn.stamp(), bytes);
    }

    /// Counts one line, which comes without its LF.
    #[inline]
    fn line(&mut self, line: &[u8]) {
        // Nearly every line is an IPv4 address, a separator, and a time stamp with the date of the line before.
        if let Some((address, length)) = leading_ipv4(line) {
            let rest = &line[length..];
            let dashes = rest.starts_with(b" - -");
            let ends = match self.rules.client {
                Rule::FirstField => rest.first().is_none_or(|&byte| byte == b',' || is_white(byte)),
                Rule::BeforeDashes => dashes || rest.first().is_none_or(|&byte| byte == b','),
            };
            if ends {
                // After ` - - ` the `[` at 5 is the line's first.
                if dashes && let Some(stamp) = rest.get(5..).and_then(|rest| rest.first_chunk::<STAMP_BYTES>()) {
                    if let Some((date, place)) = &self.latest
                        && stamp[..12] == *date
                        && let Some(hour) = Stamp::parse_clock(stamp)
                    {
                        let day = &mut self.days[*place];
                        day.bytes += line.len() as u64 + 1;
                        day.hours[usize::from(hour)] += 1;
                        return day.clients.add(Key::V4(address), 1);
                    }
                    if let Some(parsed) = Stamp::parse(stamp) {
                        let place = self.count(Key::V4(address), Some(parsed), line.len() as u64 + 1);
                        self.latest = stamp.first_chunk().map(|date| (*date, place));
                        return;
                    }
                }
                self.count(Key::V4(address), Stamp::find(rest), line.len() as u64 + 1);
                return;
            }
        }
        self.any_line(line);
    }

    /// Counts a line of any shape.
    #[cold]
    #[inline(never)]
    fn any_line(&mut self, line: &[u8]) {
        let bytes = line.len() as u64 + 1;
        if is_blank(line) {
            return self.count_blank(bytes);
        }
        let client = client(line, self.rules.client);
        let key = match leading_ipv4(client) {
            Some((address, length)) if length == client.len() => Key::V4(address),
            _ => Key::Bytes(client),
        };
        self.count(key, Stamp::find(line), bytes);
    }

    fn count_blank(&mut self, bytes: u64) {
        self.blank += 1;
        self.blank_bytes += bytes;
    }

    /// Counts a request; says at which place its day stands.
    fn count(&mut self, client: Key<'_>, stamp: Option<Stamp>, bytes: u64) -> usize {
        let place = *self.places.entry(stamp.map(|stamp| stamp.day)).or_insert_with(|| {
            self.days.push(DayTally::default());
            self.days.len() - 1
        });
        let day = &mut self.days[place];
        day.bytes += bytes;
        match stamp {
            Some(stamp) => day.hours[usize::from(stamp.hour)] += 1,
            None => day.malformed += 1,
        }
        day.clients.add(client, 1);
        place
    }
}
