//! The connections that are open: how many there may be, and which one goes when there is no room for the
//! next.
//!
//! Whoever has sent no whole request for longest goes first. So thousands that send nothing push each other
//! out, and one that asks is heard. After them go those that do not read their answer. One that is being
//! answered is never closed for another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::api::http::request_head::Refusal;

/// Who takes nothing of an answer for so long may be closed for another.
const STALLED: Duration = Duration::from_secs(1);
/// So often one that has said something which was not read yet is passed over.
const SPARED_MAX: u32 = 3;
/// How often it is looked again for one that can be closed, if all are being answered.
const AGAIN: Duration = Duration::from_millis(20);

/// What a connection does, in the lowest bits of its state; above them the microseconds since the start at
/// which it began.
const BUSY: u64 = 0;
const WAITING: u64 = 1;
const STALLING: u64 = 2;
const BITS: u32 = 2;

pub struct Connections {
    room: Arc<Semaphore>,
    members: Mutex<HashMap<u64, Arc<Life>>>,
    next: AtomicU64,
    start: Instant,
}

/// One connection, as long as it is open.
pub struct Member {
    pub life: Arc<Life>,
    number: u64,
    connections: Arc<Connections>,
    _room: OwnedSemaphorePermit,
}

/// What is known of a connection.
pub struct Life {
    state: AtomicU64,
    start: Instant,
    chosen: AtomicBool,
    closing: Notify,
    /// How often it was passed over since its last request.
    spared: AtomicU32,
    /// How many requests were begun.
    calls: AtomicU64,
    /// The request, by its number, that is not served but refused.
    refusal: Mutex<Option<(u64, Refusal)>>,
}

impl Connections {
    pub fn new(most: usize) -> Arc<Connections> {
        Arc::new(Connections {
            room: Arc::new(Semaphore::new(most)),
            members: Mutex::default(),
            next: AtomicU64::new(0),
            start: Instant::now(),
        })
    }

    /// Lets one more in. If there is no room, another one is closed for it; if none can be, that is waited
    /// for.
    pub async fn enter(self: &Arc<Connections>) -> Member {
        let room = loop {
            if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
                break room;
            }
            self.shed();
            if let Ok(Ok(room)) = tokio::time::timeout(AGAIN, Arc::clone(&self.room).acquire_owned()).await {
                break room;
            }
        };
        let life = Arc::new(Life {
            state: AtomicU64::new(0),
            start: self.start,
            chosen: AtomicBool::new(false),
            closing: Notify::new(),
            spared: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            refusal: Mutex::default(),
        });
        life.waits();
        let number = self.next.fetch_add(1, Relaxed);
        self.members.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&life));
        Member { life, number, connections: Arc::clone(self), _room: room }
    }

    /// Closes one, if one can be.
    pub fn shed(&self) {
        let now = self.start.elapsed();
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            members
                .values()
                .filter(|life| !life.chosen.load(Relaxed))
                .map(|life| (life.state.load(Relaxed), life))
        };
        let kind = |state: u64| state & ((1 << BITS) - 1);
        let longest_waiting =
            open().filter(|(state, _)| kind(*state) == WAITING).min_by_key(|(state, _)| *state);
        let is_stalled = |state: u64| {
            kind(state) == STALLING && now.saturating_sub(Duration::from_micros(state >> BITS)) >= STALLED
        };
        let longest_stalled =
            || open().filter(|(state, _)| is_stalled(*state)).min_by_key(|(state, _)| *state);
        if let Some((_, life)) = longest_waiting.or_else(longest_stalled) {
            life.chosen.store(true, Relaxed);
            life.closing.notify_one();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.connections.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Life {
    fn set(&self, kind: u64) -> u64 {
        let state = (self.start.elapsed().as_micros() as u64) << BITS | kind;
        self.state.store(state, Relaxed);
        state
    }

    /// From now on, a request is waited for.
    pub fn waits(&self) {
        self.set(WAITING);
    }

    /// A request that was waited for is there.
    pub fn goes_on(&self) {
        self.set(BUSY);
    }

    /// Since when is a request waited for? None while one is being answered.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.state.load(Relaxed);
        (state & ((1 << BITS) - 1) == WAITING).then(|| self.start + Duration::from_micros(state >> BITS))
    }

    /// A request has come: says whether it is to be refused.
    pub fn called(&self) -> Option<Refusal> {
        self.set(BUSY);
        self.spared.store(0, Relaxed);
        let number = self.calls.fetch_add(1, Relaxed);
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.take_if(|(of, _)| *of == number).map(|(_, refusal)| refusal)
    }

    /// The request of this number is to be refused.
    pub fn refuse(&self, number: u64, refusal: Refusal) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, refusal));
    }

    /// The client takes nothing of what is sent, or takes it again.
    pub fn stalls(&self, stalls: bool) {
        let state = self.state.load(Relaxed);
        match state & ((1 << BITS) - 1) {
            BUSY if stalls => drop(self.set(STALLING)),
            STALLING if !stalls => drop(self.set(BUSY)),
            _ => {}
        }
    }

    /// It was chosen. Is it not to be closed after all? So it is if it is being answered by now; and if it
    /// has said something that nobody has read yet (`unread`): on a machine that is busy, it would be closed
    /// before it was heard. Then others go first.
    pub fn is_spared(&self, unread: impl FnOnce() -> bool) -> bool {
        let spared = match self.state.load(Relaxed) & ((1 << BITS) - 1) {
            BUSY => true,
            WAITING if unread() && self.spared.fetch_add(1, Relaxed) < SPARED_MAX => {
                self.waits();
                true
            }
            _ => false,
        };
        self.chosen.store(!spared, Relaxed);
        spared
    }

    /// Until it is to be closed for another one.
    pub async fn chosen(&self) {
        self.closing.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_sent_nothing_for_longest_goes_first() {
        let connections = Connections::new(3);
        let members = [connections.enter().await, connections.enter().await, connections.enter().await];
        let chosen = |connections: &Connections, members: &[Member]| {
            connections.shed();
            members.iter().map(|member| member.life.chosen.load(Relaxed)).collect::<Vec<_>>()
        };
        // The first has asked once since, the second is being answered.
        tokio::time::sleep(Duration::from_millis(2)).await;
        members[0].life.called();
        members[0].life.waits();
        members[1].life.called();
        assert_eq!(chosen(&connections, &members), [false, false, true]);
        assert_eq!(chosen(&connections, &members), [true, false, true]);
        assert_eq!(chosen(&connections, &members), [true, false, true]);
        // Who has taken nothing for long enough goes too.
        members[1].life.state.store(STALLING, Relaxed);
        assert_eq!(chosen(&connections, &members), [true, false, true]);
        tokio::time::sleep(STALLED).await;
        assert_eq!(chosen(&connections, &members), [true, true, true]);
    }

    #[tokio::test]
    async fn who_was_not_heard_yet_is_spared_for_a_while() {
        let connections = Connections::new(2);
        let members = [connections.enter().await, connections.enter().await];
        let life = &members[0].life;
        for _ in 0..SPARED_MAX {
            life.chosen.store(true, Relaxed);
            assert!(life.is_spared(|| true) && !life.chosen.load(Relaxed));
        }
        // The other one has waited longer now.
        tokio::time::sleep(Duration::from_millis(2)).await;
        life.waits();
        connections.shed();
        assert!(members[1].life.chosen.load(Relaxed) && !life.chosen.load(Relaxed));
        assert!(!life.is_spared(|| true) && !members[1].life.is_spared(|| false));
        // One that is being answered by now stays.
        life.called();
        assert!(life.is_spared(|| false));
    }

    #[tokio::test]
    async fn there_is_room_when_one_has_gone() {
        let connections = Connections::new(1);
        let first = connections.enter().await;
        let life = Arc::clone(&first.life);
        let goes = tokio::spawn(async move {
            first.life.chosen().await;
            drop(first);
        });
        let second = connections.enter().await;
        goes.await.unwrap();
        assert!(life.chosen.load(Relaxed) && !second.life.chosen.load(Relaxed));
        assert_eq!(connections.members.lock().unwrap().len(), 1);
    }

    #[test]
    fn one_request_is_refused() {
        let life = Life {
            state: AtomicU64::new(0),
            start: Instant::now(),
            chosen: AtomicBool::new(false),
            closing: Notify::new(),
            spared: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            refusal: Mutex::default(),
        };
        life.refuse(1, Refusal::TOO_SLOW);
        assert_eq!(life.called(), None);
        assert_eq!(life.waiting_since(), None);
        assert_eq!(life.called(), Some(Refusal::TOO_SLOW));
        assert_eq!(life.called(), None);
        life.waits();
        assert!(life.waiting_since().is_some());
    }
}
