# The right event is named, and what cannot be mended by waiting ends the program.
. "$(dirname "$0")/../cases.sh"

# event_pair [KEY=VALUE]...: a queue without a table behind it, and a target.
event_pair() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "$@"
	install
}

# The daemon ends by itself with exit code 1 and names the event.
ends_naming() {
	tick q
	start job.ini
	expect_end 1 10
	expect_match bg.err "event $1 of"
}

case_one_column_many_times() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text, n2 text, n3 text, n4 text) partition by range (day)"
	config "fields=id, day, note, note:n2, note:n3, note:n4"
	install
	src "insert into orders select i, '2026-01-31', repeat('x', 30000) from generate_series(1, 20) i"
	tick q
	once
	expect_eq "$(dst "select count(*) from orders where note = n2 and n2 = n3 and n3 = n4")" 20
}

case_bad_row_long_before_the_end() {
	local id
	event_pair
	id=$(event I:id 'id=abc&day=2026-01-15&note=a')
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=2026-01-15&note=' || repeat('x', 800)))
		from generate_series(1, 20000) i" >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of"
}

# At the COMMIT nobody can say which event it was.
case_deferred_constraint() {
	local i
	event_pair "part_template=$PARTITION_OF alter table _DEST_TABLE add unique (id) deferrable initially deferred;"
	for i in 1 1 2 3; do event I:id "id=$i&day=2026-01-15&note=a" >/dev/null; done
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "duplicate key"
	expect_no_match err "event [0-9]"
	expect_rows 0
}

case_row_too_large_for_an_index() {
	local id
	event_pair "part_template=$PARTITION_OF create index on _DEST_TABLE (note);"
	id=$(src "select pgq.insert_event('q', 'I:id', 'id=1&day=2026-01-15&note=' || string_agg(md5(i::text), '')) from generate_series(1, 300) i")
	ends_naming "$id"
}

case_errcode_of_a_trigger() {
	local id
	event_pair "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function refuse();"
	dst "create function refuse() returns trigger language plpgsql as \$\$ begin raise exception 'no' using errcode = 'UE001'; end \$\$"
	id=$(event I:id 'id=1&day=2026-01-15&note=a')
	ends_naming "$id"
}

# A trigger's own SQL names the table and numbers, before COPY's own words do.
case_trigger_names_the_table() {
	local i id
	event_pair "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function f();"
	dst "create function f() returns trigger language plpgsql as \$\$ begin
		if new.id = 5 then execute 'select 1 as log_' || tg_table_name || ', 2 / 0'; end if; return new; end \$\$"
	for i in 1 2 3 4 6; do event I:id "id=$i&day=2026-01-15&note=a" >/dev/null; done
	id=$(event I:id "id=5&day=2026-01-15&note=a")
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "event $id of"
}

case_copy_in_the_template() {
	orders_pair "part_template=$PARTITION_OF copy _DEST_TABLE from stdin;"
	orders 1 1
	tick q
	start job.ini
	expect_end 1 10
	expect_match bg.err "has no place here"
}

# A bad row, and then an error before its batch is read again: that one is about no partition.
case_error_before_the_second_pass() {
	local day
	orders_pair lanes=2
	orders 1 1
	tick q
	once
	dst "create sequence begun;
		create or replace function pgq_ext.get_last_tick(a_consumer text) returns bigint language plpgsql as
		\$\$ begin
			if current_setting('tdispatch.locked', true) = 'true' and nextval('begun') % 2 = 0 then
				raise exception using errcode = '53100', message = 'no room here';
			end if;
			return pgq_ext.get_last_tick(a_consumer, '');
		end \$\$"
	event I:id "id=2&day=2026-01-30&note=%ff" >/dev/null
	tick q
	for day in 30 31; do
		dst "alter sequence begun restart"
		expect_exit 1 "$TDISPATCH" --once job.ini --set batch_min_events=0
		expect_match err "no room here"
		expect_no_match err "partition orders_2026_01_$day: "
		src "update $(src "select pgq.current_event_table('q')") set ev_data = replace(ev_data, '-30', '-31') where ev_data ~ 'id=2'"
	done
}

case_idle_session_timeout() {
	orders_pair loop_delay=0.3
	sql postgres <<<"alter database \"$DST\" set idle_session_timeout = '1s'"
	orders 1 1
	tick q
	start job.ini
	within 5 dst_gives 1 "select count(*) from orders"
	sleep 2
	orders 2 2
	tick q
	within 10 dst_gives 2 "select count(*) from orders"
	expect_no_match bg.err ERROR
}

# One process judges a batch that the other has loaded and finished meanwhile.
case_stale_batch_of_two_processes() {
	local i slow
	can_trace
	orders_pair batch_min_events=0 pidfile=
	for i in {1..200}; do
		say "insert into orders values ($i, '2026-01-31', 'n'); select pgq.force_tick('q'); select pgq.ticker('q');"
	done | sql "$SRC" >/dev/null
	PROGRAM=strace start -f -o /dev/null -e trace=sendto -e inject=sendto:delay_enter=20000 "$STATIC" job.ini
	slow=$PID
	sleep 1
	"$STATIC" --once job.ini >a.out 2>a.err || fail "the fast one: $(tail -n 1 a.err)"
	within 10 dst_gives 200 "select count(*) from orders"
	expect_no_match bg.err "lost position"
	kill_quietly -0 "$slow" || fail "the slow one ended"
	expect_rows 200
}

run_cases
