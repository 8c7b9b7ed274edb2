# Under load, at random moments: the program is killed, a process of either server is killed, which
# makes the whole server recover, or a server is restarted at once. KILLS=200 of them, then all
# rows must be there once. Source and target are two servers of their own.
. "$(dirname "$0")/../cases.sh"
. "$(dirname "$0")/oracle.sh"

KILLS=${KILLS:-200}

end_servers() {
	for CLUSTER in "${SOURCE:-}" "${TARGET:-}"; do
		cluster_stop
	done
}

start_servers() {
	trap 'end_started; end_servers' EXIT
	cluster_start
	SOURCE=$CLUSTER SRC="host=$PGHOST port=$PGPORT dbname=postgres"
	cluster_start
	TARGET=$CLUSTER DST="host=$PGHOST port=$PGPORT dbname=postgres"
	src "set client_min_messages = warning; create extension pgq"
}

# Inserts and ticks until there is a file enough. What a dying server did not confirm may be in or
# not: the source's table says.
produce() {
	until [ -e enough ]; do
		{ src "insert into orders (day, note) select date '2026-01-01' + $SECONDS / 3 + i % 3, repeat('z', i % 100)
			from generate_series(1, 1000) i" && tick q; } 2>/dev/null || sleep 0.1
	done
}

# With another number of lanes, and ticks merged or not.
launch() {
	start job.ini --set "lanes=$((RANDOM % 3 + 1))" --set "batch_min_events=$((RANDOM % 2 * 200000))"
}

kill_program() {
	local rc=0
	kill_quietly -9 "$PID"
	wait "$PID" || rc=$?
	[ $rc = 137 ] || fail "the program ended by itself: $(tail -n 2 bg.err)"
	RESTARTS=$((RESTARTS + 1))
	launch
}

find_backend() {
	VICTIM=$(sql "$1" 2>/dev/null <<<"select pid from pg_stat_activity
		where backend_type = 'client backend' and pid <> pg_backend_pid() order by random() limit 1") && [ -n "$VICTIM" ]
}

kill_backend() {
	within 60 find_backend "$1"
	kill_quietly -9 "$VICTIM"
}

strike() {
	case $(($1 % 8)) in
	2) kill_backend "$SRC" ;;
	4) kill_backend "$DST" ;;
	6) CLUSTER=$SOURCE cluster_ctl restart -m immediate ;;
	0) CLUSTER=$TARGET cluster_ctl restart -m immediate ;;
	*) kill_program ;;
	esac
}

# Rows have come since that tick.
progressed() {
	local tick
	tick=$(completed_tick 2>/dev/null) && [ "${tick:-0}" -gt "$1" ]
}

pause() {
	sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
}

find_newest_tick() {
	TICK=$(src "select max(tick_id) from pgq.tick" 2>/dev/null)
}

# Strikes come in pairs: the second one while the first may still be dealt with. Then there must be
# new rows before the next pair.
strike_all() {
	local i
	for ((i = 1; i <= KILLS; i += 2)); do
		within 60 find_newest_tick
		within 60 progressed "$TICK"
		pause
		strike $i
		pause
		strike $((i + 1))
	done
}

# A pair of tables on two servers, and the producer.
start_load() {
	start_servers
	source_table orders "id int generated always as identity primary key, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "src_db=$SRC" "dst_db=$DST" "part_template=$ATTACH"
	install
	produce &
	PRODUCER=$!
	STARTED+=("$PRODUCER")
}

# Until all is loaded.
end_load() {
	touch enough
	wait "$PRODUCER"
	within 60 tick q
	within 60 find_newest_tick
	within 120 progressed $((TICK - 1))
	kill -TERM "$PID"
	expect_end 0 10
}

case_random_kills_under_load() {
	RESTARTS=0
	start_load
	launch
	strike_all
	end_load
	want
	judge public
	verdict "$KILLS" $RESTARTS "the others hit a server"
}

run_cases
