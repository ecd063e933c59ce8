//! What the tests on the real binary share: a daemon in a folder of its own, logs of known content, waiting
//! for conditions.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod engine;
pub mod state;

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where `tests/run` puts it.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");

/// What a program in Python prints as JSON, given this as its first argument; or nothing if DuckDB is not
/// there.
pub fn duckdb(program: &str, argument: &str) -> Option<Value> {
    let there = Command::new(PYTHON).args(["-c", "import duckdb"]).output();
    match there {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            eprintln!(
                "SKIPPED: {PYTHON} has no DuckDB; tests/run installs it. It says: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            return None;
        }
        Err(error) => {
            eprintln!(
                "SKIPPED: DuckDB is looked for in target/venv, where tests/run installs it; {PYTHON}: {error}"
            );
            return None;
        }
    }
    let output = Command::new(PYTHON).args(["-c", program, argument]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// How long a condition may take. Long, for machines that are busy; nothing waits that long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives something.
///
/// # Panics
/// If it does not within [`PATIENCE`].
pub fn wait_until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_until_or(|| what.to_owned(), condition)
}

/// Likewise; what was waited for is asked when that was in vain.
pub fn wait_until_or<T>(what: impl Fn() -> String, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long until {}", what());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder that is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let name = format!("tallyd-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Folder(path),
                // A test that was killed left it, and its process id came back.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program that is tested: the one that was just built, or that in `TALLYD_BIN`.
pub fn program() -> PathBuf {
    std::env::var_os("TALLYD_BIN").map_or(env!("CARGO_BIN_EXE_tallyd").into(), PathBuf::from)
}

/// `tallyd` itself, with no setting from the environment of the test.
pub fn tallyd() -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TALLYD_")) {
        command.env_remove(name);
    }
    command
}

/// A running daemon: logs in `logs`, state in `state`, faults in `faults`, two workers.
pub struct Daemon {
    pub folder: Folder,
    child: Child,
    url: String,
}

impl Daemon {
    /// Starts one in a new folder.
    pub fn start(options: &[&str]) -> Daemon {
        Daemon::start_in(Folder::new(), options, &[])
    }

    /// Starts one with a fault that happens as long as the file of its name exists (see
    /// `src/worker/fault.rs`).
    pub fn start_with_fault(folder: Folder, fault: &str, more: &[(&str, &str)], options: &[&str]) -> Daemon {
        let faults = folder.join("faults");
        let mut variables = vec![("TALLYD_FAULT", fault), ("TALLYD_FAULT_DIR", faults.to_str().unwrap())];
        variables.extend(more);
        Daemon::start_in(folder, options, &variables)
    }

    /// Starts one in a folder that may hold logs.
    pub fn start_in(folder: Folder, options: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let journal = File::options().append(true).create(true).open(folder.join("journal")).unwrap();
        Daemon::start_with_journal(folder, journal.into(), options, variables)
    }

    /// Starts one whose stderr is this.
    pub fn start_with_journal(
        folder: Folder,
        journal: Stdio,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Daemon {
        Daemon::start_by(tallyd(), folder, journal, options, variables)
    }

    /// Starts one that may have so many descriptors.
    pub fn start_with_descriptors(most: u32) -> Daemon {
        let folder = Folder::new();
        let mut command = Command::new("sh");
        command.env_clear().args(["-c", "ulimit -n $0; exec \"$@\"", &most.to_string()]).arg(program());
        let journal = File::create(folder.join("journal")).unwrap();
        Daemon::start_by(command, folder, journal.into(), &[], &[])
    }

    /// Starts one in a group of control.
    pub fn start_in_cgroup(group: &Cgroup, folder: Folder, options: &[&str]) -> Daemon {
        let mut command = Command::new("sh");
        command
            .env_clear()
            .args(["-c", "echo $$ > \"$0/cgroup.procs\"; exec \"$@\""])
            .arg(&group.0)
            .arg(program());
        let journal = File::create(folder.join("journal")).unwrap();
        Daemon::start_by(command, folder, journal.into(), options, &[])
    }

    /// Starts one as a user who is not root, to whom things can be forbidden.
    pub fn start_as_nobody() -> Daemon {
        Daemon::start_as_nobody_with(&[])
    }

    /// Likewise, with these variables.
    pub fn start_as_nobody_with(variables: &[(&str, &str)]) -> Daemon {
        Daemon::start_as_nobody_by(&[], variables)
    }

    /// Likewise, with these options too.
    pub fn start_as_nobody_by(options: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let folder = Folder::new();
        let program = folder.join("tallyd");
        // He may not be allowed to go where the program was built.
        fs::copy(self::program(), &program).unwrap();
        let mut command = Command::new(program);
        command.env_clear();
        if nix::unistd::geteuid().is_root() {
            const NOBODY: u32 = 65_532;
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        }
        let journal = File::create(folder.join("journal")).unwrap();
        Daemon::start_by(command, folder, journal.into(), options, variables)
    }

    /// Starts one with these words instead of `serve --logs logs`.
    pub fn start_with_words(folder: Folder, words: &[&str], variables: &[(&str, &str)]) -> Daemon {
        let mut command = tallyd();
        command.args(words);
        let journal = File::create(folder.join("journal")).unwrap();
        Daemon::start_on(command, folder, journal.into(), &[], variables)
    }

    fn start_by(
        mut command: Command,
        folder: Folder,
        journal: Stdio,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Daemon {
        command.args(["serve", "--logs", "logs"]);
        Daemon::start_on(command, folder, journal, options, variables)
    }

    /// Starts one by a command that names the watched folders already.
    fn start_on(
        mut command: Command,
        folder: Folder,
        journal: Stdio,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Daemon {
        for part in ["logs", "faults"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let mut child = command
            .args(["--state", "state", "--workers", "2"])
            .args(if options.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .args(if options.contains(&"--scan-every-ms") { &[][..] } else { &["--scan-every-ms", "100"] })
            .args(options)
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(journal)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let journal = || fs::read_to_string(folder.join("journal")).unwrap_or_default();
        let url = line
            .trim_end()
            .strip_prefix("tallyd listening on ")
            .unwrap_or_else(|| panic!("{line:?} is no ready line; {}", journal()))
            .to_owned();
        Daemon { folder, child, url }
    }

    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(name)
    }

    /// What the daemon has said on stderr.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.folder.join("journal")).unwrap_or_default()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Asks; says the status, the headers and the body.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, ureq::http::HeaderMap, String)> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .proxy(None);
        let agent: ureq::Agent = config.build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = agent.run(request.body(()).unwrap()).ok()?;
        let body = answer.body_mut().read_to_string().ok()?;
        Some((answer.status().as_u16(), answer.headers().clone(), body))
    }

    /// A JSON answer; waits if the api is just being started again.
    pub fn get(&self, path: &str) -> Value {
        let (status, _, body) = wait_until(path, || self.ask("GET", path, &[]));
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The process that supervises.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The processes that play a role now.
    pub fn pids(&self, role: &str) -> Vec<i32> {
        let status = self.get("/api/v1/status");
        let processes = status["processes"].as_array().unwrap().iter();
        processes
            .filter(|process| process["role"] == role)
            .filter_map(|process| process["pid"].as_i64())
            .map(|pid| pid as i32)
            .collect()
    }

    /// All processes but the supervisor.
    pub fn children(&self) -> Vec<i32> {
        ["coordinator", "api", "worker"].iter().flat_map(|role| self.pids(role)).collect()
    }

    /// How often a role was started again, over all who play it.
    pub fn restarts(&self, role: &str) -> u64 {
        let status = self.get("/api/v1/status");
        status["processes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|process| process["role"] == role)
            .filter_map(|process| process["restarts"].as_u64())
            .sum()
    }

    /// `(requests, unique clients)` of a log, if it is there.
    pub fn reported(&self, name: &str) -> Option<(u64, u64)> {
        let report = self.get("/api/v1/report");
        let entry = report.get(name)?;
        Some((entry["total"].as_u64()?, entry["ip"].as_u64()?))
    }

    /// Waits until a log is reported with these numbers and everything is counted.
    pub fn wait_for(&self, name: &str, truth: Truth) {
        let seen = Cell::new(None);
        let what = || format!("{name} has {truth:?} and nothing is pending; it has {:?}", seen.get());
        wait_until_or(what, || {
            seen.set(self.reported(name));
            (seen.get() == Some((truth.total, truth.ip)) && self.get("/api/v1/status")["pending_bytes"] == 0)
                .then_some(())
        });
        // It does not go on changing: the numbers are the truth, not on their way past it.
        assert_eq!(self.reported(name), Some((truth.total, truth.ip)));
    }

    /// The file of `/api/v1/files` with this name.
    pub fn file(&self, name: &str) -> Option<Value> {
        self.get("/api/v1/files")["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["name"] == name)
            .cloned()
    }

    /// Asks the daemon to end; says how it did and how long that took.
    pub fn stop(&mut self, signals: &[i32]) -> (ExitStatus, Duration) {
        let start = Instant::now();
        for number in signals {
            signal(self.pid(), *number);
        }
        let status = wait_until("the daemon has ended", || self.child.try_wait().unwrap());
        (status, start.elapsed())
    }
}

impl Daemon {
    /// Ends it by this signal. Gives the folder, in which another one can be started.
    pub fn end(mut self, number: i32) -> Folder {
        self.stop(&[number]);
        std::mem::replace(&mut self.folder, Folder::new())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing may survive a test that failed: the children follow the supervisor.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon said:\n{}---", self.journal());
        }
    }
}

/// Sends a signal to a process that this test started.
pub fn signal(pid: i32, number: i32) {
    let signal = nix::sys::signal::Signal::try_from(number).unwrap();
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Is there such a process, and is it no zombie?
pub fn lives(pid: i32) -> bool {
    let mut stat = String::new();
    let read = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut stat));
    read.is_ok() && stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// A group of control (cgroup) with a limit of memory. It is removed at the end.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one in the group of the test, or says why that cannot be.
    pub fn with_memory(bytes: u64) -> Option<Cgroup> {
        let made = Cgroup::make().and_then(|group| {
            match fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    fs::write(group.0.join("memory.max"), bytes.to_string())?
                }
                done => done?,
            }
            Ok(group)
        });
        made.inspect_err(|error| {
            eprintln!("SKIPPED: this machine gives no cgroup with a limit of memory: {error}")
        })
        .ok()
    }

    fn make() -> std::io::Result<Cgroup> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let of_memory = groups.lines().find_map(|line| line.split_once(":memory:"));
        let path = match of_memory {
            Some((_, own)) => Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/')),
            // Version 2. A group that has processes hands on no controllers, so it is made at the top.
            None => PathBuf::from("/sys/fs/cgroup"),
        };
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path =
            path.join(format!("tallyd-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path)?;
        Ok(Cgroup(path))
    }

    /// How many of its processes were ended for want of memory.
    pub fn killed(&self) -> u64 {
        let text = ["memory.oom_control", "memory.events"]
            .iter()
            .find_map(|name| fs::read_to_string(self.0.join(name)).ok())
            .unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process may be about to end.
        let start = Instant::now();
        while fs::remove_dir(&self.0).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
            && start.elapsed() < Duration::from_secs(5)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What is known of a log that a test made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Truth {
    pub total: u64,
    pub ip: u64,
}

/// A part of a log: `lines` lines of the 22nd of March 2021, with clients drawn from `clients` of them, and
/// what is true of it.
pub fn block(lines: u64, clients: u32, seed: u64) -> (Vec<u8>, Truth) {
    let mut random = seed | 1;
    let mut seen = HashSet::new();
    let mut bytes = Vec::new();
    for line in 0..lines {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let client = ((random >> 33) as u32 % clients).wrapping_mul(2_654_435_761);
        seen.insert(client);
        let second = line * 86_399 / lines;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        writeln!(bytes, "{} - - [22/Mar/2021:{hour:02}:{minute:02}:{second:02} +0100] \"GET /{line} HTTP/1.1\" 200 {client}", Ipv4Addr::from(client)).unwrap();
    }
    (bytes, Truth { total: lines, ip: seen.len() as u64 })
}
