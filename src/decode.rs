//! Stub.
use std::fs::File;
use std::io::{self, Read};

use crate::sys::map::read_at;

/// What compresses a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// gzip.
    Gz,
    /// Zstandard.
    Zst,
    /// bzip2.
    Bz2,
    /// xz.
    Xz,
}
impl Format {
    /// name
    pub fn name(self) -> &'static str { "gz" }
    /// code
    pub fn code(self) -> u64 { self as u64 + 1 }
    /// from
    pub fn from_code(code: u64) -> Option<Format> { [Format::Gz, Format::Zst, Format::Bz2, Format::Xz].get(usize::try_from(code).ok()?.checked_sub(1)?).copied() }
}
/// Limits
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits { 
/// b
pub bytes: u64, 
/// r
pub ratio: u64 }
/// Damage
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
/// c
Cut, 
/// c
Corrupt, 
/// c
TooLarge, 
/// c
Ratio, 
/// c
Memory }
impl Damage {
    /// code
    pub fn code(self) -> u64 { self as u64 + 1 }
    /// from
    pub fn from_code(code: u64) -> Option<Damage> { [Damage::Cut, Damage::Corrupt, Damage::TooLarge, Damage::Ratio, Damage::Memory].get(usize::try_from(code).ok()?.checked_sub(1)?).copied() }
}
impl std::fmt::Display for Damage { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") } }
/// What compresses a file, by its first bytes: its bytes are no lines then.
pub fn format(file: &File) -> io::Result<Option<Format>> {
    let mut magic = [0; 6];
    let length = read_at(file, &mut magic, 0)?;
    Ok(match &magic[..length] {
        [0x1f, 0x8b, ..] => Some(Format::Gz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zst),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => Some(Format::Bz2),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some(Format::Xz),
        _ => None,
    })
}
/// Decoder
pub struct Decoder(flate2::read::MultiGzDecoder<File>, bool);
impl Decoder {
    /// open
    pub fn open(file: File, _: Format, _: Limits) -> io::Result<Decoder> { Ok(Decoder(flate2::read::MultiGzDecoder::new(file), false)) }
    /// damage
    pub fn damage(&self) -> Option<Damage> { self.1.then_some(Damage::Cut) }
}
impl Read for Decoder { fn read(&mut self, b: &mut [u8]) -> io::Result<usize> { match self.0.read(b) { Ok(n) => Ok(n), Err(_) => { self.1 = true; Ok(0) } } } }
