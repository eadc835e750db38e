//! Every fault of a provider, for every kind of request: what the client gets, how many requests were sent, what is
//! counted and what cools. The table of `docs/reliability.md` comes out of this run.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod common;

#[path = "faults/bad_input.rs"]
mod bad_input;
#[path = "faults/cell.rs"]
mod cell;
#[path = "hostile/frames.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod frames;
#[path = "faults/matrix.rs"]
mod matrix;
#[path = "faults/page.rs"]
mod page;
#[path = "faults/provider.rs"]
mod provider;
#[path = "faults/rows.rs"]
mod rows;
