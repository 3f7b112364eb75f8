//! Reads the files of listeners anew when they change: certificates, keys, tokens.

use std::path::Path;

use tokio::task::JoinSet;

use crate::app::build::Plan;
use crate::app::build::listener_auth::ListenerAuth;
use crate::secret::SecretSource;
use crate::secret::watch::Watch;

/// Keeps what listeners of `plan` ask of callers as their files say, for as long as it is polled. Needs a tokio
/// runtime with time.
pub fn watch(plan: &Plan) -> impl Future<Output = ()> + use<> {
    let names = plan.listeners.iter();
    let names = names.map(|listener| listener.config.name.to_string());
    let names = names.chain(["admin".to_owned()]);
    let listener_auths: Vec<(String, ListenerAuth)> = names.zip(plan.listener_auths()).collect();
    let tls = listener_auths
        .iter()
        .filter_map(|(_, listener_auth)| listener_auth.tls.as_ref());
    let files = tls.flat_map(|acceptor| acceptor.files().map(file));
    let tokens = listener_auths
        .iter()
        .filter_map(|(_, listener_auth)| listener_auth.token.as_ref());
    let tokens = tokens.map(|token| token.source().clone());
    let watched: Vec<SecretSource> = files.chain(tokens).collect();
    let mut watch = Watch::start(watched.clone());
    // What changed between opening them and watching them was told to nobody.
    let mut changed = watched;
    changed.retain(|source| matches!(source, SecretSource::File(_)));
    async move {
        loop {
            let listener_auths = listener_auths.clone();
            // A disk may take its time, and the control thread must not.
            let reread = tokio::task::spawn_blocking(move || {
                for (name, listener_auth) in &listener_auths {
                    listener_auth.reread(name, &changed);
                }
            });
            if let Err(error) = reread.await {
                tracing::error!(error.detail = %error, "files of listeners could not be read");
            }
            changed = watch.changed().await;
        }
    }
}

/// The task that watches doors; it ends with this.
#[derive(Debug, Default)]
pub struct AuthWatch(JoinSet<()>);

impl AuthWatch {
    /// Goes on with `watch` instead of what was watched before.
    pub fn turn_to(&mut self, watch: impl Future<Output = ()> + Send + 'static) {
        self.0.abort_all();
        self.0.spawn(watch);
    }
}

fn file(path: &Path) -> SecretSource {
    SecretSource::File(path.to_owned())
}
