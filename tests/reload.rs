//! SIGHUP: settings that are read again, on the real binary; and what a service manager is told.

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::libc::{SIGHUP, SIGTERM};
use support::{Daemon, Folder, Truth, block, signal, wait_until};

/// A daemon with a configuration file, and one log in its folder.
fn daemon_with(settings: &str) -> (Daemon, Truth) {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("logs")).unwrap();
    fs::write(folder.join("tallyd.toml"), settings).unwrap();
    let (bytes, truth) = block(100, 10, 1);
    fs::write(folder.join("logs/20210322.log"), bytes).unwrap();
    let daemon = Daemon::start_in(folder, &["--config", "tallyd.toml"], &[]);
    daemon.wait_for("20210322.log", truth);
    (daemon, truth)
}

/// Sends SIGHUP and waits until the journal says what came of it.
fn reload(daemon: &Daemon) -> String {
    let before = daemon.journal().matches("SIGHUP: ").count();
    signal(daemon.pid(), SIGHUP);
    wait_until("the journal says what came of it", || {
        (daemon.journal().matches("SIGHUP: ").count() > before).then_some(())
    });
    daemon.journal().lines().rfind(|line| line.contains("SIGHUP: ")).unwrap().to_owned()
}

#[test]
fn settings_are_read_again_and_what_they_touch_starts_again() {
    let (daemon, truth) = daemon_with("allowed_hosts = [\"one.example\"]\n");
    let may_ask = |host: &str| daemon.ask("GET", "/healthz", &[("host", host)]).map(|(status, ..)| status);
    assert_eq!((may_ask("one.example"), may_ask("two.example")), (Some(200), Some(403)));
    let coordinator = daemon.pids("coordinator");

    // Something of the api only: nobody else starts again.
    fs::write(daemon.folder.join("tallyd.toml"), "allowed_hosts = [\"two.example\"]\n").unwrap();
    let said = reload(&daemon);
    assert!(
        said.contains("reloaded the settings counting=continues") && !said.contains("needs_a_restart"),
        "{said}"
    );
    wait_until("the other name holds", || {
        (may_ask("two.example") == Some(200) && may_ask("one.example") == Some(403)).then_some(())
    });
    assert_eq!(daemon.pids("coordinator"), coordinator);

    // Something of the coordinator, and something that takes a restart.
    fs::write(
        daemon.folder.join("tallyd.toml"),
        "exclude = [\"*.gone\"]\nboard_logs = 7\nallowed_hosts = [\"two.example\"]\n",
    )
    .unwrap();
    fs::write(daemon.log("x.gone"), "1.2.3.4 - - [22/Mar/2021:06:25:24 +0100] x\n").unwrap();
    daemon.wait_for("x.gone", Truth { total: 1, ip: 1 });
    let said = reload(&daemon);
    assert!(said.contains("counting=starts again") && said.contains("needs_a_restart=board_logs"), "{said}");
    // What was counted of it stays, like that of a log that is gone.
    wait_until("the pattern holds", || daemon.journal().contains("skipped path=logs/x.gone").then_some(()));
    daemon.wait_for("20210322.log", truth);
    assert_eq!((daemon.restarts("coordinator"), daemon.restarts("api")), (1, 2));
}

#[test]
fn settings_that_cannot_be_change_nothing() {
    let (daemon, truth) = daemon_with("cache_mib = 7\n");
    let pids = |daemon: &Daemon| (daemon.pids("api"), daemon.pids("coordinator"), daemon.pids("worker"));
    let before = pids(&daemon);
    let cases = [
        ("cache_mib = \"many\"\n", "tallyd.toml"),
        ("cash_mib = 7\n", "cash_mib"),
        ("cache_mib = 7\ntoken_file = \"nowhere\"\n", "the api cannot start with the new ones"),
        (
            "cache_mib = 7\ntls_cert = \"tallyd.toml\"\ntls_key = \"tallyd.toml\"\n",
            "the api cannot start with the new ones",
        ),
    ];
    for (settings, word) in cases {
        fs::write(daemon.folder.join("tallyd.toml"), settings).unwrap();
        let said = reload(&daemon);
        assert!(
            said.contains("the settings stay as they are") && said.contains(word),
            "{settings:?}: {said}"
        );
    }
    assert!(daemon.journal().contains("cannot read the token_file nowhere: "), "{}", daemon.journal());
    daemon.wait_for("20210322.log", truth);
    let after = pids(&daemon);
    assert_eq!((before.1, before.2), (after.1, after.2));
}

#[test]
fn a_token_file_that_was_replaced_holds_after_sighup() {
    let folder = Folder::new();
    let (one, two) = ("the-first-token-of-the-test", "the-second-token-of-the-test");
    fs::write(folder.join("token"), one).unwrap();
    let daemon = Daemon::start_in(folder, &["--token-file", "token"], &[]);
    let rescan = |token: &str| {
        daemon
            .ask("POST", "/api/v1/rescan", &[("authorization", &format!("Bearer {token}"))])
            .map(|(status, ..)| status)
    };
    assert_eq!((rescan(one), rescan(two)), (Some(202), Some(401)));
    fs::write(daemon.folder.join("token"), two).unwrap();
    reload(&daemon);
    wait_until("the second token holds", || {
        (rescan(two) == Some(202) && rescan(one) == Some(401)).then_some(())
    });
    // One that cannot be is refused, and the one before stays.
    fs::write(daemon.folder.join("token"), "short").unwrap();
    assert!(reload(&daemon).contains("stay as they are"));
    assert_eq!(rescan(two), Some(202));
}

#[test]
fn the_service_manager_is_told() {
    let folder = Folder::new();
    let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let heard = || {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let path = folder.join("notify").to_str().unwrap().to_owned();
    let mut daemon = Daemon::start_in(folder, &[], &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(heard().trim(), "READY=1");
    signal(daemon.pid(), SIGHUP);
    let reloading = heard();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(heard().trim(), "READY=1");
    daemon.stop(&[SIGTERM]);
    assert_eq!(heard().trim(), "STOPPING=1");
}
