//! The command beside headset: its start, its signals and its end.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process};
use rustix::process::{getrlimit, setrlimit, waitid};
use tokio::sync::oneshot;

use super::environment::Changes;
use super::signals::CaughtSignals;

/// Why the command did not start.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// As the shell says: 127 where there is no such command, else 126 (POSIX.1-2024, Shell
    /// Command Language, 2.8.2).
    pub(super) code: u8,
    /// Why, and what to do about it.
    pub(super) why: String,
}

impl NotStarted {
    fn new(command: &OsString, error: &io::Error) -> NotStarted {
        let name = command.to_string_lossy();
        let (code, fix) = match error.kind() {
            io::ErrorKind::NotFound if name.contains('/') => {
                (127, "check its path, and the interpreter in its first line")
            }
            io::ErrorKind::NotFound => (127, "it is in no folder of PATH; give its path"),
            io::ErrorKind::PermissionDenied => (
                126,
                "it is no program, or may not be run: chmod +x makes a script one",
            ),
            _ => (126, "see whether it runs without headset"),
        };
        NotStarted {
            code,
            why: format!("{name} cannot be started ({error}); {fix}"),
        }
    }
}

/// The command, while it runs.
#[derive(Debug)]
pub(super) struct RunningCommand {
    child: Child,
    pid: Pid,
    /// Told at its end, before anybody takes its exit code: until then its number is its own.
    ended: oneshot::Receiver<()>,
}

/// Starts `command` with headset's environment but for `changes`, and with `files` as its
/// limit of open files, which headset has raised for itself.
///
/// # Errors
/// Where there is no such program, or it cannot be run.
pub(super) fn start(
    command: &[OsString],
    changes: &Changes,
    files: Rlimit,
    signals: &CaughtSignals,
) -> Result<RunningCommand, NotStarted> {
    let (name, arguments) = command.split_first().ok_or_else(|| NotStarted {
        code: 127,
        why: "there is no command after --; write one".to_owned(),
    })?;
    let mut program = Command::new(name);
    program.args(arguments);
    for (variable, value) in changes {
        match value {
            Some(value) => program.env(variable, value),
            None => program.env_remove(variable),
        };
    }
    if !signals.has_terminal() {
        // Whoever signals headset's group has meant headset, who passes it on once.
        program.process_group(0);
    }
    let raised = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, files);
    let spawned = program.spawn();
    let _ = setrlimit(Resource::Nofile, raised);
    let child = spawned.map_err(|error| NotStarted::new(name, &error))?;
    let pid = Pid::from_child(&child);
    let (tell, ended) = oneshot::channel();
    let waiter = std::thread::Builder::new().name("command".into());
    let waiting = waiter.spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        let _ = tell.send(());
    });
    let mut running = RunningCommand { child, pid, ended };
    if let Err(error) = waiting {
        running.end();
        return Err(NotStarted {
            code: 126,
            why: format!("{} cannot be waited for ({error})", name.to_string_lossy()),
        });
    }
    Ok(running)
}

impl RunningCommand {
    /// Waits for its end and passes on what comes meanwhile. Not cancel-safe where a signal
    /// comes at that very moment.
    pub(super) async fn wait(&mut self, signals: &mut CaughtSignals) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                _ = &mut self.ended => return self.child.wait(),
                passed = signals.next() => {
                    if !signals.has_reached_child(passed) {
                        self.signal(passed.signal);
                    }
                }
            }
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        // One that ended a moment ago is told so soon enough.
        let _ = kill_process(self.pid, signal);
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code that headset ends with in place of the command: its own, or 128 and the
/// number of the signal that ended it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().map(|signal| 128 + signal);
    let code = status.code().or_else(by_signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_command_or_of_its_signal() {
        // As wait(2) packs them.
        let status = |raw| exit_code(ExitStatus::from_raw(raw));
        assert_eq!(status(0), 0);
        assert_eq!(status(3 << 8), 3);
        assert_eq!(status(15), 143);
        assert_eq!(status(9 | 0x80), 137);
    }

    #[test]
    fn what_cannot_be_started_has_the_code_of_a_shell_and_says_what_to_do() {
        let told = |name: &str, kind: io::ErrorKind| {
            let told = NotStarted::new(&name.into(), &kind.into());
            (told.code, told.why)
        };
        let (code, why) = told("nosuch", io::ErrorKind::NotFound);
        assert_eq!(code, 127);
        assert!(
            why.contains("nosuch cannot be started") && why.contains("PATH"),
            "{why}"
        );
        let (code, why) = told("./script.py", io::ErrorKind::NotFound);
        assert_eq!(code, 127);
        assert!(why.contains("interpreter"), "{why}");
        assert_eq!(told("./notes.txt", io::ErrorKind::PermissionDenied).0, 126);
        assert_eq!(told("./odd", io::ErrorKind::Other).0, 126);
    }
}
