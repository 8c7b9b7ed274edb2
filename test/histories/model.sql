-- The obvious model of what a table becomes of its events: one after the other, in the order of
-- ev_id, on tables of the same server. test/histories/world.py fills and asks it.

create extension if not exists hstore;
create schema model;

-- What becomes of the events of one source table.
create table model.history (
	name text primary key,
	source text,            -- null: events without a table behind them
	mode text not null,     -- log, keep_all or keep_latest
	target text not null,
	rows text not null,     -- what the target must hold: part, and the target's columns
	probe text not null,    -- an empty table with the target's constraints
	columns jsonb not null, -- [{"src": name or word, "dst": name, "type": of dst}]
	keys text[] not null,   -- dst of the key's columns
	all_columns bool not null,      -- fields has *: what the event lacks gets its default
	on_missing text not null,
	ops text[],             -- event_types; null: all
	truncates bool not null,        -- on_truncate = skip
	part_field text,        -- null: not partitioned
	part_method text,
	utc bool not null,      -- part_timezone: UTC, else text
	backup bool not null,
	-- false once rows of the source and the target may differ: truncated, or an event was left out
	current bool not null,
	told text[] not null    -- columns of the target to compare
);

create table model.truth (
	ev_id bigint primary key,
	history text not null,
	op text not null,       -- R: a truncate
	old hstore,             -- of a U
	row hstore not null,    -- of a D the old one
	at timestamptz not null default now(),
	txid bigint not null default txid_current(),
	broken bool not null default false,     -- one of its values cannot be decoded
	done bool not null default false
);

-- A trigger after that of PgQ, whose event is the newest of the sequence.
create function model.note() returns trigger language plpgsql as $$
declare
	id bigint := currval(tg_argv[0]);
begin
	if tg_op = 'DELETE' then
		insert into model.truth values (id, tg_argv[1], 'D', null, hstore(old));
	elsif tg_op = 'UPDATE' then
		insert into model.truth values (id, tg_argv[1], 'U', hstore(old), hstore(new));
	else
		insert into model.truth values (id, tg_argv[1], 'I', null, hstore(new));
	end if;
	return null;
end $$;

create function model.truncated() returns trigger language plpgsql as $$
begin
	insert into model.truth values (currval(tg_argv[0]), tg_argv[1], 'R', null, '');
	update model.history set current = false where name = tg_argv[1];
	return null;
end $$;

-- A row as pgq.logutriga writes it; each byte is escaped.
create function model.urlencode(h hstore) returns text language sql as $$
	select string_agg(key || coalesce('=' || regexp_replace(encode(convert_to(value, 'UTF8'), 'hex'), '(..)', '%\1', 'g'), ''), '&')
	from each(h)
$$;

-- An event that no trigger writes. pkey null: a JSON object, whose key the config tells. broken: the
-- column whose value cannot be decoded, or null.
create function model.event(queue text, history text, op text, new hstore, old hstore, source text, pkey text, broken text)
returns void language plpgsql as $$
declare
	data text := case when pkey is null then hstore_to_json(new)::text else model.urlencode(new) end;
	extra text := case when pkey is null then hstore_to_json(old)::text else model.urlencode(old) end;
begin
	if pkey is null and broken is not null then
		data := replace(data, format('"%s": "', broken), format('"%s": "\ud800', broken));
	elsif broken is not null then
		data := regexp_replace(data, format('(^|&)%s=', broken), format('\1%s=%%zz', broken));
	end if;
	insert into model.truth (ev_id, history, op, old, row, broken)
	select pgq.insert_event(queue, op || coalesce(':' || pkey, ''), data, source, extra, null, null), history, op, old, new,
		broken is not null;
end $$;

-- The events that no tick has taken yet change places, but not numbers: readers get them in any order.
create function model.shuffle(queue text) returns void language plpgsql as $$
declare
	events text := pgq.current_event_table(queue);
begin
	execute format('create temp table shuffled on commit drop as select * from %s e where ev_txid >=
		(select txid_snapshot_xmax(tick_snapshot) from pgq.tick join pgq.queue on tick_queue = queue_id
			where queue_name = %L order by tick_id desc limit 1)', events, queue);
	execute format('delete from %s e using shuffled s where e.ev_id = s.ev_id', events);
	execute format('insert into %s select * from shuffled order by random()', events);
	drop table shuffled;
end $$;

-- The partition of a value.
create function model.part(h model.history, r hstore) returns text language plpgsql as $$
declare
	value text := r -> h.part_field;
	day date;
begin
	if h.part_field is null then
		return h.target;
	end if;
	if value is null or value !~ '^\d{4}-\d\d-\d\d' then
		raise data_exception using message = 'no partition is named by ' || coalesce(value, 'NULL');
	end if;
	day := case when h.utc then (value::timestamptz at time zone 'UTC')::date else left(value, 10)::date end;
	return h.target || to_char(day, case h.part_method when 'daily' then '"_"YYYY_MM_DD'
		when 'weekly' then '"_"IYYY"_w"IW' when 'monthly' then '"_"YYYY_MM' else '"_"YYYY' end);
end $$;

-- "values of these columns", each an expression of $1 the row, $2 its event.
create function model.value(c jsonb) returns text language sql as $$
	select case c ->> 'src' when '_OP' then '$2.op' when '_EVID' then '$2.ev_id' when '_EVTIME' then '$2.at'
		when '_TXID' then '$2.txid' when '_TABLE' then format('%L', c ->> 'table')
		else format('($1 -> %L)::%s', c ->> 'src', c ->> 'type') end
$$;

create function model.key_is(h model.history) returns text language sql as $$
	select string_agg(format('%I = %s', c ->> 'dst', model.value(c)), ' and ')
	from jsonb_array_elements(h.columns) c where c ->> 'dst' = any (h.keys)
$$;

create function model.has_key(h model.history, r hstore) returns void language plpgsql as $$
begin
	if exists (select from jsonb_array_elements(h.columns) c where c ->> 'dst' = any (h.keys) and r -> (c ->> 'src') is null) then
		raise data_exception using message = 'no key';
	end if;
end $$;

create function model.unload(h model.history, r hstore) returns void language plpgsql as $$
begin
	perform model.has_key(h, r);
	execute format('delete from %s where part = $3 and %s', h.rows, model.key_is(h))
		using r, null::model.truth, model.part(h, r);
end $$;

-- From whatever partition it is in.
create function model.unload_anywhere(h model.history, r hstore) returns void language plpgsql as $$
begin
	perform model.has_key(h, r);
	execute format('delete from %s where %s', h.rows, model.key_is(h)) using r, null::model.truth;
end $$;

-- Into rows, with its partition, or into probe.
create function model.load(h model.history, e model.truth, probe bool) returns void language plpgsql as $$
declare
	missing text;
	names text;
	exprs text;
	part text := model.part(h, e.row);
begin
	select string_agg(format('%I', c ->> 'dst'), ', '), string_agg(model.value(c), ', ') into names, exprs
	from jsonb_array_elements(h.columns) c
	where e.row ? (c ->> 'src') or left(c ->> 'src', 1) = '_' or (not h.all_columns and h.on_missing = 'null');
	select c ->> 'src' into missing from jsonb_array_elements(h.columns) c
	where not e.row ? (c ->> 'src') and left(c ->> 'src', 1) <> '_';
	if missing is not null and not h.all_columns and h.on_missing = 'error' then
		raise data_exception using message = 'no column ' || missing;
	end if;
	if probe then
		execute format('insert into %s (%s) overriding system value values (%s)', h.probe, names, exprs) using e.row, e;
	else
		execute format('insert into %s (part, %s) overriding system value values ($3, %s)', h.rows, names, exprs)
			using e.row, e, part;
	end if;
end $$;

-- The same; null where there is none, so that the row was never written.
create function model.place(h model.history, r hstore) returns text language plpgsql as $$
begin
	return model.part(h, r);
exception when others then
	return null;
end $$;

create function model.act(h model.history, e model.truth) returns void language plpgsql as $$
begin
	if h.mode = 'keep_all' and e.op = 'D' then
		return;
	end if;
	if e.broken then
		raise data_exception using message = 'a value is broken';
	end if;
	if e.op = 'R' and (h.mode = 'log' or h.truncates) then
		return;
	end if;
	if h.mode <> 'log' and e.op not in ('I', 'U', 'D') then
		raise data_exception using message = 'no such operation';
	end if;
	if h.mode <> 'keep_latest' then
		perform model.load(h, e, true);
		perform model.load(h, e, false);
		return;
	end if;
	if e.op = 'D' and model.place(h, e.row) is null then
		perform model.unload_anywhere(h, e.row);
		return;
	end if;
	if h.backup and e.op = 'U' and model.place(h, e.old) is null then
		perform model.unload_anywhere(h, e.old);
	elsif h.backup and e.op = 'U' and model.place(h, e.old) <> model.part(h, e.row) then
		perform model.unload(h, e.old);
	end if;
	perform model.unload(h, e.row);
	if e.op <> 'D' then
		perform model.load(h, e, false);
	end if;
end $$;

-- While there is a row, the commit of lane 0, which is the last one, takes its time.
create table model.held (yes bool);

create function model.hold() returns trigger language plpgsql as $$
begin
	if new.subconsumer_id = '' and exists (select from model.held) then
		perform pg_sleep(60);
	end if;
	return null;
end $$;

-- Null if it is good, else why it is bad: of itself, or what the target's constraints say of its row.
create function model.fault(h model.history, e model.truth) returns text language plpgsql as $$
begin
	perform model.act(h, e);
	if h.mode = 'keep_latest' and e.op in ('I', 'U') then
		perform model.load(h, e, true);
	end if;
	raise exception using errcode = 'MODEL';
exception when others then
	return case when sqlstate <> 'MODEL' then sqlerrm end;
end $$;

-- Do the rows have one key?
create function model.same_key(h model.history, a hstore, b hstore) returns bool language sql as $$
	select bool_and(a -> (c ->> 'src') = b -> (c ->> 'src')) from jsonb_array_elements(h.columns) c
	where c ->> 'dst' = any (h.keys)
$$;

-- Was the event's row replaced by a later one that has come with it? Then what it has may be wrong
-- without a letter. Not that of a move, which decides whether the old row goes.
create function model.is_replaced(h model.history, e model.truth, letters bigint[]) returns bool language sql as $$
	select h.mode = 'keep_latest' and e.op in ('I', 'U')
		and not (h.backup and e.op = 'U' and (model.place(h, e.old) is distinct from model.place(h, e.row)
			or not model.same_key(h, e.old, e.row)))
		and exists (select from model.truth t where t.history = h.name and not t.done and t.ev_id > e.ev_id
			and t.op in ('I', 'U', 'D') and (h.ops is null or t.op = any (h.ops)) and not t.ev_id = any (letters)
			and (model.place(h, t.row) = model.place(h, e.row) and model.same_key(h, t.row, e.row)
				or h.backup and t.op = 'U' and model.place(h, t.old) = model.place(h, e.row) and model.same_key(h, t.old, e.row)))
$$;

-- The events that are new, but those that the program left out; returns what is wrong.
create function model.apply(h model.history, letters bigint[]) returns setof text language plpgsql as $$
declare
	e model.truth;
begin
	for e in select * from model.truth t where t.history = h.name and not t.done order by ev_id loop
		if e.ev_id = any (letters) then
			update model.history set current = false where name = h.name;
			if model.fault(h, e) is null then
				return next format('%s event %s (%s) was left out, but is good', h.name, e.ev_id, e.op);
			end if;
		elsif h.ops is null or e.op = any (h.ops) then
			begin
				perform model.act(h, e);
			exception when others then
				continue when model.is_replaced(h, e, letters);
				return next format('%s event %s (%s) is bad, but was not left out: %s', h.name, e.ev_id, e.op, sqlerrm);
			end;
		else
			update model.history set current = false where name = h.name;
		end if;
	end loop;
	update model.truth t set done = true where t.history = h.name;
end $$;

-- Rows that one of two queries has and the other has not.
create function model.differ(what text, a text, b text) returns setof text language plpgsql as $$
begin
	return query execute format('with a as (%s), b as (%s)
		(select %L || a.*::text from (select * from a except all select * from b) a limit 3) union all
		(select %L || b.*::text from (select * from b except all select * from a) b limit 3)',
		a, b, what || ' lacks ', what || ' has, and should not, ');
end $$;

create function model.list(names text[]) returns text language sql as $$
	select string_agg(quote_ident(n), ', ') from unnest(names) n
$$;

-- The target is what the model says.
create function model.compare(h model.history) returns setof text language sql as $$
	select model.differ(h.name,
		format('select part, %s from %s', model.list(h.told), h.rows),
		format('select tableoid::regclass::text, %s from %s', model.list(h.told), h.target))
$$;

-- The model is what the source is now, by another way.
create function model.compare_source(h model.history) returns setof text language sql as $$
	with c as (
		select c ->> 'dst' dst, replace(model.value(c), '$1', 'hstore(s)') expr
		from jsonb_array_elements(h.columns) with ordinality x (c, n)
		where left(c ->> 'src', 1) <> '_' and c ->> 'src' not in ('late', 'lacking') order by n
	)
	select model.differ('by the source the model of ' || h.name,
		format('select model.part(h, hstore(s)), %s from %s s, model.history h where h.name = %L', string_agg(expr, ', '), h.source, h.name),
		format('select part, %s from %s', model.list(array_agg(dst)), h.rows))
	from c
$$;

-- May a letter of keep_latest be replayed? Its key's row must be there, and tell that it is older.
create function model.is_older(h model.history, e model.truth) returns bool language plpgsql as $$
declare
	older bool;
begin
	if h.mode <> 'keep_latest' or not 'ev_id' = any (h.told) then
		return h.mode <> 'keep_latest';
	end if;
	execute format('select coalesce(bool_and(ev_id < $2.ev_id), false) from %s where %s', h.rows, model.key_is(h))
		into older using e.row, e;
	return older;
end $$;

-- Dead letters that --replay has written, and those that it has not; returns what is wrong.
create function model.replay(went bigint[], stayed bigint[]) returns setof text language plpgsql as $$
declare
	h model.history;
	e model.truth;
	may bool;
begin
	for e in select * from model.truth where ev_id = any (went || stayed) order by ev_id loop
		select * into h from model.history where name = e.history;
		may := model.fault(h, e) is null and model.is_older(h, e);
		if may and e.ev_id = any (stayed) then
			return next format('%s event %s (%s) was not replayed', h.name, e.ev_id, e.op);
		elsif not may and e.ev_id = any (went) then
			return next format('%s event %s (%s) was replayed, and must not', h.name, e.ev_id, e.op);
		elsif e.ev_id = any (went) then
			perform model.act(h, e);
		end if;
	end loop;
	for h in select * from model.history order by name loop
		return query select model.compare(h);
	end loop;
end $$;

-- What a world had, for the report.
create function model.counts() returns table (what text, n bigint) language sql as $$
	select 'events', count(*) from model.truth union all
	select 'moves', count(*) from model.truth e join model.history h on h.name = e.history
		where h.mode = 'keep_latest' and e.op = 'U' and model.place(h, e.old) <> model.place(h, e.row) union all
	select 'histories of ' || mode, count(*) from model.history group by mode
$$;

-- After a batch: what is wrong with any history.
create function model.judge(letters bigint[]) returns setof text language plpgsql as $$
declare
	h model.history;
begin
	return query select format('event %s was left out, but there is none', l) from unnest(letters) l
		where not exists (select from model.truth where ev_id = l);
	for h in select * from model.history order by name loop
		return query select model.apply(h, letters);
		return query select model.compare(h);
	end loop;
	for h in select * from model.history where current and source is not null and mode = 'keep_latest' order by name loop
		return query select model.compare_source(h);
	end loop;
end $$;
