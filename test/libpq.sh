#!/bin/bash
# make libpq-test: builds the program with the libpq of each version of PostgreSQL that a mirror may
# have, and runs the end-to-end tests with it.
#
#	test/libpq.sh [FILE[:CASE]]...        as test/e2e.sh; VERSIONS="15 18" are built
#
# A version that no mirror has is skipped; none at all fails. Built below build/libpq-NN.
cd "$(dirname "$0")/.." || exit 1

passed=0 failed=0 skipped=0

# build VERSION FOLDER: its sources first, since a mirror may lack them
build() {
	export DEPS_LIBPQ=$1
	deps/fetch.sh "$2/deps/src" && make DEPS="$2/deps" BUILD="$2/obj" BIN="$2/tdispatch" "$2/tdispatch"
}

# one VERSION [FILE]...: with the counts of its tests
one() {
	local version=$1 folder=build/libpq-$1 line
	shift
	mkdir -p "$folder"
	if ! (DEPS_LIBPQ=$version deps/fetch.sh "$folder/deps/src"); then
		echo "ok libpq $version # skipped: no mirror has its source"
		skipped=$((skipped + 1))
		return
	fi
	if ! (build "$version" "$folder") >"$folder/log" 2>&1; then
		tail -n 20 "$folder/log"
		echo "not ok libpq $version does not build"
		failed=$((failed + 1))
		return
	fi
	"$folder/tdispatch" --version -v
	line=$(TDISPATCH=$PWD/$folder/tdispatch STATIC=$PWD/$folder/tdispatch test/e2e.sh "$@" | tee "$folder/e2e.log" | grep -v '^ok ' | tee /dev/stderr | tail -n 1)
	[[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]] || { failed=$((failed + 1)); return; }
	passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
}

test/install.sh --tests || exit 1
for version in ${VERSIONS:-15 17 18}; do
	one "$version" "$@"
done
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
