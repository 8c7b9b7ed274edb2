/*
 * Partitions ahead of time (part_premake) and retention (part_keep). Names and, where the server
 * has them, bounds decide what is too old. Only a child of dest_table is touched, in a short
 * transaction each, which checks it again under its lock. Nothing here stops the loading of rows: a
 * failure is a warning, and the next look tries again.
 *
 * It is a plain DETACH, not a concurrent one: that cannot run in a transaction, so its timeout
 * would be the session's, which a pooler passes on to others; it may stop half-way, refuses if
 * there is a default partition, and needs PostgreSQL 14.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define EVERY_MS (60 * 60 * 1000)       /* between two looks for partitions that are too old */
#define CONFLICT_MS (60 * 1000)         /* while another process creates partitions of the table */
#define LOCK_TIMEOUT_MS 500             /* of each lock: readers queue behind it, and where two wait for each
                                         * other it is us who give way, before deadlock_timeout (1 s) */
#define LOCK_WAITS 3                    /* for locks in vain, before the rest is left for the next time */
#define SHOW_LOCK_TIMEOUT_MS 5000       /* sizes wait for who has a partition locked */

/* ---- the clock */

/* *now_s: of the rule's own clock, by the target's. Where the rule takes dates as they are
 * written that is the clock of the session there. */
static int look_at_clock(struct job *j, int64_t *now_s, struct err *e)
{
	const struct period_rule *rule = &j->conf->dest.period;
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT pg_catalog.floor(pg_catalog.date_part('epoch', %s))::pg_catalog.int8",
		rule->zoned ? "pg_catalog.now()" : "LOCALTIMESTAMP");
	if (part_open(&j->ddl, j->conf, &j->style, e) == 0 && pq_query(j->ddl, buf_cstr(&sql), e) == 0)
		*now_s = pq_int(j->ddl, 0, 0, 0) + (rule->zoned ? rule->zone_s : 0);
	buf_free(&sql);
	return e->code;
}

/* What is late changes here alone, so that one batch is judged by one clock. */
static int look_at_age(struct job *j, struct err *e)
{
	int64_t now_s;

	if (look_at_clock(j, &now_s, e) < 0)
		return e->code;
	j->retain.kept_s = period_before(j->conf->dest.keep, now_s);
	j->retain.known = true;
	return 0;
}

static bool is_old(const struct job *j, int64_t start_s)
{
	return j->conf->dest.keep.unit != PERIOD_NONE && period_end(&j->conf->dest.period, start_s) <= j->retain.kept_s;
}

int retain_is_late(struct job *j, int64_t start_s, bool *late, struct err *e)
{
	if (!j->retain.known && look_at_age(j, e) < 0)
		return e->code;
	*late = is_old(j, start_s);
	return 0;
}

int retain_may_be_loose(struct job *j, struct span partition, bool *yes, struct err *e)
{
	const struct dest *d = &j->conf->dest;
	struct span suffix = { partition.p + d->table.n, partition.n - d->table.n };
	int64_t start_s;

	*yes = false;
	if (d->part_keep_action != KEEP_DETACH || d->keep.unit == PERIOD_NONE || !period_of_suffix(&d->period, suffix, &start_s))
		return 0;
	return retain_is_late(j, start_s, yes, e);
}

/* ---- the children of dest_table */

static void add_table(struct buf *sql, const struct conf *c, struct span name)
{
	buf_qualified(sql, c->dest.schema, name);
}

enum column { NAME, ORDINARY, FOUND, DECLARATIVE, OWNED, OWNER, TABLE, BOUND, ROWS, SIZE };

/* Where a partition by range of one date ends, in seconds of the rule's own clock; NULL: nowhere,
 * as the default partition; -Infinity: the server cannot tell. */
static void add_bound(struct buf *sql, const struct period_rule *rule)
{
	char moment[100];

	snprintf(moment, sizeof moment, rule->zoned ? "timestamptz)" PQ_OWN("+") "%d" : "timestamp)", rule->zone_s);
	buf_fmt(sql, ", CASE WHEN b.bound IS NULL THEN '-Infinity'::pg_catalog.float8"
		" WHEN b.bound" PQ_OWN("=") "'DEFAULT'::pg_catalog.text THEN NULL"
		" WHEN k.type" PQ_OWN("=") "ANY ('{pg_catalog.date,pg_catalog.timestamp}'::pg_catalog.regtype[]) THEN"
		" pg_catalog.date_part('epoch', b.upper::pg_catalog.timestamp)"
		" WHEN k.type" PQ_OWN("=") "'pg_catalog.timestamptz'::pg_catalog.regtype THEN pg_catalog.date_part('epoch', b.upper::pg_catalog.%s"
		" ELSE '-Infinity'::pg_catalog.float8 END", moment);
}

/* The tables that add_bound needs. */
static const char bound_tables[] =
	" LEFT JOIN LATERAL (SELECT t.bound, pg_catalog.substring(t.bound, 'TO [(]''([^'']*)''[)]$'::pg_catalog.text) AS upper"
	" FROM (SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid)) t(bound)) b ON true"
	" LEFT JOIN LATERAL (SELECT a.atttypid::pg_catalog.regtype FROM pg_catalog.pg_partitioned_table r"
	" JOIN pg_catalog.pg_attribute a ON a.attrelid" PQ_OWN("=") "r.partrelid AND a.attnum" PQ_OWN("=") "r.partattrs[0]"
	" WHERE r.partrelid" PQ_OWN("=") "p.oid AND r.partnatts" PQ_OWN("=") "1 AND r.partstrat" PQ_OWN("=") "'r'::pg_catalog.\"char\""
	") k(type) ON true";

/* A row for each child, or for the one of that name: enum column. sizes: the last two; they take a
 * lock of each child. */
static int list_children(struct job *j, const char *only, bool sizes, struct err *e)
{
	const struct conf *c = j->conf;
	struct buf sql = { 0 }, schema = { 0 };

	if (c->dest.schema.n) {
		buf_ident(&schema, c->dest.schema);
		buf_str(&schema, ".");
	}
	if (sizes)
		buf_fmt(&sql, "BEGIN READ ONLY; SET LOCAL lock_timeout = %d;", SHOW_LOCK_TIMEOUT_MS);
	/* FOUND: it is the table that its name means to whoever writes rows */
	buf_str(&sql, "SELECT c.relname, c.relkind" PQ_OWN("=") "ANY ('{r,p}'::pg_catalog.\"char\"[]),"
		" c.oid" PQ_OWN("=") "pg_catalog.to_regclass(");
	buf_literal(&sql, (struct span){ schema.len ? schema.p : "", schema.len });
	buf_str(&sql, PQ_OWN("||") "pg_catalog.quote_ident(c.relname::pg_catalog.text))::pg_catalog.oid,"
		" p.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\", pg_catalog.pg_has_role(c.relowner, 'USAGE'),"
		" pg_catalog.pg_get_userbyid(c.relowner), c.oid::pg_catalog.regclass");
	add_bound(&sql, &c->dest.period);
	if (sizes) {
		buf_str(&sql, ", CASE WHEN c.reltuples" PQ_OWN(">") "0::pg_catalog.float4 THEN c.reltuples::pg_catalog.int8"
			" WHEN c.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\" THEN NULL"     /* known once it is analyzed */
			" ELSE pg_catalog.pg_stat_get_live_tuples(c.oid) END, pg_catalog.pg_size_pretty(");
		part_add_size(&sql, j->ddl);
		buf_str(&sql, ")");
	}
	buf_str(&sql, " FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid" PQ_OWN("=") "i.inhrelid"
		" JOIN pg_catalog.pg_class p ON p.oid" PQ_OWN("=") "i.inhparent");
	buf_fmt(&sql, "%s WHERE i.inhparent" PQ_OWN("="), bound_tables);
	buf_regclass(&sql, c->dest.schema, c->dest.table);
	if (only) {
		buf_str(&sql, " AND c.relname" PQ_OWN("="));
		buf_literal(&sql, span_of(only));
		buf_str(&sql, "::pg_catalog.name");
	}
	buf_fmt(&sql, " ORDER BY c.relname%s", sizes ? "; COMMIT" : "");
	pq_query(j->ddl, buf_cstr(&sql), e);
	buf_free(&sql);
	buf_free(&schema);
	return e->code;
}

static bool is_true(const struct job *j, int row, enum column col)
{
	const char *value = pq_value(j->ddl, row, col);

	return value && strcmp(value, "t") == 0;
}

/* Does it take no row that is younger than part_keep, as far as the server can tell? */
static bool ends_old(const struct job *j, int row)
{
	const char *end_s = pq_value(j->ddl, row, BOUND);

	return end_s && strtod(end_s, NULL) <= (double)j->retain.kept_s;
}

/* Is the child one that part_template and part_method would make? */
static bool is_partition(const struct job *j, int row, int64_t *start_s)
{
	const struct conf *c = j->conf;
	const char *name = pq_value(j->ddl, row, NAME);

	return strncmp(name, c->dest.table.p, c->dest.table.n) == 0 && is_true(j, row, ORDINARY) && is_true(j, row, FOUND) &&
		period_of_suffix(&c->dest.period, span_of(name + c->dest.table.n), start_s);
}

/* ---- those that are too old */

static bool is_removable(const struct job *j, int row, int64_t *start_s)
{
	return is_partition(j, row, start_s) && is_old(j, *start_s) && ends_old(j, row);
}

/* Appends their names, each with its NUL. */
static int find_old(struct job *j, const struct sink *sink, bool loaded, struct buf *names, bool *declarative, struct err *e)
{
	int64_t start_s;

	if (list_children(j, NULL, false, e) < 0)
		return e->code;
	for (int row = 0; row < pq_rows(j->ddl); row++) {
		const char *name = pq_value(j->ddl, row, NAME);
		*declarative = is_true(j, row, DECLARATIVE);
		if (is_removable(j, row, &start_s) && !(loaded && sink_wrote(sink, start_s)))
			buf_add(names, name, strlen(name) + 1);
	}
	return 0;
}

/* The parent is locked before its partition, as everybody else does: else readers could end in a
 * deadlock. With inheritance nothing of the parent changes. */
static int begin(struct job *j, bool declarative, struct err *e)
{
	struct buf sql = { 0 };

	part_begin(&sql, j->ddl, LOCK_TIMEOUT_MS);
	if (declarative) {
		buf_str(&sql, "LOCK TABLE ONLY ");
		add_table(&sql, j->conf, j->conf->dest.table);
		buf_str(&sql, " IN ACCESS EXCLUSIVE MODE");
	}
	pq_query(j->ddl, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* Locks the table and looks whether it is a child still, and too old. */
static int lock_child(struct job *j, const char *name, bool *child, struct err *e)
{
	struct buf sql = { 0 };
	int64_t start_s;

	buf_str(&sql, "LOCK TABLE ");
	add_table(&sql, j->conf, span_of(name));
	buf_str(&sql, " IN ACCESS EXCLUSIVE MODE");
	if (pq_query(j->ddl, buf_cstr(&sql), e) == 0 && list_children(j, name, false, e) == 0)
		*child = pq_rows(j->ddl) == 1 && is_removable(j, 0, &start_s);
	buf_free(&sql);
	return e->code;
}

static bool detaches(const struct conf *c)
{
	return c->dest.part_keep_action == KEEP_DETACH;
}

static int remove_child(struct job *j, struct span name, bool declarative, struct err *e)
{
	const struct conf *c = j->conf;
	struct buf sql = { 0 };

	buf_str(&sql, !detaches(c) ? "DROP TABLE " : "ALTER TABLE ");
	add_table(&sql, c, detaches(c) && declarative ? c->dest.table : name);
	if (detaches(c)) {
		buf_str(&sql, declarative ? " DETACH PARTITION " : " NO INHERIT ");
		add_table(&sql, c, declarative ? name : c->dest.table);
	}
	buf_str(&sql, "; COMMIT");
	pq_query(j->ddl, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* 0; 1 when a lock was in the way; or the connection's error. */
static int remove_one(struct job *j, const char *name, bool declarative)
{
	const struct conf *c = j->conf;
	struct err e = { 0 }, lost = { 0 };
	bool child = false, parent = begin(j, declarative, &e) == 0;

	if (parent && lock_child(j, name, &child, &e) == 0 && child)
		remove_child(j, span_of(name), declarative, &e);
	if (child && !e.code) {
		log_info("partition %s is older than part_keep = %s: %s", name, c->dest.part_keep, detaches(c) ? "detached" : "dropped");
		return 0;
	}
	pq_query(j->ddl, "ROLLBACK", &lost);
	if (e.code == ERR_TIMEOUT && !lost.code)
		part_say_who(j->ddl, &c->dest, parent ? span_of(name) : c->dest.table, &e);
	/* a table that is gone was dropped by somebody else */
	if (e.code && e.code != ERR_STOP && !sqlstate_is_missing_table(e.sqlstate))
		log_warn("partition %s is older than part_keep = %s and cannot be %s now: %s; it will be tried again", name,
			c->dest.part_keep, detaches(c) ? "detached" : "dropped", e.msg);
	return lost.code ? lost.code : e.code == ERR_TIMEOUT;
}

/* Whatever state an error left the connection in, the next one is opened anew. */
static void hang_up(struct job *j)
{
	pq_close(j->ddl);
	j->ddl = NULL;
}

static int remove_old(struct job *j, const struct sink *sink, bool loaded, struct err *e)
{
	struct buf names = { 0 };
	bool declarative = false;
	int rc = 0, waits = 0;

	if (look_at_age(j, e) == 0)
		find_old(j, sink, loaded, &names, &declarative, e);
	for (size_t at = 0; at < names.len && rc >= 0 && waits < LOCK_WAITS &&
	     !process_stop_after_batch(); at += strlen(names.p + at) + 1) {
		rc = remove_one(j, names.p + at, declarative);
		waits += rc > 0;
		watch_alive(j->watch);
	}
	if (rc < 0)
		hang_up(j);
	buf_free(&names);
	return e->code;
}

/* ---- those to come */

void retain_key(struct job *j, struct span ev_type)
{
	const char *colon = ev_type.n ? memchr(ev_type.p, ':', ev_type.n) : NULL;

	if (!j->conf->dest.part_premake || !colon || colon + 1 == ev_type.p + ev_type.n)
		return;
	free(j->retain.ev_type);
	j->retain.ev_type = mem_str(ev_type.p, ev_type.n);
}

static bool knows_key(const struct job *j)
{
	return j->retain.ev_type || !strstr(j->conf->dest.part_template, "_PKEY");
}

static int make(struct job *j, const struct route *route, int64_t start_s, struct err *e)
{
	struct buf name = { 0 };
	bool created = false;

	part_name(&name, &j->conf->dest, start_s);
	struct part_want want = {
		.dest = &j->conf->dest, .name = { name.p, name.len }, .start_s = start_s,
		.end_s = period_end(&j->conf->dest.period, start_s), .ev_type = span_of(j->retain.ev_type),
		.lock_timeout_ms = LOCK_TIMEOUT_MS, .route = route,
	};
	part_ensure(j->ddl, &want, &created, e);
	if (created) {
		watch_partition(j->watch, want.name, true);
	}
	buf_free(&name);
	return e->code;
}

/* Those after the current period. Looked at again when the next one has begun. */
static int premake(struct job *j, const struct route *route, struct err *e)
{
	const struct period_rule *rule = &j->conf->dest.period;
	int64_t now_s, start_s;
	const char *why;

	if (look_at_clock(j, &now_s, e) < 0)
		return e->code;
	if (period_of_clock(rule, now_s, &start_s, &why) < 0)
		return err_set(e, ERR_OTHER, "dst_db: its clock is wrong: %s", why);
	start_s = period_end(rule, start_s);
	int64_t next_ms = clock_ms() + (start_s - now_s) * 1000;
	int64_t left = j->conf->dest.part_premake;
	for (; left > 0 && !e->code && !process_stop_after_batch(); left--, start_s = period_end(rule, start_s))
		make(j, route, start_s, e);
	if (!e->code && !left)
		j->retain.premake_at_ms = next_ms;
	return e->code;
}

/* ---- what the others call */

static void failed(struct job *j, const char *what, const struct err *e)
{
	if (e->code != ERR_STOP)
		log_warn("%s: %s; it will be tried again", what, e->msg);
	hang_up(j);
}

bool retain_run(struct job *j, const struct route *route, const struct sink *sink, bool loaded)
{
	struct retain *r = &j->retain;
	struct err e = { 0 };
	bool looked = j->conf->dest.keep.unit != PERIOD_NONE && clock_ms() >= r->keep_at_ms;

	if (looked) {
		r->keep_at_ms = clock_ms() + EVERY_MS;
		if (remove_old(j, sink, loaded, &e) < 0)
			failed(j, "part_keep", &e);
	}
	e = (struct err){ 0 };
	if (j->conf->dest.part_premake && clock_ms() >= r->premake_at_ms && knows_key(j)) {
		r->premake_at_ms = clock_ms() + EVERY_MS;
		if (premake(j, route, &e) < 0)
			failed(j, "part_premake", &e);
		if (e.code == ERR_CONFLICT)
			r->premake_at_ms = clock_ms() + CONFLICT_MS;
	}
	return looked;
}

void retain_free(struct retain *r)
{
	free(r->ev_type);
	*r = (struct retain){ 0 };
}

/* ---- --show-partitions */

/* What is to become of a child. */
static const char *fate(const struct job *j, int row, bool partition, bool old, bool ends)
{
	if (!is_true(j, row, ORDINARY))
		return "never touched: no ordinary table";
	if (!partition)
		return "never touched: no partition by its name";
	if (!old)
		return "keep";
	if (!ends)
		return "keep: it takes younger rows, by its bounds";
	if (!is_true(j, row, OWNED))
		return detaches(j->conf) ? "detach, but has another owner" : "drop, but has another owner";
	return detaches(j->conf) ? "detach" : "drop";
}

/* true when it is too old. */
static bool show_child(const struct job *j, int row, int name_width, int time_width)
{
	char from[PERIOD_LITERAL_MAX] = "-", to[PERIOD_LITERAL_MAX] = "-";
	const char *rows = pq_value(j->ddl, row, ROWS);
	int64_t start_s;
	bool partition = is_partition(j, row, &start_s), old = partition && is_old(j, start_s);
	bool ends = partition && ends_old(j, row);

	if (partition) {
		period_literal(&j->conf->dest.period, start_s, from);
		period_literal(&j->conf->dest.period, period_end(&j->conf->dest.period, start_s), to);
	}
	print_line(stdout, "%-*s  %-*s  %-*s  %12s  %10s  %s\n", name_width, pq_value(j->ddl, row, TABLE), time_width, from,
		time_width, to, rows ? rows : "?", pq_value(j->ddl, row, SIZE), fate(j, row, partition, old, ends));
	return old && ends;
}

int retain_show(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct table parent;
	int name_width = 4, time_width = c->dest.period.zoned ? 25 : c->dest.period.method == PERIOD_HOURLY ? 19 : 10, old = 0;

	if (c->dest.period.method == PERIOD_NONE)
		return err_set(e, ERR_CONF, "part_field is not set: %s has no partitions", c->dest.dest_table);
	if (look_at_age(j, e) < 0 || table_find(j->ddl, &c->dest, c->dest.table, &parent, e) < 0)
		return e->code;
	if (!*parent.oid)
		return err_set(e, ERR_SHAPE, "dst_db has no table %s: check dest_table", c->dest.dest_table);
	if (list_children(j, NULL, true, e) < 0)
		return e->code;
	for (int row = 0; row < pq_rows(j->ddl); row++) {
		int width = (int)strlen(pq_value(j->ddl, row, TABLE));
		if (width > name_width)
			name_width = width;
	}
	print_line(stdout, "%-*s  %-*s  %-*s  %12s  %10s  %s\n", name_width, "name", time_width, "from", time_width, "to", "rows, about",
		"size", "what will be done");
	for (int row = 0; row < pq_rows(j->ddl); row++)
		old += show_child(j, row, name_width, time_width);
	print_line(stdout, "%d children of %s", pq_rows(j->ddl), c->dest.dest_table);
	print_line(stdout, c->dest.part_keep ? ", %d older than part_keep = %s\n" : "; part_keep is not set\n", old, c->dest.part_keep);
	return 0;
}
