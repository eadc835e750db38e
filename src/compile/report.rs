//! Reports about objects, in the shape of Kubernetes status.

use serde::Serialize;

use crate::api::{
    Kind, ObjectKey,
    condition::{ConditionType, Reason},
};

/// The reports about one set of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reports {
    /// One report an object, in order of kind and key.
    pub objects: Vec<ObjectReport>,
    /// Parents of routes that are not served, and objects of kinds that are not, in order of kind and key.
    pub unattached: Vec<Unattached>,
}

/// A parent of a route that does not exist or is of a kind that Tollgate does not serve, for which it writes no status;
/// or an object of such a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unattached {
    /// The object's kind.
    pub kind: Kind,
    /// The object's key.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// The parent, and what the author may have meant.
    pub message: String,
    /// Whether a condition in the object's report has the same.
    #[serde(skip)]
    pub has_condition: bool,
}

impl Reports {
    /// The report about one object.
    pub fn find(&self, kind: Kind, key: &ObjectKey) -> Option<&ObjectReport> {
        let index = self.objects.binary_search_by(|r| (r.kind, &r.key).cmp(&(kind, key))).ok()?;
        self.objects.get(index)
    }
}

/// The conditions of one object, and of its parents or listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectReport {
    /// The object's kind.
    pub kind: Kind,
    /// The object's key.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// `metadata.generation` that the conditions are about, where the source has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Conditions of the object itself. Empty for kinds whose status is per parent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Per parent: HTTPRoutes and policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentReport>,
    /// Per listener: Gateways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerReport>,
    /// The addresses for clients: Gateways.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// How many of the targets are used, such as `2/3`: Backends with LLM providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<String>,
    /// Names of the Gateway API's features that are served, in order: GatewayClasses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<&'static str>,
}

/// One address of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayAddress {
    /// The kind of address.
    #[serde(rename = "type")]
    pub kind: AddressType,
    /// The address itself.
    pub value: String,
}

/// The kinds of address, spelled as the Gateway API does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AddressType {
    /// IPv4 or IPv6.
    IPAddress,
    /// A DNS name.
    Hostname,
}

impl AddressType {
    /// The API's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IPAddress => "IPAddress",
            Self::Hostname => "Hostname",
        }
    }
}

/// A Kubernetes condition without its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The condition's type.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// `True` or `False`.
    pub status: bool,
    /// The reason, as one word that the API defines.
    pub reason: Reason,
    /// The message for people. Never holds any part of a Secret.
    pub message: String,
}

/// The state of a route or policy towards one parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParentReport {
    /// The parent's kind.
    pub kind: Kind,
    /// The parent's key.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// The listener the reference names, if it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// The port the reference names, if it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Conditions towards this parent.
    pub conditions: Vec<Condition>,
}

/// The state of one listener of a Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerReport {
    /// The listener's name.
    pub name: String,
    /// How many routes are attached.
    pub attached_routes: u32,
    /// Route kinds this listener supports and allows.
    pub supported_kinds: Vec<Kind>,
    /// Conditions of the listener.
    pub conditions: Vec<Condition>,
}

impl Condition {
    /// A condition of this type, status, reason and message.
    pub fn new(kind: ConditionType, status: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status, reason, message: message.into() }
    }
}

impl ObjectReport {
    /// An empty report.
    pub const fn new(kind: Kind, key: ObjectKey, generation: Option<i64>) -> Self {
        Self {
            kind,
            key,
            generation,
            conditions: Vec::new(),
            parents: Vec::new(),
            listeners: Vec::new(),
            addresses: Vec::new(),
            healthy: None,
            supported_features: Vec::new(),
        }
    }

    /// The conditions that report a problem: `Accepted`, `Programmed`, `ResolvedRefs` or `Attached` false, or
    /// `Conflicted`, `PartiallyInvalid` or `Degraded` true.
    pub fn problems(&self) -> impl Iterator<Item = &Condition> {
        let own = self.conditions.iter();
        let parents = self.parents.iter().flat_map(|p| &p.conditions);
        let listeners = self.listeners.iter().flat_map(|l| &l.conditions);
        own.chain(parents).chain(listeners).filter(|c| c.is_problem())
    }
}

impl Condition {
    /// Whether this condition reports a problem.
    pub const fn is_problem(&self) -> bool {
        // A wildcard always overlaps with the names below it, and inside a network that is closed every client may be
        // one's own: both are reported, and require no change.
        if matches!(self.kind, ConditionType::OverlappingTLSConfig | ConditionType::ClientsAuthenticated) {
            return false;
        }
        let is_bad =
            matches!(self.kind, ConditionType::Conflicted | ConditionType::PartiallyInvalid | ConditionType::Degraded);
        self.status == is_bad
    }
}
