# Many processes at once.
. "$(dirname "$0")/../cases.sh"

case_50_starts_at_once() {
	local i
	orders_pair
	orders 1 100
	tick q
	PROGRAM=$STATIC
	for i in {1..50}; do
		start job.ini
	done
	within 30 running 1
	within 10 dst_gives 100 "select count(*) from orders"
	running 1 || fail "not one is running"
	expect_eq "$(grep -c 'runs already' bg.err)" 49 "refusals"
	expect_exit 0 "$STATIC" -s job.ini
	within 10 running 0
	expect_rows 100
}

# Eight consumers of one queue need the same fresh partitions, round after round.
case_8_dispatchers_create_the_same_partitions() {
	local round i pids template
	orders_pair pidfile=
	PROGRAM=$STATIC
	for i in {1..8}; do
		install --set "consumer_name=c$i"
	done
	for round in {1..8}; do
		template=$PARTITION_OF
		[ $((round % 2)) = 0 ] || template=$ATTACH
		dst "set client_min_messages = warning; drop table orders; create table orders (id int, day date, note text) partition by range (day)"
		src "insert into orders select i, date '2026-01-01' + i % 12, 'r' from generate_series($round * 1000, $round * 1000 + 119) i"
		tick q
		pids=()
		for i in {1..8}; do
			start --once job.ini --set "consumer_name=c$i" --set "part_template=$template"
			pids+=("$PID")
		done
		for i in "${pids[@]}"; do
			expect_end 0 60 "$i"
		done
		expect_eq "$(dst "select count(*), count(distinct id), count(distinct tableoid) from orders")" "960|120|12" "round $round"
	done
	told "8 rounds of 8 processes and 12 partitions"
}

# Five of one consumer on one queue, each killed and started again now and then.
case_5_processes_of_one_consumer() {
	local i
	orders_pair pidfile= batch_min_events=0
	src "$(for i in {0..59}; do
		say "insert into orders select i, date '2026-01-01' + i % 5, 'n' from generate_series($((i * 100 + 1)), $((i * 100 + 100))) i;
			select pgq.force_tick('q'); select pgq.ticker('q');"
	done)" >/dev/null
	PROGRAM=$STATIC
	for i in {1..5}; do
		start job.ini
	done
	for i in {1..10}; do
		sleep 0.2
		kill_quietly -9 "${STARTED[RANDOM % ${#STARTED[@]}]}"
		start job.ini
	done
	within 60 dst_gives 6000 "select count(distinct id) from orders"
	sleep 1
	expect_rows 6000
	once
	expect_rows 6000
	expect_eq "$(consumer_tick)" "$(completed_tick)"
	told "10 of 15 processes were killed"
}

run_cases
