//! The settings: what they are called, where they come from, what they may be.
//!
//! A flag wins over an environment variable (`TALLYD_…`), that over the configuration file, that over the default. The same struct reads
//! flags, environment and file, so a setting cannot exist in one of them only.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::journal::{LogFormat, LogLevel};
use crate::log::Rule;
use crate::range::Io;

/// What `serve` does, settled and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The watched folders.
    pub logs: Vec<PathBuf>,
    /// Where tallyd keeps what it must remember.
    pub state: PathBuf,
    /// Where the API answers.
    pub listen: SocketAddr,
    /// How many processes count.
    pub workers: usize,
    /// Which part of a line is its client.
    pub client_rule: Rule,
    /// How log bytes are looked at.
    pub io: Io,
    /// How many bytes are counted in one job.
    pub range_bytes: u64,
    /// The time between two looks at the folders.
    pub scan_every: Duration,
    /// A log that has not changed for so long is final.
    pub final_after: Duration,
    /// How many logs the board has room for.
    pub board_logs: usize,
    /// How the journal is written.
    pub log_format: LogFormat,
    /// How much it says.
    pub log_level: LogLevel,
}

/// The settings as they are given: each one or none.
#[derive(Clone, Default, Debug, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Settings (also TALLYD_… in the environment, or lines of the configuration file)")]
pub struct Given {
    /// A folder to watch; may be given several times [default: files]
    #[arg(long, value_name = "DIR", env = "TALLYD_LOGS", value_delimiter = ':')]
    logs: Option<Vec<PathBuf>>,
    /// The folder for what tallyd must remember; made if missing [default: state]
    #[arg(long, value_name = "DIR", env = "TALLYD_STATE")]
    state: Option<PathBuf>,
    /// Where the API answers; port 0 asks for a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "TALLYD_LISTEN")]
    listen: Option<String>,
    /// Answer on other addresses than loopback though nobody has to show a token
    #[arg(long, env = "TALLYD_INSECURE_NO_AUTH", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    insecure_no_auth: Option<bool>,
    /// How many processes count, 1 to 256 [default: the CPUs tallyd may use]
    #[arg(long, value_name = "N", env = "TALLYD_WORKERS")]
    workers: Option<usize>,
    /// Which part of a line is its client [default: first-field]
    #[arg(long, value_name = "RULE", env = "TALLYD_CLIENT_RULE")]
    client_rule: Option<RuleName>,
    /// How logs are read: mapped, read, or what is better for the size [default: auto]
    #[arg(long, value_name = "HOW", env = "TALLYD_IO")]
    io: Option<IoName>,
    /// How much of a log one job counts, in MiB, 1 to 64 [default: 32]
    #[arg(long, value_name = "MIB", env = "TALLYD_RANGE_MIB")]
    range_mib: Option<u64>,
    /// The time between two looks at the folders, in milliseconds, 10 to 3600000 [default: 1000]
    #[arg(long, value_name = "MS", env = "TALLYD_SCAN_EVERY_MS")]
    scan_every_ms: Option<u64>,
    /// A log unchanged for so many seconds, 1 to 31536000, is final: its last line counts without a line feed [default: 300]
    #[arg(long, value_name = "S", env = "TALLYD_FINAL_AFTER_S")]
    final_after_s: Option<u64>,
    /// How many logs can be reported one by one, 1 to 1048576 [default: 65536]
    #[arg(long, value_name = "N", env = "TALLYD_BOARD_LOGS")]
    board_logs: Option<usize>,
    /// How tallyd's own log is written, to stderr [default: text]
    #[arg(long, value_name = "FORMAT", env = "TALLYD_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// How much it says [default: info]
    #[arg(long, value_name = "LEVEL", env = "TALLYD_LOG_LEVEL")]
    log_level: Option<LogLevel>,
}

/// The client rules by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RuleName {
    /// The line's first field, up to white space or a comma.
    FirstField,
    /// The text before the first ` - -`, up to a comma.
    BeforeDashes,
}

/// The ways to read a log by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum IoName {
    Auto,
    Mmap,
    Read,
}

/// A setting that cannot be, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(String);

impl std::fmt::Display for RuleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RuleName::FirstField => "first-field",
            RuleName::BeforeDashes => "before-dashes",
        })
    }
}

impl From<RuleName> for Rule {
    fn from(name: RuleName) -> Rule {
        match name {
            RuleName::FirstField => Rule::FirstField,
            RuleName::BeforeDashes => Rule::BeforeDashes,
        }
    }
}

impl Settings {
    /// Settles the settings from what flags and environment gave, and a configuration file if there is one.
    ///
    /// # Errors
    /// For a file that cannot be read or understood, or a value that cannot be, with a remedy.
    pub fn settle(given: Given, file: Option<&Path>) -> Result<Settings, BadSetting> {
        let (file, origin) = match file {
            Some(path) => (read_file(path)?, format!("{}: ", path.display())),
            None => (Given::default(), String::new()),
        };
        // Where a value came from decides what its error names.
        macro_rules! setting {
            ($name:ident) => {
                match given.$name {
                    Some(value) => (Some(value), format!("--{} (or TALLYD_{}): ", stringify!($name).replace('_', "-"), stringify!($name).to_uppercase())),
                    None => (file.$name, format!("{origin}{}: ", stringify!($name))),
                }
            };
        }
        let (logs, logs_origin) = setting!(logs);
        let logs = logs.unwrap_or_else(|| vec![PathBuf::from("files")]);
        if logs.is_empty() {
            return Err(BadSetting(format!("{logs_origin}give at least one folder to watch")));
        }
        if let Some(twice) = logs.iter().enumerate().find(|(at, folder)| logs[..*at].iter().any(|other| same_folder(other, folder))).map(|(_, folder)| folder) {
            return Err(BadSetting(format!("{logs_origin}{} is given twice: name each folder once", twice.display())));
        }
        let (state, state_origin) = setting!(state);
        let state = state.unwrap_or_else(|| PathBuf::from("state"));
        if logs.iter().any(|folder| same_folder(folder, &state)) {
            return Err(BadSetting(format!("{state_origin}{} is a watched folder: name another one for the state", state.display())));
        }
        let (listen, listen_origin) = setting!(listen);
        let listen = address(listen.as_deref().unwrap_or("127.0.0.1:8080"), &listen_origin)?;
        if !listen.ip().is_loopback() && !setting!(insecure_no_auth).0.unwrap_or(false) {
            return Err(BadSetting(format!(
                "{listen_origin}{listen} can be reached from other machines, and this version knows no tokens: listen on 127.0.0.1 behind a proxy that \
                 checks who asks, or say --insecure-no-auth if everybody may ask"
            )));
        }
        let (workers, origin) = setting!(workers);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = within(workers.unwrap_or(cpus.min(256)) as u64, 1, 256, &origin)? as usize;
        let (range_mib, origin) = setting!(range_mib);
        let range_bytes = within(range_mib.unwrap_or(32), 1, 64, &origin)? << 20;
        let (scan_every_ms, origin) = setting!(scan_every_ms);
        let scan_every = Duration::from_millis(within(scan_every_ms.unwrap_or(1_000), 10, 3_600_000, &origin)?);
        let (final_after_s, origin) = setting!(final_after_s);
        let final_after = Duration::from_secs(within(final_after_s.unwrap_or(300), 1, 31_536_000, &origin)?);
        let (board_logs, origin) = setting!(board_logs);
        let board_logs = within(board_logs.unwrap_or(65_536) as u64, 1, 1_048_576, &origin)? as usize;
        let io = match setting!(io).0 {
            None | Some(IoName::Auto) => Io::Auto,
            Some(IoName::Mmap) => Io::Map,
            Some(IoName::Read) => Io::Read,
        };
        Ok(Settings {
            logs,
            state,
            listen,
            workers,
            client_rule: setting!(client_rule).0.map_or(Rule::default(), Rule::from),
            io,
            range_bytes,
            scan_every,
            final_after,
            board_logs,
            log_format: setting!(log_format).0.unwrap_or_default(),
            log_level: setting!(log_level).0.unwrap_or_default(),
        })
    }
}

fn read_file(path: &Path) -> Result<Given, BadSetting> {
    let text = fs::read_to_string(path).map_err(|error| {
        BadSetting(format!("cannot read the configuration {}: {error}; name a file that is there, or none for the defaults", path.display()))
    })?;
    // The error of the parser names the line, shows it, and lists what would be known there.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        BadSetting(format!("{}:{line}: {}; config/tallyd.toml in tallyd's sources lists every setting", path.display(), error.message()))
    })
}

fn same_folder(one: &Path, two: &Path) -> bool {
    one == two || matches!((fs::canonicalize(one), fs::canonicalize(two)), (Ok(one), Ok(two)) if one == two)
}

fn within(value: u64, least: u64, most: u64, origin: &str) -> Result<u64, BadSetting> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(BadSetting(format!("{origin}{value} is not within {least} to {most}"))) }
}

fn address(text: &str, origin: &str) -> Result<SocketAddr, BadSetting> {
    let wrong = || BadSetting(format!("{origin}{text:?} is no address: write it like 127.0.0.1:8080 or [::1]:8080"));
    match text.parse() {
        Ok(address) => Ok(address),
        // The only name that means the same everywhere.
        Err(_) if text.starts_with("localhost:") => text.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(wrong),
        Err(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Settings, String> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tallyd-config-{}-{number}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        let settings = Settings::settle(Given::default(), Some(&path)).map_err(|error| error.to_string());
        fs::remove_file(&path).unwrap();
        settings
    }

    #[test]
    fn the_file_of_the_project_holds_every_setting_with_its_default() {
        let text = include_str!("../config/tallyd.toml");
        let uncommented: String =
            text.lines().map(|line| line.strip_prefix("#").filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned() + "\n").collect();
        let settings = from_file(&uncommented).unwrap();
        let defaults = Settings::settle(Given::default(), None).unwrap();
        assert_eq!(Settings { workers: defaults.workers, ..settings }, defaults);
        for name in <Given as clap::Args>::augment_args(clap::Command::new("x")).get_arguments().map(|argument| argument.get_id().to_string()) {
            assert!(uncommented.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name} is missing in config/tallyd.toml");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let path = std::env::temp_dir().join(format!("tallyd-config-flag-{}.toml", std::process::id()));
        fs::write(&path, "workers = 3\nstate = \"there\"\n").unwrap();
        let given = Given { workers: Some(7), ..Given::default() };
        let settings = Settings::settle(given, Some(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((settings.workers, settings.state), (7, PathBuf::from("there")));
    }

    #[test]
    fn what_cannot_be_is_refused_with_line_and_remedy() {
        for (text, words) in [
            ("worker = 3\n", vec![".toml:1:", "unknown field `worker`", "`workers`"]),
            ("\nworkers = \"many\"\n", vec![".toml:2:", "invalid type"]),
            ("workers = 0\n", vec!["workers: 0 is not within 1 to 256"]),
            ("range_mib = 65\n", vec!["range_mib: 65 is not within 1 to 64"]),
            ("listen = \"here\"\n", vec!["listen: \"here\" is no address", "127.0.0.1:8080"]),
            ("listen = \"0.0.0.0:80\"\n", vec!["--insecure-no-auth"]),
            ("logs = []\n", vec!["at least one folder"]),
            ("logs = [\"src\", \"tests\", \"src/\"]\n", vec!["logs: src/ is given twice"]),
            ("client_rule = \"second\"\n", vec!["`second`", "first-field"]),
            ("x = [\n", vec![".toml:"]),
        ] {
            let error = from_file(text).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{text:?} gives {error:?} without {word:?}");
            }
        }
    }
}
