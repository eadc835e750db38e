//! The provider simulator, if this build has one (feature `simulator`).

use tokio::net::TcpListener;

/// Fails if this build has no simulator.
///
/// # Errors
/// When the feature `simulator` is off.
pub(super) fn ensure() -> anyhow::Result<()> {
    anyhow::ensure!(
        cfg!(feature = "simulator"),
        "this build has no provider simulator (cargo feature `simulator`); \
         --simulator-address names one that runs elsewhere"
    );
    Ok(())
}

/// Replies like the providers until `shutdown` completes.
///
/// # Errors
/// When this build has no simulator, or its listener fails for good.
#[cfg(feature = "simulator")]
pub(super) async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    Ok(tollgate_simulator::serve(listener, tollgate_simulator::Options::default(), shutdown).await?)
}

/// Fails: this build has no simulator.
///
/// # Errors
/// Always.
#[cfg(not(feature = "simulator"))]
pub(super) fn serve(
    _listener: TcpListener,
    _shutdown: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = anyhow::Result<()>> + Send {
    std::future::ready(ensure())
}
