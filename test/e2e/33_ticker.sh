# ticker = 1: ticks and maintenance by tdispatch itself, and --tick.
. "$(dirname "$0")/../cases.sh"

# settings KEY VALUE...: of queue q.
settings() {
	while [ $# != 0 ]; do
		src "select pgq.set_queue_config('q', '$1', '$2')" >/dev/null
		shift 2
	done
}

# Ticks come as fast as events do.
fast_queue() {
	settings ticker_max_lag '0.05 s' ticker_idle_period '0.2 s'
}

rows_are() {
	dst_gives "$1" "select count(*) from orders"
}

# The process that ticks for process PID.
child() {
	pgrep -P "${1:-$PID}" -x tdispatch-tick
}

# No tick's snapshot is older than that of the tick before.
expect_ticks_in_order() {
	expect_eq "$(src "select count(*) from (select tick_snapshot as new, lag(tick_snapshot) over (order by tick_id) as old from pgq.tick
		where tick_queue = (select queue_id from pgq.queue where queue_name = 'q')) t
		where txid_snapshot_xmin(new) < txid_snapshot_xmin(old) or txid_snapshot_xmax(new) < txid_snapshot_xmax(old)")" 0 "ticks older than the one before"
}

pgqd_or_skip() {
	command -v pgqd >/dev/null || skip "no pgqd"
}

# Starts the real ticker for the source; sets PGQD.
start_pgqd() {
	cat >pgqd.ini <<-END
		[pgqd]
		base_connstr = host=$CLUSTER port=$PGPORT user=postgres
		logfile = $WORK/pgqd.log
		pidfile = $WORK/pgqd.pid
		database_list = $SRC
		ticker_period = ${1:-0.2}
	END
	# it refuses to run as root
	if [ "$(id -u)" = 0 ]; then
		chmod 777 .
		setpriv --reuid=postgres --regid=postgres --init-groups pgqd pgqd.ini >pgqd.out 2>&1 </dev/null &
	else
		pgqd pgqd.ini >pgqd.out 2>&1 </dev/null &
	fi
	PGQD=$!
	STARTED+=($PGQD)
	within 10 src_gives t "select exists (select from pg_stat_activity where datname = current_database() and query ~ '^select pgq.ticker')"
}

case_ticks_are_made() {
	orders_pair ticker=1 ticker_period=0.05
	fast_queue
	start job.ini
	orders 1 3
	within 20 rows_are 3
	orders 4 5
	within 10 rows_are 5
	within 10 grep -q 'INFO job: ticker: makes the ticks of queue q' bg.err
	[ -n "$(child)" ] || fail "no process ticks"
	kill -TERM "$PID"
	expect_end 0 5
	within 10 src_gives 0 "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'"
}

# A long batch does not stop the ticks, and with its parent the process goes.
case_ticks_in_a_long_batch() {
	local child before
	orders_pair ticker=1 ticker_period=0.05 "part_template=$PARTITION_OF $SLOW"
	fast_queue
	slow_target 0.2
	start job.ini
	orders 1 200
	within 20 rows_are_coming
	before=$(src "select max(tick_id) from pgq.tick")
	orders 201 202
	within 10 src_gives t "select max(tick_id) > $before + 1 from pgq.tick"
	child=$(child)
	kill -9 "$PID"
	within 20 process_gone "$child"
}

case_killed_it_comes_again() {
	local child
	orders_pair ticker=1 ticker_period=0.05
	fast_queue
	start job.ini
	within 10 child
	child=$(child)
	kill -9 "$child"
	within 20 grep -q "WARNING job: ticker: its process $child ended (signal 9); the next" bg.err
	within 60 child
	orders 1 2
	within 10 rows_are 2
}

case_reload() {
	orders_pair
	start job.ini
	within 10 grep -q 'tdispatch .* starts' bg.err
	expect_eq "$(child)" ""
	config ticker=1 ticker_period=0.05
	kill -HUP "$PID"
	within 10 child
	orders 1 2
	within 20 rows_are 2
	config
	kill -HUP "$PID"
	within 10 eval '! child'
}

# Ours makes the ticks of one queue, and does so in the queue of a foreign ticker only after that
# has been silent.
case_takes_over() {
	orders_pair ticker=1 ticker_period=0.1
	settings ticker_idle_period '1 s' ticker_max_lag '1 s'
	tick q
	start job.ini
	within 20 foreign_tick_and_stands_by 1
	expect_match bg.err 'INFO job: ticker: stands by: there may be another ticker of queue q'
	tick q          # the first one that it can see to be new
	orders 1 2
	within 30 rows_are 2
	within 10 grep -Eq 'INFO job: ticker: makes the ticks of queue q, whose newest is ([6-9]|[1-9][0-9]) s old' bg.err
	expect_eq "$(grep -c 'makes the ticks' bg.err)" 1
	within 20 foreign_tick_and_stands_by 2
}

# A tick, unless ours comes just before it; it has stood by N times.
foreign_tick_and_stands_by() {
	tick q
	[ "$(grep -c "stands by" bg.err)" = "$1" ]
}

case_beside_pgqd() {
	pgqd_or_skip
	orders_pair ticker=1 ticker_period=0.05
	fast_queue
	start_pgqd
	start job.ini
	orders 1 3
	within 20 rows_are 3
	within 20 grep -q 'INFO job: ticker: stands by: pgqd is connected' bg.err
	sleep 1
	expect_no_match bg.err 'makes the ticks'
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +ticker = 1, and pgqd ticks'
	kill "$PGQD"
	wait "$PGQD" 2>/dev/null || :
	orders 4 6
	within 20 rows_are 6
	within 20 grep -q 'makes the ticks of queue q' bg.err
}

# Two of ours and a pgqd that comes and goes, with events all the time.
case_race() {
	local first i end
	pgqd_or_skip
	orders_pair ticker=1 ticker_period=0.01 loop_delay=0.05
	settings ticker_max_lag '0 s' ticker_idle_period '0 s' ticker_max_count 1
	sed 's/^job_name.*/job_name = other/; s/^pidfile.*//; s/^dest_table.*/dest_table = copy/' job.ini >other.ini
	dst "create table copy (id int, day date, note text) partition by range (day)"
	expect_exit 0 "$TDISPATCH" --install other.ini
	start job.ini
	first=$PID
	start other.ini
	end=$((SECONDS + ${RACE_S:-15}))
	for ((i = 1; SECONDS < end; i++)); do
		say "insert into orders values ($i, '2026-01-31', 'n');"
		((i % 50)) || say "select pg_sleep(0.02);"
	done | sql "$SRC" >/dev/null &
	STARTED+=($!)
	while ((SECONDS < end)); do
		start_pgqd 0.002
		sleep 2
		kill "$PGQD"
		wait "$PGQD" 2>/dev/null || :
		sleep 7
	done
	wait "${STARTED[2]}" || :
	i=$(src "select count(*) from orders")
	within 60 rows_are "$i"
	within 60 dst_gives "$i" "select count(*) from copy"
	expect_rows "$i"
	expect_rows "$i" copy
	expect_ticks_in_order
	told "$(src "select max(tick_id) from pgq.tick") ticks, $i events"
}

# A ticker that takes no lock of ours ticks without a pause, and so does --tick.
case_ticks_of_a_stranger() {
	local i
	orders_pair
	settings ticker_max_lag '0 s' ticker_idle_period '0 s' ticker_max_count 1
	src "create sequence ids"
	for i in 1 2; do
		for ((i = 0; i < 2500; i++)); do say "insert into orders select nextval('ids'), '2026-01-31', 'n';"; done | sql "$SRC" >/dev/null &
		STARTED+=($!)
	done
	for ((i = 0; i < 3000; i++)); do say "select pgq.ticker('q');"; done | sql "$SRC" >/dev/null &
	STARTED+=($!)
	for ((i = 0; i < 60; i++)); do
		expect_exit 0 "$TDISPATCH" --tick job.ini
	done
	wait "${STARTED[@]}"
	expect_ticks_in_order
	once --tick
	expect_rows 5000
	told "$(src "select max(tick_id) from pgq.tick") ticks"
}

# rotating SECONDS: a queue that rotates each second and is loaded stays small, unless transactions of
# other tests hold that up.
rotating() {
	local end=$((SECONDS + $1)) n=0 switched
	orders_pair ticker=1 ticker_period=0.05
	fast_queue
	settings rotation_period '1 s'
	start job.ini
	while ((SECONDS < end)); do
		n=$((n + 100))
		orders $((n - 99)) $n
		sleep 0.05
	done
	within 30 rows_are $n
	expect_rows $n
	within 240 src_gives t "select count(*) < greatest(1000, $n / 4) from pgq.event_template"
	switched=$(src "select queue_switch_time from pgq.queue")
	within 240 src_gives t "select queue_switch_time > '$switched' from pgq.queue"
	told "$n events, $(src "select count(*) from pgq.event_template") are left in $(src "select sum(pg_total_relation_size(inhrelid))::bigint / 1024 from pg_inherits, pgq.queue where inhparent = queue_data_pfx::regclass") KiB, $(src "select count(*) from pgq.tick") of $(src "select max(tick_id) from pgq.tick") ticks"
}

case_rotation() {
	rotating "${ROTATION_S:-8}"
}

case_retry() {
	orders_pair ticker=1 ticker_period=0.05
	fast_queue
	settings rotation_period '1 s'
	orders 1 2
	tick q
	src "select pgq.register_consumer('q', 'c')" >/dev/null
	orders 3 3
	tick q
	src "select pgq.event_retry(b, ev_id, 0) from (select pgq.next_batch('q', 'c') as b offset 0) n, pgq.get_batch_events(b)" >/dev/null
	src_gives 1 "select count(*) from pgq.retry_queue" || fail "no event is to be tried again"
	start job.ini
	within 20 src_gives 0 "select count(*) from pgq.retry_queue"
}

# ---- rights

reader() {
	sql postgres <<<"select 'create role tick_reader login' where to_regrole('tick_reader') is null \gexec
		grant all on database \"$DST\" to tick_reader"
	src "grant pgq_reader to tick_reader"
	dst "grant usage on schema pgq_ext to tick_reader; grant all on orders to tick_reader; alter table orders owner to tick_reader;
		grant create on schema public to tick_reader"
}

case_rights() {
	orders_pair ticker=1 ticker_period=0.05 exception_sleep=0.2
	reader
	sed -i "s/^src_db.*/src_db = dbname=$SRC user=tick_reader/" job.ini
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'GRANT pgq_admin TO tick_reader;'
	src "revoke pgq_reader from tick_reader"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'GRANT pgq_admin TO tick_reader;'
	expect_match out '^not ready: 1 thing$'
	src "grant pgq_reader to tick_reader"
	start job.ini
	within 20 grep -q 'WARNING job: ticker: src_db: our role may make no ticks: GRANT pgq_admin TO tick_reader;' bg.err
	sleep 1
	expect_eq "$(grep -c 'may make no ticks' bg.err)" 1
	orders 1 2
	src "grant pgq_admin to tick_reader"
	within 20 rows_are 2
	src "revoke pgq_admin from tick_reader"
	kill -TERM "$PID"
	expect_end 0 5
}

# What the missing role keeps from being looked at is no further thing.
case_rights_are_one_thing() {
	orders_pair
	orders 1 2
	once --tick
	sql postgres <<<"select 'create role tick_stranger login' where to_regrole('tick_stranger') is null \gexec"
	dst "grant usage on schema pgq_ext to tick_stranger; grant create on schema public to tick_stranger; alter table orders owner to tick_stranger"
	sed -i "s/^src_db.*/src_db = dbname=$SRC user=tick_stranger/" job.ini
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'GRANT pgq_reader TO tick_stranger;'
	expect_match out '^warning +the next batch cannot be looked at without the rights above'
	expect_match out '^not ready: 1 thing$'
}

# ---- --tick

case_tick_alone_and_with_once() {
	orders_pair
	orders 1 3
	expect_exit 0 "$TDISPATCH" --tick job.ini
	expect_match out '^queue q has tick [0-9]+$'
	once
	expect_rows 3
	orders 4 5
	once
	expect_rows 3
	once --tick
	expect_rows 5
	expect_exit 2 "$TDISPATCH" --tick --status job.ini
	src "update pgq.queue set queue_ticker_paused = true"
	expect_exit 1 "$TDISPATCH" --tick job.ini
	expect_match err 'queue q takes no ticks: its ticker is paused'
	config queue_name=none
	expect_exit 1 "$TDISPATCH" --tick job.ini
	expect_match err 'no queue none'
}

case_check_of_a_paused_queue() {
	orders_pair ticker=1
	src "update pgq.queue set queue_ticker_paused = true"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning .*queue q takes no ticks: its ticker is paused or external'
}

# A reader forces a tick that somebody else makes.
case_tick_of_a_reader() {
	orders_pair ticker=1 ticker_period=0.05
	settings ticker_max_lag '1 hour' ticker_idle_period '1 hour'
	reader
	start job.ini
	within 10 grep -q 'makes the ticks' bg.err
	sed "s/^src_db.*/src_db = dbname=$SRC user=tick_reader/; s/^ticker.*//" job.ini >reader.ini
	orders 1 2
	expect_exit 0 "$TDISPATCH" --tick reader.ini
	within 10 rows_are 2
}

run_cases
