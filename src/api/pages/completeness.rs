//! Whether the numbers are complete, in words.

use super::html::noun;
use crate::show::thousands;

/// The facts that decide whether the numbers are complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Has tallyd scanned every folder once?
    pub(super) scanned: bool,
    /// The folders that tallyd cannot read.
    pub(super) unreadable_folders: u64,
    /// The logs in the folders.
    pub(super) logs: u64,
    /// Those of them of which some lines are not counted.
    pub(super) incomplete: u64,
    /// Those of these whose lines stay uncounted until a person does something: damaged logs, unreadable
    /// ones.
    pub(super) broken: u64,
    /// Known bytes that are not counted yet.
    pub(super) pending_bytes: u64,
    /// The logs whose latest numbers are not in the store yet.
    pub(super) unstored: u64,
    /// Are all ranges of the page complete?
    pub(super) ranges_complete: bool,
    /// Have bytes waited for longer than a moment? A busy log always has a few that have just come.
    pub(super) is_behind: bool,
}

impl Progress {
    /// The sentence, with the time of the numbers.
    pub(super) fn sentence(&self, as_of: &str) -> String {
        let Progress { scanned, unreadable_folders, broken, ranges_complete, is_behind, .. } = *self;
        if !scanned || unreadable_folders + broken > 0 || !ranges_complete || is_behind {
            return format!("not complete: {}, as of {as_of}", self.missing().join(", "));
        }
        let logs = thousands(self.logs);
        match self.logs {
            0 => format!("complete: the folders have no log, as of {as_of}"),
            1 => format!("complete: the only log is counted, as of {as_of}"),
            _ => format!("complete: all {logs} logs are counted, as of {as_of}"),
        }
    }

    /// What is missing, at least one sentence.
    fn missing(&self) -> Vec<String> {
        let Progress { scanned, unreadable_folders, logs, incomplete, pending_bytes, unstored, .. } = *self;
        let mut missing = Vec::new();
        if !scanned {
            missing.push("tallyd has not scanned the folders yet".to_owned());
        }
        if unreadable_folders > 0 {
            missing.push(format!(
                "{} watched {} cannot be read",
                thousands(unreadable_folders),
                noun(unreadable_folders, "folder", "folders")
            ));
        }
        if incomplete > 0 {
            let verb = noun(incomplete, "has", "have");
            missing.push(format!(
                "{} of {} {} {verb} lines that are not counted",
                thousands(incomplete),
                thousands(logs),
                noun(logs, "log", "logs")
            ));
        }
        if pending_bytes > 0 {
            missing.push(format!("{} to count", bytes(pending_bytes)));
        }
        if unstored > 0 {
            missing.push(format!(
                "the store lacks the latest numbers of {} {}",
                thousands(unstored),
                noun(unstored, "log", "logs")
            ));
        }
        if missing.is_empty() {
            missing.push("some days lack requests or clients (see below)".to_owned());
        }
        missing
    }
}

/// A number of bytes for people: `31.2 MiB`.
fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", thousands((tenths / 10) as u64), tenths % 10)
        }
        None => format!("{bytes} {}", noun(bytes, "byte", "bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Progress = Progress {
        scanned: true,
        unreadable_folders: 0,
        logs: 14,
        incomplete: 0,
        broken: 0,
        pending_bytes: 0,
        unstored: 0,
        ranges_complete: true,
        is_behind: false,
    };

    fn check(progress: Progress, want: &str) {
        assert_eq!(progress.sentence("10:42:07 UTC"), format!("{want}, as of 10:42:07 UTC"), "{progress:?}");
    }

    #[test]
    fn completeness_is_a_sentence() {
        check(ALL, "complete: all 14 logs are counted");
        check(Progress { logs: 1, ..ALL }, "complete: the only log is counted");
        check(Progress { logs: 0, ..ALL }, "complete: the folders have no log");
        check(Progress { logs: 1_400, ..ALL }, "complete: all 1,400 logs are counted");
        check(
            Progress { scanned: false, logs: 0, ..ALL },
            "not complete: tallyd has not scanned the folders yet",
        );
        check(
            Progress { incomplete: 2, pending_bytes: 32_716_000, ranges_complete: false, ..ALL },
            "not complete: 2 of 14 logs have lines that are not counted, 31.2 MiB to count",
        );
        check(Progress { unreadable_folders: 1, ..ALL }, "not complete: 1 watched folder cannot be read");
        check(
            Progress { logs: 1, incomplete: 1, broken: 1, ..ALL },
            "not complete: 1 of 1 log has lines that are not counted",
        );
        check(
            Progress { unstored: 1, ranges_complete: false, ..ALL },
            "not complete: the store lacks the latest numbers of 1 log",
        );
        check(
            Progress { incomplete: 1, pending_bytes: 70, is_behind: true, ..ALL },
            "not complete: 1 of 14 logs has lines that are not counted, 70 bytes to count",
        );
        // Lines that have just come to a busy log.
        check(
            Progress { incomplete: 1, pending_bytes: 70, unstored: 1, ..ALL },
            "complete: all 14 logs are counted",
        );
        check(
            Progress { ranges_complete: false, ..ALL },
            "not complete: some days lack requests or clients (see below)",
        );
    }

    #[test]
    fn bytes_have_a_unit() {
        for (number, text) in [
            (1, "1 byte"),
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (1_900_000, "1.8 MiB"),
            (u64::MAX, "17,179,869,183.9 GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
