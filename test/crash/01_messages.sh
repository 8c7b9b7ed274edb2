# kill -9 at every message that the program sends, one after the other; then the same command
# again: nothing lost, nothing doubled. STEP=7 takes every seventh message only.
# Parts: 3
. "$(dirname "$0")/../cases.sh"
. "$(dirname "$0")/oracle.sh"

STEP=${STEP:-1}
START=$(((STEP + 1) / 2))
POINTS_MAX=$((150 / STEP + 20))

# What the source has: so many rows of so many bytes, on day 0, 1 or 2. With another ID it is a text there.
ROWS=80 BYTES=700 DAY='i % 3' TRIGGER=logutriga ID=i

# fill QUEUE TICKS
fill() {
	local i
	src "set client_min_messages = warning;
		truncate orders; drop trigger if exists to_queue on orders;
		create trigger to_queue after insert on orders for each row execute function pgq.$TRIGGER('$1')"
	for ((i = 0; i < $2; i++)); do
		src "insert into orders select $ID, date '2026-01-01' + $DAY, repeat('z', $BYTES)
			from generate_series($((i * ROWS / $2 + 1)), $(((i + 1) * ROWS / $2))) i"
		tick "$1"
	done
}

# prepare PARENT TICKS [KEY=VALUE]...: for each kill point a consumer and a target schema of its name,
# all on one queue. A schema has no part in a partition's lane, so the points are alike.
prepare() {
	can_trace
	orders_pair pidfile= "${@:3}"
	[ "$ID" = i ] || src "alter table orders alter id type text"
	src "select pgq.register_consumer('q', 'c' || i) from generate_series(1, $POINTS_MAX) i" >/dev/null
	fill q "$2"
	want
	dst "do \$\$ begin for i in 1..$POINTS_MAX loop
		execute format('create schema c%s; create table c%1\$s.orders (like public.orders) $1', i); end loop; end \$\$"
}

DECLARATIVE='partition by range (day)'
INHERITED=

# The next kill point: NAME and ARGS, with MORE of them.
POINT=0
MORE=()
next_point() {
	POINT=$((POINT + 1))
	[ $POINT -le $POINTS_MAX ] || fail "no run survived"
	NAME=c$POINT
	ARGS=(-v job.ini --set "consumer_name=$NAME" --set "dest_table=$NAME.${TABLE:-orders}" "${MORE[@]}")
}

again() {
	expect_exit 0 "$STATIC" --once "${ARGS[@]}"
}

# More for strace to tamper with, which it does with calls that it traces only.
SLOW=()

# killed CALL N ARGS...: kills the program when it makes that system call for the Nth time. false:
# it did not come to that.
killed() {
	local rc=0
	timeout 60 strace -f -o /dev/null "${SLOW[@]}" -e "trace=$1,recvfrom" -e "inject=$1:signal=SIGKILL:when=$2" "$STATIC" "${@:3}" >out 2>>killed.err </dev/null || rc=$?
	[ $rc = 0 ] || [ $rc = 137 ] || fail "$1 $2: exit $rc: $(tail -n 2 killed.err)"
	[ $rc = 137 ]
}

# The target has the batch, the source does not know.
committed_not_finished() {
	local known
	known=$(completed_tick "$1")
	[ -n "$known" ] && [ "$known" -gt "$(consumer_tick "$1")" ]
}

# One lane has it, the other does not.
half_committed() {
	[ "$(dst "select a.last_tick_id > b.last_tick_id from pgq_ext.completed_tick a join pgq_ext.completed_tick b using (consumer_id)
		where consumer_id = '$1' and a.subconsumer_id = 'lane 1 of 2' and b.subconsumer_id = ''")" = t ]
}

# last_message WHAT: the number of the last message of a whole run in which that stands. The run is as
# slow as one that is killed: how many messages rows take hangs on when they come.
last_message() {
	strace -f -o trace -s 20000 -e trace=sendto,recvfrom "${SLOW[@]}" "$STATIC" --once "${ARGS[@]}" 2>err
	grep ' sendto(' trace | grep -n "$1" | tail -n 1 | cut -d : -f 1
}

# first_kill WHAT STATE: kills at the message FIRST, at a point that is new where that left it
# otherwise. Not all runs send as many, often every other one: after two kills FIRST is looked for anew.
first_kill() {
	local try
	for try in {1..12}; do
		! { killed sendto "$FIRST" --once "${ARGS[@]}" && "$2" "$NAME"; } || return 0
		next_point
		((try % 2 == 0)) || continue
		FIRST=$(last_message "$1")
		next_point
	done
	fail "not $2 by message $FIRST"
}

# kill_points CALL [WHAT STATE]: kills at each of these system calls; or, after a first kill at the
# message in which WHAT stands, which leaves the consumer in that state.
kill_points() {
	local n first=${2:-}
	next_point
	[ -z "$first" ] || FIRST=$(last_message "$first")
	POINTS=0 BETWEEN=0
	for ((n = START; ; n += STEP)); do
		next_point
		[ -z "$first" ] || first_kill "$first" "$3"
		killed "$1" $n --once "${ARGS[@]}" || break
		POINTS=$((POINTS + 1))
		! committed_not_finished "$NAME" || BETWEEN=$((BETWEEN + 1))
		again
		judge "$NAME"
	done
	again
	judge "$NAME"
}

kill_each() {
	kill_points "$@"
	verdict $POINTS $((POINTS * ($# > 1 ? 2 : 1))) "$BETWEEN between commit and finish_batch"
}

# The most delicate point must be among them; it is looked for, if that is missed since not all runs
# send as many messages.
kill_loads() {
	kill_points sendto
	if [ "$STEP" = 1 ] && [ $BETWEEN = 0 ]; then
		next_point
		FIRST=$(last_message finish_batch)
		next_point
		first_kill finish_batch committed_not_finished
		again
		judge "$NAME"
		POINTS=$((POINTS + 1)) BETWEEN=1
	fi
	verdict $POINTS $POINTS "$BETWEEN between commit and finish_batch"
}

# Deletes, doubles or moves one row: what would a kill matrix be worth that did not see it?
case_oracle_can_fail() {
	prepare "$INHERITED" 1 "part_template=$INHERITS"
	next_point
	again
	judge c1
	expect_eq "$LOST $DOUBLED" "0 0"
	dst "insert into c1.orders_2026_01_01 select * from c1.orders where id = 3"
	judge c1
	expect_eq "$LOST $DOUBLED" "0 1" "a doubled row"
	dst "delete from c1.orders where id in (3, 4)"
	judge c1
	expect_eq "$LOST $DOUBLED" "2 1" "two rows lost"
	dst "insert into c1.orders_2026_01_01 select * from c1.orders where id = 5; delete from c1.orders_2026_01_03 where id = 5"
	judge c1
	expect_eq "$LOST $DOUBLED" "5 2" "another in the wrong partition"
	! (verdict 1 1) || fail "the verdict is good"
	LOST=0 DOUBLED=0
	verdict 0 0 "a row was deleted, doubled, moved by hand, and seen"
}

case_inheritance() {
	prepare "$INHERITED" 1 "part_template=$INHERITS"
	kill_loads
}

case_declarative() {
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH"
	kill_loads
}

# Rows are on their way before the second partition is needed, and lock the parent: all partitions
# are created first. Slow reading lets the target take these rows in time.
case_declarative_rows_before_partitions() {
	ROWS=84 BYTES=8100 DAY='i / 63 + i / 75'
	SLOW=(-e inject=recvfrom:delay_enter=3000)
	prepare "$DECLARATIVE" 1 "part_template=$PARTITION_OF"
	kill_each sendto
	expect_match killed.err "all partitions are created first"
}

# Half of the rows come when a first COPY is over and go as binary values.
case_binary_rows() {
	ROWS=180 BYTES=8100 DAY='i / 165'
	SLOW=(-e inject=recvfrom:delay_enter=3000)
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH"
	kill_each sendto
	expect_match killed.err "go as binary values"
}

# JSON events, in two lanes, and the filters of both sides.
case_json() {
	TRIGGER=jsontriga
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH" lanes=2 tables=public.orders event_types=I
	kill_loads
}

case_two_lanes() {
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH" lanes=2
	kill_loads
}

# Each partition gets its rows, then its indexes, and is attached before the commit of its lane.
INDEXES_LAST="create table _DEST_TABLE (like _PARENT); create index on _DEST_TABLE (id); create index on _DEST_TABLE (note);
	alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"

case_indexes_last() {
	prepare "$DECLARATIVE" 1 "part_template=$INDEXES_LAST"
	kill_loads
	expect_created_inside
}

case_indexes_last_two_lanes() {
	prepare "$DECLARATIVE" 1 "part_template=$INDEXES_LAST" lanes=2
	kill_loads
	expect_created_inside
}

case_indexes_last_two_lanes_at_every_wait() {
	prepare "$DECLARATIVE" 1 "part_template=$INDEXES_LAST" lanes=2
	kill_each ppoll
}

case_indexes_last_two_lanes_half_committed() {
	prepare "$DECLARATIVE" 1 "part_template=$INDEXES_LAST" lanes=2
	kill_each sendto set_last_tick half_committed
	expect_created_inside
}

# Each inherits before the commit of its lane.
INHERITS_LAST="create table _DEST_TABLE (check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)) inherits (_PARENT);
	create index on _DEST_TABLE (id); create index on _DEST_TABLE (note);"

case_inheritance_last_two_lanes() {
	prepare "$INHERITED" 1 "part_template=$INHERITS_LAST" lanes=2
	kill_loads
	expect_created_inside
}

case_inheritance_last_two_lanes_half_committed() {
	prepare "$INHERITED" 1 "part_template=$INHERITS_LAST" lanes=2
	kill_each sendto set_last_tick half_committed
	expect_created_inside
}

# Which of two rows is one too many is unknown to the index that comes last, and found row by row.
case_indexes_last_of_doubled_rows() {
	prepare "$DECLARATIVE" 1 on_error=skip lanes=2 \
		"part_template=${INDEXES_LAST/index on _DEST_TABLE (note)/unique index on _DEST_TABLE (note) where note = \'again\'}"
	src "insert into orders select i, date '2026-01-01' + i % 3, 'again' from generate_series(1001, 1003) i"
	want
	src "insert into orders select i, date '2026-01-01' + i % 3, 'again' from generate_series(1004, 1006) i"
	tick q
	kill_each sendto
}

# Another table's rows in the same batches; its partitions have names of their own.
prepare_two_tables() {
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH" "$@"
	source_table others "id int primary key, day date, note text"
	src "insert into others select i, date '2026-01-01' + i % 3, 'n' from generate_series(1, 40) i"
	tick q
	dst "do \$\$ begin for i in 1..$POINTS_MAX loop
		execute format('create table c%s.others (like public.orders) $DECLARATIVE', i); end loop; end \$\$"
	printf '[public.*]\n' >>job.ini
	TABLE='%(table)s'
}

# Where a run was completed, the other table has all rows once, too.
judge_others() {
	local i
	for ((i = 2; i <= POINT; i++)); do
		expect_eq "$(dst "select count(*) || ' ' || count(distinct id) from c$i.others")" "40 40" "c$i.others"
	done
}

case_two_tables() {
	prepare_two_tables
	kill_loads
	judge_others
}

case_two_tables_in_two_lanes() {
	prepare_two_tables lanes=2
	kill_loads
	judge_others
}

# While the answer to a message is awaited: the server may have done what it was told.
case_two_lanes_at_every_wait() {
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH" lanes=2
	kill_each ppoll
}

# Lane 1 has committed, lane 0 has not, and the run that should complete it is killed in its turn.
case_two_lanes_half_committed() {
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH" lanes=2
	kill_each sendto set_last_tick half_committed
}

# The batch is in, the source does not know, and the run that should tell it is killed in its turn.
case_not_finished() {
	prepare "$INHERITED" 1 "part_template=$INHERITS"
	kill_each sendto finish_batch committed_not_finished
}

case_ticks_merged() {
	prepare "$INHERITED" 4 "part_template=$INHERITS"
	kill_loads
}

# The events of a tick are read while the one before is committed, and loaded before the queue has
# said that it is the next.
kill_read_ahead() {
	next_point
	[ -n "$(last_message "LIMIT 2000")" ] || fail "no events were read ahead"
	kill_loads
}

case_ticks_one_by_one() {
	prepare "$INHERITED" 5 "part_template=$INHERITS" batch_min_events=0
	kill_read_ahead
}

case_ticks_one_by_one_two_lanes() {
	prepare "$DECLARATIVE" 5 "part_template=$ATTACH" batch_min_events=0 lanes=2
	kill_read_ahead
}

case_ticks_one_by_one_at_every_wait() {
	prepare "$INHERITED" 5 "part_template=$INHERITS" batch_min_events=0
	kill_each ppoll
}

case_tls() {
	local by_tls="host=127.0.0.1 port=$PGPORT sslmode=require dbname=$CASE"
	tls_server
	prepare "$INHERITED" 1 "part_template=$INHERITS" "src_db=${by_tls}_src" "dst_db=${by_tls}_dst"
	kill_loads
}

# Each point begins with a target without pgq_ext and a source without the queue.
case_install() {
	local n points=0
	prepare "$INHERITED" 1 "part_template=$INHERITS"
	for ((n = START; ; n += STEP)); do
		dst "set client_min_messages = warning; drop schema pgq_ext cascade"
		next_point
		ARGS+=(--set "queue_name=q$n")
		killed sendto $n --install "${ARGS[@]}" || break
		points=$((points + 1))
		expect_exit 0 "$STATIC" --install "${ARGS[@]}"
		fill "q$n" 1
		again
		judge "$NAME"
	done
	verdict $points $points
}

# prepare_dead_letters PARENT TEMPLATE [KEY=VALUE]...: every tenth row is refused by its partition. No key
# keeps its letter from coming twice.
prepare_dead_letters() {
	ROWS=40
	prepare "$1" 1 on_error=dead_letter "part_template=$2" "${@:3}"
	dst "alter table tdispatch.dead_letter drop constraint dead_letter_pkey"
	sed -E 's/^[^|]*\|\(([0-9]*7),.*/dead letter|\1/' wanted | LC_ALL=C sort >wanted_letters
}

NO_SEVEN='constraint no_seven check (id % 10 <> 7)'
SEVEN_INHERITS="create table _DEST_TABLE ($NO_SEVEN) inherits (_PARENT);"
# All that a lane's transaction may create itself.
SEVEN_ATTACH="create table _DEST_TABLE (like _PARENT including all, $NO_SEVEN);
	alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"

case_dead_letters() {
	prepare_dead_letters "$INHERITED" "$SEVEN_INHERITS"
	mv wanted_letters wanted
	kill_loads
}

expect_created_inside() {
	expect_no_match killed.err "created before the batch|all partitions are created first"
}

# Partitions, rows and letters are in one transaction.
case_dead_letters_created_inside() {
	prepare_dead_letters "$DECLARATIVE" "$SEVEN_ATTACH"
	mv wanted_letters wanted
	kill_loads
	expect_created_inside
}

case_dead_letters_two_lanes() {
	prepare_dead_letters "$INHERITED" "$SEVEN_INHERITS" lanes=2
	mv wanted_letters wanted
	kill_each sendto
}

# Every tenth number is none: its row waits for the end of the batch.
prepare_suspects() {
	ROWS=40 ID="i || case when i % 10 = 7 then 'x' else '' end"
	prepare "$DECLARATIVE" 1 on_error=dead_letter "part_template=$ATTACH" "$@"
	dst "alter table tdispatch.dead_letter drop constraint dead_letter_pkey"
	sed -i -E 's/^[^|]*\|\(([0-9]*)x,.*/dead letter|\1/' wanted
	LC_ALL=C sort -o wanted wanted
}

case_dead_letters_sent_last() {
	prepare_suspects
	kill_loads
}

case_dead_letters_sent_last_two_lanes() {
	prepare_suspects lanes=2
	kill_each sendto
}

# Nothing refuses these rows any more.
mend() {
	dst "alter table $NAME.orders_2026_01_01 drop constraint no_seven;
		alter table $NAME.orders_2026_01_02 drop constraint no_seven;
		alter table $NAME.orders_2026_01_03 drop constraint no_seven"
}

# All of a day is refused; its partition is made anew, without what refuses.
make_anew() {
	dst "drop table if exists $NAME.orders_2026_01_03"
	ARGS+=(--set "part_template=$ATTACH")
}

# kill_replays MEND: the letters become rows.
kill_replays() {
	local n points=0
	for ((n = START; ; n += STEP)); do
		next_point
		again
		judge "$NAME" wanted_letters
		"$1"
		killed sendto $n --replay "${ARGS[@]}" || break
		points=$((points + 1))
		expect_exit 0 "$STATIC" --replay "${ARGS[@]}"
		judge "$NAME"
	done
	judge "$NAME"
	verdict $points $points
}

case_replay() {
	prepare_dead_letters "$INHERITED" "$SEVEN_INHERITS"
	kill_replays mend
}

# ---- row_mode = keep_latest

# What the source has is what the target must have.
latest_history() {
	src "set client_min_messages = warning;
		truncate orders; drop trigger if exists to_queue on orders;
		create trigger to_queue after insert or update or delete on orders
			for each row execute function pgq.logutriga('$1', 'backup');
		insert into orders select i, date '2026-01-01' + i % 3, 'n' || i from generate_series(1, 60) i"
	tick "$1"
	src "update orders set note = note || 'u' where id % 2 = 0;
		delete from orders where id % 5 = 0;
		update orders set day = date '2026-01-01' + (id + 1) % 3 where id % 7 = 0;
		insert into orders select i, date '2026-01-01' + i % 3, 'again' from generate_series(5, 60, 10) i;
		update orders set day = date '2026-01-01' + id % 3, note = 'back' where id % 14 = 0"
	[ -z "${BAD:-}" ] || want
	[ -z "${BAD:-}" ] || src "update orders set day = date '2026-01-01' + (id + 2) % 3, note = 'bad' where id % 22 = 0"
	tick "$1"
}

# prepare_latest [KEY=VALUE]...: as prepare. With BAD, moves that the target refuses.
prepare_latest() {
	can_trace
	orders_pair pidfile= row_mode=keep_latest "part_template=$ATTACH" "$@"
	src "select pgq.register_consumer('q', 'c' || i) from generate_series(1, $POINTS_MAX) i" >/dev/null
	latest_history q
	[ -n "${BAD:-}" ] || want
	dst "do \$\$ begin for i in 1..$POINTS_MAX loop
		execute format('create schema c%s; create table c%1\$s.orders (like public.orders, check (note <> ''bad'')) $DECLARATIVE', i); end loop; end \$\$"
}

case_latest() {
	prepare_latest batch_min_events=0
	kill_loads
}

case_latest_two_lanes() {
	prepare_latest lanes=2
	kill_loads
}

case_latest_two_lanes_half_committed() {
	prepare_latest lanes=2
	kill_each sendto set_last_tick half_committed
}

# A move that is refused leaves the old row in its lane, whichever lanes had committed.
case_latest_bad_moves() {
	POINTS_MAX=$((400 / STEP + 5))
	BAD=1 prepare_latest lanes=2 on_error=dead_letter
	src "select 'dead letter|' || id from orders where note = 'bad'" >letters
	LC_ALL=C sort -o wanted wanted letters
	kill_each sendto
}

case_latest_bad_moves_half_committed() {
	POINTS_MAX=$((400 / STEP + 5))
	BAD=1 prepare_latest lanes=2 on_error=skip
	kill_each sendto set_last_tick half_committed
}

case_replay_created_inside() {
	DAY='case when i % 10 = 7 then 2 else i % 2 end'
	prepare_dead_letters "$DECLARATIVE" "$SEVEN_ATTACH"
	kill_replays make_anew
	expect_created_inside
}

# The table itself, in three slices: each is a transaction in each lane.
SLICES=(--set queue_name= --set from_table=orders --set from_slice=24576)

case_table_in_slices() {
	MORE=("${SLICES[@]}")
	prepare "$DECLARATIVE" 1 "part_template=$ATTACH"
	expect_exit 0 "$STATIC" --install "${SLICES[@]}" job.ini
	kill_each sendto
}

case_table_in_slices_by_two_lanes() {
	MORE=("${SLICES[@]}" --set lanes=2)
	prepare "$DECLARATIVE" 1 "part_template=$PARTITION_OF"
	expect_exit 0 "$STATIC" --install "${SLICES[@]}" job.ini
	kill_each sendto
}

run_cases
