//! Gateway API types. Their long generated names stay behind this file.

pub use gateway_api::{
    backendtlspolicies::BackendTlsPolicy,
    gatewayclasses::GatewayClass,
    gateways::Gateway,
    httproutes::{
        HttpRoute, HttpRouteParentRefs as ParentRef, HttpRouteRules as RouteRule,
        HttpRouteRulesBackendRefs as BackendRef, HttpRouteRulesBackendRefsFilters as BackendFilter,
        HttpRouteRulesBackendRefsFiltersType as BackendFilterType, HttpRouteRulesFilters as Filter,
        HttpRouteRulesFiltersRequestRedirect as RequestRedirect,
        HttpRouteRulesFiltersRequestRedirectScheme as RedirectScheme, HttpRouteRulesFiltersType as FilterType,
        HttpRouteRulesMatches as RouteMatch, HttpRouteRulesMatchesHeadersType as HeaderMatchType,
        HttpRouteRulesMatchesMethod as MethodMatch, HttpRouteRulesMatchesPathType as PathMatchType,
        HttpRouteRulesMatchesQueryParamsType as QueryMatchType,
    },
    referencegrants::ReferenceGrant,
};
