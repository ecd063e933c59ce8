//! `tallyd report` and `tallyd store`: what a state folder contains, without a daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{complain, fail_if_any, print};
use crate::config::Whereabouts;
use crate::period::{Period, today};
use crate::stored;

const REPORT_EXAMPLES: &str = "\
Examples:
  tallyd report --state /var/lib/tallyd --from 7d
  tallyd report --state /var/lib/tallyd --from 2021-03 --to 2021-03

DAYS is a date (2021-03-22), a month (2021-03), today, yesterday, month (this calendar month), or a number of days with a d (7d: the last 7 days with today). \
Words are relative to the current day in UTC.";

#[derive(Args, Debug)]
#[command(after_help = REPORT_EXAMPLES)]
pub(super) struct Report {
    /// First day of the range: the first of DAYS [default: the first stored day, and undated lines if --to is
    /// missing too]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    from: Option<Period>,
    /// Last day of the range: the last of DAYS [default: the last stored day]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    to: Option<Period>,
    #[command(flatten)]
    state: StateFolder,
    /// Print JSON, as GET /api/v1/range does
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Store {
    /// List the partials: one for each log, with its clients and numbers
    Ls {
        #[command(flatten)]
        state: StateFolder,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Decode every partial and name the damaged ones: exit 1 if there are any
    Check(StateFolder),
    /// Copy the partials to another folder, which can then serve as a state folder
    Export {
        #[command(flatten)]
        state: StateFolder,
        /// Folder for the copies; created if missing
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(super) struct StateFolder {
    /// Configuration file of the daemon, which names its state folder; flags and environment win over the
    /// file
    #[arg(long, value_name = "FILE", env = "TALLYD_CONFIG")]
    config: Option<PathBuf>,
    /// State folder [default: state]
    #[arg(long, value_name = "DIR", env = "TALLYD_STATE")]
    state: Option<PathBuf>,
}

impl StateFolder {
    /// Runs `act` on the state folder and prints the answer.
    fn with(&self, act: impl FnOnce(&Path) -> stored::Answer) -> ExitCode {
        let given = Whereabouts { state: self.state.clone(), ..Whereabouts::default() };
        match given.or_of(self.config.as_deref()) {
            Ok(found) => {
                let stored::Answer { text, notes, errors } = act(found.state());
                print(text.as_bytes());
                notes.iter().for_each(|note| complain(note));
                fail_if_any(&errors)
            }
            Err(error) => fail_if_any(&[error.to_string()]),
        }
    }
}

fn days(text: &str) -> Result<Period, &'static str> {
    Period::parse(text, today()).ok_or("write days like 2021-03-22, 2021-03, today, yesterday, 7d or month")
}

impl Report {
    pub(super) fn run(&self) -> ExitCode {
        let (from, to) = (self.from.map(|days| days.first), self.to.map(|days| days.last));
        match from.zip(to) {
            Some((from, to)) if from > to => {
                fail_if_any(&[format!("--from {from} is after --to {to}: give the earlier day as --from")])
            }
            _ => self.state.with(|state| stored::report(state, from, to, self.json)),
        }
    }
}

impl Store {
    pub(super) fn run(&self) -> ExitCode {
        match self {
            Store::Ls { state, json } => state.with(|state| stored::ls(state, *json)),
            Store::Check(state) => state.with(stored::check),
            Store::Export { state, to } => state.with(|state| stored::export(state, to)),
        }
    }
}
