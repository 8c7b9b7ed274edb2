#!/bin/bash
# What is handed out: the same bits from every folder, all files, a list of parts that can be read.
#
#	test/dist.sh short     the program anew, from the same libraries: part of make test
#	test/dist.sh           the libraries anew too, and the package: make dist-test
#
# The other folder is a copy of what git tracks, under a name of another length.
cd "$(dirname "$0")/.." || exit 1
TOP=$PWD
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT
OTHER=$WORK/another_place_for_it
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

# What was built last, its name.
tarball() {
	sed 's/.* //' build/dist/SHA256SUMS
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
	make -s install DESTDIR="$WORK/root" PREFIX=/opt/td &&
		diff <(cd "$WORK/root/opt/td" && find . -type f | LC_ALL=C sort) - <<-'END' &&
		./bin/tdispatch
		./lib/systemd/system/tdispatch@.service
		./share/bash-completion/completions/tdispatch
		./share/doc/tdispatch/tdispatch.ini
		./share/fish/vendor_completions.d/tdispatch.fish
		./share/man/man1/tdispatch.1
		./share/man/man5/tdispatch.ini.5
		./share/zsh/site-functions/_tdispatch
		END
		grep -qx 'ExecStart=/opt/td/bin/tdispatch /etc/tdispatch/%i.ini' "$WORK/root/opt/td/lib/systemd/system/tdispatch@.service"
}

# The tarball is what its sum says, runs, and its SPDX list has what --version -v prints.
tarball_is_whole() {
	(cd build/dist && sha256sum -c SHA256SUMS) &&
		tar -xzf "build/dist/$(tarball)" -C "$WORK" --strip-components=1 &&
		"$WORK/tdispatch" --version -v >"$WORK/versions" && python3 - "$WORK" <<-'END'
		import json, re, sys
		spdx = json.load(open(sys.argv[1] + "/tdispatch.spdx.json"))
		assert spdx["spdxVersion"] == "SPDX-2.3" and spdx["dataLicense"] == "CC0-1.0", spdx
		for key in ("SPDXID", "name", "documentNamespace", "creationInfo"):
		    assert spdx[key], key
		ids = {p["SPDXID"] for p in spdx["packages"]} | {spdx["SPDXID"]}
		for package in spdx["packages"]:
		    assert package["downloadLocation"] and package["filesAnalyzed"] is False, package
		for r in spdx["relationships"]:
		    assert r["spdxElementId"] in ids and r["relatedSpdxElement"] in ids, r
		printed = dict(re.findall(r"^ *(musl|openssl|libpq) (\S+)", open(sys.argv[1] + "/versions").read(), re.M))
		listed = {p["name"]: p["versionInfo"] for p in spdx["packages"] if p["name"] != "tdispatch"}
		assert printed == listed and len(listed) == 3, (printed, listed)
		END
}

check "builds here" make -s dist
check "a copy of the sources" copy_sources
check "installs all its files" installs
check "is smaller than 4 MB" test "$(stat -c %s tdispatch)" -lt 4000000
check "the tarball is whole" tarball_is_whole
if [ "$1" = short ]; then
	check "builds elsewhere" make_there DEPS="$TOP/build/deps"
	files=(tdispatch)
else
	check "makes a package here" make -s deb
	mkdir -p "$OTHER/build/deps" && cp -r build/deps/src "$OTHER/build/deps/"        # fetched once
	check "builds elsewhere" make_there dist deb
	files=(tdispatch build/deps/root/lib/*.a "build/dist/$(package)" "build/dist/$(tarball)" build/dist/SHA256SUMS)
fi
for file in "${files[@]}"; do
	check "the same in both folders: $file" cmp "$file" "$OTHER/$file"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
