# The image of tallyd. `tests/container` builds this file and runs what it makes; docs/CONTAINER.md tells how to use it.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /tallyd
# Debug information is six sevenths of the program, and nobody can use it in the image.
ENV CARGO_PROFILE_DIST_DEBUG=false \
    CARGO_PROFILE_DIST_STRIP=symbols
# The crates first, with an empty program: this layer stays as it is when only src changes.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir src benches \
 && echo 'fn main() {}' | tee src/main.rs > benches/kernels.rs \
 && touch src/lib.rs \
 && cargo build --locked --profile dist
# The licences of these crates.
COPY deploy/deb/notices deploy/deb/notices
RUN deploy/deb/notices > /NOTICES
COPY src src
COPY templates templates
# For `tallyd --version`: docker build --build-arg TALLYD_COMMIT=$(git rev-parse --short=12 HEAD)
ARG TALLYD_COMMIT=""
# The sources keep their times, which are before the build above; cargo would take the empty program for the newer one.
RUN touch src/lib.rs src/main.rs \
 && cargo build --locked --profile dist --bin tallyd \
 && mkdir /logs /state

# The C library of the build, certificates of authorities, and a user 65532; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG TALLYD_COMMIT=""
# Where the sources of the image are, if they are somewhere: --build-arg SOURCE=https://...
ARG SOURCE=""
LABEL org.opencontainers.image.title="tallyd" \
      org.opencontainers.image.description="Counts requests and distinct clients of access logs, exactly, over HTTP" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$TALLYD_COMMIT" \
      org.opencontainers.image.version="0.1.0"

COPY --from=build /tallyd/target/dist/tallyd /tallyd
COPY --from=build /NOTICES /usr/share/doc/tallyd/NOTICES
COPY config/tallyd.toml /etc/tallyd/tallyd.toml
# The user below must be able to write its state; the logs are only read, but for uploads.
COPY --from=build --chown=65532:65532 /logs /logs
COPY --from=build --chown=65532:65532 /state /state

# Loopback of a container cannot be reached from outside, so tallyd listens on all of its addresses, and wants a token: set TALLYD_READ_TOKEN.
# The file has the defaults; another one may be mounted in its place. The variables win over it.
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
