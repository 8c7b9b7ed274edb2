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

# Without a batch that would be loaded by them.
case_number_changes_on_an_empty_queue() {
	orders_pair
	ticks 1 0
	once --set lanes=2
	expect_eq "$(lane_tick lanes)" 2
	once --set lanes=1
	expect_match err "lanes: 1 from now on"
	expect_match err "done: 0 events"
	expect_eq "$(lanes_stored)" "" "positions of lanes"
	once --set lanes=1
	expect_no_match err "lanes:"
	once --set lanes=3
	expect_eq "$(lane_tick 'lane 2 of 3')" "$(completed_tick)"
	ticks 1 10
	once --set lanes=3
	expect_no_match err "lanes:"
	expect_rows 20
}

lanes_stored() {
	dst "select string_agg(subconsumer_id, ',') from pgq_ext.completed_tick where subconsumer_id ~ 'lane'"
}

# The run ends after the batch that the old number had to finish.
case_number_changes_after_a_half() {
	half_a_batch
	once --set lanes=1
	expect_rows 20
	expect_eq "$(lanes_stored)" "" "positions of lanes"
	expect_eq "$(consumer_tick)" "$(completed_tick)"
}

# Another program, which knows no lanes, has loaded a batch.
case_lane_left_behind() {
	local switch left
	orders_pair
	ticks 1 0
	once --set lanes=2
	left=$(lane_tick 'lane 1 of 2')
	ticks 1 10
	dst "select pgq_ext.set_last_tick('job', $(src "select last_tick_id from pgq.get_queue_info('q')"))" >/dev/null
	once --set lanes=2
	expect_match err "is in the target already"
	for switch in --once --check --rewind; do
		expect_exit 1 "$TDISPATCH" $switch job.ini
		cat out err >both
		expect_match both "lane 1 of the target of consumer job was left at tick $left while another program loaded up to tick $(completed_tick)\..*--reset, nothing comes twice"
	done
	expect_exit 0 "$TDISPATCH" --reset job.ini
	ticks 1 20
	once
	expect_rows 20
}

# Stops before lane 0's commit: a commit trigger there fails, the other lane's rows are in.
half_committed() {
	dst "create function refuse() returns trigger language plpgsql as
			\$\$ begin if new.subconsumer_id = '' then raise exception using errcode = '53100', message = 'refused'; end if; return new; end \$\$;
		create constraint trigger refuse after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row execute function refuse()"
	expect_exit 1 "$TDISPATCH" --once --set lanes=2 job.ini
	expect_match err "refused"
	dst "drop trigger refuse on pgq_ext.completed_tick; drop function refuse()"
	[ "$(lane_tick 'lane 1 of 2')" -gt "$(lane_tick '')" ] || fail "lane 1 is not ahead"
}

# Two lanes, 10 rows in both, and 10 more in one.
half_a_batch() {
	orders_pair "$@"
	ticks 1 0
	once --set lanes=2
	ticks 1 10
	half_committed
	HALF=$(dst "select count(*) from orders")
	[ "$HALF" -gt 10 ] && [ "$HALF" -lt 20 ] || fail "rows: $HALF"
}

case_other_number_after_a_half() {
	orders_pair
	ticks 1 0
	once --set lanes=2
	ticks 2 10
	half_committed
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

# What tells the lane of a row must not change before the other lanes have their part.
case_config_changed_after_a_half() {
	local change switch
	half_a_batch
	dst "create table others (id int, day date, note text) partition by range (day)"
	for change in part_method=monthly part_method=weekly part_field= part_timezone=UTC part_timezone=Europe/Berlin part_method=list dest_table=public.orders dest_table=others; do
		for switch in --check --dry-run --once; do
			expect_exit 1 "$TDISPATCH" $switch job.ini --set lanes=2 --set part_template= --set $change
			cat out err >both
			expect_match both "batch [0-9]+ is in a part of the target already, .*old values back, let them finish the batch"
		done
		expect_rows "$HALF"
	done
	# times of the event and of its batch are two more; the latter needs one lane, which has to finish first
	for change in _EVTIME _BATCHTIME; do
		expect_exit 1 "$TDISPATCH" --once job.ini --set part_template= --set part_field=$change
		expect_match err "batch [0-9]+ is in a part of the target already, .*old values back, let them finish the batch"
		expect_rows "$HALF"
	done
	expect_exit 2 "$TDISPATCH" --once job.ini --set lanes=2 --set part_template= --set part_field=_BATCHTIME
	expect_eq "$(dst "select count(*) from others")" 0 "rows elsewhere"
	# what does not tell the lane may change
	once --set lanes=2 --set "part_template=$ATTACH" --set fields=id,day,note
	expect_rows 20
	ticks 1 20
	once --set lanes=2 --set part_timezone=UTC
	expect_rows 30
}

case_half_by_another_version() {
	half_a_batch
	dst "update pgq_ext.completed_tick set last_tick_id = last_tick_id + (1::bigint << 56) where subconsumer_id = 'lane 1 of 2 rule'"
	expect_exit 1 "$TDISPATCH" --once job.ini --set lanes=2
	expect_match err "another version of tdispatch.*let that version finish"
	expect_rows "$HALF"
	# one that kept none
	dst "delete from pgq_ext.completed_tick where subconsumer_id ~ 'rule'"
	once --set lanes=2
	expect_rows 20
}

case_reset_after_a_half() {
	half_a_batch
	expect_exit 1 "$TDISPATCH" --reset job.ini
	expect_match err "twice.*--once"
	expect_exit 1 "$TDISPATCH" --reset job.ini --set part_method=monthly
	expect_match err "old values back.*finish the batch.*--reset would double"
	once --set lanes=2
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_match out "forgot tick [0-9]+ of consumer job"
	expect_no_match out "lane 1"
	once --set lanes=2
	expect_rows 20
}

# Nothing else helps any more.
case_reset_after_a_lost_half() {
	local ahead
	half_a_batch
	ahead=$(lane_tick 'lane 1 of 2')
	source_forgets "$(lane_tick '')"
	src "delete from pgq.tick where tick_id = $ahead"
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_match out "lane 1 of 2 has all up to tick $ahead: rows of its partitions come twice"
	expect_eq "$(dst "select count(*) from pgq_ext.completed_tick")" 0 "positions after --reset"
}

case_rewind_after_a_half() {
	half_a_batch
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	once --set lanes=2
	expect_rows 20
}

case_rewind_while_loading() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.2
	ticks 1 0
	once
	ticks 5 10
	start job.ini
	within 20 rows_are_coming 12
	expect_exit 1 "$TDISPATCH" --rewind job.ini
	expect_match err "another process loads"
	expect_exit 1 "$TDISPATCH" --reset job.ini
	expect_match err "another process loads"
	within 60 dst_gives 60 "select count(*) from orders"
}

# No partition can be made for an event without a key, unless an event with one comes before; the
# lane of its partition keeps the letter, as it would keep the row.
case_half_with_an_event_without_a_key() {
	local day
	orders_pair "part_template=create table _DEST_TABLE (like _PARENT); alter table _DEST_TABLE add unique (_PKEY);
alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);" on_error=dead_letter
	tick q
	once --set lanes=2
	for day in 01 02; do
		event I: "id=1$day&day=2026-01-$day&note=without" >/dev/null
		event I:id "id=2$day&day=2026-01-$day&note=with" >/dev/null
	done
	tick q
	half_committed
	expect_eq "$(rows_and_letters)" "201 101" "of lane 1"
	once --set lanes=2
	expect_eq "$(rows_and_letters)" "201,202 101,102"
}

# Their ids.
rows_and_letters() {
	dst "select (select string_agg(id::text, ',' order by id) from orders) || ' ' ||
		(select string_agg(substr(ev_data, 4, 3), ',' order by 1) from tdispatch.dead_letter)"
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
