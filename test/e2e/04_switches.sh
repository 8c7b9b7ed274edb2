# Every switch but those of the running process, and the config file as the program reads it.
. "$(dirname "$0")/../cases.sh"

# A config that names no real database.
offline_config() {
	SRC=none_src DST=none_dst
	config "$@"
}

case_help() {
	local switch
	expect_exit 0 "$TDISPATCH" -h
	for switch in help version quiet verbose daemon ini set reload stop kill register unregister rewind reset install once verify progress dry-run check show-config; do
		expect_match out "--$switch"
	done
	expect_eq "$(awk 'length($0) > 80' out)" "" "lines wider than 80 columns"
	cp out short
	expect_exit 0 "$TDISPATCH" --help
	cmp out short
	expect_eq "$(cat err)" ""
}

# What the shells make of it; zsh and fish where they are installed.
case_completion() {
	local shell
	for shell in bash zsh fish; do
		expect_exit 0 "$TDISPATCH" --completion $shell
		cp out complete.$shell
		! command -v $shell >/dev/null || $shell -n complete.$shell 2>syntax.err || fail "$shell: $(cat syntax.err)"
	done
	expect_eq "$(bash -c '. ./complete.bash; COMP_WORDS=(tdispatch --re) COMP_CWORD=1; _tdispatch; echo "${COMPREPLY[*]}"')" \
		"--register --rewind --reset --replay --reload"
	expect_eq "$(bash -c '. ./complete.bash; COMP_WORDS=(tdispatch --completion z) COMP_CWORD=2; _tdispatch; echo "${COMPREPLY[*]}"')" zsh
	expect_eq "$(bash -c '. ./complete.bash; COMP_WORDS=(tdispatch --set tick) COMP_CWORD=2; _tdispatch; echo "${COMPREPLY[*]}"')" "ticker= ticker_period="
	expect_eq "$(grep -c '^complete -c tdispatch' complete.fish)" "$("$TDISPATCH" --help | grep -Ec '^ +(-.,)? *--')"
	expect_exit 2 "$TDISPATCH" --completion tcsh
	expect_match err 'bash, zsh or fish'
}

# At a terminal --reset says what it would forget, and asks.
case_reset_asks() {
	local answer last=
	command -v script >/dev/null || skip "script is not there"
	orders_pair
	orders 1 3
	tick q
	once
	for answer in no "" y; do
		[ -n "$(completed_tick)" ] || fail "forgotten after: $last"
		printf '%s\n' "$answer" | script -qec "$TDISPATCH --reset job.ini" screen >/dev/null || :
		expect_match screen 'the target would forget tick .*comes twice. Forget it'
		last=$answer
	done
	expect_eq "$(completed_tick)" ""
	tick q
	once
	script -qec "$TDISPATCH --reset --yes job.ini" screen >/dev/null </dev/null
	expect_no_match screen 'Forget it'
	expect_eq "$(completed_tick)" ""
	expect_match screen 'the target forgot tick'
}

case_version() {
	expect_exit 0 "$TDISPATCH" -V
	expect_match out 'tdispatch.*[0-9]+\.[0-9]+'
	cp out short
	expect_exit 0 "$TDISPATCH" --version
	cmp out short
}

case_ini() {
	expect_exit 0 "$TDISPATCH" --ini
	cp out sample.ini
	expect_match out '^\[(table_dispatcher|tdispatch)\]'
	expect_match out 'part_timezone *= *UTC'
	expect_exit 0 "$TDISPATCH" --show-config sample.ini
	expect_eq "$(cat err)" "" "warnings about the sample"
}

case_usage_errors() {
	offline_config
	expect_exit 2 "$TDISPATCH"
	[ -s err ] || fail "no word about the missing config file"
	expect_exit 2 "$TDISPATCH" --no-such-switch job.ini
	expect_match err no-such-switch
	expect_exit 2 "$TDISPATCH" job.ini other.ini
	expect_exit 2 "$TDISPATCH" --once missing.ini
	expect_match err missing.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini --set novalue
	expect_match err novalue
	expect_exit 2 "$TDISPATCH" --show-config .
}

case_required_keys() {
	local key
	for key in queue_name src_db dst_db dest_table; do
		offline_config "$key="
		expect_exit 2 "$TDISPATCH" --once job.ini
		expect_match err "$key"
	done
}

case_unknown_key_warns() {
	offline_config "part_feild=day"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match err "part_feild"
}

case_duplicate_key() {
	offline_config
	printf 'Dest_Table: again\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err "job\.ini.*$(wc -l <job.ini).*dest_table"
}

case_duplicate_section() {
	offline_config
	printf '[table_dispatcher]\nfields = *\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --once job.ini
	expect_match err "job\.ini.*$(($(wc -l <job.ini) - 1))"
}

case_no_section() {
	printf 'queue_name = q\n' >a.ini
	expect_exit 2 "$TDISPATCH" --show-config a.ini
	expect_match err 'a\.ini.*1'
	printf '[londiste]\nqueue_name = q\n' >b.ini
	expect_exit 2 "$TDISPATCH" --show-config b.ini
	expect_match err table_dispatcher
	: >c.ini
	expect_exit 2 "$TDISPATCH" --show-config c.ini
}

case_bad_values() {
	local bad
	for bad in log_size=big log_count=-1 loop_delay=soon exception_sleep=-5 connection_lifetime=1h; do
		offline_config "$bad"
		expect_exit 2 "$TDISPATCH" --show-config job.ini
		expect_match err "${bad%%=*}"
	done
}

case_bad_interpolation() {
	offline_config
	printf 'logfile = %%(nobody)s.log\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'nobody'
	offline_config
	printf 'logfile = %%(pidfile)s\n' >>job.ini
	sed -i 's/^pidfile.*/pidfile = %(logfile)s/' job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
}

case_bad_conninfo() {
	offline_config "dst_db=dbname=x password='geheim"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err dst_db
	expect_no_match err geheim
	expect_no_match out geheim
}

case_grammar() {
	cat >odd.ini <<-'END'
		; first line
		[DEFAULT]
		base = orders
		DB: dbname=x
		[table_dispatcher]
		QUEUE_NAME : q; not a comment
		src_db=%(db)s
		dst_db = %(DB)s
		   # indented comment
		dest_table = %(base)s
		part_field = day
		part_template = line one;
		    line two

		    line four: 100%%
		    # gone
		  line five = x
		logfile = ~/%(job_name)s-%(service_name)s.log
		pidfile = %(config_dir)s/%(host_name)s.pid
		fields = %(config_file)s
	END
	HOME=/home/of/somebody expect_exit 0 "$TDISPATCH" --show-config odd.ini
	expect_match out '^queue_name = q; not a comment$'
	expect_match out '^dst_db = dbname=x$'
	expect_match out '^dest_table = orders$'
	expect_match out '^job_name = table_dispatcher$'
	expect_match out '^consumer_name = table_dispatcher$'
	expect_match out '^logfile = /home/of/somebody/table_dispatcher-table_dispatcher.log$'
	expect_match out "^pidfile = .*/$(hostname)\.pid\$"
	expect_match out '^fields = .*odd.ini$'
	expect_eq "$(sed -n '/^part_template/,/five/p' out)" $'part_template = line one;\n    line two\n\n    line four: 100%%\n    line five = x'
}

case_old_spellings() {
	offline_config queue_name= part_field=
	printf 'pgq_queue_name = old\npgq_consumer_id = oldc\npart_column = created\n' >>job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out '^queue_name = old$'
	expect_match out '^consumer_name = oldc$'
	expect_match out '^part_field = created$'
}

case_use_skylog() {
	local value
	for value in 1 2 yes; do
		offline_config use_skylog=$value
		expect_exit 0 "$TDISPATCH" --show-config job.ini
		expect_match err 'use_skylog is .*ignored'
	done
	offline_config use_skylog=0
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_eq "$(cat err)" ""
}

# shown KEY=VALUE TEXT: --show-config shows that value as TEXT.
shown() {
	offline_config "$1"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_eq "$(sed -n "s/^${1%%=*} = //p" out)" "$2" "$1"
}

# refused KEY=VALUE REGEX
refused() {
	offline_config "$1"
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "line [0-9]+: ${1%%=*}: $2"
}

case_numbers() {
	local value
	shown loop_delay=1e-1 0.1
	shown loop_delay=0.0005 0.001
	shown loop_delay=0.00001 0.001
	shown loop_delay=0.0 0
	shown loop_delay=1.23456 1.235
	shown loop_delay=.5 0.5
	shown loop_delay=2E2 200
	for value in -1 1e10 inf nan 0x10 1,5 "1 s" e1 '""'; do
		refused "loop_delay=$value" 'not a number of seconds'
	done
	refused lanes=0 'not a whole number from 1 to 16'
	refused log_count=1001 'not a whole number from 0 to 1000'
	refused part_method=dayly 'neither yearly, monthly, weekly, daily nor hourly'
	refused part_late=no 'neither create, skip nor error'
	refused fields=a:b:c 'two colons'
}

# What --show-config prints is a config file that it prints again, with percent signs, quotes and lines
# in all keys that take text.
case_shown_config_loads() {
	local key
	{
		for key in job_name queue_name consumer_name; do
			echo "$key = a%%b \"$key\" %%(job_name)s"
		done
		for key in pidfile state_file metrics_file logfile; do
			echo "$key = /tmp/50%%_$key"
		done
		printf '%s = %s\n' log_size 1 log_count 2 log_format json use_skylog 0 loop_delay 0.25 exception_sleep 1.5 \
			connection_lifetime 7 src_db 'host=/a%%b dbname=s' dst_db 'postgresql://u:p%%2fw@h/d%%20b?sslmode=require' \
			dest_table 'ar%%chive.or"ders' fields '*, id, d%%y:day, *x, _OP:op' skip_fields 'b%%' on_missing null row_mode keep_latest row_key id on_truncate skip \
			tables 'a%%.*, b' event_types 'I, U%%' event_format json event_order id part_field 'd%%y' part_method monthly part_list_max 7 part_timezone Europe/Berlin \
			part_keep '6 months' part_keep_action detach part_late skip part_premake 2 batch_min_events 3 lanes 4 on_error skip \
			max_errors 5 retry_limit 6 server_timeout 8 \
			log_interval 9 metrics_listen 127.0.0.1:9187 from_table 'a%%.b' from_where "note like 'x%%'" from_key id from_slice 8192 \
			from_snapshot table
		printf '%s\n' 'part_template = create table _DEST_TABLE' '    () inherits (_PARENT);' '' \
			"    do \$\$ begin raise notice '%%%%', 1 %% 2; end \$\$"
	} >keys
	{ echo '[tdispatch]'; cat keys; } >job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	for key in $("$TDISPATCH" --ini | sed -nE 's/^#?([a-z_]+) *=.*/\1/p'); do
		expect_match out "^$key = "
	done
	expect_eq "$(grep -c '^[a-z]' out)" "$(grep -cE '^	\{ "[a-z_]+", ' "$TOP/conf/key.c")" "keys"
	expect_match out '^pidfile = /tmp/50%%_pidfile$'
	cp out first
	{ echo '[tdispatch]'; cat first; } >again.ini
	expect_exit 0 "$TDISPATCH" --show-config again.ini
	expect_eq "$(cat err)" ""
	cmp out first
}

# A key that is empty counts as not set, also where 2.1's "" says so.
case_empty_values() {
	local empty
	for empty in '' '""'; do
		offline_config part_field= pidfile= part_template=
		printf '%s = %s\n' part_timezone "$empty" fields "$empty" consumer_name "$empty" on_error "$empty" \
			pidfile "$empty" part_field "$empty" logfile '%(job_name)s%(pidfile)s.log' >>job.ini
		expect_exit 0 "$TDISPATCH" --show-config job.ini
		expect_eq "$(grep -c '^\(part_timezone = text\|fields = \*\|consumer_name = job\|on_error = stop\)$' out)" 4
		expect_no_match out '^(pidfile|part_field)'
		expect_match out '^logfile = job.log$'
	done
	offline_config dest_table=
	printf 'dest_table = ""\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'line [0-9]+: dest_table: must be set'
	offline_config job_name=
	printf 'job_name =\n' >>job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out '^job_name = table_dispatcher$'
}

# One message names all that is missing; a misspelt key is told what it was meant to be.
case_missing_and_misspelt_keys() {
	local typo
	printf '[tdispatch]\nlanes = 2\nscr_db = dbname=x\npart_feild = day\nnothing_like_it = 1\n' >job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'job.ini: queue_name: must be set, and so must src_db, dst_db, dest_table$'
	expect_match err 'line 3: scr_db: no key .* ignored; did you mean src_db\?$'
	expect_match err 'line 4: part_feild: no key .* ignored; did you mean part_field\?$'
	expect_match err 'line 5: nothing_like_it: no key .* ignored$'
	expect_exit 2 "$TDISPATCH" --show-config --set log_size=x job.ini
	expect_no_match err 'must be set'
	offline_config
	for typo in part_column=part_colunm dest_table=desttable fields=feilds lanes=lane loop_delay=loopdelay; do
		expect_exit 0 "$TDISPATCH" --show-config --set "${typo#*=}=1" job.ini
		expect_match err "did you mean ${typo%%=*}\?$"
	done
	for typo in x ab queue $(printf 'part_field%.0s' 1 2 3 4 5); do
		expect_exit 0 "$TDISPATCH" --show-config --set "$typo=1" job.ini
		expect_no_match err "did you mean"
	done
}

# Two spellings of one key, an unknown key, other sections.
case_default_section() {
	offline_config queue_name= consumer_name=c
	printf 'queue_name = q\n[DEFAULT]\npgq_queue_name = of_all\npgq_consumer_id = of_all\ntypo = 1\nbase = x\nlogfile = %%(base)s.log\n' >>job.ini
	printf '[other]\nkey = 1 ; one\nkey = 2\n[other]\n' >>job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out '^queue_name = q$'
	expect_match out '^consumer_name = c$'
	expect_match out '^logfile = x.log$'
	expect_match err 'line [0-9]+: typo: no key of that name'
	expect_eq "$(wc -l <err)" 1 "warnings"
	printf '[DEFAULT]\ntypo = 2\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'key typo is already set in line [0-9]+'
}

# What was a comment to table_dispatcher 2.1 and is none today, and the other way round.
case_semicolons() {
	offline_config job_name= consumer_name=
	printf 'log_count = 3 ; of them\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'name the section \[tdispatch\], and add job_name = table_dispatcher'
	sed -i '/; of them/d' job.ini
	printf 'job_name = orders ; our job\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err 'line [0-9]+: job_name: .*comment.*\[tdispatch\]'
	expect_exit 0 "$TDISPATCH" --show-config job.ini --set job_name=x
	expect_eq "$(cat err)" ""
	sed -i 's/^\[table_dispatcher\]/[tdispatch]/' job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match err 'WARNING .*line [0-9]+: job_name: the ; is part of the value'
	expect_match out '^job_name = orders ; our job$'
	offline_config "part_template=create table _DEST_TABLE (); -- ; done"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_eq "$(cat err)" ""
	sed -i '/^part_template/d' job.ini
	printf 'part_template =\n  create table _DEST_TABLE ()\n\n  # a comment\n  ; grant select on _DEST_TABLE to public\n' >>job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	expect_match err "part_template: line $(grep -n '; grant' job.ini | cut -d: -f1) begins with a ;"
	sed -i 's/^\[table_dispatcher\]/[tdispatch]/' job.ini
	expect_exit 2 "$TDISPATCH" --show-config job.ini
	sed -i 's/^  ; grant/; grant/' job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
}

case_part_column_warns() {
	offline_config part_field=
	printf 'part_column = created\n' >>job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out '^part_field = created$'
	expect_match err 'WARNING .*part_column: table_dispatcher 2.1 never read this key'
	sed -i 's/^\[table_dispatcher\]/[tdispatch]/' job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_eq "$(cat err)" ""
}

case_show_config_order() {
	local keys="job_name pidfile logfile log_size log_count use_skylog loop_delay exception_sleep connection_lifetime queue_name
		consumer_name src_db dst_db dest_table fields part_field part_method part_timezone part_template"
	offline_config logfile=x.log
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_eq "$(sed -n 's/^\([a-z_]*\) = .*/\1/p' out | grep -Fxf <(printf '%s\n' $keys) | tr '\n' ' ')" "$(echo $keys) "
	expect_match out '^log_size = 10485760$'
	expect_match out '^log_count = 3$'
	expect_match out '^connection_lifetime = 1200$'
	expect_match out '^fields = \*$'
	expect_match out '^part_method = daily$'
	expect_match out '^part_timezone = text$'
}

case_show_config_masks() {
	offline_config "src_db=host=h password=geheim1 user='a b'" "dst_db=postgresql://me:geheim2@h/db?application_name=x"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_no_match out geheim
	expect_no_match err geheim
	expect_match out '^src_db = .*a b'
	expect_match out '^dst_db = .*me'
}

# What it prints reads back as the same config: it is a file's text, with percent signs doubled.
case_show_config_reads_back() {
	offline_config "part_template=$PARTITION_OF"$'\n\n'"grant select on _DEST_TABLE to reporting; -- 100% %(x)s" "src_db=dbname=a%b"
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out 'reporting; -- 100%% %%\(x\)s$'
	{ echo '[table_dispatcher]'; cat out; } >again.ini
	cp out first
	expect_exit 0 "$TDISPATCH" --show-config again.ini
	diff first out
}

case_set() {
	offline_config
	expect_exit 0 "$TDISPATCH" --set dest_table=other --show-config job.ini --set part_method=monthly --set "src_db=dbname=a host=b=c" --set=fields=a,b
	expect_match out '^dest_table = other$'
	expect_match out '^part_method = monthly$'
	expect_match out '^src_db = dbname=a host=b=c$'
	expect_match out '^fields = a, ?b$'
	expect_exit 2 "$TDISPATCH" --show-config job.ini --set part_method=daly
	expect_match err part_method
}

case_set_replaces_old_spelling() {
	offline_config queue_name=
	printf 'pgq_queue_name = old\n' >>job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini --set queue_name=new
	expect_match out '^queue_name = new$'
}

case_long_lines() {
	local long
	long=$(head -c 300000 /dev/zero | tr '\0' x)
	offline_config
	printf '# %s\nunknown_%s = 1\n' "$long" "${long:0:5000}" >>job.ini
	printf 'fields = %s\n' "$(seq -s , -f 'c%g' 1 1500)" >>job.ini
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out ',? ?c1500$'
}

# CR LF, a byte order mark, no newline at the end.
case_windows_file() {
	offline_config
	{ printf '\xef\xbb\xbf'; sed 's/$/\r/' job.ini; printf 'fields = a, b'; } >win.ini
	expect_exit 0 "$TDISPATCH" --show-config win.ini
	expect_match out '^fields = a, ?b$'
	expect_no_match out $'\r'
}

case_install() {
	new_pair "$CASE"
	config
	install
	expect_eq "$(src "select queue_name from pgq.get_queue_info()")" q
	expect_eq "$(src "select consumer_name from pgq.get_consumer_info('q')")" job
	expect_eq "$(dst "select count(*) from pgq_ext.completed_tick")" 0
	dst "insert into pgq_ext.completed_tick values ('x', '', 5)"
	install
	expect_eq "$(dst "select * from pgq_ext.completed_tick")" "x||5"
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q')")" 1
}

# Somebody began by hand.
case_install_what_is_missing() {
	new_pair "$CASE"
	config
	src "select pgq.create_queue('q')" >/dev/null
	dst "create schema pgq_ext"
	install
	expect_eq "$(dst "select pgq_ext.get_last_tick('x') is null")" t
	dst "drop function pgq_ext.get_last_tick(text); select pgq_ext.set_last_tick('x', 5)" >/dev/null
	install
	expect_eq "$(dst "select pgq_ext.get_last_tick('x')")" 5
	expect_eq "$(src "select consumer_name from pgq.get_consumer_info('q')")" job
}

case_install_without_pgq() {
	new_pair "$CASE"
	config "src_db=dbname=$DST"
	expect_exit 1 "$TDISPATCH" --install job.ini
	expect_match err pgq
}

# What python3-pgq's consumers that remember their tick on the target call.
case_installed_functions() {
	new_pair "$CASE"
	config
	install
	expect_eq "$(dst "
		select coalesce(pgq_ext.get_last_tick('c')::text, 'null');
		select pgq_ext.set_last_tick('c', 5);
		select pgq_ext.set_last_tick('c', 's', 7::bigint);
		select pgq_ext.get_last_tick('c'), pgq_ext.get_last_tick('c', 's'), pgq_ext.get_last_tick('d') is null;
		select pgq_ext.set_last_tick('c', 5000000000);
		select pgq_ext.get_last_tick('c');
		select pgq_ext.set_last_tick('c', null);
		select pgq_ext.get_last_tick('c') is null, pgq_ext.get_last_tick('c', 's');
		select pgq_ext.set_last_tick('c', 's', null);
		select count(*) from pgq_ext.completed_tick")" $'null\n1\n1\n5|7|t\n1\n5000000000\n1\nt|7\n1\n0'
	expect_eq "$(dst "select string_agg(attname || ' ' || format_type(atttypid, null), ', ' order by attnum) from pg_attribute
		where attrelid = 'pgq_ext.completed_tick'::regclass and attnum > 0")" "consumer_id text, subconsumer_id text, last_tick_id bigint"
}

# The real extension's schema, in its own words.
real_pgq_ext() {
	dst "create schema pgq_ext;
		create table pgq_ext.completed_tick (consumer_id text not null, subconsumer_id text not null, last_tick_id bigint not null,
			primary key (consumer_id, subconsumer_id));
		create function pgq_ext.get_last_tick(a_consumer text, a_subconsumer text) returns int8 language plpgsql as \$\$
		declare res int8; begin
			select last_tick_id into res from pgq_ext.completed_tick where consumer_id = a_consumer and subconsumer_id = a_subconsumer;
			return res; end \$\$ security definer;
		create function pgq_ext.get_last_tick(a_consumer text) returns int8 language sql as \$\$ select pgq_ext.get_last_tick(a_consumer, '') \$\$;
		create function pgq_ext.set_last_tick(a_consumer text, a_subconsumer text, a_tick_id bigint) returns integer language plpgsql as \$\$
		begin
			if a_tick_id is null then
				delete from pgq_ext.completed_tick where consumer_id = a_consumer and subconsumer_id = a_subconsumer;
			else
				update pgq_ext.completed_tick set last_tick_id = a_tick_id where consumer_id = a_consumer and subconsumer_id = a_subconsumer;
				if not found then
					insert into pgq_ext.completed_tick values (a_consumer, a_subconsumer, a_tick_id);
				end if;
			end if;
			return 1; end \$\$ security definer;
		create function pgq_ext.set_last_tick(a_consumer text, a_tick_id bigint) returns integer language sql as \$\$ select pgq_ext.set_last_tick(a_consumer, '', a_tick_id) \$\$;"
}

pgq_ext_objects() {
	dst "select oid, proname, xmin from pg_proc where pronamespace = 'pgq_ext'::regnamespace union all
		select oid, relname, xmin from pg_class where relnamespace = 'pgq_ext'::regnamespace order by 1"
}

case_real_pgq_ext_is_not_touched() {
	local before
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	real_pgq_ext
	before=$(pgq_ext_objects)
	config
	install
	expect_eq "$(pgq_ext_objects)" "$before"
	orders 1 3
	tick q
	once
	expect_rows 3
	expect_eq "$(completed_tick)" "$(consumer_tick)"
}

case_without_pgq_ext() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	config
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err "pgq_ext"
	expect_match err "--install"
}

case_without_queue() {
	orders_pair
	expect_exit 1 "$TDISPATCH" --once job.ini --set queue_name=nobody
	expect_match err nobody
}

case_register() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	config
	expect_exit 0 "$TDISPATCH" --register job.ini
	expect_eq "$(src "select consumer_name from pgq.get_consumer_info('q')")" job
	expect_exit 0 "$TDISPATCH" --register job.ini
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q')")" 1
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q')")" 0
}

case_switches_on_no_queue() {
	local switch
	orders_pair
	for switch in --register --unregister --rewind; do
		expect_exit 1 "$TDISPATCH" $switch job.ini --set queue_name=nobody
		expect_match err 'src_db has no queue nobody'
	done
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	expect_exit 0 "$TDISPATCH" --unregister job.ini
	expect_match out 'was not registered'
}

# PgQ throws ticks away that no consumer needs.
case_rewind_to_a_tick_that_is_gone() {
	orders_pair
	dst "select pgq_ext.set_last_tick('job', 99)" >/dev/null
	expect_exit 1 "$TDISPATCH" --rewind job.ini
	expect_match err 'queue q has no tick 99.*--reset'
	expect_no_match err 'P0001'
	expect_exit 0 "$TDISPATCH" --reset job.ini
	orders 1 3
	tick q
	once
	expect_rows 3
}

case_quiet() {
	orders_pair
	orders 1 1
	tick q
	once -q
	expect_eq "$(cat err)" ""
	expect_rows 1
}

# An empty batch is a line for debugging only.
case_verbose() {
	orders_pair
	tick q
	once
	expect_no_match err debug
	tick q
	once -v
	expect_match err debug
	tick q
	once -v -v
	expect_match err debug
}

case_batch_line() {
	orders_pair
	orders 1 7
	tick q
	once
	expect_match err "job.*q.*7.*lag"
	expect_match err "$(completed_tick)"
}

case_once_leaves_nothing() {
	orders_pair
	once
	expect_rows 0
	expect_eq "$(ls job.pid 2>/dev/null)" ""
}

# loop_delay = 0: exit when the queue is empty.
case_loop_delay_zero() {
	orders_pair loop_delay=0
	orders 1 5
	tick q
	expect_exit 0 "$TDISPATCH" job.ini
	expect_rows 5
}

case_check() {
	orders_pair
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out orders
	expect_eq "$(consumer_tick)" "$(src "select last_tick_id from pgq.get_queue_info('q')")"
}

# check_fails REGEX ARGS...: --check finds something missing and says so.
check_fails() {
	expect_exit 1 "$TDISPATCH" --check job.ini "${@:2}"
	cat out err >both
	expect_match both "$1"
}

case_check_finds_what_is_missing() {
	orders_pair
	check_fails nobody --set queue_name=nobody
	check_fails nothere --set dest_table=nothere
	check_fails colour --set fields=id,day,colour
	check_fails "no_db" --set "dst_db=dbname=no_db"
	check_fails "pgq" --set "src_db=dbname=$DST"
	dst "drop schema pgq_ext cascade"
	check_fails "pgq_ext"
}

# What events bring and the target lacks, and a target that is empty while the queue has moved on.
case_check_what_a_run_would_lack() {
	local tick
	orders_pair
	check_says '^ready$'
	expect_no_match out '^warning +(orders has no column|the queue is at tick)'
	src "alter table orders add colour text, add size int"
	orders 1 1
	check_says '^warning  orders has no column colour, which events bring \(fields = \*\): a run would end\. ALTER TABLE orders ADD COLUMN'
	expect_match out '^warning  orders has no column size,'
	check_says '^ready$' --set fields=id,day
	expect_no_match out 'has no column'
	tick q
	expect_exit 1 "$TDISPATCH" --once job.ini
	expect_match err 'add it to orders \(ALTER TABLE \.\.\. ADD COLUMN \.\.\.\), then start again: nothing is lost'
	expect_no_match err 'what was loaded is kept'
	dst "alter table orders add colour text, add size int"
	once
	expect_rows 1
	dst "delete from pgq_ext.completed_tick"
	tick=$(consumer_tick)
	check_says "^warning  the queue is at tick $tick, the target knows none: what came before is not there$"
}

case_misspelt_switches() {
	expect_exit 2 "$TDISPATCH" --health --maxlag 5 job.ini
	expect_match err "--maxlag is an unknown or ambiguous option; did you mean --max-lag\?"
	expect_exit 2 "$TDISPATCH" --stauts=x job.ini
	expect_match err "did you mean --status\?"
	expect_exit 2 "$TDISPATCH" --nothing-like-it job.ini
	expect_no_match err "did you mean"
}

# The name of an option is told; what may be a password is not.
case_misspelt_connection_options() {
	offline_config
	expect_exit 2 "$TDISPATCH" --check job.ini --set "dst_db=dbname=a usr=mover"
	expect_match err "dst_db: 'usr' is no connection option$"
	expect_exit 2 "$TDISPATCH" --check job.ini --set "dst_db=dbname=a password=very secret=x"
	expect_match err "dst_db is no valid connection string"
	expect_no_match err "secret"
}

case_check_without_pgq() {
	new_pair "$CASE"
	config "src_db=dbname=$DST"
	check_fails '^MISSING  src_db has no PgQ: install it there \(create extension pgq\), or PgQue$'
	src "drop extension pgq cascade; create schema pgq"
	check_fails '^MISSING  src_db has no PgQ' --set "src_db=dbname=$SRC"
}

case_check_rights() {
	orders_pair
	sql postgres <<<"create role checker login"
	check_fails "right|permission|denied|may not" --set "dst_db=dbname=$DST user=checker"
}

# check_says REGEX ARGS...: that line, and a run is ready.
check_says() {
	expect_exit 0 "$TDISPATCH" --check job.ini "${@:2}"
	expect_match out "$1"
}

case_check_kind_of_the_parent() {
	orders_pair
	dst "create table plain (id int, day date, note text)"
	check_fails '^WRONG .*plain is not partitioned, and part_template says partition of' --set dest_table=plain
	check_fails '^not ready: 1 thing$' --set dest_table=plain
	check_fails '^WRONG .*plain is not partitioned, and part_template says attach' --set dest_table=plain --set "part_template=$ATTACH"
	check_fails '^WRONG .*orders is partitioned, which nothing inherits' --set "part_template=$INHERITS"
	check_says '^ready$' --set "part_template=$INHERITS" --set dest_table=plain
	check_says '^ready$' --set part_field= --set part_template= --set dest_table=plain
	expect_no_match out '^warning'
	check_says '^warning  part_template is not set: each partition of orders must be there' --set part_template=
}

case_check_how_the_parent_is_divided() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	config "part_template=$ATTACH"
	install
	divided "list (day)"
	check_fails '^WRONG .*orders is partitioned by LIST \(day\), and part_template says for values from \(\.\.\.\), which is for RANGE'
	check_says '^ready$' --set "part_template=${ATTACH/from (_PART_START) to (_PART_END)/in (_PART_START)}"
	expect_no_match out '^warning'
	divided "hash (id)"
	check_fails '^WRONG .*orders is partitioned by HASH \(id\)'
	divided "range (note)"
	check_fails '^WRONG .*by RANGE \(note\), and part_template says for values in' --set part_field=note --set part_method=list \
		--set "part_template=create table _DEST_TABLE partition of _PARENT for values in (_PART_VALUE)"
	check_says '^warning .*orders is partitioned by column note, and part_field is day: rows whose note lies outside'
	divided "range (day, id)"
	check_says '^ready$' --set "part_template=create table _DEST_TABLE partition of _PARENT for values from (_PART_START, minvalue)
		to (_PART_END, minvalue) partition by list (note); create table _DEST_TABLEx partition of _DEST_TABLE for values in ('x')"
	expect_no_match out '^warning'
	divided "range ((day + 0))"
	check_says '^ready$'
	expect_no_match out '^warning'
}

divided() {
	dst "drop table if exists orders; create table orders (id int, day date, note text) partition by $1"
}

# What picks the partition need not be written.
case_check_without_the_column_of_the_partition() {
	new_pair "$CASE"
	source_table orders "id int primary key, day date, note text"
	dst "create table orders (id int)"
	config "part_template=$INHERITS" "skip_fields=day, note"
	install
	check_says '^ready$'
	expect_no_match out '^warning'
	check_fails '^WRONG .*orders has no column day, which part_field names' --set skip_fields=note
	check_says '^warning .*orders has no column note, which events bring' --set skip_fields=day
	check_says '^warning .*orders has no column note, which events bring' --set skip_fields=day --set 'fields=*, id'
}

case_check_template_without_the_partition() {
	orders_pair
	check_fails '^WRONG .*part_template has the word _DEST_TABLE nowhere' \
		--set "part_template=create table x (like _PARENT); alter table _PARENT attach partition x for values from (_PART_START) to (_PART_END)"
	check_says '^ready$' --set "part_template=select make_partition('_DEST_TABLE')"
	expect_no_match out '_DEST_TABLE'
	check_says '^ready$' --set "part_template=create table _SCHEMA_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END)"
	check_says '^warning .*what it calls must know' --set "part_template=select make_partition('orders', _PART_START)"
}

case_check_part_field() {
	local what='no column of orders is called dya, which part_field names; events must carry it'
	orders_pair
	check_fails '^WRONG    orders has no column dya, which part_field names' --set part_field=dya
	check_says "^warning  $what" --set part_field=dya --set fields=id,note
	check_says "^ready$" --set part_field=dya --set fields=id,dya:day
	expect_no_match out warning
	check_fails '^MISSING  column dya of orders, which fields names' --set part_field=dya --set fields=id,dya
	check_says "^ready$" --set part_field=_EVTIME
	dst "create table plain (id int, note text)"
	check_says "^warning  .*of plain is called dya" --set part_field=dya --set dest_table=plain \
		--set "part_template=create table _DEST_TABLE (dya date) inherits (_PARENT)"
	check_fails '^WRONG    plain has no column dya' --set part_field=dya --set dest_table=plain --set "part_template=$INHERITS"
}

case_check_files() {
	local key
	orders_pair
	for key in pidfile logfile; do
		check_fails "^WRONG    $key no/such/x cannot be written: folder no/such: No such file" --set $key=no/such/x
	done
	expect_exit 1 "$TDISPATCH" --once --set pidfile=no/such/x job.ini
	expect_exit 2 "$TDISPATCH" --once --set logfile=no/such/x job.ini
	check_fails '^WRONG    logfile job.ini/x cannot be written: folder job.ini: Not a directory' --set logfile=job.ini/x
	for key in state_file metrics_file; do
		check_says "^warning  $key no/such/x cannot be written: folder no/such: .*; a run would go on" --set $key=no/such/x
	done
	check_says '^warning  pidfile /run/no_such/x: folder /run/no_such is not there' --set pidfile=/run/no_such/x
	check_says '^ready$' --set logfile=x.log --set pidfile="$WORK/x.pid" --set metrics_file=x.prom
	check_says '^ready$' --set logfile=syslog
	expect_no_match out warning
	[ ! -e x.log ] && [ ! -e x.pid ] || fail "a file was made"
	[ "$(id -u)" = 0 ] || return 0
	mkdir theirs
	: >theirs/x.log
	cp "$TDISPATCH" prog
	chmod a+r job.ini
	chmod 666 theirs/x.log
	expect_eq "$(check_as_owner theirs/x.log)" ""
	expect_eq "$(check_as_owner theirs/y.log)" "WRONG    logfile theirs/y.log cannot be written: folder theirs: Permission denied"
	chmod 644 theirs/x.log
	expect_eq "$(check_as_owner theirs/x.log)" "WRONG    logfile theirs/x.log cannot be written: Permission denied"
}

# What is wrong with a log file of that name, for the server's owner.
check_as_owner() {
	as_owner ./prog --check job.ini --set pidfile= --set "logfile=$1" | grep ^WRONG || :
}

case_check_lost_position() {
	local tick
	orders_pair
	orders 1 1
	tick q
	once
	check_says 'the target has loaded consumer job up to tick [0-9]+$'
	tick=$(completed_tick)
	dst "select pgq_ext.set_last_tick('job', 99)" >/dev/null
	check_fails "^WRONG    lost position: the newest tick of queue q is $tick, .* is at tick 99\..*--reset"
	dst "select pgq_ext.set_last_tick('job', $tick - 1)" >/dev/null
	check_fails "^WRONG    lost position: queue q is at tick $tick, .* at tick $((tick - 1))\..*--rewind"
	expect_exit 0 "$TDISPATCH" --rewind job.ini
	check_says '^ready$'
	tick q
	check_says '^ready$'
}

# A new name for the consumer that the queue has would leave behind what is pending.
case_check_new_name() {
	orders_pair job_name=old
	tick q
	expect_exit 1 "$TDISPATCH" --check job.ini --set job_name=new --set dst_db="dbname=$SRC"
	expect_match out 'consumer new is not registered: .* name it in consumer_name: old \([1-9][0-9]* ticks behind\)$'
}

case_check_changes_nothing() {
	new_pair "$CASE"
	src "select pgq.create_queue('q')" >/dev/null
	config
	expect_exit 1 "$TDISPATCH" --check job.ini
	expect_eq "$(src "select count(*) from pgq.get_consumer_info('q')")" 0
	expect_eq "$(dst "select count(*) from pg_namespace where nspname = 'pgq_ext'")" 0
}

case_check_warns_about_rounding() {
	local type
	orders_pair "part_template=$INHERITS"
	for type in 'timestamp(0)' 'timestamp(3)' 'timestamptz(5)'; do
		dst "drop table orders; create table orders (id int, day $type, note text)"
		check_says '^warning  day is a timestamp.*, which rounds'
	done
	for type in timestamp 'timestamp(6)' date text; do
		dst "drop table orders; create table orders (id int, day $type, note text)"
		check_says '^ready$'
		expect_no_match out rounds
	done
}

case_check_warns_about_text_on_timestamptz() {
	new_pair "$CASE"
	source_table orders "id int primary key, day timestamptz, note text"
	dst "create table orders (id int, day timestamptz, note text) partition by range (day)"
	config part_timezone=text
	install
	expect_exit 0 "$TDISPATCH" --check job.ini
	cat out err >both
	expect_match both "part_timezone"
	expect_exit 0 "$TDISPATCH" --check job.ini --set part_timezone=UTC
	cat out err >both
	expect_no_match both "part_timezone.*(text|warning)|warning.*part_timezone"
}

case_licenses() {
	expect_exit 0 "$STATIC" --licenses
	expect_match out OpenSSL
	expect_match out PostgreSQL
	expect_match out musl
}

# Each finds nothing of what both would create.
case_two_installs_at_once() {
	local first
	new_pair "$CASE"
	src "create table orders (id int primary key, day date, note text)"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	config on_error=dead_letter
	session "$SRC" "begin; lock table pgq.queue, pgq.consumer in share row exclusive mode"
	exec 8>&9
	session "$DST" "begin; lock table pg_catalog.pg_namespace in share row exclusive mode"
	meanwhile --install
	first=${STARTED[-1]}
	"$TDISPATCH" --install job.ini >out2 2>err2 </dev/null &
	STARTED+=($!)
	wait_for_locks dst 2
	in_session commit
	wait_for_locks src 2
	say "commit;" >&8
	expect_end_of 0
	wait "$first" || fail "the first: $(findings)"
	expect_exit 0 "$TDISPATCH" --check job.ini
}

run_cases
