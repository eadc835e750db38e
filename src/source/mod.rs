//! Where objects come from: each source yields the same [`Objects`](crate::compile::Objects).

pub mod environment;
pub mod file;
mod kinds;
pub mod kube;
pub mod models;
mod schema;
mod tolerant;

pub(crate) use self::kinds::resources;
