//! The uploads in progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::config::Settings;

/// The maximum number of uploads at the same time.
pub(super) const UPLOADS_MAX: usize = 4;

/// The settings of uploads, and the uploads in progress.
pub(in crate::api) struct Uploads {
    settings: Settings,
    /// One for each upload that may be in progress.
    pub(super) permits: Semaphore,
    /// The drafts by the names that they will get; `None` for a draft that must stay when the process ends,
    /// or that does not exist yet.
    under_way: Mutex<BTreeMap<Vec<u8>, Option<PathBuf>>>,
    /// True once the process ends.
    pub(super) ending: AtomicBool,
}

impl Uploads {
    pub(in crate::api) fn new(settings: &Settings) -> Uploads {
        Uploads {
            settings: settings.clone(),
            permits: Semaphore::new(UPLOADS_MAX),
            under_way: Mutex::default(),
            ending: AtomicBool::new(false),
        }
    }

    /// The settings that uploads follow.
    pub(in crate::api) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The drafts.
    pub(super) fn under_way(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Option<PathBuf>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes incomplete uploads when the process ends. A draft that is to replace a log stays for the next
    /// api process, which first withdraws the replacement: the coordinator may be gone, and the store must
    /// not wait for a file whose inode another file may have by then.
    pub(in crate::api) fn abandon(&self) {
        self.ending.store(true, Relaxed);
        for path in self.under_way().values().flatten() {
            let _ = std::fs::remove_file(path);
        }
    }
}
