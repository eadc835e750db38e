//! Tests of the writes against a fake API server in memory.

mod fake;
mod leader;
mod queue;
mod run;
mod uninstall;
