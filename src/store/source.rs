//! Where the bytes of a partial come from, and how the library is given a column's.

use std::fs::File;
use std::io;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::error::StoreError;
use super::shape::PAGE_BYTES_MAX;
use crate::sys::map::read_at;

/// A whole file, in memory or not.
#[derive(Debug)]
pub(super) enum Source {
    Bytes(Bytes),
    File(File, u64),
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File(_, length) => *length,
        }
    }

    /// The bytes `at..at + length`, all of which must be there.
    pub(super) fn read(&self, at: u64, length: u64) -> std::result::Result<Bytes, StoreError> {
        let cut = StoreError::Damaged("the file ends too early");
        let (Some(end), Ok(length)) = (at.checked_add(length), usize::try_from(length)) else {
            return Err(cut);
        };
        if end > self.len() {
            return Err(cut);
        }
        match self {
            Source::Bytes(bytes) => Ok(bytes.slice(at as usize..end as usize)),
            Source::File(file, _) => {
                let mut buffer = vec![0; length];
                if read_at(file, &mut buffer, at)? < length { Err(cut) } else { Ok(buffer.into()) }
            }
        }
    }
}

impl TryFrom<File> for Source {
    type Error = io::Error;

    fn try_from(file: File) -> io::Result<Source> {
        let length = file.metadata()?.len();
        Ok(Source::File(file, length))
    }
}

/// A column of a row group: the only bytes that the library gets to see of the file, after their checksum
/// held.
pub(super) struct Chunk {
    /// Where they stand in the file.
    pub(super) at: u64,
    pub(super) bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> Result<Bytes> {
        let start = start
            .checked_sub(self.at)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| *start <= self.bytes.len());
        start
            .map(|start| self.bytes.slice(start..))
            .ok_or_else(|| ParquetError::EOF("beyond the column".to_owned()))
    }

    /// Does a page start here that claims to be of a sane size when decompressed? The library would make room
    /// for what it claims. A page header is a structure in Thrift's compact protocol whose first three fields
    /// are numbers: its type, its size, and its compressed size.
    fn is_sane_page(mut bytes: &[u8]) -> bool {
        let mut field = || {
            let (0x15, mut number) = (*bytes.split_off_first()?, 0) else { return None };
            for shift in (0..35).step_by(7) {
                let byte = *bytes.split_off_first()?;
                number |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    return Some(number >> 1);
                }
            }
            None
        };
        field().is_some() && field().is_some_and(|size| size <= PAGE_BYTES_MAX as u64)
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    /// The library asks so for page headers, and only for these.
    fn get_read(&self, start: u64) -> Result<Reader<Bytes>> {
        let bytes = self.from(start)?;
        if Chunk::is_sane_page(&bytes) {
            Ok(bytes.reader())
        } else {
            Err(ParquetError::General("no page".to_owned()))
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("beyond the column".to_owned()));
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}
