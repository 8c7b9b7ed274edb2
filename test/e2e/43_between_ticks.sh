# The events between two ticks are those that PgQ gives for them, whatever was open at the ticks.
. "$(dirname "$0")/../cases.sh"

# Transactions of other databases count for what a tick sees, for the query that PgQ gives, and for when
# tables rotate: these cases have a cluster to themselves. The file's own one is started for the first.
own_cluster() {
	export CLUSTER=$OWN PGHOST=$OWN PGPORT=$OWN_PORT HOME=$OWN
	trap 'end_started; drop_databases' EXIT
}

start_own() {
	read -r OWN OWN_PORT < <(cluster_start >/dev/null && cluster_templates && say "$CLUSTER $PGPORT")
	[ -n "$OWN" ] || { say "not ok $FILE: its cluster did not start"; exit 1; }
	trap 'CLUSTER=$OWN cluster_stop' EXIT
}

# busy_queue: orders_pair, where a row tells its event and tick; history(n, seed) on the source makes
# n random steps of twelve transactions that stay open over ticks: events, savepoints that are
# rolled back to, commits, rollbacks, numbers used by others, retried events, rotations. made has the
# committed events.
busy_queue() {
	own_cluster
	orders_pair "fields=id, day, _EVID:ev_id, _TICK:tick" "part_template=$ATTACH" batch_min_events=0
	dst "alter table orders add ev_id bigint, add tick bigint"
	src "create extension dblink; create table made (ev_id bigint); create table used (i int); create table want (tick bigint, ev_id bigint);
		select pgq.register_consumer('q', 'other'), pgq.set_queue_config('q', 'rotation_period', '0');
		create function history(steps int, seed float8) returns void language plpgsql as \$\$
		declare
			server text := 'host=$PGHOST port=$PGPORT user=postgres dbname=' || current_database();
			event text := 'insert into made select pgq.insert_event(''q'', ''I:id'', ''id=1&day=2026-01-31'', ''public.orders'', '''', '''', '''')';
			retried text := 'insert into used select 1 from pgq.queue, pgq.event_retry_raw(''q'', %L, now() - interval ''1 s'', nextval(queue_event_seq::regclass), now(), 1, ''I:id'',
				''id=2&day=2026-01-30'', ''public.orders'', '''', '''', '''')';
			many text := 'do \$x\$ begin for i in 1..150 loop begin insert into used values (i); exception when division_by_zero then end; end loop; end \$x\$';
			tick text := 'insert into used select pgq.force_tick(''q'') + pgq.ticker(''q'')';
			open bool[] := array_fill(false, array[12]);
			c text;
			n int;
			dice float8;
		begin
			perform setseed(seed), dblink_connect('c0', server);
			for n in 1..12 loop perform dblink_connect('c' || n, server); end loop;
			for i in 1..steps loop
				n := 1 + floor(random() * 12);
				c := 'c' || n;
				dice := random();
				if not open[n] then
					perform dblink_exec(c, 'begin'), dblink_exec(c, event);
					open[n] := true;
				elsif dice < 0.2 then
					perform dblink_exec(c, case when dice < 0.05 then 'rollback' else 'commit' end);
					open[n] := false;
				elsif dice < 0.4 then
					perform dblink_exec(c, 'savepoint s'), dblink_exec(c, event), dblink_exec(c, event),
						dblink_exec(c, case when dice < 0.3 then 'rollback to s' else 'release s' end);
				elsif dice < 0.5 then
					perform dblink_exec(c, event);
				end if;
				if random() < 0.1 then
					perform dblink_exec('c0', event);
				end if;
				if random() < 0.02 then
					perform dblink_exec('c0', many);
				elsif random() < 0.03 then
					perform dblink_exec('c0', format(retried, case when random() < 0.5 then 'job' else 'other' end)),
						dblink_exec('c0', 'insert into used select pgq.maint_retry_events()');
				elsif random() < 0.02 then
					perform dblink_exec('c0', 'insert into used select pgq.maint_rotate_tables_step1(''q'')'),
						dblink_exec('c0', 'insert into used select pgq.maint_rotate_tables_step2()');
				end if;
				if random() < 0.4 then
					perform dblink_exec('c0', tick);
				end if;
			end loop;
			for n in 1..12 loop
				if open[n] and random() < 0.5 then
					perform dblink_exec('c' || n, 'commit');
				end if;
				perform dblink_disconnect('c' || n);
			end loop;
			perform dblink_exec('c0', tick), dblink_disconnect('c0');
		end \$\$" >/dev/null
	src "create function take() returns int language plpgsql as \$\$
		declare
			b record;
			first bigint := last_tick from pgq.get_consumer_info('q', 'job');
			n int := 0;
		begin
			loop
				select * into b from pgq.next_batch_info('q', 'job');
				exit when b.batch_id is null;
				insert into want select b.cur_tick_id, ev_id from pgq.get_batch_events(b.batch_id);
				perform pgq.finish_batch(b.batch_id);
				n := n + 1;
			end loop;
			perform pgq.register_consumer_at('q', 'job', first);
			return n;
		end \$\$"
}

# The others' consumer keeps up, so that tables rotate.
other_is_done() {
	src "select pgq.register_consumer_at('q', 'other', (select max(tick_id) from pgq.tick))" >/dev/null
}

# Another table is written to. It waits for transactions that were open before the last time; in a
# history it may happen never.
rotated() {
	local before
	before=$(current_table)
	tick q
	once
	other_is_done
	rotate
	[ "$(current_table)" != "$before" ]
}

given() {
	src "select $1, count(*) from want group by 1 order by 1" >want
	dst "select $1, count(*) from orders group by 1 order by 1" >got
	cmp -s want got || fail "$2: $(diff want got | grep -c '^<') that PgQ gives, $(diff want got | grep -c '^>') others: $(diff want got | sed -n 2,4p | tr '\n' ' ')"
}

# Tick by tick, and then several ticks a batch.
case_the_same_events_as_pgq() {
	local phase batches=0
	busy_queue
	src "alter database \"$SRC\" set log_statement = 'all'"
	for phase in 1 2 3 4 5 6; do
		within 60 rotated
		src "select history(150, 0.$phase$RANDOM)" >/dev/null
		batches=$((batches + $(src "select take()")))
		if [ $((phase % 3)) = 0 ]; then
			once --set batch_min_events=40
			given ev_id "merged, phase $phase"
		else
			once
			given ev_id "phase $phase"
		fi
		other_is_done
	done
	given ev_id "all phases"
	expect_eq "$(src "select count(*) from made where ev_id not in (select ev_id from want)")" 0 "events lost by PgQ"
	grep -h " $SRC .*COPY (SELECT ev_id" "$CLUSTER/server.log" >read || fail "no batch was read"
	[ "$(grep -c 'ev_txid <> all' read)" -gt 50 ] || fail "only $(grep -c 'ev_txid <> all' read) batches with open transactions"
	[ "$(grep -c 'ev_txid = any' read)" -gt 10 ] || fail "only $(grep -c 'ev_txid = any' read) batches with transactions from before"
	grep -q "ev_txid in (" read || fail "no transaction was far behind"
	expect_no_match read 'txid_visible_in_snapshot'
	[ "$batches" -gt 250 ] || fail "only $batches batches"
	told "$batches batches, $(wc -l <want) events, $(grep -c 'ev_txid <> all' read) times open transactions, $(grep -c 'ev_txid = any' read) from before, $(grep -c "ev_txid in (" read) far behind"
}

# How often PgQ was asked for its query so far.
asked_pgq() {
	grep -c " $SRC .*batch_event_sql(batch_id)" "$CLUSTER/server.log"
}

rotate() {
	src "select pgq.maint_rotate_tables_step1('q')" >/dev/null
	[ "${1:-}" = half ] || src "select pgq.maint_rotate_tables_step2()" >/dev/null
}

current_table() {
	src "select queue_cur_table from pgq.queue"
}

rows_are_in() {
	dst_gives "$1/$1" "select count(*) || '/' || count(distinct id) from orders" && [ "$(consumer_tick)" = "$(completed_tick)" ]
}

# A row more; N counts them.
row() {
	N=$((N + 1))
	orders $N $N
}

# A tick, and then N rows are in; ASKED: how often PgQ was asked for its query.
loads() {
	local before
	before=$(asked_pgq)
	tick q
	within 10 rows_are_in $N
	ASKED=$(($(asked_pgq) - before))
}

loads_asking() {
	loads
	[ "$ASKED" != 0 ] || fail "with $N rows PgQ was not asked for its query"
}

# Rows and ticks until PgQ is not asked any more.
learns() {
	local i
	for i in {1..50}; do
		row
		loads
		[ "$ASKED" != 0 ] || return 0
	done
	fail "PgQ is asked for its query again and again"
}

# knowing_daemon [KEY=VALUE]...: a daemon that has PgQ's query of the current table.
knowing_daemon() {
	N=0
	own_cluster
	orders_pair batch_min_events=0 loop_delay=0.1 pidfile= "$@"
	src "select pgq.set_queue_config('q', 'rotation_period', '0')" >/dev/null
	src "alter database \"$SRC\" set log_statement = 'all'"
	start job.ini
	row
	tick q
	within 10 rows_are_in 1
	rotate
	learns
}

# An event comes before and after each step, and from a transaction that is open meanwhile.
case_rotation_at_each_point() {
	local first
	knowing_daemon
	first=$(current_table)
	row
	rotate half
	row
	[ "$(current_table)" != "$first" ] || fail "the table has not rotated"
	loads_asking
	row
	src "select pgq.maint_rotate_tables_step2()" >/dev/null
	row
	loads_asking
	learns
	session "$SRC" "begin; insert into orders values (1000, '2026-01-31', '')"
	row
	loads
	rotate
	row
	loads_asking
	in_session commit
	N=$((N + 1))
	loads_asking
	row
	loads
	expect_no_match bg.err "ERROR|WARNING"
}

# The subscription is another, whose retried events are not those of the first; PgQ's number for the
# consumer is the same, since it is registered elsewhere too.
case_registered_anew_meanwhile() {
	knowing_daemon
	src "select pgq.create_queue('other'), pgq.register_consumer('other', 'job')" >/dev/null
	src "do \$\$ declare at bigint := last_tick from pgq.get_consumer_info('q', 'job'); begin
		perform pgq.unregister_consumer('q', 'job'), pgq.register_consumer_at('q', 'job', at);
		perform pgq.event_retry_raw('q', 'job', now() - interval '1 s', nextval(queue_event_seq::regclass), now(), 1, 'I:id', 'id=1000&day=2026-01-30', 'public.orders', '', '', '')
			from pgq.queue where queue_name = 'q'; end \$\$"
	src "select pgq.maint_retry_events()" >/dev/null
	N=$((N + 1))
	loads_asking
	expect_no_match bg.err "ERROR|WARNING"
}

# A daemon loads while transactions come and go, and tables rotate.
case_rotations_under_a_daemon() {
	local phase
	busy_queue
	config "fields=id, day, _EVID:ev_id, _TICK:tick" "part_template=$ATTACH" batch_min_events=0 loop_delay=0.1 pidfile=
	src "alter database \"$SRC\" set log_statement = 'all'"
	start job.ini
	for phase in 1 2 3 4 5 6 7 8; do
		src "select history(60, 0.$phase$RANDOM)" >/dev/null
		tick q
		within 20 src_gives t "select last_tick = (select max(tick_id) from pgq.tick) from pgq.get_consumer_info('q', 'job')"
		other_is_done
		src "select pgq.maint_rotate_tables_step1('q')" >/dev/null
		src "select pgq.maint_rotate_tables_step2()" >/dev/null
	done
	src "select ev_id from made order by 1" >made
	dst "select ev_id from orders where ev_id in ($(paste -sd, made)) order by 1" >got
	cmp -s made got || fail "$(diff made got | grep -c '^<') events are missing, $(diff made got | grep -c '^>') came twice"
	expect_eq "$(dst "select count(*) - count(distinct ev_id) from orders")" 0 "events that came twice"
	grep " $SRC .*next_batch" "$CLUSTER/server.log" >asked
	told "$(grep -c batch_event_sql asked) of $(grep -c . asked) batches PgQ was asked for, $(wc -l <made) events"
	expect_no_match bg.err "ERROR|WARNING"
}

# ---- the events of the next batch, read while the target commits

# lock TICK: the target's commit of that tick waits, until unlock.
lock() {
	dst "select pg_advisory_lock($1), pg_sleep(600)" >/dev/null 2>&1 &
	STARTED+=($!)
	within 20 dst_gives 1 "select count(*) from $ADVISORY and objid = $1 and granted"
}

unlock() {
	dst "select pg_terminate_backend(pid) from $ADVISORY and objid = $1 and granted" >/dev/null
}

# The commit of that tick waits.
waits() {
	within 20 dst_gives 1 "select count(*) from $ADVISORY and objid = $1 and not granted"
}

# How often events were asked for so far: ahead, and at their time.
reads() {
	grep " $SRC .*COPY (SELECT ev_id" "$CLUSTER/server.log" | grep -c 'LIMIT' || :
	grep " $SRC .*COPY (SELECT ev_id" "$CLUSTER/server.log" | grep -vc 'LIMIT' || :
}

# ahead ROWS [KEY=VALUE]...: a daemon has read ahead the events of tick T + 2, ROWS rows and those
# of the SQL in MORE, and waits with the commit of T + 1. Tick T + 3 has a row. READS: as by reads.
MORE=
ahead() {
	knowing_daemon "${@:2}"
	dst "create table public.other (tick bigint);
		create function wait() returns trigger language plpgsql as \$\$ begin
			perform pg_advisory_xact_lock(new.last_tick_id);
			new.last_tick_id := coalesce((select tick from public.other), new.last_tick_id); return new; end \$\$;
		create trigger wait before insert or update on pgq_ext.completed_tick for each row execute function wait()"
	T=$(src "select max(tick_id) + 1 from pgq.tick")
	lock "$T"
	lock $((T + 1))
	row
	tick q
	waits "$T"
	row
	tick q
	orders $((N + 1)) $((N + $1))
	N=$((N + $1))
	[ -z "$MORE" ] || src "$MORE" >/dev/null
	tick q
	row
	tick q
	mapfile -t READS < <(reads)
	unlock "$T"
	waits $((T + 1))
	within 20 has_read_ahead $((READS[0] + 1))
	[ "$(src "select max(tick_id) from pgq.tick")" = $((T + 3)) ] || fail "other ticks than wanted"
}

has_read_ahead() {
	[ "$(reads | head -n 1)" = "$1" ]
}

# all_in MORE: the rows are in, with MORE queries for events that were not read ahead.
all_in() {
	local now
	unlock $((T + 1))
	within 10 rows_are_in $N
	mapfile -t now < <(reads)
	expect_eq $((now[1] - READS[1])) "$1" "queries for events, from tick T + 1 on"
	expect_no_match bg.err "ERROR|WARNING"
}

case_read_ahead() {
	ahead 1
	all_in 1
}

# The next batch ends at the tick after it.
case_read_ahead_and_the_tick_is_deleted() {
	ahead 1
	src "delete from pgq.tick where tick_id = $((T + 2))"
	all_in 2
}

# The batch that is being committed comes again.
case_read_ahead_and_the_consumer_is_moved() {
	ahead 1
	src "select pgq.register_consumer_at('q', 'job', $T)" >/dev/null
	all_in 4
}

# The events that were read ahead are of a batch that this consumer does not get.
case_read_ahead_and_the_consumer_skips_a_tick() {
	ahead 1
	src "select pgq.register_consumer_at('q', 'job', $((T + 2)))" >/dev/null
	unlock $((T + 1))
	expect_end 1 20
	expect_eq "$(dst "select count(*) from orders")" $((N - 2))
	expect_match bg.err "lost"
}

# The target has another position by the time that the next batch begins.
case_read_ahead_and_the_position_is_another() {
	ahead 1
	dst "insert into other values ($((T + 100)))"
	unlock $((T + 1))
	expect_end 1 20
	expect_eq "$(dst "select count(*) from orders")" $((N - 2))
	expect_match bg.err "ERROR.*lost position"
	expect_no_match bg.err "in progress|WARNING"
}

case_read_ahead_and_the_tables_rotate() {
	ahead 1
	row
	rotate
	row
	tick q
	all_in 3
}

# Its events have another owner.
case_read_ahead_and_the_subscription_is_another() {
	ahead 1
	src "do \$\$ begin perform pgq.unregister_consumer('q', 'job'), pgq.register_consumer_at('q', 'job', $((T + 1))); end \$\$"
	all_in 3
}

case_read_ahead_a_new_partition() {
	MORE="insert into orders values (1000, '2026-03-05', 'n')"
	ahead 1
	N=$((N + 1))
	all_in 1
	expect_eq "$(dst "select id from orders_2026_03_05")" 1000
}

BAD="select pgq.insert_event('q', 'I:id', 'id=1000&day=nonsense', 'public.orders', '', '', '')"

# What goes wrong before the queue has given the batch is told of the batch.
case_read_ahead_a_bad_event() {
	MORE=$BAD
	ahead 1
	unlock $((T + 1))
	expect_end 1 20
	expect_match bg.err "event [0-9]+ of batch $(src "select sub_batch from pgq.subscription"),"
	expect_eq "$(dst "select count(*) from orders")" $((N - 2))
}

case_read_ahead_a_dead_letter() {
	MORE=$BAD
	ahead 1 on_error=dead_letter
	unlock $((T + 1))
	within 10 rows_are_in $N
	within 10 grep -q "batch $(dst "select batch_id from tdispatch.dead_letter") ticks $((T + 1))-$((T + 2)): events=2 rows=1" bg.err
	mapfile -t now < <(reads)
	expect_eq $((now[1] - READS[1])) 2 "queries for events: of tick T + 1, and for the letter"
}

case_read_ahead_too_many() {
	ahead 2500
	all_in 3
}

# The connection is lost, with what was read.
case_read_ahead_and_the_source_is_gone() {
	ahead 1
	src "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'" >/dev/null
	unlock $((T + 1))
	within 20 rows_are_in $N
}

# Tick T + 3's events cannot be read ahead: that is told, and they are read at their time.
case_read_ahead_in_vain() {
	local table
	ahead 1
	table=$(src "select queue_data_pfx || '_' || queue_cur_table from pgq.queue")
	src "begin; lock table $table; select pg_sleep(60)" >/dev/null &
	STARTED+=($!)
	within 10 src_gives 1 "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = '$table'::regclass"
	unlock $((T + 1))
	within 10 src_gives 1 "select count(*) from pg_locks where not granted and relation = '$table'::regclass"
	src "select pg_cancel_backend(pid) from pg_locks where not granted and relation = '$table'::regclass" >/dev/null
	# from then on it waits for the lock at their time
	within 10 grep -q 'connecting to it again' bg.err
	src "select pg_terminate_backend(pid) from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = '$table'::regclass" >/dev/null
	within 20 rows_are_in $N
	expect_match bg.err "WARNING .*src_db: .*; connecting to it again"
	expect_no_match bg.err ERROR
}

start_own
run_cases
