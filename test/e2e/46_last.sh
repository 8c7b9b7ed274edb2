# Partitions whose indexes are made, and that are attached, after their rows: nothing differs from
# attaching first, but that it is faster.
. "$(dirname "$0")/../cases.sh"

TABLE='create table _DEST_TABLE (like _PARENT including defaults including constraints);'
KEYS='alter table only _DEST_TABLE add constraint _DEST_TABLE_pkey primary key (id); create index on _DEST_TABLE (note);'
BOUNDS='alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);'
LAST="$TABLE $KEYS $BOUNDS"

# last_pair [KEY=VALUE]...: and 90 rows for three days.
last_pair() {
	orders_pair "part_template=$LAST" "$@"
	three_days
}

three_days() {
	src "insert into orders select i, date '2026-01-01' + i % 3, 'n' || i from generate_series(1, 90) i"
	tick q
}

# In which order the partitions came to be, where it was in the transaction of their rows, and not
# under a savepoint of it; `order any`: or was so, if these are in one transaction.
order() {
	dst "select distinct (select string_agg(what, ' ' order by command) from (values
			('rows', r.command), ('attach', i.cmin::text::int),
			('indexes', (select min(x.cmin::text::int) from pg_index x where x.indrelid = c.oid))) made (what, command))
		from (select tableoid, min(xmin::text) as xmin, min(cmin::text::int) as command from orders group by 1) r
		join pg_class c on c.oid = r.tableoid and ('${1:-}' = 'any' or c.xmin::text = r.xmin)
		join pg_inherits i on i.inhrelid = c.oid"
}

LATE="rows indexes attach"
EARLY="indexes attach rows"

case_rows_come_first() {
	last_pair
	once
	expect_rows 90
	expect_eq "$(order)" "$LATE"
	expect_eq "$(dst "select count(*), bool_and(indisvalid) from pg_index where indrelid in (select inhrelid from pg_inherits where inhparent = 'orders'::regclass)")" "6|t"
	expect_match err 'partitions_created=3'
}

case_rows_come_first_in_two_lanes() {
	last_pair lanes=2
	once
	expect_rows 90
	expect_eq "$(order)" "$LATE"
	expect_match err 'partitions_created=3'
	src "insert into orders select i, date '2026-01-03' + i % 3, 'n' || i from generate_series(91, 180) i"
	tick q
	once
	expect_rows 180
	expect_match err 'partitions_created=2'
	expect_eq "$(order)" "$LATE"
}

# The server cuts the names of indexes to 63 bytes, so that those of two days may be one, which a
# newer server mostly sees in time: a lane does not wait for the other until lock_timeout.
case_names_that_two_lanes_choose() {
	local name=orders_of_the_shop_that_are_archived_for_ever
	orders_pair "part_template=create table _DEST_TABLE (like _PARENT); create index on _DEST_TABLE (id, day); $BOUNDS" lanes=2 dest_table=$name
	dst "alter table orders rename to $name"
	src "insert into orders select i, date '2026-01-01' + i % 8, 'n' || i from generate_series(1, 80) i"
	tick q
	expect_exit 0 timeout 30 "$TDISPATCH" --once job.ini
	expect_eq "$(dst "select count(*), count(distinct tableoid) from $name")" "80|8"
}

# Its indexes are made by ATTACH.
case_indexes_of_the_parent() {
	orders_pair "part_template=$TABLE $BOUNDS"
	dst "alter table orders add primary key (id, day); create index on orders (note)"
	three_days
	once --verify
	expect_rows 90
	expect_eq "$(order)" "rows attach indexes"
}

# like_pair SQL [KEY=VALUE]...: LIKE copies the indexes that SQL gives the parent; 90 rows for three days.
like_pair() {
	orders_pair "part_template=create table _DEST_TABLE (like _PARENT including all); $BOUNDS" "${@:2}"
	dst "$1"
	three_days
}

# indexes TABLE: all that is known of them but the table's name, which theirs begin with.
indexes() {
	dst "select replace(pg_get_indexdef(i.indexrelid) || coalesce(' ' || pg_get_constraintdef(k.oid), ''), '$1', 'TABLE')
		from pg_index i left join pg_constraint k on k.conindid = i.indexrelid and k.conrelid = i.indrelid
		where i.indrelid = '$1'::regclass and i.indisvalid order by 1"
}

MANY_INDEXES="alter table orders add primary key (id, day) include (note); alter table orders add unique (day, id);
	create unique index on orders (id desc nulls last, day); create index \"an index\" on orders using hash (id);
	create index on orders (note text_pattern_ops, note collate \"C\") with (fillfactor = 70)"

case_indexes_that_like_copies() {
	local lanes
	for lanes in 1 2; do
		like_pair "$MANY_INDEXES" lanes=$lanes
		once --verify
		expect_rows 90
		expect_eq "$(order)" "$LATE"
		dst "create table made_by_hand (like orders including all)"
		expect_eq "$(indexes orders_2026_01_02)" "$(indexes made_by_hand)"
		expect_eq "$(dst "select count(*) from pg_inherits where inhparent in (select indexrelid from pg_index where indrelid = 'orders'::regclass)")" 15
	done
}

# Of such an index its definition does not tell all, or others may change what the words of it mean.
case_indexes_that_like_alone_copies() {
	local sql
	for sql in "create index on orders (lower(note))" "create index on orders (note) where note > 'n5'" \
	    "alter table orders add primary key (id, day) with (fillfactor = 70)" \
	    "create index by_note on orders (note); comment on index by_note is 'x'" "create index \"a USING b\" on orders (note)"; do
		like_pair "$sql"
		once
		expect_rows 90
		expect_eq "$(order)" "indexes rows attach"
		dst "create table made_by_hand (like orders including all)"
		expect_eq "$(indexes orders_2026_01_02)" "$(indexes made_by_hand)"
	done
}

# Loads the 90 rows, and skips an event whose key one of them has.
skip_a_duplicate() {
	event I:id 'id=7&day=2026-01-02&note=again' >/dev/null
	tick q
	once -v
	expect_match err 'finished before their rows: .*could not create unique index'
	expect_match err '1 event skipped'
	expect_rows 90
}

case_duplicates_of_a_key_that_like_copies() {
	like_pair "alter table orders add primary key (id, day)" on_error=skip lanes=2
	skip_a_duplicate
}

# inherited_pair [KEY=VALUE]...: as last_pair, with inheritance; a role that may read comes last.
inherited_pair() {
	last_pair "part_template=create table _DEST_TABLE (check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)) inherits (_PARENT);
		$KEYS grant select on _DEST_TABLE to group reporting;" "$@"
	dst "drop table orders; create table orders (id int, day date, note text)"
}

case_children_that_inherit() {
	inherited_pair
	once
	expect_rows 90
	expect_eq "$(order)" "attach rows indexes"
	expect_eq "$(dst "select has_table_privilege('reporting', 'orders_2026_01_02', 'select')")" t
}

case_children_that_inherit_in_two_lanes() {
	inherited_pair lanes=2
	once -v
	expect_rows 90
	expect_eq "$(order)" "rows indexes attach"
	expect_match err 'partitions_created=3'
	expect_no_match err 'before their rows'
	expect_eq "$(dst "select count(*) from pg_class where relname ~ 'tdispatch_model'")" 0
	expect_eq "$(dst "select has_table_privilege('reporting', 'orders_2026_01_02', 'select')")" t
	src "insert into orders select i, date '2026-01-03' + i % 3, 'n' || i from generate_series(91, 180) i"
	tick q
	once --verify
	expect_rows 180
	expect_match err 'partitions_created=2'
	expect_eq "$(order)" "rows indexes attach"
}

# child_looks TABLE: all that the catalogs say of it.
child_looks() {
	dst "select attname, attnum, atttypid, attnotnull, attidentity, attgenerated, attislocal, attinhcount, attstorage, attcollation, pg_get_expr(adbin, adrelid)
			from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum where attrelid = '$1'::regclass order by attnum;
		select conname, contype, conislocal, coninhcount, connoinherit, pg_get_constraintdef(oid) from pg_constraint where conrelid = '$1'::regclass order by conname;
		select classid::regclass, objsubid, refclassid::regclass, case when refobjid = '$1'::regclass then 'itself' when refclassid = 'pg_class'::regclass then refobjid::regclass::text end, refobjsubid, deptype
			from pg_depend where (classid = 'pg_class'::regclass and objid = '$1'::regclass) or objid in (select oid from pg_attrdef where adrelid = '$1'::regclass) order by 1, 2, 3, 4, 5, 6;
		select inhparent::regclass from pg_inherits where inhrelid = '$1'::regclass" | sed "s/$1/child/g" | sort
}

# Whatever the parent has, the child has it from there and from nowhere else.
case_child_is_as_one_that_inherited_first() {
	inherited_pair lanes=2 "part_template=create table _DEST_TABLE (extra int, check (_PART_FIELD >= _PART_START)) inherits (_PARENT);"
	dst "drop table orders; create table grandparent (day date not null, gone int);
		create table orders (id int generated by default as identity constraint positive check (id > 0), lost text, note text collate \"C\" default 'x',
			number serial, twice int generated always as (id * 2) stored, own int not null default 5, check (number > -1) no inherit,
			primary key (number), unique (twice)) inherits (grandparent);
		alter table orders alter note set storage external; alter table orders drop column lost; create index on orders (note);
		create statistics of_both on id, note from orders; comment on column orders.id is 'the number';
		create table twin (extra int, check (day >= '2026-01-02')) inherits (orders)"
	once
	expect_rows 90
	expect_eq "$(order)" "rows attach indexes" "and there are none"
	diff <(child_looks orders_2026_01_02) <(child_looks twin) >differences || fail "$(head -n 20 differences)"
	dst "alter table orders drop column note; alter table grandparent drop column gone"
	diff <(child_looks orders_2026_01_02) <(child_looks twin) >differences || fail "after a column of the parent is gone: $(head -n 20 differences)"
}

case_duplicates_of_children() {
	inherited_pair on_error=skip
	skip_a_duplicate
	expect_eq "$(order any)" "attach indexes rows"
}

case_table_as_the_source() {
	last_pair
	expect_exit 0 "$TDISPATCH" --install --from orders job.ini
	once --set queue_name= --set from_table=orders --set lanes=2
	expect_rows 90
	expect_eq "$(order)" "$LATE"
}

case_privileges_come_last() {
	last_pair "part_template=$LAST grant select on _DEST_TABLE to reporting;"
	once
	expect_rows 90
	expect_eq "$(order)" "$LATE"
	expect_eq "$(dst "select has_table_privilege('reporting', 'orders_2026_01_02', 'select')")" t
}

# Of these in one transaction the first thousand.
case_many_partitions() {
	interleaved_batch 1100 1100
	once --set "part_template=$LAST"
	expect_rows 1100
	expect_eq "$(order | sort | tr '\n' ,)" "indexes rows attach,$LATE,"
}

# ---- where it would make a difference

# expect_early SQL: after that, on the target, one lane makes partitions as ever, and two lanes before the batch.
expect_early() {
	last_pair
	dst "$1"
	once
	expect_rows 90
	expect_eq "$(order)" "$EARLY"
	src "insert into orders select i, date '2026-02-01' + i % 3, 'n' || i from generate_series(91, 180) i"
	tick q
	once --set lanes=2
	expect_rows 180
	expect_eq "$(order)" "$EARLY" "of one lane"
	expect_eq "$(dst "select count(distinct c.oid) from orders o join pg_class c on c.oid = o.tableoid and c.xmin::text <> o.xmin::text")" 3 "made before the rows"
}

case_row_trigger_of_the_parent() {
	expect_early "create function mark() returns trigger language plpgsql as 'begin new.note := ''marked''; return new; end';
		create trigger mark before insert on orders for each row execute function mark()"
	expect_eq "$(dst "select count(*) from orders where note = 'marked'")" 180
}

case_statement_trigger_of_the_parent() {
	last_pair
	dst "create function mark() returns trigger language plpgsql as 'begin return null; end';
		create trigger mark after insert on orders for each statement execute function mark()"
	once
	expect_eq "$(order)" "$LATE"
}

case_publication_of_the_parent() {
	expect_early "set client_min_messages = error; create publication \"$CASE\" for table orders with (publish_via_partition_root)"
}

case_publication_of_all_tables() {
	expect_early "set client_min_messages = error; create publication \"$CASE\" for all tables"
}

case_publication_of_the_schema() {
	[ "$(dst "show server_version_num")" -ge 150000 ] || skip "no such publications"
	expect_early "set client_min_messages = error; create publication \"$CASE\" for tables in schema public"
}

# It keeps partitions out of the batch's transaction altogether.
case_foreign_key_of_the_parent() {
	last_pair on_error=skip
	dst "create table days (day date primary key); insert into days values ('2026-01-01'), ('2026-01-02');
		alter table orders add foreign key (day) references days"
	once
	expect_match err "30 events skipped"
	expect_rows 60
	expect_eq "$(order)" ""
}

case_order_of_the_statements() {
	last_pair "part_template=$TABLE $BOUNDS $KEYS"
	once
	expect_rows 90
	expect_eq "$(order)" "attach indexes rows"
}

case_latest_rows_need_the_key() {
	last_pair row_mode=keep_latest
	src "update orders set note = 'new' where id < 31"
	tick q
	once
	expect_rows 90
	expect_eq "$(dst "select count(*) from orders where note = 'new'")" 30
	expect_eq "$(order any)" "$EARLY"
}

case_replay() {
	last_pair on_error=dead_letter "part_template=$TABLE alter table _DEST_TABLE add check (id <> 31); $KEYS $BOUNDS"
	once
	expect_rows 89
	dst "drop table orders_2026_01_02; delete from orders"
	expect_exit 0 "$TDISPATCH" --replay job.ini --set "part_template=$LAST"
	expect_rows 1
	expect_eq "$(order any)" "$EARLY"
}

# ---- what fails after the rows is found out row by row

# Two lanes: in the transaction of either.
case_duplicates() {
	last_pair on_error=dead_letter
	event I:id 'id=7&day=2026-01-02&note=again' >/dev/null
	event I:id 'id=8&day=2026-01-03&note=again' >/dev/null
	tick q
	once -v
	expect_match err 'finished before their rows: .*could not create unique index'
	expect_match err '2 events went to tdispatch.dead_letter'
	expect_rows 90
	expect_eq "$(order any)" "$EARLY"
	expect_eq "$(dst "select string_agg(ev_data, ' ' order by ev_id) from tdispatch.dead_letter")" \
		'id=7&day=2026-01-02&note=again id=8&day=2026-01-03&note=again'
}

case_duplicates_in_two_lanes() {
	last_pair on_error=skip lanes=2
	event I:id 'id=7&day=2026-01-02&note=again' >/dev/null
	event I:id 'id=8&day=2026-01-03&note=again' >/dev/null
	event I:id 'id=9&day=2026-01-01&note=again' >/dev/null
	tick q
	once
	expect_match err '3 events skipped'
	expect_rows 90
}

case_duplicate_stops() {
	local id
	last_pair
	id=$(event I:id 'id=7&day=2026-01-02&note=again')
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of batch.*partition orders_2026_01_02.*duplicate key"
	expect_eq "$(partitions)" ""
	dst "create table later (like orders)"
	once --set on_error=skip
	expect_rows 90
}

# Lane 1 has committed its partitions when lane 0 fails: all are told of, and counted, once.
case_made_by_half_of_the_lanes() {
	local half
	orders_pair "part_template=$LAST" lanes=2
	tick q
	once
	src "insert into orders select i, date '2026-01-01' + i % 12, 'n' from generate_series(1, 120) i"
	tick q
	dst "create function refuse() returns trigger language plpgsql as
			\$\$ begin raise exception using errcode = '53100', message = 'refused'; end \$\$;
		create constraint trigger refuse after insert or update on pgq_ext.completed_tick deferrable initially deferred
			for each row when (new.subconsumer_id = '') execute function refuse()"
	start job.ini
	within 20 grep -q refused bg.err
	half=$(partitions | wc -w)
	[ "$half" -gt 0 ] && [ "$half" -lt 12 ] || fail "$half of 12 partitions are in"
	expect_eq "$(grep -c 'created partition' bg.err)" "$half" "partitions of one lane"
	dst "drop trigger refuse on pgq_ext.completed_tick"
	within 30 grep -q 'partitions_created=' bg.err
	expect_rows 120
	expect_eq "$(sed -n 's/.*created partition //p' bg.err | sort | tr '\n' ' ')" "$(partitions) "
	expect_match bg.err 'partitions_created=12'
	kill -TERM "$PID"
	expect_end 0 10
}

case_null_in_the_key() {
	last_pair on_error=skip
	event I:day 'day=2026-01-02&note=none' >/dev/null
	tick q
	once
	expect_match err "1 event skipped"
	expect_rows 90
}

# The bounds are those of one day, the partition is for a month: ATTACH refuses the rows of other days.
case_rows_out_of_bounds() {
	last_pair on_error=skip part_method=monthly \
		"part_template=$TABLE $KEYS alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to ('2026-01-02');"
	once
	expect_match err "60 events skipped"
	expect_rows 30
}

# ATTACH makes the parent's index, lane by lane: the one that is refused may be the first to commit, or the last.
case_duplicates_that_attach_finds() {
	local month
	orders_pair on_error=skip lanes=2 "part_template=$TABLE $BOUNDS"
	dst "alter table orders add primary key (id, day)"
	for month in 1 2 3 4; do
		src "insert into orders select $month * 100 + i, date '2026-0$month-01' + i % 2, 'n' from generate_series(1, 30) i"
		event I:id "id=${month}07&day=2026-0$month-02&note=again" >/dev/null
		tick q
		once -v
		expect_match err 'finished before their rows: .*could not create unique index'
		expect_match err '1 event skipped'
		expect_rows $((month * 30))
	done
}

case_bounds_that_overlap() {
	last_pair
	dst "create table odd partition of orders for values from ('2026-01-02') to ('2026-01-03')"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "partition orders_2026_01_02 cannot be created by part_template.*would overlap"
	expect_eq "$(partitions)" odd
	dst "drop table odd"
	once
	expect_rows 90
	expect_eq "$(order)" "$LATE"
}

case_table_as_the_source_with_duplicates() {
	orders_pair "part_template=$LAST" on_error=skip
	src "alter table orders drop constraint orders_pkey"
	three_days
	orders 7 9 2026-01-02
	expect_exit 0 "$TDISPATCH" --install --from orders job.ini
	once --set queue_name= --set from_table=orders
	expect_match err '1 row skipped'
	expect_eq "$(dst "select count(*) from orders")" 92
}

# ---- beside others

# slow_pair [KEY=VALUE]...: rows go in slowly, and no trigger is to blame.
slow_pair() {
	last_pair "part_template=$TABLE alter table _DEST_TABLE add check (slowly()); $KEYS $BOUNDS" "$@"
	dst "create sequence seen; create function slowly() returns bool language plpgsql as
		\$\$ begin perform nextval('seen'), pg_sleep(${PAUSE:-0.03}); return true; end \$\$;
		create table orders_2026_01_01 partition of orders for values from ('2026-01-01') to ('2026-01-02');
		insert into orders values (1000, '2026-01-01', 'old')"
}

# readers_pass LANES ORDER [KEY=VALUE]...: neither one that has the parent open, nor one that comes
# meanwhile, is in the way or waits.
readers_pass() {
	slow_pair "lanes=$1" "${@:3}"
	[ -z "${INHERITED:-}" ] || dst "drop table orders; create table orders (id int, day date, note text);
		create table orders_2026_01_01 () inherits (orders); insert into orders_2026_01_01 values (1000, '2026-01-01', 'old')"
	hold "select count(*) from orders"
	start --once -v job.ini
	within 20 rows_are_coming
	while kill -0 "$PID" 2>/dev/null; do
		expect_match <(dst "set lock_timeout = '200ms'; set statement_timeout = '5 s'; begin; select 'rows ' || count(*) from orders; commit") '^rows'
	done
	expect_end 0 30
	expect_rows 91
	expect_eq "$(order)" "$2"
	expect_no_match bg.err 'deadlock|before the batch|before their rows'
	end_sleepers
}

case_readers_pass() {
	readers_pass 1 "$LATE"
}

case_readers_pass_children_that_inherit() {
	INHERITED=1 readers_pass 1 "attach rows indexes" "part_template=create table _DEST_TABLE (check (slowly())) inherits (_PARENT); $KEYS"
}

case_readers_pass_two_lanes() {
	readers_pass 2 "$LATE"
}

case_readers_pass_children_that_inherit_in_two_lanes() {
	INHERITED=1 readers_pass 2 "rows indexes attach" "part_template=create table _DEST_TABLE (check (slowly())) inherits (_PARENT); $KEYS"
}

# Somebody gets the lock for ATTACH and keeps it until a lane has waited for it in vain.
lock_in_the_way() {
	dst "begin; lock table orders in share update exclusive mode; select pg_sleep(600)" >/dev/null 2>&1 &
	STARTED+=($!)
}

lock_goes() {
	within 60 grep -q 'finished before their rows: .*lock timeout' bg.err
	dst "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query = 'select pg_sleep(600)'" >/dev/null
}

# Lane 1 has inherited and commits; before lane 0 inherits, somebody has the lock for it.
case_second_lane_fails_to_inherit() {
	local LOCKS="pg_locks where relation = 'orders'::regclass and mode = 'ShareUpdateExclusiveLock'"
	inherited_pair lanes=2
	dst "create function slow_commit() returns trigger language plpgsql as 'begin perform pg_sleep(6); return new; end';
		create trigger slow_commit before insert or update on pgq_ext.completed_tick for each row
			when (new.subconsumer_id = 'lane 1 of 2') execute function slow_commit()"
	start --once -v job.ini
	within 30 dst_gives t "select count(*) > 0 from $LOCKS and granted"
	lock_in_the_way
	within 5 dst_gives t "select count(*) > 0 from $LOCKS and not granted"
	lock_goes
	expect_end 0 60
	expect_rows 90
	expect_eq "$(order)" "rows indexes attach" "of one lane, and nothing of the other"
	expect_eq "$(dst "select count(*) from pg_class where relname ~ 'tdispatch_model'")" 0
}

# Two tables of one batch, each with lanes of its own.
case_two_tables_that_inherit() {
	inherited_pair lanes=2
	dst "create table others (like orders)"
	source_table others "id int primary key, day date, note text"
	src "insert into others select i, date '2026-01-01' + i % 5, 'n' from generate_series(1, 40) i"
	tick q
	sed -i '/^dest_table/d' job.ini
	printf '[public.*]\ndest_table = %%(table)s\n' >>job.ini
	once -v
	expect_rows 90
	expect_eq "$(dst "select count(*), count(distinct tableoid) from others")" "40|5"
	expect_eq "$(order)" "rows indexes attach"
	expect_no_match err 'before their rows'
}

# Who would change what the parent's rows meet waits for the commit.
case_trigger_waits() {
	PAUSE=0.1 slow_pair lanes=2
	dst "create function mark() returns trigger language plpgsql as 'begin return new; end'"
	start --once job.ini
	within 20 rows_are_coming
	! dst "set lock_timeout = '200ms'; create trigger mark before insert on orders for each row execute function mark()" 2>trouble ||
		fail "the trigger was made"
	expect_match trouble 'lock timeout'
	expect_end 0 30
	expect_rows 91
}

# Somebody has the lock that ATTACH needs when all rows are in.
case_parent_is_locked_at_the_end() {
	PAUSE=0.1 slow_pair lanes=2
	start --once -v job.ini
	within 20 rows_are_coming
	lock_in_the_way
	lock_goes
	expect_end 0 60
	expect_rows 91
}

# Each makes the same days, in another order, in long transactions of two lanes.
case_opposite_order() {
	local first
	slow_pair lanes=2
	src "select pgq.create_queue('r')" >/dev/null
	install --set consumer_name=other --set queue_name=r
	src "select count(pgq.insert_event('r', 'I:id', format('id=%s&day=%s&note=n', 1000 + i, date '2026-01-03' - i / 30))) from generate_series(1, 89) i" >/dev/null
	tick r
	start --once -v job.ini
	first=$PID
	start --once -v job.ini --set consumer_name=other --set queue_name=r --set pidfile=other.pid
	expect_end 0 60 "$first"
	expect_end 0 60
	expect_eq "$(dst "select count(*) from orders")" 180
	expect_no_match bg.err 'deadlock|ERROR'
}

case_killed() {
	PAUSE=0.1 slow_pair lanes=2
	start --once job.ini
	within 20 rows_are_coming
	kill -KILL "$PID"
	expect_end 137 5
	within 20 dst_gives 0 "select count(*) from pg_stat_activity where datname = current_database() and query like 'COPY%'"
	expect_eq "$(dst "select string_agg(relname, ' ') from pg_class where relname like 'orders_2%'")" orders_2026_01_01
	once
	expect_rows 91
}

run_cases
