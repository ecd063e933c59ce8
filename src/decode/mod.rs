//! Compressed logs as streams of their bytes: gz, zst, bz2, xz.
//!
//! Damage is data: it ends the stream, what came before it counts, and it is remembered. Only the trouble of
//! the file itself is an error. Whatever a file says of itself, decoding it takes at most about 66 MiB, and
//! it becomes no larger than its [`Limits`]. A compressed file within a compressed file is not opened: its
//! bytes are bytes. Deliberately absent: what the bytes mean, threads, and starting anywhere but at the
//! front.

mod codec;
mod damage;
mod kind;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};

use codec::{Codec, Step};
pub use damage::Damage;
pub use kind::FileKind;

use crate::sys::map::read_at;

/// How much is read of the file at once.
const INPUT_BYTES: usize = 256 << 10;
/// How much one read takes that has nothing to give, until it says so. The slowest that can be in it are ten
/// thousand empty bz2 streams: half a second.
const TAKE_BYTES_MAX: u64 = 128 << 10;
/// Before so much has come out, the ratio says little: a short log of one line over and over is no attack.
const RATIO_FROM_BYTES: u64 = 64 << 20;

/// What compresses a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// gzip, RFC 1952.
    Gz,
    /// Zstandard, RFC 8878.
    Zst,
    /// bzip2.
    Bz2,
    /// xz.
    Xz,
}

impl Compression {
    /// The usual ending of its files' names.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gz => "gz",
            Compression::Zst => "zst",
            Compression::Bz2 => "bz2",
            Compression::Xz => "xz",
        }
    }

    /// A number for it, for messages between processes and for files. It never changes, and is never 0.
    pub fn code(self) -> u64 {
        match self {
            Compression::Gz => 1,
            Compression::Zst => 2,
            Compression::Bz2 => 3,
            Compression::Xz => 4,
        }
    }

    /// What has this number, if anything has.
    pub fn from_code(code: u64) -> Option<Compression> {
        [Compression::Gz, Compression::Zst, Compression::Bz2, Compression::Xz]
            .into_iter()
            .find(|format| format.code() == code)
    }

    /// How each member begins. Only the libraries that ask for more bytes before they look at these need
    /// help; the others know better.
    fn magic(self) -> &'static [u8] {
        match self {
            Compression::Gz => b"\x1f\x8b",
            Compression::Xz => b"\xfd7zXZ\0",
            Compression::Zst | Compression::Bz2 => b"",
        }
    }
}

/// Bytes that [`format_of`] needs of a file's beginning; fewer are allowed.
const MAGIC_BYTES: usize = 6;

/// Returns the compression of a file by its first bytes, not by its name; `None`: the file is plain.
///
/// # Errors
/// If the file cannot be read.
pub fn format(file: &File) -> io::Result<Option<Compression>> {
    let mut magic = [0; MAGIC_BYTES];
    let length = read_at(file, &mut magic, 0)?;
    Ok(format_of(&magic[..length]))
}

/// Returns what compresses a file that begins with `head`; `None`: it is plain. Only the first six bytes are
/// read.
fn format_of(head: &[u8]) -> Option<Compression> {
    match &head[..head.len().min(MAGIC_BYTES)] {
        [0x1f, 0x8b, ..] => Some(Compression::Gz),
        // A frame to be skipped may come first: pzstd writes one.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zst),
        // A block follows, or the end of an empty stream.
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, ..] => {
            Some(Compression::Bz2)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
        _ => None,
    }
}

/// How much a compressed log may become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many bytes come out at most.
    pub bytes: u64,
    /// How many bytes come out at most for each byte that goes in. It is looked at only once more than 64 MiB
    /// have come out.
    pub ratio: u64,
}

impl Default for Limits {
    /// 64 GiB: more than a day of any log that is rotated, and counted within minutes but for bz2. 1000: logs
    /// shrink to a fifth or a fiftieth, hardly ever to a hundredth, for each line has a time or an address of
    /// its own. gz cannot shrink anything to less than 1/1032, so of gz this leaves out what is hardly
    /// anything but one byte over and over; the other formats have no such bound of their own, and a few
    /// kilobytes of them would keep a processor busy for minutes.
    fn default() -> Limits {
        Limits { bytes: 64 << 30, ratio: 1000 }
    }
}

/// The bytes of a compressed log, from front to back.
///
/// All members of the file are one stream. Zeros behind a member are padding, as `gzip` and `xz` have it.
/// Anything else behind one is [`Damage::Corrupt`]: `gzip` ignores it with a warning and exit code 2, but one
/// bit flipped in a member's first bytes looks the same, and then the rest of the log would be missing
/// without a word.
///
/// A read that has taken 128 KiB and has nothing to give (empty members, say, one after another, or a long
/// bz2 block) is [`io::ErrorKind::Interrupted`], so that whoever waits can show a sign of life; it is to be
/// tried again, as always.
pub struct Decoder<R> {
    input: R,
    format: Compression,
    codec: Codec,
    limits: Limits,
    /// What was read and not yet decoded: `buffer[from..to]`.
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    /// Has the file ended?
    at_end: bool,
    place: Place,
    taken: u64,
    given: u64,
    damage: Option<Damage>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first member, or behind one.
    Between,
    Member,
    /// Nothing more comes out.
    End,
}

impl<R: Read> Decoder<R> {
    /// Decodes what `input` gives from here on, which is to be of this format.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn open(input: R, format: Compression, limits: Limits) -> io::Result<Decoder<R>> {
        let buffer = vec![0; INPUT_BYTES].into_boxed_slice();
        Ok(Decoder {
            input,
            format,
            codec: Codec::new(format)?,
            limits,
            buffer,
            from: 0,
            to: 0,
            at_end: false,
            place: Place::Between,
            taken: 0,
            given: 0,
            damage: None,
        })
    }

    /// Why the stream ended before its end, if it did. Known once a read gave 0 bytes.
    pub fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// How many compressed bytes have been decoded: of the file's size, how much is done.
    pub fn read_bytes(&self) -> u64 {
        self.taken
    }

    /// Reads on if nothing is left.
    fn fill(&mut self) -> io::Result<()> {
        while self.from == self.to && !self.at_end {
            match self.input.read(&mut self.buffer) {
                Ok(count) => (self.from, self.to, self.at_end) = (0, count, count == 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, count: usize) {
        self.from += count;
        self.taken += count as u64;
    }

    /// Goes on to the next member, or past some padding.
    fn pass(&mut self) {
        let bytes = &self.buffer[self.from..self.to];
        let first = self.taken == 0;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let magic = self.format.magic();
        if bytes.is_empty() {
            self.place = Place::End;
            self.damage = first.then_some(Damage::Cut);
        } else if zeros > 0 && !first {
            self.take(zeros);
        } else if bytes.iter().zip(magic).any(|(byte, right)| byte != right) {
            self.end(Damage::Corrupt);
        } else {
            self.place = Place::Member;
            self.codec.restart().unwrap_or_else(|damage| self.end(damage));
        }
    }

    /// Decodes some of a member; says how many bytes came out.
    fn step(&mut self, out: &mut [u8]) -> usize {
        if self.given > RATIO_FROM_BYTES && self.given / self.limits.ratio.max(1) > self.taken {
            self.end(Damage::Ratio);
            return 0;
        }
        // At the limit, one byte more tells whether this was the end.
        let room = self.limits.bytes - self.given;
        let mut more = [0];
        let most = usize::try_from(room).map_or(out.len(), |room| room.min(out.len()));
        let out = if room == 0 { &mut more } else { &mut out[..most] };
        let Step { taken, given, ended } = self.codec.step(&self.buffer[self.from..self.to], out);
        self.take(taken);
        if room == 0 && given > 0 {
            self.end(Damage::TooLarge);
            return 0;
        }
        self.given += given as u64;
        match ended {
            Ok(true) => self.place = Place::Between,
            Ok(false) if taken > 0 || given > 0 => {}
            Ok(false) => self.end(if self.from == self.to { Damage::Cut } else { Damage::Corrupt }),
            Err(damage) => self.end(damage),
        }
        given
    }

    fn end(&mut self, damage: Damage) {
        self.place = Place::End;
        self.damage = Some(damage);
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let start = self.taken;
        while self.place != Place::End {
            if self.taken - start >= TAKE_BYTES_MAX {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.fill()?;
            if self.place == Place::Between {
                self.pass();
                continue;
            }
            let given = self.step(out);
            if given > 0 {
                return Ok(given);
            }
        }
        Ok(0)
    }
}
