/*
 * A partition's life. It is created on a connection of its own, in a transaction that is short and
 * has a lock timeout, alone or with a few others: the transaction that loads a long batch must not
 * hold the parent's lock.
 * Two dispatchers that need one partition are put in a row by an advisory lock.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pg.h"

/* ---- part_template */

void part_words(struct buf *words, const struct conf *c)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyz0123456789_$";

	buf_str(words, " ");
	for (const char *p = c->part_template; p && *p; p++) {
		char low = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
		if (strchr(name, low) || (unsigned char)low >= 0x80)
			buf_add(words, &low, 1);
		else if (words->p[words->len - 1] != ' ')
			buf_str(words, " ");
	}
	buf_str(words, " ");
}

bool part_makes_children(const struct conf *c)
{
	struct buf words = { 0 };

	part_words(&words, c);
	const char *text = buf_cstr(&words);
	bool makes = strstr(text, " partition of ") || strstr(text, " attach partition ") || strstr(text, " inherits ");
	buf_free(&words);
	return makes;
}

/* ---- tables as they are, found by the role's search_path as a COPY would find them */

int part_find(struct pq *dst, const struct conf *c, struct span table, struct part_table *d, struct err *e)
{
	struct buf sql = { 0 };

	*d = (struct part_table){ 0 };
	buf_str(&sql, "SELECT c.oid, (c.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\")::pg_catalog.int4"
		" FROM pg_catalog.pg_class c WHERE c.oid" PQ_OWN("="));
	buf_regclass(&sql, c->schema, table);
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0) {
		snprintf(d->oid, sizeof d->oid, "%s", pq_value(dst, 0, 0));
		d->partitioned = pq_int(dst, 0, 1, 0);
	}
	buf_free(&sql);
	return e->code;
}

int part_lacks(struct pq *dst, const struct part_table *d, const struct span *column, size_t n, size_t *which, struct err *e)
{
	struct buf sql = { 0 };

	*which = n;
	buf_str(&sql, PQ_OWN_PATH "SELECT i - 1 FROM unnest(ARRAY[");
	for (size_t i = 0; i < n; i++) {
		buf_str(&sql, i ? "," : "");
		buf_literal(&sql, column[i]);
	}
	buf_fmt(&sql, "]::text[]) WITH ORDINALITY AS wanted (name, i) WHERE NOT EXISTS (SELECT 1 FROM pg_attribute"
		" WHERE attrelid = '%s' AND attnum > 0 AND NOT attisdropped AND attname::text = name) ORDER BY i LIMIT 1", d->oid);
	if (n && pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		*which = (size_t)pq_int(dst, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

/* Children generate what their parent does, and so do copies of it if they are told to. */
static bool is_inherited(const struct conf *c)
{
	struct buf words = { 0 };

	if (c->period.method == PERIOD_NONE || !c->part_template || part_makes_children(c))
		return true;
	part_words(&words, c);
	bool copied = strstr(buf_cstr(&words), " including all ") || strstr(buf_cstr(&words), " including generated ");
	copied = copied && !strstr(buf_cstr(&words), " excluding generated ");
	buf_free(&words);
	return copied;
}

int part_generated(struct pq *dst, const struct conf *c, struct tally *columns, struct err *e)
{
	struct part_table parent;
	struct buf sql = { 0 };

	if (pq_server_version(dst) < 120000 || part_find(dst, c, c->table, &parent, e) < 0 || !*parent.oid || !is_inherited(c))
		return e->code;
	buf_fmt(&sql, "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid" PQ_OWN("=") "'%s'::pg_catalog.oid"
		" AND attnum" PQ_OWN(">") "0::pg_catalog.int2 AND attgenerated" PQ_OWN("<>") "''::pg_catalog.\"char\"", parent.oid);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		for (int row = 0; row < pq_rows(dst); row++)
			tally_add(columns, pq_value(dst, row, 0), 0);
	buf_free(&sql);
	return e->code;
}

int part_lists_generated(struct pq *dst, const struct conf *c, size_t *which, struct err *e)
{
	struct tally columns = { 0 };

	*which = c->nfield;
	if (c->nfield && part_generated(dst, c, &columns, e) == 0)
		for (size_t i = c->nfield; i-- > 0;)
			for (size_t k = 0; k < columns.n; k++)
				if (span_is(c->field[i].target, columns.at[k].name))
					*which = i;
	tally_clear(&columns);
	return e->code;
}

bool part_is_model(const struct conf *c, const struct part_table *d, struct span column)
{
	if (d->partitioned || !c->part_template)
		return d->partitioned;
	return *d->oid && strstr(c->part_template, "_PARENT") &&
		!memmem(c->part_template, strlen(c->part_template), column.p, column.n);
}

/* ---- the right table
 *
 * Whoever may create tables on our search_path can put one under a partition's name, to read our
 * rows or to have us run a trigger. And a partition that was one may be no more: detached, or its
 * parent renamed and another put in its place. */

/* Is parent m, with the name m.relname, one that the template means? */
static void add_is_meant(struct buf *sql, const struct conf *c)
{
	struct buf words = { 0 };

	part_words(&words, c);
	buf_str(&words, c->part_template ? c->part_template : "");
	buf_str(sql, "pg_catalog.strpos(");
	buf_literal(sql, (struct span){ words.p, words.len });
	buf_str(sql, ", CASE WHEN pg_catalog.quote_ident(m.relname)" PQ_OWN("=") "m.relname::pg_catalog.text"
		" THEN ' '" PQ_OWN("||") "m.relname::pg_catalog.text" PQ_OWN("||") "' ' ELSE pg_catalog.quote_ident(m.relname) END)"
		PQ_OWN(">") "0");
	if (!c->part_template || !strstr(c->part_template, "_PARENT"))  /* whose are they, then? */
		buf_str(sql, " OR top.oid IS NULL");
	buf_free(&words);
}

/* Of a row i of pg_inherits: not one that is being detached. */
static const char *attached(const struct pq *dst)
{
	return pq_server_version(dst) >= 140000 ? " AND NOT i.inhdetachpending" : "";
}

/* The names with their tables' oids, and of each table and all that is above it those. */
static void add_tables(struct buf *sql, const struct pq *dst, const struct conf *c, const struct part_name *names, size_t n)
{
	buf_str(sql, "WITH RECURSIVE want (name, old, oid) AS (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? ", (" : "(");
		buf_literal(sql, names[i].name);
		buf_fmt(sql, "::pg_catalog.text, %s, ", names[i].old ? "true" : "false");
		buf_regclass(sql, c->schema, names[i].name);
		buf_str(sql, ")");
	}
	buf_fmt(sql, "), up (part, oid) AS (SELECT oid, oid FROM want UNION SELECT up.part, i.inhparent FROM up"
		" JOIN pg_catalog.pg_inherits i ON i.inhrelid" PQ_OWN("=") "up.oid%s), top (oid) AS (SELECT ", attached(dst));
	buf_regclass(sql, c->schema, c->table);
	buf_str(sql, ") ");
}

/* A query for those that are not right: name, why, and whose it is. */
static void add_wrong(struct buf *sql, const struct pq *dst, const struct conf *c, const struct part_name *names, size_t n)
{
	add_tables(sql, dst, c, names, n);
	buf_str(sql, "SELECT want.name, CASE WHEN want.oid IS NULL THEN 'gone' WHEN other.n" PQ_OWN(">") "0 AND NOT other.meant"
		" THEN 'other' WHEN stranger.name IS NOT NULL THEN 'stranger' ELSE 'loose' END AS why,"
		" CASE WHEN other.n" PQ_OWN(">") "0 THEN other.name ELSE stranger.name END AS whose"
		" FROM want CROSS JOIN top"
		" CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n, pg_catalog.min(m.oid::pg_catalog.regclass::pg_catalog.text) AS name,"
		" pg_catalog.bool_or(");
	add_is_meant(sql, c);
	buf_fmt(sql, ") AS meant FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class m ON m.oid" PQ_OWN("=") "i.inhparent"
		" WHERE i.inhrelid" PQ_OWN("=") "want.oid%s) other"
		" LEFT JOIN LATERAL (SELECT r.rolname::pg_catalog.text AS name FROM pg_catalog.pg_class c"
		" JOIN pg_catalog.pg_roles r ON r.oid" PQ_OWN("=") "c.relowner JOIN pg_catalog.pg_class t ON t.oid" PQ_OWN("=") "top.oid"
		" WHERE c.oid" PQ_OWN("=") "want.oid AND t.relowner" PQ_OWN("<>") "c.relowner AND NOT r.rolsuper"
		" AND r.rolname" PQ_OWN("<>") "current_user) stranger ON true"
		" WHERE NOT EXISTS (SELECT FROM up WHERE up.part" PQ_OWN("=") "want.oid AND up.oid" PQ_OWN("=") "top.oid)"
		" AND (want.oid IS NULL OR stranger.name IS NOT NULL OR (other.n" PQ_OWN(">") "0 AND NOT other.meant)"
		" OR (other.n" PQ_OWN("=") "0 AND NOT want.old AND %s))", attached(dst), part_makes_children(c) ? "true" : "false");
}

int part_look(struct pq *dst, const struct conf *c, const struct part_name *names, size_t n, struct err *e)
{
	struct buf sql = { 0 };

	add_wrong(&sql, dst, c, names, n);
	pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

int part_wrong(struct pq *dst, const struct conf *c, int row, bool *loose, struct err *e)
{
	const char *name = pq_value(dst, row, 0), *why = pq_value(dst, row, 1), *whose = pq_value(dst, row, 2);

	*loose = strcmp(why, "loose") == 0;
	if (*loose)
		return err_set(e, ERR_SHAPE, "table %s is no child of %s, as part_template makes them: rows in it would not be in %s."
			" Attach it (ALTER TABLE ... ATTACH PARTITION, or INHERIT), or rename it, so that a new one is made", name,
			c->dest_table, c->dest_table);
	if (strcmp(why, "other") == 0)
		return err_set(e, ERR_SHAPE, "table %s is a child of %s, not of %s: no row goes there. Rename it, so that a new one"
			" is made; or, if %s is meant, name that in part_template, if only in a comment", name, whose, c->dest_table, whose);
	if (strcmp(why, "stranger") == 0)
		return err_set(e, ERR_RIGHTS, "table %s is not ours to fill: it belongs to %s, is no partition of %s, and its owner"
			" is another", name, whose, c->dest_table);
	return err_set(e, ERR_CONFLICT, "table %s is there no more under that name", name);
}

/* The oids of the tables, for an operator before it. */
static void add_any(struct buf *sql, const struct conf *c, const struct part_name *names, size_t n)
{
	buf_str(sql, "ANY (ARRAY[");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? "," : "");
		buf_regclass(sql, c->schema, names[i].name);
	}
	buf_str(sql, "])");
}

/* Those that are children of dest_table itself: much cheaper than add_wrong. */
static void add_children(struct buf *sql, const struct pq *dst, const struct conf *c, const struct part_name *names, size_t n)
{
	buf_str(sql, "FROM pg_catalog.pg_inherits i WHERE i.inhrelid" PQ_OWN("="));
	add_any(sql, c, names, n);
	buf_str(sql, " AND i.inhparent" PQ_OWN("="));
	buf_regclass(sql, c->schema, c->table);
	buf_str(sql, attached(dst));
}

static int are_children(struct pq *dst, const struct conf *c, const struct part_name *names, size_t n, bool *yes,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT pg_catalog.count(*) ");
	add_children(&sql, dst, c, names, n);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*yes = pq_int(dst, 0, 0, 0) == (int64_t)n;
	buf_free(&sql);
	return e->code;
}

int part_right(struct pq *dst, const struct conf *c, const struct part_name *names, size_t n, bool *children, struct err *e)
{
	bool loose;

	*children = true;
	if (n == 0 || c->period.method == PERIOD_NONE || are_children(dst, c, names, n, children, e) < 0 || *children)
		return e->code;
	if (part_look(dst, c, names, n, e) < 0 || pq_rows(dst) == 0)
		return e->code;
	return part_wrong(dst, c, 0, &loose, e);
}

/* What no integer is read from. They stand in the server's message, in any language. */
#define NO_CHILDREN "tdispatch: children: "
#define NOT_GENERATED "tdispatch: generated: "

/* A column of the query that follows, which fails unless it has so many rows. */
static void add_must_be(struct buf *sql, const char *what, size_t n)
{
	buf_fmt(sql, "SELECT CASE WHEN pg_catalog.count(*)" PQ_OWN("<>") "%zu THEN ('%s'" PQ_OWN("||")
		"pg_catalog.count(*)::pg_catalog.text)::pg_catalog.int4 END ", n, what);
}

void part_add_children(struct buf *sql, const struct pq *dst, const struct conf *c, const struct part_name *names, size_t n)
{
	if (n == 0 || c->period.method == PERIOD_NONE)
		return;
	add_must_be(sql, NO_CHILDREN, n);
	add_children(sql, dst, c, names, n);
	buf_str(sql, ";");
}

void part_add_generated(struct buf *sql, const struct conf *c, const struct part_name *names, size_t n, const struct tally *columns)
{
	if (n == 0 || columns->n == 0)
		return;
	add_must_be(sql, NOT_GENERATED, n * columns->n);
	buf_str(sql, "FROM pg_catalog.pg_attribute WHERE attrelid" PQ_OWN("="));
	add_any(sql, c, names, n);
	buf_str(sql, " AND attgenerated" PQ_OWN("<>") "''::pg_catalog.\"char\" AND attname" PQ_OWN("=") "ANY (ARRAY[");
	for (size_t i = 0; i < columns->n; i++) {
		buf_str(sql, i ? "," : "");
		buf_literal(sql, span_of(columns->at[i].name));
	}
	buf_str(sql, "]::pg_catalog.name[]);");
}

int part_refused(struct pq *dst, const struct conf *c, const struct part_name *names, size_t n, const struct tally *columns,
	struct err *e)
{
	bool generated = strstr(e->msg, NOT_GENERATED), children;
	struct tally now = { 0 };

	if (strcmp(e->sqlstate, "22P02") != 0 || (!generated && !strstr(e->msg, NO_CHILDREN)))
		return e->code;
	*e = (struct err){ 0 };
	if (pq_query(dst, "ROLLBACK", e) == 0 && part_right(dst, c, names, n, &children, e) == 0)
		part_generated(dst, c, &now, e);
	if (!e->code && generated && now.n == columns->n)
		err_set(e, ERR_SHAPE, "column %s of %s is generated, and one of its partitions has it as a column like others,"
			" so that it would get no value", now.at[0].name, c->dest_table);
	tally_clear(&now);
	return err_set(e, ERR_CONFLICT, "%s or its partitions were changed at this moment", c->dest_table);
}

/* ---- creating */

#define PKEY_MAX 33                     /* columns: one more than the server takes in a key, so that it says so */

int part_open(struct pq **ddl, const struct conf *c, const struct style *style, struct err *e)
{
	if (!*ddl)
		*ddl = style_open(c->dst_db, style, e);
	return e->code;
}

void part_name(struct buf *name, const struct conf *c, int64_t start_s)
{
	char suffix[PERIOD_SUFFIX_MAX];

	period_suffix(&c->period, start_s, suffix);
	buf_add(name, c->table.p, c->table.n);
	buf_str(name, suffix);
}

static int is_there(struct pq *ddl, const char *before, const struct part_want *want, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "%sSELECT ", before);
	buf_regclass(&sql, want->conf->schema, want->name);
	if (pq_query(ddl, buf_cstr(&sql), e) == 0)
		*yes = pq_value(ddl, 0, 0) != NULL;
	buf_free(&sql);
	return e->code;
}

static void roll_back(struct pq *ddl)
{
	struct err ignored = { 0 };

	pq_query(ddl, "ROLLBACK", &ignored);
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

static int expand(const struct part_want *want, struct buf *sql, struct err *e)
{
	const struct conf *conf = want->conf;
	struct span pkey[PKEY_MAX];
	char start[PERIOD_LITERAL_MAX], end[PERIOD_LITERAL_MAX];
	bool partitioned = conf->period.method != PERIOD_NONE;
	struct template_words words = {
		.schema = conf->schema, .parent = conf->table, .part = want->name,
		.pkey = pkey, .npkey = pkey_columns(want, pkey),
	};

	if (partitioned) {
		period_literal(&conf->period, want->start_s, start);
		period_literal(&conf->period, want->end_s, end);
		words.start = span_of(start);
		words.end = span_of(end);
		if (strcmp(conf->part_field, "_EVTIME") != 0)
			words.part_field = route_target(want->route, span_of(conf->part_field));
	}
	return template_expand(sql, span_of(conf->part_template), &words, e);
}

/* Tables are found by the role's search_path; the questions about them leave it. Sets setting to
 * the table's oid, 0 when it is not there. */
static void add_oid(struct buf *sql, const char *setting, const struct conf *c, struct span table)
{
	buf_fmt(sql, "SELECT pg_catalog.set_config('tdispatch.%s', coalesce(", setting);
	buf_regclass(sql, c->schema, table);
	buf_str(sql, ", '0')::pg_catalog.text, true);");
}

void part_say_who(struct pq *ddl, const struct conf *c, struct span table, struct err *e)
{
	struct err ignored = { 0 };
	struct buf sql = { 0 }, shown = { 0 };

	add_oid(&sql, "parent", c, table);
	buf_str(&sql, PQ_OWN_PATH "SELECT a.pid, a.usename, a.application_name, a.state FROM pg_locks l"
		" JOIN pg_stat_activity a USING (pid) WHERE l.granted AND l.pid <> pg_backend_pid()"
		" AND l.relation = current_setting('tdispatch.parent')::oid ORDER BY a.xact_start LIMIT 1");
	buf_qualified(&shown, c->schema, table);
	if (pq_query(ddl, buf_cstr(&sql), &ignored) == 0 && pq_rows(ddl) > 0) {
		const char *user = pq_value(ddl, 0, 1), *name = pq_value(ddl, 0, 2), *state = pq_value(ddl, 0, 3);
		err_add(e, "; %s is open in server process %s (user %s, %s, %s)",
			buf_cstr(&shown), pq_value(ddl, 0, 0), user ? user : "?",
			name && *name ? name : "no application name", state ? state : "state unknown");
	}
	buf_free(&sql);
	buf_free(&shown);
}

/* Why it cannot be created, told as what it is: a fault of the template, of the event, or a lock or
 * a race. Of the others in its transaction none is there then. */
static int creation_failed(struct pq *ddl, const struct part_want *want, size_t *open, struct err *e)
{
	struct err cause = *e, again = { 0 };
	bool keyless = cause.code == ERR_DATA && !*cause.sqlstate;      /* the event's own fault: nothing was run */
	bool alone = *open == 0, there = false;

	if (!keyless) {
		roll_back(ddl);
		*open = 0;
	}
	if (cause.code == ERR_CONN || cause.code == ERR_STOP || cause.code == ERR_RESOURCE || cause.code == ERR_READONLY)
		return e->code;
	if (alone && cause.code == ERR_CONFLICT && is_there(ddl, "", want, &there, &again) == 0 && there) {
		*e = (struct err){ 0 };
		return 0;
	}
	bool wait = cause.code == ERR_TIMEOUT || strcmp(cause.sqlstate, "40P01") == 0 || strcmp(cause.sqlstate, "40001") == 0;
	*e = (struct err){ 0 };
	memcpy(e->sqlstate, cause.sqlstate, sizeof e->sqlstate);
	err_set(e, wait ? ERR_TIMEOUT : cause.code == ERR_RIGHTS || keyless ? cause.code : ERR_SHAPE,
		"partition %.*s cannot be created by part_template: %.800s", (int)want->name.n, want->name.p, cause.msg);
	if (wait)
		part_say_who(ddl, want->conf, want->conf->table, e);
	return e->code;
}

/* Opens a transaction, in which nobody else creates a partition of the table. */
static int begin(struct pq *ddl, const struct part_want *want, bool *there, struct err *e)
{
	struct buf sql = { 0 };

	part_begin(&sql, ddl, want->lock_timeout_ms);
	buf_fmt(&sql, "SELECT pg_catalog.pg_advisory_xact_lock(%" PRId64 ");",
		(int64_t)span_hash("tdispatch partition", span_of(want->conf->dest_table)));
	is_there(ddl, buf_cstr(&sql), want, there, e);
	buf_free(&sql);
	return e->code;
}

void part_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
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
	if (is_there(dst, "", want, there, e) < 0 || *there || !want->conf->part_template)
		return e->code;
	size_t before = sql->len;
	if (expand(want, sql, e) < 0)
		sql->len = before;
	else if (sql->len > before && sql->p[sql->len - 1] != ';')
		buf_str(sql, ";");
	return e->code;
}

int part_kinds(struct pq *ddl, const struct conf *c, struct span table, const struct shape *shape, enum binary_kind *kinds,
	bool *known, struct err *e)
{
	struct buf sql = { 0 };
	size_t n = 0;

	add_oid(&sql, "part", c, table);
	buf_str(&sql, PQ_OWN_PATH "SELECT attname, atttypid FROM pg_attribute"
		" WHERE attrelid = current_setting('tdispatch.part')::oid AND attnum > 0 AND NOT attisdropped");
	int rows = pq_query(ddl, buf_cstr(&sql), e) == 0 ? pq_rows(ddl) : 0;
	for (int row = 0; row < rows; row++)
		for (size_t i = 0; i < shape->n; i++)
			if (span_is(shape->target[i], pq_value(ddl, row, 0)))
				n += (kinds[i] = binary_kind(pq_value(ddl, row, 1))) != BINARY_NONE;
	buf_free(&sql);
	*known = n == shape->n;
	return e->code;
}

static int is_right(struct pq *ddl, const struct part_want *want, struct err *e)
{
	bool child;

	return part_right(ddl, want->conf, &(struct part_name){ want->name, want->old }, 1, &child, e);
}

/* The partition is there then, or there is an error. */
static int run_template(struct pq *ddl, const struct part_want *want, struct buf *template, struct err *e)
{
	bool there = false;

	buf_str(template, "\n;");
	if (is_there(ddl, buf_cstr(template), want, &there, e) == 0 && !there)
		err_set(e, ERR_SHAPE, "it ran, but there is no table %.*s after it: does it name _DEST_TABLE?",
			(int)want->name.n, want->name.p);
	return e->code;
}

/* *made: in the transaction that is open now. Not when another process was faster. */
static int create(struct pq *ddl, const struct part_want *want, size_t *open, bool *made, struct err *e)
{
	struct buf template = { 0 };
	bool there = false;

	if (expand(want, &template, e) == 0 && (*open > 0 || begin(ddl, want, &there, e) == 0) && !there &&
	    run_template(ddl, want, &template, e) == 0) {
		*made = true;
		*open = pq_in_transaction(ddl) ? *open + 1 : 0;         /* the template may have ended it */
	}
	buf_free(&template);
	if (e->code)
		return creation_failed(ddl, want, open, e);
	if (there)
		roll_back(ddl);
	return 0;
}

int part_commit(struct pq *ddl, size_t *open, struct err *e)
{
	bool any = *open > 0;

	*open = 0;
	return any ? pq_query(ddl, "COMMIT", e) : 0;
}

int part_ensure(struct pq *ddl, const struct part_want *want, size_t *open, bool *created, struct err *e)
{
	size_t alone = 0;
	bool there = false;

	*created = false;
	if (!open)
		open = &alone;
	if (is_there(ddl, "", want, &there, e) < 0 || (there && is_right(ddl, want, e) < 0)) {
		if (*open)
			roll_back(ddl);
		*open = 0;
		return e->code;
	}
	if (there)
		return part_commit(ddl, open, e);
	if (create(ddl, want, open, created, e) == 0 && part_commit(ddl, &alone, e) < 0) {
		*created = false;
		creation_failed(ddl, want, &alone, e);
	}
	return e->code || *created ? e->code : is_right(ddl, want, e);
}
