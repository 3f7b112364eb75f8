//! Sockets: moves bytes and knows no credential and no route.

pub mod activity;
pub mod buffers;
pub mod caller;
pub mod connect;
pub mod egress;
pub mod frames;
pub mod gathered;
pub mod guard;
pub mod h2_error;
pub mod h2_sender;
pub mod io;
pub mod linger;
pub mod listen;
pub mod poll_clock;
pub mod proxy_header;
pub mod race;
pub mod read_ahead;
pub mod resolve;
pub mod share;
pub mod tls;
pub mod tunnel;
pub mod turn;
pub mod unix;
pub mod write_buffer;
