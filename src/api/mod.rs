//! The api process: reads the board and the store, answers over HTTP. It writes nothing but uploads; what else is to be changed it asks the coordinator for.
//!
//! The only place with tokio. It may die at any time: the listener is the supervisor's, so connections wait for its successor.

mod changes;
mod problem;
mod ranges;
mod routes;
mod serve;
mod token;
mod upload;
mod wire;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::board::{Activity, BoardReader, Roster, StatusPage};
use crate::heritage::{Heritage, Role};
use crate::journal;
use crate::store::{Host, folder};
use crate::sys::process::unblock_stop;
use crate::sys::socket::{Channel, wait};

use ranges::Ranges;
use token::Token;
use upload::Uploads;

/// How often the process shows that it lives.
const BEAT: Duration = Duration::from_millis(500);
/// How the process ends if a setting keeps it from starting: the supervisor then ends everything.
const SETTING: i32 = 2;

/// Runs the api until it is told to stop or the supervisor is gone. Says its exit code.
pub fn run(heritage: &Heritage) -> i32 {
    let failed = |error: io::Error| {
        error!(%error, "the api cannot go on");
        1
    };
    let own = match heritage.enter(Role::Api, None) {
        Ok(own) => own,
        Err(error) => return failed(error),
    };
    match Token::read(heritage.token.as_ref(), heritage.settings.token_file.as_deref()) {
        Ok(token) => answer(heritage, own, token).map_or_else(failed, |()| 0),
        Err(sentence) => {
            journal::say(&format!("tallyd: {sentence}\n"));
            SETTING
        }
    }
}

/// What the routes read.
struct Sources {
    board: Arc<BoardReader>,
    ranges: Arc<Ranges>,
    /// What who changes something has to show.
    token: Option<Token>,
    /// The way to the coordinator.
    requests: Channel,
    /// The folder of the own partials.
    partials: PathBuf,
    uploads: Uploads,
    roster: Roster,
    pages: Vec<StatusPage>,
    own: StatusPage,
    started: u64,
}

fn answer(heritage: &Heritage, own: StatusPage, token: Option<Token>) -> io::Result<()> {
    let settings = &heritage.settings;
    let host = Host::new(&settings.host).ok_or_else(|| io::Error::other("the setting host is no plain word"))?;
    let sources = Arc::new(Sources {
        board: Arc::new(BoardReader::open(&heritage.board, heritage.board_size)?),
        partials: folder::of(&settings.state, &host),
        ranges: Arc::new(Ranges::new(&settings.state, host, settings.cache, heritage.started)),
        token,
        uploads: Uploads::new(settings),
        requests: Channel::from_fd(heritage.requests.0.as_fd().try_clone_to_owned()?),
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
        let clearing = Arc::clone(&sources);
        tokio::task::spawn_blocking(move || upload::clear(&clearing));
        serve::serve(listener, routes::router(Arc::clone(&sources)), async move {
            stop.recv().await;
        })
        .await;
        sources.uploads.abandon();
        io::Result::Ok(())
    })?;
    // A range that is being worked out is not waited for.
    runtime.shutdown_background();
    Ok(())
}
