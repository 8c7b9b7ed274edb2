# One-off migrations: the progress of --once.
. "$(dirname "$0")/../cases.sh"

# many FROM TO: orders over three days.
many() {
	src "insert into orders select i, date '2026-01-10' + i % 3, 'n' || i from generate_series($1, $2) i"
}

# on_terminal COMMAND: runs it by a shell on a terminal of 80 columns; what came there goes to the
# file screen.
on_terminal() {
	command -v script >/dev/null || skip "script is not there"
	TERM=xterm timeout -k 5 60 script -qec "stty cols ${COLUMNS_OF_TERMINAL:-80}; $1" screen >/dev/null </dev/null
}

# ---- progress

case_summary_in_the_log() {
	orders_pair
	many 1 300
	tick q
	once
	expect_match err 'INFO job: done: 300 events in [0-9.]+ s, [0-9,]+ a second; 300 rows, 3 partitions created$'
	expect_match err 'INFO job:   orders_2026_01_11: 100 rows$'
	expect_no_match err $'\r|\033'
	many 301 302
	tick q
	once -q
	expect_eq "$(cat err)$(cat out)" ""
}

case_progress_in_the_log() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.03
	many 1 400
	tick q
	once
	expect_match err 'progress: [0-9]+ of about [0-9,]+ events, [0-9,]+ a second, [0-9]+:[0-9]{2}:[0-9]{2} left, 3 partitions created'
}

case_progress_on_a_terminal() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.003
	many 1 400
	tick q
	on_terminal "$TDISPATCH --once job.ini"
	expect_match screen $'\r[0-9]+ of about [0-9,]+ events, [0-9,]+ a second, .* created'
	[ "$(grep -o 'events, [0-9,]* a second' screen | wc -l)" -ge 4 ] || fail "it was drawn less than four times"
	expect_no_match screen ' INFO '
	expect_match screen 'done: 400 events'
	expect_match screen '^  orders_2026_01_10: 133 rows'
	expect_rows 400
}

# A warning goes above the line; in a log file all is as ever; a narrow terminal is no place for long lines.
case_terminal_and_log_lines() {
	orders_pair "part_template=$PARTITION_OF $SLOW" on_error=skip logfile=job.log
	slow_target 0.003
	many 1 200
	event I:id 'id=999&day=never&note=x' >/dev/null
	tick q
	COLUMNS_OF_TERMINAL=30 on_terminal "$TDISPATCH --once job.ini"
	expect_match screen 'WARNING job: event .* skipped'
	expect_match screen '1 event not written'
	expect_no_match screen ' INFO '
	expect_match job.log 'INFO job: queue q batch'
	expect_match job.log 'INFO job: done: 201 events'
	tr '\r' '\n' <screen | grep 'of about' | sed $'s/\033\\[K.*//' >drawn
	[ "$(wc -L <drawn)" -lt 30 ] || fail "a line is wider than the terminal: $(head -n 1 drawn)"
	many 300 301
	tick q
	on_terminal "$TDISPATCH --once -q job.ini"
	expect_no_match screen 'events'
}

case_progress_json() {
	orders_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.01
	many 1 300
	tick q
	once --progress=json
	python3 - out <<-'PY' || fail "$(cat out)"
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		now, end = lines[:-1], lines[-1]
		assert len(now) >= 2 and all(line["type"] == "progress" for line in now)
		assert all(a["events"] <= b["events"] and a["seconds"] < b["seconds"] for a, b in zip(now, now[1:]))
		assert now[-1]["events_estimated"] >= 300 and now[-1]["partitions_created"] == 3
		assert end["type"] == "summary" and end["end"] == "done"
		assert (end["events"], end["rows"], end["batches"], end["errors"], end["events_not_written"]) == (300, 300, 1, 0, 0)
		assert end["rows_of"] == {"orders_2026_01_10": 100, "orders_2026_01_11": 100, "orders_2026_01_12": 100}
	PY
	expect_exit 2 "$TDISPATCH" --once --progress=xml job.ini
	expect_exit 2 "$TDISPATCH" --progress=json job.ini
}

case_summary_of_a_failure() {
	orders_pair
	many 1 3
	tick q
	event I:id 'id=abc&day=2026-01-10&note=x' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini --progress=json --set batch_min_events=0
	expect_match out '"type":"summary","end":"failed".*"events":3,.*"rows":3,.*"errors":1'
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'failed: 0 events'
	expect_exit 0 "$TDISPATCH" --once job.ini --progress=json -q --set on_error=skip
	expect_match out '"end":"done".*"events":1,.*"rows":0,.*"events_not_written":1'
}

run_cases
