# Exactly the rights that tdispatch(1) names: with them all works; without one of them --check prints
# the GRANT, which then works when pasted, and a run ends with one line.
. "$(dirname "$0")/../cases.sh"

# The databases of this case without what everybody has by default, a role ROLE that has nothing, and
# store.orders, made by these columns and what follows them, whose owner is no superuser.
bare_pair() {
	ROLE=mover_$CASE
	DAY=0
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	sql postgres <<-END
		create role "$ROLE" login;
		create role "owner_$CASE";
		revoke all on database "$SRC" from public;
		revoke all on database "$DST" from public;
	END
	dst "create schema store; create table store.orders (id int, day date, note text) $1;
		alter table store.orders owner to \"owner_$CASE\";
		revoke all on schema public from public;
		create schema look;
		create function look.rows() returns bigint language plpgsql as
			\$\$ declare t regclass; n bigint; total bigint := 0; begin
				for t in select oid from pg_class where relnamespace = 'store'::regnamespace and relkind = 'r' loop
					execute 'select count(*) from only ' || t into n;
					total := total + n;
				end loop;
				return total; end \$\$"
	config dest_table=store.orders "${@:2}"
	install
	src "revoke usage on schema pgq, public from public;
		revoke select on all tables in schema pgq from public"
	dst "revoke execute on all functions in schema pgq_ext from public"
	config dest_table=store.orders "src_db=dbname=$SRC user=$ROLE" "dst_db=dbname=$DST user=$ROLE" "${@:2}"
}

SRC_GRANTS=('CONNECT ON DATABASE "$SRC"' 'USAGE ON SCHEMA pgq' pgq_reader)
DST_GRANTS=('CONNECT ON DATABASE "$DST"' 'USAGE ON SCHEMA pgq_ext'
	'EXECUTE ON FUNCTION pgq_ext.get_last_tick(text)' 'EXECUTE ON FUNCTION pgq_ext.get_last_tick(text,text)'
	'EXECUTE ON FUNCTION pgq_ext.set_last_tick(text,bigint)' 'EXECUTE ON FUNCTION pgq_ext.set_last_tick(text,text,bigint)'
	'USAGE ON SCHEMA store')

# names GRANT: with the databases and roles of this case.
names() {
	local grant=$1
	grant=${grant//'$SRC'/$SRC}
	grant=${grant//'$DST'/$DST}
	say "${grant//'$CASE'/$CASE}"
}

new_event() {
	DAY=$((DAY + 1))
	event I:id "id=$DAY&day=$(date -u -d "2026-01-01 + $DAY days" +%F)&note=a" >/dev/null
	tick q
}

works() {
	expect_exit 0 "$TDISPATCH" --check job.ini
	new_event
	once
	expect_eq "$(dst "select look.rows()")" "$DAY" "rows"
}

# needs DATABASE RIGHT: without it. What --check says is pasted, and then it works again.
needs() {
	local grant
	grant="GRANT $(names "$2") TO \"$ROLE\""
	sql "$1" <<<"$(sed 's/^GRANT \(.*\) TO /REVOKE \1 FROM /' <<<"$grant")"
	expect_exit 1 "$TDISPATCH" --check job.ini
	sed -n 's/^MISSING .*\(GRANT .*;\)$/\1/p' out >paste.sql
	expect_eq "$(tr -d '"' <paste.sql)" "$(tr -d '"' <<<"$grant;")" "--check"
	new_event
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_eq "$(grep -c ERROR err)" 1 "error lines"
	expect_match err "denied|must be owner"
	expect_match err "GRANT"
	sql "$1" <paste.sql
	works
}

# Gives all, then takes each away: the common ones and the target's further ones.
each_is_needed() {
	local grant
	for grant in "${SRC_GRANTS[@]}"; do
		src "GRANT $(names "$grant") TO \"$ROLE\""
	done
	for grant in "${DST_GRANTS[@]}" "$@"; do
		dst "GRANT $(names "$grant") TO \"$ROLE\""
	done
	expect_eq "$(src "select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls from pg_roles where rolname = '$ROLE'")" f
	works
	for grant in "$@"; do
		needs "$DST" "$grant"
	done
}

case_no_partitions() {
	local grant
	bare_pair "" part_field= part_template=
	each_is_needed 'INSERT ON store.orders'
	for grant in "${SRC_GRANTS[@]}"; do
		needs "$SRC" "$grant"
	done
	for grant in "${DST_GRANTS[@]}"; do
		[[ $grant != *set_last_tick\(text,text* ]] || continue
		needs "$DST" "$grant"
	done
}

# The positions of the lanes need the functions with three arguments.
case_lanes() {
	bare_pair "" part_field= part_template= lanes=2
	each_is_needed 'INSERT ON store.orders'
	needs "$DST" 'EXECUTE ON FUNCTION pgq_ext.set_last_tick(text,text,bigint)'
}

case_partitions_of_somebody_else() {
	bare_pair "partition by range (day)" part_template= part_method=yearly
	dst "create table store.orders_2026 partition of store.orders for values from ('2026-01-01') to ('2027-01-01')"
	each_is_needed 'INSERT ON store.orders_2026'
}

case_template_like() {
	bare_pair "" "part_template=create table _DEST_TABLE (like _PARENT including all);"
	each_is_needed 'CREATE ON SCHEMA store' 'SELECT ON store.orders'
}

case_template_inherits() {
	bare_pair "" "part_template=$INHERITS"
	each_is_needed 'CREATE ON SCHEMA store' 'owner_$CASE'
}

case_template_attach() {
	bare_pair "partition by range (day)" "part_template=$ATTACH"
	each_is_needed 'CREATE ON SCHEMA store' 'owner_$CASE'
}

case_template_partition_of() {
	bare_pair "partition by range (day)" "part_template=$PARTITION_OF"
	each_is_needed 'CREATE ON SCHEMA store' 'owner_$CASE'
}

# Membership in a superuser's role is not what is advised.
case_parent_of_a_superuser() {
	bare_pair "partition by range (day)" "part_template=$PARTITION_OF"
	each_is_needed 'CREATE ON SCHEMA store' 'owner_$CASE'
	dst "alter table store.orders owner to postgres"
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^MISSING  right on dst_db: ALTER TABLE store.orders OWNER TO $ROLE;$"
	sed -n 's/^MISSING .*: \(ALTER .*;\)$/\1/p' out >paste.sql
	sql "$DST" <paste.sql
	works
}

# A function of the owner's creates the partitions: no right on the parent, none to create.
case_template_calls_a_function() {
	bare_pair "partition by range (day)" "part_template=select store.add_partition('_DEST_TABLE', _PART_START, _PART_END);"
	dst "grant usage, create on schema store to \"owner_$CASE\";
		create function store.add_partition(name text, start date, until date) returns void language plpgsql security definer
			set search_path = pg_catalog, pg_temp as \$\$ begin
				execute format('create table %s partition of store.orders for values from (%L) to (%L)', name, start, until);
				execute format('grant insert on %s to %I', name, session_user); end \$\$;
		alter function store.add_partition owner to \"owner_$CASE\";
		revoke execute on function store.add_partition from public"
	dst "grant execute on function store.add_partition to \"$ROLE\""
	each_is_needed
	works
}

# expect_rights LINE...: those are all that out lists.
expect_rights() {
	expect_eq "$(sed -n 's/^\([A-Za-z]* *\)right on \(.*\) TO .*;$/\1\2/p' out | tr -s ' ' | sort)" "$(printf '%s\n' "$@" | sort)"
}

# What out lists of one side, for psql.
paste_of() {
	sed -n "s/^[A-Za-z]* *right on $1[^:]*: \(.*;\)$/\1/p" out
}

# A role without any right is told all at once, those for --replay and --verify too.
case_all_at_once() {
	local what
	bare_pair "partition by range (day)" "part_template=$PARTITION_OF" on_error=dead_letter
	src "grant connect on database \"$SRC\" to \"$ROLE\""
	dst "grant connect on database \"$DST\" to \"$ROLE\""
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_rights "MISSING src_db: GRANT USAGE ON SCHEMA pgq" "MISSING src_db: GRANT pgq_reader" \
		"MISSING dst_db: GRANT USAGE ON SCHEMA pgq_ext" "MISSING dst_db: GRANT owner_$CASE" \
		"MISSING dst_db: GRANT EXECUTE ON FUNCTION pgq_ext.get_last_tick(text)" \
		"MISSING dst_db: GRANT EXECUTE ON FUNCTION pgq_ext.get_last_tick(text,text)" \
		"MISSING dst_db: GRANT EXECUTE ON FUNCTION pgq_ext.set_last_tick(text,bigint)" \
		"MISSING dst_db: GRANT EXECUTE ON FUNCTION pgq_ext.set_last_tick(text,text,bigint)" \
		"MISSING dst_db: GRANT USAGE ON SCHEMA tdispatch" "MISSING dst_db: GRANT INSERT ON tdispatch.dead_letter" \
		"MISSING dst_db: GRANT USAGE ON SCHEMA store" "MISSING dst_db: GRANT CREATE ON SCHEMA store" \
		"optional dst_db for --replay: GRANT SELECT, DELETE ON tdispatch.dead_letter" \
		"optional dst_db for --verify: GRANT TEMPORARY ON DATABASE \"$DST\""
	expect_match out "^not ready: 12 things$"
	for what in "queue and consumer in src_db" "the position in dst_db" "table store.orders"; do
		expect_match out "^warning +$what: cannot be looked at without the rights above"
	done
	paste_of src_db >src.sql
	paste_of dst_db >dst.sql
	sql "$SRC" <src.sql
	sql "$DST" <dst.sql
	works
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'right on|warning.*rights'
	new_event
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	once
	dst "alter table store.orders alter id type text"
	expect_exit 0 "$TDISPATCH" --replay job.ini
	new_event
	once --verify
	expect_eq "$(dst "select look.rows()")" $((DAY + 1))
}

case_verify() {
	bare_pair "" part_field= part_template=
	each_is_needed 'INSERT ON store.orders'
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_rights "optional dst_db for --verify: GRANT TEMPORARY ON DATABASE \"$DST\"" "optional dst_db for --verify: GRANT SELECT ON store.orders"
	paste_of dst_db >dst.sql
	new_event
	expect_exit 1 "$TDISPATCH" --once --verify job.ini
	expect_match err "permission denied"
	sql "$DST" <dst.sql
	once --verify
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'right on'
}

# Partitions that somebody else makes: the newest decides, and then all are named.
case_several_partitions() {
	bare_pair "partition by range (day)" part_template= part_method=yearly
	dst "create table store.orders_2025 partition of store.orders for values from ('2025-01-01') to ('2026-01-01');
		create table store.orders_2026 partition of store.orders for values from ('2026-01-01') to ('2027-01-01');
		create table store.orders_2026_old (like store.orders)"
	dst "grant insert on store.orders_2026 to \"$ROLE\""
	each_is_needed
	dst "revoke insert on store.orders_2026 from \"$ROLE\""
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_eq "$(grep -c '^MISSING.*GRANT INSERT ON store.orders_202[56] TO' out)" 2
	expect_no_match out orders_2026_old
}

# ---- --install --grant

# as_admin SWITCH...: by the superuser of the tests.
as_admin() {
	expect_exit 0 "$TDISPATCH" "$@" job.ini --set "src_db=dbname=$SRC" --set "dst_db=dbname=$DST"
}

# grant_works PARENT [KEY=VALUE]...: ROLE, which has nothing, has all that it needs afterwards.
grant_works() {
	bare_pair "$@"
	as_admin --install --grant "$ROLE"
	expect_match out "^role $ROLE has the rights to run$"
	works
	as_admin --install --grant "$ROLE"
	expect_no_match out '^(src|dst)_db: '
}

case_grant_no_partitions() {
	grant_works "" part_field= part_template=
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_rights "optional dst_db for --verify: GRANT TEMPORARY ON DATABASE \"$DST\"" "optional dst_db for --verify: GRANT SELECT ON store.orders"
}

case_grant_like() {
	grant_works "" "part_template=create table _DEST_TABLE (like _PARENT including all);"
}

case_grant_attach() {
	grant_works "partition by range (day)" "part_template=$ATTACH" on_error=dead_letter
	expect_exit 0 "$TDISPATCH" --replay job.ini
}

# A name that must be quoted, a parent of the superuser's, and a sequence.
case_grant_to_a_name() {
	local role="Mover's \"x\" $CASE"
	orders_pair
	dst "alter table orders add rid bigserial"
	sql postgres <<<"create role \"Mover's \"\"x\"\" $CASE\" login"
	install --grant "$role"
	expect_match out "^dst_db: ALTER TABLE public.orders OWNER TO \"Mover's \"\"x\"\" $CASE\";$"
	expect_match out "^dst_db: GRANT USAGE ON SEQUENCE public.orders_rid_seq TO \"Mover"
	config "src_db=dbname=$SRC user='Mover\\'s \"x\" $CASE'" "dst_db=dbname=$DST user='Mover\\'s \"x\" $CASE'"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out '^ready$'
	orders 1 3
	tick q
	once
	expect_rows 3
}

case_grant_is_refused() {
	local role
	new_pair "$CASE"
	config
	for role in nobody_there public '' 'x; drop table y'; do
		expect_exit 1 "$TDISPATCH" --install --grant "$role" job.ini
		expect_match err "src_db has no role $role: create it"
	done
	expect_eq "$(dst "select count(*) from pg_namespace where nspname = 'pgq_ext'") $(src "select count(*) from pgq.queue")" "0 0"
	expect_exit 2 "$TDISPATCH" --check --grant postgres job.ini
	expect_match err "grant goes with --install"
	expect_exit 0 "$TDISPATCH" --install --grant postgres job.ini
	expect_match out "table orders is not there: its rights are not among these"
}

# What an installer who is no superuser may not give.
case_grant_by_somebody() {
	local role=installer_$CASE
	orders_pair
	sql postgres <<<"create role \"$role\" login; create role \"mover_$CASE\" login"
	src "grant pgq_admin to \"$role\""
	dst "grant create on database \"$DST\" to \"$role\"; revoke usage on schema pgq_ext from public; grant usage on schema pgq_ext to \"$role\""
	config "src_db=dbname=$SRC user=$role" "dst_db=dbname=$DST user=$role"
	expect_exit 1 "$TDISPATCH" --install --grant "mover_$CASE" job.ini
	expect_match err "src_db: must have admin option|src_db: permission denied"
	src "grant pgq_reader to \"mover_$CASE\""
	expect_exit 1 "$TDISPATCH" --install --grant "mover_$CASE" job.ini
	expect_match err "dst_db: (must be owner|permission denied|no effect)"
}

# Without it the statements are printed, for whatever role that will be.
case_install_prints() {
	bare_pair "partition by range (day)" "part_template=$PARTITION_OF" on_error=dead_letter
	as_admin --install
	expect_match out '^  src_db: GRANT pgq_reader TO ROLE;$'
	expect_match out '^  dst_db: GRANT SELECT, DELETE ON tdispatch.dead_letter TO ROLE; -- for --replay$'
	sed -n "s/^  src_db: \(.*;\).*/\1/p" out | sed "s/ROLE/\"$ROLE\"/" >src.sql
	sed -n "s/^  dst_db: \(.*;\).*/\1/p" out | sed "s/ROLE/\"$ROLE\"/" >dst.sql
	sql "$SRC" <src.sql
	sql "$DST" <dst.sql
	works
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_no_match out 'right on'
}

# The event tables of a queue, where pgq_reader does not have them.
case_event_tables() {
	bare_pair "" part_field= part_template=
	each_is_needed 'INSERT ON store.orders'
	src "revoke select on pgq.event_1_0, pgq.event_1_1, pgq.event_1_2 from pgq_reader"
	expect_exit 1 "$TDISPATCH" --check job.ini
	sed -n 's/^MISSING .*\(GRANT .*;\)$/\1/p' out >paste.sql
	expect_eq "$(sort paste.sql | tr '\n' ' ')" "$(for i in 0 1 2; do printf 'GRANT SELECT ON pgq.event_1_%s TO %s; ' $i "$ROLE"; done)"
	new_event
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "permission denied for table event_1.*--check says which GRANT"
	sql "$SRC" <paste.sql
	works
}

# Letters need INSERT; to take them out again, SELECT and DELETE.
case_dead_letters() {
	bare_pair "" part_field= part_template= on_error=dead_letter
	dst "grant insert on tdispatch.dead_letter to \"$ROLE\""
	each_is_needed 'USAGE ON SCHEMA tdispatch' 'INSERT ON store.orders'
	dst "revoke insert on tdispatch.dead_letter from \"$ROLE\""
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^MISSING  right on dst_db: GRANT INSERT ON tdispatch.dead_letter TO $ROLE;$"
	event I:id 'id=x&day=2026-01-31&note=a' >/dev/null
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "permission denied for table dead_letter"
	dst "grant insert on tdispatch.dead_letter to \"$ROLE\""
	expect_exit 0 "$TDISPATCH" --check job.ini
	once
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 1
	dst "alter table store.orders alter id type text"
	expect_exit 1 "$TDISPATCH" --replay job.ini
	expect_match err "permission denied for table dead_letter"
	dst "grant select, delete on tdispatch.dead_letter to \"$ROLE\""
	expect_exit 0 "$TDISPATCH" --replay job.ini
	expect_eq "$(dst "select count(*) from tdispatch.dead_letter")" 0
	expect_eq "$(dst "select look.rows()")" $((DAY + 1))
}

case_switches_of_the_mover() {
	local switch
	bare_pair "" part_field= part_template=
	each_is_needed 'INSERT ON store.orders'
	for switch in --rewind --reset --unregister --register --show-config --check; do
		expect_exit 0 "$TDISPATCH" $switch job.ini
	done
	new_event
	once
}

# What --install needs, and what it says without.
case_install() {
	local role=installer_$CASE
	new_pair "$CASE"
	sql postgres <<<"create role \"$role\" login"
	config "src_db=dbname=$SRC user=$role" "dst_db=dbname=$DST user=$role"
	expect_exit 1 "$TDISPATCH" --install job.ini
	expect_match err "dst_db: permission denied for database .*: let an administrator run --install --grant ROLE once, with TDISPATCH_DST_DB in the environment or with a config of his own, or GRANT .*;$"
	expect_eq "$(grep -c . err)" 1 "lines"
	sed -n 's/.* or \(GRANT .*;\)$/\1/p' err >dst.sql
	src "grant usage on schema pgq to \"$role\"; grant pgq_reader to \"$role\""
	dst "create table orders (id int, day date, note text) partition by range (day)"
	expect_exit 1 "$TDISPATCH" --check job.ini --set on_error=dead_letter
	expect_match out "^MISSING  pgq_ext in dst_db: let an administrator .*, or $(cat dst.sql)$"
	expect_match out "^MISSING  table tdispatch.dead_letter in dst_db: let an administrator .*, or $(cat dst.sql)$"
	sql "$DST" <dst.sql
	expect_exit 1 "$TDISPATCH" --install job.ini
	expect_match err "src_db: permission denied for function create_queue .*: let an administrator .*TDISPATCH_SRC_DB.*, or GRANT .*;$"
	sed -n 's/.* or \(GRANT .*;\)$/\1/p' err >src.sql
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^MISSING  queue q: check queue_name, or let an administrator .*, or $(cat src.sql)$"
	sql "$SRC" <src.sql
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_match out "^MISSING  queue q: check queue_name, or create it with --install$"
	install
	expect_eq "$(src "select consumer_name from pgq.get_consumer_info('q')")" job
}

# Somebody's schema under the name: no GRANT is known, an administrator is.
case_install_beside_a_schema() {
	local role=installer_$CASE
	new_pair "$CASE"
	sql postgres <<<"create role \"$role\" login; grant create on database \"$DST\" to \"$role\""
	src "grant pgq_admin to \"$role\""
	dst "create schema pgq_ext"
	config "src_db=dbname=$SRC user=$role" "dst_db=dbname=$DST user=$role"
	expect_exit 1 "$TDISPATCH" --install job.ini
	expect_match err "permission denied for schema pgq_ext .*: let an administrator run --install --grant ROLE once, with TDISPATCH_DST_DB in the environment or with a config of his own$"
}

# A partition is dropped between the statement's snapshot and its question about rights, which the
# server answers with NULL.
case_partition_is_dropped_while_rights_are_looked_at() {
	orders_pair
	orders 1 1
	tick q
	once
	dst "alter database \"$DST\" set default_transaction_isolation = 'repeatable read'"
	session "$DST" "begin isolation level read committed; lock table pg_catalog.pg_attrdef in access exclusive mode"
	meanwhile --check
	wait_for_locks dst 1
	expect_eq "$(dst "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%WITH who AS%, home AS%'")" 1
	in_session "drop table orders_2026_01_31; commit"
	expect_end_of 0
	expect_no_match out "GRANT"
}

run_cases
