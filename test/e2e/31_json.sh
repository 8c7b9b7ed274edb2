# JSON events: what pgq.jsontriga writes, and payloads of applications.
. "$(dirname "$0")/../cases.sh"

# json_table NAME COLUMNS: a source table whose events are JSON.
json_table() {
	src "
		set client_min_messages = warning;
		select pgq.create_queue('q') where not exists (select 1 from pgq.queue where queue_name = 'q');
		create table $1 ($2);
		create trigger to_queue after insert or update or delete on $1
			for each row execute function pgq.jsontriga('q');
		create trigger cut after truncate on $1 for each statement execute function pgq.jsontriga('q')" >/dev/null
}

json_pair() {
	new_pair "$CASE"
	json_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "$@"
	install
}

# both_tables COLUMNS: table t on both sides, unpartitioned.
both_tables() {
	new_pair "$CASE"
	json_table t "$1"
	dst "create table t (${1/primary key/})"
	config dest_table=t part_field= part_template= "${@:2}"
	install
}

expect_same_content() {
	expect_eq "$(content "$DST" "${1:-t}")" "$(content "$SRC" "${1:-t}")" "content"
}

case_operations() {
	json_pair "fields=*, _OP:op"
	dst "alter table orders add op text"
	orders 1 2
	src "update orders set note = 'x' where id = 1; delete from orders where id = 2; truncate orders"
	tick q
	once
	expect_match err ': 1 truncate event skipped'
	expect_eq "$(dst "select id, day, note, op from orders order by id, op")" \
		$'1|2026-01-31|n1|I\n1|2026-01-31|x|U\n2|2026-01-31|n2|D\n2|2026-01-31|n2|I'
}

case_types() {
	both_tables "id int primary key, a bool, b bytea, c int[], d jsonb, e numeric, f timestamptz, g interval, h text[], i float8, j inet, k uuid, l timestamp, m date, n smallint, o bigint"
	src "insert into t values (1, true, '\\x00ff0a5c', '{1,null,3}', '{\"a\": \"b\\\\nc\"}', 12345678901234567890.123456789,
		'2026-01-31 12:34:56.789+05:30', '1 mon 2 days', array['a b', 'c,\"d\\', null, ''], 1e-300, '::1/64', '00112233-4455-6677-8899-aabbccddeeff',
		'2026-01-31 01:02:03.000004', '0044-03-15 BC', -32768, 9223372036854775807),
		(2, null, '', '{}', 'null', 'NaN', 'infinity', null, '{}', '-Infinity', null, null, '-infinity', 'infinity', null, 0)"
	tick q
	once
	expect_same_content
}

case_bytes_and_names() {
	both_tables "id int primary key, v text, \"a b\" text, \"qu\"\"ote\" text, \"back\\slash\" text, \"größe\" text, \"per%cent\" text, \"a&b=c\" text"
	src "insert into t select i, chr(i), '\\.', '\\N', '\"', 'ä€𝄞', E'\\t\\n\\r', '{}' from generate_series(1, 127) i;
		insert into t select 200 + i, 'a' || chr(i) || 'b' from generate_series(1, 127) i;
		insert into t values (400, chr(128) || chr(2047) || chr(2048) || chr(65533) || chr(65536) || chr(1114109)), (401, repeat('ä\"\\', 500000))"
	tick q
	LIMIT=20 once
	expect_same_content
}

# T counts as exact: these rows go as binary values.
case_binary() {
	both_tables "id int primary key, d date, at timestamp, moment timestamptz, yes boolean, n bigint, v text, u uuid"
	src "insert into t select i, date '2026-01-01' + i % 50, timestamp '2026-01-01' + i * interval '1.25 s', timestamptz '2026-01-01' + i * interval '1.000001 s',
		i % 3 = 0, case when i % 7 > 0 then i * 1000000007::bigint end, repeat(E'ä\\n', i % 5), md5(i::text)::uuid from generate_series(1, 30000) i"
	tick q
	once -v
	expect_match err 'go as binary values'
	expect_same_content
	src "update t set yes = not yes"
	dst "truncate t"
	tick q
	once --verify
	expect_same_content
}

case_primary_key() {
	json_pair "part_template=create table _DEST_TABLE (like _PARENT, primary key (_PKEY)) inherits (_PARENT);"
	dst "drop table orders; create table orders (id int, day date, note text)"
	sed -i 's/like _PARENT, //' job.ini
	orders 1 1
	tick q
	once
	expect_eq "$(dst "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orders_2026_01_31'::regclass and contype = 'p'")" "PRIMARY KEY (id)"
}

# payload DATA: an application's event.
payload() {
	event order.created "$1" >/dev/null
}

case_payloads() {
	json_pair "fields=*, _OP:op, _EVTYPE:type" part_field= part_template=
	dst "drop table orders; create table orders (id text, note text, op text, type text)"
	payload '{"id": 1, "note": "a"}'
	payload '{ "note" : null , "id" : -1.50e+3 }'
	payload '{"id": true, "note": {"a": [1, "\u00e4", null]}}'
	payload '{"\u0069d": "4", "note": "\u00e4\ud834\udd1e\n\t\\\"\/"}'
	event 'a:b' '{"id": 5, "note": []}' '' >/dev/null
	event I:id 'id=6&note=%7b%7d' >/dev/null
	tick q
	once
	expect_eq "$(dst "select id, note, op, type from orders where id <> '4' order by id")" \
		$'-1.50e+3||order.created|order.created\n1|a|order.created|order.created\n5|[]|a:b|a:b\n6|{}|I|I:id\ntrue|{"a": [1, "\\u00e4", null]}|order.created|order.created'
	expect_eq "$(dst "select note = U&'\\00e4\\+01d11e' || E'\\n\\t\\\\\"/' from orders where id = '4'")" t
}

# refused DATA REGEX [TYPE]: the event's own error, and the others go on.
refused() {
	event "${3:-order.created}" "$1" >/dev/null
	tick q
	once
	expect_match err "skipped.*: $2"
}

case_bad_json() {
	json_pair on_error=skip
	refused '{"id": 1, "day": "2026-01-31", "note": "a"' 'ev_data is no JSON object: .*, at byte 42'
	refused '{"id": 01, "day": "2026-01-31", "note": "a"}' 'ev_data is no JSON object: .*, at byte 8'
	refused '{"id": 1, "day": "2026-01-31", "note": "a"} x' 'more text after the end, at byte 44'
	refused '{"id": 1, "day": "2026-01-31", "note": "\ud800"}' 'column note: \\u0000 or half a surrogate pair at byte 40'
	refused '{"id": 1, "day": "2026-01-31", "note": "\u0000"}' 'column note: .* at byte 40'
	refused '{"id": 1, "day": "2026-01-31", "id": 2}' 'the event has column id twice'
	refused '{"id": 1, "day": "2026-01-31", "\u0069d": 2}' 'the event has column id twice'
	refused "{\"id\": 1, \"day\": \"2026-01-31\", \"note\": $(printf '[%.0s' {1..70})$(printf ']%.0s' {1..70})}" '.*nested too deeply'
	refused '{}' 'the event lacks column day'
	refused '[1]' 'ev_data is not urlencoded'
	refused '{"id": 1, "day": "2026-01-31"}' 'ev_type is no JSON object with the op' '{"op":"MERGE"}'
	refused '{"id": 1, "day": "2026-01-31"}' 'ev_type is no JSON object with the op' '{"op":"INSERT"'
	refused 'id=1&day=2026-01-31' 'ev_type is pgq.jsontriga' '{"op":"INSERT","table":["public","t"]}'
	orders 1 3
	tick q
	once
	expect_rows 3
}

case_event_format() {
	json_pair on_error=skip
	payload '{"id": 1, "day": "2026-01-31"}'
	event I:id 'id=2&day=2026-01-31' >/dev/null
	tick q
	once --set event_format=json
	expect_match err 'skipped.*: ev_data is no JSON object'
	expect_rows 1
	payload $' \t\r\n{"id": 5, "day": "2026-01-31"}\n'
	tick q
	once --set event_format=json
	expect_rows 2
	payload '{"id": 3, "day": "2026-01-31"}'
	event I:id 'id=4&day=2026-01-31' >/dev/null
	tick q
	once --set event_format=urlencoded
	expect_match err 'skipped.*: ev_data is not urlencoded'
	expect_eq "$(dst "select string_agg(id::text, ' ' order by id) from orders")" "1 4 5"
}

# Another encoding than UTF8: an escape above ASCII would be in another one.
case_latin1() {
	new_pair "$CASE"
	sql postgres <<<"create database \"${SRC}_l1\" template template0 encoding latin1 lc_collate 'C' lc_ctype 'C'"
	SRC=${SRC}_l1
	src "set client_min_messages = warning; create extension pgq; select pgq.create_queue('q')" >/dev/null
	dst "create table orders (id int, day date, note text)"
	config part_field= part_template= on_error=skip "src_db=dbname=$SRC"
	install
	src "select pgq.insert_event('q', 'x', '{\"id\": 1, \"note\": \"' || chr(228) || '\u0041\"}'), pgq.insert_event('q', 'x', '{\"id\": 2, \"note\": \"\u00e4\"}')" >/dev/null
	tick q
	once
	expect_match err 'column note: a \\u above ASCII, which src_db.s encoding may not have'
	expect_eq "$(dst "select id, note from orders")" "1|äA"
}

# Names come from events: they are quoted.
case_hostile_names() {
	json_pair part_field= part_template= on_error=skip
	dst "drop table orders; create table orders (id int, \"x) from stdin; drop table victim; --\" text, \"\"\"); drop table victim; --\" text); create table victim ()"
	payload '{"id": 1, "x) from stdin; drop table victim; --": "a"}'
	payload '{"id": 2, "\"); drop table victim; --": "\\.\n"}'
	payload '{"id": 3, "\u0022); drop table victim; --": "\\N"}'
	payload '{"id": 4, "absent\"; drop table victim; --": "a"}'
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	dst "alter table orders add \"absent\"\"; drop table victim; --\" text"
	once
	expect_rows 4
	expect_eq "$(dst "select count(*) from victim")" 0
	expect_eq "$(dst "select \"\"\"); drop table victim; --\" = '\\.' || E'\\n' from orders where id = 2")" t
}

case_letters_of_json() {
	json_pair on_error=dead_letter "fields=*, _OP:op"
	dst "alter table orders add op text"
	install
	orders 1 2
	src "select pgq.insert_event('q', '{\"op\":\"UPDATE\",\"table\":[\"public\",\"orders\"],\"pkey\":[\"id\"]}', '{\"id\":\"x\",\"day\":\"2026-01-31\",\"note\":\"n\"}')" >/dev/null
	tick q
	once
	expect_rows 2
	dst "update tdispatch.dead_letter set ev_data = replace(ev_data, '\"x\"', '3')"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(dst "select id, note, op from orders where id = 3")" "3|n|U"
}

# With a list: columns by name, what lacks, and what is there twice.
case_lists() {
	json_pair "fields=id, note:note, day" on_error=skip on_missing=null
	payload '{"x": {"y": 1}, "day": "2026-01-31", "id": 1}'
	payload '{"day": "2026-01-31", "note": "a", "id": 2, "id": 3}'
	payload '{"d\u0061y": "2026-02-01", "note": "a", "id": 4}'
	tick q
	once
	expect_match err 'the event has column id twice'
	expect_eq "$(dst "select * from orders order by id")" $'1|2026-01-31|\n4|2026-02-01|a'
}

run_cases
