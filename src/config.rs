//! The settings: what they are called, where they come from, what they may be.
//!
//! A flag wins over an environment variable (`TALLYD_…`), that over the configuration file, that over the default. The same struct reads
//! flags, environment and file, so a setting cannot exist in one of them only.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet};
use serde::Deserialize;

mod memory;
mod prefix;
mod whereabouts;

pub use prefix::prefixes;
pub use whereabouts::Whereabouts;

use crate::decode::Limits;
use crate::journal::{JournalFormat, LogLevel};
use crate::log::{Rule, is_error_log};
use crate::range::Io;
use crate::sys::cgroup::memory_limit;
use crate::tally::Rules;
use memory::{Defaults, excess};

/// The state folder by default.
const STATE: &str = "state";
/// Where the API answers by default.
const LISTEN: &str = "127.0.0.1:8080";

/// What `serve` does, settled and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The watched folders.
    pub logs: Vec<PathBuf>,
    /// Are their subfolders watched?
    pub recursive: bool,
    /// Only logs with such names are counted; without any, all.
    pub include: Globs,
    /// Logs with such names are not counted.
    pub exclude: Globs,
    /// Are the folders watched through inotify?
    pub inotify: bool,
    /// The time between two looks at everything in the folders.
    pub scan_every: Duration,
    /// Which machine's logs are in the folders.
    pub host: String,
    /// Where tallyd keeps what it must remember.
    pub state: PathBuf,
    /// Where the API answers.
    pub listen: SocketAddr,
    /// May whoever reaches the address read without a token?
    pub insecure_no_auth: bool,
    /// The file with the token that who changes something through the API has to show.
    pub token_file: Option<PathBuf>,
    /// The file with the token that is enough for reading.
    pub read_token_file: Option<PathBuf>,
    /// The names under which the API may be asked, beside addresses and `localhost`; in small letters.
    pub allowed_hosts: Vec<String>,
    /// The files with the certificates and with the key, if the API answers by TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How many connections the API holds at most.
    pub connections_max: usize,
    /// How many processes count.
    pub workers: usize,
    /// Which part of a line is its client.
    pub client_rule: Rule,
    /// How log bytes are looked at.
    pub io: Io,
    /// How many bytes are counted in one job.
    pub range_bytes: u64,
    /// A log that has not changed for so long is final.
    pub final_after: Duration,
    /// For so many days clients are kept; `None`: for ever.
    pub retention_days: Option<u32>,
    /// How many logs the board has room for.
    pub board_logs: usize,
    /// How much memory the coordinator's numbers may take, in bytes.
    pub memory_budget: u64,
    /// How much memory one worker may use, in bytes.
    pub worker_memory: u64,
    /// How long a compressed log may be when it is expanded, in bytes.
    pub expanded_max: u64,
    /// How many times longer than the file.
    pub expanded_ratio_max: u64,
    /// How much memory the API keeps decoded days in, in bytes.
    pub cache: u64,
    /// How much memory an answer about days may take beside that, in bytes.
    pub question: u64,
    /// What the cgroup grants to all processes together, in bytes, if it has a limit.
    pub memory_limit: Option<u64>,
    /// What is wrong with the settings about memory, if more is given than granted.
    pub memory_excess: Option<String>,
    /// How long an uploaded log may be, in bytes.
    pub upload_max: u64,
    /// Are the processes shut in?
    pub sandbox: Sandbox,
    /// How the journal is written.
    pub journal_format: JournalFormat,
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
    /// Watch the subfolders too
    #[arg(long, env = "TALLYD_RECURSIVE", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    recursive: Option<bool>,
    /// Count only logs with such a name, like 'access.log*'; may be given several times [default: all]
    #[arg(long, value_name = "GLOB", env = "TALLYD_INCLUDE", value_delimiter = ':')]
    include: Option<Vec<String>>,
    /// Do not count logs with such a name, whatever --include says; may be given several times [default: none]
    #[arg(long, value_name = "GLOB", env = "TALLYD_EXCLUDE", value_delimiter = ':')]
    exclude: Option<Vec<String>>,
    /// Look at the folders now and then only, though the kernel would tell at once what happens in them
    #[arg(long, env = "TALLYD_NO_INOTIFY", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    no_inotify: Option<bool>,
    /// The time between two looks at everything in the folders, in milliseconds, 10 to 3600000 [default: 10000]
    #[arg(long, value_name = "MS", env = "TALLYD_SCAN_EVERY_MS")]
    scan_every_ms: Option<u64>,
    /// The name of the machine whose logs these are [default: local]
    #[arg(long, value_name = "NAME", env = "TALLYD_HOST")]
    host: Option<String>,
    /// The folder for what tallyd must remember; made if missing [default: state]
    #[arg(long, value_name = "DIR", env = "TALLYD_STATE")]
    state: Option<PathBuf>,
    /// Where the API answers; port 0 asks for a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "TALLYD_LISTEN")]
    listen: Option<String>,
    /// Answer on other addresses than loopback though nobody has to show a token
    #[arg(long, env = "TALLYD_INSECURE_NO_AUTH", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    insecure_no_auth: Option<bool>,
    /// The file with the token that who changes something through the API has to show; TALLYD_TOKEN is the token itself, and wins [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The file with the token that is enough for reading; TALLYD_READ_TOKEN is the token itself, and wins [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_READ_TOKEN_FILE")]
    read_token_file: Option<PathBuf>,
    /// A name of this machine by which the API may be asked, beside localhost and addresses; may be given several times [default: none]
    #[arg(long, value_name = "NAME", env = "TALLYD_ALLOWED_HOSTS", value_delimiter = ',')]
    allowed_hosts: Option<Vec<String>>,
    /// The file with the certificate of the API and those of its issuers, in PEM: it answers by HTTPS then [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The file with the key of the certificate, in PEM [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// How many connections the API holds at most, 16 to 65536 [default: 1024]
    #[arg(long, value_name = "N", env = "TALLYD_CONNECTIONS_MAX")]
    connections_max: Option<usize>,
    /// How many processes count, 1 to 256 [default: the CPUs tallyd may use]
    #[arg(long, value_name = "N", env = "TALLYD_WORKERS")]
    workers: Option<usize>,
    /// Which part of a line is its client [default: first-field]
    #[arg(long, value_name = "RULE", env = "TALLYD_CLIENT_RULE")]
    client_rule: Option<RuleName>,
    /// How logs are read: mapped, read, or what is better for the size [default: auto]
    #[arg(long, value_name = "HOW", env = "TALLYD_IO")]
    io: Option<IoName>,
    /// How much of a log one job counts, in MiB, 1 to 64 [default: 32, or less by the cgroup's memory limit]
    #[arg(long, value_name = "MIB", env = "TALLYD_RANGE_MIB")]
    range_mib: Option<u64>,
    /// A log unchanged for so many seconds, 1 to 31536000, is final: its last line counts without a line feed [default: 300]
    #[arg(long, value_name = "S", env = "TALLYD_FINAL_AFTER_S")]
    final_after_s: Option<u64>,
    /// Remove the clients of a day from the store after so many days, up to 1000000, or never (0); its numbers stay [default: 0]
    #[arg(long, value_name = "N", env = "TALLYD_RETENTION_DAYS")]
    retention_days: Option<u64>,
    /// How many logs can be reported one by one, 1 to 1048576 [default: 65536]
    #[arg(long, value_name = "N", env = "TALLYD_BOARD_LOGS")]
    board_logs: Option<usize>,
    /// How much memory the numbers that are kept may take, in MiB, 16 to 1048576 [default: 256, or less by the cgroup's memory limit]
    #[arg(long, value_name = "MIB", env = "TALLYD_MEMORY_BUDGET_MIB")]
    memory_budget_mib: Option<u64>,
    /// How much memory one worker may use, in MiB, 128 to 1048576 [default: 1024, or less by the cgroup's memory limit]
    #[arg(long, value_name = "MIB", env = "TALLYD_WORKER_MEMORY_MIB")]
    worker_memory_mib: Option<u64>,
    /// How long a compressed log may be when it is expanded, in GiB, 1 to 1048576 [default: 64]
    #[arg(long, value_name = "GIB", env = "TALLYD_EXPANDED_GIB_MAX")]
    expanded_gib_max: Option<u64>,
    /// How many times longer than the file it may be then, 1 to 1048576 [default: 1000]
    #[arg(long, value_name = "N", env = "TALLYD_EXPANDED_RATIO_MAX")]
    expanded_ratio_max: Option<u64>,
    /// How much memory the API keeps decoded days in, in MiB, 0 to 1048576 [default: 256, or less by the cgroup's memory limit]
    #[arg(long, value_name = "MIB", env = "TALLYD_CACHE_MIB")]
    cache_mib: Option<u64>,
    /// How long an uploaded log may be, in MiB, 1 to 1048576 [default: 1024]
    #[arg(long, value_name = "MIB", env = "TALLYD_UPLOAD_MAX_MIB")]
    upload_max_mib: Option<u64>,
    /// Shut the processes in with what the system has for that (auto), refuse to start if that is not all (require), or do not (off) [default: auto]
    #[arg(long, value_name = "HOW", env = "TALLYD_SANDBOX")]
    sandbox: Option<Sandbox>,
    /// How tallyd's own log is written, to stderr [default: text]
    #[arg(long, value_name = "FORMAT", env = "TALLYD_JOURNAL_FORMAT")]
    journal_format: Option<JournalFormat>,
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

/// Are the processes shut in?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// With what the system has for that.
    #[default]
    Auto,
    /// With all there is, or not started at all.
    Require,
    /// No.
    Off,
}

impl Sandbox {
    /// The setting in a word.
    pub fn name(self) -> &'static str {
        match self {
            Sandbox::Auto => "auto",
            Sandbox::Require => "require",
            Sandbox::Off => "off",
        }
    }
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

/// Patterns of names, relative to a watched folder.
#[derive(Clone, Debug)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    fn new(patterns: Vec<String>, origin: &str) -> Result<Globs, BadSetting> {
        let glob = |pattern: &String| {
            // Without a slash, it is the pattern of a file's name, wherever the file is.
            let whole = match pattern.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if pattern.contains('/') => pattern.clone(),
                None => format!("**/{pattern}"),
            };
            let whole = if whole.ends_with('/') { whole + "**" } else { whole };
            GlobBuilder::new(&whole).literal_separator(true).backslash_escape(true).build()
        };
        let wrong = |pattern: &str, why: &dyn std::fmt::Display| {
            BadSetting(format!("{origin}{pattern:?} is no pattern: {why}; write it like access.log*, 2021*.log.gz or old/**, and [*] for a star itself"))
        };
        let mut set = GlobSet::builder();
        for pattern in &patterns {
            if pattern.is_empty() || pattern == "/" {
                return Err(wrong(pattern, &"it is empty"));
            }
            set.add(glob(pattern).map_err(|error| wrong(pattern, error.kind()))?);
        }
        let set = set.build().map_err(|error| wrong(error.glob().unwrap_or_default(), error.kind()))?;
        Ok(Globs { patterns, set })
    }

    /// The patterns, ready to be matched.
    pub fn set(&self) -> &GlobSet {
        &self.set
    }

    /// Are there any?
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns as they were given, with commas between.
    pub fn joined(&self) -> String {
        self.patterns.join(", ")
    }

    /// Does one of them match a name?
    pub fn match_name(&self, name: &str) -> bool {
        self.set.is_match(name)
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Globs) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}

impl Settings {
    /// What the numbers mean.
    pub fn rules(&self) -> Rules {
        Rules { client: self.client_rule }
    }

    /// Do the patterns take a file of this name in a watched folder? Without a pattern that includes names, error logs are skipped.
    pub fn takes(&self, name: &str) -> bool {
        let is_included = if self.include.is_empty() { !is_error_log(name.as_bytes()) } else { self.include.match_name(name) };
        is_included && !self.exclude.match_name(name)
    }

    /// How much a compressed log may become.
    pub fn expanded(&self) -> Limits {
        Limits { bytes: self.expanded_max, ratio: self.expanded_ratio_max }
    }

    /// Settles the settings from what flags and environment gave, and a configuration file if there is one.
    ///
    /// # Errors
    /// For a file that cannot be read or understood, or a value that cannot be, with a remedy.
    pub fn settle(given: Given, file: Option<&Path>) -> Result<Settings, BadSetting> {
        Settings::settle_within(given, file, memory_limit())
    }

    /// Likewise, where all processes together may take so much memory.
    fn settle_within(given: Given, file: Option<&Path>, memory_limit: Option<u64>) -> Result<Settings, BadSetting> {
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
        let state = state.unwrap_or_else(|| PathBuf::from(STATE));
        if logs.iter().any(|folder| same_folder(folder, &state)) {
            return Err(BadSetting(format!("{state_origin}{} is a watched folder: name another one for the state", state.display())));
        }
        let recursive = setting!(recursive).0.unwrap_or(false);
        if recursive && let Some((outer, inner)) = nested(&logs) {
            return Err(BadSetting(format!("{logs_origin}{} is in {}, which is watched with its subfolders: leave it out", inner.display(), outer.display())));
        }
        if recursive && logs.iter().any(|folder| is_in(&state, folder)) {
            return Err(BadSetting(format!(
                "{state_origin}{} is in a folder that is watched with its subfolders: name one outside for the state",
                state.display()
            )));
        }
        let (listen, listen_origin) = setting!(listen);
        let listen = address(listen.as_deref().unwrap_or(LISTEN), &listen_origin)?;
        let insecure_no_auth = setting!(insecure_no_auth).0.unwrap_or(false);
        let (allowed_hosts, origin) = setting!(allowed_hosts);
        let allowed_hosts = allowed_hosts.unwrap_or_default().into_iter().map(|name| web_name(&name, &origin)).collect::<Result<_, _>>()?;
        let ((tls_cert, cert_origin), (tls_key, key_origin)) = (setting!(tls_cert), setting!(tls_key));
        let tls = match (named(tls_cert), named(tls_key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(BadSetting(format!("{cert_origin}a certificate needs its key: name the file with it by tls_key"))),
            (None, Some(_)) => return Err(BadSetting(format!("{key_origin}a key needs its certificate: name the file with it by tls_cert"))),
        };
        let (connections_max, origin) = setting!(connections_max);
        let connections_max = within(connections_max.unwrap_or(1024) as u64, 16, 65_536, &origin)? as usize;
        let (workers, origin) = setting!(workers);
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = within(workers.unwrap_or(cpus.min(256)) as u64, 1, 256, &origin)? as usize;
        let defaults = Defaults::within(memory_limit, workers);
        let (range_mib, origin) = setting!(range_mib);
        let range_bytes = within(range_mib.unwrap_or(defaults.range_mib), 1, 64, &origin)? << 20;
        let (scan_every_ms, origin) = setting!(scan_every_ms);
        let scan_every = Duration::from_millis(within(scan_every_ms.unwrap_or(10_000), 10, 3_600_000, &origin)?);
        let (include, origin) = setting!(include);
        let include = Globs::new(include.unwrap_or_default(), &origin)?;
        let (exclude, origin) = setting!(exclude);
        let exclude = Globs::new(exclude.unwrap_or_default(), &origin)?;
        let (host, origin) = setting!(host);
        let host = host_name(host.unwrap_or_else(|| "local".to_owned()), &origin)?;
        let (final_after_s, origin) = setting!(final_after_s);
        let final_after = Duration::from_secs(within(final_after_s.unwrap_or(300), 1, 31_536_000, &origin)?);
        let (retention_days, origin) = setting!(retention_days);
        let retention_days = Some(within(retention_days.unwrap_or(0), 0, 1_000_000, &origin)? as u32).filter(|days| *days > 0);
        let (board_logs, origin) = setting!(board_logs);
        let board_logs = within(board_logs.unwrap_or(65_536) as u64, 1, 1_048_576, &origin)? as usize;
        let (memory_budget_mib, origin) = setting!(memory_budget_mib);
        let memory_budget = within(memory_budget_mib.unwrap_or(defaults.memory_budget_mib), 16, 1_048_576, &origin)? << 20;
        let (worker_memory_mib, origin) = setting!(worker_memory_mib);
        let worker_memory = within(worker_memory_mib.unwrap_or(defaults.worker_memory_mib), 128, 1_048_576, &origin)? << 20;
        let (expanded_gib_max, origin) = setting!(expanded_gib_max);
        let expanded_max = within(expanded_gib_max.unwrap_or(64), 1, 1_048_576, &origin)? << 30;
        let (expanded_ratio_max, origin) = setting!(expanded_ratio_max);
        let expanded_ratio_max = within(expanded_ratio_max.unwrap_or(1000), 1, 1_048_576, &origin)?;
        let (cache_mib, origin) = setting!(cache_mib);
        let cache = within(cache_mib.unwrap_or(defaults.cache_mib), 0, 1_048_576, &origin)? << 20;
        let memory_given = [("memory_budget_mib", memory_budget_mib), ("cache_mib", cache_mib), ("worker_memory_mib", worker_memory_mib)];
        let (upload_max_mib, origin) = setting!(upload_max_mib);
        let upload_max = within(upload_max_mib.unwrap_or(1024), 1, 1_048_576, &origin)? << 20;
        let io = match setting!(io).0 {
            None | Some(IoName::Auto) => Io::Auto,
            Some(IoName::Mmap) => Io::Map,
            Some(IoName::Read) => Io::Read,
        };
        Ok(Settings {
            logs,
            recursive,
            include,
            exclude,
            inotify: !setting!(no_inotify).0.unwrap_or(false),
            scan_every,
            host,
            state,
            listen,
            insecure_no_auth,
            token_file: named(setting!(token_file).0),
            read_token_file: named(setting!(read_token_file).0),
            allowed_hosts,
            tls,
            connections_max,
            workers,
            client_rule: setting!(client_rule).0.map_or(Rule::default(), Rule::from),
            io,
            range_bytes,
            final_after,
            retention_days,
            board_logs,
            memory_budget,
            worker_memory,
            expanded_max,
            expanded_ratio_max,
            cache,
            question: defaults.question,
            memory_limit,
            memory_excess: excess(memory_limit, &memory_given),
            upload_max,
            sandbox: setting!(sandbox).0.unwrap_or_default(),
            journal_format: setting!(journal_format).0.unwrap_or_default(),
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

fn is_in(inner: &Path, outer: &Path) -> bool {
    let absolute = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    absolute(inner).starts_with(absolute(outer))
}

/// A folder that is in another one.
fn nested(folders: &[PathBuf]) -> Option<(&Path, &Path)> {
    let inside = |outer: &PathBuf| folders.iter().find(|inner| *inner != outer && is_in(inner, outer)).map(PathBuf::as_path);
    folders.iter().find_map(|outer| Some((outer.as_path(), inside(outer)?)))
}

/// A name that can stand anywhere: in a path, an address, a label.
fn host_name(name: String, origin: &str) -> Result<String, BadSetting> {
    let right =
        (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if right { Ok(name) } else { Err(BadSetting(format!("{origin}{name:?} is no name for a host: use 1 to 64 of A-Z a-z 0-9 . _ -, and no dot in front"))) }
}

/// An empty name of a file names none.
fn named(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// A name by which a browser or a program asks, without a port.
fn web_name(name: &str, origin: &str) -> Result<String, BadSetting> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let right = (1..=253).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let wrong = || BadSetting(format!("{origin}{name:?} is no name of a host: write it like stats.example.org, without http:// and without a port"));
    if right { Ok(bare.to_ascii_lowercase()) } else { Err(wrong()) }
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
        let settings = Settings::settle_within(Given::default(), Some(&path), None).map_err(|error| error.to_string());
        fs::remove_file(&path).unwrap();
        settings
    }

    #[test]
    fn the_file_of_the_project_holds_every_setting_with_its_default() {
        let text = include_str!("../config/tallyd.toml");
        let uncommented: String =
            text.lines().map(|line| line.strip_prefix("#").filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned() + "\n").collect();
        let settings = from_file(&uncommented).unwrap();
        let defaults = Settings::settle_within(Given::default(), None, None).unwrap();
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
    fn a_memory_limit_changes_what_nobody_gave() {
        let given = Given { memory_budget_mib: Some(200), workers: Some(2), ..Given::default() };
        let free = Settings::settle_within(given.clone(), None, None).unwrap();
        let mib = |settings: &Settings| [settings.memory_budget, settings.cache, settings.worker_memory, settings.range_bytes].map(|bytes| bytes >> 20);
        assert_eq!(mib(&free), [200, 256, 1024, 32]);
        let tight = Settings::settle_within(given, None, Some(256 << 20)).unwrap();
        assert_eq!((mib(&tight), &tight.memory_excess), ([200, 32, 128, 4], &None));
        let given = Given { memory_budget_mib: Some(300), ..Given::default() };
        let excess = Settings::settle_within(given, None, Some(256 << 20)).unwrap().memory_excess.unwrap();
        assert!(excess.contains("memory_budget_mib = 300") && excess.contains("256 MiB"), "{excess}");
    }

    #[test]
    fn patterns_match_names_relative_to_the_folder() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let globs = Globs::new(vec![pattern.to_owned()], "").unwrap();
            yes.iter().for_each(|name| assert!(globs.set().is_match(name), "{pattern} does not match {name}"));
            no.iter().for_each(|name| assert!(!globs.set().is_match(name), "{pattern} matches {name}"));
        };
        check("*.log", &["a.log", "sub/a.log", "a/b/c.log", ".log"], &["a.log.1", "a.log/b"]);
        check("/*.log", &["a.log"], &["sub/a.log"]);
        check("sub/*.log", &["sub/a.log"], &["a.log", "sub/deep/a.log", "x/sub/a.log"]);
        check("sub/**", &["sub/a.log", "sub/deep/a.log"], &["a.log", "sub"]);
        check("sub/", &["sub/a.log"], &["a.log", "sub"]);
        check("old", &["old", "x/old"], &["old/a.log", "older"]);
        check("2021{03,04}??.log", &["20210322.log", "a/20210401.log"], &["20210522.log"]);
        check("[*]", &["*"], &["a"]);
        check("a:b", &["a:b"], &["a"]);
    }

    #[test]
    fn what_the_file_says_is_taken() {
        let settings = from_file(
            "recursive = true\ninclude = [\"*.log\"]\nexclude = [\"x*\"]\nno_inotify = true\nhost = \"Web-1.example_b\"\nmemory_budget_mib = 16\n\
             worker_memory_mib = 128\nexpanded_gib_max = 1\nexpanded_ratio_max = 2\ncache_mib = 0\ntoken_file = \"token\"\n\
             read_token_file = \"other\"\nallowed_hosts = [\"Stats.example.org.\"]\ntls_cert = \"cert\"\ntls_key = \"key\"\nconnections_max = 16\n",
        )
        .unwrap();
        assert!(settings.recursive && !settings.inotify);
        assert!(settings.include.set().is_match("a.log") && settings.exclude.set().is_match("xa.log"));
        assert_eq!((settings.host.as_str(), settings.token_file), ("Web-1.example_b", Some(PathBuf::from("token"))));
        assert_eq!((settings.read_token_file, settings.allowed_hosts), (Some(PathBuf::from("other")), vec!["stats.example.org".to_owned()]));
        assert_eq!((settings.tls, settings.connections_max), (Some((PathBuf::from("cert"), PathBuf::from("key"))), 16));
        assert_eq!((settings.memory_budget, settings.worker_memory, settings.cache), (16 << 20, 128 << 20, 0));
        assert_eq!((settings.expanded_max, settings.expanded_ratio_max), (1 << 30, 2));
    }

    #[test]
    fn what_cannot_be_is_refused_with_line_and_remedy() {
        for (text, words) in [
            ("worker = 3\n", vec![".toml:1:", "unknown field `worker`", "`workers`"]),
            ("\nworkers = \"many\"\n", vec![".toml:2:", "invalid type"]),
            ("workers = 0\n", vec!["workers: 0 is not within 1 to 256"]),
            ("range_mib = 65\n", vec!["range_mib: 65 is not within 1 to 64"]),
            ("listen = \"here\"\n", vec!["listen: \"here\" is no address", "127.0.0.1:8080"]),
            ("allowed_hosts = [\"a\", \"http://b\"]\n", vec!["allowed_hosts: \"http://b\" is no name of a host", "stats.example.org"]),
            ("allowed_hosts = [\"a:80\"]\n", vec!["allowed_hosts: \"a:80\"", "without a port"]),
            ("tls_cert = \"a\"\n", vec!["tls_cert: a certificate needs its key", "tls_key"]),
            ("tls_key = \"a\"\n", vec!["tls_key: a key needs its certificate", "tls_cert"]),
            ("connections_max = 15\n", vec!["connections_max: 15 is not within 16 to 65536"]),
            ("logs = []\n", vec!["at least one folder"]),
            ("logs = [\"src\", \"tests\", \"src/\"]\n", vec!["logs: src/ is given twice"]),
            ("logs = [\"src\", \"src/log\"]\nrecursive = true\n", vec!["logs: src/log is in src", "leave it out"]),
            ("logs = [\"src\"]\nstate = \"src/state\"\nrecursive = true\n", vec!["state: src/state is in a folder", "one outside"]),
            ("include = [\"*.log\", \"a[\"]\n", vec!["include: \"a[\" is no pattern: unclosed character class", "*.log"]),
            ("exclude = [\"\"]\n", vec!["exclude: \"\" is no pattern: it is empty"]),
            ("host = \".a\"\n", vec!["host: \".a\" is no name for a host", "no dot in front"]),
            ("host = \"\"\n", vec!["host: \"\" is no name"]),
            ("host = \"a/b\"\n", vec!["host: \"a/b\" is no name"]),
            ("memory_budget_mib = 15\n", vec!["memory_budget_mib: 15 is not within 16 to 1048576"]),
            ("worker_memory_mib = 127\n", vec!["worker_memory_mib: 127 is not within 128 to 1048576"]),
            ("expanded_gib_max = 0\n", vec!["expanded_gib_max: 0 is not within 1 to 1048576"]),
            ("expanded_ratio_max = 0\n", vec!["expanded_ratio_max: 0 is not within 1 to 1048576"]),
            ("cache_mib = 1048577\n", vec!["cache_mib: 1048577 is not within 0 to 1048576"]),
            ("upload_max_mib = 0\n", vec!["upload_max_mib: 0 is not within 1 to 1048576"]),
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
