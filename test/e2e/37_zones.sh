# part_timezone = the name of a zone: bounds are the target server's midnights in it.
. "$(dirname "$0")/../cases.sh"

# zone_pair ZONE METHOD [KEY=VALUE]...: a table cut by a timestamptz; the servers' own zones are others.
zone_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, day timestamptz, note text"
	dst "create table orders (id int, day timestamptz, note text) partition by range (day)"
	sql postgres <<<"alter database \"$DST\" set timezone = 'America/Los_Angeles'; alter database \"$SRC\" set timezone = 'Asia/Tokyo'"
	config "part_timezone=$1" "part_method=$2" "part_template=$ATTACH" "${@:3}"
	install
}

# times N FROM TO FORMAT [IDS]: events with N random moments between two local times, as that format
# of the local time $ZONE, or with the offset of any zone where FORMAT is "offset"; ids come after IDS.
times() {
	src "select setseed(0.42);
		select count(pgq.insert_event('q', 'I:id', 'id=' || i + ${5:-0} || '&day=' || replace(t, '+', '%2B') || '&note=x'))
		from (select i, case '$4' when 'offset' then
				to_char(at at time zone 'UTC' + o * interval '15 minutes', 'YYYY-MM-DD HH24:MI:SS.US')
					|| to_char(o / 4, 'SG00') || ':' || to_char(abs(o) % 4 * 15, 'FM00')
			else to_char(l, '$4') end t
			from (select i, l, l at time zone '$ZONE' at, floor(random() * 100 - 48)::int o
				from (select i, timestamp '$2' + random() * (timestamp '$3' - timestamp '$2') l
					from generate_series(1, $1) i) r) s) u" >/dev/null
	tick q
}

# The period that a partition's name tells, as local times: from and to.
named() {
	local unit=${1%ly}
	[ "$unit" != dai ] || unit=day
	printf '%s' "(select c.oid, c.relname, to_date(substr(relname, 8), case '$unit' when 'week' then 'IYYY_\"w\"IW' when 'day' then 'YYYY_MM_DD'
			when 'month' then 'YYYY_MM' else 'YYYY' end)::timestamp f, interval '1 $unit' step
		from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'orders'::regclass) p"
}

# Bounds are midnights of the zone, each moment lies between those of its partition, and where two
# partitions follow each other there is neither a gap nor an overlap.
expect_midnights() {
	expect_eq "$(dst "set timezone = '$ZONE';
		select count(*), string_agg(relname || ' ' || pg_get_expr(relpartbound, c.oid), '; ') filter (where
			pg_get_expr(relpartbound, c.oid) <> format('FOR VALUES FROM (%L) TO (%L)', (f at time zone '$ZONE')::text,
				((f + step) at time zone '$ZONE')::text)) from $(named "$1") join pg_class c using (oid, relname)")" \
		"$(partitions | wc -w)|" "bounds, $ZONE $1"
	expect_eq "$(dst "select count(*), string_agg(relname || ' ' || day at time zone '$ZONE', '; ')
			filter (where day < f at time zone '$ZONE' or day >= (f + step) at time zone '$ZONE')
		from orders o join $(named "$1") on p.oid = o.tableoid")" "$2|" "rows, $ZONE $1"
}

# A zone's years and days that are worth a look, by all methods: 100,000 moments of days, half of them
# with an offset, and some of the others.
zone() {
	local ZONE=$1 method format n all
	for method in yearly monthly weekly daily; do
		zone_pair "$ZONE" "$method"
		all=0
		for format in offset 'YYYY-MM-DD HH24:MI:SS.US' YYYY-MM-DD 'YYYY-MM-DD"T"HH24:MI'; do
			n=1000
			[[ $method$format != daily*[tU]* ]] || n=50000
			case $method in
			daily) times $n "$2" "$3" "$format" $all ;;
			weekly) times $n "$2" "${3%%-*}-12-31" "$format" $all ;;
			monthly) times $n "$((${2%%-*} - 20))-01-01" "$3" "$format" $all ;;
			yearly) times $n 1860-01-01 2037-12-31 "$format" $all ;;
			esac
			all=$((all + n))
		done
		once
		expect_rows $all
		expect_midnights $method $all
	done
}

case_berlin() {
	zone Europe/Berlin 2025-10-15 2026-04-10
}

case_st_johns() {
	zone America/St_Johns 2006-03-20 2006-11-10
}

case_lord_howe() {
	zone Australia/Lord_Howe 2025-09-20 2026-04-20
}

case_kolkata() {
	zone Asia/Kolkata 2026-01-01 2026-04-10
}

case_sao_paulo() {
	zone America/Sao_Paulo 2018-02-01 2018-12-10
}

case_apia() {
	zone Pacific/Apia 2011-12-01 2012-02-10
}

# Clocks were put forward across a midnight, from 23:30.
case_toronto() {
	zone America/Toronto 1919-03-01 1919-04-20
}

# A name that the server does not know, or knows as something else than a zone.
case_unknown_zone() {
	local name
	for name in Europe/Berln UTC+3 Foo5; do
		zone_pair "$name" daily 2>/dev/null || :
		expect_exit 2 "$TDISPATCH" --once job.ini
		expect_match err "ERROR job: part_timezone: dst_db knows no time zone ${name//+/[+]}"
		expect_eq "$(grep -c part_timezone err)" 1 "lines"
		expect_exit 1 "$TDISPATCH" --check job.ini
		expect_match out "^WRONG +part_timezone: dst_db knows no time zone"
		expect_exit 2 "$TDISPATCH" --dry-run job.ini
	done
}

# At most one question for a new period, and none for one that is known.
case_one_question_for_a_period() {
	local ZONE=Europe/Berlin
	zone_pair $ZONE daily
	times 2000 2026-03-01 2026-04-09 offset
	once --verify -v -v -v
	expect_eq "$(partitions | wc -w)" 39
	[ "$(grep -c 'generate_series(1, 86400)' err)" -le 39 ] || fail "asked $(grep -c 'generate_series(1, 86400)' err) times"
	expect_exit 0 "$TDISPATCH" --show-partitions job.ini
	expect_match out '^orders_2026_03_29 +2026-03-29 00:00:00[+]01:00 +2026-03-30 00:00:00[+]02:00 '
}

# After a reload too.
case_reload_keeps_the_answers() {
	local ZONE=Europe/Berlin asked
	zone_pair $ZONE daily
	start -v -v -v job.ini
	times 500 2026-03-27 2026-03-31 offset
	within 20 dst_gives 500 "select count(*) from orders"
	asked=$(grep -c 'generate_series(1, 86400)' bg.err)
	kill -HUP $PID
	within 10 grep -q 'job.ini read again' bg.err
	times 500 2026-03-27 2026-03-31 offset
	within 20 dst_gives 1000 "select count(*) from orders"
	expect_eq "$(grep -c 'generate_series(1, 86400)' bg.err)" "$asked" "questions"
	kill $PID
	expect_end 0 10
}

case_lanes() {
	local ZONE=America/St_Johns
	zone_pair $ZONE daily lanes=3
	times 5000 2006-10-25 2006-11-03 offset
	once --verify
	expect_rows 5000
	expect_midnights daily 5000
}

case_inherits_with_check() {
	local ZONE=America/Sao_Paulo
	zone_pair $ZONE daily "part_template=create table _DEST_TABLE (check (day >= _PART_START and day < _PART_END)) inherits (_PARENT)"
	dst "drop table orders; create table orders (id int, day timestamptz, note text)"
	times 5000 2018-10-25 2018-11-10 "YYYY-MM-DD HH24:MI:SS"
	once --verify
	expect_rows 5000
	expect_eq "$(dst "set timezone = '$ZONE'; select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orders_2018_11_04'::regclass")" \
		"CHECK (((day >= '2018-11-04 01:00:00-02'::timestamp with time zone) AND (day < '2018-11-05 00:00:00-02'::timestamp with time zone)))"
}

# A date and a timestamp are of the day that is written, also where midnight does not exist.
case_timestamp_and_date() {
	local type
	for type in date timestamp; do
		zone_pair America/Sao_Paulo daily
		dst "drop table orders; create table orders (id int, day $type, note text) partition by range (day)"
		event I:id 'id=1&day=2018-11-03&note=x' >/dev/null
		event I:id 'id=2&day=2018-11-04&note=x' >/dev/null
		event I:id 'id=3&day=2018-11-05&note=x' >/dev/null
		tick q
		once --verify
		expect_eq "$(dst "select tableoid::regclass, id from orders order by id")" $'orders_2018_11_03|1\norders_2018_11_04|2\norders_2018_11_05|3'
	done
}

# Premake passes over a day that never was, and knows the zone's clock.
case_premake() {
	local ZONE=Pacific/Kiritimati
	zone_pair $ZONE daily part_premake=3
	once
	expect_eq "$(partitions)" "$(dst "select string_agg(to_char(now() at time zone '$ZONE' + d * interval '1 day', '\"orders_\"YYYY_MM_DD'), ' ' order by d)
		from generate_series(1, 3) d")"
	[[ $(dst "set timezone = '$ZONE'; select min(pg_get_expr(relpartbound, oid)) from pg_class where relname ~ '^orders_2'") == *"00:00:00+14') TO"* ]]
}

# By the zone's clock, and by rows where bounds do not tell.
case_keep() {
	local ZONE=Pacific/Kiritimati template
	for template in "$ATTACH" "create table _DEST_TABLE () inherits (_PARENT)"; do
		zone_pair $ZONE daily "part_keep=3 days" "part_template=$template"
		[[ $template == "$ATTACH" ]] || dst "drop table orders; create table orders (id int, day timestamptz, note text)"
		src "insert into orders select d, now() - d * interval '1 day', 'n' from generate_series(0, 9) d"
		tick q
		once
		once
		expect_eq "$(partitions)" "$(dst "select string_agg(to_char(now() at time zone '$ZONE' - d * interval '1 day', '\"orders_\"YYYY_MM_DD'), ' ' order by d desc)
			from generate_series(0, 3) d")"
	done
}

case_evtime() {
	local ZONE=Asia/Kolkata
	zone_pair $ZONE daily part_field=_EVTIME "fields=*, _EVTIME:at" "part_template=create table _DEST_TABLE (check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)) inherits (_PARENT)"
	dst "drop table orders; create table orders (id int, day timestamptz, note text, at timestamptz)"
	src "insert into orders values (1, null, 'a'), (2, null, 'b')"
	src "update pgq.event_1 set ev_time = case ev_data like 'id=1%' when true then '2026-01-31 18:29:59.999999+00' else '2026-01-31 18:30:00+00' end::timestamptz"
	tick q
	once --verify
	expect_eq "$(dst "select tableoid::regclass, id from orders order by id")" $'orders_2026_01_31|1\norders_2026_02_01|2'
}

# One zone for all sections; another one for a half committed batch is told.
case_sections() {
	local ZONE=Europe/Berlin
	zone_pair $ZONE daily
	config dest_table= part_timezone= "part_template=$ATTACH" part_method=daily
	cat >>job.ini <<-END
		[public.orders]
		dest_table = orders
		part_timezone = Europe/Berlin
		[public.others]
		dest_table = others
		part_timezone = Europe/Paris
	END
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err 'part_timezone: it differs from that of .public.orders.'
	sed -i s/Paris/Berlin/ job.ini
	src "insert into orders values (1, '2026-07-01 21:59+00', 'a'), (2, '2026-07-01 22:00+00', 'b')"
	tick q
	once
	expect_eq "$(dst "select tableoid::regclass, id from orders order by id")" $'orders_2026_07_01|1\norders_2026_07_02|2'
}

run_cases
