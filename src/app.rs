//! Wiring, and the order of starting and stopping.

mod debug;
mod egress;
mod guard;
mod health;
mod limits;
mod publisher;
mod signals;
mod simulator;
mod source;
mod tasks;
mod uninstall;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use self::{
    debug::Debug,
    egress::{log_proxies, pools, proxies},
    publisher::{Latest, Publisher},
    signals::{IgnoredSignals, StopSignals},
    source::{Source, source, variable},
    tasks::{Ended, Tasks},
};
use crate::{
    admin::{self, AdminState, Readiness},
    api::{self, ObjectKey},
    args::{Cli, Command, CrdsArgs, InitArgs, RunArgs, SimulateArgs},
    compile::{Env, Install, Objects},
    dialect::ModelTable,
    proxy::{BindStates, Budget, HISTORY_PART, Listeners, Serving, Settings, Shared},
    publish::{self, Published, Replica, Rival},
    snapshot::Snapshot,
    source::{environment::Environment, models},
    telemetry::{self, Metrics},
    upstream::{Credentials, Fetcher, FetcherOptions, Pools, Proxies, balance::Balance},
};

/// The interval at which idle connections are checked.
const SWEEP: Duration = Duration::from_secs(15);
/// How long threads that are blocked may delay the end of the process.
const THREADS_END: Duration = Duration::from_secs(1);
/// How long what was cut by a second signal may take to end.
const CUT: Duration = Duration::from_secs(2);
/// How long the release of the Lease may delay the drain.
const LEASE_RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The task that serves Gateways' ports. Stopping waits for it.
const LISTENERS: &str = "listeners";
/// The task that writes to the cluster. Stopping waits for it, so that the Lease is released.
const WRITER: &str = "cluster writer";

/// Runs the command of the command line.
///
/// # Errors
/// When the command can't start: a port is in use, or a directory can't be read.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => block_on(args.worker_threads, serve(*args)),
        Command::Init(args) => Ok(init(&args)),
        Command::Simulate(args) => block_on(0, simulate(args)),
        Command::Uninstall(args) => block_on(1, uninstall::uninstall(args)),
        Command::Guard { command } => guard::run(command),
        Command::Crds(args) => crds(&args),
    }
}

/// Runs `main` on a runtime with so many threads; 0 is one per core.
fn block_on(workers: usize, main: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if workers > 0 {
        builder.worker_threads(workers);
    }
    let runtime = builder.enable_all().build().context("start the runtime")?;
    let outcome = runtime.block_on(main);
    // A lookup of a name may block its thread for longer than anybody waits for the end of this process.
    runtime.shutdown_timeout(THREADS_END);
    outcome
}

/// The facts about models: the built-in ones, with those of the file that is watched, if there is one.
fn model_facts(args: &RunArgs, tasks: &mut Tasks, stop: &CancellationToken) -> watch::Receiver<Arc<ModelTable>> {
    let (tables, facts) = watch::channel(ModelTable::built_in());
    if let Some(path) = args.model_facts.clone() {
        let closed = stop.clone();
        tasks.spawn("model facts", async move {
            models::watch(&path, &tables, closed).await;
            Ok(Ended::Stopped)
        });
    }
    facts
}

fn init(args: &InitArgs) -> ExitCode {
    let environment = Environment::read(&variable, args.listen_port);
    print!("{}", environment.unwrap_or_else(|| Environment::example(args.listen_port)).manifests());
    ExitCode::SUCCESS
}

async fn simulate(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    simulator::ensure()?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("listen on {}", args.listen))?;
    println!("simulating providers on http://{}", listener.local_addr()?);
    let mut signals = StopSignals::listen()?;
    let stop = async move {
        signals.next().await;
    };
    simulator::serve(listener, stop).await?;
    Ok(ExitCode::SUCCESS)
}

fn crds(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &args.write {
        api::write_crds(dir).with_context(|| format!("write to {}", dir.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(dir) = &args.check {
        return check_crds(dir);
    }
    print!("{}", api::crds_yaml().context("write YAML")?);
    Ok(ExitCode::SUCCESS)
}

fn check_crds(dir: &Path) -> anyhow::Result<ExitCode> {
    let fresh = std::env::temp_dir().join(format!("tollgate-crds-{}", std::process::id()));
    api::write_crds(&fresh).with_context(|| format!("write to {}", fresh.display()))?;
    let mut same = true;
    for entry in std::fs::read_dir(&fresh)? {
        let name = entry?.file_name();
        if std::fs::read(fresh.join(&name)).ok() != std::fs::read(dir.join(&name)).ok() {
            eprintln!("{} differs; write it with: tollgate crds --write {}", dir.join(&name).display(), dir.display());
            same = false;
        }
    }
    std::fs::remove_dir_all(&fresh)?;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Serves until a signal; a second one cuts the drain.
///
/// Order of starting: log, simulator, admin port (so that health checks are answered), listeners, cluster writer,
/// source. Order of stopping: readiness is set to false; during a pause, while new connections are still accepted, the
/// pod is removed from all endpoints; the Lease is released; listeners drain; then everything else stops.
async fn serve(args: RunArgs) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new()?);
    let _log = telemetry::log::init(args.log_format.into(), &args.log, &metrics)?;
    telemetry::panics::install(metrics.panics.clone());
    let stop = CancellationToken::new();
    let mut tasks = Tasks::default();
    let mut signals = StopSignals::listen()?;
    ignore_signals(&stop, &mut tasks)?;

    // The source is first, because a port is of no use without one.
    let proxies = proxies()?;
    log_proxies(&proxies);
    let source = source(&args, &proxies).await?;
    let simulated = match args.simulator_address {
        Some(address) => Some(address),
        None if args.simulate_providers => Some(start_simulator(&stop, &mut tasks).await?),
        None => None,
    };
    let [pools, pod_pools] = pools(&args, &source, simulated, &proxies);
    let snapshots = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let latest = Latest::default();
    let ports = BindStates::default();
    let ready = Arc::new(Readiness::default());

    let (rival, refused) = watch::channel(None);
    let balance = Arc::<Balance>::default();
    let debug = Debug {
        snapshots: Arc::clone(&snapshots),
        latest: Arc::clone(&latest),
        ports: Arc::clone(&ports),
        rival: refused,
        balance: Arc::clone(&balance),
    };
    let state = AdminState { metrics: Arc::clone(&metrics), ready: Arc::clone(&ready), debug: Arc::new(debug) };
    serve_admin(source.admin_listen(&args), state, &stop, &mut tasks).await?;

    let shared = Arc::new(Shared {
        snapshots: Arc::clone(&snapshots),
        unrouted: metrics.requests.route("", "", ""),
        metrics: Arc::clone(&metrics),
        settings: settings(&args, &source, proxies),
        leaving: AtomicBool::new(false),
        cut: CancellationToken::new(),
    });
    let (publish, changes) = watch::channel(0);
    let (serving, served) = watch::channel(Serving::default());
    let drain = CancellationToken::new();
    let grace = Duration::from_secs(args.drain_seconds);
    let listeners = Listeners::new(Arc::clone(&shared), ports).run(changes, serving, drain.clone(), grace);
    tasks.spawn(LISTENERS, async move {
        listeners.await;
        Ok(Ended::Stopped)
    });

    let install = source.install(&args);
    let credentials = credentials(&args, &pools, &pod_pools, &metrics);
    let env = Env {
        metrics: Arc::clone(&metrics),
        pools: Arc::clone(&pools),
        balance: Arc::clone(&balance),
        health: health::start(balance, &mut tasks, &stop),
        credentials: Arc::clone(&credentials),
        models: model_facts(&args, &mut tasks, &stop),
        scope: source.scope(),
        controller: args.installation.controller_name.clone(),
        identity: source.identity(&args),
        install,
        exposed: source.is_exposed(&args),
    };
    let counted = Arc::clone(&metrics);
    let (objects, updates) = watch::channel(Arc::new(Objects::default()));
    let (compiled, to_write) = watch::channel(None);
    let unpublish = CancellationToken::new();
    let writer = write_cluster(&source, &args, env.install.as_ref(), to_write, metrics, rival, unpublish.clone());
    tasks.spawn(WRITER, writer);
    let publisher = Publisher { env, snapshots, latest, changed: publish, published: compiled };
    tasks.spawn("publisher", async move { Ok(publisher.run(updates).await) });
    let closed = stop.clone();
    tasks.spawn("source", async move { stopped(source.watch(counted, objects, closed).await) });
    let closed = stop.clone();
    tasks.spawn("connection sweep", async move { sweep(&[pools, pod_pools], closed).await });
    let closed = stop.clone();
    tasks.spawn("credentials", async move { stopped(credentials.run(closed).await) });
    keep_readiness(&ready, served, &stop, &mut tasks);

    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            Ok(())
        }
        // A task that ends has failed: a source that has ended must not look like one without changes.
        failure = tasks.failure() => Err(failure),
    };
    ready.set_draining();
    shared.leaving.store(true, Ordering::Relaxed);
    // A process that has failed does not wait.
    let delay = if outcome.is_ok() { Duration::from_secs(args.drain_delay) } else { Duration::ZERO };
    stop_serving(&mut tasks, &mut signals, &shared, delay, &unpublish, &drain).await;
    stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(2), tasks.all_ended()).await;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Starts to serve the admin port.
async fn serve_admin(
    address: SocketAddr,
    state: AdminState,
    stop: &CancellationToken,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let closed = stop.clone();
    tasks.spawn("admin port", async move { stopped(admin::serve(listener, admin::router(state), closed).await) });
    Ok(())
}

/// Starts to keep readiness equal to what is served.
fn keep_readiness(
    ready: &Arc<Readiness>,
    served: watch::Receiver<Serving>,
    stop: &CancellationToken,
    tasks: &mut Tasks,
) {
    let (readiness, closed) = (Arc::clone(ready), stop.clone());
    tasks.spawn("readiness", async move {
        tokio::select! {
            () = follow(&readiness, served) => {}
            () = closed.cancelled() => {}
        }
        closed.cancelled().await;
        Ok(Ended::Stopped)
    });
}

/// Starts to log signals that do nothing.
fn ignore_signals(stop: &CancellationToken, tasks: &mut Tasks) -> anyhow::Result<()> {
    let (ignored, closed) = (IgnoredSignals::listen()?, stop.clone());
    tasks.spawn("ignored signals", async move {
        closed.run_until_cancelled(ignored.log()).await;
        Ok(Ended::Stopped)
    });
    Ok(())
}

/// Stops what serves, and waits until replies under way have ended. A second signal cuts them.
async fn stop_serving(
    tasks: &mut Tasks,
    signals: &mut StopSignals,
    shared: &Shared,
    delay: Duration,
    unpublish: &CancellationToken,
    drain: &CancellationToken,
) {
    let drained = async {
        if !delay.is_zero() {
            let seconds = delay.as_secs();
            tracing::info!(seconds, "stopping: not ready any more; new connections are still accepted");
            tokio::time::sleep(delay).await;
        }
        // Another replica may write from here on.
        unpublish.cancel();
        let _ = tokio::time::timeout(LEASE_RELEASE_TIMEOUT, tasks.ended(WRITER)).await;
        tracing::info!("stopping: no new connections; replies under way may finish");
        drain.cancel();
        tasks.ended(LISTENERS).await;
    };
    let signal = tokio::select! {
        () = drained => return,
        signal = signals.next() => signal,
    };
    tracing::warn!(signal, "stopping at once: a second signal cuts the replies under way");
    unpublish.cancel();
    shared.cut.cancel();
    drain.cancel();
    let _ = tokio::time::timeout(CUT, tasks.ended(LISTENERS)).await;
}

/// Keeps readiness equal to what is served: a snapshot serves once its ports are bound, but one without any bound port
/// serves no client. The listeners log each port that can't be bound with its reason.
async fn follow(readiness: &Readiness, mut served: watch::Receiver<Serving>) {
    let mut was = None;
    while served.changed().await.is_ok() {
        let Serving { bound, unbound, .. } = *served.borrow_and_update();
        let ready = bound > 0 || unbound == 0;
        if was.replace(ready) == Some(ready) {
            continue;
        }
        if ready {
            readiness.set_ready();
            tracing::info!("ready");
        } else {
            readiness.set_unbound();
            tracing::error!(unbound, "not ready: no listener could be bound; trying again");
        }
    }
}

/// The end of a task that runs until it is stopped or fails.
fn stopped(result: Result<(), impl Into<anyhow::Error>>) -> anyhow::Result<Ended> {
    result.map(|()| Ended::Stopped).map_err(Into::into)
}

fn settings(args: &RunArgs, source: &Source, proxies: Proxies) -> Settings {
    let bodies = args.max_request_bytes_in_flight.unwrap_or_else(limits::body_budget);
    Settings {
        listen_address: source.listen_address(args),
        reply_target_headers: args.reply_target_headers,
        max_body: args.max_body_bytes,
        header_timeout: Duration::from_secs(args.header_timeout),
        body_timeout: Duration::from_secs(args.body_timeout),
        backend_timeout: Duration::from_secs(args.backend_timeout),
        idle_timeout: Duration::from_secs(args.idle_timeout),
        write_timeout: Duration::from_secs(args.write_timeout.max(1)),
        body_budget: Arc::new(Budget::new(bodies)),
        history_budget: Arc::new(Budget::new(bodies / HISTORY_PART)),
        max_connections: limits::max_connections(args.max_connections),
        fetcher: Fetcher::new(FetcherOptions {
            private: args.fetch_private_addresses,
            refused: args.refuse_media_networks.clone(),
            ports: args.media_ports.clone(),
            admin: Some(source.admin_listen(args)),
            proxies,
        }),
    }
}

/// The fetcher of cloud credentials. It sends nothing to the network while providers are simulated.
fn credentials(args: &RunArgs, pools: &Arc<Pools>, pod_pools: &Arc<Pools>, metrics: &Arc<Metrics>) -> Arc<Credentials> {
    let credentials = Credentials::new(Arc::clone(pools), Arc::clone(metrics), Arc::new(variable));
    let credentials = credentials.with_pod_pools(Arc::clone(pod_pools));
    Arc::new(if args.simulate_providers { credentials.simulated() } else { credentials })
}

async fn start_simulator(stop: &CancellationToken, tasks: &mut Tasks) -> anyhow::Result<SocketAddr> {
    simulator::ensure()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen for simulated providers")?;
    let address = listener.local_addr()?;
    let closed = stop.clone().cancelled_owned();
    tasks.spawn("provider simulator", async move { stopped(simulator::serve(listener, closed).await) });
    Ok(address)
}

/// Writes published reports to the cluster where Tollgate runs in a pod; else waits for `stop`.
fn write_cluster(
    source: &Source,
    args: &RunArgs,
    install: Option<&Arc<Install>>,
    published: watch::Receiver<Option<Arc<Published>>>,
    metrics: Arc<Metrics>,
    rival: watch::Sender<Option<Rival>>,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<Ended>> + use<> {
    let writer = match (source, install, &args.pod_name) {
        (Source::Cluster(client), Some(install), Some(pod)) => {
            let lease = ObjectKey::new(&install.namespace, &install.service);
            Some((
                client.clone(),
                Replica { pod: pod.clone(), lease, controller: args.installation.controller_name.clone() },
            ))
        }
        _ => None,
    };
    async move {
        let Some((client, replica)) = writer else {
            stop.cancelled().await;
            return Ok(Ended::Stopped);
        };
        stopped(publish::run(client, published, replica, metrics, rival, stop).await)
    }
}

async fn sweep(pools: &[Arc<Pools>], stop: CancellationToken) -> anyhow::Result<Ended> {
    let mut timer = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(Ended::Stopped),
            now = timer.tick() => pools.iter().for_each(|pools| pools.sweep(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "simulator")]
    #[tokio::test]
    async fn a_simulator_that_ends_is_a_failure() {
        let (dies, mut tasks) = (CancellationToken::new(), Tasks::default());
        let address = start_simulator(&dies, &mut tasks).await.unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
        dies.cancel();
        let error = format!("{:#}", tasks.failure().await);
        assert_eq!(error, "provider simulator ended without a request to stop");
    }
}
