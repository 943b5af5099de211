# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/ ./starter ./worker ./gateway

# Certificates, time zones and a user without rights; busybox in /busybox is for the health check.
FROM gcr.io/distroless/static-debian12:debug-nonroot
COPY --from=build /out/starter /out/worker /out/gateway /usr/local/bin/
USER 65532:65532
EXPOSE 9090
ENTRYPOINT []
CMD ["worker"]
