//! Why logs cannot be read, and the remedy, for people.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::accounts::Accounts;

/// The bit of a file's mode that lets its group read it.
const GROUP_READS: u32 = 0o040;

/// Why a log cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Unreadable {
    /// The system's error number.
    pub errno: i32,
    /// The group that may read the log; `None`: no group may, only that of root, or the group is not known.
    pub group: Option<u32>,
}

impl Unreadable {
    /// Returns why the log at `path` could not be read, which the system refused with `errno`.
    pub fn of(errno: i32, path: &Path) -> Unreadable {
        let about =
            fs::metadata(path).ok().filter(|about| about.mode() & GROUP_READS != 0 && about.gid() != 0);
        Unreadable { errno, group: about.map(|about| about.gid()) }
    }

    /// The sentence on `count` logs of a folder: what cannot be read, why, and the remedy. `uid`: the user
    /// that tallyd runs as.
    pub fn sentence(self, count: u64, folder: &str, uid: u32, accounts: &Accounts) -> String {
        let (logs, they, their) = if count == 1 {
            ("1 log".to_owned(), "it", "its")
        } else {
            (format!("{count} logs"), "them", "their")
        };
        let user = accounts.user(uid);
        let runs_as = user.map_or(format!("uid {uid}"), |user| format!("{user}, uid {uid}"));
        let why = Errno::from_raw(self.errno).desc();
        let is_forbidden = matches!(self.errno, libc::EACCES | libc::EPERM);
        let remedy = match (self.group, user) {
            _ if !is_forbidden => format!("check the disk; tallyd tries to read {they} again at each scan"),
            (Some(gid), Some(user)) => {
                let group = accounts.group(gid).map_or(gid.to_string(), str::to_owned);
                format!("add this user to {their} group, `usermod -aG {group} {user}`, and restart tallyd")
            }
            (Some(gid), None) => {
                let group =
                    accounts.group(gid).map_or(format!("gid {gid}"), |group| format!("{group}, gid {gid}"));
                format!("run tallyd with {their} group ({group}), for example `docker run --group-add {gid}`")
            }
            (None, _) => format!("let uid {uid} read {they}, for example `setfacl -m u:{uid}:r LOG`"),
        };
        format!("cannot read {logs} in {folder} ({why}; tallyd runs as {runs_as}): {remedy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(why: Unreadable, count: u64, accounts: &Accounts, want: &str) {
        assert_eq!(why.sentence(count, "/var/log/nginx", 998, accounts), want);
    }

    #[test]
    fn the_sentence_names_the_remedy() {
        let adm = Unreadable { errno: libc::EACCES, group: Some(4) };
        let debian = Accounts::of(Some((998, "tallyd")), Some((4, "adm")));
        check(
            adm,
            3,
            &debian,
            "cannot read 3 logs in /var/log/nginx (Permission denied; tallyd runs as tallyd, uid 998): add this user to their group, `usermod -aG adm tallyd`, \
             and restart tallyd",
        );
        check(
            adm,
            1,
            &Accounts::default(),
            "cannot read 1 log in /var/log/nginx (Permission denied; tallyd runs as uid 998): run tallyd with its group (gid 4), for example \
             `docker run --group-add 4`",
        );
        check(
            Unreadable { group: None, ..adm },
            1,
            &debian,
            "cannot read 1 log in /var/log/nginx (Permission denied; tallyd runs as tallyd, uid 998): let uid 998 read it, for \
             example `setfacl -m u:998:r LOG`",
        );
        check(
            Unreadable { errno: libc::EIO, group: Some(4) },
            2,
            &Accounts::default(),
            "cannot read 2 logs in /var/log/nginx (I/O error; tallyd runs as uid 998): check the disk; tallyd tries to read them again at each scan",
        );
    }
}
