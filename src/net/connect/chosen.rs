//! Connections to targets that callers chose, judged by `net/guard.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{ConnectError, Connector, SetUpError};
use crate::config::UpstreamProtocol;
use crate::config::url::HttpOrigin;
use crate::net::egress::Egress;
use crate::net::guard::{AddressGuard, Forbidden};

impl Connector {
    /// A connector for `origin`, which a caller chose: `guard` judges what it dials. It puts
    /// no TLS on a connection, which is the caller's to do. Behind a proxy that resolves
    /// names itself, the host is judged as it is written.
    ///
    /// # Errors
    /// Where the proxy cannot be used.
    pub fn for_caller(
        origin: HttpOrigin,
        limit: Duration,
        egress: Egress,
        guard: Arc<AddressGuard>,
    ) -> Result<Connector, SetUpError> {
        Ok(Connector {
            hop: egress.hop(&origin)?,
            origin,
            tls: None,
            protocol: UpstreamProtocol::H1,
            send_progress: None,
            limit,
            egress,
            told: None,
            guard: Some(guard),
        })
    }

    /// Whether the host of a caller's choice may be asked for.
    pub(super) fn judge_host(&self) -> Result<(), ConnectError> {
        let Some(guard) = &self.guard else {
            return Ok(());
        };
        let host = &*self.origin.host;
        guard.judge_host(host).map_err(|why| self.forbidden(why))?;
        if let (Some(_), Ok(ip)) = (&self.hop, host.trim_matches(['[', ']']).parse::<IpAddr>()) {
            self.allowed(guard, vec![SocketAddr::new(ip, self.origin.port)])?;
        }
        Ok(())
    }

    /// Those of `addresses` that a caller may have dialled; what is dialled is nothing else.
    pub(super) fn allowed(
        &self,
        guard: &AddressGuard,
        mut addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let is_own = |address: SocketAddr| {
            let ip = address.ip().to_canonical();
            self.egress.listens_at(address)
                || ((ip.is_loopback() || ip.is_unspecified()) && self.egress.is_own(address))
        };
        let mut refused = None;
        addresses.retain(|address| match guard.judge(*address, is_own) {
            Ok(()) => true,
            Err(why) => {
                refused = refused.or(Some(why));
                false
            }
        });
        match refused {
            Some(why) if addresses.is_empty() => Err(self.forbidden(why)),
            _ => Ok(addresses),
        }
    }

    fn forbidden(&self, source: Forbidden) -> ConnectError {
        ConnectError::Forbidden {
            host: self.origin.host.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::net::io::Io;
    use crate::net::resolve::Names;

    /// Connects for a caller to `name` at the port of `listener`, where the resolver says
    /// one of `addresses` at each look-up and the networks `allowed` are open.
    async fn for_caller(
        addresses: &[&str],
        port: u16,
        allowed: &[&str],
    ) -> (Result<Io, ConnectError>, usize) {
        let answers: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let names = Names::by(move |_| {
            let index = counted
                .fetch_add(1, Ordering::SeqCst)
                .min(answers.len() - 1);
            Ok(vec![SocketAddr::new(answers[index], 0)])
        });
        let allowed = allowed.iter().map(|net| net.parse().unwrap()).collect();
        let origin = HttpOrigin {
            tls: false,
            host: "turncoat.test".into(),
            port,
        };
        let guard = Arc::new(AddressGuard::new(allowed).naming(names));
        let limit = Duration::from_secs(5);
        let connector = Connector::for_caller(origin, limit, Egress::default(), guard).unwrap();
        (connector.connect().await, asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_name_that_changes_between_check_and_dial_is_dialled_as_it_was_checked() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        // The second look-up would lead where nobody listens.
        let (io, asked) = for_caller(&["127.0.0.1", "127.0.0.99"], port, &["127.0.0.1/32"]).await;
        assert!(io.is_ok(), "{io:?}");
        assert_eq!(asked, 1);
    }

    #[tokio::test]
    async fn a_name_is_judged_by_all_that_it_stands_for() {
        for address in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
        ] {
            let (io, _) = for_caller(&[address], 443, &[]).await;
            let Err(ConnectError::Forbidden { host, .. }) = io else {
                panic!("{address}: {io:?}")
            };
            assert_eq!(&*host, "turncoat.test");
        }
    }
}
