//! One connection to Redis, for commands and messages, made anew when it breaks.
//!
//! Connecting, and each response, have the store's time limit. After a failure nobody
//! tries again for a moment of up to a second, so that calls of a process do not wait one after
//! the other for a store that is away.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisConnectionInfo, Value};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};

use crate::config::outbound::{EgressConfig, UpstreamTls};
use crate::config::shared_store::SharedStoreConfig;
use crate::credential::fleet::StoreDown;
use crate::net::connect::{Connector, SetUpError};
use crate::net::egress::{Egress, ProcessContext};
use crate::secret::SecretSource;

/// Nobody tries again for up to this time after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// So many messages wait to be read. Who falls behind looks at the records instead: whoever
/// may publish in Redis shall not fill our memory.
const PUSHES: usize = 256;

/// See the module.
pub(super) struct RedisLink {
    connector: Connector,
    shown: String,
    database: u16,
    username: Option<String>,
    password: Option<SecretSource>,
    limit: Duration,
    pushes: broadcast::Sender<PushInfo>,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    known: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    /// Until when nobody tries, and why.
    rests: Option<(Instant, StoreDown)>,
    /// How often a connection was made.
    connected: u64,
    /// It was away since.
    is_away: bool,
    /// How often it came back.
    returned: u64,
    channels: Vec<String>,
}

impl RedisLink {
    /// A link, and what is pushed to it.
    pub(super) fn new(
        config: &SharedStoreConfig,
        tls: &UpstreamTls,
        process: ProcessContext,
    ) -> Result<(RedisLink, broadcast::Receiver<PushInfo>), SetUpError> {
        // The way out is for HTTP.
        let egress = Egress::new(&EgressConfig::default(), process);
        let origin = config.origin.clone();
        let scheme = if origin.tls { "rediss" } else { "redis" };
        let shown = format!("{scheme}://{}:{}", origin.host, origin.port);
        let (pushes, pushed) = broadcast::channel(PUSHES);
        let link = RedisLink {
            connector: Connector::new(origin, tls, config.timeout, egress)?,
            shown,
            database: config.database,
            username: config.username.clone(),
            password: config.password.clone(),
            limit: config.timeout,
            pushes,
            connection: tokio::sync::Mutex::new(None),
            known: Mutex::default(),
        };
        Ok((link, pushed))
    }

    /// Where it leads, for a message.
    pub(super) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// How long a call may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// How often a connection was made.
    fn connected(&self) -> u64 {
        self.known().connected
    }

    /// How often the store came back after it had been away.
    pub(super) fn returned(&self) -> u64 {
        self.known().returned
    }

    /// Messages of `channel` are pushed from now on, also after a new connection.
    pub(super) async fn subscribe(&self, channel: String) -> Result<(), StoreDown> {
        self.known().channels.push(channel.clone());
        let before = self.connected();
        let mut connection = self.connection().await?;
        if self.connected() != before {
            // A new connection has subscribed to all of them.
            return Ok(());
        }
        self.within(connection.subscribe(channel)).await
    }

    /// What Redis answers to `command`.
    pub(super) async fn call(&self, command: Cmd) -> Result<Value, StoreDown> {
        let mut connection = self.connection().await?;
        self.within(command.query_async(&mut connection)).await
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, ::redis::RedisError>>,
    ) -> Result<T, StoreDown> {
        let (why, is_lost) = match timeout(self.limit, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            // What it says of a command ends no connection, unless this server is none
            // that can be written.
            Ok(Err(error)) => {
                let lasts = matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN"));
                let is_lost = lasts || error.is_io_error() || error.is_connection_dropped();
                (error.to_string(), is_lost)
            }
            Err(_) => (format!("it did not answer within {:?}", self.limit), true),
        };
        let down = StoreDown(format!("the shared store {}: {why}", self.shown));
        if is_lost {
            *self.connection.lock().await = None;
            self.rest(&down);
        }
        Err(down)
    }

    /// The connection of now, or a new one.
    async fn connection(&self) -> Result<MultiplexedConnection, StoreDown> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        if let Some((until, down)) = &self.known().rests
            && *until > Instant::now()
        {
            return Err(down.clone());
        }
        match timeout(self.limit * 2, self.connect()).await {
            Ok(Ok(made)) => {
                let mut known = self.known();
                known.rests = None;
                known.connected += 1;
                known.returned += u64::from(std::mem::take(&mut known.is_away));
                drop(known);
                *connection = Some(made.clone());
                Ok(made)
            }
            Ok(Err(why)) => Err(self.not_connected(why)),
            Err(_) => Err(self.not_connected(format!("it did not answer within {:?}", self.limit))),
        }
    }

    fn not_connected(&self, why: String) -> StoreDown {
        let down = StoreDown(format!(
            "the shared store {} is not reached: {why}",
            self.shown
        ));
        self.rest(&down);
        down
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let mut login = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(self.database))
            .set_skip_set_lib_name();
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(source) = &self.password {
            let secret = source.read().await.map_err(|error| error.to_string())?;
            login = login.set_password(secret.expose());
        }
        let io = self.connector.connect_h1().await;
        let io = io.map_err(|error| error.to_string())?;
        let how = AsyncConnectionConfig::new()
            .set_push_sender(self.pushes.clone())
            .set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&login, TokioIo::new(io), how).await;
        let (mut connection, driver) = made.map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        let channels = self.known().channels.clone();
        for channel in channels {
            let subscribed = connection.subscribe(channel).await;
            subscribed.map_err(|error| error.to_string())?;
        }
        Ok(connection)
    }

    /// The connection broke, as it says itself.
    pub(super) async fn drop_connection(&self) {
        *self.connection.lock().await = None;
        self.known().is_away = true;
    }

    fn rest(&self, down: &StoreDown) {
        let until = Instant::now() + PAUSE.mul_f64(fastrand::f64());
        let mut known = self.known();
        known.rests = Some((until, down.clone()));
        known.is_away = true;
    }

    /// Never held across an await; every use leaves it whole.
    fn known(&self) -> std::sync::MutexGuard<'_, LinkState> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
