# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev COMMIT= DATE=
RUN V=rollcall/internal/version; CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X $V.version=${VERSION} -X $V.commit=${COMMIT} -X $V.date=${DATE}" -o /out/ ./starter ./worker ./gateway

# Certificates, time zones and a user without rights; no shell. worker and gateway are their own health checks.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/starter /out/worker /out/gateway /usr/local/bin/
USER 65532:65532
EXPOSE 7443 9090
ENTRYPOINT []
CMD ["worker"]
