//! The table of kinds: the names of each, and the decoder of its documents. Both sources use it.

use std::sync::Arc;

use ::kube::api::ApiResource;
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{
    api::{
        Kind, ObjectKey, SecretData,
        backend::Backend,
        field::Step,
        gateway::{BackendTlsPolicy, Gateway, GatewayClass, HttpRoute, ReferenceGrant, Unserved},
        gateway_parameters::GatewayParameters,
        traffic_policy::TrafficPolicy,
    },
    compile::Objects,
};

/// One row of the table of kinds.
pub(super) struct KindRow {
    pub kind: Kind,
    pub group: &'static str,
    /// The versions that decode to the same type, the preferred one first.
    pub versions: &'static [&'static str],
    /// The name in the API server's paths.
    pub plural: &'static str,
    /// Cluster-scoped: objects have no namespace.
    pub cluster: bool,
    /// `None` for Secrets and ConfigMaps, whose values each source reads in its own way.
    pub decode: Option<Decode>,
}

/// Decodes a document to its object.
pub(super) type Decode = fn(&Value) -> Result<Object, FieldError>;

/// A value that its field does not allow.
#[derive(Clone, Debug)]
pub(super) struct FieldError {
    pub path: Vec<Step>,
    /// The error. It never shows the value.
    pub message: String,
}

macro_rules! kinds {
    (@decode $kind:ident typed) => { Some(|value| typed(value).map(|object| Object::$kind(Arc::new(object)))) };
    (@decode $kind:ident apart) => { None };
    (@map $objects:ident, $kind:ident, unserved) => { $objects.unserved.entry(Kind::$kind).or_default() };
    (@map $objects:ident, $kind:ident, $map:ident) => { $objects.$map };
    ($(
        $kind:ident: $type:ty => $map:ident, $group:literal, $versions:expr,
        $plural:literal, $cluster:literal, $decode:ident;
    )*) => {
        /// A decoded object of any kind.
        #[derive(Clone)]
        pub(super) enum Object {
            $($kind(Arc<$type>),)*
        }

        impl Object {
            /// Inserts the object into the map of its kind.
            pub(super) fn insert(&self, key: ObjectKey, objects: &mut Objects) {
                match self {
                    $(Self::$kind(object) => { kinds!(@map objects, $kind, $map).insert(key, Arc::clone(object)); })*
                }
            }
        }

        /// All kinds that Tollgate reads.
        pub(super) const KINDS: &[KindRow] = &[$(KindRow {
            kind: Kind::$kind,
            group: $group,
            versions: $versions,
            plural: $plural,
            cluster: $cluster,
            decode: kinds!(@decode $kind $decode),
        },)*];
    };
}

kinds! {
    GatewayClass: GatewayClass => gateway_classes, "gateway.networking.k8s.io",
        &["v1", "v1beta1"], "gatewayclasses", true, typed;
    Gateway: Gateway => gateways, "gateway.networking.k8s.io", &["v1", "v1beta1"], "gateways", false, typed;
    HttpRoute: HttpRoute => http_routes, "gateway.networking.k8s.io", &["v1", "v1beta1"], "httproutes", false, typed;
    ReferenceGrant: ReferenceGrant => reference_grants, "gateway.networking.k8s.io",
        &["v1", "v1beta1"], "referencegrants", false, typed;
    BackendTlsPolicy: BackendTlsPolicy => backend_tls_policies, "gateway.networking.k8s.io",
        &["v1", "v1alpha3"], "backendtlspolicies", false, typed;
    Backend: Backend => backends, "gateway.kgateway.dev", &["v1alpha1"], "backends", false, typed;
    TrafficPolicy: TrafficPolicy => traffic_policies, "gateway.kgateway.dev",
        &["v1alpha1"], "trafficpolicies", false, typed;
    GatewayParameters: GatewayParameters => gateway_parameters, "gateway.kgateway.dev",
        &["v1alpha1"], "gatewayparameters", false, typed;
    Secret: SecretData => secrets, "", &["v1"], "secrets", false, apart;
    ConfigMap: SecretData => config_maps, "", &["v1"], "configmaps", false, apart;
    Namespace: Namespace => namespaces, "", &["v1"], "namespaces", true, typed;
    Service: Service => services, "", &["v1"], "services", false, typed;
    EndpointSlice: EndpointSlice => endpoint_slices, "discovery.k8s.io", &["v1"], "endpointslices", false, typed;
    GrpcRoute: Unserved => unserved, "gateway.networking.k8s.io", &["v1"], "grpcroutes", false, typed;
    TlsRoute: Unserved => unserved, "gateway.networking.k8s.io",
        &["v1", "v1alpha3", "v1alpha2"], "tlsroutes", false, typed;
    TcpRoute: Unserved => unserved, "gateway.networking.k8s.io", &["v1", "v1alpha2"], "tcproutes", false, typed;
    UdpRoute: Unserved => unserved, "gateway.networking.k8s.io", &["v1", "v1alpha2"], "udproutes", false, typed;
    ListenerSet: Unserved => unserved, "gateway.networking.k8s.io", &["v1"], "listenersets", false, typed;
    XListenerSet: Unserved => unserved, "gateway.networking.x-k8s.io", &["v1alpha1"], "xlistenersets", false, typed;
}

/// The resources of a kind, one for each version in which it may be installed, the preferred one first.
pub(crate) fn resources(kind: Kind) -> impl Iterator<Item = ApiResource> {
    let row = KINDS.iter().find(move |row| row.kind == kind);
    row.into_iter().flat_map(|row| row.versions.iter().map(|version| resource(row, version)))
}

/// The resource of a kind in one version.
pub(super) fn resource(row: &KindRow, version: &str) -> ApiResource {
    ApiResource {
        group: row.group.to_owned(),
        version: version.to_owned(),
        api_version: join_version(row.group, version),
        kind: row.kind.as_str().to_owned(),
        plural: row.plural.to_owned(),
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| FieldError {
        path: error
            .path()
            .iter()
            .map_while(|segment| match segment {
                Segment::Seq { index } => Some(Step::Index(*index)),
                Segment::Map { key } => Some(Step::Key(key.clone())),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect(),
        message: without_value(&error.inner().to_string()),
    })
}

/// Takes the value out of serde's `invalid type: string "x", expected y`: keys are inline in Backends too.
fn without_value(message: &str) -> String {
    if let Some((found, expected)) = message.rsplit_once(", expected ")
        && (found.starts_with("invalid type: ") || found.starts_with("invalid value: "))
    {
        let found = found.split(['`', '"']).next().unwrap_or_default().trim_end();
        return format!("{found}, expected {expected}");
    }
    message.to_owned()
}

/// `GROUP/VERSION` as `apiVersion` has it; the core group has no name.
pub(super) fn join_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
