#!/bin/bash
# make test: unit tests, golden files, mutants that these must catch, fuzz targets on their seeds,
# end-to-end tests, kills, random operations, random histories, the benchmark's comparison of tables,
# where sources come from, what is handed out, lint. The last line sums up.
cd "$(dirname "$0")/.." || exit 1

took=
total_passed=0
total_failed=0

# run NAME COMMAND...: takes the counts from its last line
run() {
	local name=$1 last code start=$SECONDS
	shift
	echo "== $name"
	"$@" 2>&1 | tee "build/test/$name.log"
	code=${PIPESTATUS[0]}
	last=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "build/test/$name.log" | tail -n 1)
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		total_passed=$((total_passed + BASH_REMATCH[1]))
		total_failed=$((total_failed + BASH_REMATCH[2]))
		[ "$code" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || total_failed=$((total_failed + 1))
	else
		echo "not ok $name ended with code $code and no summary"
		total_failed=$((total_failed + 1))
	fi
	took+=" $name $((SECONDS - start))"
}

test/install.sh --tests || exit 1
mkdir -p build/test
run unit test/unit.sh
run ini test/ini_golden.sh
run mutants test/mutants.sh short
run fuzz test/fuzz.sh --short
run e2e test/e2e.sh
run crash test/crash.sh short
run model test/model.sh short
run histories test/histories.sh short
run bench-quick bench/run.sh quick
run deps test/deps.sh
run dist test/dist.sh short
run lint test/lint.sh
echo "seconds:$took, in all $SECONDS"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" = 0 ]
