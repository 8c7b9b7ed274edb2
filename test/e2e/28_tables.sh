# The right table: rows go to partitions of dest_table, and to no other table of such a name.
. "$(dirname "$0")/../cases.sh"

OLD="alter table orders rename to orders_old; create table orders (like orders_old) partition by range (day)"

# loaded [KEY=VALUE]...: an orders pair in which the 31st has two rows, and two more wait.
loaded() {
	orders_pair "part_template=$ATTACH" "$@"
	orders 1 2
	tick q
	once
	orders 3 4
	tick q
}

# refused REGEX [ARG]...: by a run, --dry-run and --check; nothing is written.
refused() {
	local before
	before=$(dst "select count(*) from orders_2026_01_31")
	expect_exit 1 "$TDISPATCH" --check job.ini "${@:2}"
	expect_match out "^WRONG .*$1"
	expect_exit 1 "$TDISPATCH" --dry-run job.ini "${@:2}"
	expect_match out "$1"
	expect_exit 1 "$TDISPATCH" --once job.ini "${@:2}"
	expect_match err "ERROR.*$1"
	expect_eq "$(dst "select count(*) from orders_2026_01_31")" "$before" "rows in the table"
}

accepted() {
	expect_exit "0" "$TDISPATCH" --check job.ini "$@"
	expect_exit 0 "$TDISPATCH" --dry-run job.ini "$@"
	once "$@"
}

case_renamed_parent() {
	loaded
	dst "$OLD"
	refused 'orders_2026_01_31 is a child of orders_old, not of orders'
	dst "alter table orders_2026_01_31 rename to old_2026_01_31"
	accepted
	expect_rows 2
	expect_rows 2 orders_old
}

case_renamed_parent_by_inheritance() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text)"
	config "part_template=$INHERITS"
	install
	orders 1 2
	tick q
	once
	orders 3 4
	tick q
	dst "alter table orders rename to orders_old; create table orders (like orders_old)"
	refused 'orders_2026_01_31 is a child of orders_old'
}

# Without a template too, and where the new parent is not there yet.
case_renamed_parent_without_template() {
	loaded
	dst "$OLD"
	refused 'is a child of orders_old' --set part_template=
	dst "drop table orders"
	refused 'is a child of orders_old'
}

case_detached() {
	loaded
	dst "alter table orders detach partition orders_2026_01_31"
	refused 'orders_2026_01_31 is no child of orders'
	dst "alter table orders attach partition orders_2026_01_31 for values from ('2026-01-31') to ('2026-02-01')"
	accepted
	expect_rows 4
}

# DETACH ... CONCURRENTLY that was interrupted: it is on its way out.
case_detach_pending() {
	loaded
	hold "select count(*) from orders"
	dst "alter table orders detach partition orders_2026_01_31 concurrently" >/dev/null 2>&1 &
	STARTED+=($!)
	within 20 dst_gives t "select inhdetachpending from pg_inherits where inhrelid = 'orders_2026_01_31'::regclass"
	dst "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'alter table orders detach%'" >/dev/null
	end_sleepers
	expect_eq "$(dst "select inhdetachpending from pg_inherits where inhrelid = 'orders_2026_01_31'::regclass")" t
	refused 'orders_2026_01_31 is no child of orders'
}

case_disinherited() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text)"
	config "part_template=$INHERITS"
	install
	orders 1 2
	tick q
	once
	dst "alter table orders_2026_01_31 no inherit orders"
	orders 3 4
	tick q
	refused 'is no child of orders'
}

# no_table NAME [DAY]: what has the name gets no rows of the day.
no_table() {
	orders 1 2 "${@:2}"
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out "$1 has the name of a partition of orders, and is no table"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "ERROR.*$1 has the name of a partition of orders, and is no table: rename it"
}

case_index_in_the_place() {
	orders_pair "part_template=$ATTACH"
	dst "create index orders_2026_01_31 on orders (id)"
	no_table orders_2026_01_31
	dst "alter index orders_2026_01_31 rename to by_id"
	accepted
	expect_rows 2
}

# An index has a parent, too.
case_index_of_a_partition_in_the_place() {
	orders_pair "part_template=$ATTACH"
	dst "create table first partition of orders for values from ('2026-01-01') to ('2026-01-02');
		create index by_id on orders (id); alter index first_id_idx rename to orders_2026_01_31"
	no_table orders_2026_01_31
}

# A table of that age need not be a child of dest_table.
case_sequence_in_the_place_of_an_old_partition() {
	local template
	for template in "$ATTACH" "create table _DEST_TABLE (id int, day date, note text)"; do
		orders_pair "part_template=$template" part_keep="1 day" part_keep_action=detach
		dst "create sequence orders_2001_01_01"
		no_table orders_2001_01_01 2001-01-01
	done
}

# A child of a child is one; and so is that of a table which the template names.
case_partition_of_a_partition() {
	orders_pair "part_template=$ATTACH"
	dst "create table orders_y2026 partition of orders for values from ('2026-01-01') to ('2027-01-01') partition by range (day);
		create table orders_2026_01_31 partition of orders_y2026 for values from ('2026-01-31') to ('2026-02-01')"
	orders 1 2
	tick q
	accepted
	orders 3 4
	tick q
	accepted
	expect_rows 4
}

case_parent_of_another_name() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text); create table \"All Orders\" (like orders); create table every_order (like orders)"
	config "part_template=create table _DEST_TABLE () inherits (\"All Orders\", Every_Order);"
	install
	orders 1 2
	tick q
	once
	orders 3 4
	tick q
	accepted
	expect_rows 4 '"All Orders"'
	dst "alter table every_order rename to x; alter table \"All Orders\" rename to y"
	orders 5 6
	tick q
	refused 'is a child of x'
}

# Tables of their own are right where nobody makes children.
case_loose_by_template() {
	orders_pair "part_template=create table _DEST_TABLE (like _PARENT)"
	orders 1 2
	tick q
	accepted
	orders 3 4
	tick q
	accepted
	expect_rows 4 orders_2026_01_31
	dst "create table other (like orders) partition by range (day);
		alter table other attach partition orders_2026_01_31 for values from ('2026-01-31') to ('2026-02-01')"
	orders 5 6
	tick q
	refused 'is a child of other'
}

# Those that are older than all partitions are an archive.
case_check_of_an_archive() {
	loaded
	dst "create table orders_2020_01_01 (like orders); create table orders_2020_01_02 (like orders); create table orders_2020_13_45 (like orders)"
	accepted
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +2 tables older than'
	dst "create table orders_2026_02_07 (like orders)"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +table orders_2026_02_07 is no child'
}

case_check_names_a_few() {
	loaded
	dst "$OLD"
	dst "select format('create table orders_%s partition of orders_old for values from (%L) to (%L)', to_char(d, 'YYYY_MM_DD'), d::date, d::date + 1)
		from generate_series(date '2026-02-01', '2026-02-10', '1 day') d \\gexec"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_eq "$(grep -c '^WRONG' out)" 4
	expect_match out 'orders_2026_02_10 is a child of orders_old'
	expect_match out 'and 8 tables more'
}

# ---- while it runs

# running SQL: a process that knows the partition sees that SQL was run, and rows after that.
running() {
	orders_pair "part_template=$ATTACH" "${@:2}"
	start job.ini
	orders 1 2
	tick q
	within 10 dst_gives 2 "select count(*) from orders"
	dst "$1"
	orders 3 4
	tick q
}

case_renamed_while_running() {
	running "$OLD"
	expect_end 1 20
	expect_match bg.err 'ERROR.*orders_2026_01_31 is a child of orders_old'
	expect_rows 2 orders_old
}

case_detached_while_running() {
	running "alter table orders detach partition orders_2026_01_31"
	expect_end 1 20
	expect_match bg.err 'ERROR.*orders_2026_01_31 is no child of orders'
	expect_rows 2 orders_2026_01_31
}

case_replaced_while_running() {
	running "drop table orders_2026_01_31; create table orders_2026_01_31 (like orders)"
	expect_end 1 20
	expect_match bg.err 'ERROR.*orders_2026_01_31 is no child of orders'
	expect_rows 0 orders_2026_01_31
}

# One that is right is written to, and the process goes on.
case_replaced_by_a_right_one() {
	running "drop table orders_2026_01_31; create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01')"
	within 20 dst_gives 2 "select count(*) from orders"
	dst "create table y partition of orders for values from ('2027-01-01') to ('2028-01-01') partition by range (day);
		create table orders_2027_01_31 partition of y for values from ('2027-01-31') to ('2027-02-01')"
	orders 5 6 2027-01-31
	orders 7 8
	tick q
	within 20 dst_gives 6 "select count(*) from orders"
	kill -INT "$PID"
	expect_end 0 10
	expect_no_match bg.err ERROR
}

case_renamed_while_running_in_lanes() {
	running "$OLD" lanes=3
	expect_end 1 20
	expect_match bg.err 'ERROR.*orders_2026_01_31 is a child of orders_old'
	expect_rows 2 orders_old
}

# The batch is read, its rows are sent, and it waits for the rest when the table is taken away: that
# is not possible any more. But the parent's name is.
case_renamed_while_loading() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text)"
	slow_target 0.03
	config "part_template=$INHERITS $SLOW"
	install
	orders 1 300
	tick q
	start --once job.ini
	within 20 rows_are_coming
	dst "alter table orders rename to orders_old; create table orders (like orders_old)"
	expect_end 1 60
	expect_match bg.err 'ERROR.*orders_2026_01_31 is a child of orders_old'
	expect_rows 0 orders_old
}

case_replay_into_another_table() {
	loaded on_error=dead_letter
	once
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	tick q
	once
	dst "alter table orders alter column id type text"
	dst "$OLD"
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match err 'is a child of orders_old'
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 1
}

# ---- generated columns

# generated_pair [KEY=VALUE]...: both sides have one.
generated_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, twice int generated always as (id * 2) stored, day date, note text"
	dst "create table orders (id int, twice int generated always as (id * 2) stored, day date, note text) partition by range (day)"
	config "part_template=create table _DEST_TABLE (like _PARENT including all); alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)" "$@"
	install
	src "insert into orders (id, day, note) select i, date '2026-01-30' + i % 3, 'n' || i || repeat('x', 100) from generate_series(1, 9000) i"
	tick q
}

case_generated() {
	generated_pair
	src "insert into orders (id, day, note) select i, date '2026-01-30' + i % 3, repeat('x', 100) from generate_series(9001, 60000) i"
	tick q
	accepted -v
	expect_match err binary
	expect_eq "$(content "$DST" orders)" "$(content "$SRC" orders)"
}

case_generated_verified() {
	generated_pair
	once --verify
	expect_eq "$(content "$DST" orders)" "$(content "$SRC" orders)"
}

case_generated_in_one_table() {
	generated_pair
	dst "alter table orders rename to x; create table orders (id int, twice int generated always as (id * 2) stored, day date, note text)"
	accepted --set part_field= --set part_template=
	expect_eq "$(content "$DST" orders)" "$(content "$SRC" orders)"
}

case_generated_in_a_list() {
	generated_pair fields=id,twice,day
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +column twice of orders is generated'
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out 'column twice of orders is generated'
	expect_exit 1 "$TDISPATCH" --once job.ini
	accepted --set fields=id,day
	expect_eq "$(dst "select count(*), sum(twice) from orders")" "9000|81009000"
}

# Copies that are told nothing of it have the values of the events.
case_generated_and_loose() {
	generated_pair "part_template=create table _DEST_TABLE (like _PARENT)"
	accepted
	expect_eq "$(dst "select count(*), sum(twice) from orders_2026_01_30")" "3000|27009000"
}

# A column that becomes one while the program runs, or is none any more.
case_generated_from_now_on() {
	new_pair "$CASE"
	source_table orders "id int primary key, twice int generated always as (id * 2) stored, day date, note text"
	dst "create table orders (id int, twice int generated always as (id * 2) stored, day date, note text)"
	config part_field= part_template=
	install
	start job.ini
	src "insert into orders (id) values (1)"
	tick q
	within 10 dst_gives "1|2" "select id, twice from orders"
	dst "alter table orders alter twice drop expression"
	src "insert into orders (id) values (2)"
	tick q
	within 20 dst_gives "2|4" "select id, twice from orders where id = 2"
	dst "alter table orders drop twice; alter table orders add twice int generated always as (id * 2) stored"
	src "insert into orders (id) values (3)"
	tick q
	within 20 dst_gives "3|6" "select id, twice from orders where id = 3"
	kill -INT "$PID"
	expect_end 0 10
	expect_no_match bg.err ERROR
}

# ---- tables that a crash empties

case_unlogged() {
	orders_pair
	dst "create unlogged table orders_2026_01_30 partition of orders for values from ('2026-01-30') to ('2026-01-31')"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +table public.orders_2026_01_30 is unlogged'
	dst "create unlogged table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01')"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +table public.orders_2026_01_31 is unlogged \(and 1 more\)'
	dst "alter table orders_2026_01_30 set logged; alter table orders_2026_01_31 set logged"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out unlogged
	expect_exit 0 "$TDISPATCH" --check job.ini --set "part_template=create unlogged table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END)"
	expect_match out '^warning +part_template makes unlogged tables'
	dst "create unlogged table plain (like orders)"
	expect_exit 0 "$TDISPATCH" --check job.ini --set dest_table=plain --set part_field= --set part_template=
	expect_match out '^warning +table public.plain is unlogged'
}

# ---- identity columns, sequences, keys

case_identity() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int generated always as identity, day date, note text)"
	config "part_template=create table _DEST_TABLE (like _PARENT including all) inherits (_PARENT);"
	install
	orders 7 9
	tick q
	accepted
	expect_eq "$(dst "select string_agg(id::text, ',' order by id) from orders")" "7,8,9"
	orders 10 11
	tick q
	accepted --set fields=day,note
	expect_eq "$(dst "select string_agg(id::text, ',' order by id) from orders")" "1,2,7,8,9"
}

case_right_on_a_sequence() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (rid bigserial, id int, day date, note text) partition by range (day);
		create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01');
		create role \"$CASE\" login; grant insert on orders_2026_01_31 to \"$CASE\""
	config part_template= "dst_db=dbname=$DST user=$CASE"
	install --set "dst_db=dbname=$DST"
	dst "grant usage on schema pgq_ext to \"$CASE\""
	orders 1 2
	tick q
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^MISSING +right on dst_db: GRANT USAGE ON SEQUENCE public.orders_rid_seq TO \"$CASE\""
	expect_exit 1 "$TDISPATCH" --once job.ini
	src "drop trigger to_queue on orders"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "^warning +right on dst_db for events that do not bring column rid: GRANT"
	dst "grant usage on sequence orders_rid_seq to \"$CASE\""
	accepted
	expect_rows 2
	dst "revoke usage on sequence orders_rid_seq from \"$CASE\""
	expect_exit 0 "$TDISPATCH" --check job.ini --set fields=id:rid,day
	expect_no_match out 'ON SEQUENCE'
}

# parent_key KEY TEMPLATE: the parent has that primary key.
parent_key() {
	orders_pair "part_template=$2"
	dst "alter table orders add primary key ($1)"
	orders 1 1
	tick q
}

WITH_KEY='create table _DEST_TABLE (like _PARENT including defaults);
alter table only _DEST_TABLE add primary key (_PKEY);
alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);'

case_parent_with_another_key() {
	parent_key "id, day" "$WITH_KEY"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +table orders has a primary key already, of id,day, and part_template adds another, of id'
	expect_exit 1 "$TDISPATCH" --once job.ini
	src "drop trigger to_queue on orders"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +table orders has a primary key already'
}

case_parent_with_the_same_key() {
	parent_key "id, day" "$WITH_KEY"
	src "drop trigger to_queue on orders; create trigger to_queue after insert on orders for each row
		execute function pgq.logutriga('q', 'pkey=id, day'); truncate orders"
	src "select pgq.unregister_consumer('q', 'job'), pgq.register_consumer('q', 'job')" >/dev/null
	orders 2 3
	tick q
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'primary key'
	once
	expect_rows 2
}

case_parent_with_a_key_that_is_copied() {
	parent_key "id, day" "create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END); alter table _DEST_TABLE add primary key (_PKEY)"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out '^WRONG +table orders has a primary key already, which its partitions get'
	expect_exit 1 "$TDISPATCH" --once job.ini
}

run_cases
