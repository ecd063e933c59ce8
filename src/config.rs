//! The settings of the daemon: where they come from, and what each may be.
//!
//! A flag wins over an environment variable (`TALLYD_…`), a variable over the configuration file, the file
//! over the default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod bad_setting;
mod bounds;
mod check;
mod file;
mod given;
mod globs;
mod memory;
mod one_or_many;
mod prefix;
mod renamed;
mod whereabouts;

pub use bad_setting::BadSetting;
pub use bounds::{BOUNDS, Bounds};
pub use given::{Given, RuleName, Sandbox};
pub use globs::Globs;
pub use prefix::prefixes;
pub use renamed::refuse_renamed;
pub use whereabouts::Whereabouts;
use whereabouts::{LISTEN, STATE};

use bounds::within;
use check::{address, host_name, is_in, named, nested, same_folder, web_name};
use file::read_file;
use given::IoName;
use memory::{Defaults, excess};
use renamed::{flag, variable};

use crate::decode::Limits;
use crate::journal::{JournalFormat, LogLevel};
use crate::log::{Rule, is_error_log};
use crate::range::Io;
use crate::sys::cgroup::memory_limit;
use crate::tally::Rules;

/// The settings of the daemon, complete and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The watched folders.
    pub logs: Vec<PathBuf>,
    /// Whether subfolders are watched too.
    pub recursive: bool,
    /// Only logs whose names match are counted; empty: all logs.
    pub include: Globs,
    /// Logs whose names match are skipped.
    pub exclude: Globs,
    /// Whether inotify reports changes in the folders; else only scans find them.
    pub inotify: bool,
    /// The time between two complete scans of the folders.
    pub scan_every: Duration,
    /// The name of the machine that wrote the logs.
    pub host: String,
    /// The folder for the data of tallyd.
    pub state: PathBuf,
    /// The address of the API.
    pub listen: SocketAddr,
    /// Whether every machine that reaches the API may read without a token.
    pub insecure_no_auth: bool,
    /// The file with the token for requests that change anything.
    pub token_file: Option<PathBuf>,
    /// The file with the token for requests that read.
    pub read_token_file: Option<PathBuf>,
    /// The host names of the API, besides addresses and `localhost`; in lower case.
    pub allowed_hosts: Vec<String>,
    /// The files with the certificates and with the key, if the API uses TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The largest number of open connections.
    pub connections_max: usize,
    /// The number of worker processes.
    pub workers: usize,
    /// Which part of a line is the client.
    pub client_rule: Rule,
    /// How workers read plain logs.
    pub io: Io,
    /// How many bytes one job counts.
    pub range_bytes: u64,
    /// A log that has not changed for this long is final.
    pub final_after: Duration,
    /// After how many days clients are deleted; `None`: never.
    pub retention_days: Option<u32>,
    /// How many logs the board has room for.
    pub board_logs: usize,
    /// Memory for the clients that the coordinator holds, in bytes.
    pub memory_budget: u64,
    /// Memory for one worker, in bytes.
    pub worker_memory: u64,
    /// The largest size of a compressed log after decompression, in bytes.
    pub expanded_max: u64,
    /// The largest ratio between the decompressed and the compressed size.
    pub expanded_ratio_max: u64,
    /// Memory for decoded days in the API process, in bytes.
    pub cache: u64,
    /// Memory for one answer about days, beside the cache, in bytes.
    pub question: u64,
    /// The memory limit of the cgroup for all processes together, in bytes; `None`: no limit.
    pub memory_limit: Option<u64>,
    /// A warning, if the given memory settings exceed the limit of the cgroup.
    pub memory_excess: Option<String>,
    /// The largest size of an uploaded log, in bytes.
    pub upload_max: u64,
    /// How far the processes are confined.
    pub sandbox: Sandbox,
    /// The format of the journal.
    pub journal_format: JournalFormat,
    /// The least severe messages in the journal.
    pub log_level: LogLevel,
}

impl Settings {
    /// The rules for counting.
    pub fn rules(&self) -> Rules {
        Rules { client: self.client_rule }
    }

    /// Returns whether the patterns accept a log of this name in a watched folder. Without `include`, error
    /// logs are skipped.
    pub fn takes(&self, name: &str) -> bool {
        let is_included = if self.include.is_empty() {
            !is_error_log(name.as_bytes())
        } else {
            self.include.match_name(name)
        };
        is_included && !self.exclude.match_name(name)
    }

    /// How large a compressed log may become.
    pub fn expanded(&self) -> Limits {
        Limits { bytes: self.expanded_max, ratio: self.expanded_ratio_max }
    }

    /// Settles the settings from flags and environment, and from a configuration file if there is one.
    ///
    /// # Errors
    /// For a file that cannot be read or parsed, or a value that is not valid, with a remedy.
    pub fn settle(given: Given, file: Option<&Path>) -> Result<Settings, BadSetting> {
        Settings::settle_within(given, file, memory_limit())
    }

    /// Settles the settings under a memory limit for all processes together.
    fn settle_within(
        given: Given,
        file: Option<&Path>,
        memory_limit: Option<u64>,
    ) -> Result<Settings, BadSetting> {
        let (file, file_origin) = match file {
            Some(path) => (read_file(path)?, format!("{}: ", path.display())),
            None => (Given::default(), String::new()),
        };
        // The value of a setting, and the beginning of its errors: the flag, or the line of the file.
        macro_rules! setting {
            ($name:ident) => {
                match given.$name {
                    Some(value) => (
                        Some(value),
                        format!("{} (or {}): ", flag(stringify!($name)), variable(stringify!($name))),
                    ),
                    None => (file.$name, format!("{file_origin}{}: ", stringify!($name))),
                }
            };
        }
        // The value of a setting that is a number, within its bounds.
        macro_rules! number {
            ($name:ident, $default:expr) => {{
                let (value, origin) = setting!($name);
                within(stringify!($name), value.unwrap_or($default), &origin)?
            }};
        }
        let (logs, logs_origin) = setting!(logs);
        let logs = logs.unwrap_or_else(|| vec![PathBuf::from("files")]);
        let (state, state_origin) = setting!(state);
        let state = state.unwrap_or_else(|| PathBuf::from(STATE));
        let recursive = setting!(recursive).0.unwrap_or(false);
        check_folders(&logs, &logs_origin, &state, &state_origin, recursive)?;
        let (listen, listen_origin) = setting!(listen);
        let (include, include_origin) = setting!(include);
        let (exclude, exclude_origin) = setting!(exclude);
        let (host, host_origin) = setting!(host);
        let (allowed_hosts, allowed_origin) = setting!(allowed_hosts);
        let ((tls_cert, cert_origin), (tls_key, key_origin)) = (setting!(tls_cert), setting!(tls_key));
        let tls = match (named(tls_cert), named(tls_key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(BadSetting(format!(
                    "{cert_origin}a certificate needs its key: set tls_key to the file with the key"
                )));
            }
            (None, Some(_)) => {
                return Err(BadSetting(format!(
                    "{key_origin}a key needs its certificate: set tls_cert to the file with the certificate"
                )));
            }
        };
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = number!(workers, cpus.min(256) as u64) as usize;
        let defaults = Defaults::within(memory_limit, workers);
        let memory_given = [
            ("memory_budget_mib", setting!(memory_budget_mib).0),
            ("cache_mib", setting!(cache_mib).0),
            ("worker_memory_mib", setting!(worker_memory_mib).0),
        ];
        Ok(Settings {
            logs,
            recursive,
            include: Globs::new(include.unwrap_or_default(), &include_origin)?,
            exclude: Globs::new(exclude.unwrap_or_default(), &exclude_origin)?,
            inotify: !setting!(no_inotify).0.unwrap_or(false),
            scan_every: Duration::from_millis(number!(scan_every_ms, 10_000)),
            host: host_name(host.unwrap_or_else(|| "local".to_owned()), &host_origin)?,
            state,
            listen: address(listen.as_deref().unwrap_or(LISTEN), &listen_origin)?,
            insecure_no_auth: setting!(insecure_no_auth).0.unwrap_or(false),
            token_file: named(setting!(token_file).0),
            read_token_file: named(setting!(read_token_file).0),
            allowed_hosts: allowed_hosts
                .unwrap_or_default()
                .iter()
                .map(|name| web_name(name, &allowed_origin))
                .collect::<Result<_, _>>()?,
            tls,
            connections_max: number!(connections_max, 1024) as usize,
            workers,
            client_rule: setting!(client_rule).0.map_or(Rule::default(), Rule::from),
            io: match setting!(io).0 {
                None | Some(IoName::Auto) => Io::Auto,
                Some(IoName::Mmap) => Io::Map,
                Some(IoName::Read) => Io::Read,
            },
            range_bytes: number!(range_mib, defaults.range_mib) << 20,
            final_after: Duration::from_secs(number!(final_after_s, 300)),
            retention_days: Some(number!(retention_days, 0) as u32).filter(|days| *days > 0),
            board_logs: number!(board_logs, 65_536) as usize,
            memory_budget: number!(memory_budget_mib, defaults.memory_budget_mib) << 20,
            worker_memory: number!(worker_memory_mib, defaults.worker_memory_mib) << 20,
            expanded_max: number!(expanded_gib_max, 64) << 30,
            expanded_ratio_max: number!(expanded_ratio_max, 1000),
            cache: number!(cache_mib, defaults.cache_mib) << 20,
            question: defaults.question,
            memory_limit,
            memory_excess: excess(memory_limit, &memory_given),
            upload_max: number!(upload_max_mib, 1024) << 20,
            sandbox: setting!(sandbox).0.unwrap_or_default(),
            journal_format: setting!(journal_format).0.unwrap_or_default(),
            log_level: setting!(log_level).0.unwrap_or_default(),
        })
    }
}

/// Refuses folders that overlap: one given twice, one in another, the state in a watched one.
fn check_folders(
    logs: &[PathBuf],
    logs_origin: &str,
    state: &Path,
    state_origin: &str,
    recursive: bool,
) -> Result<(), BadSetting> {
    let twice = logs
        .iter()
        .enumerate()
        .find(|(at, folder)| logs[..*at].iter().any(|other| same_folder(other, folder)));
    let shown = state.display();
    let sentence = if logs.is_empty() {
        format!("{logs_origin}give at least one folder to watch")
    } else if let Some((_, folder)) = twice {
        format!("{logs_origin}{} is given twice: name each folder once", folder.display())
    } else if logs.iter().any(|folder| same_folder(folder, state)) {
        format!("{state_origin}{shown} is a watched folder: name another folder for the state")
    } else if let Some((outer, inner)) = nested(logs).filter(|_| recursive) {
        format!(
            "{logs_origin}{} is in {}, which is watched with its subfolders: leave it out",
            inner.display(),
            outer.display()
        )
    } else if recursive && logs.iter().any(|folder| is_in(state, folder)) {
        format!(
            "{state_origin}{shown} is in a folder that is watched with its subfolders: name a folder outside for the state"
        )
    } else {
        return Ok(());
    };
    Err(BadSetting(sentence))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn from_file(text: &str) -> Result<Settings, String> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tallyd-config-{}-{number}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        let settings =
            Settings::settle_within(Given::default(), Some(&path), None).map_err(|error| error.to_string());
        fs::remove_file(&path).unwrap();
        settings
    }

    #[test]
    fn the_file_of_the_project_holds_every_setting_with_its_default() {
        let text = include_str!("../config/tallyd.toml");
        let uncommented: String = text
            .lines()
            .map(|line| {
                line.strip_prefix("#").filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned() + "\n"
            })
            .collect();
        let settings = from_file(&uncommented).unwrap();
        let defaults = Settings::settle_within(Given::default(), None, None).unwrap();
        assert_eq!(Settings { workers: defaults.workers, ..settings }, defaults);
        for name in <Given as clap::Args>::augment_args(clap::Command::new("x"))
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
        {
            assert!(
                uncommented.lines().any(|line| line.starts_with(&format!("{name} = "))),
                "{name} is missing in config/tallyd.toml"
            );
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
    fn without_include_error_logs_are_skipped() {
        let taken = |text: &str, names: &[&str]| {
            names.iter().map(|name| from_file(text).unwrap().takes(name)).collect::<Vec<_>>()
        };
        let names = ["access.log", "error.log", "site.error.log.1"];
        assert_eq!(taken("", &names), [true, false, false]);
        assert_eq!(taken("include = \"*.log\"\n", &names), [true, true, false]);
        assert_eq!(taken("include = \"*\"\nexclude = \"error*\"\n", &names), [true, false, true]);
        assert_eq!(taken("exclude = \"acc*\"\n", &names), [false, false, false]);
    }

    #[test]
    fn a_memory_limit_changes_what_nobody_gave() {
        let given = Given { memory_budget_mib: Some(200), workers: Some(2), ..Given::default() };
        let free = Settings::settle_within(given.clone(), None, None).unwrap();
        let mib = |settings: &Settings| {
            [settings.memory_budget, settings.cache, settings.worker_memory, settings.range_bytes]
                .map(|bytes| bytes >> 20)
        };
        assert_eq!(mib(&free), [200, 256, 1024, 32]);
        let tight = Settings::settle_within(given, None, Some(256 << 20)).unwrap();
        assert_eq!((mib(&tight), &tight.memory_excess), ([200, 32, 128, 4], &None));
        let given = Given { memory_budget_mib: Some(300), ..Given::default() };
        let excess = Settings::settle_within(given, None, Some(256 << 20)).unwrap().memory_excess.unwrap();
        assert!(excess.contains("memory_budget_mib = 300") && excess.contains("256 MiB"), "{excess}");
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
        assert_eq!(
            (settings.host.as_str(), settings.token_file),
            ("Web-1.example_b", Some(PathBuf::from("token")))
        );
        assert_eq!(
            (settings.read_token_file, settings.allowed_hosts),
            (Some(PathBuf::from("other")), vec!["stats.example.org".to_owned()])
        );
        assert_eq!(
            (settings.tls, settings.connections_max),
            (Some((PathBuf::from("cert"), PathBuf::from("key"))), 16)
        );
        assert_eq!(
            (settings.memory_budget, settings.worker_memory, settings.cache),
            (16 << 20, 128 << 20, 0)
        );
        assert_eq!((settings.expanded_max, settings.expanded_ratio_max), (1 << 30, 2));
    }

    #[test]
    fn a_single_text_is_a_list_of_one() {
        let [one, many] = [("\"a\"", "\"*.log\""), ("[\"a\"]", "[\"*.log\"]")].map(|(folder, glob)| {
            from_file(&format!(
                "logs = {folder}\ninclude = {glob}\nexclude = {glob}\nallowed_hosts = {folder}\n"
            ))
            .unwrap()
        });
        assert_eq!(one, many);
        assert_eq!((one.logs, one.allowed_hosts), (vec![PathBuf::from("a")], vec!["a".to_owned()]));
        // A text is one folder, whatever it contains: the colon separates folders in flags and environment
        // only.
        assert_eq!(from_file("logs = \"a:b\"\n").unwrap().logs, [PathBuf::from("a:b")]);
    }

    #[test]
    fn every_number_has_its_bounds_in_the_help() {
        let command = <Given as clap::Args>::augment_args(clap::Command::new("x"));
        for Bounds { name, least, most, .. } in &BOUNDS {
            let help = command
                .get_arguments()
                .find(|argument| argument.get_id() == name)
                .and_then(clap::Arg::get_help)
                .unwrap()
                .to_string();
            assert!(help.contains(&format!(", {least} to {most}")), "{name}: {help}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_line_and_remedy() {
        for (text, words) in [
            ("worker = 3\n", vec![".toml:1:", "unknown field `worker`", "`workers`"]),
            ("\n\nlog_format = \"json\"\n", vec![".toml:3:", "`log_format` is now called `journal_format`"]),
            ("logs = 3\n", vec![".toml:1:", "invalid type", "a text or a list of texts"]),
            ("\nworkers = \"many\"\n", vec![".toml:2:", "invalid type"]),
            ("workers = 0\n", vec!["workers: 0 is not within 1 to 256"]),
            ("range_mib = 65\n", vec!["range_mib: 65 is not within 1 to 64"]),
            ("listen = \"here\"\n", vec!["listen: \"here\" is not a valid address", "127.0.0.1:8080"]),
            (
                "allowed_hosts = [\"a\", \"http://b\"]\n",
                vec!["allowed_hosts: \"http://b\" is not a valid host name", "stats.example.org"],
            ),
            ("allowed_hosts = [\"a:80\"]\n", vec!["allowed_hosts: \"a:80\"", "without a port"]),
            ("tls_cert = \"a\"\n", vec!["tls_cert: a certificate needs its key", "tls_key"]),
            ("tls_key = \"a\"\n", vec!["tls_key: a key needs its certificate", "tls_cert"]),
            ("connections_max = 15\n", vec!["connections_max: 15 is not within 16 to 65536"]),
            ("logs = []\n", vec!["at least one folder"]),
            ("logs = [\"src\", \"tests\", \"src/\"]\n", vec!["logs: src/ is given twice"]),
            (
                "logs = [\"src\", \"src/log\"]\nrecursive = true\n",
                vec!["logs: src/log is in src", "leave it out"],
            ),
            (
                "logs = [\"src\"]\nstate = \"src/state\"\nrecursive = true\n",
                vec!["state: src/state is in a folder", "a folder outside"],
            ),
            (
                "include = [\"*.log\", \"a[\"]\n",
                vec!["include: \"a[\" is not a valid pattern: unclosed character class", "*.log"],
            ),
            ("exclude = [\"\"]\n", vec!["exclude: \"\" is not a valid pattern: the pattern is empty"]),
            ("host = \".a\"\n", vec!["host: \".a\" is not a valid host name", "no dot in front"]),
            ("host = \"\"\n", vec!["host: \"\" is not a valid host name"]),
            ("host = \"a/b\"\n", vec!["host: \"a/b\" is not a valid host name"]),
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
