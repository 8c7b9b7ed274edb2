# Merged ticks and lanes: what the positions say after a loss, a kill, or another number of lanes.
. "$(dirname "$0")/../cases.sh"

# N ticks of 10 orders each, over five days.
ticks() {
	local i
	for ((i = 0; i < $1; i++)); do
		src "insert into orders select i, date '2026-01-01' + i % 5, 'n' from generate_series($(($2 + i * 10 + 1)), $(($2 + i * 10 + 10))) i"
		tick q
	done
}

# The queue as it was at that tick: what a source that lost its last commits looks like.
source_forgets() {
	src "select pgq.register_consumer_at('q', 'job', $1)" >/dev/null
}

lane_tick() {
	dst "select last_tick_id from pgq_ext.completed_tick where consumer_id = 'job' and subconsumer_id = '$1'"
}

case_ticks_are_merged() {
	orders_pair
	ticks 6 0
	once
	expect_rows 60
	expect_eq "$(grep -c 'events=' err)" 1 "batches"
	ticks 6 60
	once --set batch_min_events=0
	expect_rows 120
	expect_eq "$(grep -c 'events=' err)" 6 "batches"
}

# A merged batch is loaded, its finish is lost, and the next merge would go further.
case_lost_finish_of_a_merged_batch() {
	local before
	orders_pair
	before=$(consumer_tick)
	ticks 3 0
	once
	source_forgets "$before"
	ticks 2 30
	once
	expect_match err "moving queue q there"
	expect_rows 50
}

# The same without merging: a target in the middle of nowhere is a lost position.
case_no_move_without_merging() {
	local before
	orders_pair batch_min_events=0
	before=$(consumer_tick)
	ticks 3 0
	once
	source_forgets "$before"
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "lost position"
	expect_rows 30
}

case_numbers_of_lanes_change() {
	local n from=0
	orders_pair
	for n in 1 3 2 2 4 1 16; do
		ticks 1 $from
		once --set lanes=$n
		from=$((from + 10))
		expect_rows $from
	done
	expect_eq "$(lane_tick lanes)" 16
	once --set lanes=1
	ticks 1 $from
	once --set lanes=1
	expect_eq "$(dst "select count(*) from pgq_ext.completed_tick where subconsumer_id !~ 'identity'")" 1 "positions of one lane"
}

# Stops before lane 0's commit: a commit trigger there fails, the other lane's rows are in.
half_committed() {
	dst "create function refuse() returns trigger language plpgsql as
			\$\$ begin if new.subconsumer_id = '' then raise exception using errcode = '53100', message = 'refused'; end if; return new; end \$\$;
		create constraint trigger refuse after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row execute function refuse()"
	expect_exit 1 "$TDISPATCH" --once --set lanes=2 job.ini
	expect_match err "refused"
	dst "drop trigger refuse on pgq_ext.completed_tick"
}

case_other_number_after_a_half() {
	orders_pair
	ticks 1 0
	once --set lanes=2
	ticks 2 10
	half_committed
	[ "$(lane_tick 'lane 1 of 2')" -gt "$(lane_tick '')" ] || fail "lane 1 is not ahead"
	once --set lanes=5
	expect_rows 30
	ticks 1 30
	once --set lanes=5
	expect_rows 40
	expect_eq "$(lane_tick lanes)" 5
}

# A half-committed merged batch comes back with a later end.
case_half_and_a_later_end() {
	local before
	orders_pair
	ticks 1 0
	once --set lanes=2
	before=$(consumer_tick)
	ticks 3 10
	half_committed
	source_forgets "$before"
	ticks 3 40
	once --set lanes=2
	expect_match err "going tick by tick"
	expect_rows 70
	expect_eq "$(lane_tick 'lane 1 of 2')" "$(lane_tick '')"
}

# Somebody set the consumer's tick back by hand: a lane knows better.
case_set_back_by_hand() {
	local before
	orders_pair
	ticks 1 0
	before=$(consumer_tick)
	once --set lanes=2
	ticks 1 10
	once --set lanes=2
	dst "select pgq_ext.set_last_tick('job', $before)" >/dev/null
	source_forgets "$before"
	expect_exit 1 "$TDISPATCH" --once --set lanes=2 job.ini
	expect_match err "lost position"
	expect_rows 20
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_eq "$(dst "select count(*) from pgq_ext.completed_tick")" 0 "positions after --reset"
}

case_pgq_ext_without_subconsumers() {
	orders_pair
	dst "drop function pgq_ext.get_last_tick(text); drop function pgq_ext.set_last_tick(text, bigint);
		create function pgq_ext.get_last_tick(text) returns bigint language sql as
			\$\$ select last_tick_id from pgq_ext.completed_tick where consumer_id = \$1 and subconsumer_id = '' \$\$;
		create function pgq_ext.set_last_tick(text, bigint) returns integer language sql as
			\$\$ insert into pgq_ext.completed_tick values (\$1, '', \$2) on conflict (consumer_id, subconsumer_id)
				do update set last_tick_id = excluded.last_tick_id; select 1 \$\$;
		drop function pgq_ext.get_last_tick(text, text); drop function pgq_ext.set_last_tick(text, text, bigint)"
	ticks 1 0
	once
	expect_rows 10
	ticks 1 10
	expect_exit 1 "$TDISPATCH" --once --set lanes=2 job.ini
	expect_match err "lanes must be 1"
	expect_rows 10
}

# One event larger than all the rows that may wait, alone and with others, on both numbers of lanes.
case_event_larger_than_the_pool() {
	orders_pair
	ticks 1 0
	src "insert into orders values (11, '2026-01-01', repeat('x', 9000000)), (12, '2026-01-02', repeat('y', 3000000)),
		(13, '2026-01-03', repeat('z', 3000000)), (14, '2026-01-04', repeat('z', 3000000))"
	tick q
	once --set lanes=2
	expect_rows 14
	src "update orders set note = note || '.' where id > 10"
	tick q
	once
	expect_eq "$(dst "select count(*) from orders where length(note) >= 3000000")" 8
}

run_cases
