//! Writes a partial.
//!
//! Measured on 100,000 random IPv4 clients with 1 to 20 requests each at random hours, in bytes a client:
//! keys 3.9 by DELTA_BYTE_ARRAY (5.8 plain, 5.4 by DELTA_LENGTH_BYTE_ARRAY, 7.9 by dictionary), requests 0.7
//! and bytes 1.7 by DELTA_BINARY_PACKED (0.8 and 1.8 plain; 0.6 and 1.7 by dictionary, in three times the
//! time), hours 3.0 plain (3.2 delta, 4.8 dictionary). Higher levels of zstd than 1 save 2 % and take twice
//! the time and more.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use xxhash_rust::xxh3::xxh3_64;

use super::json::{self, Checks};
use super::meta::Meta;
use super::rows::{self, DIMENSION, DataHash};
use super::shape::{COLUMNS, GROUP_ROWS_MAX};
use super::{date, footer};
use crate::log::{Day, Kind};
use crate::tally::{Clients, Usage};

/// Nor many more bytes of keys than this.
const GROUP_KEY_BYTES_MAX: usize = 64 << 20;
/// A log of more days than these has small days together in a row group: there can be three million days, and
/// a row group takes a kilobyte by itself.
const DAYS_ALONE_MAX: usize = 1_000;
/// Such row groups have about so many rows.
const SHARED_GROUP_ROWS: usize = 1 << 16;
const PAGE_BYTES: usize = 1 << 20;

/// Why there can be no such partial.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The clients given are not those that the numbers of their day speak of.
    #[error("the clients of a day are not those that its numbers speak of, or days are not ascending")]
    Disagrees,
    /// The log, or something that is counted of it, is larger than the format holds.
    #[error("the log is too large for the store")]
    TooLarge,
    /// The library did not write it.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

/// Writes the partial of a log: what is known of it, and its clients by day. `days` ascending, `None` first;
/// those that are not there have no clients.
///
/// # Errors
/// If the two disagree on how many clients a day has, or are too large.
pub fn encode(meta: &Meta, days: &[(Option<Day>, &Clients)]) -> Result<Vec<u8>, EncodeError> {
    if !days.is_sorted_by(|one, two| one.0 < two.0) {
        return Err(EncodeError::Disagrees);
    }
    let given = days
        .iter()
        .filter(|(_, clients)| !clients.is_empty())
        .map(|(day, clients)| (*day, clients.distinct()));
    let said = meta.days_with_clients().map(|(day, totals)| (day, totals.clients));
    if !given.eq(said) {
        return Err(EncodeError::Disagrees);
    }
    // As many, and with as many requests: else these are the clients of another moment.
    let requests =
        |clients: &Clients| clients.iter().fold(0u64, |sum, (_, usage)| sum.saturating_add(usage.requests));
    if days.iter().any(|(day, clients)| {
        meta.days.get(day).is_some_and(|totals| totals.counts.requests() != requests(clients))
    }) {
        return Err(EncodeError::Disagrees);
    }
    let mut writer = Writer::new(meta.days.len())?;
    for (day, clients) in days {
        let mut result = Ok(());
        rows::sorted(clients, |kind, key, usage| {
            if result.is_ok() {
                result = writer.add(*day, kind, key, usage);
            }
        });
        result?;
    }
    writer.finish(meta)
}

/// Takes rows in their order.
pub(super) struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
    group: Group,
    day: Option<Day>,
    days_alone: bool,
    data: DataHash,
}

/// The rows of a row group to be, by columns.
#[derive(Default)]
struct Group {
    /// Of the rows that have one.
    days: Vec<i32>,
    /// Whether each row has one: 1, else 0.
    has_day: Vec<i16>,
    kinds: Vec<Kind>,
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<usize>,
    requests: Vec<i64>,
    bytes: Vec<i64>,
    hours: Vec<i32>,
}

impl Writer {
    pub(super) fn new(days: usize) -> Result<Writer, EncodeError> {
        let file = SerializedFileWriter::new(Vec::new(), Arc::clone(&SCHEMA), Arc::clone(&PROPERTIES))?;
        Ok(Writer {
            file,
            group: Group::default(),
            day: None,
            days_alone: days <= DAYS_ALONE_MAX,
            data: DataHash::default(),
        })
    }

    pub(super) fn add(
        &mut self,
        day: Option<Day>,
        kind: Kind,
        key: &[u8],
        usage: Usage,
    ) -> Result<(), EncodeError> {
        let group = &self.group;
        let rows = group.ends.len();
        let parts = self.day != day && (self.days_alone || rows >= SHARED_GROUP_ROWS);
        if parts || rows >= GROUP_ROWS_MAX || group.keys.len() >= GROUP_KEY_BYTES_MAX {
            self.write_group()?;
        }
        self.day = day;
        let group = &mut self.group;
        group.days.extend(day.map(date::since_1970));
        group.has_day.push(day.is_some().into());
        group.kinds.push(kind);
        group.keys.extend_from_slice(key);
        group.ends.push(group.keys.len());
        group.requests.push(usage.requests.try_into().map_err(|_| EncodeError::TooLarge)?);
        group.bytes.push(usage.bytes.try_into().map_err(|_| EncodeError::TooLarge)?);
        group.hours.push(usage.hours.cast_signed());
        self.data.add(day, kind, key, usage);
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), EncodeError> {
        let rows = std::mem::take(&mut self.group);
        if rows.ends.is_empty() {
            return Ok(());
        }
        let keys = Bytes::from(rows.keys);
        let starts = std::iter::once(0).chain(rows.ends.iter().copied());
        let keys: Vec<ByteArray> =
            starts.zip(&rows.ends).map(|(start, end)| keys.slice(start..*end).into()).collect();
        let [ipv4, ipv6, other] =
            [Kind::Ipv4, Kind::Ipv6, Kind::Other].map(|kind| ByteArray::from(rows::word(kind)));
        let kinds: Vec<ByteArray> = rows
            .kinds
            .iter()
            .map(|kind| match kind {
                Kind::Ipv4 => ipv4.clone(),
                Kind::Ipv6 => ipv6.clone(),
                Kind::Other => other.clone(),
            })
            .collect();
        let mut group = self.file.next_row_group()?;
        column::<Int32Type>(&mut group, &rows.days, Some(&rows.has_day))?;
        column::<ByteArrayType>(&mut group, &vec![ByteArray::from(DIMENSION); keys.len()], None)?;
        column::<ByteArrayType>(&mut group, &kinds, None)?;
        column::<ByteArrayType>(&mut group, &keys, None)?;
        column::<Int64Type>(&mut group, &rows.requests, None)?;
        column::<Int64Type>(&mut group, &rows.bytes, None)?;
        column::<Int32Type>(&mut group, &rows.hours, None)?;
        group.close()?;
        Ok(())
    }

    pub(super) fn finish(mut self, meta: &Meta) -> Result<Vec<u8>, EncodeError> {
        self.write_group()?;
        self.file.flush().map_err(ParquetError::from)?;
        let written = self.file.inner();
        let hash = |(at, length): (u64, u64)| written.get(at as usize..(at + length) as usize).map(xxh3_64);
        let chunks = self
            .file
            .flushed_row_groups()
            .iter()
            .map(|group| group.columns().iter().map(|column| hash(column.byte_range())).collect());
        let chunks = chunks.collect::<Option<_>>().ok_or(EncodeError::TooLarge)?;
        let checks = Checks { footer: 0, data: self.data.finish(), chunks };
        let text = json::write(meta, &checks).ok_or(EncodeError::TooLarge)?;
        self.file.append_key_value_metadata(KeyValue::new(footer::KEY.to_owned(), text));
        let mut file = self.file.into_inner()?;
        footer::seal(&mut file).ok_or(EncodeError::TooLarge)?;
        Ok(file)
    }
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column =
        group.next_column()?.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

static SCHEMA: LazyLock<TypePtr> = LazyLock::new(|| {
    let column = |name: &str, physical, logical| {
        let repetition = if name == "day" { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let column = Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical);
        Arc::new(column.build().expect("a column of these types can be"))
    };
    let fields = COLUMNS.map(|name| match name {
        "day" => column(name, Physical::INT32, Some(LogicalType::Date)),
        "dimension" | "kind" => column(name, Physical::BYTE_ARRAY, Some(LogicalType::String)),
        "key" => column(name, Physical::BYTE_ARRAY, None),
        "hours" => column(name, Physical::INT32, None),
        _ => column(name, Physical::INT64, None),
    });
    Arc::new(
        Type::group_type_builder("partial")
            .with_fields(fields.to_vec())
            .build()
            .expect("a group of columns can be"),
    )
});

static PROPERTIES: LazyLock<WriterPropertiesPtr> = LazyLock::new(|| {
    let sorted_by = |name: &str| SortingColumn {
        column_idx: COLUMNS.iter().position(|column| *column == name).expect("it is one of the columns")
            as i32,
        descending: false,
        nulls_first: true,
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("tallyd version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level of zstd")))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(GROUP_ROWS_MAX)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_sorting_columns(Some(["dimension", "day", "kind", "key"].map(sorted_by).to_vec()))
        .set_column_statistics_enabled("key".into(), EnabledStatistics::None);
    for (name, encoding) in [
        ("key", Encoding::DELTA_BYTE_ARRAY),
        ("requests", Encoding::DELTA_BINARY_PACKED),
        ("bytes", Encoding::DELTA_BINARY_PACKED),
        ("hours", Encoding::PLAIN),
    ] {
        properties = properties
            .set_column_dictionary_enabled(name.into(), false)
            .set_column_encoding(name.into(), encoding);
    }
    Arc::new(properties.build())
});
