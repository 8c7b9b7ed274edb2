#!/bin/bash
# What is handed out: the same bits from every folder, all files, a list of parts that can be read.
#
#	test/dist.sh short     the program of this machine anew, from the same libraries: part of make test
#	test/dist.sh           those of DIST (all), the libraries anew too, and the package: make dist-test
#
# The other folder is a copy of what git tracks, under a name of another length. A short run takes
# the libraries from DEPS (build/deps) as they are.
cd "$(dirname "$0")/.." || exit 1
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
OTHER=$WORK/another_place_for_it
HOST=$(uname -m | sed s/armv7l/armv7/)
SHORT=
if [ "${1:-}" = short ]; then
	SHORT=1 DIST=$HOST DEPS=$(readlink -f "${DEPS:-build/deps}")
	WITH=(-j "$(nproc)" DEPS="$DEPS" -o "$DEPS/.done")
else
	DIST=${DIST:-x86_64 aarch64 armv7} DEPS=build/deps
	WITH=()
fi
passed=0 failed=0

# check NAME COMMAND...: its output is shown when it fails.
check() {
	local name=$1
	shift
	if "$@" >"$WORK/log" 2>&1; then
		echo "ok dist $name"
		passed=$((passed + 1))
	else
		tail -n 20 "$WORK/log"
		echo "not ok dist $name"
		failed=$((failed + 1))
	fi
}

# tarballs [ARCH]: names of those that were built last
tarballs() {
	sed -n "s/.* \(.*-linux-${1:-.*}\.tar\.gz\)$/\1/p" build/dist/SHA256SUMS
}

package() {
	(cd build/dist && ls -t ./*.deb | sed -n '1s#^\./##p')
}

copy_sources() {
	mkdir "$OTHER" && git ls-files -z | xargs -0 cp --parents -t "$OTHER"
}

# As somebody else, elsewhere, at another time of day.
make_there() {
	(umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 make -s -C "$OTHER" "$@")
}

installs() {
	make -s "${WITH[@]}" install DESTDIR="$WORK/root" PREFIX=/opt/td &&
		diff <(cd "$WORK/root/opt/td" && find . -type f | LC_ALL=C sort) - <<-'END' &&
		./bin/tdispatch
		./lib/systemd/system/tdispatch@.service
		./share/bash-completion/completions/tdispatch
		./share/doc/tdispatch/examples/cube_dispatcher.md
		./share/doc/tdispatch/examples/queue_loader.md
		./share/doc/tdispatch/tdispatch.ini
		./share/fish/vendor_completions.d/tdispatch.fish
		./share/man/man1/tdispatch.1
		./share/man/man5/tdispatch.ini.5
		./share/man/man7/tdispatch-examples.7
		./share/zsh/site-functions/_tdispatch
		END
		grep -qx 'ExecStart=/opt/td/bin/tdispatch /etc/tdispatch/%i.ini' "$WORK/root/opt/td/lib/systemd/system/tdispatch@.service"
}

# README's commands as they stand there.
readme_unpacks_it() {
	local recipe
	recipe=$(sed -n '/^# tdispatch$/,/^## /p' README.md | sed -n '/^```sh/,/^```/{/^```/!p}')
	mkdir "$WORK/download" && cp build/dist/SHA256SUMS "build/dist/$(tarballs "$HOST")" "$WORK/download/" &&
		(cd "$WORK/download" && bash -ec "$recipe") >"$WORK/said"
	grep -F "$(tarballs "$HOST"): OK" "$WORK/said" && grep "^$(./tdispatch --version)$" "$WORK/said"
}

tarball_has_its_files() {
	diff <(cd "$WORK/download"/tdispatch-*/ && find . -type f | LC_ALL=C sort) - <<-'END'
		./CHANGELOG.md
		./LICENSE
		./README.md
		./completions/bash-completion/completions/tdispatch
		./completions/fish/vendor_completions.d/tdispatch.fish
		./completions/zsh/site-functions/_tdispatch
		./examples/cube_dispatcher.md
		./examples/queue_loader.md
		./licenses/musl.txt
		./licenses/openssl.txt
		./licenses/postgresql.txt
		./tdispatch
		./tdispatch-examples.7
		./tdispatch.1
		./tdispatch.ini
		./tdispatch.ini.5
		./tdispatch.spdx.json
		./tdispatch@.service
	END
}

# tarball_is_of ARCH: sum and machine of the program within
tarball_is_of() {
	local machine name
	name=$(tarballs "$1")
	case $1 in
	x86_64) machine=X86-64 ;;
	aarch64) machine=AArch64 ;;
	*) machine=ARM ;;
	esac
	(cd build/dist && grep -F "  $name" SHA256SUMS | sha256sum -c) &&
		tar xzf "build/dist/$name" -C "$WORK" --wildcards --transform='s#.*/##' '*/tdispatch' &&
		readelf -h "$WORK/tdispatch" | grep "Machine:.*$machine\$"
}

# The SPDX list has what --version -v prints.
lists_what_it_prints() {
	"$WORK"/download/*/tdispatch --version -v >"$WORK/versions" && python3 - "$WORK"/download/*/tdispatch.spdx.json "$WORK/versions" <<-'END'
	import json, re, sys
	spdx = json.load(open(sys.argv[1]))
	assert spdx["spdxVersion"] == "SPDX-2.3" and spdx["dataLicense"] == "CC0-1.0", spdx
	for key in ("SPDXID", "name", "documentNamespace", "creationInfo"):
	    assert spdx[key], key
	ids = {p["SPDXID"] for p in spdx["packages"]} | {spdx["SPDXID"]}
	for package in spdx["packages"]:
	    assert package["downloadLocation"] and package["filesAnalyzed"] is False, package
	for r in spdx["relationships"]:
	    assert r["spdxElementId"] in ids and r["relatedSpdxElement"] in ids, r
	listed = {p["name"]: p for p in spdx["packages"] if p["name"] != "tdispatch"}
	assert sorted(listed) == ["libpq", "musl", "openssl"], listed
	for line in open(sys.argv[2]).read().splitlines()[1:]:
	    name, version, revision, sha = re.fullmatch(r"  (\S+) ([\d.]+)(?: \(Debian (\S+)\))?, source with SHA-256 ([0-9a-f]{64})", line).groups()
	    package = listed.pop(name)
	    assert package["versionInfo"] == version and sha in package["sourceInfo"], (line, package)
	    locator = package["externalRefs"][0]["referenceLocator"]
	    if revision:
	        assert revision in package["sourceInfo"] and revision.replace("+", "%2B") in locator, (line, package)
	        assert revision.startswith(version), line
	    else:
	        assert locator.startswith("pkg:generic/") and locator.endswith("@" + version), package
	assert not listed, listed
	END
}

# version_in NAME FILE: what the library's own source says
version_in() {
	case $1 in
	musl) cat "$2" ;;
	openssl) sed -n 's/^# *define OPENSSL_VERSION_STR "\(.*\)"/\1/p' "$2" ;;
	libpq) sed -n 's/^#define PG_VERSION "\(.*\)"/\1/p' "$2" ;;
	esac
}

# check_version NAME FILE: what is printed of NAME is what FILE says
check_version() {
	if [ -f "$2" ]; then
		check "$1 is of the version that its source says" grep "^  $1 $(version_in "$1" "$2" | sed 's/\./\\./g')[ ,]" "$WORK/versions"
	else
		echo "ok dist $1 is of the version that its source says # skipped: no $2"
	fi
}

check "builds here" make -s "${WITH[@]}" DIST="$DIST" dist
check "a copy of the sources" copy_sources
check "installs all its files" installs
check "is smaller than 4 MB" test "$(stat -c %s tdispatch)" -lt 4000000
check "README unpacks it" readme_unpacks_it
check "the tarball has its files" tarball_has_its_files
check "the SPDX list is what the program prints" lists_what_it_prints
check_version musl "$DEPS/work/musl/VERSION"
check_version openssl "$DEPS/root/include/openssl/opensslv.h"
check_version libpq "$DEPS/work/libpq/src/include/pg_config.h"
for arch in $DIST; do
	check "the tarball is of its architecture: $arch" tarball_is_of "$arch"
done
if [ -n "$SHORT" ]; then
	check "builds elsewhere" make_there "${WITH[@]}"
	files=(tdispatch)
else
	check "makes a package here" make -s deb
	for src in build/deps/src build/*/deps/src; do        # fetched once
		[ ! -d "$src" ] || { mkdir -p "$OTHER/${src%/src}" && cp -r "$src" "$OTHER/$src"; }
	done
	check "builds elsewhere" make_there DIST="$DIST" dist deb
	files=(tdispatch build/deps/root/lib/*.a "build/dist/$(package)" $(tarballs | sed 's#^#build/dist/#') build/dist/SHA256SUMS)
fi
for file in "${files[@]}"; do
	check "the same in both folders: $file" cmp "$file" "$OTHER/$file"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
