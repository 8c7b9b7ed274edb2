# What the tests of --from share, beside cases.sh: a table to copy, and a target at which the copy
# stands still.

# table_pair KEY=VALUE...: orders on the source, an orders parent on the target, no queue and no
# trigger; a slice is one block.
table_pair() {
	new_pair "$CASE"
	src "create table orders (id int primary key, day date, note text)"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config queue_name= from_table=orders from_slice=8192 "$@"
	expect_exit 0 "$TDISPATCH" --install job.ini
}

# fill FROM TO: orders over three days.
fill() {
	src "insert into orders select i, date '2026-01-10' + i % 3, 'n' || i from generate_series($1, $2) i"
}

from() {
	expect_exit 0 "$TDISPATCH" --from "${TABLE:-orders}" job.ini "$@"
}

# The rows of both sides are the same, as text.
same_content() {
	local all="select md5(coalesce(string_agg(t::text, '|' order by id), '')) from"
	expect_eq "$(dst "$all ${1:-orders} t")" "$(src "$all ${2:-orders} t")" "content"
}

marks() {
	dst "select string_agg(lane || ' ' || upto, ', ' order by source, lane) from tdispatch.slice"
}

some_rows() {
	[ "$(dst "select count(*) from orders")" -gt "${1:-100}" ]
}

# ---- in the middle

# A target whose trigger function slow() stands at a gate, which counts rows, also those rolled
# back. Some slices are in then.
gated_target() {
	dst "
		create sequence seen;
		create sequence gate;
		create function slow() returns trigger language plpgsql as \$\$ declare n bigint = nextval('seen'); begin
			while n > (select last_value from gate) loop perform pg_sleep(0.02); end loop; return new; end \$\$;"
	gate
}

# gate [N]: so many rows more go through, a few slices; all: any number.
gate() {
	local more=${1:-${GATE:-500}}
	dst "select setval('gate', ${more/all/1000000000} + (select last_value from seen))" >/dev/null
}

# 1500 rows for such a target.
gated_pair() {
	table_pair "part_template=$PARTITION_OF $SLOW" "$@"
	gated_target
	fill 1 1500
}

# at_gate ARGS...: starts it, and it stands at the gate, some slices further.
at_gate() {
	local before
	before=$(dst "select count(*) from orders")
	start "$@"
	within 60 some_rows $((before + 100))
	within 60 at_the_gate
}

at_the_gate() {
	dst_gives t "select seen.last_value > gate.last_value from seen, gate"
}

# The copy that stands at the gate is killed, and its session of the target has ended.
kill_at_gate() {
	kill -9 "$PID"
	gate all
	within 60 idle_target
	gate
}

idle_target() {
	dst_gives 0 "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"
}

# stopped_in_the_middle KEY=VALUE...: some slices are in.
stopped_in_the_middle() {
	gated_pair "$@"
	at_gate --from orders job.ini
	kill -INT "$PID"
	gate all
	expect_end 1 60
}

end_source_sessions() {
	src "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()" >/dev/null
}
