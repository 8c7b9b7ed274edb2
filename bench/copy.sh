#!/bin/bash
# Measures a one-off copy of a table into new partitions with primary keys beside what else does it:
# psql's COPY of the table into the parent and the initial copy of logical replication, across two
# databases; INSERT .. SELECT, a CREATE TABLE AS a day, and pg_partman's partition_data_proc, in one
# database. Installs pg_partman with apt-get where it lacks.
#
#	bench/copy.sh              all workloads, interleaved rounds; writes bench/COPY.md
#	bench/copy.sh quick        small, one round: are all tables equal?
#	bench/copy.sh WORKLOAD...  some of: narrow many wide wide-many
#
# ROUNDS=n sets the rounds (5), SLOW_ROUNDS those of who is slow with many partitions (1), SCALE=n
# divides the number of rows. A ratio is the median of the rounds' own ratios to COPY.

TOP=$(cd "$(dirname "$0")/.." && pwd) || exit 2
. "$TOP/test/cluster.sh"

ROUNDS=${ROUNDS:-5}
SLOW_ROUNDS=${SLOW_ROUNDS:-1}
SCALE=${SCALE:-1}
TDISPATCH=$(readlink -f "${TDISPATCH:-$TOP/tdispatch}")
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
	"$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$1"
}

fill_source() {
	psql_in bench_src <<-END
		set client_min_messages = warning;
		drop table if exists orders;
		create table orders ($COLUMNS, primary key (id));
		insert into orders select ${VALUES//DAYS/$DAYS} from generate_series(1, $((ROWS / SCALE))) i;
		vacuum analyze orders;
	END
}

# new_target DATABASE: an empty parent with a key.
new_target() {
	psql_in "$1" <<-END
		set client_min_messages = warning;
		drop table if exists target cascade;
		create table target ($COLUMNS, primary key (id, day)) partition by range (day);
		checkpoint
	END
}

# partitions DATABASE [TABLE]: which tdispatch makes by itself.
partitions() {
	psql_in "$1" <<-END
		select format('create table target_%s partition of ${2:-target} for values from (%L) to (%L)', to_char(d, 'YYYY_MM_DD'), d, d + 1)
			from (select date '2026-01-01' + i as d from generate_series(0, $DAYS - 1) i) x \gexec
	END
}

fingerprint() {
	psql_in "$1" <<<"select count(*), sum(hashtextextended(t::text, 0)) from $2 t"
}

# ---- who copies; each leaves its rows in table $TABLE of database $INTO

prepare_insert() { INTO=bench_src; new_target bench_src; }
run_insert() { partitions bench_src; psql_in bench_src <<<"insert into target select * from orders"; }
prepare_ctas() { INTO=bench_src; new_target bench_src; }
run_ctas() {
	psql_in bench_src <<-END
		select format('create table target_%s as select * from orders where day = %L; alter table target_%1\$s alter id set not null, alter day set not null,
			add primary key (id, day); alter table target attach partition target_%1\$s for values from (%2\$L) to (%L)', to_char(d, 'YYYY_MM_DD'), d, d + 1)
			from (select date '2026-01-01' + i as d from generate_series(0, $DAYS - 1) i) x \gexec
	END
}
prepare_copy() { INTO=bench_dst; new_target bench_dst; }
run_copy() {
	partitions bench_dst
	"$PGBIN/psql" -qAtX -d bench_src -c "copy orders to stdout" | "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d bench_dst -c "copy target from stdin"
}
prepare_one() { INTO=bench_dst; new_target bench_dst; psql_in bench_dst <<<"delete from tdispatch.slice"; }
run_one() { "$TDISPATCH" --from orders -q --set lanes="${1:-1}" copy.ini; }
prepare_two() { prepare_one; }
run_two() { run_one 2; }

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

# The subscriber's table has the publisher's name. A slot that was there before keeps the two databases
# of one server from waiting for each other.
prepare_replica() {
	INTO=bench_dst TABLE=orders
	new_target bench_dst
	psql_in bench_dst <<<"alter table target rename to orders"
	psql_in bench_src <<-END >/dev/null
		set client_min_messages = warning;
		drop publication if exists bench;
		create publication bench for table orders;
		select pg_create_logical_replication_slot('bench', 'pgoutput')
	END
}
run_replica() {
	partitions bench_dst orders
	psql_in bench_dst <<-END
		set client_min_messages = warning;
		create subscription bench connection 'dbname=bench_src' publication bench with (create_slot = false, slot_name = 'bench');
		do \$\$ begin
			while exists (select from pg_subscription_rel where srsubstate not in ('s', 'r')) loop perform pg_sleep(0.01); end loop; end \$\$
	END
}
end_replica() { psql_in bench_dst <<<"set client_min_messages = warning; drop subscription bench; drop table orders"; }

WHO="copy replica insert ctas partman one two"
SLOW="ctas partman"
declare -A NAME=(
	[copy]="psql COPY to the parent" [replica]="logical replication, initial copy" [insert]="INSERT .. SELECT, one database"
	[ctas]="CREATE TABLE AS a day, then keys, one database" [partman]="pg_partman, partition_data_proc, one database"
	[one]="tdispatch" [two]="tdispatch, two lanes"
)

write_config() {
	cat >copy.ini <<-END
		[tdispatch]
		src_db = dbname=bench_src
		dst_db = dbname=bench_dst
		dest_table = target
		part_field = day
		from_table = orders
		part_template =
		    create table _DEST_TABLE (like _PARENT including all);
		    alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);
	END
}

# measure WHO: adds the milliseconds to its file.
measure() {
	local begun
	TABLE=target
	"prepare_$1"
	begun=$(date +%s%N)
	"run_$1" || FAILED=1
	say "$((($(date +%s%N) - begun) / 1000000))" >>"$WORKLOAD.$1"
	[ "$(fingerprint "$INTO" "$TABLE")" = "$WANTED" ] || { say "$WORKLOAD: $1 has other rows" >&2; FAILED=1; }
	[ "$1" != replica ] || end_replica
}

median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
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
	say "| **$1**: $((ROWS / SCALE)) rows, $DAYS partitions | | |"
	for who in $WHO; do
		say "| ${NAME[$who]} | $(median <"$1.$who" | awk '{ printf "%.2f", $1 / 1000 }') | $(paste "$1.$who" "$1.copy" | awk 'NF == 2 { printf "%.3f\n", $1 / $2 }' | median) |"
	done
}

report() {
	say "# A table copied once into partitions with keys"
	say
	say "Written by bench/copy.sh at commit $("$TOP/test/commit.sh"): medians of $ROUNDS interleaved rounds, two databases of one PostgreSQL $("$PGBIN/postgres" --version | cut -d ' ' -f 3), $(nproc) cores. Fewer is better."
	say
	say "| | seconds | x COPY |"
	say "| --- | ---: | ---: |"
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
	cluster_start
	trap cluster_stop EXIT
	sql postgres <<<"alter system set shared_buffers = '512MB'; alter system set max_wal_size = '16GB'; alter system set wal_level = logical"
	cluster_ctl restart -m fast
	mkdir -p "$CLUSTER/work" && cd "$CLUSTER/work" || exit 2
	sql postgres <<<"create database bench_src"
	sql postgres <<<"create database bench_dst"
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
