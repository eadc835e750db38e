//! TLS to a host of a Backend.

use std::net::IpAddr;

use crate::{
    api::{
        Kind,
        backend::{CaCertificateKind, CaCertificateRef, HostTls},
    },
    provider::check::{Problems, is_dns_subdomain, required},
};

/// The most references to authorities, as the schema defines it.
const MAX_AUTHORITIES: usize = 8;

/// TLS to a host, as a Backend writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsShape {
    /// Whether TLS is used whatever the port is.
    pub required: bool,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// The authorities that the certificate may be from; none means those of the system. Empty with
    /// `insecure_skip_verify`.
    pub authorities: Vec<AuthorityRef>,
    /// The name that the certificate must have, instead of the host.
    pub sni: Option<String>,
}

/// An object of the Backend's namespace with certificates of authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRef {
    /// ConfigMap or Secret.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl TlsShape {
    /// Reads what is `written` at `path`. `skip_verify` is the older `insecureSkipVerify` beside the host.
    pub(super) fn read(
        written: Option<&HostTls>,
        skip_verify: Option<bool>,
        path: &str,
        problems: &mut Problems,
    ) -> Self {
        let Some(written) = written else {
            return Self { insecure_skip_verify: skip_verify == Some(true), ..Self::default() };
        };
        let insecure_skip_verify = [skip_verify, written.insecure_skip_verify].contains(&Some(true));
        if insecure_skip_verify && written.ca_certificate_refs.is_some() {
            let message = "insecureSkipVerify and caCertificateRefs are mutually exclusive: remove one of them";
            problems.push(path, message);
        }
        if let Some(sni) = &written.sni
            && (!is_dns_subdomain(sni) || sni.parse::<IpAddr>().is_ok())
        {
            let message = "not a DNS name: write the name in the host's certificate, in lower case";
            problems.push(format!("{path}.sni"), message);
        }
        let path = format!("{path}.caCertificateRefs");
        let authorities = match written.ca_certificate_refs.as_deref() {
            None => Vec::new(),
            Some([]) => {
                problems.push(path, "no authority is there: write `caCertificateRefs: [{name: NAME}]`, or remove it");
                Vec::new()
            }
            Some(refs) if refs.len() > MAX_AUTHORITIES => {
                problems.push(path, format!("{} are too many: at most {MAX_AUTHORITIES}", refs.len()));
                Vec::new()
            }
            Some(refs) => {
                let refs = refs.iter().enumerate();
                refs.filter_map(|(i, reference)| authority(reference, &format!("{path}[{i}]"), problems)).collect()
            }
        };
        Self { required: true, insecure_skip_verify, authorities, sni: written.sni.clone() }
    }
}

fn authority(written: &CaCertificateRef, path: &str, problems: &mut Problems) -> Option<AuthorityRef> {
    if written.group.as_deref().is_some_and(|group| !group.is_empty()) {
        problems.push(format!("{path}.group"), "only ConfigMaps and Secrets have certificates: remove the group");
    }
    let kind = match written.kind.unwrap_or_default() {
        CaCertificateKind::ConfigMap => Kind::ConfigMap,
        CaCertificateKind::Secret => Kind::Secret,
    };
    let name = required(written.name.as_deref(), path, "name", "the object's name", problems)?;
    Some(AuthorityRef { kind, name })
}
