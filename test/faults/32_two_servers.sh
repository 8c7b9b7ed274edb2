# Source and target on servers of their own: one of them goes away in the middle of a batch.
. "$(dirname "$0")/../cases.sh"
. "$TOP/test/from.sh"

# A second cluster; ON_SOURCE and ON_TARGET say where psql finds each database.
second_cluster() {
	local first="PGHOST=$PGHOST PGPORT=$PGPORT" second
	cluster_start
	trap 'end_started; cluster_stop' EXIT
	cluster_templates
	second="PGHOST=$PGHOST PGPORT=$PGPORT"
	ON_SOURCE=$first ON_TARGET=$second
	[ "$1" = target ] || ON_SOURCE=$second ON_TARGET=$first
}

src() {
	env $ON_SOURCE "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$SRC" <<<"$1"
}

dst() {
	env $ON_TARGET "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$DST" <<<"$1"
}

new_pair() {
	SRC=$1_src DST=$1_dst
	env $ON_SOURCE "$PGBIN/psql" -qAtX -d postgres -c "create database \"$SRC\" template pgq_template"
	env $ON_TARGET "$PGBIN/psql" -qAtX -d postgres -c "create database \"$DST\""
}

# place WORDS...: "PGHOST=x PGPORT=y" as a connection string.
place() {
	say "$*" | sed 's/PGHOST=/host=/; s/PGPORT=/port=/'
}

# apart [KEY=VALUE]...: orders_pair over two servers.
apart() {
	orders_pair "src_db=$(place $ON_SOURCE) dbname=${CASE}_src" "dst_db=$(place $ON_TARGET) dbname=${CASE}_dst" "$@"
}

# restart SIDE MODE: that server alone, twice, while rows are under way.
restart() {
	local i
	second_cluster "$1"
	apart "part_template=$PARTITION_OF $SLOW" batch_min_events=0
	slow_target 0.001
	for i in 0 1 2 3 4 5 6 7 8 9; do
		src "insert into orders select i, date '2026-01-01' + i % 3, repeat('x', 5000) from generate_series($((i * 300 + 1)), $((i * 300 + 300))) i"
		tick q
	done
	start job.ini
	for i in 400 1200; do
		within 30 rows_are_coming $i
		cluster_ctl restart -m "$2"
	done
	within 60 dst_gives 3000 "select count(distinct id) from orders"
	expect_rows 3000
	expect_eq "$(dst "select string_agg(n::text, ' ') from (select count(*) n from orders group by tableoid) x")" "1000 1000 1000"
	kill -TERM "$PID"
	expect_end 0 5
}

case_target_fast() {
	restart target fast
}

case_target_immediate() {
	restart target immediate
}

case_source_fast() {
	restart source fast
}

case_source_immediate() {
	restart source immediate
}

# restart_copy SIDE MODE: that server alone, twice, in the middle of the copy of a table.
restart_copy() {
	second_cluster "$1"
	gated_pair "src_db=$(place $ON_SOURCE) dbname=${CASE}_src" "dst_db=$(place $ON_TARGET) dbname=${CASE}_dst"
	at_gate --from orders job.ini
	cluster_ctl restart -m "$2"
	gate
	within 60 at_the_gate
	cluster_ctl restart -m "$2"
	gate all
	expect_end 0 60
	expect_rows 1500
	same_content
}

case_copy_target_fast() {
	restart_copy target fast
}

case_copy_target_immediate() {
	restart_copy target immediate
}

# The snapshot goes with the source.
case_copy_source_fast() {
	restart_copy source fast
	expect_match bg.err 'the snapshot is lost, the copy goes on under a new one'
}

case_copy_source_immediate() {
	restart_copy source immediate
	expect_match bg.err 'the snapshot is lost, the copy goes on under a new one'
}

# A target that does not wait for its disk loses its last commits in a crash: the queue has
# finished the batch, the rows are gone. That is seen, and --rewind brings them again.
case_target_loses_its_last_commits() {
	local before tries=0
	second_cluster target
	apart
	dst "alter system set synchronous_commit = off; alter system set wal_writer_delay = '10s'"
	cluster_ctl restart -m fast
	orders 1 10
	tick q
	once
	before=$(completed_tick)
	until [ $tries -gt 0 ] && [ "$(completed_tick)" = "$before" ]; do
		[ $((++tries)) -le 5 ] || skip "this server lost nothing in five crashes"
		dst "checkpoint"
		before=$(completed_tick)
		orders $((tries * 10 + 1)) $((tries * 10 + 10))
		tick q
		once
		cluster_ctl stop -m immediate
		cluster_ctl start
	done
	expect_rows $((tries * 10))
	orders 1001 1010
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "lost position.*--rewind"
	expect_rows $((tries * 10))
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	once
	expect_rows $((tries * 10 + 20))
}

# A commit that waits for a standby which does not answer is given up by server_timeout, but not by the
# server: its process has the position locked, and is named.
case_commit_waits_for_a_standby() {
	local pid
	second_cluster target
	apart server_timeout=3
	orders 1 3
	tick q
	once
	dst "alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()"
	orders 4 6
	tick q
	start job.ini
	within 20 dst_gives 1 "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
	pid=$(dst "select pid from pg_stat_activity where wait_event = 'SyncRep'")
	within 30 grep -q "WARNING .*: an earlier connection of this process still loads for consumer job: server process $pid (tdispatch, active, waits for IPC SyncRep), which has committed and waits for a synchronous standby; trying again" bg.err
	expect_exit 1 "$TDISPATCH" --once job.ini --set pidfile= --set retry_limit=1
	expect_match err "another process loads for consumer job at this moment: server process $pid .*waits for a synchronous standby"
	PGOPTIONS="-c synchronous_commit=local" dst "alter system set synchronous_standby_names = ''; select pg_reload_conf()"
	within 20 grep -q "working again" bg.err
	expect_rows 6
	kill -TERM "$PID"
	expect_end 0 5
}

# More partitions in one batch than the target has locks for: for real.
case_lock_table_is_full() {
	local i
	second_cluster target
	apart part_method=hourly exception_sleep=0.2
	dst "alter table orders rename to old; create table orders (id int, day timestamp, note text) partition by range (day)"
	src "select pgq.insert_event('q', 'I:id', 'id=0&day=2026-01-01&note=x')" >/dev/null
	tick q
	once
	dst "alter system set max_locks_per_transaction = 10; alter system set max_connections = 20"
	cluster_ctl restart -m fast
	for i in {1..20}; do
		src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=' || timestamp '2026-01-01' + i * interval '1 hour' || '&note=x'))
			from generate_series($((i * 100 + 1)), $((i * 100 + 100))) i" >/dev/null
		tick q
	done
	LIMIT=200 once
	expect_match err "is too large: .*SQLSTATE 53200\); the server's hint: You might need to increase .*max_locks_per_transaction.*going tick by tick"
	dst "alter system reset all"
	cluster_ctl restart -m fast
	expect_rows 2001
	expect_eq "$(dst "select count(*) from (select tableoid from orders group by tableoid) x")" 2001
}

# A standby of the target's server, under $STANDBY.
standby_of_target() {
	STANDBY=$WORK/standby
	mkdir "$STANDBY"
	chown --reference="$CLUSTER/data" "$STANDBY"
	chmod 700 "$STANDBY"
	as_owner env PGHOST="$CLUSTER" "$PGBIN/pg_basebackup" -D "$STANDBY/data" -c fast -X stream -R -U postgres >/dev/null
	chmod 755 "$STANDBY" "$WORK"
	as_owner sed -i "s#^unix_socket_directories.*#unix_socket_directories = '$STANDBY'#; s#^listen_addresses.*#listen_addresses = ''#" \
		"$STANDBY/data/postgresql.conf"
	(cd / && as_owner "$PGBIN/pg_ctl" -D "$STANDBY/data" -l "$STANDBY/log" -s -w -t 60 start </dev/null)
	trap 'end_started; as_owner "$PGBIN/pg_ctl" -D "$STANDBY/data" -s -m immediate stop; cluster_stop' EXIT
}

# New connections meet a standby, as during a failover, while the old ones still have the primary: the
# one that is to create a partition too. It is waited out, nothing is the template's fault. A standby
# also lacks what the role's settings ask for.
case_standby_for_new_connections() {
	local id=0 setting word
	second_cluster target
	apart
	standby_of_target
	ln -s "$CLUSTER" now
	config "src_db=$(place $ON_SOURCE) dbname=$SRC" exception_sleep=0.2 \
		"dst_db=host=$WORK/now port=${ON_TARGET##*PGPORT=} user=postgres dbname=$DST"
	start job.ini
	for setting in "read committed" serializable; do
		dst "alter database \"$DST\" set default_transaction_isolation = '$setting'"
		word=read-only
		[ "$setting" != serializable ] || word="serializable mode"
		id=$((id + 1))
		within 10 dst_gives $((id - 1)) "select count(*) from orders"
		ln -sfn "$STANDBY" now
		[ $id = 1 ] || dst "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tdispatch'" >/dev/null
		orders $id $id 2026-02-0$id
		tick q
		within 20 grep -q "WARNING .*$word.*trying again" bg.err
		expect_exit 1 "$TDISPATCH" --once job.ini --set pidfile= --set retry_limit=1
		expect_match err "$word"
		ln -sfn "$CLUSTER" now
		within 20 dst_gives $id "select count(*) from orders"
	done
	expect_no_match bg.err ERROR
	kill -TERM "$PID"
	expect_end 0 5
	expect_rows 2
}

run_cases
