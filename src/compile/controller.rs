//! The name by which GatewayClasses select an installation. Two installations in one cluster have two names, and each
//! must recognise its own objects by a mark that the other's do not have.

use std::{fmt, str::FromStr, sync::Arc};

use super::parameters::{is_dns_label, is_word};
use crate::api::gateway::GatewayClass;

/// The value of `GatewayClass.spec.controllerName` that selects Tollgate, unless another is configured.
pub const DEFAULT_CONTROLLER_NAME: &str = "tollgate.dev/gateway";
/// The longest field manager that the API server takes.
const MAX_NAME: usize = 128;
/// The longest value of a label.
const MAX_LABEL: usize = 63;

/// The name of this controller, in the forms that the API asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    name: Arc<str>,
    label: Arc<str>,
}

impl Controller {
    /// The name as GatewayClasses and statuses spell it, `DOMAIN/NAME`. It is also the field manager of writes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name in the form that the value of a label allows.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it is the name of installations that have none configured.
    pub fn is_default(&self) -> bool {
        self.name() == DEFAULT_CONTROLLER_NAME
    }

    /// Whether a class selects this controller.
    pub fn has(&self, class: &GatewayClass) -> bool {
        class.spec.controller_name == self.name()
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self { label: label("tollgate.dev", "gateway").into(), name: DEFAULT_CONTROLLER_NAME.into() }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Controller {
    type Err = String;

    /// Stricter than the API on GatewayClasses: the reporting controller of Events must be a qualified name too.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').filter(|(domain, name)| {
            let valid = domain.split('.').all(is_dns_label) && name.len() <= MAX_LABEL && is_word(name);
            valid && text.len() <= MAX_NAME
        });
        let (domain, name) = parts.ok_or_else(|| {
            format!("'{text}' is not DOMAIN/NAME, as in {DEFAULT_CONTROLLER_NAME}, of at most {MAX_NAME} characters")
        })?;
        Ok(Self { name: text.into(), label: label(domain, name).into() })
    }
}

/// `NAME.DOMAIN` where that is short enough and unambiguous, else a digest, which has no dot.
fn label(domain: &str, name: &str) -> String {
    let label = format!("{name}.{domain}");
    if name.contains('.') || label.len() > MAX_LABEL {
        return format!("controller-{}", digest(&format!("{domain}/{name}")));
    }
    label
}

/// FNV-1a: every replica of every version must compute the same digest.
pub fn digest(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_domain_and_a_word() {
        assert_eq!(DEFAULT_CONTROLLER_NAME.parse::<Controller>().unwrap(), Controller::default());
        for good in ["a.b/c", "a/b", "team-a.example.com/Gate_way.v2"] {
            assert_eq!(good.parse::<Controller>().unwrap().name(), good);
        }
        let long = format!("{}/c", ["a"; 64].join("."));
        for bad in ["", "a", "/a", "a/", "a/b/c", "A.b/c", "a..b/c", "a.b/c d", "a.b/-c", "a.b/c%d", &long] {
            let why = bad.parse::<Controller>().unwrap_err();
            assert!(why.contains("is not DOMAIN/NAME"), "{bad:?}: {why}");
        }
    }

    #[test]
    fn labels_tell_controllers_apart() {
        let label = |name: &str| name.parse::<Controller>().unwrap().label().to_owned();
        assert_eq!(label(DEFAULT_CONTROLLER_NAME), "gateway.tollgate.dev");
        assert_eq!(label("team-a.example.com/gateway"), "gateway.team-a.example.com");
        let long = format!("{}.example.com/gateway", "a".repeat(50));
        let all = ["b.c/a", "c/a.b", "c/a", &long].map(label);
        for (index, one) in all.iter().enumerate() {
            assert!(one.len() <= MAX_LABEL && is_word(one), "{one}");
            assert!(!all[index + 1..].contains(one), "{one}");
        }
    }
}
