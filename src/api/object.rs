//! Names of objects: kinds and keys.

use std::fmt;

use serde::Serialize;

/// The kinds of object Tollgate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// `gateway.networking.k8s.io` GatewayClass, cluster-scoped.
    GatewayClass,
    /// `gateway.networking.k8s.io` Gateway.
    Gateway,
    /// `gateway.networking.k8s.io` HTTPRoute.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// `gateway.networking.k8s.io` ReferenceGrant.
    ReferenceGrant,
    /// `gateway.networking.k8s.io` BackendTLSPolicy.
    #[serde(rename = "BackendTLSPolicy")]
    BackendTlsPolicy,
    /// `gateway.kgateway.dev` Backend.
    Backend,
    /// `gateway.kgateway.dev` TrafficPolicy.
    TrafficPolicy,
    /// `gateway.kgateway.dev` GatewayParameters.
    GatewayParameters,
    /// Core Secret.
    Secret,
    /// Core ConfigMap.
    ConfigMap,
    /// Core Namespace, cluster-scoped.
    Namespace,
    /// Core Service.
    Service,
    /// `discovery.k8s.io` EndpointSlice.
    EndpointSlice,
    /// `gateway.networking.k8s.io` GRPCRoute, which is not served.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    /// `gateway.networking.k8s.io` TLSRoute, which is not served.
    #[serde(rename = "TLSRoute")]
    TlsRoute,
    /// `gateway.networking.k8s.io` TCPRoute, which is not served.
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    /// `gateway.networking.k8s.io` UDPRoute, which is not served.
    #[serde(rename = "UDPRoute")]
    UdpRoute,
    /// `gateway.networking.k8s.io` ListenerSet, which is not served.
    ListenerSet,
    /// `gateway.networking.x-k8s.io` XListenerSet, which is not served.
    XListenerSet,
}

impl Kind {
    /// The kinds that may belong to a Gateway and that Tollgate does not serve. They are read only to report that.
    pub const UNSERVED: [Self; 6] =
        [Self::GrpcRoute, Self::TlsRoute, Self::TcpRoute, Self::UdpRoute, Self::ListenerSet, Self::XListenerSet];

    /// Whether objects of this kind are read only to report that they are not served. Everything else works without
    /// them.
    #[must_use]
    pub fn is_unserved(self) -> bool {
        Self::UNSERVED.contains(&self)
    }

    /// Whether it is a set of listeners, whose status has conditions of the object itself.
    #[must_use]
    pub const fn is_listener_set(self) -> bool {
        matches!(self, Self::ListenerSet | Self::XListenerSet)
    }

    /// The kind as manifests spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::Backend => "Backend",
            Self::TrafficPolicy => "TrafficPolicy",
            Self::GatewayParameters => "GatewayParameters",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::UdpRoute => "UDPRoute",
            Self::ListenerSet => "ListenerSet",
            Self::XListenerSet => "XListenerSet",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Namespace and name of an object. The namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ObjectKey {
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

impl ObjectKey {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }
}

/// `namespace/name`, or the name alone for cluster-scoped kinds.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}
