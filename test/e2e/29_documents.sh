# The documents are true: what README tells to type works, and pages and sample are the program's.
. "$(dirname "$0")/../cases.sh"

# ---- README, word for word

# Headings of README.md with a block that can be pasted, and who runs it.
PASTED="tdispatch
From nothing to rows
In a container
On an appliance host
Once: split a big table by month"

# The shell blocks of a section of README.md.
recipe() {
	sed -n "/^##* $1\$/,/^## /p" "$TOP/README.md" | sed -n '/^```sh/,/^```/{/^```/!p}'
}

# Runs a file as somebody would who has tdispatch and psql in his path.
paste_it() {
	mkdir -p bin
	ln -sf "$TDISPATCH" bin/tdispatch
	PATH=$WORK/bin:$PGBIN:$PATH expect_exit 0 bash -e "$1"
}

# Of a block that is not in this list nobody knows whether it works. The first is run by
# test/dist.sh, the container's by test/image, the appliance's by test/deb, the others here.
case_every_block_is_run() {
	expect_eq "$(awk '/^#+ / { sub(/^#+ /, ""); heading = $0 } /^```sh/ { print heading }' "$TOP/README.md")" "$PASTED"
	expect_eq "$(grep -c '^```' "$TOP/README.md")" "$(($(wc -l <<<"$PASTED") * 2))" "fences in README.md"
	expect_match "$TOP/test/dist.sh" '# tdispatch\$'
	expect_match "$TOP/test/image/01_container.sh" 'In a container'
	expect_match "$TOP/test/deb/01_package.sh" 'On an appliance host'
}

# The databases of the recipes; their names are in them.
no_databases() {
	local name
	for name; do
		echo "drop database if exists $name with (force);"
	done | sql postgres
}

case_from_nothing() {
	no_databases shop archive
	recipe "From nothing to rows" >recipe.sh
	expect_eq "$(wc -l <recipe.sh)" 9 "lines"
	paste_it recipe.sh
	expect_match out '^ *orders_2026_01_31 .* Ann$'
	expect_match out '^ *orders_2026_02_01 .* Bob$'
	symptoms
}

# What the table of symptoms tells to type does something, after the recipe.
symptoms() {
	local command
	sed -n '/^| symptom/,/^$/p' "$TOP/README.md" | grep -o '`tdispatch --[a-z-]* orders.ini`' | tr -d '`' | sort -u >commands
	[ "$(wc -l <commands)" -ge 5 ] || fail "README.md has only $(wc -l <commands) commands for symptoms"
	while read -r command; do
		PATH=$WORK/bin:$PATH bash -c "$command" >out 2>err </dev/null || [ $? = 1 ] || [[ $command == *--health* ]] ||
			fail "exit $?: $command: $(cat err)"
		[ -s out ] || [ -s err ] || fail "nothing is said by: $command"
	done <commands
}

# -s does not wait: after the line that README and the page tell to type, the next run starts.
case_wait_for_the_end() {
	local wait='while tdispatch --health old.ini; do sleep 1; done'
	grep -qF "$wait" "$TOP/README.md" || fail "README.md has not: $wait"
	grep -qF "${wait/old/orders}" "$TOP/dist/man/tdispatch.1" || fail "the page has not: $wait"
	orders_pair
	mv job.ini old.ini
	background job.pid -d old.ini
	within 10 test -s job.pid.state
	printf '%s\n' 'tdispatch -s old.ini' "$wait" 'tdispatch --once old.ini' >recipe.sh
	paste_it recipe.sh
}

case_once() {
	local old
	no_databases warehouse
	sql postgres <<<"create database warehouse"
	DST=warehouse SRC=warehouse
	dst "create table orders (id serial primary key, order_date timestamptz not null default now(), note text);
		insert into orders select i, timestamptz '2026-01-01 00:00+00' + i * interval '1 hour', E'a=b&c%\\t\\n\\\\é ' || i from generate_series(1, 5000) i;
		insert into orders values (0, '2026-03-01 01:00+02', null)"
	old=$(content warehouse orders)
	recipe "Once: split a big table by month" >recipe.sh
	paste_it recipe.sh
	expect_match out 'would be created'
	expect_match err 'verified 7 partitions'
	expect_eq "$(content warehouse orders)" "$old"
	expect_eq "$(partitions)" "$(echo orders_2026_0{1..7})"
	after_once >after.sh
	paste_it after.sh
	dst "drop table orders_old"
	expect_eq "$(dst "select nextval('orders_id_seq') > 0 from pg_attrdef where adrelid = 'orders'::regclass and pg_get_expr(adbin, adrelid) ~ 'orders_id_seq'")" t
}

# The man page's rest of it: what is done about a serial column.
after_once() {
	sed -n '/^\.Sh EXAMPLES/,/^\.Sh DIAG/p' "$TOP/dist/man/tdispatch.1" >examples
	echo "psql warehouse -c '$(grep -o 'alter sequence [a-z_. ]* owned by [a-z.]*[a-z]' examples)'"
}

# A stand-in for the old program: it holds the number in its pid file, and needs a while to stop.
old_program() {
	cat >bin/table_dispatcher.py <<-'END'
		#!/bin/bash
		ini=$1
		[ "$1" != -d ] || ini=$2
		pidfile=$(sed -n 's/^pidfile = //p' "$ini")
		if [ "$2" = -s ]; then
			exec kill -INT "$(cat "$pidfile")"
		fi
		bash -c 'exec -a table_dispatcher sleep 600' </dev/null >/dev/null 2>&1 &
		echo $! >"$pidfile"
	END
	chmod +x bin/table_dispatcher.py
}

# step N: the commands in backticks of README's step, as they stand there.
step() {
	sed -n "/^## Switching/,/^## /p" "$TOP/README.md" | sed -n "/^$1/p" | grep -o '`[^`]*old.ini[^`]*`' | tr -d '`'
}

# All five steps and the way back; the old program's part is the tick that it would have set.
case_switching() {
	orders_pair
	mkdir bin
	ln -s "$TDISPATCH" bin/tdispatch
	mv job.ini old.ini
	old_program
	export PATH=$WORK/bin:$PATH
	orders 1 5
	tick q
	bash -c "$(step 1)" >out
	expect_match out '^part_field = day$'
	eval "$(step 3 | tail -n 1)" >out
	expect_exit 0 bash -c "$(step 3 | head -n 1)"
	bash -e -c "$(step 4)"
	expect_rows 5
	bash -c "$(step 5 | head -n 1)"
	STARTED+=("$(tr -d ' \n' <job.pid)")
	orders 6 9
	tick q
	within 20 dst_gives 9 "select count(*) from orders"
	bash -c "$(step 5 | tail -n 1)" >out
	expect_match out 'consumer +job'
	step 'The way back' >back
	expect_eq "$(wc -l <back)" 3
	bash -e back
	within 5 process_gone "${STARTED[-1]}"
	expect_eq "$(completed_tick)" "$(consumer_tick)" "ticks of target and queue"
	expect_eq "$(src "select sub_batch is null from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer where co_name = 'job'")" t
}

# ---- make demo

# The short form; what it tells to type at its end works, and its last line leaves nothing.
case_demo() {
	local played=0
	(cd "$TOP" && RUN_S=4 timeout -k 5 $((120 * PATIENCE)) demo/run.sh >"$WORK/demo" 2>&1 </dev/null) || fail "$(tail -n 3 demo)"
	sed -n '/^== to play with/,$p' demo | grep -E '^(\.|psql|\./tdispatch|demo/)' | sed "s#^\./tdispatch#$TDISPATCH#" >play
	sed '$d' play >most
	tail -n 1 play >last
	(cd "$TOP" && PATH=$PGBIN:$PATH bash -e "$WORK/most") >out 2>err || played=$?
	(cd "$TOP" && bash -e "$WORK/last")
	[ ! -e "$(sed -n 's/.*--clean //p' last)" ] || fail "the demo's folder is left"
	[ $played = 0 ] || fail "$(tail -n 3 err)"
	expect_eq "$(wc -l <play)" 6 "lines to play with"
	expect_match out 'orders_20[0-9_]+ .* 1 [|] I +[|] +[0-9]+$'
	expect_eq "$(awk 'length($0) > 80' demo)" "" "lines wider than 80 columns"
	expect_match demo '^Equal: '
	expect_eq "$(sed -n 's/^ orders_2026_03_01 | *0 | *\([0-9]*\) | \([IUD]\)$/\1\2/p' demo | paste -sd ' ')" "10I 20U 20D" "one order's events"
	expect_match demo 'new: 2026_03_0'
}

# ---- pages about other programs' jobs

# block PAGE KIND: what stands on a page of dist/examples between ```KIND and ```.
block() {
	sed -n "/^\`\`\`$2\$/,/^\`\`\`\$/{/^\`\`\`/!p}" "$TOP/dist/examples/$1.md"
}

# The tables and the new config of a page; it is job.ini, and the consumer is registered.
page_pair() {
	local kind
	for kind in 'sql source' 'sql target' 'ini old' 'ini new'; do
		[ -n "$(block "$1" "$kind")" ] || fail "the page has no $kind"
	done
	new_pair "$CASE"
	src "select pgq.create_queue('shop')" >/dev/null
	src "$(block "$1" 'sql source')"
	dst "$(block "$1" 'sql target')"
	export HOME=$WORK
	mkdir log pid
	block "$1" 'ini new' | sed "s/dbname=shop/dbname=$SRC/; s/dbname=\(archive\|cube\)/dbname=$DST/" >job.ini
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_eq "$(block "$1" 'ini old' | grep -c '^\[')" "$2" "sections of the old config"
}

# The batch's and the event's time are moved to days of their own.
at_known_times() {
	src "update pgq.event_template set ev_time = '2026-03-31 23:30+00'"
	tick shop
	src "update pgq.tick set tick_time = '2026-01-31 12:00+00' where tick_id = (select max(tick_id) from pgq.tick)"
}

case_cube_dispatcher() {
	page_pair cube_dispatcher 1
	src "insert into customers values (1, 'Ann'), (2, 'Bob'); insert into orders values (1, 1, 9.5);
		update customers set name = 'Eve' where id = 2; delete from orders"
	at_known_times
	once
	expect_eq "$(dst "select tableoid::regclass, id, name, op from customers order by id, op")" \
		"$(printf 'customers_2026_01_31|%s\n' '1|Ann|I' '2|Bob|I' '2|Eve|U')"
	expect_eq "$(dst "select tableoid::regclass, * from orders")" "orders_2026_01_31|1|1|9.5|I"
	expect_match log/shop_to_cube.log 'events=5 rows=4 .*passed=1'
	# what the page's table tells to change
	sed 's/^part_field.*/part_field =/; s/^event_types.*/row_mode = keep_latest/; s/^fields.*//; s/shop_to_cube/latest/' job.ini >latest.ini
	sed -i 's/_BATCHTIME/_EVTIME/; s/^event_types/# &/; s/^fields.*/&, _EVID:ev_id/; s/^part_method.*/&\nlanes = 2/' job.ini
	dst "alter table customers add ev_id bigint; alter table orders add ev_id bigint"
	src "update customers set name = 'Zoe' where id = 1; delete from customers"
	at_known_times
	once
	expect_eq "$(dst "select distinct on (id) id, name, op from customers where tableoid = 'customers_2026_03_31'::regclass order by id, ev_id desc")" \
		$'1|Zoe|D\n2|Eve|D'
	expect_exit 0 "$TDISPATCH" --install latest.ini
	dst "drop table customers cascade; create table customers (id int primary key, name text)"
	src "insert into customers values (3, 'Joe'), (4, 'Kim'); update customers set name = 'Jo' where id = 3; delete from customers where id = 4"
	tick shop
	expect_exit 0 "$TDISPATCH" --once latest.ini
	expect_eq "$(dst "select * from customers")" '3|Jo'
}

case_queue_loader() {
	page_pair queue_loader 6
	src "insert into visits values (1, '/'); update visits set page = '/a'; delete from visits;
		insert into payments values (1, 5); insert into scratch values (1); insert into countries values ('ee', 'Estland'), ('xx', 'none');
		update countries set name = 'Estonia' where code = 'ee'; delete from countries where code = 'xx';
		insert into orders values (1, '2026-02-01 00:30+02', 'Ann', 'x'), (2, '2026-02-02 00:00+00', 'Bob', null)"
	at_known_times
	once
	expect_eq "$(dst "select tableoid::regclass, * from visits order by page")" $'visits_2026_01_31|1|/\nvisits_2026_01_31|1|/a'
	expect_eq "$(dst "select tableoid::regclass, * from payments")" "payments_2026_03|1|5"
	expect_eq "$(dst "select tableoid::regclass, id, customer_name from orders order by id")" $'orders_2026_01_31|1|Ann\norders_2026_02_02|2|Bob'
	expect_eq "$(dst "select tableoid::regclass, * from countries")" "countries|ee|Estonia"
	expect_match log/shop_to_archive.log 'events=11 rows=6 .*passed=2'
}

# ---- the pages

documents() {
	(cd "$TOP" && python3 test/docs.py "$TDISPATCH" "$@") >differs || fail "$(head -n 5 differs)"
}

case_keys_are_documented() {
	documents keys
}

case_switches_are_documented() {
	documents switches
}

case_sample_is_printed_and_whole() {
	documents sample
}

# A new key is known to fuzzers and shells too.
case_words_are_known() {
	documents words
}

case_examples_are_accepted() {
	documents examples
}

case_readme_names_what_is_there() {
	documents readme
}

case_metrics_are_documented() {
	orders_pair metrics_file=job.prom on_error=dead_letter
	printf '[public.*]\n' >>job.ini
	orders 1 3
	event I:id 'id=4&day=never' >/dev/null
	tick q
	once
	documents metrics "$WORK/job.prom"
}

# A false document is found.
case_false_documents_are_found() {
	local what
	mkdir copy
	cp -r "$TOP"/{README.md,CHANGELOG.md,tdispatch.ini,tdispatch.c,conf,event,dist,bench,deps,test} copy/ 2>/dev/null
	while IFS='|' read -r what file change; do
		cp "$TOP/$file" "copy/$file"
		sed -i "$change" "copy/$file"
		! (cd copy && python3 test/docs.py "$TDISPATCH" "$what") >differs || fail "not found: $change in $file"
		cp "$TOP/$file" "copy/$file"
	done <<-'END'
		keys|dist/man/tdispatch.ini.5|s/default: 900;/default: 901;/
		keys|dist/man/tdispatch.ini.5|s/Integer, 1 to 16;/Integer, 1 to 17;/
		keys|dist/man/tdispatch.ini.5|s/^\.It Cm lanes$/.It Cm lane/
		keys|dist/man/tdispatch.ini.5|s/lanes = 2$/lanes = 20/
		switches|dist/man/tdispatch.1|s/^\.It Fl -replay$/.It replay/
		switches|dist/man/tdispatch.1|s/| -unregister //
		sample|tdispatch.ini|s/^# lanes = 1/# lanes = 2/
		sample|tdispatch.ini|/^# retry_limit/d
		sample|tdispatch.ini|s/  _TXID//
		sample|tdispatch.ini|s/^# event_types = .*/# event_types = ,/
		sample|tdispatch.ini|s/^# ignore = 1/# lanes = 1/
		sample|tdispatch.ini|s/^part_field = .*/&\nlanes = 1/
		words|test/fuzz/conf.dict|/"ticker_period"/d
		words|test/fuzz/conf.dict|/"_BATCHTIME"/d
		words|conf/key.c|s/"lanes", "workers"/"laned", "workers"/
		examples|dist/man/tdispatch.ini.5|s/^part_method = monthly/part_method = mothly/
		readme|README.md|s/^## Rows/\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n&/
	END
}

run_cases
