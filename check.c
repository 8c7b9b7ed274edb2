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
	struct buf schema;              /* of dest_table */
	char table[24];                 /* oid of dest_table, or "" */
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

	if (!q) {
		say(c, false, "%s", e.msg);
		return NULL;
	}
	say(c, true, "%s: connected, server version %d, encoding %s, %s", what, pq_server_version(q) / 10000,
		pq_server_encoding(q), pq_encrypted(q) ? "encrypted" : "not encrypted");
	if (pq_exposed(q))
		warn("%s: rows cross the network unencrypted: sslmode=verify-full in %s, and ssl = on at the server", what, what);
	return q;
}

/* Each row of the last query is a GRANT that is missing. false: there was one, or rc is an error. */
static bool granted(struct check *c, const char *what, struct pq *q, int rc, const struct err *e)
{
	if (rc < 0)
		say(c, false, "%s", e->msg);
	for (int i = 0; rc >= 0 && i < pq_rows(q); i++)
		say(c, false, "right on %s: %s;", what, pq_value(q, i, 0));
	return rc >= 0 && pq_rows(q) == 0;
}

/* ---- the source */

static void check_source(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct queue_state state;
	struct err e = { 0 };

	if (!granted(c, "src_db", c->job->src, queue_grants(c->job->src, conf->queue_name, &e), &e))
		return;
	if (conf_fits(conf, pq_server_encoding(c->job->src), &e) < 0 ||
	    queue_state(c->job->src, conf->queue_name, conf->consumer_name, &state, &e) < 0) {
		say(c, false, "%s", e.msg);
		return;
	}
	bool pgq = queue_require_pgq(&state, &e) == 0;
	say(c, pgq, "%s", pgq ? "src_db: PgQ is installed" : e.msg);
	if (!pgq)
		return;
	say(c, state.queue, state.queue ? "queue %s" : "queue %s: check queue_name, or create it with --install", conf->queue_name);
	if (!state.queue)
		return;
	c->unregistered = !state.consumer;
	if (state.consumer)
		say(c, true, "consumer %s is registered", conf->consumer_name);
	if (!state.last_tick)
		warn("queue %s has no tick yet: does a ticker (pgqd) run?", conf->queue_name);
	else if (state.last_tick_age_ms > TICK_IS_OLD_MS)
		warn("the last tick of queue %s is %" PRId64 " seconds old: does a ticker (pgqd) run?", conf->queue_name,
			state.last_tick_age_ms / 1000);
}

/* ---- dest_table. Names are found by the role's search_path; the questions about them leave it. */

/* Runs sql on the target and frees it. The first value, or NULL. */
static const char *ask(struct check *c, struct buf *sql)
{
	struct pq *dst = c->job->dst[0];
	struct err e = { 0 };
	int rc = pq_query(dst, buf_cstr(sql), &e);

	buf_free(sql);
	if (rc < 0)
		say(c, false, "%s", e.msg);
	return rc == 0 && pq_rows(dst) > 0 ? pq_value(dst, 0, 0) : NULL;
}

/* The rows of sql are GRANT statements that are missing; frees it. */
static bool ask_grants(struct check *c, struct buf *sql)
{
	struct err e = { 0 };
	bool all = granted(c, "dst_db", c->job->dst[0], pq_query(c->job->dst[0], buf_cstr(sql), &e), &e);

	buf_free(sql);
	return all;
}

static bool template_says(const struct conf *conf, const char *words)
{
	return conf->part_template && strcasestr(conf->part_template, words);
}

/* In which schema the partitions are, or are to be. */
static void find_schema(struct check *c)
{
	struct buf sql = { 0 };

	if (c->job->conf->schema.n) {
		buf_add(&c->schema, c->job->conf->schema.p, c->job->conf->schema.n);
		return;
	}
	buf_str(&sql, "SELECT coalesce(pg_catalog.current_schema(), 'public')");
	const char *schema = ask(c, &sql);
	buf_str(&c->schema, schema ? schema : "public");
}

static void add_schema_grant(struct check *c, struct buf *sql, const char *right)
{
	buf_fmt(sql, "SELECT 'GRANT %s ON SCHEMA ' || quote_ident(nspname) || ' TO ' || quote_ident(current_user)"
		" FROM pg_namespace WHERE NOT has_schema_privilege(oid, '%s') AND nspname = ", right, right);
	buf_literal(sql, (struct span){ c->schema.p, c->schema.len });
}

/* false: what is in the schema cannot be looked at. */
static bool check_schema(struct check *c)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	add_schema_grant(c, &sql, "USAGE");
	bool usable = ask_grants(c, &sql);
	if (template_says(c->job->conf, "create table")) {
		buf_str(&sql, PQ_OWN_PATH);
		add_schema_grant(c, &sql, "CREATE");
		ask_grants(c, &sql);
	}
	return usable;
}

static void check_column(struct check *c, struct span name)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE attrelid = '%s'"
		" AND attnum > 0 AND NOT attisdropped AND attname = ", c->table);
	buf_literal(&sql, name);
	if (!ask(c, &sql))
		say(c, false, "column %.*s of %s, which fields names", (int)name.n, name.p, c->job->conf->dest_table);
}

static void check_zone(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };

	if (conf->period.method == PERIOD_NONE || conf->period.zoned || strcmp(conf->part_field, "_EVTIME") == 0)
		return;
	struct span column = span_of(conf->part_field);
	for (size_t i = 0; i < conf->nfield; i++)
		if (span_is(conf->field[i].source, conf->part_field))
			column = conf->field[i].target;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE atttypid = 'timestamptz'::regtype"
		" AND attrelid = '%s' AND attname = ", c->table);
	buf_literal(&sql, column);
	if (ask(c, &sql))
		warn("%.*s is a timestamptz and part_timezone is text: a producer in another time zone puts a moment into"
			" another day. part_timezone = UTC follows the moment", (int)column.n, column.p);
}

static bool makes_children(const struct conf *conf)
{
	return template_says(conf, "inherits") || template_says(conf, "partition of") || template_says(conf, "attach partition");
}

/* A child of a table can only be made by its owner, a copy by who may read it. */
static void check_parent_rights(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };

	if (makes_children(conf))
		buf_fmt(&sql, PQ_OWN_PATH "SELECT CASE WHEN rolsuper THEN 'ALTER TABLE ' || t.oid::regclass || ' OWNER TO '"
			" ELSE 'GRANT ' || quote_ident(rolname) || ' TO ' END || quote_ident(current_user)"
			" FROM pg_class t JOIN pg_roles r ON r.oid = relowner WHERE t.oid = '%s'"
			" AND NOT pg_has_role(relowner, 'USAGE')", c->table);
	else if (template_says(conf, "like _PARENT"))
		buf_fmt(&sql, PQ_OWN_PATH "SELECT 'GRANT SELECT ON ' || oid::regclass || ' TO ' || quote_ident(current_user)"
			" FROM pg_class WHERE oid = '%s' AND NOT has_table_privilege(oid, 'SELECT')", c->table);
	if (sql.len)
		ask_grants(c, &sql);
}

/* The right to insert into dest_table itself or, where that has partitions, into the last of them. */
static void check_insert(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 }, name = { 0 }, prefix = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 'GRANT INSERT ON ' || oid::regclass || ' TO ' || quote_ident(current_user) FROM ");
	if (conf->period.method == PERIOD_NONE) {
		buf_fmt(&sql, "pg_class WHERE oid = '%s'", *c->table ? c->table : "0");
	} else {
		buf_fmt(&name, "%.*s_", (int)conf->table.n, conf->table.p);
		buf_literal(&prefix, (struct span){ name.p, name.len });
		buf_cstr(&prefix);
		buf_str(&sql, "(SELECT t.oid FROM pg_class t JOIN pg_namespace n ON n.oid = relnamespace"
			" WHERE relkind IN ('r', 'p', 'f') AND nspname = ");
		buf_literal(&sql, (struct span){ c->schema.p, c->schema.len });
		buf_fmt(&sql, " AND left(relname, length(%s)) = %s AND substr(relname, length(%s) + 1) ~ '^[0-9]{4}[w0-9_]*$'"
			" ORDER BY relname DESC LIMIT 1) last WHERE true", prefix.p, prefix.p, prefix.p);
	}
	buf_str(&sql, " AND NOT has_table_privilege(oid, 'INSERT')");
	ask_grants(c, &sql);
	buf_free(&prefix);
	buf_free(&name);
}

/* Sets c->table to the oid of dest_table; "" when it is not there. */
static void find_table(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT ");
	buf_regclass(&sql, conf->schema, conf->table);
	const char *oid = ask(c, &sql);
	snprintf(c->table, sizeof c->table, "%s", oid ? oid : "");
}

/* Only an owner can drop or detach a table. By the length of the name, which is near enough. */
static void check_keep(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf sql = { 0 };

	if (conf->keep.unit == PERIOD_NONE)
		return;
	if (conf->part_template && !makes_children(conf))
		warn("part_keep removes only children of %s, and part_template seems to make none", conf->dest_table);
	buf_fmt(&sql, PQ_OWN_PATH "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = '%s'"
		" AND octet_length(relname::text) = %zu AND NOT pg_has_role(relowner, 'USAGE') LIMIT 1", c->table,
		conf->table.n + period_suffix_len(conf->period.method));
	if (ask(c, &sql))
		warn("some partitions of %s have another owner: part_keep cannot remove them. --show-partitions says which;"
			" ALTER TABLE ... OWNER TO the user of dst_db", conf->dest_table);
}

static void check_table(struct check *c)
{
	const struct conf *conf = c->job->conf;
	bool partitioned = conf->period.method != PERIOD_NONE;

	find_table(c);
	if (!*c->table && partitioned && !conf->part_template)
		warn("table %s is not there: only its partitions are written to", conf->dest_table);
	else if (!*c->table && (partitioned || !conf->part_template))
		say(c, false, "table %s: create it, or check dest_table (names are written without quotes, as they are stored)",
			conf->dest_table);
	if (!*c->table)
		return;
	say(c, true, "table %s", conf->dest_table);
	for (size_t i = 0; i < conf->nfield; i++)
		check_column(c, conf->field[i].target);
	check_zone(c);
	check_parent_rights(c);
	check_keep(c);
}

static void check_dead_letter(struct check *c)
{
	struct pq *dst = c->job->dst[0];
	struct err e = { 0 };

	if (!granted(c, "dst_db", dst, dead_grants(dst, &e), &e))
		return;
	bool there = dead_require(dst, &e) == 0;
	say(c, there, there ? "table tdispatch.dead_letter in dst_db" : "%s", e.msg);
}

static void check_position(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct pq *dst = c->job->dst[0];
	struct err e = { 0 };
	bool known = false;
	int64_t tick = 0;

	if (!granted(c, "dst_db", dst, position_grants(dst, &e), &e))
		return;
	if (position_kind(dst, &c->job->kind, &e) < 0 || c->job->kind == POSITION_NONE) {
		say(c, false, e.code ? "%s" : "%spgq_ext in dst_db: create it with --install", e.msg);
	} else if (position_get(dst, conf->consumer_name, &known, &tick, &e) < 0) {
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
	if (c->unregistered && !known)
		warn("consumer %s is not registered: it will be at start, with --register or with --install", conf->consumer_name);
}

static void check_target(struct check *c)
{
	check_position(c);
	if (c->job->conf->error == ON_ERROR_DEAD_LETTER)
		check_dead_letter(c);
	find_schema(c);
	if (check_schema(c)) {
		check_table(c);
		check_insert(c);
	}
	buf_free(&c->schema);
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
