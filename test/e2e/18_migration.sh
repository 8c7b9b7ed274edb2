# One-off migrations: the progress of --once, --dry-run and --verify.
. "$(dirname "$0")/../cases.sh"

# many FROM TO: orders over three days.
many() {
	src "insert into orders select i, date '2026-01-10' + i % 3, 'n' || i from generate_series($1, $2) i"
}

# on_terminal COMMAND: runs it by a shell on a terminal of 80 columns; what came there goes to the
# file screen.
on_terminal() {
	command -v script >/dev/null || skip "script is not there"
	TERM=xterm timeout -k 5 60 script -qec "stty cols ${COLUMNS_OF_TERMINAL:-80}; $1" screen >/dev/null </dev/null
}

# All that a run could change, on both sides.
state_of_both() {
	src "select sub_last_tick, sub_batch, sub_next_tick, sub_active from pgq.subscription order by 1"
	src "select count(*), max(tick_id) from pgq.tick"
	dst "select relname from pg_class where relnamespace = 'public'::regnamespace order by 1"
	dst "select * from pgq_ext.completed_tick order by 1, 2"
	dst "select count(*) from orders"
}

# ---- progress

case_summary_in_the_log() {
	orders_pair
	many 1 300
	tick q
	once
	expect_match err 'INFO job: done: 300 events in [0-9.]+ s, [0-9,]+ a second; 300 rows, 3 partitions created$'
	expect_match err 'INFO job:   orders_2026_01_11: 100 rows$'
	expect_no_match err $'\r|\033'
	many 301 302
	tick q
	once -q
	expect_eq "$(cat err)$(cat out)" ""
}

case_progress_in_the_log() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.03
	many 1 400
	tick q
	once
	expect_match err 'progress: [0-9]+ of about [0-9,]+ events, [0-9]+:[0-9]{2}:[0-9]{2} left, [0-9,]+/s, 3 partitions$'
}

case_progress_on_a_terminal() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.006
	many 1 400
	tick q
	on_terminal "$TDISPATCH --once job.ini"
	expect_match screen $'\r[0-9]+ of about [0-9,]+ events, .*[0-9,]+/s, [0-9]+ partitions'
	[ "$(grep -o '[0-9,]* of about [0-9,]* events, ' screen | wc -l)" -ge 4 ] || fail "it was drawn less than four times"
	tr '\r' '\n' <screen | grep 'of about' | sed $'s/\033\\[K.*//' >drawn
	[ "$(wc -L <drawn)" -lt 80 ] || fail "a line is wider than the terminal: $(head -n 1 drawn)"
	expect_no_match screen ' INFO '
	expect_match screen 'done: 400 events'
	expect_match screen '^  orders_2026_01_10: 133 rows'
	expect_rows 400
}

# A warning goes above the line; in a log file all is as ever; a narrow terminal is no place for long lines.
case_terminal_and_log_lines() {
	orders_pair "part_template=$PARTITION_OF $SLOW" on_error=skip logfile=job.log
	slow_target 0.003
	many 1 200
	event I:id 'id=999&day=never&note=x' >/dev/null
	tick q
	COLUMNS_OF_TERMINAL=30 on_terminal "$TDISPATCH --once job.ini"
	expect_match screen 'WARNING job: event .* skipped'
	expect_match screen '1 event not written'
	expect_no_match screen ' INFO '
	expect_match job.log 'INFO job: queue q batch'
	expect_match job.log 'INFO job: done: 201 events'
	tr '\r' '\n' <screen | grep 'of about' | sed $'s/\033\\[K.*//' >drawn
	[ "$(wc -L <drawn)" -lt 30 ] || fail "a line is wider than the terminal: $(head -n 1 drawn)"
	many 300 301
	tick q
	on_terminal "$TDISPATCH --once -q job.ini"
	expect_no_match screen 'events'
}

case_progress_json() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.01
	many 1 300
	tick q
	once --progress=json
	python3 - out <<-'PY' || fail "$(cat out)"
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		now, end = lines[:-1], lines[-1]
		assert len(now) >= 2 and all(line["type"] == "progress" for line in now)
		assert all(a["events"] <= b["events"] and a["seconds"] < b["seconds"] for a, b in zip(now, now[1:]))
		assert now[-1]["events_estimated"] >= 300 and now[-1]["partitions_created"] == 3
		assert end["type"] == "summary" and end["end"] == "done"
		assert (end["events"], end["rows"], end["batches"], end["errors"], end["events_not_written"]) == (300, 300, 1, 0, 0)
		assert end["rows_of"] == {"orders_2026_01_10": 100, "orders_2026_01_11": 100, "orders_2026_01_12": 100}
	PY
	expect_exit 2 "$TDISPATCH" --once --progress=xml job.ini
	expect_exit 2 "$TDISPATCH" --progress=json job.ini
	expect_exit 2 "$TDISPATCH" --verify job.ini
}

case_summary_of_a_failure() {
	orders_pair
	many 1 3
	tick q
	event I:id 'id=abc&day=2026-01-10&note=x' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --progress=json --set batch_min_events=0
	expect_match out '"type":"summary","end":"failed".*"events":3,.*"rows":3,.*"errors":1'
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'failed: 0 events'
	expect_exit 0 "$TDISPATCH" --once job.ini --progress=json -q --set on_error=skip
	expect_match out '"end":"done".*"events":1,.*"rows":0,.*"events_not_written":1'
}

case_summary_when_stopped() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.05
	many 1 100
	tick q
	start --once --progress=json job.ini
	within 10 rows_are_coming
	kill -INT "$PID"
	expect_end 0 30
	expect_match bg.out '"end":"done".*"events":100,.*"rows":100,'
	expect_match bg.err 'WARNING .*finishing this batch; again: stop now, this batch is rolled back'
}

# Once more, and the batch is given up: what was kept is told, and how to go on.
case_stopped_twice() {
	orders_pair "part_template=$PARTITION_OF $SLOW" batch_min_events=0
	slow_target 0.02
	many 1 50
	tick q
	many 51 800
	tick q
	start --once job.ini
	within 20 rows_are_coming 70
	kill -INT "$PID"
	within 10 grep -q 'finishing this batch' bg.err
	kill -INT "$PID"
	expect_end 1 10
	expect_match bg.err 'stopped: 50 events'
	expect_match bg.err 'what was loaded is kept, and the partitions created; the batch that was not finished is rolled back; the same command goes on from there'
	dst "select setval('seen', 1)" >/dev/null
	dst "create or replace function slow() returns trigger language plpgsql as \$\$ begin return new; end \$\$"
	once
	expect_rows 800
}

# Stopped before all was in: a script that goes on with && must not.
case_stopped_is_not_done() {
	local signal last=0
	orders_pair "part_template=$PARTITION_OF $SLOW" batch_min_events=0
	slow_target 0.02
	for signal in INT TERM; do
		many $((last + 1)) $((last + 200))
		tick q
		many $((last + 201)) $((last + 210))
		tick q
		last=$((last + 210))
		start --once job.ini
		within 10 rows_are_coming
		kill -"$signal" "$PID"
		expect_end 1 30
		expect_match bg.err 'stopped: '
		once
		expect_eq "$(dst "select count(*) from orders where id > $last - 210")" 210
		dst "truncate orders; select setval('seen', 1)" >/dev/null
	done
}

# ---- --dry-run

case_dry_run() {
	orders_pair
	many 1 30
	event I:id 'id=998&day=never&note=x' >/dev/null
	event I:id '' >/dev/null
	event R '' >/dev/null
	tick q
	state_of_both >before
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	state_of_both >after
	cmp before after || fail "something changed: $(diff before after | tr '\n' ' ')"
	expect_match out '^batch [0-9]+, ticks [0-9]+-[0-9]+: 33 events, 30 rows'
	expect_match out '^  orders_2026_01_11: 10 rows, would be created'
	expect_match out '^1 truncate event would be skipped'
	expect_match out '^2 events that have no place:$'
	expect_match out '^  event [0-9]+: column day: "never" picks no partition'
	expect_match out '^  event [0-9]+: ev_data is empty'
	expect_match out "^create table orders_2026_01_12 partition of orders for values from \('2026-01-12'\)"
	expect_eq "$(grep -c '^create table' out)" 3
	once --set on_error=skip
	expect_rows 30
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out "nothing for consumer"
}

case_dry_run_counts_one() {
	orders_pair
	orders 1 1
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out ': 1 event, 1 row$'
	expect_match out '^  orders_2026_01_31: 1 row, would be created'
	once
	event I:id 'id=2&day=never' >/dev/null
	event R '' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out ': 2 events, 0 rows$'
	expect_match out '^1 event that has no place:$'
	once --set on_error=skip
	expect_match err ': 1 truncate event skipped'
	expect_match err ': 1 event skipped, the first: event'
}

# Beside a process that is in the middle of the same batch.
case_dry_run_beside_a_daemon() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.05
	many 1 200
	tick q
	start job.ini
	within 10 rows_are_coming 20
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_eq "$(dst "select count(*) from orders")" 0 "rows committed: --dry-run waited for the other process"
	expect_match out '200 rows'
	expect_no_match out 'would be created'
	within 60 dst_gives 200 "select count(*) from orders"
	expect_no_match bg.err 'WARNING|ERROR'
}

case_dry_run_finds() {
	orders_pair
	many 1 3
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set part_template=
	expect_match out 'orders_2026_01_10: 1 row, IS NOT THERE'
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set consumer_name=nobody
	expect_match err 'nobody is not registered'
	once
	dst "select pgq_ext.set_last_tick('job', 77)" >/dev/null
	many 4 5
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match err 'lost position'
}

case_dry_run_without_the_parent() {
	orders_pair
	orders 1 3
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set dest_table=nothere
	expect_match out '^a run would fail, for 1 reason:$'
	expect_match out '^  table nothere is not there, and part_template needs it \(_PARENT\)'
	expect_exit 0 "$TDISPATCH" --dry-run job.ini --set dest_table=nothere --set "part_template=create table _DEST_TABLE (id int, day date, note text)"
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set dest_table=nothere --set part_field= --set part_template=
	expect_match out '^  nothere: 3 rows, IS NOT THERE'
	expect_eq "$(partitions)" ""
}

case_dry_run_without_a_column() {
	orders_pair
	dst "create table plain (id int, day date)"
	orders 1 3
	orders 4 4 2026-02-01
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set part_field= --set part_template= --set dest_table=plain
	expect_match out '^  table plain has no column note, which events have$'
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set fields=id,day,note:colour
	expect_match out '^a run would fail, for 1 reason:$'
	expect_match out '^  table orders has no column colour, which fields names$'
	expect_exit 1 "$TDISPATCH" --dry-run job.ini --set dest_table=plain --set "part_template=$INHERITS"
	expect_match out '^  table plain has no column note, which events have$'
	expect_exit 0 "$TDISPATCH" --dry-run job.ini --set dest_table=plain --set "part_template=create table _DEST_TABLE (note text) inherits (_PARENT)"
	once
	dst "alter table orders drop note"
	orders 5 5
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out '^  table orders_2026_01_31 has no column note, which events have$'
	expect_exit 0 "$TDISPATCH" --dry-run job.ini --set fields=id,day
}

# More rows than the pool holds, with two column lists to a partition.
case_dry_run_of_a_big_batch() {
	orders_pair
	src "insert into orders select i, date '2026-01-10' + i % 2, repeat('x', 500) from generate_series(1, 40000) i"
	src "alter table orders add extra int"
	dst "alter table orders add extra int"
	src "insert into orders select i, date '2026-01-10' + i % 2, 'x', 1 from generate_series(40001, 40010) i"
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out 'orders_2026_01_11: 20005 rows'
	expect_eq "$(grep -c '^create table' out)" 2
}

# What part_template could not say for one event is not left in the SQL; that can be run as it is.
case_dry_run_sql() {
	orders_pair "part_template=create table _DEST_TABLE (like _PARENT, primary key (_PKEY)); alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
	event X 'id=1&day=2026-01-01&note=a' >/dev/null
	event I:id 'id=2&day=2026-01-02&note=a' >/dev/null
	event I:id 'id=3&day=2026-01-03&note=a' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	sed '1,/^SQL that would be run/d; /^Nothing was changed/,$d' out >run.sql
	sql "$DST" <run.sql
	expect_eq "$(partitions)" "orders_2026_01_02 orders_2026_01_03"
}

# ---- --verify

case_verify() {
	orders_pair
	many 1 300
	tick q
	once --verify
	expect_match err 'verified, 3 partitions'
	expect_match err 'done: 300 events .*3 partitions created; verified 3 partitions$'
	many 301 600
	tick q
	once --verify --set lanes=3
	expect_rows 600
	expect_eq "$(dst "select count(*) from pg_class where relname like 'tdispatch_verify%'")" 0
}

# The target writes values in its own way; columns that the events do not have have defaults.
case_verify_as_the_target_reads_it() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (id int, day date, price numeric(10,2), serial bigserial not null, loaded timestamptz not null default clock_timestamp(),
		doubled int generated always as (id * 2) stored, \"between\" text) partition by range (day)"
	config
	install
	event I:id 'id=007&day=2026-01-10&price=1.005&between=x%5cy' >/dev/null
	event I:id 'id=8&day=2026-01-10&price&between' >/dev/null
	event I:id 'id=9&day=2026-01-10' >/dev/null
	tick q
	once --verify
	expect_rows 3
}

# A column that some events lack is not compared, and that is told; where none is left, it fails.
case_verify_columns() {
	orders_pair
	dst "create function meddle() returns trigger language plpgsql as \$\$ begin new.note = 'WRONG'; return new; end \$\$;
		create trigger meddle before insert on orders for each row execute function meddle()"
	many 1 9
	event I:id 'id=100&day=2026-01-10' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once --verify job.ini
	expect_match err 'WARNING .*verify: partition orders_2026_01_10: not every event has note: not compared'
	expect_match err 'verify: partition orders_2026_01_11 got . rows, and their values are not those of the events'
	expect_rows 0
}

case_verify_nothing() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (a int, b int)"
	config part_field= part_template=
	install
	event I: 'a=1' >/dev/null
	event I: 'b=1' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once --verify job.ini
	expect_match err 'verify: no column of partition orders can be compared'
	expect_eq "$(dst "select count(*) from orders")" 0
}

case_verify_of_one_table() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst 'create schema "Sch x"; create table "Sch x"."Or ders" (id int, day date, note text, at timestamptz default now())'
	config part_field= part_template= "dest_table=Sch x.Or ders"
	install
	many 1 100
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out '^  Or ders: 100 rows$'
	once --verify
	expect_eq "$(dst 'select count(*) from "Sch x"."Or ders"')" 100
}

# The target itself puts the rows into its partitions.
case_verify_through_the_parent() {
	orders_pair part_field= part_template=
	dst "create table orders_early partition of orders for values from ('2026-01-01') to ('2026-01-11');
		create table orders_rest partition of orders default;
		insert into orders values (-1, '2026-01-05', 'old')"
	many 1 30
	tick q
	once --verify
	expect_rows 31
}

# Rows that were there before, and those that others write meanwhile, are not the batch's.
case_verify_beside_others() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.02
	many 1 20
	tick q
	once --verify
	many 21 220
	tick q
	start --once --verify job.ini
	within 10 rows_are_coming 40
	dst "set session_replication_role = replica; insert into orders select -i, '2026-01-10', 'other' from generate_series(1, 5) i"
	expect_end 0 30
	expect_rows 225
}

# With events that the target refuses, each block has a savepoint.
case_verify_with_dead_letters() {
	orders_pair on_error=dead_letter "part_template=$PARTITION_OF alter table _DEST_TABLE add primary key (id);"
	many 1 50
	event I:id 'id=3&day=2026-01-10&note=twice' >/dev/null
	event I:id 'id=abc&day=2026-01-10&note=x' >/dev/null
	event I:id 'id=60&day=never&note=x' >/dev/null
	many 61 80
	tick q
	once --verify
	expect_rows 70
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 3
}

# A target that does something else with the rows: nothing is committed, and each partition is told.
case_verify_finds() {
	local what
	orders_pair "part_template=$PARTITION_OF"
	dst "create function meddle() returns trigger language plpgsql as \$\$ begin return new; end \$\$;
		create trigger meddle before insert on orders for each row execute function meddle()"
	many 1 300
	tick q
	while IFS='|' read -r what says; do
		dst "create or replace function meddle() returns trigger language plpgsql as \$\$ begin $what return new; end \$\$"
		expect_exit 1 "$TDISPATCH" --once --verify job.ini
		expect_match err "verify: partition orders_2026_01_11 $says"
		expect_match err '1 of 3 partitions differ from the events, nothing of it is committed'
		expect_eq "$(dst "select count(*) from orders")" 0
	done <<-'END'
		if new.id = 100 then return null; end if;|got 99 rows from 100 events
		if new.id = 100 then new.note = 'N100'; end if;|got 100 rows, and their values are not those
		if new.id = 100 then new.note = null; end if;|got 100 rows, and their values are not those
		if new.id = 100 and pg_trigger_depth() = 1 then insert into orders values (new.*); end if;|got 101 rows from 100 events
	END
	dst "drop trigger meddle on orders"
	once --verify
	expect_rows 300
}

run_cases
