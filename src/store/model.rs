//! Questions about many logs, answered from partials and by a plain program, which must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::encode::Writer;
use super::span::{Numbers, Share, Span, Stored, is_complete, shares, sum};
use super::unite::{Part, Top, Union, decode, first, top, unite};
use super::*;
use crate::log::{Day, Kind, day_of_name, kind};
use crate::tally::{Distinct, Totals, Usage};

type Clients = BTreeMap<Vec<u8>, u64>;

/// A log as a plain table.
#[derive(Clone)]
struct Log {
    name: &'static str,
    state: State,
    complete: bool,
    days: BTreeMap<Option<Day>, Clients>,
}

/// Numbers that look random, always the same ones.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 += 1;
        xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes()) % end
    }
}

fn day(text: &str) -> Option<Day> {
    Day::parse(text)
}

fn key(random: &mut Random, pool: u64) -> Vec<u8> {
    let number = random.below(pool);
    let key = match random.below(5) {
        0 => format!("2001:db8::{number:x}"),
        1 => format!("host-{number}"),
        _ => std::net::Ipv4Addr::from((number as u32).wrapping_mul(0x0100_0193)).to_string(),
    };
    key.into_bytes()
}

fn distinct<'a>(keys: impl IntoIterator<Item = &'a Vec<u8>>) -> Distinct {
    keys.into_iter().fold(Distinct::default(), |sum, key| {
        sum.plus_disjoint(match kind(key) {
            Kind::Ipv4 => Distinct { ipv4: 1, ..Distinct::default() },
            Kind::Ipv6 => Distinct { ipv6: 1, ..Distinct::default() },
            Kind::Other => Distinct { other: 1, ..Distinct::default() },
        })
    })
}

fn totals(day: Option<Day>, clients: &Clients) -> Totals {
    let requests = clients.values().sum();
    let mut totals = Totals::default();
    if day.is_some() {
        (totals.counts.parsed, totals.counts.hours[7]) = (requests, requests);
    } else {
        totals.counts.malformed = requests;
    }
    totals.clients = distinct(clients.keys());
    totals
}

/// Partials of these logs in a folder of this test's own.
struct Folder(PathBuf, Vec<Stored>);

impl Folder {
    fn new(name: &str, logs: &[Log]) -> Folder {
        let folder = std::env::temp_dir().join(format!("tallyd-unite-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |(at, log): (usize, &Log)| {
            let mut meta = Meta {
                log: at as u64,
                name: log.name.into(),
                state: log.state,
                complete: log.complete,
                ..Meta::default()
            };
            let mut writer = Writer::new(log.days.len()).unwrap();
            for (day, clients) in &log.days {
                meta.days.insert(*day, totals(*day, clients));
                meta.totals.counts += meta.days[day].counts;
                let mut rows: Vec<_> =
                    clients.iter().map(|(key, requests)| (rows::word(kind(key)), key, *requests)).collect();
                rows.sort();
                for (_, key, requests) in rows {
                    writer.add(*day, kind(key), key, Usage { requests, ..Usage::default() }).unwrap();
                }
            }
            meta.totals.clients =
                distinct(log.days.values().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>());
            let path = folder::path(&folder, at as u64);
            fs::write(&path, writer.finish(&meta).unwrap()).unwrap();
            Stored { path, meta }
        };
        let stored = logs.iter().enumerate().map(write).collect();
        Folder(folder, stored)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The numbers from partials, and the clients that asked most.
fn answer(logs: &[Stored], span: Span, limit: usize) -> (Numbers, Vec<Top>) {
    let shares = shares(logs, span);
    let sum = sum(logs, &shares);
    let parts: Vec<Part> = decode(logs, &shares, true).into_iter().map(Result::unwrap).collect();
    let united = unite(&parts.iter().collect::<Vec<_>>());
    if !sum.wants_union() {
        assert_eq!(united, sum.numbers.totals.clients);
    }
    let numbers = sum.with(united);
    let tagged: Vec<(Option<Day>, &Part)> = shares.iter().map(|share| share.reported).zip(&parts).collect();
    let tops = top(&tagged, limit);
    // Batch by batch it is the same, wherever the batches are cut.
    for batch in [1, 3] {
        let (mut plain, mut summed) = (Union::default(), Union::default());
        for parts in tagged.chunks(batch) {
            plain.fold(parts, false);
            summed.fold(parts, true);
        }
        assert_eq!((plain.distinct(), summed.distinct()), (united, united));
        assert_eq!(summed.top(limit), tops);
    }
    // And stripe by stripe.
    let (mut distinct, mut first_of_all) = (Distinct::default(), Vec::new());
    for number in 0..3 {
        let stripes: Vec<Part> = parts.iter().map(|part| part.stripe(number, 3)).collect();
        distinct = distinct.plus_disjoint(unite(&stripes.iter().collect::<Vec<_>>()));
        let tagged: Vec<(Option<Day>, &Part)> =
            shares.iter().map(|share| share.reported).zip(&stripes).collect();
        first_of_all = first(first_of_all, top(&tagged, limit), limit);
    }
    assert_eq!((distinct, first_of_all), (united, tops.clone()));
    (numbers, tops)
}

/// Likewise, by the plain program.
fn plain(logs: &[Log], span: Span, limit: usize) -> (Numbers, Vec<Top>) {
    let (mut numbers, mut clients) = (Numbers::default(), BTreeMap::<&Vec<u8>, (u64, BTreeSet<Day>)>::new());
    for log in logs.iter().filter(|log| log.state != State::Deleted && log.state != State::Duplicate) {
        let mut any = false;
        for (day, of_day) in &log.days {
            let reported = day.or(day_of_name(log.name.as_bytes()));
            let asked = match span {
                Span::All => true,
                Span::Undated => reported.is_none(),
                Span::Days(from, to) => reported
                    .is_some_and(|day| from.is_none_or(|from| day >= from) && to.is_none_or(|to| day <= to)),
            };
            if !asked || of_day.is_empty() {
                continue;
            }
            any = true;
            numbers.totals.counts += totals(*day, of_day).counts;
            for (key, requests) in of_day {
                let client = clients.entry(key).or_default();
                client.0 += requests;
                client.1.extend(reported);
            }
        }
        numbers.files += u64::from(any);
    }
    numbers.totals.clients = distinct(clients.keys().copied());
    let mut tops: Vec<Top> = clients
        .into_iter()
        .map(|(key, (requests, days))| Top { client: key.clone(), requests, days: days.len() as u64 })
        .collect();
    tops.sort_by(|one, two| two.requests.cmp(&one.requests).then_with(|| one.client.cmp(&two.client)));
    tops.truncate(limit);
    (numbers, tops)
}

const DAYS: [&str; 3] = ["2021-03-21", "2021-03-22", "2021-03-23"];

fn spans() -> Vec<Span> {
    let days: Vec<Option<Day>> = [None].into_iter().chain(DAYS.map(day)).collect();
    let ranges = days.iter().flat_map(|from| days.iter().map(|to| Span::Days(*from, *to)));
    ranges.chain([Span::All, Span::Undated]).collect()
}

#[test]
fn many_logs_are_united_as_by_a_plain_program() {
    for seed in 0..20 {
        let mut random = Random(seed * 1_000_000);
        let mut logs = Vec::new();
        for _ in 0..random.below(6) {
            let mut days = BTreeMap::new();
            for day in [None, day(DAYS[0]), day(DAYS[1]), day(DAYS[2])] {
                if random.below(3) > 0 {
                    let (count, pool) = (random.below(200), 1 + random.below(300));
                    days.insert(
                        day,
                        (0..count).map(|_| (key(&mut random, pool), 1 + random.below(4))).collect(),
                    );
                }
            }
            let name = ["access.log", "20210322.log", "20210323.log"][random.below(3) as usize];
            logs.push(Log { name, state: State::ALL[random.below(6) as usize], complete: true, days });
        }
        let folder = Folder::new(&format!("many-{seed}"), &logs);
        for span in spans() {
            for limit in [0, 1, 7, 10_000] {
                assert_eq!(
                    answer(&folder.1, span, limit),
                    plain(&logs, span, limit),
                    "seed {seed}, {span:?}, limit {limit}"
                );
            }
        }
    }
}

#[test]
fn large_days_are_united_as_by_a_plain_program() {
    let mut random = Random(1);
    let mut clients = |count: u64, first: u32| -> Clients {
        let mut key = |at| match at % 4 {
            0 => format!("2001:db8::{:x}", random.below(40_000)),
            1 => format!("host-{}", random.below(40_000)),
            // Most of them in one first octet: the map of bits is used.
            _ => std::net::Ipv4Addr::from(first << 24 | random.below(60_000) as u32).to_string(),
        };
        (0..count).map(|at| (key(at).into_bytes(), 1 + at % 9)).collect()
    };
    let log = |days| Log { name: "access.log", state: State::Live, complete: true, days };
    let logs = [
        log(BTreeMap::from([(day(DAYS[0]), clients(90_000, 10)), (day(DAYS[1]), clients(60_000, 10))])),
        log(BTreeMap::from([(None, clients(100, 9)), (day(DAYS[1]), clients(50_000, 10))])),
        log(BTreeMap::from([(day(DAYS[2]), clients(5_000, 255))])),
    ];
    let folder = Folder::new("large", &logs);
    for span in [Span::All, Span::Days(day(DAYS[1]), day(DAYS[1])), Span::Days(day(DAYS[1]), day(DAYS[2]))] {
        assert_eq!(answer(&folder.1, span, 5_000), plain(&logs, span, 5_000), "{span:?}");
    }
}

#[test]
fn what_was_replaced_meanwhile_is_not_taken_for_what_it_was() {
    let log = Log {
        name: "x",
        state: State::Live,
        complete: true,
        days: BTreeMap::from([(None, BTreeMap::from([(b"-".to_vec(), 1)]))]),
    };
    let mut folder = Folder::new("replaced", &[log]);
    let share = Share { log: 0, day: None, reported: None };
    assert!(decode(&folder.1, &[share], false)[0].as_ref().is_ok_and(|part| part.distinct()
        == Distinct { other: 1, ..Distinct::default() }
        && part.bytes_used() > 0));
    folder.1[0].meta.written_at += 1;
    assert!(matches!(decode(&folder.1, &[share], false)[..], [Err(StoreError::Replaced)]));
}

#[test]
fn days_are_complete_if_no_log_may_have_more_of_them() {
    let log = |name, state, complete, of: &str| {
        let days = BTreeMap::from([(day(of), totals(day(of), &BTreeMap::from([(b"-".to_vec(), 1)])))]);
        Stored {
            path: PathBuf::new(),
            meta: Meta { name: Vec::from(name), state, complete, days, ..Meta::default() },
        }
    };
    let check = |logs: &[Stored], complete: [bool; 4]| {
        let spans = [
            Span::All,
            Span::Days(day(DAYS[0]), day(DAYS[0])),
            Span::Days(day(DAYS[1]), day(DAYS[1])),
            Span::Undated,
        ];
        assert_eq!(spans.map(|span| is_complete(logs, span)), complete);
    };
    check(&[], [true; 4]);
    check(&[log("x", State::Live, true, DAYS[0])], [true; 4]);
    check(&[log("x", State::Counting, false, DAYS[0])], [false; 4]);
    check(&[log("x", State::Final, false, DAYS[0])], [false, false, true, true]);
    check(&[log("20210322", State::Final, false, DAYS[0])], [false, false, false, true]);
    check(&[log("x", State::Final, false, "")], [false, true, true, false]);
    check(&[log("x", State::Duplicate, false, DAYS[0]), log("x", State::Deleted, false, DAYS[0])], [true; 4]);
}
