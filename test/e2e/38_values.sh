# part_method = list and number: partitions by the value of a column.
. "$(dirname "$0")/../cases.sh"

LIST_ATTACH='create table _DEST_TABLE (like _PARENT including all);
alter table _PARENT attach partition _DEST_TABLE for values in (_PART_VALUE);'
LIST_OF='create table _DEST_TABLE partition of _PARENT for values in (_PART_VALUE);'
LIST_CHECK='create table _DEST_TABLE (check (tenant = _PART_VALUE)) inherits (_PARENT);'
NUMBER_CHECK='create table _DEST_TABLE (check (nr >= _PART_START and nr < _PART_END)) inherits (_PARENT);'

# list_pair [KEY=VALUE]...
list_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, tenant text, note text"
	case "$*" in
	*inherits*) dst "create table orders (id int, tenant text, note text)" ;;
	*) dst "create table orders (id int, tenant text, note text) partition by list (tenant)" ;;
	esac
	config part_field=tenant part_method=list "part_template=$LIST_ATTACH" "$@"
	install
}

# number_pair [KEY=VALUE]...
number_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, nr bigint, note text"
	case "$*" in
	*inherits*) dst "create table orders (id int, nr bigint, note text)" ;;
	*) dst "create table orders (id int, nr bigint, note text) partition by range (nr)" ;;
	esac
	config part_field=nr "part_method=number 1000" "part_template=$ATTACH" "$@"
	install
}

# tenants PREFIX N: N values, a row each.
tenants() {
	src "insert into orders select i + (select count(*) from orders), '$1' || i, 'n' from generate_series(1, $2) i"
	tick q
}

places() {
	dst "select tableoid::regclass, id from orders order by id"
}

# refused REGEX KEY=VALUE...: a config error.
refused() {
	config "${@:2}"
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err "$1"
}

case_list() {
	local template
	for template in "$LIST_ATTACH" "$LIST_OF" "$LIST_CHECK"; do
		list_pair "part_template=$template"
		src "insert into orders values (1, 'EE', 'a'), (2, 'ee', 'b'), (3, 'a_b', 'c'), (4, '42', 'd'), (5, 'EE', 'e'),
			(6, repeat('x', 30), 'f')"
		tick q
		expect_exit 0 "$TDISPATCH" --dry-run job.ini
		expect_match out 'orders_EE: 2 rows, would be created'
		once --verify
		expect_eq "$(places)" $'"orders_EE"|1\norders_ee|2\norders_a_b|3\norders_42|4\n"orders_EE"|5\norders_'"$(printf 'x%.0s' {1..30})|6"
		src "insert into orders values (7, 'ee', 'g')"
		tick q
		once --verify
		expect_eq "$(dst "select count(*) from orders_ee")" 2
		expect_exit 0 "$TDISPATCH" --check job.ini
		expect_exit 0 "$TDISPATCH" --show-partitions job.ini
		expect_match out '^name +value +rows'
		expect_match out '^orders_EE +EE +.* keep'
		expect_match out '^5 children of orders$'
		expect_exit 0 "$TDISPATCH" --status job.ini
		expect_match out '^partitions +5'
	done
}

case_list_in_lanes() {
	list_pair lanes=3
	src "insert into orders select i, 't' || i % 20, 'n' from generate_series(1, 2000) i"
	tick q
	once --verify
	expect_rows 2000
	expect_eq "$(dst "select count(*) from pg_inherits where inhparent = 'orders'::regclass")" 20
	src "insert into orders select i, 't' || i % 30, 'n' from generate_series(2001, 4000) i"
	tick q
	once --verify
	expect_rows 4000
}

# bad REGEX ID VALUE: the event is refused with its number, and the others go on.
bad() {
	local id
	id=$(event I:id "id=$2&$FIELD$3&note=x")
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of batch [0-9]+, source table public\\.orders: column $FIELD$1"
	once --set on_error=skip
	expect_match err "event $id of batch"
}

case_list_bad_values() {
	local FIELD=tenant
	list_pair
	bad ' is NULL: it picks no partition' 1 ''
	bad ': "" picks no partition: it must be 1 to 30 of ASCII letters, digits and _' 2 =
	bad ': "a b" picks no' 3 =a+b
	bad ': "a-b" picks no' 4 =a-b
	bad ': "[^"]*" picks no' 5 =%c3%bc
	bad ': "x{31}" picks no' 6 "=$(printf 'x%.0s' {1..31})"
	bad ": \"';drop\" picks" 7 "=%27%3bdrop"
	expect_eq "$(partitions)" ""
}

case_list_long_table_name() {
	local table
	table=t$(printf 'y%.0s' {1..52})
	list_pair "dest_table=$table"
	dst "alter table orders rename to $table"
	src "insert into orders values (1, 'abcdefghi', 'n')"
	tick q
	once
	src "insert into orders values (2, 'abcdefghij', 'n')"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'event [0-9]+ .*column tenant: "abcdefghij" picks no partition: the partition.s name would be over 63 bytes'
}

# taken [KEY=VALUE]...: of events with five values, of which two make names that something else has.
taken() {
	local template
	for template in "$LIST_ATTACH" "$LIST_OF" "$LIST_CHECK"; do
		list_pair "part_template=$template" on_error=dead_letter "$@"
		dst "create table orders_log (id int, tenant text, note text); create index orders_ix on orders (id)"
		src "insert into orders select i, (array['EE', 'log', 'ix', 'a', 'b'])[1 + i % 5], 'n' from generate_series(0, 99) i"
		tick q
		expect_exit 0 "$TDISPATCH" --check job.ini
		expect_exit 1 "$TDISPATCH" --dry-run job.ini
		expect_match out '40 events that have no place:'
		expect_match out 'table orders_log is no child of orders'
		expect_exit 1 "$TDISPATCH" --once --set on_error=stop job.ini
		expect_match err 'event [0-9]+ of batch .* (table orders_log is no child of orders|orders_ix has the name of a partition of orders, and is no table)'
		once --verify
		expect_rows 60
		expect_eq "$(dst "select count(*) from only orders_log")" 0
		expect_eq "$(dst "select message ~ 'orders_log is no child of', count(*) from tdispatch.dead_letter group by 1 order by 1")" $'f|20\nt|20'
		dst "alter table orders_log rename to log"
		expect_exit 1 "$TDISPATCH" --replay job.ini
		expect_rows 80
		src "insert into orders values (101, 'log', 'n')"
		tick q
		once
		expect_eq "$(dst "select count(*) from orders_log")" 21
	done
}

case_list_taken_names() {
	taken
}

case_list_taken_names_in_lanes() {
	taken lanes=3
}

# The next batch looks again.
case_list_taken_name_is_given_back() {
	list_pair on_error=skip
	dst "create table orders_log (id int)"
	src "insert into orders values (1, 'log', 'n'), (2, 'EE', 'n')"
	tick q
	start job.ini
	within 20 grep -q 'skipped: table orders_log is no child of orders' bg.err
	within 20 dst_gives 2 "select id from orders"
	dst "drop table orders_log"
	src "insert into orders values (3, 'log', 'n')"
	tick q
	within 20 dst_gives "2 3" "select string_agg(id::text, ' ' order by id) from orders"
	kill $PID
	expect_end 0 10
}

case_list_taken_names_of_a_table_that_is_copied() {
	local lanes
	for lanes in 1 2; do
		list_pair on_error=dead_letter lanes=$lanes
		expect_exit 0 "$TDISPATCH" --install --from orders job.ini
		dst "create table orders_log (id int)"
		src "insert into orders select i, (array['EE', 'log', 'a', 'b'])[1 + i % 4], 'n' from generate_series(0, 99) i"
		expect_exit 0 "$TDISPATCH" --once --verify --set queue_name= --set from_table=orders job.ini
		expect_rows 75
		expect_eq "$(dst "select count(*) from tdispatch.dead_letter where message like '%orders_log is no child of orders%'")" 25
	done
}

OWN='create table _DEST_TABLE (id int primary key, tenant text, note text, ev bigint)'

# Of tables that are no children, any may have the name of one that is there; but not that of another
# table's child, of an index or of a sequence.
case_list_taken_names_of_tables_of_their_own() {
	list_pair "part_template=$OWN" on_error=dead_letter
	dst "drop table orders; create table orders (id int); create table other (id int, tenant text, note text); create table orders_log () inherits (other);
		create index orders_ix on other (id); create sequence orders_seq; create table orders_own (id int, tenant text, note text)"
	src "insert into orders select i, (array['EE', 'log', 'ix', 'seq', 'own'])[1 + i % 5], 'n' from generate_series(0, 99) i"
	tick q
	expect_exit 1 "$TDISPATCH" --once --set on_error=stop job.ini
	expect_match err 'event [0-9]+ of batch .*: (table orders_log is a child of other|orders_(ix|seq) has the name of a partition of orders, and is no table)'
	once --verify
	expect_eq "$(dst 'select (select count(*) from "orders_EE"), (select count(*) from orders_own), (select count(*) from other)')" "20|20|0"
	expect_eq "$(dst "select substring(message from 'orders_[a-z]+'), count(*) from tdispatch.dead_letter group by 1 order by 1")" $'orders_ix|20\norders_log|20\norders_seq|20'
}

# The same tables with keep_latest: from what has a name that is taken, nothing goes.
case_replay_beside_taken_names_of_tables_of_their_own() {
	new_pair "$CASE"
	src "select pgq.create_queue('q'); create table orders (id int primary key, tenant text, note text);
		create trigger to_queue after insert or update or delete on orders for each row execute function pgq.logutriga('q', 'backup')" >/dev/null
	dst "create table orders (id int, tenant text, note text, ev bigint); create table other (like orders); create table orders_log () inherits (other)"
	config part_field=tenant part_method=list row_mode=keep_latest on_error=dead_letter "fields=*, _EVID:ev" "part_template=$OWN"
	install
	src "insert into orders values (1, 'a', 'n'), (2, 'b', 'n')"
	tick q
	once
	dst "alter table orders_a add check (length(note) < 5)"
	src "insert into orders values (3, 'log', 'n'); update orders set tenant = 'a', note = 'longer' where id = 3; update orders set note = 'longer' where id = 1"
	tick q
	once
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 3
	dst "alter table orders_a drop constraint orders_a_note_check"
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out '1 of 3 dead letters went in'
	expect_eq "$(dst "select id, note from orders_a")" "1|longer"
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 2
}

# What the template calls a constraint may be another value's partition.
case_list_taken_by_a_constraint() {
	local template="create table _DEST_TABLE (constraint _DEST_TABLE_pkey primary key (id)) inherits (_PARENT)" n
	for n in 1 2; do
		list_pair "part_template=$template" on_error=dead_letter
		src "insert into orders values (1, 'a', 'n'), (2, 'a_pkey', 'n'), (3, 'b', 'n'), (4, 'b_pkey', 'n')"
		[ $n = 1 ] || src "update pgq.event_1 set ev_id = -ev_id"
		tick q
		once
		expect_eq "$(dst "select count(*) from orders")|$(dst "select count(*) from tdispatch.dead_letter")" "2|2"
	done
	# the same name for each is the template's fault
	list_pair "part_template=create table _DEST_TABLE (constraint one primary key (id)) inherits (_PARENT)" on_error=dead_letter
	src "insert into orders values (1, 'a', 'n'), (2, 'b', 'n')"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'cannot be created by part_template: .*"one" already exists'
}

# A value with which a name of the template is too long.
case_list_long_names_of_the_template() {
	local table template="create table _DEST_TABLE (constraint _DEST_TABLE_pkey primary key (id)) inherits (_PARENT)"
	table=t$(printf 'y%.0s' {1..47})
	list_pair "dest_table=$table" "part_template=$template" on_error=dead_letter
	dst "drop table orders; create table $table (id int, tenant text, note text)"
	src "insert into orders values (1, 'abcdefghi', 'n'), (2, 'abcdefghij', 'n'), (3, 'a', 'n')"
	tick q
	once
	expect_rows 2 $table
	expect_eq "$(dst "select message from tdispatch.dead_letter")" "partition ${table}_abcdefghij cannot be created by part_template: part_template: the name ${table}_abcdefghij_pkey would have 64 bytes, the server takes 63"
}

# Nothing goes from there, and nothing comes.
case_list_taken_names_of_current_rows() {
	local lanes
	for lanes in 1 2; do
		current list "$LIST_ATTACH" t lanes=$lanes on_error=dead_letter
		dst "create table orders_log (id int, k int, t text, at timestamptz); insert into orders_log values (2, 0, 'log', now())"
		src "update orders set t = 'log' where id in (1, 2)"
		tick q
		once
		src "update orders set t = 'back' where id = 1; delete from orders where id = 2"
		tick q
		once
		expect_eq "$(dst "select t from orders where t = 'back'; select count(*) from orders_log")" $'back\n1'
		expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 2
	done
}

case_list_config() {
	new_pair "$CASE"
	refused 'part_keep: part_method = list and number tell no age' part_field=tenant part_method=list "part_template=$LIST_OF" "part_keep=3 days"
	refused 'part_premake: part_method = list has no next' part_field=tenant part_method=list "part_template=$LIST_OF" part_premake=3
	refused 'part_template: .*_PART_START.*write _PART_VALUE' part_field=tenant part_method=list
	refused 'part_template: .*_PART_VALUE.*part_method is not list' part_method=daily "part_template=$LIST_OF"
	refused 'part_field: .*must be a column' part_field=_EVTIME part_method=list "part_template=$LIST_OF"
	refused 'part_method: .*need part_field' part_field= part_method=list part_template=
	refused 'part_list_max' part_field=tenant part_method=list "part_template=$LIST_OF" part_list_max=0
	refused 'part_method: .*number N' part_field=tenant part_method=number
	refused 'part_method: .*number N' part_field=tenant 'part_method=number 0'
	refused 'part_method: .*number N' part_field=tenant 'part_method=number -5'
	refused 'part_method: .*number N' part_field=tenant 'part_method=number 9223372036854775808'
	refused 'part_method: ' part_field=tenant 'part_method=list 3'
	refused 'part_keep: ' part_field=nr 'part_method=number 5' "part_keep=3 days"
	refused 'part_timezone: .*hourly needs UTC or an offset' part_method=hourly part_timezone=Europe/Berlin
	config part_field=tenant part_method=list "part_template=$LIST_OF"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out '^part_method = list$'
	expect_match out '^part_list_max = 100$'
}

# A list gone wild: none of its partitions is made, however often it is tried.
case_list_max() {
	local template
	for template in "$LIST_ATTACH" "$LIST_OF" "$LIST_CHECK"; do
		list_pair "part_template=$template" part_list_max=10 on_error=skip
		tenants a 10
		once
		expect_rows 10
		tenants b 11
		expect_exit 1 "$TDISPATCH" --dry-run job.ini
		expect_match out 'more new partitions of orders than part_list_max = 10'
		for _ in 1 2; do
			expect_exit 1 "$TDISPATCH" --once job.ini
			expect_match err 'the batch needs more new partitions of orders than part_list_max = 10, orders_b11? ?[0-9]* is one'
			expect_eq "$(partitions | wc -w)" 10
			expect_rows 10
		done
		once --set part_list_max=11
		expect_rows 21
		# what exists does not count, nor what another batch makes
		tenants a 10
		tenants c 8
		once
		expect_rows 39 "(select row_number() over () id from orders) x"
	done
}

case_list_max_in_lanes() {
	list_pair part_list_max=10 lanes=3
	tenants a 11
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'part_list_max = 10'
	expect_eq "$(partitions)" ""
	once --set part_list_max=11
	expect_rows 11
}

case_number() {
	local template
	for template in "$ATTACH" "$PARTITION_OF" "$NUMBER_CHECK"; do
		number_pair "part_template=$template"
		src "insert into orders values (1, 0, 'a'), (2, 999, 'b'), (3, 1000, 'c'), (4, -1, 'd'), (5, -1000, 'e'), (6, -1001, 'f'),
			(7, 9223372036854774999, 'g'), (8, -9223372036854775000, 'h')"
		tick q
		expect_exit 0 "$TDISPATCH" --dry-run job.ini
		expect_match out 'orders_0: 2 rows, would be created'
		once --verify
		expect_eq "$(places)" $'orders_0|1\norders_0|2\norders_1000|3\norders_m1000|4\norders_m1000|5\norders_m2000|6\norders_9223372036854774000|7\norders_m9223372036854775000|8'
		expect_exit 0 "$TDISPATCH" --check job.ini
		expect_exit 0 "$TDISPATCH" --show-partitions job.ini
		expect_match out '^orders_m2000 +-2000 +-1000 .* keep'
		expect_exit 0 "$TDISPATCH" --status job.ini
		expect_match out '^partitions +6'
	done
}

case_number_bad_values() {
	local FIELD=nr
	number_pair
	bad ' is NULL: it picks no partition' 1 ''
	bad ': "" picks no partition: it is no integer' 2 =
	bad ': "1\.0" picks no' 3 =1.0
	bad ': "1e3" picks no' 4 =1e3
	bad ': " 1" picks no' 5 =+1
	bad ': "9223372036854775807" picks no partition: its range goes beyond bigint' 6 =9223372036854775807
	bad ': "-9223372036854775808" picks no partition: its range goes beyond' 7 =-9223372036854775808
	bad ': "9223372036854775808" picks no partition: it is no bigint' 8 =9223372036854775808
	expect_eq "$(partitions)" ""
}

# After the highest range that got rows.
case_number_premake() {
	number_pair part_premake=2
	once
	expect_eq "$(partitions)" ""
	src "insert into orders values (1, 1500, 'a'), (2, 500, 'b')"
	tick q
	once
	expect_eq "$(partitions)" "orders_0 orders_1000 orders_2000 orders_3000"
	once
	expect_eq "$(partitions)" "orders_0 orders_1000 orders_2000 orders_3000"
	src "insert into orders values (3, 2500, 'a')"
	tick q
	start job.ini
	within 20 dst_gives "orders_0 orders_1000 orders_2000 orders_3000 orders_4000" "select string_agg(relname, ' ' order by relname) from pg_class where relname like 'orders\\__%'"
	src "insert into orders values (4, 3500, 'a')"
	tick q
	within 20 dst_gives "orders_5000" "select relname from pg_class where relname = 'orders_5000'"
	kill $PID
	expect_end 0 10
}

case_number_lanes() {
	number_pair lanes=2 "part_method=number 100"
	src "insert into orders select i, i * 7, 'n' from generate_series(1, 1000) i"
	tick q
	once --verify
	expect_rows 1000
	expect_eq "$(dst "select count(*) from pg_inherits where inhparent = 'orders'::regclass")" 71
}

# Each section may cut in its own way; those of one table must agree.
case_sections() {
	new_pair "$CASE"
	source_table a "id int primary key, tenant text, day date"
	source_table b "id int primary key, tenant text, day date"
	source_table c "id int primary key, tenant text, day date"
	dst "create table a (id int, tenant text, day date) partition by list (tenant);
		create table b (id int, tenant text, day date) partition by range (id);
		create table c (id int, tenant text, day date)"
	config dest_table= part_field= part_template=
	cat >>job.ini <<-END
		[public.a]
		dest_table = a
		part_field = tenant
		part_method = list
		part_template = ${LIST_OF}
		[public.b]
		dest_table = b
		part_field = id
		part_method = number 10
		part_template = ${PARTITION_OF}
		[public.c]
		dest_table = c
	END
	install
	src "insert into a values (1, 'x', null); insert into b values (15, 'x', null); insert into c values (1, 'x', null)"
	tick q
	once
	expect_eq "$(dst "select tableoid::regclass from a union all select tableoid::regclass from b union all select tableoid::regclass from c")" $'a_x\nb_10\nc'
	cat >>job.ini <<-END
		[public.d]
		dest_table = b
		part_field = id
		part_method = number 11
		part_template = ${PARTITION_OF}
	END
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err 'part_method differs'
}

# current METHOD TEMPLATE COLUMN [KEY=VALUE]...: a copy that is current, whose rows move between partitions.
current() {
	new_pair "$CASE"
	src "select pgq.create_queue('q');
		create table orders (id int primary key, k int, t text, at timestamptz);
		create trigger to_queue after insert or update or delete on orders
			for each row execute function pgq.logutriga('q', 'backup')" >/dev/null
	dst "create table orders (id int not null, k int not null, t text not null, at timestamptz not null, primary key (id, $3))
		partition by $([[ $1 == list ]] && echo list || echo range) ($3)"
	config row_mode=keep_latest "part_method=$1" "part_template=$2" "part_field=$3" "${@:4}"
	install
	src "insert into orders select i, i * 10, 't' || i % 7, timestamptz '2026-03-27 12:00+00' + i * interval '1 hour' from generate_series(1, 100) i"
	same
	src "update orders set k = k + 30, t = 't' || (id + 1) % 7, at = at + interval '1 day' where id % 3 = 0; delete from orders where id % 10 = 0;
		insert into orders values (10, 1000, 'new', '2026-03-29 00:30+01')"
	same
	src "update orders set k = -k where id % 2 = 0; delete from orders where id % 3 = 0"
	same
}

same() {
	local rows="set timezone = 'UTC'; select * from orders order by id"
	tick q
	once --verify
	expect_eq "$(dst "$rows" | tr '\n' ' ')" "$(src "$rows" | tr '\n' ' ')"
}

case_current_state() {
	local lanes
	for lanes in 1 3; do
		current list "$LIST_ATTACH" t lanes=$lanes
		current list "$LIST_OF" t lanes=$lanes
		current "number 100" "$ATTACH" k lanes=$lanes
		current daily "$ATTACH" at lanes=$lanes part_timezone=Europe/Berlin
	done
}

# A list gone wild stops it too, before anything is made.
case_current_list_max() {
	new_pair "$CASE"
	src "select pgq.create_queue('q'); create table orders (id int primary key, t text);
		create trigger to_queue after insert or update or delete on orders for each row execute function pgq.logutriga('q', 'backup')" >/dev/null
	dst "create table orders (id int not null, t text not null, primary key (id, t)) partition by list (t)"
	config row_mode=keep_latest part_method=list part_field=t "part_template=$LIST_OF" part_list_max=5
	install
	src "insert into orders select i, 't' || i from generate_series(1, 6) i"
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'part_list_max = 5'
	expect_eq "$(partitions)" ""
	once --set part_list_max=6
	expect_rows 6
}

run_cases
