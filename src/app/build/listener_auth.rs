//! What stands between callers and listeners: TLS, and the token that callers must show,
//! that of the admin listener included.
//!
//! Opened before anything is bound, so that a missing file is a problem of the
//! configuration; read anew when a file changes. What changes counts for new connections
//! and new calls. What cannot be used is logged with its file and changes nothing.

use std::sync::Arc;

use crate::base::problem::{Place, Problem};
use crate::config::ListenerConfig;
use crate::net::listen::access;
use crate::net::tls::authority::Authority;
use crate::net::tls::server::TlsAcceptor;
use crate::secret::SecretSource;
use crate::secret::token::Token;
use crate::secret::watch::FileWatch;

/// What stands between a listener's callers and its gateway.
#[derive(Clone, Debug, Default)]
pub struct ListenerAuth {
    /// Its TLS; `None` is plain.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// What callers must show; `None` is nothing.
    pub token: Option<Arc<Token>>,
    /// The users that may call, by number; `None` asks nobody.
    pub users: Option<Arc<[u32]>>,
    /// Who signs what it shows as an upstream's certificate, where it is a forward listener
    /// (`authorities.rs`).
    pub authority: Option<Arc<Authority>>,
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
/// and their tokens wherever those are; `watch` tells when they change. What is as in one of
/// the `known` is that very one: its TLS sessions can be resumed, and the command of its
/// token is not run once more.
pub fn open(
    listeners: &[ListenerConfig],
    admin_token: Option<&SecretSource>,
    known: &[ListenerAuth],
    watch: &FileWatch,
) -> (ListenerAuths, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut open = |listener: &ListenerConfig| {
        let tls = tls(listener).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let token = listener.caller_token.as_ref().and_then(|source| {
            let key = format!("listener.{}.caller_token", listener.name);
            token(source, key, known)
                .map_err(|problem| problems.push(problem))
                .ok()
        });
        let users = users(listener).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        ListenerAuth {
            users,
            tls: tls.map(|read| kept_acceptor(read, known, watch, listener.name.as_str())),
            token: token.map(|read| kept_token(read, watch, listener.name.as_str())),
            authority: None,
        }
    };
    let listeners = listeners.iter().map(&mut open).collect();
    let admin_token = admin_token.and_then(|source| {
        token(source, "admin.token".into(), known)
            .map_err(|problem| problems.push(problem))
            .ok()
    });
    let listener_auths = ListenerAuths {
        listeners,
        admin_token: admin_token.map(|read| kept_token(read, watch, "admin")),
    };
    (listener_auths, problems)
}

/// Every problem with the TLS and the users of `listeners`; tokens are not read.
pub fn judge(listeners: &[ListenerConfig]) -> Vec<Problem> {
    listeners
        .iter()
        .flat_map(|listener| [tls(listener).err(), users(listener).err()])
        .flatten()
        .collect()
}

/// The users of `listener`, by number.
fn users(listener: &ListenerConfig) -> Result<Option<Arc<[u32]>>, Problem> {
    let names = listener.allow_users.as_ref();
    let numbers = names.map(|names| names.iter().map(|name| access::user(name)).collect());
    numbers.transpose().map_err(|error: std::io::Error| {
        Problem::new(
            Place::Default,
            format!("listener.{}.allow_users", listener.name),
            error.to_string(),
            "write a number, or the name of a user that exists here",
        )
    })
}

fn tls(listener: &ListenerConfig) -> Result<Option<TlsAcceptor>, Problem> {
    let read = listener.tls.clone().map(TlsAcceptor::read).transpose();
    read.map_err(|error| {
        Problem::new(
            Place::Default,
            format!("listener.{}.tls.{}", listener.name, error.key),
            error.to_string(),
            error.fix,
        )
    })
}

/// `read`, or that of the `known` ones which is the same.
fn kept_acceptor(
    read: TlsAcceptor,
    known: &[ListenerAuth],
    watch: &FileWatch,
    listener: &str,
) -> Arc<TlsAcceptor> {
    let mut all = known.iter().filter_map(|known| known.tls.as_ref());
    if let Some(same) = all.find(|known| known.is_same_as(&read)) {
        return same.clone();
    }
    let acceptor = Arc::new(read);
    let listener = listener.to_owned();
    acceptor.follow(watch, move |outcome| match outcome {
        Ok(false) => {}
        Ok(true) => tracing::info!(
            listener.name = listener,
            "TLS files changed: new connections get the new certificate"
        ),
        Err(error) => tracing::error!(
            listener.name = listener,
            tls.key = error.key,
            error.detail = %error,
            error.fix = error.fix,
            "the new TLS files cannot be used, so the previous certificate stays in use"
        ),
    });
    acceptor
}

/// A token, or one that stays.
enum ReadToken {
    Known(Arc<Token>),
    New(Token),
}

fn token(source: &SecretSource, key: String, known: &[ListenerAuth]) -> Result<ReadToken, Problem> {
    let mut all = known.iter().filter_map(|known| known.token.as_ref());
    let known = all.find(|token| token.source() == source);
    if let Some(known) = known.filter(|token| matches!(token.source(), SecretSource::Command(_))) {
        return Ok(ReadToken::Known(known.clone()));
    }
    let read = Token::read(source.clone()).map_err(|error| {
        let why = format!("{}: {}", error.from, error.fault);
        Problem::new(Place::Default, key, why, error.fault.fix())
    })?;
    Ok(match known.filter(|known| known.is_same_as(&read)) {
        Some(same) => ReadToken::Known(same.clone()),
        None => ReadToken::New(read),
    })
}

fn kept_token(read: ReadToken, watch: &FileWatch, listener: &str) -> Arc<Token> {
    let token = match read {
        ReadToken::Known(token) => return token,
        ReadToken::New(token) => Arc::new(token),
    };
    let listener = listener.to_owned();
    token.follow(watch, move |outcome| match outcome {
        Ok(false) => {}
        Ok(true) => tracing::info!(
            listener.name = listener,
            "the caller token changed: new calls must show the new one"
        ),
        Err(error) => tracing::error!(
            listener.name = listener,
            error.detail = %error,
            "the new caller token cannot be used, so the previous one stays in use"
        ),
    });
    token
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
            forward: None,
            ca: None,
            access: SocketAccess::default(),
            allow_users: None,
            proxy_protocol: None,
        }
    }

    fn opened(listener: &ListenerConfig, known: &[ListenerAuth]) -> ListenerAuth {
        // One that watches would read a changed token into the known one before it is asked.
        let watch = FileWatch::waiting();
        let (mut listener_auths, problems) =
            open(std::slice::from_ref(listener), None, known, &watch);
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
