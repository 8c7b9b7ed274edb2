#!/bin/bash
# Measures a one-off copy of a table into new partitions with primary keys beside what else does it:
# psql's COPY of the table into the parent and the initial copy of logical replication, across two
# servers; INSERT .. SELECT, a CREATE TABLE AS a day, and pg_partman's partition_data_proc, in one
# database. With each: the CPU time of the source's server, of the client and of the target's
# server; two lanes take no less than half of their sum on two cores. Installs pg_partman with
# apt-get where it lacks.
#
#	bench/copy.sh              all workloads, interleaved rounds; writes bench/COPY.md
#	bench/copy.sh quick        small, one round: are all tables equal?
#	bench/copy.sh WORKLOAD...  some of: narrow many wide wide-many
#
# ROUNDS=n sets the rounds (5), SLOW_ROUNDS those of who is slow with many partitions (1), SCALE=n
# divides the number of rows. A ratio is the median of the rounds' own ratios to COPY. WHO names
# those who are measured; BEFORE=PROGRAM, another tdispatch, may be among them as before and before2.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"
. "$TOP/bench/servers.sh"

ROUNDS=${ROUNDS:-5}
SLOW_ROUNDS=${SLOW_ROUNDS:-1}
SCALE=${SCALE:-1}
TDISPATCH=$(readlink -f "${TDISPATCH:-$TOP/tdispatch}")
BEFORE=$(readlink -f "${BEFORE:-$TDISPATCH}")
FAILED=0

# ---- workloads: set ROWS, DAYS, and COLUMNS and VALUES (SQL for i) of the table

workload_narrow() {
	ROWS=1000000 DAYS=10
	COLUMNS="id bigint, day date, amount numeric, note text, at timestamptz"
	VALUES="i, date '2026-01-01' + i % DAYS, i * 1.5, 'note ' || i, timestamptz '2026-01-01' + i * interval '1 second'"
}
workload_many() { workload_narrow; DAYS=400; }
workload_wide() {
	local n
	ROWS=100000 DAYS=10
	COLUMNS="id bigint, day date" VALUES="i, date '2026-01-01' + i % DAYS"
	for n in {1..36}; do
		COLUMNS+=", c$n text"
		VALUES+=", 'value of column $n ' || md5((i * $n)::text)"
	done
}
workload_wide-many() { workload_wide; DAYS=400; }

psql_in() {
	if [ "$1" = bench_src ]; then on_source sql "$1"; else sql "$1"; fi
}

fill_source() {
	psql_in bench_src <<-END
		set client_min_messages = warning;
		drop table if exists orders;
		create table orders ($COLUMNS, primary key (id));
		insert into orders select ${VALUES//DAYS/$DAYS} from generate_series(1, $((ROWS / SCALE))) i;
		vacuum analyze orders;
	END
	rm -f split
}

# new_target DATABASE: an empty parent with a key. What the run before has left in the catalogs goes, as
# autovacuum would have it.
new_target() {
	psql_in "$1" <<-END
		set client_min_messages = warning;
		drop table if exists target cascade;
		vacuum;
		create table target ($COLUMNS, primary key (id, day)) partition by range (day);
		checkpoint
	END
}

# each_day FORMAT [HALF]: a line for each partition, or for every second: its name's end, %1$s, and its
# bounds, %2$L and %3$L.
each_day() {
	psql_in bench_src <<-END
		select format(\$format\$$1\$format\$, to_char(d, 'YYYY_MM_DD'), d, d + 1)
			from (select date '2026-01-01' + i as d from generate_series(0, $DAYS - 1) i where ${2:-i % 2} = i % 2) x
	END
}

# partitions DATABASE [TABLE]: which tdispatch makes by itself.
partitions() {
	psql_in "$1" <<<"$(each_day "create table target_%1\$s partition of ${2:-target} for values from (%2\$L) to (%3\$L);")"
}

fingerprint() {
	psql_in "$1" <<<"select count(*), sum(hashtextextended(t::text, 0)) from $2 t"
}

# ---- who copies; each leaves its rows in table $TABLE of database $INTO

prepare_insert() { INTO=bench_src; new_target bench_src; }
run_insert() { partitions bench_src; psql_in bench_src <<<"insert into target select * from orders"; }
prepare_ctas() { INTO=bench_src; new_target bench_src; }
run_ctas() {
	psql_in bench_src <<<"$(each_day "create table target_%1\$s as select * from orders where day = %2\$L; alter table target_%1\$s alter id set not null, alter day set not null,
		add primary key (id, day); alter table target attach partition target_%1\$s for values from (%2\$L) to (%3\$L);")"
}
prepare_copy() { INTO=bench_dst; new_target bench_dst; }
run_copy() {
	partitions bench_dst
	psql_in bench_src <<<"copy orders to stdout" | "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d bench_dst -c "copy target from stdin"
}
prepare_one() { INTO=bench_dst; new_target bench_dst; psql_in bench_dst <<<"delete from tdispatch.slice"; }
run_one() { "$TDISPATCH" --from orders -q copy.ini; }
prepare_two() { prepare_one; }
run_two() { "$TDISPATCH" --from orders -q --set lanes=2 copy.ini; }
prepare_before() { prepare_one; }
run_before() { "$BEFORE" --from orders -q copy.ini; }
prepare_before2() { prepare_one; }
run_before2() { "$BEFORE" --from orders -q --set lanes=2 copy.ini; }

# The least that one lane, and two, leave to the servers: the source sends its rows in binary to
# nobody, while sessions load such rows, split by partition beforehand, and make keys after them.
# prepare_loads HALF...: a session for each half of the partitions; "": for all.
prepare_loads() {
	local half
	INTO=bench_dst
	new_target bench_dst
	rm -f load.*
	[ -e split ] || psql_in bench_src <<<"$(each_day "\\copy (select * from orders where day = %2\$L) to '%1\$s.rows' (format binary)")"
	touch split
	for half; do
		{
			say "begin;"
			each_day "create table target_%1\$s (like target);" $half
			each_day "\\copy target_%1\$s from '%1\$s.rows' (format binary)" $half
			each_day "alter table target_%1\$s add primary key (id, day);" $half
			each_day "alter table target attach partition target_%1\$s for values from (%2\$L) to (%3\$L);" $half
			say "commit;"
		} >"load.$half"
	done
}
run_loads() {
	local file
	for file in load.*; do
		psql_in bench_dst <"$file" &
	done
	psql_in bench_src <<<"\\copy orders to '/dev/null' (format binary)"
	wait
}
prepare_least() { prepare_loads ""; }
run_least() { run_loads; }
prepare_least2() { prepare_loads 0 1; }
run_least2() { run_loads; }

# It moves the rows out of a table of its own. One partition must be there: the newest stays.
prepare_partman() {
	INTO=bench_src
	new_target bench_src
	psql_in bench_src <<-END >/dev/null
		set client_min_messages = warning;
		delete from partman.part_config;
		drop table if exists moved;
		create table moved (like orders including all);
		insert into moved select * from orders;
		vacuum analyze moved;
		select partman.create_parent('public.target', 'day', 'native', 'daily', p_premake := 1, p_start_partition := '2026-01-01');
		do \$\$ declare t text; begin
			for t in select inhrelid::regclass from pg_inherits where inhparent = 'target'::regclass
				order by inhrelid::regclass::text ~ '_p[0-9_]+\$' desc, inhrelid::regclass::text desc offset 1 loop execute 'drop table ' || t; end loop; end \$\$;
		checkpoint
	END
}
run_partman() { psql_in bench_src <<<"set client_min_messages = warning; call partman.partition_data_proc('public.target', p_source_table := 'public.moved', p_wait := 0, p_quiet := true)"; }

# The subscriber's table has the publisher's name.
prepare_replica() {
	INTO=bench_dst TABLE=orders
	new_target bench_dst
	psql_in bench_dst <<<"alter table target rename to orders"
	psql_in bench_src <<-END >/dev/null
		set client_min_messages = warning;
		drop publication if exists bench;
		create publication bench for table orders
	END
}
run_replica() {
	partitions bench_dst orders
	psql_in bench_dst <<-END
		set client_min_messages = warning;
		create subscription bench connection 'host=$SOURCE port=$SOURCE_PORT user=postgres dbname=bench_src' publication bench;
		do \$\$ begin
			while exists (select from pg_subscription_rel where srsubstate not in ('s', 'r')) loop perform pg_sleep(0.01); end loop; end \$\$
	END
}
end_replica() { psql_in bench_dst <<<"set client_min_messages = warning; drop subscription bench; drop table orders"; }

WHO=${WHO:-copy replica insert ctas partman one least two least2}
SLOW="ctas partman"
declare -A NAME=(
	[copy]="psql COPY to the parent" [replica]="logical replication, initial copy" [insert]="INSERT .. SELECT, one database"
	[ctas]="CREATE TABLE AS a day, then keys, one database" [partman]="pg_partman, partition_data_proc, one database" [least]="a session loads files, the source sends to nobody" [least2]="two sessions load files, the source sends to nobody"
	[one]="tdispatch" [two]="tdispatch, two lanes" [before]="tdispatch before" [before2]="tdispatch before, two lanes"
)

write_config() {
	cat >copy.ini <<-END
		[tdispatch]
		src_db = host=$SOURCE port=$SOURCE_PORT user=postgres dbname=bench_src
		dst_db = dbname=bench_dst
		dest_table = target
		part_field = day
		from_table = orders
		part_template =
		    create table _DEST_TABLE (like _PARENT including all);
		    alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);
	END
}

# measure WHO: adds a line to its file: seconds, and the CPU's of source, client and target.
measure() {
	local TIMEFORMAT='%R %U %S' before
	TABLE=target
	"prepare_$1"
	before=$(servers_cpu)
	{ time "run_$1" 2>&3 || FAILED=1; } 3>&2 2>time
	say "$(cat time) $before $(servers_cpu)" |
		awk -v hz="$(getconf CLK_TCK)" '{ print $1, ($6 - $4) / hz, $2 + $3, ($7 - $5) / hz }' >>"$WORKLOAD.$1"
	[ "$(fingerprint "$INTO" "$TABLE")" = "$WANTED" ] || { say "$WORKLOAD: $1 has other rows" >&2; FAILED=1; }
	[ "$1" != replica ] || end_replica
}

# median FORMAT: of numbers, one a line.
median() {
	sort -n | awk -v format="$1" '{ v[NR] = $1 } END { printf format, v[int((NR + 1) / 2)] }'
}

# The line of the table about one of those that were measured.
tell() {
	local column ratio=
	[ ! -e "$WORKLOAD.copy" ] ||
		ratio=$(paste -d ' ' "$WORKLOAD.$1" "$WORKLOAD.copy" | awk 'NF == 8 { print $1 / $5 }' | median %.3f)
	printf '| %s | %s | %s' "${NAME[$1]}" "$(cut -d ' ' -f 1 "$WORKLOAD.$1" | median %.2f)" "$ratio"
	for column in 2 3 4; do
		printf ' | %s' "$(cut -d ' ' -f $column "$WORKLOAD.$1" | median %.2f)"
	done
	echo ' |'
}

run_workload() {
	local round who
	WORKLOAD=$1
	"workload_$1"
	fill_source
	WANTED=$(fingerprint bench_src orders)
	for ((round = 0; round < ROUNDS; round++)); do
		for who in $WHO; do
			[ "$DAYS" = 10 ] || [[ " $SLOW " != *" $who "* ]] || [ "$round" -lt "$SLOW_ROUNDS" ] || continue
			measure "$who"
		done
	done
	say "| **$1**: $((ROWS / SCALE)) rows, $DAYS partitions | | | | | |"
	for who in $WHO; do
		tell "$who"
	done
}

report() {
	say "# A table copied once into partitions with keys"
	say
	say "Written by bench/copy.sh at commit $("$TOP/test/commit.sh"): medians of $ROUNDS interleaved rounds, two servers with PostgreSQL $("$PGBIN/postgres" --version | cut -d ' ' -f 3), $(nproc) cores. Fewer is better."
	say "CPU seconds: of the source's server, of the client and of the target's server. What works in one database is the source's."
	say
	say "| | seconds | x COPY | source | client | target |"
	say "| --- | ---: | ---: | ---: | ---: | ---: |"
	cat table
}

# pg_partman of the server that is used.
need_partman() {
	local bin version
	bin=$(find_pgbin) || die "no PostgreSQL server (see test/install.sh)"
	version=$("$bin/pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	[ -f "$("$bin/pg_config" --sharedir)/extension/pg_partman.control" ] && return
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y install "postgresql-$version-partman" >/dev/null 2>&1 ||
		die "pg_partman is not there: install postgresql-$version-partman"
}

main() {
	[ "${1:-}" != quick ] || { ROUNDS=1 SCALE=50; shift; }
	need_partman
	trap servers_stop EXIT
	export IN_MEMORY=1      # ext4 searches for a free inode past all that were deleted minutes ago
	servers_start
	on_source sql postgres <<<"alter system set wal_level = logical"
	on_source cluster_ctl restart -m fast
	mkdir -p "$TARGET/work" && cd "$TARGET/work" || exit 2
	servers_pair
	psql_in bench_src <<<"create schema partman; create extension pg_partman schema partman"
	write_config
	"$TDISPATCH" --install copy.ini >/dev/null || exit 1
	for name in ${*:-narrow many wide wide-many}; do
		run_workload "$name" | tee -a table
	done
	[ "$ROUNDS$SCALE" = 150 ] || [ $# != 0 ] || report >"$TOP/bench/COPY.md"
	return $FAILED
}

main "$@"
