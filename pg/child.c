/*
 * The children of dest_table: which exist, whether one can hold rows that are younger than a
 * moment, and how one is removed.
 *
 * We do not parse the text of a child's bounds and CHECKs, which may contain expressions, several
 * columns, infinity and other time zones: we ask the server's planner whether they refute "column
 * >= moment". Where it cannot prove that, we look at the rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define ROWS_TIMEOUT_MS 10000           /* for looking at a child's rows, where there is no index */

/* ---- which there are */

void child_clear(struct child_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct child *c = &list->at[i];
		char *text[] = { c->name, c->table, c->column, c->type, c->rows, c->size };
		for (size_t k = 0; k < sizeof text / sizeof *text; k++)
			free(text[k]);
	}
	free(list->at);
	free(list->parent);
	*list = (struct child_list){ 0 };
}

static bool is_true(const struct pq *q, int row, int col)
{
	const char *value = pq_value(q, row, col);

	return value && strcmp(value, "t") == 0;
}

static void take_rows(struct pq *q, struct child_list *list)
{
	for (int row = 0; row < pq_rows(q); row++) {
		list->at = mem_grow(list->at, list->n, &list->cap, sizeof *list->at);
		list->at[list->n++] = (struct child){
			.name = mem_text(pq_value(q, row, 0)), .oid = pq_int(q, row, 1, 0),
			.table = mem_text(pq_value(q, row, 2)), .ordinary = is_true(q, row, 3),
			.found = is_true(q, row, 4), .owned = is_true(q, row, 5),
			.rows = mem_text(pq_value(q, row, 8)),
			.size = mem_text(pq_value(q, row, 9)),
		};
		list->declarative = is_true(q, row, 6);
		if (!list->parent)
			list->parent = mem_text(pq_value(q, row, 7));
	}
}

/* Appends a statement that keeps the oids of the tables that the children's names mean on the
 * role's own search_path, as for a COPY, in setting tdispatch.found. */
static void add_found(struct buf *sql, const struct dest *d)
{
	struct buf schema = { 0 };

	ddl_add_oid(sql, "parent", d, d->table);
	if (d->schema.n) {
		buf_ident(&schema, d->schema);
		buf_str(&schema, ".");
	}
	buf_str(sql, "SELECT pg_catalog.set_config('tdispatch.found', coalesce("
		"pg_catalog.array_agg(pg_catalog.to_regclass(");
	buf_literal(sql, (struct span){ schema.len ? schema.p : "", schema.len });
	buf_str(sql, PQ_OWN("||") "pg_catalog.quote_ident(c.relname::pg_catalog.text))"
		"::pg_catalog.oid),"
		" '{}')::pg_catalog.text, true) FROM pg_catalog.pg_inherits i"
		" JOIN pg_catalog.pg_class c ON c.oid" PQ_OWN("=") "i.inhrelid"
		" WHERE i.inhparent" PQ_OWN("=")
		"pg_catalog.current_setting('tdispatch.parent')::pg_catalog.oid;");
	buf_free(&schema);
}

static void add_sizes(struct buf *sql, const struct pq *q)
{
	buf_str(sql, "CASE WHEN c.reltuples > 0 THEN c.reltuples::int8"
		" WHEN c.relkind = 'p' THEN NULL"       /* until it is analyzed */
		" ELSE pg_stat_get_live_tuples(c.oid) END, pg_size_pretty(");
	table_add_size(sql, q);
	buf_str(sql, ")");
}

int child_list(struct pq *q, const struct dest *d, const char *only, bool sizes,
	struct child_list *list, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SET LOCAL search_path TO DEFAULT;");     /* earlier statements changed it */
	add_found(&sql, d);
	buf_str(&sql, PQ_OWN_PATH
		"SELECT c.relname, c.oid, c.oid::regclass, c.relkind IN ('r', 'p'),"
		" c.oid = ANY (current_setting('tdispatch.found')::oid[]),"
		" pg_has_role(c.relowner, 'USAGE'), p.relkind = 'p', p.oid::regclass, ");
	if (sizes)
		add_sizes(&sql, q);
	else
		buf_str(&sql, "NULL, NULL");
	buf_str(&sql, " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
		" JOIN pg_class p ON p.oid = i.inhparent"
		" WHERE i.inhparent = current_setting('tdispatch.parent')::oid");
	if (only) {
		buf_str(&sql, " AND c.relname = ");
		buf_literal(&sql, span_of(only));
		buf_str(&sql, "::name");
	}
	buf_str(&sql, " ORDER BY c.relname");
	if (pq_query(q, buf_cstr(&sql), e) == 0)
		take_rows(q, list);
	buf_free(&sql);
	return e->code;
}

int child_names(struct pq *q, const struct dest *d, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT c.relname FROM pg_catalog.pg_inherits i"
		" JOIN pg_catalog.pg_class c ON c.oid" PQ_OWN("=") "i.inhrelid"
		" WHERE i.inhparent" PQ_OWN("="));
	buf_regclass(&sql, d->schema, d->table);
	pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* ---- how young its rows can be */

/* The column that dates a child's rows: part_field's, else the first date in the parent's partition
 * key or in one of the child's CHECKs. With the type that its domains are based on. */
static const char column_sql[] =
	"SELECT a.attname, t.oid::regtype,"
	" CASE t.oid WHEN 'date'::regtype THEN 1"
	" WHEN 'timestamp'::regtype THEN 2"
	" WHEN 'timestamptz'::regtype THEN 3"
	" WHEN 'text'::regtype THEN 4"
	" WHEN 'varchar'::regtype THEN 4"
	" WHEN 'bpchar'::regtype THEN 4"
	" ELSE 5 END"
	" FROM (SELECT attname, atttypid"
	" FROM pg_attribute a JOIN pg_type y ON y.oid = atttypid"
	" WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped"
	" AND (attname = %s OR (typcategory = 'D'"
	" AND (attname IN (SELECT k.attname FROM pg_attribute k"
	" WHERE k.attrelid = r.partrelid AND k.attnum = ANY (r.partattrs::int2[]))"
	" OR EXISTS (SELECT FROM pg_constraint"
	" WHERE conrelid = c.oid AND contype = 'c' AND attnum = ANY (conkey)))))"
	" ORDER BY attname = %s DESC, attnum LIMIT 1) a,"
	" LATERAL (WITH RECURSIVE b (oid, base) AS ("
	"SELECT oid, typbasetype FROM pg_type WHERE oid = a.atttypid"
	" UNION ALL"
	" SELECT y.oid, y.typbasetype FROM b JOIN pg_type y ON y.oid = b.base)"
	" SELECT oid FROM b WHERE base = 0) t";

/* Sets the members of a child that only child_bounds sets. */
static int look_closer(const struct child_question *ask, const struct child_list *list,
	struct child *c, struct err *e)
{
	struct buf sql = { 0 }, column = { 0 };

	buf_literal(&column, ask->column);
	const char *name = buf_cstr(&column);
	buf_str(&sql, PQ_OWN_PATH "SELECT coalesce(r.partdefid = c.oid, false),"
		" EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = c.oid),"
		" d.*"
		" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
		" LEFT JOIN pg_partitioned_table r ON r.partrelid = i.inhparent"
		" LEFT JOIN LATERAL (");
	buf_fmt(&sql, column_sql, name, name);
	buf_fmt(&sql, ") d ON true WHERE c.oid = %" PRId64 " AND i.inhparent = ", c->oid);
	buf_literal(&sql, span_of(list->parent));
	buf_str(&sql, "::regclass");
	free(c->column);
	free(c->type);
	c->column = c->type = NULL;
	if (pq_query(ask->q, buf_cstr(&sql), e) == 0 && pq_rows(ask->q) > 0) {
		c->is_default = is_true(ask->q, 0, 0);
		c->referenced = is_true(ask->q, 0, 1);
		c->column = mem_text(pq_value(ask->q, 0, 2));
		c->type = mem_text(pq_value(ask->q, 0, 3));
		c->kind = (enum child_kind)pq_int(ask->q, 0, 4, CHILD_UNDATED);
	} else if (!e->code) {
		err_set(e, ERR_CONFLICT, "%s is no child of %s any more", c->table, list->parent);
	}
	buf_free(&sql);
	buf_free(&column);
	return e->code;
}

/* Appends kept_s as a constant of the column's type. Hours are exact enough: periods end on the
 * hour. */
static void add_moment(struct buf *sql, const struct child_question *ask, enum child_kind kind)
{
	struct period_rule rule = *ask->rule;
	char text[PERIOD_LITERAL_MAX];

	rule.method = kind == CHILD_DATE ? PERIOD_DAILY : PERIOD_HOURLY;
	if (kind != CHILD_TIMESTAMPTZ) {
		rule.zoned = false;
		rule.zone = NULL;
	}
	int64_t day_s = 86400, at_s = ask->kept_s;
	if (kind == CHILD_DATE)         /* the first day that begins after it */
		at_s = (at_s / day_s + (at_s % day_s > 0)) * day_s;
	period_literal(&rule, at_s, text);
	buf_fmt(sql, "'%s'::%s", text, kind == CHILD_DATE ? "date" :
		kind == CHILD_TIMESTAMP ? "timestamp" : "timestamptz");
}

/* *yes: do the bounds and CHECKs refute the condition, which follows the column's name? */
static int is_refuted(const struct child_question *ask, const struct child *c,
	const char *condition, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	style_add_zone(&sql, ask->rule);
	buf_fmt(&sql, "SET LOCAL row_security = off;"
		" SET LOCAL constraint_exclusion = on;"
		"EXPLAIN (COSTS OFF) SELECT FROM %s WHERE ", c->table);
	buf_ident(&sql, span_of(c->column));
	buf_fmt(&sql, " %s", condition);
	*yes = false;
	if (pq_query(ask->q, buf_cstr(&sql), e) == 0 && pq_rows(ask->q) > 0 &&
	    strcmp(pq_value(ask->q, 0, 0), "Result") == 0)
		for (int row = 1; row < pq_rows(ask->q); row++)
			*yes |= strstr(pq_value(ask->q, row, 0), "One-Time Filter: false") != NULL;
	buf_free(&sql);
	return e->code;
}

/* For a column that is a date. If not old: young if the column has any bound, else unclear. */
static int ask_planner(const struct child_question *ask, const struct child *c, enum child_age *age,
	struct err *e)
{
	struct buf after = { 0 };
	bool old = false, bound = false;

	buf_str(&after, ">= ");
	add_moment(&after, ask, c->kind);
	if (is_refuted(ask, c, buf_cstr(&after), &old, e) == 0 && !old &&
	    is_refuted(ask, c, ">= '9999-12-31'", &bound, e) == 0 && !bound)
		is_refuted(ask, c, "< '0002-01-01'", &bound, e);
	*age = old ? CHILD_OLD : bound ? CHILD_YOUNG : CHILD_UNCLEAR;
	buf_free(&after);
	return e->code;
}

int child_bounds(const struct child_question *ask, const struct child_list *list, struct child *c,
	enum child_age *age, struct buf *why, struct err *e)
{
	*age = CHILD_UNCLEAR;
	if (look_closer(ask, list, c, e) < 0)
		return e->code;
	if (c->is_default)
		*age = CHILD_YOUNG;
	else if (c->kind == CHILD_UNDATED && !list->declarative)
		*age = CHILD_OLD;       /* only its name says how old it is */
	else if (c->kind >= CHILD_DATE && c->kind <= CHILD_TIMESTAMPTZ)
		ask_planner(ask, c, age, e);
	if (*age == CHILD_YOUNG)
		buf_str(why, "it takes younger rows, by its bounds");
	return e->code;
}

/* Appends the youngest row's time, as seconds of the rule's own clock, and as text; NULL where the
 * type is no time. */
static void add_youngest(struct buf *sql, const struct period_rule *rule, const struct child *c)
{
	bool zoned = rule->zoned && (c->kind == CHILD_TIMESTAMPTZ || c->kind == CHILD_TEXT);
	const char *type = zoned ? "timestamptz" : "timestamp";

	if (c->kind == CHILD_UNDATED || c->kind == CHILD_OTHER) {
		buf_str(sql, "NULL, NULL");
		return;
	}
	buf_str(sql, "date_part('epoch', max(");
	buf_ident(sql, span_of(c->column));
	buf_fmt(sql, c->kind == CHILD_TEXT ? "::%s)%s)" : ")::%s%s)", type,
		rule->zone ? "::timestamp" : "");
	buf_fmt(sql, " + %d, max(", zoned ? rule->zone_s : 0);
	buf_ident(sql, span_of(c->column));
	buf_str(sql, ")::text");
}

static void judge_rows(const struct child_question *ask, const struct child *c, enum child_age *age,
	struct buf *why)
{
	const char *youngest = pq_value(ask->q, 0, 0), *shown = pq_value(ask->q, 0, 1);
	struct buf text = { 0 };

	if (youngest) {
		*age = strtod(youngest, NULL) < (double)ask->kept_s ? CHILD_OLD : CHILD_YOUNG;
		buf_printable(&text, span_of(shown), 40);
		buf_fmt(why, "it holds rows up to %s in column %s", buf_cstr(&text), c->column);
	} else if (!is_true(ask->q, 0, 2)) {
		*age = CHILD_OLD;
	} else if (c->kind == CHILD_UNDATED) {
		buf_str(why, "it has rows, and no column that tells their age");
	} else if (c->kind == CHILD_OTHER) {
		buf_fmt(why, "it has rows, and their column %s is of type %s, which tells no age",
			c->column, c->type);
	} else {
		buf_fmt(why, "it has rows, and %s is NULL in all of them", c->column);
	}
	buf_free(&text);
}

int child_rows(const struct child_question *ask, const struct child *c, enum child_age *age,
	struct buf *why, struct err *e)
{
	const struct period_rule *rule = ask->rule;
	int zone_min = rule->zone_s / 60, abs_min = zone_min < 0 ? -zone_min : zone_min;
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SET LOCAL row_security = off;"
		" SET LOCAL DateStyle = 'ISO, YMD';"
		"SET LOCAL statement_timeout = %d;", ROWS_TIMEOUT_MS);
	style_add_zone(&sql, rule);
	if (rule->zoned && !rule->zone)
		buf_fmt(&sql, "SET LOCAL TIME ZONE INTERVAL '%c%02d:%02d' HOUR TO MINUTE;",
			zone_min < 0 ? '-' : '+', abs_min / 60, abs_min % 60);
	buf_str(&sql, "SELECT ");
	add_youngest(&sql, rule, c);
	buf_fmt(&sql, ", EXISTS (SELECT FROM %s) FROM %s;"
		" SET LOCAL statement_timeout = 0", c->table, c->table);
	*age = CHILD_UNCLEAR;
	if (pq_query(ask->q, buf_cstr(&sql), e) == 0)
		judge_rows(ask, c, age, why);
	else if (e->code == ERR_TIMEOUT && !sqlstate_is(e->sqlstate, SQLSTATE_LOCKED))
		err_add(e, "; it took longer than %d s: an index on %s makes it fast",
			ROWS_TIMEOUT_MS / 1000, c->column ? c->column : "a date");
	buf_free(&sql);
	return e->code;
}

/* ---- removing it */

int child_lock(struct pq *q, const char *table, bool only, const char *mode, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "LOCK TABLE %s%s IN %s MODE", only ? "ONLY " : "", table, mode);
	pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

/* A partition that foreign keys reference must be detached before it can be dropped. */
int child_remove(struct pq *q, const struct child_list *list, const struct child *c, bool detach,
	struct err *e)
{
	struct buf sql = { 0 };

	if (list->declarative && (detach || c->referenced))
		buf_fmt(&sql, "ALTER TABLE %s DETACH PARTITION %s;", list->parent, c->table);
	else if (detach)
		buf_fmt(&sql, "ALTER TABLE %s NO INHERIT %s;", c->table, list->parent);
	if (!detach)
		buf_fmt(&sql, "DROP TABLE %s;", c->table);
	buf_str(&sql, "COMMIT");
	pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}
