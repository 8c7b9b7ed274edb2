# What each kind of a server's error is followed by: wait and go on, or end and say so.
. "$(dirname "$0")/../cases.sh"

# failing_target [KEY=VALUE]...: rows are refused with the SQLSTATE that table fault holds.
failing_target() {
	orders_pair "part_template=$PARTITION_OF create trigger fault before insert on _DEST_TABLE for each row execute function fault();" \
		exception_sleep=0.2 retry_limit=1 "$@"
	dst "create table fault (code text); insert into fault values ('00000');
		create function fault() returns trigger language plpgsql as \$\$ declare c text; begin
			select code into c from fault;
			if c <> '00000' then raise exception 'made to fail' using errcode = c; end if;
			return new; end \$\$"
}

# What passes by itself is waited for, however it is called; the rows come once.
case_waits_for_what_can_pass() {
	local code n=0
	failing_target
	start job.ini
	for code in 08006 57P01 57P03 53100 53200 53300 25006 57014 25P03 25P04 55P03 40001 40P01 42501 XX000; do
		dst "update fault set code = '$code'"
		orders $((++n)) $n
		tick q
		within 20 grep -q "SQLSTATE $code" bg.err
		kill -0 "$PID" || fail "$code ended the program"
		dst "update fault set code = '00000'"
		within 20 dst_gives $n "select count(*) from orders"
	done
	kill -TERM "$PID"
	expect_end 0 5
	expect_rows $n
	told "15 SQLSTATEs waited out"
}

# With --once all of them end with 1 in the end, and nothing is written.
case_once_ends() {
	local code
	failing_target
	orders 1 3
	tick q
	for code in 08006 57P01 53100 53200 53300 42501 25006 57014 25P03 25P04 55P03 40001 XX000; do
		dst "update fault set code = '$code'"
		LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini
		expect_match err "SQLSTATE $code"
		expect_rows 0
	done
	dst "update fault set code = '00000'"
	once
	expect_rows 3
}

# After three times the setting is named.
case_timeouts_name_the_setting() {
	local pair
	failing_target exception_sleep=0.1
	orders 1 3
	tick q
	start job.ini
	for pair in 57014:statement_timeout 25P03:idle_in_transaction_session_timeout 25P04:transaction_timeout 55P03:lock_timeout; do
		dst "update fault set code = '${pair%:*}'"
		within 20 grep -q "SQLSTATE ${pair%:*}).* times in a row: see .*${pair#*:} of the role" bg.err
	done
	dst "update fault set code = '00000'"
	within 20 dst_gives 3 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
}

# A disk that is full, for real: the partitions' tablespace is a small file system.
case_disk_full() {
	orders_pair exception_sleep=0.2 "$(on_small_disk)"
	small_disk
	src "insert into orders select i, '2026-01-31', repeat('x', 1000) from generate_series(1, 5000) i"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "SQLSTATE 53100"
	start job.ini
	within 20 grep -q "SQLSTATE 53100.*trying again in" bg.err
	expect_rows 0
	mount -o remount,size=200m small
	within 20 dst_gives 5000 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	expect_rows 5000
}

# The target turns read-only, as after a failover, and comes back.
case_turned_read_only() {
	orders_pair
	orders 1 3
	tick q
	start job.ini
	within 10 dst_gives 3 "select count(*) from orders"
	dst "create function deny() returns trigger language plpgsql as \$\$ begin raise exception 'read-only' using errcode = '25006'; end \$\$;
		create trigger deny before insert or update on pgq_ext.completed_tick for each row execute function deny()"
	orders 4 5
	tick q
	within 20 grep -q "25006.*trying again" bg.err
	sleep 3
	expect_eq "$(grep -c 25006 bg.err)" 1 "lines about one state"
	dst "drop trigger deny on pgq_ext.completed_tick"
	within 20 dst_gives 5 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	expect_rows 5
}

# The server's socket is not there yet; --once goes on trying for retry_limit.
case_once_tries_to_connect() {
	local began=$SECONDS
	orders_pair retry_limit=3
	orders 1 3
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set "dst_db=host=$WORK/late dbname=$DST"
	[ $((SECONDS - began)) -ge 3 ] || fail "it gave up after $((SECONDS - began)) s"
	start --once job.ini --set "dst_db=host=$WORK/late dbname=$DST" --set retry_limit=60
	sleep 1
	ln -s "$PGHOST" late
	expect_end 0 20
	expect_rows 3
}

# A login or a database that is refused does not get better by trying.
case_once_ends_when_refused() {
	orders_pair retry_limit=60
	LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini --set "dst_db=dbname=no_such_database"
	expect_match err "no_such_database"
	LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini --set "dst_db=dbname=$DST user=no_such_role"
	expect_match err "no_such_role"
}

# What an old libpq does not know, or would take for something else, is refused by name.
case_options_of_a_newer_libpq() {
	local program option
	orders_pair
	for program in "$TDISPATCH" "$STATIC"; do
		for option in "sslrootcert=system sslmode=verify-full" "require_auth=!password" load_balance_hosts=random; do
			if lacks_options "$program"; then
				expect_exit 2 "$program" --show-config job.ini --set "src_db=dbname=x password=geh31m $option"
				expect_match err "src_db: this program is built with libpq 1[0-5]\..*, which does not know ${option%%[= ]*}.*: libpq 16 is needed"
				expect_no_match err geh31m
			else
				expect_exit 0 "$program" --show-config job.ini --set "src_db=dbname=x password=geh31m $option"
			fi
		done
	done
}

# Values that no server could take are wrong usage, in every mode.
case_bad_connection_values() {
	local value switch values=(sslmode=bogus port=abc target_session_attrs=nonsense)
	orders_pair
	lacks_options "$STATIC" || values+=("sslmode=require sslrootcert=system")
	for value in "${values[@]}"; do
		for switch in --once --check --show-config -d; do
			LIMIT=20 expect_exit 2 "$STATIC" $switch job.ini --set "dst_db=$value"
			expect_match err "dst_db: (invalid|weak|port is no number)"
		done
	done
	expect_exit 2 "$TDISPATCH" --once job.ini --set "dst_db=host=127.0.0.1 port=$PGPORT user=postgres dbname=$DST keepalives_idle=abc"
	expect_match err "invalid integer value"
}

case_bad_connection_value_at_reload() {
	orders_pair
	start job.ini
	within 10 test -s job.pid
	config "dst_db=dbname=$DST sslmode=bogus"
	kill -HUP "$PID"
	within 5 grep -q "not reloaded.*sslmode" bg.err
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	config pidfile=other.pid
	kill -HUP "$PID"
	within 5 grep -q "pidfile stays job.pid" bg.err
	kill -TERM "$PID"
	expect_end 0 5
}

# Seconds between the log's tries to connect, to a tenth.
pauses() {
	grep 'cannot connect' bg.err | sed 's/^[^ ]* \([0-9]*\):\([0-9]*\):\([0-9]*\),\([0-9]*\) .*/\1 \2 \3 \4/' |
		awk '{ t = ($1 * 60 + $2) * 60 + $3 + $4 / 1000; if (NR > 1) printf "%.1f ", t - last; last = t }'
}

tries_are() {
	[ "$(grep -c 'cannot connect' bg.err)" -ge "$1" ]
}

# Pauses begin with half a second to one and grow, to three here; one warning in all.
case_pauses_grow() {
	local all
	orders_pair exception_sleep=1
	start -v job.ini --set "dst_db=host=$WORK/nowhere dbname=x"
	within 30 tries_are 4
	kill -TERM "$PID"
	expect_end 0 5
	expect_eq "$(grep -c WARNING bg.err)" 1 "warnings"
	all=$(pauses)
	told "pauses $all"
	awk '{ exit !(NF >= 3 && NF <= 9 && $3 >= 1.4) }' <<<"$all" || fail "pauses: $all"
}

# A trigger's words must not be taken for COPY's: neither table nor column of the other one.
case_column_of_another_table() {
	local id
	orders_pair "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function f();"
	dst "create table audit (who text not null);
		create function f() returns trigger language plpgsql as
			\$\$ begin insert into audit values (nullif(new.note, 'n2')); return new; end \$\$"
	orders 1 3
	tick q
	id=$(src "select ev_id from pgq.event_template where ev_data like 'id=2&%'")
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of"
	expect_no_match err "orders_2026_01_31, column"
	dst "create or replace function f() returns trigger language plpgsql as
		\$\$ begin if new.id = 2 then raise exception 'no' using errcode = '22000', column = 'wrong', detail = 'COPY x, line 9, column other: 1'; end if; return new; end \$\$"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of"
	expect_no_match err "orders_2026_01_31, column"
}

case_table_is_not_there() {
	orders_pair part_template=
	orders 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'relation "orders_2026_01_31" does not exist .*; part_template is not set, so partitions must be there'
	expect_exit 1 "$TDISPATCH" --once job.ini --set part_field= --set dest_table=nothere
	expect_match err 'relation "nothere" does not exist .*dest_table must be there: create it'
	dst "create function f() returns trigger language plpgsql as \$\$ begin insert into audit values (1); return new; end \$\$;
		create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01');
		create trigger t before insert on orders_2026_01_31 for each row execute function f()"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'relation "audit" does not exist'
	expect_no_match err 'part_template'
}

case_column_is_named() {
	orders_pair
	event I:id 'id=abc&day=2026-01-31&note=a' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "partition orders_2026_01_31, column id[,:]"
}

# The log's disk is full: rows go on, and the log comes back with it.
case_log_disk_full() {
	strace -o /dev/null true 2>/dev/null || skip "strace does not work here"
	orders_pair logfile=job.log
	orders 1 3
	tick q
	ASAN_OPTIONS=detect_leaks=0 expect_exit 0 strace -f -o trace -P "$WORK/job.log" -e trace=write -e inject=write:error=ENOSPC "$STATIC" --once job.ini
	expect_rows 3
	grep -q 'ENOSPC.*INJECTED' trace || fail "no write was refused"
	expect_eq "$(wc -c <job.log)" 0
	orders 4 5
	tick q
	once
	expect_match job.log "rows=2"
}

# A server at work for a process that is gone notices that: the next one does not wait for its lock.
case_lock_goes_with_the_process() {
	local signal
	orders_pair "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function sleep_long();"
	dst "create function sleep_long() returns trigger language plpgsql as \$\$ begin perform pg_sleep(60); return new; end \$\$"
	[ "$(dst "show server_version_num")" -ge 140000 ] || skip "servers before 14 notice it only when they send"
	orders 1 3
	tick q
	for signal in TERM KILL; do
		start job.ini
		within 20 asleep 1
		kill -$signal "$PID"
		wait "$PID" || :
		within 10 dst_gives 0 "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"
	done
	dst "create or replace function sleep_long() returns trigger language plpgsql as \$\$ begin return new; end \$\$"
	once
	expect_rows 3
}

# ---- whose fault it is

# Two events for orders_2026_01_31, which the case makes, are to be skipped if bad.
refusing_target() {
	orders_pair on_error=skip part_template= exception_sleep=0.2
	install --set on_error=dead_letter
	orders 1 2
	tick q
	TICK=$(completed_tick)
}

# Each way of running it leaves the events where they are; $1: what it says.
expect_refused() {
	local how
	for how in skip dead_letter stop; do
		LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini --set on_error=$how
		expect_match err "ERROR .*$1"
		expect_no_match err "event [0-9]|skipped"
	done
	expect_eq "$(completed_tick)" "$TICK" "the target's tick"
}

# A table that refuses each COPY, and waits for somebody to mend it: then the rows come.
case_row_level_security() {
	local how role=reader_$CASE
	refusing_target
	sql postgres <<<"create role \"$role\" login"
	dst "create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01');
		alter table orders_2026_01_31 enable row level security;
		create policy p on orders_2026_01_31 using (true) with check (true);
		grant insert on orders_2026_01_31 to \"$role\"; grant usage on schema pgq_ext, public to \"$role\""
	config on_error=skip part_template= exception_sleep=0.2 "dst_db=dbname=$DST user=$role"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^WRONG .*orders_2026_01_31 takes no COPY: it has row-level security for role"
	for how in skip stop; do
		LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini --set on_error=$how
		expect_match err "ERROR .*table orders_2026_01_31 takes no rows: .*row-level security"
	done
	expect_eq "$(completed_tick)" "$TICK" "the target's tick"
	start job.ini
	within 10 grep -q "row-level security.*trying again" bg.err
	dst "alter role \"$role\" bypassrls"
	within 10 dst_gives 2 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	expect_exit 0 "$TDISPATCH" --check job.ini
	dst "alter table orders enable row level security; alter role \"$role\" nobypassrls; alter table orders_2026_01_31 disable row level security"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "^warning .*orders has row-level security"
}

case_view_takes_no_rows() {
	refusing_target
	dst "create view orders_2026_01_31 as select * from orders"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^WRONG .*orders_2026_01_31 takes no COPY: it is a view"
	expect_refused "orders_2026_01_31 takes no rows: .*SQLSTATE 42809"
	dst "create table put (like orders);
		create function put() returns trigger language plpgsql as \$\$ begin insert into put values (new.*); return new; end \$\$;
		create trigger put instead of insert on orders_2026_01_31 for each row execute function put()"
	expect_exit 0 "$TDISPATCH" --check job.ini
	once
	expect_rows 2 put
}

# The server finds out only after it asked for rows.
case_foreign_table_takes_no_rows() {
	refusing_target
	dst "create extension file_fdw" 2>/dev/null || skip "no file_fdw"
	dst "create server files foreign data wrapper file_fdw;
		create foreign table orders_2026_01_31 (id int, day date, note text) server files options (filename '/dev/null')"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^WRONG .*orders_2026_01_31 takes no COPY: it is a foreign table"
	expect_refused "orders_2026_01_31 takes no rows: .*cannot insert into foreign table"
}

case_foreign_table_that_is_not_updatable() {
	refusing_target
	dst "create extension postgres_fdw" 2>/dev/null || skip "no postgres_fdw"
	dst "create server far foreign data wrapper postgres_fdw options (updatable 'false');
		create user mapping for public server far;
		create foreign table orders_2026_01_31 (id int, day date, note text) server far"
	expect_refused "orders_2026_01_31 takes no rows: .*does not allow inserts.*SQLSTATE 55000"
}

# A trigger for each statement speaks of the table, whatever rows come.
case_statement_trigger_refuses() {
	refusing_target
	dst "create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01');
		create function closed() returns trigger language plpgsql as \$\$ begin raise exception 'closed today'; end \$\$;
		create trigger closed before insert on orders_2026_01_31 execute function closed()"
	expect_refused "orders_2026_01_31 takes no rows: .*closed today.*SQLSTATE P0001"
	dst "drop trigger closed on orders_2026_01_31;
		create trigger closed after insert on orders_2026_01_31 execute function closed()"
	expect_refused "orders_2026_01_31 takes no rows: .*closed today.*SQLSTATE P0001"
}

case_sequence_at_its_end() {
	refusing_target
	dst "create sequence few maxvalue 2; select setval('few', 2);
		create table orders_2026_01_31 (id int, day date, note text, n int default nextval('few'))"
	expect_refused "orders_2026_01_31 takes no rows: .*SQLSTATE 2200H"
}

# What no value can be the cause of, though it answers rows.
case_no_event_is_skipped_for() {
	local code
	failing_target on_error=skip
	orders 1 3
	tick q
	for code in 0A000 55000 55006 2F003 2F002 HV000 HV00N 25001 2D000 F0000 XX000 58030; do
		dst "update fault set code = '$code'"
		LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini
		expect_match err "ERROR .*SQLSTATE $code"
		expect_no_match err skipped
		expect_rows 0
	done
	dst "update fault set code = '00000'"
	once
	expect_rows 3
}

# A server that lacks locks for a batch of many ticks says how to have more; one tick at a time it has enough.
case_too_many_locks() {
	local i
	orders_pair exception_sleep=0.2 retry_limit=1
	dst "create function few() returns trigger language plpgsql as \$\$ begin
		if new.subconsumer_id = '' and new.last_tick_id > old.last_tick_id + 1 then
			raise exception 'out of shared memory' using errcode = '53200', hint = 'You might need more locks.';
		end if; return new; end \$\$;"
	orders 1 1
	tick q
	once
	dst "create trigger few before update on pgq_ext.completed_tick for each row execute function few()"
	for i in 2 3 4; do
		orders $i $i
		tick q
	done
	once
	expect_match err "WARNING .*ticks .* is too large: .*SQLSTATE 53200\); the server's hint: You might need more locks\.; going tick by tick"
	expect_rows 4
}

# The same for a batch that the queue has open already.
case_too_many_locks_in_an_open_batch() {
	local i
	orders_pair exception_sleep=0.2 retry_limit=1
	orders 1 1
	tick q
	once
	dst "create function few() returns trigger language plpgsql as \$\$ begin
		if new.subconsumer_id = '' and new.last_tick_id > old.last_tick_id + 1 then raise exception 'out of shared memory' using errcode = '53200'; end if;
		return new; end \$\$;
		create trigger few before update on pgq_ext.completed_tick for each row execute function few()"
	for i in 2 3 4; do
		orders $i $i
		tick q
	done
	src "select pgq.next_batch_custom('q', 'job', null, (select max(tick_event_seq)::int from pgq.tick) -
		(select t.tick_event_seq::int from pgq.tick t join pgq.subscription on tick_id = sub_last_tick), null)" >/dev/null
	once --set batch_min_events=0
	expect_match err "going tick by tick"
	expect_rows 4
	dst "create or replace function few() returns trigger language plpgsql as \$\$ begin
		raise exception 'out of shared memory' using errcode = '53200', hint = 'Have more.'; end \$\$"
	orders 5 5
	tick q
	LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "ERROR .*the server's hint: Have more"
	expect_no_match err "tick by tick"
}

# No slot is free: as good as no server.
case_no_free_slot() {
	local role=few_$CASE
	orders_pair part_template= retry_limit=30
	sql postgres <<<"create role \"$role\" login connection limit 1"
	dst "create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01');
		grant insert on orders_2026_01_31 to \"$role\"; grant usage on schema pgq_ext, public to \"$role\""
	PGUSER=$role "$PGBIN/psql" -qAtX -d "$DST" -c "select pg_sleep(600)" >/dev/null 2>&1 &
	STARTED+=($!)
	within 5 asleep 1
	orders 1 3
	tick q
	LIMIT=20 expect_exit 1 "$TDISPATCH" --once job.ini --set "dst_db=dbname=$DST user=$role" --set retry_limit=2
	expect_match err "cannot connect to dst_db.*53300"
	expect_eq "$(grep -c WARNING err)" 1 "warnings"
	start --once job.ini --set "dst_db=dbname=$DST user=$role"
	within 10 grep -q "53300.*trying again" bg.err
	end_sleepers
	expect_end 0 20
	expect_rows 3
}

# Somebody changes the parent's rights at the moment when it gets a partition.
case_parent_changes_meanwhile() {
	orders_pair "part_template=$ATTACH"
	orders 1 3
	tick q
	hold "grant select on orders to public"
	start job.ini
	within 10 dst_gives 1 "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
	sql "$DST" <<<"select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()" >/dev/null
	within 20 dst_gives 3 "select count(*) from orders"
	expect_no_match bg.err ERROR
	kill -TERM "$PID"
	expect_end 0 5
}

# A catalog's own words while a partition is made, by a template that says them.
case_catalog_race_while_creating() {
	local word
	orders_pair "part_template=$PARTITION_OF select race();"
	dst "create table race (word text, n int); create function race() returns void language plpgsql as \$\$ declare w text; begin
		if nextval('raced') = 1 then select word into w from race; raise exception '%', w using errcode = 'XX000'; end if; end \$\$;
		create sequence raced"
	for word in "tuple concurrently updated" "cache lookup failed for relation 7" "could not open relation with OID 7"; do
		dst "truncate race; insert into race values ('$word'); alter sequence raced restart; drop table if exists orders_2026_01_31"
		orders 1 1
		src "delete from orders"
		tick q
		once
		expect_match err "WARNING .*$word.*trying again"
	done
}

# Who has the lock on the position is named.
case_who_loads_already() {
	local pid
	orders_pair "part_template=$PARTITION_OF $SLOW" pidfile=
	slow_target 600
	orders 1 1
	tick q
	start job.ini
	within 20 asleep 1
	pid=$(dst "select pid from $ADVISORY")
	expect_exit 1 "$TDISPATCH" --once job.ini --set retry_limit=1
	expect_match err "another process loads for consumer job at this moment: server process $pid \(tdispatch, active, waits for Timeout PgSleep\)"
}

run_cases
