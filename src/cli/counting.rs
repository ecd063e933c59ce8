//! `tallyd count` and `tallyd verify`: logs counted once, without a daemon.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{bad_usage, complain, fail_if_any, print};
use crate::config::{BadSetting, Globs, RuleName};
use crate::count::{CountedFiles, Patterns, STDIN, count, verify};
use crate::log::shown_to_people;
use crate::show::{self, Row};
use crate::tally::Rules;

const COUNT_EXAMPLES: &str = "\
Examples:
  tallyd count /var/log/nginx/access.log
  tallyd count /var/log/nginx --include 'access.log*'
  zcat /var/log/nginx/access.log.*.gz | tallyd count
  ssh web1 cat /var/log/nginx/access.log.2.gz | tallyd count

Logs may be plain or compressed (gz, zst, bz2, xz); tallyd recognises the compression by the first bytes.";

#[derive(Args, Debug)]
#[command(after_help = COUNT_EXAMPLES)]
pub(super) struct Count {
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, one line per log
    #[arg(long)]
    csv: bool,
    /// Part of a line that is the client
    #[arg(long, value_name = "RULE", default_value = "first-field")]
    client_rule: RuleName,
    #[command(flatten)]
    logs: Logs,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    /// Part of a line that is the client [default: both rules, one after the other]
    #[arg(long, value_name = "RULE")]
    client_rule: Option<RuleName>,
    #[command(flatten)]
    logs: Logs,
}

/// The logs to count.
#[derive(Args, Debug)]
struct Logs {
    /// Of folders, count only files whose name matches this glob, like 'access.log*'; repeat the flag for
    /// several globs [default: all files except error logs]
    #[arg(long, value_name = "GLOB", value_delimiter = ':')]
    include: Vec<String>,
    /// Of folders, skip files whose name matches this glob, even if --include matches it; repeat the flag for
    /// several globs [default: none]
    #[arg(long, value_name = "GLOB", value_delimiter = ':')]
    exclude: Vec<String>,
    /// Files, folders (without their subfolders), or - for standard input [default: the pipe on standard
    /// input]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Logs {
    /// The paths to count: the named ones, or else the pipe on standard input; `None` if there is no pipe
    /// either.
    fn paths(&self) -> Option<Vec<PathBuf>> {
        match self.paths.is_empty() {
            false => Some(self.paths.clone()),
            true => (!io::stdin().is_terminal()).then(|| vec![PathBuf::from(STDIN)]),
        }
    }

    fn has_patterns(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty()
    }

    fn patterns(&self) -> Result<Patterns, BadSetting> {
        Ok(Patterns {
            include: Globs::new(self.include.clone(), "--include: ")?,
            exclude: Globs::new(self.exclude.clone(), "--exclude: ")?,
        })
    }

    /// Runs `act` with the paths and the patterns, unless they are refused.
    fn with(&self, command: &str, act: impl FnOnce(&[PathBuf], &Patterns) -> ExitCode) -> ExitCode {
        let Some(paths) = self.paths() else {
            return bad_usage(&format!(
                "nothing to {command}: name files or folders (`tallyd {command} /var/log/nginx/access.log`), or give a pipe \
                 (`zcat access.log.*.gz | tallyd {command}`)"
            ));
        };
        match self.patterns() {
            Ok(patterns) => act(&paths, &patterns),
            Err(error) => bad_usage(&error.to_string()),
        }
    }
}

impl Count {
    pub(super) fn run(&self) -> ExitCode {
        self.logs.with("count", |paths, patterns| {
            let counts = count(paths, patterns, Rules { client: self.client_rule.into() });
            let text = if self.json {
                serde_json::to_string_pretty(&show::json(&counts)).expect("keys are strings") + "\n"
            } else if self.csv {
                show::csv(&counts)
            } else {
                table(&counts)
            };
            print(text.as_bytes());
            if !self.json && !self.csv {
                let _ = io::stderr().write_all(show::doubts(&rows(&counts)).as_bytes());
            }
            counts.notes.iter().for_each(|note| complain(note));
            if counts.files().is_empty() && self.logs.has_patterns() {
                complain("no log matches --include and --exclude; both take names relative to the folder, such as 'access.log*'");
            }
            if self.logs.paths.is_empty() && counts.all().counts.log_bytes == 0 && counts.errors.is_empty() {
                complain("standard input was empty; name files or folders, or give a pipe");
            }
            fail_if_any(&counts.errors)
        })
    }
}

fn table(counts: &CountedFiles) -> String {
    show::table(&rows(counts), Some(&counts.all()))
}

/// The rows of the table for people.
fn rows(counts: &CountedFiles) -> Vec<Row> {
    counts.files().iter().map(|file| Row { name: file.name().to_vec(), totals: counts.of(file) }).collect()
}

impl Verify {
    pub(super) fn run(&self) -> ExitCode {
        let names =
            self.client_rule.map_or(vec![RuleName::FirstField, RuleName::BeforeDashes], |rule| vec![rule]);
        let rules: Vec<Rules> = names.iter().map(|name| Rules { client: (*name).into() }).collect();
        self.logs.with("verify", |paths, patterns| {
            let verdicts = verify(paths, patterns, &rules);
            let of_rules = names
                .iter()
                .zip(&verdicts.by_rule)
                .flat_map(|(rule, logs)| logs.iter().map(move |(path, agree)| (rule, path, *agree)));
            let text: String =
                of_rules.clone().map(|(rule, path, agree)| verdict(*rule, path, agree)).collect();
            print(text.as_bytes());
            verdicts.notes.iter().for_each(|note| complain(note));
            let (code, differ) =
                (fail_if_any(&verdicts.errors), of_rules.clone().any(|(_, _, agree)| !agree));
            if differ { ExitCode::FAILURE } else { code }
        })
    }
}

fn verdict(rule: RuleName, path: &Path, agree: bool) -> String {
    let path = shown_to_people(path.as_os_str().as_encoded_bytes());
    let verdict = if agree { "both engines agree" } else { "THE ENGINES DIFFER: please report this log" };
    format!("{path}: {verdict} (rule {rule})\n")
}
