//! Connections that leave: their pools, and the proxies that they go through.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::source::Source;
use crate::{
    args::RunArgs,
    compile::Scope,
    upstream::{Dialer, DialerOptions, Pools, Proxies, Reach},
};

/// The longest times of connections. With more, the clock's range would end.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// The connections to backends, and those with which the pod's identity is fetched.
pub(super) fn pools(
    args: &RunArgs,
    source: &Source,
    simulator: Option<SocketAddr>,
    proxies: &Proxies,
) -> [Arc<Pools>; 2] {
    let seconds = |seconds: u64| Duration::from_secs(seconds).min(LONGEST);
    let (connect_timeout, max_age) = (seconds(args.connect_timeout), seconds(args.connection_max_age));
    let reach = Reach {
        no_local: source.scope() == Scope::Cluster,
        allowed: args.allow_upstream_networks.clone(),
        admin: Some(source.admin_listen(args)),
    };
    let backends = DialerOptions { connect_timeout, max_age, simulator, reach, proxies: proxies.clone() };
    // Clouds issue the pod's identity at link-local addresses.
    let pod = DialerOptions { connect_timeout, max_age, proxies: proxies.tls_only(), ..DialerOptions::default() };
    [backends, pod].map(|options| Arc::new(Pools::new(Dialer::new(options))))
}

/// The proxies of the environment.
pub(super) fn proxies() -> anyhow::Result<Proxies> {
    #[expect(clippy::disallowed_methods, reason = "the environment is read here, and passed on")]
    let environment = |name: &str| std::env::var(name).ok();
    Proxies::from_environment(&environment).map_err(anyhow::Error::msg)
}

/// Logs through which proxies connections leave, if through any.
pub(super) fn log_proxies(proxies: &Proxies) {
    let [http, https] = proxies.addresses();
    if http.is_some() || https.is_some() {
        tracing::info!(http, https, "connections to hosts outside the cluster go through a proxy");
    }
}
