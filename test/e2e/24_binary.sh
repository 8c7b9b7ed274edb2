# Large batches, whose rows go to the target as binary values once a table has had some as text.
. "$(dirname "$0")/../cases.sh"

COLUMNS="id int primary key, day date, small smallint, big bigint, yes boolean, at timestamp, moment timestamptz,
	u uuid, note text, short varchar(40), fixed char(8)"

# Of row i; every seventh value is NULL.
ROW="i, date '2026-01-30' + i % 3, nullif(i % 7, 0) * (1 - i % 2 * 2) * 4681, nullif(i % 7, 1) * 123456789012 * (1 - i % 2 * 2),
	nullif(i % 7, 2) > 4, timestamp '1999-12-31 23:59:59.9' + nullif(i % 7, 3) * i * interval '1.000007 s',
	timestamptz '2030-06-01 00:00:00.000001+02' - nullif(i % 7, 4) * i * interval '77 min', nullif(md5(i::text), md5('7'))::uuid,
	case i % 7 when 5 then null when 6 then '' else repeat(U&'\\00e4\\20ac& =%+\\000a\\0009\\005c', i % 9) end,
	case when i % 7 > 0 then 'n' || i end, chr(65 + i % 26)"

# binary_pair [KEY=VALUE]...: such a table on both sides.
binary_pair() {
	new_pair "$CASE"
	source_table orders "$COLUMNS"
	dst "create table orders (${COLUMNS/ primary key/}) partition by range (day)"
	config "$@"
	install
}

rows_of_the_batch() {
	src "insert into orders select $ROW from generate_series($1, $2) i"
}

rows() {
	rows_of_the_batch "$@"
	tick q
}

# Rows of so many tables went as binary values.
expect_binary() {
	expect_eq "$(grep 'go as binary values' err | grep -o 'partition [^:]*' | sort -u | wc -l)" "$1" "tables with binary rows"
}

expect_same() {
	expect_eq "$(content "$DST" orders)" "$(content "$SRC" orders)" "rows"
}

case_all_types() {
	binary_pair
	rows 1 20000
	once -v
	expect_binary 3
	expect_same
	expect_eq "$(dst "select count(*) from orders where id % 7 = 5 and note is null or id % 7 = 6 and note = ''")" 5714
}

case_lanes() {
	binary_pair lanes=2
	rows 1 20000
	once -v
	expect_binary 3
	expect_same
}

# What the role's search_path calls pg_attribute says that a number is a text: of its four digits
# the target would make another number.
case_types_are_those_of_the_table() {
	binary_pair
	dst "create schema liar;
		create view liar.pg_attribute as select attrelid, attname, attnum, attisdropped,
			case attname when 'id' then 25::oid else atttypid end as atttypid
			from pg_catalog.pg_attribute;
		alter database \"$DST\" set search_path = liar, pg_catalog, public"
	rows 1000 9999
	once -v
	expect_match err 'go as binary values'
	expect_same
}

# Values that only the server can read: the row goes as text, between others that do not.
case_row_by_row() {
	binary_pair
	src "select count(pgq.insert_event('q', 'I:id', 'id='||i||'&day=2026-01-30&big='||case when i % 5 = 0 then '%2b' else '' end||i
		||'&moment=2026-06-01+10:00:'||i % 60||case when i % 4 = 0 then '' else '%2b00' end||'&note='||repeat('x', 100)))
		from generate_series(10, 15010) i" >/dev/null
	tick q
	src "alter database \"$SRC\" set timezone = 'Asia/Tokyo'"      # what has no offset means that
	once -v
	expect_binary 1
	expect_eq "$(dst "select count(*), count(distinct id), sum(id), sum(big) from orders")" "15001|15001|112657510|112657510"
	expect_eq "$(dst "select count(*), min(id % 4), max(id % 4) from orders
		where extract(hour from moment at time zone 'UTC') = 1")" "3750|0|0"
}

# order_of_reading ORDER: rows of one partition come in the order in which they were read, but for those
# that only the server can read if the order is none.
order_of_reading() {
	new_pair "$CASE"
	dst "create table orders (id int, day date, big bigint, note text, came bigserial) partition by range (day)"
	config event_order=$1
	install
	src "select count(pgq.insert_event('q', 'I:id', 'id='||i||'&day=2026-01-3'||i % 2||'&big='||
		case when i % 9001 = 0 then '%2b' else '' end||i||'&note='||repeat('x', 100))) from generate_series(1, 60000) i" >/dev/null
	tick q
	once -v
	expect_binary 2
	expect_eq "$(dst "select count(*), sum(big) from orders")" "60000|1800030000"
	expect_eq "$(dst "select count(*) from (select id < lag(id) over (partition by day order by came) as back from orders
		where '$1' = 'id' or id % 9001 <> 0) o where back")" 0 "rows before an earlier one"
}

case_order_of_reading() {
	order_of_reading none
}

case_order_of_all_rows() {
	order_of_reading id
}

case_other_types() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, took interval, note text"
	dst "create table orders (id int, day date, took interval, note text) partition by range (day)"
	config
	install
	src "insert into orders select i, '2026-01-30', i * interval '1 min', repeat('x', 100) from generate_series(1, 10000) i"
	tick q
	once -v
	expect_binary 0
	expect_same
}

# Random digits before and behind the point; numbers that are stored without groups of zeros.
case_numbers_documents_and_domains() {
	local columns="id int primary key, day date, n numeric, money numeric(14,2), f real, d double precision, doc jsonb, raw_doc json,
		bytes bytea, mood mood, word word, amount amount, note text"
	new_pair "$CASE"
	for db in src dst; do
		$db "create type mood as enum ('sad', 'so so', U&'\\00e4'); create domain word as varchar(9) check (value <> 'no');
			create domain amount as numeric(9,3) check (value < 100000)"
	done
	source_table orders "$columns"
	dst "create table orders (${columns/ primary key/}) partition by range (day)"
	config on_error=dead_letter "$@"
	install
	src "insert into orders select i, date '2026-01-30' + i % 3,
		(case when i % 2 = 0 then '-' else '' end || left(translate(md5(i::text), 'abcdef', '000000'), i % 27 + 1)
			|| case when i % 5 > 0 then '.' || right(translate(md5(i::text), 'abcdef', '000999'), i % 29 + 1) else '' end)::numeric,
		i / 7.0, i / 7.0 * 10.0 ^ (i % 30), i / 7.0::float8 * 10.0::float8 ^ (i % 600 - 300), jsonb_build_object('i', i, 'a', array[i, null]),
		'{\"b\" :  [1, \"x\"]}', decode(md5(i::text), 'hex'), (array['sad', 'so so', U&'\\00e4'])[i % 3 + 1]::mood,
		nullif('w' || i % 100, 'w3'), i % 99999 / 8.0, repeat('x', 100) from generate_series(1, 20000) i"
	src "update orders set n = 'NaN', f = 'Infinity', d = '0' where false"
	event I:id "id=30001&day=2026-01-30&mood=glad" >/dev/null
	event I:id "id=30002&day=2026-01-30&amount=123456" >/dev/null
	event I:id "id=30003&day=2026-01-30&word=no" >/dev/null
	event I:id "id=30004&day=2026-01-30&doc=%7b" >/dev/null
	event I:id "id=30005&day=2026-01-30&n=NaN&f=0&d=-0&bytes=a%5c%5cb" >/dev/null
	tick q
	once -v
	expect_eq "$(dst "select string_agg(trim(sqlstate), ' ' order by ev_id) from tdispatch.dead_letter")" "22P02 23514 23514 22P02"
	expect_eq "$(dst "select n, f, d, bytes from orders where id = 30005")" 'NaN|0|-0|\x615c62'
	dst "delete from orders where id = 30005"
	expect_same
	expect_eq "$(dst "select count(*) from orders where numeric_send(n) is distinct from numeric_send(n + 0)")" 0
	config
	src "truncate orders; insert into orders select i, date '2026-01-30', -i / 8.0, i / 9.0, i, -i, 'true', '[]', '', 'sad', 'w', i, repeat('y', 200)
		from generate_series(40001, 50000) i"
	dst "truncate orders"
	tick q
	once -v
	expect_binary 1
	expect_same
}

# The types are looked at in each batch. A binary timestamp would be taken for a timestamptz of UTC.
case_column_of_another_type() {
	binary_pair "part_template=$INHERITS"
	sql postgres <<<"alter database \"$SRC\" set timezone = 'Asia/Tokyo'; alter database \"$DST\" set timezone = 'Asia/Tokyo'"
	dst "alter table orders rename to old; create table orders ($COLUMNS)"
	start -v job.ini
	rows 1 40000
	within 40 dst_gives 40000 "select count(*) from orders"
	dst "alter table orders alter at type timestamptz"
	rows 40001 80000
	within 40 dst_gives 80000 "select count(*) from orders"
	expect_eq "$(grep -c 'go as binary values' bg.err), $(grep -c 'loaded again' bg.err)" "9, 1"
	expect_no_match bg.err 'WARNING|ERROR'
	expect_eq "$(dst "select md5(string_agg(concat_ws(',', id, at::timestamp), '|' order by id)) from orders")" \
		"$(src "select md5(string_agg(concat_ws(',', id, at), '|' order by id)) from orders")"
}

case_bad_rows_among_binary_ones() {
	binary_pair on_error=dead_letter
	dst "alter table orders add check (id <> 9000)"
	rows_of_the_batch 1 10000
	event I:id "id=10001&day=2026-01-30&short=$(printf 'x%.0s' {1..41})" >/dev/null
	event I:id "id=10002&day=2026-01-30&small=99999" >/dev/null
	event I:id "id=10003&day=2026-01-30&note=%ff" >/dev/null
	event I:id "id=10004&day=2026-01-30&note=%zz" >/dev/null
	event I:id "id=10005&day=2026-01-30&u=x" >/dev/null
	rows 10006 12000
	once -v
	expect_binary 3
	expect_eq "$(dst "select string_agg(coalesce(substring(ev_data, 'id=(\\d+)'), '') || ' ' || trim(sqlstate), ', ' order by ev_id)
		from tdispatch.dead_letter")" "9000 23514, 10001 22001, 10002 22003, 10003 22021, 10004 , 10005 22P02"
	src "delete from orders where id = 9000"
	expect_same
}

# The new day's creation waits for the rows that are in: they are rolled back, binary ones too.
case_partition_needed_late() {
	binary_pair part_method=monthly
	rows_of_the_batch 1 10000
	src "insert into orders (id, day) values (20001, '2027-01-01')"
	rows 10001 20000
	once -v
	expect_match err 'waits for this batch'
	expect_same
}

case_one_partition() {
	binary_pair part_method=yearly
	rows 1 10000
	once -v
	expect_binary 1
	expect_same
}

# The types are asked for where the rows go: there may be one connection only.
case_one_connection() {
	binary_pair
	rows 1 3000
	once
	dst "create role \"$CASE\" login connection limit 1; grant usage on schema pgq_ext to \"$CASE\";
		grant all on all tables in schema public, pgq_ext to \"$CASE\""
	config part_template= "dst_db=dbname=$DST user=$CASE"
	rows 3001 20000
	once -v
	expect_binary 3
	expect_same
}

# What binary_put makes of texts of all kinds is what the server makes of them, whatever its settings.
case_same_as_the_server() {
	local setting
	"$TOP/test/unit.sh" binary >/dev/null || fail "the unit test failed"
	"$TOP/build/test/binary" values >values
	new_pair "$CASE"
	dst "create table v (type text, value text, hex text);
		create function same(type text, value text, hex text) returns boolean language plpgsql as \$\$
		declare got text;
		begin
			execute format('select encode(%s(%L::%s), ''hex'')', type || case when type in ('timestamp', 'timestamptz', 'date',
				'uuid') then '_send' else 'send' end, value, type) into got;
			return got = hex;
		exception when others then return false;
		end \$\$"
	"$PGBIN/psql" -qX -d "$DST" -c '\copy v from values'
	for setting in "datestyle = ISO" "datestyle = 'SQL, DMY'" "datestyle = 'German'" "datestyle = 'Postgres, MDY'" "datestyle = 'ISO, YMD'" \
		"timezone = 'America/St_Johns'" "timezone = 'Asia/Kathmandu'"; do
		expect_eq "$(dst "set $setting; select string_agg(type || ' ' || value, ', ') from (select * from v where not same(type, value, hex) limit 5) x")" \
			"" "not the same with $setting"
	done
	expect_eq "$(dst "select count(*) > 20000, count(distinct type) from v")" "t|12"
	told "$(dst "select count(distinct (type, value)) from v") values"
}

# types_pair [KEY=VALUE]...: the template gives n another type in two of the tables.
types_pair() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	config dest_table=t fields=id,day,n part_field=day batch_min_events=0 "part_template=create table _DEST_TABLE (id int, day date, n int);
 do \$\$ begin
 if '_DEST_TABLE' ~ '_02\$' then alter table _DEST_TABLE alter n type real; end if;
 if '_DEST_TABLE' ~ '_03\$' then alter table _DEST_TABLE alter n type bigint; end if;
 end \$\$" "$@"
	install
}

# numbers FROM TO DAY...: each day gets such events, in a batch.
numbers() {
	local day
	for day in "${@:3}"; do
		src "select count(pgq.insert_event('q', 'I:id', 'id='||i||'&day=2026-01-0$day&n='||i)) from generate_series($1, $2) i" >/dev/null
	done
	tick q
}

# expect_numbers N DAY...: n is what the event's was, in each table.
expect_numbers() {
	local day
	for day in "${@:2}"; do
		expect_eq "$(dst "select count(*), count(distinct id), count(*) filter (where n = id) from t_2026_01_0$day")" "$1|$1|$1" "day $day"
	done
}

# From the second batch on all rows are binary, those of a new table too.
case_types_stay_known() {
	types_pair
	numbers 1 3000 1
	numbers 3001 6000 1 4
	numbers 6001 6500 1 4
	numbers 6501 6600 1 4
	once -v
	expect_eq "$(grep 'go as binary' err | grep -o 't_2026_01_0.' | sort | uniq -c | tr -s '\n ' ' ')" " 2 t_2026_01_01 2 t_2026_01_04 "
	expect_numbers 6600 1
	expect_numbers 3600 4
	expect_no_match err 'loaded again'
}

# A real has as many bytes as an integer, so that only the check before the commit sees it.
case_other_types_than_the_last() {
	types_pair
	numbers 1 3000 1
	numbers 1 3000 2
	numbers 3001 6000 1 2
	once -v
	expect_eq "$(grep -c 'loaded again' err)" 1
	expect_numbers 6000 1 2
}

# The server refuses an integer's bytes as those of a bigint, as if the connection were broken.
case_other_types_are_refused() {
	types_pair
	numbers 1 3000 1
	numbers 1 3000 3
	numbers 3001 6000 1 3
	once -v
	expect_eq "$(grep -c 'loaded again' err)" 1
	expect_numbers 6000 1 3
}

# One lane has committed, and the other must load again.
case_other_types_in_one_lane() {
	types_pair lanes=2
	numbers 1 3000 1 4
	numbers 3001 6000 1 2 3 4
	numbers 6001 9000 1 2 3 4
	once -v
	expect_match err 'loaded again'
	expect_numbers 9000 1 4
	expect_numbers 6000 2 3
}

run_cases
