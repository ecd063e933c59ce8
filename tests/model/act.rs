//! What may happen to logs and to the daemon, and sequences of it that are drawn at random.

use nix::libc::{SIGKILL, SIGTERM};

/// Undated names first. The last three parts of the undated ones are a chain of rotation.
pub const NAMES: [&str; 11] = [
    "access.log",
    "access.log.1",
    "access.log.2",
    "access.log.3",
    "site.log",
    "other.txt",
    "access.log-20210322",
    "access.log-20210323",
    "20210322.log",
    "2021-03-24.log",
    "x-20210325.log",
];

pub fn is_dated(name: &str) -> bool {
    tallyd::log::day_of_name(name.as_bytes()).is_some()
}

pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What is written: perhaps a beginning that others have too, then lines that nothing else has.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pub base: Option<u8>,
    pub lines: u16,
    pub half: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packer {
    Gz,
    Zst,
    Bz2,
    Xz,
}

/// Something that happens. Logs are picked by number among those that are there, names by their place in
/// [`NAMES`].
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Create(usize, Text),
    Append(usize, Text),
    Finish(usize, u16),
    Rename(usize, usize),
    RotateChain(Option<Text>),
    CopyTruncate(usize, usize, Option<u16>, Option<Text>),
    Pack(usize, Packer, bool),
    Unpack(usize),
    Delete(usize),
    Rewrite(usize, Text),
    Recreate(usize, Text),
    RenameOver(usize, Text),
    Swap(usize, usize),
    Link(usize, usize),
    Unlink(usize),
    Copy(usize, usize, Option<u16>),
    Cut(usize, u16),
    ComeBack(usize, usize),
    Restart(i32, u8),
    Kill(&'static str),
    Settle,
}

fn text(random: &mut Random, rich: bool) -> Text {
    let lines = match random.below(20) {
        0..6 => 1,
        6..11 => 2 + random.below(4),
        11..17 => 6 + random.below(60),
        17..19 => 100 + random.below(400),
        _ => 500 + random.below(1500),
    };
    let base = (rich && random.one_in(5)).then(|| random.below(4) as u8);
    let lines = if base.is_some() && random.one_in(3) { 0 } else { lines };
    Text { base, lines: lines as u16, half: random.one_in(8) }
}

fn act(random: &mut Random) -> Act {
    let pick = random.below(1000) as usize;
    let other = random.below(1000) as usize;
    let some_name = random.below(NAMES.len() as u64) as usize;
    let keep = |random: &mut Random| match random.below(3) {
        0 => None,
        _ => Some(random.below(1000) as u16),
    };
    match random.below(100) {
        0..10 => Act::Create(some_name, text(random, true)),
        10..30 => Act::Append(pick, text(random, false)),
        30..36 => Act::Finish(pick, random.below(3) as u16),
        36..43 => Act::Rename(pick, some_name),
        43..49 => Act::RotateChain((!random.one_in(3)).then(|| text(random, true))),
        49..56 => Act::CopyTruncate(
            pick,
            some_name,
            keep(random).filter(|_| random.below(2) == 0),
            (!random.one_in(3)).then(|| text(random, true)),
        ),
        56..60 => {
            let packer = [Packer::Gz, Packer::Gz, Packer::Gz, Packer::Zst, Packer::Bz2, Packer::Xz]
                [random.below(6) as usize];
            Act::Pack(pick, packer, random.one_in(4))
        }
        60..61 => Act::Unpack(pick),
        61..64 => Act::Delete(pick),
        64..67 => Act::Rewrite(pick, text(random, true)),
        67..70 => Act::Recreate(pick, text(random, true)),
        70..72 => Act::RenameOver(pick, text(random, true)),
        72..75 => Act::Swap(pick, other),
        75..77 => Act::Link(pick, some_name),
        77..79 => Act::Unlink(pick),
        79..84 => Act::Copy(pick, some_name, keep(random)),
        84..86 => Act::Cut(pick, random.below(1000) as u16),
        86..88 => Act::ComeBack(pick, some_name),
        88..91 => Act::Restart(if random.one_in(2) { SIGKILL } else { SIGTERM }, random.below(4) as u8),
        91..94 => Act::Kill(["worker", "coordinator", "api"][random.below(3) as usize]),
        _ => Act::Settle,
    }
}

/// How a sequence is run.
#[derive(Clone, Debug)]
pub struct Way {
    pub inotify: bool,
    /// Half lines count after 2 s; else never, but in rotated and compressed logs.
    pub final_soon: bool,
    pub scan_ms: u64,
    /// By the second client rule: both find the same clients in these lines, but what one has counted is
    /// counted again by the other.
    pub before_dashes: bool,
}

impl Way {
    pub fn options(&self) -> Vec<String> {
        let mut options =
            vec!["--range-mib", "1", "--scan-every-ms"].into_iter().map(str::to_owned).collect::<Vec<_>>();
        options.push(self.scan_ms.to_string());
        options.extend((!self.inotify).then(|| "--no-inotify".to_owned()));
        options.extend(
            self.before_dashes
                .then(|| ["--client-rule", "before-dashes"].map(str::to_owned))
                .into_iter()
                .flatten(),
        );
        options.extend(["--final-after-s".to_owned(), if self.final_soon { "2" } else { "3000" }.to_owned()]);
        options
    }
}

/// The sequence of a seed, and how it is run.
pub fn sequence(seed: u64) -> (Way, Vec<Act>) {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x7461_6c6c);
    let inotify = random.one_in(2);
    let way = Way {
        inotify,
        final_soon: random.one_in(2),
        scan_ms: if inotify { 5000 } else { 150 },
        before_dashes: false,
    };
    let count = 30 + random.below(31);
    (way, (0..count).map(|_| act(&mut random)).collect())
}
