# Rows as logutriga writes them: values and names of every kind, operations, changing columns.
. "$(dirname "$0")/../cases.sh"

# both_tables COLUMNS: table t on both sides, unpartitioned, job.ini, the consumer registered.
both_tables() {
	new_pair "$CASE"
	source_table t "$1"
	dst "create table t (${1/primary key/})"
	config dest_table=t part_field= part_template= "${@:2}"
	install
}

expect_same_content() {
	expect_eq "$(content "$DST" "${1:-t}")" "$(content "$SRC" "${1:-t}")" "content"
}

case_bytes() {
	both_tables "id int primary key, v text"
	src "insert into t select i, chr(i) from generate_series(1, 127) i;
		insert into t select 200 + i, 'a' || chr(i) || 'b' from generate_series(1, 127) i;
		insert into t select 1000, string_agg(chr(i), '') from generate_series(1, 127) i"
	tick q
	once
	expect_same_content
}

case_utf8() {
	both_tables "id int primary key, v text"
	src "insert into t values (1, 'ä€𝄞'), (2, '日本語'), (3, chr(1114109)), (4, chr(128) || chr(2047) || chr(2048) || chr(65533) || chr(65536))"
	tick q
	once
	expect_same_content
}

case_copy_specials() {
	both_tables "id int primary key, v text"
	src "insert into t values (1, '\\.'), (2, '\\N'), (3, '\\'), (4, '\\\\'), (5, E'a\\n\\\\.\\nb'), (6, E'\\t'), (7, E'\\r\\n'),
		(8, E'\\\\n'), (9, '%'), (10, '%41'), (11, '+'), (12, 'a+b c'), (13, '&'), (14, '='), (15, 'a=b&c=d'), (16, '\"'), (17, ''''), (18, ',')"
	tick q
	once
	expect_same_content
}

case_null_and_empty() {
	both_tables "id int primary key, a text, b text"
	src "insert into t values (1, null, ''), (2, '', null), (3, null, null), (4, '', ''), (5, 'null', 'NULL')"
	tick q
	once
	expect_same_content
	expect_eq "$(dst "select count(*) from t where a is null")" 2
}

case_long_values() {
	both_tables "id int primary key, v text, w text"
	src "insert into t values (1, repeat('x', 3000000), 'short'), (2, repeat('ä&\\', 500000), repeat('%', 1000000)), (3, 'end', null)"
	tick q
	LIMIT=60 once
	expect_same_content
}

# A row that is larger than all that may wait in memory together.
case_value_over_the_pool() {
	both_tables "id int primary key, v text"
	src "insert into t values (1, 'first'), (2, repeat('0123456789', 2500000)), (3, 'last')"
	tick q
	LIMIT=60 once
	expect_same_content
}

# Rows that fill the room for one to the last byte, or miss that by one: 16384 bytes, then twice as
# many and so on. What else a row has is less than 60 bytes, and 19 more stand before the first.
case_rows_as_large_as_their_room() {
	local size
	both_tables "id int primary key, v text"
	src "insert into t select i, repeat('x', (16384 << i / 80) - 60 + i % 80) from generate_series(0, 319) i"
	tick q
	LIMIT=60 once
	expect_same_content
	for size in {16315..16345}; do
		src "insert into t select 1000 + $size, repeat('y', $size)"
		tick q
	done
	LIMIT=60 once --set batch_min_events=0
	expect_same_content
}

case_types() {
	both_tables "id int primary key, a bool, b bytea, c int[], d jsonb, e numeric, f timestamptz, g interval, h text[], i float8, j inet, k uuid"
	src "insert into t values (1, true, '\\x00ff0a5c', '{1,null,3}', '{\"a\": \"b\\\\nc\"}', 12345678901234567890.123456789,
		'2026-01-31 12:34:56.789+05:30', '1 mon 2 days', array['a b', 'c,\"d\\', null, ''], 1e-300, '::1/64', '00112233-4455-6677-8899-aabbccddeeff'),
		(2, null, '', '{}', 'null', 'NaN', 'infinity', null, '{}', '-Infinity', null, null)"
	tick q
	once
	expect_same_content
}

case_column_names() {
	both_tables "id int primary key, \"a b\" text, \"Upper\" text, \"select\" text, \"per%cent\" text, \"a&b=c\" text, \"qu\"\"ote\" text,
		\"sin'gle\" text, \"größe\" text, \"back\\slash\" text, \"plus+\" text, \"dot.ted\" text, \"1digit\" text,
		\"n63_4567890123456789012345678901234567890123456789012345678901_3\" text"
	src "insert into t values (1, 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n'); insert into t values (2)"
	tick q
	once
	expect_same_content
}

case_column_names_listed() {
	both_tables "id int primary key, \"a b\" text, \"Upper\" text, \"größe\" text, \"select\" text, \"per%cent\" text" \
		"fields=id, a b, Upper, größe, select, per%cent"
	src "insert into t values (1, 'b', 'c', 'd', 'e', 'f')"
	tick q
	once
	expect_same_content
}

case_every_operation_is_a_row() {
	orders_pair
	orders 1 2
	src "update orders set note = 'changed' where id = 1; delete from orders where id = 2"
	tick q
	once
	expect_eq "$(dst "select id, note, count(*) from orders group by 1, 2 order by 1, 2")" $'1|changed|1\n1|n1|1\n2|n2|2'
}

# What PgQ's own programs tell each other is no row, and nobody's fault.
case_events_of_pgq_are_skipped() {
	local how
	orders_pair
	install --set on_error=dead_letter
	for how in stop skip dead_letter; do
		event pgq.location-info leaf1 q >/dev/null
		event pgq.tick-id 7 q >/dev/null
		event pgq.global-watermark '' q >/dev/null
		orders "$((RANDOM + 1))" "$((RANDOM + 32768))" 2026-01-30
		src "delete from orders"
		tick q
		once --set on_error=$how
		expect_match err ": 3 events of PgQ's own skipped"
	done
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 0
	event pgq.location-info leaf1 q >/dev/null
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out "^1 event of PgQ's own would be skipped"
}

# Other events without a row are bad ones: the others go on.
case_events_without_a_row() {
	local n=0 pair
	orders_pair on_error=skip
	orders 1 2
	for pair in 'EXECUTE|create table x (y int default 1)' 'welcome|leaf1' 'order.created|{"id": 3, "note": "a=b"}' 'list|[1, 2]' \
		"I|(id,note) values ('1','x=y')" "U|note='x' where id='1'" 'mail|hello world, 1=1' 'xml|<a b="c"/>' \
		'nothing|' 'I:id|' 'pgqx|leaf'; do
		event "${pair%%|*}" "${pair#*|}" >/dev/null
		n=$((n + 1))
	done
	event order.created 'id=3&day=2026-01-31&note=a' >/dev/null
	event U 'id=4&day=2026-01-31&note=b' >/dev/null
	orders 5 6
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set on_error=stop
	expect_match err 'event [0-9]+ of batch .*: ev_data is not urlencoded: there is no row in an event of type "EXECUTE"'
	once
	expect_eq "$(grep -c 'event [0-9]* of batch [0-9]* skipped' err)" $n "events skipped"
	expect_match err 'ev_data is empty: there is no row in an event of type "nothing"'
	expect_rows 6
}

case_truncate_is_skipped() {
	orders_pair
	src "create trigger cut after truncate on orders for each statement execute function pgq.logutriga('q')"
	orders 1 1
	src "truncate orders; truncate orders"
	orders 2 2
	tick q
	once
	expect_rows 2
	expect_match err 'truncate'
}

case_backup_argument() {
	orders_pair
	src "drop trigger to_queue on orders;
		create trigger to_queue after insert or update on orders for each row execute function pgq.logutriga('q', 'backup')"
	orders 1 1
	src "update orders set note = 'new'"
	tick q
	once
	expect_eq "$(dst "select note from orders order by 1")" $'n1\nnew'
}

case_own_event_types() {
	orders_pair
	event 'something else' 'id=1&day=2026-01-31&note=a' other.table >/dev/null
	event '' 'id=2&day=2026-01-31&note' '' >/dev/null
	event 'I:' 'id=3&day=2026-01-31&note=' '' >/dev/null
	event 'RENAMED' 'id=4&day=2026-01-31&note=R' '' >/dev/null
	tick q
	once
	expect_eq "$(dst "select id, note is null, note from orders order by id")" $'1|f|a\n2|t|\n3|f|\n4|f|R'
}

case_decoding() {
	orders_pair
	event I:id 'id=1&day=2026-01-31&note=a%C3%96%c3%96+%2b%2B%25' >/dev/null
	event I:id '%69%64=2&d%61y=%32026-01-31&note=a%3db' >/dev/null
	event I:id 'note=x%0a%5c%2e%09&id=3&day=2026-01-31' >/dev/null
	event I:id 'id=4&day=2026-01-31&note=a=b=c' >/dev/null
	tick q
	once
	expect_eq "$(dst "select note from orders where id < 3 order by id")" $'aÖÖ ++%\na=b'
	expect_eq "$(dst "select encode(convert_to(note, 'UTF8'), 'hex') from orders where id = 3")" 780a5c2e09
	expect_eq "$(dst "select note from orders where id = 4")" a=b=c
}

case_columns_added() {
	orders_pair
	dst "alter table orders add extra text"
	orders 1 1
	src "alter table orders add extra text; insert into orders values (2, '2026-01-31', 'n2', 'e2')"
	orders 3 3
	src "insert into orders values (4, '2026-01-31', 'n4', 'e4')"
	tick q
	once
	expect_eq "$(dst "select * from orders order by id")" $'1|2026-01-31|n1|\n2|2026-01-31|n2|e2\n3|2026-01-31|n3|\n4|2026-01-31|n4|e4'
}

case_columns_dropped() {
	orders_pair
	orders 1 1
	src "alter table orders drop note; insert into orders values (2, '2026-01-31')"
	src "alter table orders add note text; insert into orders values (3, '2026-01-31', 'n3')"
	tick q
	once
	expect_eq "$(dst "select * from orders order by id")" $'1|2026-01-31|n1\n2|2026-01-31|\n3|2026-01-31|n3'
}

# A hundred column lists: more than the program remembers at a time.
case_many_shapes() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "do \$\$ begin execute (select 'create table t (id int, ' || string_agg('c' || i || ' int', ', ') || ')' from generate_series(1, 100) i); end \$\$"
	config dest_table=t part_field= part_template=
	install
	src "select pgq.insert_event('q', 'I:id', 'id=' || i || '&c' || (i % 100 + 1) || '=' || i) from generate_series(1, 1000) i" >/dev/null
	tick q
	once
	expect_rows 1000 t
	expect_eq "$(dst "select count(c1), sum(c1), count(c100), sum(c100) from t")" "10|5500|10|5490"
}

case_fields_renamed() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text, other text"
	dst "create table orders (order_id int, \"On Day\" date, remark text) partition by range (\"On Day\")"
	config "fields=id:order_id, day:On Day , note : remark"
	install
	src "insert into orders values (1, '2026-01-31', 'a', 'b')"
	tick q
	once
	expect_eq "$(dst "select tableoid::regclass, * from orders")" "orders_2026_01_31|1|2026-01-31|a"
}

case_partition_field_not_listed() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, note text)"
	config "fields=note, id" "part_template=$INHERITS"
	install
	orders 1 1 2026-03-04
	tick q
	once
	expect_eq "$(dst "select tableoid::regclass, * from orders")" "orders_2026_03_04|1|n1"
}

case_events_of_other_columns_with_a_list() {
	orders_pair "fields=id, day"
	event I:id 'note=a&day=2026-01-31&id=1' >/dev/null
	event I:id 'id=2&day=2026-01-31' >/dev/null
	tick q
	once
	expect_rows 2
}

case_no_partitions() {
	both_tables "id int primary key, v text"
	src "insert into t values (1, 'a')"
	tick q
	once
	expect_eq "$(partitions t)" ""
	expect_same_content
}

case_several_batches() {
	orders_pair
	local i
	for i in 1 2 3 4 5; do
		orders "$i" "$i" "2026-01-0$i"
		tick q
	done
	once
	expect_rows 5
	expect_eq "$(completed_tick)" "$(consumer_tick)" "the target's tick against the queue's"
	once
	expect_rows 5
}

case_empty_batches_are_finished() {
	orders_pair
	tick q
	tick q
	once
	expect_rows 0
	expect_eq "$(consumer_tick)" "$(src "select last_tick_id from pgq.get_queue_info('q')")" "ticks of empty batches are finished"
}

# With a list too nobody can tell which of the two is meant, wherever the second one stands.
case_column_twice_beside_a_list() {
	orders_pair fields="id, day"
	event I:id 'id=1&day=2026-01-31&note=x&%69d=2' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'the event has column id twice'
	expect_rows 0
}

# ---- column sets in turn

# statements_of REGEX: how many that match the target's log has.
statements_of() {
	grep " $DST .*statement:" "$CLUSTER/server.log" | grep -Ec "$1" || :
}

# 200 sets for three partitions: the target is not asked for any of them event by event.
case_many_column_sets() {
	local i columns= sets= before
	orders_pair "fields=*"
	for i in {0..7}; do
		columns+=", add c$i int"
		sets+=" || case when i % 200 >> $i & 1 = 1 then '&c$i=' || i else '' end"
	done
	dst "alter table orders ${columns#,}; alter database \"$DST\" set log_statement = 'all'"
	for i in 1 2; do
		src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-0' || 1 + i % 3$sets, 'public.orders', '', '', ''))
			from generate_series(${i}0001, ${i}6000) i" >/dev/null
		tick q
		before=$(statements_of .)
		once
		[ $(($(statements_of .) - before)) -lt 100 ] || fail "batch $i: $(($(statements_of .) - before)) statements"
	done
	expect_rows 12000
	expect_eq "$(dst "select count(*) from orders where c0 is distinct from case when id % 200 & 1 = 1 then id end
		or c3 is distinct from case when id % 200 >> 3 & 1 = 1 then id end or c7 is distinct from case when id % 200 >> 7 & 1 = 1 then id end")" 0
}

# ---- column sets that share a COPY

# sets_pair COLUMNS [KEY=VALUE]...: these columns of orders besides.
sets_pair() {
	orders_pair "fields=*" "${@:2}"
	dst "alter table orders add ${1//, /, add }; alter database \"$DST\" set log_statement = 'all'"
}

# sets FROM TO [DAYS]: a batch of events in four sets: with a and b, b, a, or neither.
sets() {
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-0' || 1 + i % ${3:-1}
		|| case when i / 2 & 1 = 0 then '&a=' || i else '' end || case when i / 4 & 1 = 0 then '&b=' || i else '' end))
		from generate_series($1, $2) i" >/dev/null
	tick q
}

# expect_sets ROWS A B: so many rows, with A and B, SQL, where events lacked these.
expect_sets() {
	expect_rows "$1"
	expect_eq "$(dst "select count(*) from orders where a is distinct from case when id / 2 & 1 = 0 then id else $2 end
		or b is distinct from case when id / 4 & 1 = 0 then id::text else $3 end")" 0 "rows that are wrong"
}

case_sets_share_a_copy() {
	sets_pair "a int, b text" event_order=id
	sets 1 4000
	once
	expect_eq "$(statements_of 'COPY orders_2026')" 1 "COPYs"
	expect_sets 4000 null null
	expect_eq "$(dst "select count(*) from (select id, row_number() over (order by ctid) n from orders) x where id <> n")" 0 "rows out of order"
}

# Of many tables, only those with several sets are asked for their columns, after a batch.
case_sets_of_many_tables() {
	local i
	sets_pair "a int, b text" batch_min_events=0 event_order=id
	for i in {1..20}; do
		printf '[public.t%s]\ndest_table = t%s\n' "$i" "$i" >>job.ini
		dst "create table t$i (like orders)"
	done
	printf '[type I:*]\n' >>job.ini
	sets 1 4000
	sets 4001 8000
	once
	expect_eq "$(statements_of 'attname.*has_column_privilege')" 1 "questions"
	expect_eq "$(statements_of 'COPY.*orders_2026')" 2002 "COPYs: those of the first batch, and one"
	expect_sets 8000 null null
}

# A serial, a domain and a type have defaults, too; and a row must not have another's.
case_sets_and_defaults() {
	sets_pair "a int default 7, b text, s serial"
	dst "create domain d as text default 'of the domain'; alter table orders alter b type d"
	sets 1 4000
	once -v
	expect_no_match err 'loaded again'
	expect_sets 4000 7 "'of the domain'"
	expect_eq "$(dst "select count(distinct s), min(s), max(s) from orders")" "4000|1|4000"
}

# Only the second day has it, which the check before the commit sees, with --verify too.
default_of_one_partition() {
	sets_pair "a int, b text" batch_min_events=0 "$@"
	dst "create table orders_2026_01_02 partition of orders for values from ('2026-01-02') to ('2026-01-03');
		alter table orders_2026_01_02 alter b set default 'its own'"
	sets 1 4000 2
	sets 4001 8000 2
	once -v ${VERIFY:+--verify}
	expect_eq "$(grep -c 'loaded again' err)" 1
	expect_sets 8000 null "case when day = '2026-01-02' then 'its own' end"
}

case_default_of_one_partition() {
	default_of_one_partition
}

case_default_of_one_partition_in_lanes() {
	default_of_one_partition lanes=2
}

case_default_of_one_partition_verified() {
	VERIFY=1 default_of_one_partition
}

# The type of one partition's column has a default, and the column has none.
case_type_with_a_default() {
	sets_pair "a int, b text" "part_template=create table _DEST_TABLE (like _PARENT)"
	dst "create domain d as text default 'of the domain'; create table orders_2026_01_02 (id int, day date, note text, a int, b d)"
	sets 1 4000 2
	once -v
	expect_match err 'loaded again'
	expect_eq "$(dst "select count(*), count(b), count(*) filter (where b = 'of the domain') from orders_2026_01_02")" "2000|2000|1000"
	expect_eq "$(dst "select count(*), count(b) from orders_2026_01_01")" "2000|1000"
}

case_default_from_now_on() {
	sets_pair "a int, b text"
	start -v job.ini
	sets 1 4000
	within 40 dst_gives 4000 "select count(*) from orders"
	dst "alter table orders alter b set default 'new'"
	sets 4001 8000
	within 40 dst_gives 8000 "select count(*) from orders"
	expect_match bg.err 'loaded again'
	expect_sets 8000 null "case when id > 4000 then 'new' end"
}

# No event names it any more.
case_column_that_is_gone() {
	sets_pair "a int, b text, c int"
	start -v job.ini
	event I:id 'id=9000&day=2026-01-01&c=1' >/dev/null
	sets 1 4000
	within 40 dst_gives 4001 "select count(*) from orders"
	dst "alter table orders drop c"
	sets 4001 8000
	within 40 dst_gives 8001 "select count(*) from orders"
	expect_match bg.err 'columns of their events alone'
	dst "delete from orders where id = 9000"
	expect_sets 8000 null null
}

# A role may give the columns that it has a right to, of dest_table or of one partition.
case_rights_to_columns() {
	sets_pair "a int, b text"
	dst "create role \"$CASE\" login; grant usage on schema pgq_ext to \"$CASE\"; grant all on all tables in schema pgq_ext to \"$CASE\";
		create table orders_2026_01_01 partition of orders for values from ('2026-01-01') to ('2026-01-02');
		create table orders_2026_01_02 partition of orders for values from ('2026-01-02') to ('2026-01-03');
		grant insert (id, day, a) on orders, orders_2026_01_02 to \"$CASE\"; grant insert on orders_2026_01_01 to \"$CASE\";
		grant select on orders, orders_2026_01_01, orders_2026_01_02 to \"$CASE\""
	config "fields=*" part_template= "dst_db=dbname=$DST user=$CASE"
	rights_batch 1
	expect_no_match err 'events alone'
	dst "grant insert (b) on orders to \"$CASE\""
	rights_batch 1001
	expect_match err 'events alone'
	expect_eq "$(dst "select count(*), count(a), count(b) from orders_2026_01_01")|$(dst "select count(*), count(a), count(b) from orders_2026_01_02")" \
		"1000|500|500|1000|500|0"
}

# 1,000 events, of which those of the second day have no b.
rights_batch() {
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-0' || 1 + i % 2
		|| case when i / 2 & 1 = 1 then '&a=1' else '' end || case when i % 2 = 0 and i / 4 & 1 = 0 then '&b=1' else '' end))
		from generate_series($1, $1 + 999) i" >/dev/null
	tick q
	once -v
}

# Each row that lacks it is refused by itself, with the event's id.
case_lacks_a_column_that_is_not_null() {
	sets_pair "a int, b text" on_error=dead_letter
	dst "create table orders_2026_01_01 partition of orders for values from ('2026-01-01') to ('2026-01-02');
		alter table orders_2026_01_01 alter b set not null"
	sets 1 400
	once
	expect_eq "$(dst "select count(*), count(*) filter (where substring(ev_data, 'id=(\\d+)')::int / 4 & 1 = 1), max(sqlstate), max(column_name)
		from tdispatch.dead_letter")" "200|200|23502|b"
	expect_sets 200 null null
}

# suspect_rows WANTED: all are good, and the one that only the target can read gets that b.
suspect_rows() {
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-01' || case when i = 3000 then '&x=1 Jan 2026' else '&b=' || i end))
		from generate_series(1, 6000) i" >/dev/null
	tick q
	once
	expect_rows 6000
	expect_eq "$(dst "select b, x from orders where id = 3000")" "$1|2026-01-01"
}

# A NULL that its event does not have is no fault of the event.
case_suspect_row_of_a_partition_with_a_default() {
	sets_pair "a int, b int, x date"
	dst "create table orders_2026_01_01 partition of orders for values from ('2026-01-01') to ('2026-01-02');
		alter table orders_2026_01_01 alter b set default 5, alter b set not null"
	suspect_rows 5
}

case_suspect_row_of_a_partition_with_an_identity() {
	sets_pair "a int, b int, x date" on_error=dead_letter
	dst "create table orders_2026_01_01 (id int, day date, note text, a int, b int generated by default as identity, x date);
		alter table orders attach partition orders_2026_01_01 for values from ('2026-01-01') to ('2026-01-02')"
	suspect_rows 1
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 0
}

# One batch is loaded twice for it, and the next ones are not.
case_not_null_from_now_on() {
	local n careful=
	sets_pair "a int, b text" batch_min_events=0
	start -v job.ini
	sets 1 4000
	within 40 dst_gives 4000 "select count(*) from orders"
	dst "update orders set b = '' where b is null; alter table orders alter b set default 'new', alter b set not null"
	for n in 4000 8000 12000; do
		sets $((n + 1)) $((n + 4000))
		within 40 dst_gives $((n + 4000)) "select count(*) from orders"
		[ -n "$careful" ] || careful=$(statements_of 'SAVEPOINT tdispatch')
	done
	expect_eq "$(statements_of 'SAVEPOINT tdispatch')" "$careful" "savepoints of careful passes"
	[ "$careful" -gt 0 ] || fail "no pass was careful"
}

run_cases
