#!/usr/bin/env bash
# Makes dist/: a tarball, a deb, an rpm, an SBOM and their checksums. `make package` calls it and sets the variables.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${VERSION:?}" "${DATE:?}" "${LDFLAGS:?}" "${BIN:?the folder of nfpm and cyclonedx-gomod}"
GOARCH=${GOARCH:-$(go env GOARCH)}
dist=${DIST:-dist}
stage=$dist/stage
export GOARCH VERSION DATE STAGE=$stage
# What goes into archives has the time of the commit, so that the same commit makes the same files.
SOURCE_DATE_EPOCH=$(date -u -d "$DATE" +%s)
export SOURCE_DATE_EPOCH

rm -rf "$dist"
mkdir -p "$stage/completions"

echo "programs for linux/$GOARCH"
GOOS=linux CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $LDFLAGS" -o "$stage"/ ./starter ./worker ./gateway

echo "man pages and completions"
env GOARCH='' ROLLCALL_MAN_DIR="$PWD/$stage/man" go test -count=1 -run '^TestManPages$' ./starter ./worker ./gateway >"$dist/man.log" ||
	{ cat "$dist/man.log" >&2; exit 1; }
rm "$dist/man.log"
find "$stage/man" -type f -exec gzip -9n {} +
# One that runs here, whatever GOARCH is.
GOARCH='' CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $LDFLAGS" -o "$stage/host-starter" ./starter
for shell in bash zsh fish; do
	"$stage/host-starter" completion "$shell" >"$stage/completions/starter.$shell"
	sed 's/starter/rollcall/g' "$stage/completions/starter.$shell" >"$stage/completions/rollcall.$shell"
done
rm "$stage/host-starter"

echo "bill of materials"
"$BIN/cyclonedx-gomod" mod -json -licenses -noserial -type application -output "$stage/sbom.cdx.json" . 2>"$dist/sbom.log" ||
	{ cat "$dist/sbom.log" >&2; exit 1; }
rm "$dist/sbom.log"

echo "packages"
for packager in deb rpm; do
	"$BIN/nfpm" package -f packaging/nfpm.yaml -p "$packager" -t "$dist/"
done
name=rollcall-$VERSION-linux-$GOARCH
mkdir "$dist/$name"
cp -R "$stage"/{starter,worker,gateway,man,completions,sbom.cdx.json} LICENSE CHANGELOG.md README.md examples \
	packaging/systemd packaging/config "$dist/$name/"
tar -C "$dist" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" |
	gzip -9n >"$dist/$name.tar.gz"
cp "$stage/sbom.cdx.json" "$dist/$name.cdx.json"
rm -rf "$stage" "${dist:?}/$name"
(cd "$dist" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
