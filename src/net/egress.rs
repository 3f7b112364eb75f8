//! headset's own way out: which proxy, if any, stands before an origin.
//!
//! One [`Egress`] is shared by every connector, for calls and for issue calls. Loopback
//! is always reached directly: another machine's proxy would take it for its own. What
//! the variables say is read where a connector is made; a value that cannot be used is
//! a problem then, never a silent way around the proxy. A password in one, and what
//! `proxy_authorization` yields, is shown to the proxy alone. Where the configuration says
//! what a name means (`resolve`), the first address counts in the place of the name: one of
//! loopback is reached directly, `no_proxy` may name either, and the proxy is asked for the
//! address.

mod login;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper_util::client::proxy::matcher::Matcher;
use zeroize::Zeroizing;

use self::login::ProxyLogin;
use crate::config;
use crate::config::no_proxy::Exception;
use crate::config::outbound::Proxy;
use crate::config::resolve::Resolve;
use crate::config::url::HttpOrigin;
use crate::net::resolve::Names;
use crate::secret::watch::FileWatch;

/// The addresses that headset itself listens on: stored when all are bound, and anew
/// when a reload binds others.
pub type OwnAddresses = Arc<ArcSwap<Vec<SocketAddr>>>;

/// What all of a process goes by on its way out.
#[derive(Clone, Debug, Default)]
pub struct ProcessContext {
    /// Where it listens itself.
    pub own: OwnAddresses,
    /// Tells when a file changed of which something was made.
    pub files: FileWatch,
}

type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The way out. The default is the direct one.
#[derive(Clone, Default)]
pub struct Egress {
    process: ProcessContext,
    names: Names,
    resolve: Resolve,
    way: Option<Arc<ProxyChoice>>,
}

struct ProxyChoice {
    told: config::outbound::EgressConfig,
    login: Option<Arc<ProxyLogin>>,
    variables: Box<Variables>,
}

/// A proxy that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct UnfitProxy {
    /// The variable or key at fault.
    pub from: &'static str,
    /// Why not; a proxy's value itself may hold a password.
    pub why: String,
    /// How to mend it.
    pub fix: String,
}

/// The proxy that stands before an origin.
#[derive(Clone)]
pub struct ProxyHop {
    /// Its host, an IPv6 address in brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// `Basic …` from the userinfo of a variable.
    from_variable: Option<http::HeaderValue>,
    way: Arc<ProxyChoice>,
}

/// One is as good as another if it was told the same and found the same.
impl PartialEq for ProxyHop {
    fn eq(&self, other: &ProxyHop) -> bool {
        (&self.host, self.port, &self.from_variable, &self.way.told)
            == (
                &other.host,
                other.port,
                &other.from_variable,
                &other.way.told,
            )
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Egress({:?})",
            self.way.as_ref().map(|way| &way.told.proxy)
        )
    }
}

impl fmt::Debug for ProxyHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hop({self})")
    }
}

impl fmt::Display for ProxyHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whether both are one address: an IPv4 address may be written as an IPv6 one (RFC 4291
/// §2.5.5.2).
pub fn same_ip(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

impl Egress {
    /// The way that `told` describes, for the headset of `process`.
    pub fn new(told: &config::outbound::EgressConfig, process: ProcessContext) -> Egress {
        Egress::within(told, process, |name| std::env::var(name).ok())
    }

    /// The same with the environment that `variables` looks into.
    pub fn within(
        told: &config::outbound::EgressConfig,
        process: ProcessContext,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Egress {
        let way = ProxyChoice {
            told: told.clone(),
            login: told
                .authorization
                .clone()
                .map(|source| ProxyLogin::new(source, &process.files)),
            variables: Box::new(variables),
        };
        Egress {
            process,
            names: Names::default(),
            resolve: Resolve::default(),
            way: (told.proxy != Proxy::None).then(|| Arc::new(way)),
        }
    }

    /// The same way with names of its own, for tests.
    pub fn naming(self, names: Names) -> Egress {
        Egress { names, ..self }
    }

    /// The same way, on which `resolve` says where its names are dialled.
    pub fn resolving(&self, resolve: &Resolve) -> Egress {
        Egress {
            resolve: resolve.clone(),
            ..self.clone()
        }
    }

    /// Where `origin` is dialled by the configuration; `None` asks the resolver.
    pub fn told_addresses(&self, origin: &HttpOrigin) -> Option<Vec<SocketAddr>> {
        self.resolve.of(origin)
    }

    /// What names mean on it.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What it goes by, for another way out of this process.
    pub fn process(&self) -> &ProcessContext {
        &self.process
    }

    /// headset's own listeners.
    pub fn own(&self) -> &OwnAddresses {
        &self.process.own
    }

    /// Whether `address` is one of headset's own listeners, on whichever interface.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let own = self.process.own.load();
        own.iter().any(|bound| {
            bound.port() == address.port()
                && (bound.ip().is_unspecified() || same_ip(bound.ip(), address.ip()))
        })
    }

    /// Whether a listener of headset's is bound to exactly `address`.
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        let own = self.process.own.load();
        own.iter()
            .any(|bound| bound.port() == address.port() && same_ip(bound.ip(), address.ip()))
    }

    /// The proxy before `origin`, if one stands there.
    ///
    /// # Errors
    /// Where what names it cannot be used.
    pub fn hop(&self, origin: &HttpOrigin) -> Result<Option<ProxyHop>, UnfitProxy> {
        // Where the configuration says what is dialled, its first address decides.
        let told = self.told_addresses(origin).unwrap_or_default();
        let told = told.first().copied();
        let stays_here = told.map_or_else(
            || stays_here(origin),
            |address| address.ip().to_canonical().is_loopback(),
        );
        let Some(way) = self.way.as_ref().filter(|_| !stays_here) else {
            return Ok(None);
        };
        let exceptions = |from, text: &str| {
            Exception::list(text).map_err(|(why, fix)| UnfitProxy { from, why, fix })
        };
        let mut direct = exceptions("egress.no_proxy", &way.told.no_proxy.join(","))?;
        let (from, value) = match &way.told.proxy {
            Proxy::None => return Ok(None),
            Proxy::At(proxy) => ("egress.proxy", Zeroizing::new(proxy.to_string())),
            Proxy::Environment => {
                let names = match origin.tls {
                    true => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
                    false => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
                };
                let Some(found) = way.first(&names) else {
                    return Ok(None);
                };
                if let Some((from, more)) = way.first(&["NO_PROXY", "no_proxy"]) {
                    direct.extend(exceptions(from, &more)?);
                }
                found
            }
        };
        let unfit = |why: &str| UnfitProxy {
            from,
            why: format!("the proxy that {from} names {why}"),
            fix: "write it as http://host:port, or set egress.proxy to \"none\"".into(),
        };
        let target: http::Uri =
            (origin.to_string().parse()).map_err(|_| unfit("cannot be asked for this target"))?;
        // Before the exceptions: what cannot be read must not be passed by.
        let matcher = Matcher::builder().all(value.as_str()).build();
        let found = matcher.intercept(&target);
        let found = found.ok_or_else(|| unfit("is not written as http://host:port"))?;
        if found.uri().scheme_str() != Some("http") {
            return Err(unfit("is not an http:// proxy"));
        }
        let excepted = |host: &str, port| direct.iter().any(|one| one.covers(host, port));
        let by_address = |at: SocketAddr| excepted(&at.ip().to_string(), at.port());
        if excepted(&origin.host, origin.port) || told.is_some_and(by_address) {
            return Ok(None);
        }
        Ok(Some(ProxyHop {
            host: found.uri().host().unwrap_or_default().into(),
            port: found.uri().port_u16().unwrap_or(80),
            from_variable: found.basic_auth().cloned(),
            way: way.clone(),
        }))
    }
}

impl ProxyChoice {
    /// The first of the variables `names` that is set; an empty one is none.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, Zeroizing<String>)> {
        names.iter().find_map(|name| {
            let value = Zeroizing::new((self.variables)(name)?);
            (!value.is_empty()).then_some((*name, value))
        })
    }
}

impl ProxyHop {
    /// The value of `Proxy-Authorization` to show it, if any. Reads its source
    /// where that changed, and a command at most every 10 s.
    ///
    /// # Errors
    /// Where the secret cannot be read or is neither of the two forms.
    pub async fn authorization(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        if let Some(login) = &self.way.login {
            return login.value().await.map(Some);
        }
        let own = self.from_variable.as_ref();
        Ok(own.map(|value| Zeroizing::new(value.as_bytes().to_vec())))
    }

    /// Lets the next connection read the secret anew: the proxy refused it.
    pub async fn doubt(&self) {
        if let Some(login) = &self.way.login {
            login.doubt().await;
        }
    }
}

/// A name below `localhost` is this machine too (RFC 6761 §6.3).
fn stays_here(origin: &HttpOrigin) -> bool {
    origin.is_loopback() || origin.host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::url::HttpUrl;

    fn within(variables: &'static [(&'static str, &'static str)]) -> Egress {
        let told = config::outbound::EgressConfig {
            proxy: Proxy::Environment,
            no_proxy: vec!["own.example".into()],
            authorization: None,
        };
        let look = |name: &str| {
            let mut all = variables.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Egress::within(&told, ProcessContext::default(), look)
    }

    fn hop(egress: &Egress, url: &str) -> Result<Option<String>, String> {
        let origin = HttpUrl::parse(url).unwrap().origin;
        let hop = egress.hop(&origin).map_err(|error| error.to_string())?;
        Ok(hop.map(|hop| hop.to_string()))
    }

    #[test]
    fn the_variables_are_honoured_as_other_programs_do() {
        let egress = within(&[
            ("HTTPS_PROXY", "http://secure.example:3128"),
            ("http_proxy", "plain.example:8080"),
            (
                "NO_PROXY",
                "internal.example, .only.example,10.0.0.0/8,[::1], fd00::/8",
            ),
        ]);
        let through = |url| hop(&egress, url).unwrap();
        assert_eq!(
            through("https://cms.example.com:8443").unwrap(),
            "secure.example:3128"
        );
        assert_eq!(
            through("http://cms.example.com").unwrap(),
            "plain.example:8080"
        );
        assert_eq!(through("https://192.0.2.1").unwrap(), "secure.example:3128");
        assert_eq!(
            through("https://notinternal.example").unwrap(),
            "secure.example:3128"
        );
        for direct in [
            "https://internal.example",
            "https://cms.internal.example:8443",
            "https://a.only.example",
            "http://10.1.2.3:8080",
            "https://[fd00::1]",
            "https://own.example",
            "http://localhost:8090",
            "https://127.0.0.1:8443",
            "https://[::1]:8443",
        ] {
            assert_eq!(through(direct), None, "{direct}");
        }
        let all = within(&[("ALL_PROXY", "http://all.example:1"), ("HTTP_PROXY", "")]);
        assert_eq!(
            hop(&all, "http://a.example").unwrap().unwrap(),
            "all.example:1"
        );
        assert_eq!(
            hop(&all, "https://a.example").unwrap().unwrap(),
            "all.example:1"
        );
        let star = within(&[("https_proxy", "http://p.example"), ("no_proxy", "*")]);
        assert_eq!(hop(&star, "https://a.example"), Ok(None));
        assert_eq!(hop(&within(&[]), "https://a.example"), Ok(None));
    }

    #[test]
    fn an_exception_that_would_never_match_is_an_error_too() {
        let told = |value| {
            let variables: &'static [_] =
                vec![("HTTPS_PROXY", "http://p.example:1"), ("NO_PROXY", value)].leak();
            let origin = HttpUrl::parse("https://a.example:8443").unwrap().origin;
            within(variables).hop(&origin).map(|hop| hop.is_some())
        };
        assert!(told("b.example, 10.0.0.0/8").unwrap());
        assert!(!told("*.a.example").unwrap() && !told("a.example:8443").unwrap());
        let error = told("10.0.0.0/33").unwrap_err();
        assert_eq!(
            (error.from, error.why.as_str()),
            ("NO_PROXY", "\"10.0.0.0/33\" is not a network")
        );
    }

    #[tokio::test]
    async fn a_password_in_a_variable_is_shown_to_the_proxy_and_to_nobody_else() {
        let egress = within(&[("HTTPS_PROXY", "http://robot:hunter2@p.example:3128")]);
        let origin = HttpUrl::parse("https://a.example").unwrap().origin;
        let hop = egress.hop(&origin).unwrap().unwrap();
        let shown = hop.authorization().await.unwrap().unwrap();
        assert_eq!(*shown, b"Basic cm9ib3Q6aHVudGVyMg==");
        let printed = format!("{hop} {hop:?} {egress:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("cm9ib3"),
            "{printed}"
        );
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_never_passed_by() {
        for (value, part) in [
            ("socks5://robot:hunter2@p.example:1080", "an http:// proxy"),
            ("https://p.example", "an http:// proxy"),
            ("http://", "http://host:port"),
            ("hunter2 hunter2", "http://host:port"),
        ] {
            let variables: &'static [_] = vec![("HTTPS_PROXY", value), ("NO_PROXY", "*")].leak();
            let error = hop(&within(variables), "https://a.example").unwrap_err();
            assert!(
                error.contains(part) && error.contains("HTTPS_PROXY"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
