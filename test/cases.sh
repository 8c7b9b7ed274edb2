# What the end-to-end files share: running cases, running the program, and saying what was wrong.
#
# A file of test/e2e defines functions case_NAME and ends with run_cases. Each case runs in
# a folder and a shell of its own, where the first command that fails ends it; it may start
# processes with `start`, which are ended after it. To be started by test/e2e.sh.

. "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

[ -n "${CLUSTER:-}" ] || die "start it with test/e2e.sh ${0##*/}"
FILE=$(basename "$0" .sh)
ASKED=" $* "
PATIENCE=${PATIENCE:-1} # what all limits of time are multiplied by: for programs that are slow for a reason

# Templates for a parent made by `partition by range`: two ways to add a partition.
PARTITION_OF='create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END);'
ATTACH='create table _DEST_TABLE (like _PARENT including all);
alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);'
INHERITS='create table _DEST_TABLE () inherits (_PARENT);'

# ---- saying what was wrong

fail() {
	printf '%s\n' "$*" >"$WORK/why"
	exit 1
}

# What the case saw, for its line: "noticed after 11 s".
told() {
	printf '%s\n' "$*" >>"$WORK/told"
}

# Ends the case without a verdict.
skip() {
	printf '%s\n' "$*" >"$WORK/skip"
	exit 0
}

# lacks_options PROGRAM: is its libpq too old for sslrootcert=system, require_auth, load_balance_hosts?
lacks_options() {
	"$1" --version -v | grep -q 'does not know sslrootcert=system'
}

can_trace() {
	strace -o /dev/null true 2>/dev/null || skip "strace does not work here"
}

expect_eq() {
	[ "$1" = "$2" ] || fail "${3:+$3: }got '${1:0:300}', not '${2:0:300}'"
}

# expect_match FILE REGEX: extended, without regard to case.
expect_match() {
	grep -Eqi -e "$2" "$1" || fail "$(basename "$1") has no /$2/: $(tail -n 3 "$1" | cut -c 1-400 | tr '\n' ' ')"
}

expect_no_match() {
	! grep -Eqi -e "$2" "$1" || fail "$(basename "$1") has /$2/: $(grep -Eim 1 -e "$2" "$1" | cut -c 1-400)"
}

expect_sanitized() {
	local file
	for file in "$WORK"/*err; do
		[ ! -f "$file" ] || ! grep -Eq 'Sanitizer|runtime error' "$file" ||
			fail "$(grep -Em 1 'Sanitizer|runtime error' "$file")"
	done
}

# ---- running the program

# What files out and err say is wrong: --check's findings, and the end.
findings() {
	{ grep -E '^(MISSING|WRONG|not ready)' out || :; tail -n 3 err; } | cut -c 1-500 | tr '\n' ' '
}

# expect_exit CODE COMMAND...: its output goes to the files out and err.
expect_exit() {
	local want=$1 rc=0
	shift
	timeout -k 5 $((${LIMIT:-60} * PATIENCE)) "$@" >out 2>err </dev/null || rc=$?
	expect_sanitized
	[ $rc = "$want" ] || fail "exit $rc, not $want, from: ${*/#$TDISPATCH/tdispatch}: $(findings)"
}

# Loads all that is there.
once() {
	expect_exit 0 "$TDISPATCH" --once job.ini "$@"
}

# A pair of which row 1 is in, and row 2 is in the queue's next batch.
one_in_one_to_come() {
	orders_pair pidfile=
	orders 1 1
	tick q
	once
	orders 2 2
	tick q
}

# Starts the program (or what $PROGRAM names) in the background; sets PID. Its output goes to
# bg.out and bg.err.
start() {
	"${PROGRAM:-$TDISPATCH}" "$@" >>"$WORK/bg.out" 2>>"$WORK/bg.err" </dev/null &
	PID=$!
	STARTED+=($PID)
}

# background PIDFILE ARGS...: with -d among them; sets PID.
background() {
	expect_exit 0 "$TDISPATCH" "${@:2}"
	PID=$(tr -d ' \n' <"$1")
	STARTED+=("$PID")
}

# expect_end CODE SECONDS [PID]: a started process ends by itself in that time.
expect_end() {
	local pid=${3:-$PID} rc=0
	within "$2" process_gone "$pid"
	wait "$pid" || rc=$?
	[ $rc = "$1" ] || fail "the process exited $rc, not $1: $(tail -n 3 bg.err | cut -c 1-500 | tr '\n' ' ')"
}

process_gone() {
	! kill -0 "$1" 2>/dev/null
}

# within SECONDS COMMAND...: it succeeds before that time is over.
within() {
	local end=$((SECONDS + $1 * PATIENCE))
	shift
	until "$@"; do
		[ $SECONDS -le $end ] || fail "did not come in time: $* $(tail -n 2 bg.err 2>/dev/null | cut -c 1-400)"
		sleep 0.1
	done
}

# N of the started processes are running.
running() {
	local pid n=0
	for pid in "${STARTED[@]}"; do
		process_gone "$pid" || n=$((n + 1))
	done
	[ "$n" = "$1" ]
}

dst_gives() {
	[ "$(dst "$2" 2>/dev/null)" = "$1" ]
}

src_gives() {
	[ "$(src "$2" 2>/dev/null)" = "$1" ]
}

kill_quietly() {
	kill "$@" 2>/dev/null || :
}

# ---- what most cases need

# The server takes TLS over TCP; its certificate, which names localhost, is in server.crt.
tls_server() {
	command -v openssl >/dev/null || skip "no openssl"
	openssl req -new -x509 -days 2 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
		-keyout server.key -out server.crt 2>/dev/null
	install_file server.key
	install_file server.crt
	sql postgres <<<"alter system set ssl = on; select pg_reload_conf();"
	within 10 takes_tls
}

install_file() {
	as_owner sh -c 'umask 077; cat >"$1"' sh "$CLUSTER/data/$1" <"$1"
}

takes_tls() {
	sql "host=127.0.0.1 dbname=postgres sslmode=verify-full sslrootcert=$WORK/server.crt" <<<"select 1"
}

# The same, and a role that may come by TLS and a password alone.
secure_server() {
	as_owner sh -c 'f=$1/data/pg_hba.conf; grep -q tls_role "$f" || { echo "hostssl all tls_role 127.0.0.1/32 scram-sha-256"; echo "host all tls_role 127.0.0.1/32 reject"; cat "$f"; } >"$f.new"; [ ! -s "$f.new" ] || mv "$f.new" "$f"' sh "$CLUSTER"
	tls_server
	sql postgres <<-END
		select 'create role tls_role superuser login' where to_regrole('tls_role') is null \gexec
		set password_encryption = 'scram-sha-256';
		alter role tls_role password 'p:geheim@ 1''2';
	END
}

# config KEY=VALUE...: writes job.ini; an empty value leaves the key out.
config() {
	local -A value=(
		[job_name]=job [src_db]="dbname=$SRC" [dst_db]="dbname=$DST" [queue_name]=q
		[dest_table]=orders [part_field]=day [part_template]=$PARTITION_OF
		[loop_delay]=0.1 [exception_sleep]=1 [pidfile]=job.pid
	)
	local pair key
	for pair; do
		value[${pair%%=*}]=${pair#*=}
	done
	printf '[table_dispatcher]\n' >job.ini
	for key in "${!value[@]}"; do
		pair=${value[$key]//%/%%}
		[ -z "$pair" ] || printf '%s = %s\n' "$key" "${pair//$'\n'/$'\n'    }" >>job.ini
	done
}

# A source table with its queue and trigger.
source_table() {
	src "
		set client_min_messages = warning;
		select pgq.create_queue('q') where not exists (select 1 from pgq.queue where queue_name = 'q');
		create table $1 ($2);
		create trigger to_queue after insert or update or delete on $1
			for each row execute function pgq.logutriga('q');" >/dev/null
}

# The databases of this case, an orders table on both sides, job.ini with these keys; the
# consumer registered.
orders_pair() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config "$@"
	install
}

install() {
	expect_exit 0 "$TDISPATCH" --install job.ini "$@"
}

# orders FROM TO [DAY]: inserts orders with these ids.
orders() {
	src "insert into orders select i, '${3:-2026-01-31}', 'n' || i from generate_series($1, $2) i"
}

# event TYPE DATA [TABLE]: puts an event into $QUEUE or q; prints its id.
event() {
	"$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$SRC" -v q="${QUEUE:-q}" -v type="$1" -v data="$2" \
		-v table="${3:-public.orders}" <<<"select pgq.insert_event(:'q', :'type', :'data', :'table', null, null, null)"
}

# Names of a table's partitions, divided by spaces.
partitions() {
	dst "select coalesce(string_agg(c.relname, ' ' order by c.relname), '') from pg_inherits
		join pg_class c on c.oid = inhrelid where inhparent = '${1:-orders}'::regclass"
}

# count = count of different ids in a target table; prints it.
distinct_rows() {
	dst "select case when count(*) = count(distinct id) then count(*)::text
		else 'doubled: ' || count(*) || ' rows, ' || count(distinct id) || ' ids' end from ${1:-orders}"
}

# The key for partitions in the case's tablespace, which is a small file system.
on_small_disk() {
	say "part_template=create table _DEST_TABLE (like _PARENT) tablespace \"small $CASE\";
		alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"
}

# The tablespace; skips where nobody may mount. The trap of the case removes it.
small_disk() {
	mkdir small
	mount -t tmpfs -o size=2m,mode=777 tdispatch_test small 2>/dev/null || skip "no rights to mount"
	MOUNTED=$WORK/small
	trap 'end_started; sql postgres <<<"drop database \"$DST\" with (force)"; sql postgres <<<"drop tablespace \"small $CASE\""; umount "$MOUNTED"' EXIT
	as_owner mkdir small/data
	sql postgres <<<"create tablespace \"small $CASE\" location '$WORK/small/data'"
}

expect_rows() {
	expect_eq "$(distinct_rows "${2:-orders}")" "$1" "rows in ${2:-orders}"
}

# Content of a table as one word, the same on both sides when all rows are.
content() {
	sql "$1" <<<"select md5(coalesce(string_agg(t::text, '|' order by id), '')) from $2 t"
}

# N sessions of the target are in pg_sleep.
asleep() {
	dst_gives "$1" "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
}

# hold SQL: a transaction of the target has done it and stays open, until end_sleepers.
hold() {
	dst "begin; $1; select pg_sleep(600)" >/dev/null 2>&1 &
	STARTED+=($!)
	within 5 asleep 1
}

# session DB SQL: a session that has done it and stays open; the next one in its place ends it.
session() {
	rm -f session
	mkfifo session
	"$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 -d "$1" <session >>session.out 2>&1 &
	STARTED+=($!)
	exec 9>session
	in_session "$2"
}

# in_session SQL: in the session above, which has then done it.
in_session() {
	: >session.out
	say "$1; \\echo done" >&9
	within 10 grep -qx done session.out
}

# Advisory locks of a session's own database: the view shows those of all.
ADVISORY="pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"

# wait_for_locks src|dst N: N of its sessions wait for one.
wait_for_locks() {
	within 20 "${1}_gives" "$2" "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
}

# meanwhile SWITCH...: in the background; `expect_end_of` says how it has ended.
meanwhile() {
	"$TDISPATCH" "$@" job.ini >out 2>err </dev/null &
	STARTED+=($!)
}

expect_end_of() {
	local rc=0
	wait "${STARTED[-1]}" || rc=$?
	[ $rc = "$1" ] || fail "exit $rc, not $1: $(findings)"
}

end_sleepers() {
	dst "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'" >/dev/null
}

# interleaved_batch ROWS N: one batch in which the rows of N hourly partitions take turns.
interleaved_batch() {
	orders_pair part_method=hourly
	dst "alter table orders rename to old; create table orders (id int, day timestamp, note text) partition by range (day)"
	src "select count(pgq.insert_event('q', 'I:id', 'id=' || i || '&day=' || timestamp '2026-01-01' + i % $2 * interval '1 hour' || '&note=' || repeat('x', 500)))
		from generate_series(1, $1) i" >/dev/null
	tick q
}

# A target trigger function slow() that sleeps SECONDS a row and counts in sequence seen.
slow_target() {
	dst "
		create sequence seen;
		create function slow() returns trigger language plpgsql as
			\$\$ begin perform nextval('seen'), pg_sleep($1); return new; end \$\$;"
}

SLOW='create trigger slow before insert on _DEST_TABLE for each row execute function slow();'

# The slow target is in the middle of a batch.
rows_are_coming() {
	[ "$(dst "select last_value from seen")" -gt "${1:-5}" ]
}

completed_tick() {
	dst "select last_tick_id from pgq_ext.completed_tick where consumer_id = '${1:-job}' and subconsumer_id = ''"
}

consumer_tick() {
	src "select last_tick from pgq.get_consumer_info('${2:-q}', '${1:-job}')"
}

# ---- cases

# What strace or unshare started goes with them.
end_started() {
	local pid
	for pid in "${STARTED[@]}"; do
		kill_quietly -9 $(ps -o pid= --ppid "$pid") "$pid"
	done
}

# Says where a command failed when nobody said why.
note_failure() {
	[ -s "$WORK/why" ] || printf 'line %s: %s failed: %s\n' "$1" "${2:0:200}" "$(tail -n 2 "$WORK/case.log" | tr '\n' ' ')" >"$WORK/why"
}

case_shell() {
	set -eE
	STARTED=()
	trap 'note_failure $LINENO "$BASH_COMMAND"' ERR
	trap end_started EXIT
	cd "$WORK"
	"$@"
	expect_sanitized
}

# Databases that go at once cost no disk, or little memory.
clean_up() {
	rm -rf "$WORK"
	drop_databases
}

drop_databases() {
	sql postgres >/dev/null 2>&1 <<<"drop database if exists \"${CASE}_src\" with (force); drop database if exists \"${CASE}_dst\" with (force)" || :
}

# run_case NAME COMMAND...: prints its line, and notes its milliseconds.
run_case() {
	local name=$1 began=${EPOCHREALTIME/[.,]/}
	shift
	CASE=${FILE%%_*}_$name WORK=$CLUSTER/work/$FILE.$name
	mkdir -p "$WORK"
	(case_shell "$@") >"$WORK/case.log" 2>&1 </dev/null
	if [ $? != 0 ]; then
		say "not ok $FILE $name: $(tr '\n' ' ' <"$WORK/why")"
	elif [ -f "$WORK/skip" ]; then
		say "ok $FILE $name # skipped: $(cat "$WORK/skip")"
	else
		say "ok $FILE $name$([ ! -f "$WORK/told" ] || paste -sd ';' "$WORK/told" | sed 's/^/: /; s/;/; /g')"
		[ -n "${KEEP:-}" ] || clean_up
	fi
	say "$(((${EPOCHREALTIME/[.,]/} - began) / 1000)) $FILE $name" >>"$CLUSTER/times"
}

# asked_for NAME NUMBER: is the case among those that the file was started with? 2/3 are the 2nd,
# 5th, 8th ... of them.
asked_for() {
	if [[ $ASKED =~ ^\ ([0-9]+)/([0-9]+)\ $ ]]; then
		[ $((($2 - BASH_REMATCH[1]) % BASH_REMATCH[2])) = 0 ]
	else
		[[ $ASKED == *" $1 "* || $ASKED == *" all "* ]]
	fi
}

# All functions case_* of the file that are asked for, in their order there.
run_cases() {
	local name number=0
	for name in $ASKED; do
		[[ $name == all || $name == */* ]] || declare -F "case_$name" >/dev/null || say "not ok $FILE $name: there is no such case"
	done
	for name in $(sed -n 's/^case_\([a-z0-9_]*\)().*/\1/p' "$0"); do
		asked_for "$name" $((++number)) || continue
		run_case "$name" "case_$name"
	done
}
