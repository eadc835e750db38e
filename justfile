# The developer's entry. CI runs `.ci/run`, which runs the same commands.

# Lists the recipes.
default:
    @just --list

# Formatting, lints and documentation.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# All Rust tests, or those whose names contain the filter.
test filter="":
    cargo test {{ filter }}

# nginx, Envoy and Tollgate side by side; see docs/performance.md.
bench *options:
    benches/run {{ options }}

# Writes the committed custom resource definitions anew.
crds:
    cargo run --quiet -- crds --write crds
    cp crds/*.yaml helm/tollgate/files/crds/

# The providers' own Python clients against Tollgate in front of its simulator.
sdk:
    cargo build --bin tollgate
    tests/sdk/run
    tests/sdk/run --grid

# The chart, without a cluster; needs helm.
chart:
    tests/chart/run

# Everything on the cluster of KUBECONFIG, whose nodes have IMAGE; see e2e/README.md.
e2e *options:
    e2e/run {{ options }}

# Bans, licences and sources of the dependencies; needs cargo-deny.
deny:
    cargo deny check bans licenses sources

# Everything that must pass before a change is merged.
ci:
    .ci/run
