#!/bin/bash
# make torture: what moves in memory and what is lacking there. The unit tests, the fuzz targets
# and end-to-end cases run with buffers that move each time they grow, by no byte more than is
# asked for (-DTORTURE); then every single allocation fails once (test/e2e/22_memory.sh).
cd "$(dirname "$0")/.." || exit 1

passed=0 failed=0

# run COMMAND...: takes the counts from its last line.
run() {
	local last
	echo "== $*"
	"$@" 2>&1 | tee build/test/torture.log
	last=$(tail -n 1 build/test/torture.log)
	if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		failed=$((failed + 1))
	fi
}

make -s build/test/tdispatch-torture || exit 1
run env CC="${CC:-gcc} -DTORTURE" test/unit.sh
run env CC="${CC:-gcc} -DTORTURE" test/fuzz.sh --short
run env TDISPATCH=build/test/tdispatch-torture test/e2e.sh 01_sample 02_events 03_partitions 04_switches 05_daemon 11_lanes 12_blame
run env STEP=1 test/e2e.sh 22_memory
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
