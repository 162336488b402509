# The binary, alone and not as root. Plain `docker build .` compiles it; where it is built already, put it into
# docker/binary/amd64 or arm64 and build with `--target prebuilt`, which takes seconds.

FROM debian:bookworm-slim AS base
# Certificates are all that it needs of the system: its libraries are built in.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
ENV MILLSTREAM_EMBEDDED=deny
# Where `up --state /var/lib/millstream` remembers runs: a volume here belongs to our user.
RUN mkdir /var/lib/millstream && chown 65532:65532 /var/lib/millstream
WORKDIR /pipeline
USER 65532:65532
# It is the first process itself, without a shell in front of it: a stop reaches it, and it finishes the batch
# in hand.
STOPSIGNAL SIGTERM
# A `run`, and a worker that serves nothing, are well as long as they are there.
HEALTHCHECK --interval=10s --timeout=5s CMD ["/usr/local/bin/millstream", "healthy", "--if-served"]
ENTRYPOINT ["/usr/local/bin/millstream"]
CMD ["--help"]

FROM base AS prebuilt
ARG TARGETARCH
COPY docker/binary/${TARGETARCH}/millstream /usr/local/bin/millstream

FROM rust:1.95-bookworm AS build
# protoc needs the messages that come with it, which it only recommends.
RUN apt-get update && apt-get install -y --no-install-recommends cmake libprotobuf-dev protobuf-compiler && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY examples examples
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --workspace --locked && cp target/release/millstream /millstream

FROM base
COPY --from=build /millstream /usr/local/bin/millstream
