# Events that cannot be written, when they shall not stop the rest: on_error, dead letters, --replay.
. "$(dirname "$0")/../cases.sh"

# poison_pair [KEY=VALUE]...: queue q, parent orders, and on_error = dead_letter.
poison_pair() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (id int not null, day date, note text, short varchar(5)) partition by range (day)"
	config on_error=dead_letter "part_template=$PARTITION_OF alter table _DEST_TABLE add primary key (id);" "$@"
	install
}

# good FROM TO: events that can be written, over three days.
good() {
	src "select count(pgq.insert_event('q', 'I:id', 'id='||i||'&day=2026-01-'||10 + i % 3||'&note=n&short=s', 'public.orders', '', '', ''))
		from generate_series($1, $2) i" >/dev/null
}

# One event of each kind that cannot be written; 9 in all.
poison() {
	event I:id 'id=abc&day=2026-01-10&note=a&short=b' >/dev/null
	event I:id 'id=1001&day=yesterday&note=a&short=b' >/dev/null
	event I:id 'id=1002&day=2026-01-10&note=a&short=muchtoolong' >/dev/null
	event I:id 'id&day=2026-01-10&note=a&short=b' >/dev/null
	event I:id 'id=1&day=2026-01-11&note=twice&short=b' >/dev/null
	event I:id 'id=1003&day=2026-01-10&note=%ff&short=b' >/dev/null
	event I:id 'id=1004&day=2026-01-10&note=%00&short=b' >/dev/null
	event I:id 'id=1005&day=2026-01-10&note=%zz&short=b' >/dev/null
	event I:id '' >/dev/null
}

letters() {
	dst "select $1 from tdispatch.dead_letter${2:+ where $2}"
}

case_dead_letters() {
	poison_pair
	good 1 500
	poison
	good 501 600
	tick q
	once
	expect_rows 600
	expect_eq "$(letters "count(*), count(distinct ev_id), min(consumer), min(queue), count(ev_time)")" "9|9|job|q|9"
	expect_eq "$(letters "string_agg(sqlstate, ' ' order by ev_id)")" "22P02  22001 23502 23505 22021   "
	expect_eq "$(letters partition "sqlstate = '23505'")" orders_2026_01_11
	expect_eq "$(letters "ev_data, ev_type, ev_extra1" "sqlstate = '22001'")" \
		"id=1002&day=2026-01-10&note=a&short=muchtoolong|I:id|public.orders"
	expect_eq "$(letters "string_agg(concat_ws('=', nullif(column_name, ''), nullif(value, '')), ' ' order by ev_id)" "sqlstate <> ''")" \
		'id=abc short=muchtoolong id=\N\x092026-01-10\x09a\x09b  '
	expect_match err '9 events went to tdispatch.dead_letter'
	# the queue goes on
	good 601 602
	tick q
	once
	expect_rows 602
	expect_eq "$(letters "count(*)")" 9
}

# Room is taken for a row before it is known to be bad: nothing comes after the small one, and the
# large one's is more than all rows together may have.
case_nothing_but_a_bad_row() {
	poison_pair
	event I:id 'id=1&day=2026-01-10&note=%zz&short=b' >/dev/null
	tick q
	once
	expect_rows 0
	expect_eq "$(letters "count(*)")" 1
}

case_large_bad_row() {
	poison_pair
	src "select pgq.insert_event('q', 'I:id', 'id=1&day=2026-01-10&note='||repeat('x', 5000000)||'%zz')" >/dev/null
	event I:id 'id=2&day=2026-01-10&note=good' >/dev/null
	tick q
	once
	expect_rows 1
	expect_eq "$(letters "count(*)")" 1
}

# Letters are read as text, after the events as binary, which is shorter: the room is that of the
# largest event, and some lines fill it to the last byte, or miss that by one.
case_letters_as_large_as_their_room() {
	poison_pair max_errors=1000
	src "select count(pgq.insert_event('q', 'I:id', 'id=no&day=2026-01-10&short=s&note=' || repeat('x', (16384 << i / 100) - 180 + i % 100),
		'public.orders', '', '', '')) from generate_series(0, 199) i" >/dev/null
	tick q
	LIMIT=60 once
	expect_eq "$(letters "count(*), count(distinct ev_id), sum(length(ev_data))")" \
		"$(src "select count(*), count(distinct ev_id), sum(length(ev_data)) from pgq.event_template")"
}

# A column's name that no statement could have in it.
case_name_that_is_no_text() {
	local id
	poison_pair 'fields=*'
	good 1 50
	id=$(event I:id 'id=500&day=2026-01-10&%ff=5')
	event I:id 'id=501&day=2026-01-10&note=x' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --dry-run job.ini
	expect_match out "event $id: the name of column .xff is no valid UTF-8"
	expect_exit 1 "$TDISPATCH" --once job.ini --set on_error=stop
	expect_match err "event $id of batch"
	once
	expect_rows 51
	expect_eq "$(dst "select string_agg(ev_id::text, ',') from tdispatch.dead_letter")" "$id"
}

case_skip() {
	poison_pair on_error=skip
	good 1 50
	poison
	tick q
	once
	expect_rows 50
	expect_eq "$(grep -c 'event [0-9]* of batch .* skipped' err)" 9
	expect_eq "$(dst "select to_regclass('tdispatch.dead_letter') is null")" t
}

case_more_than_max_errors() {
	poison_pair max_errors=8
	good 1 50
	poison
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'max_errors = 8'
	expect_match err 'event [0-9]+ of batch'
	expect_rows 0
	expect_eq "$(letters "count(*)")" 0
	once --set max_errors=9
	expect_eq "$(letters "count(*)")" 9
}

case_stop_names_everything() {
	local id
	poison_pair on_error=stop
	good 1 2000
	id=$(event I:id "id=5000&day=2026-01-10&note=n&short=far%0atoo%e2%82%aclong")
	good 2001 2500
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of batch [0-9]+, source table public.orders, partition orders_2026_01_10, column short, value \"far.x0atoo.xe2.x82.xaclong\""
	expect_match err 'SQLSTATE 22001'
	expect_rows 0
}

case_lanes() {
	poison_pair lanes=3
	good 1 3000
	poison
	tick q
	once
	expect_rows 3000
	expect_eq "$(letters "count(*), count(distinct ev_id)")" "9|9"
}

# numbers FROM TO EACH [WORD]: events over three days, each so many-th with a number that is none.
numbers() {
	src "select count(pgq.insert_event('q', 'I:id', 'id='||case when i % $3 = 0 then '${4:-x}' else '' end||i||'&day=2026-01-'||10 + i % 3||'&note=n&short=s',
		'public.orders', '', '', '')) from generate_series($1, $2) i" >/dev/null
}

# once_read ROWS [SWITCH]...: and the target was given few rows more than once.
once_read() {
	once "${@:2}"
	expect_rows "$1"
	expect_eq "$(dst "select last_value < $1 * 1.2 from orders_n_seq")" t "rows of one pass"
}

# The first, the last, and each thousandth number is none: all else is written as it comes.
case_no_second_pass() {
	poison_pair lanes=2 "fields=id, day, note, short"
	dst "alter table orders add n bigserial"
	event I:id 'id=abc&day=2026-01-11&note=n&short=s' >/dev/null
	numbers 1 30000 1000
	event I:id 'id=+30001&day=2026-01-11&note=n&short=s' >/dev/null
	event I:id 'id=zzz&day=2026-01-12&note=n&short=s' >/dev/null
	tick q
	once_read 29971
	expect_eq "$(letters "count(*), count(distinct ev_id), min(sqlstate), max(sqlstate), min(column_name), count(distinct value), count(distinct partition)")" \
		"32|32|22P02|22P02|id|32|3"
	expect_eq "$(letters "count(*)" "partition <> 'orders_' || replace(substring(ev_data, 'day=([0-9-]+)'), '-', '_')")" 0
	# more in the next batch, in partitions that are there
	numbers 30002 40001 10
	tick q
	once
	expect_rows 38971
	expect_eq "$(letters "count(*), count(distinct ev_id)")" "1032|1032"
}

# The partitions are new: their keys are made after the rows, and they are attached last.
case_no_second_pass_into_new_partitions() {
	poison_pair lanes=2 "fields=id, day, note, short" "part_template=create table _DEST_TABLE (like _PARENT including defaults including constraints);
		alter table _DEST_TABLE add primary key (id); alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
	dst "alter table orders add n bigserial"
	numbers 1 20000 1000
	tick q
	once_read 19980 --verify
	expect_eq "$(letters "count(*), count(distinct ev_id)")" "20|20"
	expect_eq "$(dst "select count(*) from pg_index where indisprimary and indrelid::regclass::text like 'orders_2026%'")" 3
	# a key that is there twice is found in a second pass
	numbers 19999 20999 500
	tick q
	once
	expect_rows 20978
	expect_eq "$(letters "string_agg(distinct sqlstate, ' ' order by sqlstate), count(distinct ev_id)")" "22P02 23505|23"
}

case_skip_in_one_pass() {
	poison_pair on_error=skip "fields=id, day, note, short"
	dst "alter table orders add n bigserial"
	numbers 1 20000 1000
	tick q
	once_read 19980
	expect_eq "$(grep -o 'event [0-9]* of batch .* skipped' err | sort -u | wc -l)" 20
}

case_stop_in_one_pass() {
	local id
	poison_pair on_error=stop "fields=id, day, note, short"
	dst "alter table orders add n bigserial"
	good 1 5000
	id=$(event I:id "id=x5&day=2026-01-10&note=n&short=s")
	good 5001 10000
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of batch [0-9]+, source table public.orders, partition orders_2026_01_10, column id, value \"x5\""
	expect_match err 'SQLSTATE 22P02'
	expect_rows 0
	expect_eq "$(dst "select last_value < 12000 from orders_n_seq")" t "rows of one pass"
	expect_exit 1 "$TDISPATCH" --once --set on_error=skip --set max_errors=0 job.ini
	expect_match err "event $id of batch .*max_errors = 0"
	expect_rows 0
}

# With numbers that are none, and that only the server can tell from others, all over: --verify finds
# each row as its event says, and no partition has one before an earlier one where the order counts.
case_half_are_suspect() {
	poison_pair lanes=2 max_errors=100000 event_order=id "fields=id, day, note, short"
	dst "alter table orders add n bigserial"
	numbers 1 10000 2 +
	numbers 10001 10500 100
	tick q
	once --verify
	expect_rows 10495
	expect_eq "$(letters "count(*)")" 5
	expect_eq "$(dst "select count(*) from (select id < lag(id) over (partition by day order by n) as back from orders) o where back")" 0
	numbers 20001 30000 2 +
	numbers 30001 32000 2
	tick q
	once --verify --set event_order=none
	expect_rows 21495
	expect_eq "$(letters "count(*), count(distinct ev_id)")" "1005|1005"
}

# Their texts are more than a process keeps: some are stored, or logged, while the batch is read.
case_many_letters() {
	poison_pair lanes=2 max_errors=100000
	src "select count(pgq.insert_event('q', 'I:id', 'id='||i||'&day=2026-01-'||10 + i % 3||'&note='||case when i % 5 = 1 then '%zz' else 'n' end
			||'&short='||case when i % 5 = 0 then 's' else repeat('long', 100) end, 'public.orders', '', '', ''))
		from generate_series(1, 12000) i" >/dev/null
	tick q
	LIMIT=60 expect_exit 0 "$TDISPATCH" --once --set on_error=skip job.ini
	expect_rows 2400
	expect_eq "$(grep -o 'event [0-9]* of batch .* skipped' err | sort -u | wc -l)" 9600
	dst "delete from pgq_ext.completed_tick; truncate orders"
	src "select pgq.unregister_consumer('q', 'job'); select pgq.register_consumer_at('q', 'job', (select min(tick_id) from pgq.tick))" >/dev/null
	LIMIT=60 once
	expect_rows 2400
	expect_eq "$(letters "count(*), count(distinct ev_id), count(distinct partition)")" "9600|9600|3"
	expect_eq "$(letters "sum(length(ev_data))")" "$(src "select sum(length(ev_data)) from pgq.event_template where ev_data !~ 'short=s$'")"
	expect_match err '9600 events went to tdispatch.dead_letter, the first: event '
}

# many_bad N: events that cannot be decoded, with more text than a process keeps if N is 9000.
many_bad() {
	src "select count(pgq.insert_event('q', 'I:id', 'id='||i||'&day=2026-01-10&short=s&note=%zz', 'public.orders', '', '', '')) from generate_series(1, $1) i" >/dev/null
}

skips() {
	grep -c 'event [0-9]* of batch .* skipped' "$1"
}

# The batch is read again for the event that the table refuses.
case_each_skip_is_logged_once() {
	poison_pair on_error=skip max_errors=100000
	many_bad 9000
	event I:id 'id=1&day=2026-01-10&note=n&short=muchtoolong' >/dev/null
	good 2 3
	tick q
	LIMIT=60 once
	expect_rows 2
	expect_eq "$(skips err)" 9001
	expect_match err ' 9001 events skipped, the first'
}

case_each_skip_is_logged_once_though_the_commit_fails() {
	poison_pair on_error=skip exception_sleep=0.1
	poison
	good 1 50
	tick q
	refuse pgq_ext.completed_tick
	start job.ini
	within 20 grep -q refused bg.err
	sleep 1
	allow pgq_ext.completed_tick
	within 20 dst_gives 50 "select count(*) from orders"
	within 10 eval '[ "$(skips bg.err)" -ge 9 ]'
	expect_eq "$(skips bg.err)" 9
	event I:id 'id=1&day=2026-01-10&note=n&short=muchtoolong' >/dev/null
	tick q
	within 20 grep -q ' 1 event skipped' bg.err
	expect_eq "$(skips bg.err)" 10
	kill -TERM "$PID"
	expect_end 0 10
}

# No second connection is to be had for letters that would be stored while the batch is read.
case_many_letters_on_one_connection() {
	poison_pair max_errors=100000
	sql postgres <<<"create role \"$CASE\" login connection limit 1"
	install --grant "$CASE"
	many_bad 9000
	good 1 3000
	tick q
	within 10 src_gives 0 "select count(*) from pg_stat_activity where usename = '$CASE'"
	LIMIT=60 once --set "src_db=dbname=$SRC user=$CASE"
	expect_eq "$(grep -c 'bad events are kept in memory until all of it is read: .*too many connections for role' err)" 1 "lines"
	expect_eq "$(letters "count(*), count(distinct ev_id)")" "9000|9000"
	expect_rows 3000
}

# refuse TABLE: no row of it can be committed, until allow TABLE; of positions, none of lane 0.
refuse() {
	dst "create or replace function refuse() returns trigger language plpgsql as
			\$\$ begin if to_jsonb(new)->>'subconsumer_id' > '' then return new; end if;
				raise exception using errcode = '53100', message = 'refused'; end \$\$;
		create constraint trigger refuse after insert or update on $1 deferrable initially deferred
			for each row execute function refuse()"
}

allow() {
	dst "drop trigger refuse on $1"
}

case_letters_come_with_the_rows() {
	local table
	poison_pair
	good 1 600
	poison
	tick q
	for table in tdispatch.dead_letter pgq_ext.completed_tick; do
		refuse $table
		expect_exit 1 "$TDISPATCH" --once job.ini
		expect_match err refused
		expect_rows 0
		expect_eq "$(letters "count(*)"), $(completed_tick)" "0, " "letters and position"
		allow $table
	done
	once
	expect_rows 600
	expect_eq "$(letters "count(*)")" 9
}

# Lane 1 has its rows and letters, lane 0 has not: each letter comes once.
case_half_of_the_letters() {
	local day half
	poison_pair lanes=2
	dst "alter table tdispatch.dead_letter drop constraint dead_letter_pkey"
	tick q
	once
	good 1 600
	for day in 10 11 12; do
		event I:id "id=10$day&day=2026-01-$day&note=n&short=muchtoolong" >/dev/null
		event I:id "id=20$day&day=2026-01-$day&note=%zz&short=b" >/dev/null
	done
	tick q
	refuse pgq_ext.completed_tick
	expect_exit 1 "$TDISPATCH" --once job.ini
	allow pgq_ext.completed_tick
	half=$(letters "count(*)")
	[ "$half" -gt 0 ] && [ "$half" -lt 6 ] || fail "$half of 6 letters are in"
	once
	expect_rows 600
	expect_eq "$(letters "count(*), count(distinct ev_id)")" "6|6" "letters"
}

# The server tells no line for what is checked at the end of the statement.
case_foreign_key() {
	poison_pair "part_template=$PARTITION_OF alter table _DEST_TABLE add foreign key (short) references known;"
	dst "create table known (short varchar(5) primary key); insert into known values ('s')"
	good 1 1000
	event I:id 'id=1001&day=2026-01-10&note=n&short=new' >/dev/null
	good 1002 1500
	event I:id 'id=1501&day=2026-01-10&note=n&short=newer' >/dev/null
	tick q
	once
	expect_rows 1499
	expect_eq "$(letters "count(*), min(sqlstate), min(partition)")" "2|23503|orders_2026_01_10"
}

# The server's message has the value in it and is cut somewhere.
case_long_message() {
	local i
	poison_pair
	for i in {0..3}; do
		event I:id "id=$(printf 'x%.0s' $(seq $i))$(printf '%%e2%%82%%ac%.0s' {1..500})&day=2026-01-10&note=n&short=s" >/dev/null
	done
	tick q
	once
	expect_eq "$(letters "count(*), min(sqlstate), max(length(message)) < 4000")" "4|22P02|t"
}

# A value that reads like the server's own words, and a trigger whose name does.
case_words_of_others() {
	poison_pair "part_template=$PARTITION_OF create trigger t after insert on _DEST_TABLE for each row execute function orders_2026_01_10();"
	dst "create function orders_2026_01_10() returns trigger language plpgsql as \$\$ begin
		if new.id = 8 then raise 'not this one'; end if; return null; end \$\$"
	good 1 30
	event I:id 'id=x%0aCOPY+orders_2026_01_10,+line+1&day=2026-01-10&note=n&short=s' >/dev/null
	good 31 40
	event I:id 'id=50&day=2026-01-10&note=n&short=x%0aCOPY+orders_2026_01_10,+line+2' >/dev/null
	tick q
	once
	expect_rows 39
	expect_eq "$(dst "select count(*) from orders where id = 8")" 0
	expect_eq "$(letters "string_agg(left(ev_data, 5), ' ' order by ev_id)")" "id=8& id=x% id=50"
}

# It refuses the table, not the rows: none of them becomes a letter.
case_statement_trigger() {
	poison_pair max_errors=10 "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE execute function refuse();"
	dst "create function refuse() returns trigger language plpgsql as \$\$ begin raise 'nothing today'; end \$\$"
	good 1 9
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "table orders_2026_01_1[012] takes no rows: dst_db: nothing today \(SQLSTATE P0001\)"
	expect_rows 0
	expect_eq "$(letters "count(*)")" 0
}

# A trigger for each row says the same, and here it is the rows'.
case_row_trigger() {
	poison_pair max_errors=10 "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function refuse();"
	dst "create function refuse() returns trigger language plpgsql as \$\$ begin raise 'nothing today'; end \$\$"
	good 1 9
	tick q
	once
	expect_rows 0
	expect_eq "$(letters "count(*), min(message)")" "9|dst_db: nothing today (SQLSTATE P0001)"
}

# A column's name stands in the COPY statement, and is the event's all the same: one that is no text,
# and one that the target's encoding lacks, of which the server does not even read the statement.
case_bad_column_name() {
	poison_pair
	sql postgres <<-END
		drop database "$DST";
		create database "$DST" encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0;
	END
	dst "create table orders (id int not null, day date, note text, short varchar(5)) partition by range (day)"
	install
	good 1 30
	event I:id 'id=500&day=2026-01-10&%ff=5' >/dev/null
	event I:id 'id=501&day=2026-01-10&%e2%82%ac=5' >/dev/null
	good 31 60
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --set on_error=stop
	expect_match err "event [0-9]+ of batch "
	once
	expect_rows 60
	expect_eq "$(letters "string_agg(trim(sqlstate) || left(ev_data, 6), ',' order by ev_id)")" "id=500,22P05id=501"
}

# The server's own troubles are no row's fault.
case_only_data_errors() {
	local state
	poison_pair retry_limit=1 "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function refuse();"
	dst "create table trouble (state text)"
	dst "create function refuse() returns trigger language plpgsql as \$\$ declare s text; begin select state into s from public.trouble;
		if new.id = 7 and s is not null then raise 'trouble' using errcode = s; end if; return new; end \$\$"
	good 1 20
	tick q
	for state in 53100 42501 55P03 57014 40001 25006; do
		dst "truncate trouble; insert into trouble values ('$state')"
		expect_exit 1 "$TDISPATCH" --once job.ini
		expect_rows 0
		expect_eq "$(letters "count(*)")" 0 "$state"
	done
	dst "truncate trouble"
	once
	expect_rows 20
}

# What keeps a partition from being made is no fault of the row that needs it.
case_partition_cannot_be_made() {
	poison_pair
	dst "create table rest partition of orders default; insert into rest values (1, '2026-01-10')"
	good 1 3
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'would be violated'
	expect_eq "$(letters "count(*)")" 0
}

case_table_is_missing() {
	poison_pair on_error=stop
	expect_exit 1 "$TDISPATCH" --once --set on_error=dead_letter job.ini
	expect_match err 'no table tdispatch.dead_letter.*--install'
	expect_exit 1 "$TDISPATCH" --check --set on_error=dead_letter job.ini
	expect_match out '^missing +.*table tdispatch.dead_letter.*--install'
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match err 'no table tdispatch.dead_letter: --install creates it, where the config says on_error = dead_letter'
	expect_exit 0 "$TDISPATCH" --install --set on_error=dead_letter job.ini
	expect_match out 'tdispatch.dead_letter created'
	expect_exit 0 "$TDISPATCH" --check --set on_error=dead_letter job.ini
	expect_exit 2 "$TDISPATCH" --check --set on_error=ignore job.ini
	expect_match err 'neither stop, dead_letter nor skip'
}

case_replay() {
	poison_pair
	good 1 100
	poison
	tick q
	once
	expect_rows 100
	# nothing has changed: nothing goes in, all stay
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out '^batch [0-9]+: 0 of 9 dead letters went in'
	expect_eq "$(letters "count(*)")" 9
	# one is mended on the target, one in the letter
	dst "alter table orders alter short type text"
	dst "update tdispatch.dead_letter set ev_data = replace(ev_data, 'id=abc', 'id=2000') where ev_data like 'id=abc%'"
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out '^batch [0-9]+: 2 of 9 dead letters went in'
	expect_rows 102
	expect_eq "$(letters "count(*)")" 7
	expect_eq "$(dst "select string_agg(short, ',' order by id) from orders where id > 1000")" muchtoolong,b
	dst "delete from tdispatch.dead_letter"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_match out 'no dead letters'
}

# Letters of several batches, partitions that are not there yet, and a running process.
case_replay_beside_a_running_process() {
	local i
	poison_pair loop_delay=0.1
	start job.ini
	for i in 1 2 3; do
		good $((i * 100)) $((i * 100 + 9))
		event I:id "id=$((i * 1000))&day=2026-0$i-28&note=n&short=muchtoolong$i" >/dev/null
		tick q
		within 10 dst_gives $i "select count(*) from tdispatch.dead_letter"
	done
	dst "alter table orders alter short type text"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(grep -c '1 of 1 dead letters went in' out)" 3
	expect_rows 33
	expect_eq "$(letters "count(*)")" 0
	good 900 909
	tick q
	within 10 dst_gives 43 "select count(*) from orders"
}

# By the source's clock, as the event itself would have been.
case_replay_by_the_time_of_the_event() {
	poison_pair part_field=_EVTIME
	sql postgres <<<"alter database \"$SRC\" set timezone = 'Pacific/Kiritimati'; alter database \"$DST\" set timezone = 'Pacific/Niue'"
	event I:id 'id=1&day=2026-01-10&note=n&short=s' >/dev/null
	event I:id 'id=2&day=2026-01-10&note=n&short=muchtoolong' >/dev/null
	dst "alter table orders rename to old; create table orders (id int, day date, note text, short varchar(5))"
	tick q
	once --set "part_template=$INHERITS"
	expect_eq "$(letters "count(*)")" 1
	dst "alter table orders alter short type text"
	expect_exit 0 "$TDISPATCH" --replay --set "part_template=$INHERITS" job.ini
	expect_eq "$(dst "select count(distinct tableoid), count(*) from orders")" "1|2"
}

# The columns that the first version's table had.
old_letters() {
	dst "alter table tdispatch.dead_letter drop column tick_time, drop column ev_txid, drop column ev_retry,
		drop column ev_extra2, drop column ev_extra3, drop column ev_extra4,
		drop column column_name, drop column value"
}

# bad_event ID: with all that PgQ keeps of an event.
bad_event() {
	src "select pgq.insert_event('q', 'I:id', 'id=$1&day=2026-01-10&note=n&short=muchtoolong', 'public.orders',
		'old=1', E'three\\t', 'four')" >/dev/null
}

case_letters_have_all_of_the_event() {
	poison_pair
	good 1 5
	bad_event 1001
	tick q
	once
	expect_eq "$(letters "ev_extra1, ev_extra2, ev_extra3 = E'three\\t', ev_extra4, ev_retry is null")" "public.orders|old=1|t|four|t"
	expect_eq "$(letters "ev_txid, (extract(epoch from tick_time) * 1000000)::bigint")" \
		"$(src "select ev_txid, (select (extract(epoch from tick_time) * 1000000)::bigint from pgq.tick order by tick_id desc limit 1)
			from pgq.event_template where ev_extra2 = 'old=1'")"
	expect_eq "$(dst "select to_regclass('tdispatch.slice') is null")" t
}

# A table of the first version: runs and --replay go on with it, --check says so, --install adds the rest.
case_letters_of_an_older_table() {
	poison_pair
	old_letters
	good 1 5
	bad_event 1001
	tick q
	once
	expect_eq "$(letters "count(*), min(ev_extra1)")" "1|public.orders"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +table tdispatch.dead_letter .*keeps no tick_time, ev_txid, ev_retry, ev_extra2, ev_extra3, ev_extra4, column_name, value: --install'
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match out '0 of 1 dead letters went in'
	install
	expect_match out 'dead_letter in dst_db has got columns tick_time, ev_txid, ev_retry, ev_extra2, ev_extra3, ev_extra4, column_name, value'
	install
	expect_match out 'dead_letter was already in'
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^ok +table tdispatch.dead_letter'
	bad_event 1002
	tick q
	once
	expect_eq "$(letters "count(*), count(ev_extra2), count(tick_time), count(ev_txid)")" "2|1|1|1"
	dst "alter table orders alter short type text"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_rows 7
}

# A suspect row is sent after later ones; if these are in its way, the later one is at fault.
case_a_suspect_row_and_a_later_one() {
	local second
	orders_pair on_error=dead_letter
	dst "alter table orders add primary key (id, day)"
	install
	orders 1 3000
	tick q
	once
	orders 3001 6000
	event I:id 'id=%2b7000&day=2026-01-31&note=first' >/dev/null
	second=$(event I:id 'id=7000&day=2026-01-31&note=second')
	tick q
	once
	expect_eq "$(dst "select note from orders where id = 7000")" first
	expect_eq "$(letters "ev_id")" "$second"
}

# --install while a process writes letters to the table.
case_letters_get_columns_in_use() {
	poison_pair loop_delay=0.1
	old_letters
	start job.ini
	bad_event 1001
	tick q
	within 10 dst_gives 1 "select count(*) from tdispatch.dead_letter"
	install
	bad_event 1002
	tick q
	within 10 dst_gives 1 "select count(*) from tdispatch.dead_letter where ev_extra4 = 'four'"
}

run_cases
