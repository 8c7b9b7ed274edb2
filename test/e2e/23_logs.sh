# The system log, and log files that somebody else moves away.
# Parts: 3
. "$(dirname "$0")/../cases.sh"

# The program in a mount namespace of its own, where the folder dev is /dev.
in_own_dev() {
	mkdir -p dev
	cp -a /dev/null /dev/zero /dev/urandom dev/
	unshare -m mount --bind dev /dev 2>/dev/null || skip "unshare does not work here"
	cat >own_dev <<-END
		#!/bin/sh
		exec unshare -m sh -c 'mount --bind "\$0" /dev && exec "\$@"' $WORK/dev $TDISPATCH "\$@"
	END
	chmod +x own_dev
}

# A log daemon: each datagram to dev/log is a line of the file syslog.
listen() {
	rm -f dev/log
	PROGRAM=/usr/bin/python3 start -c '
import socket
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("dev/log")
with open("syslog", "ab", buffering=0) as file:
    while True:
        file.write(log.recv(65536) + b"\n")'
	LISTENER=$PID
	within 10 test -S dev/log
}

# quiet_end CODE: it ends so, and has written nothing to standard error.
quiet_end() {
	expect_exit "$1" ./own_dev --once job.ini
	expect_eq "$(cat err)" ""
}

case_syslog() {
	orders_pair logfile=syslog on_error=skip job_name=archive consumer_name=job
	in_own_dev
	listen
	orders 1 2
	src "select pgq.insert_event('q', 'I:id', 'id=3&day=never', 'orders', null, null, null)" >/dev/null
	tick q
	quiet_end 0
	within 5 grep -q 'rows=2' syslog
	expect_match syslog '^<30>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} tdispatch\[[0-9]+\]: INFO archive: queue q batch .* rows=2'
	expect_match syslog '^<28>.*: WARNING archive: .*never'
	expect_eq "$(grep -c '^$' syslog)" 0 "lines with a newline of their own"
}

case_syslog_json() {
	orders_pair logfile=syslog log_format=json
	in_own_dev
	listen
	orders 1 2
	tick q
	quiet_end 0
	within 5 grep -q 'rows=2' syslog
	expect_match syslog '^<30>[^{]* tdispatch\[[0-9]+\]: \{"time":.*"level":"info".*rows=2.*\}$'
}

case_syslog_error() {
	orders_pair logfile=syslog
	in_own_dev
	listen
	src "select pgq.insert_event('q', 'I:id', 'id=3&day=never', 'orders', null, null, null)" >/dev/null
	tick q
	quiet_end 1
	within 5 grep -Eq '^<27>.*: ERROR job: .*never' syslog
}

case_syslog_is_not_there() {
	orders_pair logfile=syslog
	in_own_dev
	orders 1 2
	tick q
	expect_exit 0 ./own_dev --once job.ini
	expect_eq "$(grep -c '/dev/log: No such file or directory; lines go to standard error' err)" 1 "lines about /dev/log"
	expect_match err 'INFO job: .*rows=2'
	expect_rows 2
}

# The log daemon comes, hangs until its queue is full, and is another one after that.
case_syslog_comes_and_goes() {
	orders_pair logfile=syslog
	in_own_dev
	PROGRAM=./own_dev start job.ini
	local job=$PID
	within 10 grep -q 'cannot write to /dev/log' bg.err
	listen
	orders 1 1
	tick q
	within 10 grep -q 'rows=1' syslog
	kill -KILL "$LISTENER"
	orders 2 3
	tick q
	within 10 grep -q 'rows=2' bg.err
	listen
	orders 4 6
	tick q
	within 10 grep -q 'rows=3' syslog
	expect_no_match bg.err 'rows=3'
	expect_eq "$(grep -c 'cannot write to /dev/log' bg.err)" 2 "lines about /dev/log"
	kill -TERM "$job"
	expect_end 0 5 "$job"
}

# 700 lines to a log daemon that reads none: nobody waits a second for each.
case_syslog_that_hangs() {
	orders_pair logfile=syslog on_error=skip
	in_own_dev
	listen
	kill -STOP "$LISTENER"
	src "select pgq.insert_event('q', 'I:id', 'id=' || i || '&day=never', 'orders', null, null, null) from generate_series(1, 700) i" >/dev/null
	orders 1 1
	tick q
	LIMIT=40 expect_exit 0 ./own_dev --once job.ini
	expect_rows 1
	kill -CONT "$LISTENER"
}

# moved_away: job.log is moved, the process is told, and its next lines are in a new job.log.
moved_away() {
	local n
	n=$(dst "select count(*) from orders")
	mv job.log job.log.old
	kill -HUP "$PID"
	within 10 test -s job.log
	orders $((n + 1)) $((n + 1))
	tick q
	within 10 grep -q 'rows=1' job.log
	expect_no_match job.log.old "$1"
}

case_log_file_is_moved() {
	orders_pair logfile=job.log
	start job.ini
	within 10 test -s job.log
	moved_away 'read again|rows=1'
	expect_match job.log 'config .*job\.ini read again'
	expect_eq "$(readlink "/proc/$PID/fd/"* | grep -c 'job\.log\.old')" 0 "descriptors of the old file"
	kill -TERM "$PID"
	expect_end 0 5
}

case_log_file_is_moved_and_the_config_is_broken() {
	orders_pair logfile=job.log
	start job.ini
	within 10 test -s job.log
	echo 'dest_table = second' >>job.ini
	moved_away 'not reloaded|rows=1'
	expect_match job.log 'not reloaded, the old config stays: .*dest_table'
	kill -TERM "$PID"
	expect_end 0 5
}

# 0 switches rotation off, be it the size or the number.
case_no_rotation() {
	local zero
	orders_pair logfile=job.log
	orders 1 3
	tick q
	once
	for zero in log_size=0 "log_size=10 log_count=0"; do
		for i in 1 2 3; do
			expect_exit 0 "$TDISPATCH" --once job.ini $(printf -- '--set %s ' $zero)
		done
		expect_eq "$(ls job.log*)" job.log "$zero"
	done
	[ "$(grep -c ' starts: ' job.log)" = 7 ] || fail "lines are lost"
}

# One line for many batches, and no longer one for each.
case_log_interval() {
	local began=$SECONDS
	orders_pair log_interval=2 loop_delay=0.05
	start job.ini
	src "$(for i in 1 2 3 4 5 6; do
		say "insert into orders values ($i, '2026-01-31', 'n'); select pgq.force_tick('q'); select pgq.ticker('q'); select pg_sleep(0.3);"
	done)" >/dev/null
	within 10 dst_gives 6 "select count(*) from orders"
	within 10 grep -Eq 'INFO .*queue q in [0-9]+ s: batches=[0-9]+ events=[0-9]+ rows=[0-9]+ ' bg.err
	kill -TERM "$PID"
	expect_end 0 5
	expect_no_match bg.err 'batch [0-9]+ ticks'
	expect_eq "$(sed -n 's/.* in [0-9]* s: .* rows=\([0-9]*\) .*/\1/p' bg.err | awk '{ n += $1 } END { print n }')" 6 "rows told"
	[ "$(grep -c ' in [0-9]* s: ' bg.err)" -le $(((SECONDS - began) / 2 + 2)) ] || fail "$(grep -c ' in [0-9]* s: ' bg.err) lines"
}

# What is wrong in the config is told once, also in the log file, and not again for the same.
case_unknown_keys_once() {
	orders_pair logfile=job.log
	echo 'part_feild = day' >>job.ini
	start job.ini
	within 10 grep -q 'part_feild' job.log
	expect_eq "$(grep -c part_feild bg.err)" 1 "at the start"
	kill -HUP "$PID"
	within 10 grep -q 'read again' job.log
	expect_eq "$(grep -c part_feild job.log)" 1 "after the same config"
	echo 'lnaes = 2' >>job.ini
	kill -HUP "$PID"
	within 10 grep -q 'lnaes' job.log
	expect_exit 0 "$TDISPATCH" --health job.ini
	expect_eq "$(cat err)" ""
	kill -TERM "$PID"
	expect_end 0 5
}

# failing_target CODE: the target's tables refuse rows so.
failing_target() {
	dst "create function refuse() returns trigger language plpgsql as \$\$ begin
		raise exception 'no room' using errcode = '$1', detail = 'of any kind', hint = 'make some'; end \$\$;
		create table orders_2026_01_31 partition of orders for values from ('2026-01-31') to ('2026-02-01');
		create trigger refuse before insert on orders_2026_01_31 for each row execute function refuse()"
}

# Where the rows were to go, and all that the server says of it. What lasts is told once, and after
# a minute again; in the end for how long it was.
case_errors_have_a_place() {
	orders_pair
	failing_target 53100
	orders 1 3
	tick q
	start job.ini
	within 10 grep -Eq 'ERROR .*partition orders_2026_01_31, tablespace pg_default: dst_db: no room \(of any kind\) \(SQLSTATE 53100\); the server.s hint: make some; trying again in 1 s' bg.err
	sleep 5
	expect_eq "$(grep -c 'no room' bg.err)" 1
	within 120 grep -Eq 'ERROR .*failing for [6-9][0-9] s, [0-9]+ attempts: partition orders_2026_01_31.*no room' bg.err
	expect_eq "$(grep -c 'no room' bg.err)" 2
	dst "drop trigger refuse on orders_2026_01_31"
	within 20 grep -Eq 'INFO .*working again after [6-9][0-9] s and [0-9]+ attempts$' bg.err
	expect_rows 3
	kill -TERM "$PID"
	expect_end 0 5
}

# The same words with another number are no news; other words are.
case_numbers_are_no_news() {
	orders_pair exception_sleep=0.2
	failing_target 53100
	dst "create sequence tries; create or replace function refuse() returns trigger language plpgsql as
		\$\$ begin raise exception 'no room for %, try %', current_setting('look.what'), nextval('tries') using errcode = '53100'; end \$\$"
	sql postgres <<<"alter database \"$DST\" set look.what = 'rows'"
	orders 1 3
	tick q
	start job.ini
	within 20 dst_gives t "select last_value > 5 from tries"
	expect_eq "$(grep -c 'no room' bg.err)" 1 "lines"
	sql postgres <<<"alter database \"$DST\" set look.what = 'us'"
	within 10 grep -q 'no room for us' bg.err
	kill -TERM "$PID"
	expect_end 0 5
}

# Who holds a lock that rows wait for, and for how long.
case_lock_has_a_holder() {
	orders_pair
	orders 1 1
	tick q
	once
	PGAPPNAME=nightly hold "lock table orders_2026_01_31"
	orders 2 2
	tick q
	start job.ini
	within 120 grep -Eq 'ERROR .*partition orders_2026_01_31: dst_db: .*; public.orders_2026_01_31 is open in server process [0-9]+ \(user [^,]+, nightly, active, for [6-9][0-9] s\)' bg.err
	end_sleepers
	within 30 grep -Eq 'working again after [0-9]+ s and 1 attempt$' bg.err
	kill -TERM "$PID"
	expect_end 0 5
}

# What an operator may do about an event that cannot be written; not where it is done already.
case_ways_on() {
	orders_pair
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'on_error = dead_letter .*--install .*--replay .*on_error = skip'
	once --set on_error=skip
	expect_no_match err '--replay'
}

# A password is in none of what others can read.
case_no_secrets() {
	orders_pair metrics_file=job.prom logfile=job.log
	start -v -v job.ini --set "dst_db=host=127.0.0.1 port=1 dbname=x password=geheim42 user=u"
	within 10 grep -q 'doing failing' job.pid.state
	expect_exit 0 "$TDISPATCH" --health job.ini
	"$TDISPATCH" --status job.ini >status 2>&1
	within 20 test -s job.prom
	kill -TERM "$PID"
	expect_end 0 5
	expect_eq "$(grep -l geheim42 ./* | grep -v job.ini)" "" "files with the password"
}

run_cases
