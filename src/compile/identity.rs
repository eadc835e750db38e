//! Which Backends may use the identity of Tollgate's pod in a cloud, and for which hosts.
//!
//! The pod's identity belongs to the operator. If a tenant's Backend could send its token to the tenant's server, the
//! tenant would get the token. Therefore tokens are sent only to the provider's own hosts, over TLS, and for the
//! namespaces that the operator names.

use crate::{
    provider::{Cloud, ProviderDef},
    upstream::{ServerTls, Transport},
};

/// Which Backends may use the pod's identity, and for which hosts.
#[derive(Clone, Debug, Default)]
pub struct PodIdentity {
    /// The namespaces whose Backends may use it; `None` means all.
    pub namespaces: Option<Vec<String>>,
    /// Hosts in addition to the providers' own to which it may be sent.
    pub hosts: Vec<String>,
}

/// The destination to which a Backend would send the identity.
pub struct Target<'a> {
    pub def: &'a ProviderDef,
    /// The host, without brackets.
    pub host: &'a str,
    pub transport: Transport,
}

impl PodIdentity {
    /// Whether a Backend of `namespace` may send the pod's identity to `target`.
    ///
    /// # Errors
    /// The reason why it may not, and how to allow it.
    pub fn check(&self, namespace: &str, target: &Target<'_>) -> Result<(), String> {
        if self.namespaces.as_ref().is_some_and(|names| !names.iter().any(|name| name == namespace)) {
            return Err(format!(
                "namespace {namespace} may not use the identity of Tollgate's pod: use a Secret, or let the operator \
                 list the namespace in --pod-identity-namespaces"
            ));
        }
        let host = target.host.trim_end_matches('.').to_ascii_lowercase();
        let listed = self.hosts.iter().any(|own| own.trim_end_matches('.').eq_ignore_ascii_case(&host));
        if !listed && !is_own_host(target.def, &host) {
            return Err(format!(
                "the identity of Tollgate's pod goes to {}'s own hosts only: remove the host override, or let the \
                 operator list the host in --pod-identity-hosts",
                target.def.info.name
            ));
        }
        let stays_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if target.transport != Transport::Tls(ServerTls::default()) && !stays_here {
            return Err(
                "the identity of Tollgate's pod is sent over TLS only, to a server with the host's own name and a \
                 certificate of the system's roots: use port 443 without insecureSkipVerify, caCertificateRefs and sni"
                    .into(),
            );
        }
        Ok(())
    }
}

/// Whether the provider itself serves `host`, which is in lower case. Where customers can have hosts below a domain of
/// their cloud, as load balancers and API gateways have, the domain alone is not sufficient.
fn is_own_host(def: &ProviderDef, host: &str) -> bool {
    let below = |domains: &[&str]| domains.iter().any(|domain| host.ends_with(domain));
    match def.cloud {
        Some(Cloud::Google) => {
            host == "aiplatform.googleapis.com"
                || host.ends_with("-aiplatform.googleapis.com")
                || (host.starts_with("aiplatform.") && host.ends_with(".rep.googleapis.com"))
        }
        Some(Cloud::Azure) => below(&[
            ".openai.azure.com",
            ".services.ai.azure.com",
            ".cognitiveservices.azure.com",
            ".openai.azure.us",
            ".cognitiveservices.azure.us",
            ".openai.azure.cn",
            ".cognitiveservices.azure.cn",
        ]),
        // The remaining provider is Bedrock, whose keys are AWS's.
        None => {
            let region = ["bedrock-runtime.", "bedrock-runtime-fips."].iter().find_map(|name| host.strip_prefix(name));
            let region = region.and_then(|rest| {
                [".amazonaws.com", ".amazonaws.com.cn"].iter().find_map(|domain| rest.strip_suffix(domain))
            });
            region.is_some_and(|region| !region.is_empty() && !region.contains('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        provider::{azure_openai, bedrock, vertex_ai},
        upstream::{Authorities, Trust},
    };

    fn tls() -> Transport {
        Transport::Tls(ServerTls::default())
    }

    #[test]
    fn the_identity_goes_to_the_providers_own_hosts_only() {
        let identity = PodIdentity::default();
        for (def, host, own) in [
            (&vertex_ai::DEF, "aiplatform.googleapis.com", true),
            (&vertex_ai::DEF, "us-central1-aiplatform.googleapis.com", true),
            (&vertex_ai::DEF, "US-Central1-AIPlatform.googleapis.com.", true),
            (&vertex_ai::DEF, "storage.googleapis.com", false),
            (&vertex_ai::DEF, "aiplatform.googleapis.com.evil.example", false),
            (&vertex_ai::DEF, "evil-aiplatform.example", false),
            (&azure_openai::DEF, "ours.openai.azure.com", true),
            (&azure_openai::DEF, "ours.services.ai.azure.com", true),
            (&azure_openai::DEF, "evil.azure-api.net", false),
            (&azure_openai::DEF, "evil.azurewebsites.net", false),
            (&azure_openai::DEF, "openai.azure.com.evil.example", false),
            (&bedrock::DEF, "bedrock-runtime.eu-west-1.amazonaws.com", true),
            (&bedrock::DEF, "bedrock-runtime.cn-north-1.amazonaws.com.cn", true),
            (&bedrock::DEF, "evil.elb.eu-west-1.amazonaws.com", false),
            (&bedrock::DEF, "bedrock-runtime.evil.elb.amazonaws.com", false),
            (&bedrock::DEF, "x.execute-api.us-east-1.amazonaws.com", false),
            (&bedrock::DEF, "127.0.0.1", false),
        ] {
            let target = Target { def, host, transport: tls() };
            assert_eq!(identity.check("ns", &target).is_ok(), own, "{host}");
            let listed = PodIdentity { hosts: vec![host.to_ascii_uppercase()], ..PodIdentity::default() };
            assert_eq!(listed.check("ns", &target), Ok(()), "{host}");
        }
    }

    #[test]
    fn it_never_travels_in_clear_or_to_an_unverified_server() {
        let identity = PodIdentity { hosts: vec!["proxy.example".into(), "127.0.0.1".into()], namespaces: None };
        let tls = |trust, name: Option<&str>| Transport::Tls(ServerTls { trust, name: name.map(Arc::from) });
        let authority = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.pem();
        let authority = Trust::Authorities(Arc::new(Authorities::from_pem(&[authority.as_bytes()]).unwrap()));
        let named = tls(Trust::System, Some("tenant.example"));
        for transport in [Transport::Http1, Transport::Http2, tls(Trust::Anyone, None), tls(authority, None), named] {
            let to = |host| identity.check("ns", &Target { def: &vertex_ai::DEF, host, transport: transport.clone() });
            assert!(to("aiplatform.googleapis.com").is_err() && to("proxy.example").is_err(), "{transport:?}");
            assert_eq!(to("127.0.0.1"), Ok(()), "it stays on this machine");
        }
    }

    #[test]
    fn it_is_for_the_namespaces_that_the_operator_names() {
        let identity = PodIdentity { namespaces: Some(vec!["ours".into()]), hosts: Vec::new() };
        let target = Target { def: &vertex_ai::DEF, host: "aiplatform.googleapis.com", transport: tls() };
        assert_eq!(identity.check("ours", &target), Ok(()));
        assert!(identity.check("tenant", &target).unwrap_err().contains("--pod-identity-namespaces"));
    }
}
