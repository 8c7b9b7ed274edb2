# The worked configs of tdispatch-examples(7), each as it stands there.
. "$(dirname "$0")/../cases.sh"

PAGE=$TOP/dist/man/tdispatch-examples.7
ROWS="insert into orders values (1, 'acme', '2026-10-24 21:59:59+00', 1), (2, 'acme', '2026-10-24 22:00:00+00', 2),
	(999999, 'Bolt', '2026-10-25 22:59:59+00', 3), (1000000, 'acme', '2026-10-25 23:00:00+00', 4)"

# blocks SECTION START: those of the section that begin with START.
blocks() {
	awk -v section="$1" -v start="$2" '
		/^\.Sh / { on = $0 == ".Sh " section }
		/^\.Ed/ { if (on && index(block, start) == 1) printf "%s", block; block = ""; inside = 0 }
		inside { block = block $0 "\n" }
		/^\.Bd -literal/ { inside = 1; block = "" }' "$PAGE" | sed 's/\\e/\\/g'
}

# example SECTION: source and target as the page has them, the config in job.ini.
example() {
	new_pair "$CASE"
	src "$(blocks DESCRIPTION '-- in the source')" >/dev/null
	blocks "$1" '-- in the target' >target.sql
	blocks "$1" '[tdispatch]' >job.ini
	[ -s target.sql ] && [ -s job.ini ] || fail "the page has no example $1"
	dst "$(cat target.sql)"
	export TDISPATCH_SRC_DB="dbname=$SRC" TDISPATCH_DST_DB="dbname=$DST"
	install
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out '^WRONG|^MISSING|^warning'
}

load() {
	tick shop
	once --verify "$@"
}

case_every_section_is_run() {
	local sections
	sections=$(sed -n 's/^\.Sh //p' "$PAGE" | grep -vx 'NAME\|DESCRIPTION\|SEE ALSO')
	expect_eq "$(grep -o '^	example "[A-Z ]*"' "$TOP/test/e2e/42_examples.sh" | cut -d'"' -f2 | sort -u)" "$(sort <<<"$sections")"
}

case_change_log() {
	example "A CHANGE LOG"
	src "$ROWS; update orders set amount = 9 where id = 2; delete from orders where id = 1" >/dev/null
	load
	expect_eq "$(dst "select id, op, amount, changed_at between now() - interval '1 hour' and now() from orders_log order by ev_id")" \
		$'1|I|1|t\n2|I|2|t\n999999|I|3|t\n1000000|I|4|t\n2|U|9|t\n1|D|1|t'
	expect_eq "$(partitions orders_log)" "$(dst "select to_char(now() at time zone 'UTC', '\"orders_log_\"YYYY_MM')")"
}

case_current() {
	example "A COPY THAT IS CURRENT"
	src "$ROWS; update orders set amount = 9 where id = 2; delete from orders where id = 1" >/dev/null
	load
	expect_eq "$(dst "select id, amount, tableoid::regclass from orders order by id")" \
		$'2|9|orders_0\n999999|3|orders_0\n1000000|4|orders_1000000'
	src "update orders set amount = 5 where id = 1000000; delete from orders where id = 2; insert into orders values (2, 'x', now(), 7)" >/dev/null
	load
	expect_eq "$(dst "select id, tenant, amount from orders order by id")" "$(src "select id, tenant, amount from orders order by id")"
}

# Rows of before the trigger come by --from.
case_current_from_before() {
	example "A COPY THAT IS CURRENT"
	src "set session_replication_role = replica; $ROWS" >/dev/null
	expect_exit 0 "$TDISPATCH" --install --from orders job.ini
	expect_exit 0 "$TDISPATCH" --from orders job.ini
	src "update orders set amount = 9 where id = 2; delete from orders where id = 1; insert into orders values (3, 'acme', now(), 3)" >/dev/null
	load
	expect_eq "$(dst "select id, tenant, amount from orders order by id")" "$(src "select id, tenant, amount from orders order by id")"
}

case_archive() {
	example "AN ARCHIVE WITH RETENTION"
	src "insert into orders values (1, 'a', now() - interval '1 day', 1), (2, 'a', now() - interval '400 days', 2); delete from orders" >/dev/null
	dst "create table orders_2020_01_01 partition of orders for values from ('2020-01-01 00:00+00') to ('2020-01-02 00:00+00');
		insert into orders values (0, 'a', '2020-01-01 12:00+00', 0)"
	load
	expect_eq "$(dst "select id from orders")" 1
	expect_eq "$(dst "select id from orders_2020_01_01")" 0
	expect_eq "$(partitions)" "$(dst "select string_agg(to_char(now() at time zone 'UTC' + d * interval '1 day', '\"orders_\"YYYY_MM_DD'), ' ' order by d)
		from unnest(array[-1, 1, 2]) d")"
}

case_tenants() {
	example "A LIST OF TENANTS"
	src "$ROWS; insert into orders values (5, 'a b', now(), 1)" >/dev/null
	load
	expect_eq "$(dst "select tableoid::regclass, count(*) from orders group by 1 order by 2")" $'"orders_Bolt"|1\norders_acme|3'
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 1
}

case_ids() {
	example "RANGES OF IDS"
	src "$ROWS" >/dev/null
	load
	expect_eq "$(dst "select tableoid::regclass, count(*) from orders group by 1 order by min(id)")" $'orders_0|3\norders_1000000|1'
	expect_eq "$(partitions)" "orders_0 orders_1000000 orders_2000000"
}

case_european_days() {
	example "EUROPEAN DAYS"
	src "$ROWS" >/dev/null
	load
	expect_eq "$(dst "select tableoid::regclass, string_agg(id::text, ' ' order by id) from orders group by 1 order by min(id)")" \
		$'orders_2026_10_24|1\norders_2026_10_25|2 999999\norders_2026_10_26|1000000'
	expect_eq "$(dst "set timezone = 'Europe/Berlin'; select pg_get_expr(relpartbound, oid) from pg_class where relname = 'orders_2026_10_25'")" \
		"FOR VALUES FROM ('2026-10-25 00:00:00+02') TO ('2026-10-26 00:00:00+01')"
}

case_function() {
	example "PARTITIONS FROM A FUNCTION"
	src "$ROWS" >/dev/null
	load
	expect_eq "$(dst "select tableoid::regclass, count(*) from orders group by 1 order by min(id)")" $'orders_2026_w43|4'
}

run_cases
