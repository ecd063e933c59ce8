//! What is being counted, noted in `<state>/inflight` before it is begun.
//!
//! A range that makes a worker use up the memory may take the whole container with it, and nobody is left to
//! remember. So the next coordinator reads here what was in flight when the last one died, and counts that
//! death against the range; a range that was counted, or a clean stop, leaves no note. Written, not synced:
//! it is for the death of processes, not of machines. A text of one line per range, behind one that names the
//! version; what cannot be read is no note.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::scan::FileId;
use crate::range::Range;
use crate::sys::private;

const HEAD: &str =
    concat!("tallyd ", env!("CARGO_PKG_VERSION"), " inflight: device inode from to strikes kills flying");

/// A range that was or is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suspect {
    /// The log's file.
    pub file: FileId,
    /// The bytes.
    pub range: Range,
    /// How often it ended a worker by its own doing.
    pub strikes: u32,
    /// How often in a row its worker was killed.
    pub kills: u32,
    /// Was a worker at it? Else it waits for one, and is known to be dangerous.
    pub flying: bool,
}

/// The note.
#[derive(Debug)]
pub struct Inflight {
    path: PathBuf,
    file: Option<File>,
    written: String,
    /// Could it not be written, and was that said?
    failing: bool,
}

impl Inflight {
    /// Opens the note. Says what a predecessor had in flight when it died.
    pub fn open(state: &Path) -> (Inflight, Vec<Suspect>) {
        let path = state.join("inflight");
        let left = fs::read_to_string(&path).unwrap_or_default();
        let mut inflight = Inflight { file: None, written: String::new(), failing: false, path };
        match private::open(&inflight.path) {
            Ok(file) => inflight.file = Some(file),
            Err(error) => inflight.complain(&error),
        }
        (inflight, parse(&left))
    }

    /// Notes what is in flight now.
    pub fn note(&mut self, flights: impl Iterator<Item = Suspect>) {
        let lines = flights.map(|Suspect { file: (device, inode), range, strikes, kills, flying }| {
            format!(
                "{device} {inode} {} {} {strikes} {kills} {}\n",
                range.from(),
                range.to(),
                u8::from(flying)
            )
        });
        let text = [format!("{HEAD}\n")].into_iter().chain(lines).collect::<String>();
        let Some(file) = &self.file else { return };
        if text != self.written {
            // A death between the two leaves a line that is cut, or one too many: both only tell of a range
            // that was in flight.
            let written =
                file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
            self.written = text;
            match written {
                Ok(()) => self.failing = false,
                Err(error) if !self.failing => {
                    self.complain(&error);
                    self.failing = true;
                }
                Err(_) => {}
            }
        }
    }

    /// A clean stop: nothing died of anything.
    pub fn forget(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &io::Error) {
        warn!(path = ?self.path, %error, "cannot write the note of the ranges in flight; a range that ends the whole daemon would be counted again and again");
    }
}

fn parse(text: &str) -> Vec<Suspect> {
    let Some(lines) = text.strip_prefix(HEAD) else { return Vec::new() };
    let suspect = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [device, inode, from, to, strikes, kills, flying] = numbers[..] else { return None };
        let range = Range::new(from, to)?;
        Some(Suspect {
            file: (device, inode),
            range,
            strikes: u32::try_from(strikes).ok()?,
            kills: u32::try_from(kills).ok()?,
            flying: flying == 1,
        })
    };
    lines.lines().filter_map(suspect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_flight_is_known_after_a_death_and_not_after_a_stop() {
        let state = std::env::temp_dir().join(format!("tallyd-inflight-{}", std::process::id()));
        fs::create_dir_all(&state).unwrap();
        let suspect = |from, kills| Suspect {
            file: (1, 2),
            range: Range::new(from, from + 9).unwrap(),
            strikes: 1,
            kills,
            flying: kills > 0,
        };
        let (mut inflight, left) = Inflight::open(&state);
        assert_eq!(left, []);
        inflight.note([suspect(0, 0), suspect(100, 3)].into_iter());
        inflight.note([suspect(100, 3)].into_iter());
        let (inflight, left) = Inflight::open(&state);
        assert_eq!(left, [suspect(100, 3)]);
        inflight.forget();
        assert_eq!(Inflight::open(&state).1, []);
        for text in
            ["", "x", "tallyd 0.0.0 inflight: device inode from to strikes kills flying\n1 2 3 4 5 6 1\n"]
        {
            fs::write(state.join("inflight"), text).unwrap();
            assert_eq!(Inflight::open(&state).1, [], "{text:?}");
        }
        fs::write(
            state.join("inflight"),
            format!("{HEAD}\n1 2 3\n1 2 9 9 0 0 1\n1 2 3 4 5 x 1\n1 2 0 9 1 7 1\n"),
        )
        .unwrap();
        assert_eq!(Inflight::open(&state).1, [suspect(0, 7)]);
        fs::remove_dir_all(&state).unwrap();
    }
}
