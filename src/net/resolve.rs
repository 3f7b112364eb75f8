//! Names into addresses, with the resolver of the machine (getaddrinfo).
//!
//! It blocks and cannot be called off, so it runs on a thread of its own, one for each
//! name at a time in the whole process: a resolver that hangs holds one thread for
//! each name, however many calls wait, and no runtime's end waits for it. Its response
//! holds for 5 s, which spares it the bursts; each connection after that asks anew, so
//! `max_connection_age` is how long a change of addresses can go unseen. While it
//! fails or is silent, the last good response is used, for 10 min at most.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long a response spares the resolver.
const FRESH: Duration = Duration::from_secs(5);
/// How long the last good response stands in for one that does not come.
const LAST_GOOD: Duration = Duration::from_secs(600);
/// How long a silent resolver is waited for, at most, where there is a last good response.
const SILENCE: Duration = Duration::from_secs(1);

type ResolvedAddresses = Arc<[SocketAddr]>;
type LookUpOutcome = Result<ResolvedAddresses, Arc<io::Error>>;
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What names mean. The default is the one of this process, before the machine's
/// resolver.
#[derive(Clone)]
pub struct Names(Arc<ResolverState>);

struct ResolverState {
    known: Mutex<HashMap<Box<str>, CachedName>>,
    /// How many names are known at most.
    most: usize,
    look_up: Box<LookUp>,
}

#[derive(Default)]
struct CachedName {
    good: Option<GoodAnswer>,
    flight: Option<watch::Receiver<Option<LookUpOutcome>>>,
}

struct GoodAnswer {
    addresses: ResolvedAddresses,
    answered: Instant,
    /// Until when the resolver is not asked; later than a response where it fails.
    fresh: Instant,
}

impl Default for Names {
    fn default() -> Names {
        static NAMES: LazyLock<Names> = LazyLock::new(|| Names::by(machine));
        NAMES.clone()
    }
}

/// What the machine's resolver says of `host` (getaddrinfo(3)); blocks.
fn machine(host: &str) -> io::Result<Vec<SocketAddr>> {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    /// Names by `look_up`, which may block.
    pub fn by(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Names {
        Names::of(usize::MAX, look_up)
    }

    /// Names by the machine's resolver, of which `most` are remembered, and looked up at a
    /// time: for names that callers choose.
    pub fn bounded(most: usize) -> Names {
        Names::of(most, machine)
    }

    fn of(
        most: usize,
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Names {
        Names(Arc::new(ResolverState {
            most,
            known: Mutex::default(),
            look_up: Box::new(look_up),
        }))
    }

    /// The addresses of `host` (a name, or an address, in brackets or not) with
    /// `port`, in the resolver's order; at least one. A resolver that says nothing for
    /// a third of `limit`, or 1 s, is not waited for where there is a last good response.
    /// Dropping the future leaves the look-up to whoever asks next.
    ///
    /// # Errors
    /// What the resolver says, where there is no last good response.
    pub async fn resolve(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, Arc<io::Error>> {
        let host = host.trim_matches(['[', ']']);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let found = self.look(host, SILENCE.min(limit / 3)).await?;
        let with_port = |mut address: SocketAddr| {
            address.set_port(port);
            address
        };
        Ok(found.iter().copied().map(with_port).collect())
    }

    /// Lets the next connection ask the resolver: none of these addresses answered.
    pub fn doubt(&self, host: &str) {
        let host = host.trim_matches(['[', ']']);
        if let Some(good) = self.lock().get_mut(host).and_then(|k| k.good.as_mut()) {
            good.fresh = good.answered;
        }
    }

    async fn look(&self, host: &str, patience: Duration) -> LookUpOutcome {
        let (mut flight, last_good) = {
            let mut known = self.lock();
            let now = Instant::now();
            let usable = |good: &GoodAnswer| now < good.answered + LAST_GOOD;
            if !known.contains_key(host) {
                // Names come from the configuration; those of one that is gone go too.
                known.retain(|_, k| k.flight.is_some() || k.good.as_ref().is_some_and(usable));
                if known.len() >= self.0.most {
                    known.retain(|_, k| k.flight.is_some());
                }
                if known.len() >= self.0.most {
                    let most = "as many names are being looked up as may be";
                    return Err(Arc::new(io::Error::other(most)));
                }
            }
            let entry = known.entry(host.into()).or_default();
            entry.good.take_if(|good| !usable(good));
            let last_good = match &entry.good {
                Some(good) if now < good.fresh => return Ok(good.addresses.clone()),
                good => good.as_ref().map(|good| good.addresses.clone()),
            };
            let flight = match &entry.flight {
                Some(flight) => flight.clone(),
                None => {
                    let flight = self.start(host).map_err(Arc::new)?;
                    entry.flight.insert(flight).clone()
                }
            };
            (flight, last_good)
        };
        let landed = async {
            match flight.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            }
        };
        let Some(last_good) = last_good else {
            let gone = || Err(Arc::new(io::Error::other("the look-up did not end")));
            return landed.await.unwrap_or_else(gone);
        };
        match tokio::time::timeout(patience, landed).await {
            Ok(Some(Ok(addresses))) => Ok(addresses),
            _ => {
                if let Some(good) = self.lock().get_mut(host).and_then(|k| k.good.as_mut()) {
                    good.fresh = Instant::now() + FRESH;
                }
                tracing::debug!(
                    upstream.host = host,
                    "the resolver fails; headset uses the last good addresses"
                );
                Ok(last_good)
            }
        }
    }

    /// Asks the resolver, on a thread that nobody waits for.
    fn start(&self, host: &str) -> io::Result<watch::Receiver<Option<LookUpOutcome>>> {
        let (landed, flight) = watch::channel(None);
        let (names, host) = (self.clone(), Box::<str>::from(host));
        std::thread::Builder::new()
            .name("resolve".into())
            .spawn(move || {
                let landing = LookUpGuard {
                    names,
                    host,
                    landed,
                };
                let found = (landing.names.0.look_up)(&landing.host);
                let outcome = match found {
                    Ok(found) if found.is_empty() => Err(Arc::new(io::Error::new(
                        io::ErrorKind::NotFound,
                        "the name has no address",
                    ))),
                    Ok(found) => Ok(found.into()),
                    Err(error) => Err(Arc::new(error)),
                };
                landing.land(outcome);
            })?;
        Ok(flight)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, CachedName>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a flight, also where the look-up panics.
struct LookUpGuard {
    names: Names,
    host: Box<str>,
    landed: watch::Sender<Option<LookUpOutcome>>,
}

impl LookUpGuard {
    fn land(&self, outcome: LookUpOutcome) {
        let mut names = self.names.lock();
        let known = names.entry(self.host.clone()).or_default();
        // Under the same lock, so that whoever doubts the response does not get it again.
        known.flight = None;
        if let Ok(addresses) = &outcome {
            let now = Instant::now();
            known.good = Some(GoodAnswer {
                addresses: addresses.clone(),
                answered: now,
                fresh: now + FRESH,
            });
        }
        drop(names);
        self.landed.send_replace(Some(outcome));
    }
}

impl Drop for LookUpGuard {
    fn drop(&mut self) {
        let landed = self.landed.borrow().is_some();
        // Not that of whoever asked since.
        if !landed && let Some(known) = self.names.lock().get_mut(&self.host) {
            known.flight = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 0))
    }

    #[tokio::test]
    async fn a_crowd_costs_one_look_up_and_a_doubt_another() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (counted, (go, wait)) = (asked.clone(), mpsc::channel::<()>());
        let wait = Mutex::new(wait);
        let names = Names::by(move |_| {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            let _ = wait.lock().unwrap().recv();
            Ok(vec![address(u8::try_from(call).unwrap() + 1)])
        });
        let log_limiter: Vec<_> = (0..20)
            .map(|_| {
                let names = names.clone();
                tokio::spawn(async move { names.resolve("cms.test", 443, LIMIT).await.unwrap() })
            })
            .collect();
        // A call that is abandoned leaves the look-up to the others.
        log_limiter[0].abort();
        go.send(()).unwrap();
        for one in log_limiter.into_iter().skip(1) {
            assert_eq!(one.await.unwrap()[0].to_string(), "127.0.0.1:443");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        names.doubt("cms.test");
        go.send(()).unwrap();
        let anew = names.resolve("cms.test", 1, LIMIT).await.unwrap();
        assert_eq!(anew[0].to_string(), "127.0.0.2:1");
    }

    #[tokio::test]
    async fn names_that_callers_choose_use_up_no_memory_and_no_threads() {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let names = Names::of(2, move |_| {
            let _ = wait.lock().unwrap().recv();
            Ok(vec![address(1)])
        });
        let asking = |host: &'static str| {
            let names = names.clone();
            tokio::spawn(async move { names.resolve(host, 1, LIMIT).await })
        };
        let (one, two) = (asking("one.test"), asking("two.test"));
        while names.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
        let refused = names.resolve("three.test", 1, LIMIT).await.unwrap_err();
        assert!(refused.to_string().contains("as many names"), "{refused}");
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert!(one.await.unwrap().is_ok() && two.await.unwrap().is_ok());
        go.send(()).unwrap();
        assert!(names.resolve("three.test", 1, LIMIT).await.is_ok());
        assert_eq!(names.lock().len(), 1);
    }

    fn age(names: &Names, by: Duration) {
        for known in names.lock().values_mut() {
            if let Some(good) = &mut known.good {
                good.answered -= by;
                good.fresh -= by;
            }
        }
    }

    #[tokio::test]
    async fn a_resolver_that_fails_leaves_the_last_good_answer_for_ten_minutes() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let names = Names::by(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec![address(1)]),
            _ => Err(io::Error::other("SERVFAIL")),
        });
        assert!(names.resolve("cms.test", 1, LIMIT).await.is_ok());
        age(&names, FRESH);
        assert!(names.resolve("cms.test", 1, LIMIT).await.is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // A resolver that fails is spared, too.
        assert!(names.resolve("cms.test", 1, LIMIT).await.is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        age(&names, LAST_GOOD);
        let error = names.resolve("cms.test", 1, LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "SERVFAIL");
    }

    #[tokio::test]
    async fn an_address_is_nothing_to_look_up() {
        let names = Names::by(|host| panic!("{host} was looked up"));
        let six = names.resolve("[::1]", 8, LIMIT).await.unwrap();
        assert_eq!(six, ["[::1]:8".parse().unwrap()]);
        let four = names.resolve("192.0.2.1", 8, LIMIT).await.unwrap();
        assert_eq!(four, ["192.0.2.1:8".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_look_up_that_panics_is_an_error_and_frees_the_name() {
        let names = Names::by(|_| panic!("as it must not"));
        for _ in 0..2 {
            assert!(names.resolve("cms.test", 1, LIMIT).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_leaves_the_last_good_answer_in_time() {
        let asked = AtomicUsize::new(0);
        let names = Names::by(move |_| {
            if asked.fetch_add(1, Ordering::SeqCst) > 0 {
                std::thread::park();
            }
            Ok(vec![address(1)])
        });
        assert!(names.resolve("cms.test", 1, LIMIT).await.is_ok());
        names.doubt("cms.test");
        let limit = Duration::from_millis(300);
        let in_time = tokio::time::timeout(LIMIT, names.resolve("cms.test", 1, limit)).await;
        assert_eq!(in_time.unwrap().unwrap()[0].to_string(), "127.0.0.1:1");
    }
}
