//! All that a process of the daemon inherits from the supervisor, in one struct.
//!
//! It is made once, before the first fork. What is not in here, and not handed over with a fork, a child does
//! not have: it closes every other descriptor.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use crate::board::{Board, BoardSize, Roster, StatusPage};
use crate::config::Settings;
use crate::journal;
use crate::log::shown_to_people;
use crate::sys::accounts::Accounts;
use crate::sys::memory::SharedMemory;
use crate::sys::process::{close_all_but, unblock_stop};
use crate::sys::sandbox::Walls;
use crate::sys::socket::Channel;
use crate::sys::state_lock::StateLock;
use crate::sys::title::Title;

/// A part that a process plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Knows the logs, gives out jobs, adds up, publishes.
    Coordinator,
    /// Answers over HTTP.
    Api,
    /// Counts; numbered from 0.
    Worker(usize),
}

impl Role {
    /// The role's place among the status pages. On the roster it is one more: line 0 is the supervisor's.
    pub fn slot(self) -> usize {
        match self {
            Role::Coordinator => 0,
            Role::Api => 1,
            Role::Worker(number) => 2 + number,
        }
    }

    /// The role of a place.
    pub fn of_slot(slot: usize) -> Role {
        match slot {
            0 => Role::Coordinator,
            1 => Role::Api,
            _ => Role::Worker(slot - 2),
        }
    }

    /// The words of all, in the order of their slots.
    pub const NAMES: [&str; 3] = ["coordinator", "api", "worker"];

    /// The role in a word.
    pub fn name(self) -> &'static str {
        Role::NAMES[self.slot().min(2)]
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Worker(number) => write!(f, "worker {number}"),
            _ => f.write_str(self.name()),
        }
    }
}

/// What all processes share.
#[derive(Debug)]
pub struct Heritage {
    /// The settings.
    pub settings: Settings,
    /// How many rows the board has.
    pub board_size: BoardSize,
    /// The board. The coordinator maps it for writing, the api for reading, nobody else at all.
    pub board: SharedMemory,
    /// The supervisor's roster.
    pub roster: SharedMemory,
    /// The status page of each role, by slot.
    pub pages: Vec<SharedMemory>,
    /// Where the API answers.
    pub listener: TcpListener,
    /// Closes when the supervisor is gone.
    pub lifeline: OwnedFd,
    /// The way from the api to the coordinator: what is asked outlives who asks, and is done by whoever lives
    /// then.
    pub requests: (Channel, Channel),
    /// Held as long as supervisor or coordinator lives: one daemon per state folder.
    pub lock: StateLock,
    /// What shuts the processes in.
    pub walls: Walls,
    /// When the daemon started, in milliseconds since 1970: no other start has the same.
    pub started: u64,
    /// What `ps` shows.
    pub title: Option<Title>,
    /// The names of users and groups, as they were at the start.
    pub accounts: Accounts,
    /// The token that the environment gave. Only the api keeps it.
    pub token: Option<File>,
    /// Likewise the one for reading.
    pub read_token: Option<File>,
}

impl Heritage {
    /// Makes what is shared.
    ///
    /// # Errors
    /// If the system has no memory or descriptors for it.
    pub fn new(
        settings: Settings,
        walls: Walls,
        listener: TcpListener,
        lifeline: OwnedFd,
        lock: StateLock,
    ) -> io::Result<Heritage> {
        let board_size = BoardSize::for_logs(settings.board_logs);
        let children = 2 + settings.workers;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Ok(Heritage {
            board: Board::memory(board_size)?,
            board_size,
            roster: Roster::memory(children)?,
            pages: (0..children).map(|_| StatusPage::memory()).collect::<io::Result<_>>()?,
            settings,
            listener,
            lifeline,
            requests: Channel::pair()?,
            lock,
            walls,
            started: now.map_or(0, |time| time.as_millis() as u64),
            title: None,
            accounts: Accounts::read(),
            token: None,
            read_token: None,
        })
    }

    /// Shows in `ps` which role this process has, and of which daemon it is: `tallyd: worker 0 /var/log/nginx
    /// on 127.0.0.1:8080`.
    pub fn set_title(&self, role: &str) {
        if let Some(title) = &self.title {
            let address = self.listener.local_addr().unwrap_or(self.settings.listen);
            title.set(&format!("tallyd: {role}"), &format!(" {} on {address}", watched(&self.settings.logs)));
        }
    }

    /// What a child does first: takes its name, keeps only the descriptors that its role needs, and opens its
    /// status page.
    pub fn enter(&self, role: Role, own: Option<RawFd>) -> io::Result<StatusPage> {
        self.set_title(&role.to_string());
        journal::set_role(&role.to_string());
        let page = StatusPage::write(&self.pages[role.slot()])?;
        let mut keep = vec![self.lifeline.as_raw_fd()];
        keep.extend(own);
        match role {
            Role::Worker(_) => {}
            Role::Coordinator => keep.extend([
                self.board.as_raw_fd(),
                self.lock.as_raw_fd(),
                self.requests.1.as_fd().as_raw_fd(),
            ]),
            Role::Api => {
                keep.extend([
                    self.board.as_raw_fd(),
                    self.roster.as_raw_fd(),
                    self.listener.as_raw_fd(),
                    self.requests.0.as_fd().as_raw_fd(),
                ]);
                keep.extend(self.pages.iter().map(SharedMemory::as_raw_fd));
                keep.extend(self.token.iter().chain(&self.read_token).map(AsRawFd::as_raw_fd));
            }
        }
        close_all_but(&keep)?;
        if matches!(role, Role::Worker(_)) {
            // A worker has nothing to save: it ends at once when it is asked to.
            unblock_stop();
        }
        Ok(page)
    }
}

/// A watched folder is shown in `ps` with so many characters at most: the last ones.
const FOLDER_CHARACTERS_MAX: usize = 40;

/// The watched folders, short enough for `ps`: the first one, and how many more there are.
fn watched(folders: &[PathBuf]) -> String {
    let Some(first) = folders.first() else { return String::new() };
    let first = shown_to_people(first.as_os_str().as_encoded_bytes());
    let length = first.chars().count();
    let short = match length.checked_sub(FOLDER_CHARACTERS_MAX) {
        None | Some(0) => first,
        Some(more) => format!("…{}", first.chars().skip(more + 1).collect::<String>()),
    };
    match folders.len() - 1 {
        0 => short,
        more => format!("{short} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_shortened_for_ps() {
        let check = |folders: &[&str], want: &str| {
            assert_eq!(watched(&folders.iter().map(PathBuf::from).collect::<Vec<_>>()), want)
        };
        check(&[], "");
        check(&["/var/log/nginx"], "/var/log/nginx");
        check(&["/var/log/nginx", "b", "c"], "/var/log/nginx and 2 more");
        check(
            &["/srv/customers/example.com/shared/logs/nginx/access"],
            "…rs/example.com/shared/logs/nginx/access",
        );
        check(&["a\x1b"], "a\\u{1b}");
    }
}
