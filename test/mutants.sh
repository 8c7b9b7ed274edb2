#!/bin/bash
# make mutate: would the tests notice? Each mutant changes one line of the program, in a copy of the
# tree, and names the test that must fail then: "ok" is one that was caught. Before that the tests
# that are named must pass on the copy as it is. JOBS mutants (one for each processor) are tried at
# a time, each in a copy of its own. Unit tests need no sanitizers to catch theirs.
#
#	test/mutants.sh           all but the next two (some minutes)
#	test/mutants.sh model     those that test/model.sh must find (half an hour), for make model-mutate
#	test/mutants.sh histories those that test/histories.sh must find, for make history-mutate
#	test/mutants.sh short     those that unit tests and golden files catch, for make test
#	test/mutants.sh stale     runs nothing: prints those that change nothing any more, for make lint
#	test/mutants.sh WORD...   those whose line has one of the words
cd "$(dirname "$0")/.." || exit 2

PATIENCE=300                    # seconds for a test
MODEL_ROUNDS=40                 # that the model test has to find one, however slow the machine
HISTORIES=${HISTORIES:-600}     # that test/histories.sh has to find one
export UNIT_FLAGS=-O0

# NAME | FILE | SED | TEST: sed changes FILE; TEST is unit NAME, golden, e2e FILE:CASE, model SEED or histories SEED.
mutants() {
	cat <<-'END'
		[DEFAULT] beats the section | conf/private.h | s/VALUE_DEFAULT, VALUE_FILE/VALUE_FILE, VALUE_DEFAULT/ | golden
		the environment beats --set | conf/private.h | s/VALUE_ENV, VALUE_SET }/VALUE_SET, VALUE_ENV }/ | unit values
		a backslash goes to COPY as it is | urlenc.c | s/\['\\\\'\] = '\\\\',// | unit urlenc
		a plus is no blank | urlenc.c | s/c == '+' ? ' ' : c/c/ | unit urlenc
		a plus is no blank in a whole word | urlenc.c | s/('+' ^ ' ')/0/ | unit urlenc
		%00 becomes a NUL byte | urlenc.c | s/return byte == 0 ? -1 : byte/return byte/ | unit urlenc
		a month ends a day late | event/period.c | s/date_days(year, month + 1, 1)/date_days(year, month + 1, 2)/ | unit period
		a week begins on a Sunday | event/period.c | s/days + 3) - date_floor(days + 3, 7)/days + 4) - date_floor(days + 4, 7)/ | unit period
		an offset counts the other way | event/period.c | s/rule->zone_s - m.offset_s/rule->zone_s + m.offset_s/ | unit period
		two dates are one to the memo | event/period.c | s/memo->at\[i\].last != last/0/ | unit period
		the hash is another one | base/buf.c | s/1099511628211/1099511628213/ | unit buf
		a quote in a name is not doubled | base/buf.c | s/add_doubled(b, name, '"', '"')/add_doubled(b, name, '"', 'x')/ | unit buf
		a name in a template is not quoted | event/template.c | s/buf_ident(&x->piece, name)/buf_add(\&x->piece, name.p, name.n)/ | unit template
		a quote within a string is not doubled | event/template.c | s/(place != SQL_CODE/(0 \&\& place != SQL_CODE/ | unit template
		a binary date is a day off | event/binary.c | s/DAYS_TO_2000 10957/DAYS_TO_2000 10958/ | unit binary
		an event may name a column twice | event/wanted.c | s/w->seen\[wanted\] == w->row/0/ | unit route
		a foreign table that takes no rows is an event's fault | pg/sqlstate.c | s/ ERR_RIGHTS : ERR_DATA/ ERR_DATA : ERR_DATA/ | unit sqlstate
		any column is the one that was there | event/private.h | s/!same_bytes(c->rest.p + at, name.p, name.n)/0/ | unit route
		any name of JSON is the one that was there | event/format.c | s/!same_bytes(p, name.p, name.n)/0/ | unit route
		any type of that length is the one before | event/type.c | s/same_bytes(m->at\[last\].text, type.p, type.n)/1/ | unit filter
		the first of those in progress is left out | pg/snapshot.c | s/txid < least/txid <= least/ | unit snapshot
		another tick's snapshot will do | pg/snapshot.c | s/ok && skip(p, buf_cstr(&tests))/ok \&\& skip(p, buf_cstr(\&tests) + 23)/ | unit snapshot

		another tick of that number is the same | pg/judge.c | s/pos->time_us && there && pos->time_us != there/0/ | unit judge
		the config may change while a lane is ahead | pg/judge.c | s/pos->rule && pos->rule != judge_rule(/0 \&\& pos->rule != judge_rule(/ | unit judge
		a half in single ticks goes on for ever | pg/judge.c | s/(inside && c->single)/0/ | unit judge
		the rows after a refused one are lost | sink/fault.c | s/stream_put_back(s, st, cut(s, b, row + 1));/block_drop(\&s->pool, cut(s, b, row + 1));/ | unit sink
		rows that came back are sent last | sink/stream.c | /^void stream_put_back/,/^}/s/b->next = st->first;/b->next = NULL; if (st->last) { st->last->next = b; st->last = b; st->bytes += b->len; level_set(s, st); return; }/ | unit sink
		a lag of any size is well | report/health.c | s/<= stall_ms && !late/<= stall_ms/ | unit health
		a ticker that has stopped is well | report/health.c | s/q->newest_ms <= q->overdue_ms/1/ | unit health
		what is known of ticks never grows old | report/state.c | s/since_ms > LOOK_VALID_MS/0/ | unit health
		an earlier version's state file is none | report/state.c | s/s->pid > 0 \&\&/s->gain > 0 \&\&/ | unit health
		rows that were read ahead are those of any statement | pg/kept.c | s/ && memcmp(k->sql.p, sql.p, sql.n) == 0// | unit kept
		a block is used for ever | sink/block.c | s/p->used -= b->cap;// | unit sink

		a transaction that begins after the tick is taken | pg/snapshot.c | s/ev.ev_txid < %/ev.ev_txid <= %/ | e2e 43:the_same_events_as_pgq
		the first transaction after a tick is left out | pg/snapshot.c | s/ev.ev_txid >= %" PRId64 " and/ev.ev_txid > %" PRId64 " and/ | e2e 43:the_same_events_as_pgq
		what is in progress at the second tick is taken | pg/snapshot.c | s/after->open, least/"", least/ | e2e 43:the_same_events_as_pgq
		what was in progress at the first tick is left out | pg/snapshot.c | s/before->open, least/"", least/ | e2e 43:the_same_events_as_pgq
		a row trigger lets ATTACH come last | pg/entry.c | s/WHERE r.tgrelid/WHERE false AND r.tgrelid/ | e2e 46:row_trigger_of_the_parent
		a publication of all tables lets ATTACH come last | pg/entry.c | s/WHERE p.puballtables/WHERE false/ | e2e 46:publication_of_all_tables
		indexes are made before the rows | load/making.c | s/new->split.tail :/new->split.attach :/ | e2e 46:rows_come_first
		a child keeps its model as a parent | pg/build.c | /^static void add_inherit/,/^}/{s/, NO INHERIT ",/",/;s/add_model(sql, .*;/(void)0;/} | e2e 46:child_is_as_one_that_inherited_first
		a model stays | load/inside.c | s/if (part->model && part->model != dropped)/if (0)/ | e2e 46:children_that_inherit_in_two_lanes
		LIKE copies its indexes before the rows | load/making.c | s/late && k->copies/0/ | e2e 46:indexes_that_like_copies
		what fails after the rows is not done before them | load/again.c | s/p->finishes && p->job->dests.fails_last/0/ | e2e 46:duplicates
		the batch that was foreseen is the next, whatever the queue says | load/ahead.c | s/rc > 0 && is_same(&given, &l->batch)/rc > 0/ | e2e 43:read_ahead_and_the_tick_is_deleted
		as many rows as are kept are all | pg/kept.c | s/++k->n >= KEPT_ROWS_MAX/0/ | e2e 43:read_ahead_too_many
		a queue keeps its number for ever | pg/ticks.c | s/clock_ms() - src->numbered_ms >= NUMBERED_MS/0/ | e2e 26:queue_made_anew_under_a_daemon
		events that nobody wants are still on their way | load/txn.c | s/roll_back(j, j->lanes, e) < 0 || job_unask(j, e) < 0/roll_back(j, j->lanes, e) < 0/ | e2e 07:committed_but_not_finished
		all lanes have one lock | pg/position.c | s/"tdispatch position %zu", lane/"tdispatch position %zu", 0 * lane/ | e2e 11:numbers_of_lanes_change
		the lock is not looked at | pg/position.c | s/strcmp(pq_value(dst, 0, 0), "true") != 0/0/ | e2e 07:two_processes_once
		the rows are committed before the position | pg/position.c | /^int position_commit/,/^}/s/struct buf sql = { 0 };/&\n\n\tbuf_str(\&sql, "COMMIT;");/ | e2e 11:other_number_after_a_half
		the position is committed before the rows | load/batch.c | s/again = pass_run(p, e);/again = txn_commit(j, p->batch, p->sink, e) < 0 || pq_query(j->dst[0], "BEGIN", e) < 0 ? e->code : pass_run(p, e);/ | e2e 06:killed_with_rows_under_way
		lane 0 commits first | load/txn.c | s/(size_t i = j->lanes; i-- > 0 && !e->code;)/(size_t i = 0; i < j->lanes \&\& !e->code; i++)/ | e2e 11:other_number_after_a_half
		the batch is finished before it is loaded | load/batch.c | s/= load_or_blame(l, &p, e);/= qbatch_finish(j->src, batch->id, e) < 0 ? e->code : load_or_blame(l, \&p, e);/ | e2e 06:killed_with_rows_under_way
		a batch that is in is loaded again | load/txn.c | s/return TXN_IS_IN/return TXN_TO_LOAD/ | e2e 07:committed_but_not_finished
		a target that is ahead is no lost position | pg/judge.c | s/bool inside = pos->tick > b->prev_tick \&\& pos->tick < b->tick/bool inside = pos->tick > b->prev_tick/ | unit judge
		a consumer that somebody unregistered is registered | load/job.c | s/if (pos\[0\].known)/if (0)/ | e2e 07:unregistered_with_a_position
		all letters go to lane 0 | load/send.c | s/letters_add(&p->dead, event, lane,/letters_add(\&p->dead, event, 0,/ | e2e 15:half_of_the_letters
		letters come after the commit | load/batch.c | s/if (keep_dead(p, j->src, e) < 0/if (txn_commit(j, p->batch, p->sink, e) < 0 || keep_dead(p, j->src, e) < 0/ | e2e 15:letters_come_with_the_rows
		idle transactions may be ended | pg/pq.c | s/SET LOCAL idle_in_transaction_session_timeout = 0;// | e2e 10:idle_in_transaction_timeout
		long statements may be ended | pg/pq.c | s/SET LOCAL statement_timeout = 0;// | e2e 10:statement_timeout
		types are asked by the role's search_path | pg/table.c | s/FROM pg_catalog.pg_attribute a"/FROM pg_attribute a"/ | e2e 24:types_are_those_of_the_table
		a stranger's table is a partition | pg/admit.c | s/AND NOT r.rolsuper/AND r.rolsuper/ | e2e 13:squatted_partition
		all careful COPYs have one savepoint | sink/lane.c | s/"; " LANE_RELEASE "; " LANE_SAVE/""/ | e2e 15:dead_letters
		a savepoint is kept when other rows come after it | sink/lane.c | /^static void settle_savepoint/,/^}/s/|| l->saved != s->turn/|| true/ | unit sink
		suspect rows are sent without a savepoint | sink/private.h | s/return s->careful || st->suspect;/return s->careful;/ | unit sink
		suspect rows wait apart in a batch that has an order | sink/stream.c | s/return !s->ordered \&\& !st->staged/return !st->staged/ | unit sink
		suspect rows wait in any amount of memory | sink/stream.c | s/s->held_long |= s->held > HELD_BYTES;// | unit sink
		what a table says of any row is an event's fault | sink/fault.c | s/return sent ? probe(.*/return e->code;/ | e2e 20:statement_trigger_refuses

		the model: another tick of that number is the same | pg/judge.c | s/pos->time_us && there && pos->time_us != there/0/ | model 1
		the model: the tick inside a merged batch is known by its number | load/job.c | s/if (judge_needs_times(c) \&\&/if (0 \&\&/ | model 1
		the model: the config may change while a lane is ahead | pg/judge.c | s/pos->rule && pos->rule != judge_rule(/0 \&\& pos->rule != judge_rule(/ | model 1
		the model: a letter without a stream goes to lane 0 | load/flow.c | /^int flow_no_stream/,/^}/s/size_t lane = .*/size_t lane = 0;/ | model 1
		the model: rows of a slice are committed before its mark | load/next.c | s/\t\t\tmark_store(/\t\t\tif (pq_query(j->dst[i], "COMMIT; BEGIN", e) == 0)\n\t&/ | model 1
		the model: a lane that is ahead gets the slice again | pg/resume.c | s/v->loads\[i\] = at \&\& strcmp(at->upto, v->from) == 0;/v->loads[i] = true;/ | model 1

		a row is that of its key's first event | pg/stage.c | s/buf_str(sql, PART ", " ID " DESC, "/buf_str(sql, PART ", " ID ", "/ | histories 1
		a row is that of its key's event that came last | pg/stage.c | s/buf_str(sql, PART ", " ID " DESC, "/buf_str(sql, PART ", ctid DESC, "/ | histories 1
		a row has the partition of those that it waits with | sink/stream.c | s/put_binary_numbers(out, st, ev)/put_binary_numbers(out, to, ev)/ | e2e 39_latest:a_large_batch
		the same of text | sink/stream.c | s/ put_numbers(out, st, ev)/ put_numbers(out, to, ev)/ | histories 1
		the same key elsewhere is newer | load/newest.c | s/buf_add(b, (const char \*)&k->start_s, sizeof k->start_s)// | unit newest
		the row before a refused one is lost | load/merge.c | s/m->p->left_out && first_error/0 \&\& first_error/ | e2e 39_latest:the_row_before_a_refused_one
		a move that is replaced is not looked at | load/latest.c | s/u->staged && !moved &&/u->staged \&\&/ | e2e 39_latest:a_replaced_row_may_be_wrong
		nobody looks whether a month has a key twice | load/direct.c | s/\*yes = \*yes \&\& lane/*yes = *yes || lane/ | e2e 39_latest:inserts_alone_into_months
		a row goes when it moves to where it is | pg/stage.c | s/KIND " DESC) l"/KIND ") l"/ | histories 1
		the target makes the values of identity columns | pg/stage.c | s/ OVERRIDING SYSTEM VALUE / OVERRIDING USER VALUE / | histories 1
		deletes are passed over | load/latest.c | s/return span_is(ev->op, "D") ? take_delete/return span_is(ev->op, "D") ? 0 : 0 ? take_delete/ | histories 1
		a row that moves stays where it was, too | load/latest.c | s/moved = g->nowhere || !is_same_row(g, u->start_s, u->key)/moved = false/ | histories 1
		of an event that is left out at once, what goes is merged | load/merge.c | s/^\tadd_dead(&ids, &m->p->dead, m->told);/\tadd_dead(\&ids, \&m->p->dead, m->again ? m->told : m->p->dead.n);/ | histories 1
		an event that two lanes refuse is two letters | pg/letters.c | s/if (kept && l->at\[kept - 1\].event/if (0 \&\& kept \&\& l->at[kept - 1].event/ | histories 1
		a delete whose row picks no partition goes nowhere | load/spread.c | s/if (g->stage\[lane\].columns)/if (0)/ | histories 1
		a lane that has the batch looks for no bad events | load/flow.c | s/return p->job->loads\[lane\] || p->keep;/return p->job->loads[lane];/ | histories 1
		a lane does not know what another one refuses | load/merge.c | s/if (\*ids)/if (*ids \&\& !m->g->stage[lane].nkey)/ | histories 1
		--replay writes over newer rows | load/replay.c | s/return e->code ? e->code : merge_run(p, e);/return merge_run(p, e);/; s/if (g->used \&\& g->stage\[0\].columns)/if (0)/ | histories 1
		keep_all takes deletes | load/pass.c | s/d->row_mode == ROWS_KEEP_ALL && ev->op.p/0/ | histories 1
	END
}

# wanted WORD...: the lines of the mutants asked for.
wanted() {
	case ${1:-all} in
	all) mutants | grep -Ev '\| (model|histories) [0-9]+$' ;;
	model | histories) mutants | grep -E "\| $1 [0-9]+$" ;;
	short) mutants | grep -E '\| (unit [a-z]+|golden)$' ;;
	*) mutants | grep -F "$(printf '%s\n' "$@")" ;;
	esac | grep .
}

# The tree as it is, committed or not, with the objects that are built.
copy_tree() {
	mkdir -m 711 "$COPY"            # the model test's servers are another user's
	{
		git ls-files --cached --others --exclude-standard
		[ ! -d build/native/gcc/dev ] || find build/native/gcc/dev -type f
	} | tar -cf - -T - | tar -xf - -C "$COPY"
	mkdir -p "$COPY/build/test"
	cp -p tdispatch-dev "$COPY/" 2>/dev/null || :
}

# passes KIND WHAT...: runs a test in the copy. One that does not end has failed.
passes() {
	case $1 in
	unit) timeout "$PATIENCE" test/unit.sh "${@:2}" ;;
	golden) timeout "$PATIENCE" test/ini_golden.sh ;;
	e2e) build_program && timeout "$PATIENCE" test/e2e.sh "${@:2}" ;;
	model) build_program && TMPDIR=$COPY ROUNDS=$MODEL_ROUNDS TDISPATCH=$PWD/tdispatch-dev test/model.sh 1 "$2" ;;
	histories) build_program && TMPDIR=$COPY N=$HISTORIES SEED=$2 TDISPATCH=$PWD/tdispatch-dev test/histories.sh ;;
	esac >"$COPY/output" 2>&1
	code=$?
	[ $code != 124 ] || echo "0 passed, 1 failed: not within $PATIENCE s" >>"$COPY/output"
	return $code
}

build_program() {
	make -s dev
}

# read_mutant LINE: sets name, file, change and test.
read_mutant() {
	name=${1%% | *} rest=${1#* | }
	test=${rest##* | } rest=${rest% | *}
	file=${rest%% | *} change=${rest#* | }
}

stale() {
	mutants | grep . | while IFS= read -r line; do
		read_mutant "$line"
		! sed "$change" "$file" | cmp -s - "$file" || echo "$name: $file has another line now"
	done
}

verdict() {
	[ "$1" = 0 ] && echo "ok mutant $2" || echo "not ok mutant $2: $3"
}

# The tests that are named pass as long as nothing is changed.
as_it_is() {
	local kind tests
	for kind in unit golden e2e model histories; do
		tests=$(wanted "$@" | sed -n "s/.*| $kind *//p" | sort -u)
		wanted "$@" | grep -q "| $kind" || continue
		# shellcheck disable=SC2086
		passes $kind $tests
		verdict $? "$kind: none, and its tests pass" "$(tail -n 3 "$COPY/output")"
	done
}

# A test that could not even be run, or a change that changes nothing, proves nothing.
try() {
	local why=
	read_mutant "$1"
	cp -p "$file" "$COPY/original"
	sed -i "$change" "$file"
	if cmp -s "$file" "$COPY/original"; then
		why="$file has another line now"
	elif ! ${CC:-gcc} -std=c11 -D_GNU_SOURCE -fsyntax-only -I"$(pg_config --includedir)" "$file" 2>"$COPY/output"; then
		why="it does not compile: $(grep -m 1 error: "$COPY/output")"
	elif passes $test; then
		why="survived: $test"
	elif ! tail -n 1 "$COPY/output" | grep -Eq '^[0-9]+ passed, [1-9][0-9]* failed'; then
		why="$test ended without a summary: $(tail -n 1 "$COPY/output")"
	fi
	cp "$COPY/original" "$file"     # newer than its object, which is built again
	[ -z "$why" ]
	verdict $? "$name" "$why"
	case $test in
	model* | histories*) sed -n 's/^not ok/	found:/p' "$COPY/output" | head -n 1 | cut -c 1-300 ;;
	esac
}

case ${1:-} in
stale)
	stale
	exit
	;;
--try) # in the copy number SLOT
	COPY=$COPIES/$SLOT
	cd "$COPY" && try "$2" </dev/null
	exit
	;;
esac
[ -n "$(wanted "$@")" ] || { echo "no such mutant: $*" >&2; exit 2; }
SELF=$PWD/test/mutants.sh JOBS=${JOBS:-$(nproc)}
export COPIES
COPIES=$(mktemp -d /tmp/tdispatch-mutants.XXXXXX) || exit 2
chmod 711 "$COPIES"
trap 'rm -rf "$COPIES"' EXIT
trap 'exit 130' INT TERM
COPY=$COPIES/0
copy_tree
cd "$COPY" || exit 2
as_it_is "$@" | tee "$COPIES/lines"
for ((i = 1; i < JOBS; i++)); do
	cp -a "$COPY" "$COPIES/$i"      # with what the tests have built
done
wanted "$@" | xargs -d '\n' -n 1 -P "$JOBS" --process-slot-var=SLOT "$SELF" --try | tee -a "$COPIES/lines"
[ "${PIPESTATUS[1]}" = 0 ] || echo "not ok mutant: one was not tried" | tee -a "$COPIES/lines"
passed=$(grep -c '^ok ' "$COPIES/lines") failed=$(grep -c '^not ok ' "$COPIES/lines")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
