//! The API of users: custom resources of `gateway.kgateway.dev/v1alpha1`, Gateway API types, conditions and reasons.
//!
//! The custom resources hold the union of kgateway's manifest generations (2.0, mid-2025, 2.1): every spelling that a
//! user may have on disk is accepted. Decoding is lenient where an API server would have defaulted or refused, because
//! manifests from files meet no API server; `compile::shape` refuses there what the schema refuses in a cluster.
//!
//! The fields of LLM providers are declared beside each provider, in [`provider`](crate::provider), and composed here.

pub mod backend;
pub mod condition;
mod crd;
pub mod duration;
pub mod field;
pub mod gateway;
pub mod gateway_parameters;
pub mod object;
mod schema;
pub mod secret;
pub mod traffic_policy;

pub use crd::{crds, crds_yaml, write_crds};
pub use object::{Kind, ObjectKey};
pub use schema::FreeForm;
pub use secret::SecretData;

/// The API group of Tollgate's custom resources.
pub const GROUP: &str = "gateway.kgateway.dev";
/// The version of Tollgate's custom resources.
pub const VERSION: &str = "v1alpha1";
