"""A host whose certificate is from an authority of the tenant's own, kept in a ConfigMap or Secret."""

import http.server
import json
import socket
import ssl
import subprocess
import threading

import pytest

from harness.manifests import backend, route, secret, serve_openai

NAME = "llm.example.test"
REPLY = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "over TLS"}}]}


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.keys.append(self.headers["authorization"])
        body = json.dumps(REPLY).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The test says what came."""


def authority(folder, name):
    """A new authority, and a certificate of it for NAME: its PEM, and the files of chain and key."""

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-subj", f"/CN={name}")
    openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={NAME}")
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{name}-ca.pem", "-CAkey", f"{name}-ca.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-extfile", f"{name}.ext", "-days", "1")
    return (folder / f"{name}-ca.pem").read_text(), folder / f"{name}.pem", folder / f"{name}.key"


@pytest.fixture
def server(tollgate, tmp_path):
    """A TLS server that pods can reach, with the authority that it is from and one that it is not from."""
    own, chain, key = authority(tmp_path, "own")
    other, _, _ = authority(tmp_path, "other")
    with socket.create_connection((tollgate.pod()["status"]["podIP"], 9092)) as probe:
        address = probe.getsockname()[0]
    serving = http.server.ThreadingHTTPServer((address, 0), Answers)
    serving.keys = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    serving.socket = context.wrap_socket(serving.socket, server_side=True, do_handshake_on_connect=False)
    serving.authorities = {"own": own, "other": other}
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


def config_map(ns, pem):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": ns},
            "data": {"ca.crt": pem}}


def test_authorities_of_a_config_map_and_of_a_secret_are_read_and_watched(kube, server, ns):
    host, port = server.server_address
    spec = {"type": "AI", "ai": {"llm": {
        "hostOverride": {"host": host, "port": port, "tls": {"caCertificateRefs": [{"name": "ca"}], "sni": NAME}},
        "provider": {"openai": {"authToken": {"kind": "SecretRef", "secretRef": {"name": "it"}}}}}}}
    handle = serve_openai(kube, ns)
    path = "/it/v1/chat/completions"
    kube.apply(secret(ns, "it", "Bearer of-it"), backend(ns, "it", spec), route(ns, "it", handle, path="/it"))

    kube.expect_condition("Backend", ns, "it", "ResolvedRefs", False, "InvalidCACertificateRef", "ConfigMap")
    handle.serves(500, path=path)
    kube.apply(config_map(ns, server.authorities["other"]))
    handle.serves(502, path=path)
    assert server.keys == [], "the key went to a host that nobody vouched for"

    kube.apply(config_map(ns, server.authorities["own"]))
    assert handle.serves(path=path).json()["choices"][0]["message"]["content"] == "over TLS"
    kube.expect_condition("Backend", ns, "it", "Accepted", True)
    assert set(server.keys) == {"Bearer of-it"}

    kube.remove("ConfigMap", ns, "ca")
    handle.serves(500, path=path)
    spec["ai"]["llm"]["hostOverride"]["tls"]["caCertificateRefs"] = [{"group": "", "kind": "Secret", "name": "ca"}]
    of_secret = {**config_map(ns, ""), "kind": "Secret", "stringData": {"ca.crt": server.authorities["own"]}}
    del of_secret["data"]
    kube.apply(of_secret, backend(ns, "it", spec))
    handle.serves(path=path)
