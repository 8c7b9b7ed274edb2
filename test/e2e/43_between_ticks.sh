# The events between two ticks are those that PgQ gives for them, whatever was open at the ticks.
. "$(dirname "$0")/../cases.sh"

# busy_queue: orders_pair, where a row tells its event and tick; history(n, seed) on the source makes
# n random steps of twelve transactions that stay open over ticks: events, savepoints that are
# rolled back to, commits, rollbacks, numbers used by others, retried events, rotations. made has the
# committed events.
busy_queue() {
	orders_pair "fields=id, day, _EVID:ev_id, _TICK:tick" "part_template=$ATTACH" batch_min_events=0
	dst "alter table orders add ev_id bigint, add tick bigint"
	src "create extension dblink; create table made (ev_id bigint); create table used (i int); create table want (tick bigint, ev_id bigint);
		select pgq.register_consumer('q', 'other'), pgq.set_queue_config('q', 'rotation_period', '0');
		create function history(steps int, seed float8) returns void language plpgsql as \$\$
		declare
			server text := 'host=$PGHOST port=$PGPORT user=postgres dbname=' || current_database();
			event text := 'insert into made select pgq.insert_event(''q'', ''I:id'', ''id=1&day=2026-01-31'', ''public.orders'', '''', '''', '''')';
			retried text := 'insert into used select 1 from pgq.queue, pgq.event_retry_raw(''q'', %L, now() - interval ''1 s'', nextval(queue_event_seq::regclass), now(), 1, ''I:id'',
				''id=2&day=2026-01-30'', ''public.orders'', '''', '''', '''')';
			many text := 'do \$x\$ begin for i in 1..150 loop begin insert into used values (i); exception when division_by_zero then end; end loop; end \$x\$';
			tick text := 'insert into used select pgq.force_tick(''q'') + pgq.ticker(''q'')';
			open bool[] := array_fill(false, array[12]);
			c text;
			n int;
			dice float8;
		begin
			perform setseed(seed), dblink_connect('c0', server);
			for n in 1..12 loop perform dblink_connect('c' || n, server); end loop;
			for i in 1..steps loop
				n := 1 + floor(random() * 12);
				c := 'c' || n;
				dice := random();
				if not open[n] then
					perform dblink_exec(c, 'begin'), dblink_exec(c, event);
					open[n] := true;
				elsif dice < 0.2 then
					perform dblink_exec(c, case when dice < 0.05 then 'rollback' else 'commit' end);
					open[n] := false;
				elsif dice < 0.4 then
					perform dblink_exec(c, 'savepoint s'), dblink_exec(c, event), dblink_exec(c, event),
						dblink_exec(c, case when dice < 0.3 then 'rollback to s' else 'release s' end);
				elsif dice < 0.5 then
					perform dblink_exec(c, event);
				end if;
				if random() < 0.1 then
					perform dblink_exec('c0', event);
				end if;
				if random() < 0.02 then
					perform dblink_exec('c0', many);
				elsif random() < 0.03 then
					perform dblink_exec('c0', format(retried, case when random() < 0.5 then 'job' else 'other' end)),
						dblink_exec('c0', 'insert into used select pgq.maint_retry_events()');
				elsif random() < 0.02 then
					perform dblink_exec('c0', 'insert into used select pgq.maint_rotate_tables_step1(''q'')'),
						dblink_exec('c0', 'insert into used select pgq.maint_rotate_tables_step2()');
				end if;
				if random() < 0.4 then
					perform dblink_exec('c0', tick);
				end if;
			end loop;
			for n in 1..12 loop
				if open[n] and random() < 0.5 then
					perform dblink_exec('c' || n, 'commit');
				end if;
				perform dblink_disconnect('c' || n);
			end loop;
			perform dblink_exec('c0', tick), dblink_disconnect('c0');
		end \$\$" >/dev/null
	src "create function take() returns int language plpgsql as \$\$
		declare
			b record;
			first bigint := last_tick from pgq.get_consumer_info('q', 'job');
			n int := 0;
		begin
			loop
				select * into b from pgq.next_batch_info('q', 'job');
				exit when b.batch_id is null;
				insert into want select b.cur_tick_id, ev_id from pgq.get_batch_events(b.batch_id);
				perform pgq.finish_batch(b.batch_id);
				n := n + 1;
			end loop;
			perform pgq.register_consumer_at('q', 'job', first);
			return n;
		end \$\$"
}

# The others' consumer keeps up, so that tables rotate.
other_is_done() {
	src "select pgq.register_consumer_at('q', 'other', (select max(tick_id) from pgq.tick))" >/dev/null
}

given() {
	src "select $1, count(*) from want group by 1 order by 1" >want
	dst "select $1, count(*) from orders group by 1 order by 1" >got
	cmp -s want got || fail "$2: $(diff want got | grep -c '^<') that PgQ gives, $(diff want got | grep -c '^>') others: $(diff want got | sed -n 2,4p | tr '\n' ' ')"
}

# Tick by tick, and then several ticks a batch.
case_the_same_events_as_pgq() {
	local phase batches=0
	busy_queue
	src "alter database \"$SRC\" set log_statement = 'all'"
	for phase in 1 2 3 4 5 6; do
		src "select history(150, 0.$phase$RANDOM)" >/dev/null
		batches=$((batches + $(src "select take()")))
		if [ $((phase % 3)) = 0 ]; then
			once --set batch_min_events=40
			given ev_id "merged, phase $phase"
		else
			once
			given ev_id "phase $phase"
		fi
		other_is_done
	done
	given ev_id "all phases"
	expect_eq "$(src "select count(*) from made where ev_id not in (select ev_id from want)")" 0 "events lost by PgQ"
	grep -h " $SRC .*COPY (SELECT ev_id" "$CLUSTER/server.log" >read || fail "no batch was read"
	[ "$(grep -c 'ev_txid <> all' read)" -gt 50 ] || fail "only $(grep -c 'ev_txid <> all' read) batches with open transactions"
	[ "$(grep -c 'ev_txid = any' read)" -gt 10 ] || fail "only $(grep -c 'ev_txid = any' read) batches with transactions from before"
	grep -q "ev_txid in (" read || fail "no transaction was far behind"
	expect_no_match read 'txid_visible_in_snapshot'
	[ "$batches" -gt 250 ] || fail "only $batches batches"
	[ "$(src "select count(distinct tableoid) from pgq.event_template")" -gt 1 ] || fail "no table rotated"
	told "$batches batches, $(wc -l <want) events"
}

run_cases
