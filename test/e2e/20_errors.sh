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
	orders_pair exception_sleep=0.2 "part_template=create table _DEST_TABLE (like _PARENT) tablespace small;
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
	mkdir small
	mount -t tmpfs -o size=2m,mode=777 tdispatch_test small 2>/dev/null || skip "no rights to mount"
	MOUNTED=$WORK/small
	trap 'end_started; sql postgres <<<"drop database \"$DST\" with (force)"; sql postgres <<<"drop tablespace small"; umount "$MOUNTED"' EXIT
	as_owner mkdir small/data
	sql postgres <<<"create tablespace small location '$WORK/small/data'"
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
			expect_match err "dst_db: (invalid|weak) "
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

run_cases
