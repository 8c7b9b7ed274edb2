# The config from the environment: TDISPATCH_<KEY>, TDISPATCH_<KEY>_FILE, and what counts when a key
# stands in several places.
. "$(dirname "$0")/../cases.sh"

# A config in the environment that names no real database.
offline_environment() {
	export TDISPATCH_JOB_NAME=job TDISPATCH_SRC_DB="dbname=a" TDISPATCH_DST_DB="dbname=b" TDISPATCH_QUEUE_NAME=q TDISPATCH_DEST_TABLE=orders
}

offline_file() {
	SRC=a DST=b
	config "$@"
}

# shows LINE ARGS...: --show-config prints it, and nothing is warned of.
shows() {
	expect_exit 0 "$TDISPATCH" --show-config "${@:2}"
	grep -Fxq -e "$1" out || fail "--show-config has no '$1': $(grep "^${1%% *}" out)"
	expect_eq "$(cat err)" ""
}

# refused REGEX ARGS...: a config error.
refused() {
	expect_exit 2 "$TDISPATCH" --show-config "${@:2}"
	expect_match err "$1"
}

# All that it takes to load, and not a file.
case_loads_without_a_file() {
	orders_pair
	rm job.ini
	export TDISPATCH_JOB_NAME=job TDISPATCH_SRC_DB="dbname=$SRC" TDISPATCH_DST_DB="dbname=$DST" TDISPATCH_QUEUE_NAME=q \
		TDISPATCH_DEST_TABLE=orders TDISPATCH_PART_FIELD=day TDISPATCH_PART_TEMPLATE="$ATTACH"
	expect_exit 0 "$TDISPATCH" --check
	expect_match out "config the environment"
	orders 1 5
	orders 6 9 2026-02-01
	tick q
	expect_exit 0 "$TDISPATCH" --once
	expect_rows 9
	expect_eq "$(partitions)" "orders_2026_01_31 orders_2026_02_01"
}

# What a file says, said by variables.
case_every_key() {
	local key value
	offline_file logfile=x.log log_size=5 log_count=6 use_skylog=1 loop_delay=0.25 exception_sleep=7 connection_lifetime=8 \
		consumer_name=c fields=a,b part_method=yearly part_timezone=+02:00 part_template='x _PARENT' batch_min_events=9 \
		lanes=7 on_error=skip max_errors=10 retry_limit=11
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	cp out of_file
	while IFS='=' read -r key value; do
		key=${key% }
		export "TDISPATCH_${key^^}=${value# }"
	done <of_file
	expect_exit 0 "$TDISPATCH" --show-config
	diff of_file out
}

case_old_spellings() {
	offline_environment
	unset TDISPATCH_QUEUE_NAME
	export TDISPATCH_PGQ_QUEUE_NAME=old TDISPATCH_PGQ_CONSUMER_ID=c TDISPATCH_PART_COLUMN=day
	shows "queue_name = old"
	shows "consumer_name = c"
	shows "part_field = day"
	TDISPATCH_QUEUE_NAME=new refused "TDISPATCH_(PGQ_)?QUEUE_NAME: two spellings"
}

# --set before the environment before the file, by whatever spelling.
case_order() {
	offline_file dest_table=of_file fields=a log_count=5
	export TDISPATCH_DEST_TABLE=of_env TDISPATCH_FIELDS=b TDISPATCH_QUEUE_NAME=of_env
	shows "dest_table = of_set" --set dest_table=of_set job.ini
	shows "dest_table = of_env" job.ini
	shows "log_count = 5" job.ini
	shows "fields = b" job.ini
	shows "queue_name = of_set" --set pgq_queue_name=of_set job.ini
	sed -i 's/^queue_name/pgq_queue_name/' job.ini
	shows "queue_name = of_env" job.ini
	unset TDISPATCH_DEST_TABLE
	shows "dest_table = of_file" job.ini
	printf '[DEFAULT]\nlog_size = 77\n' >>job.ini
	shows "log_size = 77" job.ini
	TDISPATCH_LOG_SIZE=88 shows "log_size = 88" job.ini
}

# What the file says of a key is also what its %(name)s sees.
case_order_in_interpolation() {
	offline_file "dest_table=of_file" pidfile=
	printf 'logfile = /log/%%(dest_table)s-%%(place)s\n' >>job.ini
	TDISPATCH_DEST_TABLE=50%_%s TDISPATCH_PLACE=here shows "logfile = /log/50%%_%%s-here" job.ini
}

# As Compose passes ${LANES:-}: the file counts, else the default, for every key.
case_empty_is_not_given() {
	local key
	offline_file lanes=3
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	cp out of_file
	(
		for key in $("$TDISPATCH" --ini | sed -n 's/^#* *\([a-z_]*\) =.*/\1/p'); do
			export "TDISPATCH_${key^^}=" "TDISPATCH_${key^^}_FILE="
		done
		export TDISPATCH_NO_SUCH_KEY= TDISPATCH_PGQ_QUEUE_NAME= TDISPATCH_CONFIG_FILE=
		expect_exit 0 "$TDISPATCH" --show-config job.ini
		diff of_file out
		expect_eq "$(cat err)" ""
		expect_exit 2 "$TDISPATCH" --show-config
		expect_match err "no config file.*TDISPATCH_"
		TDISPATCH_SRC_DB="dbname=x" refused "TDISPATCH_DEST_TABLE" --set lanes=2
	)
	offline_environment
	TDISPATCH_LANES= TDISPATCH_LOOP_DELAY= TDISPATCH_SRC_DB_FILE= shows "lanes = 1"
}

# No name is replaced, no percent sign need be doubled: a URI stays as its owner wrote it. What is shown
# is a file's text, where they are.
case_values_as_they_are() {
	offline_environment
	export TDISPATCH_DST_DB='postgresql://u@h/d%20b?application_name=%25(x)s' TDISPATCH_CONSUMER_NAME='100%% %(job_name)s ${HOME}'
	shows "dst_db = ${TDISPATCH_DST_DB//%/%%}"
	shows 'consumer_name = 100%%%% %%(job_name)s ${HOME}'
}

case_dollar_in_a_file_is_a_dollar() {
	offline_file 'dest_table=${TDISPATCH_X}$HOME'
	shows 'dest_table = ${TDISPATCH_X}$HOME' job.ini
}

case_names_that_need_no_file() {
	offline_environment
	shows "logfile = $(hostname)-tdispatch-job" --set 'logfile=%(host_name)s-%(service_name)s-%(job_name)s'
	refused "config_dir.*no such key" --set 'logfile=%(config_dir)s'
}

# Without a file nothing gives the consumer a name of its own.
case_required() {
	local key
	for key in JOB_NAME SRC_DB DST_DB QUEUE_NAME DEST_TABLE; do
		(
			offline_environment
			unset "TDISPATCH_$key"
			refused "TDISPATCH_$key( or TDISPATCH_${key}_FILE)?: must be set$"
		)
	done
	TDISPATCH_SRC_DB="dbname=a" refused \
		"^tdispatch: TDISPATCH_JOB_NAME: must be set, and so must TDISPATCH_QUEUE_NAME, TDISPATCH_DST_DB or TDISPATCH_DST_DB_FILE, TDISPATCH_DEST_TABLE$"
}

case_nothing_at_all() {
	expect_exit 2 "$TDISPATCH"
	expect_match err "no config file.*TDISPATCH_"
}

case_bad_values() {
	offline_environment
	TDISPATCH_LANES=17 refused "^tdispatch: TDISPATCH_LANES: .*1 to 16"
	TDISPATCH_PART_METHOD=daly refused "TDISPATCH_PART_METHOD: "
	TDISPATCH_LOOP_DELAY=' ' refused "TDISPATCH_LOOP_DELAY: "
}

# Also when it is the reason why something is missing.
case_unknown_variable_warns() {
	offline_environment
	TDISPATCH_PART_FEILD=day expect_exit 0 "$TDISPATCH" --show-config
	expect_match err "TDISPATCH_PART_FEILD: .*; did you mean TDISPATCH_PART_FIELD\?$"
	expect_eq "$(wc -l <err)" 1
	unset TDISPATCH_SRC_DB
	TDISPATCH_SCR_DB=x TDISPATCH_SRC_DB_FLIE=y expect_exit 2 "$TDISPATCH" --show-config
	expect_match err "TDISPATCH_SCR_DB: .*; did you mean TDISPATCH_SRC_DB\?$"
	expect_match err "TDISPATCH_SRC_DB_FLIE: .*; did you mean TDISPATCH_SRC_DB_FILE\?$"
	expect_match err "TDISPATCH_SRC_DB or TDISPATCH_SRC_DB_FILE: must be set"
	TDISPATCH_SRC_DB_FILES=y TDISPATCH_JOBNAME=x expect_exit 2 "$TDISPATCH" --show-config
	expect_match err "TDISPATCH_SRC_DB_FILES: .*; did you mean TDISPATCH_SRC_DB_FILE\?$"
	expect_match err "TDISPATCH_JOBNAME: .*; did you mean TDISPATCH_JOB_NAME\?$"
	TDISPATCH_NOTHING_FILE=/nowhere TDISPATCH__FILE=x TDISPATCH_=y expect_exit 2 "$TDISPATCH" --show-config
	expect_match err "TDISPATCH_NOTHING_FILE: "
}

case_config_file_by_variable() {
	offline_file dest_table=of_file
	export TDISPATCH_CONFIG_FILE=job.ini
	shows "dest_table = of_file"
	shows "logfile = $PWD/job.ini" --set 'logfile=%(config_file)s'
	sed 's/of_file/of_argument/' job.ini >other.ini
	shows "dest_table = of_argument" other.ini
	TDISPATCH_CONFIG_FILE=nowhere.ini refused "config file nowhere.ini"
}

case_file() {
	offline_environment
	unset TDISPATCH_SRC_DB
	export TDISPATCH_SRC_DB_FILE=secret
	printf 'dbname=%%(x)s%%' >secret
	shows 'src_db = dbname=%%(x)s%%'
	printf 'dbname=x\n' >secret
	shows 'src_db = dbname=x'
	printf 'create table _DEST_TABLE ();\n\n' >template
	export TDISPATCH_PART_TEMPLATE_FILE=template
	shows 'part_template = create table _DEST_TABLE ();'
	expect_eq "$(sed -n '/^part_template/,/^[a-z]/p' out | sed -n 2p)" ""
}

case_file_that_is_not_there() {
	offline_environment
	unset TDISPATCH_SRC_DB
	TDISPATCH_SRC_DB_FILE=/nowhere/secret refused "^tdispatch: TDISPATCH_SRC_DB_FILE: cannot read /nowhere/secret: No such file"
	TDISPATCH_SRC_DB_FILE=. refused "TDISPATCH_SRC_DB_FILE: cannot read \.: Is a directory"
	: >empty
	TDISPATCH_SRC_DB_FILE=empty refused "TDISPATCH_SRC_DB_FILE: must be set"
	printf 'dbname=x\0password=geheim' >nul
	TDISPATCH_SRC_DB_FILE=nul refused "TDISPATCH_SRC_DB_FILE: .*NUL"
	expect_no_match err geheim
}

case_value_and_file() {
	offline_environment
	echo dbname=x >secret
	TDISPATCH_SRC_DB_FILE=secret refused "TDISPATCH_SRC_DB.*both set"
	TDISPATCH_src_db=x refused "both set"
}

case_secrets_stay_secret() {
	offline_environment
	echo 'postgresql://me:geheim1%40@127.0.0.1:1/db?connect_timeout=2' >secret
	export TDISPATCH_DST_DB="host=127.0.0.1 port=1 password='geheim2 %x' dbname=b" TDISPATCH_SRC_DB_FILE=secret
	unset TDISPATCH_SRC_DB
	expect_exit 0 "$TDISPATCH" --show-config
	expect_match out '^src_db = .*me'
	expect_no_match out geheim
	expect_exit 1 "$TDISPATCH" --once -v -v --set retry_limit=1
	expect_no_match err geheim
	expect_exit 1 "$TDISPATCH" --check
	cat out err >said
	expect_no_match said geheim
	TDISPATCH_DST_DB="dbname=x password='geheim" refused dst_db
	echo 'dbname=x password=geheim3 geheim4' >secret
	refused src_db
	expect_no_match err geheim
}

# SIGHUP: the variables cannot change, the files that they name can.
case_reload_reads_files_again() {
	orders_pair
	rm job.ini
	echo orders >table
	export TDISPATCH_JOB_NAME=job TDISPATCH_SRC_DB="dbname=$SRC" TDISPATCH_DST_DB="dbname=$DST" TDISPATCH_QUEUE_NAME=q \
		TDISPATCH_DEST_TABLE_FILE=table TDISPATCH_LOOP_DELAY=0.1
	dst "alter table orders rename to parent; create table orders (id int, day date, note text); create table others (like orders)"
	start
	orders 1 5
	tick q
	within 20 dst_gives 5 "select count(*) from orders"
	rm table
	kill -HUP "$PID"
	within 20 expect_said "not reloaded.*TDISPATCH_DEST_TABLE_FILE"
	echo others >table
	kill -HUP "$PID"
	within 20 expect_said "the environment read again"
	orders 6 9
	tick q
	within 20 dst_gives 4 "select count(*) from others"
	kill -TERM "$PID"
	expect_end 0 10
}

expect_said() {
	grep -Eq -e "$1" bg.err
}

# The examples are valid YAML, what they mount is where their variables say, and each variable is a key.
case_examples() {
	local example
	/usr/bin/python3 "$TOP/test/examples.py" "$TOP"/dist/examples/compose.yaml "$TOP"/dist/examples/kubernetes.yaml >environments
	echo 'host=127.0.0.1 dbname=x' >secret
	for example in compose kubernetes; do
		sed -n "/^# .*$example/,/^# .*ml/p" environments | sed "s#^\(export TDISPATCH_[A-Z_]*_FILE\)=.*#\1=secret#" >environment
		(
			. ./environment
			shows "src_db = host=127.0.0.1 dbname=x"
			grep -Fxq "part_field = order_date" out
		)
	done
}

run_cases
