//! What stands between callers and listeners: TLS, and the token that callers must show,
//! that of the admin listener included.
//!
//! Opened before anything is bound, so that a missing file is a problem of the
//! configuration; read anew when a file changes. What changes counts for new connections
//! and new calls. What cannot be used is logged with its file and changes nothing.

use std::sync::Arc;

use crate::base::problem::{Place, Problem};
use crate::config::ListenerConfig;
use crate::net::tls::server::TlsAcceptor;
use crate::secret::SecretSource;
use crate::secret::token::Token;

/// What stands between a listener's callers and its gateway.
#[derive(Clone, Debug, Default)]
pub struct ListenerAuth {
    /// Its TLS; `None` is plain.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// What callers must show; `None` is nothing.
    pub token: Option<Arc<Token>>,
}

/// Those of a configuration.
#[derive(Debug, Default)]
pub struct ListenerAuths {
    /// Those of the application listeners, in their order.
    pub listeners: Vec<ListenerAuth>,
    /// What the admin listener asks for; `None` is nothing.
    pub admin_token: Option<Arc<Token>>,
}

/// Those of `listeners` and of the admin listener, and every problem. Reads their files,
/// and their tokens wherever those are. What is as in one of the `known` is that very one:
/// its TLS sessions can be resumed, and the command of its token is not run once more.
pub fn open(
    listeners: &[ListenerConfig],
    admin_token: Option<&SecretSource>,
    known: &[ListenerAuth],
) -> (ListenerAuths, Vec<Problem>) {
    let mut problems = Vec::new();
    let listeners = listeners
        .iter()
        .map(|listener| ListenerAuth {
            tls: acceptor(listener, known).unwrap_or_else(|problem| {
                problems.push(problem);
                None
            }),
            token: {
                let key = || format!("listener.{}.caller_token", listener.name);
                token(listener.caller_token.as_ref(), key, known, &mut problems)
            },
        })
        .collect();
    let admin_token = token(admin_token, || "admin.token".into(), known, &mut problems);
    let listener_auths = ListenerAuths {
        listeners,
        admin_token,
    };
    (listener_auths, problems)
}

/// Every problem with the TLS of `listeners`; tokens are not read.
pub fn judge(listeners: &[ListenerConfig]) -> Vec<Problem> {
    listeners
        .iter()
        .filter_map(|listener| acceptor(listener, &[]).err())
        .collect()
}

fn acceptor(
    listener: &ListenerConfig,
    known: &[ListenerAuth],
) -> Result<Option<Arc<TlsAcceptor>>, Problem> {
    let Some(files) = listener.tls.clone() else {
        return Ok(None);
    };
    let acceptor = TlsAcceptor::read(files).map_err(|error| {
        Problem::new(
            Place::Default,
            format!("listener.{}.tls.{}", listener.name, error.key),
            error.to_string(),
            error.fix,
        )
    })?;
    let mut known = known
        .iter()
        .filter_map(|listener_auth| listener_auth.tls.as_ref());
    let same = known.find(|known| known.is_same_as(&acceptor)).cloned();
    Ok(Some(same.unwrap_or_else(|| Arc::new(acceptor))))
}

fn token(
    source: Option<&SecretSource>,
    key: impl FnOnce() -> String,
    known: &[ListenerAuth],
    problems: &mut Vec<Problem>,
) -> Option<Arc<Token>> {
    let source = source?;
    let mut known = known
        .iter()
        .filter_map(|listener_auth| listener_auth.token.as_ref());
    let known = known.find(|token| token.source() == source);
    if let Some(known) = known.filter(|token| matches!(token.source(), SecretSource::Command(_))) {
        return Some(known.clone());
    }
    match Token::read(source.clone()) {
        Ok(token) => {
            let same = known.filter(|known| known.is_same_as(&token)).cloned();
            Some(same.unwrap_or_else(|| Arc::new(token)))
        }
        Err(error) => {
            let why = format!("{}: {}", error.from, error.fault);
            problems.push(Problem::new(Place::Default, key(), why, error.fault.fix()));
            None
        }
    }
}

impl ListenerAuth {
    /// Reads anew whatever is made of one of the `changed` sources.
    pub fn reread(&self, listener: &str, changed: &[SecretSource]) {
        if let Some(acceptor) = &self.tls
            && acceptor
                .files()
                .any(|path| changed.contains(&SecretSource::File(path.to_owned())))
        {
            match acceptor.reread() {
                Ok(false) => {}
                Ok(true) => tracing::info!(
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
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(listener.name = listener, "the token of a listener was read")
                }
                Err(error) => tracing::error!(
                    listener.name = listener,
                    error.detail = %error,
                    "the new token of a listener cannot be used, so the old one stays"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;
    use crate::base::temp_folder::TempFolder;
    use crate::config::{Bind, ListenerTls, SocketAccess};

    fn listener(folder: &TempFolder, token: SecretSource) -> ListenerConfig {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        ListenerConfig {
            name: Name::parse("app").unwrap(),
            bind: Bind::Tcp(([127, 0, 0, 1], 0).into()),
            hosts: Vec::new(),
            origins: Vec::new(),
            caller_token: Some(token),
            dangerous_allow_any_caller: false,
            tls: Some(ListenerTls {
                cert: folder.write("cert", &pair.cert.pem()),
                key: folder.write("key", &pair.signing_key.serialize_pem()),
                client_ca: None,
            }),
            access: SocketAccess::default(),
        }
    }

    fn opened(listener: &ListenerConfig, known: &[ListenerAuth]) -> ListenerAuth {
        let (mut listener_auths, problems) = open(std::slice::from_ref(listener), None, known);
        assert!(problems.is_empty(), "{problems:?}");
        listener_auths.listeners.remove(0)
    }

    fn same(one: &ListenerAuth, other: &ListenerAuth) -> (bool, bool) {
        let tls = one.tls.as_ref().zip(other.tls.as_ref());
        let token = one.token.as_ref().zip(other.token.as_ref());
        (
            tls.is_some_and(|(one, other)| Arc::ptr_eq(one, other)),
            token.is_some_and(|(one, other)| Arc::ptr_eq(one, other)),
        )
    }

    #[test]
    fn what_is_as_it_was_is_the_same_and_what_changed_is_new() {
        let folder = TempFolder::new();
        let token = SecretSource::File(folder.write("token", "s3cret"));
        let before = listener(&folder, token.clone());
        let first = opened(&before, &[]);
        let second = opened(&before, std::slice::from_ref(&first));
        assert_eq!(same(&first, &second), (true, true));
        folder.write("token", "an0ther");
        let third = opened(&before, std::slice::from_ref(&first));
        assert_eq!(same(&first, &third), (true, false));
        let other = listener(&folder, token);
        let fourth = opened(&other, std::slice::from_ref(&third));
        assert_eq!(same(&third, &fourth), (false, true));
    }

    #[test]
    fn a_command_runs_once_for_as_long_as_it_is_the_same() {
        let folder = TempFolder::new();
        let runs = folder.path().join("runs");
        let script = |word: &str| {
            let text = format!("echo run >> {}; echo {word}", runs.display());
            SecretSource::Command(["/bin/sh", "-c", &text].map(String::from).to_vec().into())
        };
        let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
        let first = opened(&listener(&folder, script("s3cret")), &[]);
        assert_eq!(count(), 1);
        let known = std::slice::from_ref(&first);
        let second = opened(&listener(&folder, script("s3cret")), known);
        assert!(same(&first, &second).1);
        assert_eq!(count(), 1);
        opened(&listener(&folder, script("an0ther")), known);
        assert_eq!(count(), 2);
    }
}
