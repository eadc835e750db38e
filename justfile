# The developer's entry, and CI's: `.ci/run` and the workflows run these recipes and add no commands of their own.

# Under CI the lock file must be what the manifests need.
locked := if env("CI", "") == "" { "" } else { "--locked" }
target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
cache := env("XDG_CACHE_HOME", home_directory() / ".cache") / "tollgate"
debug_binary := target / "debug/tollgate"

# Lists the recipes.
default:
    @just --list

# Formatting, lints and documentation.
check: format-check clippy doc

# Formats all packages.
format:
    cargo fmt --all
    cargo fmt --manifest-path benches/loadgen/Cargo.toml

# Fails where a file is not formatted.
format-check:
    cargo fmt --all --check

# Lints, each of which is an error.
clippy:
    cargo clippy {{ locked }} --all-targets -- -D warnings

# The documentation of the source; a broken link is an error.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc {{ locked }} --no-deps

# A debug build, which the recipes below run.
build:
    cargo build {{ locked }} --bin tollgate

# The program as images have it, in target/dist.
dist:
    cargo build {{ locked }} --profile dist --bin tollgate

# All Rust tests, or those whose names contain the filter.
test filter="":
    cargo test {{ locked }} --no-fail-fast {{ filter }}

# Random changes of golden files and of upstream replies on stable Rust, so many seconds for each target.
fuzz seconds="10":
    crates/dialects/fuzz/run {{ seconds }}
    FUZZ_SECONDS={{ seconds }} cargo test {{ locked }} --package tollgate --package tollgate-guards --lib -- --ignored --nocapture fuzz_

# Coverage-guided fuzzing of one target; needs nightly Rust and cargo-fuzz.
fuzz-coverage target seconds="600":
    cd {{ if path_exists("fuzz/fuzz_targets/" + target + ".rs") == "true" { "." } else { "crates/dialects" } }} && \
        cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}

# The micro-benchmarks, or one of them: compile, upstream_http1, log_writer.
bench-micro name="*":
    cargo bench {{ locked }} --profile dist --bench "{{ name }}"

# nginx, Envoy and Tollgate side by side; see docs/performance.md.
bench *options:
    benches/run {{ options }}

# Every client dialect against every provider; see docs/performance.md.
bench-grid *options:
    benches/grid {{ options }}

# The tools of the benchmarks. A debug build's figures say nothing: this shows that every cell is answered and counted.
bench-tools: build
    cargo fmt --manifest-path benches/loadgen/Cargo.toml --check
    CARGO_TARGET_DIR={{ cache }}/bench-target cargo clippy {{ locked }} --manifest-path benches/loadgen/Cargo.toml \
        --all-targets -- -D warnings
    CARGO_TARGET_DIR={{ cache }}/bench-target cargo test {{ locked }} --manifest-path benches/loadgen/Cargo.toml
    benches/run --help >/dev/null
    TOLLGATE={{ debug_binary }} benches/grid --quick --json {{ target }}/grid.json

# Writes the committed custom resource definitions anew.
crds:
    cargo run --quiet -- crds --write crds
    cp crds/*.yaml helm/tollgate/files/crds/

# Fails where the committed custom resource definitions are not the generated ones.
crds-check:
    cargo run {{ locked }} --quiet -- crds --check crds

# The providers' own Python clients against Tollgate in front of its simulator.
sdk *options: build
    TOLLGATE={{ debug_binary }} tests/sdk/run {{ options }}

# Every client's API at every provider, with a check of what each provider is sent.
sdk-grid *options: build
    TOLLGATE={{ debug_binary }} tests/sdk/run --grid {{ options }}

# A real model behind llama.cpp's own server, with every client dialect.
real-model *options: build
    TOLLGATE={{ debug_binary }} tests/real/run {{ options }}

# Real agents from npm, each of which finishes a task at each provider; needs Node.js.
agents *options: build
    TOLLGATE={{ debug_binary }} tests/agents/run {{ options }}

# The chart, without a cluster; needs helm.
chart *options:
    tests/chart/run {{ options }}

# Everything on the cluster of KUBECONFIG, whose nodes have IMAGE; see e2e/README.md.
e2e *options:
    e2e/run {{ options }}

# Bans, licences and sources of the dependencies; needs cargo-deny.
deny:
    cargo deny check bans licenses sources

# Known vulnerabilities of the dependencies; needs cargo-deny and a network.
advisories:
    cargo deny check advisories

# Names of the machine that builds, which have no place in a tracked file.
leaks:
    .ci/leaks

# Everything that must pass before a change is merged.
ci:
    .ci/run
