//! The program `tallyd`. The library `tallyd` describes the modules.

use std::process::ExitCode;

fn main() -> ExitCode {
    tallyd::cli::run()
}
