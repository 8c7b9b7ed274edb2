# Memory, encodings, what a DBA may have set, TLS and passwords.
. "$(dirname "$0")/../cases.sh"

# Largest resident size of a running process in KiB, as long as it runs.
watch_memory() {
	local kb
	PEAK=0
	while kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null) && [ -n "$kb" ]; do
		PEAK=$kb
		sleep 0.02
	done
}

# under_16_mb PROGRAM-ARGS...: on the static binary.
under_16_mb() {
	[ "$STATIC" != "$TDISPATCH" ] || [[ $STATIC == */tdispatch ]] || skip "no static ./tdispatch"
	PROGRAM=$STATIC
	start "$@"
	watch_memory "$PID"
	expect_end 0 60
	[ "$PEAK" -gt 0 ] || fail "no memory was seen"
	[ "$PEAK" -lt 16384 ] || fail "$PEAK KiB resident"
}

case_memory_of_a_large_batch() {
	orders_pair
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-' || i % 10 + 10 || '&note=some+text+of+no+meaning+' || i))
		from generate_series(1, 300000) i" >/dev/null
	tick q
	under_16_mb --once job.ini
	expect_rows 300000
	expect_eq "$(dst "select count(*), min(n), max(n) from (select tableoid, count(*) n from orders group by 1) x")" "10|30000|30000"
}

case_memory_over_many_partitions() {
	interleaved_batch 60000 300
	under_16_mb --once job.ini
	expect_rows 60000
}

case_memory_with_a_slow_target() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.0001
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-31&note=' || repeat('x', 5000))) from generate_series(1, 4000) i" >/dev/null
	tick q
	under_16_mb --once job.ini
	expect_rows 4000
}

# latin1_pair [KEY=VALUE]...: a LATIN1 source; the target is UTF-8.
latin1_pair() {
	new_pair "$CASE"
	sql postgres <<-END
		drop database "$SRC";
		create database "$SRC" encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0;
	END
	src "set client_min_messages = warning; create extension pgq; set client_encoding = 'UTF8';
		create table orders (id int primary key, day date, \"größe\" text);
		select pgq.create_queue('q');
		create trigger t after insert on orders for each row execute function pgq.logutriga('q')" >/dev/null
	config "$@"
	install
	src "set client_encoding = 'UTF8'; insert into orders values (1, '2026-01-31', 'ä÷ÿ¡')"
	tick q
}

case_latin1_source() {
	latin1_pair
	dst "create table orders (id int, day date, \"größe\" text) partition by range (day)"
	once
	expect_eq "$(dst "select \"größe\" from orders")" "ä÷ÿ¡"
}

# Names of the config and of the events are in one SQL text, in the source's encoding.
case_latin1_source_utf8_config() {
	local switch
	latin1_pair
	for switch in --once --check --install; do
		expect_exit 1 "$TDISPATCH" $switch job.ini --set "fields=id, day, größe:höhe"
		cat out err >said
		expect_match said "fields has a character outside of ASCII.*LATIN1"
	done
}

case_settings_of_the_dba() {
	local db
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text, raw bytea, at timestamptz"
	dst "create table orders (id int, day date, note text, raw bytea, at timestamptz) partition by range (day)"
	for db in "$SRC" "$DST"; do
		sql postgres <<-END
			alter database "$db" set standard_conforming_strings = off;
			alter database "$db" set escape_string_warning = on;
			alter database "$db" set datestyle = 'SQL, DMY';
			alter database "$db" set intervalstyle = 'sql_standard';
			alter database "$db" set bytea_output = 'escape';
			alter database "$db" set search_path = 'pg_catalog';
			alter database "$db" set default_transaction_isolation = 'serializable';
			alter database "$db" set timezone = '<+05>-05';
			alter database "$db" set lc_messages = 'C';
			alter database "$db" set client_min_messages = 'debug1';
		END
	done
	config dest_table=public.orders "part_template=create table _DEST_TABLE (like _PARENT); -- it's \\ only a comment
		comment on table _DEST_TABLE is E'it''s \\\\ here';
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
	install
	src "set datestyle = 'ISO'; set standard_conforming_strings = on;
		insert into public.orders values (1, '2026-01-31', 'a\\b''c', '\\x00ff27', '2026-01-31 12:00+00')"
	tick q
	once
	expect_eq "$(dst "set datestyle = 'ISO'; set timezone = 'UTC'; set bytea_output = 'hex'; select * from public.orders")" \
		"1|2026-01-31|a\\b'c|\\x00ff27|2026-01-31 12:00:00+00"
}

case_evtime_whatever_the_datestyle() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, note text)"
	config part_field=_EVTIME fields=id,note "part_template=$INHERITS"
	install
	sql postgres <<<"alter database \"$SRC\" set datestyle = 'SQL, DMY'"
	orders 1 1
	src "update pgq.event_1 set ev_time = '2026-02-03 12:00:00+00'"
	tick q
	once
	expect_eq "$(partitions)" orders_2026_02_03
}

case_idle_in_transaction_timeout() {
	orders_pair
	sql postgres <<<"alter database \"$DST\" set idle_in_transaction_session_timeout = '700ms'"
	dst "begin; select count(*) from orders; select pg_sleep(3); commit" >/dev/null &
	within 5 asleep 1
	orders 1 10
	tick q
	once
	expect_no_match err 'idle|terminat|connection'
	expect_rows 10
}

case_statement_timeout() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.002
	sql postgres <<<"alter database \"$DST\" set statement_timeout = '500ms'"
	orders 1 600
	tick q
	once
	expect_no_match err 'WARNING|ERROR'
	expect_rows 600
}

# A role that owns its tables and nothing else.
case_small_rights() {
	orders_pair
	sql postgres <<-END
		drop role if exists small;
		create role small login;
		grant create on database "$DST" to small;
	END
	dst "drop schema pgq_ext cascade; alter table orders owner to small; grant create on schema public to small"
	src "grant pgq_admin to small"
	config "src_db=dbname=$SRC user=small" "dst_db=dbname=$DST user=small"
	install
	orders 1 5
	tick q
	once
	expect_rows 5
	src "revoke pgq_admin from small"
	dst "drop owned by small"
	sql postgres <<<"revoke create on database \"$DST\" from small; drop role small"
}

case_no_rights() {
	orders_pair
	sql postgres <<<"create role nobody_special login"
	dst "grant usage on schema pgq_ext to nobody_special; grant all on all tables in schema pgq_ext to nobody_special"
	orders 1 5
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set "dst_db=dbname=$DST user=nobody_special"
	expect_match err "denied|42501"
	expect_rows 0
}

# A database is frozen by default_transaction_read_only: nothing is written, and it goes on afterwards.
case_read_only_target() {
	orders_pair retry_limit=1
	orders 1 5
	tick q
	sql postgres <<<"alter database \"$DST\" set default_transaction_read_only = on"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'dst_db is read-only: default_transaction_read_only is on'
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'wrong.* dst_db is read-only'
	expect_eq "$(dst "select count(*) from pg_inherits") $(dst "select count(*) from orders")" "0 0"
	start job.ini
	within 10 grep -q 'read-only.*trying again' bg.err
	sql postgres <<<"alter database \"$DST\" set default_transaction_read_only = off"
	within 20 dst_gives 5 "select count(*) from orders"
	expect_eq "$(grep -c read-only bg.err)" 1 "lines about one state"
}

case_read_only_source() {
	orders_pair retry_limit=1
	orders 1 5
	tick q
	sql postgres <<<"alter database \"$SRC\" set default_transaction_read_only = on"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'read-only transaction'
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'wrong.* src_db is read-only'
	sql postgres <<<"alter database \"$SRC\" set default_transaction_read_only = off"
	once
	expect_rows 5
}

# A root folder with nothing in it but the program and its config.
case_empty_root() {
	[ "$(id -u)" = 0 ] || skip "only root can chroot"
	orders_pair pidfile= "src_db=host=127.0.0.1 port=$PGPORT user=postgres dbname=${CASE}_src" \
		"dst_db=host=127.0.0.1 port=$PGPORT user=postgres dbname=${CASE}_dst"
	orders 1 3
	tick q
	mkdir root
	cp "$STATIC" root/tdispatch
	cp job.ini root
	expect_exit 0 env -i "$(command -v chroot)" root /tdispatch --once /job.ini
	expect_rows 3
}

# Limits of the role and the database; both databases are on one server here.
case_number_of_connections() {
	local alone="select count(*) from pg_stat_activity where usename = '$CASE'"
	orders_pair retry_limit=1
	sql postgres <<<"create role \"$CASE\" login"
	install --grant "$CASE"
	config retry_limit=1 "src_db=dbname=$SRC user=$CASE" "dst_db=dbname=$DST user=$CASE"
	sql postgres <<<"alter role \"$CASE\" connection limit 2"
	orders 1 5
	tick q
	within 10 src_gives 0 "$alone"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +dst_db: a run needs 3 connections, and the role takes 2: ALTER ROLE'
	expect_match out '^not ready: 1 thing$'
	within 10 src_gives 0 "$alone"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'too many connections for role'
	within 10 src_gives 0 "$alone"
	expect_exit 1 "$TDISPATCH" --check job.ini --set "part_template=$ATTACH" --set lanes=2
	expect_match out 'a run needs 4 connections'
	within 10 src_gives 0 "$alone"
	expect_exit 0 "$TDISPATCH" --check job.ini --set "part_template=$ATTACH"
	within 10 src_gives 0 "$alone"
	once --set "part_template=$ATTACH"
	expect_rows 5
	sql postgres <<<"alter role \"$CASE\" connection limit 3"
	within 10 src_gives 0 "$alone"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out connections
	within 10 src_gives 0 "$alone"
	sql "dbname=$DST user=$CASE" <<<"select pg_sleep(600)" >/dev/null 2>&1 &
	within 5 asleep 1
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +dst_db: a run needs 3 connections, and the role has 2 of 3 to spare'
	end_sleepers
	sql postgres <<<"alter role \"$CASE\" connection limit -1; alter database \"$DST\" connection limit 1"
	within 10 src_gives 0 "$alone"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +dst_db: a run needs 2 connections, and the database takes 1: ALTER DATABASE'
	sql postgres <<<"alter database \"$DST\" connection limit -1"
}

pgbouncer_config() {
	cat <<-END
		[databases]
		* = host=$CLUSTER port=$PGPORT user=postgres
		[pgbouncer]
		listen_addr = 127.0.0.1
		listen_port = $1
		unix_socket_dir =
		auth_type = any
		auth_file = $WORK/users
		pool_mode = ${3:-transaction}
		default_pool_size = ${2:-5}
		$([ "$(id -u)" != 0 ] || echo "user = postgres")
	END
}

# start_pgbouncer [POOL_SIZE [POOL_MODE]]: on port BOUNCER.
start_pgbouncer() {
	local bin
	bin=$(command -v pgbouncer || ls /usr/sbin/pgbouncer 2>/dev/null) || skip "no pgbouncer"
	BOUNCER=$(free_port)
	echo '"postgres" ""' >users
	pgbouncer_config "$BOUNCER" "$@" >bouncer.ini
	chmod 755 .
	"$bin" -q "$WORK/bouncer.ini" >bouncer.log 2>&1 &
	STARTED+=($!)
	within 5 bouncer_is_up
}

bouncer_is_up() {
	! port_is_free "$BOUNCER"
}

# Two processes of one consumer, a pool that hands each transaction another connection.
case_pgbouncer_in_transaction_mode() {
	local i first
	start_pgbouncer
	orders_pair pidfile= "src_db=host=127.0.0.1 port=$BOUNCER user=postgres dbname=${CASE}_src" \
		"dst_db=host=127.0.0.1 port=$BOUNCER user=postgres dbname=${CASE}_dst" "part_template=$PARTITION_OF $SLOW"
	slow_target 0.0005
	for i in 0 1 2 3 4 5; do
		orders $((i * 200 + 1)) $((i * 200 + 200)) "2026-01-0$((i + 1))"
		tick q
	done
	start job.ini
	first=$PID
	start job.ini
	within 40 dst_gives 1200 "select count(distinct id) from orders"
	kill_quietly -TERM "$first" "$PID"
	within 5 process_gone "$first"
	within 5 process_gone "$PID"
	once
	expect_rows 1200
}

# A pool of two, which the copy has: the third connection, for sorting, is let in and then waits.
case_copy_by_a_small_pool() {
	new_pair "$CASE"
	start_pgbouncer 2 session
	src "create table orders (id int primary key, day date, note text);
		insert into orders select i, date '2026-01-10' + i % 100, 'n' || i from generate_series(1, 4000) i"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config queue_name= from_table=orders from_slice=65536 "src_db=host=127.0.0.1 port=$BOUNCER user=postgres dbname=${CASE}_src"
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_exit 0 "$TDISPATCH" --from orders job.ini -v
	expect_eq "$(grep -c 'pieces are sorted on one connection: .*no row' err)" 1
	expect_rows 4000
}

secure_config() {
	config "src_db=host=127.0.0.1 port=$PGPORT dbname=$SRC user=tls_role password='p:geheim@ 1\\'2' sslmode=verify-full sslrootcert=$WORK/server.crt" \
		"dst_db=postgresql://tls_role:p%3ageheim%40%201'2@127.0.0.1:$PGPORT/$DST?sslmode=require"
}

case_tls_and_scram() {
	secure_server
	orders_pair
	secure_config
	orders 1 5
	tick q
	expect_exit 0 "$STATIC" --once job.ini
	expect_rows 5
	src "insert into orders select i, '2026-01-31', repeat('x', 1000) from generate_series(6, 8000) i"
	tick q
	once
	expect_rows 8000
	expect_no_match err geheim
}

case_secrets_stay_secret() {
	secure_server
	orders_pair
	secure_config
	sed -i 's/geheim/geheimer/g' job.ini
	expect_exit 1 "$TDISPATCH" --once -v -v job.ini
	expect_match err "password authentication failed"
	expect_no_match err geheim
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_no_match err geheim
	expect_no_match out geheim
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_no_match out geheim
	expect_exit 2 "$TDISPATCH" --show-config job.ini --set "dst_db=postgresql://me:geheim@h:port:1/x?%zz"
	expect_no_match err geheim
}

run_cases
