#!/bin/bash
# Measures tdispatch beside what the target server needs at least, and beside what else does the job:
# a Python consumer, INSERT .. SELECT through dblink, logical replication. Source and target are two
# servers.
#
#	bench/run.sh              all workloads, interleaved rounds; writes bench/RESULTS.md
#	bench/run.sh quick        small, one round, about a minute: are all tables equal?
#	bench/run.sh WORKLOAD...  some of: batch attach indexes ticks single-ticks long many wide types one poison
#	                          latest section tables json cliffs memory latency idle start
#
# FLOOR is psql \copy of the same rows, split into a file per partition beforehand, into fresh
# partitions with primary keys, in one transaction; for single-ticks in one for each tick. A ratio
# is the median of the rounds' own ratios. ROUNDS=n sets the rounds (5), PEER_ROUNDS and LONG_ROUNDS
# those that take longest (3), PEER=0 leaves the other programs out, SCALE=n divides the number of
# events. BEFORE=program measures an earlier tdispatch beside this one, in the same rounds.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"
. "$TOP/bench/servers.sh"

ROUNDS=${ROUNDS:-5}
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

bench_start() {
	servers_start
	mkdir -p "$TARGET/work" && cd "$TARGET/work" || exit 2
}

bench_end() {
	trap - EXIT
	cd / && servers_stop
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
	orders "i % 10"
	EVENTS=1000000
	PARENT="partition by range (order_date)"
	TEMPLATE="$ATTACH ${1:-} alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
}

workload_batch() { orders "i % 10"; EVENTS=1000000 JSON=$ORDERS_JSON; }
workload_attach() { attach; }
workload_indexes() { attach "create index on _DEST_TABLE (customer_name); create index on _DEST_TABLE (qty, order_date);"; }
workload_ticks() { orders "i % 10"; EVENTS=1000000 TICKS=2000; }
workload_single-ticks() { workload_ticks; EXTRA="batch_min_events = 0" FLOOR=floor_of_ticks; }
workload_long() { orders "i % 10"; EVENTS=5000000; }
workload_many() { orders "(abs(hashint4(i)) % 400)"; EVENTS=1000000; }
workload_one() { orders 0; EVENTS=1000000; }
# The note of every thousandth event is no number, and rare of every hundred thousandth; read as qty,
# it is a bad event.
workload_poison() {
	orders "i % 10"
	EVENTS=1000000
	DATA="'id='||i||'&order_date='||(date '2026-03-01' + i % 10)||'&customer_name=name+of+customer+'||i||'&qty='||i%7
		||'&note='||case when i % 1000 = 0 then 'bad' else (i%7)::text end||'&rare='||case when i % 100000 = 50 then 'bad' else (i%7)::text end"
}
# Long, since a few per cent of CPU time are to be seen.
workload_section() { orders "i % 10"; EVENTS=3000000 FLOOR=nothing; }
# The events of fifty tables alternate: beside one table of as many partitions.
workload_tables() { orders "i % 50"; EVENTS=1000000 TABLE="'public.orders_'||i%50" FLOOR=nothing; }
# Beside inserts as many events of a tenth of the keys: inserts, and then nine updates of each.
workload_latest() { orders "i % 10"; EVENTS=1000000 UPDATES=1; }

# The same rows a second time, as pgq.jsontriga writes them.
ORDERS_JSON="replace(replace(json_build_object('id', i, 'order_date', date '2026-03-01' + i % 10, 'customer_name', 'name of customer '||i||' Ödd',
	'qty', i%7, 'note', 'a column that nobody wants')::jsonb::text, '\": ', '\":'), ', \"', ',\"')"
workload_json() { workload_batch; FLOOR=nothing; }
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
	lines "[$1]" "job_name = bench" "src_db = $SRC" "dst_db = dbname=$DST" "queue_name = q" "dest_table = orders" \
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
	servers_pair
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
	case $1 in replica | dblink) "$1" ;; esac
}

# All that tables.ini names; their rows are every's too.
fifty_tables() {
	dst "set client_min_messages = warning; drop schema if exists many cascade; create schema many; create table many.every (like orders);
		do \$\$ begin for i in 0..49 loop execute format('create table many.orders_%s () inherits (many.every)', i); end loop; end \$\$"
}

# A partitioned table with keys, where others than tdispatch put the rows.
copied() {
	local day
	dst "set client_min_messages = warning; drop table if exists copied; create table copied ($COLUMNS_SQL, primary key (id, order_date)) partition by range (order_date);
		$(for day in {0..9}; do say "create table copied_$day partition of copied for values from (date '2026-03-01' + $day) to (date '2026-03-02' + $day);"; done)"
}

# The batch of queue json, pulled into the target and inserted there.
dblink() {
	copied
	dst "set client_min_messages = warning; create extension if not exists dblink"
	lines "begin;" "select dblink_connect('q', '$SRC');" \
		"select batch from dblink('q', 'select pgq.next_batch(''json'', ''bench'')') b (batch bigint) \\gset" \
		"insert into copied select r.* from dblink('q', 'select ev_data from pgq.get_batch_events(' || :batch || ')') e (data text)," \
		"json_to_record(e.data::json) r ($COLUMNS_SQL);" \
		"select * from dblink('q', 'select pgq.finish_batch(' || :batch || ')') f (n int);" "commit;" "select dblink_disconnect('q');" >dblink.sql
}

# What updates does, by logical replication: the changes wait in the WAL of a table of the source for a
# subscription of the same partitions, with keys. The last of them is the row in finished.
replica() {
	local keys=$((EVENTS / 10)) round
	on_source sql postgres <<<"alter system set wal_level = logical"
	on_source cluster_ctl restart -m fast
	copied
	src "create table copied ($COLUMNS_SQL, primary key (id, order_date));
		create table finished (id int primary key); create publication bench for table copied, finished;
		select pg_create_logical_replication_slot('bench', 'pgoutput')" >/dev/null
	dst "create table finished (id int primary key);
		create subscription bench connection '$SRC' publication bench with (create_slot = false, slot_name = 'bench', enabled = false, copy_data = false)"
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
	on_source sql postgres <<<"alter system reset wal_level"
	on_source cluster_ctl restart -m fast
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
	rare) [ "$(dst "select count(*), (select count(*) from tdispatch.dead_letter) from orders")" = "$((EVENTS - (EVENTS + 99950) / 100000))|$(((EVENTS + 99950) / 100000))" ] ;;
	dblink) [ "$(rows_of copied)" = "$ROWS" ] ;;
	tables) [ "$(rows_of many.every)" = "$ROWS" ] ;;
	*) [ "$(fingerprint)" = "$WANT" ] ;;
	esac
}

# What is measured: a process of its own.
command_of() {
	case $1 in
	bad) say "$TDISPATCH -q --once --set on_error=dead_letter --set max_errors=100000 --set fields=id,order_date,customer_name,note:qty job.ini" ;;
	rare) say "$TDISPATCH -q --once --set on_error=dead_letter --set fields=id,order_date,customer_name,rare:qty job.ini" ;;
	dblink) say "$PGBIN/psql -qAtX -v ON_ERROR_STOP=1 -d $DST -f dblink.sql" ;;
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

# timed WORKLOAD NAME ROUND COMMAND...: runs it, and puts its line for measures into the file
# time.line: see bench/tables.awk. Where others do the client's work its memory says nothing.
timed() {
	local run="$1 $2 $3" memory=1 rc=0 before
	case $2 in dblink | replica) memory=0 ;; esac
	shift 3
	before=$(servers_cpu)
	/usr/bin/time -o time.out -f '%e %U %S %M' "$@" >out 2>err || rc=$?
	say "$(tail -n 1 time.out) $before $(servers_cpu)" |
		awk -v run="$run" -v memory=$memory -v of="$EVENTS $TICKS" -v hz="$(getconf CLK_TCK)" \
			'{ print run, $1, $2 + $3, $4 * memory, of, ($7 - $5) / hz, ($8 - $6) / hz }' >time.line
	return $rc
}

# Appends a line to the file measures; latency, idle and start have such lines as well.
measure() {
	local workload=$1 name=$2 round=$3 rc=0
	reset "$name"
	# shellcheck disable=SC2046
	timed "$workload" "$name" "$round" $(command_of "$name") || rc=$?
	[ "$name" != replica ] || end_replica
	if [ $rc != 0 ] || ! right_result "$name"; then
		say "not ok $workload $name: exit $rc, or another result: $(tail -n 2 err)"
		FAILED=$((FAILED + 1))
		return
	fi
	[ "$round" != 1 ] || say "ok $workload: $name has the right tables"
	cat time.line >>"$TARGET/measures"
}

contestants() {
	local cores
	cores=$(nproc)
	case $1 in
	poison) say one bad rare latest latest_bad; return ;;
	latest) say floor one latest updates updates2; return ;;
	section | tables | json) say one "$1"; return ;;
	esac
	say floor ${BEFORE:+before} one ${BEFORE:+before2} two
	[ "$cores" -lt 8 ] || say four
	[ "$cores" -lt 16 ] || say eight
}

# others WORKLOAD ROUND: other programs that do the job. The Python consumer holds a whole batch in
# memory; event by event takes a minute.
others() {
	[ "${PEER:-1}" = 1 ] && [ "$2" -le "$PEER_ROUNDS" ] || return 0
	case $1 in
	batch) say dblink ;;
	latest) [ "$2" != 1 ] || say apply replica ;;
	esac
	case $1:$2 in batch:* | many:1 | wide:1) ! /usr/bin/python3 -c 'import pgq, skytools' 2>/dev/null || say peer ;; esac
}

run_workload() {
	local workload=$1 round name rounds=$ROUNDS
	case $workload in long | single-ticks) [ "$rounds" -lt "$LONG_ROUNDS" ] || rounds=$LONG_ROUNDS ;; esac
	"workload_$workload"
	EVENTS=$((EVENTS / SCALE))
	[ "$TICKS" = 1 ] || TICKS=$((TICKS / SCALE))
	say "== $workload: $EVENTS events in $TICKS ticks"
	set_up
	for ((round = 1; round <= rounds; round++)); do
		for name in $(contestants "$workload") $(others "$workload" "$round"); do
			measure "$workload" "$name" "$round"
		done
	done
	table "$workload"
}

TITLES='floor=FLOOR
one=tdispatch
two=tdispatch, two lanes
four=tdispatch, 4 lanes
eight=tdispatch, 8 lanes
before=tdispatch before
before2=tdispatch before, two lanes
bad=tdispatch, a bad event in a thousand
rare=tdispatch, a bad event in a hundred thousand
section=tdispatch, the table in a section
tables=tdispatch, each to its own of fifty
json=tdispatch, the same rows in JSON
latest=tdispatch, keep_latest, inserts
latest_bad=tdispatch, keep_latest, a bad event in a thousand
updates=tdispatch, keep_latest, ten events a key
updates2=the same, two lanes
apply=psycopg2, event by event
replica=the same changes by logical replication
dblink=dblink, INSERT .. SELECT
peer=Python consumer'

# Of a workload, or of cliffs, memory, goals.
table() {
	awk -v what="$1" -v titles="${TITLES//$'\n'/|}" -f "$TOP/bench/tables.awk" "$TARGET/measures" | tee -a "$TARGET/tables"
}

# ---- cliffs: what an event costs does not jump with the number of column sets, or of partitions

CLIFF_ROUNDS=${CLIFF_ROUNDS:-2}
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

# set_up_alone PARTITIONS: so many exist before; 0: they are created.
set_up_alone() {
	PREMADE=${1#0}
	servers_pair
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders ($COLUMNS_SQL)"
	[ -z "$PREMADE" ] || premake "$1"
	config
	"$TDISPATCH" -q --install --set on_error=dead_letter job.ini >/dev/null
	FIRST_TICK=$(src "select max(tick_id) from pgq.tick")
	fill_queue
	src "vacuum analyze"
	dst "vacuum analyze pg_class, pg_attribute, pg_inherits, pg_type"
}

# floor.sql and its files, from what tdispatch has loaded once, into partitions that exist.
make_floor_of_premade() {
	local part="from pg_inherits where inhparent = 'orders'::regclass order by inhrelid::regclass::text"
	dst "select format('\copy %s (%s) to %L', inhrelid::regclass, '$FIELDS', '$PWD/' || inhrelid::regclass || '.copy') $part" >out.sql
	sql "$DST" <out.sql
	{ say "begin;" && sed 's/ to / from /' out.sql && say "commit;"; } >floor.sql
}

# alone TABLE WORKLOAD NAME ROUND...: measures one contestant; the table gets a row an event.
alone() {
	local round before table=$1
	shift
	for round in "${@:3}"; do
		[ -n "$PREMADE" ] || dst "truncate $table"
		before=$(dst "select count(*) from $table")
		dst "delete from pgq_ext.completed_tick; checkpoint"
		src "select pgq.register_consumer_at('q', 'bench', $FIRST_TICK)" >/dev/null
		# shellcheck disable=SC2046
		timed "$1" "$2" "$round" $(command_of "$2") || :
		if [ $(($(dst "select count(*) from $table") - before)) = "$EVENTS" ]; then
			cat time.line >>"$TARGET/measures"
		else
			FAILED=$((FAILED + 1))
			say "not ok $1 $2: $(tail -n 2 err)"
		fi
	done
}

# cliff KIND N: as workload KIND-N.
cliff() {
	local rounds
	mapfile -t rounds < <(seq "$CLIFF_ROUNDS")
	"workload_$1" "$2"
	case $1 in
	partitions) set_up_alone "$2" ;;
	batches) set_up_alone 10 ;;
	*) set_up_alone 0 ;;
	esac
	case $1 in
	letters) alone tdispatch.dead_letter "$1-$2" bad "${rounds[@]}" ;;
	partitions)
		alone orders "$1-$2" one 1
		make_floor_of_premade
		alone orders "$1-$2" one "${rounds[@]:1}"
		alone orders "$1-$2" floor "${rounds[@]}"
		;;
	*) alone orders "$1-$2" one "${rounds[@]}" ;;
	esac
}

run_cliffs() {
	local n
	for n in $CLIFF_SETS; do cliff sets "$n"; done
	for n in $CLIFF_PARTITIONS; do cliff partitions "$n"; done
	for n in $CLIFF_LETTERS; do cliff letters "$n"; done
	for n in $CLIFF_BATCHES; do cliff batches "$n"; done
	table cliffs
}

# ---- memory: beside that of the workloads and cliffs

workload_columns() {
	local n
	orders "(abs(hashint4(i)) % 1000)"
	EVENTS=20000
	for n in {1..146}; do
		COLUMNS_SQL+=", c$n text" FIELDS+=", c$n" DATA+="||'&c$n=value+'||i"
	done
}

run_memory() {
	workload_columns
	set_up_alone 1000
	alone columns one 1
	table memory
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
	latency_table | tee -a "$TARGET/tables"
}

latency_table() {
	src "copy (select id, extract(epoch from at) * 1000, (select extract(epoch from min(tick_time)) * 1000 from pgq.tick where txid_visible_in_snapshot(txid, tick_snapshot)) from sent order by id) to stdout" >sent.txt
	dst "copy (select extract(epoch from at) * 1000 from seen order by id) to stdout" >seen.txt
	lines "" "### latency: $LATENCY_ROWS single inserts into a queue at work, a tick every 100 ms, loop_delay = 1" "" "| from | median ms | p99 ms |" "|---|---|---|"
	paste sent.txt seen.txt | awk '{ print $4 - $2 }' | percentiles commit "a row's commit"
	paste sent.txt seen.txt | awk '{ print $4 - $3 }' | percentiles tick "the tick after it"
}

percentiles() {
	sort -n | awk -v key="$1" -v name="$2" -v measures="$TARGET/measures" '{ a[NR] = $1 }
		END { p99 = a[int(NR * 0.99)]; print "latency", key, 1, p99 / 1000, 0, 0 >>measures
			print "latency", key "_median", 1, a[int((NR + 1) / 2)] / 1000, 0, 0 >>measures
			printf "| %s | %.1f | %.1f |\n", name, a[int((NR + 1) / 2)], p99 }'
}

# ---- idle: what the source pays for looks at a queue that was at work and is empty

# run_of PID: the nanoseconds that a process has run, and how often it has waited, once a statement.
run_of() {
	say "$(cut -d ' ' -f 1 "/proc/$1/schedstat") $(sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$1/status")"
}

# The same of a session that says SELECT 1 as often.
run_bare() {
	local job backend from
	say 'select 1;' >bare.sql
	on_source "$PGBIN/pgbench" -n -c 1 -T 3 -R 250 -f bare.sql bench_src >/dev/null 2>&1 &
	job=$!
	sleep 0.5
	backend=$(src "select pid from pg_stat_activity where application_name = 'pgbench'")
	from=$(run_of "$backend")
	sleep 2
	say "$from $(run_of "$backend")"
	wait $job
}

run_idle() {
	local job backend i from
	orders 0
	EVENTS=0 TICKS=0
	set_up
	some_ticks
	"$TDISPATCH" -q job.ini &
	job=$!
	for ((i = 1; i <= 10; i++)); do
		src "select pgq.insert_event('q', 'I:id', 'id=$i&order_date=2026-03-01&customer_name=x&qty=1', 'public.orders', '', '', ''), pgq.force_tick('q'); select pgq.ticker('q')" >/dev/null
		until [ "$(dst "select count(*) from orders")" = "$i" ]; do sleep 0.02; done
		sleep 0.1
		backend=$(src "select pid from pg_stat_activity where application_name like 'tdispatch%' and datname = 'bench_src'")
		from=$(run_of "$backend")
		sleep 1
		say "$from $(run_of "$backend")"
	done >looks
	kill $job
	wait $job 2>/dev/null
	awk -v measures="$TARGET/measures" -v bare="$(run_bare)" '{ ns += $3 - $1; looks += $4 - $2 }
		END { print "idle look 1 0 0 0 0 0", ns / looks / 1e9, 0 >>measures
			printf "\n### idle: %.0f us of source CPU a look, %.0f looks in the first second after an event;", ns / looks / 1000, looks / NR
			split(bare, b)
			printf " %.0f us for SELECT 1\n", (b[3] - b[1]) / (b[4] - b[2]) / 1000 }' looks | tee -a "$TARGET/tables"
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
	say "start version 1 ${ns}e-9 0 0" >>"$TARGET/measures"
	lines "" "### start: $((ns / 1000)) us for tdispatch --version, with its fork and exec; $((none / 1000)) us for /bin/true" |
		tee -a "$TARGET/tables"
}

# ---- the whole

machine() {
	lines "# What was measured" "" "By \`make bench\` on $(date +%Y-%m-%d) at commit $COMMIT: $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)," \
		"$("$PGBIN/postgres" --version), $("$TDISPATCH" --version), $(/usr/bin/python3 --version 2>&1). Source and target are two servers" \
		"with fsync off: their processes and the client share the cores. FLOOR is psql's \\copy of the same" \
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
		set -- batch attach indexes ticks single-ticks long many wide types one poison latest section tables json cliffs memory latency idle start
	fi
	trap bench_end EXIT
	trap 'exit 130' INT TERM
	bench_start
	BEGAN=$(jiffies) SECONDS=0
	for workload; do
		case $workload in
		cliffs | memory | latency | idle | start) "run_$workload" 2>>"$TARGET/trouble" ;;
		*) run_workload "$workload" ;;
		esac
	done
	[ -n "$quick" ] || table goals
	say "took $((SECONDS / 60)) min"
	[ -z "$RESULTS" ] || { machine; cat "$TARGET/tables"; } >"$RESULTS"
	[ -z "$quick" ] || say "$(wc -l <"$TARGET/measures") passed, $FAILED failed"
	[ "$FAILED" = 0 ]
}

main "$@"
