//! Header modifiers of HTTPRoutes: `RequestHeaderModifier` and `ResponseHeaderModifier`.

use futures_util::future::{self, FutureExt};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{PolicyFuture, PolicyRequest, ReplyPolicy, RequestPolicy};

/// Edits of a set of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderModifier {
    /// Headers to replace or add.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Headers to add beside existing ones.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Headers to remove.
    pub remove: Vec<HeaderName>,
}

impl HeaderModifier {
    /// Whether it edits nothing.
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    fn edit(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

impl RequestPolicy for HeaderModifier {
    fn apply<'a>(&'a self, request: &'a mut PolicyRequest<'_>) -> PolicyFuture<'a> {
        self.edit(request.headers);
        self.edit(request.added);
        future::ready(Ok(())).boxed()
    }
}

impl ReplyPolicy for HeaderModifier {
    fn head(&self, headers: &mut HeaderMap) {
        self.edit(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Findings;

    #[test]
    fn what_a_route_adds_is_known_apart_from_the_client() {
        let pair = |n: &'static str, v: &'static str| (HeaderName::from_static(n), HeaderValue::from_static(v));
        let modifier = HeaderModifier {
            set: vec![pair("a", "same")],
            add: vec![pair("b", "2")],
            remove: vec![HeaderName::from_static("c")],
        };
        let mut headers: HeaderMap = [pair("a", "same"), pair("b", "1"), pair("d", "x")].into_iter().collect();
        let mut added: HeaderMap = [pair("c", "of another policy")].into_iter().collect();
        let mut request = PolicyRequest {
            headers: &mut headers,
            added: &mut added,
            api: None,
            body: None,
            model: None,
            findings: &Findings::default(),
        };
        RequestPolicy::apply(&modifier, &mut request).now_or_never().unwrap().unwrap();
        assert_eq!(added, [pair("a", "same"), pair("b", "2")].into_iter().collect());
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn headers_are_set_added_and_removed() {
        let pair = |n: &'static str, v: &'static str| (HeaderName::from_static(n), HeaderValue::from_static(v));
        let modifier = HeaderModifier {
            set: vec![pair("a", "new")],
            add: vec![pair("b", "2")],
            remove: vec![HeaderName::from_static("c")],
        };
        let mut headers: HeaderMap = [pair("a", "old"), pair("b", "1"), pair("c", "x")].into_iter().collect();
        modifier.head(&mut headers);
        assert_eq!(headers["a"], "new");
        assert_eq!(headers.get_all("b").iter().count(), 2);
        assert!(!headers.contains_key("c"));
    }
}
