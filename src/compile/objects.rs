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
    field::{self, Step},
    gateway::{BackendTlsPolicy, Gateway, GatewayClass, HttpRoute, ReferenceGrant, Unserved},
    gateway_parameters::GatewayParameters,
    traffic_policy::TrafficPolicy,
};

/// The label with the Service that an EndpointSlice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

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
    /// `BackendTLSPolicy` objects.
    pub backend_tls_policies: Map<BackendTlsPolicy>,
    /// Backends.
    pub backends: Map<Backend>,
    /// TrafficPolicies.
    pub traffic_policies: Map<TrafficPolicy>,
    /// GatewayParameters.
    pub gateway_parameters: Map<GatewayParameters>,
    /// Secrets that something may refer to.
    pub secrets: Map<SecretData>,
    /// ConfigMaps that something may refer to. Their values are held as those of Secrets are.
    pub config_maps: Map<SecretData>,
    /// Namespaces, for their labels.
    pub namespaces: Map<Namespace>,
    /// Services.
    pub services: Map<Service>,
    /// EndpointSlices.
    pub endpoint_slices: Map<EndpointSlice>,
    /// Objects of kinds that are not served, by kind.
    pub unserved: BTreeMap<Kind, Map<Unserved>>,
    /// Documents that could not be decoded to objects.
    pub rejected: Vec<Rejected>,
    /// Parts of objects that could not be read, of those that have any.
    pub unread: BTreeMap<(Kind, ObjectKey), Arc<[Unread]>>,
    /// Incremented with every change that can affect the snapshot; changes of status alone do not count. Sources begin
    /// at 1.
    pub revision: u64,
}

/// A document that could not be decoded to an object: other documents are not affected.
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

impl Objects {
    /// The parts of an object that could not be read.
    pub fn unread(&self, kind: Kind, key: &ObjectKey) -> &[Unread] {
        if self.unread.is_empty() {
            return &[];
        }
        self.unread.get(&(kind, key.clone())).map_or(&[], |unread| unread)
    }

    /// The EndpointSlices of a Service.
    pub fn slices_of<'a>(&'a self, namespace: &'a str, service: &'a str) -> impl Iterator<Item = &'a EndpointSlice> {
        let in_namespace = self.endpoint_slices.iter().filter(move |(key, _)| key.namespace == namespace);
        in_namespace.map(|(_, slice)| &**slice).filter(move |slice| {
            slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|of| of == service)
        })
    }

    /// The names of a Service's pods, ready or not.
    pub fn pods_of<'a>(&'a self, namespace: &'a str, service: &'a str) -> impl Iterator<Item = &'a str> {
        let endpoints = self.slices_of(namespace, service).flat_map(|slice| &slice.endpoints);
        endpoints.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.as_deref())
    }

    /// The rejected document of this kind and key, if there is one.
    pub fn rejection(&self, kind: Kind, key: &ObjectKey) -> Option<&Rejected> {
        self.rejected.iter().find(|r| r.kind == Some(kind) && r.key.as_ref() == Some(key))
    }
}

/// A part of an object that could not be read: a field or a value that this version does not support. The object is
/// used without it, so rules that depend on the part must not be served as if it had never been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where it is in the object.
    pub path: Vec<Step>,
    /// The problem with it. Never shows the value.
    pub message: String,
    /// The field itself is unknown; otherwise its value is.
    pub is_field: bool,
}

impl Unread {
    /// The part of the path after the field `name` of `spec`; `None` when it is elsewhere.
    pub fn below(&self, name: &str) -> Option<&[Step]> {
        match self.path.as_slice() {
            [spec, field, rest @ ..] if spec.is("spec") && field.is(name) => Some(rest),
            _ => None,
        }
    }

    /// Whether it is a part of the status, which is not compiled.
    pub fn is_status(&self) -> bool {
        self.path.first().is_some_and(|step| step.is("status"))
    }

    /// The part of the path inside the element `index` of the list `name` of `spec`.
    pub fn inside(&self, name: &str, index: usize) -> Option<&[Step]> {
        match self.below(name)? {
            [element, rest @ ..] if element.index() == Some(index) => Some(rest),
            _ => None,
        }
    }
}

/// `PATH: the problem with it`.
impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", field::display(&self.path), self.message)
    }
}
