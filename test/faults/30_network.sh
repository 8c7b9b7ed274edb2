# The network is cut for real: client and server in network namespaces of their own, and a router
# between them that stops to forward: nothing is refused, nothing comes back. Has a cluster of its
# own; the namespaces go with the processes that hold them.
. "$(dirname "$0")/../cases.sh"

CLIENT=10.77.1.2 SERVER=10.77.2.2
NOTICED=15                              # seconds after which a cut must be noticed, as README.md says

hold_namespace() {
	unshare --net sleep 1000 &
	STARTED+=($!)
	HELD=$!
}

in_namespace() {
	nsenter --net="/proc/$1/ns/net" "${@:2}"
}

in_its_namespace() {
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

# link NAMESPACE ADDRESS NAME: a cable to the router, whose end has the address .1 of the same net.
link() {
	in_namespace "$ROUTER" ip link add "$3" type veth peer name eth0 netns "$1"
	in_namespace "$ROUTER" ip addr add "${2%.*}.1/24" dev "$3"
	in_namespace "$ROUTER" ip link set "$3" up
	in_namespace "$1" ip addr add "$2/24" dev eth0
	in_namespace "$1" ip link set eth0 up
	in_namespace "$1" ip link set lo up
	in_namespace "$1" ip route add default via "${2%.*}.1"
}

network() {
	local holder
	[ "$(id -u)" = 0 ] && unshare --net true 2>/dev/null && command -v ip >/dev/null || skip "needs root, ip and network namespaces"
	hold_namespace; ROUTER=$HELD
	hold_namespace; CLIENT_NS=$HELD
	hold_namespace; SERVER_NS=$HELD
	for holder in $ROUTER $CLIENT_NS $SERVER_NS; do
		within 5 in_its_namespace "$holder"
	done
	in_namespace "$ROUTER" ip link add probe type veth peer name probe2 2>/dev/null || skip "the kernel has no veth"
	link "$CLIENT_NS" $CLIENT client
	link "$SERVER_NS" $SERVER server
	mend
}

forward() {
	in_namespace "$ROUTER" sh -c "echo $1 >/proc/sys/net/ipv4/ip_forward"
}

cut() {
	forward 0
	CUT_AT=$SECONDS
}

mend() {
	forward 1
}

# A cluster in the server's namespace.
own_cluster() {
	network
	as_owner() { in_namespace "$SERVER_NS" setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
	cluster_start
	trap 'end_started; cluster_stop' EXIT
	as_owner sh -c "echo \"listen_addresses = '$SERVER'\" >>'$CLUSTER/data/postgresql.conf'; echo 'host all all 10.77.0.0/16 trust' >>'$CLUSTER/data/pg_hba.conf'"
	cluster_ctl restart -m fast
	cluster_templates
}

# remote_pair [KEY=VALUE]...: both databases over the network.
remote_pair() {
	own_cluster
	orders_pair "$@"
	FAR="host=$SERVER port=$PGPORT user=postgres"
	config "src_db=$FAR dbname=$SRC" "dst_db=$FAR dbname=$DST" "$@"
}

start_far() {
	PROGRAM=nsenter start --net="/proc/$CLIENT_NS/ns/net" "$TDISPATCH" job.ini
}

# The cut is over and everything is in, once.
resumes() {
	mend
	within 90 dst_gives "$1" "select count(distinct id) from orders"
	expect_rows "$1"
	kill -TERM "${TRACED:-$PID}"
	expect_end 0 10
	expect_eq "$(consumer_tick)" "$(completed_tick)" "the ticks"
}

# The log tells of the cut in time. Then the server must let go of the lock soon, too.
is_noticed() {
	within $((NOTICED + 1)) grep -Eq "WARNING.*(network to the server is dead|timed out|timeout|connection unexpectedly|Connection)" bg.err
	local took=$((SECONDS - CUT_AT))
	[ $took -le $NOTICED ] || fail "noticed after $took s"
	told "noticed after $took s: $(grep -m 1 WARNING bg.err | sed 's/^.*WARNING job: //; s/;.*//')"
}

lock_is_free() {
	within 40 dst_gives 0 "select count(*) from pg_locks where locktype = 'advisory'"
	told "the server let go of the lock $((SECONDS - CUT_AT)) s after the cut"
}

case_cut_while_idle() {
	remote_pair
	orders 1 3
	tick q
	start_far
	within 20 dst_gives 3 "select count(*) from orders"
	sleep 2
	cut
	orders 4 8
	tick q
	is_noticed
	resumes 8
}

# strace tries out something with a child of its own first.
is_traced() {
	TRACED=$(ps -o pid=,comm= --ppid "$PID" | awk '$2 == "tdispatch" { print $1 }')
	[ -n "$TRACED" ]
}

# While the source's rows come, held up by strace so that it takes a while.
case_cut_while_reading() {
	remote_pair "part_template=$PARTITION_OF"
	src "insert into orders select i, '2026-01-31', repeat('x', 1000) from generate_series(1, 60000) i"
	tick q
	in_namespace "$CLIENT_NS" sh -c 'echo "4096 8192 16384" >/proc/sys/net/ipv4/tcp_rmem'
	PROGRAM=nsenter start --net="/proc/$CLIENT_NS/ns/net" strace -f -o /dev/null -e trace=recvfrom -e inject=recvfrom:delay_enter=2000 "$STATIC" job.ini
	within 10 is_traced
	within 30 src_gives t "select count(*) > 0 from pg_stat_activity where datname = '$SRC' and query like '%COPY%' and state = 'active' and wait_event = 'ClientWrite'"
	cut
	is_noticed
	lock_is_free
	resumes 60000
}

# While rows go to the target, which takes them slowly.
case_cut_while_sending() {
	remote_pair "part_template=$PARTITION_OF $SLOW"
	slow_target 0.001
	src "insert into orders select i, '2026-01-31', repeat('x', 1000) from generate_series(1, 9000) i"
	tick q
	start_far
	within 30 rows_are_coming 200
	cut
	is_noticed
	lock_is_free
	dst "create or replace function slow() returns trigger language plpgsql as \$\$ begin return new; end \$\$"
	resumes 9000
}

# While the server works on the COMMIT: a deferred trigger sleeps in it.
case_cut_while_committing() {
	remote_pair
	dst "create function slow_commit() returns trigger language plpgsql as \$\$ begin perform pg_sleep(25); return new; end \$\$;
		create constraint trigger slow_commit after insert or update on pgq_ext.completed_tick
			deferrable initially deferred for each row execute function slow_commit()"
	orders 1 500
	tick q
	start_far
	within 30 asleep 1
	cut
	is_noticed
	lock_is_free
	dst "drop trigger slow_commit on pgq_ext.completed_tick"
	resumes 500
}

# Partial writes and reads for real: sockets of 4 KiB, and packets that are sent one by one.
case_tiny_socket_buffers() {
	local ns cut_short
	strace -o /dev/null true 2>/dev/null || skip "strace does not work here"
	remote_pair
	src "insert into orders select i, date '2026-01-01' + i % 7, repeat('x', i % 3000) from generate_series(1, 4000) i"
	tick q
	for ns in "$CLIENT_NS" "$SERVER_NS"; do
		in_namespace "$ns" sh -c 'cd /proc/sys/net/ipv4; echo "4096 4096 4096" >tcp_wmem; echo "4096 4096 4096" >tcp_rmem
			ip link set dev eth0 gso_max_segs 1'
	done
	ASAN_OPTIONS=detect_leaks=0 LIMIT=120 expect_exit 0 nsenter --net="/proc/$CLIENT_NS/ns/net" \
		strace -f -o trace -e trace=sendto "$STATIC" --once job.ini
	expect_rows 4000
	expect_eq "$(content "$SRC" orders)" "$(content "$DST" orders)" "content"
	cut_short=$(sed -n 's/.*, \([0-9]*\), MSG_NOSIGNAL.* = \([0-9]*\)$/\1 \2/p' trace | awk '$2 < $1' | wc -l)
	[ "$cut_short" -gt 20 ] || fail "only $cut_short writes were partial"
	told "$cut_short of $(wc -l <trace) writes were partial"
}

run_cases
