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

# One row for each, of columns with long names.
case_1000_partitions_of_150_columns() {
	local name=a_column_with_quite_a_long_name_as_they_come_from_orms_
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (id int, day date $(printf ", ${name}%04d text" {1..150}))"
	config "part_template=$INHERITS"
	install
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || g || '&day=' || date '2020-01-01' + g || '$(printf "&$name%04d" {1..150})'))
		from generate_series(1, 1000) g" >/dev/null
	tick q
	limited 48 0 --once job.ini
	expect_eq "$(dst "select count(*), count(distinct tableoid) from orders")" "1000|1000"
	[[ $PEAK -gt 0 && $PEAK -lt 16384 ]] || fail "$PEAK KiB resident"
	told "$PEAK KiB resident"
}

run_cases
