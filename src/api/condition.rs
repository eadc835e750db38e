//! Condition types and reasons, as the Gateway API and kgateway spell them, and the few that Tollgate adds.

use std::fmt;

use serde::Serialize;

/// An enum of the API's strings: each is spelled as its variant, and its doc line describes when it is written.
macro_rules! string_enum {
    ($(#[doc = $doc:literal])+ $name:ident { $( #[doc = $meaning:literal] $value:ident, )+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum $name {
            $( #[doc = $meaning] $value, )+
        }

        impl $name {
            /// Every value, in order; documents and tests iterate over it.
            pub const ALL: &[Self] = &[$( Self::$value, )+];

            /// The value as status spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$value => stringify!($value), )+
                }
            }

            /// When the value is written, in one sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $( Self::$value => $meaning.trim_ascii(), )+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

string_enum! {
    /// The type of a condition.
    ConditionType {
        /// Every kind: the object is valid and is served (a class: by this controller).
        Accepted,
        /// GatewayClass: the installed Gateway API definitions are of a version that this controller supports.
        SupportedVersion,
        /// Gateway and listener: its configuration is live in the data plane.
        Programmed,
        /// Listener and route: every reference leads to something that may be used.
        ResolvedRefs,
        /// Listener: another listener of the same port is in its way.
        Conflicted,
        /// Listener: its certificates or host names overlap with another's, so that HTTP/2 connections may be reused wrongly.
        OverlappingTLSConfig,
        /// Route: some of its rules are served and the others are not.
        PartiallyInvalid,
        /// Policy: it applies to its targets.
        Attached,
        /// Backend: false when keys are sent without TLS to a host that is neither local, private nor of the cluster.
        TransportSecured,
        /// Gateway: false when it spends the gateway's keys for every client that reaches it.
        ClientsAuthenticated,
        /// Backend: some of its targets have failed lately and are tried last.
        Degraded,
    }
}

string_enum! {
    /// The reason of a condition.
    Reason {
        /// Accepted is true: the object is valid.
        Accepted,
        /// SupportedVersion is true.
        SupportedVersion,
        /// SupportedVersion is false: the installed Gateway API definitions are of another version.
        UnsupportedVersion,
        /// Programmed is true: the configuration is live.
        Programmed,
        /// ResolvedRefs is true: every reference resolves.
        ResolvedRefs,
        /// Conflicted is false: no other listener is in the way.
        NoConflicts,
        /// Accepted of a policy is true: it is valid.
        Valid,
        /// Attached is true: the policy applies to all its targets.
        Attached,
        /// Attached is true: the policy applies together with others of the same targets.
        Merged,
        /// Attached is false: a policy of higher priority sets the same fields on every target.
        Overridden,
        /// Attached or Accepted of a policy is false: a target does not exist.
        TargetNotFound,
        /// Accepted of a policy is false: another policy in effect contradicts it.
        Conflicted,
        /// The controller has not finished with the object.
        Pending,
        /// The object contradicts itself or lacks something; the message describes the fix.
        Invalid,
        /// A class or Gateway refers to parameters that are missing or wrong.
        InvalidParameters,
        /// A field has a value, or is a field, that Tollgate does not act on; the message names it.
        UnsupportedValue,
        /// A kind of backend or a feature that is not Tollgate's to serve, such as AWS Lambda.
        Unsupported,
        /// A GatewayClass waits for its controller.
        Waiting,
        /// Gateway: at least one of its listeners is not valid.
        ListenersNotValid,
        /// Gateway: at least one of its listeners is not ready.
        ListenersNotReady,
        /// Gateway: it requests a kind of address that is not supported.
        UnsupportedAddress,
        /// Gateway: no address has been assigned yet.
        AddressNotAssigned,
        /// Gateway: the address it requests can't be used.
        AddressNotUsable,
        /// Gateway: there is no capacity for it.
        NoResources,
        /// Listener: its port is taken, or reserved for Tollgate itself.
        PortUnavailable,
        /// Listener, or port of a Service a route refers to: its protocol is not supported.
        UnsupportedProtocol,
        /// Listener: another listener has the same port and host name.
        HostnameConflict,
        /// Listener: another listener has the same port with another protocol.
        ProtocolConflict,
        /// Listener: its host name overlaps with another's.
        OverlappingHostnames,
        /// Listener: its certificate overlaps with another's.
        OverlappingCertificates,
        /// Listener: a certificate reference leads to nothing, or to something that is no certificate with its key.
        InvalidCertificateRef,
        /// Listener: it allows route kinds that are not supported.
        InvalidRouteKinds,
        /// Listener or route: a reference into another namespace that no ReferenceGrant permits.
        RefNotPermitted,
        /// Route: the parent does not allow routes of its kind or namespace.
        NotAllowedByListeners,
        /// Set of listeners: its Gateway takes no listeners from other objects.
        NotAllowed,
        /// Route: no listener of the parent has a host name in common with it.
        NoMatchingListenerHostname,
        /// Route: the parent has no listener of that name or port.
        NoMatchingParent,
        /// Route: two of its filters can't be used together.
        IncompatibleFilters,
        /// Route: a rule is not served because it is not valid.
        RouteRuleDropped,
        /// Route: a rule that is not valid answers with an error.
        RouteRuleReplaced,
        /// Route: a backend reference is of a kind that is not supported.
        InvalidKind,
        /// Route: a backend reference leads to nothing.
        BackendNotFound,
        /// Backend: a credential that has to be fetched can't be, at the moment or until the pod's environment is fixed.
        CredentialsUnavailable,
        /// Degraded: a target refuses the gateway's key.
        AuthFailed,
        /// Degraded: a target fails again and again, or gives no reply in time.
        Failing,
        /// Degraded: a target is overloaded.
        Overloaded,
        /// Degraded: a quota, a spending limit or a balance at a target is used up.
        QuotaExhausted,
        /// Degraded: a target limits the rate of requests or tokens.
        RateLimited,
        /// Degraded: no connection to a target can be made.
        Unreachable,
        /// Degraded is false: all targets are used again.
        Recovered,
        /// Backend: keys are sent without TLS to a host on the internet.
        ClearText,
        /// Gateway: who reaches it uses the gateway's keys, and no client is authenticated.
        OpenToAll,
        /// Backend: a reference in `caCertificateRefs` leads to nothing, or to something without certificates.
        InvalidCACertificateRef,
        /// Backend or policy: the Secret it refers to does not exist.
        SecretNotFound,
        /// Backend or policy: the Secret lacks the key, or its value is empty or can't be sent in a header.
        SecretInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_serialised_as_they_are_spelled_and_have_a_meaning() {
        fn check(value: impl Serialize + fmt::Display, meaning: &str) {
            assert_eq!(serde_json::to_value(&value).unwrap(), value.to_string());
            assert!(meaning.ends_with('.') && !meaning.starts_with(' '), "{value}: {meaning:?}");
        }
        for value in ConditionType::ALL {
            check(value, value.meaning());
        }
        for value in Reason::ALL {
            check(value, value.meaning());
        }
        assert_eq!(Reason::NoMatchingListenerHostname.as_str(), "NoMatchingListenerHostname");
    }
}
