//! Rules that depend on the API version and on the cloud.

/// The API version that took the sampling parameters away.
pub(crate) const NEWEST: &str = "2026-10-21";

/// Rules that depend on the API version and on the cloud.
pub(crate) struct Rules {
    /// Whether the request is of the version [`NEWEST`].
    pub(super) newest: bool,
    /// Whether a cloud answers; clouds fetch no URLs.
    pub(super) cloud: bool,
}

impl Rules {
    pub(crate) fn direct(newest: bool) -> Self {
        Self { newest, cloud: false }
    }

    pub(crate) fn cloud(newest: bool) -> Self {
        Self { newest, cloud: true }
    }
}
