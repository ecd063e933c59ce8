//! `tallyd serve`, and `tallyd` without a command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgMatches, Args};

use super::near::nearest;
use super::{bad_usage, command_line, complain, is_flag};
use crate::config::{Given, Settings, refuse_renamed};
use crate::log::shown_to_people;

const SERVE_EXAMPLES: &str = "\
Examples:
  tallyd serve /var/log/nginx --state /var/lib/tallyd
  tallyd serve /var/log/nginx /var/log/apache2 --include 'access.log*'
  tallyd serve --config /etc/tallyd/tallyd.toml

Each setting is a flag, an environment variable or a line of the configuration file; a flag takes precedence over a variable, and a variable over the file. \
docs/CONFIGURATION.md describes every setting.";

#[derive(Args, Debug, Default)]
#[command(after_help = SERVE_EXAMPLES)]
pub(super) struct Serve {
    /// Folders to watch, as with --logs; folders of both are watched
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "TALLYD_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// Runs `tallyd` without a command: its first word is a folder, or a mistyped command.
pub(super) fn run_unnamed(serve: Serve, matches: &ArgMatches) -> ExitCode {
    match serve.folders.first().and_then(|word| mistyped(word)) {
        Some(sentence) => bad_usage(&sentence),
        None => run(serve, matches),
    }
}

/// Runs the daemon.
pub(super) fn run(mut serve: Serve, matches: &ArgMatches) -> ExitCode {
    if let Some(file) = serve.folders.iter().find(|path| path.is_file()) {
        let file = file.display();
        return bad_usage(&format!(
            "{file} is a file, not a folder: `tallyd count {file}` counts a file once, `tallyd serve --logs DIR` watches a folder"
        ));
    }
    if !serve.folders.is_empty() {
        // A folder on the command line replaces those of the environment, as the flag does.
        let flagged = serve.given.logs.take().filter(|_| is_flag(matches, "logs"));
        serve.given.logs = Some(serve.folders.into_iter().chain(flagged.unwrap_or_default()).collect());
    }
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if let Some(sentence) = refuse_renamed(&name) {
            return bad_usage(&sentence);
        }
        if let Err(remedy) = check_variable(&name) {
            complain(&format!(
                "the environment variable {name} is not a setting and has no effect; {remedy}"
            ));
        }
    }
    let settle = move || Settings::settle(serve.given.clone(), serve.config.as_deref());
    match settle() {
        Ok(settings) => ExitCode::from(crate::supervisor::serve(settings, &settle) as u8),
        Err(error) => bad_usage(&error.to_string()),
    }
}

/// Returns why a word in the place of a command is neither a command nor a folder, if it is none.
fn mistyped(word: &Path) -> Option<String> {
    let word = word.to_str().filter(|word| !word.contains('/') && !Path::new(word).exists())?;
    let commands = command_line();
    let mut names: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
    names.push("help");
    let (near, word) = (nearest(word, names), shown_to_people(word.as_bytes()));
    Some(match near {
        Some(name) if name == word => format!("put the command first: `tallyd {name}`, then its flags"),
        Some(name) => format!("`{word}` is neither a command nor a folder: did you mean `tallyd {name}`?"),
        None => format!("`{word}` is neither a command nor a folder; `tallyd help` lists the commands"),
    })
}

/// Checks the name of an environment variable: one that looks like a setting must be one. The error is a
/// remedy.
fn check_variable(name: &str) -> Result<(), String> {
    let Some(rest) = name.strip_prefix("TALLYD_") else { return Ok(()) };
    // Kubernetes sets such variables for a service that is called tallyd.
    let is_of_service = rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_");
    let is_of_tests = cfg!(debug_assertions) && rest.starts_with("FAULT");
    let command = command_line();
    let arguments =
        std::iter::once(&command).chain(command.get_subcommands()).flat_map(clap::Command::get_arguments);
    let mut known: Vec<&str> = arguments
        .filter_map(clap::Arg::get_env)
        .filter_map(|name| name.to_str()?.strip_prefix("TALLYD_"))
        .collect();
    known.extend(["TOKEN", "READ_TOKEN"]);
    if is_of_service || is_of_tests || known.contains(&rest) {
        return Ok(());
    }
    Err(match nearest(rest, known) {
        Some(near) => format!("did you mean TALLYD_{near}?"),
        None => "`tallyd serve --help` lists the settings".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_variable_is_found() {
        for (name, remedy) in [
            ("TALLYD_WORKER", "did you mean TALLYD_WORKERS?"),
            ("TALLYD_", "--help"),
            ("TALLYD_CACHE", "did you mean TALLYD_CACHE_MIB?"),
            ("TALLYD_TOKENS", "did you mean TALLYD_TOKEN?"),
        ] {
            let said = check_variable(name).unwrap_err();
            assert!(said.contains(remedy), "{name}: {said}");
        }
        for name in [
            "TALLYD_WORKERS",
            "TALLYD_TOKEN",
            "TALLYD_READ_TOKEN",
            "TALLYD_CONFIG",
            "TALLYD_SERVICE_HOST",
            "TALLYD_PORT_8080_TCP_ADDR",
            "TALLYD_SANDBOX",
            "HOME",
        ] {
            assert_eq!(check_variable(name), Ok(()), "{name}");
        }
    }
}
