//! What must be right before anything is forked: folders, the lock, the address. Each failure is one clear
//! sentence with its own exit code.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::socket::{Backlog, listen};
use tracing::{info, warn};

use crate::config::{Sandbox, Settings};
use crate::exit::Exit;
use crate::heritage::Heritage;
use crate::journal;
use crate::sys::private;
use crate::sys::process::uid;
use crate::sys::sandbox::Walls;
use crate::sys::secret::take_variable;
use crate::sys::socket::lifeline;
use crate::sys::state_lock::{StateLock, StateLockError};
use crate::sys::title::Title;

/// Opens all that the daemon needs, and the writing end of the children's lifeline.
pub(super) fn prepare(settings: Settings) -> Result<(Heritage, OwnedFd), (Exit, String)> {
    // Before anything copies the environment, and so for the workers.
    let (token, read_token) = (take_variable(c"TALLYD_TOKEN"), take_variable(c"TALLYD_READ_TOKEN"));
    let title = Title::take();
    journal::open(settings.journal_format, settings.log_level);
    journal::set_role("supervisor");
    let failure =
        |error: io::Error| (Exit::Failure, format!("cannot set up shared memory and sockets: {error}"));
    let (token, read_token) = (token.map_err(failure)?, read_token.map_err(failure)?);
    possible(&settings, token.is_some() || read_token.is_some())?;
    let lock = lock_state(&settings)?;
    let listener = TcpListener::bind(settings.listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        // As many as the system allows may wait: with the usual 128, a crowd that knocks at once makes
        // everybody knock again a second later.
        listen(&listener, Backlog::MAXCONN)?;
        Ok(listener)
    });
    let listener = listener.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                "another program listens there; name another port with --listen, or port 0 for a free one"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege; name a higher one with --listen"
            }
            _ => "name an address of this machine with --listen",
        };
        (Exit::Listen, format!("cannot listen on {}: {error}; {remedy}", settings.listen))
    })?;
    let walls = walls(settings.sandbox)?;
    let (reading, writing) = lifeline().map_err(failure)?;
    let mut heritage = Heritage::new(settings, walls, listener, reading, lock).map_err(failure)?;
    (heritage.token, heritage.read_token) = (token, read_token);
    match title {
        Ok(title) => heritage.title = Some(title),
        Err(error) => warn!(%error, "cannot set process titles: ps shows the command line for all processes"),
    }
    heritage.set_title("supervisor");
    let Settings { state, workers, .. } = &heritage.settings;
    info!(version = env!("CARGO_PKG_VERSION"), state = %state.display(), workers, sandbox = %walls, "starting");
    say_watched(&heritage.settings);
    say_memory(&heritage.settings);
    Ok((heritage, writing))
}

/// Writes to the journal which folders are watched, and which names in them.
pub(super) fn say_watched(settings: &Settings) {
    let Settings { logs, recursive, include, exclude, .. } = settings;
    let logs: Vec<String> = logs.iter().map(|folder| folder.display().to_string()).collect();
    let include = if include.is_empty() { "all except error logs".to_owned() } else { include.joined() };
    let exclude = if exclude.is_empty() { "none".to_owned() } else { exclude.joined() };
    info!(logs = logs.join(":"), recursive, include, exclude, "watching");
}

/// Writes to the journal how much memory there is, if it is limited.
fn say_memory(settings: &Settings) {
    let Settings { memory_limit, memory_excess, memory_budget, cache, worker_memory, range_bytes, .. } =
        settings;
    if let Some(limit) = memory_limit {
        let [limit_mib, memory_budget_mib, cache_mib, worker_memory_mib, range_mib] =
            [limit, memory_budget, cache, worker_memory, range_bytes].map(|bytes| bytes >> 20);
        info!(
            limit_mib,
            memory_budget_mib, cache_mib, worker_memory_mib, range_mib, "the cgroup limits memory"
        );
    }
    if let Some(excess) = memory_excess {
        warn!("{excess}");
    }
}

/// Can there be a daemon with these settings? Who may ask, and are the folders there?
pub(super) fn possible(settings: &Settings, is_token_given: bool) -> Result<(), (Exit, String)> {
    exposed(settings, is_token_given)?;
    for folder in &settings.logs {
        fs::read_dir(folder).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "create it, or name another one with --logs".to_owned(),
                ErrorKind::PermissionDenied => format!("let uid {} read and enter it", uid()),
                _ => "name a folder with --logs".to_owned(),
            };
            (Exit::Logs, format!("cannot watch the log folder {}: {error}; {remedy}", folder.display()))
        })?;
    }
    Ok(())
}

/// What shuts the processes in.
fn walls(sandbox: Sandbox) -> Result<Walls, (Exit, String)> {
    if sandbox == Sandbox::Off {
        return Ok(Walls::default());
    }
    let walls = Walls::of_this_system().map_err(|error| {
        (Exit::Failure, format!("cannot test which sandbox the system provides: {error}"))
    })?;
    if !walls.are_whole() {
        let lacks = if walls.landlock {
            "seccomp"
        } else if walls.seccomp {
            "Landlock"
        } else {
            "Landlock and seccomp"
        };
        if sandbox == Sandbox::Require {
            let remedy = "let the kernel or the container allow it (Landlock: Linux 5.13, and `landlock` among its security modules), or set --sandbox auto";
            return Err((
                Exit::Setting,
                format!("sandbox: require, but this system does not provide {lacks}; {remedy}"),
            ));
        }
        warn!("this system does not provide {lacks}: the sandbox of the processes is {walls}");
    }
    Ok(walls)
}

/// Who may ask? What can be reached from other machines asks for a token, unless somebody wants it open and
/// says so.
fn exposed(settings: &Settings, is_token_given: bool) -> Result<(), (Exit, String)> {
    let Settings { listen, insecure_no_auth, token_file, read_token_file, tls, .. } = settings;
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if *insecure_no_auth {
        warn!(%listen, "insecure_no_auth: everybody who can reach this address can read all numbers without a token");
        return Ok(());
    }
    if !is_token_given && token_file.is_none() && read_token_file.is_none() {
        let sentence = format!(
            "listen: refusing to listen on {listen} without a token, because other machines can reach it: set TALLYD_READ_TOKEN or TALLYD_TOKEN (or \
             --read-token-file, --token-file), or listen on 127.0.0.1, or set --insecure-no-auth if everybody may read"
        );
        return Err((Exit::Setting, sentence));
    }
    if tls.is_none() {
        warn!(%listen, "tokens and numbers travel as plain text; set tls_cert and tls_key, or let only a proxy with TLS reach this address");
    }
    Ok(())
}

/// Makes the state folder and locks it: one daemon per folder.
fn lock_state(settings: &Settings) -> Result<StateLock, (Exit, String)> {
    let folder = &settings.state;
    let lock = StateLock::take(folder).map_err(|error| {
        let sentence = match error {
            StateLockError::Taken(_) => format!("{error} {}; stop it, or name another folder with --state", folder.display()),
            StateLockError::Io(error) => {
                format!("cannot use the state folder {}: {error}; let uid {} write to it, or name another one with --state", folder.display(), uid())
            }
        };
        (Exit::State, sentence)
    })?;
    tighten_state(folder);
    Ok(lock)
}

/// What tallyd makes in its state folder.
const OF_STATE: [&str; 3] = ["lock", "inflight", "partials"];

/// Takes the permissions of group and others away from what is in the state folder, and from the folder
/// itself unless it has other files too: an earlier tallyd left what it wrote to the umask. Other programs
/// than tallyd read the store with the rights of this user.
fn tighten_state(folder: &Path) {
    let names = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
    // The root of a file system may have the folder that fsck(8) makes.
    let is_own = |name: &OsString| name == "lost+found" || OF_STATE.iter().any(|own| name == own);
    let is_shared = names.is_ok_and(|names| !names.iter().all(is_own));
    let parts = OF_STATE.map(|name| folder.join(name));
    let paths = if is_shared { parts.to_vec() } else { vec![folder.to_owned()] };
    let (mut entries, mut failed) = (0, None);
    for path in paths {
        match private::tighten(&path) {
            Ok(more) => entries += more,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => failed = Some(error),
        }
    }
    if entries > 0 {
        info!(folder = %folder.display(), entries, "other users could read the state: its files are 0600 and its folders 0700 now");
    }
    if let Some(error) = failed {
        warn!(folder = %folder.display(), %error, "cannot set the permissions of the state to 0600 (files) and 0700 (folders)");
    }
    if is_shared {
        warn!(folder = %folder.display(), "the state folder has other files too, so its own permissions stay; give tallyd a folder of its own with --state");
    }
}
