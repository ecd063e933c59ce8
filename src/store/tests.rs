//! Partials written, read again, damaged in every place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::encode::Writer;
use super::removal::{DayUnion, Removal};
use super::*;
use crate::log::{Day, Kind, Rule, kind};
use crate::range::Range;
use crate::sample::Sample;
use crate::tally::{Clients, Counts, Distinct, Key, Rules, Totals, Usage};

/// What is counted of a log, as a plain table.
type Model = BTreeMap<Option<Day>, BTreeMap<Vec<u8>, Usage>>;

fn day(text: &str) -> Option<Day> {
    Day::parse(text)
}

/// A number that looks random, by its place.
fn random(at: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&at.to_le_bytes())
}

fn usage(at: u64, dated: bool) -> Usage {
    let requests = 1 + random(at) % 20;
    let (mut bytes, mut hours) = (0, 0);
    for request in 0..requests {
        let random = random(at * 100 + request);
        bytes += 100 + random % 200;
        hours |= u32::from(dated) << ((random >> 32) % 24);
    }
    Usage { requests, bytes, hours }
}

fn two_days() -> Model {
    let keys = [
        "9.9.9.9",
        "10.0.0.1",
        "10.0.0.10",
        "255.255.255.255",
        "::1",
        "2001:db8::7",
        "-",
        "",
        "host.example",
        "01.2.3.4",
        "x\u{ff}",
    ];
    let clients = |from: usize, dated: bool| {
        let client =
            |(at, key): (usize, &&str)| (key.as_bytes().to_vec(), usage((at + from * 7) as u64, dated));
        keys[from..].iter().enumerate().map(client).collect()
    };
    BTreeMap::from([(None, clients(4, false)), (day("2021-03-22"), clients(0, true))])
}

/// What a log says of itself if it has these clients.
fn meta(model: &Model) -> Meta {
    let mut meta = Meta {
        log: 0xfedc_ba98_7654_3210,
        writer: "0.1.0".to_owned(),
        rules: Rules { client: Rule::BeforeDashes },
        name: b"access \"\xff\".log".to_vec(),
        folder: "/var/log/nginx/ä".into(),
        identity: Identity {
            file: (u64::MAX, 1 << 60),
            size: 12_345,
            changed: Duration::new(1_616_400_000, 123_456_789),
            encoding: 3,
            blocks: (0..4).map(random).collect(),
            anchor: Some(Sample { at: 1_000, length: 1_024, hash: random(1) }),
            raw: vec![Sample { at: 0, length: 7, hash: random(2) }],
        },
        generation: 5,
        counted_to: 123_456,
        holes: vec![Hole { range: Range::new(100, 200).unwrap(), reason: 4 }],
        blank: Counts { blank: 3, log_bytes: 4, ..Counts::default() },
        state: State::Gone,
        complete: false,
        unterminated: true,
        rotated: true,
        reason: 9,
        duplicate_of: u64::MAX,
        absorbed: BTreeMap::from([(1, 2), (u64::MAX, 3)]),
        successors: BTreeSet::from([(1, 2), (u64::MAX, 1 << 61)]),
        written_at: 1_616_400_000_123,
        ..Meta::default()
    };
    for (day, clients) in model {
        let mut totals = Totals::default();
        for (key, usage) in clients {
            match kind(key) {
                Kind::Ipv4 => totals.clients.ipv4 += 1,
                Kind::Ipv6 => totals.clients.ipv6 += 1,
                Kind::Other => totals.clients.other += 1,
            }
            totals.counts.log_bytes += usage.bytes;
            if day.is_none() {
                totals.counts.malformed += usage.requests;
            } else {
                (0..24)
                    .filter(|hour| usage.hours >> hour & 1 == 1)
                    .for_each(|hour| totals.counts.hours[hour] += 1);
                // The other requests were in the first of its hours.
                totals.counts.hours[usage.hours.trailing_zeros() as usize] +=
                    usage.requests - u64::from(usage.hours.count_ones());
                totals.counts.parsed += usage.requests;
            }
        }
        meta.totals.counts += totals.counts;
        meta.days.insert(*day, totals);
    }
    meta
}

fn write_with(meta: &Meta, model: &Model) -> Vec<u8> {
    let mut writer = Writer::new(meta.days.len()).unwrap();
    for (day, clients) in model {
        let mut rows: Vec<_> = clients.iter().map(|(key, usage)| (kind(key), key, *usage)).collect();
        rows.sort_by_key(|(kind, key, _)| (rows::word(*kind), *key));
        rows.into_iter().for_each(|(kind, key, usage)| writer.add(*day, kind, key, usage).unwrap());
    }
    writer.finish(meta).unwrap()
}

fn write(model: &Model) -> Vec<u8> {
    write_with(&meta(model), model)
}

fn read(partial: &Partial) -> Model {
    let clients = |day| {
        let mut clients = BTreeMap::new();
        partial.rows(day, |_, key, usage| assert_eq!(clients.insert(key.to_vec(), usage), None)).unwrap();
        (day, clients)
    };
    partial.days().map(clients).collect()
}

fn read_meta_of(bytes: &[u8]) -> Result<Meta, StoreError> {
    footer::read(&source::Source::Bytes(bytes.to_vec().into())).map(|footer| footer.meta)
}

#[track_caller]
fn check(model: &Model) {
    let bytes = write(model);
    assert_eq!(read_meta_of(&bytes).unwrap(), meta(model));
    let partial = Partial::from_bytes(bytes).unwrap();
    partial.check().unwrap();
    assert_eq!(*partial.meta(), meta(model));
    assert_eq!(read(&partial), *model);
}

#[test]
fn what_is_written_is_read() {
    check(&Model::new());
    check(&two_days());
    check(&BTreeMap::from([(None, BTreeMap::from([(b"-".to_vec(), usage(1, false))]))]));
    let clients = |keys: u64| {
        (0..keys)
            .map(|at| (std::net::Ipv4Addr::from(random(at) as u32).to_string().into_bytes(), usage(at, true)))
            .collect()
    };
    check(&BTreeMap::from([
        (day("2021-03-22"), clients(50_000)),
        (day("2021-03-23"), clients(1)),
        (day("9999-12-31"), clients(40_000)),
    ]));
    let long = |at: u64| {
        (
            vec![at as u8 | 128; 1_024],
            Usage { requests: (1 << 53) - 1 - at, bytes: 1 << 40, hours: 1 << (at % 24) },
        )
    };
    let totals = |at: u64| BTreeMap::from([long(at)]);
    let model: Model = BTreeMap::from([(day("0001-01-01"), totals(7)), (day("0001-01-02"), totals(8))]);
    let mut sums = meta(&model);
    sums.totals = Totals::default();
    let partial = Partial::from_bytes(write_with(&sums, &model)).unwrap();
    partial.check().unwrap();
    assert_eq!(read(&partial), model);
}

#[test]
fn days_share_row_groups_only_if_there_are_many() {
    let days = |count: u32| -> Model {
        let client = |number| {
            BTreeMap::from([
                (b"10.0.0.1".to_vec(), usage(number, true)),
                (b"-".to_vec(), usage(number + 1, true)),
            ])
        };
        (19_000_101..)
            .filter_map(Day::from_number)
            .take(count as usize)
            .map(|day| (Some(day), client(u64::from(day.number()))))
            .collect()
    };
    for (count, groups) in [(3, 3), (1_000, 1_000), (1_001, 1)] {
        check(&days(count));
        assert_eq!(Partial::from_bytes(write(&days(count))).unwrap().groups.len(), groups);
    }
}

#[test]
fn clients_are_written_and_read() {
    let (mut clients, mut requests) = (Clients::default(), 0);
    for at in 0..10_000 {
        let (ipv6, name) = (format!("2001:db8::{:x}", at % 500), format!("host-{}", at % 300));
        for key in [Key::V4(random(at) as u32), Key::Bytes(ipv6.as_bytes()), Key::Bytes(name.as_bytes())] {
            clients.add(key, Usage { requests: 1 + at % 7, bytes: 0, hours: 0 });
            requests += 1 + at % 7;
        }
    }
    let counts = Counts { malformed: requests, ..Counts::default() };
    let totals = Totals { counts, clients: clients.distinct() };
    let meta = Meta { days: BTreeMap::from([(None, totals)]), ..Meta::default() };
    let bytes = encode(&meta, &[(None, &clients), (day("2021-03-22"), &Clients::default())]).unwrap();
    assert_eq!(bytes, encode(&meta, &[(None, &clients.clone())]).unwrap());
    let partial = Partial::from_bytes(bytes).unwrap();
    partial.check().unwrap();
    assert_eq!(partial.to_clients(None).unwrap(), clients);
    assert_eq!(partial.to_clients(day("2021-03-22")).unwrap(), Clients::default());
    assert!(matches!(encode(&Meta::default(), &[(None, &clients)]), Err(EncodeError::Disagrees)));
    assert!(matches!(encode(&meta, &[]), Err(EncodeError::Disagrees)));
    assert!(matches!(encode(&meta, &[(None, &clients), (None, &clients)]), Err(EncodeError::Disagrees)));
    assert!(matches!(
        encode(&Meta { counted_to: u64::MAX, ..Meta::default() }, &[]),
        Err(EncodeError::TooLarge)
    ));
}

/// An earlier tallyd must leave it alone, not take it for damaged.
#[test]
fn a_partial_without_the_clients_of_a_day_is_of_a_later_version() {
    let (mut model, removed) = (two_days(), day("2021-03-22"));
    let whole = meta(&model);
    let union = Some(DayUnion { id: u64::MAX, parts: 3, distinct: Distinct { ipv4: 70, ipv6: 8, other: 9 } });
    for (done, late, version) in [
        (false, false, &b"{\"version\":1,"[..]),
        (true, false, b"{\"version\":2,"),
        (true, true, b"{\"version\":2,"),
    ] {
        let meta = Meta {
            removals: BTreeMap::from([(removed, Removal { done, late, union })]),
            at_least: late,
            ..whole.clone()
        };
        if done {
            model.remove(&removed);
        }
        let bytes = write_with(&meta, &model);
        assert!(memchr::memmem::find(&bytes, version).is_some());
        let partial = Partial::from_bytes(bytes).unwrap();
        partial.check().unwrap();
        assert_eq!((partial.meta(), read(&partial)), (&meta, model.clone()));
    }
}

#[test]
fn a_client_takes_at_most_ten_bytes() {
    let clients: BTreeMap<_, _> = (0..100_000)
        .map(|at| (std::net::Ipv4Addr::from(random(at) as u32).to_string().into_bytes(), usage(at, true)))
        .collect();
    let count = clients.len();
    let bytes = write(&BTreeMap::from([(day("2021-03-22"), clients)]));
    let each = bytes.len() as f64 / count as f64;
    assert!(each <= 10.0, "{each:.2} bytes a client");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused_or_does_no_harm() {
    let (model, bytes) = (two_days(), write(&two_days()));
    let truth = meta(&model);
    let mut refused = 0;
    let mut judge = |bytes: &[u8], what: String| {
        if let Ok(meta) = read_meta_of(bytes) {
            assert_eq!(meta, truth, "{what}");
        }
        let Ok(partial) = Partial::from_bytes(bytes.to_vec()) else {
            refused += 1;
            return;
        };
        assert_eq!(*partial.meta(), truth, "{what}");
        for (day, clients) in &model {
            let mut found = BTreeMap::new();
            let rows = partial.rows(*day, |_, key, usage| {
                found.insert(key.to_vec(), usage);
            });
            if rows.is_ok() {
                assert_eq!(found, *clients, "{what}");
            }
        }
        match partial.check() {
            Ok(()) => assert_eq!(read(&partial), model, "{what}"),
            Err(_) => refused += 1,
        }
    };
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            judge(&flipped, format!("byte {at}, bit {bit}"));
        }
        judge(&bytes[..at], format!("cut at {at}"));
        let zeros = [&bytes[..at], &vec![0; bytes.len() - at]].concat();
        judge(&zeros, format!("zeros from {at}"));
    }
    // Every bit is guarded by something.
    assert_eq!(refused, bytes.len() * 10);
}

/// Behind the checksums: what is decoded may be anything.
#[test]
fn columns_that_are_not_what_they_were_neither_panic_nor_give_rows_without_end() {
    let bytes = write(&two_days());
    let end = memchr::memmem::rfind(&bytes, b"partial").unwrap();
    let mut wrong = 0;
    for at in 4..end {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            let mut partial = Partial::from_bytes(bytes.clone()).unwrap();
            partial.believe(changed);
            wrong += usize::from(partial.check().is_err());
        }
    }
    assert!(wrong > 1_000, "{wrong}");
}

#[test]
fn what_is_no_partial_is_refused() {
    for bytes in [
        &b""[..],
        b"PAR1",
        b"PAR1PAR1",
        b"PAR1\0\0\0\0PAR1",
        &[0; 100_000],
        &[0xff; 100],
        b"PAR1\xff\xff\xff\xffPAR1",
        b"PAR1\x18\x06tallyd\x18\xff\xff\xff\xff\x0f\x10\0\0\0PAR1",
    ] {
        assert!(matches!(read_meta_of(bytes), Err(StoreError::Damaged(_))), "{}", bytes.escape_ascii());
        assert!(matches!(Partial::from_bytes(bytes.to_vec()), Err(StoreError::Damaged(_))));
    }
}

#[test]
fn a_newer_version_is_told_apart_from_damage() {
    let bytes = write(&two_days());
    let at = memchr::memmem::find(&bytes, b"{\"version\":1,").unwrap() + 11;
    for (digit, newer) in [(b'3', true), (b'9', true), (b'0', false), (b'x', false)] {
        let mut bytes = bytes.clone();
        bytes[at] = digit;
        match read_meta_of(&bytes) {
            Err(StoreError::Newer(version)) => assert!(newer && version == u64::from(digit - b'0')),
            Err(StoreError::Damaged(_)) => assert!(!newer),
            other => panic!("{other:?}"),
        }
    }
}

/// A partial whose JSON was changed by somebody who knows how to put its checksums right.
fn forged(change: impl Fn(&mut Meta)) -> Result<(), StoreError> {
    let model = two_days();
    let mut meta = meta(&model);
    change(&mut meta);
    Partial::from_bytes(write_with(&meta, &model))?.check()
}

#[test]
fn numbers_that_disagree_with_the_rows_are_refused() {
    forged(|_| {}).unwrap();
    let day = day("2021-03-22");
    let of = |meta: &mut Meta, change: fn(&mut Totals)| change(meta.days.get_mut(&day).unwrap());
    let check = |change: fn(&mut Totals)| {
        assert!(matches!(forged(|meta| of(meta, change)), Err(StoreError::Damaged(_))))
    };
    check(|totals| totals.counts.parsed += 1);
    check(|totals| totals.counts.log_bytes += 1);
    check(|totals| totals.counts.hours = [0; 24]);
    check(|totals| totals.clients.ipv4 += 1);
    check(|totals| (totals.clients.ipv4, totals.clients.ipv6) = (totals.clients.ipv6, totals.clients.ipv4));
    check(|totals| {
        (totals.clients.ipv4, totals.clients.other) = (totals.clients.ipv4 - 1, totals.clients.other + 1)
    });
    assert!(matches!(forged(|meta| meta.days.retain(|there, _| *there != day)), Err(StoreError::Damaged(_))));
    let moved = forged(|meta| {
        let totals = meta.days.remove(&day).unwrap();
        meta.days.insert(Day::parse("2021-03-21"), totals);
    });
    assert!(matches!(moved, Err(StoreError::Damaged(_))));
}

#[test]
fn ids_and_hashes_are_texts_in_json() {
    let bytes = write(&two_days());
    let text = memchr::memmem::find(&bytes, b"{\"version\"").unwrap();
    let json: serde_json::Value =
        serde_json::Deserializer::from_slice(&bytes[text..]).into_iter().next().unwrap().unwrap();
    assert_eq!(
        (&json["log"], &json["identity"]["device"]),
        (&"fedcba9876543210".into(), &"ffffffffffffffff".into())
    );
    assert_eq!(
        (&json["name"], &json["name_hex"]),
        (&"access \"\\xff\".log".into(), &"6163636573732022ff222e6c6f67".into())
    );
    assert_eq!(json["done"], serde_json::json!([[0, 100], [200, 123_456]]));
    assert_eq!(
        (&json["days"][0]["day"], &json["days"][1]["day"]),
        (&serde_json::Value::Null, &"2021-03-22".into())
    );
    assert_eq!(json["rules"], serde_json::json!({"version": 1, "client": "before-dashes"}));
    assert_eq!(json["identity"]["blocks"].as_str().unwrap().len(), 4 * 16);
}
