#!/bin/bash
# The story in 20 seconds and 80 columns: an empty parent table, a stream of orders, ticks,
# partitions that appear, a kill -9, equal sums; and an insert, an update and a delete, which
# are rows too. To be run by `make demo`.
#
#	demo/run.sh                  starts a throw-away PostgreSQL, which stays to be played with
#	demo/run.sh --clean FOLDER   ends it, and removes its folder

cd "$(dirname "$0")/.." || exit 2
TDISPATCH=$(readlink -f "${TDISPATCH:-tdispatch}")
RUN_S=${RUN_S:-12}      # seconds that the stream runs
KILL_S=$((RUN_S / 2))   # when tdispatch is killed without warning

. test/cluster.sh

headline() {
	printf '\n== %s\n\n' "$*"
}

# Prints a command as a person would type it, then runs it.
type_and_run() {
	say "\$ ${*/#$TDISPATCH/tdispatch}"
	"$@"
}

# After an error or Ctrl-C nothing stays. The stream ends when its file is gone.
end_demo() {
	trap - EXIT
	cd /
	[ -z "${JOB:-}" ] || kill "$JOB" 2>/dev/null
	cluster_stop
	wait 2>/dev/null
}

source_sql() {
	cat <<-'END'
		create table orders (id serial primary key, order_date timestamptz,
		    customer text, amount numeric);
		create trigger to_queue after insert or update or delete on orders
		    for each row execute function pgq.logutriga('orders');
	END
}

target_sql() {
	cat <<-'END'
		create table orders (id int, order_date timestamptz,
		    customer text, amount numeric, op text, ev_id bigint)
		    partition by range (order_date);
	END
}

config() {
	cat <<-END
		[tdispatch]
		job_name      = demo
		src_db        = host=$CLUSTER port=$PGPORT user=postgres dbname=shop
		dst_db        = host=$CLUSTER port=$PGPORT user=postgres dbname=archive
		queue_name    = orders
		ticker        = 1
		ticker_period = 0.25
		pidfile       = %(config_dir)s/demo.pid
		logfile       = %(config_dir)s/demo.log
		dest_table    = orders
		fields        = *, _OP:op, _EVID:ev_id
		part_field    = order_date
		part_timezone = UTC
		part_template =
		    create table _DEST_TABLE (like _PARENT);
		    alter table _PARENT attach partition _DEST_TABLE
		        for values from (_PART_START) to (_PART_END);
	END
}

set_up() {
	SRC=shop DST=archive
	sql postgres <<<"create database shop; create database archive"
	src "set client_min_messages = warning; create extension pgq"
	headline "database shop: a table; its trigger puts each change into a queue"
	source_sql | tee source.sql
	sql shop <source.sql
	headline "database archive: an empty parent, with no partition"
	target_sql | tee target.sql
	sql archive <target.sql
	headline "demo.ini: what goes where, and the SQL that makes a partition"
	config >demo.ini
	sed -n '/^queue_name/p; /^dest_table/,$p' demo.ini
	headline "queue, consumer and the place for the position are made once"
	type_and_run "$TDISPATCH" --install demo.ini | fold -s -w 80
	src "select pgq.set_queue_config('orders', 'ticker_max_lag', '0.3 seconds')" >/dev/null
}

# Orders of a shop where a day lasts two seconds.
stream() {
	local i
	for ((i = 0; ; i++)); do
		[ -e stream.on ] || break
		say "insert into orders (order_date, customer, amount)
			select timestamptz '2026-03-01 00:00+00' + $i * interval '1 hour 12 minutes', 'customer ' || (random() * 99)::int, (random() * 500)::numeric(8, 2)
			from generate_series(1, 20 + (random() * 60)::int);"
		sleep 0.1
	done | sql shop
}

start_job() {
	say "\$ tdispatch demo.ini &"
	"$TDISPATCH" demo.ini 2>>err &
	JOB=$!
}

partition_names() {
	dst "select substr(c.relname, 8) from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'orders'::regclass order by 1"
}

# One line about now; partitions that are new are named.
show_now() {
	local names new
	names=$(partition_names)
	new=$(comm -13 <(say "$SEEN") <(say "$names") | tr '\n' ' ')
	SEEN=$names
	printf '%4d s  %8d  %8d  %5d   %s\n' "$1" "$(src "select count(*) from orders")" "$(dst "select count(*) from orders")" \
		"$(src "select count(*) from pgq.tick")" "${new:+new: $new}"
}

kill_job() {
	printf '\nNow the worst: kill -9 in the middle of the work, and the same command again.\n\n$ kill -9 %d\n' "$JOB"
	kill -9 "$JOB"
	wait "$JOB" 2>/dev/null
	start_job
	say ""
}

watch_stream() {
	local start=$SECONDS killed=
	SEEN=
	headline "orders stream in; in this shop a day lasts two seconds"
	touch stream.on
	stream 2>/dev/null &
	STREAM=$!
	start_job
	printf '\n            orders   archived  ticks   partitions\n'
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
	"$TDISPATCH" --tick demo.ini >/dev/null
	for _ in $(seq 50); do
		[ "$(src "select count(*) from orders")" != "$(dst "select count(*) from orders")" ] || break
		sleep 0.1
	done
	headline "the stream is over"
	type_and_run "$TDISPATCH" -s demo.ini
	wait "$JOB"
	JOB=
}

sums() {
	sql "$1" <<<"select rpad('$1', 10) || lpad(count(*)::text, 8) || ' orders' || lpad(sum(amount)::text, 14) from orders"
}

show_result() {
	dst "select '  ' || tableoid::regclass || lpad(count(*)::text, 6) || ' ' || repeat('#', (count(*) / 25)::int)
		from orders group by tableoid order by tableoid::regclass::text"
	say ""
	sums shop
	sums archive
	[ "$(sums shop | cut -c 11-)" = "$(sums archive | cut -c 11-)" ] || die "the sums differ"
	say "Equal: nothing lost, nothing doubled."
}

# type_sql DATABASE SQL
type_sql() {
	say "\$ psql $1 -c \"$2\"" | fold -s -w 78 | sed '2,$s/^/  /'
	PGOPTIONS=-ctimezone=UTC "$PGBIN/psql" -X -d "$1" -c "$2"
}

# One order's life: three events, which are three rows.
show_changes() {
	headline "each event tells what it was: op is I, U or D"
	type_sql shop "insert into orders values (0, '2026-03-01', 'Ann', 10)"
	type_sql shop "update orders set amount = 20 where id = 0"
	type_sql shop "delete from orders where id = 0"
	type_and_run "$TDISPATCH" -q --once --tick demo.ini
	type_sql archive "select tableoid::regclass, id, amount, op from orders where id = 0 order by ev_id"
}

# whats_next FOLDER
whats_next() {
	headline "to play with: server and config stay, in $1"
	say "export PGHOST=$CLUSTER PGPORT=$PGPORT PGUSER=postgres" >demo.env
	cat <<-END
		. $1/demo.env
		psql shop -c "insert into orders (order_date, amount) values (now(), 1)"
		./tdispatch --once --tick --set logfile= $1/demo.ini
		psql archive -c "select tableoid::regclass, * from orders where amount = 1"
		./tdispatch --status $1/demo.ini

		To end the server and remove the folder:

		demo/run.sh --clean $1
	END
}

# clean FOLDER: one that a demo left.
clean() {
	CLUSTER=$1
	[ -f "$CLUSTER/demo.ini" ] && [ -d "$CLUSTER/data" ] || die "$CLUSTER is no folder of a demo"
	PGBIN=$(find_pgbin)
	[ ! -e "$CLUSTER/demo.pid" ] || "$TDISPATCH" -k "$CLUSTER/demo.ini" 2>/dev/null
	cluster_stop
}

main() {
	[ -x "$TDISPATCH" ] || die "no program to show: run make demo"
	[ "${1:-}" != --clean ] || { clean "$2"; exit; }
	test/install.sh || exit
	trap end_demo EXIT
	trap 'exit 130' INT TERM
	say "starting a throw-away PostgreSQL ..."
	cluster_start
	cd "$CLUSTER" || exit 1
	set_up
	watch_stream
	finish
	show_result
	show_changes
	whats_next "$CLUSTER"
	trap - EXIT
}

main "$@"
