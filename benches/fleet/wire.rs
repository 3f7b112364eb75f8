//! The wire between replicas and their Redis: a TCP proxy that can stop and be slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// It lives on a runtime and a thread of its own, as what replicas share is no part of them.
pub struct Wire {
    pub port: u16,
    flows: watch::Sender<bool>,
    late_ms: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Wire {
    pub fn to(port: u16) -> Wire {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("it can");
        let own = listener.local_addr().expect("it has an address").port();
        let (flows, flowing) = watch::channel(true);
        let late_ms = Arc::new(AtomicU64::new(0));
        let late = late_ms.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("it is a socket");
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, flowing.clone(), late.clone()));
            }
        });
        Wire {
            port: own,
            flows,
            late_ms,
            runtime: Some(runtime),
        }
    }

    /// Whether anything passes; where nothing does, no connection ends either.
    pub fn flow(&self, flows: bool) {
        self.flows.send_replace(flows);
    }

    /// Each answer comes so much later.
    pub fn slow(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).expect("it is short");
        self.late_ms.store(ms, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Within another runtime none may be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn carry(
    near: TcpStream,
    port: u16,
    mut flowing: watch::Receiver<bool>,
    late_ms: Arc<AtomicU64>,
) {
    if flowing.wait_for(|flows| *flows).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let never = Arc::new(AtomicU64::new(0));
    tokio::select! {
        () = pump(near_in, far_out, flowing.clone(), never) => {}
        () = pump(far_in, near_out, flowing, late_ms) => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut flowing: watch::Receiver<bool>,
    late_ms: Arc<AtomicU64>,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        let Ok(octets @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let late = late_ms.load(Ordering::Relaxed);
        if late > 0 {
            tokio::time::sleep(Duration::from_millis(late)).await;
        }
        if flowing.wait_for(|flows| *flows).await.is_err()
            || to.write_all(&piece[..octets]).await.is_err()
        {
            return;
        }
    }
}
