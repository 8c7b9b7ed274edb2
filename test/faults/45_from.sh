# A table as the source, and what happens to it, to its snapshot and to the target in the middle.
. "$(dirname "$0")/../cases.sh"
. "$TOP/test/from.sh"

# ---- the source's table

# for_a_while src|dst SQL: a transaction does it, and then stays open for 3 seconds.
for_a_while() {
	"$1" "begin; $2; select pg_sleep(3); commit" >/dev/null &
	STARTED+=($!)
}

# It has done it, on the source.
source_is_held() {
	within 20 src_gives 1 "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
}

# Each way to move rows to other places, between two runs.
case_rewritten_between_runs() {
	local how
	stopped_in_the_middle
	for how in "vacuum full orders" "cluster orders using orders_pkey" "alter table orders alter note type varchar(9)" "truncate orders"; do
		src "$how"
		expect_exit 1 "$TDISPATCH" --from orders job.ini
		expect_match err "lost position: public.orders was rewritten since a part of it was copied"
		expect_match err '\-\-reset'
	done
}

# The same in the middle of a run that has a snapshot for each slice, and so keeps no lock.
case_rewritten_while_running() {
	local how
	for how in "vacuum full orders" "alter table orders alter note type varchar(9)" "truncate orders"; do
		gated_pair from_snapshot=slice
		at_gate --from orders job.ini
		src "set lock_timeout = '20s'; $how" &
		STARTED+=($!)
		within 20 src_gives 1 "select count(*) from pg_locks where not granted"
		gate all
		expect_end 1 60
		expect_match bg.err "lost position: public.orders was rewritten since a part of it was copied"
		expect_eq "$(dst "select count(*) = count(distinct id) from orders")" t
	done
}

# leaves KEY=VALUE...: a copy that stands in the first of two tables.
leaves() {
	gated_pair "$@"
	src "create table second () inherits (orders); insert into second select i, '2026-01-10', 's' from generate_series(2001, 2100) i"
	at_gate --from orders job.ini
}

# A table whose turn has not come is rewritten. Under an older snapshot it may lack rows, by no
# fault that could be seen.
case_emptied_before_its_turn() {
	leaves
	src "truncate second"
	gate all
	expect_end 1 60
	expect_match bg.err "public.second was rewritten .* since the copy was begun: start it again under a new snapshot"
	expect_rows 1500
	src "insert into second values (3000, '2026-01-11', 's')"
	from
	expect_rows 1501
	same_content
}

case_rewritten_before_its_turn() {
	leaves from_snapshot=slice
	src "vacuum full second"
	gate all
	expect_end 0 60
	expect_rows 1600
	same_content
}

# A slice that waits for the lock has a snapshot from before the table was written anew.
case_rewritten_while_a_slice_waits() {
	leaves from_snapshot=slice
	for_a_while src "truncate second; insert into second select i, '2026-01-10', 'again' from generate_series(3001, 3100) i"
	source_is_held
	gate all
	expect_end 0 60
	expect_rows 1600
	same_content
}

case_replaced_before_its_turn() {
	leaves
	src "alter table second rename to was; create table second (like was)"
	gate all
	expect_end 1 60
	expect_match bg.err "public.second was replaced since the copy was begun"
	src "drop table second"
	from
	same_content
}

case_dropped_in_the_middle() {
	leaves
	src "drop table second"
	gate all
	expect_end 1 60
	expect_match bg.err 'relation "public.second" does not exist'
	from
	same_content
}

# Columns come and go where no lock keeps them.
case_columns_change_between_slices() {
	gated_pair from_snapshot=slice
	at_gate --from orders job.ini
	src "alter table orders add extra int" &
	STARTED+=($!)
	within 20 src_gives 1 "select count(*) from pg_locks where not granted"
	gate
	within 20 src_gives 0 "select count(*) from pg_locks where not granted"
	within 60 at_the_gate
	src "alter table orders rename note to words" &
	STARTED+=($!)
	gate all
	expect_end 1 60
	expect_match bg.err 'column "?(tdispatch_row.)?note"? does not exist'
	src "alter table orders rename words to note; alter table orders drop extra"
	from
	same_content
}

# A partition of the source that is detached has rows under the copy's snapshot; a later run looks
# at what is a partition then.
case_source_partition_is_detached() {
	gated_pair
	src "alter table orders rename to p1; create table orders (id int, day date, note text) partition by range (id);
		alter table orders attach partition p1 for values from (1) to (2000);
		create table p2 partition of orders for values from (2000) to (3000); insert into orders select i, '2026-01-10', 's' from generate_series(2001, 2100) i"
	at_gate --from orders job.ini
	src "alter table orders detach partition p2"
	gate all
	expect_end 0 60
	expect_rows 1600
	from
	expect_rows 1600
}

# ---- its server

# Timeouts of the role end neither the reader, who waits for the target, nor the holder, who is idle.
case_timeouts_of_the_source() {
	local setting
	gated_pair
	for setting in statement_timeout idle_in_transaction_session_timeout lock_timeout; do
		src "alter role \"$PGUSER\" in database \"$SRC\" set $setting = '200ms'"
	done
	at_gate --from orders job.ini
	sleep 1
	gate all
	expect_end 0 60
	expect_no_match bg.err 'WARNING|ERROR'
	same_content
}

# The source's table is locked for a while, before the copy and between two slices.
case_source_is_locked() {
	gated_pair from_snapshot=slice
	for_a_while src "lock table orders"
	source_is_held
	at_gate --from orders job.ini
	for_a_while src "lock table orders"
	gate all
	expect_end 0 60
	same_content
}

# ---- the target

# A disk that is full, for real, after some slices; it grows, and the next run goes on.
case_target_disk_full() {
	table_pair exception_sleep=0.2 from_slice=819200 "$(on_small_disk)"
	small_disk
	src "insert into orders select i, date '2026-01-10' + i % 3, repeat('x', 1000) from generate_series(1, 5000) i"
	expect_exit 1 "$TDISPATCH" --from orders job.ini
	expect_match err 'SQLSTATE 53100'
	expect_match err 'the same command goes on from there'
	expect_eq "$(dst "select count(*) > 0 and count(*) < 5000 from orders")" t
	mount -o remount,size=200m small
	from
	expect_rows 5000
	same_content
}

# A partition is locked by another session.
case_target_is_locked() {
	gated_pair
	at_gate --from orders job.ini
	gate all
	for_a_while dst "lock table orders_2026_01_11"
	expect_end 0 60
	same_content
}

# A partition of the target is detached between two slices: what comes then goes nowhere else.
case_target_partition_is_detached() {
	gated_pair
	at_gate --from orders job.ini
	dst "alter table orders detach partition orders_2026_01_11" &
	STARTED+=($!)
	within 20 dst_gives 1 "select count(*) from pg_locks where not granted"
	gate all
	expect_end 1 60
	expect_match bg.err 'orders_2026_01_11'
	expect_eq "$(dst "select count(*) = count(distinct id) from (select * from orders union all select * from orders_2026_01_11) x")" t
	dst "alter table orders attach partition orders_2026_01_11 for values from ('2026-01-11') to ('2026-01-12')"
	from
	same_content
}

run_cases
