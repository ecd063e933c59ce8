//! The listeners of events: all of them get the same bytes.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::sync::{Notify, Semaphore, watch};

/// The minimum number of connections, beside an eighth of all, that is reserved for other requests.
const LEFT_MIN: usize = 8;

/// The last event, for all listeners.
pub struct Events {
    pub last: watch::Sender<Told>,
    pub wanted: Notify,
    /// The places of the listeners.
    pub places: Arc<Semaphore>,
}

/// What listeners are told.
#[derive(Clone)]
pub enum Told {
    /// No event yet.
    Nothing,
    /// The last event.
    Change(Change),
    /// The process is about to end, and so are all streams.
    End,
}

/// An event.
#[derive(Clone)]
pub struct Change {
    pub generation: u64,
    pub bytes: Bytes,
}

impl Events {
    /// For as many listeners as there may be connections, minus the reserved ones. A listener is never closed
    /// to make room, so without a reserve listeners could keep all other clients out.
    pub fn new(connections_max: usize) -> Events {
        let places = connections_max.saturating_sub(LEFT_MIN.max(connections_max / 8)).max(1);
        Events {
            last: watch::Sender::new(Told::Nothing),
            wanted: Notify::new(),
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Ends all streams, which would keep the process from ending.
    pub fn end(&self) {
        self.last.send_replace(Told::End);
    }
}
