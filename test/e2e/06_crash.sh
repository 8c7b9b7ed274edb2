# Killed, and interrupted, while rows are under way. Every message and random moments: test/crash.
. "$(dirname "$0")/../cases.sh"

# Interrupted and empty-handed system calls are no errors. The search for leaks does not work under
# ptrace: it would fail where there is no program without it.
case_interrupted_calls() {
	local inject n=0
	can_trace
	orders_pair
	for inject in recvfrom:error=EINTR:when=2+3 sendto:error=EINTR:when=2+3 recvfrom:error=EAGAIN:when=3+4 sendto:error=EAGAIN:when=3+4; do
		orders $((n + 1)) $((n + 10)) 2026-01-30
		orders $((n + 11)) $((n + 20))
		tick q
		ASAN_OPTIONS=detect_leaks=0 expect_exit 0 strace -f -o trace -e trace=recvfrom,sendto -e inject=$inject "$STATIC" --once job.ini
		expect_rows $((n += 20))
	done
}

# Killed while the server still works on the rows that were sent: the next one waits for it.
case_killed_with_rows_under_way() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.002
	orders 1 1500
	tick q
	start --once job.ini
	within 20 rows_are_coming
	kill -9 "$PID"
	wait "$PID" || :
	once
	expect_rows 1500
}

# Killed while rows are sent that had to wait for the end, one of them bad.
case_killed_among_the_last_rows() {
	orders_pair on_error=dead_letter "part_template=$PARTITION_OF $SLOW"
	dst "create function slow() returns trigger language plpgsql as
		\$\$ begin if new.note = 'slow' then perform pg_sleep(4); end if; return new; end \$\$"
	event I:id 'id=x&day=2026-01-30&note=bad' >/dev/null
	event I:id 'id=+5000&day=2026-01-30&note=slow' >/dev/null
	orders 1 3000 2026-01-30
	tick q
	start --once job.ini
	within 20 asleep 1
	kill -9 "$PID"
	wait "$PID" || :
	expect_rows 0
	once
	expect_rows 3001
	expect_eq "$(dst "select count(*), count(distinct ev_id) from tdispatch.dead_letter")" "1|1"
}

# One backend of the program dies; the server lives.
case_backend_is_terminated() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.001
	orders 1 2000
	tick q
	start job.ini
	within 20 rows_are_coming
	dst "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'copy%'" >/dev/null
	within 30 dst_gives 2000 "select count(*) from orders"
	src "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'" >/dev/null
	orders 2001 2010
	tick q
	within 30 dst_gives 2010 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	expect_rows 2010
}

run_cases
