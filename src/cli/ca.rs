//! `headset ca`: the local authority that a long-lived forward listener keeps in files.
//!
//! headset puts it into no store of the system: whom an application trusts, its operator
//! says.

mod files;
mod shown;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::app::build::{authorities, kind_keys};
use crate::base::spelled_out::spelled_out;
use crate::base::time::{Clock, rfc3339};
use crate::cli::quick::CONFIG_VARIABLE;
use crate::cli::{exit, report};
use crate::config::load::{self, Sources, process_environment};
use crate::config::{Config, LocalCa};
use crate::net::tls::authority::create::{self, MadeAuthority, VouchingAuthority};
use crate::net::tls::authority::{Authority, AuthorityError, AuthorityFacts};
use crate::net::tls::pem;
use crate::secret::SecretSource;

/// Makes, shows or replaces the local authority by which a forward listener speaks TLS as the
/// upstreams of routes. Nothing is put into a store of the system.
#[derive(clap::Args, Clone, Debug)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct CaArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: CaAction,
}

const EXAMPLES: &str = "\
Examples:
  headset ca init -c headset.toml      make the files that listener.NAME.ca names
  headset ca init --host api.exotel.com --cert ca.pem --key ca.key
  headset ca show -c headset.toml      whose it is, for which hosts, until when; how to trust it
  headset ca rotate -c headset.toml    replace it; those who trust the old one believe the new one";

/// What to do with an authority.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum CaAction {
    /// Make one that may sign for given hosts alone; overwrite nothing.
    #[command(help_template = super::HELP)]
    Init(MakeArgs),
    /// Show whose certificate it is, for which hosts, until when, and how to trust it.
    #[command(help_template = super::HELP)]
    Show(PlaceArgs),
    /// Replace it by one that those believe who trust the old one, until that ends.
    #[command(help_template = super::HELP)]
    Rotate(RotateArgs),
}

/// Which authority.
#[derive(clap::Args, Clone, Debug)]
pub struct PlaceArgs {
    /// The configuration that names it [env: HEADSET_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Of this listener, where several have one.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The file of its certificate, where no configuration names it.
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
}

/// How to make one.
#[derive(clap::Args, Clone, Debug)]
pub struct MakeArgs {
    /// Which.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The file of its key, where no configuration names it; `-` writes the key to stdout, to
    /// be piped into a vault.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A host that it may sign for, with all below it; repeatable. Those of the configuration's
    /// routes count as well.
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// How many days it lives.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// How to replace one.
#[derive(clap::Args, Clone, Debug)]
pub struct RotateArgs {
    /// The next one.
    #[command(flatten)]
    pub make: MakeArgs,
    /// Replace it although the one before it still vouches for it: whoever trusts that one
    /// alone is cut off. For when every application trusts the certificate of now.
    #[arg(long)]
    pub force: bool,
}

/// Why a command cannot go on: its exit code, and why for people.
struct Refused(u8, String);

/// What there is to know of an authority before it is read or made.
struct AuthorityPlace {
    cert: PathBuf,
    /// Where its key is read from; `None` where nothing says so.
    key: Option<SecretSource>,
    hosts: Vec<String>,
}

/// Makes, shows or replaces an authority.
///
/// # Errors
/// Where stdout or stderr cannot be written. What cannot be done is told on stderr and
/// becomes exit code 64, 78 where the configuration is at fault, 75 where it can be done later.
pub fn run(args: CaArgs) -> anyhow::Result<ExitCode> {
    let place = match &args.action {
        CaAction::Init(make) => &make.place,
        CaAction::Rotate(rotate) => &rotate.make.place,
        CaAction::Show(place) => place,
    };
    let config = match configured(place) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let clock = Clock::system();
    let done = find(place, config.as_ref()).and_then(|place| match &args.action {
        CaAction::Init(make) => init(make, &place, &clock),
        CaAction::Show(_) => show(&place),
        CaAction::Rotate(args) => rotate(args, &place, &clock),
    });
    match done {
        Ok(text) => {
            io::stderr().lock().write_all(text.err.as_bytes())?;
            io::stdout().lock().write_all(text.out.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused(code, why)) => {
            writeln!(io::stderr(), "headset: {}", spelled_out(&why))?;
            Ok(ExitCode::from(code))
        }
    }
}

/// What goes where.
struct Told {
    out: zeroize::Zeroizing<String>,
    err: String,
}

/// The configuration, where one is named; its problems are told.
fn configured(args: &PlaceArgs) -> Result<Option<Config>, ExitCode> {
    let variable = || std::env::var_os(CONFIG_VARIABLE).filter(|value| !value.is_empty());
    let file = args.config.clone();
    let Some(file) = file.or_else(|| variable().map(PathBuf::from)) else {
        return Ok(None);
    };
    let sources = Sources {
        file: Some(file),
        environment: process_environment(),
        ..Sources::default()
    };
    load::load(&sources, &kind_keys())
        .map(Some)
        .map_err(|problems| report::refuse(&problems))
}

fn find(args: &PlaceArgs, config: Option<&Config>) -> Result<AuthorityPlace, Refused> {
    let usage = |why: &str| Refused(exit::EX_USAGE, why.to_owned());
    let hosts = config.map_or_else(Vec::new, authorities::hosts);
    let hosts = hosts.into_iter().map(ToOwned::to_owned).collect();
    if let Some(cert) = &args.cert {
        return Ok(AuthorityPlace {
            cert: cert.clone(),
            key: None,
            hosts,
        });
    }
    let config = config.ok_or_else(|| {
        usage("no authority is named; give --config with a listener that has `ca`, or --cert")
    })?;
    let wanted = |name: &str| args.listener.as_deref().is_none_or(|wanted| wanted == name);
    let all = config.listeners.iter();
    let mut named: Vec<&LocalCa> = all
        .filter(|listener| wanted(listener.name.as_str()))
        .filter_map(|listener| listener.ca.as_ref())
        .collect();
    named.dedup();
    match named[..] {
        [LocalCa { cert, key }] => Ok(AuthorityPlace {
            cert: cert.clone(),
            key: Some(key.clone()),
            hosts,
        }),
        [] => Err(usage(
            "no listener of the configuration has `ca`; write ca = { cert = \"…\", key = { file = \
             \"…\" } } below a forward listener, or give --cert and --key",
        )),
        _ => Err(usage(
            "several listeners have one; say which with --listener",
        )),
    }
}

/// Where a new key goes.
enum KeyTarget<'a> {
    File(&'a Path),
    Stdout,
}

impl MakeArgs {
    fn key_target<'a>(&'a self, place: &'a AuthorityPlace) -> Result<KeyTarget<'a>, Refused> {
        let usage = |why: String| Err(Refused(exit::EX_USAGE, why));
        match (&self.key, &place.key) {
            (Some(path), _) if path == Path::new("-") => match io::stdout().is_terminal() {
                true => usage(
                    "a key is not shown on a terminal; pipe stdout to where it is kept".into(),
                ),
                false => Ok(KeyTarget::Stdout),
            },
            (Some(path), _) => Ok(KeyTarget::File(path)),
            (None, Some(SecretSource::File(path))) => Ok(KeyTarget::File(path)),
            (None, Some(other)) => usage(format!(
                "the key is kept in {other}, where headset cannot write it; give --key - and pipe stdout to there"
            )),
            (None, None) => {
                usage("give --key FILE for its private key, or --key - for stdout".into())
            }
        }
    }

    fn hosts<'a>(&'a self, place: &'a AuthorityPlace) -> Vec<&'a str> {
        let all = place.hosts.iter().chain(&self.host);
        all.map(String::as_str).collect()
    }

    fn life(&self) -> Duration {
        Duration::from_secs(u64::from(self.days) * 86_400)
    }
}

fn init(args: &MakeArgs, place: &AuthorityPlace, clock: &Clock) -> Result<Told, Refused> {
    let target = args.key_target(place)?;
    let made =
        create::fresh(args.hosts(place), args.life(), clock).map_err(|error| unmade(&error))?;
    let cert = pem::certificates(&made.certificates);
    let wrote =
        |error: io::Error, path: &Path| Refused(exit::EX_USAGE, files::refused(path, &error));
    if let KeyTarget::File(path) = target {
        files::create(path, made.key.as_bytes(), files::SECRET)
            .map_err(|error| wrote(error, path))?;
    }
    files::create(&place.cert, cert.as_bytes(), files::PUBLIC).map_err(|error| {
        // A key without its certificate is of no use to anybody.
        if let KeyTarget::File(path) = target {
            let _ = std::fs::remove_file(path);
        }
        wrote(error, &place.cert)
    })?;
    Ok(told(&made, place, &target, "is made"))
}

fn rotate(args: &RotateArgs, place: &AuthorityPlace, clock: &Clock) -> Result<Told, Refused> {
    let RotateArgs { make: args, force } = args;
    let target = args.key_target(place)?;
    // Until the files are replaced: the old one vouches for one new one, and who trusts it
    // would believe no second.
    let _alone = files::lock(&place.cert).map_err(|why| Refused(exit::EX_TEMPFAIL, why))?;
    let key = match (&place.key, &args.key) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) if path != Path::new("-") => SecretSource::File(path.clone()),
        _ => {
            return Err(Refused(
                exit::EX_USAGE,
                "the authority is not replaced: the key that it has is not named; give --config, or \
                 --key FILE"
                    .into(),
            ));
        }
    };
    let files = LocalCa {
        cert: place.cert.clone(),
        key,
    };
    let old = Authority::read(files, clock.clone())
        .map_err(|fault| Refused(exit::EX_CONFIG, format!("{fault}; {}", fault.fix)))?;
    if let Some(before) = create::predecessor(&old, clock).filter(|_| !force) {
        return Err(Refused(exit::EX_TEMPFAIL, too_early(place, &before)));
    }
    let before = old.facts().hosts.unwrap_or_default();
    let mut hosts = args.hosts(place);
    if hosts.is_empty() {
        hosts.extend(before.iter().map(String::as_str));
    }
    let made =
        create::successor(&old, hosts, args.life(), clock).map_err(|error| unmade(&error))?;
    let cert = pem::certificates(&made.certificates);
    let mut all = vec![(place.cert.as_path(), cert.as_bytes(), files::PUBLIC)];
    if let KeyTarget::File(path) = target {
        all.push((path, made.key.as_bytes(), files::SECRET));
    }
    files::replace(&all)
        .map_err(|(path, error)| Refused(exit::EX_USAGE, files::refused(path, &error)))?;
    Ok(told(&made, place, &target, "is replaced"))
}

/// Why a rotation that follows another is refused, and when and how it is not.
fn too_early(place: &AuthorityPlace, before: &VouchingAuthority) -> String {
    format!(
        "{} is not replaced again: until {} it is believed by who trusts {} alone, the one before \
         it, and another rotation would cut them off. Have every application trust the file as it \
         is now, then rotate with --force; or rotate after that time",
        place.cert.display(),
        rfc3339(before.until.saturating_mul(1000)),
        before.subject
    )
}

fn show(place: &AuthorityPlace) -> Result<Told, Refused> {
    let certificates = files::certificates(&place.cert)
        .map_err(|why| Refused(exit::EX_CONFIG, format!("{}: {why}", place.cert.display())))?;
    let facts: Vec<AuthorityFacts> = certificates.iter().map(AuthorityFacts::of).collect();
    let now_ms = Clock::system().now().wall_ms;
    Ok(Told {
        out: shown::all(&place.cert, &facts, now_ms).into(),
        err: String::new(),
    })
}

fn told(made: &MadeAuthority, place: &AuthorityPlace, target: &KeyTarget<'_>, what: &str) -> Told {
    let facts: Vec<AuthorityFacts> = made.certificates.iter().map(AuthorityFacts::of).collect();
    let now_ms = Clock::system().now().wall_ms;
    let mut err = format!("The local authority {what}.\n");
    let hosts = facts.first().and_then(|own| own.hosts.as_deref());
    for host in hosts
        .unwrap_or_default()
        .iter()
        .filter(|host| is_bare(host))
    {
        err.push_str(&format!(
            "warning: it may sign for every host below {host}, as whom it deceives whoever trusts \
             it if its key is stolen; name whole hosts\n"
        ));
    }
    err.push_str(&shown::summary(&place.cert, &facts, now_ms));
    let out = match target {
        KeyTarget::Stdout => made.key.clone(),
        KeyTarget::File(path) => {
            err.push_str(&shown::key(path));
            zeroize::Zeroizing::default()
        }
    };
    err.push_str(&shown::next(&place.cert));
    Told { out, err }
}

/// Whether `host` is one label, as a top-level domain is: all of its hosts are below it.
fn is_bare(host: &str) -> bool {
    let is_name = host.parse::<std::net::IpAddr>().is_err() && !host.contains(':');
    is_name && !host.trim_end_matches('.').contains('.') && host != "localhost"
}

fn unmade(error: &AuthorityError) -> Refused {
    let code = match error {
        AuthorityError::NoRandomness { .. } | AuthorityError::Making { .. } => exit::EX_SOFTWARE,
        _ => exit::EX_USAGE,
    };
    let told = format!("the authority is not made: {error}; {}", error.fix());
    Refused(code, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_is_all_the_hosts_below_it() {
        for bare in ["com", "in.", "cms"] {
            assert!(is_bare(bare), "{bare}");
        }
        for whole in [
            "api.exotel.com",
            "localhost",
            "10.0.0.1",
            "::1",
            "cms.local",
        ] {
            assert!(!is_bare(whole), "{whole}");
        }
    }
}
