//! Writing against an API server that is made of a map: what arrives there, when, and what does not.

mod fake;
mod leader;
mod queue;
mod run;
