# A value means on the target what it meant on the source, or it is refused, whatever both have set.
. "$(dirname "$0")/../cases.sh"

# values_pair COLUMNS [TARGET_COLUMNS] [KEY=VALUE]...: table t on both sides, in one piece.
values_pair() {
	new_pair "$CASE"
	source_table t "id int primary key, $1"
	dst "create table t (id int, ${2:-$1})"
	config dest_table=t part_field= part_template= "${@:3}"
	install
}

src_set() {
	sql postgres <<<"alter database \"$SRC\" set $1"
}

dst_set() {
	sql postgres <<<"alter database \"$DST\" set $1"
}

# All rows of t, in one way of writing them.
canonical() {
	PGOPTIONS="-c datestyle=iso -c intervalstyle=postgres -c timezone=UTC" sql "$1" <<<"select * from t order by id"
}

# Rows of the source that are neither the same on the target nor dead letters.
expect_same_or_dead() {
	canonical "$SRC" >want
	canonical "$DST" >got
	dst "select (regexp_match(ev_data, '^id=(\\d+)'))[1]::int from tdispatch.dead_letter" | sort >dead
	expect_eq "$(comm -13 <(sort want) <(sort got) | wc -l)" 0 "rows that are others on the target: $(comm -13 <(sort want) <(sort got) | head -2)"
	expect_eq "$(comm -23 <(sort want) <(sort got) | cut -d'|' -f1 | sort | comm -3 - dead | wc -l)" 0 "rows that are neither here nor there"
}

# Of dates that a day and a month could be mistaken in, and others, after the year 31.
RANDOM_DATES="date '0032-01-01' + (random() * 700000)::int, timestamp '0032-01-01' + random() * 700000 * interval '1 day',
	timestamptz '0032-01-01 UTC' + random() * 700000 * interval '1 day'"

case_dates_of_all_styles() {
	local style n=0
	values_pair "d date, s timestamp, z timestamptz" "" on_error=dead_letter max_errors=100000
	src_set "timezone = 'UTC'"
	dst_set "datestyle = 'SQL, DMY'"
	for style in ISO 'SQL, DMY' 'SQL, MDY' 'German' 'Postgres, DMY' 'Postgres, MDY'; do
		src "set datestyle = '$style'; insert into t select $n + i, $RANDOM_DATES from generate_series(1, 2000) i"
		n=$((n + 10000))
	done
	tick q
	once
	expect_same_or_dead
	expect_eq "$(dst "select count(*) from t where id < 10000")" 2000 "rows in ISO"
	told "$(dst "select count(*) from t") of 12000 in, $(dst "select count(*) from tdispatch.dead_letter") refused"
}

case_intervals_of_all_styles() {
	local style n=0
	values_pair "i interval" "" on_error=dead_letter max_errors=100000
	dst_set "intervalstyle = iso_8601"
	for style in postgres postgres_verbose sql_standard iso_8601; do
		src "set intervalstyle = '$style'; insert into t select $n + i, (random() * 40 - 20)::int * interval '1 month' * (i % 3)
			+ (random() * 40 - 20)::int * interval '1 day' * (i % 2) + (random() * 40000 - 20000) * interval '1 second' * (i % 5)
			from generate_series(1, 3000) i; insert into t values ($n + 9000, '-1 day -02:03:04'), ($n + 9001, '-1 day +02:03:04'),
			($n + 9002, '1 year -1 day'), ($n + 9003, '0'), ($n + 9004, '-1 year -2 mons +3 days -04:05:06.789')"
		n=$((n + 10000))
	done
	tick q
	once
	expect_same_or_dead
	expect_eq "$(dst "select count(*) from t")" 12020
}

# Their months have names.
case_timestamps_of_style_postgres() {
	values_pair "s timestamp, z timestamptz"
	src_set "timezone = 'UTC'"
	dst_set "datestyle = 'SQL, DMY'"
	src "set datestyle = 'Postgres, DMY'; insert into t select i, timestamp '0032-01-01' + random() * 700000 * interval '1 day',
		timestamptz '0032-01-01 UTC' + random() * 700000 * interval '1 day' from generate_series(1, 2000) i"
	tick q
	once
	expect_eq "$(canonical "$DST" | md5sum)" "$(canonical "$SRC" | md5sum)"
}

# In batches whose rows go as binary values where they can.
case_dates_as_binary_values() {
	values_pair "d date, s timestamp, z timestamptz" "" part_field=_EVTIME "part_template=$INHERITS"
	dst_set "timezone = 'Asia/Tokyo'"
	dst_set "datestyle = 'SQL, DMY'"
	src "set timezone = 'America/St_Johns';
		insert into t select i, $RANDOM_DATES from generate_series(1, 20000) i"
	tick q
	once -v
	expect_match err 'binary'
	expect_eq "$(canonical "$DST" | md5sum)" "$(canonical "$SRC" | md5sum)"
}

case_refused_date_names_the_style() {
	values_pair "d date"
	src_set "datestyle = 'SQL, DMY'"
	src "insert into t values (1, make_date(2026, 2, 3))"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'event [0-9]+ of .*22008.*the source writes dates by DateStyle SQL, DMY'
	expect_eq "$(dst "select count(*) from t")" 0
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning .*DateStyle is SQL, DMY'
}

case_refused_date_of_a_session() {
	values_pair "d date"
	src "set datestyle = german; insert into t values (1, make_date(2026, 2, 3))"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "dates are read as YYYY-MM-DD: the source's DateStyle is ISO"
}

case_partition_column_names_the_style() {
	orders_pair
	src_set "datestyle = german"
	orders 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'picks no partition.*DateStyle German'
	expect_eq "$(partitions)" ""
}

# What is set for the target's database does not count.
case_other_settings() {
	values_pair "a text[], x xml, b bytea, f float8, m money"
	dst_set "array_nulls = off"
	dst_set "xmloption = document"
	dst_set "bytea_output = escape"
	dst_set "extra_float_digits = -10"
	dst_set "standard_conforming_strings = off"
	src "insert into t values (1, '{a,NULL,\"NULL\"}', xmlparse(content 'a<b/>c'), '\\x00ff5c27', 0.1::float8 + 0.2::float8, '-1234.56')"
	tick q
	once --verify
	expect_eq "$(dst "set extra_float_digits = 3; select a[2] is null, a[3] = 'NULL', x::text = 'a<b/>c', b = decode('00ff5c27', 'hex'),
		f = 0.1::float8 + 0.2::float8, m = '-1234.56' from t")" "t|t|t|t|t|t"
}

# --verify sees a difference in the last digit, whatever the target would print.
case_verify_sees_all_digits() {
	values_pair "f float8"
	dst_set "extra_float_digits = -10"
	dst "create function near() returns trigger language plpgsql as \$\$ begin new.f = new.f * (1 + 1e-14); return new; end \$\$;
		create trigger near before insert on t for each row execute function near()"
	src "insert into t values (1, 0.3)"
	tick q
	expect_exit 1 "$TDISPATCH" --once --verify job.ini
	expect_match err 'values are not those'
}

# A time without an offset is one of the source's sessions.
case_times_without_offset() {
	values_pair "z timestamp" "z timestamptz"
	src_set "timezone = 'Asia/Kolkata'"
	dst_set "timezone = 'Asia/Tokyo'"
	src "insert into t select i, '2026-03-02 12:00' from generate_series(1, 10000) i"
	tick q
	once --verify
	expect_eq "$(dst "set timezone = 'UTC'; select distinct z from t")" "2026-03-02 06:30:00+00"
}

# And so are the bounds of partitions.
case_bounds_without_offset() {
	new_pair "$CASE"
	source_table orders "id int primary key, day timestamp, note text"
	dst "create table orders (id int, day timestamptz, note text) partition by range (day)"
	config "part_template=$ATTACH"
	install
	src_set "timezone = 'Asia/Kolkata'"
	dst_set "timezone = 'America/Los_Angeles'"
	src "insert into orders values (1, '2026-03-02 00:00'), (2, '2026-03-02 23:59:59.999'), (3, '2026-03-03 00:00')"
	tick q
	once
	expect_eq "$(dst "select tableoid::regclass, id from orders order by id")" $'orders_2026_03_02|1\norders_2026_03_02|2\norders_2026_03_03|3'
}

# Where part_timezone is an offset, that picks the partition, and so it is what the value means.
case_times_without_offset_and_part_timezone() {
	local zone
	for zone in UTC +05:30 -03:45; do
		new_pair "$CASE"
		source_table orders "id int primary key, day timestamp, note text"
		dst "create table orders (id int, day timestamptz, note text) partition by range (day)"
		config "part_template=$ATTACH" "part_timezone=$zone"
		install
		src_set "timezone = 'Asia/Kolkata'"
		dst_set "timezone = 'America/Los_Angeles'"
		src "insert into orders values (1, '2026-03-02 00:00'), (2, '2026-03-02 23:59:59.999'), (3, '2026-03-03 00:00')"
		tick q
		once
		expect_eq "$(dst "select tableoid::regclass, id from orders order by id")" \
			$'orders_2026_03_02|1\norders_2026_03_02|2\norders_2026_03_03|3'
		expect_eq "$(dst "select day = '2026-03-02 00:00${zone/UTC/+00:00}' from orders where id = 1")" t "with $zone"
	done
}

# encoded_pair ENCODING COLUMNS: a source in that encoding; the test's own sessions write UTF8.
encoded_pair() {
	export PGCLIENTENCODING=UTF8
	new_pair "$CASE"
	sql postgres <<<"drop database \"$SRC\"; create database \"$SRC\" encoding '$1' template template0 locale 'C'"
	src "set client_min_messages = warning; create extension pgq"
	source_table t "id int primary key, $2"
	dst "create table t (id int, $2)"
	config dest_table=t part_field= part_template= "${@:3}"
	install
}

case_sql_ascii() {
	encoded_pair SQL_ASCII "x text" on_error=dead_letter
	PGCLIENTENCODING=SQL_ASCII src "insert into t values (1, E'f\\xfcr'), (2, 'für'), (3, 'fur'), (4, E'\\xe2\\x82')"
	tick q
	once
	expect_eq "$(dst "select id, x from t order by id")" $'2|für\n3|fur'
	expect_eq "$(dst "select distinct sqlstate, count(*) from tdispatch.dead_letter group by 1")" "22021|2"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning .*SQL_ASCII'
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out '0 of 2 dead letters'
}

case_sql_ascii_in_large_batches() {
	encoded_pair SQL_ASCII "x text" on_error=dead_letter
	PGCLIENTENCODING=SQL_ASCII src "insert into t select i, case when i % 1000 = 999 then E'f\\xfcr' else 'für' || i end from generate_series(1, 20000) i"
	tick q
	once
	expect_eq "$(dst "select count(*), count(distinct x) from t")" "19980|19980"
}

# C's triggers write the bytes of the database's encoding; PL/pgSQL's write UTF8.
case_latin1() {
	encoded_pair LATIN1 "x text, \"größe\" text"
	src "insert into t values (1, 'für', 'größe')"
	tick q
	once
	expect_eq "$(dst "table t")" "1|für|größe"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'PL/pgSQL'
}

case_latin1_by_plpgsql() {
	local file
	file=$(ls /usr/share/postgresql/*/contrib/pgq_pl_only.sql 2>/dev/null | tail -1)
	[ -n "$file" ] || skip "no pgq_pl_only.sql"
	export PGCLIENTENCODING=UTF8
	new_pair "$CASE"
	sql postgres <<<"drop database \"$SRC\"; create database \"$SRC\" encoding LATIN1 template template0 locale 'C'"
	"$PGBIN/psql" -qX -d "$SRC" -f "$file" >/dev/null 2>&1
	source_table t "\"größe\" text primary key, x text"
	dst "create table orders (\"größe\" text, x text)"
	config part_field= part_template= on_error=dead_letter
	install
	src "insert into t values ('größe', 'für'), (chr(255), chr(160))"
	src "select pgq.insert_event('q', 'I:id', 'x=f%fcr')" >/dev/null
	tick q
	once
	expect_eq "$(dst "select \"größe\", x from orders order by 1")" $'größe|für\nÿ|\u00a0'
	expect_eq "$(dst "select sqlstate from tdispatch.dead_letter")" 22021
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning .*PL/pgSQL'
}

case_check_settings_of_roles() {
	values_pair "d date"
	sql postgres <<<"drop role if exists \"$CASE\"; create role \"$CASE\"; alter role \"$CASE\" in database \"$SRC\" set datestyle = 'Postgres, DMY';
		alter role \"$CASE\" set extra_float_digits = 0; alter role \"$CASE\" in database \"$SRC\" set intervalstyle = sql_standard"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "^warning .*DateStyle is Postgres, DMY for role $CASE in database $SRC"
	expect_match out "^warning .*extra_float_digits is 0 for role $CASE:"
	expect_match out "^ok .*IntervalStyle is sql_standard for role $CASE"
	sql postgres <<<"drop role \"$CASE\""
}

# ---- events

case_column_twice_with_a_list() {
	values_pair "note text, x text" "" fields=id,note on_error=dead_letter
	event I:id 'id=1&note=a&note=b' >/dev/null
	event I:id 'id=2&note=a&x=1&i%64=3' >/dev/null
	event I:id 'id=4&note=a&x=1&x=2' >/dev/null
	tick q
	once
	expect_eq "$(dst "select id from t")" 4
	expect_eq "$(dst "select string_agg(message, '; ' order by ev_id) from tdispatch.dead_letter")" \
		"the event has column note twice; the event has column id twice"
}

case_primary_key_with_blanks() {
	new_pair "$CASE"
	source_table orders "id int, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "part_template=create table _DEST_TABLE (like _PARENT, primary key (_PKEY)); alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
	install
	src "drop trigger to_queue on orders; create trigger to_queue after insert on orders for each row
		execute function pgq.logutriga('q', 'pkey=id, day')"
	orders 1 1
	tick q
	once
	expect_eq "$(dst "select pg_get_constraintdef(oid) from pg_constraint where contype = 'p' and conrelid = 'orders_2026_01_31'::regclass")" "PRIMARY KEY (id, day)"
}

# ---- triggers

# check_trigger FUNCTION: the trigger of the source table is that.
check_trigger() {
	src "drop trigger if exists to_queue on t; create trigger to_queue after insert on t for each row execute function pgq.$1"
}

case_check_triggers() {
	values_pair "x text"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'trigger'
	check_trigger "sqltriga('q')"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +trigger to_queue on public.t feeds queue q by pgq.sqltriga'
	expect_exit 0 "$TDISPATCH" --check job.ini --set tables=others
	check_trigger "jsontriga('q')"
	expect_exit 1 "$TDISPATCH" --check job.ini --set event_format=urlencoded
	expect_match out '^WRONG +trigger to_queue on public.t feeds queue q by pgq.jsontriga'
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'trigger'
	check_trigger "sqltriga('other')"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +no trigger in src_db feeds queue q'
	check_trigger "logutriga('q')"
	src "alter table t disable trigger to_queue"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +trigger to_queue on public.t, .* is disabled'
}

# rounding SOURCE TARGET PART_TIMEZONE: --check's word on a column that picks the partition of a parent
# that is inherited from.
rounding() {
	src "alter table t alter d type $1 using null"
	dst "alter table t alter d type $2 using null"
	expect_exit 0 "$TDISPATCH" --check --set part_timezone="$3" job.ini
}

# What a text says and a time does not keep: the partition is that of the text. No server writes such times.
case_times_that_a_column_moves() {
	local type
	values_pair "d text" "" part_field=d "part_template=$INHERITS"
	for type in timestamp 'timestamp(6) with time zone'; do
		rounding text "$type" text
		expect_match out '^warning +d is a timestamp.*, and events may hold any text: 24:00:00, a second 60 or more than six digits'
		rounding text "$type" UTC
		expect_match out '^warning +d is a timestamp.*, and events may hold any text: more than six digits'
		rounding timestamp "$type" text
		expect_no_match out 'hold any text'
	done
	rounding text date text
	expect_no_match out 'any text|of its moment'
	rounding text date UTC
	expect_match out '^warning +d is a date and part_timezone is not text: a value with an offset, or of 24:00:00, goes'
	rounding timestamptz date UTC
	expect_match out '^warning +d is a date and part_timezone is not text: a value with an offset goes'
	rounding timestamp date UTC
	expect_no_match out 'any text|of its moment'
	rounding text text text
	expect_no_match out 'any text|of its moment'
	src "drop trigger to_queue on t"
	rounding timestamp timestamp text
	expect_match out 'events may hold any text'
}

# What --check warns of: no other row is in a partition of another day.
case_times_at_the_end_of_a_day() {
	local type value
	for type in timestamp date text; do
		CASE=27_$type values_pair "d text" "d $type" part_field=d on_error=dead_letter \
			"part_template=create table _DEST_TABLE (check (d::timestamp >= _PART_START and d::timestamp < _PART_END)) inherits (_PARENT)"
		for value in 23:59:59.9999999 24:00:00 23:59:60 23:59:59.999999; do
			event I:id "id=1&d=2026-01-31+$value" public.t >/dev/null
		done
		tick q
		once
		expect_eq "$(dst "select count(*) from t where tableoid::regclass::text <> 't_' || to_char(d::timestamp, 'YYYY_MM_DD')")" 0 "$type"
		expect_eq "$(dst "select (select count(*) from t) + (select count(*) from tdispatch.dead_letter)")" 4 "$type"
	done
}

run_cases
