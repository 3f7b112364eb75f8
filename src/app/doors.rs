//! The doors of listeners: their TLS, and the token that their callers must show.
//!
//! Opened before anything is bound, so that a missing file is a problem of the
//! configuration; then watched. What changes counts for new connections and new calls.
//! What will not do is logged with its file and changes nothing.

use std::path::Path;
use std::sync::Arc;

use crate::app::plan::PlannedListener;
use crate::base::problem::{Place, Problem};
use crate::config::Listener;
use crate::gateway::stack::admit::CallerToken;
use crate::net::tls::server::Doorman;
use crate::secret::Source;
use crate::secret::watch::Watch;

/// What stands between a listener's callers and its gateway.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Its TLS; `None` is plain.
    pub tls: Option<Arc<Doorman>>,
    /// What callers must show; `None` is nothing.
    pub token: Option<Arc<CallerToken>>,
}

/// The door of each of `listeners`, in their order, and every problem. Reads their
/// files, and their tokens wherever those are.
pub fn open(listeners: &[Listener]) -> (Vec<Door>, Vec<Problem>) {
    let mut problems = Vec::new();
    let doors = listeners
        .iter()
        .map(|listener| Door {
            tls: doorman(listener).unwrap_or_else(|problem| {
                problems.push(problem);
                None
            }),
            token: token(listener).unwrap_or_else(|problem| {
                problems.push(problem);
                None
            }),
        })
        .collect();
    (doors, problems)
}

/// Every problem with the TLS of `listeners`; tokens are not read.
pub fn judge(listeners: &[Listener]) -> Vec<Problem> {
    listeners
        .iter()
        .filter_map(|listener| doorman(listener).err())
        .collect()
}

fn doorman(listener: &Listener) -> Result<Option<Arc<Doorman>>, Problem> {
    let Some(files) = listener.tls.clone() else {
        return Ok(None);
    };
    let doorman = Doorman::read(files).map_err(|error| {
        Problem::new(
            Place::Default,
            format!("listener.{}.tls.{}", listener.name, error.key),
            error.to_string(),
            error.fix,
        )
    })?;
    Ok(Some(Arc::new(doorman)))
}

fn token(listener: &Listener) -> Result<Option<Arc<CallerToken>>, Problem> {
    let Some(source) = listener.caller_token.clone() else {
        return Ok(None);
    };
    let token = CallerToken::read(source).map_err(|error| {
        Problem::new(
            Place::Default,
            format!("listener.{}.caller_token", listener.name),
            format!("{}: {}", error.from, error.fault),
            error.fault.fix(),
        )
    })?;
    Ok(Some(Arc::new(token)))
}

/// Keeps the doors of `listeners` as their files say, for as long as it is polled.
/// Needs a tokio runtime with time.
pub fn watch(listeners: &[PlannedListener]) -> impl Future<Output = ()> + use<> {
    let doors: Vec<(String, Door)> = listeners
        .iter()
        .map(|listener| (listener.config.name.to_string(), listener.door.clone()))
        .collect();
    let tls = doors.iter().filter_map(|(_, door)| door.tls.as_ref());
    let files = tls.flat_map(|doorman| doorman.files().map(file));
    let tokens = doors.iter().filter_map(|(_, door)| door.token.as_ref());
    let tokens = tokens.map(|token| token.source().clone());
    let watched: Vec<Source> = files.chain(tokens).collect();
    let mut watch = Watch::start(watched.clone());
    // What changed between opening the doors and watching them was told to nobody.
    let mut changed = watched;
    changed.retain(|source| matches!(source, Source::File(_)));
    async move {
        loop {
            for (name, door) in &doors {
                door.reread(name, &changed);
            }
            changed = watch.changed().await;
        }
    }
}

fn file(path: &Path) -> Source {
    Source::File(path.to_owned())
}

impl Door {
    /// Reads anew whatever is made of one of the `changed` sources.
    fn reread(&self, listener: &str, changed: &[Source]) {
        if let Some(doorman) = &self.tls
            && doorman.files().any(|path| changed.contains(&file(path)))
        {
            match doorman.reread() {
                Ok(()) => tracing::info!(
                    listener.name = listener,
                    "the certificate of a listener was read"
                ),
                Err(error) => tracing::error!(
                    listener.name = listener,
                    tls.key = error.key,
                    error.detail = %error,
                    error.fix = error.fix,
                    "new TLS files cannot be used, so the old certificate stays"
                ),
            }
        }
        if let Some(token) = &self.token
            && changed.contains(token.source())
        {
            match token.reread() {
                Ok(()) => tracing::info!(
                    listener.name = listener,
                    "the caller token of a listener was read"
                ),
                Err(error) => tracing::error!(
                    listener.name = listener,
                    error.detail = %error,
                    "the new caller token cannot be used, so the old one stays"
                ),
            }
        }
    }
}
