//! The source of objects: files, a cluster, or the environment.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{RunArgs, SourceKind},
    compile::{Install, Objects, PodIdentity, Scope},
    source::{
        environment::Environment,
        file::{self, LoadOptions},
        kube,
    },
    telemetry::Metrics,
    upstream::Proxies,
};

/// The port of metrics, health and debug views, unless a flag sets it.
const ADMIN_PORT: u16 = 9092;
/// The value of keys that are not set while providers are simulated.
const SIMULATED_KEY: &str = "simulated-key";

/// A variable of the environment, which is read here and passed on.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The source of objects.
pub enum Source {
    /// Files and directories.
    Files(Vec<PathBuf>, LoadOptions),
    /// The providers whose variables are set.
    Environment(Environment, LoadOptions),
    /// A cluster.
    Cluster(::kube::Client),
}

/// The source that the command line and the environment choose.
///
/// # Errors
/// When there is none.
pub async fn source(args: &RunArgs, proxies: &Proxies) -> anyhow::Result<Source> {
    let options = LoadOptions { placeholder_for_unset: args.simulate_providers.then(|| SIMULATED_KEY.to_owned()) };
    if !args.manifests.is_empty() {
        return Ok(Source::Files(args.manifests.clone(), options));
    }
    let example = || args.simulate_providers.then(|| Environment::example(args.listen_port));
    let environment = Environment::read(&variable, args.listen_port).or_else(example);
    let names_cluster = || ["KUBERNETES_SERVICE_HOST", "KUBECONFIG"].iter().any(|name| variable(name).is_some());
    match (args.source, environment) {
        (Some(SourceKind::Environment), Some(environment)) => return Ok(Source::Environment(environment, options)),
        (Some(SourceKind::Environment), None) => anyhow::bail!("no provider's variable is set, such as OPENAI_API_KEY"),
        (None, Some(environment)) if !names_cluster() => return Ok(Source::Environment(environment, options)),
        (None | Some(SourceKind::Cluster), _) => {}
    }
    let nothing = "no --manifests DIR, no provider's variable such as OPENAI_API_KEY, and no cluster";
    Ok(Source::Cluster(kube::connect(proxies).await.context(nothing)?))
}

impl Source {
    /// Which Gateways are served.
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Files(..) | Self::Environment(..) => Scope::Files,
            Self::Cluster(_) => Scope::Cluster,
        }
    }

    /// The address for the ports of Gateways; `None` is every one of the machine. Keys of the environment are those of
    /// one person, so they serve that person's machine alone.
    pub fn listen_address(&self, args: &RunArgs) -> Option<IpAddr> {
        let own = matches!(self, Self::Environment(..)).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        args.listen_address.or(own)
    }

    /// Whether other machines reach the ports of Gateways, and real keys are behind them.
    pub fn is_exposed(&self, args: &RunArgs) -> bool {
        !args.simulate_providers && self.listen_address(args).is_none_or(|address| !address.is_loopback())
    }

    /// The address of the admin port.
    pub fn admin_listen(&self, args: &RunArgs) -> SocketAddr {
        let address = match self {
            Self::Environment(..) => Ipv4Addr::LOCALHOST,
            Self::Files(..) | Self::Cluster(_) => Ipv4Addr::UNSPECIFIED,
        };
        args.admin_listen.unwrap_or_else(|| (address, ADMIN_PORT).into())
    }

    /// Which Backends may use the pod's identity, and for which hosts.
    pub fn identity(&self, args: &RunArgs) -> PodIdentity {
        let namespaces = match self {
            _ if args.pod_identity_namespaces.iter().any(|name| name == "*") => None,
            _ if !args.pod_identity_namespaces.is_empty() => Some(args.pod_identity_namespaces.clone()),
            Self::Files(..) | Self::Environment(..) => None,
            Self::Cluster(client) => {
                Some(vec![args.installation.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned())])
            }
        };
        PodIdentity { namespaces, hosts: args.pod_identity_hosts.clone() }
    }

    /// How Tollgate is installed; `None` with files, and without `--pod-name`.
    pub fn install(&self, args: &RunArgs) -> Option<Arc<Install>> {
        let Self::Cluster(client) = self else { return None };
        args.pod_name.as_ref()?;
        Some(Arc::new(Install {
            namespace: args.installation.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned()),
            service: args.installation.service.clone(),
            selector: args.pod_selector.clone(),
            admin_port: self.admin_listen(args).port(),
        }))
    }

    /// Publishes the objects, and again whenever they change, until `stop`.
    ///
    /// # Errors
    /// When the source fails.
    pub async fn watch(
        self,
        metrics: Arc<Metrics>,
        objects: watch::Sender<Arc<Objects>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        match self {
            Self::Files(dirs, options) => {
                file::watch(dirs, Arc::new(variable), options, objects, stop).await.context("manifests")
            }
            Self::Environment(environment, options) => {
                tracing::info!(
                    providers = environment.providers(),
                    "serving the environment: `tollgate init` prints its manifests"
                );
                let text = environment.manifests();
                objects.send_replace(Arc::new(file::read_text("environment", &text, &variable, &options)));
                // The environment of a process does not change.
                stop.cancelled().await;
                Ok(())
            }
            Self::Cluster(client) => kube::watch(client, metrics, objects, stop).await.context("cluster"),
        }
    }
}
