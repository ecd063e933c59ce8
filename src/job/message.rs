//! The messages between the processes, as bytes.

use crate::decode::Compression;
use crate::range::{Io, LastLine, Probe, Range};
use crate::sample::SAMPLE_BYTES;
use crate::sys::process::Death;

/// The longest message, in bytes.
pub const MESSAGE_BYTES: usize = 128;
/// The longest result. A range of 64 MiB holds at most so many clients; the rest is room for lines that end
/// far beyond it.
pub const RESULT_BYTES_MAX: u64 = 1 << 30;

/// What a worker is asked to count: a range of the file that comes along, or all that it is compressed of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job {
    /// Tells this job from every other one of this coordinator.
    pub number: u64,
    /// Which log it is.
    pub log: u64,
    /// Which content the log has: a higher number is another content.
    pub generation: u64,
    /// The bytes whose lines are counted. Of a compressed log: all bytes of the file.
    pub range: Range,
    /// How to look at them.
    pub io: Io,
    /// What an unterminated last line means.
    pub last: LastLine,
    /// What compresses the log, if anything does.
    pub stream: Option<Stream>,
}

/// A compressed log, which is counted from its start to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    /// What compresses it.
    pub format: Compression,
    /// Where else it is to be sampled.
    pub probe: Option<Probe>,
}

/// What a worker answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Counted: the sealed result comes along.
    Counted {
        /// The job's number.
        job: u64,
    },
    /// The file ends before the range does.
    Shorter {
        /// The job's number.
        job: u64,
    },
    /// The file could not be read, or the result not be written.
    Failed {
        /// The job's number.
        job: u64,
        /// What the system said.
        errno: i32,
    },
}

/// What the supervisor tells the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// A worker lives; its socket comes along.
    Born {
        /// Its number, from 0.
        worker: usize,
    },
    /// A worker is dead and gone: nothing can come from it any more.
    Reaped {
        /// Its number.
        worker: usize,
        /// How it ended.
        death: Death,
        /// Was it killed for giving no sign of life, and did it use the processor meanwhile?
        hung: Option<Hang>,
    },
}

/// What the api asks the coordinator to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Take a log back: its numbers are void for good.
    Delete {
        /// The log.
        log: u64,
    },
    /// Look at everything now, and try again what was given up.
    Rescan,
    /// Look at everything now.
    Look,
    /// A file is to take a log's name, and its place: the log's numbers are void once the file has the name
    /// and is counted.
    Replace {
        /// The log.
        log: u64,
        /// The file's device and inode.
        file: (u64, u64),
    },
    /// The file takes no log's name after all.
    Withdraw {
        /// Its device and inode.
        file: (u64, u64),
    },
}

/// What a process that gave no sign of life was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hang {
    /// It used the processor.
    Busy,
    /// It did not: it was stopped, or waited for a disk.
    Still,
}

impl Hang {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Hang::Busy => "busy",
            Hang::Still => "still",
        }
    }
}

pub(super) fn write(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(super) fn read<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let words = bytes.as_chunks::<8>().0;
    (bytes.len() == N * 8).then(|| std::array::from_fn(|at| u64::from_le_bytes(words[at])))
}

impl Job {
    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let io = match self.io {
            Io::Auto => 0,
            Io::Map => 1,
            Io::Read => 2,
        };
        let last = u64::from(self.last == LastLine::Count);
        let format = self.stream.map_or(0, |stream| stream.format.code());
        let (at, length) = self.stream.and_then(|stream| stream.probe).unwrap_or((0, 0));
        write(&[
            self.number,
            self.log,
            self.generation,
            self.range.from(),
            self.range.to(),
            io,
            last,
            format,
            at,
            length.into(),
        ])
    }

    /// The job of a message, or `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Job> {
        let [number, log, generation, from, to, io, last, format, at, length] = read(bytes)?;
        let io = [Io::Auto, Io::Map, Io::Read].get(usize::try_from(io).ok()?).copied()?;
        let last = [LastLine::Hold, LastLine::Count].get(usize::try_from(last).ok()?).copied()?;
        let length = u32::try_from(length).ok().filter(|length| *length as usize <= SAMPLE_BYTES)?;
        at.checked_add(length.into())?;
        let probe = (length > 0).then_some((at, length));
        let stream =
            if format == 0 { None } else { Some(Stream { format: Compression::from_code(format)?, probe }) };
        Some(Job { number, log, generation, range: Range::new(from, to)?, io, last, stream })
    }
}

impl Answer {
    /// The number of the job that is answered.
    pub fn job(&self) -> u64 {
        match *self {
            Answer::Counted { job } | Answer::Shorter { job } | Answer::Failed { job, .. } => job,
        }
    }

    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        match *self {
            Answer::Counted { job } => write(&[job, 0, 0]),
            Answer::Shorter { job } => write(&[job, 1, 0]),
            Answer::Failed { job, errno } => write(&[job, 2, u64::from(errno.cast_unsigned())]),
        }
    }

    /// The answer of a message, or `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Answer> {
        match read(bytes)? {
            [job, 0, 0] => Some(Answer::Counted { job }),
            [job, 1, 0] => Some(Answer::Shorter { job }),
            [job, 2, errno] => Some(Answer::Failed { job, errno: u32::try_from(errno).ok()?.cast_signed() }),
            _ => None,
        }
    }
}

impl Request {
    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        match *self {
            Request::Delete { log } => write(&[1, log, 0, 0]),
            Request::Rescan => write(&[2, 0, 0, 0]),
            Request::Look => write(&[3, 0, 0, 0]),
            Request::Replace { log, file } => write(&[4, log, file.0, file.1]),
            Request::Withdraw { file } => write(&[5, 0, file.0, file.1]),
        }
    }

    /// The request of a message, or `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Request> {
        match read(bytes)? {
            [1, log, 0, 0] => Some(Request::Delete { log }),
            [2, 0, 0, 0] => Some(Request::Rescan),
            [3, 0, 0, 0] => Some(Request::Look),
            [4, log, device, inode] => Some(Request::Replace { log, file: (device, inode) }),
            [5, 0, device, inode] => Some(Request::Withdraw { file: (device, inode) }),
            _ => None,
        }
    }
}

impl News {
    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        match *self {
            News::Born { worker } => write(&[worker as u64, 0, 0, 0, 0]),
            News::Reaped { worker, death, hung } => {
                let (how, code) = match death {
                    Death::Exit(code) => (1, code),
                    Death::Signal(number) => (2, number),
                };
                let hung = match hung {
                    None => 0,
                    Some(Hang::Busy) => 1,
                    Some(Hang::Still) => 2,
                };
                write(&[worker as u64, 1, how, u64::from(code.cast_unsigned()), hung])
            }
        }
    }

    /// The news of a message, or `None` if it is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<News> {
        let [worker, what, how, code, hung] = read(bytes)?;
        let worker = usize::try_from(worker).ok()?;
        let code = u32::try_from(code).ok()?.cast_signed();
        let death = match (what, how) {
            (0, _) => return Some(News::Born { worker }),
            (1, 1) => Death::Exit(code),
            (1, 2) => Death::Signal(code),
            _ => return None,
        };
        let hung = [None, Some(Hang::Busy), Some(Hang::Still)].get(usize::try_from(hung).ok()?).copied()?;
        Some(News::Reaped { worker, death, hung })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back() {
        let range = Range::new(5, 1 << 40).unwrap();
        for io in [Io::Auto, Io::Map, Io::Read] {
            for last in [LastLine::Hold, LastLine::Count] {
                let streams = [
                    None,
                    Some(Stream { format: Compression::Xz, probe: None }),
                    Some(Stream { format: Compression::Gz, probe: Some((7, 1024)) }),
                ];
                for stream in streams {
                    let job = Job { number: 1, log: u64::MAX, generation: 3, range, io, last, stream };
                    assert_eq!(Job::from_bytes(&job.to_bytes()), Some(job));
                    assert!(job.to_bytes().len() <= MESSAGE_BYTES);
                }
            }
        }
        for answer in
            [Answer::Counted { job: 7 }, Answer::Shorter { job: 7 }, Answer::Failed { job: 7, errno: 5 }]
        {
            assert_eq!(Answer::from_bytes(&answer.to_bytes()), Some(answer));
        }
        for death in [Death::Exit(101), Death::Signal(9)] {
            for hung in [None, Some(Hang::Busy), Some(Hang::Still)] {
                let news = News::Reaped { worker: 3, death, hung };
                assert_eq!(News::from_bytes(&news.to_bytes()), Some(news));
            }
        }
        let file = (u64::MAX, 7);
        for request in [
            Request::Delete { log: u64::MAX },
            Request::Rescan,
            Request::Look,
            Request::Replace { log: 1, file },
            Request::Withdraw { file },
        ] {
            assert_eq!(Request::from_bytes(&request.to_bytes()), Some(request));
        }
        assert_eq!(News::from_bytes(&News::Born { worker: 9 }.to_bytes()), Some(News::Born { worker: 9 }));
    }

    #[test]
    fn what_cannot_be_is_no_message() {
        assert!(Job::from_bytes(&write(&[1, 1, 1, 5, 6, 0, 0, 0, 0, 0])).is_some());
        assert_eq!(Job::from_bytes(&write(&[1, 1, 1, 5, 5, 0, 0, 0, 0, 0])), None); // an empty range
        assert_eq!(Job::from_bytes(&write(&[1, 1, 1, 5, 6, 3, 0, 0, 0, 0])), None);
        assert_eq!(Job::from_bytes(&write(&[1, 1, 1, 5, 6, 0, 0, 9, 0, 0])), None); // an unknown compression
        assert_eq!(Job::from_bytes(&write(&[1, 1, 1, 5, 6, 0, 0, 1, 0, 1025])), None);
        assert_eq!(Job::from_bytes(&[0; MESSAGE_BYTES]), None);
        assert_eq!(Answer::from_bytes(&write(&[1, 9, 0])), None);
        assert_eq!(Answer::from_bytes(b"x"), None);
        assert_eq!(News::from_bytes(&[]), None);
        assert_eq!(Request::from_bytes(&write(&[3, 1, 0, 0])), None);
        assert_eq!(Request::from_bytes(&write(&[6, 0, 0, 0])), None);
        assert_eq!(Request::from_bytes(&write(&[2, 0])), None);
    }
}
