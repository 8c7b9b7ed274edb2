# The server goes away and comes back while the program runs. Has a cluster of its own.
. "$(dirname "$0")/../cases.sh"

own_cluster() {
	cluster_start
	trap 'end_started; cluster_stop' EXIT
	cluster_templates
	WORK_CLUSTER=$CLUSTER
}

# Orders come in batches of a hundred, on a target slow enough that a batch is always under way.
slow_stream() {
	local i
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.001
	for i in 0 1 2 3 4 5 6 7 8 9; do
		orders $((i * 100 + 1)) $((i * 100 + 100)) "2026-01-1$i"
		tick q
	done
}

# restart MODE: in the middle of a batch; afterwards everything is in once, with few words.
restart() {
	own_cluster
	slow_stream
	start job.ini
	within 20 rows_are_coming 150
	cluster_ctl restart -m "$1"
	within 40 dst_gives 1000 "select count(*) from orders"
	orders 2001 2010
	tick q
	within 20 dst_gives 1010 "select count(*) from orders"
	expect_rows 1010
	kill -0 "$PID" || fail "the program is gone"
	kill -TERM "$PID"
	expect_end 0 5
	[ "$(grep -ci 'error' bg.err)" -le 4 ] || fail "$(grep -ci 'error' bg.err) error lines for one restart: $(grep -i error bg.err | tail -n 2)"
}

case_fast() {
	restart fast
}

case_immediate() {
	restart immediate
}

# Down for a while: few words while nothing changes, and on again within seconds of its return.
case_down_for_a_while() {
	own_cluster
	slow_stream
	start job.ini
	within 20 rows_are_coming 150
	cluster_ctl stop -m fast
	sleep 4
	kill -0 "$PID" || fail "the program is gone"
	[ "$(wc -l <bg.err)" -le 25 ] || fail "$(wc -l <bg.err) lines in the log"
	cluster_ctl start
	within 30 dst_gives 1000 "select count(*) from orders"
	expect_rows 1000
	kill -TERM "$PID"
	expect_end 0 5
}

case_starts_before_the_server() {
	own_cluster
	orders_pair
	orders 1 3
	tick q
	cluster_ctl stop -m fast
	start job.ini
	within 20 grep -q 'cannot connect' bg.err
	cluster_ctl start
	within 30 dst_gives 3 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
}

case_once_gives_up() {
	own_cluster
	orders_pair
	cluster_ctl stop -m fast
	expect_exit 1 "$TDISPATCH" --once job.ini --set retry_limit=1
	expect_match err "connect"
}

run_cases
