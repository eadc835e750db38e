//! The labels by which objects that this controller made are recognised.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::Controller;
use crate::api::gateway::Gateway;

/// Label of objects that a program creates and maintains.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label's value on Services of the controller of the default name. Others have the controller's own label there.
const TOLLGATE: &str = "tollgate";
/// Label with the controller of an EndpointSlice: its name in the form that a label allows.
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The values of labels by which this controller's objects differ from those of another installation.
pub struct Marks<'a> {
    pub controller: &'a Controller,
    pub service: &'a str,
    pub slice: &'a str,
}

impl<'a> Marks<'a> {
    pub fn of(controller: &'a Controller) -> Self {
        let slice = controller.label();
        Self { controller, service: if controller.is_default() { TOLLGATE } else { slice }, slice }
    }

    /// Whether this controller made an object for this very Gateway.
    pub fn is_of(&self, metadata: &ObjectMeta, gateway: &Gateway) -> bool {
        self.owner(metadata).is_some_and(|owner| Some(&owner.uid) == gateway.metadata.uid.as_ref())
    }

    /// The Gateway for which this controller made an object.
    pub fn owner<'b>(&self, metadata: &'b ObjectMeta) -> Option<&'b OwnerReference> {
        let labels = metadata.labels.as_ref()?;
        let made_by_us = labels.get(MANAGED_BY).is_some_and(|by| by == self.service)
            || labels.get(SLICE_MANAGED_BY).is_some_and(|by| by == self.slice);
        let mut owners = metadata.owner_references.iter().flatten().filter(|_| made_by_us);
        owners.find(|o| {
            o.controller == Some(true) && o.kind == "Gateway" && o.api_version.starts_with("gateway.networking.k8s.io/")
        })
    }
}
