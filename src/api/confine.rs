//! The sandbox of the api process. It may read the store, /proc and its own settings, and write uploads if a
//! token is set. It reads no log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::info;

use crate::heritage::Heritage;
use crate::sys::process::{pid, terminate};
use crate::sys::sandbox::Right;

/// How often the api checks that its folders are still the ones that its rights are for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Device and inode.
type Place = Option<(u64, u64)>;

/// Restricts this process to its rights, before it has a second thread.
///
/// # Errors
/// If Landlock or seccomp fails, although both worked when the daemon started.
pub fn shut_in(heritage: &Heritage) -> io::Result<()> {
    heritage.walls.keep_to(&rights(heritage))
}

/// Ends this process, so that the supervisor starts a new one, when one of its folders was replaced: rights
/// are for folders, not for names. In a thread of its own, since a disk may hang.
pub fn watch(heritage: &Heritage) {
    if !heritage.walls.landlock {
        return;
    }
    let folders = folders(heritage);
    let before: Vec<Place> = folders.iter().map(|folder| place(folder)).collect();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let other = folders
                .iter()
                .zip(&before)
                .find(|(folder, before)| place(folder).is_some_and(|now| Some(now) != **before));
            if let Some((folder, _)) = other {
                info!(folder = %folder.display(), "a folder was replaced; the api restarts to get the right to use the new one");
                return terminate(pid());
            }
        }
    });
}

fn place(folder: &Path) -> Place {
    fs::metadata(folder).ok().map(|about| (about.dev(), about.ino()))
}

/// The folders that may be replaced or mounted while the daemon runs.
fn folders(heritage: &Heritage) -> Vec<PathBuf> {
    let mut folders = vec![heritage.settings.state.clone()];
    if takes_uploads(heritage) {
        folders.extend(heritage.settings.logs.iter().cloned());
    }
    folders
}

fn takes_uploads(heritage: &Heritage) -> bool {
    heritage.token.is_some() || heritage.settings.token_file.is_some()
}

fn rights(heritage: &Heritage) -> Vec<(PathBuf, Right)> {
    let settings = &heritage.settings;
    // The program itself: the backtrace of a panic gets its names from it.
    let mut read: Vec<PathBuf> = ["/proc", "/proc/self/exe", "/sys/fs/cgroup"].map(PathBuf::from).into();
    read.push(settings.state.clone());
    read.extend(settings.token_file.iter().chain(&settings.read_token_file).cloned());
    for file in settings.tls.iter().flat_map(|(cert, key)| [cert, key]) {
        // New files replace the certificate and the key under their names, which may be links.
        let real = fs::canonicalize(file).ok();
        let folders = [Some(file.as_path()), real.as_deref()]
            .map(|file| file.and_then(Path::parent).map(Path::to_owned));
        read.extend(
            folders
                .into_iter()
                .flatten()
                .map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }),
        );
    }
    let mut rights: Vec<(PathBuf, Right)> = read.into_iter().map(|path| (path, Right::Read)).collect();
    if takes_uploads(heritage) {
        rights.extend(settings.logs.iter().map(|folder| (folder.clone(), Right::Write)));
    }
    rights
}
