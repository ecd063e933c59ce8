//! Looks into logs: what stands at a place, what compresses a file.

use std::fs::File;
use std::io;

use super::content::{Place, Probe};
use super::scan::{self, FileId};
use super::sums::Sums;
use crate::decode::FileKind;
use crate::sample::{SAMPLE_BYTES, START_BYTES, Sample, Sampler};
use crate::sys::map::read_at;

/// Opens files to look into them. The latest one stays open: several looks follow each other, most often.
#[derive(Debug, Default)]
pub struct FileProbe {
    open: Option<(FileId, File)>,
}

impl FileProbe {
    /// Closes what is open.
    pub fn forget(&mut self) {
        self.open = None;
    }

    fn file(&mut self, place: &Place) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(file, _)| *file != place.file) {
            self.open = Some((place.file, scan::open(&place.path, place.file)?));
        }
        self.open.as_ref().map(|(_, file)| file).ok_or_else(|| io::Error::other("nothing is open"))
    }
}

/// Looks into files and at the sums.
pub struct LogProbe<'a> {
    /// For the files.
    pub probe: &'a mut FileProbe,
    /// What was counted.
    pub sums: &'a Sums,
}

impl Probe for LogProbe<'_> {
    fn fits(&self, inner: u64, outer: u64, by_clients: bool) -> bool {
        self.sums.fits(inner, outer, by_clients)
    }

    fn sample(&mut self, place: &Place, at: u64, length: u32) -> io::Result<Option<Sample>> {
        self.probe.sample(place, at, length)
    }

    fn start(&mut self, place: &Place, size: u64) -> io::Result<Vec<u64>> {
        self.probe.start(place, size)
    }

    fn kind(&mut self, place: &Place) -> io::Result<FileKind> {
        self.probe.kind(place)
    }
}

impl Probe for FileProbe {
    fn sample(&mut self, place: &Place, at: u64, length: u32) -> io::Result<Option<Sample>> {
        Sample::take(self.file(place)?, at, length)
    }

    fn start(&mut self, place: &Place, size: u64) -> io::Result<Vec<u64>> {
        let mut buffer = [0; START_BYTES as usize];
        let wanted = buffer.get_mut(..size.min(START_BYTES) as usize).unwrap_or_default();
        let length = read_at(self.file(place)?, wanted, 0)?;
        let mut sampler = Sampler::new(0);
        sampler.take(0, &wanted[..length]);
        Ok(sampler.into_blocks().1)
    }

    fn kind(&mut self, place: &Place) -> io::Result<FileKind> {
        let mut head = [0; FileKind::HEAD_BYTES];
        let length = read_at(self.file(place)?, &mut head, 0)?;
        let name = place.path.file_name().unwrap_or_default();
        Ok(FileKind::of(name.as_encoded_bytes(), &head[..length]))
    }
}

/// Does the file hold all of these bytes still?
pub fn all_hold(samples: &[Sample], file: &File) -> io::Result<bool> {
    for sample in samples {
        if !sample.holds(file)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The two ends of a file: by them a compressed log is known again without decoding it.
pub fn raw_samples(file: &File, size: u64) -> io::Result<Vec<Sample>> {
    let length = size.min(SAMPLE_BYTES as u64);
    let ends = [Sample::take(file, 0, length as u32)?, Sample::take(file, size - length, length as u32)?];
    Ok(ends.into_iter().flatten().collect())
}
