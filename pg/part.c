/*
 * Finding and creating partitions. An advisory lock serializes dispatchers that create partitions
 * of one table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg.h"

/* ---- creating */

#define PKEY_MAX 33                     /* columns: one more than the server takes in a key, so that it says so */

int part_open(struct pq **ddl, const struct conf *c, const struct style *style, struct err *e)
{
	if (!*ddl)
		*ddl = style_open(c->dst_db, style, e);
	return e->code;
}

void part_name(struct buf *name, const struct dest *d, int64_t start_s)
{
	char suffix[PERIOD_SUFFIX_MAX];

	period_suffix(&d->period, start_s, suffix);
	buf_add(name, d->table.p, d->table.n);
	buf_str(name, suffix);
}

static int is_there(struct pq *ddl, const struct part_want *want, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT ");
	buf_regclass(&sql, want->dest->schema, want->name);
	if (pq_query(ddl, buf_cstr(&sql), e) == 0)
		*yes = pq_value(ddl, 0, 0) != NULL;
	buf_free(&sql);
	return e->code;
}

/* Without the blanks around it, which the trigger's argument pkey=id, day puts there. */
static struct span trim(struct span name)
{
	struct span all = name;

	while (name.n && name.p[name.n - 1] == ' ')
		name.n--;
	while (name.n && *name.p == ' ') {
		name.p++;
		name.n--;
	}
	return name.n ? name : all;     /* a column may be called " " */
}

/* The columns after the colon of "I:id,day", by the names that they have in the target. */
static size_t pkey_columns(const struct part_want *want, struct span pkey[PKEY_MAX])
{
	const char *p = want->ev_type.n ? memchr(want->ev_type.p, ':', want->ev_type.n) : NULL;
	const char *end = want->ev_type.p + want->ev_type.n;
	size_t n = 0;

	while (p && p + 1 < end && n < PKEY_MAX) {
		const char *start = p + 1;
		p = memchr(start, ',', (size_t)(end - start));
		pkey[n++] = route_target(want->route, trim((struct span){ start, (size_t)((p ? p : end) - start) }));
	}
	return n;
}

int part_sql(struct buf *sql, const struct part_want *want, struct err *e)
{
	const struct dest *d = want->dest;
	struct span pkey[PKEY_MAX];
	char start[PERIOD_LITERAL_MAX], end[PERIOD_LITERAL_MAX];
	struct template_words words = {
		.schema = d->schema, .parent = d->table, .part = want->name,
		.pkey = pkey, .npkey = pkey_columns(want, pkey),
	};

	if (d->part_by != PART_BY_NOTHING) {
		period_literal(&d->period, want->start_s, start);
		period_literal(&d->period, want->end_s, end);
		words.start = span_of(start);
		words.end = span_of(end);
		if (d->part_by == PART_BY_COLUMN)
			words.part_field = route_target(want->route, span_of(d->part_field));
	}
	if (template_expand(sql, span_of(d->part_template), &words, e) == 0)
		return 0;
	struct err why = *e;
	*e = (struct err){ 0 };
	return err_set(e, why.code == ERR_DATA ? ERR_DATA : ERR_SHAPE, "partition %.*s cannot be created by part_template: %.800s",
		(int)want->name.n, want->name.p, why.msg);
}

void part_add_oid(struct buf *sql, const char *setting, const struct dest *d, struct span table)
{
	buf_fmt(sql, "SELECT pg_catalog.set_config('tdispatch.%s', coalesce(", setting);
	buf_regclass(sql, d->schema, table);
	buf_str(sql, ", '0')::pg_catalog.text, true);");
}

/* The tables whose locks creating or removing a partition takes, and who has one that may be in
 * the way, the likeliest first: a lock that conflicts with any DDL; then one on the partition or on
 * the default partition, which is locked exclusively; then a writer of a table with a foreign key
 * between; last a reader of the parent, who is in the way of a template with PARTITION OF alone. */
static const char holders[] = PQ_OWN_PATH
	"WITH t (part, parent) AS (SELECT current_setting('tdispatch.part')::oid, current_setting('tdispatch.parent')::oid),"
	" near (oid, kind) AS (SELECT parent, 3 FROM t UNION ALL SELECT part, 1 FROM t WHERE part <> parent"
	" UNION ALL SELECT partdefid, 1 FROM pg_partitioned_table, t WHERE partrelid IN (part, parent)"
	" UNION ALL SELECT confrelid, 2 FROM pg_constraint, t WHERE contype = 'f' AND conrelid IN (part, parent)"
	" UNION ALL SELECT conrelid, 2 FROM pg_constraint, t WHERE contype = 'f' AND confrelid IN (part, parent)),"
	" held AS (SELECT l.pid, l.relation, l.virtualtransaction, CASE WHEN mode IN ('ShareUpdateExclusiveLock', 'ShareLock',"
	" 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') THEN 0 ELSE kind END AS rank"
	" FROM pg_locks l JOIN near ON near.oid = l.relation WHERE granted AND pid IS DISTINCT FROM pg_backend_pid()"
	" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
	" AND NOT (kind = 2 AND mode IN ('AccessShareLock', 'RowShareLock')))"
	" SELECT relation::regclass, held.pid, usename, application_name, state, gid FROM held"
	" LEFT JOIN pg_stat_activity a ON a.pid = held.pid"
	" LEFT JOIN pg_prepared_xacts x ON virtualtransaction = '-1/' || x.transaction"
	" ORDER BY rank, coalesce(xact_start, prepared) LIMIT 1";

void part_say_who(struct pq *ddl, const struct dest *d, struct span table, struct err *e)
{
	struct err ignored = { 0 };
	struct buf sql = { 0 };

	part_add_oid(&sql, "parent", d, d->table);
	part_add_oid(&sql, "part", d, table);
	buf_str(&sql, holders);
	if (pq_query(ddl, buf_cstr(&sql), &ignored) == 0 && pq_rows(ddl) > 0) {
		const char *pid = pq_value(ddl, 0, 1), *user = pq_value(ddl, 0, 2), *name = pq_value(ddl, 0, 3);
		const char *state = pq_value(ddl, 0, 4), *gid = pq_value(ddl, 0, 5);
		if (pid)
			err_add(e, "; %s is open in server process %s (user %s, %s, %s)", pq_value(ddl, 0, 0), pid,
				user ? user : "?", name && *name ? name : "no application name",
				state ? state : "state unknown");
		else
			err_add(e, "; %s is locked by prepared transaction %s", pq_value(ddl, 0, 0), gid ? gid : "?");
	}
	buf_free(&sql);
}

void part_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED;"
		"SET LOCAL standard_conforming_strings = on; SET LOCAL client_min_messages = warning;");
	pq_add_settings(sql, ddl, lock_timeout_ms);
}

void part_add_size(struct buf *sql, const struct pq *dst)
{
	if (pq_server_version(dst) >= 120000)
		buf_str(sql, "coalesce((SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(relid))::pg_catalog.int8"
			" FROM pg_catalog.pg_partition_tree(c.oid)), pg_catalog.pg_total_relation_size(c.oid))");
	else
		buf_str(sql, "pg_catalog.pg_total_relation_size(c.oid)");
}

int part_foresee(struct pq *dst, const struct part_want *want, bool *there, struct buf *sql, struct err *e)
{
	if (is_there(dst, want, there, e) < 0 || *there || !want->dest->part_template)
		return e->code;
	size_t before = sql->len;
	if (part_sql(sql, want, e) < 0)
		sql->len = before;
	else if (sql->len > before && sql->p[sql->len - 1] != ';')
		buf_str(sql, ";");
	return e->code;
}

int part_columns(struct pq *dst, const struct dest *d, struct span table, struct part_columns **columns, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT a.attname, a.atttypid FROM pg_catalog.pg_attribute a WHERE NOT a.attisdropped"
		" AND a.attnum" PQ_OWN(">") "0 AND a.attrelid" PQ_OWN("="));
	buf_regclass(&sql, d->schema, table);
	if (pq_query(dst, buf_cstr(&sql), e) == 0) {
		size_t n = (size_t)pq_rows(dst);
		struct part_columns *list = mem_alloc(sizeof *list + n * sizeof *list->at);
		memset(list, 0, sizeof *list + n * sizeof *list->at);
		for (list->n = 0; list->n < n; list->n++) {
			struct part_column *column = &list->at[list->n];
			snprintf(column->name, sizeof column->name, "%s", pq_value(dst, (int)list->n, 0));
			column->kind = binary_kind(pq_value(dst, (int)list->n, 1));
		}
		*columns = list;
	}
	buf_free(&sql);
	return e->code;
}

/* ---- many at a time */

/* Appends the query: a row for each, in order: is it there? */
static void add_look(struct buf *sql, const struct dest *d, const struct part_new *list, size_t n)
{
	buf_str(sql, "SELECT w.part IS NOT NULL FROM (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_fmt(sql, "%s(%zu, ", i ? "), " : "", i);
		buf_regclass(sql, d->schema, span_of(list[i].name));
	}
	buf_str(sql, ")) w (i, part) ORDER BY w.i");
}

static void take_look(const struct pq *pq, struct part_new *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		list[i].there = strcmp(pq_value(pq, (int)i, 0), "t") == 0;
}

/* Of those that are there and were not made by us, *at: the first that no row may go to. */
static int refuse_wrong(struct pq *pq, const struct dest *d, const struct part_new *list, size_t n,
	size_t *at, struct err *e)
{
	struct table_name *names = mem_alloc((n + 1) * sizeof *names);
	size_t m = 0, which = 0;
	bool children;

	for (size_t i = 0; i < n; i++)
		if (list[i].there && !list[i].made)
			names[m++] = (struct table_name){ span_of(list[i].name), list[i].old };
	if (table_right(pq, d, names, m, &children, &which, e) < 0)
		for (*at = 0; *at + 1 < n && which < m && !span_is(names[which].name, list[*at].name);)
			++*at;
	free(names);
	return e->code;
}

int part_look(struct pq *pq, const struct dest *d, struct part_new *list, size_t n, size_t *at, struct err *e)
{
	struct buf sql = { 0 };

	*at = 0;
	add_look(&sql, d, list, n);
	if (pq_query(pq, buf_cstr(&sql), e) == 0) {
		take_look(pq, list, n);
		refuse_wrong(pq, d, list, n, at, e);
	}
	buf_free(&sql);
	return e->code;
}

#define CREATION_LOCK 0x74647074        /* "tdpt" */

/* Appends the two numbers of the advisory lock of all who create partitions of the table: by its
 * oid, since configs may name one table in two ways; 0 where it is not there. */
static void add_lock_key(struct buf *sql, const struct dest *d)
{
	buf_fmt(sql, "%d, coalesce(", CREATION_LOCK);
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, ", 0::pg_catalog.oid)::pg_catalog.int4");
}

/* Opens a transaction, in which nobody else creates a partition of the table, and looks again. */
static int begin(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n, int lock_timeout_ms, size_t *at,
	struct err *e)
{
	struct buf sql = { 0 };

	part_begin(&sql, ddl, lock_timeout_ms);
	buf_str(&sql, "SELECT pg_catalog.pg_advisory_xact_lock(");
	add_lock_key(&sql, d);
	buf_str(&sql, ");");
	add_look(&sql, d, list, n);
	*at = 0;
	if (pq_query(ddl, buf_cstr(&sql), e) == 0) {
		take_look(ddl, list, n);
		refuse_wrong(ddl, d, list, n, at, e);
	} else if (e->code == ERR_TIMEOUT) {
		e->code = 0;
		err_set(e, ERR_CONFLICT, "another process creates partitions of %s at this moment", d->dest_table);
	}
	buf_free(&sql);
	return e->code;
}

/* Creates those that are not there, in one message. All are there then, or there is an error. */
static int run_templates(struct pq *pq, const struct dest *d, struct part_new *list, size_t n, const char *after,
	struct err *e)
{
	struct buf sql = { 0 };

	for (size_t i = 0; i < n; i++) {
		list[i].made = !list[i].there;
		if (list[i].made)
			buf_fmt(&sql, "%s\n;", list[i].sql);
	}
	buf_str(&sql, after);
	add_look(&sql, d, list, n);
	if (pq_query(pq, buf_cstr(&sql), e) < 0)
		pq_judge(pq, SQLSTATE_CREATE, e);
	else
		take_look(pq, list, n);
	for (size_t i = 0; i < n && !e->code; i++)
		if (!list[i].there)
			err_set(e, ERR_SHAPE, "it ran, but there is no table %s after it: does it name _DEST_TABLE?", list[i].name);
	buf_free(&sql);
	return e->code;
}

/* In one transaction, or in more where a template ends it. *at: where it failed, n: at the COMMIT.
 * *kept: so many are committed. */
static int create(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n, int lock_timeout_ms, size_t *at,
	size_t *kept, struct err *e)
{
	*kept = 0;
	for (*at = 0; *at < n; ++*at) {
		if (!pq_in_transaction(ddl)) {
			size_t after;
			*kept = *at;
			if (begin(ddl, d, list + *at, n - *at, lock_timeout_ms, &after, e) < 0) {
				*at += after;
				return e->code;
			}
		}
		if (!list[*at].there && run_templates(ddl, d, &list[*at], 1, "", e) < 0)
			return e->code;
	}
	if (pq_in_transaction(ddl) && pq_query(ddl, "COMMIT", e) < 0) {
		pq_judge(ddl, SQLSTATE_CREATE, e);
		return e->code;
	}
	*kept = n;
	return 0;
}

static void undo(struct pq *ddl, struct part_new *list, size_t n)
{
	struct err ignored = { 0 };

	pq_query(ddl, "ROLLBACK", &ignored);
	for (size_t i = 0; i < n; i++)
		list[i].there = list[i].made = false;
}

/* Why it cannot be created, told as what it is: a fault of the template, or a lock or a race. */
static int explain(struct pq *ddl, const struct dest *d, const char *name, struct err *e)
{
	struct err cause = *e;
	bool wait = cause.code == ERR_TIMEOUT ||
		(cause.code == ERR_CONFLICT && !sqlstate_is_taken(cause.sqlstate));
	bool as_it_is = cause.code == ERR_RIGHTS || cause.code == ERR_RESOURCE || cause.code == ERR_OTHER;

	*e = (struct err){ 0 };
	memcpy(e->sqlstate, cause.sqlstate, sizeof e->sqlstate);
	err_set(e, wait ? ERR_TIMEOUT : as_it_is ? cause.code : ERR_SHAPE,
		"partition %s cannot be created by part_template: %.800s", name, cause.msg);
	if (wait)
		part_say_who(ddl, d, d->table, e);
	return e->code;
}

/* Somebody else, who takes no lock of ours, may have created it at the same moment. */
static bool lost_race(struct pq *ddl, const struct dest *d, struct part_new *part)
{
	struct err e = { 0 };
	size_t at;

	return part_look(ddl, d, part, 1, &at, &e) == 0 && part->there;
}

int part_make(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n, int lock_timeout_ms, size_t *at,
	struct err *e)
{
	size_t kept;

	if (create(ddl, d, list, n, lock_timeout_ms, at, &kept, e) == 0)
		return 0;
	bool told = !*e->sqlstate || sqlstate_is_locked(e->sqlstate);
	bool alone = n == 1, raced = e->code == ERR_CONFLICT && !told;
	undo(ddl, list + kept, n - kept);
	if (sqlstate_is_lost(e) || (told && (e->code == ERR_RIGHTS || e->code == ERR_CONFLICT)))
		return e->code;
	if (alone && raced && lost_race(ddl, d, list)) {
		*e = (struct err){ 0 };
		return 0;
	}
	if (*at == n)
		*at = 0;
	return explain(ddl, d, list[*at].name, e);
}

int part_ensure(struct pq *ddl, const struct part_want *want, bool *created, struct err *e)
{
	struct part_new part = { .name = mem_str(want->name.p, want->name.n), .old = want->old };
	struct buf sql = { 0 };
	size_t at;

	*created = false;
	if (part_look(ddl, want->dest, &part, 1, &at, e) == 0 && !part.there && part_sql(&sql, want, e) == 0) {
		buf_cstr(&sql);
		part.sql = sql.p;
		part_make(ddl, want->dest, &part, 1, want->lock_timeout_ms, &at, e);
		*created = !e->code && part.made;
	}
	buf_free(&sql);
	free(part.name);
	return e->code;
}

/* ---- inside the transaction that loads */

int part_enter(struct pq *lane, const struct dest *d, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	*yes = false;
	if (pq_server_version(lane) < 120000)   /* ATTACH locks the parent AccessExclusive there */
		return 0;
	buf_str(&sql, "SELECT pg_catalog.pg_try_advisory_xact_lock(");
	add_lock_key(&sql, d);
	buf_str(&sql, ") FROM pg_catalog.pg_class c"
		" JOIN pg_catalog.pg_partitioned_table t ON t.partrelid" PQ_OWN("=") "c.oid WHERE NOT c.relispartition"
		" AND t.partdefid" PQ_OWN("=") "0::pg_catalog.oid AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k"
		" WHERE k.contype" PQ_OWN("=") "'f'::pg_catalog.\"char\" AND (k.conrelid" PQ_OWN("=") "c.oid"
		" OR k.confrelid" PQ_OWN("=") "c.oid)) AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger g"
		" WHERE g.evtenabled" PQ_OWN("<>") "'D'::pg_catalog.\"char\" AND g.evtevent" PQ_OWN("<>") "'login'::pg_catalog.name)"
		" AND c.oid" PQ_OWN("="));
	buf_regclass(&sql, d->schema, d->table);
	if (pq_query(lane, buf_cstr(&sql), e) == 0 && pq_rows(lane) > 0)
		*yes = strcmp(pq_value(lane, 0, 0), "t") == 0;
	buf_free(&sql);
	return e->code;
}

int part_make_inside(struct pq *lane, const struct dest *d, struct part_new *list, size_t n, int lock_timeout_ms, struct err *e)
{
	char before[120], after[60];

	/* a message of its own: the server splits one into tokens before it runs any of it */
	snprintf(before, sizeof before, "SET LOCAL standard_conforming_strings = on; SET LOCAL lock_timeout = %d", lock_timeout_ms);
	snprintf(after, sizeof after, "SET LOCAL lock_timeout = %d;", DATA_LOCK_TIMEOUT_MS);
	if (pq_query(lane, before, e) == 0)
		run_templates(lane, d, list, n, after, e);
	return e->code;
}
