# What the outside sees: health, status, metrics, JSON lines, systemd's notifications.
# Parts: 3
. "$(dirname "$0")/../cases.sh"

# Runs job.ini in the background until it has loaded orders 1 to 3.
running_job() {
	start job.ini
	orders 1 3
	tick q
	within 20 dst_gives 3 "select count(*) from orders"
}

doing() {
	grep -qx "doing $1" "${2:-job.pid.state}"
}

# field FILE NAME: a member of the one JSON object in FILE, as Python prints it.
field() {
	python3 - "$@" <<-'END'
		import json, sys
		value = json.load(open(sys.argv[1]))
		for name in sys.argv[2].split("."):
		    value = value[int(name) if name.isdigit() else name]
		print(value)
	END
}

# ---- health

case_health() {
	orders_pair
	expect_exit 1 "$TDISPATCH" --health job.ini
	expect_match err "^no process runs: .*job\.pid\.state"
	running_job
	within 10 doing idle
	expect_exit 0 "$TDISPATCH" --health --max-stall 30 job.ini
	expect_match out "^OK: [0-9.]+ s behind|^OK: nothing waits"
	expect_eq "$(cat out err | wc -l)" 1 "lines"
	expect_eq "$(stat -c %a job.pid.state)" 640
	kill -TERM "$PID"
	expect_end 0 5
	expect_eq "$(ls job.pid.state* 2>/dev/null)" "" "the state file after the end"
	expect_exit 1 "$TDISPATCH" --health job.ini
}

# A process that does not go on, and one that was killed.
case_health_without_progress() {
	orders_pair
	running_job
	within 10 doing idle
	kill -STOP "$PID"
	within 20 not_healthy 2
	expect_match err "^NOT MOVING: process $PID is idle, without progress for [0-9.]+ s \(--health fails after 2 s\)"
	expect_exit 0 "$TDISPATCH" --health job.ini
	kill -CONT "$PID"
	within 20 healthy 2
	kill -KILL "$PID"
	within 5 process_gone "$PID"
	expect_exit 1 "$TDISPATCH" --health job.ini
	expect_match err "^no process runs"
}

healthy() {
	"$TDISPATCH" --health --max-stall "$1" job.ini >out 2>err
}

not_healthy() {
	! healthy "$1"
}

# counted NAME: a counter of the metrics file
counted() {
	sed -n "s/^tdispatch_$1{[^}]*} //p" job.metrics
}

# A trigger of the target leaves out rows: they were sent and are not there.
case_rows_that_are_not_stored() {
	orders_pair metrics_file=job.metrics "part_template=$PARTITION_OF create trigger t before insert on _DEST_TABLE for each row execute function odd();"
	dst "create function odd() returns trigger language plpgsql as \$\$ begin return case when new.id % 2 = 1 then new end; end \$\$"
	orders 1 10
	orders 11 13 2026-02-01
	tick q
	once --progress=json
	expect_match err "WARNING .*: the target did not store 6 of 13 rows: a trigger left them out, of orders_2026_01_31 and other partitions"
	expect_match err "events=13 rows=7 partitions_created=2 "
	expect_rows 7
	expect_eq "$(counted rows_total) $(counted unstored_rows_total) $(counted partitions_created_total)" "7 6 2"
	grep '"summary"' out >summary
	expect_eq "$(field summary rows) $(field summary rows_of.orders_2026_01_31) $(field summary partitions_created)" "7 5 2"
	orders 15 15
	tick q
	once
	expect_no_match err "did not store"
}

# Partitions that a first try has made are there, whatever becomes of it.
case_partitions_of_a_second_try() {
	orders_pair metrics_file=job.metrics
	dst "create sequence tries; create function once_more() returns trigger language plpgsql as \$\$ begin
		if nextval('public.tries') = 1 then raise exception 'not yet' using errcode = '40001'; end if; return new; end \$\$;
		create trigger t before insert or update on pgq_ext.completed_tick for each row execute function once_more()"
	orders 1 10
	orders 11 13 2026-02-01
	tick q
	once
	expect_match err "40001.*trying again"
	expect_match err "events=13 rows=13 partitions_created=2 "
	expect_match err "done: 13 events .*13 rows, 2 partitions created, 1 error"
	expect_eq "$(counted partitions_created_total)" 2
	expect_eq "$(grep -c 'created partition' err)" 2
}

# The second reading of a batch that has a bad event.
case_partitions_of_a_second_reading() {
	orders_pair metrics_file=job.metrics on_error=skip
	orders 1 10
	event I:id 'id=x&day=2026-02-02&note=n' >/dev/null
	orders 11 13 2026-02-01
	tick q
	once
	expect_match err "events=14 rows=13 partitions_created=3 "
	expect_match err "done: 14 events .*13 rows, 3 partitions created, 1 event not written"
	expect_eq "$(counted partitions_created_total) $(counted rows_total) $(counted skipped_events_total) $(counted unstored_rows_total)" "3 13 1 0"
}

# A target that cannot be reached is no progress.
case_health_of_a_failing_job() {
	orders_pair exception_sleep=60
	start job.ini --set "dst_db=host=127.0.0.1 port=1 dbname=x"
	within 10 doing failing
	within 20 not_healthy 2
	expect_match err "^FAILING for [0-9.]+ s \(--health fails after 2 s\): cannot connect to dst_db"
	expect_exit 0 "$TDISPATCH" --health job.ini
	expect_match out "^FAILING for [0-9.]+ s \(--health fails after 1200 s\): cannot connect to dst_db"
	kill -TERM "$PID"
	expect_end 0 5
}

# A long pause between two looks at an empty queue is as it should be.
case_health_in_a_long_pause() {
	orders_pair loop_delay=600
	start job.ini
	within 10 doing idle
	sleep 4
	expect_exit 0 "$TDISPATCH" --health --max-stall 3 job.ini
	kill -TERM "$PID"
	expect_end 0 5
}

# A batch that takes long and goes on; then one whose row waits for a lock.
case_health_in_a_batch() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.0005
	src "insert into orders select i, '2026-01-31', repeat('n', 900) from generate_series(1, 40000) i"
	tick q
	start job.ini
	within 20 rows_are_coming
	within 10 doing loading
	for _ in 1 2 3 4; do
		healthy 4 || fail "$(cat err)"
		expect_match out "^(OK|BEHIND): "
		sleep 1
	done
	expect_eq "$(completed_tick)" "" "the batch is over too soon"
	kill -TERM "$PID"
	expect_end 0 5
}

case_health_waiting_for_a_lock() {
	orders_pair
	running_job
	hold "lock table orders_2026_01_31"
	orders 4 4
	tick q
	wait_for_locks dst 1
	within 10 not_healthy 2
	expect_match err "^NOT MOVING: process $PID is loading, without progress"
	kill -TERM "$PID"
	expect_end 0 5
	end_sleepers
}

# Hundredths of a second of CPU that the children of this shell took.
children_cpu() {
	awk '{ print $16 + $17 }' "/proc/$BASHPID/stat"
}

# It asks nobody: both servers may be away. Ten take less than 100 ms of CPU, however busy the machine.
case_health_is_quick() {
	local before
	orders_pair pidfile= state_file=here.state
	running_job
	within 10 doing idle here.state
	sed -i "s/dbname=[^ ]*/host=192.0.2.1 dbname=x/" job.ini
	before=$(children_cpu)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		"$STATIC" --health job.ini >out
	done
	[ $(($(children_cpu) - before)) -lt 10 ] || fail "$(($(children_cpu) - before)) ms each"
	strace -f -o calls "$STATIC" --health job.ini
	expect_match calls 'here\.state'
	expect_no_match calls 'socket\('
	kill -TERM "$PID"
	expect_end 0 5
}

case_health_usage() {
	orders_pair pidfile=
	expect_exit 2 "$TDISPATCH" --health job.ini
	expect_match err state_file
	expect_exit 2 "$TDISPATCH" --health --max-lag soon job.ini
	expect_exit 2 "$TDISPATCH" --health --max-lag 0 job.ini
	expect_exit 2 "$TDISPATCH" --health --max-stall 0 job.ini
	expect_exit 2 "$TDISPATCH" --max-lag 5 job.ini
	expect_exit 2 "$TDISPATCH" --status --max-stall 5 job.ini
	expect_exit 2 "$TDISPATCH" --health --watch job.ini
	expect_exit 2 "$TDISPATCH" --rewind --yes job.ini
	expect_exit 2 "$TDISPATCH" --json job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini --set state_file=x --set logfile=x
	expect_match err 'state_file.*same file'
	echo garbage >job.state
	expect_exit 1 "$TDISPATCH" --health job.ini --set state_file=job.state
	expect_match err "cannot read state file"
}

# The files follow the config.
case_reload_moves_the_files() {
	orders_pair state_file=a.state metrics_file=a.prom loop_delay=60
	start job.ini
	within 10 doing idle a.state
	config state_file=b.state metrics_file=b.prom log_format=json
	expect_exit 0 "$TDISPATCH" -r job.ini
	within 10 doing idle b.state
	within 10 test -s b.prom
	expect_eq "$(ls a.state 2>/dev/null)" ""
	expect_exit 0 "$TDISPATCH" --health job.ini
	within 5 grep -q '^{"time":.*read again' bg.err
	kill -TERM "$PID"
	expect_end 0 5
}

# A disk that is full leaves the old file whole and no new one beside it; rows move.
case_disk_is_full() {
	orders_pair metrics_file=job.prom
	PROGRAM=$STATIC running_job
	within 20 grep -q "rows_total.* 3" job.prom
	strace -qq -o /dev/null -p "$PID" -P "$PWD/job.prom.new" -P "$PWD/job.pid.state.new" -e trace=write -e inject=write:error=ENOSPC &
	STARTED+=($!)
	within 20 grep -q 'cannot write metrics_file job.prom: No space' bg.err
	within 20 grep -q 'cannot write state_file job.pid.state: No space' bg.err
	orders 4 5
	tick q
	within 20 dst_gives 5 "select count(*) from orders"
	check_metrics job.prom
	expect_eq "$(ls ./*.new 2>/dev/null)" ""
	kill -TERM "$PID"
	expect_end 0 5
}

case_state_file_on_a_read_only_disk() {
	orders_pair
	PROGRAM=$STATIC running_job
	strace -qq -o /dev/null -p "$PID" -P job.pid.state.new -e trace=open,openat -e inject=open,openat:error=EROFS &
	STARTED+=($!)
	within 20 grep -q 'cannot write state_file job.pid.state: Read-only file system: mount a tmpfs there; --health will fail$' bg.err
	kill -TERM "$PID"
	expect_end 0 5
}

# What ended with an error leaves it to be read.
case_error_at_the_end_stays() {
	orders_pair
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_exit 1 "$TDISPATCH" --health job.ini
	expect_match err "^no process runs; the last one failed: event"
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out "^last_error +event .*22P02"
}

# Files that cannot be written are one warning each; rows move all the same.
case_files_that_cannot_be_written() {
	orders_pair state_file=nofolder/state metrics_file=job.metrics loop_delay=0.1
	echo precious >other
	ln -s other job.metrics
	running_job
	sleep 7
	kill -TERM "$PID"
	expect_end 0 5
	expect_eq "$(grep -c 'cannot write state_file nofolder/state' bg.err)" 1
	expect_eq "$(grep -c 'cannot write metrics_file job.metrics: it is a symbolic link' bg.err)" 1
	expect_eq "$(cat other)" precious
}

# A pid that another process has by now, and a process that is dead and not yet buried.
case_health_of_another_process() {
	orders_pair
	running_job
	within 10 doing idle
	kill -KILL "$PID"
	within 5 process_gone "$PID"
	sed -i "s/^pid .*/pid $$/" job.pid.state
	expect_exit 1 "$TDISPATCH" --health job.ini
	expect_match err "^no process runs"
	sh -c "\"$TDISPATCH\" job.ini 2>/dev/null & exec sleep 60" &
	STARTED+=($!)
	within 10 healthy 30
	kill -KILL "$(sed -n 's/^pid //p' job.pid.state)"
	within 5 not_healthy 30
	expect_match err "^no process runs"
}

# The config on disk was broken after the start: the process is well all the same, and can be stopped.
case_health_with_a_broken_config() {
	orders_pair
	running_job
	within 10 doing idle
	echo 'lanes = 99' >>job.ini
	kill -HUP "$PID"
	within 10 grep -q 'not reloaded, the old config stays' bg.err
	expect_exit 0 "$TDISPATCH" --health job.ini
	expect_exit 2 "$TDISPATCH" -r job.ini
	expect_exit 0 "$TDISPATCH" -s job.ini
	expect_end 0 5
}

# --once beside the daemon leaves the daemon's files alone.
case_files_of_another_process() {
	local i
	orders_pair pidfile= state_file=s metrics_file=job.prom
	running_job
	within 10 doing idle s
	for i in 1 2 3; do
		once
		expect_match err "process $PID runs with this config: state_file and metrics_file are left to it"
		healthy 30 || fail "$(cat err)"
		expect_eq "$(sed -n 's/^pid //p' s)" "$PID"
	done
	within 30 grep -Eq '^tdispatch_rows_total[{].* 3$' job.prom
	kill -TERM "$PID"
	expect_end 0 5
	expect_eq "$(ls s 2>/dev/null)" ""
}

# ---- status

# said NAME: what --status says of it.
said() {
	sed -n "s/^$1  *//p" out
}

case_status() {
	orders_pair
	running_job
	orders 4 5 2026-02-01
	tick q
	within 20 dst_gives 5 "select count(*) from orders"
	within 10 doing idle
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_eq "$(said queue)" q
	expect_eq "$(said consumer)" job
	expect_eq "$(said version)" "$("$TDISPATCH" --version | cut -d ' ' -f 2)"
	expect_eq "$(said target_tick)" "$(completed_tick)"
	expect_eq "$(said source_tick)" "$(src "select max(tick_id) from pgq.tick")"
	expect_eq "$(said target_tick)" "$(said source_tick)"
	expect_eq "$(said pending_events)" 0
	expect_eq "$(said pid)" "$PID"
	expect_eq "$(said doing)" idle
	expect_eq "$(said last_error)" -
	expect_eq "$(said dead_letters)" 0
	expect_eq "$(said partitions)" 2
	expect_eq "$(head -n 1 out | cut -c 1-28)" "verdict                  OK:"
	expect_eq "$(said unticked_events)" 0
	expect_eq "$(said failing_seconds)" -
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	expect_eq "$(field json target_tick)" "$(completed_tick)"
	expect_eq "$(field json pid)" "$PID"
	expect_eq "$(field json last_error)" None
	expect_eq "$(field json partitions)" 2
	expect_eq "$(field json dead_letters_error)" None
	field json verdict | grep -q '^OK: ' || fail "$(cat json)"
	kill -TERM "$PID"
	expect_end 0 5
}

# Without a process: what waits, and since when.
case_status_of_what_waits() {
	orders_pair pidfile=
	orders 1 3
	tick q
	once
	src "update pgq.tick set tick_time = tick_time - interval '100 s'"
	orders 4 6
	tick q
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	expect_eq "$(field json target_tick)" "$(completed_tick)"
	[ "$(field json source_tick)" -gt "$(completed_tick)" ] || fail "no newer tick"
	[ "$(field json pending_events)" -ge 3 ] || fail "pending: $(field json pending_events)"
	expect_eq "$(python3 -c "print(100 <= $(field json lag_seconds) < 160)")" True "lag $(field json lag_seconds)"
	expect_eq "$(field json pid)" None
	orders 7 9
	age_ticks 20
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	[ "$(field json unticked_events)" -ge 3 ] || fail "without a tick: $(field json unticked_events)"
	field json verdict | grep -q "^BEHIND: about [0-9,]* events by PgQ's estimate, 1[0-9][0-9] s$" || fail "$(cat json)"
	expect_exit 0 "$TDISPATCH" --status --set state_file=none job.ini
	expect_match out '^verdict +no process runs; [0-9,]+ events wait'
}

# The ticker dies: the log, --status, --health and the metrics say so, and that it ticks again.
case_the_ticker_stops() {
	orders_pair metrics_file=job.prom
	running_job
	within 10 doing idle
	orders 4 8
	age_ticks 300
	within 60 grep -q 'WARNING .*queue q: no tick for 3[0-9][0-9] s: does a ticker run .ticker = 1, pgqd or pg_cron.. It would bring 5 events' bg.err
	within 10 verdict 'NOT MOVING: no tick for 3[0-9]* s: does a ticker run .ticker = 1, pgqd or pg_cron.. It would bring 5 events'
	within 10 health_says 'NOT MOVING: no tick for 3'
	expect_exit 0 "$TDISPATCH" --health --max-stall 30 job.ini
	expect_match out '^NOT MOVING: no tick for 3[0-9]+ s'
	expect_exit 1 "$TDISPATCH" --health --max-lag 300 job.ini
	expect_match err '; lag 3[0-9]+ s \(limit 300 s\)$'
	within 20 metric_is newest_tick_age_seconds 3
	within 20 metric_is unticked_events 5
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^warning +queue q: no tick for 3[0-9]+ s: does '
	tick q
	within 60 grep -q 'INFO .*queue q ticks again, after 3[0-9][0-9] s' bg.err
	expect_eq "$(grep -c 'no tick for' bg.err)" 1
	within 10 verdict 'OK: '
	src "update pgq.queue set queue_ticker_paused = true"
	age_ticks 300
	within 60 grep -q 'queue q: no tick for 3[0-9][0-9] s: the queue.s ticker is paused' bg.err
	kill -TERM "$PID"
	expect_end 0 5
}

# A new queue without a ticker: said soon, and once, but no verdict yet.
case_events_wait_for_the_first_tick() {
	orders_pair
	orders 1 2
	src "update pgq.tick set tick_time = tick_time - interval '20 s'"
	start job.ini
	within 20 grep -q 'INFO .*queue q: events wait for a tick, the last was made 2[0-9] s ago: does a ticker run' bg.err
	expect_no_match bg.err WARNING
	kill -TERM "$PID"
	expect_end 0 5
}

# All ticks become that many seconds older, also in the position's eyes.
age_ticks() {
	src "update pgq.tick set tick_time = tick_time - interval '$1 s'"
	dst "update pgq_ext.completed_tick set last_tick_id = last_tick_id - $1 * 1000000
		where subconsumer_id like '%identity time'"
}

# Does --status begin with it?
verdict() {
	"$TDISPATCH" --status job.ini >out 2>err
	grep -q "^verdict  *$1" out
}

# metric_is NAME PATTERN: its value in job.prom, the first if there are several, begins so.
metric_is() {
	[[ $(metric "tdispatch_$1{") == $2* ]]
}

# A process that catches up is behind, and well.
case_behind() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.005
	orders 1 3000
	tick q
	age_ticks 100
	start job.ini
	within 20 rows_are_coming 500
	within 10 health_says "BEHIND: about [0-9,]* events by PgQ's estimate, 1[0-9][0-9] s, loading [0-9,]*/s: about [0-9]* s$"
	verdict "BEHIND: about [0-9,]* events by PgQ's estimate, 1[0-9][0-9] s, loading" || fail "$(cat out)"
	expect_exit 1 "$TDISPATCH" --health --max-lag 60 job.ini
	expect_match err '^BEHIND: .*; lag 1[0-9][0-9] s \(limit 60 s\)'
	kill -TERM "$PID"
	expect_end 0 5
}

# A batch that waits for a lock is at hand, and being stopped finishes it.
case_batch_at_hand() {
	orders_pair
	running_job
	within 10 doing idle
	hold "lock table orders_2026_01_31"
	orders 10 12
	tick q
	within 10 health_says 'OK: loading ticks [0-9]*-[0-9]* for [0-9.]* s$'
	within 10 health_says 'OK: loading ticks [0-9]*-[0-9]* for [2-9]\.[0-9] s$'
	expect_exit 1 "$TDISPATCH" --health --max-lag 1 job.ini
	expect_match err '^TOO FAR BEHIND: lag [0-9.]+ s \(limit 1 s\)$'
	verdict 'OK: loading ticks' || fail "$(cat out)"
	kill -INT "$PID"
	within 10 health_says 'OK: stopping: finishes its batch, ticks [0-9]*-[0-9]* for'
	end_sleepers
	expect_end 0 10
}

# Nobody knows of a process, nor, at first, of a position.
case_status_without_state_file() {
	orders_pair pidfile=
	tick q
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	expect_eq "$(field json lag_seconds)" None
	orders 1 3
	tick q
	once
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_eq "$(said verdict)" "nothing waits; whether a process runs is not known: set pidfile or state_file"
}

health_says() {
	"$TDISPATCH" --health job.ini >out 2>err
	cat out err | grep -q "^$1"
}

# An error that is over: since when, and how long it lasted.
case_an_error_is_over() {
	orders_pair
	sql postgres <<<"alter database \"$DST\" allow_connections false"
	start job.ini
	within 10 health_says 'FAILING for [0-9.]* s (--health fails after 1200 s): cannot connect to dst_db'
	sql postgres <<<"alter database \"$DST\" allow_connections true"
	within 20 grep -Eq 'INFO .*working again after [0-9]+ s and [0-9]+ attempts?$' bg.err
	within 10 doing idle
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	expect_eq "$(field json failing_seconds)" None
	field json last_error_over_at | grep -q '^20.*Z$' || fail "$(cat json)"
	expect_eq "$(python3 -c "print(0 < $(field json last_error_seconds) < 60)")" True "lasted"
	kill -TERM "$PID"
	expect_end 0 5
}

# It is drawn each second, and ended by Ctrl-C.
case_status_watch() {
	orders_pair pidfile=
	start --status --watch --json job.ini
	within 10 lines_at_least 3 bg.out
	kill -INT "$PID"
	expect_end 0 5
	head -n 1 bg.out >json
	field json verdict >/dev/null
	start --status --watch job.ini
	within 10 grep -q '^verdict' bg.out
	kill -INT "$PID"
	expect_end 0 5
}

lines_at_least() {
	[ "$(wc -l <"$2")" -ge "$1" ]
}

# Whose letters cannot be counted is told why, and all else is told.
case_status_without_right_to_letters() {
	orders_pair on_error=dead_letter
	dst "drop role if exists looker; create role looker login; grant usage on schema pgq_ext, tdispatch to looker;
		grant select on all tables in schema pgq_ext to looker; grant execute on all functions in schema pgq_ext to looker"
	expect_exit 0 "$TDISPATCH" --status job.ini --set "dst_db=dbname=$DST user=looker"
	expect_eq "$(said dead_letters)" -
	expect_match out '^dead_letters_error +.*permission denied for table dead_letter'
	expect_match out '^partitions +0'
	expect_exit 0 "$TDISPATCH" --status job.ini --set "dst_db=dbname=$DST user=looker" --set on_error=stop
	expect_no_match out dead_letters_error
	dst "drop owned by looker; drop role looker"
}

# Beside a batch that holds its locks.
case_status_beside_a_batch() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.002
	orders 1 15000
	tick q
	start job.ini
	within 20 rows_are_coming
	within 10 doing loading
	LIMIT=15 expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	expect_eq "$(field json doing)" loading
	expect_eq "$(field json target_tick)" None
	kill -TERM "$PID"
	expect_end 0 5
}

case_status_dead_letters_and_inheritance() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst 'create schema "Ab"; create table "Ab"."or""ders" (id int, day date, note text)'
	config 'dest_table=Ab.or"ders' on_error=dead_letter 'part_template=create table _DEST_TABLE (like _PARENT)'
	install
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	orders 1 1
	tick q
	once
	dst 'create table "Ab"."or""ders_2026_02_01x" (); create table "or""ders_2026_02_01" ()'
	expect_exit 0 "$TDISPATCH" --status --json job.ini
	cp out json
	expect_eq "$(field json dead_letters)" 1
	expect_eq "$(field json partitions)" 1
}

case_status_without_servers() {
	orders_pair
	expect_exit 1 "$TDISPATCH" --status --json job.ini --set "dst_db=host=127.0.0.1 port=1 dbname=x"
	expect_match err 'dst_db: '
	cp out json
	expect_eq "$(field json target_tick)" None
	expect_eq "$(field json partitions)" None
	expect_eq "$(field json source_tick)" "$(src "select max(tick_id) from pgq.tick")"
	expect_exit 1 "$TDISPATCH" --status job.ini --set queue_name=none
	expect_match err 'no queue none'
}

# ---- metrics

# Prometheus' rules for the text format, as promtool check metrics has them. Prints what is wrong.
check_metrics() {
	python3 "$TOP/test/metrics.py" "$1"
}

# metric NAME{LABELS}: its value
metric() {
	awk -v name="$1" 'index($0, name) == 1 { print $NF }' job.prom
}

lag_is_over() {
	awk -v name="tdispatch_lag_seconds$LABELS}" -v least="$1" 'index($0, name) == 1 && $NF > least { n = 1 } END { exit !n }' job.prom
}

LABELS='{queue="q",consumer="job"'

case_metrics() {
	orders_pair metrics_file=job.prom
	orders 1 3
	orders 4 5 2026-02-01
	tick q
	once
	check_metrics job.prom
	expect_eq "$(stat -c %a job.prom)" 644
	expect_eq "$(metric "tdispatch_events_total$LABELS}")" 5
	expect_eq "$(metric "tdispatch_rows_total$LABELS}")" 5
	expect_eq "$(metric "tdispatch_bytes_total$LABELS}")" 120 # as binary values
	expect_eq "$(metric "tdispatch_partitions_created_total$LABELS}")" 2
	expect_eq "$(metric "tdispatch_batch_seconds_count$LABELS}")" "$(metric "tdispatch_batches_total$LABELS}")"
	expect_eq "$(metric "tdispatch_batch_seconds_bucket$LABELS,le=\"+Inf\"}")" "$(metric "tdispatch_batches_total$LABELS}")"
	expect_eq "$(metric "tdispatch_build_info$LABELS,version=")" 1
	[ "$(metric "tdispatch_last_success_timestamp_seconds$LABELS}")" -ge $(($(date +%s) - 120)) ] || fail "last success"
	expect_match job.prom '^tdispatch_lag_seconds'
	expect_eq "$(ls job.prom*)" job.prom
}

case_metrics_of_errors() {
	orders_pair metrics_file=job.prom on_error=skip 'consumer_name=a"b\c'
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	event I:id 'id=1&day=soon&note=a' >/dev/null
	orders 2 2
	tick q
	once
	check_metrics job.prom
	LABELS='{queue="q",consumer="a\\\"b\\\\c"'
	expect_eq "$(metric "tdispatch_skipped_events_total$LABELS}")" 2
	expect_eq "$(metric "tdispatch_errors_total$LABELS,class=\"22\"}")" 1
	expect_eq "$(metric "tdispatch_errors_total$LABELS,class=\"none\"}")" 1
	expect_eq "$(metric "tdispatch_dead_letters_total$LABELS}")" 0
	dst "drop table orders cascade"
	orders 3 3
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	check_metrics job.prom
	expect_eq "$(metric "tdispatch_errors_total$LABELS,class=\"42\"}")" 1
}

# The checker finds what promtool would.
# A source whose clock was set back has ticks of the future.
case_metrics_of_a_tick_to_come() {
	orders_pair metrics_file=job.prom batch_min_events=0
	orders 1 3
	tick q
	src "update pgq.tick set tick_time = tick_time + interval '100.7 s'"
	once
	check_metrics job.prom
	metric_is lag_seconds 0.0 || fail "lag $(metric 'tdispatch_lag_seconds{')"
}

case_metrics_of_premade_partitions() {
	orders_pair metrics_file=job.prom part_premake=3 "part_template=$ATTACH"
	once --progress=json
	expect_eq "$(metric 'tdispatch_partitions_created_total{')" 3
	expect_match out '"type":"summary".*"partitions_created":3,'
}

case_metrics_checker() {
	local bad
	for bad in 'a_total 1' $'# TYPE a_total counter\na_total 1' $'# HELP a A.\n# TYPE a counter\na 1' \
		$'# HELP a_total A.\n# TYPE a_total gauge\na_total 1' $'# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1' \
		$'# HELP a A.\n# TYPE a gauge\na{x="1"} 1\na{x="1"} 2' $'# HELP a A.\n# TYPE a gauge\na{x="\\q"} 1' \
		$'# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1'; do
		printf '%s\n' "$bad" >bad.prom
		! check_metrics bad.prom >/dev/null || fail "the checker takes: $bad"
	done
}

# No tick, no batch: the lag tells. The file may be 5 seconds old.
case_metrics_without_a_ticker() {
	orders_pair metrics_file=job.prom
	start job.ini
	within 60 lag_is_over 14
	orders 1 1
	tick q
	within 20 grep -q "^tdispatch_rows_total$LABELS} 1" job.prom
	! lag_is_over 14 || fail "lag $(metric "tdispatch_lag_seconds$LABELS}")"
	within 60 lag_is_over 5
	kill -TERM "$PID"
	expect_end 0 5
}

case_metrics_of_a_running_job() {
	orders_pair metrics_file=job.prom
	running_job
	within 20 grep -q "^tdispatch_rows_total$LABELS} 3" job.prom
	check_metrics job.prom
	expect_eq "$(metric 'tdispatch_up{')" 1
	[ $(($(date +%s) - $(metric 'tdispatch_written_timestamp_seconds{'))) -lt 60 ] || fail "the time in it"
	expect_eq "$(metric "tdispatch_retries_total$LABELS,kind=\"connection\"}")" 0
	kill -TERM "$PID"
	expect_end 0 5
	[ -s job.prom ] || fail "it took its metrics with it"
	expect_eq "$(metric 'tdispatch_up{')" 0
}

# An error is a 0 and a retry by its kind.
case_metrics_of_a_failing_job() {
	orders_pair metrics_file=job.prom
	start job.ini --set "dst_db=host=127.0.0.1 port=1 dbname=x"
	within 20 metric_is retries_total '[1-9]'
	within 20 metric_is up 0
	check_metrics job.prom
	kill -TERM "$PID"
	expect_end 0 5
}

# Letters that wait are counted where they can be.
case_metrics_of_letters() {
	orders_pair metrics_file=job.prom on_error=dead_letter
	start job.ini
	within 20 metric_is dead_letters_waiting 0
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	event I:id 'id=1&day=soon&note=a' >/dev/null
	tick q
	within 20 metric_is dead_letters_waiting 2
	kill -TERM "$PID"
	expect_end 0 5
	check_metrics job.prom
	examples_are_true
}

# What alert rules and dashboard ask for is in job.prom; promtool takes rules and metrics.
examples_are_true() {
	local name promtool=${PROMTOOL:-promtool}
	sed -n 's/^\(tdispatch_[a-z_]*\).*/\1/p' job.prom | sort -u >names
	grep -oh 'tdispatch_[a-z_]*' "$TOP"/dist/examples/alerts.yml "$TOP"/dist/examples/dashboard.json | sort -u >asked
	[ -s asked ] || fail "no metric is asked for"
	expect_eq "$(comm -23 asked names)" "" "metrics that are not there"
	python3 -m json.tool "$TOP/dist/examples/dashboard.json" >/dev/null
	command -v "$promtool" >/dev/null || return 0
	"$promtool" check rules "$TOP/dist/examples/alerts.yml" >tool 2>&1 || fail "$(cat tool)"
	"$promtool" check metrics <job.prom >tool 2>&1 || fail "$(cat tool)"
	told "promtool agrees"
}

# ---- the log as JSON

# Each line of FILE is an object with these members, in this order; prints the messages.
messages() {
	python3 - "$1" <<-'END'
		import json, re, sys
		for line in open(sys.argv[1], "rb"):
		    entry = json.loads(line.decode("utf-8", "strict"))
		    assert list(entry) == ["time", "level", "job", "pid", "msg"], entry
		    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]), entry
		    assert entry["level"] in ("error", "warning", "info", "debug", "trace") and type(entry["pid"]) is int
		    print(ascii(entry["level"] + " " + entry["job"] + " " + entry["msg"])[1:-1])
	END
}

case_log_json() {
	orders_pair log_format=json 'job_name=a "job"' consumer_name=job logfile=job.log on_error=skip
	event I:id $'id=%22\\%01&day=2026-01-31&note=a' >/dev/null
	event I:id 'id=%ff%c3&day=2026-01-31&note=a' >/dev/null
	tick q
	once -v
	messages job.log >lines
	messages err >/dev/null
	expect_match lines '^info a "job" tdispatch [0-9.]+ starts'
	expect_match lines '^warning a "job" event [0-9]+ of batch'
	expect_exit 2 "$TDISPATCH" --once job.ini --set log_format=xml
	expect_match err "log_format"
	expect_exit 0 "$TDISPATCH" --once job.ini --set log_format=text
	expect_match err '^[0-9-]+ [0-9:,]+ [0-9]+ INFO '
}

# ---- systemd

# Takes datagrams at the socket of that name, a line each with | for a newline, until it is killed.
notify_socket() {
	python3 - "$1" >notified <<-'END' &
		import socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind("\0" + sys.argv[1][1:] if sys.argv[1][0] == "@" else sys.argv[1])
		print("bound", flush=True)
		while True:
		    print(s.recv(4096).decode().replace("\n", "|"), flush=True)
	END
	STARTED+=($!)
	within 10 grep -q bound notified
}

# notify_run NAME: the job under a socket of that name says what systemd wants to hear.
notify_run() {
	notify_socket "$1"
	NOTIFY_SOCKET=$1 WATCHDOG_USEC=1000000 start job.ini
	within 10 grep -qx 'READY=1' notified
	within 10 grep -q '^STATUS=idle, 0 events' notified
	within 20 watchdogs_at_least 4
	kill -HUP "$PID"
	within 10 grep -Eqx 'RELOADING=1\|MONOTONIC_USEC=[0-9]+' notified
	within 10 ready_again
	kill -TERM "$PID"
	expect_end 0 5
	within 5 grep -qx 'STOPPING=1' notified
}

ready_again() {
	[ "$(grep -cx 'READY=1' notified)" = 2 ]
}

watchdogs_at_least() {
	[ "$(grep -cx 'WATCHDOG=1' notified)" -ge "$1" ]
}

case_notify() {
	orders_pair loop_delay=60
	notify_run "$WORK/notify"
}

case_notify_abstract() {
	orders_pair loop_delay=60
	notify_run "@tdispatch-test-$$"
}

# It is ready when it waits for a server too: a start order must not hang on that. And the
# watchdog of another process, a parent's, is none of ours.
case_notify_without_a_server() {
	orders_pair
	notify_socket "$WORK/notify"
	NOTIFY_SOCKET=$WORK/notify WATCHDOG_USEC=200000 WATCHDOG_PID=1 start job.ini --set "dst_db=host=127.0.0.1 port=1 dbname=x"
	within 10 grep -qx 'READY=1' notified
	within 10 grep -q '^STATUS=failing: cannot connect to dst_db' notified
	kill -TERM "$PID"
	expect_end 0 5
	watchdogs_at_least 1 && fail "it answers for another process"
	expect_eq "$(grep -c 'READY=1' notified)" 1
}

no_more_signs() {
	local before
	before=$(grep -cx 'WATCHDOG=1' notified)
	sleep 2
	! watchdogs_at_least $((before + 1))
}

# No progress, no sign of life.
case_notify_watchdog_stops() {
	local before
	orders_pair
	notify_socket "$WORK/notify"
	NOTIFY_SOCKET=$WORK/notify WATCHDOG_USEC=400000 running_job
	hold "lock table orders_2026_01_31"
	orders 4 4
	tick q
	wait_for_locks dst 1
	within 20 no_more_signs
	before=$(grep -cx 'WATCHDOG=1' notified)
	[ "$before" -gt 0 ] || fail "no sign of life before"
	end_sleepers
	within 10 watchdogs_at_least $((before + 2))
	kill -TERM "$PID"
	expect_end 0 5
}

# Indexes that are built after the rows are waited for as these are: files are written meanwhile, a
# signal is heard, each partition's is progress, and none is taken for a server that hangs.
case_signs_of_life_while_indexes_are_built() {
	local before written
	orders_pair server_timeout=5 lanes=2 "part_template=create table _DEST_TABLE (like _PARENT);
		create index on _DEST_TABLE (slowly(id)); alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
	dst "create function slowly(int) returns int immutable language plpgsql as \$\$ begin perform pg_sleep(0.2); return \$1; end \$\$"
	src "insert into orders select i, date '2026-01-01' + i % 12, 'n' from generate_series(1, 108) i"
	tick q
	notify_socket "$WORK/notify"
	NOTIFY_SOCKET=$WORK/notify WATCHDOG_USEC=400000 start job.ini
	within 10 indexes_are_built
	before=$(grep -cx 'WATCHDOG=1' notified)
	written=$(stat -c %y job.pid.state)
	within 4 eval '[ "$(stat -c %y job.pid.state)" != "$written" ]'
	kill -INT "$PID"
	within 4 grep -q 'finishing this batch' bg.err
	within 8 watchdogs_at_least $((before + 2))
	indexes_are_built || fail "they were there too soon to tell"
	expect_end 0 60
	expect_no_match bg.err 'server_timeout'
	expect_rows 108
}

indexes_are_built() {
	dst_gives t "select count(*) > 0 from pg_stat_activity where datname = current_database() and query ~ 'create index' and wait_event = 'PgSleep'"
}

# What systemd gets is whole characters, wherever an error was cut.
case_notify_letters() {
	local shift
	orders_pair
	notify_socket "$WORK/notify"
	for shift in '' x; do
		NOTIFY_SOCKET=$WORK/notify start job.ini --set "queue_name=$shift$(printf 'é%.0s' {1..150})" --set on_error=stop
		wait "$PID" || :
		NOTIFY_SOCKET=$WORK/notify start job.ini --set "dst_db=dbname=$shift$(printf 'é%.0s' {1..120})"
		within 10 grep -q "STATUS=failing: cannot connect to dst_db.*${shift}éé" notified
		kill -TERM "$PID"
		expect_end 0 5
	done
}

# Nobody listens, or the name is none: it runs.
case_notify_to_nobody() {
	local name
	orders_pair
	orders 1 1
	tick q
	for name in "$WORK/none" relative @ "/$(printf '%0200d' 0)" vsock:2:1; do
		NOTIFY_SOCKET=$name expect_exit 0 "$TDISPATCH" --once job.ini
	done
	expect_rows 1
}

# A number that is only for show may be denied: the rows are not held up by it.
case_backlog_denied() {
	orders_pair
	sql postgres <<<"create role \"reader_$CASE\" login"
	src "revoke execute on function pg_catalog.pg_sequence_last_value(regclass) from public;
		grant usage on schema pgq to \"reader_$CASE\"; grant pgq_reader to \"reader_$CASE\""
	orders 1 3
	tick q
	once --set "src_db=dbname=$SRC user=reader_$CASE" --set metrics_file=job.prom
	expect_rows 3
	expect_no_match job.prom "^tdispatch_pending_events"
}

# After a reload nothing is said of the letters and the queue of the old config.
case_reload_forgets_the_queue() {
	orders_pair on_error=dead_letter metrics_file=job.prom
	src "select pgq.create_queue('r'), pgq.register_consumer('r', 'job')" >/dev/null
	event I:id "id=a&day=2026-01-31&note=a" >/dev/null
	tick q
	start job.ini
	within 30 grep -q '^tdispatch_dead_letters_waiting{.*} 1$' job.prom
	src "update pgq.queue set queue_external_ticker = true where queue_name = 'r';
		update pgq.tick set tick_time = tick_time - interval '1 hour' where tick_queue = (select queue_id from pgq.queue where queue_name = 'r')"
	config on_error=stop metrics_file=job.prom queue_name=r
	dst "select pgq_ext.set_last_tick('job', (select null::bigint))" >/dev/null
	expect_exit 0 "$TDISPATCH" -r job.ini
	within 5 grep -q 'WARNING.*queue r: no tick for' bg.err
	within 30 eval '! grep -q dead_letters_waiting job.prom'
}

# A process loads and finishes a batch between the questions to both sides.
case_status_while_ticks_move() {
	local name batch
	one_in_one_to_come
	batch=$(src "select pgq.next_batch('q', 'job')")
	dst "create or replace function pgq_ext.get_last_tick(a_consumer text) returns bigint language plpgsql as \$\$
		declare t bigint := pgq_ext.get_last_tick(a_consumer, ''); begin perform pg_advisory_xact_lock(16); return t; end \$\$"
	session "$DST" "select pg_advisory_lock(16)"
	meanwhile --status
	wait_for_locks dst 1
	dst "select pgq_ext.set_last_tick('job', $(src "select tick_id from pgq.get_batch_info($batch)"))" >/dev/null
	src "select pgq.finish_batch($batch)" >/dev/null
	orders 3 3
	tick q
	in_session "select pg_advisory_unlock(16)"
	expect_end_of 0
	for name in consumer_tick target_tick source_tick; do
		declare "$name=$(sed -n "s/^$name  *//p" out)"
	done
	[ "$consumer_tick" -le "$target_tick" ] && [ "$target_tick" -lt "$source_tick" ] ||
		fail "consumer_tick $consumer_tick, target_tick $target_tick, source_tick $source_tick"
	expect_match out '^pending_events +[1-9]'
}

# Its sequence goes before its row can be seen to be gone.
case_queue_is_dropped_while_it_is_looked_at() {
	orders_pair pidfile=
	src "update pgq.queue set queue_event_seq = 'pgq.dropped', queue_tick_seq = 'pgq.dropped'"
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out '^unticked_events +-'
	expect_exit 0 "$TDISPATCH" --check --set ticker=1 job.ini
}

run_cases
