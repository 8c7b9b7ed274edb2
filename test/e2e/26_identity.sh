# A tick is more than its number: sources that give the numbers of loaded ticks to other events.
. "$(dirname "$0")/../cases.sh"

# ticks N FROM: N ticks of one order each.
ticks() {
	local i
	for ((i = 0; i < $1; i++)); do
		orders $(($2 + i)) $(($2 + i)) "2026-01-0$((1 + i % 5))"
		tick q
	done
}

# A backup of the source, and the source as it was then.
back_up() {
	sql postgres <<<"create database \"${SRC}_backup\" template \"$SRC\""
}

restore() {
	sql postgres <<-END
		drop database "$SRC" with (force);
		alter database "${SRC}_backup" rename to "$SRC";
	END
}

# What is kept under a subconsumer's name.
kept() {
	dst "select last_tick_id from pgq_ext.completed_tick where consumer_id = 'job' and subconsumer_id = '$1'"
}

tick_time() {
	src "select (extract(epoch from tick_time) * 1000000)::bigint from pgq.tick where tick_id = $1"
}

# All say the same, nothing is written, and --rewind does not help. expect_lost WORDS [ARGS]
expect_lost() {
	local words=$1 switch rows tick
	shift
	rows=$(distinct_rows)
	tick=$(completed_tick)
	for switch in --check --dry-run --once; do
		expect_exit 1 "$TDISPATCH" $switch job.ini "$@"
		cat out err >both
		expect_match both "$words"
		expect_match both "--reset"
	done
	expect_exit 1 "$TDISPATCH" --rewind job.ini "$@"
	expect_eq "$(distinct_rows)" "$rows" "rows"
	expect_eq "$(completed_tick)" "$tick" "the target's tick"
}

TIME='20[0-9-]{8} [0-9:]{8}\.[0-9]{6} UTC'

# three batches after a backup, which is restored
set_back() {
	orders_pair "$@"
	ticks 1 1
	once
	back_up
	ticks 3 2
	once
	restore
}

case_newer_ticks_took_the_numbers() {
	set_back
	ticks 6 102
	expect_lost "lost position: tick $(completed_tick) of queue q is one of $TIME, the target of consumer job has loaded up to one of $TIME"
	expect_rows 4
	expect_exit 0 "$TDISPATCH" --reset job.ini
	once
	expect_rows 10
}

case_newer_ticks_without_merging() {
	set_back batch_min_events=0
	ticks 6 102
	expect_lost "lost position: tick $(completed_tick) of queue q is one of"
}

case_newest_tick_is_the_same() {
	set_back
	ticks 3 102
	expect_eq "$(src "select max(tick_id) from pgq.tick")" "$(completed_tick)" "ticks"
	expect_lost "lost position: tick $(completed_tick) of queue q is one of"
}

# The consumer is where the target is, and nothing is pending.
case_set_back_and_empty() {
	set_back
	ticks 3 102
	src "select pgq.register_consumer_at('q', 'job', $(completed_tick))" >/dev/null
	expect_lost "lost position: tick $(completed_tick) of queue q is one of"
}

case_target_is_ahead_of_an_empty_queue() {
	set_back
	expect_lost "lost position: the newest tick of queue q is $(consumer_tick), .* is at tick $(completed_tick) of $TIME\."
}

case_set_back_under_a_daemon() {
	orders_pair exception_sleep=0.5
	ticks 1 1
	back_up
	ticks 3 2
	start job.ini
	within 10 dst_gives 4 "select count(*) from orders"
	within 5 src_gives 0 "select count(*) from pgq.subscription where sub_batch is not null"
	restore
	ticks 6 102
	expect_end 1 20
	expect_match bg.err "lost position: "
	expect_rows 4
}

case_queue_made_anew() {
	orders_pair
	ticks 5 1
	once
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	src "select pgq.drop_queue('q'); select pgq.create_queue('q'); select pgq.register_consumer('q', 'job')" >/dev/null
	expect_lost "lost position: the newest tick of queue q is 1, "
	ticks 8 11
	expect_lost "lost position: tick $(completed_tick) of queue q is one of"
	expect_rows 5
}

# A process that asks for ticks alone, in between, knows the queue by its number.
case_queue_made_anew_under_a_daemon() {
	orders_pair
	start job.ini
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	src "select pgq.drop_queue('q', true), pgq.create_queue('q')" >/dev/null
	expect_end 1 15
	expect_match bg.err 'consumer job is not registered|Not subscriber'
}

case_two_sources_under_one_name() {
	local first
	orders_pair
	ticks 3 1
	once
	first=$SRC
	SRC=${CASE}_other
	sql postgres <<<"create database \"$SRC\" template pgq_template"
	source_table orders "id int primary key, day date, note text"
	src "select pgq.register_consumer('q', 'job')" >/dev/null
	ticks 6 11
	sed -i "s/^src_db.*/src_db = dbname=$SRC/" job.ini
	expect_lost "lost position: tick $(completed_tick) of queue q is one of"
	expect_rows 3
	SRC=$first
	sed -i "s/^src_db.*/src_db = dbname=$SRC/" job.ini
	ticks 1 4
	once
	expect_rows 4
}

# A tick inside of what the next batch would be, and gone there.
case_tick_that_the_queue_lost() {
	local lost
	orders_pair
	ticks 2 1
	once
	lost=$(completed_tick)
	src "select pgq.register_consumer_at('q', 'job', $((lost - 1))); delete from pgq.tick where tick_id = $lost" >/dev/null
	ticks 3 11
	expect_lost "lost position: queue q, at tick $((lost - 1)), has no tick $lost, at which the target of consumer job is of $TIME"
	expect_lost "has no tick $lost" --set batch_min_events=0
}

# A finish that was lost is none of that.
case_lost_finish() {
	local before
	orders_pair
	before=$(consumer_tick)
	ticks 3 1
	once
	src "select pgq.register_consumer_at('q', 'job', $before)" >/dev/null
	ticks 2 11
	once
	expect_match err "moving queue q there"
	expect_rows 5
}

# ---- what is kept

case_time_is_kept() {
	orders_pair
	ticks 2 1
	once
	expect_eq "$(kept 'identity tick')" "$(completed_tick)"
	expect_eq "$(kept 'identity time')" "$(tick_time "$(completed_tick)")"
	ticks 1 3
	once --set lanes=3
	expect_eq "$(dst "select count(*) from pgq_ext.completed_tick where subconsumer_id like '%identity tick'
		and last_tick_id = $(completed_tick)")" 3 "ticks"
	expect_eq "$(kept 'lane 2 of 3 identity time')" "$(tick_time "$(completed_tick)")"
	dst "select pgq_ext.set_last_tick('job', 'sub', 6)" >/dev/null
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_eq "$(dst "select subconsumer_id from pgq_ext.completed_tick")" sub "what --reset left"
}

# Written by another program or an older one: the number alone counts, until both sides agree.
case_number_alone() {
	orders_pair
	ticks 2 1
	once
	dst "delete from pgq_ext.completed_tick where subconsumer_id <> ''"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_eq "$(kept 'identity time')" "" "after the switches that only look"
	once
	expect_eq "$(kept 'identity time')" "$(tick_time "$(completed_tick)")" "an empty queue"
	ticks 1 3
	src "select pgq.next_batch('q', 'job'); select pgq.finish_batch(sub_batch) from pgq.subscription" >/dev/null
	dst "select pgq_ext.set_last_tick('job', $(consumer_tick))" >/dev/null
	expect_exit 0 "$TDISPATCH" --check job.ini
	ticks 1 4
	once
	expect_eq "$(kept 'identity tick')" "$(completed_tick)"
	expect_rows 3
}

case_pgq_ext_without_subconsumers() {
	orders_pair
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out "subconsumers"
	dst "drop function pgq_ext.get_last_tick(text); drop function pgq_ext.set_last_tick(text, bigint);
		create function pgq_ext.get_last_tick(text) returns bigint language sql as
			\$\$ select last_tick_id from pgq_ext.completed_tick where consumer_id = \$1 and subconsumer_id = '' \$\$;
		create function pgq_ext.set_last_tick(text, bigint) returns integer language sql as
			\$\$ insert into pgq_ext.completed_tick values (\$1, '', \$2) on conflict (consumer_id, subconsumer_id)
				do update set last_tick_id = excluded.last_tick_id; select 1 \$\$;
		drop function pgq_ext.get_last_tick(text, text); drop function pgq_ext.set_last_tick(text, text, bigint)"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "^warning *pgq_ext in dst_db knows no subconsumers"
	ticks 2 1
	once
	once
	expect_eq "$(dst "select count(*) from pgq_ext.completed_tick")" 1 "what is kept"
	ticks 1 3
	once
	expect_rows 3
	dst "select pgq_ext.set_last_tick('job', 99)" >/dev/null
	expect_lost "lost position: the newest tick of queue q is"
}

# ---- lanes

# Lane 0's commit is refused, the others are in.
half_committed() {
	dst "create function refuse() returns trigger language plpgsql as
			\$\$ begin if new.subconsumer_id = '' then raise exception using errcode = '53100', message = 'refused'; end if; return new; end \$\$;
		create constraint trigger refuse after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row execute function refuse()"
	expect_exit 1 "$TDISPATCH" --once job.ini "$@"
	expect_match err "refused"
	dst "drop trigger refuse on pgq_ext.completed_tick; drop function refuse()"
	[ "$(kept 'lane 1 of 2')" -gt "$(completed_tick)" ] || fail "lane 1 is not ahead"
}

case_half_of_another_source() {
	orders_pair lanes=2
	ticks 1 1
	once
	back_up
	ticks 5 2
	half_committed
	restore
	ticks 9 102
	expect_lost "lost position: tick $(kept 'lane 1 of 2') of queue q is one of $TIME, the target of consumer job, in lane 1,"
	expect_lost "in lane 1," --set batch_min_events=0
}

case_half_of_a_lost_tick() {
	orders_pair lanes=2
	ticks 1 1
	once
	ticks 1 2
	half_committed
	src "select pgq.register_consumer_at('q', 'job', $(completed_tick))" >/dev/null
	src "delete from pgq.tick where tick_id = $(kept 'lane 1 of 2')"
	ticks 2 11
	expect_lost_half --set batch_min_events=0
	expect_lost_half
}

expect_lost_half() {
	LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini "$@"
	expect_match err "lost position: queue q, at tick $(completed_tick), has no tick $(kept 'lane 1 of 2')"
	expect_no_match err "tick by tick"
}

# A batch is open, and a tick at one of its ends is deleted by hand.
case_tick_of_an_open_batch_is_deleted() {
	local mode
	orders_pair
	orders 1 1
	tick q
	once
	orders 2 2
	tick q
	src "select pgq.next_batch('q', 'job')" >/dev/null
	src "delete from pgq.tick where tick_id = (select sub_next_tick from pgq.subscription)"
	orders 3 3
	tick q
	for mode in --once --check --dry-run; do
		expect_exit 1 "$TDISPATCH" $mode job.ini
		cat out err >both
		expect_match both "PgQ has no tick [0-9]+, at which the batch [0-9]+ of consumer job on queue q begins or ends.*--rewind"
		expect_no_match both 'another process'
	done
	expect_exit 1 timeout 20 "$TDISPATCH" job.ini
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	once
	expect_rows 3
	src "delete from pgq.tick where tick_id = (select sub_last_tick from pgq.subscription)"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "lost position: "
	expect_rows 3
}

# The numbers of a position are read one after the other, and another process commits in between: what
# it has loaded is seen as that, and not as another tick of the same number.
case_position_moves_while_it_is_read() {
	local newest
	one_in_one_to_come
	newest=$(src "select max(tick_id) from pgq.tick")
	dst "create or replace function pgq_ext.get_last_tick(a_consumer text, a_subconsumer text) returns bigint language plpgsql as \$\$ begin
		if a_subconsumer = 'identity time' then perform pg_advisory_xact_lock(26); end if;
		return (select last_tick_id from pgq_ext.completed_tick where consumer_id = a_consumer and subconsumer_id = a_subconsumer); end \$\$"
	dst "select pg_advisory_lock(26); select pg_sleep(60)" >/dev/null &
	STARTED+=($!)
	within 10 dst_gives 1 "select count(*) from $ADVISORY and objid = 26 and granted"
	"$TDISPATCH" --once job.ini >out 2>err &
	STARTED+=($!)
	within 10 dst_gives 1 "select count(*) from $ADVISORY and objid = 26 and not granted"
	dst "insert into orders values (2, '2026-01-31', 'by the other process');
		select pgq_ext.set_last_tick('job', $newest), pgq_ext.set_last_tick('job', 'identity tick', $newest),
			pgq_ext.set_last_tick('job', 'identity time', $(src "select (extract(epoch from tick_time) * 1000000)::bigint from pgq.tick where tick_id = $newest"))" >/dev/null
	dst "select pg_terminate_backend(pid) from $ADVISORY and objid = 26 and granted" >/dev/null
	wait ${STARTED[1]} || fail "$(tail -n 1 err)"
	expect_match err "is in the target already"
	expect_rows 2
}

# What only looks asks PgQ for the next batch, and another process finishes it between the two
# questions that takes.
case_batch_is_finished_while_it_is_looked_at() {
	local switch batch
	orders_pair pidfile=
	orders 1 1
	tick q
	once
	src "alter function pgq.batch_event_sql(bigint) rename to batch_event_sql_of_pgq;
		create function pgq.batch_event_sql(x bigint) returns text language plpgsql as \$\$ begin
		perform pg_advisory_xact_lock(26); return pgq.batch_event_sql_of_pgq(x); end \$\$"
	for switch in --check --dry-run; do
		tick q
		batch=$(src "select pgq.next_batch('q', 'job')")
		src "select pg_advisory_lock(26); select pg_sleep(60)" >/dev/null &
		STARTED+=($!)
		within 10 src_gives 1 "select count(*) from $ADVISORY and objid = 26 and granted"
		"$TDISPATCH" $switch job.ini >out 2>err &
		STARTED+=($!)
		within 10 src_gives 1 "select count(*) from $ADVISORY and objid = 26 and not granted"
		dst "select pgq_ext.set_last_tick('job', $(src "select tick_id from pgq.get_batch_info($batch)"))" >/dev/null
		src "select pgq.finish_batch($batch)" >/dev/null
		src "select pg_terminate_backend(pid) from $ADVISORY and objid = 26 and granted" >/dev/null
		wait "${STARTED[-1]}" || fail "$switch: $(cat out err | grep -v '^ok')"
	done
	expect_match out "queue q has nothing for consumer job"
}

# A process that has just started registers the consumer and loads, after the queue was asked for it
# and before the target is.
case_consumer_is_registered_while_it_is_looked_for() {
	local switch
	orders_pair pidfile=
	for switch in --check --register; do
		src "select pgq.unregister_consumer('q', 'job')" >/dev/null
		dst "select pgq_ext.set_last_tick('job', null)" >/dev/null
		session "$DST" "begin; lock table pgq_ext.completed_tick in access exclusive mode"
		meanwhile $switch
		wait_for_locks dst 1
		src "select pgq.register_consumer('q', 'job')" >/dev/null
		in_session "select pgq_ext.set_last_tick('job', $(consumer_tick)); commit"
		expect_end_of 0
	done
	expect_match out 'consumer job was registered already'
}

# The tick is moved between the look at it and the end.
case_reset_tells_what_it_forgot() {
	orders_pair pidfile=
	orders 1 1
	tick q
	once
	session "$SRC" "begin; lock table pgq.consumer in access exclusive mode"
	meanwhile --reset
	wait_for_locks src 1
	dst "select pgq_ext.set_last_tick('job', 4711)" >/dev/null
	in_session commit
	expect_end_of 0
	expect_match out 'the target forgot tick 4711 of consumer job'
}

run_cases
