//! The api process: reads the board, answers over HTTP. It writes nothing.
//!
//! The only place with tokio. It may die at any time: the listener is the supervisor's, so connections wait for its successor.

mod problem;
mod routes;
mod serve;
mod wire;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::board::{Activity, BoardReader, Roster, StatusPage};
use crate::heritage::{Heritage, Role};
use crate::sys::process::unblock_stop;
use crate::sys::socket::wait;

/// How often the process shows that it lives.
const BEAT: Duration = Duration::from_millis(500);

/// Runs the api until it is told to stop or the supervisor is gone. Says its exit code.
pub fn run(heritage: &Heritage) -> i32 {
    match answer(heritage) {
        Ok(()) => 0,
        Err(error) => {
            error!(%error, "the api cannot go on");
            1
        }
    }
}

/// What the routes read.
struct Sources {
    board: BoardReader,
    roster: Roster,
    pages: Vec<StatusPage>,
    own: StatusPage,
    started: u64,
}

fn answer(heritage: &Heritage) -> io::Result<()> {
    let own = heritage.enter(Role::Api, None)?;
    let sources = Arc::new(Sources {
        board: BoardReader::open(&heritage.board, heritage.board_size)?,
        roster: Roster::read(&heritage.roster)?,
        pages: heritage.pages.iter().map(StatusPage::read).collect::<io::Result<_>>()?,
        own,
        started: heritage.started,
    });
    let lifeline = heritage.lifeline.try_clone()?;
    std::thread::spawn(move || {
        while let Ok(ready) = wait(&[lifeline.as_fd()], Duration::from_secs(3600)) {
            if ready[0] {
                std::process::exit(0);
            }
        }
    });
    let listener = heritage.listener.try_clone()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("tallyd-api").enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        unblock_stop();
        let beating = Arc::clone(&sources);
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(BEAT);
            loop {
                beat.tick().await;
                beating.own.beat();
            }
        });
        sources.own.set_activity(Activity::Idle);
        serve::serve(listener, routes::router(sources), async move {
            stop.recv().await;
        })
        .await;
        Ok(())
    })
}
