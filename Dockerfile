FROM rust:1.95-slim-bookworm AS build
WORKDIR /tallyd
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo build --locked --release \
 && mkdir /logs /state

FROM gcr.io/distroless/cc-debian12
COPY --from=build /tallyd/target/release/tallyd /tallyd
# The user below must be able to write its state; the logs are only read, but for uploads.
COPY --from=build --chown=65532:65532 /logs /logs
COPY --from=build --chown=65532:65532 /state /state

ENV TALLYD_LOGS=/logs \
    TALLYD_STATE=/state \
    TALLYD_LISTEN=0.0.0.0:8080
# Within a container, loopback could not be reached from outside, so tallyd listens on all addresses, and here
# whoever reaches the port may read. Publish it to this machine only (-p 127.0.0.1:8080:8080) or to a network you trust; or set
# TALLYD_INSECURE_NO_AUTH=false and TALLYD_READ_TOKEN.
ENV TALLYD_INSECURE_NO_AUTH=true

USER 65532:65532
VOLUME ["/logs", "/state"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/tallyd", "healthcheck"]
ENTRYPOINT ["/tallyd"]
CMD ["serve"]
