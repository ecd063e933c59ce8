use super::*;
use globset::Glob;
use std::os::unix::fs::symlink;

fn scope(folders: &[&str], recursive: bool) -> Scope {
    Scope {
        folders: folders.iter().map(PathBuf::from).collect(),
        recursive,
        include: GlobSet::empty(),
        exclude: GlobSet::empty(),
    }
}

fn look(scope: &Scope) -> (Contents, Option<io::Error>) {
    let (mut contents, prefixes) = (Contents::default(), scope.prefixes());
    let trouble =
        Look::new(scope, &prefixes[0], 0).walk(Vec::new(), &mut contents, &mut Vec::new(), |_, _| ());
    contents.settle();
    (contents, trouble)
}

fn names(contents: &Contents) -> Vec<&str> {
    contents.found.keys().map(|name| str::from_utf8(name).unwrap()).collect()
}

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tallyd-scan-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Two folders `logs` of different servers were both shown as `logs/`, and one hid the other's logs in the
/// report.
#[test]
fn folders_of_one_name_are_told_apart() {
    let check = |folders: &[&str], recursive: bool, want: &[&str]| {
        let found: Vec<String> = scope(folders, recursive)
            .prefixes()
            .into_iter()
            .map(|prefix| String::from_utf8(prefix).unwrap())
            .collect();
        assert_eq!(found, want, "{folders:?}");
    };
    check(&["/srv/a/logs"], false, &[""]);
    check(&["/srv/a", "/srv/b"], false, &["a/", "b/"]);
    check(&["/srv/a/logs", "/srv/b/logs", "/srv/c"], false, &["a/logs/", "b/logs/", "c/"]);
    check(&["/logs", "/srv/logs"], false, &["/logs/", "srv/logs/"]);
    check(&["/srv/a/.", "/srv/b/"], false, &["a/", "b/"]);
    // `/q/a/b/x` and `/srv/a/b/x` would both be `a/b/x`.
    check(&["/q/a", "/srv/a/b", "/srv/c/b"], true, &["/q/a/", "/srv/a/b/", "/srv/c/b/"]);
}

#[test]
fn only_regular_files_are_logs() {
    let folder = temporary("kinds");
    fs::create_dir_all(folder.join("sub.log")).unwrap();
    for name in ["b.log", "a.log", ".hidden.log", "x.log.tmp", "y.part", "z.log~"] {
        fs::write(folder.join(name), b"x").unwrap();
    }
    nix::unistd::mkfifo(&folder.join("pipe.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/etc/passwd", folder.join("out.log")).unwrap();
    symlink("nowhere", folder.join("dangling.log")).unwrap();
    symlink("a.log", folder.join("inside.log")).unwrap();
    symlink("sub.log", folder.join("folder.log")).unwrap();
    let (contents, trouble) = look(&scope(&[folder.to_str().unwrap()], false));
    fs::remove_dir_all(&folder).unwrap();
    assert!(trouble.is_none());
    assert_eq!(names(&contents), ["a.log", "b.log", "inside.log"]);
    assert_eq!(contents.found[&b"a.log"[..]].file, contents.found[&b"inside.log"[..]].file);
    let reasons: Vec<_> = contents
        .skipped
        .iter()
        .map(|skipped| (str::from_utf8(&skipped.name).unwrap(), skipped.reason))
        .collect();
    let wants = [
        (".hidden.log", Skip::Hidden),
        ("dangling.log", Skip::LinkNowhere),
        ("folder.log", Skip::LinkToFolder),
        ("out.log", Skip::LinkOut),
        ("pipe.log", Skip::NotRegular),
        ("sub.log", Skip::Folder),
        ("x.log.tmp", Skip::Temporary),
        ("y.part", Skip::Temporary),
        ("z.log~", Skip::Temporary),
    ];
    assert_eq!(reasons, wants);
}

#[test]
fn subfolders_are_looked_into_if_asked_for() {
    let folder = temporary("recursive");
    let deep: PathBuf = (0..=DEPTH_MAX).map(|_| "d").collect();
    for sub in ["one/two", ".hidden", "x.tmp"].map(Path::new).into_iter().chain([deep.as_path()]) {
        fs::create_dir_all(folder.join(sub)).unwrap();
        fs::write(folder.join(sub).join("a.log"), b"x").unwrap();
    }
    fs::write(folder.join(&deep).parent().unwrap().join("a.log"), b"x").unwrap();
    symlink("one", folder.join("link")).unwrap();
    symlink("../a.log", folder.join("one/two/up.log")).unwrap();
    fs::write(folder.join("one/a.log"), b"x").unwrap();
    let (contents, trouble) = look(&scope(&[folder.to_str().unwrap()], true));
    fs::remove_dir_all(&folder).unwrap();
    assert!(trouble.is_none());
    let deepest = "d/".repeat(DEPTH_MAX) + "a.log";
    assert_eq!(names(&contents), [deepest.as_str(), "one/a.log", "one/two/a.log", "one/two/up.log"]);
    let reasons: Vec<_> = contents.skipped.iter().map(|skipped| skipped.reason).collect();
    assert_eq!(reasons, [Skip::Hidden, Skip::TooDeep, Skip::LinkToFolder, Skip::Temporary]);
}

#[test]
fn patterns_take_and_leave() {
    let set =
        |patterns: &[&str]| GlobSet::new(patterns.iter().map(|pattern| Glob::new(pattern).unwrap())).unwrap();
    let folder = temporary("patterns");
    for sub in ["old", "new"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
        fs::write(folder.join(sub).join("a.log"), b"x").unwrap();
    }
    fs::write(folder.join("b.log"), b"x").unwrap();
    fs::write(folder.join("b.txt"), b"x").unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"\xff.log")), b"x").unwrap();
    let all = scope(&[folder.to_str().unwrap()], true);
    let include = look(&Scope { include: set(&["**/*.log"]), ..all.clone() }).0;
    let exclude = look(&Scope { exclude: set(&["old", "**/b*"]), ..all.clone() }).0;
    let both = look(&Scope { include: set(&["**/b.*"]), exclude: set(&["**/*.txt"]), ..all }).0;
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        include.found.keys().collect::<Vec<_>>(),
        [&b"b.log"[..], b"new/a.log", b"old/a.log", b"\xff.log"]
    );
    assert_eq!(exclude.found.keys().collect::<Vec<_>>(), [&b"new/a.log"[..], b"\xff.log"]);
    assert_eq!(names(&both), ["b.log"]);
    assert!(exclude.skipped.iter().all(|skipped| skipped.reason == Skip::Pattern));
    assert_eq!(exclude.skipped.len(), 3);
}

#[test]
fn a_folder_that_cannot_be_read_is_a_trouble() {
    let folder = temporary("trouble");
    fs::write(folder.join("file"), b"x").unwrap();
    for name in ["missing", "file"] {
        let (contents, trouble) = look(&scope(&[folder.join(name).to_str().unwrap()], false));
        assert!(trouble.is_some() && contents.found.is_empty(), "{name}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_left_out_has_a_limit() {
    let mut contents = Contents::default();
    for number in (0..SKIPPED_MAX + 5).rev() {
        contents.skipped.push(Skipped {
            name: format!("{number:09}").into(),
            path: PathBuf::new(),
            reason: Skip::Hidden,
        });
    }
    contents.settle();
    assert_eq!((contents.skipped.len(), contents.skipped_more), (SKIPPED_MAX, 5));
    assert!(!contents.skip(b"1".to_vec(), PathBuf::new(), Skip::Hidden));
    assert!(contents.skip(b"000000001".to_vec(), PathBuf::new(), Skip::Temporary));
    assert!(!contents.skip(b"000000001".to_vec(), PathBuf::new(), Skip::Temporary));
    assert!(contents.remove(b"000000001") && !contents.remove(b"000000001"));
    assert!(contents.skip(b"1".to_vec(), PathBuf::new(), Skip::Hidden));
    contents.take_under(b"00000");
    assert_eq!(contents.skipped.len(), 1);
}
