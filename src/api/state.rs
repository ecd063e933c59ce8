//! What the handlers of all requests share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;

use crate::api::http::response_budget::Room;
use crate::api::http::token::Keys;
use crate::api::listeners::Events;
use crate::api::metrics::traffic::Traffic;
use crate::api::ranges::Ranges;
use crate::api::upload::uploads::Uploads;
use crate::api::wire;
use crate::board::{BoardReader, Roster, StatusPage};
use crate::sys::accounts::Accounts;
use crate::sys::socket::Channel;

/// What the routes share.
pub struct Api {
    pub sources: Arc<Sources>,
    /// What answers may take of the memory.
    pub room: Room,
    /// The last report and the generation it is of.
    pub report: Mutex<Option<(u64, Bytes)>>,
}

pub type Shared = State<Arc<Api>>;

/// What the routes read.
pub struct Sources {
    pub board: Arc<BoardReader>,
    pub ranges: Arc<Ranges>,
    pub events: Events,
    /// Who may do what.
    pub keys: Keys,
    /// Where the api answers, for the commands that `/docs` shows.
    pub address: String,
    /// The names under which the API may be asked.
    pub allowed_hosts: Vec<String>,
    /// The way to the coordinator.
    pub requests: Channel,
    /// The folder of the own partials.
    pub partials: PathBuf,
    pub uploads: Uploads,
    /// The names of users and groups.
    pub accounts: Accounts,
    pub roster: Roster,
    pub pages: Vec<StatusPage>,
    pub own: StatusPage,
    pub traffic: Traffic,
    /// When the daemon started, in milliseconds since 1970.
    pub started: u64,
    /// How the processes are shut in.
    pub sandbox: wire::Sandbox,
    /// What bounds the memory of the processes.
    pub memory: wire::Memory,
}
