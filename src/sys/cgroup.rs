//! What the groups of control (cgroups) that this process is in let it have.
//!
//! Of both versions, where they are mounted by custom. A group has its own limit and those of all groups
//! above it; in a container, those above may be out of sight, and the mount itself is the container's. What
//! cannot be read limits nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// Version 1 says "no limit" by the largest number of whole pages.
const NONE_FROM: u64 = 1 << 60;

/// How much memory this process and all others of its groups may take together, in bytes; `None` if there is
/// no limit.
pub fn memory_limit() -> Option<u64> {
    least_memory(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new(MOUNT))
}

/// The least limit of the groups that a process is in, by its file `cgroup` (cgroups(7)).
fn least_memory(groups: &str, mount: &Path) -> Option<u64> {
    let of_line = |line: &str| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        if controllers.is_empty() {
            // What is above `high` is taken back so hard that it is of no use.
            least(mount, group, &["memory.max", "memory.high"])
        } else {
            controllers
                .split(',')
                .find(|name| *name == "memory")
                .and_then(|name| least(&mount.join(name), group, &["memory.limit_in_bytes"]))
        }
    };
    groups.lines().filter_map(of_line).min()
}

/// The least number in these files of a group and of all above it, up to the mount.
fn least(mount: &Path, group: &str, files: &[&str]) -> Option<u64> {
    let below: PathBuf = Path::new(group).components().filter(|part| *part != Component::RootDir).collect();
    // A group outside of what is seen begins with `..`.
    let below = if below.components().all(|part| matches!(part, Component::Normal(_))) {
        below
    } else {
        PathBuf::new()
    };
    let number = |path: PathBuf| {
        fs::read_to_string(path).ok()?.trim().parse().ok().filter(|number| *number < NONE_FROM)
    };
    below
        .ancestors()
        .flat_map(|group| files.iter().map(move |file| mount.join(group).join(file)))
        .filter_map(number)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose groups are these sees this limit among these files.
    #[track_caller]
    fn check(groups: &str, files: &[(&str, &str)], limit: Option<u64>) {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mount = std::env::temp_dir().join(format!("tallyd-cgroup-{}-{number}", std::process::id()));
        fs::create_dir_all(&mount).unwrap();
        for (path, text) in files {
            let path = mount.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        let found = least_memory(groups, &mount);
        fs::remove_dir_all(&mount).unwrap();
        assert_eq!(found, limit, "{groups:?} {files:?}");
    }

    #[test]
    fn the_least_limit_of_version_2_holds() {
        check("0::/\n", &[], None);
        check("0::/\n", &[("memory.max", "268435456")], Some(256 << 20));
        check(
            "0::/a/b\n",
            &[("a/b/memory.max", "max"), ("a/b/memory.high", "max"), ("a/memory.max", "max")],
            None,
        );
        check(
            "0::/a/b\n",
            &[("a/b/memory.max", "max"), ("a/memory.max", "1000"), ("c/memory.max", "1")],
            Some(1000),
        );
        check("0::/a/b\n", &[("a/b/memory.max", "1000"), ("a/memory.max", "2000")], Some(1000));
        check("0::/a\n", &[("a/memory.max", "2000"), ("a/memory.high", "1000")], Some(1000));
        // A group whose own folder is out of sight: the mount is the container's.
        check("0::/../../x\n", &[("memory.max", "1000"), ("x/memory.max", "1")], Some(1000));
        check("0::/kubepods/x\n", &[("memory.max", "1000")], Some(1000));
        check("0::/a:b\n", &[("a:b/memory.max", "1000")], Some(1000));
        check("0::/a\n", &[("a/memory.max", "-1")], None);
        check("nonsense\n\n0:\n", &[("memory.max", "1")], None);
    }

    #[test]
    fn the_least_limit_of_version_1_holds() {
        let none = "9223372036854771712";
        check("4:memory:/\n1:cpu:/a\n0::/\n", &[("memory/memory.limit_in_bytes", none)], None);
        check(
            "4:memory:/a/b\n",
            &[
                ("memory/memory.limit_in_bytes", none),
                ("memory/a/memory.limit_in_bytes", "1000"),
                ("memory/a/b/memory.limit_in_bytes", none),
            ],
            Some(1000),
        );
        check("4:memory:/docker/x\n", &[("memory/memory.limit_in_bytes", "1000")], Some(1000));
        check("4:cpu,memory:/a\n", &[("memory/a/memory.limit_in_bytes", "1000")], Some(1000));
        check(
            "3:cpu:/a\n",
            &[("memory/a/memory.limit_in_bytes", "1000"), ("cpu/a/memory.limit_in_bytes", "1")],
            None,
        );
    }
}
