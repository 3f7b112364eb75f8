//! Secrets that a program prints: a vault's client, a keychain.
//!
//! The program is started without a shell, with an empty stdin, a stderr that nobody
//! sees (a failing client may print the secret there), and a small environment: `PATH`,
//! `HOME`, `LANG` and what the configuration names, since headset's own variables may be
//! other secrets. It has ten seconds and [`MAX_BYTES`] of output; then it is killed, with
//! whatever it started, as it is when headset ends. What it left running when it ended well,
//! such as an agent, continues to run.

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::fault::{MAX_BYTES, SecretFault};
use super::{Program, Secret};

/// How long a program may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long it may go on after it has closed its output.
const LINGER: Duration = Duration::from_secs(1);

/// How often that is looked at, and whether a program ended whose output is still open.
const LOOK: Duration = Duration::from_millis(5);

/// The variables that every program sees.
const ENVIRONMENT: [&str; 3] = ["PATH", "HOME", "LANG"];

/// How many run. Who began one looks whether it must end, so that nobody signals a number
/// that another process has by then.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Whether this process ends.
static ENDING: AtomicBool = AtomicBool::new(false);

/// One that is counted in [`RUNNING`].
struct RunningCount;

impl RunningCount {
    fn begin() -> RunningCount {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        RunningCount
    }
}

impl Drop for RunningCount {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Kills the programs that run, with what they started, and lets none begin any more: the
/// last thing that a process does. Waits for that, for a second at most.
pub fn end_all() {
    ENDING.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while RUNNING.load(Ordering::SeqCst) > 0 && begun.elapsed() < LINGER {
        std::thread::sleep(LOOK);
    }
}

tokio::task_local! {
    /// What programs printed within one [`once`].
    static PRINTED: RefCell<Vec<(Program, Zeroizing<String>)>>;
}

/// Runs `attempt`, in which each program runs once, however often its secret is read.
/// Dropping the future stops the attempt; see [`super::SecretSource::read`].
pub async fn once<F: Future>(attempt: F) -> F::Output {
    match PRINTED.try_with(|_| ()) {
        Ok(()) => attempt.await,
        Err(_) => PRINTED.scope(RefCell::default(), attempt).await,
    }
}

/// What `program` printed before within this [`once`].
pub(super) fn printed(program: &Program) -> Option<String> {
    let found = PRINTED.try_with(|printed| {
        let printed = printed.borrow();
        let mut all = printed.iter();
        let (_, text) = all.find(|(known, _)| known == program)?;
        Some(text.as_str().to_owned())
    });
    found.ok().flatten()
}

/// Keeps what `program` printed for the rest of this [`once`].
pub(super) fn remember(program: &Program, secret: &Secret<String>) {
    let _ = PRINTED.try_with(|printed| {
        let text = Zeroizing::new(secret.expose().clone());
        printed.borrow_mut().push((program.clone(), text));
    });
}

/// What `program` prints, one byte more than [`MAX_BYTES`] at most. Blocks until it
/// ends, for ten seconds at most.
pub(super) fn read(program: &Program) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    read_within(program, LIMIT)
}

fn read_within(program: &Program, limit: Duration) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let (name, arguments) = program.argv.split_first().ok_or(SecretFault::Empty)?;
    let named = program.env.iter().map(String::as_str);
    let seen = ENVIRONMENT.into_iter().chain(named);
    let _counted = RunningCount::begin();
    if is_ending() {
        return Err(SecretFault::TooSlow);
    }
    let mut child = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(seen.filter_map(|name| Some((name, std::env::var_os(name)?))))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it started can be killed with it.
        .process_group(0)
        .spawn()
        .map_err(SecretFault::NotStarted)?;
    let Some(mut output) = child.stdout.take() else {
        return Err(end(child, SecretFault::TooSlow));
    };
    match all_of(&mut child, &mut output, limit) {
        Ok((bytes, _)) if bytes.len() > MAX_BYTES => Err(end(child, SecretFault::TooLong)),
        Ok((bytes, ended)) => {
            let status = ended
                .or_else(|| wait(&mut child))
                .ok_or(())
                .map_err(|()| end(child, SecretFault::TooSlow))?;
            if status.success() {
                Ok(bytes)
            } else {
                Err(SecretFault::Failed(status))
            }
        }
        Err(fault) => Err(end(child, fault)),
    }
}

/// What comes out of `output` until it or `child` ends, or one byte more than
/// [`MAX_BYTES`], and how `child` ended, where that came first: what it left running may
/// hold the other end of `output` for as long as it likes. So no thread waits in a read.
fn all_of(
    child: &mut Child,
    output: &mut ChildStdout,
    limit: Duration,
) -> Result<(Zeroizing<Vec<u8>>, Option<ExitStatus>), SecretFault> {
    let deadline = Instant::now() + limit;
    // All at once, since growing would leave copies behind that nobody zeroes.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut size = 0;
    let mut ended = None;
    while size < bytes.len() {
        if is_ending() {
            return Err(SecretFault::TooSlow);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // What was printed before the end is in the pipe already.
        let pause = if ended.is_some() {
            Duration::ZERO
        } else {
            left.min(LOOK)
        };
        let pause = Timespec::try_from(pause).map_err(|_| SecretFault::TooSlow)?;
        match poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&pause)) {
            Ok(0) if ended.is_some() => break,
            Ok(0) => {
                ended = child.try_wait().map_err(SecretFault::Unreadable)?;
                if ended.is_none() && left.is_zero() {
                    return Err(SecretFault::TooSlow);
                }
                continue;
            }
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(SecretFault::Unreadable(error.into())),
        }
        match output.read(&mut bytes[size..]) {
            Ok(0) => break,
            Ok(read) => size += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(SecretFault::Unreadable(error)),
        }
    }
    bytes.truncate(size);
    Ok((bytes, ended))
}

/// How it ended; `None` where it goes on although its output is closed.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if waited < LINGER && !is_ending() => {}
            Ok(None) | Err(_) => return None,
        }
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}

/// Kills `child` and all of its group, and passes `fault` on.
fn end(mut child: Child, fault: SecretFault) -> SecretFault {
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.kill();
    let _ = child.wait();
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::secret::SecretSource;

    fn argv(script: &str) -> Program {
        let argv = ["/bin/sh", "-c", script].map(String::from);
        argv.to_vec().into()
    }

    #[test]
    fn what_a_program_prints_is_the_secret() {
        let secret = SecretSource::Command(argv("printf 'p$w\\n'; echo noise >&2"))
            .fetch()
            .unwrap();
        assert_eq!(secret.expose(), "p$w");
        assert_eq!(secret.source(), "command /bin/sh");
    }

    #[test]
    fn arguments_reach_it_as_they_are_without_a_shell() {
        let argv = ["/bin/echo", "a b", "$HOME", ";", "*"].map(String::from);
        let secret = SecretSource::Command(argv.to_vec().into()).fetch().unwrap();
        assert_eq!(secret.expose(), "a b $HOME ; *");
    }

    #[test]
    fn a_program_that_fails_yields_nothing_and_tells_nothing() {
        let error = SecretSource::Command(argv("echo hunter2; echo hunter2 >&2; exit 3"))
            .fetch()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("command /bin/sh: it ended with exit status: 3"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn one_that_cannot_be_started_is_said_to_be_so() {
        let missing = vec!["/nonexistent/vault".to_owned()].into();
        let fault = read(&missing).unwrap_err();
        assert!(fault.to_string().contains("cannot be started"), "{fault}");
        assert!(read(&Program::default()).is_err());
    }

    #[test]
    fn a_slow_one_is_killed_with_all_that_it_started() {
        let folder = TempFolder::new();
        let pids = folder.path().join("pids");
        let script = format!("sleep 600 & echo $! $$ > {}; wait", pids.display());
        let fault = read_within(&argv(&script), Duration::from_millis(500)).unwrap_err();
        assert!(matches!(fault, SecretFault::TooSlow), "{fault}");
        let text = std::fs::read_to_string(pids).unwrap();
        let numbers: Vec<i32> = text
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert_eq!(numbers.len(), 2);
        for pid in numbers {
            // The kernel kills in its own time, and init may leave a zombie.
            let gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
                stat.map_or(true, |stat| stat.contains(") Z "))
            };
            let mut looks = 0;
            while !gone() {
                looks += 1;
                assert!(looks < 2000, "{pid} still runs");
                std::thread::sleep(LOOK);
            }
        }
    }

    #[test]
    fn a_program_that_ends_yields_what_it_printed_whatever_it_left_running() {
        for start in ["sleep 600 & echo $!", "setsid sleep 600 & echo $!"] {
            let folder = TempFolder::new();
            let pid = folder.path().join("pid");
            let script = format!("{start} > {}; printf p$w", pid.display()).replace("$w", "@w");
            let secret = SecretSource::Command(argv(&script)).fetch().unwrap();
            assert_eq!(secret.expose(), "p@w");
            let left = std::fs::read_to_string(pid).unwrap();
            let left = Pid::from_raw(left.trim().parse().unwrap()).unwrap();
            // An agent, say: it goes on.
            rustix::process::kill_process(left, Signal::KILL).unwrap();
        }
    }

    #[test]
    fn one_that_fails_with_a_child_at_its_pipe_has_failed() {
        let folder = TempFolder::new();
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo no; exit 3", pid.display());
        let fault = read(&argv(&script)).unwrap_err();
        assert!(matches!(fault, SecretFault::Failed(_)), "{fault}");
        let left = std::fs::read_to_string(pid).unwrap();
        let left = Pid::from_raw(left.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }

    #[test]
    fn a_lot_of_output_is_read_whole_although_the_program_ended() {
        let script = "sleep 0.05; head -c 60000 /dev/zero | tr '\\0' a";
        let secret = SecretSource::Command(argv(script)).fetch().unwrap();
        assert_eq!(secret.expose().len(), 60_000);
    }

    #[test]
    fn it_sees_a_small_environment_and_what_is_named() {
        // Cargo sets these for tests.
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let mut program = argv("echo $CARGO_PKG_NAME,$CARGO_PKG_VERSION,${PATH:+path}");
        let said = |program: &Program| {
            let secret = SecretSource::Command(program.clone()).fetch().unwrap();
            secret.expose().clone()
        };
        assert_eq!(said(&program), ",,path");
        program.env = ["CARGO_PKG_NAME", "NOT_SET_ANYWHERE"]
            .map(String::from)
            .into();
        assert_eq!(said(&program), "headset,,path");
    }

    #[tokio::test]
    async fn within_one_attempt_it_runs_once() {
        let folder = TempFolder::new();
        let count = folder.path().join("count");
        let script = format!("echo ran >> {}; echo p@w", count.display());
        let source = SecretSource::Command(argv(&script));
        let read_thrice = async {
            for _ in 0..3 {
                assert_eq!(source.read().await.unwrap().expose(), "p@w");
            }
        };
        once(once(read_thrice)).await;
        let ran = || std::fs::read_to_string(&count).unwrap().lines().count();
        assert_eq!(ran(), 1);
        source.read().await.unwrap();
        assert_eq!(ran(), 2, "another attempt asks anew");
    }

    #[test]
    fn endless_output_is_cut_off() {
        let fault = read(&argv("yes")).unwrap_err();
        assert!(matches!(fault, SecretFault::TooLong), "{fault}");
    }

    #[test]
    fn the_same_checks_stand_behind_it_as_behind_a_file() {
        let error = SecretSource::Command(argv("printf 'a\\tb'"))
            .fetch()
            .unwrap_err();
        assert!(error.to_string().contains("control character at byte 1"));
        assert!(SecretSource::Command(argv("true")).fetch().is_err());
    }

    #[tokio::test]
    async fn it_is_awaited_without_blocking_the_thread() {
        let source = SecretSource::Command(argv("sleep 0.3; echo late"));
        let mut ticks = 0;
        let mut reading = std::pin::pin!(source.read());
        let secret = loop {
            tokio::select! {
                secret = &mut reading => break secret.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(10)) => ticks += 1,
            }
        };
        assert_eq!(secret.expose(), "late");
        assert!(ticks > 3, "{ticks}");
    }
}
