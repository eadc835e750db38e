//! The command line. Every flag can also be an environment variable.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{
    ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum,
    builder::{BoolishValueParser, NonEmptyStringValueParser},
};

use crate::{
    compile::{Controller, DEFAULT_CONTROLLER_NAME},
    telemetry::LogFormat,
    upstream::Network,
};

/// An AI gateway for Kubernetes in one pod.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "An AI gateway for Kubernetes in one pod: operator and data plane in one process",
    after_help = "Try it with a key, as in OPENAI_API_KEY=... tollgate run, or without one:\n  \
        tollgate run --simulate-providers\n  \
        curl localhost:8080/v1/chat/completions -H content-type:application/json \\\n    \
        -d '{\"model\":\"gpt-5.4-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: manifests in files, a cluster, or the providers whose variables are set in the environment.
    Run(Box<RunArgs>),
    /// Print the manifests of the providers whose variables are set in the environment, which name no value of them:
    /// what `tollgate run` serves without manifests and without a cluster. Without any, print those of OpenAI,
    /// Anthropic and Gemini.
    Init(InitArgs),
    /// Answer like the providers, to practise without spending tokens. See docs/simulator.md.
    Simulate(SimulateArgs),
    /// Delete the EndpointSlices that an installation maintains. The chart runs it before `helm uninstall` deletes the
    /// rest.
    Uninstall(InstallationArgs),
    /// Try the prompt guards of a TrafficPolicy, without a request.
    Guard {
        /// What to do with them.
        #[command(subcommand)]
        command: GuardCommand,
    },
    /// Print, write or check the CustomResourceDefinitions.
    Crds(CrdsArgs),
}

/// `tollgate guard`.
#[derive(Debug, Subcommand)]
pub enum GuardCommand {
    /// Show what a guard masks or refuses in a text, and which rule does it. See docs/guards.md.
    Test(GuardTestArgs),
}

/// `tollgate guard test`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["text", "file", "stream"])))]
pub struct GuardTestArgs {
    /// The manifest file, or directory, with the TrafficPolicy.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,

    /// The policy's name, where there are several: `NAME` or `NAMESPACE/NAME`.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The text.
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,

    /// A file with the text.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// A file with the text in pieces, one a line, as a stream brings them. Shows what is released after each, and in
    /// the last line what is released at the end.
    #[arg(long, value_name = "FILE")]
    pub stream: Option<PathBuf>,

    /// Try the guard of responses instead of that of requests.
    #[arg(long)]
    pub response: bool,
}

/// `tollgate run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Serve the manifests in this directory or file instead of a cluster. May be given several times.
    ///
    /// Changes are live within a second. In Secrets, `$NAME` and `${NAME}` are replaced by environment variables.
    #[arg(long, value_name = "DIR", env = "TOLLGATE_MANIFESTS", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,

    /// What is served where no `--manifests` are given. Without this flag it is the cluster in a pod, and where
    /// KUBECONFIG is set; else the environment, if it has a provider's variable or providers are simulated; else the
    /// cluster of `~/.kube/config`.
    #[arg(long, value_name = "SOURCE", env = "TOLLGATE_SOURCE", conflicts_with = "manifests")]
    pub source: Option<SourceKind>,

    /// The address at which the ports of Gateways are bound. By default every address of the machine, and 127.0.0.1
    /// where the environment is served.
    #[arg(long, value_name = "ADDR", env = "TOLLGATE_LISTEN_ADDRESS")]
    pub listen_address: Option<IpAddr>,

    /// The port of the Gateway, where the environment is served.
    #[arg(long, value_name = "PORT", env = "TOLLGATE_LISTEN_PORT", default_value_t = DEFAULT_PORT)]
    pub listen_port: u16,

    /// Answer for every LLM provider with the built-in simulator. Nothing leaves the machine, and environment
    /// variables that Secrets name need not be set.
    #[arg(
        long,
        env = "TOLLGATE_SIMULATE_PROVIDERS",
        value_parser = BoolishValueParser::new(),
        num_args = 0,
        action = ArgAction::Set,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub simulate_providers: bool,

    /// Where a simulator runs (`tollgate simulate`) that is to answer instead of the built-in one; for
    /// `--simulate-providers`.
    #[arg(long, value_name = "ADDR:PORT", env = "TOLLGATE_SIMULATOR_ADDRESS", requires = "simulate_providers")]
    pub simulator_address: Option<SocketAddr>,

    /// Fetch images and documents also from private and local addresses, when a client gives a URL and the provider
    /// does not fetch it itself. Use it only where every client may read from those addresses.
    #[arg(
        long,
        env = "TOLLGATE_FETCH_PRIVATE_ADDRESSES",
        value_parser = BoolishValueParser::new(),
        num_args = 0,
        action = ArgAction::Set,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub fetch_private_addresses: bool,

    /// Networks that images and documents are never fetched from, beside those that are not public: those of the
    /// cluster, where its pods and nodes have public addresses.
    #[arg(long, value_name = "CIDR,...", env = "TOLLGATE_REFUSE_MEDIA_NETWORKS", value_delimiter = ',')]
    pub refuse_media_networks: Vec<Network>,

    /// Ports that the URLs of images and documents may have.
    #[arg(
        long,
        value_name = "PORT,...",
        env = "TOLLGATE_MEDIA_PORTS",
        value_delimiter = ',',
        default_values_t = [80, 443, 8080, 8443]
    )]
    pub media_ports: Vec<u16>,

    /// Networks that Backends of a cluster may reach although they are local: loopback, link-local, the addresses at
    /// which clouds answer their machines, and the pod's own. Backends from files may reach all but the admin port.
    #[arg(long, value_name = "CIDR,...", env = "TOLLGATE_ALLOW_UPSTREAM_NETWORKS", value_delimiter = ',')]
    pub allow_upstream_networks: Vec<Network>,

    /// Hosts beside the providers' own to which Backends may send the identity of Tollgate's pod (`kind: Workload`, and
    /// `bedrock` without `auth`).
    #[arg(long, value_name = "HOST,...", env = "TOLLGATE_POD_IDENTITY_HOSTS", value_delimiter = ',')]
    pub pod_identity_hosts: Vec<String>,

    /// Namespaces whose Backends may use the identity of Tollgate's pod, or `*` for all. Without it, Tollgate's own
    /// namespace; with manifests from files, all.
    #[arg(long, value_name = "NAME,...", env = "TOLLGATE_POD_IDENTITY_NAMESPACES", value_delimiter = ',')]
    pub pod_identity_namespaces: Vec<String>,

    /// A TOML file with facts about models, which replace those that Tollgate comes with. It is read again when it
    /// changes.
    #[arg(long, value_name = "FILE", env = "TOLLGATE_MODEL_FACTS")]
    pub model_facts: Option<PathBuf>,

    /// Names the target and the number of attempts in replies, as `x-tollgate-target` and `x-tollgate-attempts`.
    #[arg(
        long,
        env = "TOLLGATE_REPLY_TARGET_HEADERS",
        value_parser = BoolishValueParser::new(),
        num_args = 0,
        action = ArgAction::Set,
        default_value_t = false,
        default_missing_value = "true"
    )]
    pub reply_target_headers: bool,

    /// Where metrics, health and debug views are served. By default 0.0.0.0:9092, and 127.0.0.1:9092 where the
    /// environment is served.
    #[arg(long, value_name = "ADDR:PORT", env = "TOLLGATE_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// Threads that serve requests; 0 is one per core.
    #[arg(long, value_name = "N", env = "TOLLGATE_WORKER_THREADS", default_value_t = 0)]
    pub worker_threads: usize,

    /// Largest request body to an LLM provider, in bytes. Larger ones are answered with 413.
    #[arg(long, value_name = "BYTES", env = "TOLLGATE_MAX_BODY_BYTES", default_value_t = 32 * 1024 * 1024)]
    pub max_body_bytes: usize,

    /// Client connections open at a time. More are closed at once, and counted.
    #[arg(long, value_name = "N", env = "TOLLGATE_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub max_connections: usize,

    /// Seconds a client may take to send a request's head, and a connection may idle.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_HEADER_TIMEOUT", default_value_t = 60)]
    pub header_timeout: u64,

    /// Seconds a client may take to send a request's body.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_BODY_TIMEOUT", default_value_t = 120)]
    pub body_timeout: u64,

    /// Seconds a backend may take to begin its reply, unless a route has a timeout of its own.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_BACKEND_TIMEOUT", default_value_t = 600)]
    pub backend_timeout: u64,

    /// Seconds a reply may pause once it has begun, unless a policy sets another limit.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_IDLE_TIMEOUT", default_value_t = 300)]
    pub idle_timeout: u64,

    /// Seconds a client may leave a reply unread. Then its connection is closed, and the backend is let go.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_WRITE_TIMEOUT", default_value_t = 60)]
    pub write_timeout: u64,

    /// Bytes that the bodies of all requests under way may take together. Requests beyond it are answered with 503.
    /// By default half of the memory that the container may use.
    #[arg(long, value_name = "BYTES", env = "TOLLGATE_MAX_REQUEST_BYTES_IN_FLIGHT")]
    pub max_request_bytes_in_flight: Option<usize>,

    /// Seconds a connection to a backend may take to be made, DNS and TLS included.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_CONNECT_TIMEOUT", default_value_t = 5)]
    pub connect_timeout: u64,

    /// Seconds after which a connection to a backend gets no more requests, so that a host whose addresses change is
    /// followed.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_CONNECTION_MAX_AGE", default_value_t = 300)]
    pub connection_max_age: u64,

    /// Seconds that replies under way may take to finish after SIGTERM.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,

    /// Seconds after SIGTERM in which new connections are still accepted, so that load balancers have time to notice
    /// that this pod is not ready any more.
    #[arg(long, value_name = "SECONDS", env = "TOLLGATE_DRAIN_DELAY", default_value_t = 0)]
    pub drain_delay: u64,

    /// This pod's name. Set by the chart; with it, and a cluster, Tollgate keeps statuses and the Services of Gateways.
    /// Without it Tollgate writes nothing to the cluster.
    #[arg(long, value_name = "NAME", env = "TOLLGATE_POD_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub pod_name: Option<String>,

    /// The installation.
    #[command(flatten)]
    pub installation: InstallationArgs,

    /// The labels by which Services of Gateways select the pods of Tollgate.
    #[arg(
        long,
        value_name = "LABEL=VALUE,...",
        env = "TOLLGATE_POD_SELECTOR",
        default_value = "app.kubernetes.io/name=tollgate",
        value_parser = selector
    )]
    pub pod_selector: BTreeMap<String, String>,

    /// The format of the log.
    #[arg(long, value_name = "FORMAT", env = "TOLLGATE_LOG_FORMAT", default_value = "json")]
    pub log_format: LogStyle,

    /// The filter of the log, as in `info,tollgate::access=off`.
    #[arg(long, value_name = "FILTER", env = "TOLLGATE_LOG", default_value = "info")]
    pub log: String,
}

/// The port of the Gateway that is made from the environment.
const DEFAULT_PORT: u16 = 8080;

/// What is served where no manifests are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceKind {
    /// The cluster of the pod or of KUBECONFIG.
    Cluster,
    /// The providers whose variables are set.
    Environment,
}

/// `tollgate init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The port of the Gateway.
    #[arg(long, value_name = "PORT", env = "TOLLGATE_LISTEN_PORT", default_value_t = DEFAULT_PORT)]
    pub listen_port: u16,
}

/// What distinguishes one installation in a cluster from another.
#[derive(Debug, Args)]
pub struct InstallationArgs {
    /// Tollgate's own namespace, where its Lease is. By default that of the pod, or of KUBECONFIG.
    #[arg(long, value_name = "NAME", env = "TOLLGATE_NAMESPACE", value_parser = NonEmptyStringValueParser::new())]
    pub namespace: Option<String>,

    /// The `controllerName` of the GatewayClasses whose Gateways are served. Two installations in one cluster have two.
    #[arg(
        long,
        value_name = "DOMAIN/NAME",
        env = "TOLLGATE_CONTROLLER_NAME",
        default_value = DEFAULT_CONTROLLER_NAME
    )]
    pub controller_name: Controller,

    /// The Service that selects all pods of Tollgate. Its Lease has the same name.
    #[arg(long, value_name = "NAME", env = "TOLLGATE_SERVICE", default_value = "tollgate")]
    pub service: String,
}

/// `LABEL=VALUE,LABEL=VALUE` to labels. An empty selector would select every pod, so it is an error.
fn selector(text: &str) -> Result<BTreeMap<String, String>, String> {
    text.split(',')
        .map(|pair| match pair.trim().split_once('=') {
            Some((label, value)) if !label.is_empty() => Ok((label.to_owned(), value.to_owned())),
            _ => Err(format!("'{pair}' is not LABEL=VALUE")),
        })
        .collect()
}

/// The format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogStyle {
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Text,
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Json => Self::Json,
            LogStyle::Text => Self::Text,
        }
    }
}

/// `tollgate simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Where to listen.
    #[arg(long, value_name = "ADDR:PORT", env = "TOLLGATE_SIMULATE_LISTEN", default_value = "127.0.0.1:9099")]
    pub listen: SocketAddr,
}

/// `tollgate crds`.
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// Write one file a definition into this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    pub write: Option<PathBuf>,

    /// Compare with the files in this directory; exit with 1 when they differ.
    #[arg(long, value_name = "DIR")]
    pub check: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::upstream::FetcherOptions;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_have_the_documented_defaults() {
        let cli = Cli::parse_from(["tollgate", "run", "--manifests", "a", "--manifests", "b"]);
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.manifests, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!((run.admin_listen, run.listen_address, run.source), (None, None, None));
        assert_eq!(run.max_body_bytes, 33_554_432);
        assert!(!run.simulate_providers && !run.reply_target_headers);
        assert_eq!((run.refuse_media_networks.len(), run.media_ports), (0, FetcherOptions::default().ports));
        assert_eq!((run.pod_name, run.installation.service.as_str(), run.drain_delay), (None, "tollgate", 0));
        assert_eq!(run.installation.controller_name, Controller::default());
        assert_eq!(run.pod_selector, selector("app.kubernetes.io/name=tollgate").unwrap());
    }

    #[test]
    fn a_selector_is_labels() {
        let labels = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect())
        };
        for (text, expect) in [
            ("a=b", labels(&[("a", "b")])),
            ("a/b=c, d=", labels(&[("a/b", "c"), ("d", "")])),
            ("", Err("'' is not LABEL=VALUE".to_owned())),
            ("a=b,", Err("'' is not LABEL=VALUE".to_owned())),
            ("a", Err("'a' is not LABEL=VALUE".to_owned())),
            ("=b", Err("'=b' is not LABEL=VALUE".to_owned())),
        ] {
            assert_eq!(selector(text), expect, "{text:?}");
        }
    }
}
