# The consumer's position on both sides: agreed, lost, shared.
. "$(dirname "$0")/../cases.sh"

# Three batches are in; the queue holds a fourth.
three_batches() {
	local i
	orders_pair "$@"
	for i in 1 2 3; do
		orders $((i * 10)) $((i * 10 + 9))
		tick q
		[ $i != 2 ] || once
	done
	SECOND=$(completed_tick)
	once
	orders 40 49
	tick q
}

# Without job_name in the old section: 2.1's name, table_dispatcher. The file's name was the default
# of tdispatch before: where a server knows it, nobody is registered under the new one.
case_default_name() {
	orders_pair job_name=
	expect_match out 'consumer table_dispatcher registered'
	orders 1 3
	tick q
	once
	expect_rows 3
	expect_eq "$(completed_tick table_dispatcher)" "$(consumer_tick table_dispatcher)"
}

# ambiguous SWITCH...: refused, with both names and the line to add.
ambiguous() {
	expect_exit 2 "$TDISPATCH" "$@" job.ini
	expect_match err 'neither job_name nor consumer_name.* table_dispatcher.* job, .*Add job_name = job .*job_name = table_dispatcher'
}

case_default_name_of_before() {
	local switch
	orders_pair job_name=
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	expect_exit 0 "$TDISPATCH" --register job.ini --set job_name=job
	orders 1 3
	tick q
	for switch in --once --install --register --unregister --rewind --dry-run --replay; do
		ambiguous $switch
		expect_match err 'which the queue knows'
	done
	expect_eq "$(src "select string_agg(consumer_name, ' ') from pgq.get_consumer_info('q')")" job
	once --set job_name=job
	ambiguous --once
	expect_match err 'which queue and target know'
	ambiguous --reset
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out 'wrong.*neither job_name nor consumer_name'
	expect_exit 0 "$TDISPATCH" --unregister job.ini --set job_name=job
	ambiguous --once
	expect_match err 'which the target knows'
	expect_exit 0 "$TDISPATCH" --register job.ini --set job_name=table_dispatcher
	ambiguous --dry-run
	expect_match err 'which the target knows'
	once --set consumer_name=table_dispatcher
	expect_rows 3
	sed -i 's/^\[table_dispatcher\]/[tdispatch]/' job.ini
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'consumer job is not registered'
}

set_completed() {
	dst "update pgq_ext.completed_tick set last_tick_id = $1 where consumer_id = 'job'"
}

# The position is lost: both ticks and both remedies are named, nothing is written.
expect_lost() {
	local before
	before=$(dst "select count(*) from orders")
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "--rewind"
	expect_match err "--reset"
	expect_match err "(^|[^0-9])$1([^0-9]|$)"
	expect_match err "(^|[^0-9])$(consumer_tick)([^0-9]|$)"
	expect_eq "$(dst "select count(*) from orders")" "$before" "rows"
	expect_eq "$(completed_tick)" "$1" "the target's tick"
}

case_target_is_ahead() {
	three_batches
	set_completed 77777
	expect_lost 77777
}

case_target_is_behind() {
	three_batches
	set_completed "$SECOND"
	expect_lost "$SECOND"
}

# expect_verdict CODE WORDS: of a run and of the switches that only look.
expect_verdict() {
	local switch
	for switch in --check --dry-run --once; do
		expect_exit "$1" "$TDISPATCH" $switch job.ini
		cat out err >both
		expect_match both "$2"
	done
}

case_one_verdict() {
	local lost
	three_batches
	lost="lost position: queue q is at tick $(consumer_tick), the target of consumer job at tick $SECOND\. Nothing was written"
	set_completed "$SECOND"
	expect_verdict 1 "$lost"
	# inside of a batch that somebody else merged
	src "select pgq.register_consumer_at('q', 'job', 1)" >/dev/null
	src "select pgq.next_batch_custom('q', 'job', null,
		(select (max(tick_event_seq) - min(tick_event_seq))::int from pgq.tick), null)" >/dev/null
	expect_eq "$(src "select count(*) from pgq.subscription where sub_next_tick > $SECOND")" 1 "open batch"
	say "batch_min_events = 0" >>job.ini
	expect_verdict 1 "lost position: queue q is at tick 1, the target of consumer job at tick $SECOND\."
	sed -i '/batch_min_events/d' job.ini
	expect_verdict 0 "is in the target up to tick $SECOND of"
}

case_one_verdict_at_the_end() {
	three_batches
	src "select pgq.next_batch('q', 'job')" >/dev/null
	set_completed "$(src "select last_tick_id from pgq.get_queue_info('q')")"
	expect_verdict 0 "batch [0-9]+ is in the target already"
}

case_lost_position_ends_the_daemon() {
	three_batches
	set_completed 77777
	start job.ini
	expect_end 1 15
	expect_match bg.err "--rewind"
	expect_rows 30
}

# The target lost its last batch, as after a crash: the queue still has it.
case_rewind() {
	three_batches
	set_completed "$SECOND"
	dst "delete from orders where id >= 30"
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	expect_rows 20
	once
	expect_rows 40
}

case_rewind_with_an_open_batch() {
	three_batches
	src "select pgq.next_batch('q', 'job')" >/dev/null
	set_completed "$SECOND"
	dst "delete from orders where id >= 30"
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	once
	expect_rows 40
}

case_rewind_without_a_position() {
	orders_pair
	expect_exit 1 "$TDISPATCH" --rewind job.ini
	[ -s err ] || fail "no word about it"
}

# No tick of that number in the queue.
case_rewind_to_nowhere() {
	three_batches
	set_completed 77777
	expect_exit 1 "$TDISPATCH" --rewind job.ini
	expect_match err 77777
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q', 'job')")" 1 "registrations"
}

case_reset() {
	three_batches
	set_completed 77777
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_eq "$(completed_tick)" ""
	expect_rows 30
	once
	expect_rows 40
}

case_reset_is_of_one_consumer() {
	three_batches
	dst "select pgq_ext.set_last_tick('other', 5), pgq_ext.set_last_tick('job', 'sub', 6)" >/dev/null
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_eq "$(dst "select pgq_ext.get_last_tick('other'), pgq_ext.get_last_tick('job', 'sub')")" "5|6"
}

# In already: only finish it.
case_committed_but_not_finished() {
	three_batches
	src "select pgq.next_batch('q', 'job')" >/dev/null
	set_completed "$(src "select last_tick_id from pgq.get_queue_info('q')")"
	once
	expect_rows 30
	expect_eq "$(consumer_tick)" "$(completed_tick)"
	orders 50 59
	tick q
	once
	expect_rows 40
}

case_unregistered_with_a_position() {
	three_batches
	src "select pgq.unregister_consumer('q', 'job')" >/dev/null
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "--rewind"
	expect_match err "--reset"
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q')")" 0 "registrations"
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	once
	expect_rows 40
}

case_unregistered_then_reset() {
	three_batches
	src "select pgq.unregister_consumer('q', 'job')" >/dev/null
	expect_exit 0 "$TDISPATCH" --reset job.ini
	once
	expect_rows 30
	orders 50 59
	tick q
	once
	expect_rows 40
}

# A config for another queue with the consumer name of this one: the position is not its own.
case_another_queue_has_the_consumer() {
	local switch
	three_batches
	src "select pgq.create_queue('q2')" >/dev/null
	for switch in --once --register --install; do
		expect_exit 1 "$TDISPATCH" $switch job.ini --set queue_name=q2
		expect_match err 'not registered on queue q2, .* it is registered on queue q\. .*must not be forgotten: give this config a job_name'
	done
	expect_exit 1 "$TDISPATCH" --check job.ini --set queue_name=q2
	expect_match out '^MISSING .*registered on queue q\. '
	expect_exit 1 "$TDISPATCH" --reset job.ini --set queue_name=q2
	expect_match err 'consumer job is registered on queue q: .* job_name of its own; --reset --yes'
	once
	expect_rows 40
	expect_exit 1 "$TDISPATCH" --reset job.ini --set queue_name=q2 --set src_db="dbname=$SRC port=1"
	expect_match err 'does not ask src_db'
	expect_exit 0 "$TDISPATCH" --reset --yes job.ini --set queue_name=q2 --set src_db="dbname=$SRC port=1"
	expect_eq "$(completed_tick)" ""
}

case_registers_by_itself() {
	new_pair "$CASE"
	config
	install
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	dst "create table orders (id int, day date, note text) partition by range (day)"
	source_table orders "id int primary key, day date, note text"
	once
	expect_eq "$(src "select consumer_name from pgq.get_consumer_info('q')")" job
	orders 1 3
	tick q
	once
	expect_rows 3
}

case_unregistered_while_running() {
	orders_pair
	start job.ini
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	src "select pgq.unregister_consumer('q', 'job')" >/dev/null
	orders 4 5
	tick q
	expect_end 1 15
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q')")" 0 "registrations"
	expect_match bg.err "--rewind"
}

case_two_processes() {
	local first i
	orders_pair "part_template=$PARTITION_OF $SLOW" pidfile=
	slow_target 0.0005
	for i in 0 1 2 3 4 5 6 7; do
		orders $((i * 200 + 1)) $((i * 200 + 200)) "2026-01-0$((i + 1))"
		tick q
	done
	start job.ini
	first=$PID
	start job.ini
	within 40 dst_gives 1600 "select count(distinct id) from orders"
	sleep 0.5
	kill_quietly -TERM "$first" "$PID"
	within 5 process_gone "$first"
	within 5 process_gone "$PID"
	once
	expect_rows 1600
	expect_eq "$(consumer_tick)" "$(completed_tick)"
}

case_two_processes_once() {
	local first
	orders_pair "part_template=$PARTITION_OF $SLOW" pidfile=
	slow_target 0.001
	orders 1 1000
	tick q
	start --once job.ini
	first=$PID
	start --once job.ini
	expect_end 0 30 "$first"
	expect_end 0 30
	once
	expect_rows 1000
}

case_other_consumers_are_left_alone() {
	orders_pair
	src "select pgq.register_consumer('q', 'other')" >/dev/null
	orders 1 3
	tick q
	once
	expect_eq "$(src "select pgq.next_batch('q', 'other') is not null")" t
}

# ---- transactions that begin before the batch is there

# N sessions of ours have a transaction open at the target in which nothing happens, or a lock.
open_at_target() {
	dst_gives "$1" "select count(distinct pid) from pg_stat_activity left join pg_locks l using (pid)
		where datname = current_database() and application_name = 'tdispatch' and (state like 'idle in transaction%' or locktype = 'advisory')"
}

all_are_in() {
	dst_gives "$1/$1" "select count(*) || '/' || count(distinct id) from orders" && [ "$(consumer_tick)" = "$(completed_tick)" ]
}

# loading_daemon LANES: it has loaded six ticks, four of them in a row, and the queue is empty.
loading_daemon() {
	local i
	orders_pair lanes="$1" batch_min_events=0 loop_delay=0.1 exception_sleep=0.2 pidfile=
	for i in 1 2 3 4; do
		orders $i $i "2026-01-0$i"
		tick q
	done
	start job.ini
	within 10 all_are_in 4
	for i in 5 6; do
		orders $i $i
		tick q
		within 10 all_are_in $i
	done
}

# tick_waits FROM TO: a tick comes, but the queue does not give its batch until end_wait.
tick_waits() {
	src "begin; lock table pgq.subscription in exclusive mode; select pg_sleep(600)" >/dev/null 2>&1 &
	STARTED+=($!)
	within 5 src_gives 1 "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
	orders "$1" "$2"
	tick q
}

end_wait() {
	src "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'" >/dev/null
}

END_OURS="select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'"

# awaits_batch N: N rows more come, for which the process has begun at the target, and the queue does not
# give their batch until end_wait. One look in a second asks for the batch without having seen the
# tick, and begins nothing before: then the next tick is tried.
awaits_batch() {
	local i
	for i in 1 2 3 4 5; do
		tick_waits $((ALL + 1)) $((ALL + $1))
		ALL=$((ALL + $1))
		within 20 src_gives 1 "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'tdispatch' and wait_event_type = 'Lock'"
		! open_at_target 1 || return 0
		end_wait
		within 10 all_are_in $ALL
	done
	fail "the process does not begin early"
}

one_more() {
	ALL=$((ALL + 1))
	orders $ALL $ALL
	tick q
	within 10 all_are_in $ALL
}

# Each side's connection is lost meanwhile, and the process is killed.
begins_early() {
	loading_daemon "$1"
	ALL=6
	awaits_batch 4
	dst "$END_OURS" >/dev/null
	end_wait
	within 10 all_are_in $ALL
	one_more
	awaits_batch 9
	src "$END_OURS" >/dev/null
	within 5 open_at_target 0
	end_wait
	within 10 all_are_in $ALL
	one_more
	awaits_batch 9
	kill_quietly -KILL "$PID"
	within 5 open_at_target 0
	end_wait
	once
	all_are_in $ALL || fail "not all are in after the kill"
}

case_begins_early() {
	begins_early 1
}

case_begins_early_in_two_lanes() {
	begins_early 2
}

# The process has looked at the queue, in vain, and does so again.
looks_again() {
	local now
	now=$(src "select now()")
	within 20 src_gives t "select max(query_start) > timestamptz '$now' + interval '1 s' from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'"
}

# A process that finds no batch leaves nothing open at the target: another one may load.
case_nothing_is_open_while_idle() {
	local i
	loading_daemon 2
	looks_again
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		open_at_target 0 || fail "look $i: a transaction or a lock is left at the target"
		sleep 0.15
	done
	kill -STOP "$PID"
	orders 7 9
	tick q
	once
	all_are_in 9 || fail "the second process has not loaded"
	kill -CONT "$PID"
	looks_again
	for i in {1..60}; do
		open_at_target 0 || fail "look $i: a tick that another process has loaded is begun again and again"
		sleep 0.02
	done
	orders 10 12
	tick q
	within 10 all_are_in 12
	expect_no_match bg.err "ERROR|another process"
}

run_cases
