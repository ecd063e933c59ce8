//! The fast engine: takes bytes piece by piece, counts the lines in them.

use std::collections::BTreeMap;

use memchr::{memchr, memrchr};

use super::byte_set::{SHORT_BYTES, Short};
use super::clients::Key;
use super::counts::Counts;
use super::kernel::{Kernel, Work, dispatch};
use super::part::{PartTally, Tally};
use super::rules::Rules;
use super::usage::Usage;
use super::v4_set::V4Request;
use crate::log::{Day, STAMP_BYTES, Stamp, TornLine, client, is_blank, leading_ipv4};

/// Counts lines as their bytes come. Pieces may end anywhere.
#[derive(Debug)]
pub struct Counter {
    rules: Rules,
    blank: Counts,
    /// The tallies of the days met, in the order they were met, and where each stands.
    days: Vec<PartTally>,
    places: BTreeMap<Option<Day>, usize>,
    /// The latest day and its place.
    at: Option<(Option<Day>, usize)>,
    latest: Latest,
    /// Where the LFs of a stretch are.
    newlines: Vec<u16>,
    torn: Option<TornLine>,
    skipping: bool,
    portable: bool,
}

/// What the latest line with a time stamp was like: the next one is most often the same.
#[derive(Debug)]
struct Latest {
    /// `- - [dd/Mon/yyyy` as it was written.
    date: [u8; 16],
    /// The place of its day; none before the first such line.
    place: usize,
    /// Requests of that day whose clients are not in its tally yet: many at once are faster.
    v4: Vec<V4Request>,
    short: Vec<Short>,
}

/// How much is searched for LFs before the lines are counted: what fits the first two caches together with
/// the places found.
const STRETCH_BYTES: usize = 32 * 1024;
/// How many requests are put into a tally's clients at once.
const V4_WAITING: usize = 512;
const SHORT_WAITING: usize = 128;
/// The start of a line that the fast path looks at: a client (every spelling of an address, and most host
/// names), ` - - [`, the date and the clock.
const START_BYTES: usize = SHORT_BYTES + REST_BYTES;
/// What follows a client: ` - - [22/Mar/2021:06:25:24 +0100]`, one byte more than is looked at.
const REST_BYTES: usize = 34;

impl Counter {
    /// A counter that begins at the start of a line.
    pub fn new(rules: Rules) -> Counter {
        Counter::resume(Tally::default(), rules)
    }

    /// A counter that goes on adding to a tally.
    pub fn resume(tally: Tally, rules: Rules) -> Counter {
        let (mut days, mut places) = (Vec::with_capacity(tally.days.len()), BTreeMap::new());
        for (day, tally) in tally.days {
            places.insert(day, days.len());
            days.push(tally);
        }
        let latest = Latest {
            date: [0; 16],
            place: usize::MAX,
            v4: Vec::with_capacity(V4_WAITING),
            short: Vec::with_capacity(SHORT_WAITING),
        };
        Counter {
            rules,
            blank: tally.blank,
            days,
            places,
            at: None,
            latest,
            newlines: Vec::new(),
            torn: None,
            skipping: false,
            portable: false,
        }
    }

    /// Without the vector instructions that this processor may have: as on one that has none.
    pub fn portable(self) -> Counter {
        Counter { portable: true, ..self }
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
        dispatch(self.portable, Lines { counter: self, bytes, end: newline + 1 });
        self.tear(&bytes[newline + 1..]);
    }

    /// [`Counter::feed`], with the answer of [`Counter::feed_line`]: it always takes all.
    pub fn feed_all(&mut self, bytes: &[u8]) -> usize {
        self.feed(bytes);
        bytes.len()
    }

    /// Takes bytes for the unfinished line only, up to and with its LF. Says how many it took: all of them if
    /// no LF came.
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
    pub fn into_tally(mut self) -> Tally {
        self.put_clients();
        // The fast path counts hours only.
        self.days.iter_mut().for_each(|day| day.counts.parsed = day.counts.hours.iter().sum());
        let mut days: Vec<Option<PartTally>> = self.days.into_iter().map(Some).collect();
        let days =
            self.places.into_iter().filter_map(|(day, place)| Some((day, days[place].take()?))).collect();
        Tally { blank: self.blank, days }
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
        self.count(key(torn.client()), torn.stamp(), bytes);
    }

    /// Counts a line that begins like nearly every line: a client, ` - - [`, the date of the line before, a
    /// time. Says whether it does.
    ///
    /// A client that ends at ` - - [` is the same by either rule. All bytes that are looked at are none of
    /// them LF, so they are this line's.
    #[inline(always)]
    fn usual_line<K: Kernel>(&mut self, kernel: K, start: &[u8; START_BYTES], length: usize) -> bool {
        let ipv4 = if begins_like_ipv6(start) {
            None
        } else {
            kernel.ipv4(start.first_chunk().expect("16 is less than 80"))
        };
        let end = ipv4
            .map_or_else(|| kernel.field(start.first_chunk().expect("64 is less than 80")), |(_, end)| end);
        let Some(rest) = start.get(end..).and_then(<[u8]>::first_chunk::<REST_BYTES>) else { return false };
        let (date, clock) = (
            rest[1..].first_chunk().expect("17 is less than 34"),
            rest[17..].first_chunk().expect("33 is less than 34"),
        );
        // What waits has room for the length of any usual line.
        let Ok(bytes) = u32::try_from(length + 1) else { return false };
        // An empty field is not the client by every rule.
        if end == 0 || rest[0] != b' ' || !kernel.same(date, &self.latest.date) {
            return false;
        }
        let (Some(hour), Some(day)) = (kernel.clock(clock), self.days.get_mut(self.latest.place)) else {
            return false;
        };
        day.counts.log_bytes += u64::from(bytes);
        day.counts.hours[usize::from(hour)] += 1;
        match ipv4 {
            Some((address, _)) => {
                self.latest.v4.push(V4Request::new(address, bytes, hour));
                if self.latest.v4.len() >= V4_WAITING {
                    self.put_clients();
                }
            }
            None => {
                self.latest.short.push(Short::new(
                    start.first_chunk().expect("46 is less than 80"),
                    end,
                    bytes,
                    hour,
                ));
                if self.latest.short.len() >= SHORT_WAITING {
                    self.put_clients();
                }
            }
        }
        true
    }

    /// Puts the requests that wait into the tally of their day.
    fn put_clients(&mut self) {
        if let Some(day) = self.days.get_mut(self.latest.place) {
            day.clients.add_waiting(&self.latest.v4, &self.latest.short);
        }
        self.latest.v4.clear();
        self.latest.short.clear();
    }

    /// Counts a line of any shape.
    #[inline(never)]
    fn line(&mut self, line: &[u8]) {
        let bytes = line.len() as u64 + 1;
        if is_blank(line) {
            return self.count_blank(bytes);
        }
        let client = client(line, self.rules.client);
        let place = self.count(key(client), Stamp::find(line), bytes);
        // What follows the client is ` - - [22/Mar/2021:…`, and its `[` is the line's first.
        let rest = line
            .strip_prefix(client)
            .filter(|rest| rest.starts_with(b" - - [") && memchr(b'[', client).is_none());
        if let Some(date) = rest.and_then(|rest| {
            Stamp::parse(rest.get(5..5 + STAMP_BYTES)?.first_chunk()?).and(rest[1..].first_chunk())
        }) {
            self.put_clients();
            (self.latest.date, self.latest.place) = (*date, place);
        }
    }

    /// Counts the empty lines from `start` on; says where the next other line starts.
    #[inline(always)]
    fn skip_empty(&mut self, bytes: &[u8], start: usize) -> usize {
        let empty = bytes[start..].iter().take_while(|byte| **byte == b'\n').count();
        self.blank.blank += empty as u64;
        self.blank.log_bytes += empty as u64;
        start + empty
    }

    fn count_blank(&mut self, bytes: u64) {
        self.blank.blank += 1;
        self.blank.log_bytes += bytes;
    }

    /// The place of a day.
    fn place(&mut self, day: Option<Day>) -> usize {
        match self.at {
            Some((latest, place)) if latest == day => place,
            _ => {
                let place = *self.places.entry(day).or_insert_with(|| {
                    self.days.push(PartTally::default());
                    self.days.len() - 1
                });
                self.at = Some((day, place));
                place
            }
        }
    }

    /// Counts a request; says at which place its day stands.
    fn count(&mut self, client: Key<'_>, stamp: Option<Stamp>, bytes: u64) -> usize {
        let place = self.place(stamp.map(|stamp| stamp.day));
        let day = &mut self.days[place];
        day.counts.log_bytes += bytes;
        match stamp {
            Some(stamp) => day.counts.hours[usize::from(stamp.hour)] += 1,
            None => day.counts.malformed += 1,
        }
        day.clients.add(client, Usage::of_request(bytes, stamp.map(|stamp| stamp.hour)));
        place
    }
}

/// Is there a colon among the first five bytes? Then it is no IPv4 address, and need not be looked at as one.
#[inline(always)]
fn begins_like_ipv6(start: &[u8; START_BYTES]) -> bool {
    const LOW: u64 = 0x01_0101_0101;
    let differs =
        u64::from_le_bytes(*start.first_chunk().expect("8 is less than 80")) ^ (LOW * u64::from(b':'));
    // The usual test for a zero byte, on the lower five.
    differs.wrapping_sub(LOW) & !differs & (LOW << 7) != 0
}

/// The one place of a client.
fn key(client: &[u8]) -> Key<'_> {
    match leading_ipv4(client) {
        Some((address, length)) if length == client.len() => Key::V4(address),
        _ => Key::Bytes(client),
    }
}

/// The lines of some bytes, to be counted.
struct Lines<'a> {
    counter: &'a mut Counter,
    /// They may go on behind the last line.
    bytes: &'a [u8],
    /// Behind the last LF.
    end: usize,
}

impl Work for Lines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) {
        let Lines { counter, bytes, end } = self;
        let mut places = std::mem::take(&mut counter.newlines);
        let mut start = 0;
        for from in (0..end).step_by(STRETCH_BYTES) {
            let stretch = &bytes[from..end.min(from + STRETCH_BYTES)];
            let at_start = from == 0 || bytes[from - 1] == b'\n';
            let (count, has_empty) = find_line_ends(kernel, stretch, at_start, &mut places);
            for newline in &places[..count] {
                let newline = from + usize::from(*newline);
                if has_empty {
                    start = counter.skip_empty(bytes, start);
                }
                let usual = match bytes[start..].first_chunk() {
                    Some(text) => counter.usual_line(kernel, text, newline - start),
                    None => false,
                };
                if !usual {
                    counter.line(&bytes[start..newline]);
                }
                start = newline + 1;
            }
            if has_empty {
                start = counter.skip_empty(&bytes[..end], start);
            }
        }
        counter.newlines = places;
    }
}

/// Writes down where the LFs of lines are that are not empty; says how many, and whether there are empty
/// lines. `places` is made long enough. `at_start`: the stretch begins with a line.
#[inline(always)]
fn find_line_ends<K: Kernel>(
    kernel: K,
    stretch: &[u8],
    at_start: bool,
    places: &mut Vec<u16>,
) -> (usize, bool) {
    if places.len() <= stretch.len() {
        places.resize(stretch.len() + 1, 0);
    }
    let (mut count, mut before, mut empty) = (0, u64::from(at_start), 0);
    let mut note = |base: usize, newlines: u64| {
        // An LF behind an LF ends an empty line.
        let behind = newlines << 1 | before;
        before = newlines >> 63;
        empty |= newlines & behind;
        let mut mask = newlines & !behind;
        // Most blocks have one LF or none: one place is written in any case, which costs less than guessing
        // wrong.
        places[count] = (base + mask.trailing_zeros() as usize) as u16;
        count += usize::from(mask != 0);
        mask &= mask.wrapping_sub(1);
        while mask != 0 {
            places[count] = (base + mask.trailing_zeros() as usize) as u16;
            count += 1;
            mask &= mask - 1;
        }
    };
    let (blocks, rest) = stretch.as_chunks::<64>();
    for (at, block) in blocks.iter().enumerate() {
        note(at * 64, kernel.newlines(block));
    }
    if !rest.is_empty() {
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        note(blocks.len() * 64, kernel.newlines(&block));
    }
    (count, empty != 0)
}
