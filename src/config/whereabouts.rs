//! The address and the state folder of a daemon, for the commands that query the daemon or read its state.
//!
//! Every line of the file must be a setting. The values are not checked: the file may have changed since the
//! daemon started.

use std::path::{Path, PathBuf};

use super::bad_setting::BadSetting;
use super::check::named;
use super::file::read_file;
use super::given::Given;

/// The default state folder.
pub(super) const STATE: &str = "state";
/// The default address of the API.
pub(super) const LISTEN: &str = "127.0.0.1:8080";

/// The settings by which other commands find a daemon and its state.
#[derive(Clone, Default, Debug)]
pub struct Whereabouts {
    /// The state folder.
    pub state: Option<PathBuf>,
    /// The address of the API.
    pub listen: Option<String>,
    /// The file with the certificate of the API.
    pub tls_cert: Option<PathBuf>,
    /// The file with the token for requests that read.
    pub read_token_file: Option<PathBuf>,
    /// The file with the token for requests that change anything.
    pub token_file: Option<PathBuf>,
}

impl Whereabouts {
    /// Adds the settings of a configuration file that flags and environment left open.
    ///
    /// # Errors
    /// For a file that cannot be read or parsed, with a remedy.
    pub fn or_of(self, file: Option<&Path>) -> Result<Whereabouts, BadSetting> {
        let Given { state, listen, tls_cert, read_token_file, token_file, .. } =
            file.map_or(Ok(Given::default()), read_file)?;
        // Either token is enough, so a token from a flag wins over both tokens of the file.
        let no_token = self.read_token_file.is_none() && self.token_file.is_none();
        Ok(Whereabouts {
            state: self.state.or(state),
            listen: self.listen.or(listen),
            tls_cert: named(self.tls_cert.or(tls_cert)),
            read_token_file: named(self.read_token_file.or(read_token_file.filter(|_| no_token))),
            token_file: named(self.token_file.or(token_file.filter(|_| no_token))),
        })
    }

    /// The state folder, or the default one.
    pub fn state(&self) -> &Path {
        self.state.as_deref().unwrap_or(Path::new(STATE))
    }

    /// The address of the API, or the default one.
    pub fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or(LISTEN)
    }
}
