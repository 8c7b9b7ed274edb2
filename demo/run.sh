#!/bin/bash
# Shows tdispatch at work: a throw-away PostgreSQL with PgQ, a table whose changes go into a
# queue, a live stream of orders, and the partitions that fill up on the other side. Takes about
# half a minute, leaves nothing behind. To be run by `make demo`.

cd "$(dirname "$0")/.." || exit 2
TDISPATCH=$(readlink -f "${TDISPATCH:-tdispatch}")
RUN_S=20        # seconds that the stream runs
KILL_S=10       # when tdispatch is killed without warning

. test/cluster.sh

# Each argument a line.
lines() {
	printf '%s\n' "$@"
}

headline() {
	lines "" "== $*" ""
}

# Prints a command as a person would type it, then runs it.
type_and_run() {
	say "\$ ${*/#$TDISPATCH/./tdispatch}"
	"$@"
}

# The stream and the ticker end by themselves when their file is gone.
end_demo() {
	trap - EXIT
	cd /
	[ -z "${JOB:-}" ] || kill "$JOB" 2>/dev/null
	cluster_stop
	wait 2>/dev/null
}

make_databases() {
	SRC=shop DST=archive
	sql postgres <<<"create database shop; create database archive"
	src "set client_min_messages = warning; create extension pgq"
}

source_sql() {
	cat <<-'END'
		create table orders (id serial primary key, order_date timestamptz, customer text, amount numeric, status text);
		create trigger to_queue after insert or update or delete on orders
		    for each row execute function pgq.logutriga('orderq');
	END
}

target_sql() {
	cat <<-'END'
		create table orders (id int, order_date timestamptz, customer text, amount numeric, status text)
		    partition by range (order_date);
	END
}

config() {
	cat <<-'END'
		[table_dispatcher]
		job_name      = demo
		src_db        = dbname=shop
		dst_db        = dbname=archive
		queue_name    = orderq
		logfile       = %(job_name)s.log
		pidfile       = %(job_name)s.pid
		loop_delay    = 0.2

		dest_table    = orders
		fields        = *
		part_field    = order_date
		part_method   = daily
		part_timezone = UTC
		part_template =
		    create table _DEST_TABLE partition of _PARENT
		        for values from (_PART_START) to (_PART_END);
		    create index on _DEST_TABLE (id);
	END
}

set_up() {
	headline "a source table whose changes go into a queue, in database shop"
	source_sql | tee source.sql
	sql "$SRC" <source.sql
	headline "an empty parent table, in database archive"
	target_sql | tee target.sql
	sql "$DST" <target.sql
	headline "the config file, demo.ini"
	config | tee demo.ini
	headline "the queue, the consumer and the target's pgq_ext are made once"
	type_and_run "$TDISPATCH" --install demo.ini
	src "select pgq.set_queue_config('orderq', 'ticker_max_lag', '0.3 seconds')" >/dev/null
}

# Orders of a shop where a day lasts two seconds: new ones, and old ones that are paid.
stream() {
	local i
	for ((i = 0; ; i++)); do
		[ -e stream.on ] || break
		say "insert into orders (order_date, customer, amount, status)
			select timestamptz '2026-03-01 00:00+00' + $i * interval '1 hour 12 minutes', 'customer ' || (random() * 99)::int, (random() * 500)::numeric(8, 2), 'new'
			from generate_series(1, 5 + (random() * 30)::int);
			update orders set status = 'paid' where id in (select id from orders where status = 'new' order by id limit 12);"
		sleep 0.1
	done | sql "$SRC"
}

# What the daemon pgqd does in real life: cuts the queue into batches.
ticker() {
	while [ -e ticker.on ]; do
		say "select pgq.ticker();"
		sleep 0.25
	done | sql "$SRC" >/dev/null
}

start_job() {
	say "\$ ./tdispatch demo.ini &"
	"$TDISPATCH" demo.ini 2>>err &
	JOB=$!
}

partition_names() {
	dst "select c.relname from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'orders'::regclass order by 1"
}

# One line about now: changes at the source, rows at the target, lag, and partitions that are new.
show_now() {
	local names new
	names=$(partition_names)
	new=$(comm -13 <(say "$SEEN") <(say "$names") | tr '\n' ' ')
	SEEN=$names
	printf '%4d s   %6d changes   %6d rows   lag %4.1f s   %s\n' "$1" \
		"$(src "select count(*) from pgq.event_1")" "$(dst "select count(*) from orders")" \
		"$(src "select extract(epoch from lag)::numeric(6, 1) from pgq.get_consumer_info('orderq', 'demo')")" "${new:+new: $new}"
}

kill_job() {
	lines "" "Now the worst: kill -9 in the middle of the work, and the same command again." "" "\$ kill -9 $JOB"
	kill -9 "$JOB"
	wait "$JOB" 2>/dev/null
	start_job
	lines ""
}

watch_stream() {
	local start=$SECONDS killed=
	SEEN=
	headline "orders stream in; in this shop a day lasts two seconds"
	touch stream.on ticker.on
	stream 2>/dev/null &
	STREAM=$!
	ticker 2>/dev/null &
	start_job
	lines ""
	while ((SECONDS - start < RUN_S)); do
		sleep 1
		show_now $((SECONDS - start))
		if [ -z "$killed" ] && ((SECONDS - start >= KILL_S)); then
			kill_job
			killed=1
		fi
	done
}

# The stream ends, what is left is loaded, the program stopped as its user would.
finish() {
	rm stream.on
	wait "$STREAM"
	src "select pgq.force_tick('orderq'); select pgq.ticker('orderq')" >/dev/null
	for _ in $(seq 50); do
		[ "$(src "select count(*) from pgq.event_1")" != "$(dst "select count(*) from orders")" ] || break
		sleep 0.1
	done
	headline "the stream is over; stopping"
	type_and_run "$TDISPATCH" -s demo.ini
	wait "$JOB"
	lines "" "It exited with code $?. The last lines of its log:" ""
	tail -n 3 demo.log
}

show_result() {
	headline "what is in the archive: every change a row, every day a partition"
	dst "select rpad(tableoid::regclass::text, 20) || lpad(count(*)::text, 7) || ' rows   ' || repeat('#', (count(*) / 12)::int)
		from orders group by tableoid order by tableoid::regclass::text"
	local changes rows
	changes=$(src "select count(*) from pgq.event_1")
	rows=$(dst "select count(*) from orders")
	[ "$changes" = "$rows" ] || die "$changes changes went into the queue, but $rows rows are in the partitions"
	lines "" "$changes changes went into the queue, $rows rows are in the partitions: nothing lost, nothing doubled."
}

whats_next() {
	headline "what to try next"
	lines "./tdispatch --ini > my.ini            a commented config to start from" \
		"./tdispatch --check my.ini            what is there and what is missing, nothing is changed" \
		"./tdispatch --install my.ini          makes the queue, the consumer and the target's pgq_ext" \
		"./tdispatch -d my.ini                 runs in the background; -s stops it, -r reloads" \
		"./tdispatch --help                    all switches" \
		"" "The server of this demo is gone and its files with it."
}

main() {
	[ -x "$TDISPATCH" ] || die "no program to show: run make demo"
	test/install.sh || exit
	trap end_demo EXIT
	trap 'exit 130' INT TERM
	say "starting a throw-away PostgreSQL ..."
	cluster_start
	cd "$CLUSTER" || exit 1
	make_databases
	set_up
	watch_stream
	finish
	show_result
	whats_next
}

main
