# The manual's sample config, word for word, as somebody with an old installation has it.
. "$(dirname "$0")/../cases.sh"

sample_ini() {
	mkdir -p log pid
	cat >table_dispatcher_sample.ini <<-'END'
		[table_dispatcher]
		job_name = table_dispatcher_source_table_targetdb

		src_db = dbname=sourcedb
		dst_db = dbname=targetdb

		pgq_queue_name = sourceq

		logfile = log/%(job_name)s.log
		pidfile = pid/%(job_name)s.pid

		# where to put data.  when partitioning, will be used as base name
		dest_table = orders

		# names of the fields that must be read from source records
		fields = id, order_date, customer_name

		# date field with will be used for partitioning
		part_field = order_date

		# template used for creating partition tables
		part_template =
		     create table _DEST_TABLE () inherits (orders);
		     alter table only _DEST_TABLE add constraint _DEST_TABLE_pkey primary key (id);
		     grant select on _DEST_TABLE to group reporting;
	END
}

sample_databases() {
	SRC=sourcedb DST=targetdb
	sql postgres <<-END
		set client_min_messages = warning;
		drop database if exists sourcedb with (force);
		drop database if exists targetdb with (force);
		create database sourcedb template pgq_template;
		create database targetdb;
	END
	src "select pgq.create_queue('sourceq')" >/dev/null
	src "create table source_table (id serial primary key, order_date date, customer_name text, secret text);
		create trigger t after insert or update or delete on source_table
			for each row execute function pgq.logutriga('sourceq')"
	dst "create table orders (id int, order_date date, customer_name text)"
}

some_orders() {
	src "insert into source_table (order_date, customer_name, secret)
		values ('2026-01-31', 'Ann', 'x'), ('2026-02-01', 'Bob', 'y'), ('2026-02-01', null, 'z')"
	tick sourceq
}

sample() {
	sample_ini
	sample_databases
	expect_exit 0 "$TDISPATCH" --install table_dispatcher_sample.ini
	some_orders
}

ORDERS=$'orders_2026_01_31|1|2026-01-31|Ann\norders_2026_02_01|2|2026-02-01|Bob\norders_2026_02_01|3|2026-02-01|'

expect_orders() {
	expect_eq "$(dst "select tableoid::regclass, * from orders order by id")" "$ORDERS"
}

case_once() {
	sample
	expect_exit 0 "$TDISPATCH" table_dispatcher_sample.ini --once
	expect_orders
	expect_match log/table_dispatcher_source_table_targetdb.log sourceq
}

case_objects() {
	sample
	expect_exit 0 "$TDISPATCH" --once table_dispatcher_sample.ini
	expect_eq "$(partitions)" "orders_2026_01_31 orders_2026_02_01"
	expect_eq "$(dst "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'orders_2026_01_31'::regclass and contype = 'p'")" \
		"orders_2026_01_31_pkey|PRIMARY KEY (id)"
	expect_eq "$(dst "select has_table_privilege('reporting', 'orders_2026_02_01', 'select')")" t
}

case_consumer_name() {
	sample
	expect_eq "$(src "select consumer_name from pgq.get_consumer_info('sourceq')")" table_dispatcher_source_table_targetdb
}

case_daemon() {
	local pidfile=pid/table_dispatcher_source_table_targetdb.pid
	sample
	background $pidfile table_dispatcher_sample.ini -d
	expect_no_match err 'error|warn'
	within 10 dst_gives 3 "select count(*) from orders"
	expect_orders
	expect_exit 0 "$TDISPATCH" table_dispatcher_sample.ini -s
	within 10 process_gone "$PID"
	expect_exit 1 "$TDISPATCH" table_dispatcher_sample.ini -s
	expect_no_match log/table_dispatcher_source_table_targetdb.log 'error|sanitizer'
}

case_tcp() {
	sample
	PGHOST=127.0.0.1 expect_exit 0 "$TDISPATCH" --once table_dispatcher_sample.ini
	expect_orders
}

case_static() {
	sample
	expect_exit 0 "$STATIC" --once table_dispatcher_sample.ini
	expect_orders
}

case_config_as_service_name() {
	sample
	sed -i 's/^\[table_dispatcher\]/[tdispatch]/' table_dispatcher_sample.ini
	expect_exit 0 "$TDISPATCH" --once table_dispatcher_sample.ini
	expect_orders
}

run_cases
