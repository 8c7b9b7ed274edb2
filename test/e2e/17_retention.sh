# Partitions that grow old, rows that come too late, and partitions made ahead of time. "Now" is the
# server's, in UTC: what is old is from 2001, what is young from 2099, and edges have days of margin.
. "$(dirname "$0")/../cases.sh"

OLD_CHECK='create table _DEST_TABLE (check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)) inherits (_PARENT);'

# keep_pair KEY=VALUE...: orders, declarative, kept for 90 days.
keep_pair() {
	orders_pair "part_keep=90 days" "part_template=$ATTACH" "$@"
}

# The same with inheritance from a plain table.
keep_pair_inherits() {
	keep_pair "part_template=$OLD_CHECK" "$@"
	dst "drop table orders; create table orders (id int, day date, note text)"
}

# suffix DAYS: of the day so many days before today.
suffix() {
	dst "select to_char(current_date - $1, '_YYYY_MM_DD')"
}

# make_days DAY...: partitions of a declarative parent.
make_days() {
	local day
	for day; do
		dst "create table orders_${day//-/_} partition of orders for values from ('$day') to (date '$day' + 1)"
	done
}

# inherit NAME...: children of a plain parent.
inherit() {
	local name
	for name; do
		dst "create table $name () inherits (orders)"
	done
}

exists() {
	dst "select to_regclass('$1') is not null"
}

# A batch with a row of 2099, or of another day.
batch() {
	orders "$1" "$1" "${2:-2099-05-05}"
	tick q
}

# Bounds that the server knows count too: old by its name is not old when it takes young rows.
case_wider_than_its_name() {
	local key
	for key in date timestamp timestamptz; do
		keep_pair part_method=yearly
		dst "drop table orders; create table orders (id int, day $key, note text) partition by range (day);
			create table orders_2001 partition of orders for values from ('2001-01-01') to ('2098-01-01');
			create table orders_2002 partition of orders default;
			create table orders_2000 partition of orders for values from ('2000-01-01') to ('2001-01-01');
			create table orders_1999 partition of orders for values from (minvalue) to ('2000-01-01');
			create table orders_2003 partition of orders for values from ('2099-01-01') to (maxvalue)"
		dst "insert into orders values (1, '2026-05-05')"
		batch 2 2098-05-05
		once
		expect_rows 2
		expect_eq "$(partitions)" "orders_2001 orders_2002 orders_2003 orders_2098" "$key"
		expect_exit 0 "$TDISPATCH" --show-partitions job.ini
		expect_eq "$(grep -c 'keep: it takes younger rows, by its bounds' out)" 3 "$key"
		expect_match out ', 0 older than part_keep'
	done
}

# Of other keys the server's bounds say nothing about dates.
case_bounds_of_other_keys() {
	keep_pair part_method=yearly
	dst "drop table orders; create table orders (id int, day date, note text) partition by range (id);
		create table orders_2001 partition of orders for values from (0) to (10)"
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out '^orders_2001 .* drop$'
}

# stays WHY: the partition orders_2001_01_01 is old by its name, and neither --show-partitions nor a
# run removes it; both say why.
stays() {
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out "^orders_2001_01_01 .* keep: $1"
	expect_match out ', 0 older than part_keep'
	once
	expect_match err "warning.*orders_2001_01_01 is older than part_keep = 90 days by its name, and stays: $1"
	expect_eq "$(exists orders_2001_01_01)" t "$1"
}

# goes: it is removed, and both say so.
goes() {
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out '^orders_2001_01_01 .* drop$'
	once
	expect_eq "$(exists orders_2001_01_01)" f "$1"
}

# key TYPE PARTITION_BY BOUNDS: a declarative parent with one partition that is old by its name.
key() {
	keep_pair part_timezone=UTC
	dst "drop table orders; create domain some_day as date; create table orders (id int, day $1, note text) partition by $2;
		create table orders_2001_01_01 partition of orders $3"
}

OLD_ROW="insert into orders values (1, '2001-01-01', 'a')"
YOUNG_ROW="$OLD_ROW, (2, current_date, 'a')"

# What no bound tells the rows do.
case_rows_decide() {
	local kind
	for kind in \
		"timestamp@range ((day::date))@for values from ('2001-01-01') to ('2099-01-01')" \
		"text@range (day)@for values from ('2001-01-01') to ('2099-01-01')" \
		"varchar(30)@range (day)@for values from ('2001-01-01') to ('2099-01-01')" \
		"date@list (note)@for values in ('a')" \
		"date@hash (id)@for values with (modulus 1, remainder 0)" \
		"date@range (id)@for values from (0) to (10)" \
		"date@range (id, day)@for values from (0, minvalue) to (10, maxvalue)" \
		"some_day@list (note)@for values in ('a')" \
		"timestamptz@list (note)@for values in ('a')" \
		"date@range (day)@for values from (minvalue) to (maxvalue)"; do
		IFS=@ read -r type by bounds <<<"$kind"
		key "$type" "$by" "$bounds"
		dst "$YOUNG_ROW"
		stays "it holds rows up to 20[2-9][0-9]-[^ ]*( [0-9:+]+)? in column day"
		key "$type" "$by" "$bounds"
		dst "$OLD_ROW"
		goes "$kind"
	done
	# infinity is young, and rows that no date has tell nothing
	key date "list (note)" "for values in ('a')"
	dst "$OLD_ROW, (2, 'infinity', 'a')"
	stays "it holds rows up to infinity"
	key date "list (note)" "for values in ('a')"
	dst "insert into orders values (1, null, 'a')"
	stays "it has rows, and day is NULL in all of them"
	key text "list (note)" "for values in ('a')"
	dst "$OLD_ROW, (2, 'soon', 'a')"
	stays ".*soon"
	key int "list (note)" "for values in ('a')"
	dst "insert into orders values (1, 20010101, 'a')"
	stays "it has rows, and their column day is of type integer"
}

# What bounds tell counts, whatever the rows are: younger ones may come at any time.
case_bounds_decide() {
	local kind
	for kind in \
		"date@range (day)@for values from ('2001-01-01') to ('infinity')" \
		"date@range (day, id)@for values from ('2001-01-01', minvalue) to ('2099-01-01', minvalue)" \
		"date@range (day, note)@for values from ('2001-01-01', 'a') to (maxvalue, maxvalue)" \
		"date@list (day)@for values in ('2001-01-01', '2099-01-01')" \
		"some_day@range (day)@for values from ('2001-01-01') to ('2099-01-01')" \
		"timestamptz@range (day)@for values from ('2001-01-01') to ('2099-01-01 00:00+14')" \
		"date@list (note)@default" \
		"date@range (day)@default"; do
		IFS=@ read -r type by bounds <<<"$kind"
		key "$type" "$by" "$bounds"
		dst "$OLD_ROW"
		stays 'it takes younger rows, by its bounds'
	done
	for kind in \
		"date@range (day, id)@for values from ('2001-01-01', minvalue) to ('2001-01-02', minvalue)" \
		"date@range (day, id)@for values from ('2001-01-01', 0) to ('2001-01-02', 10)" \
		"date@list (day)@for values in ('2001-01-01', null)" \
		"timestamptz@range (day)@for values from ('-infinity') to ('2001-01-02 00:00-12')"; do
		IFS=@ read -r type by bounds <<<"$kind"
		key "$type" "$by" "$bounds"
		dst "$OLD_ROW"
		goes "$kind"
	done
	# its own partitions are asked, one by one
	key date "range (day)" "for values from ('2001-01-01') to ('2099-01-01') partition by range (day)"
	dst "create table kid partition of orders_2001_01_01 for values from ('2001-01-01') to ('2001-02-01');
		create table cub partition of orders_2001_01_01 for values from ('2001-02-01') to ('2098-02-01'); $OLD_ROW"
	stays 'it takes younger rows, by its bounds'
	dst "drop table cub"
	goes "one by one"
}

# An edge in time zones: old where part_timezone is, or not yet.
case_bounds_in_other_zones() {
	keep_pair part_timezone=+14:00 part_keep="1 days"
	dst "drop table orders; create table orders (id int, day timestamptz, note text) partition by range (day)"
	dst "select format('create table orders%s partition of orders for values from (%L) to (%L)', to_char(d, '_YYYY_MM_DD'),
			d || ' 00:00+14', d + 1 || ' 00:00+14')
		from (select (now() at time zone interval '14:00')::date - n d from generate_series(1, 2) n) x \gexec"
	once
	expect_eq "$(partitions)" "$(dst "select to_char((now() at time zone interval '14:00')::date - 1, '\"orders_\"YYYY_MM_DD')")"
}

case_checks_decide() {
	local check
	for check in "day >= '2001-01-01'" "day >= '2001-01-01' and day < '2100-01-01'" "day between '2001-01-01' and '2099-01-01'"; do
		keep_pair_inherits
		dst "create table orders_2001_01_01 (check ($check)) inherits (orders);
			insert into orders_2001_01_01 values (1, '2001-01-01', 'a')"
		stays 'it takes younger rows, by its bounds'
	done
	# such as tell nothing, and one that was never looked at
	for check in "check (note <> '')" "check (extract(year from day) >= 2001)" "check (day >= '2001-01-01' or note = 'x')" ""; do
		keep_pair_inherits
		dst "create table orders_2001_01_01 (like orders${check:+, $check}); alter table orders_2001_01_01 inherit orders;
			insert into orders_2001_01_01 values (1, current_date, 'a')"
		stays 'it holds rows up to'
		dst "update orders set day = '2001-01-01'"
		goes "$check"
	done
	keep_pair_inherits
	inherit orders_2001_01_01
	dst "insert into orders_2001_01_01 values (1, current_date, 'a');
		alter table orders_2001_01_01 add check (day < '2001-01-02') not valid"
	stays 'it holds rows up to'
}

# The column by its name in the target; and rows whose date is stored nowhere, or by the event's time.
case_column_of_the_rows() {
	keep_pair_inherits "fields=id, day:at, note:day"
	dst "drop table orders; create table orders (id int, at date, day text); create table orders_2001_01_01 () inherits (orders);
		insert into orders_2001_01_01 values (1, current_date, '2001-01-01')"
	stays 'it holds rows up to [0-9-]+ in column at'
	keep_pair_inherits part_field=_EVTIME "part_template=$INHERITS"
	dst "create table orders_2001_01_01 () inherits (orders); insert into orders_2001_01_01 values (1, current_date, 'a')"
	goes "only its name says anything"
	keep_pair_inherits part_field=_EVTIME "part_template=$INHERITS"
	dst "create table orders_2001_01_01 (check (day < '2099-01-01')) inherits (orders)"
	stays 'it takes younger rows, by its bounds'
	keep_pair part_field=_EVTIME "part_template=$ATTACH"
	dst "drop table orders; create table orders (id int, day date, note text) partition by hash (id);
		create table orders_2001_01_01 partition of orders for values with (modulus 1, remainder 0); $OLD_ROW"
	stays 'it has rows, and no column that tells their age'
}

# Nobody's rights or timeouts make young rows unseen.
case_rows_that_cannot_be_seen() {
	local role=${CASE}_role
	sql postgres <<<"set client_min_messages = warning; drop role if exists \"$role\"; create role \"$role\" login;"
	keep_pair_inherits
	inherit orders_2001_01_01
	dst "insert into orders_2001_01_01 values (1, current_date, 'a'); alter table orders_2001_01_01 enable row level security;
		alter table orders_2001_01_01 force row level security;
		alter table orders owner to \"$role\"; alter table orders_2001_01_01 owner to \"$role\"; grant all on schema public to \"$role\";
		grant all on schema pgq_ext to \"$role\"; grant all on all tables in schema pgq_ext to \"$role\""
	once --set "dst_db=dbname=$DST user=$role"
	expect_match err 'warning.*orders_2001_01_01 .*row-level security'
	expect_eq "$(exists orders_2001_01_01)" t
	dst "drop owned by \"$role\" cascade" || :
}

case_rows_that_take_long() {
	keep_pair
	dst "drop table orders; create table orders (id int, day date, note text) partition by list (note);
		create table orders_2001_01_01 partition of orders for values in ('a') partition by list (note);
		create extension file_fdw; create server s foreign data wrapper file_fdw;
		create foreign table slow partition of orders_2001_01_01 for values in ('a') server s options (program 'sleep 30; echo')"
	make_days
	once
	expect_match err 'warning.*orders_2001_01_01 .* stays: .*longer than 10 s: an index on day'
	expect_eq "$(exists orders_2001_01_01)" t
}

# One warning as long as it stays, and the others go.
case_stays_is_told_once() {
	keep_pair_inherits
	inherit orders_2001_01_01 orders_2001_01_02 orders_2001_01_03
	dst "insert into orders_2001_01_02 values (1, current_date, 'a')"
	start job.ini
	within 20 dst_gives "orders_2001_01_02" "select string_agg(inhrelid::regclass::text, ' ') from pg_inherits"
	within 10 grep -q 'and stays' bg.err
	expect_eq "$(grep -c 'and stays' bg.err)" 1
	kill -TERM "$PID"
	expect_end 0 5
}

# Foreign keys to the parent: a partition with no row that they need is detached and dropped.
case_foreign_keys_to_it() {
	keep_pair
	dst "drop table orders; create table orders (id int, day date, note text, primary key (id, day)) partition by range (day);
		create table lines (order_id int, order_day date, foreign key (order_id, order_day) references orders (id, day));
		create table own (id int, day date)"
	make_days 2001-01-01 2001-01-02 2001-01-03
	dst "insert into orders values (1, '2001-01-01', 'a'), (2, '2001-01-02', 'a'); insert into lines values (2, '2001-01-02');
		alter table own add foreign key (id, day) references orders_2001_01_03 (id, day)"
	once
	expect_match err 'orders_2001_01_01 is older .*: dropped'
	expect_match err 'warning.*orders_2001_01_02 .*cannot be dropped now: .*foreign key'
	expect_match err 'warning.*orders_2001_01_03 .*cannot be dropped now: '
	expect_eq "$(partitions)" "orders_2001_01_02 orders_2001_01_03" "nothing half done"
	expect_rows 1
}

# fake SIDE TIME: that server gets a cluster of its own, whose clock is TIME; ON_SOURCE and ON_TARGET
# say where they are.
fake() {
	local first="host=$PGHOST port=$PGPORT" lib=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
	[ -f "$lib" ] || lib=$(ls /usr/lib/*/faketime/libfaketime.so.1 2>/dev/null) || skip "there is no libfaketime"
	cluster_start
	trap 'end_started; cluster_stop' EXIT
	(cd / && as_owner env "LD_PRELOAD=$lib" "FAKETIME=$2" DONT_FAKE_MONOTONIC=1 "$PGBIN/pg_ctl" -D "$CLUSTER/data" \
		-l "$CLUSTER/server.log" -s -w -t 60 restart -m fast </dev/null)
	cluster_templates
	ON_SOURCE=$first ON_TARGET="host=$PGHOST port=$PGPORT"
	[ "$1" = dst ] || { ON_SOURCE=$ON_TARGET ON_TARGET=$first; }
	SRC="$ON_SOURCE dbname=${CASE}_src" DST="$ON_TARGET dbname=${CASE}_dst"
	sql "$ON_SOURCE dbname=postgres" <<<"drop database if exists \"${CASE}_src\" with (force); create database \"${CASE}_src\" template pgq_template"
	sql "$ON_TARGET dbname=postgres" <<<"drop database if exists \"${CASE}_dst\" with (force); create database \"${CASE}_dst\""
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "src_db=$SRC" "dst_db=$DST" "part_template=$ATTACH" "part_keep=90 days" "part_premake=2" "${@:3}"
	install
	make_days 2001-01-01 2026-01-01
}

# untouched: nothing is removed or made, and all rows go in.
untouched() {
	orders 1 3 2001-01-01
	orders 4 6 2026-01-01
	tick q
	once
	expect_match err "warning.*clocks are an hour or more apart, src_db has [0-9: -]+ UTC, dst_db [0-9: -]+ UTC: until they agree"
	expect_rows 6
	expect_eq "$(partitions)" "orders_2001_01_01 orders_2026_01_01"
	expect_no_match err 'ahead of time$|left out|older than'
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_eq "$(grep -c "keep: the servers' clocks are apart" out)" 2
}

case_clock_of_the_target_is_ahead() {
	fake dst +12y part_late=skip
	untouched
}

case_clock_of_the_target_is_behind() {
	fake dst -61m part_late=error
	untouched
}

case_clock_of_the_source_is_ahead() {
	fake src +12y
	untouched
}

case_clocks_nearly_agree() {
	fake dst +50m part_late=skip
	orders 1 3 2001-01-01
	tick q
	once
	expect_no_match err 'clock'
	expect_rows 0
	expect_eq "$(exists orders_2001_01_01)" f
}

case_replay_and_dry_run_by_a_wrong_clock() {
	fake dst +12y part_late=error on_error=dead_letter
	orders 1 3 2026-01-01
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match out 'orders_2026_01_01: 3 rows'
	expect_exit 0 "$TDISPATCH" --replay job.ini
}

case_drop() {
	local young old
	keep_pair
	old=$(suffix 92) young=$(suffix 88)
	make_days 2001-01-01 2001-12-31 2099-01-01
	dst "select format('create table orders%s partition of orders for values from (%L) to (%L)',
			to_char(d, '_YYYY_MM_DD'), d, d + 1) from (values (current_date - 92), (current_date - 88)) v (d) \gexec"
	batch 1
	once
	expect_eq "$(partitions)" "orders$young orders_2099_01_01 orders_2099_05_05"
	expect_eq "$(exists orders_2001_01_01) $(exists "orders$old")" "f f"
	expect_match err 'partition orders_2001_01_01 is older than part_keep = 90 days: dropped'
	expect_rows 1
}

case_drop_inherits() {
	keep_pair_inherits part_keep="12 months" dest_table=public.orders
	inherit orders_2001_01_01 orders_2001_12_31 orders_2099_01_01
	dst "insert into orders_2001_01_01 values (7, '2001-01-01')"
	batch 1
	once
	expect_eq "$(partitions)" "orders_2099_01_01 orders_2099_05_05"
	expect_eq "$(exists orders_2001_01_01)" f
	expect_rows 1
}

case_detach() {
	keep_pair part_keep_action=detach
	make_days 2001-01-01 2099-01-01
	dst "create table rest partition of orders default; insert into orders values (7, '2001-01-01')"
	batch 1
	once
	expect_match err 'orders_2001_01_01 is older .*: detached'
	expect_eq "$(partitions)" "orders_2099_01_01 orders_2099_05_05 rest"
	expect_rows 1 orders_2001_01_01
	expect_rows 1
}

case_detach_inherits() {
	keep_pair_inherits part_keep_action=detach
	inherit orders_2001_01_01 orders_2099_01_01
	dst "insert into orders_2001_01_01 values (7, '2001-01-01')"
	batch 1
	once
	expect_eq "$(partitions)" "orders_2099_01_01 orders_2099_05_05"
	expect_rows 1 orders_2001_01_01
	expect_rows 1
}

# Whatever is not exactly a partition that this config makes stays.
case_only_true_partitions() {
	local name names=()
	keep_pair_inherits
	for name in orders_2001_01 orders_2001 orders_2001_w01 orders_2001_01_01_00 orders_2001_02_29 orders_2001_1_01 \
		orders_2001_01_01_bak orders_x_2001_01_01 order_2001_01_01 '"Orders_2001_01_01"' orders2001_01_01 \
		'"orders_2001_01_01 "' orders_old orders_0000_01_01; do
		inherit "$name"
		names+=("$name")
	done
	dst "
		create schema other; create table other.orders_2001_01_02 () inherits (orders);
		create table orders_2001_01_03 (like orders);
		create foreign data wrapper w; create server s foreign data wrapper w;
		create foreign table orders_2001_01_04 () inherits (orders) server s;
		create table orders_2001_01_05 () inherits (orders); create table kid () inherits (orders_2001_01_05);
		create table orders_2001_01_06 () inherits (orders); create view v as select * from orders_2001_01_06;
		create table cousin (day date); create table orders_2001_01_07 () inherits (cousin);
		create table orders_2001_01_08 () inherits (orders);"
	batch 1
	once
	expect_eq "$(exists orders_2001_01_08)" f "the one that is a partition and old"
	for name in "${names[@]}" other.orders_2001_01_02 orders_2001_01_0{3,4,5,6,7}; do
		expect_eq "$(exists "$name")" t "$name"
	done
	# what others depend on is told
	expect_match err 'warning.*orders_2001_01_05 .*cannot be dropped now'
	expect_match err 'warning.*orders_2001_01_06 .*cannot be dropped now'
	expect_rows 1 orders_2099_05_05
}

# Names that need quotes, in a schema of their own.
case_quotes() {
	keep_pair "dest_table=a b.Or\"d" "part_template=$ATTACH"
	dst "create schema \"a b\"; create table \"a b\".\"Or\"\"d\" (id int, day date, note text) partition by range (day);
		create table \"a b\".\"Or\"\"d_2001_01_01\" partition of \"a b\".\"Or\"\"d\" for values from ('2001-01-01') to ('2001-01-02')"
	batch 1
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out '^"a b"."Or""d_2001_01_01" +2001-01-01 +2001-01-02 +0 .* drop$'
	once
	expect_eq "$(partitions '"a b"."Or""d"')" 'Or"d_2099_05_05'
}

case_methods() {
	local method
	for method in hourly:2001_01_31_23:48\ hours weekly:2001_w05:8\ weeks monthly:2001_01:12\ months yearly:2001:5\ years; do
		CASE=${FILE%%_*}_methods_${method%%:*}
		IFS=: read -r method name keep <<<"$method"
		keep_pair_inherits part_method="$method" part_keep="$keep" part_timezone=-03:30 "part_template=$INHERITS"
		inherit "orders_$name" orders_2001_01_01
		batch 1
		once
		expect_eq "$(exists "orders_$name") $(exists orders_2001_01_01)" "f t" "$method"
	done
}

# Somebody reads a partition: it is left for the next time, the others go.
check_locked() {
	dst "begin; select count(*) from orders_2001_01_02; select pg_sleep(60)" >/dev/null &
	within 10 asleep 1
	batch 1
	once
	expect_match err 'warning.*orders_2001_01_02 .*cannot be .*lock timeout.*orders_2001_01_02 is open in server process'
	expect_rows 1
	expect_eq "$(partitions)" "orders_2001_01_02 orders_2099_05_05"
	end_sleepers
	within 10 asleep 0
	once
	expect_eq "$(partitions)" "orders_2099_05_05"
}

case_locked() {
	keep_pair
	make_days 2001-01-01 2001-01-02 2001-01-03
	check_locked
}

case_locked_inherits() {
	keep_pair_inherits part_keep_action=detach
	inherit orders_2001_01_01 orders_2001_01_02 orders_2001_01_03
	check_locked
}

# Somebody reads the parent: three waits, not one for each partition.
case_locked_parent() {
	keep_pair
	make_days 2001-01-01 2001-01-02 2001-01-03 2001-01-04 2001-01-05
	dst "begin; select count(*) from orders where day > '2050-01-01'; select pg_sleep(60)" >/dev/null &
	within 10 asleep 1
	batch 1
	once
	expect_eq "$(grep -c 'cannot be dropped now.*orders is open in server process' err)" 3
	expect_rows 1
	end_sleepers
	within 10 asleep 0
	once
	expect_eq "$(partitions)" "orders_2099_05_05"
}

# Once at the start, then not before an hour is over, whether rows come or not.
case_once_an_hour() {
	keep_pair
	make_days 2001-01-01
	start job.ini
	within 20 dst_gives f "select to_regclass('orders_2001_01_01') is not null"
	make_days 2001-01-02
	batch 1
	within 20 dst_gives 1 "select count(*) from orders"
	batch 2
	within 20 dst_gives 2 "select count(*) from orders"
	expect_eq "$(exists orders_2001_01_02)" t
	kill -TERM "$PID"
	expect_end 0 5
}

# An idle queue is enough.
case_idle() {
	keep_pair
	make_days 2001-01-01
	once
	expect_eq "$(partitions)" ""
}

case_late_create() {
	keep_pair
	make_days 2001-01-01 2001-01-02
	batch 1 2001-01-01
	batch 2 2001-02-02
	batch_rows_stay
	# the next time they are not of the present batch
	once
	expect_eq "$(partitions)" ""
	expect_rows 0
}

# Rows that are loaded and go again are told for each batch, and counted.
case_late_create_is_told() {
	keep_pair metrics_file=job.prom lanes=2
	orders 1 3 2001-01-01
	orders 4 4 2001-02-02
	orders 5 9 2099-01-01
	tick q
	once
	expect_match err 'warning.*batch [0-9]+: 4 rows older than part_keep = 90 days: 3 into orders_2001_01_01, 1 into orders_2001_02_02; they will be dropped with their partitions in about 60 minutes, or when a process starts'
	expect_match job.prom '^tdispatch_late_rows_total[{][^}]*[}] 4$'
	expect_match job.prom '^tdispatch_late_events_total[{][^}]*[}] 0$'
	# not those of a batch that brings none, nor of none
	orders 10 11 2099-01-01
	tick q
	once
	expect_no_match err 'warning.*older'
	expect_match job.prom '^tdispatch_late_rows_total[{][^}]*[}] 0$'
	once
	expect_no_match err 'warning.*older'
	orders 12 12 2001-01-01
	tick q
	once --set part_keep_action=detach
	expect_match err 'warning.*: 1 row older than part_keep = 90 days: 1 into orders_2001_01_01; they will be detached'
	orders 13 13 2001-01-01
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	expect_match err 'warning.*: 1 row older than part_keep = 90 days: 1 into orders_2001_01_01; they will be dropped'
}

# A running process tells each batch by its own rows.
case_late_create_in_a_running_process() {
	local i
	keep_pair metrics_file=job.prom
	start job.ini
	for i in 1 2; do
		batch $i 2001-01-0$i
		within 20 dst_gives $i "select count(*) from orders where id < 10"
		batch 1$i
		within 20 dst_gives $i "select count(*) from orders where id > 10"
	done 2>/dev/null
	within 10 grep -q '1 into orders_2001_01_02' bg.err
	expect_eq "$(grep -c 'rows\? older than part_keep' bg.err)" 2
	kill -TERM "$PID"
	expect_end 0 5
}

# Rows that a lane has committed before another failed do not come again: they are told of at once.
case_late_rows_of_a_half() {
	local all
	keep_pair metrics_file=job.prom lanes=2
	orders 10 11 2099-01-02
	tick q
	once
	orders 1 3 2001-01-01
	orders 4 4 2001-01-02
	orders 5 5 2099-01-01
	tick q
	dst "create function refuse() returns trigger language plpgsql as
			\$\$ begin if new.subconsumer_id = '' then raise exception 'refused'; end if; return new; end \$\$;
		create constraint trigger refuse after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row execute function refuse()"
	expect_exit 1 "$TDISPATCH" --once job.ini
	cp err first
	expect_match first 'warning.*batch [0-9]+: [13] rows? older than part_keep'
	dst "drop trigger refuse on pgq_ext.completed_tick"
	once
	cat first err >both
	all=$(sed -n 's/.*: \([0-9]*\) rows\{0,1\} older than part_keep.*/\1/p' both | awk '{ n += $1 } END { print n }')
	expect_eq "$all" 4 "late rows told"
}

case_replay_tells_late_rows() {
	keep_pair part_late=error on_error=dead_letter
	orders 1 3 2001-01-01
	tick q
	once
	expect_exit 0 "$TDISPATCH" --replay --set part_late=create job.ini
	expect_match err 'warning.*3 rows older than part_keep = 90 days: 3 into orders_2001_01_01; they will be dropped'
}

# What the batch wrote to is not removed after it.
batch_rows_stay() {
	once
	expect_rows 2
	expect_eq "$(partitions)" "orders_2001_01_01 orders_2001_02_02"
}

case_late_skip() {
	keep_pair part_late=skip metrics_file=job.prom
	make_days 2001-01-01
	orders 1 3 2001-01-01
	orders 4 5 2099-01-01
	orders 6 6 2001-02-02
	tick q
	once
	expect_rows 2
	expect_eq "$(partitions)" orders_2099_01_01
	expect_match err '4 rows left out, older than part_keep = 90 days'
	expect_match err 'events=6 rows=2'
	expect_match err '4 events not written'
	expect_match job.prom '^tdispatch_late_events_total[{][^}]*[}] 4$'
}

case_late_error() {
	local id
	keep_pair part_late=error
	orders 1 2 2099-01-01
	id=$(event I:id 'id=3&day=2001-01-01&note=n')
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of batch [0-9]+, source table public.orders: its partition orders_2001_01_01 is older than part_keep = 90 days"
	expect_rows 0
	once --set on_error=skip
	expect_match err "event $id of batch [0-9]+ skipped, partition orders_2001_01_01"
	expect_rows 2
}

case_late_letters() {
	keep_pair part_late=error on_error=dead_letter lanes=3
	orders 1 9 2001-01-01
	orders 10 19 2001-01-02
	orders 20 29 2099-01-01
	tick q
	once
	expect_rows 10
	expect_eq "$(partitions)" orders_2099_01_01
	expect_eq "$(dst "select partition, count(*), count(distinct ev_id) from tdispatch.dead_letter group by 1 order by 1")" \
		$'orders_2001_01_01|9|9\norders_2001_01_02|10|10'
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out '0 of 19 dead letters went in'
	expect_exit 0 "$TDISPATCH" --replay --set part_late=create job.ini
	expect_match out '19 of 19 dead letters went in'
	expect_rows 29
	# the number of bad events is limited as ever
	orders 30 39 2001-01-03
	tick q
	expect_exit 1 "$TDISPATCH" --once --set max_errors=5 job.ini
	expect_eq "$(grep -o 'max_errors = 5' err | wc -l)" 1
}

# One of two lanes has committed its rows and letters when the other fails. Then another config is
# tried: every event is a row or a letter, and none is both.
case_late_letters_after_a_half() {
	local day
	keep_pair part_late=error on_error=dead_letter lanes=2
	batch 1
	once
	for day in 01 02 03 04 05 06; do
		orders 1$day 1$day 2001-01-$day
		orders 2$day 2$day 2099-01-$day
	done
	tick q
	dst "create function refuse() returns trigger language plpgsql as
			\$\$ begin if new.subconsumer_id = '' then raise exception using errcode = '53100', message = 'refused'; end if; return new; end \$\$;
		create constraint trigger refuse after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row execute function refuse()"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err refused
	dst "drop trigger refuse on pgq_ext.completed_tick"
	expect_eq "$(dst "select count(*) between 1 and 5 from tdispatch.dead_letter")" t "letters of one lane"
	once --set part_late=create
	expect_eq "$(dst "select count(*), count(distinct id) from (select id from orders
		union all select substr(ev_data, 4, 3)::int from tdispatch.dead_letter) x")" "13|13"
}

# A row for a period that was detached goes to the table that still has its name.
case_late_after_detach() {
	keep_pair part_keep_action=detach
	make_days 2001-01-01
	once
	expect_eq "$(partitions)" ""
	batch 1 2001-01-01
	once
	expect_rows 1 orders_2001_01_01
	expect_rows 0
	expect_match err 'WARNING.*: 1 into orders_2001_01_01; they will be detached .*, where they are not yet'
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^ok +1 table older than part_keep is detached: late rows go there$'
	batch 2 2001-01-01
	once --set part_late=skip
	expect_rows 1 orders_2001_01_01
	expect_exit 1 "$TDISPATCH" --check job.ini --set part_keep_action=drop
	expect_match out '^WRONG .*orders_2001_01_01 is no child of orders'
}

# One batch with a row for a table that was detached and one for a new partition; the batch before
# it wrote to children alone.
case_late_after_detach_beside_a_new_partition() {
	keep_pair part_keep_action=detach batch_min_events=0
	make_days 2001-01-01
	once
	expect_eq "$(partitions)" ""
	batch 1 2099-01-01
	orders 2 2 2001-01-01
	orders 3 3 2099-01-02
	tick q
	once
	expect_rows 1 orders_2001_01_01
	expect_rows 2
	expect_no_match err 'trying again|working again|no more under that name|changed at this moment'
}

# The running program knows a partition that it removes itself.
case_late_in_a_running_process() {
	keep_pair_inherits part_late=skip part_keep="1 year"
	start job.ini
	batch 1
	within 20 dst_gives 1 "select count(*) from orders"
	batch 2 2001-01-01
	batch 3
	within 20 dst_gives 2 "select count(*) from orders"
	expect_eq "$(partitions)" orders_2099_05_05
	kill -TERM "$PID"
	expect_end 0 5
}

# Reading the config again is no start: what was loaded a moment ago stays.
case_reload_does_not_look_again() {
	keep_pair
	start job.ini
	batch 1
	within 20 dst_gives 1 "select count(*) from orders"
	batch 2 2001-01-01
	within 20 dst_gives 2 "select count(*) from orders"
	kill -HUP "$PID"
	within 10 grep -q 'read again' bg.err
	batch 3
	within 20 dst_gives 3 "select count(*) from orders"
	sed -i 's/^part_keep.*/part_keep = 91 days/' job.ini
	kill -HUP "$PID"
	within 20 dst_gives 2 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
}

case_stopped_while_making() {
	orders_pair part_premake=1000 "part_template=$ATTACH"
	start job.ini
	within 20 dst_gives t "select count(*) > 20 from pg_inherits"
	kill -INT "$PID"
	expect_end 0 5
	[ "$(dst "select count(*) from pg_inherits")" -lt 1000 ] || fail "it made them all"
}

case_show_partitions_of_no_table() {
	orders_pair
	expect_exit 1 "$TDISPATCH" --show-partitions job.ini --set dest_table=ordrs
	expect_match err 'dst_db has no table ordrs: check dest_table'
}

# A partition's own partitions count.
case_sizes_of_partitioned_partitions() {
	keep_pair part_method=yearly
	dst "create table orders_2099 partition of orders for values from ('2099-01-01') to ('2100-01-01') partition by range (day);
		create table orders_2099_all partition of orders_2099 default;
		insert into orders select i, '2099-02-01', 'x' from generate_series(1, 10000) i; analyze orders, orders_2099, orders_2099_all"
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out '^orders_2099 .* 10000 +[1-9][0-9]* kB +keep'
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out '^partitions +1$'
}

# In a zone where it is about noon.
case_premake() {
	local zone
	zone=$(sql postgres <<<"select to_char(12 - extract(hour from now()), 'SG00') || ':00'")
	keep_pair part_keep= part_premake=3 part_timezone="$zone"
	once
	expect_eq "$(partitions)" "$(dst "select string_agg('orders' || to_char(now() at time zone interval '$zone' + interval '1 day' * d,
		'_YYYY_MM_DD'), ' ' order by d) from generate_series(1, 3) d")"
	expect_match err 'created partition orders_[0-9_]+ ahead of time'
	expect_eq "$(dst "select count(*) from orders")" 0
	once
	expect_no_match err 'ahead of time'
}

# Never without the primary key, which only an event tells.
case_premake_with_key() {
	local template="create table _DEST_TABLE (like _PARENT, primary key (_PKEY));
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
	keep_pair part_keep= part_premake=2 "part_template=$template" part_timezone=UTC "fields=id:nr, day, note"
	dst "alter table orders rename id to nr"
	once
	expect_eq "$(partitions)" ""
	event I: 'id=1&day=2099-01-01&note=n' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_eq "$(partitions)" ""
	once --set on_error=skip
	expect_match err 'event [0-9]+ of batch [0-9]+ skipped: partition orders_2099_01_01 .* names no primary key'
	expect_eq "$(partitions)" ""
	batch 2
	once
	expect_eq "$(dst "select count(*), count(distinct pg_get_constraintdef(oid)), min(pg_get_constraintdef(oid))
		from pg_constraint where contype = 'p' and conrelid::regclass::text like 'orders%'")" '3|1|PRIMARY KEY (nr)'
}

# A period that fails does not stop the later ones.
case_premake_beside_a_failure() {
	keep_pair part_keep= part_premake=5 part_timezone=UTC
	dst "create table rest partition of orders default; insert into rest values (1, current_date + 2, 'a'), (2, current_date + 4, 'a')"
	once
	expect_eq "$(partitions)" "$(dst "select string_agg(to_char(current_date + n, '\"orders_\"YYYY_MM_DD'), ' ' order by n) || ' rest'
		from unnest(array[1, 3, 5]) n")"
	expect_eq "$(grep -c 'warning.*part_premake: .*default partition.*it will be tried again' <<<"$(tr A-Z a-z <err)")" 2
	# one that overlaps
	dst "delete from rest; select format('create table wide partition of orders for values from (%L) to (%L)', current_date + 2, current_date + 3) \gexec"
	once
	expect_eq "$(grep -c 'part_premake: .*it will be tried again' err)" 1
	expect_match err 'created partition .* ahead of time'
	# what fails for all is told once
	once --set "part_template=create table _DEST_TABLE (like _PARENT); select 1/0" --set part_premake=40
	expect_eq "$(grep -c 'part_premake: partition' err)" 10
	expect_match err 'part_premake: [0-9]+ more partitions cannot be created'
}

# A lock in the way of what is made ahead is no reason to stop.
case_premake_locked() {
	keep_pair part_keep= part_premake=1 "part_template=$PARTITION_OF"
	make_days 2099-05-05
	dst "begin; select count(*) from orders; select pg_sleep(60)" >/dev/null &
	within 10 asleep 1
	batch 1
	once
	expect_match err 'warning.*part_premake: partition orders_.*orders is open in server process.*tried again'
	expect_rows 1
	end_sleepers
	within 10 asleep 0
	once
	expect_eq "$(dst "select count(*) from pg_inherits where inhparent = 'orders'::regclass")" 2
}

# Number of hours made, from the first to the last, and whether that is this hour or the next.
hours() {
	dst "select count(*), max(t) - min(t), min(t) - date_trunc('hour', now()) between interval '0' and interval '1 hour'
		from (select to_timestamp(replace(relname, 'orders', ''), '_YYYY_MM_DD_HH24') t from pg_class where relname like 'orders\_%') x"
}

case_premake_hourly() {
	keep_pair part_keep= part_premake=30 part_method=hourly part_timezone=UTC "part_field=at" "part_template=$INHERITS"
	dst "drop table orders; create table orders (id int, at timestamptz)"
	once
	# 30 in a row, the first of them in this hour or the next
	expect_eq "$(hours)" "30|1 day 05:00:00|t"
	# what is as written is read by the clock of the session there
	dst "drop table orders cascade; create table orders (id int, at timestamptz); alter database \"$DST\" set timezone = 'Etc/GMT+11'"
	once --set part_timezone=text
	expect_eq "$(hours)" "30|1 day 05:00:00|t"
}

case_show_partitions() {
	keep_pair
	make_days 2001-01-01 2099-01-01
	dst "insert into orders select i, '2001-01-01', 'n' from generate_series(1, 1234) i; analyze orders_2001_01_01;
		create table orders_old partition of orders for values from ('1999-01-01') to ('1999-02-01')"
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_eq "$(cat err)" ""
	expect_match out '^name +from +to +rows'
	expect_match out '^orders_2001_01_01 +2001-01-01 +2001-01-02 +1234 +[0-9]+ [kM]B +drop$'
	expect_match out '^orders_2099_01_01 +2099-01-01 +2099-01-02 +0 +[0-9]+ (bytes|kB) +keep$'
	expect_match out '^orders_old +- +- +0 .* never touched: no partition by its name$'
	expect_match out '^3 children of orders, 1 older than part_keep = 90 days$'
	expect_exit 0 "$TDISPATCH" --show-partitions --set part_keep_action=detach job.ini
	expect_match out '^orders_2001_01_01 .* detach$'
	expect_exit 0 "$TDISPATCH" --show-partitions --set part_keep= job.ini
	expect_match out '^orders_2001_01_01 .* keep$'
	expect_match out 'part_keep is not set'
	expect_eq "$(partitions)" "orders_2001_01_01 orders_2099_01_01 orders_old"
	expect_exit 2 "$TDISPATCH" --show-partitions --set part_keep= --set part_field= job.ini
	expect_match err part_field
}

# Partitions that belong to somebody else: --check says so, the rest goes on.
case_another_owner() {
	local role=${CASE}_role
	sql postgres <<-END
		set client_min_messages = warning;
		drop role if exists "$role";
		create role "$role" login;
	END
	keep_pair_inherits
	inherit orders_2001_01_01 orders_2001_01_02
	dst "alter table orders owner to \"$role\"; alter table orders_2001_01_02 owner to \"$role\"; grant create on schema public to \"$role\";
		grant all on schema pgq_ext to \"$role\"; grant all on all tables in schema pgq_ext to \"$role\""
	expect_exit 0 "$TDISPATCH" --check job.ini --set "dst_db=dbname=$DST user=$role"
	expect_match out "^warning +right on dst_db for part_keep: ALTER TABLE public.orders_2001_01_01 OWNER TO \"$role\";$"
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini --set "dst_db=dbname=$DST user=$role"
	expect_match out '^orders_2001_01_01 .* drop, but has another owner$'
	expect_match out '^orders_2001_01_02 .* drop$'
	batch 1
	once --set "dst_db=dbname=$DST user=$role"
	expect_match err 'warning.*orders_2001_01_01 .*cannot be dropped now: dst_db: (permission denied|must be owner)'
	expect_eq "$(partitions)" "orders_2001_01_01 orders_2099_05_05"
	expect_rows 1
	expect_exit 0 "$TDISPATCH" --install --grant "$role" job.ini
	expect_match out 'dst_db: ALTER TABLE public.orders_2001_01_01 OWNER TO'
	expect_exit 0 "$TDISPATCH" --check job.ini --set "dst_db=dbname=$DST user=$role"
	expect_no_match out 'for part_keep'
	once --set "dst_db=dbname=$DST user=$role"
	expect_eq "$(partitions)" orders_2099_05_05
	expect_exit 0 "$TDISPATCH" --check job.ini --set "part_template=create table _DEST_TABLE (like _PARENT)"
	expect_match out '^warning +part_keep removes only children'
	dst "drop owned by \"$role\" cascade" || :
}

case_config() {
	local bad
	SRC=none_src DST=none_dst
	for bad in part_keep=90 "part_keep=0 days" "part_keep=a while" part_keep_action=archive part_late=drop part_premake=-1 part_premake=many; do
		config "part_keep=90 days" "$bad"
		expect_exit 2 "$TDISPATCH" --show-config job.ini
		expect_match err "line [0-9]+: ${bad%%=*}"
	done
	config "part_keep=90 days" part_field=
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'part_keep: it needs part_field'
	config part_late=skip
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'part_late: it needs part_keep'
	config part_premake=2 part_template=
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'part_premake: it needs part_field and part_template'
	config "part_keep=12 months" part_premake=2
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out '^part_keep = 12 months$'
	expect_match out '^part_keep_action = drop$'
	expect_match out '^part_late = create$'
	expect_match out '^part_premake = 2$'
}

# Another process removes a partition between two questions about it.
case_partition_is_removed_while_it_is_looked_at() {
	local how
	for how in "drop table orders_2001_01_01" "alter table orders detach partition orders_2001_01_01"; do
		keep_pair
		make_days 2001-01-01
		session "$DST" "begin; lock table pg_catalog.pg_constraint in access exclusive mode"
		meanwhile --show-partitions
		wait_for_locks dst 1
		in_session "$how; commit"
		expect_end_of 0
		expect_match out 'orders_2001_01_01 .*  none: it was removed at this moment'
		expect_match out ', 0 older than part_keep'
	done
}

case_partition_is_dropped_while_a_batch_is_looked_at() {
	orders_pair
	dst "create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01')"
	orders 1 1
	tick q
	session "$DST" "begin; lock table pg_catalog.pg_inherits in access exclusive mode"
	meanwhile --dry-run
	wait_for_locks dst 1
	in_session "drop table orders_2026_01_31; commit"
	expect_end_of 0
	expect_match out 'orders_2026_01_31: 1 row, would be created'
}

run_cases
