//! Shares new connections among workers: one that has more open than another gives way.
//!
//! All workers accept from one socket, and the kernel wakes them all. The first to run would
//! take every connection of a burst, and callers that keep theirs would keep one worker busy
//! and the others idle. So a worker that is ahead leaves a connection to the others for a
//! moment, and takes it where none of them came.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How many connections more than another worker one may have before it gives way.
const AHEAD: usize = 2;

/// For how long: another that is at leisure comes sooner.
const GIVE_WAY: Duration = Duration::from_millis(1);

/// One worker's share of all open connections. Clones are the same one's.
#[derive(Clone, Debug)]
pub struct WorkerShare {
    open: Arc<[AtomicUsize]>,
    index: usize,
}

/// A connection that counts for its worker until this is dropped.
#[derive(Debug)]
pub struct SharedConnection(WorkerShare);

impl WorkerShare {
    /// The shares of `workers`.
    pub fn among(workers: usize) -> Vec<WorkerShare> {
        let open: Arc<[AtomicUsize]> = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        let share = |index| WorkerShare {
            open: open.clone(),
            index,
        };
        (0..workers).map(share).collect()
    }

    /// All of them.
    pub fn alone() -> WorkerShare {
        WorkerShare {
            open: Arc::from([AtomicUsize::new(0)]),
            index: 0,
        }
    }

    /// Counts a connection.
    pub fn take(&self) -> SharedConnection {
        self.open[self.index].fetch_add(1, Ordering::Relaxed);
        SharedConnection(self.clone())
    }

    fn is_ahead(&self) -> bool {
        let mine = self.open[self.index].load(Ordering::Relaxed);
        let another = self.open.iter().map(|open| open.load(Ordering::Relaxed));
        another.min().is_some_and(|least| mine > least + AHEAD)
    }

    /// What `accept` yields, given way to the others where this worker is ahead. Cancel-safe
    /// where `accept` is.
    pub async fn in_turn<T>(&self, mut accept: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut way: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if self.is_ahead() {
                let waiting = way.get_or_insert_with(|| Box::pin(sleep(GIVE_WAY)));
                ready!(waiting.as_mut().poll(cx));
            }
            // It is looked at once; what comes later wakes again, and is given way to again.
            way = None;
            accept(cx)
        })
        .await
    }
}

impl Drop for SharedConnection {
    fn drop(&mut self) {
        let WorkerShare { open, index } = &self.0;
        open[*index].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    /// Accepts for `share` and keeps all.
    async fn accept(
        listener: tokio::net::TcpListener,
        share: &WorkerShare,
        kept: &RefCell<Vec<SharedConnection>>,
    ) {
        loop {
            let accepted = share.in_turn(|cx| listener.poll_accept(cx)).await;
            accepted.unwrap();
            kept.borrow_mut().push(share.take());
        }
    }

    fn socket() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_burst_each_worker_takes_its_share() {
        let (listener, at) = socket();
        let shares = WorkerShare::among(2);
        let kept: [RefCell<Vec<SharedConnection>>; 2] = Default::default();
        let both = [listener.try_clone().unwrap(), listener];
        let [one, two] = both.map(|each| tokio::net::TcpListener::from_std(each).unwrap());
        let callers: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(at).unwrap()).collect();
        let all_came = async {
            let came = || kept.iter().map(|kept| kept.borrow().len()).sum::<usize>();
            while came() < callers.len() {
                sleep(GIVE_WAY).await;
            }
        };
        // The first could take them all before the second is polled.
        tokio::select! {
            biased;
            () = accept(one, &shares[0], &kept[0]) => {}
            () = accept(two, &shares[1], &kept[1]) => {}
            () = all_came => {}
        }
        let taken = kept.each_ref().map(|kept| kept.borrow().len());
        assert!(
            taken.iter().all(|taken| taken.abs_diff(20) <= AHEAD),
            "{taken:?}"
        );
        drop(kept);
        assert!(
            shares
                .iter()
                .all(|share| share.open[share.index].load(Ordering::Relaxed) == 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_others_do_not_come_one_takes_all() {
        let (listener, at) = socket();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let shares = WorkerShare::among(2);
        let _callers: Vec<TcpStream> = (0..9).map(|_| TcpStream::connect(at).unwrap()).collect();
        let mut kept = Vec::new();
        for _ in 0..9 {
            let accepted = shares[0].in_turn(|cx| listener.poll_accept(cx)).await;
            accepted.unwrap();
            kept.push(shares[0].take());
        }
    }
}
