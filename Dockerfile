# The image is the binary and nothing else: docker build -t tdispatch .
FROM debian:trixie-slim AS build
WORKDIR /src
COPY . .
RUN make

FROM scratch
COPY --from=build /src/tdispatch /tdispatch
USER 65532:65532
ENTRYPOINT ["/tdispatch"]
