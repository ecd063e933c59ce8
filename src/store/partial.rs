//! A partial that is open: its rows by day.
//!
//! Whatever the bytes are, this neither panics nor takes memory without bound: a column is looked at only if
//! its checksum holds, keys and numbers are decoded here, and the library, which reads page headers and
//! decompresses, is kept from carrying a panic further.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, Repetition, Type as Physical};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;
use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

use super::delta;
use super::error::StoreError;
use super::footer::{self, Footer};
use super::meta::Meta;
use super::shape::{COLUMNS, GROUP_ROWS_MAX, PAGE_BYTES_MAX};
use super::source::{Chunk, Source};
use crate::log::{CLIENT_BYTES_MAX, Day, Kind, leading_ipv4};
use crate::tally::{Clients, Key, Usage};

thread_local! {
    /// What expands pages, and where to.
    static CODEC: Cell<Option<(Decompressor<'static>, Vec<u8>)>> = const { Cell::new(None) };
}

/// The places of columns.
pub(super) const DAY: usize = 0;
pub(super) const DIMENSION: usize = 1;
pub(super) const KIND: usize = 2;
pub(super) const KEY: usize = 3;
const REQUESTS: usize = 4;
const BYTES: usize = 5;
const HOURS: usize = 6;

/// A partial that is open for its rows.
#[derive(Debug)]
pub struct Partial {
    source: Source,
    meta: Meta,
    /// The days that have rows.
    days: Vec<DayRows>,
    pub(super) groups: Vec<Group>,
    /// The checksum of all rows.
    pub(super) data: u64,
}

/// The rows of a day, by their numbers in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayRows {
    pub(super) day: Option<Day>,
    pub(super) from: u64,
    /// Where its IPv4 clients end, its IPv6 clients, and all of them.
    pub(super) ends: [u64; 3],
}

/// A row group.
#[derive(Debug)]
pub(super) struct Group {
    /// The number of its first row in the file.
    pub(super) from: u64,
    pub(super) rows: usize,
    chunks: Vec<(ColumnChunkMetaData, u64)>,
}

impl DayRows {
    pub(super) fn to(&self) -> u64 {
        self.ends[2]
    }

    /// The kind of a row of this day.
    pub(super) fn kind(&self, row: u64) -> Kind {
        match self.ends {
            [ipv4, ..] if row < ipv4 => Kind::Ipv4,
            [_, ipv6, _] if row < ipv6 => Kind::Ipv6,
            _ => Kind::Other,
        }
    }
}

impl Partial {
    /// Opens a partial that is in memory.
    ///
    /// # Errors
    /// If it is none, or the checksum of its footer is wrong. Its rows are not looked at yet.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Partial, StoreError> {
        Partial::new(Source::Bytes(bytes.into()))
    }

    /// Opens a partial on disk. Only the columns that are asked for will be read.
    ///
    /// # Errors
    /// Likewise.
    pub fn open(file: File) -> Result<Partial, StoreError> {
        Partial::new(file.try_into()?)
    }

    fn new(source: Source) -> Result<Partial, StoreError> {
        let Footer { meta, checks, thrift, at } = footer::read(&source)?;
        let parquet = without_panic(|| ParquetMetaDataReader::decode_metadata(&thrift))?;
        let groups =
            groups(&parquet, at, checks.chunks).ok_or(StoreError::Damaged("the footer is not consistent"))?;
        let mut days = Vec::new();
        let mut from = 0;
        for (day, totals) in meta.days_with_clients() {
            let ends = [totals.clients.ipv4, totals.clients.ipv4 + totals.clients.ipv6, totals.clients.all()]
                .map(|end| from + end);
            days.push(DayRows { day, from, ends });
            from = ends[2];
        }
        if groups.iter().map(|group| group.rows as u64).sum::<u64>() != from {
            return Err(StoreError::Damaged("the number of its rows differs from its JSON"));
        }
        Ok(Partial { source, meta, days, groups, data: checks.data })
    }

    /// What it says beside its rows.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The size of the file, in bytes.
    pub fn size(&self) -> u64 {
        self.source.len()
    }

    /// The days that have clients, ascending, `None` first.
    pub fn days(&self) -> impl Iterator<Item = Option<Day>> {
        self.days.iter().map(|day| day.day)
    }

    /// Shows the rows of a day in their order. What has been shown is to be forgotten if there is trouble.
    ///
    /// # Errors
    /// If they are not as they were written, or cannot be read.
    pub fn rows(&self, day: Option<Day>, mut take: impl FnMut(Kind, &[u8], Usage)) -> Result<(), StoreError> {
        let Some(day) = self.rows_of(day) else { return Ok(()) };
        for group in self.groups_of(day) {
            let (requests, bytes, hours) =
                (self.numbers(group, REQUESTS)?, self.numbers(group, BYTES)?, self.numbers(group, HOURS)?);
            self.keys_of(group, day, |row, _, key| {
                let at = (row - group.from) as usize;
                take(
                    day.kind(row),
                    key,
                    Usage { requests: requests[at], bytes: bytes[at], hours: hours[at] as u32 },
                );
                Some(())
            })?;
        }
        Ok(())
    }

    /// The clients of a day.
    ///
    /// # Errors
    /// Likewise.
    pub fn to_clients(&self, day: Option<Day>) -> Result<Clients, StoreError> {
        let mut clients = Clients::default();
        let mut right = true;
        if let Some(rows) = self.rows_of(day) {
            clients.reserve((rows.ends[0] - rows.from) as usize, (rows.to() - rows.ends[0]) as usize);
        }
        self.rows(day, |kind, key, usage| match (kind, leading_ipv4(key)) {
            (Kind::Ipv4, Some((address, length))) if length == key.len() => {
                clients.add(Key::V4(address), usage)
            }
            (Kind::Ipv4, _) => right = false,
            _ => clients.add(Key::Bytes(key), usage),
        })?;
        if right { Ok(clients) } else { Err(StoreError::Damaged("a client is listed under the wrong kind")) }
    }

    /// All days with rows.
    pub(super) fn day_rows(&self) -> &[DayRows] {
        &self.days
    }

    /// The rows of a day, if it has any.
    pub(super) fn rows_of(&self, day: Option<Day>) -> Option<&DayRows> {
        self.days.binary_search_by_key(&day, |rows| rows.day).ok().and_then(|at| self.days.get(at))
    }

    /// The row groups in which rows of a day are.
    pub(super) fn groups_of(&self, day: &DayRows) -> impl Iterator<Item = &Group> {
        let (from, to) = (day.from, day.to());
        let first = self.groups.partition_point(|group| group.from + group.rows as u64 <= from);
        self.groups[first..].iter().take_while(move |group| group.from < to)
    }

    /// Shows the keys of a day that are in a row group: the number of the row, how many first bytes are those
    /// of the key before, the key.
    pub(super) fn keys_of(
        &self,
        group: &Group,
        day: &DayRows,
        mut take: impl FnMut(u64, usize, &[u8]) -> Option<()>,
    ) -> Result<(), StoreError> {
        let mut row = group.from;
        let mut before = false;
        self.pages(group, KEY, |page, count, encoding| {
            if encoding != Encoding::DELTA_BYTE_ARRAY {
                return None;
            }
            delta::keys(page, count, CLIENT_BYTES_MAX, |prefix, key| {
                let here = row;
                row += 1;
                if !(day.from..day.to()).contains(&here) {
                    return Some(());
                }
                // The first one that is shown stands for itself.
                let prefix = if std::mem::replace(&mut before, true) { prefix } else { 0 };
                take(here, prefix, key)
            })
        })
    }

    /// The requests of the rows of a day that are in a row group.
    pub(super) fn requests_of(&self, group: &Group, day: &DayRows) -> Result<Vec<u64>, StoreError> {
        let mut requests = self.numbers(group, REQUESTS)?;
        let place = |row: u64| (row.clamp(group.from, group.from + group.rows as u64) - group.from) as usize;
        requests.truncate(place(day.to()));
        requests.drain(..place(day.from));
        Ok(requests)
    }

    /// The numbers of a column.
    fn numbers(&self, group: &Group, column: usize) -> Result<Vec<u64>, StoreError> {
        let mut numbers = Vec::with_capacity(group.rows);
        self.pages(group, column, |mut page, count, encoding| match encoding {
            Encoding::DELTA_BINARY_PACKED if column != HOURS => {
                delta::unpack(&mut page, count, |number| numbers.push(number))
            }
            Encoding::PLAIN if column == HOURS => {
                let (words, []) = page.as_chunks() else { return None };
                numbers.extend(words.iter().map(|word| u64::from(u32::from_le_bytes(*word))));
                (words.len() == count).then_some(())
            }
            _ => None,
        })?;
        Ok(numbers)
    }

    /// Shows the data pages of a column without nulls: the bytes, the number of values, their encoding.
    /// Together they have as many values as there are rows.
    ///
    /// The library would make a codec for each column of each row group, which takes longer than small ones
    /// take to be decoded. So it is told that nothing is compressed, and the thread's own codec expands the
    /// pages.
    fn pages(
        &self,
        group: &Group,
        column: usize,
        mut take: impl FnMut(&[u8], usize, Encoding) -> Option<()>,
    ) -> Result<(), StoreError> {
        let wrong = StoreError::Damaged("a column is not readable");
        let (chunk, bytes) = self.chunk(group, column)?;
        let packed = without_panic(|| {
            chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()
        })?;
        let mut reader = without_panic(|| SerializedPageReader::new(bytes, &packed, group.rows, None))?;
        let mut left = group.rows;
        while let Some(page) = without_panic(|| reader.get_next_page())? {
            let Page::DataPage { buf, num_values, encoding, .. } = page else { return Err(wrong) };
            let count = num_values as usize;
            if count > left || expand(&buf, |page| take(page, count, encoding)).is_none() {
                return Err(wrong);
            }
            left -= count;
        }
        if left == 0 { Ok(()) } else { Err(wrong) }
    }

    /// The first bytes of the file.
    pub(super) fn source_start(&self) -> Result<[u8; 4], StoreError> {
        self.source.read(0, 4).map(|bytes| bytes.first_chunk().copied().unwrap_or_default())
    }

    /// What a column is, for the library.
    pub(super) fn column(&self, group: &Group, column: usize) -> ColumnDescPtr {
        group.chunks[column].0.column_descr_ptr()
    }

    /// Takes other bytes in the place of the file's, as if their checksums held.
    #[cfg(test)]
    pub(super) fn believe(&mut self, bytes: Vec<u8>) {
        for (chunk, hash) in self.groups.iter_mut().flat_map(|group| &mut group.chunks) {
            let (at, length) = chunk.byte_range();
            *hash = xxh3_64(&bytes[at as usize..(at + length) as usize]);
        }
        self.source = Source::Bytes(bytes.into());
    }

    /// The library's reader of a column, if its bytes are as they were written.
    pub(super) fn reader(
        &self,
        group: &Group,
        column: usize,
    ) -> Result<SerializedPageReader<Chunk>, StoreError> {
        let (chunk, bytes) = self.chunk(group, column)?;
        without_panic(|| SerializedPageReader::new(bytes, chunk, group.rows, None))
    }

    /// A column, if its bytes are as they were written.
    fn chunk<'a>(
        &self,
        group: &'a Group,
        column: usize,
    ) -> Result<(&'a ColumnChunkMetaData, Arc<Chunk>), StoreError> {
        let (chunk, hash) = &group.chunks[column];
        let (at, length) = chunk.byte_range();
        let bytes = self.source.read(at, length)?;
        if xxh3_64(&bytes) != *hash {
            return Err(StoreError::Damaged("the checksum of a column is wrong"));
        }
        Ok((chunk, Arc::new(Chunk { at, bytes })))
    }
}

/// Expands a page, if it is no longer than one of ours can be.
fn expand<T>(page: &[u8], take: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let length = usize::try_from(get_frame_content_size(page).ok()??)
        .ok()
        .filter(|length| *length <= PAGE_BYTES_MAX)?;
    let (mut codec, mut expanded) = CODEC.take().or_else(|| Some((Decompressor::new().ok()?, Vec::new())))?;
    expanded.clear();
    expanded.reserve(length);
    let taken = codec.decompress_to_buffer(page, &mut expanded).ok().and_then(|_| take(&expanded));
    CODEC.set(Some((codec, expanded)));
    taken
}

/// What the library answers. A panic of its is as good as an error.
pub(super) fn without_panic<T>(ask: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, StoreError> {
    let broken = StoreError::Damaged("the file is not readable as Parquet");
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(Ok(answer)) => Ok(answer),
        _ => Err(broken),
    }
}

/// The row groups, if they can be: our columns, within the file, with as many checksums.
fn groups(parquet: &ParquetMetaData, end: u64, hashes: Vec<Vec<u64>>) -> Option<Vec<Group>> {
    let (columns, mut from) = (parquet.file_metadata().schema_descr().columns(), 0);
    let types = [
        Physical::INT32,
        Physical::BYTE_ARRAY,
        Physical::BYTE_ARRAY,
        Physical::BYTE_ARRAY,
        Physical::INT64,
        Physical::INT64,
        Physical::INT32,
    ];
    let ours = columns.iter().zip(COLUMNS).zip(types).all(|((column, name), physical)| {
        let repetition = if name == "day" { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        column.name() == name
            && column.physical_type() == physical
            && column.self_type().get_basic_info().repetition() == repetition
    });
    if !ours || columns.len() != COLUMNS.len() || parquet.num_row_groups() != hashes.len() {
        return None;
    }
    let mut groups = Vec::with_capacity(hashes.len());
    for (group, hashes) in parquet.row_groups().iter().zip(hashes) {
        let rows =
            usize::try_from(group.num_rows()).ok().filter(|rows| (1..=GROUP_ROWS_MAX).contains(rows))?;
        if group.columns().len() != COLUMNS.len() || hashes.len() != COLUMNS.len() {
            return None;
        }
        for chunk in group.columns() {
            let start =
                u64::try_from(chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset())).ok()?;
            let length = u64::try_from(chunk.compressed_size()).ok()?;
            let inside = start >= 4 && start.checked_add(length)? <= end;
            if !inside
                || chunk.num_values() != group.num_rows()
                || !matches!(chunk.compression(), Compression::ZSTD(_))
            {
                return None;
            }
        }
        groups.push(Group { from, rows, chunks: group.columns().iter().cloned().zip(hashes).collect() });
        from += rows as u64;
    }
    Some(groups)
}
