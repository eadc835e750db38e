# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
# aws-lc-sys compiles its C sources with these.
RUN apt-get update && apt-get install --yes --no-install-recommends cmake clang && rm -rf /var/lib/apt/lists/*
WORKDIR /src

# Dependencies alone, so that a change of ours does not compile them again.
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --profile dist --locked --bin tollgate \
    && rm -r src

COPY src src
# Cargo compares times of files, and a copied file may be older than the stand-ins above.
RUN find src crates -name '*.rs' -exec touch {} + && cargo build --profile dist --locked --bin tollgate

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/dist/tollgate /tollgate
USER 65532:65532
# Metrics, health and debug. Gateways' listeners have ports of their own, none below 1024.
EXPOSE 9092
ENTRYPOINT ["/tollgate"]
CMD ["run"]
