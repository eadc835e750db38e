//! Services to endpoints.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

use super::{Env, Objects, Scope, backend_tls, features::Feature};
use crate::{
    api::{ObjectKey, condition::Reason},
    snapshot::{Backend, Endpoint, HttpBackend, UnavailableReason},
    upstream::{Origin, OriginKind, Transport},
};

/// Most ready endpoints of one Service that are used. More would only cost memory.
const MAX_ENDPOINTS: usize = 1024;

/// The reason why a Service can't be a backend.
pub struct ServiceProblem {
    pub reason: Reason,
    pub message: String,
}

/// The backend for a reference to a Service's `port`. A Service without ready endpoints is a valid reference, which
/// replies with 503 until there are some.
pub fn compile(objects: &Objects, env: &Env, key: &ObjectKey, port: Option<i32>) -> Result<Backend, ServiceProblem> {
    let service = objects.services.get(key).ok_or_else(|| {
        let mut message = format!("Service \"{}\" not found in namespace \"{}\"", key.name, key.namespace);
        if objects.backends.contains_key(key) {
            message
                .push_str("; a Backend has this name: write `group: gateway.kgateway.dev` and `kind: Backend` for it");
        }
        ServiceProblem { reason: Reason::BackendNotFound, message }
    })?;
    if service.spec.as_ref().and_then(|s| s.type_.as_deref()) == Some("ExternalName") {
        let message = format!(
            "Service {key} is of type ExternalName, which is no backend: a name may lead anywhere; use a Backend of \
             type Static"
        );
        return Err(ServiceProblem { reason: Reason::InvalidKind, message });
    }
    let missing_port = |message: String| ServiceProblem { reason: Reason::BackendNotFound, message };
    let number = port.ok_or_else(|| missing_port(format!("reference to Service {key} has no port")))?;
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let port = ports
        .iter()
        .find(|p| p.port == number)
        .ok_or_else(|| missing_port(format!("Service {key} has no port {number}")))?;
    let port_name = port.name.as_deref().unwrap_or_default();
    if let Some(message) = backend_tls::protects(objects, ("", "Service"), key, port_name) {
        return Err(ServiceProblem { reason: Reason::UnsupportedProtocol, message });
    }
    let transport = transport(port.app_protocol.as_deref()).ok_or_else(|| ServiceProblem {
        reason: Reason::UnsupportedProtocol,
        message: format!(
            "port {number} of Service {key} has appProtocol {}, which is not supported; use http or kubernetes.io/h2c, or \
             leave it out",
            port.app_protocol.as_deref().unwrap_or_default()
        ),
    })?;
    let mut addresses = ready_endpoints(objects, key, port_name);
    if addresses.is_empty() && env.scope == Scope::Files {
        addresses = without_slices(objects, key, service, number);
    }
    let endpoints: Vec<Endpoint> = addresses
        .into_iter()
        .take(MAX_ENDPOINTS)
        .filter_map(|(host, port)| {
            env.endpoint(
                &format!("Service {key}"),
                &Origin { host, port, transport: transport.clone(), kind: OriginKind::Service },
            )
            .ok()
        })
        .collect();
    if endpoints.is_empty() {
        return Ok(Backend::Unavailable(UnavailableReason {
            status: 503,
            why: format!("Service {key} has no ready endpoint"),
        }));
    }
    Ok(Backend::Http(Arc::new(HttpBackend {
        turns: env.balance.turns(&format!("Service {key}")),
        retries: env.balance.retries(&format!("Service {key}")),
        name: key.to_string().into(),
        endpoints,
        // A Service has no field for limits.
        load: None,
    })))
}

/// The transport of a port with this `appProtocol`; `None` when it is not supported. Unknown values, which users may
/// invent, mean HTTP/1.1.
fn transport(app_protocol: Option<&str>) -> Option<Transport> {
    match app_protocol.unwrap_or_default() {
        "kubernetes.io/h2c" => Feature::BackendH2c.served().then_some(Transport::Http2),
        "kubernetes.io/ws" | "ws" => Feature::BackendWebSocket.served().then_some(Transport::Http1),
        // TLS to Services is not implemented, and a request in clear would cause an error of the server.
        "kubernetes.io/wss" | "wss" | "https" | "tls" => None,
        _ => Some(Transport::Http1),
    }
}

/// Addresses of ready endpoints for the Service port of this name, from its EndpointSlices. Where none is ready, those
/// that still serve while they terminate.
fn ready_endpoints(objects: &Objects, key: &ObjectKey, port_name: &str) -> Vec<(String, u16)> {
    let (mut found, mut terminating) = (Vec::new(), Vec::new());
    for slice in objects.slices_of(&key.namespace, &key.name) {
        let named =
            |p: &&k8s_openapi::api::discovery::v1::EndpointPort| p.name.as_deref().unwrap_or_default() == port_name;
        let port = slice.ports.iter().flatten().find(named).and_then(|p| u16::try_from(p.port?).ok());
        let Some(port) = port else { continue };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let serving = conditions.is_some_and(|c| c.serving == Some(true) && c.terminating == Some(true));
            let Some(address) = endpoint.addresses.first().filter(|_| ready || serving) else { continue };
            (if ready { &mut found } else { &mut terminating }).push((address.clone(), port));
        }
    }
    if found.is_empty() {
        found = terminating;
    }
    found.sort();
    found.dedup();
    found
}

/// Files rarely hold EndpointSlices: then requests go to the Service's own name or address.
fn without_slices(objects: &Objects, key: &ObjectKey, service: &Service, port: i32) -> Vec<(String, u16)> {
    if objects.slices_of(&key.namespace, &key.name).next().is_some() {
        return Vec::new();
    }
    let spec = service.spec.as_ref();
    let address = spec.and_then(|s| s.cluster_ip.clone()).filter(|ip| !ip.is_empty() && ip != "None");
    let host = address.unwrap_or_else(|| format!("{}.{}.svc", key.name, key.namespace));
    u16::try_from(port).map(|port| vec![(host, port)]).unwrap_or_default()
}
