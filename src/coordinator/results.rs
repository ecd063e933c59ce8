//! Results on their way into the sums: checked, held until it is their turn, and merged once.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::ledger::end_of;
use super::probe::{LogProbe, all_hold};
use super::{Coordinator, now};
use crate::job::{Job, RESULT_BYTES_MAX, ResultError, ResultView};
use crate::sample::{SAMPLE_BYTES, Sample};
use crate::sys::memory::Sealed;

/// What was counted for a job, of the file that was open then.
pub(super) struct Counted {
    pub(super) job: Job,
    pub(super) file: File,
    pub(super) result: Sealed,
}

/// Why a result was not merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotMerged {
    #[error("no result came with the answer")]
    Missing,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] ResultError),
}

impl Coordinator<'_> {
    /// Takes a result, if it can be taken. It is merged when its turn has come.
    pub(super) fn accept(&mut self, job: &Job, file: File, result: Option<OwnedFd>) -> Result<(), NotMerged> {
        let result = Sealed::open(result.ok_or(NotMerged::Missing)?, RESULT_BYTES_MAX)?;
        let view = ResultView::check(&result, job)?;
        if !self.ledger.wants(job.number, job.log) {
            self.ledger.put_back(job.number);
            return Ok(());
        }
        self.ledger.done(job.number, view.checkpoint.clone());
        // Most often its turn is now.
        if self.ledger.ready(job.log, now()) == Some(job.number) && self.sums.can_add(job.log) {
            self.merge(job, &file, &view);
        } else {
            self.results.insert(job.number, Counted { job: *job, file, result });
        }
        self.drain(job.log);
        Ok(())
    }

    /// Merges the results of a log whose turn has come.
    pub(super) fn drain(&mut self, log: u64) {
        while let Some(number) = self.ledger.ready(log, now()) {
            self.follow_events();
            if !self.sums.can_add(log) {
                return self.persist.load(log, None);
            }
            let Some(Counted { job, file, result }) = self.results.remove(&number) else { break };
            match ResultView::check(&result, &job) {
                Ok(view) => self.merge(&job, &file, &view),
                // It was checked before, and nobody can have changed it.
                Err(error) => warn!(%error, "a result has changed after it was checked"),
            }
        }
        self.follow_events();
        self.results.retain(|number, counted| self.ledger.wants(*number, counted.job.log));
    }

    /// Merges a result, once, if the log is still what was counted.
    pub(super) fn merge(&mut self, job: &Job, file: &File, view: &ResultView<'_>) {
        let Some(log) = self.ledger.log(job.log) else { return };
        let (name_day, ends, again) = (log.day, log.ends(), log.is_recounted());
        let stands = || -> io::Result<bool> {
            let about = file.metadata()?;
            Ok(match job.stream {
                Some(_) => about.len() == log.size && changed(&about) == log.changed,
                None => {
                    about.len() >= view.checkpoint.tail.reach()
                        && view.checkpoint.head.holds(file)?
                        && view.checkpoint.tail.holds(file)?
                }
            } && all_hold(&ends, file)?)
        };
        // What cannot be looked at is not known to hold.
        if !stands().unwrap_or(false) {
            return self.lose_content(job);
        }
        let to = end_of(&view.checkpoint, job.range, job.stream.is_some());
        // As long as there can be one: so two logs of one content have the same.
        let length = to.min(SAMPLE_BYTES as u64);
        let anchor = match view.checkpoint.tail {
            tail if (tail.at, tail.reach()) == (to - length, to) => Some(tail),
            _ => Sample::take(file, to - length, length as u32).ok().flatten(),
        }
        .filter(|anchor| anchor.length > 0);
        self.sums.add(job.log, name_day, view);
        self.count(view);
        self.ledger.merged(job.log, anchor, now());
        if again {
            // What has been counted since may be its numbers now, and it is compared by those.
            self.follow_events();
        }
        // Before it is shown: its lines may have been counted in another log.
        self.ledger.identify_stream(
            job.log,
            now(),
            &mut LogProbe { probe: &mut self.probe, sums: &self.sums },
        );
        self.ledger.reevaluate(job.log, &mut LogProbe { probe: &mut self.probe, sums: &self.sums });
        self.follow_events();
        debug!(log = self.name(job.log), from = job.range.from(), to = job.range.to(), "counted");
    }

    pub(super) fn count(&mut self, view: &ResultView<'_>) {
        let counted = &mut self.counted;
        counted.lines += view.blank + view.days.iter().map(|day| day.counts).sum();
        counted.ranges += 1;
    }

    /// A job's log has other content than was counted.
    pub(super) fn lose_content(&mut self, job: &Job) {
        self.ledger.put_back(job.number);
        if self
            .ledger
            .log(job.log)
            .is_some_and(|log| !log.is_gone() && log.active().generation == job.generation)
        {
            info!(
                log = self.name(job.log),
                "the log was truncated or rewritten: its file does not hold the counted lines any more; their numbers stay"
            );
            self.ledger.lose_content(
                job.log,
                now(),
                &mut LogProbe { probe: &mut self.probe, sums: &self.sums },
            );
            self.follow_events();
        }
        self.scan_soon();
    }
}

/// When a file was last changed, as the scan says it.
fn changed(about: &std::fs::Metadata) -> Duration {
    Duration::new(about.mtime().max(0).cast_unsigned(), about.mtime_nsec().clamp(0, 999_999_999) as u32)
}
