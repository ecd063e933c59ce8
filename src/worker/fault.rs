//! Faults that the tests ask for. They exist in debug builds only.
//!
//! `TALLYD_FAULT` names one, `TALLYD_FAULT_DIR` a folder: a fault happens as long as the file of its name is in that folder, so that a test can end it.
//!
//! - `damage`: a result is damaged before it is sealed.
//! - `pause`: a worker waits after each piece of a range, without a sign of life, until the file is gone.
//! - `crash`, `spin`, `eat`: a worker that is given a range with a byte at one of the offsets `TALLYD_FAULT_AT` (`100,2000`) dies of SIGABRT, is busy without an end, takes memory
//!   without an end.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::job::Job;

fn asked(name: &str) -> bool {
    static FAULT: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    let fault = FAULT.get_or_init(|| Some((std::env::var("TALLYD_FAULT").ok()?, std::env::var_os("TALLYD_FAULT_DIR")?.into())));
    fault.as_ref().is_some_and(|(fault, folder)| fault == name && folder.join(name).exists())
}

/// Before a job.
pub fn before(job: &Job) {
    let Some(fault) = ["crash", "spin", "eat"].into_iter().find(|fault| asked(fault)) else { return };
    let poison = std::env::var("TALLYD_FAULT_AT").unwrap_or_else(|_| "0".to_owned());
    if !poison.split(',').filter_map(|at| at.parse().ok()).any(|at: u64| job.range.from() <= at && at < job.range.to()) {
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
