//! The bytes of a path: a file in ranges, or a stream, compressed or not.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::found::{Candidate, Origin, Report};
use super::sentence::{STDIN, cannot_read, shown};
use crate::decode::{Compression, FileKind};
use crate::sys::map::read_at;

/// How the bytes of a log are read.
pub(super) enum Source {
    /// A regular file of this length: its ranges can be counted independently.
    Plain(Arc<File>, u64),
    /// A stream that can only be read from front to back: standard input, a pipe.
    Stream(Box<dyn Read + Send>),
    /// A compressed file or stream, and how many bytes it has: 0 if that is unknown.
    Compressed(Box<dyn Read + Send>, Compression, u64),
}

impl Source {
    /// How many bytes there are to read; 0 if that is unknown.
    pub(super) fn length(&self) -> u64 {
        match self {
            Source::Plain(_, length) | Source::Compressed(_, _, length) => *length,
            Source::Stream(_) => 0,
        }
    }
}

/// Opens a log. Reports a path that cannot be read, and a file that is known to be no log: as an error if it
/// was named, else as skipped.
pub(super) fn open(candidate: Candidate, report: &mut Report) -> Option<(PathBuf, Source)> {
    let Candidate { path, origin } = candidate;
    match (source(&path), origin) {
        (Ok(Ok(source)), _) => return Some((path, source)),
        (Ok(Err(kind)), Origin::Folder) => report.skip(path, kind),
        (Ok(Err(kind)), Origin::Named) => {
            report.errors.push(format!(
                "cannot count {}: the file is {kind}, not a plain, gz, zst, bz2 or xz log",
                shown(&path)
            ));
        }
        (Err(error), _) => report.errors.push(cannot_read(&path, &error.into())),
    }
    None
}

/// Opens a log, or returns what the file is instead.
fn source(path: &Path) -> io::Result<Result<Source, &'static str>> {
    if path.as_os_str() == STDIN {
        return stream(io::stdin());
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    // A file in /proc has bytes though its length is 0.
    if !about.is_file() || about.len() == 0 {
        return stream(file);
    }
    let mut head = [0; FileKind::HEAD_BYTES];
    let length = read_at(&file, &mut head, 0)?;
    let name = path.file_name().unwrap_or_default();
    Ok(match FileKind::of(name.as_bytes(), &head[..length]) {
        FileKind::Log(Some(format)) => Ok(Source::Compressed(Box::new(file), format, about.len())),
        FileKind::Log(None) => Ok(Source::Plain(Arc::new(file), about.len())),
        FileKind::Foreign(kind) => Err(kind.name()),
    })
}

/// Opens a stream. Its first bytes are read here, to see what they are, and are read again by the caller.
fn stream(mut input: impl Read + Send + 'static) -> io::Result<Result<Source, &'static str>> {
    let mut head = Vec::new();
    (&mut input).take(FileKind::HEAD_BYTES as u64).read_to_end(&mut head)?;
    let (kind, has_ended) = (FileKind::of(b"", &head), head.len() < FileKind::HEAD_BYTES);
    // A terminal would have to report its end a second time.
    let whole: Box<dyn Read + Send> =
        if has_ended { Box::new(Cursor::new(head)) } else { Box::new(Cursor::new(head).chain(input)) };
    Ok(match kind {
        FileKind::Log(Some(format)) => Ok(Source::Compressed(whole, format, 0)),
        FileKind::Log(None) => Ok(Source::Stream(whole)),
        FileKind::Foreign(kind) => Err(kind.name()),
    })
}
