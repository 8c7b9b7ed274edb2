# The servers of the benchmark: one for the source and one for the target, so that the CPU time of
# each can be told. To be sourced by bash after test/cluster.sh.
#
# Environment and cluster.sh's names mean the target's; on_source COMMAND... runs one with those of
# the source.

on_source() {
	local -x CLUSTER=$SOURCE PGHOST=$SOURCE PGPORT=$SOURCE_PORT
	"$@"
}

tune_server() {
	sql postgres <<<"alter system set shared_buffers = '512MB'; alter system set max_wal_size = '16GB'; alter system set max_locks_per_transaction = 1000; alter system set checkpoint_timeout = '1h';"
	cluster_ctl restart -m fast
}

servers_start() {
	SOURCE= TARGET=
	cluster_start
	SOURCE=$CLUSTER SOURCE_PORT=$PGPORT
	tune_server
	cluster_templates
	cluster_start
	TARGET=$CLUSTER
	tune_server
}

servers_stop() {
	[ -z "$SOURCE" ] || CLUSTER=$SOURCE cluster_stop
	[ -z "$TARGET" ] || CLUSTER=$TARGET cluster_stop
}

# Fresh databases; SRC and DST name them for psql and for a config. DST has no spaces.
servers_pair() {
	on_source sql postgres <<<"set client_min_messages = warning; drop database if exists bench_src with (force); create database bench_src template pgq_template;"
	sql postgres <<<"set client_min_messages = warning; drop database if exists bench_dst with (force); create database bench_dst;"
	SRC="host=$SOURCE port=$SOURCE_PORT user=postgres dbname=bench_src" DST=bench_dst
}

# server_cpu FOLDER: jiffies that a server has used, with those of its processes that have ended.
server_cpu() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v main="$(head -n 1 "$1/data/postmaster.pid")" '
		$1 == main { sum += $14 + $15 + $16 + $17 }
		$4 == main { sum += $14 + $15 }
		END { print sum }'
}

# Of the source and of the target.
servers_cpu() {
	say "$(server_cpu "$SOURCE") $(server_cpu "$TARGET")"
}

# ---- the machine

# Jiffies of all CPUs since boot: all, and those that a virtual machine's host took away.
jiffies() {
	awk '/^cpu / { for (i = 2; i <= 9; i++) all += $i; print all, $9 }' /proc/stat
}

# stolen ALL STEAL: the share that the host took since jiffies said that.
stolen() {
	jiffies | awk -v all="$1" -v steal="$2" '{ printf "%.0f", 100 * ($2 - steal) / ($1 - all) }'
}
