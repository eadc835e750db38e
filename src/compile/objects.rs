//! All objects of one moment, from whichever source.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use serde::Serialize;

use crate::api::{
    Kind, ObjectKey, SecretData,
    backend::Backend,
    gateway::{Gateway, GatewayClass, HttpRoute, ReferenceGrant},
    gateway_parameters::GatewayParameters,
    traffic_policy::TrafficPolicy,
};

/// Objects of one kind by key.
pub type Map<T> = BTreeMap<ObjectKey, Arc<T>>;

/// All objects of one moment. Cheap to clone: the objects are shared.
#[derive(Clone, Default)]
pub struct Objects {
    /// GatewayClasses.
    pub gateway_classes: Map<GatewayClass>,
    /// Gateways.
    pub gateways: Map<Gateway>,
    /// HTTPRoutes.
    pub http_routes: Map<HttpRoute>,
    /// ReferenceGrants.
    pub reference_grants: Map<ReferenceGrant>,
    /// Backends.
    pub backends: Map<Backend>,
    /// TrafficPolicies.
    pub traffic_policies: Map<TrafficPolicy>,
    /// GatewayParameters.
    pub gateway_parameters: Map<GatewayParameters>,
    /// Secrets that something may refer to.
    pub secrets: Map<SecretData>,
    /// Namespaces, for their labels.
    pub namespaces: Map<Namespace>,
    /// Services.
    pub services: Map<Service>,
    /// EndpointSlices.
    pub endpoint_slices: Map<EndpointSlice>,
    /// Documents that could not become objects.
    pub rejected: Vec<Rejected>,
    /// Counts up with every change that can affect the snapshot; changes of status alone do not count. Sources begin
    /// at 1.
    pub revision: u64,
}

/// A document that could not become an object: it hurts only itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Its location, as `FILE:LINE` or the API server's path.
    pub location: String,
    /// Its kind, when that could be read.
    pub kind: Option<Kind>,
    /// Its key, when that could be read.
    pub key: Option<ObjectKey>,
    /// The error, with its place inside the document.
    pub error: String,
}
