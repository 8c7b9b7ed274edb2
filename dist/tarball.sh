#!/bin/sh
# Builds build/dist/tdispatch-VERSION-linux-ARCH.tar.gz: all that a release hands out for ARCH, with
# an SPDX list of what is linked in. The same bits for the same sources.
#
#	dist/tarball.sh ARCH PROGRAM VERSIONS
#
# PROGRAM is of ARCH, ./tdispatch of this machine, VERSIONS what deps/build.sh wrote beside the libraries.
set -eu
cd "$(dirname "$0")/.."
umask 022

ARCH=$1 PROGRAM=$2 VERSIONS=$3
VERSION=$(./tdispatch --version | cut -d ' ' -f 2)
NAME=tdispatch-$VERSION-linux-$ARCH
OUT=build/dist
DIR=$OUT/$NAME

rm -rf "$DIR" $OUT/tdispatch-*-linux-"$ARCH".tar.gz
mkdir -p "$DIR"
cp dist/man/* tdispatch.ini dist/tdispatch@.service README.md CHANGELOG.md LICENSE "$DIR/"
cp "$PROGRAM" "$DIR/tdispatch"
cp -r dist/licenses "$DIR/"
mkdir "$DIR/examples"
cp dist/examples/*.md "$DIR/examples/"
dist/completions.sh "$DIR/completions" site-functions
awk -v version="$VERSION" -v arch="$ARCH" -f dist/sbom.awk "$VERSIONS" >"$DIR/tdispatch.spdx.json"
chmod -R u=rwX,go=rX "$DIR"
tar -C $OUT --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$NAME" | gzip -9n >"$DIR.tar.gz"
rm -rf "$DIR"
