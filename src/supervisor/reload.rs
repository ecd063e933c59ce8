//! What SIGHUP changes: which of the settings that were read again hold from now on, and who starts again for
//! them.
//!
//! Pure. What is shared was made before the first fork, and stays as it was made.

use crate::config::Settings;

/// What follows from settings that were read again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reload {
    /// The settings from now on.
    pub(super) settings: Settings,
    /// Are there any that the coordinator or its workers go by? (The api always starts again: it reads tokens
    /// and certificates then.)
    pub(super) counts_otherwise: bool,
    /// The settings that were changed and take a new start of the daemon.
    pub(super) left: Vec<&'static str>,
}

impl Reload {
    /// Compares the settings that hold with those that were read.
    pub(super) fn new(old: &Settings, new: Settings) -> Reload {
        let mut left = Vec::new();
        macro_rules! stays {
            ($($name:ident),*) => {{
                $(if old.$name != new.$name { left.push(stringify!($name)); })*
                Settings { $($name: old.$name.clone(),)* ..new }
            }};
        }
        let settings = stays!(listen, state, host, workers, board_logs, sandbox, journal_format, log_level);
        // With these of the api as they were, are the settings the same?
        let Settings {
            insecure_no_auth,
            token_file,
            read_token_file,
            allowed_hosts,
            tls,
            connections_max,
            cache,
            question,
            upload_max,
            ..
        } = old.clone();
        let Settings { memory_limit, memory_excess, .. } = old.clone();
        let of_api = Settings {
            insecure_no_auth,
            token_file,
            read_token_file,
            allowed_hosts,
            tls,
            connections_max,
            cache,
            question,
            upload_max,
            ..settings.clone()
        };
        let of_api = Settings { memory_limit, memory_excess, ..of_api };
        Reload { counts_otherwise: of_api != *old, settings, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Given;

    #[test]
    fn what_is_shared_stays_and_each_starts_again_for_its_own() {
        let old = Settings::settle(Given::default(), None).unwrap();
        assert_eq!(
            Reload::new(&old, old.clone()),
            Reload { settings: old.clone(), counts_otherwise: false, left: vec![] }
        );
        let changed = Settings {
            workers: old.workers + 1,
            cache: 1,
            allowed_hosts: vec!["x".to_owned()],
            ..old.clone()
        };
        let Reload { settings, counts_otherwise, left } = Reload::new(&old, changed.clone());
        assert_eq!(
            (settings, counts_otherwise, left),
            (Settings { workers: old.workers, ..changed }, false, vec!["workers"])
        );
        let changed = Settings { recursive: true, state: "elsewhere".into(), ..old.clone() };
        let Reload { settings, counts_otherwise, left } = Reload::new(&old, changed);
        assert_eq!(
            (settings, counts_otherwise, left),
            (Settings { recursive: true, ..old }, true, vec!["state"])
        );
    }
}
