# The program, the certificates that sslrootcert=system trusts, and nothing else:
#
#   docker build -t tdispatch .
#
# README.md tells how to run it; dist/examples/ has it for Compose and Kubernetes.
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make
WORKDIR /src
# The libraries change seldom: they are a layer of their own.
COPY deps deps
RUN deps/build.sh build/deps && rm -rf build/deps/src build/deps/work
COPY . .
RUN make

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/tdispatch /tdispatch
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt TDISPATCH_STATE_FILE=/run/tdispatch/state
USER 65532:65532
ENTRYPOINT ["/tdispatch"]
HEALTHCHECK --start-period=30s CMD ["/tdispatch", "--health"]
