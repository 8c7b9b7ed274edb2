# Several tables from one queue: config sections say where the events of each go.
. "$(dirname "$0")/../cases.sh"

# sections TEXT: what follows [tdispatch]'s keys in job.ini.
sections() {
	printf '%s\n' "$1" >>job.ini
}

target_table() {
	dst "create table $1 ($2, day date, note text) partition by range (day)"
}

# tables_pair SECTIONS [KEY=VALUE]...: source tables orders, log_a, log_b and scratch; targets orders
# and log_a, log_b in schema archive. dest_table is not set.
tables_pair() {
	local table
	new_pair "$CASE"
	dst "create schema archive"
	for table in orders log_a log_b scratch; do
		source_table $table "id int primary key, day date, note text"
	done
	target_table orders "id int"
	target_table archive.log_a "id int"
	target_table archive.log_b "id int"
	config dest_table= "part_template=$ATTACH" "${@:2}"
	sections "$1"
	[ -n "${INVALID:-}" ] || install
}

LOGS='[public.log_*]
dest_table = archive.%(table)s'
ORDERS='[public.orders]
dest_table = orders'
SCRATCH='[public.scratch]
ignore = 1'

# rows TABLE FROM TO [DAY]: inserts them at the source.
rows() {
	src "insert into $1 select i, '${4:-2026-01-31}', 'n' || i from generate_series($2, $3) i"
}

some_of_all() {
	rows orders 1 5
	rows log_a 1 7
	rows orders 6 10 2026-02-01
	rows log_b 1 3
	rows scratch 1 4
	tick q
}

expect_all() {
	expect_rows 10
	expect_rows 7 archive.log_a
	expect_rows 3 archive.log_b
	expect_eq "$(partitions)" "orders_2026_01_31 orders_2026_02_01"
	expect_eq "$(partitions archive.log_a)" "log_a_2026_01_31"
}

case_two_tables_and_a_pattern() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	some_of_all
	once
	expect_all
	expect_match err "events=24 rows=20"
	some_of_all_again
	once
	expect_rows 17 archive.log_a
}

some_of_all_again() {
	rows log_a 8 17
	tick q
}

case_lanes() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH" lanes=2
	some_of_all
	once --verify
	expect_all
}

case_verify() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	some_of_all
	once --verify
	expect_match err "verified, 4 partitions"
	expect_all
}

# Partitions of the same name in two schemas are two tables.
case_one_name_in_two_schemas() {
	tables_pair "$ORDERS
[public.log_a]
dest_table = archive.orders" lanes=2
	target_table archive.orders "id int"
	rows orders 1 5
	rows log_a 1 7
	tick q
	once --verify
	expect_rows 5
	expect_rows 7 archive.orders
	expect_match err "verified, 2 partitions"
}

# One section has other columns, its own method, or none.
case_keys_of_sections() {
	tables_pair "[public.orders]
dest_table = plain
part_field =
fields = id, note:what
[public.log_*]
dest_table = archive.%(table)s
part_method = monthly"
	dst "create table plain (id int, what text)"
	rows orders 1 5
	rows log_a 1 3
	tick q
	once
	expect_eq "$(dst "select count(what) from plain")" 5
	expect_eq "$(partitions archive.log_a)" log_a_2026_01
}

case_exact_names_count_first() {
	tables_pair "[public.*]
dest_table = archive.log_b
[public.orders]
dest_table = orders
[public.log_a]
dest_table = archive.log_a
[*.*]
ignore = 1"
	some_of_all
	once
	expect_rows 10
	expect_rows 7 archive.log_a
	expect_eq "$(dst "select count(*) from archive.log_b")" 7 "log_b and scratch"
}

case_no_section_matches() {
	tables_pair "$ORDERS"
	rows log_a 1 1
	rows orders 1 5
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "no section of the config is for source table public.log_a"
	expect_rows 0
	rows log_a 2 3
	tick q
	install --set on_error=dead_letter
	once --set on_error=dead_letter
	expect_rows 5
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 3
	expect_eq "$(grep -c 'further events of it' err)" 1 "warnings"
	sections "$LOGS"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_rows 3 archive.log_a
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 0
}

case_all_others_are_ignored() {
	tables_pair "$ORDERS
[*.*]
ignore = 1"
	some_of_all
	once
	expect_rows 10
}

case_types() {
	tables_pair "[type order.*]
dest_table = orders
[type *]
ignore = 1
$LOGS"
	src "select pgq.insert_event('q', 'order.created', 'id=1&day=2026-01-31&note=a'), pgq.insert_event('q', 'other', 'id=2')" >/dev/null
	rows log_a 1 2
	tick q
	once
	expect_rows 1
	expect_rows 2 archive.log_a
}

# Into one table, from two source tables with other columns.
case_two_ways_to_one_table() {
	local sections="[public.orders]
dest_table = orders
[public.log_a]
dest_table = orders
fields = id, day, note"
	tables_pair "$sections" lanes=2
	rows orders 1 5
	rows log_a 6 9
	tick q
	once --verify
	expect_rows 9
	expect_match err "verified, 1 partitions"
}

case_disagreement() {
	INVALID=1 tables_pair "$ORDERS
[public.log_a]
dest_table = orders
part_method = monthly"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "line [0-9]+.*dest_table is that of .public.orders., and part_method differs"
}

# A pattern that leads to the table of another section is seen when its event comes.
case_disagreement_by_a_pattern() {
	tables_pair "$ORDERS
[public.log_*]
dest_table = %(table)s
[archive.*]
dest_table = %(table)s
part_method = monthly" on_error=dead_letter
	event I:id 'id=1&day=2026-01-31&note=a' archive.orders >/dev/null
	rows orders 1 5
	tick q
	once
	expect_rows 5
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter where message ~ 'another part_method'")" 1
}

case_other_time_zones() {
	INVALID=1 tables_pair "$ORDERS
[public.log_a]
dest_table = archive.log_a
part_timezone = UTC"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "part_timezone: it differs from that of .public.orders."
}

# An event has one time by the source's clock.
case_two_times() {
	local two='[public.orders]
dest_table = orders
part_field = _EVTIME
[public.log_*]
dest_table = archive.%(table)s
part_field = _BATCHTIME'
	INVALID=1 tables_pair "$two"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "part_field: with part_timezone = text, _EVTIME and _BATCHTIME cannot"
	config dest_table= part_timezone=UTC
	sections "$two"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	config dest_table= part_timezone=UTC lanes=2
	sections "$two"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "line [0-9]+: part_field: _BATCHTIME needs lanes = 1"
}

# What a row tells, and which events and columns count, is each section's own.
case_filters_of_sections() {
	tables_pair '[public.orders]
dest_table = orders
event_types = I, U
fields = *, _OP:op, _EVID:ev_id
[public.log_*]
dest_table = archive.%(table)s
skip_fields = note
fields = *, _TABLE:source
[public.scratch]
ignore = 1
[type order.*]
dest_table = orders
event_types =
fields = id, day, _OP:op' event_types=I
	dst "alter table orders add op text, add ev_id bigint; alter table archive.log_a add source text; alter table archive.log_b add source text"
	some_of_all
	src "update orders set note = 'u' where id = 1; delete from orders where id = 2; update log_a set note = 'u'; truncate orders"
	src "select pgq.insert_event('q', 'order.created', '{\"id\": 99, \"day\": \"2026-01-31\"}')" >/dev/null
	tick q
	once
	expect_eq "$(dst "select count(*) from orders")" 12
	expect_eq "$(dst "select string_agg(op, '' order by ev_id) from orders where id = 1")" IU
	expect_eq "$(dst "select op from orders where id = 99")" order.created
	expect_rows 7 archive.log_a
	expect_eq "$(dst "select distinct note is null, source from archive.log_a")" "t|public.log_a"
	expect_match err "events=34 rows=22 .*passed=12"
}

# Only these tables are read; of them each has its section.
case_tables_and_sections() {
	tables_pair "$ORDERS
$LOGS" "tables=orders, log_a"
	some_of_all
	once
	expect_rows 10
	expect_rows 7 archive.log_a
	expect_rows 0 archive.log_b
	expect_match err "events=24 rows=17 .*passed=7"
}

# Rows of one table keep their order across column sets and sections; other tables have theirs.
case_order_of_ids() {
	tables_pair '[public.log_b]
dest_table = archive.log_a
fields = day, note, _EVID:id
[public.*]
dest_table = archive.%(table)s
fields = *, _EVID:id
skip_fields = id' event_order=id part_field= part_template=
	dst "drop table archive.log_a; create table archive.log_a (id bigint, day date, note text, nr serial); create table archive.orders (id bigint, day date, note text, nr serial)"
	src "do \$\$ begin for i in 1..600 loop
		insert into log_a values (i, '2026-01-31', 'a'); insert into orders values (i, '2026-01-31', 'o'); insert into log_b values (i, '2026-01-31', 'b');
		perform pgq.insert_event('q', 'I:id', 'id=1&day=2026-01-31', 'public.log_a', null, null, null); end loop; end \$\$"
	tick q
	once
	expect_eq "$(dst "select count(*), count(*) filter (where id < before) from (select id, lag(id) over (order by nr) as before from archive.log_a) x")" "1800|0"
	expect_eq "$(dst "select count(*), count(*) filter (where id < before) from (select id, lag(id) over (order by nr) as before from archive.orders) x")" "600|0"
}

case_keys_of_the_job() {
	INVALID=1 tables_pair "$ORDERS
lanes = 2"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "line [0-9]+: lanes: a key of the job"
}

# Names are never SQL.
case_hostile_names() {
	local name
	tables_pair "$ORDERS
[public.*]
dest_table = archive.%(table)s
part_field =
part_template =" on_error=dead_letter
	dst 'create table archive."a""b; drop table orders" (id int); create table archive."x.y" (id int)'
	event I:id id=1 'public.a"b; drop table orders' >/dev/null
	event I:id id=2 "public.x.y" >/dev/null
	event I:id id=3 "public.$(printf 'x%.0s' {1..64})" >/dev/null
	event I:id id=4 "public." >/dev/null
	event I:id id=5 'no dot' >/dev/null
	rows orders 1 5
	tick q
	once
	expect_rows 5
	expect_eq "$(dst 'select id from archive."a""b; drop table orders"')" 1
	expect_eq "$(dst "select string_agg(ev_data, ' ' order by ev_id) from tdispatch.dead_letter")" "id=3 id=4 id=5"
	expect_eq "$(dst 'select id from archive."x.y"')" 2
}

# Nor are those of a section, of columns in fields, or in JSON, in the template too.
case_hostile_sections() {
	local evil='a"b); drop table victim; --' switch
	tables_pair "[public.$evil]
dest_table = archive.$evil
fields = id, day, $evil:x' \$\$ \"_PKEY
[public.j*]
dest_table = archive.%(table)s
fields = *, _TABLE:source"
	dst "create table victim (); create table archive.\"a\"\"b); drop table victim; --\" (id int, day date, \"x' \$\$ \"\"_PKEY\" text) partition by range (day);
		create table archive.\"j'; drop table victim; --\" (id int, day date, \"$(printf '%s' "$evil" | sed 's/\"/\"\"/g')\" text, source text) partition by range (day)"
	event 'I:id' 'id=1&day=2026-01-31&a%22b%29%3b+drop+table+victim%3b+--=v' "public.$evil" >/dev/null
	event '{"op":"INSERT","table":["public","x"],"pkey":["id\"; drop table victim; --"]}' \
		'{"id": 2, "day": "2026-01-31", "a\"b); drop table victim; --": "\\.\n"}' "public.j'; drop table victim; --" >/dev/null
	tick q
	once --verify
	expect_eq "$(dst "select count(*) from victim")" 0 "victim"
	expect_eq "$(dst 'select id from archive."a""b); drop table victim; --"')" 1
	expect_eq "$(dst "select id, source from archive.\"j'; drop table victim; --\"")" "2|public.j'; drop table victim; --"
	for switch in --check --status --show-partitions --dry-run; do
		timeout 30 "$TDISPATCH" $switch job.ini >out 2>err || :
	done
	expect_eq "$(dst "select count(*) from victim")" 0 "victim"
}

# A row that the target refuses is its own table's dead letter.
case_dead_letters_and_replay() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH" on_error=dead_letter lanes=2
	dst "alter table archive.log_a add check (id <> 3)"
	some_of_all
	once
	expect_rows 10
	expect_rows 6 archive.log_a
	dst "alter table archive.log_a drop constraint log_a_id_check;
		alter table archive.log_a_2026_01_31 drop constraint if exists log_a_id_check" || :
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_all
}

# Filters and sections are the same to a batch, to --verify, and to --replay: letters of rows that a filter leaves out
# by then stay. trigger: the one that writes the events of orders and log_a.
filters_and_replay() {
	tables_pair '[public.orders]
dest_table = orders
event_types = I, U
skip_fields = secret
fields = *, _OP:op, _TABLE:source
[public.log_*]
dest_table = archive.%(table)s
fields = id, day, note, _EVID:ev_id
[public.scratch]
ignore = 1' on_error=dead_letter "tables=orders, log_a, scratch" "${@:2}"
	src "alter table orders add secret text; create or replace trigger to_queue after insert or update or delete on orders for each row execute function pgq.$1('q');
		create or replace trigger to_queue after insert or update or delete on log_a for each row execute function pgq.$1('q')"
	dst "alter table orders add op text, add source text, add check (note <> 'bad'); alter table archive.log_a add ev_id bigint, add check (id <> 2)"
	rows orders 1 3
	rows log_a 1 3
	rows log_b 1 2
	rows scratch 1 2
	src "update orders set note = 'bad', secret = 's' where id = 1; update orders set secret = 'x' where id = 2; delete from orders where id = 3"
	tick q
	once --verify
	expect_match err "events=13 rows=6 .*passed=5"
	expect_eq "$(dst "select string_agg(concat_ws(',', id, op, source, note), ' ' order by id, op) from orders")" \
		"1,I,public.orders,n1 2,I,public.orders,n2 2,U,public.orders,n2 3,I,public.orders,n3"
	expect_eq "$(dst "select string_agg(id::text, ' ' order by id) from archive.log_a")" "1 3"
	replay_filtered
}

replay_filtered() {
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 2 "letters"
	dst "alter table orders drop constraint orders_note_check; alter table archive.log_a drop constraint log_a_id_check"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(dst "select op, source, note from orders where id = 1 and op = 'U'")" "U|public.orders|bad"
	expect_eq "$(dst "select ev_id from archive.log_a where id = 2")" \
		"$(src "select ev_id from pgq.event_template where ev_extra1 = 'public.log_a' order by ev_id limit 1 offset 1")"
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 0 "letters"
	expect_eq "$(dst "select count(*) from orders")" 5
}

case_filters_and_replay() {
	filters_and_replay logutriga
}

case_filters_and_replay_of_json() {
	filters_and_replay jsontriga lanes=2
}

case_new_table_while_it_runs() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	start job.ini
	some_of_all
	within 20 dst_gives 7 "select count(*) from archive.log_a"
	source_table log_new "id int primary key, day date, note text"
	target_table archive.log_new "id int, twice int generated always as (id * 2) stored"
	src "alter table log_new add twice int"
	src "insert into log_new values (1, '2026-01-31', 'x', 7)"
	tick q
	within 20 dst_gives 2 "select max(twice) from archive.log_new"
}

case_dry_run() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	some_of_all
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out "^  orders_2026_01_31: 5 rows, would be created"
	expect_match out "^  archive.log_a_2026_01_31: 7 rows, would be created"
	expect_match out "^4 events would be left out by filters"
	rows log_b 4 4
	src "create table t (id int primary key); create trigger q after insert on t for each row execute function pgq.logutriga('q'); insert into t values (1)"
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out "no section of the config is for source table public.t"
}

case_partitions_of_each() {
	tables_pair "[public.orders]
dest_table = orders
part_keep = 30 days
part_premake = 2
[public.log_*]
dest_table = archive.%(table)s
part_keep = 10 days"
	rows orders 1 5 "$(date -d '-60 days' +%F)"
	rows log_a 1 5 "$(date -d '-20 days' +%F)"
	tick q
	once
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out "children of orders, 1 older than part_keep = 30 days"
	once
	expect_rows 0
	expect_eq "$(dst "select count(*) from pg_inherits where inhparent = 'orders'::regclass")" 2 "premade"
}

# Tables that a pattern leads to are known by the triggers that feed the queue.
case_check() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "^ok +table archive.log_a"
	expect_match out "^ok +table archive.log_b"
	expect_match out "^ok +table orders"
	dst "drop table archive.log_b"
	source_table t "id int primary key"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "archive.log_b"
	expect_match out "no section of the config is for source table public.t"
}

case_partitions_of_a_pattern() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	some_of_all
	once
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out "^archive.log_b_2026_01_31 "
	expect_match out "1 children of archive.log_a; part_keep is not set"
	expect_match out "2 children of orders"
}

# Those of patterns are known by the triggers; where these tell nothing, no number is better than a wrong one.
case_status_counts_those_of_patterns() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	some_of_all
	once
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out "^partitions +4$"
	expect_no_match out "partitions_error"
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	expect_match out '"partitions":4,"partitions_error":null}'
	expect_exit 1 "$TDISPATCH" --status job.ini --set src_db=port=1
	expect_match out "^partitions +-$"
	expect_match out "^partitions_error +the tables of section .public.log_\*. are not known: src_db could not be asked"
	src "drop trigger to_queue on log_a; drop trigger to_queue on log_b"
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	expect_match out '"partitions":null,"partitions_error":"the tables of section .public.log_\*. are not known: no trigger in src_db tells them"'
}

case_metrics() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH" metrics_file=job.prom
	some_of_all
	once
	expect_match job.prom '^tdispatch_destination_rows_total.*dest_table="archive.log_a".* 7$'
	expect_match job.prom '^tdispatch_destination_rows_total.*dest_table="orders".* 10$'
	expect_match job.prom '^tdispatch_rows_total.* 20$'
	expect_match job.prom '^tdispatch_passed_events_total.* 4$'
}

# A generated column of one table is asked for there alone.
# The names of the section's table, and the section itself where a pattern leads to a schema that is
# not there.
case_target_lacks_what_is_needed() {
	tables_pair "[public.orders]
dest_table = orders
part_field =
[public.log_*]
dest_table = %(table)s.log" part_template= part_field=
	dst "alter table orders rename to parted; create table orders (id int)"
	rows orders 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'column "day" of relation "orders" does not exist.*add it to orders \(ALTER'
	dst "drop table orders; alter table parted rename to orders; create table orders_default partition of orders default"
	once
	rows log_a 1 1
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'event [0-9]+ of batch [0-9]+, source table public.log_a, .*schema "log_a" does not exist.*section .public.log_\*. leads there'
	expect_exit 2 "$TDISPATCH" --show-partitions job.ini
	expect_match err 'ERROR job: no table that a section leads to has part_field'
}

# %(name)s in a section, and in what it takes from [tdispatch].
case_names_of_sections() {
	INVALID=1 tables_pair "[public.orders]
base = mine
dest_table = %(base)s
[public.log_a]
dest_table = %(base)s.%(table)s
[public.log_b]
base = third
part_field =" "dest_table=%(base)s.log" base=job
	sed -i 's/^dest_table = %%/dest_table = %/' job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_eq "$(grep '^dest_table' out | tr '\n' ' ')" "dest_table = job.log dest_table = mine dest_table = job.%(table)s dest_table = third.log "
	expect_no_match err 'no key of that name'
}

# A name without its schema in a section of [tdispatch].
case_section_without_a_dot() {
	INVALID=1 tables_pair ""
	sed -i 's/^.table_dispatcher./[tdispatch]/' job.ini
	sections "[orders]
dest_table = orders
[other]
part_field = day"
	expect_exit 2 "$TDISPATCH" --check job.ini
	expect_match err 'line [0-9]+: .orders.: a section whose name has no dot is ignored: that of a table has its schema'
	expect_no_match err 'other'
	sed -i 's/^.tdispatch./[table_dispatcher]/' job.ini
	expect_exit 2 "$TDISPATCH" --check job.ini
	expect_no_match err 'no dot'
}

# Two names of over 63 bytes together, which differ behind that.
case_long_names() {
	local schema table
	schema=$(printf 's%.0s' {1..40}) table=$(printf 't%.0s' {1..40})
	tables_pair "[public.log_*]
dest_table = $schema.${table}_%(table)s
part_field=" part_template= metrics_file=job.prom
	dst "create schema $schema; create table $schema.${table}_log_a (id int, day date, note text);
		create table $schema.${table}_log_b (id int, day date, note text)"
	rows log_a 1 7
	rows log_b 1 3
	tick q
	once
	expect_eq "$(grep -o '_log_.: [0-9]* rows' err | tr '\n' ' ')" "_log_a: 7 rows _log_b: 3 rows "
	expect_match job.prom "^tdispatch_destination_rows_total.*dest_table=\"$schema.${table}_log_a\".* 7\$"
	expect_match job.prom "^tdispatch_destination_rows_total.*dest_table=\"$schema.${table}_log_b\".* 3\$"
}

case_generated_columns() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	src "alter table log_a add twice int; alter table orders add twice int"
	dst "alter table orders add twice int; alter table archive.log_a add twice int generated always as (id * 2) stored"
	src "insert into orders values (1, '2026-01-31', 'x', 7); insert into log_a values (1, '2026-01-31', 'x', 7)"
	tick q
	once
	expect_eq "$(dst "select twice from orders")" 7
	expect_eq "$(dst "select twice from archive.log_a")" 2
}

# A child that is no partition of its own dest_table gets no row.
case_foreign_child() {
	tables_pair "$ORDERS
$LOGS
$SCRATCH"
	dst "create table archive.log_a_2026_01_31 (id int, day date, note text);
		alter table archive.log_b attach partition archive.log_a_2026_01_31 for values from ('2026-01-31') to ('2026-02-01')"
	some_of_all
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "log_a_2026_01_31 is a child of .*log_b, not of archive.log_a"
	expect_rows 0
}

# Its destination is looked at when it is first met: one line says all, and nothing is tried again.
case_pattern_leads_to_no_table() {
	local change want="event [0-9]+ of batch [0-9]+, source table public.log_b.*archive.log_b.*create it, or check dest_table; section .public.log_\*. leads there: ignore = 1 in a section .public.log_b. "
	tables_pair "$ORDERS
$LOGS
$SCRATCH" on_error=dead_letter
	install
	dst "alter table archive.log_b rename to kept"
	rows log_b 1 3
	tick q
	start job.ini
	expect_end 1 20
	expect_eq "$(grep -c ERROR bg.err)" 1 "errors"
	expect_match bg.err "$want"
	expect_match bg.err "partition log_b_2026_01_31 cannot be created: dst_db has no table archive.log_b, which part_template needs"
	for change in lanes=2 part_template= part_template=$'\npart_field='; do
		config dest_table= "part_template=$ATTACH" on_error=dead_letter "${change#*$'\n'}" "${change%$'\n'*}"
		sections "$ORDERS
$LOGS"
		expect_exit 1 "$TDISPATCH" --once job.ini
		[ "$change" = part_template= ] || expect_match err "$want"
		expect_match err "archive.log_b"
	done
	config dest_table= "part_template=$ATTACH"
	sections "$LOGS"
	dst "alter table archive.kept rename to log_b"
	once
	expect_rows 3 archive.log_b
}

case_many_tables() {
	local i
	new_pair "$CASE"
	dst "create schema archive"
	for i in {1..50}; do
		source_table "t$i" "id int primary key, day date, note text"
		target_table "archive.t$i" "id int"
	done
	config dest_table='' "part_template=$ATTACH"
	sections '[public.*]
dest_table = archive.%(table)s'
	install
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-3' || i % 2 || '&note=' || repeat('x', 100), 'public.t' || 1 + i % 50, null, null, null)) from generate_series(1, 20000) i" >/dev/null
	tick q
	once
	expect_match err "events=20000 rows=20000 partitions_created=50"
	expect_eq "$(dst "select count(*) from archive.t7")" 400
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-02-' || 10 + i % 5 || '&note=' || repeat('x', 100), 'public.t' || 1 + i / 5 % 50, null, null, null)) from generate_series(1, 100000) i" >/dev/null
	tick q
	once --set lanes=2
	expect_match err "events=100000 rows=100000 partitions_created=250"
	expect_eq "$(dst "select count(*) from archive.t7")" 2400
}

case_show_config_can_be_loaded() {
	tables_pair "[public.orders]
dest_table = orders
part_field =
part_template =
fields = id, note:what
$LOGS
[type *]
dest_table = orders_%%s
part_field =
$SCRATCH"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	cp out shown
	{ echo '[tdispatch]'; cat shown; } >again.ini
	expect_exit 0 "$TDISPATCH" --show-config again.ini
	cmp out shown
}

run_cases "$@"
