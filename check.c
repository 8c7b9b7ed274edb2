/*
 * --check: connects to both databases and says, a line each, what is there and what is missing,
 * with what to do about it. Changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tdispatch.h"

#define TICK_IS_OLD_MS 60000

struct check {
	struct job *job;
	bool unregistered;              /* PgQ and the queue are there, the consumer is not */
	int missing;
};

static void say(struct check *c, bool ok, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(struct check *c, bool ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs(ok ? "ok       " : "MISSING  ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	c->missing += !ok;
}

static void warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("warning  ", stdout);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
}

static struct pq *connect_to(struct check *c, const char *what, const char *conninfo)
{
	struct err e = { 0 };
	struct pq *q = pq_open(what, conninfo, NULL, &e);

	if (q)
		say(c, true, "%s: connected, server version %d, encoding %s, %s", what, pq_server_version(q) / 10000,
			pq_server_encoding(q), pq_encrypted(q) ? "encrypted" : "not encrypted");
	else
		say(c, false, "%s", e.msg);
	return q;
}

static void check_source_right(struct check *c)
{
	struct err e = { 0 };
	bool yes = false;

	if (queue_right(c->job->src, &yes, &e) < 0)
		say(c, false, "%s", e.msg);
	else if (!yes)
		say(c, false, "right to read queues on src_db: GRANT pgq_reader TO the user of src_db");
}

static void check_source(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct queue_state state;
	struct err e = { 0 };

	if (conf_fits(conf, pq_server_encoding(c->job->src), &e) < 0 ||
	    queue_state(c->job->src, conf->queue_name, conf->consumer_name, &state, &e) < 0) {
		say(c, false, "%s", e.msg);
		return;
	}
	say(c, state.pgq, state.pgq ? "src_db: PgQ is installed" : "src_db: PgQ: install it (create extension pgq)");
	if (!state.pgq)
		return;
	say(c, state.queue, state.queue ? "queue %s" : "queue %s: check queue_name, or create it with --install", conf->queue_name);
	if (!state.queue)
		return;
	c->unregistered = !state.consumer;
	if (state.consumer)
		say(c, true, "consumer %s is registered", conf->consumer_name);
	check_source_right(c);
	if (!state.last_tick)
		warn("queue %s has no tick yet: does a ticker (pgqd) run?", conf->queue_name);
	else if (state.last_tick_age_ms > TICK_IS_OLD_MS)
		warn("the last tick of queue %s is %" PRId64 " seconds old: does a ticker (pgqd) run?", conf->queue_name,
			state.last_tick_age_ms / 1000);
}

/* Runs sql, whose one value is true or false. */
static bool ask(struct check *c, struct buf *sql, bool *yes)
{
	struct err e = { 0 };
	int rc = pq_query(c->job->dst[0], buf_cstr(sql), &e);

	buf_free(sql);
	if (rc < 0) {
		say(c, false, "%s", e.msg);
		return false;
	}
	*yes = pq_rows(c->job->dst[0]) > 0 && pq_value(c->job->dst[0], 0, 0) && strcmp(pq_value(c->job->dst[0], 0, 0), "t") == 0;
	return true;
}

static void add_table(struct buf *sql, const struct conf *conf)
{
	struct buf name = { 0 };

	buf_qualified(&name, conf->schema, conf->table);
	buf_literal(sql, (struct span){ name.p, name.len });
	buf_free(&name);
}

static void check_column(struct check *c, struct span name)
{
	struct buf sql = { 0 };
	bool yes;

	buf_str(&sql, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass(");
	add_table(&sql, c->job->conf);
	buf_str(&sql, ") AND attnum > 0 AND NOT attisdropped AND attname = ");
	buf_literal(&sql, name);
	buf_str(&sql, ")");
	if (ask(c, &sql, &yes) && !yes)
		say(c, false, "column %.*s of %s, which fields names", (int)name.n, name.p, c->job->conf->dest_table);
}

static void check_zone(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };
	bool yes;

	if (conf->period.method == PERIOD_NONE || conf->period.zoned || strcmp(conf->part_field, "_EVTIME") == 0)
		return;
	struct span column = span_of(conf->part_field);
	for (size_t i = 0; i < conf->nfield; i++)
		if (span_is(conf->field[i].source, conf->part_field))
			column = conf->field[i].target;
	buf_str(&sql, "SELECT atttypid = 'pg_catalog.timestamptz'::pg_catalog.regtype FROM pg_catalog.pg_attribute"
		" WHERE attrelid = pg_catalog.to_regclass(");
	add_table(&sql, conf);
	buf_str(&sql, ") AND attname = ");
	buf_literal(&sql, column);
	if (ask(c, &sql, &yes) && yes)
		warn("%.*s is a timestamptz and part_timezone is text: a producer in another time zone puts a moment into"
			" another day. part_timezone = UTC follows the moment", (int)column.n, column.p);
}

static bool makes_children(const struct conf *conf)
{
	return conf->part_template && (strcasestr(conf->part_template, "inherit") || strcasestr(conf->part_template, "partition"));
}

/* A child of a table can only be made by that table's owner. */
static void check_owner(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };
	bool yes;

	if (!makes_children(conf))
		return;
	buf_str(&sql, "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(");
	add_table(&sql, conf);
	buf_str(&sql, ")");
	if (ask(c, &sql, &yes) && !yes)
		say(c, false, "ownership of %s, which its new partitions need: ALTER TABLE %s OWNER TO the user of dst_db",
			conf->dest_table, conf->dest_table);
}

/* Only an owner can drop or detach a table. By the length of the name, which is near enough. */
static void check_keep(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };
	bool yes;

	if (conf->keep.unit == PERIOD_NONE)
		return;
	if (conf->part_template && !makes_children(conf))
		warn("part_keep removes only children of %s, and part_template seems to make none", conf->dest_table);
	buf_str(&sql, "SELECT NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class c ON c.oid = inhrelid"
		" WHERE inhparent = pg_catalog.to_regclass(");
	add_table(&sql, conf);
	buf_fmt(&sql, ") AND pg_catalog.octet_length(c.relname::pg_catalog.text) = %zu AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'))",
		conf->table.n + period_suffix_len(conf->period.method));
	if (ask(c, &sql, &yes) && !yes)
		warn("some partitions of %s have another owner: part_keep cannot remove them. --show-partitions says which;"
			" ALTER TABLE ... OWNER TO the user of dst_db", conf->dest_table);
}

static void check_table(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };
	bool yes;

	buf_str(&sql, "SELECT pg_catalog.to_regclass(");
	add_table(&sql, conf);
	buf_str(&sql, ") IS NOT NULL");
	if (!ask(c, &sql, &yes))
		return;
	bool needed = !conf->part_template || conf->period.method != PERIOD_NONE;
	if (!yes && needed && conf->period.method != PERIOD_NONE && !conf->part_template)
		warn("table %s is not there: only its partitions are written to", conf->dest_table);
	else
		say(c, yes || !needed, yes ? "table %s" : "table %s: create it, or check dest_table (names are written without"
			" quotes, as they are stored)", conf->dest_table);
	if (!yes)
		return;
	for (size_t i = 0; i < conf->nfield; i++)
		check_column(c, conf->field[i].target);
	check_zone(c);
	check_owner(c);
	check_keep(c);
	if (conf->period.method != PERIOD_NONE)
		return;
	buf_str(&sql, "SELECT pg_catalog.has_table_privilege(");
	add_table(&sql, conf);
	buf_str(&sql, ", 'INSERT')");
	if (ask(c, &sql, &yes) && !yes)
		say(c, false, "right to insert: GRANT INSERT ON %s", conf->dest_table);
}

static void check_create_right(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };
	bool yes;

	if (!conf->part_template)
		return;
	buf_str(&sql, "SELECT pg_catalog.has_schema_privilege(");
	if (conf->schema.n)
		buf_literal(&sql, conf->schema);
	else
		buf_str(&sql, "coalesce(pg_catalog.current_schema(), 'public')");
	buf_str(&sql, ", 'CREATE')");
	if (ask(c, &sql, &yes) && !yes)
		say(c, false, "right to create partitions: GRANT CREATE ON SCHEMA %.*s",
			conf->schema.n ? (int)conf->schema.n : 6, conf->schema.n ? conf->schema.p : "public");
}

static void check_dead_letter(struct check *c)
{
	struct err e = { 0 };

	say(c, dead_require(c->job->dst[0], &e) == 0, e.code ? "table tdispatch.dead_letter in dst_db: create it with --install" :
		"table tdispatch.dead_letter in dst_db");
}

static void check_target(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct err e = { 0 };
	bool known = false;
	int64_t tick = 0;

	if (position_kind(c->job->dst[0], &c->job->kind, &e) < 0 || c->job->kind == POSITION_NONE) {
		say(c, false, e.code ? "%s" : "%spgq_ext in dst_db: create it with --install", e.msg);
	} else if (position_get(c->job->dst[0], conf->consumer_name, &known, &tick, &e) < 0) {
		say(c, false, "%s", e.msg);
	} else {
		say(c, true, "pgq_ext in dst_db");
		if (conf->lanes > 1 && c->job->kind != POSITION_LANES)
			say(c, false, "subconsumers in pgq_ext, which lanes needs: set lanes = 1");
		if (known && c->unregistered)
			say(c, false, "%s", (position_unregistered(conf, tick, &e), e.msg));
		else if (known)
			say(c, true, "the target has loaded consumer %s up to tick %" PRId64, conf->consumer_name, tick);
	}
	if (conf->error == ON_ERROR_DEAD_LETTER)
		check_dead_letter(c);
	if (c->unregistered && !known)
		warn("consumer %s is not registered: it will be at start, with --register or with --install", conf->consumer_name);
	check_table(c);
	check_create_right(c);
}

int check_run(struct job *job)
{
	struct check c = { .job = job };

	printf("ok       config %s\n", job->conf->file);
	job->src = connect_to(&c, "src_db", job->conf->src_db);
	if (job->src)
		check_source(&c);
	job->dst[0] = connect_to(&c, "dst_db", job->conf->dst_db);
	if (job->dst[0])
		check_target(&c);
	printf(c.missing ? "%d missing: it could not run\n" : "it could run\n", c.missing);
	return c.missing ? 1 : 0;
}
