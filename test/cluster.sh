# A throw-away PostgreSQL cluster with PgQ, for tests and the demo. To be sourced by bash.
#
# cluster_start puts a server into a new folder under /tmp, with its socket there and a free TCP
# port of 127.0.0.1, and exports PGHOST, PGPORT and PGUSER for it, and HOME, so that nobody's
# password file or certificate counts. cluster_stop, run by a trap of whoever called
# cluster_start, ends that server and removes the folder. Nothing else is touched.
#
# $CLUSTER is the folder, $PGBIN the server's binaries. With IN_MEMORY=1 the server writes to memory
# instead of a disk, where there is enough.

say() {
	printf '%s\n' "$*"
}

die() {
	printf '%s\n' "$*" >&2
	exit 2
}

# Newest PostgreSQL that has the pgq extension; prints its bin folder, fails when there is none.
find_pgbin() {
	local bin share
	for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
		share=$("$bin/pg_config" --sharedir 2>/dev/null) || share=/usr/share/postgresql/$(basename "$(dirname "$bin")")
		if [ -x "$bin/initdb" ] && [ -f "$share/extension/pgq.control" ]; then
			say "$bin"
			return 0
		fi
	done
	return 1
}

# Runs a command as the server's owner: postgres when we are root, who may not own a server.
as_owner() {
	if [ "$(id -u)" != 0 ]; then
		"$@"
	elif command -v setpriv >/dev/null; then
		setpriv --reuid=postgres --regid=postgres --init-groups "$@"
	else
		runuser -u postgres -- "$@"
	fi
}

port_is_free() {
	! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() {
	local port
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		port=$((20000 + RANDOM % 12000))
		if port_is_free "$port"; then
			say "$port"
			return 0
		fi
	done
	return 1
}

cluster_settings() {
	cat <<-END
		port = $PGPORT
		listen_addresses = '127.0.0.1'
		unix_socket_directories = '$CLUSTER'
		fsync = off
		full_page_writes = off
		jit = off
		autovacuum = off
		track_commit_timestamp = on
		max_connections = 150
		max_wal_size = 1GB
		shared_buffers = 64MB
		timezone = 'UTC'
		lc_messages = 'C'
		log_line_prefix = '%m %d %p '
	END
}

# pg_ctl with the cluster's folder: cluster_ctl restart -m fast
cluster_ctl() {
	local action=$1
	shift
	(cd / && as_owner "$PGBIN/pg_ctl" -D "$CLUSTER/data" -l "$CLUSTER/server.log" -s -w -t 60 "$action" "$@" </dev/null)
}

cluster_init() {
	as_owner "$PGBIN/initdb" -D "$CLUSTER/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
		>"$CLUSTER/initdb.log" 2>&1 || { cat "$CLUSTER/initdb.log" >&2; return 1; }
	cluster_settings | as_owner tee -a "$CLUSTER/data/postgresql.conf" >/dev/null
}

# The server's files are kept in memory, if there are 4 GB of it.
cluster_in_memory() {
	local data
	[ "$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 4000000 ] 2>/dev/null &&
		awk '/^MemAvailable:/ { exit $2 < 4000000 }' /proc/meminfo &&
		data=$(mktemp -d /dev/shm/tdispatch.XXXXXX) || return 0
	[ "$(id -u)" != 0 ] || chown postgres: "$data"
	ln -s "$data" "$CLUSTER/data"
}

cluster_start() {
	PGBIN=$(find_pgbin) || die "no PostgreSQL server with the pgq extension in /usr/lib/postgresql (see test/install.sh)"
	CLUSTER=$(mktemp -d /tmp/tdispatch.XXXXXX)
	PGPORT=$(free_port) || die "no free TCP port found"
	PGHOST=$CLUSTER PGUSER=postgres HOME=$CLUSTER
	export PGBIN CLUSTER PGPORT PGHOST PGUSER HOME
	unset PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGCLIENTENCODING PGTZ PGDATESTYLE PGSSLMODE
	if [ "$(id -u)" = 0 ]; then
		chown postgres: "$CLUSTER"
	fi
	chmod 755 "$CLUSTER"
	[ -z "${IN_MEMORY:-}" ] || cluster_in_memory
	: >"$CLUSTER/initdb.log"
	(cd "$CLUSTER" && cluster_init) && cluster_ctl start || { cat "$CLUSTER/server.log" >&2; die "the server did not start"; }
}

cluster_stop() {
	[ -n "${CLUSTER:-}" ] || return 0
	cluster_ctl stop -m immediate 2>/dev/null || :
	rm -rf "$(readlink -f "$CLUSTER/data")" "$CLUSTER"
	CLUSTER=
}

# psql as scripts want it: the SQL from standard input, each statement a transaction of its own.
sql() {
	"$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$1"
}

# SQL in the source or target database; prints the rows, columns divided by |.
src() {
	sql "$SRC" <<<"$1"
}

dst() {
	sql "$DST" <<<"$1"
}

# The template of source databases: a database with PgQ, copied by create_db. Made once.
cluster_templates() {
	sql postgres <<<"create database pgq_template"
	sql pgq_template <<<"set client_min_messages = warning; create extension pgq;"
}

# new_pair NAME: fresh databases NAME_src, with PgQ, and NAME_dst; sets SRC and DST. They are copied
# as files, as all are before version 15: through the WAL it takes two to four times as long.
new_pair() {
	local how=
	SRC=$1_src DST=$1_dst
	[ "$("$PGBIN/pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -lt 15 ] || how='strategy file_copy'
	sql postgres <<-END
		set client_min_messages = warning;
		drop database if exists "$SRC" with (force);
		drop database if exists "$DST" with (force);
		create database "$SRC" template pgq_template $how;
		create database "$DST" $how;
	END
}

# tick QUEUE...: what was committed before is one batch.
tick() {
	local queue sql=
	for queue; do
		sql+="select pgq.force_tick('$queue'); select pgq.ticker('$queue');"
	done
	src "$sql" >/dev/null
}
