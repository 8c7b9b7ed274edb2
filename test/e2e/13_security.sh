# Nobody is let in: hostile events, other people's objects, TLS, secrets, files, the binary itself.
. "$(dirname "$0")/../cases.sh"

role() {
	sql postgres <<<"select 'create role $1 login' where to_regrole('$1') is null \gexec"
}

# as ROLE DATABASE SQL
as() {
	PGUSER=$1 sql "$2" <<<"$3"
}

# ---- events of a producer who may insert events and nothing else. The program is a superuser.

# In none of them is a byte that the next part of the test would have to quote: they are encoded.
HOSTILE=(
	"'; drop table precious; --" '"; drop table precious; --' '"); drop table precious; --' "'); drop table precious; --"
	"\\'; drop table precious; --" '\"; drop table precious; --' "E'\\'; drop table precious; --" '\.' $'\\.\n'
	$'a\n\\.\n;drop table precious;' $'\t\r\n\v\f\b' '\\' '\N' '$$; drop table precious; $$' '$body$; drop table precious; $body$'
	'*/ drop table precious; --' $'--\ndrop table precious;' 'x) from stdin; drop table precious; --' '%s%n%1$s' "U&'\\0027'" 'U&"\0022"'
	$'\e]0;x\a' '${x} `x` $(x)' 'select' 'pg_sleep(9)' ' ' '.' 'a.b' '_PKEY' '_DEST_TABLE'
)

# Every byte of TEXT as %xx.
encode() {
	printf '%s' "$1" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%'
}

# TEXT as an SQL identifier.
ident() {
	printf '"%s"' "${1//\"/\"\"}"
}

# produce TYPE DATA: an event of the producer's; prints its id.
produce() {
	PGUSER=producer event "$1" "$2"
}

producer_pair() {
	new_pair "$CASE"
	role producer
	src "select pgq.create_queue('q'); create table precious (id int); insert into precious values (1);
		grant execute on function pgq.insert_event(text, text, text), pgq.insert_event(text, text, text, text, text, text, text)
			to producer" >/dev/null
	dst "create table precious (id int); insert into precious values (1)"
	config "$@"
	install
}

# own_queue N: where one bad event does not stand in the way of the next.
own_queue() {
	QUEUE=q$1
	src "select pgq.create_queue('$QUEUE'), pgq.register_consumer('$QUEUE', '$QUEUE')" >/dev/null
}

# All that an injected statement could have changed, on both sides; partitions are as expected.
world() {
	local db
	for db in "$SRC" "$DST"; do
		sql "$db" <<<"select count(*) from precious; select relname from pg_class where relnamespace = 'public'::regnamespace
			and relname not like 'orders%' order by 1; select proname from pg_proc where pronamespace = 'public'::regnamespace"
	done
}

# refused ID REGEX: one line, that names the event.
refused() {
	expect_exit 1 "$TDISPATCH" --once job.ini --set "queue_name=$QUEUE" --set "consumer_name=$QUEUE" "${@:3}"
	expect_eq "$(grep -c ERROR err)" 1 "error lines"
	expect_match err "event $1 of .*$2"
}

# The same with either meaning of a backslash in the role's session.
ESCAPES="options='-c standard_conforming_strings=off -c escape_string_warning=off'"

case_hostile_values() {
	local text n=0 before
	producer_pair fields=id,day,note
	dst "create table orders (id int, day date, note text) partition by range (day)"
	for text in "${HOSTILE[@]}"; do
		n=$((n + 1))
		produce "$text" "id=$n&day=2026-01-31&note=$(encode "$text")" >/dev/null
		printf '%s|%s\n' "$n" "$(printf '%s' "$text" | od -An -v -tx1 | tr -d ' \n')" >>want
	done
	tick q
	before=$(world)
	once --set "dst_db=dbname=$DST $ESCAPES" --set "src_db=dbname=$SRC $ESCAPES"
	dst "select id, encode(convert_to(note, 'UTF8'), 'hex') from orders order by id" >got
	diff want got
	expect_eq "$(world)" "$before"
}

# Names reach the SQL with fields = *. Each is a column of a table; then each is one of no table.
case_hostile_column_names() {
	local text n=0 before id
	producer_pair
	before=$(world)
	for text in "${HOSTILE[@]}"; do
		n=$((n + 1))
		own_queue $n
		dst "drop table if exists orders; create table orders (id int, day date, $(ident "$text") text) partition by range (day)"
		produce I:id "id=$n&day=2026-01-31&$(encode "$text")=x" >/dev/null
		tick "$QUEUE"
		once --set "queue_name=$QUEUE" --set "consumer_name=$QUEUE" --set "dst_db=dbname=$DST $ESCAPES"
		expect_eq "$(dst "select * from orders")" "$n|2026-01-31|x" "$text"
		dst "alter table orders rename $(ident "$text") to gone"
		id=$(produce I:id "id=$n&day=2026-01-31&$(encode "$text")=x")
		tick "$QUEUE"
		refused "$id" "does not exist"
	done
	expect_eq "$(world)" "$before"
}

case_names_that_cannot_be() {
	local n=0 before id name
	producer_pair
	dst "create table orders (id int, day date, note text) partition by range (day)"
	before=$(world)
	for name in "a%00b" "$(encode "$(printf 'x%.0s' {1..64})")" "%ff" "%c3%22%3b" "%e2%82" "%4" ""; do
		n=$((n + 1))
		own_queue $n
		id=$(produce I:id "id=1&day=2026-01-31&$name=x")
		tick "$QUEUE"
		refused "$id" ""
	done
	own_queue null
	id=$(produce I:id "id=1&day=2026-01-31&note=a%00b")
	tick "$QUEUE"
	refused "$id" "bad escape"
	expect_eq "$(dst "select count(*) from orders")" 0
	expect_eq "$(world)" "$before"
}

# The words of the template in code, strings, names and bodies.
WORDY='create table _DEST_TABLE (like _PARENT, primary key (_PKEY));
comment on table _DEST_TABLE is '\''_PKEY of _PARENT'\'';
comment on column _DEST_TABLE.day is E'\''it\'\''s _PKEY'\'';
create index "_DEST_TABLE by" on _DEST_TABLE (_PKEY);
do $body$ begin execute $x$ comment on column _DEST_TABLE.id is '\''_PKEY'\'' $x$; end $body$;
alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);'

case_hostile_primary_keys() {
	local text n=0 before id
	producer_pair "part_template=$WORDY"
	before=$(world)
	for text in "${HOSTILE[@]}"; do
		[[ $text != *[,]* ]] || continue
		n=$((n + 1))
		own_queue $n
		dst "drop table if exists orders; create table orders (id int, day date, $(ident "$text") text) partition by range (day)"
		id=$(produce "I:$text" "id=$n&day=2026-01-31&$(encode "$text")=x")
		tick "$QUEUE"
		if [[ $text == *'$body$'* ]]; then
			refused "$id" 'quoted body'
		else
			once --set "queue_name=$QUEUE" --set "consumer_name=$QUEUE" --set "dst_db=dbname=$DST $ESCAPES"
			expect_eq "$(dst "select * from orders")" "$n|2026-01-31|x" "$text"
		fi
		id=$(produce "I:no $text" "id=$n&day=2026-02-01")
		tick "$QUEUE"
		refused "$id" "" --set "part_template=create table _DEST_TABLE partition of _PARENT (primary key (_PKEY))
			for values from (_PART_START) to (_PART_END);"
	done
	[ "$n" -gt 20 ]
	expect_eq "$(world)" "$before"
}

# terminal COMMAND...: prints to no terminal what that would obey.
terminal() {
	expect_exit "$@"
	! grep -q $'\e\|\a\|\x9b\|\xc2\x9b' out err || fail "a control character came through: $(cat out err | grep -m 1 $'\e\|\a\|\xc2\x9b' | cat -v)"
	[ "$3" = --dry-run ] || ! grep -q '^forged' out err || fail "a line was forged"     # a newline in its SQL is one
}

case_names_on_a_terminal() {
	local name=$'x\e]0;pwned\a\e[2J\xc2\x9bm\nforged' key="part_template=create table _DEST_TABLE (primary key (_PKEY)) inherits (_PARENT)"
	orders_pair "part_template=$INHERITS"
	dst "drop table orders; create table orders (id int, day date, note text)"
	event "I:$name" "id=1&day=2026-01-31&note=x" >/dev/null
	tick q
	terminal 0 "$TDISPATCH" --dry-run --set "$key" job.ini
	expect_match out 'x\\x1b\]0;pwned\\x07'
	terminal 1 "$TDISPATCH" --once -v -v --set "$key" job.ini
	terminal 1 "$TDISPATCH" --once -v -v --set "$key" --set log_format=json job.ini
	dst "create table $(ident "${name#x}") () inherits (orders)"
	terminal 0 "$TDISPATCH" --status job.ini
	terminal 0 "$TDISPATCH" --show-partitions job.ini
	terminal 0 "$TDISPATCH" --check --set "dst_db=dbname=$DST application_name='$name'" job.ini
	once
	event I:id "id=2&day=2026-01-31&$(encode "$name")=x" >/dev/null
	tick q
	terminal 1 "$TDISPATCH" --dry-run --set 'fields=*' job.ini
	terminal 1 "$TDISPATCH" --once -v -v --set 'fields=*' job.ini
}

# ---- objects of a role that may create some in public, which is first on everybody's search_path

# What the intruder's objects are called by; the test's own sessions may call them too.
intruder_objects() {
	local pair type
	echo "
		create table alarm (who text, what text);
		grant insert on alarm to public;
		create function caught(what text) returns void language sql as
			\$\$ insert into public.alarm select pg_catalog.current_setting('application_name'), what \$\$;
		create table pg_class (oid oid); create table pg_proc (oid oid); create table pg_namespace (oid oid);
		create table pg_roles (oid oid); create table pg_inherits (inhparent oid); create table pg_locks (pid int);
		create table queue (queue_id int); create table tick (tick_id int); create table completed_tick (last_tick_id int);"
	for pair in "to_regclass(text) regclass" "to_regprocedure(text) regprocedure" "set_config(text,text,boolean) text" \
		"current_setting(text) text" "quote_ident(text) text" "pg_try_advisory_xact_lock(bigint) boolean" \
		"pg_try_advisory_xact_lock(int) boolean" "pg_advisory_xact_lock(bigint) void" "pg_backend_pid() int" \
		"has_schema_privilege(oid,text) boolean" "has_table_privilege(oid,text) boolean" "format(text,text) text" \
		"has_function_privilege(oid,text) boolean" "pg_has_role(oid,text) boolean" "length(text) int" "clock_timestamp() timestamptz" \
		"generate_series(int,bigint) bigint" "txid_visible_in_snapshot(bigint,txid_snapshot) boolean" "current_schema() name"; do
		echo "create function public.${pair% *} returns ${pair##* } language plpgsql as
			\$\$ begin perform public.caught('${pair%%(*}'); $([[ $pair == *" void" ]] || say "return null;") end \$\$;"
	done
	for pair in "oid regclass" "oid oid" "oid regtype" "oid int" "name text" "name name" "text text" "int int" "bigint bigint" "bigint int" \
		"boolean boolean" "\"char\" \"char\""; do
		for type in '=' '<>' '~' '||' '-' '>' '<=' '>='; do
			echo "create or replace function public.op(a ${pair% *}, b ${pair#* }) returns boolean language plpgsql as
				\$\$ begin perform public.caught('operator $pair'); return false; end \$\$;
				create operator public.$type (function = public.op, leftarg = ${pair% *}, rightarg = ${pair#* });"
		done
	done
	echo "create domain public.text as pg_catalog.text; create domain public.int4 as pg_catalog.int4; create type public.name as enum ('x');"
}

# A pair whose mover is no superuser and looks in public before pg_catalog.
intruded_pair() {
	local db
	role intruder
	role mover
	new_pair "$CASE"
	intruder_objects >objects.sql
	src "select pgq.create_queue('q'); grant pgq_reader to mover; grant create on schema public to intruder" >/dev/null
	dst "create schema archive authorization mover; grant create on schema public to intruder;
		create table archive.orders (id int, day date, note text) partition by range (day); alter table archive.orders owner to mover"
	config "src_db=dbname=$SRC user=mover options='-c search_path=public,archive,pg_catalog'" \
		"dst_db=dbname=$DST user=mover options='-c search_path=public,archive,pg_catalog'" dest_table=archive.orders
	expect_exit 0 "$TDISPATCH" --install job.ini --set "src_db=dbname=$SRC" --set "dst_db=dbname=$DST" --set on_error=dead_letter
	dst "grant usage on schema pgq_ext, tdispatch to mover; grant insert, select, delete on tdispatch.dead_letter to mover"
	for db in "$SRC" "$DST"; do
		PGUSER=intruder sql "$db" <objects.sql
	done
}

nothing_was_called() {
	local db
	for db in "$SRC" "$DST"; do
		expect_eq "$(sql "$db" <<<"select string_agg(distinct what, ', ') from public.alarm where who = 'tdispatch'")" "" "called in $db"
	done
}

case_search_path_of_a_run() {
	intruded_pair
	event I:id 'id=1&day=2026-01-31&note=a' >/dev/null
	tick q
	expect_exit 0 "$TDISPATCH" --check job.ini
	once
	event I:id 'id=2&day=2026-01-31&note=b' >/dev/null
	event I:id 'id=3&day=2026-02-01&note=c' >/dev/null
	tick q
	once --set lanes=3
	event I:id 'id=4&day=2026-01-31&note=d' >/dev/null
	tick q
	event I:id 'id=x&day=2026-01-31&note=d' >/dev/null
	tick q
	once --set lanes=1 --set on_error=dead_letter
	expect_eq "$(dst "select count(*) from archive.orders")" 4
	expect_exit 0 "$TDISPATCH" --check job.ini --set on_error=dead_letter
	expect_exit 1 "$TDISPATCH" --replay job.ini
	event I:id 'id=5&day=2026-02-02&note=e' >/dev/null
	tick q
	expect_exit 0 "$TDISPATCH" --dry-run job.ini
	once --verify --set "part_keep=50 years" --set part_premake=1
	expect_eq "$(dst "select count(*) from archive.orders")" 5
	expect_exit 0 "$TDISPATCH" --show-partitions --set "part_keep=50 years" job.ini
	expect_exit 0 "$TDISPATCH" --status job.ini
	expect_exit 1 "$TDISPATCH" --check job.ini --set "part_template=$INHERITS"
	expect_match out '^WRONG .* is partitioned'
	expect_exit 1 "$TDISPATCH" --check job.ini --set part_field=dya
	expect_match out '^WRONG .* has no column dya'
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	expect_exit 0 "$TDISPATCH" --reset job.ini
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	expect_exit 0 "$TDISPATCH" --register job.ini
	nothing_was_called
}

# --install, where the intruder was there first.
case_search_path_of_install() {
	intruded_pair
	dst "drop schema pgq_ext cascade"
	sql postgres <<<"grant create on database \"$DST\" to mover"
	expect_exit 0 "$TDISPATCH" --install job.ini
	expect_eq "$(dst "set search_path = pg_catalog; select distinct atttypid::regtype::text from pg_attribute where attrelid = 'pgq_ext.completed_tick'::regclass
		and attnum > 0 order by 1" | tr '\n' ' ')" "bigint text "
	expect_eq "$(dst "set search_path = pg_catalog; select count(*) from pg_proc where pronamespace = 'pgq_ext'::regnamespace
		and not proconfig::text like '%search_path=pg_catalog%'")" 0
	nothing_was_called
}

# The question who holds the lock.
case_search_path_of_a_question() {
	intruded_pair
	event I:id 'id=1&day=2026-01-31&note=a' >/dev/null
	tick q
	hold "lock table archive.orders"
	start job.ini
	within 10 grep -q 'is open in server process' bg.err
	end_sleepers
	within 20 dst_gives 1 "select count(*) from archive.orders"
	kill -TERM "$PID"
	expect_end 0 5
	nothing_was_called
}

# A table that waits under the name of tomorrow's partition.
case_squatted_partition() {
	local template
	role intruder
	orders_pair "dst_db=dbname=${CASE}_dst options='-c search_path=public'"
	dst "grant create on schema public to intruder"
	as intruder "$DST" "create table orders_2026_01_31 (id int, day date, note text);
		create function spy() returns trigger language plpgsql as
			\$\$ begin execute 'create role spy_was_here'; return new; end \$\$;
		create trigger spy before insert on orders_2026_01_31 for each row execute function spy()"
	orders 1 1
	tick q
	for template in "$PARTITION_OF" "$ATTACH" "$INHERITS"; do
		expect_exit 1 "$TDISPATCH" --once job.ini --set "part_template=$template"
		expect_match err 'orders_2026_01_31 is not ours.* belongs to intruder'
	done
	expect_eq "$(dst "select count(*) from orders_2026_01_31")$(dst "select to_regrole('spy_was_here') is null")" 0t
	dst "drop table orders_2026_01_31"
	once
	expect_rows 1
	dst "alter table orders_2026_01_31 owner to intruder" # attached by who may: it stays one of ours
	orders 2 2
	tick q
	once
	expect_rows 2
}

# eve may create schemas, and was there before --install.
case_install_trusts_nobody() {
	local made
	role eve
	orders_pair
	dst "drop schema pgq_ext cascade; grant create on database \"$DST\" to eve; grant eve to postgres"
	for made in "create schema pgq_ext; grant all on schema pgq_ext to public" \
		"create schema tdispatch; create table tdispatch.dead_letter (consumer text)"; do
		as eve "$DST" "$made"
		expect_exit 1 "$TDISPATCH" --install job.ini --set on_error=dead_letter
		expect_match err "belongs to eve"
		expect_exit 1 "$TDISPATCH" --check job.ini --set on_error=dead_letter
		expect_match out "^WRONG .*belongs to eve"
		expect_exit 1 "$TDISPATCH" --once job.ini --set on_error=dead_letter
		dst "drop schema if exists pgq_ext cascade; drop schema if exists tdispatch cascade"
	done
	install
	orders 1 1
	tick q
	dst "grant all on schema pgq_ext to eve; grant all on pgq_ext.completed_tick to eve"
	as eve "$DST" "create schema own; grant usage on schema own to public;
		create function own.own() returns trigger language plpgsql as \$\$ begin execute 'alter role eve superuser'; return new; end \$\$;
		create function pgq_ext.set_last_tick(text, int) returns int language sql as 'select 1'"
	for made in "function pgq_ext.set_last_tick(text,integer)" "what trigger t of table pgq_ext.completed_tick calls" \
		"rule r of table pgq_ext.completed_tick"; do
		expect_exit 1 "$TDISPATCH" --once job.ini
		expect_match err "$(sed 's/[()]/./g' <<<"$made") belongs to"
		expect_exit 1 "$TDISPATCH" --status job.ini
		expect_exit 1 "$TDISPATCH" --reset job.ini
		case $made in
		function*) dst "drop function pgq_ext.set_last_tick(text, int)" && as eve "$DST" \
			"create trigger t before insert on pgq_ext.completed_tick for each row execute function own.own()" ;;
		what*) dst "drop trigger t on pgq_ext.completed_tick; create rule r as on insert to pgq_ext.completed_tick do also select 1" ;;
		esac
	done
	dst "drop rule r on pgq_ext.completed_tick"
	once
	expect_rows 1
	expect_eq "$(dst "select rolsuper from pg_roles where rolname = 'eve'")" f
}

# ---- a server of our own, with TLS and passwords

OWN_HBA='local all all trust
hostssl all secretive all scram-sha-256
host all secretive all reject
host all all all trust'

AS_OWNER=
[ "$(id -u)" != 0 ] || AS_OWNER="setpriv --reuid=postgres --regid=postgres --init-groups"

as_server_owner() {
	as_owner sh -c "$1" sh "$OWN"
}

# own_server: starts it; DST is a database there.
own_server() {
	OWN=$WORK/own
	mkdir "$OWN"
	[ "$(id -u)" != 0 ] || chown postgres: "$OWN"
	OWN_PORT=$(free_port)
	(CLUSTER=$OWN PGPORT=$OWN_PORT cluster_init)
	as_server_owner 'echo "listen_addresses = '\''*'\''" >>"$1/data/postgresql.conf"; cat >"$1/data/pg_hba.conf"' <<<"$OWN_HBA"
	DST="host=$OWN port=$OWN_PORT dbname=postgres user=postgres"
	start_own_server
	dst "set password_encryption = 'scram-sha-256'; create role secretive superuser login password 'geh31m'"
}

# start_own_server [COMMAND...]: by a command that goes before it.
start_own_server() {
	"$@" $AS_OWNER "$PGBIN/postgres" -D "$OWN/data" >>own.log 2>&1 </dev/null &
	within 20 dst_gives 1 "select 1"
	OWN_PID=$(head -n 1 "$OWN/data/postmaster.pid")
	STARTED+=("$OWN_PID")
}

# Without it its last processes would still write while the case's folder is removed.
stop_own_server() {
	kill -INT "$OWN_PID"
	within 20 process_gone "$OWN_PID"
}

# certificate NAME HOST [CA]: NAME.crt and NAME.key for HOST, signed by CA.crt.
certificate() {
	openssl req -new -nodes -newkey rsa:2048 -subj "/CN=$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA "${3:-ca}.crt" -CAkey "${3:-ca}.key" -CAcreateserial -days "${DAYS:-2}" \
		-extfile <(echo "subjectAltName = DNS:$2") -out "$1.crt" 2>/dev/null
}

authority() {
	openssl req -new -x509 -days 2 -nodes -newkey rsa:2048 -subj "/CN=$1 of the test" -keyout "$1.key" -out "$1.crt" 2>/dev/null
}

# A certificate whose time is over.
expired_certificate() {
	certificate "$1" "$2"
	mkdir -p signed
	: >signed/index
	printf '[ca]\ndefault_ca = x\n[x]\ndatabase = signed/index\nrand_serial = yes\nnew_certs_dir = signed\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n' >ca.cnf
	openssl ca -batch -config ca.cnf -cert ca.crt -keyfile ca.key -startdate 20200101000000Z -enddate 20200102000000Z \
		-extfile <(echo "subjectAltName = DNS:$2") -in "$1.csr" -out "$1.crt" 2>/dev/null
}

# The own server shows this certificate from now on.
show_certificate() {
	as_server_owner 'umask 077; cat >"$1/data/server.key"' <"$1.key"
	as_server_owner 'cat >"$1/data/server.crt"' <"$1.crt"
	dst "alter system set ssl = on" >/dev/null
	dst "select pg_reload_conf()" >/dev/null
	within 10 shows_certificate "$1"
}

shows_certificate() {
	[ "$(openssl s_client -starttls postgres -connect "127.0.0.1:$OWN_PORT" 2>/dev/null </dev/null | openssl x509 -noout -fingerprint 2>/dev/null)" \
		= "$(openssl x509 -in "$1.crt" -noout -fingerprint)" ]
}

# A source of the cluster's, the own server as target, with an authority and a good certificate.
tls_pair() {
	command -v openssl >/dev/null || skip "no openssl"
	new_pair "$CASE"
	own_server
	authority ca
	certificate good db.example
	show_certificate good
	src "select pgq.create_queue('q')" >/dev/null
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config pidfile= retry_limit=0 "src_db=host=127.0.0.1 port=$PGPORT user=postgres dbname=$SRC" "dst_db=$DST"
	install
}

# target OPTIONS: dst_db by TCP, as db.example, which the certificate must be for.
target() {
	echo "dst_db=host=db.example hostaddr=127.0.0.1 port=$OWN_PORT dbname=postgres user=secretive password=geh31m $1"
}

# in_root OPTIONS [VARIABLE=VALUE]: the static binary loads an event in an empty root.
in_root() {
	N=$((N + 1))
	event I:id "id=$N&day=2026-01-31&note=a" >/dev/null
	tick q
	expect_exit 0 env -i "${@:2}" "$(command -v chroot)" root /tdispatch --once /job.ini --set "$(target "$1")"
	expect_rows $N
}

case_tls_in_an_empty_root() {
	local bundle N=0
	[ "$(id -u)" = 0 ] || skip "only root can chroot"
	tls_pair
	mkdir root
	cp "$STATIC" root/tdispatch
	cp job.ini root
	cp ca.crt root/ca.crt
	in_root "sslmode=verify-full sslrootcert=/ca.crt"
	lacks_options "$STATIC" && skip "only sslrootcert=FILE: this libpq does not know system"
	expect_exit 1 env -i "$(command -v chroot)" root /tdispatch --once /job.ini --set "$(target sslrootcert=system)"
	expect_match err "certificate"
	in_root "sslrootcert=system" SSL_CERT_FILE=/ca.crt
	for bundle in etc/ssl/certs/ca-certificates.crt etc/pki/tls/certs/ca-bundle.crt etc/ssl/ca-bundle.pem etc/ssl/cert.pem; do
		mkdir -p "root/${bundle%/*}"
		cp ca.crt "root/$bundle"
		in_root "sslrootcert=system"
		rm "root/$bundle"
	done
	mkdir -p root/hashed
	cp ca.crt "root/hashed/$(openssl x509 -in ca.crt -noout -hash).0"
	in_root "sslrootcert=system" SSL_CERT_DIR=/hashed
	stop_own_server
}

# refused_for REGEX OPTIONS: one line that tells what is wrong with the certificate.
refused_for() {
	expect_exit 1 "$STATIC" --once job.ini --set "$(target "$2")"
	expect_eq "$(grep -c ERROR err)" 1 "error lines"
	expect_match err "dst_db: .*$1"
	expect_no_match err geh31m
}

case_tls_bad_certificates() {
	local verify="sslmode=verify-full sslrootcert=ca.crt"
	tls_pair
	expect_exit 0 "$STATIC" --once job.ini --set "$(target "$verify")"
	expired_certificate old db.example
	show_certificate old
	refused_for "certificate verify failed: certificate has expired" "$verify"
	authority stranger
	certificate foreign db.example stranger
	show_certificate foreign
	refused_for "certificate verify failed: unable to get local issuer certificate" "$verify"
	refused_for "certificate verify failed: unable to get local issuer certificate" "sslmode=verify-ca sslrootcert=ca.crt"
	certificate elsewhere other.example
	show_certificate elsewhere
	refused_for "other.example.*does not match host name.*db.example" "$verify"
	refused_for "root certificate file.*nothere.crt" "sslmode=verify-full sslrootcert=nothere.crt"
	dst "alter system set ssl = off" >/dev/null
	dst "select pg_reload_conf()" >/dev/null
	within 10 dst_gives off "show ssl"
	refused_for "server does not support SSL" "sslmode=require"
	stop_own_server
}

# The address of another machine is one of a network of its own.
case_check_warns_of_a_plain_connection() {
	local conninfo
	unshare -n ip link set lo up 2>/dev/null || skip "no rights for a network namespace"
	tls_pair
	stop_own_server
	unshare -n sh -c 'ip link set lo up; ip address add 192.0.2.7/32 dev lo; ip address add 2001:db8::7/128 dev lo nodad; exec sleep 600' &
	NET_PID=$!
	STARTED+=("$NET_PID")
	within 5 in_net ip route get 192.0.2.7
	start_own_server in_net
	conninfo="host=192.0.2.7 port=$OWN_PORT dbname=postgres user=postgres"
	checks_in_net "warning .*dst_db.*unencrypted.*sslmode=verify-full" "$conninfo sslmode=disable"
	checks_in_net "warning .*dst_db.*unencrypted" "${conninfo/192.0.2.7/2001:db8::7} sslmode=disable"
	checks_in_net "dst_db: connected.* encrypted" "$conninfo"
	expect_no_match out unencrypted
	for conninfo in "${conninfo/192.0.2.7/127.0.0.1} sslmode=disable" "${conninfo/192.0.2.7/::1} sslmode=disable" "$DST"; do
		checks_in_net "dst_db: connected.*not encrypted" "$conninfo"
		expect_no_match out unencrypted
	done
	stop_own_server
}

in_net() {
	nsenter -n -t "$NET_PID" "$@"
}

checks_in_net() {
	expect_exit 0 nsenter -n -t "$NET_PID" "$STATIC" --check job.ini --set "src_db=dbname=$SRC" --set "dst_db=$2"
	expect_match out "$1"
}

# ---- secrets

# The word is in the config in every way that there is; no output may have it.
no_secret() {
	local file
	for file in out err job.log processes; do
		[ ! -f $file ] || ! grep -qa 'h31m' $file || fail "$file tells: $(grep -am 1 'h31m' $file | cut -c 1-300)"
	done
}

# secret_run CODE REGEX ARGS...: fails as said, and tells nothing.
secret_run() {
	rm -f job.log
	expect_exit "$1" "$STATIC" "${@:3}"
	cat out err >said
	expect_match said "$2"
	no_secret
	expect_exit "$1" "$TDISPATCH" "${@:3}"
	no_secret
}

# secret_config DST_DB: as it stands in the file.
secret_config() {
	config logfile=job.log pidfile= exception_sleep=0 retry_limit=0
	sed -i "/^dst_db/d" job.ini
	printf 'dst_db = %s\n' "$1" >>job.ini
}

case_secrets() {
	local how url
	tls_pair
	url=127.0.0.1:$OWN_PORT/postgres
	for how in "host=127.0.0.1 port=$OWN_PORT dbname=postgres user=secretive password=geh31m" "postgresql://secretive:geh31m@$url" \
		"postgresql://$url?user=secretive&password=g%%65h31m" "host=127.0.0.1 port=$OWN_PORT dbname=postgres user=secretive passfile=passfile"; do
		secret_config "$how"
		printf '*:*:*:*:geh31m\n' >passfile
		chmod 600 passfile
		secret_run 0 "" --once -v -v job.ini
		secret_run 0 "^ready$" --check -v -v job.ini
		secret_run 0 dst_db --show-config job.ini
		dst "alter role secretive password 'another'"
		secret_run 1 "password authentication failed" --once -v -v job.ini
		secret_run 1 "password authentication failed" --check -v -v job.ini
		secret_run 1 "password authentication failed" --reset job.ini
		dst "alter role secretive password 'geh31m'"
		sed -i "s/$OWN_PORT/1/" job.ini
		secret_run 1 "refused" --once -v -v job.ini
		secret_run 1 "refused" --check job.ini
	done
	secret_config "host=127.0.0.1 port=$OWN_PORT dbname=postgres user=secretive"
	export PGPASSWORD=wrong-geh31m
	secret_run 1 "password authentication failed" --once -v -v job.ini
	secret_run 0 dst_db --show-config job.ini
	unset PGPASSWORD
	stop_own_server
}

# What is wrong with the config, on the very line of the password.
case_secrets_in_a_wrong_config() {
	local bad
	new_pair "$CASE"
	for bad in "host=h user=u password='geh31m" "host=h password=ge h31m" "host=h pasword=geh31m" "host=h password=geh31m sslmodus=x" \
		"postgresql://u:geh31m@h:5432/d?nothing=x" "postgresql://u:geh31m@h/d?sslmode" "postgresql://u:geh31m@[::1/d" "postgresql://u:ge%%h31m@h/d" \
		"postgresql://u:ge@h31m@h/d" "postgresql://u:ge/h31m@h/d" "postgresql://u:g@/h31m@h/d" "host=h password=geh31m%zz" "password=geh31m%(x)s" \
		"dbname=postgresql://u:geh31m@h/d" "dbname=u:geh31m@h/d" "dbname='d password=geh31m'" "host=u:geh31m@h dbname=d" \
		"host=h,u:geh31m@h2" "hostaddr=u:geh31m@127.0.0.1" "user=u:geh31m host=h" "user='u PASSWORD=geh31m'" "host=h;password=geh31m" \
		"postgresql://u:geh31m%%40h/d" "postgresql://h:geh31m/d" "postgresql://h/d?user=u:geh31m" "postgresql://u:geh31m@h1,h2:abc/d" \
		"postgresql:/u:geh31m@h/d" "jdbc:postgresql://h/d?password=geh31m" "Server=h;Password=geh31m" "service=geh31m"; do
		secret_config "$bad"
		for how in --show-config --check --once; do
			secret_run 2 "dst_db" $how job.ini
		done
	done
	secret_config "host=h
password=geh31m"
	secret_run 0 "password: no key of that name" --show-config job.ini
	secret_config "host=h
password geh31m"
	secret_run 2 "job.ini: line [0-9]+" --show-config job.ini
	secret_config "host=h password=geh31m
dst_db = host=h password=geh31m"
	secret_run 2 "line [0-9]+: key dst_db is already set" --show-config job.ini
	secret_config "host=h options='-c app.key=geh31m -c db_password=geh31m -c search_path=a'"
	secret_run 0 "app.key=\*+ -c db_password=\*+ -c search_path=a'" --show-config job.ini
	secret_config "host=h password=geh31m sslmode=bogus"
	secret_run 2 "sslmode" --check job.ini
	secret_config "host=h port=x password=geh31m"
	secret_run 2 "port" --once job.ini
	secret_run 2 "key=value" --show-config job.ini --set "postgresql://u:geh31m@h/d"
}

case_secrets_and_ps() {
	tls_pair
	secret_config "postgresql://secretive:geh31m@127.0.0.1:$OWN_PORT/postgres"
	start job.ini
	within 10 grep -q 'starts' job.log
	ps -eo args | grep -v grep >processes
	grep -q "tdispatch.*job.ini" processes
	printf '[tdispatch]\ndst_db = x password=geh31m\n' >job.ini
	kill -HUP "$PID"
	within 10 grep -q 'not reloaded' job.log
	no_secret
	kill -TERM "$PID"
	expect_end 0 5
	stop_own_server
}

# ---- files

# files_config: a log that rotates, a pid file, and a queue that does not answer.
files_config() {
	SRC=none DST=none
	config retry_limit=0 logfile=job.log log_size=300 log_count=2 "src_db=host=127.0.0.1 port=1" "dst_db=host=127.0.0.1 port=1"
}

case_file_modes() {
	local file
	files_config
	umask 0
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_exit 1 "$TDISPATCH" --once job.ini
	start job.ini
	within 10 test -s job.pid
	expect_eq "$(stat -c %a job.pid)" 640
	for file in job.log job.log.1 job.log.2; do
		expect_eq "$(stat -c %a $file)" 640 $file
	done
	kill -TERM "$PID"
	expect_end 0 5
}

# not_ours REGEX FILE: neither log nor pid file is written where FILE stands.
not_ours() {
	local before
	before=$(stat -c '%a %u %s %h' "$2")
	expect_exit 2 "$TDISPATCH" --once job.ini --set "logfile=$2"
	expect_match err "cannot write log file $2: $1"
	expect_exit 1 "$TDISPATCH" --once job.ini --set logfile= --set "pidfile=$2"
	expect_match err "cannot write pidfile $2: $1"
	expect_eq "$(stat -c '%a %u %s %h' "$2")" "$before"
}

case_files_of_others() {
	files_config
	echo precious >precious
	ln -s precious link
	not_ours "it is a symbolic link" link
	ln -s nothing dangling
	not_ours "it is a symbolic link" dangling
	[ ! -e nothing ]
	ln precious second
	not_ours "it has another name" second
	mkdir folder
	not_ours "is a directory" folder
	mkfifo pipe
	expect_exit 2 "$TDISPATCH" --once job.ini --set "logfile=pipe"
	expect_exit 1 "$TDISPATCH" --once job.ini --set logfile= --set "pidfile=pipe"
	expect_match err "it is no regular file"
	not_ours "it is no regular file" /dev/null
	rm second
	[ "$(id -u)" = 0 ] || skip "only root can give a file away"
	chown postgres: precious
	chmod 666 precious
	not_ours "it belongs to another user" precious
	expect_eq "$(cat precious)" precious
}

# Links in the place of the rotated files are replaced, not followed.
case_rotation_follows_no_link() {
	files_config
	echo precious >precious
	ln -s precious job.log.1
	ln -s precious job.log.2
	for _ in 1 2 3 4; do
		expect_exit 1 "$TDISPATCH" --once job.ini
	done
	expect_eq "$(cat precious)" precious
	expect_eq "$(find . -name 'job.log*' -type f | wc -l)" 3
}

# ---- the binary: a line for each property

static_binary() {
	[[ $STATIC == */tdispatch ]] || skip "no static ./tdispatch"
	readelf -hlSdW "$STATIC" >elf
}

case_binary_is_a_static_pie() {
	static_binary
	expect_match elf 'Type: *DYN'
	expect_match elf 'FLAGS_1.*PIE'
	expect_no_match elf 'INTERP|\(NEEDED\)|RPATH|RUNPATH'
}

case_binary_has_no_text_relocations() {
	static_binary
	expect_no_match elf 'TEXTREL'
}

# No segment can be both written and executed, the stack not executed.
case_binary_has_nx() {
	static_binary
	expect_match elf 'GNU_STACK .* RW '
	expect_no_match elf '(LOAD|GNU_STACK) .* RWE '
}

# Readelf tells what is asked of a loader. There is none: what counts is how memory looks.
case_binary_has_full_relro() {
	static_binary
	expect_match elf 'GNU_RELRO'
	expect_match elf 'BIND_NOW'
	files_config
	PROGRAM=$STATIC
	start job.ini
	within 10 test -s job.pid
	expect_match "/proc/$PID/maps" ' r-xp .*/tdispatch'
	# headers, code, constants, RELRO, data
	expect_eq "$(sed -n 's/^[^ ]* \([^ ]*\) .*\/tdispatch$/\1/p' "/proc/$PID/maps" | tr '\n' ' ')" "r--p r-xp r--p r--p rw-p "
}

case_binary_is_loaded_anywhere() {
	local first
	static_binary
	files_config
	PROGRAM=$STATIC
	start job.ini
	within 10 test -s job.pid
	first=$(head -n 1 "/proc/$PID/maps")
	kill_quietly -TERM "$PID"
	expect_end 0 5
	start job.ini
	within 10 test -s job.pid
	[ "$first" != "$(head -n 1 "/proc/$PID/maps")" ] || fail "twice at ${first%% *}"
}

# The canary is at %fs:0x28. The libraries, which read what the network sends, use it too.
case_binary_has_stack_protector() {
	static_binary
	command -v objdump >/dev/null || skip "no objdump"
	expect_match <(nm "$TOP"/build/obj/*.o) '__stack_chk_fail'
	[ "$(objdump -d --no-show-raw-insn "$STATIC" | grep -c '%fs:0x28')" -gt 1000 ] || fail "hardly any function checks its stack"
}

run_cases
