#!/bin/bash
# Measures tdispatch beside what the target server needs at least, and beside a Python consumer.
#
#	bench/run.sh              all workloads, interleaved rounds; writes bench/RESULTS.md
#	bench/run.sh quick        small, one round, about a minute: are all tables equal?
#	bench/run.sh WORKLOAD...  some of: batch attach indexes ticks single-ticks long many wide types one poison
#	                          latest section tables json cliffs latency start
#
# FLOOR is psql \copy of the same rows, split into a file per partition beforehand, into fresh
# partitions with primary keys, in one transaction; for single-ticks in one for each tick. A ratio
# is the median of the rounds' own ratios. ROUNDS=n sets the rounds (7), PEER_ROUNDS and LONG_ROUNDS
# those that take longest (3), SCALE=n divides the number of events. BEFORE=program measures an
# earlier tdispatch beside this one, in the same rounds.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"

ROUNDS=${ROUNDS:-7}
SCALE=${SCALE:-1}
PEER_ROUNDS=${PEER_ROUNDS:-3}           # the peer takes longest,
LONG_ROUNDS=${LONG_ROUNDS:-3}           # and so do 5 million events and 2,000 batches
TDISPATCH=$(readlink -f "${TDISPATCH:-$TOP/tdispatch}")
RESULTS=
FAILED=0

# Each argument a line.
lines() {
	printf '%s\n' "$@"
}

# ---- the cluster

bench_start() {
	cluster_start
	sql postgres <<<"alter system set shared_buffers = '512MB'; alter system set max_wal_size = '16GB'; alter system set max_locks_per_transaction = 1000; alter system set checkpoint_timeout = '1h';"
	cluster_ctl restart -m fast
	cluster_templates
	mkdir -p "$CLUSTER/work" && cd "$CLUSTER/work" || exit 2
}

bench_end() {
	trap - EXIT
	cd / && cluster_stop
}

# ---- workloads: set EVENTS, TICKS, COLUMNS (of the target), FIELDS and DATA (SQL of ev_data for i)

orders() {
	COLUMNS_SQL="id int, order_date date, customer_name text, qty int"
	FIELDS="id, order_date, customer_name, qty"
	DATA="'id='||i||'&order_date='||(date '2026-03-01' + $1)||'&customer_name=name+of+customer+'||i||'+%c3%96dd&qty='||i%7||'&note=a+column+that+nobody+wants'"
	TICKS=1 EXTRA= FLOOR=floor TABLE="'public.orders'" JSON= UPDATES= PARENT= TEMPLATE=$INHERITS
}

INHERITS="create table _DEST_TABLE () inherits (_PARENT); alter table only _DEST_TABLE add primary key (id);"
ATTACH="create table _DEST_TABLE (like _PARENT including defaults including constraints); alter table only _DEST_TABLE add primary key (id);"

# attach MORE: partitions of a declarative parent, with more indexes.
attach() {
	workload_batch
	PARENT="partition by range (order_date)"
	TEMPLATE="$ATTACH ${1:-} alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
}

workload_batch() { orders "i % 10"; EVENTS=1000000; }
workload_attach() { attach; }
workload_indexes() { attach "create index on _DEST_TABLE (customer_name); create index on _DEST_TABLE (qty, order_date);"; }
workload_ticks() { orders "i % 10"; EVENTS=1000000 TICKS=2000; }
workload_single-ticks() { workload_ticks; EXTRA="batch_min_events = 0" FLOOR=floor_of_ticks; }
workload_long() { orders "i % 10"; EVENTS=5000000; }
workload_many() { orders "(abs(hashint4(i)) % 400)"; EVENTS=1000000; }
workload_one() { orders 0; EVENTS=1000000; }
# Every thousandth event has a note that is no number; read as qty, it is a bad event.
workload_poison() {
	workload_batch
	DATA="'id='||i||'&order_date='||(date '2026-03-01' + i % 10)||'&customer_name=name+of+customer+'||i||'&qty='||i%7||'&note='||case when i % 1000 = 0 then 'bad' else (i%7)::text end"
}
# Long, since a few per cent of CPU time are to be seen.
workload_section() { orders "i % 10"; EVENTS=3000000 FLOOR=nothing; }
# The events of fifty tables alternate: beside one table of as many partitions.
workload_tables() { orders "i % 50"; EVENTS=1000000 TABLE="'public.orders_'||i%50" FLOOR=nothing; }
# Beside inserts as many events of a tenth of the keys: inserts, and then nine updates of each.
workload_latest() { workload_batch; UPDATES=1; }

# The same rows a second time, as pgq.jsontriga writes them.
workload_json() {
	workload_batch
	JSON="json_build_object('id', i, 'order_date', date '2026-03-01' + i % 10, 'customer_name', 'name of customer '||i||' Ödd', 'qty', i%7, 'note', 'a column that nobody wants')::jsonb::text"
	JSON="replace(replace($JSON, '\": ', '\":'), ', \"', ',\"')" FLOOR=nothing
}
workload_wide() {
	local n
	orders "i % 10"
	EVENTS=100000
	for n in {1..36}; do
		COLUMNS_SQL+=", c$n text"
		FIELDS+=", c$n"
		DATA+="||'&c$n=value+of+column+$n+'||md5((i*$n)::text)"
	done
}

# Values whose text costs the target more than those of orders.
workload_types() {
	orders "i % 10"
	EVENTS=500000
	COLUMNS_SQL+=", u uuid, n numeric, doc jsonb, bytes bytea"
	FIELDS+=", u, n, doc, bytes"
	DATA+="||'&u='||md5(i::text)::uuid||'&n='||i*7||'.'||i%89||'&doc=%7b\"i\":'||i||',\"a\":[1,null]%7d&bytes=%5cx'||md5(i::text)"
}

# put_events FROM TO [QUEUE TYPE DATA]
put_events() {
	local queue=${3:-q} type=${4:-I:id} data=${5:-$DATA}
	src "do \$do\$ begin
		execute format('insert into %s (ev_time, ev_type, ev_data, ev_extra1) select now(), %L, %s, %s
			from generate_series($1::int, $2::int) i', pgq.current_event_table('$queue'), '$type', \$data\$$data\$data\$, \$data\$$TABLE\$data\$);
		end \$do\$;
		insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
			select queue_id, nextval(queue_tick_seq::regclass), $2 from pgq.queue where queue_name = '$queue'"
}

# Into queue updates.
put_updates() {
	local keys=$((EVENTS / 10))
	put_events 1 $keys updates
	put_events $((keys + 1)) "$EVENTS" updates U:id "${DATA/||i||/||((i - 1) % $keys + 1)||}"
}

fill_queue() {
	local i step
	[ "$TICKS" != 0 ] || return 0
	step=$((EVENTS / TICKS))
	for ((i = 0; i < TICKS; i++)); do
		put_events $((i * step + 1)) $(((i + 1) * step))
	done
	[ -z "$UPDATES" ] || put_updates
	[ -z "$JSON" ] || put_events 1 "$EVENTS" json '{"op":"INSERT","table":["public","orders"],"pkey":["id"]}' "$JSON"
}

# job_config SECTION LINE...: a config for the workload, with further lines.
job_config() {
	lines "[$1]" "job_name = bench" "src_db = dbname=$SRC" "dst_db = dbname=$DST" "queue_name = q" "dest_table = orders" \
		"fields = $FIELDS" "part_field = order_date" "part_template = $TEMPLATE" "${@:2}"
}

config() {
	job_config table_dispatcher "$EXTRA" >job.ini
	job_config peer "loop_delay = 0" "pgq_autocommit = 0" >peer.ini
	{ grep -v '^dest_table' job.ini; lines "[public.orders]" "dest_table = orders"; } >section.ini
	{ grep -v '^dest_table' job.ini; lines "[public.orders_*]" "dest_table = many.%(table)s"; } >tables.ini
	sed 's/^queue_name = .*/queue_name = json/' job.ini >json.ini
	{ cat job.ini; say "row_mode = keep_latest"; } >latest.ini
	sed 's/^queue_name = .*/queue_name = updates/' latest.ini >updates.ini
	sed 's/^queue_name = .*/queue_name = updates/' peer.ini >apply.ini
}

# floor.sql and its files, from what tdispatch has loaded.
make_floor() {
	local part day
	{
		say "begin;"
		dst "select inhrelid::regclass from pg_inherits where inhparent = 'orders'::regclass order by 1" | while read -r part; do
			day=${part#orders_}
			sed "s/_DEST_TABLE/$part/g; s/_PARENT/orders/g; s/_PART_START/'${day//_/-}'/; s/_PART_END/date '${day//_/-}' + 1/" <<<"$TEMPLATE"
			say "\\copy $part ($FIELDS) from '$PWD/$part.copy'"
			say "\\copy $part ($FIELDS) to '$PWD/$part.copy'" >&3
		done
		say "commit;"
	} >floor.sql 3>out.sql
	sql "$DST" <out.sql
}

# The same rows as make_floor's, in a transaction for each tick, with as many COPYs as it has partitions.
make_floor_of_ticks() {
	make_floor
	{
		sed -n 's/^\(create .*\)/\1/p' floor.sql
		awk -v ticks="$TICKS" -v events="$EVENTS" -v fields="$FIELDS" '
			BEGIN { rows = events / ticks / (ARGC - 1)
				for (t = 0; t < ticks; t++) {
					print "begin;"
					for (i = 1; i < ARGC; i++) {
						print "copy " substr(ARGV[i], 1, length(ARGV[i]) - 5) " (" fields ") from stdin;"
						for (n = 0; n < rows; n++) { getline row <ARGV[i]; print row }
						print "\\."
					}
					print "commit;"
				} }' ./*.copy | sed 's#^copy \./#copy #'
	} >ticks.sql
	mv ticks.sql floor.sql
}

make_nothing() { :; }

set_up() {
	new_pair "bench"
	rm -f ./*.copy
	src "set client_min_messages = warning; select pgq.create_queue('q'), pgq.create_queue('json'), pgq.create_queue('updates')" >/dev/null
	dst "create table orders ($COLUMNS_SQL) $PARENT"
	config
	"$TDISPATCH" -q --install --set on_error=dead_letter job.ini >/dev/null
	FIRST_TICK=$(src "select max(tick_id) from pgq.tick where tick_queue = (select queue_id from pgq.queue where queue_name = 'q')")
	fill_queue
	src "vacuum analyze"
	"$TDISPATCH" -q --once job.ini
	"make_$FLOOR"
	WANT=$(fingerprint) ROWS=$(rows_of orders)
}

# The target empty, the queue at its beginning.
reset() {
	local drop
	drop=$(dst "select string_agg(format('drop table %s;', inhrelid::regclass), ' ') from pg_inherits where inhparent = 'orders'::regclass")
	dst "$drop truncate orders; delete from pgq_ext.completed_tick; delete from tdispatch.dead_letter; checkpoint;"
	src "select pgq.register_consumer_at('q', 'bench', $FIRST_TICK)" >/dev/null
	[ -z "$JSON" ] || src "select pgq.register_consumer_at('json', 'bench', 1)" >/dev/null
	[ -z "$UPDATES" ] || src "select pgq.register_consumer_at('updates', 'bench', 1)" >/dev/null
	[ "$1" != tables ] || fifty_tables
	[ "$1" != replica ] || replica
}

# All that tables.ini names; their rows are every's too.
fifty_tables() {
	dst "set client_min_messages = warning; drop schema if exists many cascade; create schema many; create table many.every (like orders);
		do \$\$ begin for i in 0..49 loop execute format('create table many.orders_%s () inherits (many.every)', i); end loop; end \$\$"
}

# What updates does, by logical replication: the changes wait in the WAL of a table of the source for a
# subscription of the same partitions, with keys. The last of them is the row in finished.
replica() {
	local day tables="create table copied ($COLUMNS_SQL, primary key (id, order_date))" keys=$((EVENTS / 10)) round
	sql postgres <<<"alter system set wal_level = logical"
	cluster_ctl restart -m fast
	src "$tables; create table finished (id int primary key); create publication bench for table copied, finished;
		select pg_create_logical_replication_slot('bench', 'pgoutput')" >/dev/null
	dst "$tables partition by range (order_date); create table finished (id int primary key);
		$(for day in {0..9}; do say "create table copied_$day partition of copied for values from (date '2026-03-01' + $day) to (date '2026-03-02' + $day);"; done)
		create subscription bench connection 'dbname=$SRC' publication bench with (create_slot = false, slot_name = 'bench', enabled = false, copy_data = false)"
	src "insert into copied select i, date '2026-03-01' + i % 10, 'name of customer '||i||' Ödd', i % 7 from generate_series(1, $keys) i"
	for round in {1..9}; do
		src "update copied set customer_name = 'name of customer '||id + $keys * $round||' Ödd', qty = (id + $keys * $round) % 7"
	done
	src "insert into finished values (1)"
	lines "'$PGBIN/psql' -qX -d $DST -c 'alter subscription bench enable'" \
		"until [ \"\$('$PGBIN/psql' -qAtX -d $DST -c 'select count(*) from finished')\" = 1 ]; do sleep 0.02; done" >replica.sh
}

# Into orders, where results are compared.
end_replica() {
	dst "set client_min_messages = warning; insert into orders select * from copied; drop subscription bench"
	sql postgres <<<"alter system reset wal_level"
	cluster_ctl restart -m fast
}

fingerprint() {
	dst "select tableoid::regclass, count(*), sum(hashtextextended(t::text, 0)) from orders t group by 1 order by tableoid::regclass::text" | md5sum
}

rows_of() {
	dst "select count(*), sum(hashtextextended(t::text, 0)) from $1 t"
}

# Are the tables what they must be after NAME's run?
right_result() {
	case $1 in
	updates* | apply | replica) [ "$(dst "select count(*), count(distinct id), count(*) filter (where customer_name <> 'name of customer '||id + $EVENTS / 10 * 9||' Ödd') from orders")" = \
		"$((EVENTS / 10))|$((EVENTS / 10))|0" ] ;;
	*bad) [ "$(dst "select count(*), count(distinct id), (select count(*) from tdispatch.dead_letter) from orders")" = \
		"$((EVENTS - EVENTS / 1000))|$((EVENTS - EVENTS / 1000))|$((EVENTS / 1000))" ] ;;
	tables) [ "$(rows_of many.every)" = "$ROWS" ] ;;
	*) [ "$(fingerprint)" = "$WANT" ] ;;
	esac
}

# What is measured: a process of its own.
command_of() {
	case $1 in
	bad) say "$TDISPATCH -q --once --set on_error=dead_letter --set max_errors=100000 --set fields=id,order_date,customer_name,note:qty job.ini" ;;
	latest_bad) say "$TDISPATCH -q --once --set on_error=dead_letter --set fields=id,order_date,customer_name,note:qty latest.ini" ;;
	updates2) say "$TDISPATCH -q --once --set lanes=2 updates.ini" ;;
	apply) say "/usr/bin/python3 $TOP/bench/apply.py apply.ini" ;;
	floor) say "$PGBIN/psql -qAtX -v ON_ERROR_STOP=1 -d $DST -f floor.sql" ;;
	one) say "$TDISPATCH -q --once job.ini" ;;
	two) say "$TDISPATCH -q --once --set lanes=2 job.ini" ;;
	four) say "$TDISPATCH -q --once --set lanes=4 job.ini" ;;
	eight) say "$TDISPATCH -q --once --set lanes=8 job.ini" ;;
	section | tables | json | latest | updates) say "$TDISPATCH -q --once $1.ini" ;;
	before) say "$BEFORE -q --once job.ini" ;;
	before2) say "$BEFORE -q --once --set lanes=2 job.ini" ;;
	replica) say "bash replica.sh" ;;
	peer) say "/usr/bin/python3 $TOP/bench/peer.py -q peer.ini" ;;
	esac
}

# Appends "WORKLOAD CONTESTANT ROUND SECONDS CPU_SECONDS RSS_KB EVENTS TICKS" to the file measures;
# latency and start have a line each as well, without the last two.
measure() {
	local workload=$1 name=$2 round=$3 rc=0
	reset "$name"
	# shellcheck disable=SC2046
	/usr/bin/time -o time.out -f '%e %U %S %M' $(command_of "$name") >out 2>err || rc=$?
	[ "$name" != replica ] || end_replica
	if [ $rc != 0 ] || ! right_result "$name"; then
		say "not ok $workload $name: exit $rc, or another result: $(tail -n 2 err)"
		FAILED=$((FAILED + 1))
		return
	fi
	[ "$round" != 1 ] || say "ok $workload: $name has the right tables"
	tail -n 1 time.out | awk -v run="$workload $name $round" -v of="$EVENTS $TICKS" '{ print run, $1, $2 + $3, $4, of }' >>"$CLUSTER/measures"
}

contestants() {
	local cores
	cores=$(nproc)
	case $1 in
	poison) say one bad latest latest_bad; return ;;
	latest) say floor one latest updates updates2; return ;;
	section | tables | json) say one "$1"; return ;;
	esac
	say floor ${BEFORE:+before} one ${BEFORE:+before2} two
	[ "$cores" -lt 8 ] || say four
	[ "$cores" -lt 16 ] || say eight
}

# The Python consumer holds a whole batch in memory: the long one is left out.
with_peer() {
	[ "${PEER:-1}" = 1 ] && [[ $1 != @(long|single-ticks|poison|latest|section|tables|json) ]] && [ "$2" -le $PEER_ROUNDS ] &&
		/usr/bin/python3 -c 'import pgq, skytools' 2>/dev/null
}

run_workload() {
	local workload=$1 round name rounds=$ROUNDS
	case $workload in long | single-ticks) [ "$rounds" -lt $LONG_ROUNDS ] || rounds=$LONG_ROUNDS ;; esac
	"workload_$workload"
	EVENTS=$((EVENTS / SCALE))
	[ "$TICKS" = 1 ] || TICKS=$((TICKS / SCALE))
	say "== $workload: $EVENTS events in $TICKS ticks"
	set_up
	for ((round = 1; round <= rounds; round++)); do
		for name in $(contestants "$workload"); do
			measure "$workload" "$name" "$round"
		done
		with_peer "$workload" "$round" && measure "$workload" peer "$round"
		[ -z "$UPDATES" ] || [ "$round" != 1 ] || [ "${PEER:-1}" != 1 ] || { measure "$workload" apply 1; measure "$workload" replica 1; }
	done
	table "$workload" | tee -a "$CLUSTER/tables"
}

MEDIAN='function median(a, n,   i, j, t) {
	for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
	return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}'

# One table of a workload from the measures: medians, and the ratios' spread.
table() {
	lines "" "### $1: $EVENTS events, $TICKS ticks" "" \
		"| | seconds | x the first (min to max) | events/s | peak RSS MB | client CPU us/event | rounds |" \
		"|---|---|---|---|---|---|---|"
	awk -v w="$1" -v events="$EVENTS" "$MEDIAN"'
		$1 == w { if (!($2 in count)) order[++names] = $2; n = ++count[$2]; s[$2, n] = $4; c[$2, n] = $5; at[$2, $3] = $4; r[$2, n] = $3
			if ($6 > rss[$2]) rss[$2] = $6 }
		END { for (k = 1; k <= names; k++) { name = order[k]; n = count[name]; lo = 1e9; hi = 0
			for (i = 1; i <= n; i++) { sec[i] = s[name, i]; cpu[i] = c[name, i]; x[i] = s[name, i] / at[order[1], r[name, i]]
				if (x[i] < lo) lo = x[i]; if (x[i] > hi) hi = x[i] }
			m = median(sec, n)
			printf "| %s | %.2f | %.2f (%.2f to %.2f) | %.0f | %.1f | %.2f | %d |\n", name == "floor" ? "FLOOR" : name == "one" ? "tdispatch" : name == "bad" ? "tdispatch, a bad event in a thousand" : name == "section" ? "tdispatch, the table in a section" : name == "tables" ? "tdispatch, each to its own of fifty" : name == "json" ? "tdispatch, the same rows in JSON" : name == "latest" ? "tdispatch, keep_latest, inserts" : name == "latest_bad" ? "tdispatch, keep_latest, a bad event in a thousand" : name == "updates" ? "tdispatch, keep_latest, ten events a key" : name == "updates2" ? "the same, two lanes" : name == "apply" ? "psycopg2, event by event" : name == "replica" ? "the same changes by logical replication" : name == "peer" ? "Python consumer" : name == "before" ? "tdispatch before" : name == "before2" ? "tdispatch before, two lanes" : "tdispatch, " name " lanes", m, median(x, n), lo, hi, events / m, rss[name] / 1024, median(cpu, n) * 1e6 / events, n } }
	' "$CLUSTER/measures"
}

# What is wanted, and what this run gave. A goal whose workload did not run is left out.
goals() {
	lines "" "### goals" "" "| | at most | measured | |" "|---|---|---|---|"
	awk "$MEDIAN"'
		{ sec[$1, $2, $3] = $4; cpu[$1, $2, $3] = $5; events[$1] = $7; ticks[$1] = $8
			if ($3 > rounds[$1, $2]) rounds[$1, $2] = $3
			if ($6 > rss[$1, $2]) rss[$1, $2] = $6 }
		function middle(from, w, n,   i, k, a) {
			for (i = 1; i <= rounds[w, n]; i++) if ((w, n, i) in from) a[++k] = from[w, n, i]
			return k ? median(a, k) : 0
		}
		function paired(from, w, n, base,   i, k, a) {
			for (i = 1; i <= rounds[w, n]; i++)
				if ((w, n, i) in from && (w, base, i) in from) a[++k] = from[w, n, i] / from[w, base, i]
			return k ? median(a, k) : 0
		}
		function ratio(w, n, base) { return paired(sec, w, n, base) }
		function goal(name, most, got) {
			if (got > 0) printf "| %s | %.3g | %.3g | %s |\n", name, most, got, got <= most ? "" : "missed"
		}
		END {
			goal("batch, one connection, x FLOOR", 1.1, ratio("batch", "one", "floor"))
			goal("batch, two lanes, x FLOOR", 0.9, ratio("batch", "two", "floor"))
			goal("attach, one connection, x FLOOR", 0.75, ratio("attach", "one", "floor"))
			goal("attach, two lanes, x FLOOR", 0.62, ratio("attach", "two", "floor"))
			goal("attach with two more indexes, x FLOOR", 0.65, ratio("indexes", "one", "floor"))
			goal("attach with two more indexes, two lanes, x FLOOR", 0.45, ratio("indexes", "two", "floor"))
			goal("batch, peak RSS of one connection, MB", 12, rss["batch", "one"] / 1024)
			goal("batch, peak RSS of two lanes, MB", 16, rss["batch", "two"] / 1024)
			goal("batch, one connection, seconds x the Python consumer", 1 / 8, ratio("batch", "one", "peer"))
			goal("batch, two lanes, seconds x the Python consumer", 1 / 9, ratio("batch", "two", "peer"))
			if (rounds["batch", "one"]) goal("batch, client CPU, us/event", 0.4, middle(cpu, "batch", "one") * 1e6 / events["batch"])
			if (rounds["ticks", "one"] && rounds["batch", "one"]) goal("ticks, x batch", 1.2, middle(sec, "ticks", "one") / middle(sec, "batch", "one"))
			if (ticks["single-ticks"]) goal("single-ticks, ms a batch", 3, middle(sec, "single-ticks", "one") * 1e3 / ticks["single-ticks"])
			if (rounds["batch", "one"]) goal("long, peak RSS x batch", 1.1, rss["long", "one"] / rss["batch", "one"])
			if (rounds["long", "one"] && rounds["batch", "one"]) goal("long, seconds an event x batch", 1.1,
				middle(sec, "long", "one") / events["long"] * events["batch"] / middle(sec, "batch", "one"))
			for (i = 1; i <= split("batch ticks many types", w, " "); i++) {
				goal(w[i] ", one connection, x before", 1.05, ratio(w[i], "one", "before"))
				goal(w[i] ", two lanes, x before", 1.05, ratio(w[i], "two", "before2"))
			}
			goal("many, x FLOOR", 1.3, ratio("many", "one", "floor"))
			goal("wide, x FLOOR", 1.15, ratio("wide", "one", "floor"))
			goal("types, x FLOOR", 0.8, ratio("types", "one", "floor"))
			goal("one, x FLOOR", 1.15, ratio("one", "one", "floor"))
			goal("poison, x all good", 3, ratio("poison", "bad", "one"))
			goal("poison with keep_latest, x all good", 3, ratio("poison", "latest_bad", "latest"))
			goal("latest, inserts alone, x FLOOR", 2, ratio("latest", "latest", "floor"))
			goal("latest, inserts alone, x log", 2, ratio("latest", "latest", "one"))
			goal("latest, ten events a key, x as many rows of log", 1, ratio("latest", "updates", "one"))
			goal("section, client CPU x without sections", 1.03, paired(cpu, "section", "section", "one"))
			goal("section, seconds x without sections", 1.03, ratio("section", "section", "one"))
			goal("tables, seconds x one table", 1.2, ratio("tables", "tables", "one"))
			if (rounds["tables", "one"]) goal("tables, peak RSS x one table", 1.1, rss["tables", "tables"] / rss["tables", "one"])
			goal("json, client CPU x urlencoded", 1.5, paired(cpu, "json", "json", "one"))
			goal("json, seconds x urlencoded", 1.5, ratio("json", "json", "one"))
			for (k = split("sets-5 sets-64 sets-65 sets-1000 partitions-10 partitions-4000 partitions-4500 partitions-20000", w, " "); k > 1; k--)
				if (k != 5 && rounds[w[k], "one"] && rounds[w[k - 1], "one"]) goal(w[k] ", time an event x " w[k - 1], 1.5,
					middle(sec, w[k], "one") / events[w[k]] * events[w[k - 1]] / middle(sec, w[k - 1], "one"))
			goal("dead letters, peak RSS of 100000 in a batch, MB", 10, rss["letters-100000", "bad"] / 1024)
			goal("dead letters, time of one in 100000 x 10000", 1.5, middle(sec, "letters-100000", "bad") / events["letters-100000"] * events["letters-10000"] / (middle(sec, "letters-10000", "bad") + 1e-9))
			goal("batches of 20000, time an event x a single batch", 1.5, middle(sec, "batches-20000", "one") / (middle(sec, "batches-1000000", "one") + 1e-9))
			goal("latency from the commit, p99 ms", 120, sec["latency", "commit", 1] * 1e3)
			goal("start, ms", 2, sec["start", "version", 1] * 1e3)
		}' "$CLUSTER/measures"
}

# ---- cliffs: what an event costs does not jump with the number of column sets, or of partitions

CLIFF_ROUNDS=${CLIFF_ROUNDS:-3}
CLIFF_SETS=${CLIFF_SETS-5 64 65 1000}
CLIFF_PARTITIONS=${CLIFF_PARTITIONS-10 4000 4500 20000}
CLIFF_LETTERS=${CLIFF_LETTERS-10000 100000}
CLIFF_BATCHES=${CLIFF_BATCHES-1000000 20000}

workload_sets() {
	local k
	orders 0
	EVENTS=500000 FIELDS='*'
	DATA="'id='||i||'&order_date=2026-03-01'"
	for k in {0..9}; do
		COLUMNS_SQL+=", c$k text"
		DATA+="||case when i % $1 >> $k & 1 = 1 then '&c$k=x' else '' end"
	done
}

workload_partitions() {
	orders "(abs(hashint4(i)) % $1)"
	EVENTS=1000000
}

# All partitions exist before.
premake() {
	dst "do \$\$ begin for i in 0..$1 - 1 loop
		execute format('create table orders_%s () inherits (orders)', to_char(date '2026-03-01' + i, 'YYYY_MM_DD'));
		if i % 1000 = 999 then commit; end if; end loop; end \$\$"
}

# All events of a batch are bad.
workload_letters() {
	workload_poison
	EVENTS=$1 DATA=${DATA/i % 1000 = 0/true}
}

# Batches of so many events, into ten partitions.
workload_batches() {
	orders "i % 10"
	EVENTS=1000000 TICKS=$((1000000 / $1)) EXTRA="batch_min_events = 0"
}

# cliff KIND N: appends lines to measures as workload KIND-N.
cliff() {
	local round before table=orders command=one
	"workload_$1" "$2"
	new_pair "bench"
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders ($COLUMNS_SQL)"
	[ "$1" != partitions ] || premake "$2"
	[ "$1" != batches ] || premake 10
	config
	"$TDISPATCH" -q --install --set on_error=dead_letter job.ini >/dev/null
	[ "$1" != letters ] || table=tdispatch.dead_letter command=bad
	FIRST_TICK=$(src "select max(tick_id) from pgq.tick")
	fill_queue
	src "vacuum analyze"
	dst "vacuum analyze pg_class, pg_attribute, pg_inherits, pg_type"
	for ((round = 1; round <= CLIFF_ROUNDS; round++)); do
		[[ $1 = @(partitions|batches) ]] || dst "truncate $table"
		before=$(dst "select count(*) from $table")
		dst "delete from pgq_ext.completed_tick; checkpoint"
		src "select pgq.register_consumer_at('q', 'bench', $FIRST_TICK)" >/dev/null
		/usr/bin/time -o time.out -f '%e %U %S %M' $(command_of $command) >out 2>err
		[ $(($(dst "select count(*) from $table") - before)) = "$EVENTS" ] || { FAILED=$((FAILED + 1)); say "not ok $1 $2: $(tail -n 2 err)"; }
		tail -n 1 time.out | awk -v run="$1-$2 $command $round" -v of="$EVENTS $TICKS" '{ print run, $1, $2 + $3, $4, of }' >>"$CLUSTER/measures"
	done
}

run_cliffs() {
	local n
	for n in $CLIFF_SETS; do cliff sets "$n"; done
	for n in $CLIFF_PARTITIONS; do cliff partitions "$n"; done
	for n in $CLIFF_LETTERS; do cliff letters "$n"; done
	for n in $CLIFF_BATCHES; do cliff batches "$n"; done
	cliffs_table | tee -a "$CLUSTER/tables"
}

cliffs_table() {
	lines "" "### cliffs: column sets in turn, with fields = *; partitions that exist, mixed; bad events; small batches" "" \
		"| | seconds | us an event | client CPU us/event | peak RSS MB |" "|---|---|---|---|---|"
	awk "$MEDIAN"'
		$1 ~ /^(sets|partitions|letters|batches)-/ { if (!($1 in n)) order[++names] = $1; s[$1, ++n[$1]] = $4; c[$1, n[$1]] = $5; events[$1] = $7
			if ($6 > rss[$1]) rss[$1] = $6 }
		END { for (k = 1; k <= names; k++) { w = order[k]
			for (i = 1; i <= n[w]; i++) { sec[i] = s[w, i]; cpu[i] = c[w, i] }
			m = median(sec, n[w]); split(w, name, "-")
			printf "| %s %s | %.2f | %.2f | %.2f | %.1f |\n", name[2], name[1] == "sets" ? "column sets" : name[1] == "letters" ? "dead letters" : name[1] == "batches" ? "events a batch" : name[1], m, m * 1e6 / events[w], median(cpu, n[w]) * 1e6 / events[w], rss[w] / 1024 } }
	' "$CLUSTER/measures"
}

# ---- latency: from a tick, and from a row's commit, to the row being visible on the target

LATENCY_ROWS=200

latency_sender() {
	local i
	for ((i = 1; i <= LATENCY_ROWS; i++)); do
		say "with event as (select pgq.insert_event('q', 'I:id', 'id=$i&order_date=2026-03-01&customer_name=x&qty=1', 'public.orders', '', '', ''))" \
			"insert into sent select $i, clock_timestamp(), txid_current() from event;" "select pg_sleep(0.02 + random() * 0.1);"
	done
}

# A queue that has run for a while, with the statistics that autovacuum would have kept: planned for
# an empty pgq.tick, PgQ's batch_event_sql joins all ticks with all.
some_ticks() {
	src "insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
			select queue_id, nextval(queue_tick_seq::regclass), 1 from pgq.queue, generate_series(1, 200) where queue_name = 'q';
		analyze pgq.tick"
}

# Notes when each row is first seen. One statement a look, each with a snapshot of its own.
latency_watcher() {
	say "do \$\$ begin for i in 1..$LATENCY_ROWS loop
		while not exists (select 1 from orders where id = i) loop perform pg_sleep(0.0005); end loop;
		insert into seen values (i, clock_timestamp()); end loop; end \$\$;"
}

run_latency() {
	local job ticker
	orders 0
	EVENTS=0 TICKS=0
	set_up
	some_ticks
	src "create table sent (id int, at timestamptz, txid bigint); select pgq.set_queue_config('q', 'ticker_max_lag', '0.1 seconds');
		select pgq.set_queue_config('q', 'ticker_idle_period', '0.1 seconds')" >/dev/null
	dst "create table seen (id int, at timestamptz); create table orders_2026_03_01 () inherits (orders); create index on orders_2026_03_01 (id)"
	"$TDISPATCH" -q job.ini &
	job=$!
	for ((i = 0; i < 600; i++)); do say "select pgq.ticker(); select pg_sleep(0.1);"; done | sql "$SRC" >/dev/null &
	ticker=$!
	# a queue that was quiet is looked at once in loop_delay: the first row is not counted
	src "select pgq.insert_event('q', 'I:id', 'id=0&order_date=2026-03-01&customer_name=x&qty=1', 'public.orders', '', '', '')" >/dev/null
	until [ "$(dst "select count(*) from orders")" = 1 ]; do sleep 0.05; done
	latency_sender | sql "$SRC" >/dev/null &
	latency_watcher | sql "$DST"
	kill $job $ticker
	wait $job $ticker 2>/dev/null
	latency_table | tee -a "$CLUSTER/tables"
}

latency_table() {
	src "copy (select id, extract(epoch from at) * 1000, (select extract(epoch from min(tick_time)) * 1000 from pgq.tick where txid_visible_in_snapshot(txid, tick_snapshot)) from sent order by id) to stdout" >sent.txt
	dst "copy (select extract(epoch from at) * 1000 from seen order by id) to stdout" >seen.txt
	lines "" "### latency: $LATENCY_ROWS single inserts into a queue at work, a tick every 100 ms, loop_delay = 1" "" "| from | median ms | p99 ms |" "|---|---|---|"
	paste sent.txt seen.txt | awk '{ print $4 - $2 }' | percentiles commit "a row's commit"
	paste sent.txt seen.txt | awk '{ print $4 - $3 }' | percentiles tick "the tick after it"
}

percentiles() {
	sort -n | awk -v key="$1" -v name="$2" -v measures="$CLUSTER/measures" '{ a[NR] = $1 }
		END { p99 = a[int(NR * 0.99)]; print "latency", key, 1, p99 / 1000, 0, 0 >>measures
			printf "| %s | %.1f | %.1f |\n", name, a[int((NR + 1) / 2)], p99 }'
}

# ---- start

# Nanoseconds of a command, with its fork and exec.
time_of() {
	local i from
	from=$(date +%s%N)
	for ((i = 0; i < 500; i++)); do "$@" >/dev/null; done
	say $((($(date +%s%N) - from) / 500))
}

run_start() {
	local ns none
	ns=$(time_of "$TDISPATCH" --version)
	none=$(time_of /bin/true)
	say "start version 1 ${ns}e-9 0 0" >>"$CLUSTER/measures"
	lines "" "### start: $((ns / 1000)) us for tdispatch --version, with its fork and exec; $((none / 1000)) us for /bin/true" |
		tee -a "$CLUSTER/tables"
}

# ---- the whole

# Jiffies of all CPUs since boot: all, and those that a virtual machine's host took away.
jiffies() {
	awk '/^cpu / { for (i = 2; i <= 9; i++) all += $i; print all, $9 }' /proc/stat
}

# stolen ALL STEAL: the share that the host took since jiffies said that.
stolen() {
	jiffies | awk -v all="$1" -v steal="$2" '{ printf "%.0f", 100 * ($2 - steal) / ($1 - all) }'
}

machine() {
	lines "# What was measured" "" "By \`make bench\` on $(date +%Y-%m-%d) at commit $COMMIT: $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)," \
		"$("$PGBIN/postgres" --version), $("$TDISPATCH" --version), $(/usr/bin/python3 --version 2>&1). Source and target are one server" \
		"with fsync off: its processes and the client share the cores. FLOOR is psql's \\copy of the same" \
		"rows, split by partition beforehand, into fresh partitions with primary keys, in one transaction;" \
		"for single-ticks, where each tick is a batch of its own, in a transaction for each of them." \
		"Ratios are medians of the rounds' own, with their spread; RSS is the highest of all rounds." \
		"The host took $(stolen $BEGAN) % of the CPUs' time away meanwhile: the more it was, the less the numbers say."
}

main() {
	local workload quick=
	[ -x "$TDISPATCH" ] || die "no program to measure: run make"
	if [ "${1:-}" = quick ]; then
		quick=1 ROUNDS=1 SCALE=20
		shift
		set -- batch attach indexes ticks many wide types one poison latest section tables json "$@"
	elif [ $# = 0 ]; then
		RESULTS=$TOP/bench/RESULTS.md COMMIT=$("$TOP/test/commit.sh")
		set -- batch attach indexes ticks single-ticks long many wide types one poison latest section tables json cliffs latency start
	fi
	trap bench_end EXIT
	trap 'exit 130' INT TERM
	bench_start
	BEGAN=$(jiffies)
	for workload; do
		case $workload in
		cliffs | latency | start) "run_$workload" 2>>"$CLUSTER/trouble" ;;
		*) run_workload "$workload" ;;
		esac
	done
	[ -n "$quick" ] || goals | tee -a "$CLUSTER/tables"
	[ -z "$RESULTS" ] || { machine; cat "$CLUSTER/tables"; } >"$RESULTS"
	[ -z "$quick" ] || say "$(wc -l <"$CLUSTER/measures") passed, $FAILED failed"
	[ "$FAILED" = 0 ]
}

main "$@"
