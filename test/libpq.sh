#!/bin/bash
# make libpq-test: builds the program with the libpq of each version of PostgreSQL that a mirror may
# have, and runs the end-to-end tests with it.
#
#	test/libpq.sh [FILE[:CASE]]...        as test/e2e.sh; VERSIONS="15 18" are built
#
# A version that no mirror has is skipped; none at all fails. Built below build/libpq-NN.
cd "$(dirname "$0")/.." || exit 1

passed=0 failed=0 skipped=0

# build FOLDER: the program of DEPS_LIBPQ
build() {
	make DEPS="$1/deps" BUILD="$1/obj" BIN="$1/tdispatch" "$1/tdispatch" >"$1/log" 2>&1 || { tail -n 20 "$1/log"; return 1; }
}

# test_it FOLDER [FILE]...: adds what its tests counted
test_it() {
	local program=$PWD/$1/tdispatch line
	shift
	"$program" --version -v
	TDISPATCH=$program STATIC=$program test/e2e.sh "$@" | tee "${program%/*}/e2e.log" | grep -v '^ok '
	line=$(tail -n 1 "${program%/*}/e2e.log")
	[[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]] || return
	passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
}

# one VERSION [FILE]...
one() {
	local folder=build/libpq-$1
	export DEPS_LIBPQ=$1
	shift
	mkdir -p "$folder"
	if ! deps/fetch.sh "$folder/deps/src"; then
		echo "ok libpq $DEPS_LIBPQ # skipped: no mirror has its source"
		skipped=$((skipped + 1))
	elif ! build "$folder" || ! test_it "$folder" "$@"; then
		echo "not ok libpq $DEPS_LIBPQ"
		failed=$((failed + 1))
	fi
}

test/install.sh --tests || exit 1
for version in ${VERSIONS:-15 17 18}; do
	one "$version" "$@"
done
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
