//! Secrets that a program prints: a vault's client, a keychain.
//!
//! The program is started without a shell, with an empty stdin and a stderr that
//! nobody sees, since a failing client may print the secret there. It has ten seconds
//! and [`MAX_BYTES`] of output; then it is killed, with whatever it started. It
//! inherits headset's environment, which such clients are configured by.

use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Fault, MAX_BYTES};

/// How long a program may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long it may go on after it has closed its output.
const LINGER: Duration = Duration::from_secs(1);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What the program `argv` prints, one octet more than [`MAX_BYTES`] at most. Blocks
/// until it ends, for ten seconds at most.
pub(super) fn read(argv: &[String]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    read_within(argv, LIMIT)
}

fn read_within(argv: &[String], limit: Duration) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let (program, arguments) = argv.split_first().ok_or(Fault::Empty)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it started can be killed with it.
        .process_group(0)
        .spawn()
        .map_err(Fault::NotStarted)?;
    let Some(mut output) = child.stdout.take() else {
        return Err(end(child, Fault::TooSlow));
    };
    match all_of(&mut output, limit) {
        Ok(bytes) if bytes.len() > MAX_BYTES => Err(end(child, Fault::TooLong)),
        Ok(bytes) => {
            let status = wait(&mut child)
                .ok_or(())
                .map_err(|()| end(child, Fault::TooSlow))?;
            if status.success() {
                Ok(bytes)
            } else {
                Err(Fault::Failed(status))
            }
        }
        Err(fault) => Err(end(child, fault)),
    }
}

/// What comes out of `output` until it ends, or one octet more than [`MAX_BYTES`]. No
/// thread waits in a read: whoever left the group holds the other end for as long as it
/// likes.
fn all_of(output: &mut ChildStdout, limit: Duration) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let deadline = Instant::now() + limit;
    // All at once, since growing would leave copies behind that nobody zeroes.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut size = 0;
    while size < bytes.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Fault::TooSlow)?;
        match poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Fault::TooSlow),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(Fault::Unreadable(error.into())),
        }
        match output.read(&mut bytes[size..]) {
            Ok(0) => break,
            Ok(read) => size += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Unreadable(error)),
        }
    }
    bytes.truncate(size);
    Ok(bytes)
}

/// How it ended; `None` where it goes on although its output is closed.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if waited < LINGER => {}
            Ok(None) | Err(_) => return None,
        }
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}

/// Kills `child` and all of its group, and passes `fault` on.
fn end(mut child: Child, fault: Fault) -> Fault {
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    let _ = child.kill();
    let _ = child.wait();
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Source;
    use crate::secret::watch::testing::Folder;

    fn argv(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(String::from).into()
    }

    #[test]
    fn what_a_program_prints_is_the_secret() {
        let secret = Source::Command(argv("printf 'p$w\\n'; echo noise >&2"))
            .fetch()
            .unwrap();
        assert_eq!(secret.expose(), "p$w");
        assert_eq!(secret.source(), "command /bin/sh");
    }

    #[test]
    fn arguments_reach_it_as_they_are_without_a_shell() {
        let argv = ["/bin/echo", "a b", "$HOME", ";", "*"].map(String::from);
        let secret = Source::Command(argv.into()).fetch().unwrap();
        assert_eq!(secret.expose(), "a b $HOME ; *");
    }

    #[test]
    fn a_program_that_fails_yields_nothing_and_tells_nothing() {
        let error = Source::Command(argv("echo hunter2; echo hunter2 >&2; exit 3"))
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
        let missing = ["/nonexistent/vault".to_owned()];
        let fault = read(&missing).unwrap_err();
        assert!(fault.to_string().contains("cannot be started"), "{fault}");
        assert!(read(&[]).is_err());
    }

    #[test]
    fn a_slow_one_is_killed_with_all_that_it_started() {
        let folder = Folder::new();
        let pids = folder.path().join("pids");
        let script = format!("sleep 600 & echo $! $$ > {}; wait", pids.display());
        let fault = read_within(&argv(&script), Duration::from_millis(500)).unwrap_err();
        assert!(matches!(fault, Fault::TooSlow), "{fault}");
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
    fn one_that_left_its_group_holds_no_thread_of_ours() {
        let folder = Folder::new();
        let pid = folder.path().join("pid");
        let script = format!(
            "setsid sh -c 'echo $$ > {0}; exec sleep 600' & while [ ! -s {0} ]; do sleep 0.01; done",
            pid.display()
        );
        let names = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            tasks
                .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
                .filter(|name| name.starts_with("secret-command"))
                .count()
        };
        let fault = read_within(&argv(&script), Duration::from_secs(2)).unwrap_err();
        assert!(matches!(fault, Fault::TooSlow), "{fault}");
        assert_eq!(names(), 0);
        let orphan = std::fs::read_to_string(pid).unwrap();
        let orphan = Pid::from_raw(orphan.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(orphan, Signal::KILL).unwrap();
    }

    #[test]
    fn endless_output_is_cut_off() {
        let fault = read(&argv("yes")).unwrap_err();
        assert!(matches!(fault, Fault::TooLong), "{fault}");
    }

    #[test]
    fn the_same_checks_stand_behind_it_as_behind_a_file() {
        let error = Source::Command(argv("printf 'a\\tb'")).fetch().unwrap_err();
        assert!(error.to_string().contains("control character at byte 1"));
        assert!(Source::Command(argv("true")).fetch().is_err());
    }

    #[tokio::test]
    async fn it_is_awaited_without_blocking_the_thread() {
        let source = Source::Command(argv("sleep 0.3; echo late"));
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
