//! One binary of stories: headset as its users meet it, over real sockets, against
//! the simulated contact center or an upstream that records every byte.

mod support;

mod stories {
    mod admin;
    mod drains;
    mod injects;
    mod keeps_secrets;
    mod limits;
    mod passes_through;
    mod refuses;
    mod replays;
    mod restart;
    mod rotation;
    mod single_flight;
    mod streams;
    mod unauthorized;
}

mod documents;
