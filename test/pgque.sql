-- What is different in PgQue, written anew for the tests: transaction numbers are xid8, snapshots
-- pg_snapshot, there is no C, a tick notifies, a reader lacks some rights.

create function pgque.snapshot_xmin(pg_snapshot) returns bigint language sql immutable
	as $$ select pg_snapshot_xmin($1)::text::bigint $$;
create function pgque.snapshot_xmax(pg_snapshot) returns bigint language sql immutable
	as $$ select pg_snapshot_xmax($1)::text::bigint $$;

create or replace function pgque.batch_event_sql(x_batch_id bigint) returns text language plpgsql as $$
declare
	answer text := '';
	name text;
	s pgque.subscription;
	before pg_snapshot;
	after pg_snapshot;
begin
	select * into s from pgque.subscription where sub_batch = x_batch_id;
	if not found then
		raise exception 'batch not found';
	end if;
	select tick_snapshot into before from pgque.tick where tick_queue = s.sub_queue and tick_id = s.sub_last_tick;
	select tick_snapshot into after from pgque.tick where tick_queue = s.sub_queue and tick_id = s.sub_next_tick;
	for name in select pgque.batch_event_tables(x_batch_id) loop
		answer := answer || case when answer = '' then '' else ' union all ' end || format(
			'select ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4 from %s ev'
			' where pg_visible_in_snapshot(ev_txid, %L::pg_snapshot) and not pg_visible_in_snapshot(ev_txid, %L::pg_snapshot)'
			' and (ev_owner is null or ev_owner = %s)', pgque.quote_fqname(name), after, before, s.sub_id);
	end loop;
	return answer || ' order by 1';
end $$;

create or replace function pgque.insert_event_raw(
	queue_name text, ev_id bigint, ev_time timestamptz, ev_owner integer, ev_retry integer, ev_type text, ev_data text,
	ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text) returns int8 language plpgsql as $$
declare
	q pgque.queue;
	id bigint := ev_id;
begin
	select * into q from pgque.queue p where p.queue_name = $1;
	if not found then
		raise exception 'No such queue';
	end if;
	if id is null then
		id := nextval(q.queue_event_seq::regclass);
	end if;
	execute format('insert into %s (ev_id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)', pgque.quote_fqname(q.queue_data_pfx || '_' || q.queue_cur_table))
		using id, ev_time, ev_owner, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4;
	return id;
end $$;

-- Always of the value's UTF-8. Of a long value every byte is escaped, which is faster.
create function pgque.encoded(text) returns text language sql immutable strict as $$
	select case when length($1) > 200 then regexp_replace(encode(convert_to($1, 'UTF8'), 'hex'), '(..)', '%\1', 'g')
	else (select coalesce(string_agg(case
			when b between 48 and 57 or b between 65 and 90 or b between 97 and 122 or b in (45, 46, 95) then chr(b)
			when b = 32 then '+' else '%' || lpad(to_hex(b), 2, '0') end, '' order by i), '')
		from (select convert_to($1, 'UTF8') as u) t, generate_series(0, length(u) - 1) i, get_byte(u, i) b) end $$;

create function pgque.row_data(r record, skipped text[]) returns text language plpgsql as $$
declare
	answer text;
	name text;
	value text;
begin
	for name in select attname from pg_attribute a join pg_type t on t.typrelid = a.attrelid
		where t.oid = pg_typeof(r)::oid and attnum > 0 and not attisdropped and attname <> all (skipped) order by attnum
	loop
		execute format('select ($1).%I::text', name) into value using r;
		answer := coalesce(answer || '&', '') || pgque.encoded(name) || coalesce('=' || pgque.encoded(value), '');
	end loop;
	return answer;
end $$;

create or replace function pgque.logutriga() returns trigger language plpgsql as $$
declare
	keys text;
	skipped text[] := '{}';
	name text := quote_ident(tg_table_schema) || '.' || quote_ident(tg_table_name);
	backup text;
	skips boolean := false;
begin
	name := tg_table_schema || '.' || tg_table_name;
	select string_agg(attname, ',' order by attnum) into keys from pg_index join pg_attribute on attrelid = indrelid and attnum = any (indkey)
		where indrelid = tg_relid and indisprimary;
	for i in 1 .. tg_nargs - 1 loop
		if tg_argv[i] like 'pkey=%' then
			keys := substr(tg_argv[i], 6);
		elsif tg_argv[i] like 'ignore=%' then
			skipped := string_to_array(substr(tg_argv[i], 8), ',');
		elsif tg_argv[i] = 'SKIP' then
			skips := true;
		elsif tg_argv[i] = 'backup' and tg_op = 'UPDATE' then
			backup := pgque.row_data(old, skipped);
		end if;
	end loop;
	if tg_op = 'TRUNCATE' then
		perform pgque.insert_event(tg_argv[0], 'R', '', name, null, null, null);
		return null;
	elsif tg_op = 'DELETE' then
		perform pgque.insert_event(tg_argv[0], 'D:' || coalesce(keys, ''), pgque.row_data(old, skipped), name, null, null, null);
		return case when skips then null else old end;
	end if;
	perform pgque.insert_event(tg_argv[0], substr(tg_op, 1, 1) || ':' || coalesce(keys, ''), pgque.row_data(new, skipped), name, backup, null, null);
	return case when skips then null else new end;
end $$;

-- A tick notifies who listens to its queue.
create function pgque.tell_tick() returns trigger language plpgsql as $$
begin
	perform pg_notify('pgque_' || queue_name, new.tick_id::text) from pgque.queue where queue_id = new.tick_queue;
	return null;
end $$;
create trigger tell_tick after insert on pgque.tick for each row execute function pgque.tell_tick();

revoke execute on all functions in schema pgque from public;
revoke execute on function pgque.batch_event_sql(bigint), pgque.batch_event_tables(bigint), pgque.quote_fqname(text), pgque.force_tick(text)
	from pgque_reader;
grant all on all tables in schema pgque to pgque_admin;
grant execute on all functions in schema pgque to pgque_admin;
grant usage on schema pgque to public;
grant execute on function pgque.snapshot_xmin(pg_snapshot), pgque.snapshot_xmax(pg_snapshot) to public;
