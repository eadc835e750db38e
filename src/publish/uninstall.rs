//! What is done before an installation is deleted.
//!
//! Helm deletes the roles a few milliseconds after the Deployment: when the pods get SIGTERM, they may write nothing
//! any more. EndpointSlices in other namespaces than Tollgate's would then name dead pods as ready for ever. So
//! they are deleted first, while the pods still run.

use ::kube::{
    Api, Client, Error, ResourceExt,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::{Duration, sleep};

use super::leader::ELECTION_TIMING;
use crate::{
    api::ObjectKey,
    compile::{Controller, SLICE_MANAGED_BY},
};

/// The holder of the Lease from then on. No pod has such a name.
const HOLDER: &str = "uninstall";
/// Seconds for which no pod takes the Lease. Pods that live longer, because nothing was deleted after all, write again
/// after that; so do those of a new installation.
const HOLD_SECONDS: i32 = 15;
/// How often the Lease is read again when its holder has renewed it meanwhile.
const MAX_ATTEMPTS: usize = 5;
/// How long the old leader may take to notice that it has lost the Lease.
const NOTICE: Duration = ELECTION_TIMING.retry_period.saturating_add(Duration::from_secs(1));

/// Takes the Lease from the pod that writes, and deletes the EndpointSlices that `controller` maintains. Returns how
/// many they were.
///
/// # Errors
/// When the API server can't be reached, or refuses a request.
pub async fn uninstall(client: Client, lease: &ObjectKey, controller: &Controller) -> Result<usize, Error> {
    uninstall_after(NOTICE, client, lease, controller).await
}

pub(super) async fn uninstall_after(
    notice: Duration,
    client: Client,
    lease: &ObjectKey,
    controller: &Controller,
) -> Result<usize, Error> {
    if take(&Api::namespaced(client.clone(), &lease.namespace), &lease.name).await? {
        sleep(notice).await;
    }
    let label = format!("{SLICE_MANAGED_BY}={}", controller.label());
    let slices = Api::<EndpointSlice>::all(client.clone()).list(&ListParams::default().labels(&label)).await?;
    let mut deleted = 0;
    for slice in slices {
        let api: Api<EndpointSlice> = Api::namespaced(client.clone(), &slice.namespace().unwrap_or_default());
        // The uid protects an object of the same name that was created meanwhile.
        let only = Preconditions { uid: slice.uid(), ..Preconditions::default() };
        let parameters = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        match api.delete(&slice.name_any(), &parameters).await {
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            done => {
                done?;
                deleted += 1;
            }
        }
    }
    Ok(deleted)
}

/// Takes the Lease from any holder. Returns whether there is one.
async fn take(api: &Api<Lease>, name: &str) -> Result<bool, Error> {
    for attempt in 1.. {
        let Some(mut lease) = api.get_opt(name).await? else { return Ok(false) };
        let now = MicroTime(Timestamp::now());
        let old = lease.spec.take().unwrap_or_default();
        lease.metadata.managed_fields = None;
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(HOLDER.to_owned()),
            lease_duration_seconds: Some(HOLD_SECONDS),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(old.lease_transitions.unwrap_or(0).saturating_add(1)),
            ..LeaseSpec::default()
        });
        match api.replace(name, &PostParams::default(), &lease).await {
            Err(Error::Api(status)) if status.code == 409 && attempt < MAX_ATTEMPTS => {}
            written => return written.map(|_| true),
        }
    }
    Ok(false)
}
