# kill -9 at every point: nothing lost, nothing doubled. Ids are unique at the source and nothing
# in the target would refuse a second one.
. "$(dirname "$0")/../cases.sh"

# Everything is the plain program's here: sanitizers do not work under ptrace.
use_static() {
	TDISPATCH=$STATIC
	export ASAN_OPTIONS=detect_leaks=0
}

can_trace() {
	strace -o /dev/null true 2>/dev/null || skip "strace does not work here"
}

LANES=1

# One queue, consumer and table a round: q1 c1 t1 ...; each with two batches over two days.
rounds() {
	new_pair "$CASE"
	config
	install
	src "select pgq.create_queue('q' || i), pgq.register_consumer('q' || i, 'c' || i) from generate_series(1, $1) i" >/dev/null
	fill_rounds "$1" 1
	fill_rounds "$1" 11
	dst "do \$\$ begin for i in 1..$1 loop
		execute format('create table t%s (id int, day date) partition by range (day)', i); end loop; end \$\$"
}

fill_rounds() {
	src "select count(pgq.insert_event('q' || i, 'I:id', 'id=' || r || '&day=2026-01-' || r % 2 + 10))
		from generate_series(1, $1) i, generate_series($2, $2 + 9) r;
		select count(pgq.force_tick('q' || i)) from generate_series(1, $1) i;
		select count(pgq.ticker('q' || i)) from generate_series(1, $1) i" >/dev/null
}

round_args() {
	ARGS=(--once job.ini --set "lanes=$LANES" --set "queue_name=q$1" --set "consumer_name=c$1" --set "dest_table=t$1" --set pidfile=)
}

# The target has the batch, the source does not know.
committed_not_finished() {
	local known
	known=$(completed_tick "c$1")
	[ -n "$known" ] && [ "$known" -gt "$(consumer_tick "c$1" "q$1")" ]
}

check_rounds() {
	local sql="select 't0', 20, 20 where false" i
	for ((i = 1; i <= $1; i++)); do
		sql+=" union all select 't$i', count(*), count(distinct id) from t$i"
	done
	expect_eq "$(dst "select * from ($sql) x(t, n, ids) where n <> 20 or ids <> 20 limit 5")" "" "rounds that lost or doubled rows"
}

# Kills at the Nth message that is sent, N = 1, 2, 3 ... until a run survives.
kill_at_every_message() {
	local n rc between=0
	can_trace
	use_static
	rounds 120
	for ((n = 1; n <= 120; n++)); do
		round_args $n
		rc=0
		timeout 30 strace -f -o /dev/null -e trace=sendto -e inject=sendto:signal=SIGKILL:when=$n "$STATIC" "${ARGS[@]}" >out 2>err || rc=$?
		[ $rc != 0 ] || break
		[ $rc = 137 ] || fail "message $n: exit $rc: $(tail -n 2 err)"
		! committed_not_finished $n || between=$((between + 1))
		expect_exit 0 "$TDISPATCH" "${ARGS[@]}"
	done
	[ $rc = 0 ] || fail "no run survived"
	[ $n -gt 15 ] || fail "only $n messages were seen"
	[ $between -gt 0 ] || fail "none of $n kills came between the target's commit and finish_batch"
	check_rounds $n
}

case_every_message() {
	kill_at_every_message
}

case_every_message_of_two_lanes() {
	LANES=2
	kill_at_every_message
}

# Interrupted and empty-handed system calls are no errors.
case_interrupted_calls() {
	local inject
	can_trace
	use_static
	rounds 4
	local n=0
	for inject in recvfrom:error=EINTR:when=2+3 sendto:error=EINTR:when=2+3 recvfrom:error=EAGAIN:when=3+4 sendto:error=EAGAIN:when=3+4; do
		round_args $((++n))
		expect_exit 0 strace -f -o trace -e trace=recvfrom,sendto -e inject=$inject "$STATIC" "${ARGS[@]}"
	done
	check_rounds 4
}

case_random_kills() {
	local i
	orders_pair
	src "$(for ((i = 0; i < 40; i++)); do
		say "insert into orders select i, date '2026-01-01' + i % 5, repeat('z', 200) from generate_series($((i * 1500 + 1)), $((i * 1500 + 1500))) i;
			select pgq.force_tick('q'); select pgq.ticker('q');"
	done)" >/dev/null
	PROGRAM=$STATIC
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		start job.ini
		sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
		kill_quietly -9 "$PID"
		wait "$PID" || :
	done
	once
	expect_rows 60000
	expect_eq "$(dst "select count(*), min(n), max(n) from (select tableoid, count(*) n from orders group by 1) x")" "5|12000|12000"
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
