# Events that cannot be written: exit 1, the event's id named, nothing written.
. "$(dirname "$0")/../cases.sh"

N=0

# One pair of databases for all; each event has a queue and a parent table of its own.
set_up() {
	CASE=${FILE%%_*}_all WORK=$CLUSTER/work/$FILE.all
	mkdir -p "$WORK"
	new_pair "$CASE"
	src "select pgq.create_queue('q'); create table precious (id int)" >/dev/null
	dst "create table precious (id int)"
	(set -e; cd "$WORK"; config; install) || say "not ok $FILE set_up: $(cat "$WORK/why" "$WORK/err")"
}

# own_queue: makes queue qN and parent tN, and ARGS for the program.
own_queue() {
	QUEUE=q$N
	src "select pgq.create_queue('q$N'), pgq.register_consumer('q$N', 'c$N')" >/dev/null
	dst "create table t$N (id int not null, day ${DAY:-date}, note text, short varchar(5), n int check (n > 0)) partition by range (day)"
	config "part_template=${TEMPLATE-$PARTITION_OF alter table _DEST_TABLE add primary key (id);}" \
		"queue_name=q$N" "consumer_name=c$N" "dest_table=t$N" "$@"
}

good() {
	event I:id "id=$1&day=2026-01-31&note=good&short=a&n=1" >/dev/null
}

expect_nothing_written() {
	expect_eq "$(dst "select count(*) from t$N")" 0 "rows"
	expect_eq "$(completed_tick "c$N")" "" "the target's tick"
	expect_eq "$(dst "select count(*) from precious")$(src "select count(*) from precious")" 00
}

# The event stands between two good ones; with ALONE set it is the batch's only one.
bad_event() {
	local id
	own_queue "${@:4}"
	[ -n "${ALONE:-}" ] || good 1
	id=$(event "$2" "$3")
	[ -n "${ALONE:-}" ] || good 2
	tick "q$N"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "(^|[^0-9])$id([^0-9]|$)"
	expect_match err "$1"
	expect_nothing_written
}

# bad NAME REGEX TYPE DATA [KEY=VALUE]...: a case of its own; the message matches REGEX.
bad() {
	N=$((N + 1))
	asked_for "$1" || return 0
	run_case "$1" in_pair bad_event "${@:2}"
}

# All cases here share the databases that set_up made.
in_pair() {
	SRC=08_all_src DST=08_all_dst
	"$@"
}

null_data() {
	local id
	own_queue
	good 1
	id=$(src "select pgq.insert_event('q$N', 'I:id', null, 'public.orders', null, null, null)")
	tick "q$N"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "(^|[^0-9])$id([^0-9]|$)"
	expect_nothing_written
}

# What a session with another DateStyle writes.
other_datestyle() {
	own_queue
	src "create table styled (id int primary key, day date);
		create trigger t after insert on styled for each row execute function pgq.logutriga('q$N');
		set datestyle = 'SQL, DMY';
		insert into styled values (1, '2026-02-03')"
	tick "q$N"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "03/02/2026"
	expect_nothing_written
	expect_eq "$(partitions "t$N")" ""
}

json_trigger() {
	own_queue
	src "create table jsoned (id int primary key, day date);
		create trigger t after insert on jsoned for each row execute function pgq.jsontriga('q$N');
		insert into jsoned values (1, '2026-02-03')"
	tick "q$N"
	expect_exit 1 "$TDISPATCH" --once job.ini --set event_format=urlencoded
	expect_match err "jsontriga"
	expect_nothing_written
}

# The bad one comes last of twenty thousand.
late_in_a_large_batch() {
	local id
	own_queue
	src "select count(pgq.insert_event('q$N', 'I:id', 'id=' || i || '&day=2026-01-' || i % 20 + 10 || '&note=' || repeat('x', 800))) from generate_series(1, 20000) i" >/dev/null
	id=$(event I:id 'id=abc&day=2026-01-15&note=a')
	tick "q$N"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "(^|[^0-9])$id([^0-9]|$)"
	expect_nothing_written
}

# After the bad event is mended at the source the same command goes on.
mended() {
	own_queue
	good 1
	event I:id 'id=abc&day=2026-01-31&note=a' >/dev/null
	tick "q$N"
	expect_exit 1 "$TDISPATCH" --once job.ini
	src "update pgq.event_template set ev_data = replace(ev_data, 'abc', '2') where ev_data like '%abc%note=a'"
	once
	expect_rows 2 "t$N"
}

special() {
	N=$((N + 1))
	asked_for "$1" || return 0
	run_case "$1" in_pair "$1"
}

set_up

bad escape 'byte|offset' I:id 'id=3&day=2026-01-31&note=a%4z'
bad escape_at_end 'byte|offset' I:id 'id=3&day=2026-01-31&note=a%4'
bad percent_at_end 'byte|offset' I:id 'id=3&day=2026-01-31&note=a%'
bad escape_in_name 'byte|offset' I:id 'id=3&day=2026-01-31&no%zzte=a'
bad nul_byte 'byte|offset' I:id 'id=3&day=2026-01-31&note=a%00b'
bad escape_in_date 'byte|offset' I:id 'id=3&day=2026%2g01-31&note=a'
bad escape_listed 'byte|offset' I:id 'id=3&day=2026-01-31&note=a%4z' fields=id,note
special null_data
bad empty_data . I:id ''
bad json_type 'ev_type is no JSON object with the op' '{"op":"CREATE"}' '{"id":3}'
special json_trigger
special other_datestyle

bad date_dmy '03/02/2026' I:id 'id=3&day=03/02/2026&note=a'
bad date_german 'day' I:id 'id=3&day=03.02.2026&note=a'
bad date_text 'day' I:id 'id=3&day=Tue+Feb+03+2026&note=a'
bad date_infinity 'infinity' I:id 'id=3&day=infinity&note=a'
bad date_minus_infinity '-infinity' I:id 'id=3&day=-infinity&note=a'
bad date_bc 'BC' I:id 'id=3&day=0044-03-15+BC&note=a'
bad date_10000 '10000' I:id 'id=3&day=10000-01-01&note=a'
bad date_year_0 '0000' I:id 'id=3&day=0000-01-01&note=a'
bad date_null 'NULL' I:id 'id=3&day&note=a'
bad date_empty 'day' I:id 'id=3&day=&note=a'
bad date_month_13 '2026-13-01' I:id 'id=3&day=2026-13-01&note=a'
bad date_feb_30 '2026-02-30' I:id 'id=3&day=2026-02-30&note=a'
bad date_garbage 'day' I:id 'id=3&day=2026-01-31x&note=a'
bad date_compact 'day' I:id 'id=3&day=20260131&note=a'
bad date_missing 'day' I:id 'id=3&note=a'
DAY=timestamptz
bad date_out_of_range_in_zone . I:id 'id=3&day=9999-12-31+23:00:00-05&note=a' part_timezone=UTC
bad date_hour_25 'day' I:id 'id=3&day=2026-01-31+25:00:00&note=a' part_method=hourly
unset DAY

bad number '22P02' I:id 'id=abc&day=2026-01-31&note=a'
bad number_too_big '22003' I:id 'id=99999999999&day=2026-01-31&note=a'
bad too_long '22001' I:id 'id=3&day=2026-01-31&short=abcdef'
bad null_in_key '23502' I:id 'id&day=2026-01-31&note=a'
bad duplicate_key '23505' I:id 'id=1&day=2026-01-31&note=a'
bad check_constraint '23514' I:id 'id=3&day=2026-01-31&n=0'
bad invalid_utf8 '22021' I:id 'id=3&day=2026-01-31&note=a%ffb'
bad surrogate '22021' I:id 'id=3&day=2026-01-31&note=%ed%a0%80'
bad cut_utf8 '22021' I:id 'id=3&day=2026-01-31&note=a%c3'
bad invalid_utf8_in_name . I:id 'id=3&day=2026-01-31&n%ff=a'
bad unknown_column 'colour' I:id 'id=3&day=2026-01-31&colour=red'
bad missing_listed_column 'note' I:id 'id=3&day=2026-01-31' fields=id,day,note
bad column_twice 'note' I:id 'id=3&day=2026-01-31&note=a&note=b'
bad long_column_name . I:id "id=3&day=2026-01-31&$(printf 'c%.0s' {1..64})=a"
bad no_name . I:id 'id=3&day=2026-01-31&=a'
bad hostile_column 'column|22|42' I:id 'id=3&day=2026-01-31&note%22)+from+stdin%3b+drop+table+precious%3b+--=x'
ALONE=1
bad hostile_key . 'I:id); drop table precious; --' 'id=3&day=2026-03-03&note=a' \
	"part_template=create table _DEST_TABLE (like _PARENT including all, primary key (_PKEY)); alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END)"
TEMPLATE=
bad missing_table 't[0-9]*_2026_01_31' I:id 'id=3&day=2026-01-31&note=a'
unset TEMPLATE ALONE
special late_in_a_large_batch
special mended
