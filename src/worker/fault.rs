//! Faults that the tests ask for. They exist in debug builds only.
//!
//! `TALLYD_FAULT` names one, `TALLYD_FAULT_DIR` a folder: a fault happens as long as the file of its name is
//! in that folder, so that a test can end it.
//!
//! - `damage`: a result is damaged before it is sealed.
//! - `pause`: a worker waits after each piece of a range, without a sign of life, until the file is gone.
//! - `crash`, `spin`, `eat`: a worker that is given a range with a byte at one of the offsets
//!   `TALLYD_FAULT_AT` (`100,2000`) dies of SIGABRT, is busy without an end, takes memory without an end.
//! - `escape`: before a job, a worker tries what `TALLYD_FAULT_ESCAPE` names, and says what came of it;
//!   `TALLYD_FAULT_WALL` names the only wall that there is then.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::warn;

use crate::job::Job;
use crate::sys::sandbox::{Walls, attach};

fn asked(name: &str) -> bool {
    static FAULT: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| {
        Some((std::env::var("TALLYD_FAULT").ok()?, std::env::var_os("TALLYD_FAULT_DIR")?.into()))
    });
    fault.as_ref().is_some_and(|(fault, folder)| fault == name && folder.join(name).exists())
}

/// The walls that a worker is shut in by.
pub fn walls(walls: Walls) -> Walls {
    match std::env::var("TALLYD_FAULT_WALL").as_deref() {
        Ok("landlock") => Walls { seccomp: false, ..walls },
        Ok("seccomp") => Walls { landlock: false, ..walls },
        Ok("none") => Walls::default(),
        _ => walls,
    }
}

/// Tries to get out.
fn escape(by: &str) -> io::Result<()> {
    let parent = nix::unistd::getppid();
    match by {
        "open" => fs::File::open("/etc/passwd").map(drop),
        "write" => fs::write(std::env::temp_dir().join("tallyd-escaped"), "x"),
        "list" => fs::read_dir("/").map(drop),
        "connect" => {
            std::net::TcpStream::connect(std::env::var("TALLYD_FAULT_ADDRESS").unwrap_or_default()).map(drop)
        }
        "bind" => std::net::TcpListener::bind("127.0.0.1:0").map(drop),
        "exec" => Err(std::os::unix::process::CommandExt::exec(&mut std::process::Command::new("/bin/true"))),
        "fork" => std::process::Command::new("/bin/true").status().map(drop),
        "ptrace" => attach(parent.as_raw()),
        "kill" => nix::sys::signal::kill(parent, None).map_err(Into::into),
        _ => Ok(()),
    }
}

/// Before a job.
pub fn before(job: &Job) {
    if asked("escape") {
        let by = std::env::var("TALLYD_FAULT_ESCAPE").unwrap_or_default();
        match escape(&by) {
            Ok(()) => warn!(by, "a worker escaped"),
            Err(error) => warn!(by, %error, "a worker could not escape"),
        }
    }
    let Some(fault) = ["crash", "spin", "eat"].into_iter().find(|fault| asked(fault)) else { return };
    let poison = std::env::var("TALLYD_FAULT_AT").unwrap_or_else(|_| "0".to_owned());
    if !poison
        .split(',')
        .filter_map(|at| at.parse().ok())
        .any(|at: u64| job.range.from() <= at && at < job.range.to())
    {
        return;
    }
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        match fault {
            "crash" => std::process::abort(),
            "spin" => {
                std::hint::black_box(job.range.len());
            }
            _ => eaten.push(std::hint::black_box(vec![1; 16 << 20])),
        }
    }
}

/// Between two pieces of a job.
pub fn between(_: &Job) {
    while asked("pause") {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// After a job: random bytes in the result.
pub fn damage(bytes: &mut [u8]) {
    if asked("damage") {
        let mut random = std::process::id() | 1;
        for _ in 0..16 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let at = random as usize % bytes.len();
            bytes[at] ^= (random >> 24) as u8 | 1;
        }
    }
}
