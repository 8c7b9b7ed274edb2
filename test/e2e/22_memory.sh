# No memory: an allocation fails, each time another one, and the program ends with one line and
# nothing half done. STEP=1 tries every allocation; else most of the later ones are passed over.
. "$(dirname "$0")/../cases.sh"

TORTURE=$TOP/build/test/tdispatch-torture       # its own allocations fail, by TORTURE_FAIL
PLAIN=$TOP/build/test/tdispatch-plain           # with nomem.so those of libpq and OpenSSL too, by NOMEM_FAIL
NOMEM=$TOP/build/test/nomem.so

# fail_own N ARGS..., fail_any N ARGS...: runs it with the N-th allocation failing; sets rc.
fail_own() {
	rc=0
	TORTURE_FAIL=$1 ASAN_OPTIONS=detect_leaks=0 timeout 60 "$TORTURE" "${@:2}" >out 2>err </dev/null || rc=$?
}

fail_any() {
	rc=0
	NOMEM_FAIL=$1 LD_PRELOAD=$NOMEM timeout 60 "$PLAIN" "${@:2}" >out 2>err </dev/null || rc=$?
}

# after N: which allocation is to fail next.
after() {
	say $(($1 + ${STEP:-1 + $1 / 4}))
}

# Own: the N-th failed and the program said so.
expect_own_words() {
	expect_eq "$rc" 1 "allocation $1: exit code"
	expect_eq "$(grep -c '' err), $(grep -c 'out of memory' err)" "1, 1" "allocation $1: lines, of these about memory"
}

# Any: a library can do without, or the program said that it ends.
expect_words() {
	[[ $rc =~ ^[012]$ ]] || fail "allocation $1: exit $rc: $(tail -n 3 err | cut -c 1-300 | tr '\n' ' ')"
	[ "$rc" = 0 ] || expect_match err 'memory|no valid connection string'
}

# ---- the config

shows() {
	SRC=x DST=y config fields=id,day:datum,n part_template="$INHERITS"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	cp out wanted
}

case_config() {
	local n
	shows
	for ((n = 1; ; n = $(after $n))); do
		fail_own $n --show-config job.ini
		[ $rc != 0 ] || break
		expect_own_words $n
		expect_eq "$(cat out)" "" "allocation $n: output"
	done
	cmp out wanted
	[ $n -gt 50 ] || fail "only $n allocations"
}

# How many allocations of all kinds the program makes.
count_any() {
	fail_any 0 "$@"
	expect_eq "$rc" 0
	tail -n 1 err
}

case_config_with_libraries() {
	local n count
	shows
	count=$(count_any --show-config job.ini)
	for ((n = 1; n <= count; n = $(after $n))); do
		fail_any $n --show-config job.ini
		expect_words $n
		[ $rc = 0 ] || expect_eq "$(cat out)" "" "allocation $n: output"
	done
	[ $n -gt 50 ] || fail "only $count allocations"
}

# ---- loading

one_more_order() {
	ORDERS=$((ORDERS + 1))
	orders $ORDERS $ORDERS
	tick q
}

# Every row once, none left out before another, and never fewer than before.
expect_whole() {
	local rows
	rows=$(dst "select case when count(*) = count(distinct id) and count(*) = coalesce(max(id), 0) then count(*)::text
		else 'doubled or left out: ' || string_agg(id::text, ' ' order by id) end from orders")
	[ "$rows" -ge "$LOADED" ] || fail "allocation $1: rows $rows, after $LOADED"
	LOADED=$rows
}

expect_all_in_the_end() {
	once
	expect_rows "$ORDERS"
	expect_eq "$(completed_tick)" "$(consumer_tick)" "tick"
	expect_eq "$(content "$DST" orders)" "$(content "$SRC" orders)" "content"
}

case_load() {
	local n
	orders_pair
	ORDERS=0 LOADED=0
	for ((n = 1; ; n = $(after $n))); do
		one_more_order
		fail_own $n --once job.ini
		expect_whole $n
		[ $rc != 0 ] || break
		expect_eq "$rc" 1 "allocation $n: exit code"
		expect_eq "$(grep -c 'out of memory' err)" 1 "allocation $n: lines about memory"
	done
	expect_all_in_the_end
	[ $n -gt 50 ] || fail "only $n allocations"
}

case_load_with_libraries() {
	local n count
	orders_pair
	ORDERS=0 LOADED=0
	one_more_order
	count=$(count_any --once job.ini)
	LOADED=1
	for ((n = 1; n <= count; n = $(after $n))); do
		one_more_order
		fail_any $n --once job.ini
		expect_whole $n
		expect_words $n
	done
	expect_all_in_the_end
	[ $n -gt 50 ] || fail "only $count allocations"
}

# batches DESTINATIONS N: the allocations of so many batches for one of them.
batches() {
	local i table
	ORDERS=$(src "select count(*) from orders")
	config dest_table= "part_template=$ATTACH" batch_min_events=0
	for ((i = 1; i <= $1; i++)); do
		table=$([ $i = 1 ] && say orders || say "none_$i")
		printf '[public.%s]\ndest_table = %s\n' "$table" "$table" >>job.ini
	done
	for ((i = 1; i <= $2; i++)); do
		one_more_order
	done
	count_any --once job.ini
}

# What a batch has no rows for costs it no memory.
case_destinations_without_rows() {
	local few many
	orders_pair
	batches 1 1 >/dev/null
	few=$(($(batches 1 30) - $(batches 1 10)))
	many=$(($(batches 60 30) - $(batches 60 10)))
	told "20 batches: $few allocations with one destination, $many with 60"
	[ $((many - few)) -lt 400 ] || fail "20 batches: $few allocations with one destination, $many with 60"
}

# A process in the background has nobody at standard error: its log file tells.
case_background() {
	local n=1
	orders_pair logfile=job.log
	ORDERS=0
	fail_own $n -d job.ini
	while [ $rc != 0 ]; do
		expect_match err 'out of memory'
		n=$((n + 100))
		fail_own $n -d job.ini
	done
	PID=$(tr -d ' \n' <job.pid)
	STARTED+=("$PID")
	within 60 fed_to_its_end
	expect_match job.log 'out of memory'
	expect_all_in_the_end
}

fed_to_its_end() {
	one_more_order
	process_gone "$PID"
}

make -s -C "$TOP" "${TORTURE#"$TOP/"}" "${PLAIN#"$TOP/"}" "${NOMEM#"$TOP/"}" >&2 || die "the builds of 22_memory failed"
run_cases
