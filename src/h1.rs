//! HTTP/1.1 towards upstreams (RFC 9112), without sockets, clocks or tasks.
//!
//! Three parts, each a function of bytes and its own few fields: [`request`] writes the
//! head of a request and frames its body, [`response`] reads the head of a response,
//! [`body`] takes a response's body out of the bytes that came. What leaves has one
//! reading, and what comes is refused where careful readers could differ on it, but for
//! what `docs/http.md` lists as tolerated. Every limit is a parameter or a named constant.
//!
//! It knows nothing of connections: who reads, writes, waits and gives up is
//! `gateway/client/conn.rs` and `exchange.rs`. Callers are served by hyper.

pub mod body;
pub mod request;
pub mod response;
