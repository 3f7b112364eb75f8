//! One connection to one server: dialled and encrypted as headset does everywhere, logged in,
//! and asked what it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value, cmd,
};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast;

use super::bounded::{Bounded, ReadBudget};
use crate::base::task::boxed;
use crate::config::outbound::{EgressConfig, UpstreamTls};
use crate::config::url::HttpOrigin;
use crate::net::connect::{Connector, SetUpError};
use crate::net::egress::{Egress, ProcessContext};
use crate::secret::SecretSource;

/// A connection, and where it leads.
#[derive(Clone)]
pub(super) struct ServerConnection {
    pub(super) at: HttpOrigin,
    pub(super) redis: MultiplexedConnection,
    pub(super) budget: ReadBudget,
    pub(super) server: ServerFacts,
    lost: Arc<AtomicBool>,
}

impl ServerConnection {
    /// Whether it broke, as it said itself.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// What a server says of itself (`HELLO`); empty where it does not.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerFacts {
    /// `standalone`, `sentinel` or `cluster`.
    pub(super) mode: String,
    /// `master` or `replica`; a Sentinel has none.
    pub(super) role: String,
}

/// Who logs in.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreLogin {
    pub(super) database: u16,
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretSource>,
}

/// How connections are made.
pub(super) struct Dialer {
    tls: UpstreamTls,
    limit: Duration,
    egress: Egress,
}

impl Dialer {
    /// Each step of a connection takes `limit` at most.
    pub(super) fn new(tls: &UpstreamTls, limit: Duration, process: ProcessContext) -> Dialer {
        Dialer {
            tls: tls.clone(),
            limit,
            // The way out is for HTTP.
            egress: Egress::new(&EgressConfig::default(), process),
        }
    }

    /// What dials `at`.
    pub(super) fn connector(&self, at: &HttpOrigin) -> Result<Connector, SetUpError> {
        Connector::new(at.clone(), &self.tls, self.limit, self.egress.clone())
    }

    /// A new connection to `at`, as `login`; what it pushes goes to `pushes`.
    pub(super) async fn dial(
        &self,
        at: &HttpOrigin,
        login: &StoreLogin,
        pushes: Option<broadcast::Sender<PushInfo>>,
    ) -> Result<ServerConnection, ServerFault> {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(login.database))
            .set_skip_set_lib_name();
        if let Some(username) = &login.username {
            info = info.set_username(username);
        }
        if let Some(source) = &login.password {
            let secret = source.read().await.map_err(ServerFault::lasting)?;
            info = info.set_password(secret.expose());
        }
        let connector = self.connector(at).map_err(ServerFault::lasting)?;
        let io = connector.connect_h1().await.map_err(with_causes)?;
        let budget = ReadBudget::default();
        let lost = Arc::<AtomicBool>::default();
        let (pushed, heard) = (lost.clone(), budget.clone());
        let how = AsyncConnectionConfig::new()
            .set_push_sender(move |push: PushInfo| {
                heard.renew();
                if push.kind == PushKind::Disconnection {
                    pushed.store(true, Ordering::Release);
                }
                match &pushes {
                    Some(pushes) => pushes.send(push).map(|_| ()).map_err(|_| ()),
                    None => Ok(()),
                }
            })
            .set_response_timeout(None);
        let socket = Bounded::new(TokioIo::new(io), budget.clone());
        let made = MultiplexedConnection::new_with_config(&info, socket, how).await;
        let (mut redis, driver) = made.map_err(|error| login_fault(&error, login))?;
        tokio::spawn(boxed(driver));
        let told = cmd("HELLO").arg(3).query_async(&mut redis).await;
        budget.renew();
        Ok(ServerConnection {
            at: at.clone(),
            server: told.map(facts).unwrap_or_default(),
            redis,
            budget,
            lost,
        })
    }
}

/// Why a server is not used.
pub(super) struct ServerFault {
    pub(super) why: String,
    /// Only somebody who changes the configuration, or the server's, mends it.
    pub(super) lasts: bool,
}

impl ServerFault {
    pub(super) fn lasting(why: impl ToString) -> ServerFault {
        ServerFault {
            why: why.to_string(),
            lasts: true,
        }
    }
}

impl From<String> for ServerFault {
    fn from(why: String) -> ServerFault {
        ServerFault { why, lasts: false }
    }
}

/// What a login met, and what to do about it.
fn login_fault(error: &::redis::RedisError, login: &StoreLogin) -> ServerFault {
    let fix = match error.code() {
        Some("WRONGPASS") => {
            "; check store.username and store.password, and the user with `ACL LIST` there"
        }
        Some("NOAUTH") if login.password.is_none() => {
            "; it wants a password: set store.password = { file = \"/path\" }"
        }
        Some("NOPROTO") => "; headset needs Redis 6 or newer, or Valkey",
        _ => "",
    };
    ServerFault {
        why: format!("{error}{fix}"),
        lasts: !fix.is_empty(),
    }
}

fn with_causes(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn facts(hello: Value) -> ServerFacts {
    let mut facts = ServerFacts::default();
    let Value::Map(pairs) = hello else {
        return facts;
    };
    for (key, value) in pairs {
        let text = |value| ::redis::from_redis_value::<String>(value).unwrap_or_default();
        match text(key).as_str() {
            "mode" => facts.mode = text(value),
            "role" => facts.role = text(value),
            _ => {}
        }
    }
    facts
}

/// The address that a server names; one without a host is that of `asked`.
pub(super) fn named(asked: &HttpOrigin, address: &str) -> Option<HttpOrigin> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host {
        "" | "?" => asked.host.clone(),
        // As an origin writes it.
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]").into(),
        host => host.to_ascii_lowercase().into(),
    };
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.:[]".contains(&octet);
    Some(HttpOrigin {
        tls: asked.tls,
        host: Some(host).filter(|host| host.len() <= 255 && host.bytes().all(is_plain))?,
        port: port.parse().ok().filter(|port| *port > 0)?,
    })
}

/// `at` as it stands in messages.
pub(super) fn shown(at: &HttpOrigin) -> String {
    let scheme = if at.tls { "rediss" } else { "redis" };
    format!("{scheme}://{}:{}", at.host, at.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_names_another_by_host_and_port_or_by_port_alone() {
        let asked = HttpOrigin {
            tls: true,
            host: "a.example".into(),
            port: 6379,
        };
        let at = |address: &str| named(&asked, address).map(|at| shown(&at));
        assert_eq!(at("B.example:7"), Some("rediss://b.example:7".into()));
        assert_eq!(at(":7"), Some("rediss://a.example:7".into()));
        assert_eq!(at("?:7"), Some("rediss://a.example:7".into()));
        assert_eq!(at("::1:7"), Some("rediss://[::1]:7".into()));
        assert_eq!(at("10.0.0.1:6380"), Some("rediss://10.0.0.1:6380".into()));
        for bad in ["", "b", "b:", "b:0", "b:70000", "unix:/tmp/x:1", "a b:1"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
