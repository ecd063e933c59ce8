//! The api process: reads the board and the store, answers over HTTP. It writes nothing but uploads; what
//! else is to be changed it asks the coordinator for.
//!
//! The only place with tokio. It may die at any time: the listener is the supervisor's, so connections wait
//! for its successor.

mod answer;
mod conditions;
mod confine;
#[cfg(debug_assertions)]
mod fault;
mod http;
mod listeners;
mod metrics;
mod nouns;
mod pages;
mod problem;
mod query;
mod ranges;
mod routes;
mod state;
mod table;
mod upload;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::board::{Activity, BoardReader, Roster, StatusPage};
use crate::exit::Exit;
use crate::heritage::{Heritage, Role};
use crate::journal;
use crate::store::{Host, folder};
use crate::sys::process::{unblock_ignored, unblock_stop};
use crate::sys::socket::{Channel, wait};

use http::accept;
use http::tls::Tls;
use http::token::Keys;
use listeners::Events;
use metrics::traffic::Traffic;
use nouns::events;
use ranges::Ranges;
use state::Sources;
use upload::uploads::Uploads;

/// How often the process shows that it lives.
const BEAT: Duration = Duration::from_millis(500);

/// Runs the api until it is told to stop or the supervisor is gone. Says its exit code.
pub fn run(heritage: &Heritage) -> i32 {
    let failed = |error: io::Error| {
        error!(%error, "the api failed");
        1
    };
    let own = match heritage.enter(Role::Api, None).and_then(|own| confine::shut_in(heritage).map(|()| own)) {
        Ok(own) => own,
        Err(error) => return failed(error),
    };
    let tls = heritage.settings.tls.as_ref().map(|(cert, key)| Tls::read(cert, key)).transpose();
    match Keys::read(heritage).and_then(|keys| Ok((keys, tls?))) {
        Ok((keys, tls)) => answer(heritage, own, keys, tls).map_or_else(failed, |()| 0),
        Err(sentence) => {
            journal::say(&format!("tallyd: {sentence}\n"));
            Exit::Setting as i32
        }
    }
}

/// Looks whether the api could start with these settings. Says its exit code, and on stderr what is wrong.
pub fn check(heritage: &Heritage) -> i32 {
    let tls = || heritage.settings.tls.as_ref().map_or(Ok(()), |(cert, key)| Tls::check(cert, key));
    match Keys::read(heritage).and_then(|_| tls()) {
        Ok(()) => 0,
        Err(sentence) => {
            journal::say(&format!("tallyd: {sentence}\n"));
            Exit::Setting as i32
        }
    }
}

/// An address as `curl` on this machine takes it.
fn address(mut listen: SocketAddr, is_https: bool) -> String {
    match listen.ip() {
        IpAddr::V4(all) if all.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(all) if all.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("{}{listen}", if is_https { "https://" } else { "" })
}

/// Ignores SIGUSR1 and SIGUSR2 from now on, with a line in the journal. To be called within the runtime.
fn note_ignored_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    for (kind, name) in [(SignalKind::user_defined1(), "SIGUSR1"), (SignalKind::user_defined2(), "SIGUSR2")] {
        let mut signals = signal(kind)?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                journal::note_ignored(name);
            }
        });
    }
    unblock_ignored();
    Ok(())
}

fn answer(heritage: &Heritage, own: StatusPage, keys: Keys, tls: Option<Tls>) -> io::Result<()> {
    let settings = &heritage.settings;
    let host =
        Host::new(&settings.host).ok_or_else(|| io::Error::other("the setting host is no plain word"))?;
    let lifeline = heritage.lifeline.try_clone()?;
    let listener = heritage.listener.try_clone()?;
    let connections_max = accept::connections_max(settings.connections_max)?;
    let sources = Arc::new(Sources {
        board: Arc::new(BoardReader::open(&heritage.board, heritage.board_size)?),
        partials: folder::of(&settings.state, &host),
        ranges: Arc::new(Ranges::new(
            &settings.state,
            host,
            settings.cache,
            settings.question,
            heritage.started,
        )),
        events: Events::new(connections_max),
        keys,
        address: address(listener.local_addr()?, tls.is_some()),
        allowed_hosts: settings.allowed_hosts.clone(),
        uploads: Uploads::new(settings),
        accounts: heritage.accounts.clone(),
        requests: Channel::from_fd(heritage.requests.0.as_fd().try_clone_to_owned()?),
        roster: Roster::read(&heritage.roster)?,
        pages: heritage.pages.iter().map(StatusPage::read).collect::<io::Result<_>>()?,
        own,
        traffic: Traffic::default(),
        started: heritage.started,
        sandbox: wire::Sandbox {
            setting: settings.sandbox.name(),
            landlock: heritage.walls.landlock,
            seccomp: heritage.walls.seccomp,
        },
        memory: wire::Memory {
            limit: settings.memory_limit,
            budget: settings.memory_budget,
            cache: settings.cache,
            worker: settings.worker_memory,
        },
    });
    std::thread::spawn(move || {
        while let Ok(ready) = wait(&[lifeline.as_fd()], Duration::from_secs(3600)) {
            if ready[0] {
                std::process::exit(0);
            }
        }
    });
    confine::watch(heritage);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tallyd-api")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        note_ignored_signals()?;
        unblock_stop();
        let beating = Arc::clone(&sources);
        // Not a task beside others: it would wait behind thousands of requests, and who is only busy would be
        // taken for hung.
        let beats = async move {
            let mut beat = tokio::time::interval(BEAT);
            loop {
                beat.tick().await;
                beating.own.beat();
            }
        };
        sources.own.set_activity(Activity::Idle);
        let clearing = Arc::clone(&sources);
        tokio::task::spawn_blocking(move || upload::clear(&clearing));
        events::spawn(&sources);
        let ending = Arc::clone(&sources);
        let serving = accept::serve(
            listener,
            routes::router(Arc::clone(&sources)),
            tls,
            connections_max,
            &sources.traffic,
            async move {
                stop.recv().await;
                ending.events.end();
            },
        );
        tokio::select! {
            () = beats => {}
            () = serving => {}
        }
        sources.uploads.abandon();
        io::Result::Ok(())
    })?;
    // A range that is being worked out is not waited for.
    runtime.shutdown_background();
    Ok(())
}
