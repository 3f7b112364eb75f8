//! Children that are nobody's, where headset is the first process of a container.
//!
//! Whoever loses its parent there becomes our child, and when it ends it stays in the
//! table of processes until we ask for its exit code (waitpid(2)): helpers of a `command`
//! secret, or programs that somebody runs beside us, would fill it. Helpers that we wait
//! for are ended or killed after a few seconds, so what has been dead for longer than
//! that is an orphan; nobody's exit code is taken away.

use std::time::Duration;

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long one must have been dead: far more than a helper may run after its end was
/// asked for (`secret/command.rs`).
const DEAD_FOR: Duration = Duration::from_secs(30);

/// How often the dead are looked for.
const LOOK: Duration = Duration::from_secs(10);

/// Reaps orphans for as long as it is polled; where headset is not the first process it
/// has none, and this ends at once.
pub async fn reap() {
    let me = getpid();
    if !me.is_init() {
        return;
    }
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut dead = Dead::default();
    loop {
        let now = look.tick().await;
        for child in dead.orphans(dead_children(me), now) {
            // One that is gone already was somebody's after all.
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
        }
    }
}

/// A dead child: its number, and when it was started, since numbers are used again.
type Child = (Pid, u64);

/// Since when children have been seen dead.
#[derive(Debug, Default)]
struct Dead(Vec<(Child, Instant)>);

impl Dead {
    /// Those of `children`, which are dead `now`, that have been so for long.
    fn orphans(&mut self, children: Vec<Child>, now: Instant) -> Vec<Pid> {
        let since = |child: &Child| {
            let known = self.0.iter().find(|(known, _)| known == child);
            known.map_or(now, |(_, since)| *since)
        };
        self.0 = children.into_iter().map(|c| (c, since(&c))).collect();
        let long = self.0.iter().filter(|(_, since)| now - *since >= DEAD_FOR);
        long.map(|((pid, _), _)| *pid).collect()
    }
}

/// The children of `parent` that are dead and not reaped (proc_pid_stat(5)).
fn dead_children(parent: Pid) -> Vec<Child> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter_map(|stat| dead_child(&stat, parent))
        .collect()
}

fn dead_child(stat: &str, parent: Pid) -> Option<Child> {
    // The name of a program may hold anything, blanks and parentheses too.
    let (pid, _) = stat.split_once(" (")?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_dead = fields.next()? == "Z";
    let is_ours = fields.next()?.parse() == Ok(parent.as_raw_nonzero().get());
    let started = fields.nth(17)?.trim().parse().ok()?;
    let pid = Pid::from_raw(pid.parse().ok()?)?;
    (is_dead && is_ours).then_some((pid, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    #[test]
    fn only_what_has_been_dead_for_long_is_an_orphan() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut dead = Dead::default();
        assert!(
            dead.orphans(vec![(pid(7), 1), (pid(8), 1)], start)
                .is_empty()
        );
        assert!(
            dead.orphans(vec![(pid(7), 1), (pid(8), 1)], after(20))
                .is_empty()
        );
        // 8 was waited for by its owner, and its number is another's now.
        let orphans = dead.orphans(vec![(pid(7), 1), (pid(8), 2)], after(30));
        assert_eq!(orphans, [pid(7)]);
        assert!(dead.orphans(vec![(pid(8), 2)], after(50)).is_empty());
        assert_eq!(dead.orphans(vec![(pid(8), 2)], after(60)), [pid(8)]);
    }

    #[test]
    fn a_line_of_the_kernel_is_read_whatever_the_program_is_called() {
        let stat = |state: &str| {
            format!("42 (a) b (c) {state} 1 42 42 0 -1 4228100 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0\n")
        };
        assert_eq!(dead_child(&stat("Z"), pid(1)), Some((pid(42), 777)));
        assert_eq!(dead_child(&stat("S"), pid(1)), None);
        assert_eq!(dead_child(&stat("Z"), pid(2)), None);
        assert_eq!(dead_child("nonsense", pid(1)), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_dead_child_is_found_until_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let number = Pid::from_child(&child);
        let is_there = || {
            dead_children(getpid())
                .iter()
                .any(|(pid, _)| *pid == number)
        };
        let begun = Instant::now();
        while !is_there() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never ended");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_there());
    }
}
