# syntax=docker/dockerfile:1
# Built twice with fat LTO, the second time guided by a profile: allow a quarter of an hour and 4 GB
# of memory, or `--build-arg PROFILE=dist` for one build, whose requests cost a tenth to a fifth more.
FROM rust:1.95-bookworm AS build
# pgo, dist or release.
ARG PROFILE=pgo
ARG TARGETARCH
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY core ./core
COPY src ./src
COPY benches ./benches
COPY config ./config
COPY deploy/pgo.sh ./deploy/pgo.sh
# The cache mounts keep the registry and the target folder between builds; the binary is copied
# out of the mount, which is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=meridian-target-$TARGETARCH,target=/src/target,sharing=locked \
    case "$PROFILE" in \
        pgo) deploy/pgo.sh && built=target/pgo/dist ;; \
        dist | release) cargo build --profile "$PROFILE" --locked --bin meridian && built="target/$PROFILE" ;; \
        *) echo "PROFILE is pgo, dist or release" >&2; false ;; \
    esac \
    && install -D -m 0755 "$built/meridian" /out/usr/local/bin/meridian \
    && mkdir -p /out/etc/meridian /out/licences
COPY LICENSE-MIT LICENSE-APACHE NOTICE /out/licences/

# glibc and the system's certificate roots, no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr/local/bin/meridian /usr/local/bin/meridian
COPY --from=build /out/etc/meridian /etc/meridian
COPY --from=build /out/licences /usr/share/doc/meridian
# The user of the base image, by number so that Kubernetes can check that it is not root.
USER 65532:65532
EXPOSE 8080 8443
# Nothing is written outside [state] dir and the access log's file: run it with --read-only.
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/meridian", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/meridian"]
CMD ["run", "-c", "/etc/meridian/meridian.toml"]
