//! The program: see the library for the code map.

use std::process::ExitCode;

fn main() -> ExitCode {
    tallyd::cli::run()
}
