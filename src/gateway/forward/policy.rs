//! Which targets a forward listener opens, passes on and refuses: pure.

use http::Method;

use crate::config::ForwardConfig;
use crate::config::url::HttpOrigin;
use crate::gateway::error::CallerFault;
use crate::gateway::path::IssuerMark;

/// What a forward listener makes of targets.
#[derive(Clone, Debug)]
pub struct ForwardPolicy {
    /// What it does with what no route takes.
    pub config: ForwardConfig,
    /// The origins that routes lead to.
    pub sites: Vec<Site>,
    /// Where credentials are issued, looked up and ended.
    pub issuers: Vec<(HttpOrigin, IssuerMark)>,
}

/// An origin that routes lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Scheme, host and port; an IPv6 address in its one spelling.
    pub origin: HttpOrigin,
    /// Its routes, in their order, by their place among all.
    pub routes: Vec<usize>,
}

impl ForwardPolicy {
    /// The routes that lead to `origin`, by their place among all.
    pub fn routes_to(&self, origin: &HttpOrigin) -> Option<&[usize]> {
        let site = self.sites.iter().find(|site| site.origin == *origin);
        site.map(|site| &*site.routes)
    }

    /// Where routes lead to at the host of `origin`, by another scheme or port.
    pub fn near(&self, origin: &HttpOrigin) -> Option<&HttpOrigin> {
        let mut sites = self.sites.iter().map(|site| &site.origin);
        sites.find(|site| site.host == origin.host && *site != origin)
    }

    /// Whether a tunnel to `origin` is opened, so that the calls in it are served: a route
    /// leads to its host and port, with either scheme.
    pub fn opens(&self, origin: &HttpOrigin) -> bool {
        let same = |site: &Site| site.origin.host == origin.host && site.origin.port == origin.port;
        self.sites.iter().any(same)
    }

    /// Whether a call or tunnel of `method` to `path` at `origin`, which no route leads to,
    /// is let through.
    ///
    /// # Errors
    /// With why not.
    pub fn elsewhere(
        &self,
        method: &Method,
        origin: &HttpOrigin,
        path: &str,
    ) -> Result<(), CallerFault> {
        if !self.config.passes_elsewhere {
            return Err(CallerFault::Elsewhere {
                target: target_of(method, origin),
            });
        }
        if method == Method::CONNECT {
            return match &self.config.tunnel_ports {
                Some(ports) if !ports.contains(&origin.port) => {
                    Err(CallerFault::TunnelPort(origin.port))
                }
                _ => Ok(()),
            };
        }
        if origin.tls {
            return Err(CallerFault::PlainHttps {
                target: target_of(method, origin),
            });
        }
        let mut issuers = self.issuers.iter();
        match issuers.any(|(at, mark)| at.is_same_server(origin) && mark.is_on(path)) {
            true => Err(CallerFault::IssuerTarget),
            false => Ok(()),
        }
    }
}

/// The target as it is told to people.
pub fn target_of(method: &Method, origin: &HttpOrigin) -> Box<str> {
    let text = match *method {
        Method::CONNECT => format!("{}:{}", origin.host, origin.port),
        _ => origin.to_string(),
    };
    text.chars().take(LONGEST).collect::<String>().into()
}

/// No target is told at greater length, in characters.
const LONGEST: usize = 100;
