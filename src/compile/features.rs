//! The features of the Gateway API that are served: `GatewayClass.status.supportedFeatures`.
//!
//! Code that accepts or refuses a field reads this table, so that the status is always true.

/// The table: variant, the name in the Gateway API's `pkg/features`, and whether it is served.
macro_rules! features {
    ($($variant:ident = $name:literal, $served:literal;)+) => {
        /// A feature of the Gateway API, by its name in the conformance tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        impl Feature {
            /// Every feature, in order of names.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name of the feature in the Gateway API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether it is served.
            #[must_use]
            pub const fn served(self) -> bool {
                match self { $(Self::$variant => $served,)+ }
            }
        }
    };
}

features! {
    Gateway = "Gateway", true;
    GatewayAddressEmpty = "GatewayAddressEmpty", false;
    GatewayBackendClientCertificate = "GatewayBackendClientCertificate", false;
    GatewayFrontendClientCertificate = "GatewayFrontendClientCertificateValidation", false;
    GatewayListenerIsolation = "GatewayHTTPListenerIsolation", true;
    GatewayMisdirectedRequests = "GatewayHTTPSListenerDetectMisdirectedRequests", false;
    GatewayInfrastructure = "GatewayInfrastructure", true;
    GatewayListenerSet = "GatewayListenerSet", false;
    GatewayPort8080 = "GatewayPort8080", true;
    GatewayStaticAddresses = "GatewayStaticAddresses", false;
    HttpRoute = "HTTPRoute", true;
    Redirect303 = "HTTPRoute303RedirectStatusCode", true;
    Redirect307 = "HTTPRoute307RedirectStatusCode", true;
    Redirect308 = "HTTPRoute308RedirectStatusCode", true;
    BackendH2c = "HTTPRouteBackendProtocolH2C", true;
    BackendWebSocket = "HTTPRouteBackendProtocolWebSocket", false;
    BackendRequestHeaders = "HTTPRouteBackendRequestHeaderModification", true;
    BackendTimeout = "HTTPRouteBackendTimeout", true;
    Cors = "HTTPRouteCORS", false;
    HostRewrite = "HTTPRouteHostRewrite", true;
    MethodMatching = "HTTPRouteMethodMatching", true;
    NamedRule = "HTTPRouteNamedRouteRule", true;
    ParentRefPort = "HTTPRouteParentRefPort", true;
    PathRedirect = "HTTPRoutePathRedirect", true;
    PathRewrite = "HTTPRoutePathRewrite", true;
    PortRedirect = "HTTPRoutePortRedirect", true;
    QueryParamMatching = "HTTPRouteQueryParamMatching", true;
    RequestMirror = "HTTPRouteRequestMirror", false;
    RequestMultipleMirrors = "HTTPRouteRequestMultipleMirrors", false;
    RequestPercentageMirror = "HTTPRouteRequestPercentageMirror", false;
    RequestTimeout = "HTTPRouteRequestTimeout", true;
    ResponseHeaders = "HTTPRouteResponseHeaderModification", true;
    SchemeRedirect = "HTTPRouteSchemeRedirect", true;
    ReferenceGrant = "ReferenceGrant", true;
}

impl Feature {
    /// The names of all that are served, in order.
    pub fn supported() -> Vec<&'static str> {
        Self::ALL.iter().filter(|feature| feature.served()).map(|feature| feature.name()).collect()
    }

    /// Whether a manifest may use it; if not, a message is added to `problems`. `field` is the name in manifests.
    pub fn allowed(self, field: &str, problems: &mut Vec<String>) -> bool {
        if !self.served() {
            problems.push(format!("{field} is not supported yet"));
        }
        self.served()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_order() {
        let names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.name()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert!(Feature::supported().contains(&"HTTPRoute"));
        assert!(!Feature::supported().contains(&Feature::RequestMirror.name()));
    }

    #[test]
    fn unserved_features_are_refused_with_a_message() {
        let mut problems = Vec::new();
        assert!(Feature::HostRewrite.allowed("urlRewrite.hostname", &mut problems));
        assert!(!Feature::Cors.allowed("filter CORS", &mut problems));
        assert_eq!(problems, ["filter CORS is not supported yet"]);
    }
}
