# A table as the source: --from.
. "$(dirname "$0")/../cases.sh"
. "$TOP/test/from.sh"

# ---- rows

case_copies_a_table() {
	table_pair
	fill 1 2000
	from
	same_content
	expect_rows 2000
	expect_eq "$(partitions)" "orders_2026_01_10 orders_2026_01_11 orders_2026_01_12"
	expect_match err 'done: 2,?000 '
	expect_eq "$(marks)" "0 end"
	expect_eq "$(src "select count(*) from pg_trigger where not tgisinternal")" 0
	expect_eq "$(src "select count(*) from pgq.queue")" 0
}

case_again_is_nothing() {
	table_pair
	fill 1 500
	from
	expect_no_match err 'copied already'
	src "insert into orders values (501, '2026-01-10', 'late')"
	from
	expect_match err '1 of them is copied already, and not looked at again: --reset forgets that'
	expect_rows 500
}

case_empty_table() {
	table_pair
	from
	expect_rows 0
	expect_eq "$(marks)" "0 end"
}

# By the key alone, without the switch.
case_key_from_table() {
	table_pair
	fill 1 500
	expect_exit 0 "$TDISPATCH" job.ini
	expect_rows 500
}

case_same_database() {
	table_pair
	src "alter table orders rename to orders_old; create table orders (id int, day date, note text) partition by range (day)"
	src "insert into orders_old select i, date '2026-01-10' + i % 3, 'n' || i from generate_series(1, 900) i"
	sed -i "s/^dst_db.*/dst_db = dbname=$SRC/; s/^from_table.*/from_table = public.orders_old/" job.ini
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_exit 0 "$TDISPATCH" job.ini
	expect_eq "$(content "$SRC" orders)" "$(content "$SRC" orders_old)"
}

TYPES="id int, day date, at timestamptz, local timestamp, span interval, f8 float8, f4 float4, num numeric, b bytea,
	j jsonb, a text[], m money, t text, c char(5), u uuid, yes bool, r int4range"

# The source role's settings would print other texts, and so would not be exact.
case_values_are_exact() {
	table_pair from_table=things dest_table=things
	src "create table things ($TYPES)"
	dst "create table things ($TYPES) partition by range (day)"
	src "alter role \"$PGUSER\" in database \"$SRC\" set datestyle = 'German'; alter role \"$PGUSER\" in database \"$SRC\" set intervalstyle = sql_standard;
		alter role \"$PGUSER\" in database \"$SRC\" set extra_float_digits = -10; alter role \"$PGUSER\" in database \"$SRC\" set bytea_output = escape;
		alter role \"$PGUSER\" in database \"$SRC\" set timezone = 'America/New_York'"
	src "insert into things values
		(1, '2026-02-03', '2026-02-03 04:05:06.789+00', '2026-02-03 04:05:06', '-1 mon +2 days -03:04:05.6', 0.1 + 0.2, 1 / 3.0::float4,
		 123456789.123456789, '\x00ff5c', '{\"a\": \"b\\\\c\"}', '{a,NULL,\"b\\\\,\"}', 12.34, E'a\\\\N\tb\nc\rd\be\vf\\\\.', 'x', gen_random_uuid(), true, '[1,5)'),
		(2, '2026-02-03', null, null, null, 'nan', '-infinity', null, '', null, '{}', null, '', null, null, null, 'empty'),
		(3, '2026-02-04', 'infinity', '-infinity', '-1 year -1 day', 1e300, 1e-40, 'nan', 'x', '[]', null, -1, E'\\\\N', 'abcde', null, false, null)"
	TABLE=things from
	expect_eq "$(dst "set timezone = 'UTC'; set extra_float_digits = 3; set datestyle = iso; set intervalstyle = postgres; set bytea_output = hex;
			select md5(string_agg(t::text, '|' order by id)) from things t")" \
		"$(src "set timezone = 'UTC'; set extra_float_digits = 3; set datestyle = iso; set intervalstyle = postgres; set bytea_output = hex;
			select md5(string_agg(t::text, '|' order by id)) from things t")"
}

# As lines, where one column differs; else as binary rows.
case_values_of_all_kinds() {
	local types="id int, day date, at timestamptz, local timestamp, span interval, f8 float8, f4 float4, num numeric, b bytea,
		j jsonb, js json, a text[], n int8[], t text, c char(5), v varchar(7), u uuid, yes bool, r int4range, i inet, tm time, bits varbit"
	table_pair from_table=things dest_table=things
	src "create table things ($types)"
	dst "create table things ($types) partition by range (day)"
	src "insert into things select i, date '2026-02-03' + i % 2, now() + i * interval '1 us', localtimestamp, i * interval '1 day 2 sec', i / 7.0, i / 3.0,
		i / 11.0, decode(md5(i::text), 'hex'), jsonb_build_object('a', i), '{\"b\": 1}', array['x', null, i::text], array[i, null], E'\t\\\\N' || i, 'c', 'v' || i,
		md5(i::text)::uuid, i % 2 = 0, int4range(i, i + 5), '10.0.0.1/24', '12:34:56.789', b'101' from generate_series(1, 300) i;
		insert into things (id, day) values (1000, '2026-02-03')"
	TABLE=things from -v
	expect_eq "$(content "$DST" things)" "$(content "$SRC" things)"
	expect_match err 'rows go as binary'
	dst "truncate things; alter table things alter v type text; delete from tdispatch.slice"
	TABLE=things from -v
	expect_eq "$(content "$DST" things)" "$(content "$SRC" things)"
	expect_no_match err 'rows go as binary'
}

# Binary rows of another type would be something else.
case_partitions_of_other_types() {
	table_pair "part_template=create table _DEST_TABLE (id int, day text, note text);"
	dst "drop table orders; create table orders (id int, day date, note text)"
	fill 1 300
	from
	expect_eq "$(dst "select string_agg(distinct day, ' ') from orders_2026_01_11")" 2026-01-11
	expect_eq "$(dst "select count(*) from orders_2026_01_11")" 100
}

case_dates_without_a_partition() {
	local day
	table_pair
	for day in infinity -infinity 10000-01-01 "0001-01-01 BC"; do
		src "truncate orders; insert into orders values (1, '$day', 'x')"
		dst "delete from tdispatch.slice"
		expect_exit 1 "$TDISPATCH" --from orders job.ini
		expect_match err "row \(0,1\) of public.orders: column day: \"$day\" picks no partition"
	done
}

# copied ARGS...: which rows each partition gets, from an empty target.
copied() {
	dst "delete from tdispatch.slice; truncate orders"
	from -v "$@"
	dst "select tableoid::regclass, count(*), min(id), max(id) from orders group by 1 order by 1" >"$OUT"
}

# A binary row goes where its line would go; a word in fields makes all rows lines.
case_binary_rows_find_the_same_partition() {
	local type method zone
	table_pair "part_template=create table _DEST_TABLE () inherits (_PARENT);"
	src "alter role \"$PGUSER\" in database \"$SRC\" set timezone = 'America/New_York'"
	for type in date timestamp timestamptz; do
		src "drop table if exists orders; create table orders (id int, day $type);
			insert into orders select i, (timestamptz '2026-01-01' + i * interval '7 hours')::$type from generate_series(1, 100) i"
		dst "set client_min_messages = error; drop table orders cascade; create table orders (id int, day $type, op text)"
		for method in hourly daily monthly; do
			for zone in text UTC +05:30; do
				OUT=binary copied --set part_method=$method --set part_timezone=$zone
				expect_match err 'rows go as binary'
				OUT=lines copied --set part_method=$method --set part_timezone=$zone --set "fields=*, _OP:op"
				expect_no_match err 'rows go as binary'
				cmp binary lines || fail "$type $method $zone: other partitions"
			done
		done
	done
}

case_fields_and_names() {
	table_pair "fields=note:text, id, _OP:op, _TABLE:whose, _EVID:event" 
	dst "drop table orders; create table orders (\"text\" text, id int, op text, whose text, event bigint)"
	src "insert into orders values (1, '2026-01-10', E'a\tb'), (2, '2026-01-11', null)"
	sed -i '/^part_/d' job.ini
	from
	expect_eq "$(dst "select string_agg(o::text, ' ' order by id) from orders o")" '("a	b",1,I,public.orders,) (,2,I,public.orders,)'
}

# The partition column may be no column of the row, or stand anywhere.
case_partition_column_left_out() {
	table_pair skip_fields=day "part_template=create table _DEST_TABLE () inherits (_PARENT);"
	dst "drop table orders; create table orders (id int, note text)"
	fill 1 300
	from
	expect_rows 300
	expect_eq "$(dst "select count(*) from orders_2026_01_11")" 100
}

case_partition_column_in_the_middle() {
	table_pair "fields=note, id, day, day:day2"
	dst "drop table orders; create table orders (note text, id int, day2 date, day date) partition by range (day)"
	fill 1 300
	from
	expect_rows 300
	expect_eq "$(dst "select count(*) from orders where day <> day2 or note <> 'n' || id or day <> date '2026-01-10' + id % 3")" 0
}

case_column_that_is_not_there() {
	table_pair "fields=id, day, nothing"
	fill 1 3
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'table public.orders lacks column nothing, which fields names'
	sed -i 's/^fields.*/on_missing = null\nfields = id, day, nothing:note/' job.ini
	from
	expect_eq "$(dst "select count(*) from orders where note is null")" 3
}

case_generated_and_identity() {
	table_pair
	src "drop table orders; create table orders (id int generated always as identity, day date, note text, twice int generated always as (id * 2) stored)"
	dst "drop table orders; create table orders (id int generated always as identity, day date, note text, twice int generated always as (id * 2) stored) partition by range (day)" || skip "no identity on partitioned tables"
	src "insert into orders (day, note) select date '2026-01-10' + i % 3, 'n' || i from generate_series(1, 300) i"
	from
	same_content
}

case_words_of_the_template() {
	table_pair "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END);
alter table _DEST_TABLE add primary key (_PKEY);"
	fill 1 300
	from
	expect_eq "$(dst "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orders_2026_01_10'::regclass and contype = 'p'")" "PRIMARY KEY (id)"
}

case_sections() {
	table_pair
	printf '[public.ord*]\ndest_table = orders\n[public.other]\nignore = 1\n' >>job.ini
	fill 1 300
	from
	expect_rows 300
	src "create table other (id int); create table third (id int)"
	expect_exit 1 "$TDISPATCH" --from other job.ini
	expect_match err 'ignores from_table'
	expect_exit 1 "$TDISPATCH" --from third job.ini
	expect_match err 'no section of the config is for source table public.third'
}

case_time_zones() {
	table_pair part_field=at from_table=times dest_table=times "part_template=create table _DEST_TABLE () inherits (_PARENT);"
	src "create table times (id int, at timestamptz); alter role \"$PGUSER\" in database \"$SRC\" set timezone = 'Asia/Tokyo'"
	dst "create table times (id int, at timestamptz)"
	src "insert into times values (1, '2026-01-10 20:00+00')"
	TABLE=times from
	expect_eq "$(partitions times)" "times_2026_01_11"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate times_2026_01_11"
	TABLE=times from --set part_timezone=UTC
	expect_eq "$(partitions times)" "times_2026_01_10 times_2026_01_11"
	expect_eq "$(dst "select extract(epoch from at)::int from times_2026_01_10")" "$(src "select extract(epoch from at)::int from times")"
}

# ---- what may be a source

case_partitioned_source() {
	table_pair
	src "alter table orders rename to old; create table orders (id int, day date, note text) partition by list (id)"
	src "create table o1 partition of orders for values in (1); create table o2 partition of orders for values in (2, 3) partition by list (id);
		create table o3 partition of o2 for values in (3); create table o4 partition of o2 default;
		insert into orders select i % 3 + 1, '2026-01-10', 'n' || i from generate_series(1, 1500) i"
	from
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "1500|1500"
	expect_eq "$(dst "select string_agg(source || ' ' || upto, ', ' order by source) from tdispatch.slice")" "public.o1 end, public.o3 end, public.o4 end"
	src "create table o5 partition of orders for values in (5); insert into orders values (5, '2026-01-11', 'new')"
	from
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "1501|1501"
}

# leaves N ROWS: orders of so many partitions with so many rows each.
leaves() {
	src "drop table orders; create table orders (id int, day date, note text) partition by list (id);
		select format('create table leaf%s partition of orders for values in (%1\$s)', lpad(i::text, 3, '0')) from generate_series(1, $1) i \gexec
		insert into orders select 1 + i % $1, date '2026-01-10' + i % 3, 'n' || i from generate_series(1, $1 * $2) i; analyze orders" >/dev/null
}

# Small tables share a slice.
case_many_small_tables() {
	local slices='slice 0 to end: tables=([2-9]|[1-9][0-9])'
	table_pair lanes=2
	leaves 60 20
	from --set from_slice=163840 -v --verify
	expect_eq "$(grep -Ec "$slices" err)" 3
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "1200|1200"
	expect_eq "$(dst "select count(*), count(distinct source), string_agg(distinct upto, ' ') from tdispatch.slice")" "120|60|end"
	from -v
	expect_no_match err "$slices"
	# a large one among them, and an empty one
	src "insert into leaf030 select 30, '2026-01-10', 'l' || i from generate_series(1, 5000) i; truncate leaf010"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate orders"
	from --set from_slice=163840 -v --set from_snapshot=slice
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "6180|6180"
	expect_match err "$slices"
}

case_many_small_tables_killed() {
	local n
	gated_pair from_slice=40960 lanes=2
	leaves 90 25
	for n in 1 2 3; do
		at_gate --from orders job.ini
		kill_at_gate
	done
	gate all
	from
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "2250|2250"
}

# Lane 1 has the slice of several tables, lane 0 not.
case_many_small_tables_half() {
	table_pair from_slice=163840 lanes=2
	leaves 20 30
	dst "create function no() returns trigger language plpgsql as \$\$ begin raise 'not yet'; end \$\$;
		create constraint trigger no after insert or update on tdispatch.slice deferrable initially deferred for each row
			when (new.lane = 0 and new.upto = 'end') execute function no()"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'not yet'
	expect_eq "$(dst "select string_agg(distinct lane || upto, ' ') from tdispatch.slice")" "0 1end"
	dst "drop trigger no on tdispatch.slice"
	from --set lanes=3 -v
	expect_match err 'slice 0 to end: tables=20'
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "600|600"
}

# A bad row's table is read alone, then those behind it.
case_many_small_tables_and_bad_rows() {
	table_pair from_slice=163840 on_error=dead_letter
	leaves 20 30
	dst "alter table orders add check (note not in ('n7', 'n107'))"
	from -v
	expect_eq "$(dst "select count(*), count(distinct note) from orders")" "598|598"
	expect_eq "$(dst "select count(*), count(distinct batch_id), min(ev_extra2) from tdispatch.dead_letter")" "2|1|public.leaf008"
	src "insert into orders values (3, null, 'x')"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate orders; alter table orders drop constraint orders_note_check"
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set on_error=stop
	expect_match err 'row \(0,31\) of public.leaf003: column day is NULL'
}

case_inheritance() {
	table_pair
	src "create table child () inherits (orders); insert into child select i, '2026-01-10', 'c' from generate_series(1001, 1500) i"
	fill 1 400
	from
	same_content
	expect_rows 900
	expect_no_match err 'not copied'
}

# A query for the parent has none of them, and rows are those of such a query.
case_inheritance_with_more_columns() {
	table_pair
	src "create table child (more int, gone int) inherits (orders); alter table child drop gone; insert into child values (1, '2026-01-10', 'c', 5)"
	from
	same_content
	expect_match err 'WARNING.*columns that public.orders does not have are not copied: public.child.more$'
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate orders"
	from --set from_key=id
	expect_match err 'WARNING.*are not copied: public.child.more$'
}

case_view_by_key() {
	table_pair from_table=seen from_key=id from_slice=102400
	src "create view seen as select id, day, note || '!' as note from orders"
	fill 1 1050
	expect_exit 0 "$TDISPATCH" job.ini
	expect_rows 1050
	expect_eq "$(dst "select count(*) from orders where note = 'n' || id || '!'")" 1050
	expect_eq "$(marks)" "0 end"
	expect_exit 1 "$TDISPATCH" job.ini --set from_key=nothing
	expect_match err 'no column nothing, which from_key names'
	expect_exit 1 "$TDISPATCH" job.ini --set from_key=
	expect_match err 'is a view or a foreign table: set from_key'
}

# Equal values stay in one slice, and NULL is no value.
case_key_with_equal_values() {
	table_pair from_key=day from_slice=51200
	fill 1 400
	from
	expect_rows 400
	src "insert into orders values (401, null, 'x')"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'rows whose from_key = day is NULL'
}

case_key_of_text() {
	table_pair from_key=note from_slice=51200
	src "insert into orders select i, '2026-01-10', chr(64 + i % 50) || '''\\' || i from generate_series(1, 500) i"
	from
	same_content
}

# A cast to character would make one letter of the bound.
case_key_of_characters() {
	table_pair from_key=k from_slice=51200
	src "alter table orders add k char(10)"
	dst "alter table orders add k char(10)"
	src "insert into orders select i, '2026-01-10', 'x', 'k' || i % 100 from generate_series(1, 500) i"
	from
	same_content
}

# The slices have the order of the comparison, not of the type's own operators.
case_key_of_a_type_of_its_own() {
	table_pair from_key=k from_slice=51200
	src "create extension citext; alter table orders add k citext collate \"C\"" || skip "no citext"
	dst "alter table orders add k text"
	src "insert into orders select i, '2026-01-10', 'x', (array['a', 'B', 'c', 'D'])[1 + i % 4] || i from generate_series(1, 500) i"
	from
	same_content
}

case_into_itself() {
	table_pair
	src "drop table orders; create table orders (id int, day date, note text) partition by range (day); create table o partition of orders default"
	fill 1 50
	sed -i "s/^dst_db.*/dst_db = dbname=$SRC/" job.ini
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'from_table public.orders is dest_table orders itself: rename the old table'
	expect_eq "$(src "select count(*) from orders")" 50
}

# What is below dest_table, or has it below, is in it.
case_into_what_it_comes_from() {
	table_pair
	src "drop table orders; create table orders (id int, day date, note text) partition by range (day);
		create table orders_2026_01_10 partition of orders for values from ('2026-01-10') to ('2026-01-11');
		create table above (id int, day date, note text); create table below () inherits (above);
		create table alone_2026_01_10 (id int, day date, note text)"
	src "insert into orders select i, '2026-01-10', 'x' from generate_series(1, 21) i;
		insert into below select * from orders; insert into alone_2026_01_10 select * from orders"
	sed -i "s/^dst_db.*/dst_db = dbname=$SRC/" job.ini
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_exit 1 "$TDISPATCH" --from orders_2026_01_10 job.ini
	expect_match err 'from_table public.orders_2026_01_10 and dest_table orders have a table in common.*DETACH PARTITION'
	expect_exit 1 "$TDISPATCH" --from orders_2026_01_10 --dry-run job.ini
	expect_exit 1 "$TDISPATCH" --from above job.ini --set dest_table=below --set "part_template=create table _DEST_TABLE () inherits (below)"
	expect_match err 'have a table in common'
	expect_exit 1 "$TDISPATCH" --from alone_2026_01_10 job.ini --set dest_table=alone --set "part_template=create table _DEST_TABLE (id int)"
	expect_match err 'partition alone_2026_01_10 is a table that rows are copied from'
	expect_eq "$(src "select (select count(*) from orders), (select count(*) from above), (select count(*) from alone_2026_01_10)")" "21|21|21"
	src "alter table orders detach partition orders_2026_01_10; alter table orders_2026_01_10 rename to old"
	TABLE=old from
	expect_eq "$(src "select count(*), count(distinct id) from orders")" "21|21"
}

case_column_names_of_ours() {
	table_pair on_error=skip
	src "alter table orders rename note to tdispatch_id"
	dst "alter table orders rename note to tdispatch_id; alter table orders add check (id <> 7)"
	src "insert into orders select i, date '2026-01-10' + i % 3, 'n' || i from generate_series(1, 30) i"
	from
	expect_rows 29
}

case_what_is_not_there() {
	table_pair
	expect_exit 1 "$TDISPATCH" --from nothing job.ini
	expect_match err 'src_db has no table nothing, which from_table names'
	dst "drop table tdispatch.slice"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'no table tdispatch.slice: create it with --install'
	expect_exit 2 "$TDISPATCH" --tick job.ini
	expect_match err 'queue_name must be set for --tick'
	expect_exit 2 "$TDISPATCH" --from orders job.ini --set part_field=_EVTIME
	expect_match err 'part_field: a row of from_table has no event'
}

case_from_where() {
	table_pair "from_where=id > 100 or note like 'n9%'"
	fill 1 300
	from
	expect_rows 211
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate orders"
	from --set "from_where=id in (select max(id) from orders) -- the last"
	expect_rows 1
}

# It is in parentheses, and a pair more must not end these: all rows would come in each slice.
case_from_where_is_a_condition() {
	local where
	table_pair
	fill 1 300
	for where in "id <" "id < 10) or (true" "id < 10;" "id < 10 limit 5" "5" "nothing = 1"; do
		expect_exit 1 "$TDISPATCH" --from orders job.ini --set "from_where=$where"
		expect_match err 'ERROR.*it is about from_where'
		expect_exit 1 "$TDISPATCH" --check job.ini --set "from_where=$where"
		expect_match out 'it is about from_where'
	done
	expect_rows 0
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set "from_where=5" --set from_key=id
	expect_match err 'it is about from_where'
}

# ---- the switches that look and set up, without a queue, and with no PgQ in the source

case_install_check_and_status() {
	table_pair on_error=dead_letter
	src "drop extension pgq"
	expect_exit 0 "$TDISPATCH" --install job.ini --set from_table=later
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_match out 'table tdispatch.slice was already in dst_db'
	expect_match out 'src_db: GRANT SELECT ON public.orders TO ROLE'
	expect_match out 'dst_db: GRANT UPDATE, SELECT, INSERT, DELETE ON tdispatch.slice TO ROLE'
	fill 1 300
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out 'from_table public.orders in src_db: 1 table with rows'
	expect_match out 'table tdispatch.slice in dst_db'
	expect_no_match out 'queue|consumer|tick'
	from
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out '^tables_copied +1$'
	expect_match out '^queue +-$'
	expect_match out '^partitions +3$'
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	expect_match out '"from_table":"orders","tables_copied":1,"tables_in_part":0'
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	dst "drop table tdispatch.slice"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'tdispatch.slice in dst_db: create it with --install'
	expect_exit 1 "$TDISPATCH" --check job.ini --set from_table=nothing
	expect_match out 'no table nothing, which from_table names'
	expect_exit 1 "$TDISPATCH" --status job.ini
	expect_match err 'no table tdispatch.slice: create it with --install'
}

case_check_knows_sections() {
	table_pair
	printf '[public.ord*]\ndest_table = orders\n[public.other]\nignore = 1\n' >>job.ini
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	src "create table third (id int)"
	expect_exit 1 "$TDISPATCH" --check job.ini --set from_table=third
	expect_match out 'no section of the config is for source table public.third'
}

# What --install --grant gives is all that a copy needs, of each layout.
case_granted_role_copies() {
	local role=mover_$CASE
	table_pair on_error=dead_letter from_table=public.orders
	src "create role $role login; revoke all on schema public from public; drop table orders;
		create table orders (id int, day date, note text) partition by list (id);
		create table o1 partition of orders for values in (1); create schema parts; create table parts.o2 partition of orders default"
	dst "alter table orders add check (id <> 7)"
	src "insert into orders select i, date '2026-01-10' + i % 3, 'n' || i from generate_series(1, 300) i"
	expect_exit 1 "$TDISPATCH" --check job.ini --set "src_db=dbname=$SRC user=$role" --set "dst_db=dbname=$DST user=$role"
	expect_match out 'GRANT SELECT ON parts.o2 TO'
	dst "alter table orders owner to postgres; create role owner_$CASE; alter table orders owner to owner_$CASE; grant all on schema public to owner_$CASE"
	expect_exit 0 "$TDISPATCH" --install --grant $role job.ini
	expect_match out "role $role has the rights to run"
	TABLE=public.orders from --set "src_db=dbname=$SRC user=$role" --set "dst_db=dbname=$DST user=$role"
	expect_rows 299
	expect_exit 0 "$TDISPATCH" --check job.ini --set "src_db=dbname=$SRC user=$role" --set "dst_db=dbname=$DST user=$role"
	expect_exit 0 "$TDISPATCH" --status job.ini --set "src_db=dbname=$SRC user=$role" --set "dst_db=dbname=$DST user=$role"
	dst "drop owned by $role, owner_$CASE; drop role owner_$CASE"
	src "drop owned by $role; drop role $role"
}

# The table of marks is made for those who copy.
case_slice_table_is_made_on_request() {
	orders_pair
	expect_eq "$(dst "select to_regclass('tdispatch.slice') is null")" t
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'no table tdispatch.slice: create it with --install, and with --from beside it'
	expect_exit 0 "$TDISPATCH" --install --from orders job.ini
	expect_match out 'table tdispatch.slice created in dst_db'
	from
}

# Rows that a policy hides are not left out without a word.
case_row_security() {
	table_pair
	fill 1 10
	src "create role hidden_$CASE login; grant select on orders to hidden_$CASE; alter table orders enable row level security;
		create policy p on orders using (id < 5)"
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set "src_db=dbname=$SRC user=hidden_$CASE"
	expect_match err 'row-level security'
	expect_rows 0
	expect_exit 1 "$TDISPATCH" --check job.ini --set "src_db=dbname=$SRC user=hidden_$CASE"
	expect_match out 'row-level security'
	src "drop owned by hidden_$CASE; drop role hidden_$CASE"
}

# ---- going on

case_killed_and_started_again() {
	local n
	gated_pair
	for n in 1 2 3; do
		at_gate --from orders job.ini
		kill_at_gate
		expect_eq "$(dst "select count(*) > 0 from tdispatch.slice where upto <> 'end'")" t
	done
	gate all
	from
	same_content
}

case_stopped_after_a_slice() {
	gated_pair
	at_gate --from orders job.ini
	kill -INT "$PID"
	gate all
	expect_end 1 60
	expect_match bg.err 'stopped: [0-9,]+ '
	expect_match bg.err 'the same command goes on from there'
	[ "$(dst "select count(*) from orders")" -lt 1500 ] || fail "it went on to the end"
	from
	same_content
}

# Lane 1 commits before lane 0, whose commit fails.
case_one_lane_is_ahead() {
	table_pair lanes=2 from_slice=65536
	fill 1 1000
	dst "create function no() returns trigger language plpgsql as \$\$ begin raise 'not yet'; end \$\$;
		create table orders_2026_01_10 partition of orders for values from ('2026-01-10') to ('2026-01-11');
		create table orders_2026_01_11 partition of orders for values from ('2026-01-11') to ('2026-01-12');
		create constraint trigger no after insert on orders_2026_01_10 deferrable initially deferred for each row execute function no();
		create constraint trigger no after insert on orders_2026_01_11 deferrable initially deferred for each row execute function no()"
	dst "drop trigger no on orders_2026_01_11"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	dst "drop trigger no on orders_2026_01_10"
	if [ "$(dst "select count(*) from orders")" = 0 ]; then
		dst "create constraint trigger no after insert on orders_2026_01_11 deferrable initially deferred for each row execute function no()"
		expect_exit 1 "$TDISPATCH" --from orders job.ini
		dst "drop trigger no on orders_2026_01_11"
	fi
	[ "$(dst "select count(*) from orders")" -gt 0 ] || fail "no lane was ahead"
	expect_eq "$(dst "select count(distinct upto) from tdispatch.slice")" 2
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set part_method=monthly
	expect_match err 'was copied, or a part of it, with other sections or other values of dest_table'
	from --set lanes=1 --set from_slice=8192
	same_content
}

case_other_number_of_lanes() {
	gated_pair lanes=2
	at_gate --from orders job.ini
	kill -INT "$PID"
	gate all
	expect_end 1 60
	from --set lanes=3
	same_content
	expect_eq "$(marks)" "0 end, 1 end, 2 end"
}

case_rewritten_table_is_told() {
	stopped_in_the_middle
	src "vacuum full orders"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'lost position: public.orders was rewritten'
	expect_match err '\-\-reset'
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_match out 'forgot how far the copies of consumer job are, of 1 table'
	dst "truncate orders"
	from
	same_content
	src "truncate orders"
	from
	expect_match err 'WARNING.* was rewritten since it was copied'
}

case_another_table_of_that_name() {
	stopped_in_the_middle
	src "alter table orders rename to was; create table orders (like was)"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'lost position: public.orders is another table'
	TABLE=was from
	same_content orders was
}

case_another_where_is_told() {
	stopped_in_the_middle
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set "from_where=id > 5"
	expect_match err 'with another from_where or from_key'
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set "from_key=id"
	expect_match err 'with another from_where or from_key'
	from
	same_content
}

# Other rows are not what is copied already, in a part or as a whole.
case_another_where_after_the_end() {
	table_pair "from_where=id <= 100"
	fill 1 300
	from
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set "from_where=id > 100"
	expect_match err 'with another from_where or from_key: put that back to go on, or give one of other rows a job_name'
	from --set "from_where=id > 100" --set job_name=second
	same_content
}

case_another_dest_table_is_told() {
	stopped_in_the_middle
	dst "create table other (like orders) partition by range (day)"
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set dest_table=other
	expect_match err 'was copied, or a part of it, with other sections or other values of dest_table'
	expect_eq "$(dst "select count(*) from other")" 0
	from
	same_content
	expect_exit 1 "$TDISPATCH" --from orders job.ini --set dest_table=other
	expect_match err 'with other sections or other values of dest_table'
}

# Rows that are in have none of a column that was added since.
case_other_columns_are_told() {
	stopped_in_the_middle
	src "alter table orders add more int default 7"
	dst "alter table orders add more int"
	from --verify
	expect_eq "$(grep -c 'WARNING.*public.orders has other columns than when its first part was copied' err)" 1
	expect_eq "$(dst "select count(*) filter (where more is null) > 0, count(*) filter (where more = 7) > 0, count(*) from orders")" "t|t|1500"
	from
	expect_no_match err 'has other columns'
}

case_two_at_the_same_time() {
	gated_pair
	at_gate --from orders job.ini --set pidfile=other.pid
	{ sleep 1; gate all; } &
	from
	expect_end 0 60
	same_content
}

# ---- snapshots

case_snapshot_of_the_table() {
	gated_pair
	at_gate --from orders job.ini
	src "insert into orders select i, '2026-01-20', 'late' from generate_series(2001, 3000) i; delete from orders where id between 1400 and 1500"
	gate all
	expect_end 0 60
	expect_eq "$(distinct_rows)" 1500
}

case_snapshot_of_each_slice() {
	gated_pair from_snapshot=slice
	at_gate --from orders job.ini
	src "update orders set note = 'gone' where id > 1450; delete from orders where id between 1400 and 1450"
	expect_eq "$(src "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction' and application_name like 'tdispatch%' and query like '%export%'")" 0
	gate all
	expect_end 0 60
	expect_eq "$(dst "select count(*) from orders where id between 1400 and 1450")" 0
}

# An error closes the reader, and not the holder.
case_snapshot_survives_an_error() {
	gated_pair
	at_gate --from orders job.ini
	src "insert into orders select i, '2026-01-20', 'late' from generate_series(2001, 3000) i"
	dst "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()" >/dev/null
	gate all
	expect_end 0 60
	expect_eq "$(distinct_rows)" 1500
}

# An ALTER TABLE that waits for the reader comes between it and the next one, whose snapshot has none
# of the new file's rows.
case_rewritten_by_key_in_the_middle() {
	gated_pair from_key=id from_slice=51200
	src "alter table orders rename to top; create table orders () inherits (top); insert into orders select * from only top; alter table orders add primary key (id);
		truncate only top"
	at_gate --from top job.ini
	src "alter table top alter note type varchar(50)" &
	STARTED+=($!)
	within 30 src_gives 1 "select count(*) from pg_locks where not granted and locktype = 'relation'"
	dst "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()" >/dev/null
	gate all
	expect_end 1 60
	expect_match bg.err 'public.orders was rewritten .*since the copy was begun: start it again under a new snapshot'
	wait "${STARTED[1]}"
	expect_match <(dst "select upto from tdispatch.slice") '^=[0-9]+$'
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate orders"
	TABLE=top from
	same_content orders top
}

case_snapshot_is_lost() {
	gated_pair
	at_gate --from orders job.ini
	end_source_sessions
	gate all
	expect_end 0 60
	expect_match bg.err 'the snapshot is lost, the copy goes on under a new one'
	same_content
}

# ---- a queue follows

# queued_pair KEY=VALUE...: 1500 orders that are older than the trigger, and a slow target.
queued_pair() {
	orders_pair from_table=orders from_slice=8192 "part_template=$PARTITION_OF $SLOW" "$@"
	gated_target
	src "alter table orders disable trigger to_queue"
	fill 1 1500
	src "alter table orders enable trigger to_queue"
}

# write N: orders one by one, two in a transaction that lasts a while; what each session writes it
# counts in its own thousands.
write() {
	local i
	for i in $(seq 1 2 40); do
		src "begin; insert into orders values ($1 * 1000 + $i, '2026-01-11', 'w'); select pg_sleep(0.1);
			insert into orders values ($1 * 1000 + $i + 1, '2026-01-12', 'w'); commit" >/dev/null || return 0
		[ "$1" != 5 ] || tick q >/dev/null
	done
}

case_queue_goes_on_after_the_copy() {
	local n
	queued_pair
	for n in 5 6 7; do
		write $n &
		STARTED+=($!)
	done
	at_gate job.ini
	gate all
	for n in "${STARTED[@]:0:3}"; do
		wait "$n"
	done
	tick q
	within 120 dst_gives 1620 "select count(*) from orders"
	expect_match bg.err 'the copy is complete: on to queue q'
	expect_rows 1620
	same_content
	# not before older transactions have ended, also those of other databases
	n=0
	until grep -q 'all that the copy saw is behind' bg.err || [ $((++n)) = 400 ]; do
		src "insert into orders values (9000 + $n, '2026-01-12', 'w')"
		tick q
		within 60 dst_gives $((1620 + n)) "select count(*) from orders"
		sleep 0.5
	done
	kill -TERM "$PID"
	expect_end 0 30
	expect_match bg.err 'all that the copy saw is behind'
	expect_eq "$(dst "select identity || upto from tdispatch.slice where source like 'queue%'")" behind
	src "insert into orders values (9900, '2026-01-12', 'w')"
	tick q
	once
	same_content
}

case_copy_first_then_the_daemon() {
	queued_pair
	src "insert into orders values (2001, '2026-01-11', 'both')"
	tick q
	gate all
	from
	expect_rows 1501
	sed -i /^from_/d job.ini
	src "insert into orders values (2002, '2026-01-11', 'event')"
	tick q
	once
	same_content
	expect_rows 1502
}

# The copy is over: later events may go elsewhere, while from_table still stands in the config.
case_config_changes_after_the_copy() {
	queued_pair
	gate all
	expect_exit 0 "$TDISPATCH" --once job.ini
	dst "create table others (like orders) partition by range (day)"
	src "insert into orders values (2001, '2026-02-11', 'event')"
	tick q
	once --set dest_table=others --set part_method=monthly
	expect_rows 1500
	expect_rows 1 others
}

# In log mode: rows that were written since are in the table and in the queue.
case_copy_beside_a_queue_is_not_resumed() {
	queued_pair
	at_gate job.ini
	kill_at_gate
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'was ended before it was complete, and cannot go on under another snapshot'
	src "insert into orders values (3001, '2026-01-11', 'event')"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set from_table= --set retry_limit=1
	expect_match err 'the copy of a table that comes before queue q is not complete'
	expect_exit 0 "$TDISPATCH" --reset job.ini
	dst "truncate orders"
	gate all
	from
	same_content
}

# With keep_latest a row replaces that of its key, and events that come after are the last word.
case_copy_beside_a_queue_is_resumed_where_rows_replace() {
	local n GATE=300
	queued_pair row_mode=keep_latest lanes=2
	dst "alter table orders add primary key (id, day)"
	for n in 1 2 3; do
		at_gate --from orders job.ini
		kill_at_gate
		# rows of the first slices move behind the last one, and others into their place
		src "update orders set note = 'moved $n' where id % 7 = $n; delete from orders where id % 50 = $n;
			insert into orders values (2000 + $n, '2026-01-12', 'new'); vacuum orders; update orders set note = note || '+' where id > 1400"
	done
	at_gate --from orders job.ini --verify
	src "update orders set note = 'last' where id % 9 = 0; delete from orders where id = 11"
	gate all
	expect_end 0 60
	expect_eq "$(dst "select count(*) from orders")" "$(dst "select count(distinct id) from orders")"
	tick q
	once --set from_table=
	same_content
	src "update orders set note = 'after' where id < 100"
	tick q
	once --set from_table=
	tick q
	once --set from_table=
	same_content
}

case_copy_beside_a_queue_needs_its_consumer() {
	queued_pair row_mode=keep_latest
	at_gate --from orders job.ini
	kill_at_gate
	src "select pgq.unregister_consumer('q', 'job')" >/dev/null
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'queue q has lost the consumer job since the copy was begun'
}

case_snapshot_beside_a_queue_is_lost() {
	queued_pair
	at_gate --from orders job.ini
	end_source_sessions
	gate all
	expect_end 1 60
	expect_match bg.err 'cannot go on under another snapshot'
}

case_consumer_that_has_loaded_copies_nothing() {
	queued_pair
	gate all
	event I:id 'id=1&day=2026-01-10&note=x' >/dev/null
	tick q
	once --set from_table=
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'consumer job has loaded from queue q already'
	expect_exit 2 "$TDISPATCH" --from orders job.ini --set from_snapshot=slice
	expect_match err 'from_snapshot'
	dst "truncate orders"
	from --set queue_name=
	same_content
}

# ---- bad rows

bad_rows() {
	table_pair "$@"
	fill 1 600
	src "update orders set day = null where id = 17; update orders set note = 'bad' where id = 250"
	dst "alter table orders add check (note <> 'bad')"
}

case_bad_row_is_named() {
	bad_rows
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err "row \([0-9]+,[0-9]+\) of public.orders: column day is NULL"
	expect_match err 'on_error = dead_letter'
	src "delete from orders where day is null"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err "row \([0-9]+,[0-9]+\) of public.orders, partition orders_2026_01_1[0-2].*violates check"
	src "delete from orders where note = 'bad'"
	from
	same_content
}

case_bad_rows_are_kept() {
	bad_rows on_error=dead_letter
	from
	expect_rows 598
	expect_eq "$(dst "select string_agg((ev_data::json->>'id') || ' ' || ev_extra1 || ' ' || (ev_extra3 ~ '^[(][0-9]+,[0-9]+[)]\$'), ', ' order by ev_id) from tdispatch.dead_letter")" \
		"17 public.orders true, 250 public.orders true"
	expect_match err 'rows? went to tdispatch.dead_letter'
	dst "alter table orders drop constraint orders_note_check; update tdispatch.dead_letter set ev_data = replace(ev_data, 'null', '\"2026-01-12\"')"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_rows 600
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 0
}

# By a key rows are counted in each slice; letters of several are apart.
case_bad_rows_by_key() {
	table_pair from_key=id from_slice=51200 on_error=dead_letter
	fill 1 300
	dst "alter table orders add check (id % 10 <> 1)"
	from
	expect_rows 270
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 30
	dst "alter table orders drop constraint orders_id_check"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	same_content
}

# A letter's values are read again as they were, whatever the source's role prints.
case_bad_rows_of_all_kinds() {
	local types="id int, day date, at timestamptz, local timestamp, span interval, f8 float8, num numeric, b bytea, j jsonb, js json, a text[], n int8[],
		aa int[], t text, c char(5), r int4range, i inet"
	table_pair on_error=dead_letter from_table=things dest_table=things event_format=urlencoded
	src "create table things ($types)"
	dst "create table things ($types, check (id < 0)) partition by range (day)"
	src "alter role \"$PGUSER\" in database \"$SRC\" set datestyle = 'German'; alter role \"$PGUSER\" in database \"$SRC\" set intervalstyle = sql_standard;
		alter role \"$PGUSER\" in database \"$SRC\" set bytea_output = escape"
	src "insert into things select i, date '2026-02-03', '2026-02-03 04:05:06.789+00', '2026-02-03 04:05:06', '-1 mon +2 days -03:04:05.6', i / 7.0, 'NaN',
		'\x00ff5c', '{\"a\": [1, \"x\"]}', '[1, 2]', array['x', null, '\"\\\\,{'], array[1, null], '{{1,2},{3,4}}', E'\t\\\\N\n', 'c', '[1,5)', '10.0.0.1/24'
		from generate_series(1, 3) i; insert into things (id, day) values (4, '2026-02-04')"
	TABLE=things from
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 4
	dst "alter table things drop constraint things_id_check"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(dst "select string_agg(t::text, '|' order by id) from things t")" \
		"$(src "set datestyle = iso; set intervalstyle = postgres; set bytea_output = hex; select string_agg(t::text, '|' order by id) from things t")"
}

case_bad_rows_are_skipped() {
	bad_rows on_error=skip lanes=2 from_key=id
	from
	expect_rows 598
	expect_match err 'skipped'
}

# ---- many partitions

# scatter FROM TO: orders over 100 days by turns.
scatter() {
	src "insert into orders select i, date '2026-01-10' + i % 100, 'n' || i from generate_series($1, $2) i"
}

SORTED='rows go to [0-9]+ partitions: further ones are sorted'

# A part is a block: a slice has several that are sorted.
case_many_partitions_are_sorted() {
	table_pair from_slice=65536
	scatter 1 3000
	src "delete from orders where id between 700 and 900; vacuum orders; insert into orders values (0, '-infinity', 'late')"
	from -v --verify --set on_error=skip
	expect_eq "$(grep -Ec "$SORTED" err)" 2
	src "delete from orders where id = 0"
	same_content
	expect_eq "$(marks)" "0 end"
	dst "truncate orders"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	# the last part has no bound, a slice of one part has no other
	from -v --set lanes=3 --set from_slice=100000000
	expect_no_match err "$SORTED"
	same_content
}

# A part is sorted by one process, in memory: an index would be read as a whole for each part, and
# nobody knows how many rows came in the meantime.
case_sorts_are_bounded() {
	local GATE=2000
	gated_pair from_slice=65536 from_snapshot=slice
	src "truncate orders; create index on orders (day); alter database \"$SRC\" set random_page_cost = 1.1; alter database \"$SRC\" set log_temp_files = 0"
	scatter 1 20000
	src "vacuum analyze orders"
	at_gate --from orders job.ini -v
	scatter 20001 80000
	gate all
	expect_end 0 60
	expect_match bg.err "$SORTED"
	! grep -A1 " $SRC .*temporary file" "$CLUSTER/server.log" | grep COPY || fail "a sort needed a file"
	expect_eq "$(src "select sum(idx_tup_read) from pg_stat_user_indexes")" 0 "rows read by an index"
	same_content
}

case_few_partitions_are_not_sorted() {
	table_pair from_slice=65536
	fill 1 3000
	from -v
	expect_no_match err "sorted"
	# many, but not by turns
	src "update orders set day = date '2026-01-10' + id / 30"
	dst "truncate orders"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	from -v
	expect_no_match err "sorted"
	same_content
}

# first_part ROWS DAYS: of a slice, whose first part, a block, has so many rows of so many days.
first_part() {
	src "truncate orders; insert into orders select i, date '2026-01-10' + i % $2, rpad('n' || i, 100) from generate_series(1, 400) i;
		delete from orders where ctid < '(1,0)' and id > $1"
	dst "truncate orders"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	from -v "${@:3}"
}

# Up to 16 partitions, or two rows of each in the first part, are read as they are.
case_first_part_tells_whether_to_sort() {
	table_pair from_slice=65536
	first_part 31 16
	expect_no_match err sorted
	first_part 31 17
	expect_match err 'public.orders: 31 rows go to 17 partitions: further ones are sorted'
	same_content
	first_part 34 17
	expect_no_match err sorted
	first_part 35 18
	expect_match err '35 rows go to 18 partitions: further ones are sorted'
	same_content
	# no date
	dst "drop table orders; create table orders (id int, day date, note text) partition by range (id)"
	first_part 40 9 --set part_field=id --set "part_method=number 1"
	expect_match err '40 rows go to [34][09] partitions: further ones are not sorted'
	same_content
}

# bounds: where the parts begin that the source was asked for, and how many of them it sorted.
bounds() {
	local log
	log=$(sed 1,"$1"d "$CLUSTER/server.log" | grep " $SRC .*statement:.*COPY (")
	grep -o "ctid OPERATOR(pg_catalog.>=) '([0-9]*" <<<"$log" | grep -o '[0-9]*$' | sort -n | tr '\n' ' '
	grep -o 'ORDER BY tdispatch_row' <<<"$log" | wc -l
}

# parts_of ARGS...: a copy of orders with these; prints its bounds.
parts_of() {
	local line
	line=$(wc -l <"$CLUSTER/server.log")
	dst "truncate orders"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	from "$@"
	bounds "$line" >parts
}

# Four rows a block. Of a small slice the first part is an eighth, else it is 256 kB, and those that are
# sorted are a quarter; the last one has what the table has grown by, and is not sorted.
case_parts_of_a_slice() {
	table_pair
	src "alter table orders alter note set storage plain; alter database \"$SRC\" set log_statement = 'all';
		insert into orders select i, date '2026-01-10' + i % 100, repeat('x', 1900) from generate_series(1, 800) i"
	expect_eq "$(src "select pg_relation_size('orders') / 8192")" 200
	parts_of --set from_slice=104857600
	expect_eq "$(cat parts)" "32 200 1"
	same_content
	# slices begin at 0 and 160, first parts are 20 blocks, the others 40
	parts_of --set from_slice=1310720
	expect_eq "$(cat parts)" "20 60 100 140 160 180 200 5"
	same_content
	# one block is the least, and has few partitions
	src "delete from orders where id > 24; vacuum orders"
	parts_of --set from_slice=32768
	expect_eq "$(cat parts)" "1 4 5 0"
	same_content
	# few partitions: the rest at once
	src "truncate orders; insert into orders select i, date '2026-01-10' + i % 16, repeat('x', 1900) from generate_series(1, 800) i"
	parts_of --set from_slice=1310720
	expect_eq "$(cat parts)" "20 160 180 0"
	same_content
}

# Of 256 kB, some 40 rows tell of as many days; the others are wanted one after the other, as sorted
# rows come to them. COPYs that are begun take all that waits, and further ones come together.
case_sorted_rows_for_new_partitions() {
	local copies
	table_pair from_slice=200000000 "part_template=$ATTACH"
	src "alter table orders alter note set storage plain;
		insert into orders select i, date '2026-01-01' + i % 200, repeat('x', 6000) from generate_series(1, 4000) i"
	dst "alter table orders alter note set storage plain; alter database \"$DST\" set log_statement = 'all'"
	from -v
	expect_match err "$SORTED"
	same_content
	copies=$(grep " $DST " -A40 "$CLUSTER/server.log" | grep -o 'COPY orders_2026' | wc -l)
	told "$copies COPYs"
	[ "$copies" -lt 400 ] || fail "$copies COPYs for 200 partitions"
}

# sorters: on how many connections the source has sorted parts.
sorters() {
	grep " $SRC .*statement:.*ORDER BY tdispatch_row" "$CLUSTER/server.log" | awk '{ print $5 }' | sort -u | wc -l
}

# One sorts while rows of the other come. In one slice.
case_sorted_on_two_connections() {
	table_pair from_slice=65536
	scatter 1 1200
	src "alter database \"$SRC\" set log_statement = 'all'"
	from -v --verify
	expect_eq "$(sorters)" 2
	same_content
	dst "truncate orders"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	# rows that come after the snapshot have no part in it
	from -v --verify --set from_snapshot=slice
	expect_eq "$(sorters)" 4
	same_content
	expect_no_match err "one connection|WARNING"
}

# It is asked for once, and not by each slice.
case_sorted_without_a_second_connection() {
	local role=few_$CASE
	table_pair from_slice=65536
	scatter 1 9000
	src "create role $role login connection limit 2; grant select on orders to $role"
	from -v --set "src_db=dbname=$SRC user=$role"
	src "drop owned by $role; drop role $role"
	expect_eq "$(grep -c 'pieces are sorted on one connection: .*too many connections' err)" 1
	expect_eq "$(grep -Ec "$SORTED" err)" 6
	same_content
}

# The snapshot has a connection of its own.
case_check_counts_connections_to_the_source() {
	local role=one_$CASE
	table_pair
	src "create role $role login connection limit 1; grant select on orders to $role"
	expect_exit 1 "$TDISPATCH" --check job.ini --set "src_db=dbname=$SRC user=$role"
	expect_match out 'src_db: a run needs 2 connections, and the role takes 1'
	expect_exit 0 "$TDISPATCH" --check job.ini --set "src_db=dbname=$SRC user=$role" --set from_snapshot=slice
	src "drop owned by $role; drop role $role"
}

# Who waits for the reader's lock is before the second connection.
case_sorted_while_a_lock_is_awaited() {
	table_pair from_slice=65536
	scatter 1 4000
	src "do \$\$ begin loop lock table orders in access exclusive mode; commit; end loop; end \$\$" >/dev/null 2>&1 &
	STARTED+=($!)
	from -v --verify
	end_source_sessions
	expect_match err "pieces are sorted on one connection: .*lock"
	expect_no_match err "WARNING|ERROR"
	same_content
}

# The first connection asks for UTF8 where PgQ's triggers are in PL/pgSQL.
case_second_connection_has_the_same_encoding() {
	new_pair "$CASE"
	sql postgres <<<"drop database \"$SRC\""
	sql postgres <<<"create database \"$SRC\" encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0"
	src "create schema pgq; create function pgq.logutriga() returns trigger language plpgsql as \$\$ begin return new; end \$\$;
		create table orders (id int, day date, note text); alter database \"$SRC\" set log_statement = 'all'"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config queue_name= from_table=orders from_slice=65536
	expect_exit 0 "$TDISPATCH" --install job.ini
	src "set client_encoding = 'UTF8'; insert into orders select i, date '2026-01-10' + i % 100, 'Ã©' from generate_series(1, 1200) i"
	from -v
	expect_eq "$(sorters)" 2
	expect_eq "$(dst "select note, count(*) from orders group by 1")" "Ã©|1200"
}

# Nor does it take over what is set for later sessions. Dates are those that the first one writes.
case_second_connection_has_the_same_zone() {
	local GATE=2000
	table_pair "part_template=$PARTITION_OF $SLOW" part_field=at from_slice=65536
	src "alter table orders drop day, add at timestamptz;
		insert into orders select i, 'n' || i, timestamptz '2026-01-10 00:30+00' + i % 100 * interval '24 hours' from generate_series(1, 6000) i"
	dst "drop table orders; create table orders (id int, note text, at timestamptz) partition by range (at)"
	gated_target
	at_gate --from orders job.ini -v
	src "alter database \"$SRC\" set timezone = 'America/New_York'"
	gate all
	expect_end 0 60
	expect_match bg.err "$SORTED"
	expect_rows 6000
	expect_no_match bg.err 'row by row|one connection'
	expect_eq "$(dst "select count(*) from orders where tableoid::regclass::text <> to_char(at at time zone 'UTC', '\"orders_\"YYYY_MM_DD')")" 0
}

# The partition column is left out, or is not the first; rows are lines.
case_sorted_rows_of_all_kinds() {
	local at
	table_pair from_slice=65536
	src "create type mood as enum ('sad'); alter table orders drop day, add m mood, add at timestamptz, add local timestamp;
		insert into orders select i, 'n' || i, 'sad', t, t at time zone 'UTC'
			from (select i, timestamptz '2026-01-10 23:30 UTC' + i % 100 * interval '25 hours' as t from generate_series(1, 3000) i) x"
	dst "create type mood as enum ('sad')"
	for at in at local; do
		dst "drop table orders; create table orders (id int, note text, m mood, at timestamptz, local timestamp) partition by range ($at)"
		from -v --set part_field=$at
		expect_match err "$SORTED"
		expect_match err 'rows go as lines'
		same_content
		expect_exit 0 "$TDISPATCH" --reset job.ini
	done
	src "alter table orders drop m"
	dst "drop table orders; create table orders (id int, note text) partition by range (id)"
	from -v --set part_field=local --set skip_fields=at,local --set "part_template=create table _DEST_TABLE (like _PARENT)"
	expect_match err "$SORTED"
	expect_match err 'rows go as binary'
	expect_eq "$(dst "select count(*) from pg_class where relname ~ '^orders_2026'")" 100
}

case_sorted_slices_killed() {
	local n
	local GATE=2000
	gated_pair from_slice=32768 lanes=2
	src "truncate orders"
	scatter 1 6000
	for n in 1 2 3; do
		at_gate --from orders job.ini
		kill_at_gate
	done
	gate all
	from -v
	expect_match err "$SORTED"
	same_content
}

# Tables that share a slice, and one of several slices.
case_sorted_partitioned_source() {
	table_pair from_slice=65536 lanes=2
	leaves 8 180
	src "update orders set day = date '2026-01-10' + substr(note, 2)::int % 90; vacuum full orders;
		insert into leaf003 select 3, date '2026-01-10' + i % 100, 'l' || i from generate_series(1, 9000) i; truncate leaf005"
	from -v
	expect_match err "$SORTED"
	expect_match err 'slice 0 to end: tables=[2-9]'
	expect_eq "$(dst "select md5(string_agg(o::text, '|' order by note)) from orders o")" \
		"$(src "select md5(string_agg(o::text, '|' order by note)) from orders o")"
}

# A bad row behind the first part is found by reading the slice again, row by row.
case_sorted_slice_with_bad_rows() {
	table_pair from_slice=65536 on_error=dead_letter
	scatter 1 3500
	src "update orders set day = null where id = 1000; update orders set day = 'infinity' where id = 1001; update orders set note = 'bad' where id = 1002"
	dst "alter table orders add check (note <> 'bad')"
	expect_exit 1 "$TDISPATCH" --from orders job.ini -v --set on_error=stop
	expect_match err 'row \([0-9]+,[0-9]+\) of public.orders'
	from -v
	expect_match err "$SORTED"
	expect_rows 3497
	expect_eq "$(dst "select string_agg(ev_data::json->>'id', ' ' order by ev_data::json->>'id') from tdispatch.dead_letter")" "1000 1001 1002"
}

# ---- other keys

# The rows of the table are as they are: nothing is merged.
case_keep_latest() {
	table_pair row_mode=keep_latest row_key=id
	fill 1 600
	from --verify
	same_content
}

case_partitions_of_values_and_zones() {
	table_pair part_field=note part_method=list "part_template=create table _DEST_TABLE () inherits (_PARENT);"
	dst "drop table orders; create table orders (id int, day date, note text)"
	src "insert into orders select i, '2026-01-10', (array['EE', 'LV', 'LT'])[1 + i % 3] from generate_series(1, 300) i"
	from
	same_content
	expect_eq "$(partitions)" "orders_EE orders_LT orders_LV"
	dst "delete from tdispatch.slice; truncate orders"
	from --set part_field=id --set "part_method=number 100"
	same_content
	expect_eq "$(dst "select count(*) from orders_100")" 100
	src "alter table orders alter day type timestamptz using '2026-03-28 23:30+00'"
	dst "delete from tdispatch.slice; truncate orders; alter table orders alter day type timestamptz"
	from --set part_field=day --set part_method=daily --set part_timezone=Europe/Berlin
	expect_eq "$(dst "select count(*) from orders_2026_03_29")" 300
}

# ---- before and while

# ---- partitions that are created while rows come: those after the first of a transaction

# days_pair DAYS KEY=VALUE...: 20 rows a day, of 3 KB, in one slice.
days_pair() {
	local days=$1
	shift
	table_pair from_slice=100000000 "part_template=$ATTACH" "$@"
	dst "alter table orders add primary key (id, day)"
	src "insert into orders select i, date '2026-01-01' + i / 20, repeat(md5(i::text), 100) from generate_series(0, 20 * $days - 1) i"
}

case_partitions_are_created_while_rows_come() {
	local lanes
	days_pair 120
	for lanes in 1 2 3; do
		dst "create table orders_2026_02_03 (like orders including all);
			alter table orders attach partition orders_2026_02_03 for values from ('2026-02-03') to ('2026-02-04')"
		from -v --verify --set lanes=$lanes
		expect_no_match err 'rolled back'
		same_content
		expect_eq "$(dst "select count(*), count(*) filter (where indisprimary) from pg_inherits join pg_index on indrelid = inhrelid where inhparent = 'orders'::regclass")" "120|120"
		dst "delete from tdispatch.slice; drop table orders; create table orders (id int, day date, note text, primary key (id, day)) partition by range (day)"
	done
	dst "drop table orders; create table orders (id int, day date, note text)"
	for lanes in 1 2; do
		from -q --set lanes=$lanes --set "part_template=$INHERITS"
		same_content
		expect_eq "$(partitions | wc -w)" 120
		dst "delete from tdispatch.slice; drop table orders cascade; create table orders (id int, day date, note text)"
	done
}

# A row is refused in one lane while another creates.
case_bad_row_while_partitions_are_created() {
	days_pair 200 on_error=dead_letter lanes=2
	dst "alter table orders add check (id % 500 <> 7)"
	from -v
	expect_no_match err 'ERROR|another process|an earlier connection'
	expect_eq "$(dst "select count(*), count(distinct ev_data) from tdispatch.dead_letter")" "8|8"
	src "delete from orders where id % 500 = 7"
	same_content
	expect_eq "$(partitions | wc -w)" 200
}

# Somebody else creates a table of that name at this moment, and gives up.
case_partition_is_in_the_way_for_a_while() {
	local lanes
	days_pair 40
	for lanes in 1 2; do
		hold "create table orders_2026_01_31 (x int)"
		: >bg.err
		start --from orders job.ini -v --set lanes=$lanes
		within 60 grep -q 'rolled back and created before the batch' bg.err
		end_sleepers
		expect_end 0 60
		cat bg.err >err
		expect_match err 'new partitions are rolled back and created before the batch: .*lock timeout'
		same_content
		expect_eq "$(partitions | wc -w)" 40
		dst "delete from tdispatch.slice; drop table orders; create table orders (id int, day date, note text) partition by range (day)"
	done
}

case_partitions_name_is_taken() {
	days_pair 40
	dst "create table orders_2026_01_31 (x int)"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'orders_2026_01_31'
	expect_rows 0
	dst "drop table orders_2026_01_31"
	from
	same_content
}

case_killed_while_partitions_are_created() {
	local i
	days_pair 200 from_slice=1000000
	for ((i = 0; i < 12; i++)); do
		"$TDISPATCH" --from orders --set lanes=2 job.ini >/dev/null 2>err &
		sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
		kill_quietly -9 $!
		wait $! 2>/dev/null || :
	done
	within 20 dst_gives 0 "select count(*) from $ADVISORY"
	from --set lanes=2 --verify
	same_content
	expect_eq "$(partitions | wc -w)" 200
}

case_dry_run() {
	table_pair "part_template=$ATTACH"
	fill 1 300
	src "analyze orders; insert into orders values (301, null, 'x')"
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out 'table public.orders: 1 table with rows, 0 MB, about 300 rows'
	expect_match out '  orders_2026_01_11: 100 rows.*'
	expect_match out 'attach partition'
	expect_match out '1 row that has no place'
	expect_match out 'One snapshot is held for all of the copy, at least for 0:00:0'
	expect_eq "$(partitions)" ""
	expect_eq "$(dst "select count(*) from tdispatch.slice")" 0
	src "delete from orders where day is null"
	expect_exit 0 "$TDISPATCH" --from orders --dry-run job.ini --set from_snapshot=slice
	expect_match out 'Each slice has a snapshot of its own'
	src "create view seen as select * from orders"
	expect_exit 0 "$TDISPATCH" --from seen --dry-run job.ini --set from_key=id
	expect_match out '  orders_2026_01_11: 100 rows'
}

case_dry_run_beside_a_queue() {
	orders_pair from_table=orders
	fill 1 10
	src "select pgq.unregister_consumer('q', 'job')" >/dev/null
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_eq "$(dst "select count(*) from tdispatch.slice") $(src "select count(*) from pgq.get_consumer_info()")" "0 0"
}

case_dry_run_of_a_sample() {
	table_pair
	src "insert into orders select i, date '2026-01-10' + i % 3, 'n' from generate_series(1, 1000000) i; analyze orders"
	expect_exit 0 "$TDISPATCH" --from orders --dry-run job.ini
	expect_match out 'sample of (19|20)[.][0-9]+ % of its blocks'
	expect_match out '  orders_2026_01_11: [0-9]{5} rows'
}

case_progress() {
	table_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.002
	fill 1 1500
	src "analyze orders"
	from --progress json
	expect_match out '"type":"progress".*"seconds_left":[0-9]+,.*"bytes":[0-9]+,"bytes_total":[0-9]+'
	expect_match out '"type":"summary","end":"done",.*"events":1500,.*"rows":1500'
	expect_eq "$(tail -n 2 out | head -n 1 | grep -o '"bytes_total":[0-9]*')" "$(head -n 1 out | grep -o '"bytes_total":[0-9]*')"
}

# ---- README's recipe, for other tables than a plain one

# old_orders SQL: makes orders of 900 rows by this SQL, in one database with the new table.
old_orders() {
	new_pair "$CASE"
	DST=$SRC
	src "create table customers (id int primary key); insert into customers select generate_series(1, 9); $1;
		insert into orders (id, day, customer, note) select i, date '2026-01-01' + i % 90, 1 + i % 9, 'n' || i from generate_series(1, 900) i;
		create table items (id int, order_id int)"
	config queue_name= from_table=orders_old part_method=monthly "part_template=$ATTACH" src_db="dbname=$SRC" dst_db="dbname=$SRC"
}

COLUMNS="id int, day date, customer int references customers, note text"

# repartition COLUMNS: splits orders by month; drops the old one.
repartition() {
	local old
	old=$(content "$SRC" orders)
	src "alter table orders rename to orders_old;
		create table orders (like orders_old including defaults $1, foreign key (customer) references customers) partition by range (day)"
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_exit 0 "$TDISPATCH" --from orders_old --verify job.ini
	expect_eq "$(partitions)" "orders_2026_01 orders_2026_02 orders_2026_03"
	expect_eq "$(content "$SRC" orders)" "$old"
	src "${2:-drop table orders_old cascade}"
	src "insert into orders (id, day, customer, note) values (1001, '2026-03-01', 2, 'new')"
}

case_recipe_for_inheritance() {
	old_orders "create table orders ($COLUMNS);
		create table orders_child (check (day < '2026-02-01')) inherits (orders);
		create function spread() returns trigger language plpgsql as \$\$ begin
			if new.day < '2026-02-01' then insert into orders_child values (new.*); return null; end if; return new; end \$\$;
		create trigger spread before insert on orders for each row execute function spread()"
	repartition ""
}

case_recipe_for_declarative_partitions() {
	old_orders "create table orders ($COLUMNS) partition by hash (id);
		create table orders_a partition of orders for values with (modulus 2, remainder 0);
		create table orders_b partition of orders for values with (modulus 2, remainder 1)"
	repartition ""
}

case_recipe_for_keys_and_generated_columns() {
	old_orders "create table orders (id int generated by default as identity primary key, day date, customer int references customers,
		note text, upper_note text generated always as (upper(note)) stored, nr serial)"
	src "alter table items add foreign key (order_id) references orders (id)"
	repartition "including generated" "alter sequence orders_nr_seq owned by orders.nr; drop table orders_old cascade"
	expect_eq "$(src "select upper_note || nr from orders where id = 1001")" NEW901
}

# write_both N: rows come, change, move to another month and go, in orders and in a table beside it,
# until a file `stop` is there.
write_both() {
	local i=$1 id at table
	while [ ! -e stop ]; do
		i=$((i + 10))
		id=$((i - 50)) at="$((i % 9 + 1))"
		for table in orders beside; do
			printf '%s;\n' "insert into $table values ($i, '2026-01-05', 1, 'new')" "update $table set note = note || '+' where id in ($id, $at$1)" \
				"update $table set day = day + 31 where id = $id - 20" "delete from $table where id = $id - 70"
		done | { say "begin;"; cat; say "commit;"; } | sql "$SRC" >/dev/null || { say "$i" >>failed; return 0; }
		say "$i" >>written
	done
}

case_recipe_for_a_table_under_writes() {
	local n
	old_orders "create table orders ($COLUMNS); alter table orders add primary key (id)"
	src "select pgq.create_queue('q');
		create trigger to_queue after insert or update or delete on orders for each row execute function pgq.logutriga('q', 'backup');
		create table orders_new (like orders including defaults, primary key (id, day)) partition by range (day);
		create table beside (like orders including indexes); insert into beside select * from orders" >/dev/null
	config queue_name=q from_table=orders from_slice=8192 dest_table=orders_new row_mode=keep_latest row_key=id part_method=monthly "part_template=$ATTACH" \
		dst_db="dbname=$SRC"
	expect_exit 0 "$TDISPATCH" --install job.ini
	for n in 1001 1002 1003; do
		write_both $n &
		STARTED+=($!)
	done
	within 60 test -s written
	expect_exit 0 "$TDISPATCH" --once --tick job.ini
	expect_exit 0 "$TDISPATCH" --once --tick job.ini
	sql "$SRC" <<-END >/dev/null
		begin;
		lock table orders in exclusive mode;
		\! "$TDISPATCH" --once --tick job.ini 2>last.err
		alter table orders rename to orders_old;
		alter table orders_new rename to orders;
		commit;
	END
	n=$(wc -l <written)
	within 60 eval '[ $(wc -l <written) -gt $((n + 6)) ]'
	touch stop
	for n in "${STARTED[@]:0:3}"; do
		wait "$n"
	done
	[ ! -e failed ] || fail "a writer failed"
	expect_eq "$(content "$SRC" orders)" "$(content "$SRC" beside)" "content"
	expect_eq "$(src "select count(*) > 900, count(*) = count(distinct id) from orders")" "t|t"
	expect_eq "$(src "select count(*) from orders_old where id >= (select max(id) from orders)")" 0
}

# ---- verified

case_verify() {
	table_pair lanes=2
	fill 1 900
	from --verify
	same_content
	expect_match err 'verified'
}

case_verify_finds_a_change() {
	table_pair
	fill 1 900
	dst "create table orders_2026_01_10 partition of orders for values from ('2026-01-10') to ('2026-01-11');
		create function change() returns trigger language plpgsql as \$\$ begin new.note = 'x'; return new; end \$\$;
		create trigger change before insert on orders_2026_01_10 for each row when (new.id = 300) execute function change()"
	expect_exit 1 "$TDISPATCH" --from orders job.ini --verify
	expect_match err 'orders_2026_01_10 got [0-9]+ rows, and their values are not'
	expect_eq "$(dst "select count(*) from orders where id = 300")" 0
}

case_verify_with_dead_letters() {
	bad_rows on_error=dead_letter
	from --verify
	expect_rows 598
}

run_cases
