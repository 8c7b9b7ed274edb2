# The oracle of the crash tests: each row of the source beside each row of the target. Nothing in
# the target is unique, so what came twice is there twice. To be sourced after cases.sh.

# In all the kill points of a case.
LOST=0          # rows of the source that are not in their partition
DOUBLED=0       # rows of the target more than once, or where they have no business

# A line for each row of the source as it must arrive: its partition and its content. Goes into
# the file wanted, as what the source has changes by our hand alone.
want() {
	src "select 'orders_' || to_char(day, 'YYYY_MM_DD'), o from orders o" | LC_ALL=C sort >wanted
	[ -s wanted ] || fail "the source has no rows"
}

# The same of what is in that schema, and of the dead letters of the consumer of that name.
find_rows() {
	sql "$DST" <<-END
		select c.relname, o from $1.orders o join pg_class c on c.oid = o.tableoid;
		select format('select ''dead letter'', substring(ev_data from ''id=([0-9]+)'') from %s where consumer = %L', t, '$1')
			from to_regclass('tdispatch.dead_letter') t where t is not null \gexec
	END
}

# judge SCHEMA [WANTED]: adds what is wrong there.
judge() {
	find_rows "$1" | LC_ALL=C sort >found
	LOST=$((LOST + $(LC_ALL=C comm -23 "${2:-wanted}" found | wc -l)))
	DOUBLED=$((DOUBLED + $(LC_ALL=C comm -13 "${2:-wanted}" found | wc -l)))
}

# verdict POINTS RESTARTS [REMARK]: the case's line, which crash.sh puts into CRASH.md.
verdict() {
	local words="$1 kill points, $2 restarts, $LOST lost, $DOUBLED doubled${3:+ ($3)}"
	[ $((LOST + DOUBLED)) = 0 ] || fail "$words"
	told "$words"
}
