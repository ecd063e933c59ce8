# The image of tallyd. docs/CONTAINER.md explains how to use it; `tests/container` builds it and checks it.
#
# The base images have tags here, not digests, because this file was written without access to an image registry. To
# pin a base image, append the digest that `docker buildx imagetools inspect IMAGE` prints: IMAGE@sha256:...

FROM rust:1.95-slim-bookworm AS build
WORKDIR /tallyd
# This layer builds the crates, with an empty program. Docker reuses the layer as long as only src changes.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir src benches \
 && echo 'fn main() {}' | tee src/main.rs > benches/kernels.rs \
 && touch src/lib.rs \
 && cargo build --locked --profile dist
# This layer collects the licences of the crates.
COPY deploy/deb/notices deploy/deb/notices
RUN deploy/deb/notices > /NOTICES
COPY src src
# For `tallyd --version`: docker build --build-arg TALLYD_COMMIT=$(git rev-parse --short=12 HEAD)
ARG TALLYD_COMMIT=""
# COPY keeps the times of the sources, which are older than the empty program: `touch` makes cargo build the real one.
RUN touch src/lib.rs src/main.rs \
 && cargo build --locked --profile dist --bin tallyd \
 && mkdir /logs /state

# This image has the C library of the build, CA certificates and a user 65532. It has no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG TALLYD_COMMIT=""
# The address of the sources, for the label: --build-arg SOURCE=https://...
ARG SOURCE=""
LABEL org.opencontainers.image.title="tallyd" \
      org.opencontainers.image.description="Counts requests and distinct clients in access logs: exactly, live, over HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$TALLYD_COMMIT" \
      org.opencontainers.image.version="0.1.0"

COPY --from=build /tallyd/target/dist/tallyd /tallyd
COPY --from=build /NOTICES /usr/share/doc/tallyd/NOTICES
COPY config/tallyd.toml /etc/tallyd/tallyd.toml
# The user of the image owns both folders: tallyd writes its state to /state, and uploads to /logs.
COPY --from=build --chown=65532:65532 /logs /logs
COPY --from=build --chown=65532:65532 /state /state

# Other containers and the host cannot reach the loopback address of a container, so tallyd listens on all addresses. It
# then requires a token: set TALLYD_READ_TOKEN. The configuration file has the defaults; mount another file in its place
# to change them. Variables take precedence over the file.
ENV TALLYD_CONFIG=/etc/tallyd/tallyd.toml \
    TALLYD_LOGS=/logs \
    TALLYD_STATE=/state \
    TALLYD_LISTEN=0.0.0.0:8080

USER 65532:65532
VOLUME ["/logs", "/state"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/tallyd", "healthcheck"]
ENTRYPOINT ["/tallyd"]
CMD ["serve"]
