#!/bin/bash
# Fuzzes all that reads bytes of an event or a config: a target is a file of test/fuzz, its seeds
# are in test/fuzz/corpus/TARGET.
#
#	test/fuzz.sh [TARGET...]		with clang's libFuzzer, FUZZ_SECONDS (60) each; ends with a table
#	test/fuzz.sh --short [TARGET...]	a bounded number of inputs, the same in every run (CC=clang too)
#
# An input that breaks a target is left in build/fuzz: long/TARGET-crash-* or short/TARGET.broken.
# long/TARGET FILE runs it again; once mended it becomes a seed.
cd "$(dirname "$0")/.." || exit 1

TARGETS=(http ini urlenc json copy conf template period route binary attach)
# a target that is named as a file includes it
LINKED=(base/{text,file,log,buf,hash,tally,pidfile,process,http,socket} ini urlenc event/{date,zone,list,period,local,number,json,format,type,filter,told,binary,sql,template,nesting,shape,shapes,wanted,filling,route} conf/{values,dest,key,rule,reading,rules,conf})
EXECUTIONS=5000         # of each target in a short run
FLAGS="-std=c11 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -Wall -Wextra -Wshadow"
passed=0 failed=0

# build COMPILER SANITIZERS OTHER...: all targets of $WANTED, with files that come to each of them.
build() {
	local compile="$1 $FLAGS -fsanitize=$2" name
	shift 2
	rm -rf "$DIR/obj"
	mkdir -p "$DIR/obj"
	printf '%s.c\n' "${LINKED[@]}" "${WANTED[@]/#/test/fuzz/}" "$@" | xargs -P 2 -I FILE sh -c \
		"$compile -c -o $DIR/obj/\$(echo FILE | tr / _).o FILE" || return
	for name in "${WANTED[@]}"; do
		link "$name" "$@" || return
	done
}

link() {
	local name=$1 objects=("$DIR/obj/test_fuzz_$1.c.o") other
	shift
	for other in "${LINKED[@]}" "$@"; do
		[ "${other##*/}" = "$name" ] || objects+=("$DIR/obj/${other//\//_}.c.o")
	done
	$compile -o "$DIR/$name" "${objects[@]}"
}

# verdict NAME OK TEXT
verdict() {
	if [ "$2" = 0 ]; then
		echo "ok fuzz $1: $3"
		passed=$((passed + 1))
	else
		echo "not ok fuzz $1: $3"
		failed=$((failed + 1))
	fi
}

short() {
	local name output code
	build "${CC:-gcc}" address,undefined test/fuzz/driver || return
	for name in "${WANTED[@]}"; do
		output=$("$DIR/$name" "test/fuzz/corpus/$name" $EXECUTIONS "$DIR/$name.broken" 2>&1)
		code=$?
		verdict "$name" $code "$output"
	done
}

long() {
	local name output code dict
	build clang address,undefined,fuzzer || return
	for name in "${WANTED[@]}"; do
		output=$DIR/$name.output dict=
		[ ! -f "test/fuzz/$name.dict" ] || dict=-dict=test/fuzz/$name.dict
		mkdir -p "$DIR/corpus/$name"
		# shellcheck disable=SC2086
		"$DIR/$name" "$DIR/corpus/$name" "test/fuzz/corpus/$name" -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 \
			-timeout=20 -print_final_stats=1 -artifact_prefix="$DIR/$name-" $dict >"$output" 2>&1
		code=$?
		verdict "$name" $code "$(reason "$output") after $(stat_of "$output" number_of_executed_units) executions"
	done
	table
}

# What libFuzzer's output FILE says: "clean", or what was broken.
reason() {
	grep -m 1 -o 'broken: .*\|runtime error: .*\|ERROR: .*' "$1" || echo clean
}

# Number that it gives for NAME at its end; 0 when it ended early.
stat_of() {
	sed -n "s/^stat::$2: *//p" "$1" | grep . || echo 0
}

table() {
	local name output edges
	printf '\n%-10s %12s %10s %8s  %s\n' target executions a_second edges verdict
	for name in "${WANTED[@]}"; do
		output=$DIR/$name.output
		edges=$(grep -o ' cov: [0-9]*' "$output" | tail -n 1)
		printf '%-10s %12d %10d %8d  %s\n' "$name" "$(stat_of "$output" number_of_executed_units)" \
			"$(stat_of "$output" average_exec_per_sec)" "${edges##* }" "$(reason "$output")"
	done
}

mode=long
if [ "${1:-}" = --short ]; then
	mode=short
	shift
fi
WANTED=("${@:-${TARGETS[@]}}")
DIR=build/fuzz/$mode
$mode || { echo "not ok fuzz: does not compile"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
