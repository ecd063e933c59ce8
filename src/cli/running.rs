//! `tallyd status` and `tallyd healthcheck`: what the running daemon answers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{fail_if_any, print};
use crate::ask::ask;
use crate::config::Whereabouts;

#[derive(Args, Debug)]
pub(super) struct Status {
    /// Print the answer of the daemon as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// The daemon to query.
#[derive(Args, Debug)]
pub(super) struct Daemon {
    /// Configuration file of the daemon, which has its address; flags and environment win over the file
    #[arg(long, value_name = "FILE", env = "TALLYD_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the daemon [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT", env = "TALLYD_LISTEN")]
    listen: Option<String>,
    /// File with the certificate of the daemon, if it uses HTTPS; no other certificate is trusted
    #[arg(long, value_name = "FILE", env = "TALLYD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// File with the token for requests that read; TALLYD_READ_TOKEN holds the token itself and wins
    #[arg(long, value_name = "FILE", env = "TALLYD_READ_TOKEN_FILE")]
    read_token_file: Option<PathBuf>,
    /// File with the token for requests that change anything, which may read too; TALLYD_TOKEN holds the
    /// token itself and wins
    #[arg(long, value_name = "FILE", env = "TALLYD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Status {
    pub(super) fn run(&self) -> ExitCode {
        let answer = self.daemon.find().and_then(|daemon| {
            let token = token(&daemon)?;
            ask(daemon.listen(), daemon.tls_cert.as_deref(), token.as_deref(), "/api/v1/status")
        });
        match answer.and_then(|body| if self.json { Ok(body + "\n") } else { crate::show::status(&body) }) {
            Ok(text) => {
                print(text.as_bytes());
                ExitCode::SUCCESS
            }
            Err(error) => fail_if_any(&[error]),
        }
    }
}

impl Daemon {
    pub(super) fn healthcheck(&self) -> ExitCode {
        // This path never needs a token.
        match self
            .find()
            .and_then(|daemon| ask(daemon.listen(), daemon.tls_cert.as_deref(), None, "/healthz"))
        {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => fail_if_any(&[error]),
        }
    }

    /// The address of the daemon, from flags, environment and its configuration file.
    fn find(&self) -> Result<Whereabouts, String> {
        let Daemon { listen, tls_cert, read_token_file, token_file, config } = self;
        let (listen, tls_cert, read_token_file, token_file) =
            (listen.clone(), tls_cert.clone(), read_token_file.clone(), token_file.clone());
        let given = Whereabouts { listen, tls_cert, read_token_file, token_file, state: None };
        given.or_of(config.as_deref()).map_err(|error| error.to_string())
    }
}

/// The token to send, if one is set: from the environment, or else from a token file.
fn token(daemon: &Whereabouts) -> Result<Option<String>, String> {
    let variable = |name| std::env::var(name).ok().filter(|token| !token.trim().is_empty());
    let token = variable("TALLYD_READ_TOKEN").or_else(|| variable("TALLYD_TOKEN"));
    let token = match (token, daemon.read_token_file.as_ref().or(daemon.token_file.as_ref())) {
        (None, Some(file)) => {
            let cannot = |error| {
                format!("cannot read the token file {}: {error}; let this user read the file", file.display())
            };
            std::fs::read_to_string(file).map_err(cannot)?.lines().next().map(str::to_owned)
        }
        (token, _) => token,
    };
    Ok(token.map(|token| token.trim().to_owned()))
}
