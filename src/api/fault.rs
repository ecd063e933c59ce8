//! Faults for the tests. They exist in debug builds only.
//!
//! `TALLYD_FAULT` names a fault, `TALLYD_FAULT_DIR` a folder: the fault happens while a file of its name is
//! in this folder.
//!
//! - `panic`: the handler of `/api/v1/report` panics.
//! - `escape-api`: the api tries to read and write the file `TALLYD_FAULT_LOG`, to connect to
//!   `TALLYD_FAULT_ADDRESS`, and to become another program; the journal has the results.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use tracing::warn;

fn asked(name: &str) -> bool {
    let asked = std::env::var("TALLYD_FAULT").is_ok_and(|fault| fault == name);
    asked && std::env::var_os("TALLYD_FAULT_DIR").is_some_and(|folder| Path::new(&folder).join(name).exists())
}

/// Runs before a report is made.
pub(super) fn before_report() {
    if asked("panic") {
        panic!("a test asked for it");
    }
    if asked("escape-api") {
        let log = std::env::var("TALLYD_FAULT_LOG").unwrap_or_default();
        let address = std::env::var("TALLYD_FAULT_ADDRESS").unwrap_or_default();
        let tried: [(&str, io::Result<()>); 4] = [
            ("read", fs::read(&log).map(drop)),
            ("write", fs::OpenOptions::new().append(true).open(&log).map(drop)),
            ("connect", std::net::TcpStream::connect(address).map(drop)),
            ("exec", Err(Command::new("/bin/true").exec())),
        ];
        for (by, result) in tried {
            match result {
                Ok(()) => warn!(by, "the api escaped"),
                Err(error) => warn!(by, %error, "the api could not escape"),
            }
        }
    }
}
