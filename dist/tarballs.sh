#!/bin/sh
# Builds build/dist/tdispatch-VERSION-linux-ARCH.tar.gz for each ARCH (this machine's alone without
# any), with an SPDX list of what is linked in, and SHA256SUMS. The same bits for the same sources.
#
#	dist/tarballs.sh [ARCH]...
set -eu
cd "$(dirname "$0")/.."

HOST=$(uname -m)
VERSION=$(sed -n 's/^#define TDISPATCH_VERSION "\(.*\)"/\1/p' tdispatch.h)
[ $# -gt 0 ] || set -- "$HOST"

# sbom VERSIONS: the file's lines as an SPDX 2.3 document
sbom() {
	awk -v version="$VERSION" -v arch="$ARCH" '
		function package(name, version, licence, extra) {
			return sprintf("  {\"SPDXID\": \"SPDXRef-%s\", \"name\": \"%s\", \"versionInfo\": \"%s\", \"licenseConcluded\": \"%s\", \"licenseDeclared\": \"%s\", \"copyrightText\": \"NOASSERTION\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false%s}",
				name, name, version, licence, licence, extra)
		}
		BEGIN { licence["musl"] = "MIT"; licence["openssl"] = "Apache-2.0"; licence["libpq"] = "PostgreSQL"
			print "{\"spdxVersion\": \"SPDX-2.3\", \"dataLicense\": \"CC0-1.0\", \"SPDXID\": \"SPDXRef-DOCUMENT\","
			printf " \"name\": \"tdispatch-%s-linux-%s\", \"documentNamespace\": \"urn:tdispatch:%s:%s\",\n", version, arch, version, arch
			print " \"creationInfo\": {\"created\": \"1970-01-01T00:00:00Z\", \"creators\": [\"Tool: dist/tarballs.sh\"]},"
			print " \"packages\": ["; printf "%s", package("tdispatch", version, "ISC", "")
			relations = "  {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", \"relatedSpdxElement\": \"SPDXRef-tdispatch\"}" }
		{ printf ",\n%s", package($1, $2, licence[$1], sprintf(", \"sourceInfo\": \"source with SHA-256 %s\"", $3))
			relations = relations sprintf(",\n  {\"spdxElementId\": \"SPDXRef-tdispatch\", \"relationshipType\": \"STATIC_LINK\", \"relatedSpdxElement\": \"SPDXRef-%s\"}", $1) }
		END { printf "\n ],\n \"relationships\": [\n%s\n ]}\n", relations }' "$1"
}

OUT=build/dist
mkdir -p $OUT
: >$OUT/SHA256SUMS
for ARCH; do
	make ARCH="$ARCH"
	if [ "$ARCH" = "$HOST" ]; then program=tdispatch deps=build/deps; else program=build/$ARCH/tdispatch deps=build/$ARCH/deps; fi
	name=tdispatch-$VERSION-linux-$ARCH
	rm -rf "${OUT:?}/$name" && mkdir -p "$OUT/$name"
	cp "$program" tdispatch.1 tdispatch.ini.5 tdispatch.ini tdispatch@.service README.md CHANGELOG.md LICENSE "$OUT/$name/"
	cp -r licenses "$OUT/$name/"
	sbom "$deps/root/versions" >"$OUT/$name/tdispatch.spdx.json"
	chmod -R u=rwX,go=rX "$OUT/$name"
	tar -C $OUT --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n >"$OUT/$name.tar.gz"
	rm -rf "${OUT:?}/$name"
	(cd $OUT && sha256sum "$name.tar.gz" | tee -a SHA256SUMS)
done
