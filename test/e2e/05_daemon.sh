# The running process: pid file, signals, log file, reload.
. "$(dirname "$0")/../cases.sh"

pid_in_file() {
	[ -s "${1:-job.pid}" ] && [ "$(tr -d ' \n' <"${1:-job.pid}")" = "$PID" ]
}

# Starts the program in the foreground and waits until it has its pid file.
start_job() {
	start job.ini "$@"
	within 10 pid_in_file
}

# A slow target, COUNT orders in one batch, the program in the middle of it.
start_slow_batch() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.002
	orders 1 "$1"
	tick q
	start_job
	within 20 rows_are_coming
}

case_follows_the_queue() {
	orders_pair
	start_job
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	orders 4 5 2026-02-01
	tick q
	within 10 dst_gives 5 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	expect_rows 5
}

# Looks at an empty queue read the sequence of its ticks: what if it is made anew, or not for us?
case_sequence_of_ticks() {
	orders_pair loop_delay=0.02
	start_job
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	within 5 src_gives 1 "select count(*) from pg_stat_activity where query like '%pg_sequence_last_value%' and datname = current_database() and pid <> pg_backend_pid()"
	src "set client_min_messages = warning; do \$\$ declare s text; n bigint; begin
		select queue_tick_seq, pg_sequence_last_value(queue_tick_seq::regclass) into s, n from pgq.queue where queue_name = 'q';
		execute 'drop sequence ' || s; execute 'create sequence ' || s; perform setval(s, n); end \$\$"
	sleep 0.2
	orders 4 5
	tick q
	within 10 dst_gives 5 "select count(*) from orders"
	orders 6 6
	tick q
	within 10 dst_gives 6 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	! grep -i 'error\|warning' bg.err || fail "it was told"
}

case_no_right_to_the_sequence_of_ticks() {
	orders_pair loop_delay=0.02
	sql postgres <<<"create role reader_of_ticks login"
	src "grant pgq_reader to reader_of_ticks; do \$\$ begin
		execute 'revoke all on ' || (select queue_tick_seq from pgq.queue where queue_name = 'q') || ' from public'; end \$\$"
	start_job --set "src_db=dbname=$SRC user=reader_of_ticks"
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	within 5 src_gives t "select bool_or(query like 'SELECT 1 FROM pgq.tick%') from pg_stat_activity where usename = 'reader_of_ticks'"
	orders 4 5
	tick q
	within 10 dst_gives 5 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
	! grep -i 'error\|warning' bg.err || fail "it was told"
}

# table_dispatcher.py locks nothing: its number in the pid file says whether it runs.
case_old_program_runs() {
	orders_pair
	printf 'import time\ntime.sleep(60)\n' >table_dispatcher.py
	PROGRAM=/usr/bin/python3 start -u table_dispatcher.py job.ini
	echo "$PID" >job.pid
	within 5 grep -q table_dispatcher "/proc/$PID/cmdline"
	for switch in --once -d -q; do
		expect_exit 1 "$TDISPATCH" $switch job.ini
		expect_match err "job.pid names process $PID, a table_dispatcher that runs"
	done
	expect_eq "$(cat job.pid)" "$PID"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "wrong.*job.pid names process $PID"
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_match out "^verdict +no process runs; process $PID of the pidfile is a table_dispatcher$"
	expect_exit 1 "$TDISPATCH" -s job.ini
	expect_match err "pidfile job.pid names process $PID, a table_dispatcher that runs"
	kill "$PID"
	within 5 process_gone "$PID"
	once
	expect_eq "$(ls job.pid 2>/dev/null)" ""
}

# A number that became another program's, with that word among its arguments.
case_old_number_of_another() {
	orders_pair
	PROGRAM=/usr/bin/python3 start -c 'import time; time.sleep(60)' table_dispatcher.ini
	echo "$PID" >job.pid
	once
}

# Of the program, in this case's databases.
sessions() {
	dst "select string_agg(pid::text, ' ' order by pid) from pg_stat_activity
		where datname in ('$SRC', '$DST') and application_name ~ 'tdispatch'"
}

case_connection_lifetime_zero() {
	local before
	orders_pair connection_lifetime=0 loop_delay=0.05
	start_job
	orders 1 1
	tick q
	within 10 dst_gives 1 "select count(*) from orders"
	before=$(sessions)
	orders 2 2
	tick q
	within 10 dst_gives 2 "select count(*) from orders"
	expect_eq "$(sessions)" "$before" "sessions"
}

case_sigint_when_idle() {
	orders_pair
	start_job
	kill -INT "$PID"
	expect_end 0 5
}

case_stop_finishes_the_batch() {
	start_slow_batch 2000
	orders 2001 2010
	tick q
	expect_exit 0 "$TDISPATCH" -s job.ini
	kill -0 "$PID" || fail "it did not finish the batch"
	expect_end 0 40
	expect_rows 2000
	once
	expect_rows 2010
}

case_kill_leaves_the_batch() {
	start_slow_batch 10000
	expect_exit 0 "$TDISPATCH" --kill job.ini
	expect_end 0 10
	expect_rows 0
	expect_eq "$(completed_tick)" ""
	dst "create or replace function slow() returns trigger language plpgsql as \$\$ begin return new; end \$\$"
	once
	expect_rows 10000
}

case_sigterm_in_a_batch() {
	start_slow_batch 10000
	kill -TERM "$PID"
	expect_end 0 10
	expect_rows 0
}

case_sigterm_while_connecting() {
	orders_pair
	start job.ini --set "dst_db=host=127.0.0.1 port=1 dbname=x" --set exception_sleep=30
	within 10 grep -q 'cannot connect to dst_db.*trying again' bg.err
	kill -TERM "$PID"
	expect_end 0 10
}

case_sigterm_waiting_for_a_lock() {
	orders_pair
	dst "create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01')"
	orders 1 3
	tick q
	hold "lock table orders_2026_01_31"
	start_job
	wait_for_locks dst 1
	kill -TERM "$PID"
	expect_end 0 10
	end_sleepers
	expect_rows 0
}

# As a container's first process: the kernel ignores signals there that nobody handles.
case_process_1() {
	unshare --pid --fork true 2>/dev/null || skip "no rights for a pid namespace"
	orders_pair
	PROGRAM=unshare
	start --pid --fork "$TDISPATCH" job.ini
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	kill -TERM "$(ps -o pid= --ppid "$PID")"
	expect_end 0 5
}

case_nobody_to_signal() {
	local switch
	orders_pair
	for switch in -r -s -k; do
		expect_exit 1 "$TDISPATCH" "$switch" job.ini
		[ -s err ] || fail "$switch says nothing"
	done
	expect_exit 2 "$TDISPATCH" -s job.ini --set pidfile=
}

# Pid files that name nobody, or somebody else: never a signal to a stranger.
# A copy of a config with the pidfile of the first: no switch of it reaches the first's process.
case_pid_file_of_another_config() {
	local switch
	orders_pair
	src "select pgq.create_queue('q2')" >/dev/null
	sed 's/^queue_name = q$/queue_name = q2/; s/^job_name = .*/job_name = second/' job.ini >second.ini
	background job.pid -d job.ini
	within 10 test -s job.pid.state
	for switch in -s -r -k; do
		expect_exit 1 "$TDISPATCH" $switch second.ini
		expect_match err "process $PID, which holds pidfile job.pid, .*job.ini, for consumer job of queue q: .* pidfile of its own"
	done
	expect_exit 1 "$TDISPATCH" --check second.ini
	expect_match out "^WRONG +process $PID, which holds pidfile"
	expect_exit 1 "$TDISPATCH" second.ini
	expect_match err "pidfile job.pid is locked by process $PID: this config runs already, or another"
	cp job.ini moved.ini
	sed -i 's/^job_name = .*/job_name = changed/' job.ini
	expect_exit 0 "$TDISPATCH" -r moved.ini
	expect_exit 0 "$TDISPATCH" -s job.ini
	within 20 process_gone "$PID"
}

case_strange_pid_files() {
	local content stranger
	orders_pair
	sleep 60 &
	stranger=$!
	STARTED+=("$stranger")
	for content in "$stranger" 1 999999 "" garbage -1 0 99999999999999999999; do
		printf '%s\n' "$content" >job.pid
		expect_exit 1 "$TDISPATCH" -k job.ini
		kill -0 "$stranger" || fail "a stranger was killed"
		start_job
		kill -TERM "$PID"
		expect_end 0 5
	done
}

case_pid_file_cannot_be_written() {
	orders_pair pidfile=nofolder/job.pid
	expect_exit 1 "$TDISPATCH" job.ini
	expect_match err 'nofolder.*No such file or directory: create the folder'
}

case_pid_file_goes() {
	orders_pair
	start_job
	kill -INT "$PID"
	expect_end 0 5
	expect_eq "$(ls job.pid 2>/dev/null)" ""
}

case_two_starts() {
	orders_pair
	start_job
	expect_exit 1 "$TDISPATCH" job.ini
	expect_match err "job\.pid|already"
	expect_exit 1 "$TDISPATCH" -d job.ini
	kill -0 "$PID" || fail "the first one is gone"
	pid_in_file || fail "the pid file is not that of the first"
	expect_exit 0 "$TDISPATCH" -s job.ini
	expect_end 0 5
}

case_many_starts_at_once() {
	local i
	orders_pair
	for i in 1 2 3 4 5 6 7 8 9 10; do
		start job.ini
	done
	within 20 running 1
	sleep 0.5
	running 1 || fail "not one is running"
	expect_exit 0 "$TDISPATCH" -s job.ini
	within 10 running 0
}

# The name server does not answer: the lookup waits, SIGTERM does not.
case_sigterm_in_a_lookup() {
	local program=$WORK/own from
	[ "$(id -u)" = 0 ] || skip "only root can have a resolv.conf of its own"
	orders_pair
	printf 'nameserver 127.0.0.77\noptions timeout:30\n' >resolv.conf
	python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.77", 53))
print("bound", flush=True)
s.recv(4096)
print("asked", flush=True)
time.sleep(60)' >dns.log 2>&1 &
	STARTED+=($!)
	within 5 grep -q bound dns.log
	printf '#!/bin/sh\nexec unshare -m sh -c %s sh "%s" "%s" "$@"\n' \
		"'mount --bind \"\$1\" /etc/resolv.conf && shift && exec \"\$@\"'" "$WORK/resolv.conf" "$STATIC" >"$program"
	chmod +x "$program"
	PROGRAM=$program start job.ini --set "dst_db=host=db.example.com dbname=x user=u"
	within 10 grep -q asked dns.log
	kill -TERM "$PID"
	expect_end 0 10
	expect_eq "$(ls job.pid 2>/dev/null)" "" "the pid file"
}

# What is meant for standard error goes neither into a file nor to a server.
case_closed_descriptors() {
	local end
	orders_pair loop_delay=0.2
	orders 1 500
	tick q
	for end in '<&- >&- 2>&-' '2>&-' '<&- 2>&-'; do
		(eval "exec $end"; exec timeout 20 "$TDISPATCH" -v --once job.ini) || fail "exit $? with $end"
	done
	expect_rows 500
	(exec 2>&-; exec "$TDISPATCH" -v job.ini) &
	PID=$!
	STARTED+=("$PID")
	within 10 pid_in_file
	orders 501 510 2026-02-02
	tick q
	within 10 dst_gives 510 "select count(*) from orders"
	expect_eq "$(cat job.pid)" "$PID"
	kill -TERM "$PID"
	expect_end 0 5
	(exec <&- >&- 2>&-; exec timeout 20 "$TDISPATCH" -d job.ini) || fail "exit $? of -d"
	expect_exit 1 "$TDISPATCH" -d job.ini
	PID=$(cat job.pid)
	expect_eq "$(readlink "/proc/$PID/fd/0" "/proc/$PID/fd/1" "/proc/$PID/fd/2" | sort -u)" /dev/null
	expect_exit 0 "$TDISPATCH" -s job.ini
	within 10 running 0
	(exec >&-; "$TDISPATCH" --ini) 2>/dev/null && fail "output that went nowhere is no success"
	(exec >&-; "$TDISPATCH" --check job.ini) 2>/dev/null && fail "output that went nowhere is no success"
	true
}

# A file that may not grow, by the caller's limit, is a full disk and not the end.
case_file_size_limit() {
	orders_pair metrics_file=job.prom
	orders 1 300
	tick q
	(ulimit -f 1; exec "$TDISPATCH" --once -v -v job.ini --set logfile=job.log >out 2>/dev/null) || fail "exit $?"
	expect_rows 300
	orders 301 600
	tick q
	(ulimit -f 1; exec "$TDISPATCH" --once -v -v job.ini >out 2>err) || fail "exit $?"
	expect_rows 600
}

case_sigchld_ignored() {
	local ignored=(python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])')
	orders_pair
	expect_exit 1 "${ignored[@]}" "$TDISPATCH" -d job.ini --set queue_name=nope
	expect_exit 1 "${ignored[@]}" "$TDISPATCH" -d job.ini --set "src_db=dbname=nope_$CASE"
	expect_exit 0 "${ignored[@]}" "$TDISPATCH" -d job.ini
	PID=$(cat job.pid)
	expect_exit 0 "$TDISPATCH" -s job.ini
	within 10 running 0
}

# A process whose file was taken away makes it anew, or ends where another one has it by now. What
# it removes is its own.
case_pid_file_taken_away() {
	local first
	orders_pair loop_delay=0.3
	start_job
	first=$PID
	rm job.pid
	within 10 pid_in_file
	rm job.pid
	mkdir job.pid
	within 10 grep -q 'our pid file was taken away: cannot write pidfile' bg.err
	rmdir job.pid
	kill -TERM "$PID"
	expect_end 0 5
	start_job
	first=$PID
	mv job.pid away
	start_job --set loop_delay=0.1
	[ "$first" != "$PID" ]
	within 10 grep -q 'another process has started since' bg.err
	within 10 running 1
	pid_in_file || fail "the file of the second is gone"
	echo 1 >job.pid
	expect_exit 0 "$TDISPATCH" -s job.ini
	expect_end 0 5
	expect_eq "$(cat job.pid)" 1 "a file that names another one"
}

case_background() {
	orders_pair logfile=job.log
	background job.pid -d job.ini
	expect_eq "$(ps -o ppid=,tty= -p "$PID" | tr -s ' ')" " 1 ?"
	orders 1 3
	tick q
	within 10 dst_gives 3 "select count(*) from orders"
	expect_exit 0 "$TDISPATCH" -k job.ini
	within 5 process_gone "$PID"
	expect_no_match job.log 'sanitizer|runtime error'
}

case_background_without_pid_file() {
	orders_pair pidfile=
	expect_exit 2 "$TDISPATCH" -d job.ini
	expect_match err pidfile
}

case_background_failure_is_told() {
	orders_pair logfile=nofolder/job.log
	expect_exit 2 "$TDISPATCH" -d job.ini
	expect_match err nofolder
	config "dst_db=dbname=no_such_database"
	expect_exit 1 "$TDISPATCH" -d job.ini
	expect_match err no_such_database
	expect_exit 1 "$TDISPATCH" -s job.ini
}

case_reload() {
	orders_pair
	dst "create table second (like orders) partition by range (day)"
	start_job
	orders 1 1
	tick q
	within 10 dst_gives 1 "select count(*) from orders"
	config dest_table=second
	expect_exit 0 "$TDISPATCH" -r job.ini
	within 10 grep -q 'read again' bg.err
	orders 2 2
	tick q
	within 10 dst_gives 1 "select count(*) from second"
	expect_rows 1
	kill -TERM "$PID"
	expect_end 0 5
}

# broken_reload REGEX: the process is told to reload a job.ini that is broken, and goes on.
broken_reload() {
	local before
	before=$(dst "select count(*) from orders")
	: >bg.err
	kill -HUP "$PID"
	within 5 grep -Eqi "$1" bg.err
	expect_eq "$(grep -Eci 'error' bg.err)" 1 "error lines after a reload"
	orders $((before + 1)) $((before + 1))
	tick q
	within 10 dst_gives $((before + 1)) "select count(*) from orders"
}

case_broken_reload_keeps_the_old_config() {
	orders_pair
	start_job
	config dest_table=second part_method=fortnightly
	broken_reload "part_method"
	config dest_table=second
	echo 'dest_table = third' >>job.ini
	broken_reload "dest_table"
	rm job.ini
	broken_reload "job\.ini"
	kill -TERM "$PID"
	expect_end 0 5
}

# many_batches N: the running program loads N batches of an order each, however slowly.
many_batches() {
	local i
	start job.ini --set loop_delay=0.01 --set batch_min_events=0
	src "$(for ((i = 1; i <= $1; i++)); do
		say "insert into orders values ($i, '2026-01-31', 'n'); select pgq.force_tick('q'); select pgq.ticker('q'); select pg_sleep(0.04);"
	done)" >/dev/null
	within 10 dst_gives "$1" "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
}

case_log_rotation() {
	local file
	orders_pair logfile=job.log log_size=3000 log_count=2
	many_batches 80
	expect_rows 80
	for file in job.log job.log.1 job.log.2; do
		[ -s $file ] || fail "no $file"
		[ "$(wc -c <$file)" -le 3000 ] || fail "$file has $(wc -c <$file) bytes"
	done
	expect_eq "$(ls -d job.log* | wc -l)" 3 "log files"
	expect_eq "$(stat -c %a job.log)" 640
}

case_log_count_zero() {
	orders_pair logfile=job.log log_size=2000 log_count=0
	many_batches 40
	expect_eq "$(ls -d job.log*)" job.log
	[ "$(wc -c <job.log)" -gt 4000 ] || fail "job.log has $(wc -c <job.log) bytes: it was rotated"
}

case_log_appends() {
	orders_pair logfile=job.log
	echo "the line before" >job.log
	once
	expect_eq "$(head -n 1 job.log)" "the line before"
}

case_log_is_no_symlink() {
	orders_pair logfile=job.log
	echo precious >other
	ln -s other job.log
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err job.log
	expect_eq "$(cat other)" precious
}


# Log lines hold no line breaks or control bytes of an event's.
case_log_is_clean() {
	orders_pair
	event I:id $'id=1%0a%1b[31mforged&day=2026-01-31&note=a' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_no_match err '^forged'
	! grep -q $'\x1b' err || fail "an escape byte came through"
}

case_connection_lifetime() {
	orders_pair connection_lifetime=1
	start_job
	orders 1 1
	tick q
	within 10 dst_gives 1 "select count(*) from orders"
	sleep 2
	orders 2 2
	tick q
	within 10 dst_gives 2 "select count(*) from orders"
	within 5 src_gives t "select bool_and(now() - backend_start < '2.5 s') from pg_stat_activity where datname = current_database() and application_name = 'tdispatch'"
	kill -TERM "$PID"
	expect_end 0 5
}

# A daemon does not go on over a row that it cannot write.
case_bad_event_ends_the_daemon() {
	orders_pair
	id=$(event I:id 'id=x&day=2026-01-31&note=a')
	tick q
	start job.ini
	expect_end 1 20
	expect_match bg.err "$id"
	expect_rows 0
}

run_cases
