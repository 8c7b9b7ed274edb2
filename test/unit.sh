#!/bin/sh
# Builds test/unit/*.c into build/test/ with sanitizers (CC=clang too, UNIT_FLAGS others) and runs
# them. Prints a line for each, all output of those that failed, and last the sum of all cases.
#
# usage: unit.sh [NAME...]	only these: unit.sh ini buf
cd "$(dirname "$0")/.." || exit 1
mkdir -p build/test || exit 1
passed=0 failed=0

# run NAME: its last line is `N passed, N failed`.
run() {
	output=build/test/$1.output
	"build/test/$1" >"$output" 2>&1
	code=$?
	sum=$(tail -n 1 "$output" | sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p')
	case $code,$sum in
	0,*\ 0 | 1,*\ [1-9]*) ;;
	*)
		echo "$1 ended with code $code" >>"$output"
		sum="0 1"
		;;
	esac
	[ "${sum#* }" -eq 0 ] || cat "$output"
	echo "$1: ${sum% *} passed, ${sum#* } failed"
	passed=$((passed + ${sum% *}))
	failed=$((failed + ${sum#* }))
}

if [ $# -eq 0 ]; then
	for file in test/unit/*.c; do
		set -- "$@" "$(basename "$file" .c)"
	done
fi
for name; do
	rm -f "build/test/$name"
done
MAKEFLAGS='' make -s -k -j "$(nproc)" -f test/unit.mk ${CC:+CC="$CC"} ${UNIT_FLAGS:+UNIT_FLAGS="$UNIT_FLAGS"} TESTS="$*"
for name; do
	if [ -e "build/test/$name" ]; then
		run "$name"
	else
		echo "$name: does not compile"
		failed=$((failed + 1))
	fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
