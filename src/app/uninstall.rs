//! `tollgate uninstall`, which the chart's Job runs before Helm deletes anything.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

use crate::{api::ObjectKey, args::InstallationArgs, publish, source::kube};

/// How long all of it may take. An uninstall must not wait for an API server that does not answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Deletes what the pods of an installation could not. It does not fail, because Helm would then delete nothing.
pub(super) async fn uninstall(args: InstallationArgs) -> anyhow::Result<ExitCode> {
    let done = tokio::time::timeout(LIMIT, clean_up(&args)).await;
    match done.context("the API server does not answer").flatten() {
        Ok(slices) => println!("deleted {slices} EndpointSlices"),
        Err(error) => {
            eprintln!("EndpointSlices of Gateways in other namespaces stay and name pods that end: {error:#}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn clean_up(args: &InstallationArgs) -> anyhow::Result<usize> {
    let client = kube::connect(&super::proxies()?).await.context("no cluster")?;
    let namespace = args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let lease = ObjectKey::new(namespace, &args.service);
    publish::uninstall(client, &lease, &args.controller_name).await.context("clean up")
}
