//! The bytes of a result: what a worker counted, as it goes from one process to another.
//!
//! Little-endian. A header of 20 words, the hashes of the blocks that were sampled, then for each day,
//! ascending (0 is "without a time stamp"), a head of 30 words, its IPv4 clients (address: u32, usage) and
//! its other clients (length: u16, usage, text), and last the XXH3 of all that. A usage is requests: u64,
//! bytes: u64, hours: u32. The reader takes none of it on trust: every length, order and sum is checked
//! before the first number is used, for the process that wrote it may have been broken in any way.

use xxhash_rust::xxh3::xxh3_64;

use super::message::{self, Job};
use crate::decode::Damage;
use crate::log::{CLIENT_BYTES_MAX, Day, leading_ipv4};
use crate::range::{Checkpoint, Counted, Ending};
use crate::sample::{Sample, blocks_within};
use crate::tally::{Counts, Key, Tally, Usage};

/// The endings, each at its word.
const ENDINGS: [Ending; 3] = [Ending::Whole, Ending::Held, Ending::Unterminated];
const MAGIC: u64 = u64::from_le_bytes(*b"tallyd 2");
const HEADER_WORDS: usize = 20;
/// The day, the number of IPv4 clients, the bytes of the others, and the counts.
const PART_WORDS: usize = 3 + Counts::WORDS;
const USAGE_BYTES: usize = 20;
const V4_BYTES: usize = 4 + USAGE_BYTES;

/// Why a result is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result is not valid: {0}")]
pub struct ResultError(&'static str);

/// A result that has been checked: everything in it can be.
#[derive(Debug)]
pub struct ResultView<'a> {
    /// The blank lines.
    pub blank: Counts,
    /// How far the counting came.
    pub checkpoint: Checkpoint,
    /// The requests by day.
    pub days: Vec<PartView<'a>>,
}

/// One day of a result.
#[derive(Debug)]
pub struct PartView<'a> {
    /// The day, or `None` for requests without a time stamp.
    pub day: Option<Day>,
    /// Its requests.
    pub counts: Counts,
    v4: &'a [u8],
    rest: &'a [u8],
    rest_clients: usize,
}

/// Writes what was counted for a job.
pub fn encode(job: &Job, Counted { tally, checkpoint }: &Counted) -> Vec<u8> {
    let Tally { blank, days } = tally;
    let Checkpoint { end, ending, head, tail, blocks: (_, blocks), probe, damage } = checkpoint;
    let mut bytes = message::write(&[
        MAGIC,
        job.number,
        job.log,
        job.generation,
        job.range.from(),
        job.range.to(),
        *end,
        ENDINGS.iter().position(|word| word == ending).expect("each ending has a word") as u64,
        head.at,
        head.hash,
        tail.at,
        tail.hash,
        u64::from(head.length) | u64::from(tail.length) << 32,
        blank.blank,
        blank.log_bytes,
        days.len() as u64,
        blocks.len() as u64,
        probe.map_or(0, |probe| probe.hash),
        u64::from(probe.is_some()),
        damage.map_or(0, Damage::code),
    ]);
    blocks.iter().for_each(|hash| bytes.extend_from_slice(&hash.to_le_bytes()));
    for (day, tally) in days {
        let start = bytes.len();
        bytes.reserve(PART_WORDS * 8 + tally.clients.len() * V4_BYTES);
        bytes.resize(start + PART_WORDS * 8, 0);
        let (mut v4, mut rest) = (0, 0);
        for (client, usage) in tally.clients.iter() {
            match client {
                Key::V4(address) => {
                    let mut record = [0; V4_BYTES];
                    record[..4].copy_from_slice(&address.to_le_bytes());
                    record[4..].copy_from_slice(&write_usage(usage));
                    bytes.extend_from_slice(&record);
                    v4 += 1;
                }
                Key::Bytes(client) => {
                    let length = u16::try_from(client.len()).expect("a client has at most 1,024 bytes");
                    bytes.extend_from_slice(&length.to_le_bytes());
                    bytes.extend_from_slice(&write_usage(usage));
                    bytes.extend_from_slice(client);
                    rest += (2 + USAGE_BYTES + client.len()) as u64;
                }
            }
        }
        let mut words = [0; PART_WORDS];
        words[..3].copy_from_slice(&[day.map_or(0, |day| day.number().into()), v4, rest]);
        words[3..].copy_from_slice(&tally.counts.to_words());
        bytes[start..start + PART_WORDS * 8].copy_from_slice(&message::write(&words));
    }
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

impl<'a> ResultView<'a> {
    /// Checks a result against the job it is for.
    ///
    /// # Errors
    /// If the result is for another job, or has values that are not possible.
    pub fn check(bytes: &'a [u8], job: &Job) -> Result<ResultView<'a>, ResultError> {
        let (bytes, checksum) = bytes.split_last_chunk().ok_or(ResultError("the result is too short"))?;
        if xxh3_64(bytes) != u64::from_le_bytes(*checksum) {
            return Err(ResultError("the checksum is wrong"));
        }
        let mut bytes = bytes;
        let header: [u64; HEADER_WORDS] = take_words(&mut bytes)?;
        let [
            magic,
            number,
            log,
            generation,
            from,
            to,
            end,
            ending,
            head_at,
            head_hash,
            tail_at,
            tail_hash,
            lengths,
            blank,
            blank_bytes,
            day_count,
            rest @ ..,
        ] = header;
        let [block_count, probe_hash, probed, damage] = rest;
        if magic != MAGIC {
            return Err(ResultError("another version of tallyd wrote the result"));
        }
        if (number, log, generation, from, to)
            != (job.number, job.log, job.generation, job.range.from(), job.range.to())
        {
            return Err(ResultError("the result is for another job"));
        }
        let head = Sample { at: head_at, length: lengths as u32, hash: head_hash };
        let tail = Sample { at: tail_at, length: (lengths >> 32) as u32, hash: tail_hash };
        let tail_end =
            tail_at.checked_add(tail.length.into()).ok_or(ResultError("a sample is not possible"))?;
        let (wanted, refused) = (
            job.stream.and_then(|stream| stream.probe),
            ResultError("the end or the samples are not possible"),
        );
        let ending =
            usize::try_from(ending).ok().and_then(|word| ENDINGS.get(word)).copied().ok_or(refused)?;
        let possible = match job.stream {
            // Of a stream, the file does not tell how long it is.
            Some(_) => head_at == 0 && tail_end == end && ending != Ending::Held,
            None => {
                head_at == from.saturating_sub(1)
                    && head.length > 0
                    && tail.length > 0
                    && tail_end >= to
                    && from <= end
                    && end <= tail_end
                    && damage == 0
            }
        };
        if !possible || head.length > 1024 || tail.length > 1024 || (probed != 0 && wanted.is_none()) {
            return Err(refused);
        }
        let damage = if damage == 0 { None } else { Some(Damage::from_code(damage).ok_or(refused)?) };
        let probe =
            wanted.filter(|_| probed != 0).map(|(at, length)| Sample { at, length, hash: probe_hash });
        let first = blocks_within(from);
        if block_count > (blocks_within(tail_end).saturating_sub(first)) as u64 {
            return Err(refused);
        }
        let hashes = take(&mut bytes, block_count * 8)?
            .as_chunks()
            .0
            .iter()
            .map(|hash| u64::from_le_bytes(*hash))
            .collect();
        let mut days: Vec<PartView<'_>> = Vec::new();
        let mut all_bytes = blank_bytes;
        for _ in 0..day_count {
            let day = take_part(&mut bytes)?;
            if days.last().is_some_and(|before| before.day >= day.day) {
                return Err(ResultError("the days are out of order"));
            }
            all_bytes =
                all_bytes.checked_add(day.counts.log_bytes).ok_or(ResultError("the sums are too large"))?;
            days.push(day);
        }
        if !bytes.is_empty() || all_bytes > end - from || blank > blank_bytes.saturating_add(1) {
            return Err(ResultError("the sums are not possible"));
        }
        let checkpoint = Checkpoint { end, ending, head, tail, blocks: (first, hashes), probe, damage };
        Ok(ResultView {
            blank: Counts { blank, log_bytes: blank_bytes, ..Counts::default() },
            checkpoint,
            days,
        })
    }
}

impl PartView<'_> {
    /// How many IPv4 clients there are.
    pub fn v4_clients(&self) -> usize {
        self.v4.len() / V4_BYTES
    }

    /// How many other clients there are.
    pub fn rest_clients(&self) -> usize {
        self.rest_clients
    }

    /// The clients with what each did, in the order of the worker's set, IPv4 first.
    pub fn clients(&self) -> impl Iterator<Item = (Key<'_>, Usage)> {
        let v4 = self.v4.as_chunks::<V4_BYTES>().0.iter().map(|record| {
            let [a, b, c, d, usage @ ..] = record;
            (Key::V4(u32::from_le_bytes([*a, *b, *c, *d])), read_usage(usage))
        });
        let mut rest = self.rest;
        v4.chain(std::iter::from_fn(move || take_client(&mut rest).ok().flatten()))
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], ResultError> {
    let length = usize::try_from(length).map_err(|_| ResultError("a length is wrong"))?;
    let (taken, left) = bytes.split_at_checked(length).ok_or(ResultError("a length is wrong"))?;
    *bytes = left;
    Ok(taken)
}

fn take_words<const N: usize>(bytes: &mut &[u8]) -> Result<[u64; N], ResultError> {
    message::read(take(bytes, N as u64 * 8)?).ok_or(ResultError("a length is wrong"))
}

fn write_usage(usage: Usage) -> [u8; USAGE_BYTES] {
    let mut bytes = [0; USAGE_BYTES];
    bytes[..8].copy_from_slice(&usage.requests.to_le_bytes());
    bytes[8..16].copy_from_slice(&usage.bytes.to_le_bytes());
    bytes[16..].copy_from_slice(&usage.hours.to_le_bytes());
    bytes
}

fn read_usage(bytes: &[u8; USAGE_BYTES]) -> Usage {
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("there are 8 bytes more"));
    Usage {
        requests: word(0),
        bytes: word(8),
        hours: u32::from_le_bytes(*bytes.last_chunk().expect("4 is less than 20")),
    }
}

fn take_client<'a>(bytes: &mut &'a [u8]) -> Result<Option<(Key<'a>, Usage)>, ResultError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let [a, b, usage @ ..]: &[u8; 2 + USAGE_BYTES] =
        take(bytes, 2 + USAGE_BYTES as u64)?.first_chunk().ok_or(ResultError("a length is wrong"))?;
    let length = u16::from_le_bytes([*a, *b]);
    Ok(Some((Key::Bytes(take(bytes, length.into())?), read_usage(usage))))
}

fn sum(numbers: impl IntoIterator<Item = u64>) -> Result<u64, ResultError> {
    numbers.into_iter().try_fold(0, u64::checked_add).ok_or(ResultError("the sums are too large"))
}

fn take_part<'a>(bytes: &mut &'a [u8]) -> Result<PartView<'a>, ResultError> {
    let words: [u64; PART_WORDS] = take_words(bytes)?;
    let [number, v4, rest, counts @ ..] = words;
    let counts = Counts::from_words(&counts);
    let day = match u32::try_from(number) {
        Ok(0) => None,
        Ok(number) => Some(Day::from_number(number).ok_or(ResultError("a day is no date"))?),
        Err(_) => return Err(ResultError("a day is no date")),
    };
    let v4 = take(bytes, v4.checked_mul(V4_BYTES as u64).ok_or(ResultError("a length is wrong"))?)?;
    let rest = take(bytes, rest)?;
    let has_wrong_sort = if day.is_none() { counts.parsed > 0 } else { counts.malformed > 0 };
    if has_wrong_sort || counts.blank > 0 || sum(counts.hours)? != counts.parsed {
        return Err(ResultError("a day has lines of the wrong sort"));
    }
    // Each client must be one that can be.
    let (mut left, mut rest_clients) = (rest, 0);
    while let Some((client, _)) = take_client(&mut left)? {
        let Key::Bytes(client) = client else { continue };
        if client.len() > CLIENT_BYTES_MAX
            || leading_ipv4(client).is_some_and(|(_, length)| length == client.len())
        {
            return Err(ResultError("a client is not valid"));
        }
        rest_clients += 1;
    }
    let view = PartView { day, counts, v4, rest, rest_clients };
    // And what the clients did must be all that there was on the day.
    let all = view.clients().try_fold(Usage::default(), |all, (_, Usage { requests, bytes, hours })| {
        // A line has at least one byte, and an hour is that of a request; only on no day a request has none.
        if requests == 0
            || bytes < requests
            || u64::from(hours.count_ones()) > requests
            || (hours == 0) != day.is_none()
        {
            return Err(ResultError("the numbers of a client are not possible"));
        }
        Ok(Usage {
            requests: sum([all.requests, requests])?,
            bytes: sum([all.bytes, bytes])?,
            hours: all.hours | hours,
        })
    })?;
    let hours = (0..24).filter(|hour| counts.hours[*hour] > 0).fold(0, |mask, hour| mask | 1 << hour);
    let requests = sum([counts.parsed, counts.malformed])?;
    if all != (Usage { requests, bytes: counts.log_bytes, hours }) {
        return Err(ResultError("the clients do not add up to the requests"));
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{How, Io, LastLine, Range};
    use crate::tally::{PartTally, Rules};

    const LOG: &[u8] = b"1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] x\n::1 - - [23/Mar/2021:07:25:24 +0100] x\n\n\xff\xfe junk\n1.2.3.4 - -\n9.9.9.9";

    fn counted() -> (Job, Counted) {
        let path = std::env::temp_dir().join(format!(
            "tallyd-result-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, LOG).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let range = Range::new(0, LOG.len() as u64).unwrap();
        let counted = crate::range::count(
            &file,
            range,
            How { rules: Rules::default(), io: Io::Read, last: LastLine::Hold },
            |_| (),
        )
        .unwrap();
        (
            Job { number: 5, log: 6, generation: 7, range, io: Io::Auto, last: LastLine::Hold, stream: None },
            counted,
        )
    }

    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - 8);
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn results_read_back() {
        let (job, counted) = counted();
        let bytes = encode(&job, &counted);
        let view = ResultView::check(&bytes, &job).unwrap();
        assert_eq!((view.checkpoint.end, view.checkpoint.ending), (LOG.len() as u64 - 7, Ending::Held));
        assert_eq!(view.checkpoint, counted.checkpoint);
        let mut tally = Tally { blank: view.blank, ..Tally::default() };
        for day in &view.days {
            let mut sum = PartTally { counts: day.counts, ..PartTally::default() };
            day.clients().for_each(|(client, usage)| sum.clients.add(client, usage));
            tally.days.insert(day.day, sum);
        }
        assert_eq!(tally, counted.tally);
    }

    #[test]
    fn a_result_for_another_job_is_refused() {
        let (job, counted) = counted();
        let bytes = encode(&job, &counted);
        for other in [
            Job { number: 0, ..job },
            Job { log: 0, ..job },
            Job { generation: 0, ..job },
            Job { range: Range::new(0, 9).unwrap(), ..job },
        ] {
            assert!(ResultView::check(&bytes, &other).is_err());
        }
    }

    /// Is a result refused in which the requests of a day are told otherwise than they were counted?
    #[track_caller]
    fn check_refused(day: Option<Day>, change: impl Fn(&mut PartTally)) {
        let (job, mut counted) = counted();
        change(counted.tally.days.get_mut(&day).unwrap());
        let ResultError(why) = ResultView::check(&encode(&job, &counted), &job).unwrap_err();
        assert!(
            ["the numbers of a client are not possible", "the clients do not add up to the requests"]
                .contains(&why),
            "{why}"
        );
    }

    /// The 22nd has one request of 1.2.3.4 at six, of 43 bytes; no day has two, the longer one of `\xff\xfe`,
    /// of 8 bytes.
    #[test]
    fn clients_that_do_not_make_up_their_day_are_refused() {
        let day = Day::new(2021, 3, 22);
        let done = |client, usage| move |day: &mut PartTally| day.clients.add(client, usage);
        let (known, other) = (Key::V4(0x0102_0304), Key::Bytes(b"\xff\xfe"));
        let nothing = Usage { requests: 0, bytes: 0, hours: 0 };
        check_refused(day, done(known, Usage { requests: 1, ..nothing }));
        check_refused(day, done(known, Usage { bytes: 1, ..nothing }));
        check_refused(day, done(known, Usage { hours: 1 << 7, ..nothing }));
        check_refused(None, done(other, Usage { requests: 1, ..nothing }));
        check_refused(None, done(other, Usage { bytes: 1, ..nothing }));
        check_refused(None, done(other, Usage { hours: 1, ..nothing }));
        check_refused(None, done(other, Usage { hours: 1 << 24, ..nothing }));
        check_refused(day, |day| day.counts.log_bytes -= 1);
        check_refused(day, |day| day.counts.hours.swap(6, 7));
        check_refused(None, |day| day.counts.log_bytes += 1);
        // A sum may be right and its parts not.
        let only = |usages: &'static [Usage]| {
            move |day: &mut PartTally| {
                day.clients = crate::tally::Clients::default();
                usages
                    .iter()
                    .zip(0..)
                    .for_each(|(usage, at)| day.clients.add(Key::Bytes(&[b'a' + at]), *usage));
            }
        };
        check_refused(day, only(&[Usage { requests: 1, bytes: 43, hours: 0 }]));
        check_refused(day, only(&[Usage { requests: 1, bytes: 43, hours: 1 << 6 | 1 << 24 }]));
        check_refused(
            day,
            only(&[
                Usage { requests: 1, bytes: 20, hours: 1 << 6 },
                Usage { requests: 0, bytes: 23, hours: 1 << 6 },
            ]),
        );
        check_refused(
            None,
            only(&[Usage { requests: 1, bytes: 0, hours: 0 }, Usage { requests: 1, bytes: 19, hours: 0 }]),
        );
    }

    /// No byte can be changed, with the checksum or with a checksum made to fit, so that the reader panics;
    /// without it nothing is taken.
    #[test]
    fn damaged_results_are_refused() {
        let (job, counted) = counted();
        let good = encode(&job, &counted);
        for length in 0..good.len() {
            assert!(ResultView::check(&good[..length], &job).is_err(), "cut to {length}");
        }
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                assert!(ResultView::check(&bytes, &job).is_err(), "byte {at} ^ {flip}");
                // It may be taken with another number; then its sums must hold all the same.
                if let Ok(view) = ResultView::check(&resealed(bytes), &job) {
                    for day in &view.days {
                        let mut all = Usage::default();
                        day.clients().for_each(|(_, usage)| all += usage);
                        assert_eq!((all.requests, all.bytes), (day.counts.requests(), day.counts.log_bytes));
                        assert!((0..32).all(|hour| (all.hours >> hour & 1 > 0)
                            == day.counts.hours.get(hour).is_some_and(|count| *count > 0)));
                    }
                }
            }
        }
    }
}
