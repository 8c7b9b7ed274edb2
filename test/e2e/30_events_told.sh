# What rows tell of their events, which events and columns count, and the order of rows.
. "$(dirname "$0")/../cases.sh"

WORDS="_OP:op, _EVTYPE:type, _EVID:ev_id, _EVTIME:at, _TXID:txid, _TABLE:source, _TICK:tick, _BATCHTIME:tick_at"
COLUMNS="op text, type text, ev_id bigint, at timestamptz, txid bigint, source text, tick bigint, tick_at timestamptz"

# told_pair [KEY=VALUE]...: orders, which a trigger writes to the queue; the target has the words' columns.
told_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text, $COLUMNS) partition by range (day)"
	config "fields=*, $WORDS" "$@"
	install
}

# The events of the queue as rows of the words.
events() {
	src "select split_part(ev_type, ':', 1), ev_type, ev_id, ev_time at time zone 'UTC', ev_txid, ev_extra1
		from pgq.event_template ${1:-} order by ev_id"
}

told() {
	dst "select op, type, ev_id, at at time zone 'UTC', txid, source from orders ${1:-} order by ev_id"
}

case_every_word() {
	told_pair
	orders 1 3
	src "update orders set note = 'x' where id = 1; delete from orders where id = 2"
	event 'odd	\type' 'id=9&day=2026-01-31&note' '' >/dev/null
	tick q
	once
	expect_eq "$(told)" "$(events)" "words"
	expect_eq "$(dst "select id, op from orders where op in ('U', 'D') order by 2")" $'2|D\n1|U'
	expect_eq "$(dst "select distinct tick, tick_at at time zone 'UTC' from orders")" \
		"$(src "select tick_id, tick_time at time zone 'UTC' from pgq.tick order by 1 desc limit 1")" "tick"
}

# Of rows that go as binary values, and of columns of other types.
case_binary_words() {
	told_pair lanes=2
	dst "alter table orders alter tick type int, alter txid type text, alter tick_at type timestamp, alter at type text"
	orders 1 20000 2026-01-30
	orders 20001 40000
	tick q
	once -v
	expect_match err 'go as binary values'
	expect_eq "$(dst "select count(*), count(distinct ev_id), min(at) ~ '^20[0-9-]* [0-9:.]*[+]00\$' from orders")" "40000|40000|t"
	expect_eq "$(dst "select md5(string_agg(concat_ws('|', op, type, ev_id, at::timestamptz at time zone 'UTC', txid, source), E'\n' order by ev_id)) from orders")" \
		"$(src "select md5(string_agg(concat_ws('|', split_part(ev_type, ':', 1), ev_type, ev_id, ev_time at time zone 'UTC', ev_txid, ev_extra1), E'\n' order by ev_id)) from pgq.event_template")"
	expect_eq "$(dst "select distinct tick, tick_at from orders")" \
		"$(src "select tick_id, tick_time at time zone 'UTC' from pgq.tick order by 1 desc limit 1")" "tick"
}

case_words_and_renamed_columns() {
	told_pair "fields=_OP:op, note:source, *" "part_template=$ATTACH"
	orders 1 1
	event I:id 'day=2026-01-31&id=2&note=n2&_OP=mine' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set skip_fields=day
	once --set "skip_fields=_OP"
	expect_eq "$(dst "select id, day, note, op, source from orders order by id")" $'1|2026-01-31||I|n1\n2|2026-01-31||I|n2'
}

case_batch_time() {
	told_pair part_field=_BATCHTIME part_method=hourly part_timezone=UTC "fields=*, _BATCHTIME:tick_at" "part_template=
		create table _DEST_TABLE (like orders, check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)) inherits (_PARENT);"
	dst "drop table orders; create table orders (id int, day date, note text, tick_at timestamptz)"
	sed -i 's/like orders, //' job.ini
	orders 1 2 2001-01-01
	tick q
	expect_exit 2 "$TDISPATCH" --once job.ini --set lanes=2
	expect_match err 'part_field.*_BATCHTIME needs lanes = 1'
	expect_exit 2 "$TDISPATCH" --once job.ini --set part_timezone=text
	expect_match err '_PART_FIELD would be a column in UTC'
	once
	expect_eq "$(dst "select distinct tableoid::regclass::text = to_char(tick_at at time zone 'UTC', '\"orders_\"YYYY_MM_DD_HH24') from orders")" t
	expect_rows 2
}

case_words_in_letters() {
	told_pair on_error=dead_letter "fields=*, _OP:op, _EVID:ev_id, _EVTIME:at, _TABLE:source, _TICK:tick"
	orders 1 2
	event U:id 'id=bad&day=2026-01-31&note=n' >/dev/null
	tick q
	once
	expect_rows 2
	dst "update tdispatch.dead_letter set ev_data = 'id=3&day=2026-01-31&note=n'"
	dst "alter table tdispatch.dead_letter drop ev_txid, drop tick_time"
	expect_exit 2 "$TDISPATCH" --replay job.ini --set "fields=*, _TXID:txid"
	expect_match err 'dead letters have no ev_txid'
	install
	expect_exit 1 "$TDISPATCH" --replay job.ini --set "fields=*, _BATCHTIME:tick_at"
	expect_match out 'its dead letter lacks the time of its tick'
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(dst "select op, ev_id, at at time zone 'UTC', source, tick from orders where id = 3")" \
		"$(src "select 'U', ev_id, ev_time at time zone 'UTC', ev_extra1, (select max(tick_id) from pgq.tick) from pgq.event_template where ev_type = 'U:id'")"
}

case_verify_and_dry_run() {
	told_pair tables=public.orders event_types="I, U"
	orders 1 3
	src "update orders set note = 'x'; delete from orders"
	event I:id 'id=9&day=2026-01-31&note=n' public.other >/dev/null
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out '10 events, 6 rows'
	expect_match out '4 events would be left out by filters'
	once --verify
	expect_match err 'events=10 rows=6 .*passed=4'
	expect_eq "$(told)" "$(events "where ev_type ~ '^[IU]' and ev_extra1 = 'public.orders'")"
}

# passed NAME WANTED KEY=VALUE...: which ids of many events come through, and how many do not.
passed() {
	local name=$1 want=$2
	dst "truncate orders"
	src "select pgq.register_consumer_at('q', '$name', (select min(tick_id) from pgq.tick))" >/dev/null
	shift 2
	once --set "consumer_name=$name" "${@/#/--set=}"
	expect_eq "$(dst "select coalesce(string_agg(id::text, ' ' order by id), '') from orders")" "$want" "$*"
	expect_match err "events=9 rows=$(wc -w <<<"$want") "
	[ "$1" = tables= ] || expect_match err "passed=$((9 - $(wc -w <<<"$want")))( |\$)"
}

case_filters() {
	local n=0 table
	orders_pair
	tick q
	for table in public.orders public.po_2026 public.po_2027 audit.log Public.orders public.pox_1 'public.a%b' "x'y.z\\" none; do
		n=$((n + 1))
		event "$(cut -d ' ' -f $n <<<'I:id U:id D I I:id order.created I X:: ')" "id=$n&day=2026-01-31&note=n" "$table" >/dev/null
	done
	src "update pgq.event_template set ev_extra1 = null where ev_extra1 = 'none'"
	tick q
	passed a "1" tables=public.orders
	passed b "1" tables=orders
	passed c "2 3 4" "tables=po_*, audit.*"
	passed d "7" 'tables=a%%b'
	passed e "7" 'tables=a%%*'
	passed f "8" "tables=x'y.*\\"
	passed g "8" "tables=x'y.z\\"
	passed h "1 2 3 4 5 6 7 8" 'tables=*.*'
	passed i "" "tables=orders')) or true --"
	passed j "1 4 5 7" event_types=I
	passed k "2 3 6" "event_types=U, D, order.created"
	passed l "8" event_types=X
	passed m "1 4 7" event_types=I "tables=public.*, audit.log"
	passed n "1 2 3 4 5 6 7 8 9" tables=
	expect_exit 2 "$TDISPATCH" --once job.ini --set tables=a,,b
	expect_match err 'tables.*an empty name in the list'
}

case_skip_fields() {
	orders_pair
	orders 1 1
	tick q
	once --set "skip_fields=note, absent"
	orders 2 2
	tick q
	once --set "skip_fields=note" --set "fields=id, day, note"
	expect_eq "$(dst "select id, day, note from orders order by id")" $'1|2026-01-31|\n2|2026-01-31|'
	expect_exit 2 "$TDISPATCH" --once job.ini --set skip_fields=note --set fields=note
	expect_match err 'skip_fields.*leaves nothing of fields'
}

# A column that picks the partition need not be written.
case_partition_by_a_skipped_field() {
	orders_pair "part_template=create table _DEST_TABLE () inherits (_PARENT);"
	dst "drop table orders; create table orders (id int, note text)"
	orders 1 1
	tick q
	once --set skip_fields=day
	expect_eq "$(dst "select tableoid::regclass, * from orders")" "orders_2026_01_31|1|n1"
}

case_on_missing() {
	local how
	orders_pair "fields=id, day, note, extra" on_error=skip
	dst "alter table orders add extra text default 'default'"
	for how in error null default; do
		event I:id "id=1&day=2026-01-31&note=$how" >/dev/null
		event I:id "id=2&day=2026-01-31&extra=e" >/dev/null
		event I:id "id=3&day=2026-01-31&extra=e&note=$how" >/dev/null
		event I:id "day=2026-01-31&extra=e&note=$how" >/dev/null
		event I:id "id=5&extra=e&note=$how" >/dev/null
		tick q
		once --set on_missing=$how
		dst "update orders set note = '-' where note is null"
	done
	expect_eq "$(dst "select coalesce(id::text, 'null'), note, coalesce(extra, 'null') from orders order by note, 1")" \
		$'2|-|e\n2|-|e\n1|default|default\n3|default|e\nnull|default|e\n3|error|e\n1|null|null\n3|null|e\nnull|null|e'
}

# ---- order

# order_pair KEY=VALUE...: an append-only target that numbers its rows.
order_pair() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (day date, key int, version int, note text, seq bigserial) partition by range (day)"
	config "$@"
	install
}

# In each partition the rows of a key have versions that grow with seq.
expect_order() {
	expect_eq "$(dst "select count(*) from orders")" "$1" "rows"
	expect_eq "$(dst "select count(*) from (select version < lag(version) over (partition by day, key order by seq) back from orders) x where back")" 0 "rows that are older than the one before"
	expect_eq "$(dst "select count(*) from (select distinct on (day, key) version, max(version) over (partition by day, key) newest from orders order by day, key, seq desc) x
		where version <> newest")" 0 "keys whose newest version has not the highest seq"
}

versions() {
	src "select count(pgq.insert_event('q', 'I:key', 'day=2026-01-0' || i % 5 + 1 || '&key=' || i % 20 || '&version=' || i || '&note=' || repeat('n', 20))) from generate_series(1, 60000) i" >/dev/null
	tick q
}

case_order() {
	order_pair
	versions
	once -v
	expect_match err 'go as binary values'
	expect_order 60000
}

case_order_in_two_lanes() {
	order_pair lanes=2
	versions
	once -v
	expect_match err 'go as binary values'
	expect_order 60000
}

# Only the target can read a blank before a number: in an order such a row is text at its place, and a
# bad one makes the pass a careful one.
case_order_of_mixed_formats() {
	order_pair on_error=skip event_order=id
	src "select count(pgq.insert_event('q', 'I:key', 'day=2026-01-0' || i % 2 + 1 || '&key=' || case when i % 997 = 0 then '+' else '' end || i % 20 || '&version=' || i || '&note=' || repeat('n', 20))) from generate_series(1, 60000) i" >/dev/null
	tick q
	once
	expect_order 60000
	dst "truncate orders"
	versions
	event I:key 'day=2026-01-01&key=x&version=1&note=n' >/dev/null
	tick q
	once
	expect_order 60000
}

# Columns in another order, and JSON among urlencoded rows, are the same columns.
case_order_of_columns_in_any_order() {
	order_pair
	src "select count(pgq.insert_event('q', 'I:key', case i % 3 when 0 then 'day=2026-01-01&key=' || i % 20 || '&version=' || i || '&note=' || repeat('n', 20)
		when 1 then 'version=' || i || '&note=' || repeat('n', 20) || '&key=' || i % 20 || '&day=2026-01-01'
		else format('{\"note\": \"x\", \"version\": %s, \"day\": \"2026-01-01\", \"key\": %s}', i, i % 20) end)) from generate_series(1, 30000) i" >/dev/null
	tick q
	once
	expect_order 30000
}

# producers N KEY=VALUE...: N sessions at once insert versions, which are the events' ids, of shared keys.
producers() {
	local n pids=()
	for ((n = 0; n < 4; n++)); do
		src "do \$\$ begin for i in 1..3000 loop
			perform pgq.insert_event('q', 'I:key', 'day=2026-01-0' || i % 2 + 1 || '&key=' || i % 20 || case when i % 10 = 0 then '' else '&note=n' end);
			if i % 100 = 0 then commit; end if; end loop; end \$\$" >/dev/null &
		pids+=($!)
	done
	wait "${pids[@]}"
	tick q
}

case_order_by_id() {
	order_pair event_order=id "fields=*, _EVID:version"
	producers
	once
	expect_order 12000
}

case_order_by_id_in_two_lanes() {
	order_pair event_order=id lanes=2 "fields=*, _EVID:version"
	producers
	once
	expect_order 12000
}

run_cases
