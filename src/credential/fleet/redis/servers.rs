//! Which server is asked first: the one that is named, the one that Sentinels name, or any
//! node of a cluster.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::{PushInfo, cmd};
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::dial::{Dialer, ServerConnection, ServerFault, StoreLogin, named, shown};
use crate::config::shared_store::{SharedStoreConfig, StoreLayout};
use crate::config::url::HttpOrigin;

/// How many nodes of a cluster are remembered beside those that are configured.
const NODES: usize = 1000;

/// See the module.
pub(super) struct Servers {
    layout: StoreLayout,
    login: StoreLogin,
    /// Those that can be asked; whoever answered last comes first.
    order: Mutex<Vec<HttpOrigin>>,
}

impl Servers {
    pub(super) fn new(config: &SharedStoreConfig) -> Servers {
        let order = std::iter::once(&config.origin).chain(&config.nodes);
        Servers {
            layout: config.layout.clone(),
            login: StoreLogin {
                database: config.database,
                username: config.username.clone(),
                password: config.password.clone(),
            },
            order: Mutex::new(order.cloned().collect()),
        }
    }

    /// As whom one logs in to a server.
    pub(super) fn login(&self) -> &StoreLogin {
        &self.login
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.layout == StoreLayout::Cluster
    }

    /// A node of the cluster was named by another.
    pub(super) fn remember(&self, at: &HttpOrigin) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if order.len() < NODES && !order.contains(at) {
            order.push(at.clone());
        }
    }

    fn order(&self) -> Vec<HttpOrigin> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.clone()
    }

    /// `at` is asked first from now on, or last.
    fn moves(&self, at: &HttpOrigin, first: bool) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = order.iter().position(|one| one == at) else {
            return;
        };
        match first {
            true => order[..=place].rotate_right(1),
            false => order[place..].rotate_left(1),
        }
    }

    /// A connection to the first that will do, each within `limit`.
    pub(super) async fn connect(
        &self,
        dialer: &Dialer,
        limit: Duration,
        pushes: &broadcast::Sender<PushInfo>,
    ) -> Result<ServerConnection, ServerFault> {
        let mut lost = Vec::new();
        for at in self.order() {
            let made = async {
                match &self.layout {
                    StoreLayout::Sentinel {
                        service,
                        username,
                        password,
                    } => {
                        let login = StoreLogin {
                            database: 0,
                            username: username.clone(),
                            password: password.clone(),
                        };
                        let named = ask_sentinel(dialer, &at, &login, service).await?;
                        let made = dialer.dial(&named, &self.login, Some(pushes.clone())).await;
                        let made = made.map_err(|fault| ServerFault {
                            why: format!(
                                "{} (which it names as {service}): {}",
                                shown(&named),
                                fault.why
                            ),
                            ..fault
                        })?;
                        is_writable(&made, service)?;
                        Ok(made)
                    }
                    _ => {
                        let made = dialer.dial(&at, &self.login, Some(pushes.clone())).await?;
                        fits(&made, &self.layout)?;
                        Ok(made)
                    }
                }
            };
            let made: Result<ServerConnection, ServerFault> = match timeout(limit, made).await {
                Ok(made) => made,
                Err(_) => Err(format!("it did not answer within {limit:?}").into()),
            };
            match made {
                Ok(made) => {
                    self.moves(&at, true);
                    return Ok(made);
                }
                Err(fault) => {
                    self.moves(&at, false);
                    lost.push((at, fault));
                }
            }
        }
        // Where there is but one, the caller names it.
        if lost.len() == 1
            && let Some((_, fault)) = lost.pop()
        {
            return Err(fault);
        }
        let told = lost
            .iter()
            .map(|(at, fault)| format!("{}: {}", shown(at), fault.why));
        Err(ServerFault {
            why: told.collect::<Vec<_>>().join("; "),
            lasts: lost.iter().all(|(_, fault)| fault.lasts),
        })
    }
}

/// Where the Sentinel `at` says that the server is which can be written.
async fn ask_sentinel(
    dialer: &Dialer,
    at: &HttpOrigin,
    login: &StoreLogin,
    service: &str,
) -> Result<HttpOrigin, ServerFault> {
    let mut sentinel = dialer.dial(at, login, None).await?;
    let mut command = cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let answer: Result<Option<(String, String)>, _> =
        command.query_async(&mut sentinel.redis).await;
    match answer {
        Ok(Some((host, port))) => named(at, &format!("{host}:{port}"))
            .ok_or_else(|| "it names no address of the server".to_owned().into()),
        Ok(None) => Err(ServerFault::lasting(format!(
            "this Sentinel watches nothing under the name {service:?}; set store.sentinel to what \
             stands in its `sentinel monitor NAME …`"
        ))),
        Err(error) if sentinel.server.mode == "sentinel" => Err(error.to_string().into()),
        Err(_) => Err(ServerFault::lasting(
            "this is no Sentinel; name Sentinels in store.url and store.nodes (26379 is their \
             usual port), or remove store.sentinel",
        )),
    }
}

/// A server that was a master a moment ago may be none any more.
fn is_writable(made: &ServerConnection, service: &str) -> Result<(), String> {
    match made.server.role.as_str() {
        "" | "master" | "primary" => Ok(()),
        role => Err(format!(
            "{} is a {role}, and was named as {service}: a failover is under way",
            shown(&made.at)
        )),
    }
}

/// Whether the server is what the configuration takes it for.
fn fits(made: &ServerConnection, layout: &StoreLayout) -> Result<(), ServerFault> {
    match (made.server.mode.as_str(), layout) {
        ("sentinel", _) => Err(ServerFault::lasting(
            "this is a Sentinel and keeps nothing; write store.sentinel = \"NAME\", its name for \
             the server (`sentinel monitor NAME …`)",
        )),
        ("standalone", StoreLayout::Cluster) => Err(ServerFault::lasting(
            "this is no node of a Redis Cluster; remove store.cluster",
        )),
        _ => Ok(()),
    }
}
