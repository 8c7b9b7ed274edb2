# Servers that are slow are waited for, servers that hang are not.
. "$(dirname "$0")/../cases.sh"

# Both databases over TCP.
over_tcp() {
	local tcp="host=127.0.0.1 port=$PGPORT user=postgres"
	config "src_db=$tcp dbname=$SRC" "dst_db=$tcp dbname=$DST" "$@"
}

# One row of many megabytes takes longer than a dead network is given: nobody is cut off.
case_target_pauses_over_tcp() {
	orders_pair
	dst "create function pause() returns trigger language plpgsql as
		\$\$ begin if new.id = 1000 then perform pg_sleep(20); end if; return new; end \$\$"
	over_tcp "part_template=$PARTITION_OF create trigger pause before insert on _DEST_TABLE for each row execute function pause();"
	src "insert into orders select i, '2026-01-31', repeat('x', 2000) from generate_series(1, 20000) i"
	tick q
	LIMIT=200 once
	expect_no_match err "trying again"
	expect_rows 20000
}

large_rows() {
	src "insert into orders select i, '2026-01-31', repeat('x', $2) from generate_series(1, $1) i"
	tick q
}

# The target takes its time, more than server_timeout in all, and holds back the source: both are
# at work.
case_slow_is_not_silent() {
	orders_pair "part_template=$PARTITION_OF $SLOW" server_timeout=3
	slow_target 0.04
	large_rows 250 100000
	LIMIT=200 once
	expect_no_match err "server_timeout"
	expect_rows 250
	grep -Eq 'seconds=(9|1[0-9]|[2-9][0-9])' err || fail "it was over too soon to tell: $(grep seconds= err)"
}

# backend DATABASE CONDITION: the program's server process there.
backend() {
	sql "$1" <<<"select pid from pg_stat_activity where datname = '$1' and application_name = 'tdispatch' and ($2) limit 1"
}

# hang DATABASE CONDITION: that server process is stopped, and that is noticed.
hang() {
	local began
	HUNG=$(backend "$1" "$2")
	[ -n "$HUNG" ] || fail "no such server process: $2"
	kill -STOP "$HUNG"
	trap 'kill_quietly -CONT "$HUNG"; end_started' EXIT
	began=$SECONDS
	within 20 grep -q "taken nothing for 4 s.*server_timeout" bg.err
	told "given up $((SECONDS - began)) s after the server process was stopped"
}

# It goes on when the server does; before that, nothing was doubled.
hangs_no_more() {
	sleep 2
	kill -0 "$PID" || fail "the program is gone"
	kill -CONT "$HUNG"
	within 40 dst_gives "$1" "select count(distinct id) from orders"
	expect_rows "$1"
	kill -TERM "$PID"
	expect_end 0 10
}

case_hung_while_sending() {
	orders_pair "part_template=$PARTITION_OF $SLOW" server_timeout=4
	slow_target 0.001
	large_rows 4000 5000
	start job.ini
	within 20 rows_are_coming 100
	hang "$DST" "query like 'COPY%'"
	hangs_no_more 4000
}

case_hung_while_reading() {
	orders_pair "part_template=$PARTITION_OF $SLOW" server_timeout=4
	slow_target 0.001
	large_rows 6000 5000
	start job.ini
	within 20 rows_are_coming 100
	hang "$SRC" "query like '%COPY%'"
	hangs_no_more 6000
}

case_hung_while_committing() {
	orders_pair server_timeout=4
	dst "create function slow_commit() returns trigger language plpgsql as \$\$ begin perform pg_sleep(2); return new; end \$\$;
		create constraint trigger slow_commit after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row when (new.subconsumer_id = '') execute function slow_commit()"
	orders 1 500
	tick q
	start job.ini
	within 20 asleep 1
	hang "$DST" "wait_event = 'PgSleep'"
	hangs_no_more 500
}

case_hung_while_idle() {
	orders_pair server_timeout=4
	orders 1 3
	tick q
	start job.ini
	within 20 dst_gives 3 "select count(*) from orders"
	hang "$SRC" "true"
	orders 4 5
	tick q
	hangs_no_more 5
}

# 0: for ever.
case_no_server_timeout() {
	orders_pair server_timeout=0
	orders 1 3
	tick q
	start job.ini
	within 20 dst_gives 3 "select count(*) from orders"
	HUNG=$(backend "$SRC" true)
	kill -STOP "$HUNG"
	trap 'kill_quietly -CONT "$HUNG"; end_started' EXIT
	orders 4 5
	tick q
	sleep 6
	expect_no_match bg.err "trying again"
	hangs_no_more 5
}

# How long the source's snapshot is held while the target is slow: measured, see README.md.
case_snapshot_of_the_source() {
	local end=0 held most=0 began
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.001
	large_rows 8000 4000
	began=$SECONDS
	start --once job.ini
	while kill -0 "$PID" 2>/dev/null; do
		held=$(src "select coalesce(max(extract(epoch from clock_timestamp() - xact_start))::numeric(6,1), 0) from pg_stat_activity
			where datname = current_database() and application_name = 'tdispatch' and backend_xmin is not null")
		[ "${held%.*}" -lt "${most%.*}" ] || most=$held
		sleep 0.2
	done
	expect_end 0 5
	expect_rows 8000
	end=$((SECONDS - began))
	told "a batch of 32 MB took $end s, the source's snapshot was held for $most s of it"
}

run_cases
