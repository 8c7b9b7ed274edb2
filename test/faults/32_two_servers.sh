# Source and target on servers of their own: one of them goes away in the middle of a batch.
. "$(dirname "$0")/../cases.sh"

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

run_cases
