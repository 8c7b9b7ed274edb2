#!/bin/bash
# make image-test: builds the image as the Dockerfile says, by buildah, and runs what is in it as a
# container engine would, against a throw-away PostgreSQL.
#
# No registry is asked: the base is made by debootstrap, under the name that stands in FROM. What
# was built stays in build/image, so that the next run builds only the layers that have changed.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"
. "$TOP/test/debian.sh"

IMAGES=$TOP/build/image
LOG=$IMAGES/log
BASE=docker.io/library/debian:trixie-slim

# Keeps its images away from the machine's own.
build_ah() {
	buildah --root "$IMAGES/storage" --runroot "$IMAGES/run" --storage-driver vfs "$@" </dev/null
}

make_base() {
	local container
	build_ah inspect --type image $BASE >/dev/null 2>&1 && return
	say "making $BASE by debootstrap"
	debian_base "$IMAGES/base"
	container=$(build_ah from scratch)
	quietly build_ah add "$container" "$IMAGES/base" /
	quietly build_ah commit --rm "$container" $BASE
	rm -rf "$IMAGES/base"
}

# build_stage NAME SWITCH...: the format is the one that has a place for HEALTHCHECK.
build_stage() {
	quietly build_ah build --isolation chroot --format docker --layers --pull-never -t "$1" "${@:2}" "$TOP"
}

# The build stage has a name, so that its layers are not pruned with the old ones.
build() {
	say "building the image: minutes, when the libraries are not there yet"
	build_stage tdispatch-build --target build
	build_stage tdispatch
	quietly build_ah rm --all       # of builds that failed
	quietly build_ah rmi --prune
}

# Puts the image's files and what it says of itself where the tests look for them.
unpack() {
	local container folder
	container=$(build_ah from --pull-never tdispatch)
	folder=$(build_ah mount "$container")
	rm -rf "$IMAGES/root"
	cp -a "$folder" "$IMAGES/root"
	build_ah rm "$container" >/dev/null
	build_ah inspect --type image tdispatch >"$IMAGES/image.json"
}

main() {
	[ "$(id -u)" = 0 ] || die "only root can build an image here"
	"$TOP/test/install.sh" --image || exit 2
	mkdir -p "$IMAGES"
	make_base
	build
	unpack
	IMAGE=$IMAGES TDISPATCH=$IMAGES/root/tdispatch SUITES=image exec "$TOP/test/e2e.sh" "$@"
}

main "$@"
