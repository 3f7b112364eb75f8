//! Finding the headset that runs here, and asking it.
//!
//! The commands that look at a running headset share this. They go by its admin socket, which
//! asks for no token, or by the admin address. Without a word from the user they look where a
//! headset puts its socket by itself, and at last at the admin address; the configuration,
//! where there is one that can be read, says more exactly where. How it is asked is in
//! `instance/asking.rs`.

mod asking;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::net::TcpStream;

pub use self::asking::{Instance, Reply};
use self::asking::{InstanceWay, listens};
use crate::app::build::kind_keys;
use crate::app::serve::admin_socket::{self, UsualFolder};
use crate::base::one_by_one::one_by_one;
use crate::cli::exit;
use crate::cli::quick::Quick;
use crate::config::url::HttpUrl;
use crate::config::{AdminSocket, Config, load};
use crate::secret::{SecretError, SecretSource};

/// Which running headset is meant.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which headset")]
pub struct InstanceArgs {
    /// Its admin socket.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Its admin address, such as http://127.0.0.1:9464.
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    pub admin: Option<String>,
    /// A file with the admin token, for the admin address.
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// The configuration that it was started with, which says where it is
    /// [env: HEADSET_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// There is none where one was looked for.
    #[error(
        "no headset runs here (looked at {}); start one, or say where it is with --socket, \
         --admin or --config", .looked.join(", ")
    )]
    NotRunning {
        /// Where, and what was found there.
        looked: Vec<String>,
    },
    /// There are several, and nobody said which.
    #[error("several headsets run here; choose one with --socket {}", .0.join(" or --socket "))]
    Several(Vec<String>),
    /// `--admin` is no address.
    #[error(
        "--admin {0}: this is no URL of an admin listener; write one such as http://127.0.0.1:9464"
    )]
    Url(String),
    /// The admin token cannot be read.
    #[error("the admin token cannot be used")]
    Token(#[from] SecretError),
    /// Whoever listens is somebody else.
    #[error("{0} is served by another user; this may be no headset, so it was asked nothing")]
    Foreign(String),
    /// Whoever listens does not answer.
    #[error("the headset at {place} does not answer ({why}); look at its log")]
    Silent {
        /// Where.
        place: String,
        /// What happened instead.
        why: String,
    },
    /// It does not let us.
    #[error("the headset at {place} refuses: {why}")]
    Refused {
        /// Where.
        place: String,
        /// What it says.
        why: String,
    },
    /// Something else answered.
    #[error("what answers at {0} is no headset, or an older one; look at what listens there")]
    Strange(String),
}

impl InstanceError {
    /// Its exit code (sysexits(3)).
    pub fn exit_code(&self) -> u8 {
        match self {
            InstanceError::Several(_) | InstanceError::Url(_) => exit::EX_USAGE,
            InstanceError::Token(_) => exit::EX_CONFIG,
            InstanceError::Foreign(_) | InstanceError::Refused { .. } => exit::EX_NOPERM,
            InstanceError::NotRunning { .. }
            | InstanceError::Silent { .. }
            | InstanceError::Strange(_) => exit::EX_UNAVAILABLE,
        }
    }
}

impl InstanceArgs {
    /// Finds it. Asks nobody for anything yet, but sees whether somebody listens.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub async fn find(&self) -> Result<Instance, InstanceError> {
        if let Some(socket) = &self.socket {
            return match listens(socket).await {
                Ok(()) => Ok(Instance::by(InstanceWay::Socket(socket.clone()))),
                Err(error) => Err(InstanceError::NotRunning {
                    looked: vec![told(socket, &error)],
                }),
            };
        }
        if let Some(url) = &self.admin {
            let admin = admin_authority(url).ok_or_else(|| InstanceError::Url(url.clone()))?;
            return self.at_port(admin, None).await;
        }
        let config = self.load();
        let mut looked = Vec::new();
        if self.config.is_some() && config.is_none() {
            looked.push("--config, which cannot be used (`headset check` says why)".to_owned());
        }
        let mut live = Vec::new();
        for socket in candidates(config.as_ref(), &mut looked) {
            match listens(&socket).await {
                Ok(()) => live.push(socket),
                Err(error) => looked.push(told(&socket, &error)),
            }
        }
        match live.len() {
            0 => {}
            1 => return Ok(Instance::by(InstanceWay::Socket(live.remove(0)))),
            _ => {
                let all = live.iter().map(|socket| socket.display().to_string());
                return Err(InstanceError::Several(all.collect()));
            }
        }
        let bind = config.as_ref().map(|config| config.admin.bind);
        let address = reachable(bind.unwrap_or(USUAL_ADMIN));
        match TcpStream::connect(address).await {
            Ok(_) => self.at_port(address.to_string(), config).await,
            Err(error) => {
                looked.push(format!("http://{address}: {error}"));
                Err(InstanceError::NotRunning { looked })
            }
        }
    }

    /// The configuration, where there is one that can be used.
    fn load(&self) -> Option<Config> {
        let quick = Quick {
            config: self.config.clone(),
            shortcuts: Default::default(),
        };
        load::load(&quick.sources(), &kind_keys()).ok()
    }

    async fn at_port(
        &self,
        authority: String,
        config: Option<Config>,
    ) -> Result<Instance, InstanceError> {
        let named = self.admin_token_file.clone().map(SecretSource::File);
        let token = match named.or_else(|| config?.admin.token) {
            Some(source) => Some(source.read().await?),
            None => None,
        };
        Ok(Instance::by(InstanceWay::Port { authority, token }))
    }
}

/// Where the admin listener stands unless somebody says otherwise.
const USUAL_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Where to look for a socket; what cannot be looked at is told in `looked`.
fn candidates(config: Option<&Config>, looked: &mut Vec<String>) -> Vec<PathBuf> {
    let store = match config.map(|config| (&config.admin.socket, config.store_folder())) {
        Some((AdminSocket::At(path), _)) => return vec![path.clone()],
        Some((AdminSocket::None, _)) => return Vec::new(),
        Some((AdminSocket::Usual, store)) => store,
        None => None,
    };
    let port = config.map_or(0, |config| config.admin.bind.port());
    let mut sockets = Vec::new();
    for UsualFolder { path, .. } in admin_socket::usual_folders(store) {
        let named = admin_socket::file_name(port);
        match std::fs::read_dir(&path) {
            Ok(entries) => {
                let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
                let meant = |file: &PathBuf| match port {
                    0 => admin_socket::is_named_so(file),
                    _ => file.ends_with(&named),
                };
                let before = sockets.len();
                sockets.extend(files.filter(meant));
                if sockets.len() == before {
                    looked.push(format!("{}: no socket", path.display()));
                }
            }
            Err(error) => looked.push(told(&path, &error)),
        }
    }
    let each_once: BTreeSet<PathBuf> = one_by_one(sockets);
    each_once.into_iter().collect()
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), error.kind())
}

/// An address that is listened on, as one to connect to.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

/// Host and port of an `http://` URL without a path.
fn admin_authority(url: &str) -> Option<String> {
    let url = HttpUrl::parse(url).ok()?;
    let authority = url.origin.to_string();
    let authority = authority.strip_prefix("http://")?;
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let bare = url.path.trim_matches('/').is_empty();
    bare.then(|| match has_port {
        true => authority.to_owned(),
        false => format!("{authority}:80"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_is_a_plain_url_without_a_path() {
        for (url, authority) in [
            ("http://127.0.0.1:9464", Some("127.0.0.1:9464")),
            ("http://[::1]:9464/", Some("[::1]:9464")),
            ("http://pod.example.com", Some("pod.example.com:80")),
            ("https://127.0.0.1:9464", None),
            ("http://127.0.0.1:9464/status", None),
            ("127.0.0.1:9464", None),
        ] {
            assert_eq!(admin_authority(url).as_deref(), authority, "{url}");
        }
    }

    #[test]
    fn what_is_bound_everywhere_is_reached_on_loopback() {
        for (bind, to) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:1", "[::1]:1"),
            ("10.1.2.3:9464", "10.1.2.3:9464"),
        ] {
            assert_eq!(reachable(bind.parse().unwrap()), to.parse().unwrap());
        }
    }
}
