//! The footer of a partial: where the JSON is in it, and what seals both.
//!
//! The JSON is found by its key, without reading the footer as Parquet does: a damaged footer is not shown to
//! the library before its checksum held.

use std::fs::File;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use xxhash_rust::xxh3::Xxh3Default;

use super::error::StoreError;
use super::json::{self, Checks};
use super::meta::Meta;
use super::source::Source;

/// The key of the JSON among the file's key-value metadata.
pub(super) const KEY: &str = "tallyd";
/// A key-value pair in Thrift's compact protocol: a binary field with the key and its length, then one with
/// the value. Client bytes never stand in a footer (the statistics of keys are off), and in JSON no control
/// character does.
const BEFORE_JSON: &[u8] = b"\x18\x06tallyd\x18";
/// At the start of the file and at its end; before the end's, the length of the footer.
const MAGIC: &[u8] = b"PAR1";
const END_BYTES: usize = 8;
/// So much is read at first: the whole footer of nearly every log.
const GUESS_BYTES: u64 = 16 << 10;

/// A footer that has been checked.
pub(super) struct Footer {
    pub(super) meta: Meta,
    pub(super) checks: Checks,
    /// From the end of the last row group on, without the footer's length and the magic.
    pub(super) thrift: Bytes,
    /// Where it stands in the file.
    pub(super) at: u64,
}

/// Reads what a partial says beside its rows, from its footer alone.
///
/// # Errors
/// If there is no such thing in the file, or not as it was written.
pub fn read_meta(file: File) -> Result<Meta, StoreError> {
    read(&file.try_into()?).map(|footer| footer.meta)
}

/// Reads and checks the footer.
pub(super) fn read(source: &Source) -> Result<Footer, StoreError> {
    let length = source.len();
    let guess = length.min(GUESS_BYTES);
    let tail = source.read(length - guess, guess)?;
    let Some([a, b, c, d, magic @ ..]) = tail.last_chunk::<END_BYTES>() else {
        return Err(StoreError::Damaged("the file is too short"));
    };
    if magic != MAGIC {
        return Err(StoreError::Damaged("the file does not end like a Parquet file"));
    }
    let footer_length = u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + END_BYTES as u64;
    let at = length
        .checked_sub(footer_length)
        .filter(|at| *at >= MAGIC.len() as u64)
        .ok_or(StoreError::Damaged("the length of the footer is not possible"))?;
    let footer = if footer_length <= guess {
        tail.slice((guess - footer_length) as usize..)
    } else {
        source.read(at, footer_length)?
    };
    let place = find_json(&footer).ok_or(StoreError::Damaged("the footer has no JSON of tallyd"))?;
    let text =
        str::from_utf8(&footer[place.clone()]).map_err(|_| StoreError::Damaged("the JSON is not UTF-8"))?;
    let (meta, checks) = json::read(text)?;
    if hash_around(&footer, &place) != checks.footer {
        return Err(StoreError::Damaged("the checksum of its footer is wrong"));
    }
    let thrift = footer.slice(..footer.len() - END_BYTES);
    Ok(Footer { meta, checks, thrift, at })
}

/// Puts the footer's checksum into the JSON of a file that is whole but for that.
pub(super) fn seal(file: &mut [u8]) -> Option<()> {
    let length = file.last_chunk::<END_BYTES>()?.first_chunk().map(|length| u32::from_le_bytes(*length))?;
    let at = file.len().checked_sub(length as usize + END_BYTES)?;
    let footer = &mut file[at..];
    let place = find_json(footer)?;
    let check = format!("{:016x}", hash_around(footer, &place));
    let digits = place.start + json::place_of_footer_check(str::from_utf8(&footer[place]).ok()?)?;
    footer.get_mut(digits..digits + check.len())?.copy_from_slice(check.as_bytes());
    Some(())
}

/// Where in the footer the JSON stands.
fn find_json(footer: &[u8]) -> Option<Range<usize>> {
    // The metadata come behind all row groups.
    let mut start = memmem::rfind(footer, BEFORE_JSON)? + BEFORE_JSON.len();
    let mut length = 0;
    for shift in (0..35).step_by(7) {
        let byte = *footer.get(start)?;
        start += 1;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let end = start.checked_add(length)?;
            return (end <= footer.len()).then_some(start..end);
        }
    }
    None
}

fn hash_around(footer: &[u8], json: &Range<usize>) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&footer[..json.start]);
    hash.update(&footer[json.end..]);
    hash.digest()
}
