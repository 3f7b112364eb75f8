//! Who may see more than probes and metrics.
//!
//! First the browser shield of application listeners (`Host`, `Origin`,
//! `Sec-Fetch-Site`), so that no page can ask in its visitor's name; then the admin
//! token, where there is one. Off loopback nothing is shown without a token: there,
//! whoever reaches the port could ask. Unlike application listeners, this one may
//! answer 401: nobody takes it for the upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, Uri, header};

use crate::admin::answer::{self, Answer};
use crate::base::log_limiter::LogLimiter;
use crate::config;
use crate::gateway::error::CallerFault;
use crate::gateway::framing::{authority, host_name};
use crate::gateway::stack::shield;
use crate::secret::token::Token;

/// By which names the admin listener may be called, and what a caller must show.
#[derive(Clone, Debug)]
pub struct AdminGuard {
    hosts: Vec<String>,
    token: Option<Arc<Token>>,
    is_loopback: bool,
    /// Whoever reaches the port can be refused as often as they like.
    refused: Arc<LogLimiter<CallerFault>>,
}

/// Why nothing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardRefusal {
    /// A page may have sent it.
    Shield(StatusCode),
    /// It shows none, or another one.
    NeedsToken,
    /// There is none that it could show.
    NoToken,
}

impl AdminGuard {
    /// As `admin` says, with its token, where it has one.
    pub fn new(admin: &config::AdminConfig, token: Option<Arc<Token>>) -> AdminGuard {
        let is_loopback = config::Bind::Tcp(admin.bind).is_loopback();
        let mut hosts: Vec<String> = Vec::new();
        // Off loopback any name will do: the token is what a page cannot have.
        if is_loopback {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(String::from));
            let own = SocketAddr::new(admin.bind.ip(), 0).to_string();
            let own = Some(host_name(&own)).filter(|own| !hosts.iter().any(|host| host == own));
            hosts.extend(own.map(str::to_owned));
        }
        AdminGuard {
            hosts,
            token,
            is_loopback,
            refused: LogLimiter::new(|fault: &CallerFault, times| {
                let repeats = (times > 1).then_some(times);
                tracing::warn!(error.detail = %fault, repeats, "admin call refused");
            }),
        }
    }

    /// Whether whoever is let in has shown a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a call for `uri` with `headers` names this listener by one of its names. That
    /// is all that is asked of who wants the page, which is empty by itself and to which a
    /// page of another site may link.
    pub(super) fn goes_by(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), GuardRefusal> {
        let name = authority(uri, headers.get(header::HOST)).map(host_name);
        shield::judge(&self.hosts, &[], name, &HeaderMap::new())
            .map_err(|_| GuardRefusal::Shield(StatusCode::MISDIRECTED_REQUEST))
    }

    /// Whether a call for `uri` with `headers` may see what it asks for.
    pub(super) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), GuardRefusal> {
        let name = authority(uri, headers.get(header::HOST)).map(host_name);
        if let Err((fault, _)) = shield::judge(&self.hosts, &[], name, headers) {
            let (kind, status) = match fault {
                CallerFault::HostNotServed(_) => ("host", StatusCode::MISDIRECTED_REQUEST),
                _ => ("page", StatusCode::FORBIDDEN),
            };
            self.refused.tell(kind, fault);
            return Err(GuardRefusal::Shield(status));
        }
        let Some(token) = &self.token else {
            return match self.is_loopback {
                true => Ok(()),
                false => Err(GuardRefusal::NoToken),
            };
        };
        let shown = bearer(headers).ok_or(GuardRefusal::NeedsToken)?;
        match token.is(shown) {
            true => Ok(()),
            false => Err(GuardRefusal::NeedsToken),
        }
    }
}

/// The token of the one `Authorization: Bearer` (RFC 6750 §2.1), byte by byte: a secret may
/// hold letters beyond ASCII.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?.as_bytes();
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(blank);
    let is_one = all.next().is_none() && scheme.eq_ignore_ascii_case(b"bearer");
    is_one.then(|| token.trim_ascii())
}

impl GuardRefusal {
    /// What whoever is refused is told.
    pub(super) fn answer(self) -> Answer {
        match self {
            GuardRefusal::Shield(status) => answer::text(
                status,
                "call this listener as localhost or by its address; pages of other sites cannot call it\n",
            ),
            GuardRefusal::NoToken => answer::text(
                StatusCode::FORBIDDEN,
                "this listener can be reached from outside this machine, so it needs a token: set admin.token, or bind admin to 127.0.0.1\n",
            ),
            GuardRefusal::NeedsToken => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"headset\"")];
                let text = "send the admin token as Authorization: Bearer\n";
                answer::with(answer::text(StatusCode::UNAUTHORIZED, text), &challenge)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::secret::SecretSource;

    fn guard(bind: &str, token: Option<SecretSource>) -> AdminGuard {
        let read = |source| Arc::new(Token::read(source).unwrap());
        let bind = bind.parse().unwrap();
        let admin = config::AdminConfig {
            bind,
            token,
            socket: config::AdminSocket::None,
        };
        let token = admin.token.clone().map(read);
        AdminGuard::new(&admin, token)
    }

    fn verdict(guard: &AdminGuard, fields: &[(&'static str, &str)]) -> Result<(), GuardRefusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        guard.judge(&Uri::from_static("/status"), &headers)
    }

    #[test]
    fn on_loopback_programs_pass_and_pages_do_not() {
        let guard = guard("127.0.0.2:9464", None);
        for host in ["localhost:9464", "127.0.0.1", "[::1]:1", "127.0.0.2:9464"] {
            assert_eq!(verdict(&guard, &[("host", host)]), Ok(()), "{host}");
        }
        let own = [("host", "localhost"), ("origin", "http://localhost:9464")];
        assert_eq!(verdict(&guard, &own), Ok(()));
        let status = |fields: &[(&'static str, &str)]| match verdict(&guard, fields) {
            Err(GuardRefusal::Shield(status)) => status.as_u16(),
            other => panic!("{other:?}"),
        };
        assert_eq!(status(&[("host", "evil.example")]), 421);
        assert_eq!(status(&[]), 421);
        let cross = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(&cross), 403);
        let origin = [("host", "localhost"), ("origin", "https://evil.example")];
        assert_eq!(status(&origin), 403);
    }

    #[test]
    fn a_link_on_another_site_leads_to_the_page_and_a_foreign_name_does_not() {
        let guard = guard("127.0.0.1:9464", None);
        let asked = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.append("host", host.parse().unwrap());
            headers.append("sec-fetch-site", "cross-site".parse().unwrap());
            guard.goes_by(&Uri::from_static("/"), &headers)
        };
        assert_eq!(asked("localhost:9464"), Ok(()));
        let foreign = GuardRefusal::Shield(StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(asked("evil.example"), Err(foreign));
    }

    #[test]
    fn each_name_is_told_once() {
        for (bind, hosts) in [
            ("127.0.0.1:9464", 3),
            ("[::1]:9464", 3),
            ("127.0.0.2:9464", 4),
        ] {
            let guard = guard(bind, None);
            let mut names = guard.hosts.clone();
            names.sort_unstable();
            names.dedup();
            assert_eq!((names.len(), guard.hosts.len()), (hosts, hosts), "{bind}");
        }
    }

    #[test]
    fn off_loopback_nothing_is_shown_without_a_token_that_fits() {
        let open = guard("0.0.0.0:9464", None);
        assert_eq!(
            verdict(&open, &[("host", "10.1.2.3")]),
            Err(GuardRefusal::NoToken)
        );

        let folder = TempFolder::new();
        let token = SecretSource::File(folder.write("token", "s3cret\n"));
        for bind in ["0.0.0.0:9464", "127.0.0.1:9464"] {
            let guard = guard(bind, Some(token.clone()));
            let with =
                |value: &str| verdict(&guard, &[("host", "localhost"), ("authorization", value)]);
            assert_eq!(with("Bearer s3cret"), Ok(()));
            assert_eq!(with("bearer  s3cret"), Ok(()));
            for bad in [
                "Bearer s3cre",
                "Bearer s3cret1",
                "Bearer ",
                "Basic s3cret",
                "s3cret",
            ] {
                assert_eq!(with(bad), Err(GuardRefusal::NeedsToken), "{bad}");
            }
            let twice = [
                ("host", "localhost"),
                ("authorization", "Bearer s3cret"),
                ("authorization", "Bearer s3cret"),
            ];
            assert_eq!(verdict(&guard, &twice), Err(GuardRefusal::NeedsToken));
        }
    }

    #[test]
    fn what_a_browser_sends_once_is_refused_twice() {
        let guard = guard("127.0.0.1:9464", None);
        let host = ("host", "localhost");
        let own = ("origin", "http://localhost:9464");
        assert_eq!(verdict(&guard, &[host, own]), Ok(()));
        for twice in [own, ("sec-fetch-site", "same-origin")] {
            let refused = verdict(&guard, &[host, twice, twice]);
            assert_eq!(refused, Err(GuardRefusal::Shield(StatusCode::FORBIDDEN)));
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_caller_makes_a_program_run() {
        let folder = TempFolder::new();
        let runs = folder.write("runs", "");
        let script = format!("echo >> {}; echo s3cret", runs.display());
        let argv = ["/bin/sh".into(), "-c".into(), script];
        let guard = guard(
            "127.0.0.1:9464",
            Some(SecretSource::Command(argv.to_vec().into())),
        );
        for shown in ["Bearer s3cret", "Bearer other", "Basic x", ""] {
            let fields = [("host", "localhost"), ("authorization", shown)];
            let _ = verdict(&guard, &fields);
        }
        assert_eq!(std::fs::read_to_string(runs).unwrap().lines().count(), 1);
    }
}
