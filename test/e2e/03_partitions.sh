# Where rows go, and how their partitions come to be.
. "$(dirname "$0")/../cases.sh"

# Rows and partition of each id, as SQL sees them.
places() {
	dst "select tableoid::regclass, id from ${1:-orders} order by id"
}

check_three_days() {
	orders 1 2 2026-01-31
	orders 3 3 2026-02-01
	orders 4 4 2024-02-29
	tick q
	once
	expect_eq "$(places)" $'orders_2026_01_31|1\norders_2026_01_31|2\norders_2026_02_01|3\norders_2024_02_29|4'
}

case_inherits() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text)"
	config "part_template=create table _DEST_TABLE (check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)) inherits (_PARENT);"
	install
	check_three_days
}

case_partition_of() {
	orders_pair "part_template=$PARTITION_OF"
	check_three_days
}

case_attach() {
	orders_pair "part_template=$ATTACH"
	check_three_days
}

case_templates_run_whole() {
	orders_pair "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END);
# no comment of SQL
-- _DEST_TABLE and ; in a comment
/* 'another; _PKEY */
do \$do\$ begin perform 1; end \$do\$;
comment on table _DEST_TABLE is 'rows of _PART_FIELD; it''s _DEST_TABLE';
create index on _DEST_TABLE (note)"
	check_three_days
	expect_eq "$(dst "select obj_description('orders_2026_02_01'::regclass)")" "rows of day; it's orders_2026_02_01"
}

case_broken_template() {
	orders_pair "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END); selekt 1;"
	orders 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "part_template|selekt"
	expect_eq "$(partitions)" "" "a template that fails leaves nothing"
}

# Somebody drops a partition that the running program knows.
case_dropped_while_running() {
	orders_pair
	start job.ini
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	dst "drop table orders_2026_01_31"
	orders 4 5
	tick q
	within 20 dst_gives 2 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
}

# A template may forget to create the table.
case_template_without_table() {
	orders_pair "part_template=select 1;"
	orders 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err orders_2026_01_31
}

case_existing_partitions() {
	orders_pair part_template=
	dst "create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01')"
	orders 1 3
	tick q
	once
	expect_rows 3
}

# Tables with the right name that are nobody's child are used as they are.
case_loose_tables() {
	orders_pair part_template=
	dst "create table orders_2026_01_31 (like orders)"
	orders 1 3
	tick q
	once
	expect_rows 3 orders_2026_01_31
}

case_primary_key_of_event() {
	new_pair "$CASE"
	source_table orders "id int, day date, note text, primary key (id, day)"
	dst "create table orders (\"Order Id\" int, day date, note text) partition by range (day)"
	config "fields=id:Order Id, day, note" "part_template=create table _DEST_TABLE (like _PARENT, primary key (_PKEY));
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
	install
	orders 1 1
	tick q
	once
	expect_eq "$(dst "select pg_get_constraintdef(oid) from pg_constraint where contype = 'p' and conrelid = 'orders_2026_01_31'::regclass")" \
		'PRIMARY KEY ("Order Id", day)'
}

case_primary_key_that_is_none() {
	orders_pair "part_template=create table _DEST_TABLE (like _PARENT, primary key (_PKEY))"
	id=$(event I: 'id=1&day=2026-01-31&note=a')
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "$id"
	expect_match err "_PKEY|primary key"
	expect_eq "$(dst "select to_regclass('orders_2026_01_31') is null")" t
}

# named_parent SCHEMA TABLE: source, parent and config with dest_table = SCHEMA.TABLE
named_parent() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create schema if not exists \"${1//\"/\"\"}\";
		create table \"${1//\"/\"\"}\".\"${2//\"/\"\"}\" (id int, day date, note text) partition by range (day)"
	config "dest_table=$1.$2" "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END);
		alter table _DEST_TABLE add constraint _DEST_TABLE_pkey primary key (id);
		create index _SCHEMA_TABLE_idx on _DEST_TABLE (note);"
	install
	orders 1 1
	tick q
	once
}

# Prints schema, table, indexes of the only partition.
only_partition() {
	dst "select n.nspname, c.relname, (select string_agg(i.relname, ',' order by i.relname) from pg_index x join pg_class i on i.oid = indexrelid where indrelid = c.oid)
		from pg_inherits join pg_class c on c.oid = inhrelid join pg_namespace n on n.oid = relnamespace
		where c.relkind = 'r'"
}

case_schema() {
	named_parent sales orders
	expect_eq "$(only_partition)" "sales|orders_2026_01_31|orders_2026_01_31_pkey,sales_orders_2026_01_31_idx"
}

case_quoted_names() {
	named_parent 'Sales Dept' 'Order-Items'
	expect_eq "$(only_partition)" "Sales Dept|Order-Items_2026_01_31|Order-Items_2026_01_31_pkey,Sales Dept_Order-Items_2026_01_31_idx"
}

case_names_with_quotes() {
	named_parent "o'brien" 'we"ird'
	expect_eq "$(only_partition)" "o'brien|we\"ird_2026_01_31|o'brien_we\"ird_2026_01_31_idx,we\"ird_2026_01_31_pkey"
}

case_keywords_and_utf8() {
	named_parent select 'größe'
	expect_eq "$(only_partition)" "select|größe_2026_01_31|größe_2026_01_31_pkey,select_größe_2026_01_31_idx"
}

# The table that is wanted is that of the schema named, not another's of the same name.
case_schema_against_search_path() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create schema a; create table a.orders (id int, day date, note text) partition by range (day);
		create table orders_2026_01_31 (id int, day date, note text)"
	config dest_table=a.orders
	install
	orders 1 1
	tick q
	once
	expect_rows 1 a.orders
	expect_rows 0 orders_2026_01_31
}

# check_method METHOD VALUE SUFFIX FROM TO
check_method() {
	local table=t_$1$((++N))
	dst "create table $table (id int, at timestamp) partition by range (at)"
	QUEUE=$table
	src "select pgq.create_queue('$table'); select pgq.register_consumer('$table', 'job')" >/dev/null
	event I:id "id=1&at=$2" >/dev/null
	tick "$table"
	dst "delete from pgq_ext.completed_tick"
	once --set "dest_table=$table" --set "part_method=$1" --set "queue_name=$table" --set part_field=at
	expect_eq "$(dst "select c.relname, pg_get_expr(relpartbound, c.oid) from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = '$table'::regclass")" \
		"${table}_$3|FOR VALUES FROM ('$4') TO ('$5')" "$1 of $2"
	expect_rows 1 "$table"
}

methods() {
	orders_pair
	N=0
}

case_daily() {
	methods
	check_method daily 2026-12-31 2026_12_31 "2026-12-31 00:00:00" "2027-01-01 00:00:00"
	check_method daily "2024-02-28 23:59:59.999999" 2024_02_28 "2024-02-28 00:00:00" "2024-02-29 00:00:00"
	check_method daily 0001-01-01 0001_01_01 "0001-01-01 00:00:00" "0001-01-02 00:00:00"
}

case_monthly() {
	methods
	check_method monthly 2026-02-03 2026_02 "2026-02-01 00:00:00" "2026-03-01 00:00:00"
	check_method monthly "2026-12-31 23:59" 2026_12 "2026-12-01 00:00:00" "2027-01-01 00:00:00"
}

case_hourly() {
	methods
	check_method hourly "2026-02-03 23:59:59" 2026_02_03_23 "2026-02-03 23:00:00" "2026-02-04 00:00:00"
	check_method hourly 2026-02-03 2026_02_03_00 "2026-02-03 00:00:00" "2026-02-03 01:00:00"
}

case_weekly() {
	methods
	check_method weekly 2026-02-15 2026_w07 "2026-02-09 00:00:00" "2026-02-16 00:00:00"
	check_method weekly 2027-01-03 2026_w53 "2026-12-28 00:00:00" "2027-01-04 00:00:00"
	check_method weekly 2024-12-30 2025_w01 "2024-12-30 00:00:00" "2025-01-06 00:00:00"
}

case_yearly() {
	methods
	check_method yearly 2026-12-31 2026 "2026-01-01 00:00:00" "2027-01-01 00:00:00"
}

# An event of 23:30 UTC on 31 January, for a source whose sessions run two hours east.
evtime_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text)"
	src "alter database \"$SRC\" set timezone = '<+02>-02'"
	config part_field=_EVTIME "part_template=$INHERITS" "$@"
	install
	orders 1 1
	src "update pgq.event_1 set ev_time = '2026-01-31 23:30:00+00'"
	tick q
	once
}

case_evtime_as_text() {
	evtime_pair
	expect_eq "$(places)" "orders_2026_02_01|1"
}

case_evtime_utc() {
	evtime_pair part_timezone=UTC
	expect_eq "$(places)" "orders_2026_01_31|1"
}

case_evtime_offset() {
	evtime_pair part_timezone=-08:00 part_method=hourly
	expect_eq "$(places)" "orders_2026_01_31_15|1"
}

case_evtime_with_a_list() {
	evtime_pair part_timezone=+00:45 part_method=hourly fields=id,note
	expect_eq "$(places)" "orders_2026_02_01_00|1"
}

# zoned_pair ZONE_OF_TARGET KEY=VALUE...: rows of one moment printed in three zones, and the next
# moment of another day.
zoned_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, day timestamptz, note text"
	dst "create table orders (id int, day timestamptz, note text) partition by range (day)"
	sql postgres <<<"alter database \"$DST\" set timezone = '$1'"
	config "${@:2}"
	install
	src "set timezone = '<+02>-02'; insert into orders values (1, '2026-01-31 23:30+00');
		set timezone = 'UTC'; insert into orders values (2, '2026-01-31 23:30+00');
		set timezone = '<-0330>+03:30'; insert into orders values (3, '2026-01-31 23:30+00');
		insert into orders values (4, '2026-02-01 00:00+00')"
	tick q
}

case_timestamptz_utc() {
	zoned_pair '<-05>+05' part_timezone=UTC
	once
	expect_eq "$(places)" $'orders_2026_01_31|1\norders_2026_01_31|2\norders_2026_01_31|3\norders_2026_02_01|4'
	expect_eq "$(dst "set timezone = 'UTC'; select pg_get_expr(relpartbound, oid) from pg_class where relname = 'orders_2026_01_31'")" \
		"FOR VALUES FROM ('2026-01-31 00:00:00+00') TO ('2026-02-01 00:00:00+00')"
}

case_timestamptz_offset() {
	zoned_pair '<-05>+05' part_timezone=+02:00
	once
	expect_eq "$(places)" $'orders_2026_02_01|1\norders_2026_02_01|2\norders_2026_02_01|3\norders_2026_02_01|4'
}

case_timestamptz_half_hour() {
	zoned_pair UTC part_timezone=-00:30 part_method=hourly
	once
	expect_eq "$(places)" $'orders_2026_01_31_23|1\norders_2026_01_31_23|2\norders_2026_01_31_23|3\norders_2026_01_31_23|4'
}

# The date as written decides; the parent here takes any date anywhere.
case_timestamptz_text() {
	zoned_pair UTC "part_template=create table _DEST_TABLE (like _PARENT)"
	once
	expect_eq "$(dst "select 'a', id from orders_2026_02_01 union all select 'b', id from orders_2026_01_31 order by 2")" $'a|1\nb|2\nb|3\nb|4'
}

case_zone_of_a_value_without_offset() {
	orders_pair part_timezone=+05:00
	orders 1 1 2026-01-31
	tick q
	once
	expect_eq "$(places)" "orders_2026_01_31|1"
}

case_bad_zone() {
	new_pair "$CASE"
	config part_timezone=+25:00
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err part_timezone
}

case_bad_method() {
	new_pair "$CASE"
	config part_method=fortnightly
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err 'job\.ini.*part_method'
}

# Twelve megabytes for one day, then days that nobody has seen.
case_late_partitions_in_a_large_batch() {
	orders_pair
	src "insert into orders select i, date '2026-01-01' + (i > 12000)::int * (i - 12000), repeat('x', 1000) from generate_series(1, 12010) i"
	tick q
	once
	expect_rows 12010
	expect_eq "$(partitions | wc -w)" 11
}

# Its second run in a transaction fails: the partitions of a burst are then created one by one.
case_template_for_a_transaction_of_its_own() {
	orders_pair "part_template=create temporary table once_only () on commit drop; create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END);"
	src "insert into orders select i, date '2026-03-01' + i % 40, 'x' from generate_series(1, 5000) i"
	tick q
	once -v
	expect_match err "new partitions are rolled back and created one by one"
	expect_match err "partitions_created=40"
	expect_eq "$(content "$DST" orders)" "$(content "$SRC" orders)"
	expect_eq "$(partitions | wc -w)" 40
}

# A deferred trigger refuses two in one transaction: nothing fails before its COMMIT.
case_only_the_commit_of_several_fails() {
	orders_pair lanes=3 "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END); insert into made values (txid_current());"
	dst "create table made (x bigint);
	create function alone() returns trigger language plpgsql as \$\$ begin
		if (select count(*) from made where x = new.x) > 1 then raise exception 'two at once'; end if; return null; end \$\$;
	create constraint trigger alone after insert on made deferrable initially deferred for each row execute function alone()"
	src "insert into orders select i, date '2026-03-01' + i % 21, 'x' from generate_series(1, 20020) i"
	tick q
	once -v
	expect_match err "two at once"
	expect_match err "partitions_created=21"
	expect_eq "$(grep -c 'created partition' err)" 21
	expect_rows 20020
}

case_template_that_commits() {
	orders_pair "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END); commit;"
	src "insert into orders select i, date '2026-03-01' + i, 'x' from generate_series(0, 9) i"
	tick q
	once
	expect_match err "partitions_created=10"
	expect_eq "$(grep -c 'created partition' err)" 10
	expect_rows 10
}

# The first partitions of the transaction in which one cannot be created, and the rows, are not lost.
case_template_fails_for_one_of_many() {
	orders_pair "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END); select 1 / (right('_DEST_TABLE', 2)::int - 7);"
	src "insert into orders select i, date '2026-03-01' + i, 'x' from generate_series(0, 9) i"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "partition orders_2026_03_07 cannot be created by part_template.*division by zero"
	expect_eq "$(grep -c 'created partition' err)" "$(partitions | wc -w)"
	expect_rows 0
	sed -i 's/; select 1 .*/;/' job.ini
	once
	expect_rows 10
	expect_eq "$(partitions | wc -w)" 10
}

case_interleaved_partitions() {
	orders_pair
	src "insert into orders select i, date '2026-01-01' + i % 200, repeat('y', 300) from generate_series(1, 40000) i"
	tick q
	once
	expect_rows 40000
	expect_eq "$(dst "select count(*), min(n), max(n) from (select tableoid, count(*) n from orders group by 1) x")" "200|200|200"
}

# A transaction that has read the parent stays open, until end_sleepers.
reader() {
	hold "select count(*) from orders"
}

check_reader() {
	reader
	orders 1 10
	tick q
	start --once job.ini
	sleep 1.5
	# others are not held up by us waiting
	dst "set statement_timeout = '10 s'; select count(*) from orders" >/dev/null
	end_sleepers
	expect_end 0 30
	expect_rows 10
}

case_reader_holds_the_parent_partition_of() {
	orders_pair
	check_reader
}

case_reader_holds_the_parent_attach() {
	orders_pair "part_template=$ATTACH"
	check_reader
}

# ATTACH does not even wait for the reader.
case_attach_passes_a_reader() {
	orders_pair "part_template=$ATTACH"
	reader
	orders 1 10
	tick q
	once
	expect_rows 10
	end_sleepers
}

case_parent_is_free_while_loading() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.002
	orders 1 3000
	tick q
	start --once job.ini
	within 20 rows_are_coming
	dst "set statement_timeout = '3 s'; select count(*) from orders; begin; lock table orders in share update exclusive mode; commit" >/dev/null
	kill -0 "$PID" || fail "the batch was over too soon to tell"
	expect_end 0 30
	expect_rows 3000
}

case_default_partition_holds_the_rows() {
	orders_pair
	dst "create table orders_rest partition of orders default; insert into orders_rest values (99, '2026-01-31', 'here already')"
	orders 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "orders_2026_01_31"
	expect_match err "default partition|23514"
	expect_rows 1
}

# held SQL WORDS: a session holds a lock that a new partition needs; the words name it, once.
held() {
	dst "begin; $1; select pg_sleep(60)" >/dev/null &
	within 10 asleep 1
	start job.ini
	within 20 grep -q "trying again" bg.err
	sleep 3
	expect_match bg.err "warning.*cannot be created.*$2"
	expect_eq "$(grep -c 'trying again' bg.err)" 1 "once"
	end_sleepers
	within 20 dst_gives 1 "select count(*) from orders where id = 1"
	kill -TERM "$PID"
	expect_end 0 5
}

case_who_holds_the_default_partition() {
	local lock
	for lock in "lock table rest in access share mode" "select count(*) from rest" "insert into rest values (9, '1999-01-01')"; do
		orders_pair "part_template=$ATTACH"
		dst "create table rest partition of orders default"
		orders 1 1
		tick q
		held "$lock" "; public.rest is open in server process [0-9]+ .user postgres, "
		rm bg.err
	done
}

# Who reads the parent is not in the way of ATTACH, though he is there longer.
case_who_holds_the_default_partition_beside_a_reader() {
	orders_pair "part_template=$ATTACH"
	dst "create table rest partition of orders default; create table other partition of orders for values from ('1999-01-01') to ('2000-01-01')"
	dst "begin; select count(*) from orders where day = '1999-01-01'; select pg_sleep(61)" >/dev/null &
	within 10 asleep 1
	orders 1 1
	tick q
	PGAPPNAME=culprit dst "begin; lock table rest in access share mode; select pg_sleep(60)" >/dev/null &
	within 10 asleep 2
	start job.ini
	within 20 grep -q "public.rest is open in server process [0-9]* .user postgres, culprit" bg.err
	kill -TERM "$PID"
	expect_end 0 5
	end_sleepers
}

case_who_holds_a_referenced_table() {
	orders_pair "part_template=$ATTACH"
	dst "create table notes (note text primary key); insert into notes values ('n1');
		alter table orders add foreign key (note) references notes"
	orders 1 1
	tick q
	held "update notes set note = note" "; public.notes is open in server process"
}

case_two_dispatchers_make_the_same_partitions() {
	local round
	orders_pair
	install --set consumer_name=other
	for round in 1 2 3; do
		src "insert into orders select i, date '2026-01-01' + i % 30, 'r' from generate_series($round * 1000, $round * 1000 + 299) i"
		tick q
		dst "drop table orders; create table orders (id int, day date, note text) partition by range (day)"
		start --once job.ini
		local first=$PID
		start --once job.ini --set consumer_name=other --set pidfile=other.pid
		expect_end 0 30 "$first"
		expect_end 0 30
		expect_eq "$(dst "select count(*), count(distinct id) from orders")" "600|300" "round $round"
	done
}

# ---- partitions that are created in the transaction of their rows

# attach_pair [KEY=VALUE]...: rows go in slowly.
attach_pair() {
	orders_pair "part_template=$ATTACH" "$@"
	slow_target 0.01
	dst "create trigger slow before insert on orders for each row execute function slow()"
}

case_readers_pass_a_partition_with_its_rows() {
	attach_pair
	orders 1 500
	tick q
	start --once job.ini
	within 20 rows_are_coming
	expect_eq "$(dst "set statement_timeout = '3 s';
		select count(*), to_regclass('orders_2026_01_31') is null from orders")" "0|t" "seen by others"
	kill -0 "$PID" || fail "the batch was over too soon to tell"
	expect_end 0 30
	expect_rows 500
	expect_match bg.err "created partition orders_2026_01_31"
}

case_partitions_vanish_with_their_rows() {
	attach_pair
	orders 1 200
	tick q
	start --once job.ini
	within 20 rows_are_coming
	kill -KILL "$PID"
	expect_end 137 5
	within 10 dst_gives 0 "select count(*) from pg_stat_activity where datname = current_database() and query like 'COPY%'"
	expect_eq "$(partitions)" "" "partitions"
	dst "drop trigger slow on orders"
	once
	expect_rows 200
}

# Two that need the same days in another order, each in a long transaction.
case_two_dispatchers_in_opposite_order() {
	attach_pair
	src "select pgq.create_queue('r')" >/dev/null
	install --set consumer_name=other --set queue_name=r
	src "insert into orders select i, date '2026-03-01' + i / 100, repeat('x', 1000) from generate_series(0, 399) i"
	tick q
	src "select count(pgq.insert_event('r', 'I:id', format('id=%s&day=%s&note=%s', 1000 + i, date '2026-03-04' - i / 100, repeat('x', 1000))))
		from generate_series(0, 399) i" >/dev/null
	tick r
	start --once -v job.ini
	local first=$PID
	start --once -v job.ini --set consumer_name=other --set queue_name=r --set pidfile=other.pid
	expect_end 0 60 "$first"
	expect_end 0 60
	expect_rows 800
	expect_eq "$(partitions | wc -w)" 4
	expect_no_match bg.err 'deadlock|ERROR'
}

case_one_connection_is_enough() {
	orders_pair "part_template=$ATTACH"
	dst "create role \"$CASE\" login connection limit 1; alter table orders owner to \"$CASE\";
		grant create on schema public to \"$CASE\"; grant usage on schema pgq_ext to \"$CASE\";
		grant all on all tables in schema pgq_ext to \"$CASE\""
	sed -i "s/^dst_db.*/& user=$CASE/" job.ini
	orders 1 3 2026-01-31
	orders 4 6 2026-02-01
	tick q
	once
	orders 7 9 2026-02-02
	tick q
	once
	expect_rows 9
	expect_eq "$(partitions | wc -w)" 3
}

# Its lock would keep readers waiting until the end of the batch.
case_default_partition_is_locked_only_shortly() {
	attach_pair
	dst "create table orders_rest partition of orders default"
	orders 1 500
	tick q
	start --once job.ini
	within 20 rows_are_coming
	dst "set statement_timeout = '3 s'; select count(*) from orders" >/dev/null
	expect_eq "$(dst "select to_regclass('orders_2026_01_31') is null")" f
	kill -0 "$PID" || fail "the batch was over too soon to tell"
	expect_end 0 30
	expect_rows 500
}

# Somebody's lock on the parent is in the way: the partition is created before, as often as it takes.
case_parent_is_locked_for_a_while() {
	orders_pair "part_template=$ATTACH"
	hold "lock table orders in share update exclusive mode"
	orders 1 10
	tick q
	start --once -v job.ini
	within 40 grep -q "trying again" bg.err
	end_sleepers
	expect_end 0 30
	expect_match bg.err "created before the batch"
	expect_rows 10
}

# What it does may lock anything, until the commit.
case_event_trigger_keeps_partitions_outside() {
	orders_pair "part_template=$ATTACH"
	dst "create function noted() returns event_trigger language plpgsql as 'begin end'; create event trigger noted on ddl_command_end execute function noted()"
	orders 1 3
	tick q
	once -v
	expect_eq "$(dst "select count(distinct c.xmin::text) from orders o, pg_class c where c.oid = o.tableoid and c.xmin = o.xmin")" 0
	dst "alter event trigger noted disable"
	orders 4 6 2026-02-01
	tick q
	once
	expect_eq "$(dst "select count(distinct c.xmin::text) from orders o, pg_class c where c.oid = o.tableoid and c.xmin = o.xmin")" 1
	expect_rows 6
}

# As by another process that loads a long batch, until end_sleepers.
creation_locked() {
	hold "select pg_advisory_xact_lock(x'74647074'::int, 'orders'::regclass::oid::int)"
}

# The batch is given up meanwhile, so the outside hears of it, and retry_limit ends the waiting.
case_another_process_creates_for_long() {
	orders_pair "part_template=$ATTACH" dest_table=public.orders
	creation_locked
	orders 1 3
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set retry_limit=1
	expect_match err 'another process creates partitions of public.orders'
	start --once job.ini
	within 60 grep -q 'another process creates partitions' bg.err
	end_sleepers
	expect_end 0 30
	expect_eq "$(grep -c 'another process creates partitions' bg.err)" 1
	expect_match bg.err 'working again'
	expect_rows 3
}

# Where nothing is to be created nobody takes the lock.
case_partitions_that_are_there_need_no_lock() {
	orders_pair "part_template=$ATTACH"
	orders 1 3
	tick q
	once
	creation_locked
	orders 4 6
	tick q
	once
	expect_no_match err 'another process'
	expect_rows 6
	end_sleepers
}

case_event_without_a_key_finds_the_partition() {
	orders_pair on_error=skip "part_template=create table _DEST_TABLE (like _PARENT, primary key (_PKEY));
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
	event I: "id=1&day=2026-01-31&note=too-early" >/dev/null
	event I:id,day "id=2&day=2026-01-31&note=a" >/dev/null
	event I: "id=3&day=2026-01-31&note=b" >/dev/null
	event I: "id=4&day=2026-02-01&note=nowhere" >/dev/null
	tick q
	once
	expect_match err "2 events skipped"
	expect_eq "$(dst "select string_agg(id::text, ',' order by id) from orders")" 2,3
}

# The lane is freed to look for the partition, and the COPY that is open there fails.
case_event_without_a_key_after_a_bad_row() {
	orders_pair on_error=skip "part_template=create table _DEST_TABLE (like _PARENT including constraints, primary key (_PKEY));
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
	dst "alter table orders add check (id <> 2900)"
	src "select count(pgq.insert_event('q', 'I:id,day', 'id='||i||'&day=2026-01-31&note='||repeat('x', 100))) from generate_series(1, 3000) i" >/dev/null
	event I: "id=3001&day=2026-02-01&note=nowhere" >/dev/null
	tick q
	once
	expect_match err "2 events skipped"
	expect_rows 2999
}

expect_refused_name() {
	expect_exit "$1" "$TDISPATCH" --once job.ini
	expect_match err '63'
	expect_eq "$(dst "select count(*) from pg_class where relname like 'x%' and relkind = 'r'")" 0 "tables"
}

# long_name CODE NAME: a parent of that name, an event for it; --install ends with CODE.
long_name() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table \"$2\" (id int, day date, note text) partition by range (day)"
	config "dest_table=$2" "${@:3}"
	expect_exit "$1" "$TDISPATCH" --install job.ini
	src "select pgq.create_queue('q') where not exists (select 1 from pgq.queue)" >/dev/null
	orders 1 1
	tick q
}

case_long_name_is_refused() {
	long_name 2 "x234567890123456789012345678901234567890123456789012345"
	expect_refused_name 2
}

case_longest_name_works() {
	long_name 0 "x2345678901234567890123456789012345678901234567890_2"
	once
	expect_eq "$(dst "select length(relname) from pg_class where relname like 'x%2026%'")" 63
}

case_long_utf8_name_is_refused() {
	long_name 2 "xääääääääääääääääääääääääää"
	expect_refused_name 2
}

case_long_name_in_template_is_refused() {
	long_name 2 "x2345678901234567890123456789012345678901234567890" \
		"part_template=$PARTITION_OF alter table _DEST_TABLE add constraint _DEST_TABLE_pkey primary key (id);"
	expect_refused_name 2
}

# The date as it is written decides, where the server counts on.
case_24_hours_and_leap_seconds() {
	orders_pair "part_template=$INHERITS"
	dst "drop table orders; create table orders (id int, day timestamp, note text)"
	event I:id 'id=1&day=2026-01-31+24:00:00&note=' >/dev/null
	event I:id 'id=2&day=2026-01-31+23:59:60&note=' >/dev/null
	event I:id 'id=3&day=2026-02-01&note=' >/dev/null
	tick q
	once
	expect_eq "$(dst "select string_agg(tableoid::regclass || ':' || id, ' ' order by id) from orders")" \
		"orders_2026_01_31:1 orders_2026_01_31:2 orders_2026_02_01:3"
	event I:id 'id=4&day=2026-01-31+24:00:00&note=' >/dev/null
	tick q
	once --set part_timezone=UTC
	expect_eq "$(dst "select tableoid::regclass from orders where id = 4")" orders_2026_02_01
}

run_cases
