//! How long the parts of the counting engine take. `cargo bench`, or `cargo bench -- tally` for some of them.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tallyd::log::{Rule, Stamp, client, day_of_name, kind};
use tallyd::tally::{Clients, Counter, Key, Rules, Tally, Usage, plain, union};

#[path = "logs.rs"]
mod logs;

use logs::Wish;

fn log(wish: Wish) -> Vec<u8> {
    let mut bytes = Vec::new();
    logs::write(&wish, &mut bytes).expect("memory takes everything");
    bytes
}

fn tally(counter: Counter, log: &[u8]) -> Tally {
    let mut counter = counter;
    // As much at a time as is read from a file.
    log.chunks(1 << 20).for_each(|piece| counter.feed(piece));
    counter.into_tally()
}

/// The words of a line, each on a thousand lines.
fn words(criterion: &mut Criterion) {
    let log = log(Wish { bytes: 225_000, ..Wish::default() });
    let lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let clients: Vec<&[u8]> = lines.iter().map(|line| client(line, Rule::FirstField)).collect();
    let mut group = criterion.benchmark_group("words");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("client, first field", |bencher| {
        bencher.iter(|| lines.iter().map(|line| client(line, Rule::FirstField).len()).sum::<usize>())
    });
    group.bench_function("client, before dashes", |bencher| {
        bencher.iter(|| lines.iter().map(|line| client(line, Rule::BeforeDashes).len()).sum::<usize>())
    });
    group.bench_function("kind of a client", |bencher| {
        bencher.iter(|| clients.iter().map(|client| kind(client) as usize).sum::<usize>())
    });
    group.bench_function("time stamp", |bencher| {
        bencher.iter(|| {
            lines.iter().filter_map(|line| Stamp::find(line)).map(|stamp| u64::from(stamp.hour)).sum::<u64>()
        })
    });
    group.finish();
    criterion.bench_function("day of a name", |bencher| {
        bencher.iter(|| day_of_name(black_box(b"access.log-20210322.gz")))
    });
}

/// Sets of clients: few that stay in the cache, many that do not, addresses and texts; and the union of two.
fn sets(criterion: &mut Criterion) {
    const ADDS: u32 = 1 << 20;
    let mut group = criterion.benchmark_group("set");
    group.throughput(Throughput::Elements(ADDS.into()));
    group.sample_size(20);
    for (name, distinct) in [("1,000", 1_000), ("100,000", 100_000), ("a million", 1_000_000)] {
        let addresses: Vec<u32> = (0..ADDS)
            .map(|at| (at.wrapping_mul(2_654_435_761) % distinct).wrapping_mul(0x9e37_79b1))
            .collect();
        let texts: Vec<String> = addresses
            .iter()
            .map(|address| format!("2001:db8::{:x}:{:x}", address >> 16, address & 0xffff))
            .collect();
        let usage = Usage::of_request(200, Some(6));
        let set = |addresses: &[u32]| {
            addresses.iter().fold(Clients::default(), |mut set, address| {
                set.add(Key::V4(*address), usage);
                set
            })
        };
        group.bench_function(format!("IPv4, {name} clients"), |bencher| {
            bencher.iter(|| set(&addresses).len())
        });
        group.bench_function(format!("IPv6, {name} clients"), |bencher| {
            bencher.iter(|| {
                let mut set = Clients::default();
                texts.iter().for_each(|text| set.add(Key::Bytes(text.as_bytes()), usage));
                set.len()
            });
        });
        let (one, two) = (set(&addresses[..ADDS as usize / 2]), set(&addresses[ADDS as usize / 2..]));
        group.bench_function(format!("union of two, {name} clients"), |bencher| {
            bencher.iter(|| {
                union::parts(&[&one, &two]).map(|part| union::count(&[&one, &two], part).ipv4).sum::<u64>()
            });
        });
        group.bench_function(format!("merge of two, {name} clients"), |bencher| {
            bencher.iter_batched_ref(|| one.clone(), |one| one.merge(&two), BatchSize::LargeInput)
        });
    }
    group.finish();
}

/// The whole engine over logs of each sort.
fn tallies(criterion: &mut Criterion) {
    let usual = Wish { bytes: 16 << 20, clients: 20_000, ..Wish::default() };
    let bytes = usual.bytes as usize;
    let repeated = |line: &str| line.repeat(bytes / line.len()).into_bytes();
    let logs = [
        ("combined", log(usual)),
        ("common", log(Wish { combined: false, ..usual })),
        ("only IPv4", log(Wish { ipv6_percent: 0, ..usual })),
        ("half IPv6", log(Wish { ipv6_percent: 50, ..usual })),
        ("each line another client", log(Wish { clients: 70_000, each: true, ..usual })),
        (
            "logged-in users",
            repeated("203.0.113.7 - frank [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n"),
        ),
        ("malformed", repeated("the quick brown fox jumps over the lazy dog\n")),
        ("empty lines", repeated("\n")),
        ("thousands of [", [&b"[".repeat(10_000)[..], b"\n"].concat().repeat(bytes / 10_001)),
    ];
    let mut group = criterion.benchmark_group("tally");
    group.sample_size(20);
    for (name, log) in &logs {
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(*name, |bencher| bencher.iter(|| tally(Counter::new(Rules::default()), log)));
    }
    let log = &logs[0].1;
    group.throughput(Throughput::Bytes(log.len() as u64));
    group.bench_function("combined, without vector instructions", |bencher| {
        bencher.iter(|| tally(Counter::new(Rules::default()).portable(), log))
    });
    group.bench_function("combined, before dashes", |bencher| {
        bencher.iter(|| tally(Counter::new(Rules { client: Rule::BeforeDashes }), log))
    });
    group.sample_size(10);
    group.bench_function("combined, by the plain program", |bencher| {
        bencher.iter(|| plain::tally(log, Rules::default()))
    });
    group.finish();
}

criterion_group!(benches, words, sets, tallies);
criterion_main!(benches);
