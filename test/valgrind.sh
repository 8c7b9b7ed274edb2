#!/bin/bash
# make valgrind: end-to-end cases with each process under memcheck. An error, or memory that is
# lost at the end of a process, fails; so does a case.
#
#	test/valgrind.sh [FILE[:CASE]]...	as test/e2e.sh; unset, the cases below
cd "$(dirname "$0")/.." || exit 1

CASES=(01_sample 02_events 03_partitions:inherits 03_partitions:partition_of 03_partitions:quoted_names
	03_partitions:evtime_utc 03_partitions:interleaved_partitions 04_switches
	05_daemon:follows_the_queue 05_daemon:sigterm_in_a_batch
	05_daemon:background 05_daemon:reload 05_daemon:broken_reload_keeps_the_old_config
	05_daemon:connection_lifetime 05_daemon:bad_event_ends_the_daemon 07_position 11_lanes 12_blame)
[ $# != 0 ] || set -- "${CASES[@]}"

make -s build/test/tdispatch-plain || exit 1
DIR=$(mktemp -d /tmp/tdispatch-valgrind.XXXXXX)
chmod 777 "$DIR"
trap 'rm -rf "$DIR"' EXIT

# What the cases take for the program.
cat >"$DIR/tdispatch" <<-END
	#!/bin/sh
	exec valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \\
		--errors-for-leak-kinds=definite,indirect --num-callers=30 --log-file=$DIR/%p.log \\
		$PWD/build/test/tdispatch-plain "\$@"
END
chmod 755 "$DIR/tdispatch"

TDISPATCH=$DIR/tdispatch PATIENCE=10 test/e2e.sh "$@" | tee "$DIR/lines"
[[ $(tail -n 1 "$DIR/lines") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]] || exit 1
passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}

processes=0 bad=0
for log in "$DIR"/*.log; do
	processes=$((processes + 1))
	[ -s "$log" ] || continue
	bad=$((bad + 1))
	echo "not ok valgrind: $(cat "$log")"
done
echo "valgrind: $processes processes, $bad of them with an error or a leak"
echo "$passed passed, $((failed + bad)) failed"
[ $((failed + bad)) = 0 ]
