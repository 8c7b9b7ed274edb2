# Memory under the kernel's own limits, and what was used at most.
. "$(dirname "$0")/../cases.sh"

# limited MEGABYTES CODES ARGS...: the program may have so much address space; PEAK is what it
# used at most, in KiB.
limited() {
	local code=$2
	LIMIT=400 expect_exit "$code" prlimit --as=$(($1 * 1024 * 1024)) bash -c \
		'"$@" & while sed -n "s/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p" /proc/$!/status 2>/dev/null; do sleep 0.1; done >peak; wait $!' \
		limited "$STATIC" "${@:3}"
	PEAK=$(sort -n peak | tail -n 1)
}

case_event_of_200_mb() {
	orders_pair
	src "select pgq.insert_event('q', 'I:id', 'id=1&day=2026-01-31&note=' || repeat('x', 209715200), 'public.orders', null, null, null)" >/dev/null
	event I:id 'id=2&day=2026-01-31&note=small' >/dev/null
	tick q
	limited 300 1 --once job.ini
	expect_match err "memory"
	expect_rows 0
	expect_eq "$(completed_tick)" ""
	limited 1100 0 --once job.ini
	expect_rows 2
	expect_eq "$(dst "select length(note) from orders where id = 1")" 209715200
	[[ $PEAK -gt 204800 && $PEAK -lt 819200 ]] || fail "$PEAK KiB resident"
	told "$((PEAK / 1024)) MB resident, and with 300 MB of address space: exit code 1, nothing written"
}

# The rows of each go to another of 400 partitions.
case_400_partitions_interleaved() {
	interleaved_batch 100000 400
	limited 48 0 --once job.ini
	expect_rows 100000
	expect_eq "$(dst "select count(*), min(n), max(n) from (select count(*) n from orders group by tableoid) x")" "400|250|250"
	[[ $PEAK -gt 0 && $PEAK -lt 16384 ]] || fail "$PEAK KiB resident"
	told "$PEAK KiB resident, under a limit of 48 MB of address space"
}

run_cases
