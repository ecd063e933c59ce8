//! Where a daemon is to be found, for the commands that ask it or look into its state: by some of its settings, from the same file.
//!
//! Of the file, each line must be a setting; whether its value can be is for the daemon to say, since it may have been changed under one that runs.

use std::path::{Path, PathBuf};

use super::{BadSetting, Given, LISTEN, STATE, named, read_file};

/// Those of the settings by which other commands find a daemon and its state.
#[derive(Clone, Default, Debug)]
pub struct Whereabouts {
    /// The state folder.
    pub state: Option<PathBuf>,
    /// Where the API answers.
    pub listen: Option<String>,
    /// The file with its certificate.
    pub tls_cert: Option<PathBuf>,
    /// The file with the token that is enough for reading.
    pub read_token_file: Option<PathBuf>,
    /// The file with the other token.
    pub token_file: Option<PathBuf>,
}

impl Whereabouts {
    /// Adds what a configuration file has and was not given.
    ///
    /// # Errors
    /// For a file that cannot be read or understood, with a remedy.
    pub fn or_of(self, file: Option<&Path>) -> Result<Whereabouts, BadSetting> {
        let Given { state, listen, tls_cert, read_token_file, token_file, .. } = file.map_or(Ok(Given::default()), read_file)?;
        // Either token is enough, so one that was given goes before both of the file.
        let no_token = self.read_token_file.is_none() && self.token_file.is_none();
        Ok(Whereabouts {
            state: self.state.or(state),
            listen: self.listen.or(listen),
            tls_cert: named(self.tls_cert.or(tls_cert)),
            read_token_file: named(self.read_token_file.or(read_token_file.filter(|_| no_token))),
            token_file: named(self.token_file.or(token_file.filter(|_| no_token))),
        })
    }

    /// The state folder, or the one there is by default.
    pub fn state(&self) -> &Path {
        self.state.as_deref().unwrap_or(Path::new(STATE))
    }

    /// Where the API answers, or where it does by default.
    pub fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or(LISTEN)
    }
}
