//! Gateway API types. Their long generated names stay behind this file.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::Deserialize;

pub use gateway_api::{
    backendtlspolicies::{BackendTlsPolicy, BackendTlsPolicyStatusAncestorsAncestorRef as PolicyAncestorRef},
    // The channel whose HTTPRoutes have all fields: objects of the standard channel are read just as well.
    experimental::httproutes::{
        HttpRoute, HttpRouteParentRefs as ParentRef, HttpRouteRules as RouteRule,
        HttpRouteRulesBackendRefs as BackendRef, HttpRouteRulesBackendRefsFilters as BackendFilter,
        HttpRouteRulesBackendRefsFiltersType as BackendFilterType, HttpRouteRulesFilters as Filter,
        HttpRouteRulesFiltersRequestRedirect as RequestRedirect,
        HttpRouteRulesFiltersRequestRedirectScheme as RedirectScheme, HttpRouteRulesFiltersType as FilterType,
        HttpRouteRulesMatches as RouteMatch, HttpRouteRulesMatchesHeadersType as HeaderMatchType,
        HttpRouteRulesMatchesMethod as MethodMatch, HttpRouteRulesMatchesPathType as PathMatchType,
        HttpRouteRulesMatchesQueryParamsType as QueryMatchType, HttpRouteRulesRetry as RouteRetry,
        HttpRouteStatusParents as RouteStatus, HttpRouteStatusParentsParentRef as RouteStatusParentRef,
    },
    gatewayclasses::GatewayClass,
    gateways::Gateway,
    referencegrants::ReferenceGrant,
};

/// An object of a kind that is not served, as far as it is read: the Gateway that it belongs to, and its status. All of
/// these kinds have the same fields there.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Unserved {
    /// Name, generation and version.
    pub metadata: ObjectMeta,
    /// The references to its parents.
    #[serde(default)]
    pub spec: UnservedSpec,
    /// The status, with the entries of all controllers.
    #[serde(default)]
    pub status: UnservedStatus,
}

/// The parents of an object that is not served.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnservedSpec {
    /// Those of a route.
    pub parent_refs: Vec<ParentRef>,
    /// That of a set of listeners.
    pub parent_ref: Option<ParentRef>,
}

/// The status of an object that is not served.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UnservedStatus {
    /// One entry for each controller and parent: routes.
    pub parents: Vec<RouteStatus>,
    /// Conditions of the object itself: sets of listeners.
    pub conditions: Vec<Condition>,
}

impl Unserved {
    /// All references to parents.
    pub fn parents(&self) -> impl Iterator<Item = &ParentRef> {
        self.spec.parent_refs.iter().chain(&self.spec.parent_ref)
    }
}
