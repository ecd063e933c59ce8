//! The settings as flags, environment and configuration file give them: each one or none.
//!
//! One struct for all three, so a setting cannot exist in one of them only. Its doc comments are the help of
//! the flags; docs/CONFIGURATION.md is made from them and from config/tallyd.toml.

use std::path::PathBuf;

use serde::Deserialize;

use super::one_or_many::one_or_many;
use crate::journal::{JournalFormat, LogLevel};
use crate::log::Rule;

const WATCHING: &str = "Watching logs";
const COUNTING: &str = "Counting";
const API: &str = "API and access";
const STORE: &str = "Store";
const LIMITS: &str = "Memory and limits";
const PROCESS: &str = "Sandbox and journal";

/// The settings as they are given.
///
/// A flag that is a switch may have a value: `--recursive=false` wins over `TALLYD_RECURSIVE=true`.
#[derive(Clone, Default, Debug, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Folder to watch; repeat the flag for several folders [default: files]
    #[arg(long, value_name = "DIR", env = "TALLYD_LOGS", value_delimiter = ':', help_heading = WATCHING)]
    #[serde(default, deserialize_with = "one_or_many")]
    pub logs: Option<Vec<PathBuf>>,
    /// Watch subfolders too, 32 levels deep; hidden subfolders and links to folders are skipped [default:
    /// false]
    #[arg(long, env = "TALLYD_RECURSIVE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = WATCHING)]
    pub(super) recursive: Option<bool>,
    /// Count only logs whose name matches this glob, like 'access.log*'; repeat the flag for several globs
    /// [default: all logs except error logs]
    #[arg(long, value_name = "GLOB", env = "TALLYD_INCLUDE", value_delimiter = ':', help_heading = WATCHING)]
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) include: Option<Vec<String>>,
    /// Skip logs whose name matches this glob, even if --include matches it; repeat the flag for several
    /// globs [default: none]
    #[arg(long, value_name = "GLOB", env = "TALLYD_EXCLUDE", value_delimiter = ':', help_heading = WATCHING)]
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) exclude: Option<Vec<String>>,
    /// Do not use inotify; find changes only by scanning the folders [default: false]
    #[arg(long, env = "TALLYD_NO_INOTIFY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = WATCHING)]
    pub(super) no_inotify: Option<bool>,
    /// Time between two complete scans of the folders, in milliseconds, 10 to 3600000 [default: 10000]
    #[arg(long, value_name = "MS", env = "TALLYD_SCAN_EVERY_MS", help_heading = WATCHING)]
    pub(super) scan_every_ms: Option<u64>,
    /// Time without a change after which a log is final, in seconds, 1 to 31536000: its last line then counts
    /// even without a line feed [default: 300]
    #[arg(long, value_name = "S", env = "TALLYD_FINAL_AFTER_S", help_heading = WATCHING)]
    pub(super) final_after_s: Option<u64>,
    /// Name of the machine that wrote the logs [default: local]
    #[arg(long, value_name = "NAME", env = "TALLYD_HOST", help_heading = WATCHING)]
    pub(super) host: Option<String>,

    /// Part of a line that is the client [default: first-field]
    #[arg(long, value_name = "RULE", env = "TALLYD_CLIENT_RULE", help_heading = COUNTING)]
    pub(super) client_rule: Option<RuleName>,
    /// Number of worker processes, 1 to 256 [default: number of CPUs that tallyd may use]
    #[arg(long, value_name = "N", env = "TALLYD_WORKERS", help_heading = COUNTING)]
    pub(super) workers: Option<u64>,
    /// How workers read plain logs [default: auto]
    #[arg(long, value_name = "HOW", env = "TALLYD_IO", help_heading = COUNTING)]
    pub(super) io: Option<IoName>,
    /// How much of a log one job counts, in MiB, 1 to 64 [default: 32, or less if a cgroup limits memory]
    #[arg(long, value_name = "MIB", env = "TALLYD_RANGE_MIB", help_heading = COUNTING)]
    pub(super) range_mib: Option<u64>,

    /// Address of the API; port 0 selects a free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "TALLYD_LISTEN", help_heading = API)]
    pub(super) listen: Option<String>,
    /// File with the token for requests that change anything; TALLYD_TOKEN holds the token itself and wins
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_TOKEN_FILE", help_heading = API)]
    pub(super) token_file: Option<PathBuf>,
    /// File with the token for requests that read; TALLYD_READ_TOKEN holds the token itself and wins
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_READ_TOKEN_FILE", help_heading = API)]
    pub(super) read_token_file: Option<PathBuf>,
    /// Let every machine that reaches the API read without a token [default: false]
    #[arg(long, env = "TALLYD_INSECURE_NO_AUTH", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = API)]
    pub(super) insecure_no_auth: Option<bool>,
    /// Host name of the API, besides localhost and IP addresses; repeat the flag for several names [default:
    /// none]
    #[arg(long, value_name = "NAME", env = "TALLYD_ALLOWED_HOSTS", value_delimiter = ',', help_heading = API)]
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) allowed_hosts: Option<Vec<String>>,
    /// File with the certificate of the API and those of its issuers, in PEM; the API then uses HTTPS
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_TLS_CERT", help_heading = API)]
    pub(super) tls_cert: Option<PathBuf>,
    /// File with the private key of the certificate, in PEM [default: none]
    #[arg(long, value_name = "FILE", env = "TALLYD_TLS_KEY", help_heading = API)]
    pub(super) tls_key: Option<PathBuf>,
    /// Largest number of open connections, 16 to 65536 [default: 1024]
    #[arg(long, value_name = "N", env = "TALLYD_CONNECTIONS_MAX", help_heading = API)]
    pub(super) connections_max: Option<u64>,
    /// Largest size of an uploaded log, in MiB, 1 to 1048576 [default: 1024]
    #[arg(long, value_name = "MIB", env = "TALLYD_UPLOAD_MAX_MIB", help_heading = API)]
    pub(super) upload_max_mib: Option<u64>,

    /// Folder for the data of tallyd; tallyd creates the folder if missing [default: state]
    #[arg(long, value_name = "DIR", env = "TALLYD_STATE", help_heading = STORE)]
    pub(super) state: Option<PathBuf>,
    /// Delete the clients of a day from the store after this many days, 0 to 1000000; 0 never deletes clients
    /// [default: 0]
    #[arg(long, value_name = "N", env = "TALLYD_RETENTION_DAYS", help_heading = STORE)]
    pub(super) retention_days: Option<u64>,

    /// Memory for the clients that the coordinator holds, in MiB, 16 to 1048576 [default: 256, or less if a
    /// cgroup limits memory]
    #[arg(long, value_name = "MIB", env = "TALLYD_MEMORY_BUDGET_MIB", help_heading = LIMITS)]
    pub(super) memory_budget_mib: Option<u64>,
    /// Memory for one worker, in MiB, 128 to 1048576 [default: 1024, or less if a cgroup limits memory]
    #[arg(long, value_name = "MIB", env = "TALLYD_WORKER_MEMORY_MIB", help_heading = LIMITS)]
    pub(super) worker_memory_mib: Option<u64>,
    /// Memory for decoded days in the API process, in MiB, 0 to 1048576 [default: 256, or less if a cgroup
    /// limits memory]
    #[arg(long, value_name = "MIB", env = "TALLYD_CACHE_MIB", help_heading = LIMITS)]
    pub(super) cache_mib: Option<u64>,
    /// Largest number of logs in reports, 1 to 1048576 [default: 65536]
    #[arg(long, value_name = "N", env = "TALLYD_BOARD_LOGS", help_heading = LIMITS)]
    pub(super) board_logs: Option<u64>,
    /// Largest size of a compressed log after decompression, in GiB, 1 to 1048576 [default: 64]
    #[arg(long, value_name = "GIB", env = "TALLYD_EXPANDED_GIB_MAX", help_heading = LIMITS)]
    pub(super) expanded_gib_max: Option<u64>,
    /// Largest ratio between the decompressed and the compressed size of a log, 1 to 1048576 [default: 1000]
    #[arg(long, value_name = "N", env = "TALLYD_EXPANDED_RATIO_MAX", help_heading = LIMITS)]
    pub(super) expanded_ratio_max: Option<u64>,

    /// Confine the processes with Landlock and seccomp [default: auto]
    #[arg(long, value_name = "HOW", env = "TALLYD_SANDBOX", help_heading = PROCESS)]
    pub(super) sandbox: Option<Sandbox>,
    /// Format of the journal, which is what tallyd writes to stderr [default: text]
    #[arg(long, value_name = "FORMAT", env = "TALLYD_JOURNAL_FORMAT", help_heading = PROCESS)]
    pub(super) journal_format: Option<JournalFormat>,
    /// Least severe messages in the journal [default: info]
    #[arg(long, value_name = "LEVEL", env = "TALLYD_LOG_LEVEL", help_heading = PROCESS)]
    pub(super) log_level: Option<LogLevel>,
}

/// The client rules by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RuleName {
    /// The first field, up to white space or a comma
    FirstField,
    /// The text before the first " - -", up to a comma
    BeforeDashes,
}

/// How far the processes are confined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Use what the system offers
    #[default]
    Auto,
    /// Refuse to start unless the system offers both
    Require,
    /// Do not confine the processes
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
pub(super) enum IoName {
    /// Memory-map ranges of 1 MiB and more, read smaller ones
    Auto,
    /// Memory-map every range
    Mmap,
    /// Read every range
    Read,
}

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
