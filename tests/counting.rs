//! The counting engine against the plain program, on bytes that were chosen to be hard.
//!
//! A property that fails prints the smallest input it could find, as a byte string to be put into a `check`
//! of `tests/rules.rs`. `PROPTEST_CASES` asks for more cases than the default, in proportion for each
//! property; `PROPTEST_RNG_SEED` for the same ones again.

mod support;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::Folder;
use support::engine::{BOM, RULES, fast, fed, feed, pieces, rules};
use tallyd::log::Rule;
use tallyd::range::{self, Counted, Ending, How, Io, LastLine, Range};
use tallyd::tally::plain::{self, PlainTally};
use tallyd::tally::{Counter, Rules, Tally, Usage};

// ---- logs that are hard to count ----

/// Bytes that a failing property shows as a byte string.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

const HARD_BYTES: &[u8] = b"\n\n\n\n\r \t\x0b\x0c,,0123456789..::[]//--++\"x\0\xff";

const HARD_PIECES: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b" - -",
    b" - - ",
    b" - frank ",
    b" - - [22/Mar/2021:06:25:24 +0100]",
    b" - - [22/Mar/2021:06:25:24 +0100] \"GET / HTTP/1.1\" 200 12\n",
    b" - - [22/Mar/2021",
    b":06:25:24 +0100]",
    b"[22/Mar/2021:06:25:24 +0100]",
    b"[[22/Mar/2021:06:25:24 +0100",
    b"[30/Feb/2021:06:25:24 +0100]",
    b"203.0.113.7",
    b"203.0.113.7, 10.0.0.1",
    b"255.255.255.255",
    b"255.255.255.2555",
    b"256.1.1.1",
    b"01.2.3.4",
    b"1.2.3.",
    b"0.0.0.0",
    b"2001:db8::1",
    b"::ffff:1.2.3.4",
    b"fe80::1%eth0",
    b"host.example",
    BOM,
];

/// A client, often one that was there before.
fn client() -> impl Strategy<Value = Vec<u8>> {
    let octet = || prop_oneof![select(vec![0u32, 1, 9, 10, 99, 100, 199, 249, 255, 256, 300]), 0..256u32];
    prop_oneof![
        6 => (0..8u8).prop_map(|last| format!("203.0.113.{last}").into_bytes()),
        4 => [octet(), octet(), octet(), octet()].prop_map(|parts| parts.map(|part| part.to_string()).join(".").into_bytes()),
        1 => any::<[u16; 8]>().prop_map(|groups| std::net::Ipv6Addr::from(groups).to_string().into_bytes()),
        1 => select(HARD_PIECES).prop_map(<[u8]>::to_vec),
    ]
}

/// A time stamp, real or almost.
fn stamp() -> impl Strategy<Value = Vec<u8>> {
    let usual = (0..24u32, 0..60u32)
        .prop_map(|(hour, minute)| format!("[22/Mar/2021:{hour:02}:{minute:02}:24 +0100]").into_bytes());
    let months = select(vec![
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "mar", "Foo",
    ]);
    let years = select(vec![0u32, 1, 1900, 2000, 2020, 2021, 9999]);
    let any = (0..33u32, months, years, 0..26u32, 0..62u32, 0..63u32, select(vec!["+", "-", ",", "+0", ""]));
    let any = any.prop_map(|(day, month, year, hour, minute, second, sign)| {
        format!("[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} {sign}0100]").into_bytes()
    });
    prop_oneof![4 => usual, 1 => any]
}

/// A line as servers write them, most of them alike.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let between = select(vec![
        " - - ",
        " - - ",
        " - - ",
        " - - ",
        " - -",
        " - frank ",
        ", 10.0.0.1 - - ",
        "  ",
        "\t-\t-\t",
    ]);
    let rest = select(vec![
        " \"GET / HTTP/1.1\" 200 12 \"-\" \"curl/8.14.1\"\n",
        " \"GET / HTTP/1.1\" 200 12\r\n",
        "\n",
        " x\n",
        "",
    ]);
    (client(), between, stamp(), rest).prop_map(|(client, between, stamp, rest)| {
        [&client, between.as_bytes(), &stamp, rest.as_bytes()].concat()
    })
}

/// A line with one byte that is another.
fn damaged_line() -> impl Strategy<Value = Vec<u8>> {
    (line(), any::<Index>(), prop_oneof![select(HARD_BYTES), any::<u8>()]).prop_map(|(mut line, at, byte)| {
        let at = at.index(line.len());
        line[at] = byte;
        line
    })
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => line(),
        4 => damaged_line(),
        6 => select(HARD_BYTES).prop_map(|byte| vec![byte]),
        4 => select(HARD_PIECES).prop_map(<[u8]>::to_vec),
        2 => client(),
        2 => stamp(),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        // Clients of more than 1,024 bytes, and lines of more than 4,096.
        1 => (select(b"x x,[-".as_slice()), 900..1100usize).prop_map(|(byte, count)| vec![byte; count]),
        1 => (select(b"x [\r".as_slice()), 4000..9000usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

fn log() -> impl Strategy<Value = Bytes> {
    let start = prop_oneof![8 => Just(&b""[..]), 1 => Just(BOM)];
    (start, prop::collection::vec(piece(), 0..40))
        .prop_map(|(start, pieces)| Bytes([start, &pieces.concat()].concat()))
}

/// A log with lines of more than a mebibyte: what comes before the long run of one byte, the byte, how often,
/// and what follows.
type LongLine = (Bytes, u8, usize, Bytes);

fn long_log() -> impl Strategy<Value = Vec<LongLine>> {
    let part = || {
        prop::collection::vec(prop_oneof![line(), damaged_line(), client(), stamp()], 0..4)
            .prop_map(|pieces| Bytes(pieces.concat()))
    };
    let count = prop_oneof![Just(1 << 20), (1 << 20) - 200..(1 << 20) + 200usize, 4000..5000usize];
    prop::collection::vec((part(), select(b"xx [".as_slice()), count, part()), 1..3)
}

fn long_bytes(lines: &[LongLine]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|(before, byte, count, after)| [&before.0[..], &vec![*byte; *count], &after.0].concat())
        .collect()
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..70usize, 1..3000usize], 1..12)
}

// ---- the properties ----

/// So many cases, or in proportion to those asked for.
fn cases(count: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        (u64::from(default.cases) * u64::from(count) / 1000).max(1) as u32
    } else {
        count
    };
    // A failing input is for a `check` of `tests/rules.rs`, not for a file beside it.
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20_000, ..default }
}

/// The engine's tally of a log is what it must be.
fn agree(tally: &Tally, log: &[u8], rule: Rule) -> Result<(), TestCaseError> {
    let plain = plain::tally(log, rules(rule));
    prop_assert_eq!(&PlainTally::from(tally), &plain);
    let totals = tally.totals();
    prop_assert_eq!(totals, plain.totals());
    // What both might get wrong.
    let log = log.strip_prefix(BOM).unwrap_or(log);
    prop_assert_eq!(totals.counts.lines(), log.split_inclusive(|byte| *byte == b'\n').count() as u64);
    prop_assert_eq!(totals.counts.log_bytes, log.len() as u64);
    prop_assert_eq!(totals.counts.parsed, totals.counts.hours.iter().sum::<u64>());
    for day in tally.days.values() {
        let mut all = Usage::default();
        day.clients.iter().for_each(|(_, usage)| all += usage);
        let hours = (0..24).filter(|hour| day.counts.hours[*hour] > 0).fold(0, |mask, hour| mask | 1 << hour);
        prop_assert_eq!(
            all,
            Usage { requests: day.totals().counts.requests(), bytes: day.counts.log_bytes, hours }
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn the_engine_counts_what_the_plain_program_counts(log in log()) {
        for rule in RULES {
            agree(&fast(&log.0, rule), &log.0, rule)?;
        }
    }

    #[test]
    fn pieces_may_end_anywhere(log in log(), sizes in sizes()) {
        for rule in RULES {
            agree(&fed(&log.0, rule, &sizes), &log.0, rule)?;
            // On a processor without vector instructions too.
            agree(&feed(Counter::new(rules(rule)).portable(), &log.0, &sizes), &log.0, rule)?;
        }
    }

    /// A range begins so: somewhere in a line that is not its own.
    #[test]
    fn what_comes_before_the_first_lf_can_be_left_out(log in log(), sizes in sizes()) {
        let own = log.0.iter().position(|byte| *byte == b'\n').map_or(&b""[..], |newline| &log.0[newline + 1..]);
        let mut counter = Counter::new(Rules::default());
        counter.skip_to_newline();
        pieces(&log.0, &sizes).for_each(|piece| counter.feed(piece));
        prop_assert_eq!(counter.is_skipping(), !log.0.contains(&b'\n'));
        counter.finish_line();
        // A mark there is not at the start of a log.
        prop_assert_eq!(counter.into_tally(), tallyd::tally::tally(own, Rules::default()));
    }

    #[test]
    fn a_tally_can_be_gone_on_with(one in log(), two in log(), sizes in sizes()) {
        for rule in RULES {
            let mut one = one.0.clone();
            one.push(b'\n');
            let mut counter = Counter::resume(fast(&one, rule), rules(rule));
            pieces(&two.0, &sizes).for_each(|piece| counter.feed(piece));
            counter.finish_line();
            agree(&counter.into_tally(), &[one, two.0.clone()].concat(), rule)?;
        }
    }

    #[test]
    fn merging_is_associative_and_commutative(one in log(), two in log(), three in log()) {
        let [one, two, three] = [one, two, three].map(|log| fast(&log.0, Rule::FirstField));
        let merged = |one: &Tally, two: &Tally| {
            let mut sum = one.clone();
            sum.merge(two);
            sum
        };
        prop_assert_eq!(merged(&one, &two), merged(&two, &one));
        prop_assert_eq!(merged(&merged(&one, &two), &three), merged(&one, &merged(&two, &three)));
        prop_assert_eq!(merged(&one, &Tally::default()), one.clone());
        prop_assert_eq!(merged(&Tally::default(), &one), one);
    }

    #[test]
    fn a_merged_tally_is_that_of_both_logs(one in log(), two in log()) {
        for rule in RULES {
            let both = [&one.0[..], b"\n", &two.0[..]].concat();
            let mut sum = fast(&both[..=one.0.len()], rule);
            sum.merge(&tallyd::tally::tally(&two.0, rules(rule)));
            agree(&sum, &both, rule)?;
        }
    }
}

/// How one range of a cut log is counted.
#[derive(Clone, Copy, Debug)]
struct Way {
    io: Io,
    hold: bool,
}

fn way() -> impl Strategy<Value = Way> {
    (select(vec![Io::Map, Io::Read, Io::Auto]), any::<bool>()).prop_map(|(io, hold)| Way { io, hold })
}

/// Counts a log cut at these places, its ranges in these ways, and checks what is said of each range.
fn count_cut(
    file: &File,
    log: &[u8],
    rule: Rule,
    cuts: &[Index],
    ways: &[Way],
) -> Result<Vec<Counted>, TestCaseError> {
    // A cut right behind a byte order mark, or within it, parts it from its line.
    let first = BOM.len() + 1;
    let places: BTreeSet<usize> =
        cuts.iter().filter(|_| log.len() > first).map(|cut| first + cut.index(log.len() - first)).collect();
    let from = std::iter::once(0).chain(places.iter().copied());
    let to = places.iter().copied().chain([log.len()]);
    let ended = log.last() == Some(&b'\n');
    let mut counts = Vec::new();
    for ((from, to), way) in from.zip(to).zip(ways.iter().cycle()) {
        let Some(range) = Range::new(from as u64, to as u64) else { continue };
        // An unfinished last line may start in any range: each must know that it counts.
        let last = if ended && way.hold { LastLine::Hold } else { LastLine::Count };
        let mut beats = 0;
        let counted =
            range::count(file, range, How { rules: rules(rule), io: way.io, last }, |_| beats += 1).unwrap();
        prop_assert!(beats > 0);
        let end = counted.checkpoint.end as usize;
        prop_assert!(
            end == from || (end > from && (end == log.len() || log[end - 1] == b'\n')),
            "{:?} ends at {}",
            range,
            end
        );
        prop_assert!(
            counted.checkpoint.head.holds(file).unwrap() && counted.checkpoint.tail.holds(file).unwrap()
        );
        // Of a mark alone, a test of its own tells.
        prop_assert!(counted.checkpoint.ending != Ending::Held || log == BOM);
        counts.push(counted);
    }
    if log != BOM {
        prop_assert_eq!(
            counts.iter().map(|counted| counted.checkpoint.end).max().unwrap_or(0),
            log.len() as u64
        );
        prop_assert_eq!(
            counts.iter().filter(|counted| counted.checkpoint.ending == Ending::Unterminated).count(),
            usize::from(!ended && !log.is_empty())
        );
    }
    Ok(counts)
}

fn check_cut(log: &[u8], cuts: &[Index], ways: &[Way], path: &std::path::Path) -> Result<(), TestCaseError> {
    fs::write(path, log).unwrap();
    let file = File::open(path).unwrap();
    for rule in RULES {
        // Merged from the last to the first: the order is nobody's promise.
        let mut sum = Tally::default();
        count_cut(&file, log, rule, cuts, ways)?.iter().rev().for_each(|counted| sum.merge(&counted.tally));
        agree(&sum, log, rule)?;
    }
    Ok(())
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    prop::collection::vec(way(), 1..6)
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..12)
}

#[test]
fn any_cutting_gives_the_same_tally() {
    let folder = Folder::new();
    proptest!(cases(4000), |(log in log(), cuts in cuts(), ways in ways())| {
        check_cut(&log.0, &cuts, &ways, &folder.join("log"))?;
    });
}

#[test]
fn any_cutting_of_very_long_lines_gives_the_same_tally() {
    let folder = Folder::new();
    proptest!(cases(60), |(lines in long_log(), cuts in cuts(), ways in ways())| {
        check_cut(&long_bytes(&lines), &cuts, &ways, &folder.join("log"))?;
    });
}

#[test]
fn ranges_can_be_counted_on_top_of_each_other() {
    let folder = Folder::new();
    let path = folder.join("log");
    proptest!(cases(2000), |(log in log(), size in 4..4000u64, io in select(vec![Io::Map, Io::Read]))| {
        fs::write(&path, &log.0).unwrap();
        let file = File::open(&path).unwrap();
        for rule in RULES {
            let how = How { rules: rules(rule), io, last: LastLine::Count };
            let mut tally = Tally::default();
            for range in Range::new(0, log.0.len() as u64).into_iter().flat_map(|whole| whole.cut(size)) {
                tally = range::count_on(tally, &file, range, how, |_| ()).unwrap().tally;
            }
            agree(&tally, &log.0, rule)?;
        }
    });
}

/// A log that grows: what was held back is counted once it is whole.
#[test]
fn a_line_that_is_held_back_is_counted_once() {
    let folder = Folder::new();
    let path = folder.join("log");
    proptest!(cases(1500), |(log in log(), growth in prop::collection::vec(prop_oneof![1..5usize, 1..100usize, 1..9000usize], 1..8), ways in ways())| {
        let mut log = log.0.clone();
        log.push(b'\n');
        for rule in RULES {
            let (mut size, mut end, mut sum) = (0, 0, Tally::default());
            let mut steps = growth.iter().zip(ways.iter().cycle());
            while size < log.len() {
                let (step, way) = steps.next().unwrap_or((&usize::MAX, &ways[0]));
                size = log.len().min(size.saturating_add(*step));
                fs::write(&path, &log[..size]).unwrap();
                let file = File::open(&path).unwrap();
                let range = Range::new(end, size as u64).expect("what is held back is before the end");
                let counted = range::count(&file, range, How { rules: rules(rule), io: way.io, last: LastLine::Hold }, |_| ()).unwrap();
                // What is held back is the unfinished line, all of it, and with the first line its mark.
                let whole_lines = log[..size].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                prop_assert_eq!(counted.checkpoint.end, whole_lines as u64);
                let ending = if whole_lines < size { Ending::Held } else { Ending::Whole };
                prop_assert_eq!(counted.checkpoint.ending, ending);
                end = counted.checkpoint.end;
                sum.merge(&counted.tally);
                agree(&sum, &log[..whole_lines], rule)?;
            }
            agree(&sum, &log, rule)?;
        }
    });
}

/// A final log with nothing in it but its mark is through: nothing of it is waited for.
#[test]
fn a_mark_alone_is_not_held_back_when_the_log_is_final() {
    let folder = Folder::new();
    fs::write(folder.join("log"), BOM).unwrap();
    let file = File::open(folder.join("log")).unwrap();
    for (last, ending, end) in [(LastLine::Hold, Ending::Held, 0), (LastLine::Count, Ending::Unterminated, 3)]
    {
        let counted = range::count(
            &file,
            Range::new(0, 3).unwrap(),
            How { rules: Rules::default(), io: Io::Read, last },
            |_| (),
        )
        .unwrap();
        // Unterminated: if it grows after all, its first line is found only from the start.
        assert_eq!((counted.checkpoint.ending, counted.checkpoint.end), (ending, end));
        assert_eq!(counted.tally, Tally::default());
    }
}

#[test]
fn a_file_that_is_shorter_than_its_range_is_trouble() {
    let folder = Folder::new();
    fs::write(folder.join("log"), "a\nb\n").unwrap();
    let file = File::open(folder.join("log")).unwrap();
    for io in [Io::Map, Io::Read, Io::Auto] {
        let how = How { rules: Rules::default(), io, last: LastLine::Count };
        assert!(
            matches!(
                range::count(&file, Range::new(0, 5).unwrap(), how, |_| ()),
                Err(range::RangeError::Shorter)
            ),
            "{io:?}"
        );
        assert!(
            matches!(
                range::count(&file, Range::new(9, 10).unwrap(), how, |_| ()),
                Err(range::RangeError::Shorter)
            ),
            "{io:?}"
        );
    }
}
