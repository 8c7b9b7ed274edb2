# row_mode: deletes are passed over, or the last event of each key decides what its row is.
. "$(dirname "$0")/../cases.sh"

# latest_pair [KEY=VALUE]...: orders on both sides, equal when all is loaded; its trigger tells the
# row before an update.
latest_pair() {
	new_pair "$CASE"
	src "select pgq.create_queue('q');
		create table orders (id int primary key, day date, note text);
		create trigger to_queue after insert or update or delete on orders
			for each row execute function pgq.${TRIGGER:-logutriga}('q', 'backup');" >/dev/null
	dst "create table orders (id int not null, day date not null, note text, primary key (id, day)) partition by range (day)"
	config row_mode=keep_latest "part_template=$ATTACH" "$@"
	[ -n "${INVALID:-}" ] || install
}

rows_of() {
	"$1" "select * from orders order by id, day"
}

# load [ARG]...: all that was committed; then both sides are equal.
load() {
	tick q
	once "$@"
	expect_same
}

expect_same() {
	expect_eq "$(rows_of dst | tr '\n' ' ')" "$(rows_of src | tr '\n' ' ')"
}

some_history() {
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' || i from generate_series(1, 30) i;
		update orders set note = note || 'u' where id % 2 = 0;
		delete from orders where id % 5 = 0;
		update orders set day = day + 1, note = note || 'm' where id % 7 = 0"
}

more_history() {
	src "insert into orders select i, date '2026-01-01' + i % 4, E'a\t\\\\' || i from generate_series(5, 30, 5) i;
		update orders set note = null where id % 11 = 0;
		delete from orders where id in (1, 2, 3);
		update orders set day = '2026-02-01' where id between 12 and 16;
		update orders set day = '2026-01-01' where id between 14 and 18"
}

a_history() {
	some_history
	load
	more_history
	load
	src "delete from orders"
	load
	expect_eq "$(dst "select count(*) from orders")" 0
}

case_current_state() {
	latest_pair
	a_history
}

case_current_state_with_lanes() {
	latest_pair lanes=2
	a_history
}

case_current_state_of_json() {
	TRIGGER=jsontriga latest_pair
	a_history
}

case_merged_ticks_and_single_ones() {
	latest_pair batch_min_events=0
	some_history
	tick q
	more_history
	load
	sed -i 's/^batch_min_events.*/batch_min_events = 1000/' job.ini
	some_history_again
	load
}

some_history_again() {
	src "insert into orders select i, '2026-01-05', 'again' from generate_series(41, 50) i"
	tick q
	src "update orders set day = '2026-01-06' where id < 45"
	tick q
	src "delete from orders where id = 41; insert into orders values (41, '2026-01-05', 'new')"
}

# A batch that comes twice changes nothing; nor do rows of before it matter.
case_does_not_depend_on_what_was_there() {
	latest_pair
	some_history
	tick q
	once
	expect_same
	dst "delete from orders where id = 2; update orders set note = 'x' where id = 4;
		insert into orders values (5, '2026-01-03', 'not in the source')"
	src "update orders set note = 'y' where id in (2, 4); insert into orders values (5, '2026-01-03', 'i')"
	load
	dst "select pgq_ext.set_last_tick('job', null)"
	src "select pgq.unregister_consumer('q', 'job')" >/dev/null
	src "select pgq.register_consumer_at('q', 'job', (select min(tick_id) from pgq.tick))" >/dev/null
	once
	expect_same
}

# Wherever the events stand in the queue's table; and those of one key cost the target one row.
case_the_last_event_by_id_counts() {
	latest_pair
	src "insert into orders select i, '2026-01-01', '0' from generate_series(1, 50) i"
	src "do \$\$ begin for i in 1..9 loop update orders set note = i, day = date '2026-01-01' + i % 2; end loop; end \$\$;
		delete from orders where id > 40"
	src "create table events as select * from pgq.event_1; delete from pgq.event_1;
		insert into pgq.event_1_0 select * from events order by ev_id desc"
	load
	expect_match err "events=510 rows=40 "
	expect_eq "$(dst "select note, day, count(*) from orders group by 1, 2")" "9|2026-01-02|40"
	src "insert into orders select i, '2026-01-02', 'a' from generate_series(41, 50) i; update orders set note = 'z' where id > 40; delete from orders where id > 45"
	src "truncate events; insert into events select * from pgq.event_1 where ev_id > (select last_value - 25 from pgq.event_1_id_seq);
		delete from pgq.event_1 where ev_id in (select ev_id from events); insert into pgq.event_1_0 select * from events order by random()"
	load
}

case_without_partitions() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int primary key, day date, note text)"
	config row_mode=keep_latest part_field= part_template=
	install
	a_history
}

case_children_by_inheritance() {
	new_pair "$CASE"
	src "select pgq.create_queue('q');
		create table orders (id int primary key, day date, note text);
		create trigger to_queue after insert or update or delete on orders
			for each row execute function pgq.logutriga('q', 'backup');" >/dev/null
	dst "create table orders (id int, day date, note text)"
	config row_mode=keep_latest "part_template=$INHERITS"
	install
	a_history
}

# A parent that the target's own partitioning divides: we know one table.
case_a_table_that_the_target_divides() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day);
		create table a partition of orders for values from ('2026-01-01') to ('2026-01-03');
		create table b partition of orders default"
	config row_mode=keep_latest part_field= part_template=
	install
	a_history
}

# Deletes do not bring back a partition that is gone.
case_deletes_create_no_partition() {
	latest_pair
	some_history
	load
	dst "drop table orders_2026_01_01"
	src "delete from orders where day = '2026-01-01'"
	load
	expect_no_match err "created partition"
	expect_eq "$(dst "select to_regclass('orders_2026_01_01')")" ""
}

# Identity, generated and defaulted columns: the row is replaced as a whole.
# A table that part_keep has detached takes deletes where part_late lets rows come there.
case_deletes_in_detached_partitions() {
	latest_pair part_method=monthly "part_keep=1 month" part_keep_action=detach
	src "insert into orders select i, current_date - 100, 'n' from generate_series(1, 4) i"
	load
	expect_exit 0 "$TDISPATCH" --once job.ini
	expect_eq "$(dst "select count(*) from orders")" 0
	local old
	old=$(dst "select relname from pg_class where relname like 'orders_2%' and relkind = 'r'")
	src "delete from orders where id = 1; update orders set day = current_date where id = 2"
	tick q
	once --verify --set part_late=skip
	expect_eq "$(dst "select id from $old order by id; select id from orders")" $'1\n2\n3\n4\n2'
	src "delete from orders where id = 3; update orders set day = current_date where id = 4"
	tick q
	once --verify
	expect_eq "$(dst "select id from $old order by id; select id from orders order by id")" $'1\n2\n2\n4'
}

# Of a row whose value picks no partition there is none to go.
case_updates_from_no_partition_to_one() {
	latest_pair on_error=dead_letter
	src "insert into orders values (1, null, 'a'), (2, 'infinity', 'b'), (3, null, 'c')
		; update orders set day = '2026-01-01' where id < 3; update orders set day = '2026-01-02' where id = 2"
	tick q
	once --verify
	expect_eq "$(rows_of dst)" $'1|2026-01-01|a\n2|2026-01-02|b'
	expect_eq "$(dst "select count(*), count(*) filter (where ev_type = 'I:id') from tdispatch.dead_letter")" '3|3'
}

# anywhere TEMPLATE [KEY=VALUE]...: rows whose day is NULL or no date are refused, so that the target has
# them as they were before, or not at all; then they are deleted.
anywhere() {
	new_pair "$CASE"
	src "select pgq.create_queue('q'); create table orders (id int primary key, day text, note text);
		create trigger to_queue after insert or update or delete on orders
			for each row execute function pgq.logutriga('q', 'backup')" >/dev/null
	case "$1" in
	*inherits*) dst "create table orders (id int, day date, note text)" ;;
	*) dst "create table orders (id int not null, day date not null, note text, primary key (id, day)) partition by range (day)" ;;
	esac
	config row_mode=keep_latest on_error=dead_letter "part_template=$1" "${@:2}"
	install
	src "insert into orders select i, date '2026-01-01' + i % 5, 'n' from generate_series(1, 40) i"
	load
	src "update orders set day = case when id % 2 = 0 then null else 'soon' end where id <= 20;
		insert into orders values (50, null, 'n'), (51, '2026-01-09', 'n');
		update orders set day = null where id = 51"
	tick q
	once --verify
	expect_eq "$(dst "select count(*) from orders")" 41
	expect_eq "$(letters | wc -l)" 22
	src "delete from orders where id <= 10 or id > 30; insert into orders values (7, '2026-01-08', 'again'), (8, null, 'x'), (9, null, 'x');
		delete from orders where id = 9; insert into orders values (10, '2026-01-03', 'b');
		update orders set day = null where id = 10; delete from orders where id = 10; insert into orders values (10, '2026-02-01', 'c')"
	tick q
	once --verify
	expect_eq "$(letters | wc -l)" 25
	expect_eq "$(dst "select id, day from orders where id <= 10 or id > 30 order by id")" $'7|2026-01-08\n10|2026-02-01'
	# back from no partition: to where it was, to another, to a new one
	src "update orders set day = to_char(date '2026-01-01' + id % 5 + (id - 13) * 20 % 60, 'YYYY-MM-DD') where id in (12, 13, 14, 15)"
	tick q
	once --verify
	expect_eq "$(dst "select id, day from orders where id in (12, 13, 14, 15) order by id")" "$(src "select id, day from orders where id in (12, 13, 14, 15) order by id")"
	src "delete from orders where id <= 20"
	load --verify
	expect_eq "$(letters | wc -l)" 25
	expect_eq "$(dst "select count(*) from orders where id <= 20")" 0
}

case_rows_that_pick_no_partition() {
	local lanes template
	for lanes in 1 3; do
		for template in "$ATTACH" "$PARTITION_OF" "$INHERITS"; do
			anywhere "$template" lanes=$lanes
		done
	done
}

# full_in LANE: keys to go from any partition wait in each of two lanes; that one is full, and asked
# where, while the other is at work. Lane 0 has the oldest connection.
full_in() {
	latest_pair lanes=2 retry_limit=3 exception_sleep=10
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(1, 9) i"
	load
	dst "create function full_here() returns trigger language plpgsql as \$\$ begin
			if $1 = (select count(*) from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'
				and backend_start < (select backend_start from pg_stat_activity where pid = pg_backend_pid()))
			then raise exception using errcode = '53100', message = 'no room'; end if;
			perform pg_sleep(2); return null; end \$\$;
		create function add_trigger() returns event_trigger language plpgsql as \$\$ begin
			create trigger t before insert on pg_temp.tdispatch_stage_0 for each statement execute function public.full_here(); end \$\$;
		create event trigger \"$CASE\" on ddl_command_end when tag in ('CREATE TABLE AS') execute function add_trigger()"
	event D:id 'id=1&day&note=n' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'partition orders, tablespace [a-z_]+: dst_db: no room'
}

case_a_lane_without_room_for_keys() {
	full_in 0
	full_in 1
}

# Tables of their own are not searched: the delete is a bad event.
case_deletes_that_pick_no_table() {
	bad_events "part_template=create table _DEST_TABLE (id int primary key, day date, note text)"
	dst "drop table orders"
	src "insert into orders values (1, '2026-01-01', 'n')"
	tick q
	once
	src "update orders set day = null; delete from orders"
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	once
	expect_eq "$(letters | wc -l)" 2
	expect_letter 'column day is NULL: it picks no partition'
	expect_eq "$(dst "select id from orders_2026_01_01")" 1
}

case_columns_that_only_the_target_has() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int generated always as identity, day date not null, note text,
			len int generated always as (length(note)) stored, seen text default 'new', primary key (id, day))
		partition by range (day)"
	config row_mode=keep_latest "part_template=$ATTACH"
	install
	orders 1 3
	tick q
	once
	dst "update orders set seen = 'old'"
	src "update orders set note = 'longer' where id = 2"
	tick q
	once
	expect_eq "$(dst "select id, note, len, seen from orders order by 1" | tr '\n' ' ')" \
		"1|n1|2|old 2|longer|6|new 3|n3|2|old "
}

case_renamed_columns() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (key int, on_day date, text text, ev bigint, op text, primary key (key, on_day)) partition by range (on_day)"
	config row_mode=keep_latest "part_template=$ATTACH" "fields=id:key, day:on_day, note:text, _EVID:ev, _OP:op"
	install
	orders 1 5
	src "update orders set note = 'u' where id = 2; delete from orders where id = 3"
	tick q
	once
	expect_eq "$(dst "select key, text, op from orders order by 1" | tr '\n' ' ')" "1|n1|I 2|u|U 4|n4|I 5|n5|I "
}

# Several column sets in one batch; columns that a row lacks return to their defaults.
case_a_column_is_added() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text, more text default 'd', primary key (id, day)) partition by range (day)"
	config row_mode=keep_latest "part_template=$ATTACH"
	install
	orders 1 3
	src "alter table orders add more text"
	src "update orders set more = 'm' where id = 2; insert into orders values (4, '2026-01-31', 'n4', 'i')"
	tick q
	once
	expect_eq "$(dst "select id, more from orders order by 1" | tr '\n' ' ')" "1|d 2|m 3|d 4|i "
}

# ---- the key

# bad_events [KEY=VALUE]...: a pair whose bad events are dead letters.
bad_events() {
	latest_pair on_error=dead_letter "$@"
}

letters() {
	dst "select ev_id, partition, message from tdispatch.dead_letter order by ev_id"
}

expect_letter() {
	letters >letters
	expect_match letters "$1"
}

case_no_key() {
	bad_events
	event I: 'id=1&day=2026-01-01&note=n'
	event I:id 'id=2&day=2026-01-01&note=n'
	event I:id 'id&day=2026-01-01&note=n'
	event I:other 'id=3&day=2026-01-01&note=n'
	tick q
	once
	expect_eq "$(dst "select id from orders")" 2
	expect_letter "names no primary key, which row_mode = keep_latest needs: set row_key"
	expect_letter "column id is of the key, and NULL or not in the event"
	expect_letter "column other is of the key, and not among those that are written"
}

case_a_key_that_is_not_written() {
	bad_events "skip_fields=id" on_missing=null
	event I:id 'id=1&day=2026-01-01&note=n'
	tick q
	once
	expect_letter "column id is of the key, and not among those that are written"
}

# The source's primary key changes within a batch: the rows before it have the old one.
case_the_key_changes() {
	local lanes
	for lanes in 1 2; do
		latest_pair lanes=$lanes
		some_history
		src "alter table orders drop constraint orders_pkey, add primary key (id, day)"
		src "insert into orders select id, day + 10, note from orders where id < 9;
			update orders set note = 'x' where id % 2 = 0; delete from orders where id = 7"
		src "delete from orders where day > '2026-01-10';
			alter table orders drop constraint orders_pkey, add primary key (id)"
		src "update orders set note = 'y' where id < 6"
		tick q
		once --verify -vv
		expect_match err "events are read by ev_id"
		expect_same
	done
}

# What was merged by the old key stays when a COPY of another table, which has more rows, fails after
# it.
case_a_bad_event_after_the_key_changes() {
	bad_events
	sed -i '/^dest_table/d' job.ini
	printf '[public.orders]\ndest_table = orders\n[public.notes]\ndest_table = notes\nrow_mode = log\npart_field =\n' >>job.ini
	source_table notes "id int primary key, v text"
	dst "create table notes (id int, v varchar(4))"
	src "insert into notes values (1, 'good')"
	some_history
	src "alter table orders drop constraint orders_pkey, add primary key (id, day)"
	src "insert into orders select id + 100, day, note from orders"
	src "insert into notes values (2, 'too long'); insert into notes select i, 'n' from generate_series(3, 1000) i"
	load
	expect_eq "$(dst "select count(*) from notes")" 999
	expect_letter "too long for type"
}

case_row_key() {
	latest_pair row_key=id
	event I '{"id": 1, "day": "2026-01-01", "note": "a"}'
	event I '{"id": 2, "day": "2026-01-01", "note": "b"}'
	event U '{"id": 1, "day": "2026-01-01", "note": "c"}'
	event D '{"id": 2, "day": "2026-01-01"}'
	tick q
	once
	expect_eq "$(rows_of dst)" "1|2026-01-01|c"
}

case_types_of_other_events() {
	local mode
	for mode in keep_latest keep_all; do
		bad_events row_mode=$mode
		event order.created '{"id": 1, "day": "2026-01-01", "note": "a"}'
		event I:id 'id=2&day=2026-01-01&note=n'
		event pgq.maint 'x'
		tick q
		once
		expect_eq "$(dst "select id from orders")" 2
		expect_letter "row_mode = $mode takes inserts, updates and deletes, and no event of type \"order.created\""
		expect_eq "$(letters | wc -l)" 1
	done
}

case_truncates() {
	bad_events
	orders 1 3
	src "create trigger truncated after truncate on orders for each statement execute function pgq.logutriga('q')"
	src "truncate orders"
	tick q
	once
	expect_letter "the source table was truncated, and row_mode = keep_latest would keep its rows: on_truncate = skip"
	echo "on_truncate = skip" >>job.ini
	src "truncate orders"
	tick q
	once
	expect_match err "1 truncate event skipped"
	expect_eq "$(letters | wc -l)" 1
	expect_rows 3
}

# A filter without R passes over a truncate before on_truncate is asked: --check tells.
case_truncates_that_a_filter_leaves_out() {
	local mode
	bad_events event_types=I,U,D
	orders 1 3
	src "create trigger truncated after truncate on orders for each statement execute function pgq.logutriga('q')"
	src "truncate orders"
	tick q
	once
	expect_match err 'events=4 rows=3 .* passed=1'
	expect_rows 3
	expect_eq "$(letters | wc -l)" 0
	for mode in keep_latest keep_all; do
		sed -i "s/^row_mode.*/row_mode = $mode/" job.ini
		expect_exit 0 "$TDISPATCH" --check job.ini
		expect_match out "^warning +event_types leaves out R: a truncate of the source is passed over"
		expect_exit 0 "$TDISPATCH" --check job.ini --set event_types=I,U,D,R
		expect_no_match out "event_types"
		expect_exit 0 "$TDISPATCH" --check job.ini --set on_truncate=skip
		expect_no_match out "event_types"
	done
	expect_exit 0 "$TDISPATCH" --check job.ini --set row_mode=keep_latest --set event_types=I,U,R
	expect_match out "event_types leaves out D: rows that are deleted in the source stay in orders"
	sed -i 's/^row_mode.*/row_mode = keep_latest/; s/^event_types.*/event_types = I, U, D, R/' job.ini
	src "truncate orders"
	tick q
	once
	expect_letter "the source table was truncated, and row_mode = keep_latest would keep its rows: on_truncate = skip"
	sed -i 's/^event_types.*/event_types = I, U/' job.ini
	orders 4 5
	src "delete from orders where id = 4"
	tick q
	once
	expect_rows 5
}

case_truncates_with_keep_all() {
	bad_events row_mode=keep_all
	src "create trigger truncated after truncate on orders for each statement execute function pgq.logutriga('q')"
	orders 1 3
	src "truncate orders"
	tick q
	once
	expect_letter "the source table was truncated, and row_mode = keep_all would keep its rows: on_truncate = skip"
	src "truncate orders"
	tick q
	once --set on_truncate=skip
	expect_match err "1 truncate event skipped"
	expect_eq "$(letters | wc -l)" 1
	expect_rows 3
}

case_keep_all() {
	latest_pair row_mode=keep_all
	src "insert into orders select i, '2026-01-01', 'n' from generate_series(1, 5) i;
		update orders set note = 'u', day = '2026-01-02' where id = 2; delete from orders where id > 3"
	tick q
	once
	expect_eq "$(dst "select count(*) from orders")" 6
	expect_match err "events=8 rows=6 .* passed=2" 
}

# Two source tables in one table would mix their keys.
case_two_source_tables() {
	bad_events
	orders 1 1
	event I:id 'id=2&day=2026-01-31&note=n' public.other
	tick q
	once
	expect_letter "with row_mode = keep_latest a table has one source table"
	expect_rows 1
	INVALID=1 latest_pair dest_table= part_field= part_template=
	printf '%s\n' '[public.orders]' 'dest_table = orders' '[public.other]' 'dest_table = orders' >>job.ini
	sed -i 's/^\[table_dispatcher\]/[tdispatch]/' job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "with row_mode = keep_latest a table has one source table"
}

case_configs_that_cannot_be() {
	INVALID=1 latest_pair part_field=_EVTIME part_timezone=UTC
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "part_field: with row_mode = keep_latest it must be a column"
	INVALID=1 latest_pair row_mode=log row_key=id
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "row_key: it needs row_mode = keep_latest"
	INVALID=1 latest_pair row_key=id fields=day,note
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "row_key: a column that is not written"
	INVALID=1 latest_pair row_mode=keep
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "row_mode: neither log, keep_all nor keep_latest"
}

# ---- inserts alone

stages() {
	grep -c 'COPY pg_temp.tdispatch_stage' err || :
}

# Inserts go straight to the partitions, until another event comes or a key has a row.
case_inserts_alone() {
	latest_pair part_field= part_template=
	dst "drop table orders; create table orders (id int primary key, day date, note text)"
	src "insert into orders select i, '2026-01-01', 'n' from generate_series(1, 2000) i"
	load -vv
	expect_eq "$(stages)" 0
	dst "insert into orders values (2001, '2026-01-01', 'not in the source')"
	src "insert into orders select i, '2026-01-01', 'n' from generate_series(2001, 3000) i"
	load -vv
	expect_match err "inserts are staged as all others are: .*duplicate key"
	src "update orders set note = 'u' where id > 2000; insert into orders select i, '2026-01-01', 'n' from generate_series(3001, 9000) i"
	load -vv
	expect_match err "inserts are staged as all others are: orders gets more than inserts"
	expect_eq "$(dst "select count(*) from orders where note = 'u'")" 1000
}

# Rows of several partitions wait together, and binary values follow the text.
case_a_large_batch() {
	latest_pair
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(1, 10000) i; update orders set note = 'u'"
	load -vv
	expect_match err "further rows of this batch go as binary values"
	expect_eq "$(dst "select count(distinct tableoid), count(*) from orders")" "3|10000"
}

# Has the consumer left the queue's previous table? Only then PgQ goes on to the next one.
AT_NEW_TABLE="select txid_snapshot_xmin(tick_snapshot) > queue_switch_step2 from pgq.queue join pgq.subscription on sub_queue = queue_id
	join pgq.tick on tick_queue = queue_id and tick_id = sub_last_tick"

# Of a key's rows in a batch the last one is staged: events are read with the newest first. So it is
# with two of the queue's tables, one after the other.
case_older_rows_are_not_staged() {
	latest_pair
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(1, 100) i"
	src "update orders set note = 'u'"
	load -vv
	expect_match err "100 rows not staged, since later events of the batch replace them"
	src "select pgq.set_queue_config('q', 'rotation_period', '0')" >/dev/null
	until src_gives t "$AT_NEW_TABLE"; do
		load
	done
	src "update orders set note = 'v'"
	src "select pgq.maint_rotate_tables_step1('q')" >/dev/null
	src "select pgq.maint_rotate_tables_step2()" >/dev/null
	src "update orders set note = 'w'"
	expect_eq "$(src "select count(distinct tableoid) from pgq.event_template where ev_data like '%note=v' or ev_data like '%note=w'")" 2
	load -vv
	expect_match err "100 rows not staged"
	src "update orders set note = 'x'; delete from orders where id <= 50; insert into orders select i, date '2026-01-01' + i % 3, 'y' from generate_series(1, 20) i"
	load -vv
	expect_match err "70 rows not staged"
}

# The one before a refused one is the last: the batch is loaded again with all.
case_the_row_before_a_refused_one() {
	bad_events part_field= part_template=
	dst "drop table orders; create table orders (id int primary key, day date, note text check (note <> 'bad'))"
	orders 1 2
	src "update orders set note = 'good'; update orders set note = 'bad' where id = 2"
	tick q
	once -vv
	expect_match err "all events are staged: .*check constraint"
	expect_eq "$(dst "select string_agg(id || note, ' ' order by id) from orders")" "1good 2good"
	expect_letter "check constraint"
}

# A row that is replaced is not looked at; that of a move is, since it decides whether the old one
# goes.
case_a_replaced_row_may_be_wrong() {
	bad_events part_template="$ATTACH"
	src "alter table orders alter note type text"
	dst "drop table orders; create table orders (id int, day date not null, note varchar(4), primary key (id, day)) partition by range (day)"
	src "insert into orders values (1, '2026-01-01', 'n'), (2, '2026-01-01', 'n');
		update orders set note = 'too long' where id = 1; update orders set note = 'u' where id = 1"
	load
	expect_eq "$(letters | wc -l)" 0
	src "update orders set note = 'too long' where id = 1; update orders set note = 'v' where id = 1"
	load --verify
	expect_eq "$(letters | wc -l)" 1
	src "update orders set note = 'too long', day = '2026-01-02' where id = 2; update orders set note = 'u' where id = 2"
	tick q
	once
	expect_letter "too long for type"
	expect_eq "$(dst "select string_agg(id || to_char(day, ' DD ') || note, ', ' order by id, day) from orders")" "1 01 v, 2 01 n, 2 02 u"
}

# A day's partition has one date: a key of id and day is one of id.
case_inserts_alone_into_days() {
	latest_pair
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(1, 2000) i"
	load -vv
	expect_eq "$(stages)" 0
}

# A month has many: whether a key is there twice is looked at, unless the partition is much larger
# than the batch.
case_inserts_alone_into_months() {
	latest_pair part_method=monthly
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(1, 2000) i"
	load -vv
	expect_eq "$(stages)" 0
	dst "insert into orders values (2001, '2026-01-09', 'not in the source')"
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(2001, 4000) i"
	load -vv
	expect_match err "inserts are staged as all others are: partitions of orders have no unique key of the columns id"
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(4001, 8000) i"
	load -vv
	expect_eq "$(stages)" 0
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' from generate_series(8001, 8010) i"
	load -vv
	expect_match err "inserts are staged as all others are: partitions of orders have no unique key of the columns id"
}

# With bad events too: a row that is refused for its key is none.
case_inserts_alone_with_bad_events() {
	bad_events part_field= part_template=
	dst "drop table orders; create table orders (id int primary key, day date, note text check (note <> 'bad'))"
	src "insert into orders select i, '2026-01-01', case when i % 100 = 0 then 'bad' else 'n' end from generate_series(1, 1000) i"
	tick q
	once -vv
	expect_eq "$(stages)" 0
	expect_rows 990
	dst "insert into orders values (1001, '2026-01-01', 'not in the source')"
	src "insert into orders select i, '2026-01-01', case when i % 100 = 0 then 'bad' else 'n' end from generate_series(1001, 2000) i"
	tick q
	once
	expect_rows 1980
	expect_eq "$(dst "select note from orders where id = 1001")" n
	expect_eq "$(letters | wc -l)" 20
}

# The target's types are known, and the numbers of some keys are none: the inserts go straight in all
# the same, and an event that the target refuses counts as none.
case_inserts_alone_with_bad_numbers() {
	bad_events part_field= part_template=
	dst "drop table orders; create table orders (id int primary key, day date, note text)"
	src "select count(pgq.insert_event('q', 'I:id', 'id='||case when i % 1000 = 0 then 'x' when i % 500 = 0 then '+' else '' end||i
		||'&day=2026-01-01&note=n', 'public.orders', '', '', '')) from generate_series(1, 5000) i" >/dev/null
	tick q
	once -vv
	expect_eq "$(stages)" 0
	expect_rows 4995
	expect_eq "$(letters | wc -l)" 5
	src "select count(pgq.insert_event('q', 'I:id', 'id='||case when i % 1000 = 0 then '+' else '' end||i
		||'&day=2026-01-01&note=again', 'public.orders', '', '', '')) from generate_series(4001, 8000) i" >/dev/null
	tick q
	once
	expect_rows 7996
	expect_eq "$(dst "select count(*) from orders where note = 'again'")" 4000
	expect_eq "$(letters | wc -l)" 5
}

# ---- bad events

# Conversion, a constraint, a move of which either half is bad: the others are in, and the event
# before a bad one counts.
bad_histories() {
	dst "alter table orders add check (note <> 'bad')"
	some_history
	load
	src "update orders set note = 'good' where id = 1; update orders set note = 'bad' where id = 1;
		update orders set note = 'bad', day = day + 1 where id in (4, 8, 9, 11, 12);
		update orders set note = 'fine' where id = 2; insert into orders values (70, '2026-01-03', 'bad')"
	event U:id 'id=6x&day=2026-01-01&note=n'
	event U:id 'id=13&day=2026-01-02&note=%zz'
	tick q
	once
	expect_eq "$(letters | wc -l)" 9
	src "update orders set note = 'good' where id = 1;
		delete from orders where id = 70" 
	expect_eq "$(dst "select note from orders where id = 1; select note from orders where id = 2")" $'good\nfine'
	expect_eq "$(dst "select count(*) from orders where id in (4, 8, 9, 11, 12)")" 5
	src "update orders set note = 'mended', day = day - (id in (4, 8, 9, 11, 12))::int"
	load
}

case_bad_events() {
	bad_events
	bad_histories
}

case_bad_events_with_lanes() {
	bad_events lanes=2
	bad_histories
}

# The key itself is refused, in both halves of a move: one letter, in one lane or in two.
case_bad_keys_of_moves() {
	local lanes
	for lanes in 1 2 3; do
		bad_events lanes=$lanes
		some_history
		load
		src "select count(pgq.insert_event('q', 'U:id', 'id=' || i || 'x&day=2026-01-0' || i % 3 + 1 || '&note=n', 'public.orders',
			'id=' || i || 'x&day=2026-01-0' || (i + j) % 3 + 1 || '&note=n', null, null)) from generate_series(1, 20) i, generate_series(0, 2) j" >/dev/null
		event D:id 'id=1x&day&note=n'
		tick q
		once --verify --set max_errors=61
		expect_same
		expect_eq "$(dst "select count(*), count(distinct ev_id) from tdispatch.dead_letter")" "61|61"
		expect_exit 1 "$TDISPATCH" --replay job.ini
		expect_match out '0 of 61 dead letters went in'
	done
}

# Lane 1 has the batch, lane 0 has not, and moves between them are refused in the former: the old
# rows stay in the latter, and --verify knows why.
case_moves_refused_in_a_lane_that_is_ahead() {
	bad_events lanes=2
	dst "alter table orders add check (note <> 'bad');
		create function refuse() returns trigger language plpgsql as
			\$\$ begin if new.subconsumer_id = '' then raise exception using errcode = '53100', message = 'refused'; end if; return new; end \$\$"
	src "insert into orders select i, date '2026-01-01' + i % 10, 'n' from generate_series(1, 50) i"
	load
	src "update orders set note = 'bad', day = day + 11 where id <= 20; update orders set note = 'good' where id > 20"
	tick q
	dst "create constraint trigger refuse after insert or update on pgq_ext.completed_tick deferrable initially deferred
		for each row execute function refuse()"
	expect_exit 1 "$TDISPATCH" --once job.ini
	dst "drop trigger refuse on pgq_ext.completed_tick"
	[ "$(dst "select count(*) from orders where note = 'good'")" -lt 30 ] || fail "no lane is behind"
	once --verify
	expect_eq "$(dst "select count(*), count(*) filter (where note = 'good'), count(*) filter (where day > '2026-01-10') from orders")" "50|30|0"
	expect_eq "$(dst "select count(*), count(distinct ev_id) from tdispatch.dead_letter")" "20|20"
}

case_bad_events_are_skipped() {
	latest_pair on_error=skip lanes=2
	dst "alter table orders add check (note <> 'bad')"
	some_history
	load
	src "update orders set note = 'bad', day = day + 1"
	src "select count(*) from orders" >n
	tick q
	once
	expect_match err "$(cat n) events skipped"
	src "update orders set note = 'mended', day = day - 1"
	load
}

case_a_bad_event_stops_the_job() {
	latest_pair
	dst "alter table orders add check (note <> 'bad')"
	some_history
	load
	src "update orders set note = 'bad' where id = 4"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event [0-9]+ of batch [0-9]+, source table public.orders, partition orders_2026_01_0[0-9].*violates check constraint"
	expect_match err "on_error = dead_letter"
	dst "alter table orders drop constraint orders_note_check"
	load
}

# A foreign key, NOT NULL and a second unique key: found at the end of the batch.
case_constraints_of_the_target() {
	bad_events part_field= part_template=
	dst "drop table orders; create table known (note text primary key); insert into known values ('a'), ('b'), ('c');
		create table orders (id int primary key, day date not null unique, note text references known)"
	src "insert into orders values (1, '2026-01-01', 'a'), (2, '2026-01-02', 'x'), (3, null, 'b'), (4, '2026-01-01', 'c'), (5, '2026-01-05', 'c')"
	tick q
	once
	expect_eq "$(dst "select string_agg(id::text, ' ' order by id) from orders")" "1 5"
	expect_letter "foreign key"
	expect_letter "not-null"
	expect_letter "duplicate key"
	src "delete from orders where id in (2, 3, 4); update orders set day = case id when 1 then date '2026-01-05' else '2026-02-01' end; update orders set day = '2026-01-01' where id = 5"
	load
}

# A table that refuses any row is nobody's fault.
case_a_table_that_takes_no_rows() {
	bad_events
	some_history
	dst "create function no() returns trigger language plpgsql as 'begin raise exception ''closed''; end';
		create trigger no before insert on orders for each statement execute function no()"
	load || :
	dst "create table orders_2026_01_09 partition of orders for values from ('2026-01-09') to ('2026-01-10');
		create trigger no before insert on orders_2026_01_09 for each statement execute function no()"
	orders 91 92 2026-01-09
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "table orders_2026_01_09 takes no rows: .*closed"
	expect_eq "$(letters | wc -l)" 0
}

# ---- --check

case_foreign_keys_to_the_target_are_refused() {
	latest_pair
	dst "create table lines (id int, day date, foreign key (id, day) references orders on delete cascade)"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "WRONG.*foreign key lines_id_day_fkey of lines points to orders, where row_mode = keep_latest replaces rows"
	some_history
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "foreign key lines_id_day_fkey of lines points to orders"
	dst "drop table lines"
	load
}

case_check_tells_of_moves_and_keys() {
	latest_pair
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out "backup|index of orders"
	src "drop trigger to_queue on orders;
		create trigger to_queue after insert or update or delete on orders for each row execute function pgq.logutriga('q')"
	dst "alter table orders drop constraint orders_pkey"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "part_field day is not in the key \(id\), and the trigger that feeds orders has no argument backup"
	expect_match out "no index of orders begins with a column of the key \(id\)"
	expect_exit 1 "$TDISPATCH" --check job.ini --set skip_fields=id
	expect_match out '^WRONG .*column id is of the key that the trigger names, and not among those that are written to orders'
	expect_exit 1 "$TDISPATCH" --check job.ini --set 'fields=day, note'
	src "alter table orders drop constraint orders_pkey"
	expect_exit 0 "$TDISPATCH" --check job.ini --set row_key='note, id'
	expect_match out "part_field day is not in the key \(note, id\), and the trigger"
	expect_match out "no index of orders begins with a column of the key \(note, id\)"
	expect_exit 0 "$TDISPATCH" --check job.ini --set row_key='id, day'
	expect_no_match out backup
	source_table other "id int, day date"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "several source tables feed orders"
	expect_match out "names no primary key, which row_mode = keep_latest needs"
}

case_rights() {
	latest_pair
	some_history
	dst "select 'drop role latest_runner' where to_regrole('latest_runner') is not null" | sql postgres
	dst "drop owned by latest_runner" 2>/dev/null || :
	sql postgres <<<"drop role if exists latest_runner; create role latest_runner login"
	dst "revoke temporary on database \"$DST\" from public; alter table orders owner to latest_runner;
		grant create on schema public to latest_runner"
	sed -i "s/^src_db.*/& user=latest_runner/; s/^dst_db.*/& user=latest_runner/" job.ini
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "GRANT TEMPORARY ON DATABASE"
	sed -i 's/ user=latest_runner//' job.ini
	install --grant latest_runner
	sed -i "s/^src_db.*/& user=latest_runner/; s/^dst_db.*/& user=latest_runner/" job.ini
	expect_exit 0 "$TDISPATCH" --check job.ini
	load
	more_history
	load
}

# Tables of another: INSERT does not suffice.
case_rights_to_replace() {
	latest_pair part_template=
	dst "create table orders_2026_01_01 partition of orders for values from ('2026-01-01') to ('2026-01-02')"
	sql postgres <<<"drop role if exists latest_writer; create role latest_writer login"
	install --grant latest_writer
	dst "revoke select, delete on orders, orders_2026_01_01 from latest_writer"
	sed -i "s/^src_db.*/& user=latest_writer/; s/^dst_db.*/& user=latest_writer/" job.ini
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'GRANT SELECT ON (public\.)?orders_2026_01_01'
	expect_match out 'GRANT DELETE ON (public\.)?orders_2026_01_01'
	src "insert into orders values (1, '2026-01-01', 'n'); update orders set note = 'u'"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'permission denied for table orders'
	dst "grant select, delete on orders, orders_2026_01_01 to latest_writer"
	expect_exit 0 "$TDISPATCH" --check job.ini
	load
}

# ---- --verify, --dry-run, --replay

case_verify() {
	local lanes
	for lanes in 1 2; do
		latest_pair lanes=$lanes
		some_history
		load --verify
		expect_match err "verified, [0-9] partitions"
		more_history
		load --verify
		src "delete from orders where day > '2026-01-02'"
		load --verify
	done
}

# A row leaves its partition in the batch in which it came, before the partition is there.
case_verify_a_partition_that_keeps_nothing() {
	latest_pair part_method=monthly part_template=
	dst "create table orders_2026_01 partition of orders for values from ('2026-01-01') to ('2026-02-01')"
	src "insert into orders values (1, '2026-03-01', 'a'), (2, '2026-04-01', 'b');
		update orders set day = '2026-01-05' where id = 1; delete from orders where id = 2"
	load --verify
	expect_match err 'verified, 1 partition'
}

case_verify_sees_what_a_trigger_does() {
	latest_pair
	some_history
	load
	dst "create function changes() returns trigger language plpgsql as 'begin new.note := new.note || new.id; return new; end';
		create trigger changes before insert on orders_2026_01_02 for each row execute function changes()"
	src "update orders set note = 'new'"
	tick q
	expect_exit 1 "$TDISPATCH" --once --verify job.ini
	expect_match err "verify: partition orders_2026_01_02 got [0-9]+ rows, and their values are not those of the events"
	dst "drop trigger changes on orders_2026_01_02;
		create function keeps() returns trigger language plpgsql as 'begin return null; end';
		create trigger keeps before delete on orders_2026_01_03 for each row execute function keeps()"
	src "delete from orders where id = 2"
	sed -i '/^on_error/d' job.ini
	tick q
	expect_exit 1 "$TDISPATCH" --once --verify job.ini
	dst "drop trigger keeps on orders_2026_01_03"
	load --verify
}

# replay_pair [KEY=VALUE]...: orders 1 to 6, of which the last update is a letter, since the note was
# too long.
replay_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text check (length(note) < 5), ev bigint, primary key (id, day)) partition by range (day)"
	config row_mode=keep_latest on_error=dead_letter "part_template=$ATTACH" "$@"
	install
	orders 1 5
	tick q
	once
	src "update orders set note = 'longer' where id < 4; insert into orders values (6, '2026-01-31', 'longer')"
	tick q
	once
	src "update orders set note = 'x' where id = 2; delete from orders where id = 3"
	tick q
	once
	dst "alter table orders drop constraint orders_note_check"
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 4
}

notes() {
	dst "select string_agg(id || note, ' ' order by id) from orders"
}

case_replay_never_writes_over_newer_rows() {
	replay_pair "fields=*, _EVID:ev"
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out "1 of 4 dead letters went in"
	expect_match out "event [0-9]+: key \(2\) of orders: its row is newer, of event [0-9]+"
	expect_match out "event [0-9]+: key \(3\) of orders is not there: it may have been deleted since"
	expect_match out "event [0-9]+: key \(6\) of orders is not there"
	expect_eq "$(notes)" "1longer 2x 4n4 5n5"
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 3
}

case_replay_without_evid_refuses() {
	replay_pair
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out "0 of 4 dead letters went in"
	expect_match out "key \(1\) of orders: its row may be newer, and fields has no _EVID that would tell"
	expect_eq "$(notes)" "1n1 2x 4n4 5n5"
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 4
}

# Orders 1 to 3, whose updates bring the old row; the target refuses long notes.
moves_pair() {
	new_pair "$CASE"
	src "select pgq.create_queue('q');
		create table orders (id int primary key, day date, note text);
		create trigger to_queue after insert or update or delete on orders
			for each row execute function pgq.logutriga('q', 'backup');" >/dev/null
	dst "create table orders (id int, day date, note text check (length(note) < 5), ev bigint, primary key (id, day)) partition by range (day)"
	config row_mode=keep_latest on_error=dead_letter "part_template=$ATTACH" "fields=*, _EVID:ev"
	install
	orders 1 3
}

# Of a move, the row to go tells.
case_replay_of_a_move() {
	moves_pair
	tick q
	once
	src "update orders set note = 'longer', day = '2026-02-01' where id = 2"
	tick q
	once
	expect_eq "$(notes)" "1n1 2n2 3n3"
	dst "alter table orders drop constraint orders_note_check;
		alter table orders_2026_02_01 drop constraint if exists orders_note_check"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(notes)" "1n1 2longer 3n3"
	expect_rows 3
}

# The row is in another partition by now, and newer, beside the one that a refused move left.
case_replay_looks_into_all_partitions() {
	moves_pair
	src "update orders set note = 'longer', day = '2026-02-01' where id = 2"
	tick q
	once
	src "update orders set note = 'new', day = '2026-02-02' where id = 2"
	tick q
	once
	dst "alter table orders drop constraint orders_note_check"
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out "key \(2\) of orders: its row is newer"
	expect_eq "$(dst "select day from orders where note = 'longer'")" ""
}

case_dry_run() {
	latest_pair
	some_history
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	cp out dry
	expect_match dry "orders_2026_01_01: [0-9]+ rows, would be created"
	expect_eq "$(partitions)" ""
	load
}

run_cases
