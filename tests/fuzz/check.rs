//! What must hold of the counting engine on any bytes: the fuzzer's targets and a test over a kept corpus
//! both ask here.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use tallyd::log::{BOM, Rule};
use tallyd::range::{self, How, Io, LastLine, Range};
use tallyd::tally::plain::{self, PlainTally};
use tallyd::tally::{Counter, Rules, Tally};

/// The first byte says how, the next two in which pieces, the rest is a log.
fn parts(data: &[u8]) -> Option<(Rules, u8, impl FnMut() -> usize, &[u8])> {
    let [how, one, two, log @ ..] = data else { return None };
    let client = if how & 1 == 0 { Rule::FirstField } else { Rule::BeforeDashes };
    let mut random = u32::from(u16::from_le_bytes([*one, *two])) + 1;
    let size = move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Often short, sometimes long.
        1 + (random >> 16) as usize % [3, 17, 70, 1_500][random as usize >> 30]
    };
    Some((Rules { client }, *how, size, log))
}

fn same(tally: &Tally, log: &[u8], rules: Rules) {
    let plain = plain::tally(log, rules);
    assert_eq!(PlainTally::from(tally), plain, "{}", log.escape_ascii());
    assert_eq!(tally.totals(), plain.totals(), "{}", log.escape_ascii());
}

/// The engine, by both of its kernels and in any pieces, counts what the plain program counts.
pub fn pieces(data: &[u8]) {
    let Some((rules, how, mut size, log)) = parts(data) else { return };
    let mut counter = Counter::new(rules);
    if how & 2 != 0 {
        counter = counter.portable();
    }
    let mut rest = log.strip_prefix(BOM).unwrap_or(log);
    if how & 4 != 0 {
        counter.feed(rest);
        rest = &[];
    }
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(size().min(rest.len()));
        counter.feed(piece);
        rest = more;
    }
    counter.finish_line();
    same(&counter.into_tally(), log, rules);
}

/// A log that is cut into any ranges counts as it does whole.
pub fn cuts(data: &[u8]) {
    thread_local! {
        static FILE: OnceCell<File> = const { OnceCell::new() };
    }
    let Some((rules, how, mut size, log)) = parts(data) else { return };
    FILE.with(|file| {
        let file = file.get_or_init(|| {
            let path = std::env::temp_dir().join(format!(
                "tallyd-fuzz-{}-{:?}",
                std::process::id(),
                std::thread::current().id()
            ));
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)
                .expect("there is a folder for temporary files");
            std::fs::remove_file(path).expect("it was just made");
            file
        });
        file.set_len(log.len() as u64)
            .and_then(|()| file.write_all_at(log, 0))
            .expect("there is room for a small file");
        let how = How { rules, io: if how & 2 == 0 { Io::Read } else { Io::Map }, last: LastLine::Count };
        let (mut tally, mut from) = (Tally::default(), 0);
        while from < log.len() {
            // A range holds more than a byte order mark.
            let to = log.len().min(from + size() + BOM.len());
            let range = Range::new(from as u64, to as u64).expect("it has a byte");
            tally.merge(&range::count(file, range, how, |_| ()).expect("the file is as long").tally);
            from = to;
        }
        same(&tally, log, rules);
    });
}
