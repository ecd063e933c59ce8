//! Whether every row of a partial is as it was written, and agrees with what the JSON says.

use std::ops::Range;

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type};
use parquet::errors::{ParquetError, Result as Parquet};
use parquet::file::serialized_reader::SerializedPageReader;

use super::date;
use super::error::StoreError;
use super::partial::{DAY, DIMENSION, DayRows, Group, KIND, Partial, without_panic};
use super::rows::{self, DataHash};
use super::source::Chunk;
use crate::log::{Kind, kind};
use crate::tally::Totals;

/// So many rows are compared at once.
const BATCH: usize = 1 << 14;

impl Partial {
    /// Decodes everything: the constant columns, the order of rows, the numbers of each day, the checksum of
    /// all rows.
    ///
    /// # Errors
    /// If anything is not as it was written.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.source_start()? != *b"PAR1" {
            return Err(StoreError::Damaged("the file does not begin like a Parquet file"));
        }
        for group in &self.groups {
            self.check_constants(group)?;
        }
        let mut data = DataHash::default();
        for day in self.day_rows() {
            let totals = self.meta().days.get(&day.day).copied().unwrap_or_default();
            let (mut requests, mut bytes, mut hours, mut right) = (0u64, 0u64, 0u32, true);
            let mut before: Option<(Kind, Vec<u8>)> = None;
            self.rows(day.day, |listed, key, usage| {
                right &= kind(key) == listed;
                right &=
                    before.as_ref().is_none_or(|(kind, before)| *kind != listed || before.as_slice() < key);
                match &mut before {
                    Some((kind, before)) => {
                        *kind = listed;
                        before.clear();
                        before.extend_from_slice(key);
                    }
                    None => before = Some((listed, key.to_vec())),
                }
                requests = requests.saturating_add(usage.requests);
                bytes = bytes.saturating_add(usage.bytes);
                hours |= usage.hours;
                right &= usage.requests > 0;
                data.add(day.day, listed, key, usage);
            })?;
            if !right {
                return Err(StoreError::Damaged("the rows are out of order"));
            }
            if requests != totals.counts.requests()
                || bytes != totals.counts.log_bytes
                || hours != seen_hours(&totals)
            {
                return Err(StoreError::Damaged("the rows of a day do not add up to its numbers"));
            }
        }
        if data.finish() != self.data {
            Err(StoreError::Damaged("the checksum of its rows is wrong"))
        } else {
            Ok(())
        }
    }

    /// Compares the columns that say the same in every row of a day, or of a kind, with what the JSON says.
    fn check_constants(&self, group: &Group) -> Result<(), StoreError> {
        let rows = group.from..group.from + group.rows as u64;
        let days = self.day_rows();
        let first = days.partition_point(|day| day.to() <= rows.start);
        let days = days[first..].iter().take_while(|day| day.from < rows.end);
        let (mut day_runs, mut kind_runs) = (Vec::new(), Vec::new());
        for day in days {
            let inside = |range: Range<u64>| {
                (range.end.min(rows.end).saturating_sub(range.start.max(rows.start))) as usize
            };
            day_runs.push((day.day.map(date::since_1970), inside(day.from..day.to())));
            kind_runs.extend(
                day.kinds().map(|(kind, range)| (Some(ByteArray::from(rows::word(kind))), inside(range))),
            );
        }
        self.check_runs::<Int32Type>(group, DAY, day_runs)?;
        self.check_runs::<ByteArrayType>(
            group,
            DIMENSION,
            vec![(Some(ByteArray::from(rows::DIMENSION)), group.rows)],
        )?;
        self.check_runs::<ByteArrayType>(group, KIND, kind_runs)
    }

    /// Are the values of a column these, each so many times?
    fn check_runs<T: DataType>(
        &self,
        group: &Group,
        column: usize,
        runs: Vec<(Option<T::T>, usize)>,
    ) -> Result<(), StoreError> {
        let wrong = || StoreError::Damaged("a derived column does not match the others");
        let pages = Box::new(Constant { pages: self.reader(group, column)?, rows: group.rows });
        let descriptor = self.column(group, column);
        let mut reader: ColumnReaderImpl<T> =
            without_panic(|| Ok(get_typed_column_reader(get_column_reader(descriptor, pages))))?;
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        for (value, mut left) in runs {
            while left > 0 {
                levels.clear();
                values.clear();
                let nullable = (column == DAY).then_some(&mut levels);
                let (count, ..) =
                    without_panic(|| reader.read_records(left.min(BATCH), nullable, None, &mut values))?;
                let present = if value.is_some() { count } else { 0 };
                if count == 0
                    || values.len() != present
                    || values.iter().any(|there| Some(there) != value.as_ref())
                {
                    return Err(wrong());
                }
                left -= count;
            }
        }
        Ok(())
    }
}

/// The pages of a column that has a dictionary, and never more values in it than rows: the library makes room
/// for as many as a page claims.
struct Constant {
    pages: SerializedPageReader<Chunk>,
    rows: usize,
}

impl Iterator for Constant {
    type Item = Parquet<Page>;

    fn next(&mut self) -> Option<Parquet<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Constant {
    fn get_next_page(&mut self) -> Parquet<Option<Page>> {
        let page = self.pages.get_next_page()?;
        let right = page.as_ref().is_none_or(|page| {
            let encoded = page.is_dictionary_page()
                || matches!(page.encoding(), Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
            encoded && page.num_values() as usize <= self.rows
        });
        if right {
            Ok(page)
        } else {
            Err(ParquetError::General("the page is not encoded as tallyd encodes pages".to_owned()))
        }
    }

    fn peek_next_page(&mut self) -> Parquet<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Parquet<()> {
        self.pages.skip_next_page()
    }
}

impl DayRows {
    /// The rows of each kind.
    fn kinds(&self) -> impl Iterator<Item = (Kind, Range<u64>)> {
        let [ipv4, ipv6, all] = self.ends;
        [(Kind::Ipv4, self.from..ipv4), (Kind::Ipv6, ipv4..ipv6), (Kind::Other, ipv6..all)].into_iter()
    }
}

/// The hours in which there were requests, as bits.
fn seen_hours(totals: &Totals) -> u32 {
    (0..24).filter(|hour| totals.counts.hours[*hour] > 0).fold(0, |hours, hour| hours | 1 << hour)
}
