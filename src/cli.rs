//! The commands: what can be asked of the program `tallyd`, and with which code it ends.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{Given, RuleName, Settings, Whereabouts};
use crate::count::Counts;
use crate::log::Day;
use crate::show::{self, Row};
use crate::stored;
use crate::supervisor::Exit;
use crate::tally::Rules;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILT_COMMIT"), ")");
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("BUILT_COMMIT"),
    ")\nlogs: plain, gz, zst, bz2, xz\napi: http, https (TLS 1.2 and 1.3)\nsandbox: landlock, seccomp\ntarget: ",
    env!("BUILT_TARGET")
);

/// Counts your visitors: exact requests and distinct clients of access logs, per file and per day.
#[derive(Parser, Debug)]
#[command(name = "tallyd", version = VERSION, long_version = LONG_VERSION, args_conflicts_with_subcommands = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Watch folders, count the logs in them, answer over HTTP (the default command)
    Serve(Box<Serve>),
    /// Count files, the files in folders, or standard input (-), and print the numbers
    Count(Count),
    /// Count twice, by the fast engine and by a plain slow one, and say whether they agree
    Verify(Verify),
    /// Show what the running daemon does: its processes, its logs, what is left to count
    Status(Status),
    /// Print the numbers over a range of days from a state folder, without a daemon
    Report(Report),
    /// Look at what a state folder holds, without a daemon
    #[command(subcommand)]
    Store(Store),
    /// Ask the running daemon whether it is alive: exit 0 or 1, for containers
    Healthcheck(At),
    /// Print what a shell needs to complete the commands and options of tallyd
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of tallyd, or of one of its commands
    Man {
        /// The command, as `count` or `store ls`
        command: Vec<String>,
    },
}

#[derive(Args, Debug, Default)]
struct Serve {
    /// A configuration file; flags and environment win over it
    #[arg(long, value_name = "FILE", env = "TALLYD_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

#[derive(Args, Debug)]
struct Count {
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, a line per file
    #[arg(long)]
    csv: bool,
    /// Which part of a line is its client
    #[arg(long, value_name = "RULE", default_value = "first-field")]
    client_rule: RuleName,
    /// Files, folders, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
struct Verify {
    /// Which part of a line is its client [default: both, one after the other]
    #[arg(long, value_name = "RULE")]
    client_rule: Option<RuleName>,
    /// Files, folders, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
struct Status {
    /// Print the daemon's answer as it came
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Args, Debug)]
struct Report {
    /// The first day, as 2021-03-22 [default: the first there is, and what has no day if there is no last one either]
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Day>,
    /// The last day
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Day>,
    #[command(flatten)]
    state: StateFolder,
    /// Print JSON, as GET /api/v1/range does
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Store {
    /// List the partials: what is stored of each log
    Ls {
        #[command(flatten)]
        state: StateFolder,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Decode everything, and say what is damaged: exit 1 if anything is
    Check(StateFolder),
    /// Copy the partials to another folder, which is a state folder then
    Export {
        #[command(flatten)]
        state: StateFolder,
        /// Where to; made if missing
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
}

#[derive(Args, Debug)]
struct StateFolder {
    /// The daemon's configuration file, which names its state folder; flags and environment win over it
    #[arg(long, value_name = "FILE", env = "TALLYD_CONFIG")]
    config: Option<PathBuf>,
    /// The state folder [default: state]
    #[arg(long, value_name = "DIR", env = "TALLYD_STATE")]
    state: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct At {
    /// The daemon's configuration file, which says where it answers; flags and environment win over it
    #[arg(long, value_name = "FILE", env = "TALLYD_CONFIG")]
    config: Option<PathBuf>,
    /// Where the daemon answers [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "TALLYD_LISTEN")]
    listen: Option<String>,
    /// Its certificate, if it answers by HTTPS: exactly that one is trusted
    #[arg(long, value_name = "FILE", env = "TALLYD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The file with the read token, if the daemon asks for one; or TALLYD_READ_TOKEN
    #[arg(long, value_name = "FILE", env = "TALLYD_READ_TOKEN_FILE")]
    read_token_file: Option<PathBuf>,
    /// The file with the other token, which is enough too; or TALLYD_TOKEN
    #[arg(long, value_name = "FILE", env = "TALLYD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl StateFolder {
    /// The state folder that is meant.
    fn find(&self) -> Result<PathBuf, String> {
        let given = Whereabouts { state: self.state.clone(), ..Whereabouts::default() };
        given.or_of(self.config.as_deref()).map(|found| found.state().to_owned()).map_err(|error| error.to_string())
    }
}

impl At {
    /// The daemon that is meant.
    fn find(&self) -> Result<Whereabouts, String> {
        let At { listen, tls_cert, read_token_file, token_file, config } = self;
        let (listen, tls_cert, read_token_file, token_file) = (listen.clone(), tls_cert.clone(), read_token_file.clone(), token_file.clone());
        let given = Whereabouts { listen, tls_cert, read_token_file, token_file, state: None };
        given.or_of(config.as_deref()).map_err(|error| error.to_string())
    }
}

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or_else(|| Command::Serve(Box::new(cli.serve))) {
        Command::Serve(serve) => self::serve(*serve),
        Command::Count(count) => self::count(&count),
        Command::Verify(verify) => self::verify(&verify),
        Command::Status(status) => self::status(&status),
        Command::Report(report) => self::report(&report),
        Command::Store(store) => self::store(&store),
        Command::Healthcheck(at) => healthcheck(&at),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(&command),
    }
}

fn serve(serve: Serve) -> ExitCode {
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_no_setting)) {
        complain(&format!("{} is no setting, and changes nothing; `tallyd serve --help` names them", name.display()));
    }
    let settle = move || Settings::settle(serve.given.clone(), serve.config.as_deref());
    match settle() {
        Ok(settings) => ExitCode::from(crate::supervisor::serve(settings, &settle) as u8),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(Exit::Setting as u8)
        }
    }
}

/// Is this the name of a variable that looks like a setting and is none, like a misspelled one?
fn is_no_setting(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("TALLYD_") else { return false };
    // Kubernetes tells of a service that is called tallyd by such names.
    let is_of_service = rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_");
    let is_of_tests = cfg!(debug_assertions) && rest.starts_with("FAULT");
    let command = Cli::command();
    let known = || std::iter::once(&command).chain(command.get_subcommands()).flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_env);
    !is_of_service && !is_of_tests && !matches!(rest, "TOKEN" | "READ_TOKEN") && known().all(|known| known != name)
}

fn count(asked: &Count) -> ExitCode {
    let counts = crate::count::count(&asked.paths, Rules { client: asked.client_rule.into() });
    let text = if asked.json {
        serde_json::to_string_pretty(&show::json(&counts)).expect("keys are strings") + "\n"
    } else if asked.csv {
        show::csv(&counts)
    } else {
        table(&counts)
    };
    // The reader of a pipe may have had enough.
    let _ = io::stdout().write_all(text.as_bytes());
    fail_if_any(&counts.errors)
}

fn table(counts: &Counts) -> String {
    let rows: Vec<Row> = counts.files().iter().map(|file| Row { name: file.name().to_vec(), totals: counts.of(file) }).collect();
    show::table(&rows, Some(&counts.all()))
}

fn verify(asked: &Verify) -> ExitCode {
    let rules = asked.client_rule.map_or(vec![RuleName::FirstField, RuleName::BeforeDashes], |rule| vec![rule]);
    let (mut code, mut unreadable) = (ExitCode::SUCCESS, BTreeSet::new());
    for rule in rules {
        let (verdicts, errors) = crate::count::verify(&asked.paths, Rules { client: rule.into() });
        for (path, agree) in verdicts {
            let path = crate::log::shown_to_people(path.as_os_str().as_encoded_bytes());
            let verdict = if agree { "both engines agree" } else { "THE ENGINES DIFFER: please report this log" };
            let _ = writeln!(io::stdout(), "{path}: {verdict} (rule {rule})");
            if !agree {
                code = ExitCode::FAILURE;
            }
        }
        unreadable.extend(errors);
    }
    // By each rule the same, and said once.
    if fail_if_any(&Vec::from_iter(unreadable)) != ExitCode::SUCCESS {
        code = ExitCode::FAILURE;
    }
    code
}

fn status(asked: &Status) -> ExitCode {
    match ask(&asked.at, "/api/v1/status").and_then(|body| if asked.json { Ok(body + "\n") } else { crate::show::status(&body) }) {
        Ok(text) => {
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail_if_any(&[error]),
    }
}

fn day(text: &str) -> Result<Day, &'static str> {
    Day::parse(text).ok_or("a day is written as 2021-03-22")
}

fn report(asked: &Report) -> ExitCode {
    let Report { from, to, state, json } = asked;
    if from.zip(*to).is_some_and(|(from, to)| from > to) {
        complain("--from is after --to: there is no such range");
        return ExitCode::FAILURE;
    }
    with_state(state, |state| stored::report(state, *from, *to, *json))
}

fn store(asked: &Store) -> ExitCode {
    match asked {
        Store::Ls { state, json } => with_state(state, |state| stored::ls(state, *json)),
        Store::Check(state) => with_state(state, stored::check),
        Store::Export { state, to } => with_state(state, |state| stored::export(state, to)),
    }
}

fn with_state(state: &StateFolder, act: impl FnOnce(&Path) -> stored::Answer) -> ExitCode {
    match state.find() {
        Ok(state) => tell(&act(&state)),
        Err(error) => fail_if_any(&[error]),
    }
}

fn tell(answer: &stored::Answer) -> ExitCode {
    let stored::Answer { text, notes, errors } = answer;
    let _ = io::stdout().write_all(text.as_bytes());
    notes.iter().for_each(|note| complain(note));
    fail_if_any(errors)
}

fn healthcheck(at: &At) -> ExitCode {
    // That needs no token.
    match at.find().and_then(|daemon| crate::ask::ask(daemon.listen(), daemon.tls_cert.as_deref(), None, "/healthz")) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail_if_any(&[error]),
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tallyd", &mut text);
    let _ = io::stdout().write_all(&text);
    ExitCode::SUCCESS
}

fn man(command: &[String]) -> ExitCode {
    let mut page = Cli::command();
    // What a command is called with the program's name before it.
    page.build();
    for name in command {
        let Some(found) = page.find_subcommand(name) else {
            complain(&format!("there is no command {}; tallyd help lists them", command.join(" ")));
            return ExitCode::FAILURE;
        };
        page = found.clone();
    }
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(page).source(concat!("tallyd ", env!("CARGO_PKG_VERSION"))).render(&mut text);
    let _ = io::stdout().write_all(&text);
    ExitCode::SUCCESS
}

fn ask(at: &At, path: &str) -> Result<String, String> {
    let daemon = at.find()?;
    let variable = |name| std::env::var(name).ok().filter(|token| !token.trim().is_empty());
    let mut token = variable("TALLYD_READ_TOKEN").or_else(|| variable("TALLYD_TOKEN"));
    if let (None, Some(file)) = (&token, daemon.read_token_file.as_ref().or(daemon.token_file.as_ref())) {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read the token file {}: {error}; let this user read it", file.display()))?;
        token = text.lines().next().map(str::to_owned);
    }
    crate::ask::ask(daemon.listen(), daemon.tls_cert.as_deref(), token.as_deref().map(str::trim), path)
}

fn fail_if_any(errors: &[String]) -> ExitCode {
    errors.iter().for_each(|error| complain(error));
    if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "tallyd: {sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_variable_is_found() {
        for name in ["TALLYD_WORKER", "TALLYD_", "TALLYD_CACHE", "TALLYD_TOKENS"] {
            assert!(is_no_setting(name), "{name}");
        }
        for name in [
            "TALLYD_WORKERS",
            "TALLYD_TOKEN",
            "TALLYD_READ_TOKEN",
            "TALLYD_CONFIG",
            "TALLYD_SERVICE_HOST",
            "TALLYD_PORT_8080_TCP_ADDR",
            "TALLYD_SANDBOX",
            "HOME",
        ] {
            assert!(!is_no_setting(name), "{name}");
        }
    }
}
