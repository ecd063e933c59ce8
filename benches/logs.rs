//! Made-up logs for measurements: the same bytes for the same wishes, on every machine.
//!
//! Clients are drawn by Zipf's law (the k-th most frequent asks 1/k as often as the first), 5 % of them have
//! IPv6 addresses, 3 % of the others come through a proxy that writes a forwarded-for list. Lines have the
//! lengths of real ones: about 200 bytes in the combined format, 90 in the common one.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a log is like.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// About how many bytes it has; it ends with a whole line.
    pub bytes: u64,
    /// How many clients there are to draw from.
    pub clients: u64,
    /// Does each of them ask at least once? (If there are lines enough.)
    pub each: bool,
    /// How many clients of a hundred have IPv6 addresses.
    pub ipv6_percent: u64,
    /// With referrer and browser, as web servers write by default.
    pub combined: bool,
    /// The day of March 2021 that it is of, and what its random numbers begin with.
    pub day: u64,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { bytes: 1_000_000, clients: 1_000, each: false, ipv6_percent: 5, combined: true, day: 22 }
    }
}

const BROWSERS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/89.0.4389.90 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 14_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.0.3 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:86.0) Gecko/20100101 Firefox/86.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/7.68.0",
    "-",
];
const PARTS: [&str; 8] = ["api", "users", "static", "images", "products", "blog", "search", "download"];
const ENDS: [&str; 6] = ["", "/", ".html", ".css", ".js", ".png"];

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, most: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(most)) >> 64) as u64
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Writes a log.
pub fn write(wish: &Wish, to: &mut impl Write) -> io::Result<()> {
    let mut random = Random(wish.day);
    let (mut written, mut line, mut lines) = (0, Vec::new(), 0);
    let expected = wish.bytes / if wish.combined { 200 } else { 90 };
    while written < wish.bytes {
        line.clear();
        // The inverse of a distribution function that is the logarithm of the rank.
        let rank =
            (wish.clients as f64 + 1.0).powf((random.next() >> 11) as f64 / (1u64 << 53) as f64) as u64 - 1;
        let client = if wish.each && lines % 2 == 0 && lines / 2 < wish.clients {
            lines / 2
        } else {
            rank.min(wish.clients - 1)
        };
        // More clients than half of the lines: then nearly each line has one of its own.
        let client =
            if wish.each && wish.clients * 2 > expected && lines < wish.clients { lines } else { client };
        write_client(wish, client, &mut random, &mut line)?;
        let second = (lines * 86_400 / (expected + 1)).min(86_399);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let (part, other, end) = (random.of(&PARTS), random.of(&PARTS), random.of(&ENDS));
        let (item, status, length) =
            (random.below(100_000), random.of(&["200", "200", "200", "304", "404"]), random.below(60_000));
        write!(
            line,
            " - - [{:02}/Mar/2021:{hour:02}:{minute:02}:{second:02} +0100] \"GET /{part}/",
            wish.day
        )?;
        if wish.combined {
            let browser = random.of(&BROWSERS);
            writeln!(
                line,
                "{other}/{item}{end} HTTP/1.1\" {status} {length} \"https://www.example.com/{other}/\" \"{browser}\""
            )?;
        } else {
            writeln!(line, "{item}{end} HTTP/1.1\" {status} {length}")?;
        }
        to.write_all(&line)?;
        (written, lines) = (written + line.len() as u64, lines + 1);
    }
    Ok(())
}

/// Different numbers are different addresses.
fn write_client(wish: &Wish, client: u64, random: &mut Random, line: &mut Vec<u8>) -> io::Result<()> {
    if mix(client) % 100 < wish.ipv6_percent {
        return write!(
            line,
            "{}",
            Ipv6Addr::from((0x2001_0db8 << 96) | (u128::from(mix(client) >> 16) << 48) | u128::from(client))
        );
    }
    write!(line, "{}", Ipv4Addr::from((client as u32).wrapping_mul(2_654_435_761) ^ 0x5bd1_e995))?;
    if random.below(100) < 3 { write!(line, ", 10.0.0.{}", random.below(250) + 1) } else { Ok(()) }
}
