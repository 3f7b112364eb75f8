//! Connections that rest, over sockets whose other end the test holds. Time is paused only
//! once they stand: a paused clock runs ahead while a socket is waited for.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use http::Method;
use tokio::task::LocalSet;

use super::*;
use crate::config::url::HttpOrigin;
use crate::gateway::client::h1::Exchange;
use crate::gateway::request_body::RequestBody;
use crate::gateway::testing;
use crate::net::egress::Egress;

const LIMIT: Duration = Duration::from_secs(20);

fn pool(upstream: &TcpListener) -> Rc<ConnPool> {
    pool_with(upstream, LIMIT, LIMIT)
}

fn pool_with(upstream: &TcpListener, keep_alive: Duration, age: Duration) -> Rc<ConnPool> {
    let origin = HttpOrigin {
        tls: false,
        host: "127.0.0.1".into(),
        port: upstream.local_addr().unwrap().port(),
    };
    let egress = Egress::default();
    let connector = Connector::new(origin, &Default::default(), LIMIT, egress).unwrap();
    let lifetimes = Lifetimes {
        header_count: 100,
        keep_alive,
        age,
        first_byte: LIMIT,
        idle: LIMIT,
        tunnel_idle: LIMIT,
        expect_continue: LIMIT,
    };
    ConnPool::new(connector, lifetimes, testing::metrics())
}

/// One call over `conn`; its other end answers it in whole.
async fn call(pool: &Rc<ConnPool>, conn: Box<Conn>, upstream: &mut TcpStream) {
    let request = testing::call(Method::GET, RequestBody::empty());
    let mut exchange = Exchange::begin(pool.clone(), conn, request);
    let answer = poll_fn(|cx| exchange.poll(cx));
    let answering = async {
        let mut bytes = [0; 1024];
        while upstream.read(&mut bytes).is_err() {
            tokio::task::yield_now().await;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        upstream.write_all(answer).unwrap();
    };
    let both = async { tokio::join!(answer, answering).0 };
    let answer = tokio::time::timeout(LIMIT, both).await;
    assert_eq!(
        answer.expect("the other connection").unwrap().0.status(),
        200
    );
}

async fn connected(pool: &Rc<ConnPool>, upstream: &TcpListener) -> TcpStream {
    let conn = pool.connect_h1().await.unwrap();
    let (mut stream, _) = upstream.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    call(pool, conn, &mut stream).await;
    stream
}

#[tokio::test]
async fn a_second_answer_behind_the_first_is_seen_before_the_runtime_looks_again() {
    let local = LocalSet::new();
    let run = async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let pool = pool(&upstream);
        let mut stream = connected(&pool, &upstream).await;
        let stray = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        stream.write_all(stray).unwrap();
        // No await between: the runtime knows nothing of it.
        assert!(pool.checkout(false).is_none());
    };
    local.run_until(run).await;
}

#[tokio::test]
async fn what_the_runtime_has_seen_is_taken_before_what_it_has_not() {
    let local = LocalSet::new();
    let run = async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let pool = pool(&upstream);
        let mut first = connected(&pool, &upstream).await;
        turn::advance();
        let conn = pool.connect_h1().await.unwrap();
        let (mut second, _) = upstream.accept().unwrap();
        second.set_nonblocking(true).unwrap();
        call(&pool, conn, &mut second).await;
        let conn = pool.checkout(false).unwrap();
        call(&pool, conn, &mut first).await;
        turn::advance();
        assert!(pool.checkout(false).is_some());
        assert!(pool.checkout(false).is_some());
        assert!(pool.checkout(false).is_none());
    };
    local.run_until(run).await;
}

/// Connections of the pool under a call, and at rest.
fn counted(pool: &ConnPool) -> (i64, i64) {
    let metrics = pool.metrics();
    (
        metrics.connections_active.get(),
        metrics.connections_idle.get(),
    )
}

/// Whether the upstream sees its connection closed, now.
fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 16]), Ok(0))
}

async fn on_worker(story: impl Future<Output = ()>) {
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn each_connection_is_counted_where_it_is_until_it_is_closed() {
    on_worker(async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let pool = pool(&upstream);
        let conn = pool.connect_h1().await.unwrap();
        assert_eq!(counted(&pool), (1, 0));
        drop(conn);
        drop(upstream.accept());
        assert_eq!(counted(&pool), (0, 0));
        let _stream = connected(&pool, &upstream).await;
        assert_eq!(counted(&pool), (0, 1));
        let conn = pool.checkout(false).unwrap();
        assert_eq!(counted(&pool), (1, 0));
        pool.release(conn);
        assert_eq!(counted(&pool), (0, 1));
        drop(pool.checkout(false));
        assert_eq!(counted(&pool), (0, 0));
        assert!(pool.checkout(false).is_none());
    })
    .await;
}

#[tokio::test]
async fn what_has_rested_as_long_as_it_may_carries_no_other_call() {
    on_worker(async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let second = Duration::from_secs(1);
        let pool = pool_with(&upstream, second * 10, Duration::ZERO);
        let mut stream = connected(&pool, &upstream).await;
        tokio::time::pause();
        for _ in 0..5 {
            tokio::time::advance(second * 9).await;
            let conn = pool.checkout(false).expect("it rested for less");
            pool.release(conn);
        }
        tokio::time::advance(second * 10).await;
        assert!(pool.checkout(false).is_none());
        assert!(is_closed(&mut stream));
        assert_eq!(counted(&pool), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_has_lived_as_long_as_it_may_carries_no_other_call() {
    on_worker(async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let second = Duration::from_secs(1);
        let pool = pool_with(&upstream, second * 60, second * 20);
        let mut stream = connected(&pool, &upstream).await;
        tokio::time::pause();
        tokio::time::advance(second * 19).await;
        let conn = pool.checkout(false).expect("it is younger");
        // Its call takes it over the bound.
        tokio::time::advance(second * 2).await;
        pool.release(conn);
        assert!(is_closed(&mut stream));
        assert_eq!(counted(&pool), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn without_a_time_to_rest_no_connection_is_kept() {
    on_worker(async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let pool = pool_with(&upstream, Duration::ZERO, Duration::ZERO);
        let mut stream = connected(&pool, &upstream).await;
        assert!(pool.checkout(false).is_none());
        assert!(is_closed(&mut stream));
        // The same for one that a single caller authenticated.
        let pool = self::pool(&upstream);
        let mut stream = connected(&pool, &upstream).await;
        let mut conn = pool.checkout(false).unwrap();
        conn.belongs_to_one_call();
        pool.release(conn);
        assert!(pool.checkout(false).is_none());
        assert!(is_closed(&mut stream));
    })
    .await;
}

#[tokio::test]
async fn a_closed_connection_is_passed_over_by_a_call_that_must_not_be_lost() {
    on_worker(async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let pool = pool(&upstream);
        let first = connected(&pool, &upstream).await;
        let conn = pool.connect_h1().await.unwrap();
        let (mut second, _) = upstream.accept().unwrap();
        second.set_nonblocking(true).unwrap();
        call(&pool, conn, &mut second).await;
        turn::advance();
        drop(second);
        let conn = pool.checkout(true).expect("the other one lives");
        pool.release(conn);
        drop(first);
        turn::advance();
        assert!(pool.checkout(true).is_none());
        assert_eq!(counted(&pool), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_sweep_closes_what_is_spent_and_what_its_upstream_has_closed() {
    on_worker(async {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let pool = pool(&upstream);
        let mut first = connected(&pool, &upstream).await;
        let conn = pool.connect_h1().await.unwrap();
        let (mut second, _) = upstream.accept().unwrap();
        second.set_nonblocking(true).unwrap();
        call(&pool, conn, &mut second).await;
        assert_eq!(counted(&pool), (0, 2));
        pool.sweep();
        assert_eq!(counted(&pool), (0, 2), "both are well");
        drop(second);
        pool.sweep();
        assert_eq!(counted(&pool), (0, 1));
        tokio::time::pause();
        tokio::time::advance(LIMIT).await;
        pool.sweep();
        assert_eq!(counted(&pool), (0, 0));
        assert!(is_closed(&mut first));
    })
    .await;
}
