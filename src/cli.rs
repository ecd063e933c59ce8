//! The commands of `tallyd`, and their exit codes.
//!
//! A command with an invalid command line or setting ends with 2, one that failed otherwise with 1; `serve`
//! has more codes ([`Exit`]). Each command is a file in `cli/`: its flags, and its work.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::refuse_renamed;
use crate::exit::Exit;

mod counting;
mod manual;
mod near;
mod running;
mod serve;
mod state;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_COMMIT"), ")");
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("BUILT_COMMIT"),
    ")\nlogs: plain, gz, zst, bz2, xz\napi: http, https (TLS 1.2 and 1.3)\nsandbox: landlock, seccomp\ntarget: ",
    env!("BUILT_TARGET")
);

const EXAMPLES: &str = "\
Examples:
  tallyd serve /var/log/nginx                 watch the logs of nginx
  tallyd count /var/log/nginx/access.log      count a log once
  curl http://127.0.0.1:8080/api/v1/report    query the running daemon

`tallyd COMMAND --help` describes a command.
Without a command, tallyd does what `tallyd serve` does.";

/// Exact requests and distinct clients of access logs, per log and per day
#[derive(Parser, Debug)]
#[command(name = "tallyd", version = VERSION, long_version = LONG_VERSION, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Watch folders, count the logs in them, and answer over HTTP (the default command)
    Serve(Box<serve::Serve>),
    /// Count logs once and print the numbers, without a daemon
    Count(counting::Count),
    /// Count logs by the fast engine and by a plain slow program, and compare the results
    Verify(counting::Verify),
    /// Show the processes, the logs and the progress of the running daemon
    Status(running::Status),
    /// Print the numbers of a range of days from a state folder, without a daemon
    Report(state::Report),
    /// List, check or copy the contents of a state folder, without a daemon
    #[command(subcommand)]
    Store(state::Store),
    /// Check whether the running daemon answers: exit 0 or 1, for containers
    Healthcheck(running::Daemon),
    /// Print the completion script of a shell
    Completions(manual::Completions),
    /// Print the manual page of tallyd or of one of its commands
    Man(manual::Man),
}

/// Parses the command line and runs the command.
pub fn run() -> ExitCode {
    let parsed =
        command_line().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error),
    };
    match cli.command {
        None => serve::run_unnamed(cli.serve, &matches),
        Some(Command::Serve(serve)) => {
            serve::run(*serve, matches.subcommand_matches("serve").unwrap_or(&matches))
        }
        Some(Command::Count(count)) => count.run(),
        Some(Command::Verify(verify)) => verify.run(),
        Some(Command::Status(status)) => status.run(),
        Some(Command::Report(report)) => report.run(),
        Some(Command::Store(store)) => store.run(),
        Some(Command::Healthcheck(daemon)) => daemon.healthcheck(),
        Some(Command::Completions(completions)) => completions.run(),
        Some(Command::Man(man)) => man.run(),
    }
}

/// The command line. `tallyd -h` shows the commands; the settings are in `tallyd --help`.
fn command_line() -> clap::Command {
    Cli::command().mut_args(|arg| {
        let is_setting = arg.get_help_heading().is_some();
        arg.hide_short_help(is_setting)
    })
}

/// Refuses a command line; a flag that changed its name, with the new one. Also prints help and version,
/// which clap treats as errors.
fn refuse(error: &clap::Error) -> ExitCode {
    let given = error.get(ContextKind::InvalidArg);
    let sentence = given
        .and_then(|given| if let ContextValue::String(flag) = given { refuse_renamed(flag) } else { None });
    if let Some(sentence) = sentence {
        return bad_usage(&sentence);
    }
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

/// Whether a value comes from the command line, not from the environment.
fn is_flag(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
}

/// Refuses a command line or a setting with a sentence.
fn bad_usage(sentence: &str) -> ExitCode {
    complain(sentence);
    ExitCode::from(Exit::Setting as u8)
}

/// Prints the output of a command.
fn print(text: &[u8]) {
    // The reader of a pipe may have left.
    let _ = io::stdout().write_all(text);
}

/// Prints errors; the exit code is 1 if there are any.
fn fail_if_any(errors: &[String]) -> ExitCode {
    errors.iter().for_each(|error| complain(error));
    if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "tallyd: {sentence}");
}
