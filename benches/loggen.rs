//! Writes made-up logs into a folder: `cargo run --release --example loggen -- FOLDER FILES BYTES CLIENTS
//! [common] [each] [ipv6=PERCENT]`.
//!
//! FILES logs named `20210301.log` and on, each of about BYTES bytes and with clients drawn from CLIENTS.
//! `each`: every client asks at least once.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

#[path = "logs.rs"]
mod logs;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.replace('_', "").parse::<u64>().ok());
    let (Some(folder), Some(files), Some(bytes), Some(clients @ 1..)) =
        (words.first(), number(1), number(2), number(3))
    else {
        eprintln!("usage: loggen FOLDER FILES BYTES CLIENTS [common] [each] [ipv6=PERCENT]");
        return ExitCode::from(2);
    };
    let mut wish = logs::Wish { bytes, clients, ..logs::Wish::default() };
    for word in &words[4..] {
        match (word.as_str(), word.strip_prefix("ipv6=").and_then(|percent| percent.parse().ok())) {
            ("common", _) => wish.combined = false,
            ("each", _) => wish.each = true,
            (_, Some(percent)) => wish.ipv6_percent = percent,
            _ => {
                eprintln!("loggen: {word} is no wish; there are common, each, ipv6=PERCENT");
                return ExitCode::from(2);
            }
        }
    }
    match write_all(Path::new(folder), files, wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loggen: cannot write to {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path, files: u64, wish: logs::Wish) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for file in 0..files {
        // From the 29th on the names go on in the next months, and the lines in March.
        let (month, day) = (2 + file / 28, file % 28 + 1);
        let path = folder.join(format!("{:04}{:02}{day:02}.log", 2021 + month / 12, month % 12 + 1));
        let mut to = BufWriter::with_capacity(1 << 20, File::create(path)?);
        logs::write(&logs::Wish { day, ..wish }, &mut to)?;
        to.flush()?;
    }
    Ok(())
}
