# PgQue as the source: PgQ's functions in schema pgque. test/pgque.sh makes the stand-in.
. "$(dirname "$0")/../cases.sh"

# pgque_template: a database with the stand-in. The first case makes it.
pgque_template() {
	sql postgres <<<"select 1 from pg_database where datname = 'pgque_template'" | grep -q 1 && return
	sql postgres <<<"create database pgque_making"
	"$TOP/test/pgque.sh" >pgque.sql
	sql pgque_making <pgque.sql >/dev/null 2>pgque.err || fail "pgque.sql: $(tail -n 3 pgque.err)"
	sql postgres <<<"alter database pgque_making rename to pgque_template"
}

# other_schema FILE: a test's file with the other schema, and names of its own.
other_schema() {
	sed 's/\bpgq_template\b/pgque_template/g; s/sourcedb/quesourcedb/g; s/targetdb/quetargetdb/g; /event pgq\./!s/\bpgq\./pgque./g' "$1"
}

# The cases of a file, on PgQue.
on_pgque() {
	pgque_template
	mkdir -p copy/e2e
	other_schema "$TOP/test/cases.sh" >copy/cases.sh
	other_schema "$TOP/test/cluster.sh" >copy/cluster.sh
	other_schema "$TOP/test/e2e/$1.sh" >"copy/e2e/$2.sh"
	bash "copy/e2e/$2.sh" all >lines 2>&1
	grep -v '^ok' lines >bad && fail "$(head -n 3 bad)"
	[ "$(grep -c '^ok' lines)" -ge "$3" ] || fail "only $(grep -c '^ok' lines) cases"
	told "$(grep -c '^ok' lines) cases of $1"
}

case_sample() {
	on_pgque 01_sample 51_sample 5
}

case_events() {
	on_pgque 02_events 52_events 20
}

# pgque_pair KEY=VALUE...: orders_pair on the stand-in.
pgque_pair() {
	pgque_template
	SRC=${CASE}_src DST=${CASE}_dst
	sql postgres <<-END
		create database "$SRC" template ${TEMPLATE:-pgque_template};
		create database "$DST";
	END
	src "select pgque.create_queue('q');
		create table orders (id int primary key, day date, note text);
		create trigger to_queue after insert or update or delete on orders for each row execute function pgque.logutriga('q')" >/dev/null
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "$@"
	install
}

rows_are() {
	dst_gives "$1" "select count(*) from orders"
}

# The ticker inside, --tick, --status and the rest.
case_all_of_it() {
	pgque_pair ticker=1 ticker_period=0.05
	src "select pgque.set_queue_config('q', 'ticker_max_lag', '0.05 s'), pgque.set_queue_config('q', 'rotation_period', '1 s')" >/dev/null
	orders 1 3
	once --tick
	rows_are 3 || fail "not 3 rows"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out 'ok +src_db: PgQ is installed, as PgQue'
	expect_match out 'ok +ticker = 1: a run makes the ticks'
	start job.ini
	orders 4 6
	within 20 rows_are 6
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out '^verdict +OK'
	within 120 src_gives t "select queue_cur_table > 0 or queue_switch_time > now() - interval '2 s' from pgque.queue"
	orders 7 9
	within 20 rows_are 9
}

case_schema_that_is_not_there() {
	orders_pair
	expect_exit 1 "$TDISPATCH" --once --set queue_schema=pgque job.ini
	expect_match err 'ERROR job: src_db has no PgQue: install it there, or leave queue_schema out'
}

# Where both are, the queue decides; the key can say.
case_both_schemas() {
	pgque_pair
	src "set client_min_messages = warning; create extension pgq; select pgq.create_queue('other')" >/dev/null
	orders 1 2
	once --tick
	rows_are 2 || fail "not 2 rows"
	config queue_schema=pgq
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'src_db has no queue q'
	config queue_schema=pgque
	orders 3 3
	once --tick
	rows_are 3 || fail "not 3 rows"
	config queue_name=other job_name=other
	expect_exit 0 "$TDISPATCH" --install job.ini
	src "select pgq.insert_event('other', 'I:id', 'id=7&day=2026-01-31&note=x')" >/dev/null
	once --tick
	rows_are 4 || fail "not 4 rows"
}

# What pgque_reader lacks is printed as GRANTs, which are enough.
case_rights() {
	pgque_pair
	sql postgres <<<"select 'create role que_reader login' where to_regrole('que_reader') is null \gexec"
	src "grant pgque_reader to que_reader"
	dst "grant usage on schema pgq_ext to que_reader; alter table orders owner to que_reader; grant create on schema public to que_reader"
	sed -i "s/^src_db.*/src_db = dbname=$SRC user=que_reader/" job.ini
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'GRANT EXECUTE ON FUNCTION pgque.batch_event_sql\(bigint\) TO que_reader;'
	expect_match out 'GRANT EXECUTE ON FUNCTION pgque.batch_event_tables\(bigint\) TO que_reader;'
	expect_match out 'GRANT EXECUTE ON FUNCTION pgque.quote_fqname\(text\) TO que_reader;'
	expect_match out 'optional +right on src_db for --tick: GRANT EXECUTE ON FUNCTION pgque.force_tick\(text\) TO que_reader;'
	expect_match out '^not ready: 3 things'
	expect_no_match out 'GRANT pgque_reader'
	grep -o 'GRANT .* TO que_reader;' out | sql "$SRC"
	expect_exit 0 "$TDISPATCH" --check job.ini
	orders 1 2
	src "select pgque.force_tick('q'), pgque.ticker('q')" >/dev/null
	once
	rows_are 2 || fail "not 2 rows"
	src "revoke pgque_reader from que_reader"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'GRANT pgque_reader TO que_reader;'
	# as an administrator would give them
	expect_exit 0 env TDISPATCH_SRC_DB="dbname=$SRC" "$TDISPATCH" --install job.ini
	expect_match out 'src_db: GRANT EXECUTE ON FUNCTION pgque.force_tick\(text\) TO ROLE; -- for --tick'
	src "revoke execute on function pgque.force_tick(text) from que_reader"
	expect_exit 0 env TDISPATCH_SRC_DB="dbname=$SRC" "$TDISPATCH" --install --grant que_reader job.ini
	expect_match out 'GRANT EXECUTE ON FUNCTION pgque.force_tick'
	for _ in {1..600}; do say "select pgque.ticker('q'), pg_sleep(0.1);"; done | sql "$SRC" >/dev/null &
	STARTED+=($!)
	orders 3 4
	once --tick
	rows_are 4 || fail "not 4 rows"
}

# ticks_and_rows SCHEMA: an order and its tick, TICKS times, a while apart; prints the milliseconds
# from each tick's commit to its rows', by the server's own record of both, which costs nothing.
ticks_and_rows() {
	src "
		create table made (id int, tick bigint);
		create procedure make(n int) language plpgsql as \$\$
		begin
			for i in 1 .. n loop
				insert into orders values (i, '2026-01-31', 'n');
				commit;
				perform $1.force_tick('q');
				commit;
				insert into made values (i, $1.ticker('q'));
				commit;
				perform pg_sleep(0.05 + 0.1 * random());
			end loop;
		end \$\$;
		call make(${TICKS:-60})"
	within 20 rows_are $((${TICKS:-60} + 1))
	src "select id, extract(epoch from pg_xact_commit_timestamp(xmin)) from made order by id" >made
	dst "select id, extract(epoch from pg_xact_commit_timestamp(xmin)) from orders where id > 0 order by id" >seen
	join -t '|' <(sort made) <(sort seen) | awk -F '|' '{ printf "%.2f\n", ($3 - $2) * 1000 }' | sort -n
}

# expect_soon SCHEMA: the times are printed, not judged, but rows do not wait for loop_delay.
expect_soon() {
	orders 0 0
	src "select $1.force_tick('q'), $1.ticker('q')" >/dev/null
	start job.ini
	within 20 rows_are 1
	ticks_and_rows "$1" >waits
	expect_rows $(($(wc -l <waits) + 1))
	told "$(awk '{ ms[NR] = $1 } END { printf "%d ticks, from the tick to its rows: median %.1f ms, p99 %.1f ms",
		NR, ms[int((NR + 1) / 2)], ms[int((NR * 99 + 99) / 100)] }' waits)"
	[ "$(awk '{ ms[NR] = $1 } END { print int(ms[int((NR + 1) / 2)]) }' waits)" -lt 5000 ] || fail "rows wait for loop_delay"
}

# PgQue notifies.
case_a_tick_wakes() {
	pgque_pair loop_delay=30
	expect_soon pgque
}

# PgQ does not: the queue is looked at often while events come.
case_a_tick_is_found() {
	orders_pair loop_delay=30
	expect_soon pgq
}

run_cases
