/*
 * The staging table of row_mode = keep_latest: the rows of a batch wait in a temporary table of the
 * data transaction, and at the end of the batch the last row of each key replaces the target's.
 *
 * The table has the target's columns by name and type, without constraints and defaults: a like
 * would copy NOT NULL, and refuse what identity and generated columns refuse. Where no row is in
 * dispute it is read twice: by a GROUP BY, for which the server chooses between hashing and
 * sorting, and by the join that fetches the last rows. A key is compared by the equality of its
 * type's default operator class, wherever that is, as GROUP BY does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define ID "\"tdispatch.id\""
#define PART "\"tdispatch.part\""
#define KIND "\"tdispatch.kind\""

/* ---- the table */

/* A row for each column: its name, type, and operator of equality. */
static const char columns_sql[] =
	"SELECT a.attname, a.atttypid, coalesce((WITH RECURSIVE base (oid) AS ("
	"SELECT a.atttypid UNION ALL SELECT y.typbasetype FROM base"
	" JOIN pg_catalog.pg_type y ON y.oid" PQ_OWN("=") "base.oid"
	" WHERE y.typtype" PQ_OWN("=") "'d'::pg_catalog.\"char\")"
	" SELECT pg_catalog.format('%I.%s', n.nspname, o.oprname) FROM base"
	" JOIN pg_catalog.pg_opclass c ON c.opcintype" PQ_OWN("=") "base.oid"
	" JOIN pg_catalog.pg_amop m ON m.amopfamily" PQ_OWN("=") "c.opcfamily"
	" AND m.amoplefttype" PQ_OWN("=") "base.oid AND m.amoprighttype" PQ_OWN("=") "base.oid"
	" JOIN pg_catalog.pg_operator o ON o.oid" PQ_OWN("=") "m.amopopr"
	" JOIN pg_catalog.pg_namespace n ON n.oid" PQ_OWN("=") "o.oprnamespace"
	" WHERE c.opcdefault AND m.amopstrategy" PQ_OWN("=") "3::pg_catalog.int2"
	" AND c.opcmethod" PQ_OWN("=") "403::pg_catalog.oid LIMIT 1),"      /* btree */
	" 'pg_catalog.=') FROM pg_catalog.pg_attribute a"
	" WHERE NOT a.attisdropped AND a.attnum" PQ_OWN(">") "3::pg_catalog.int2"   /* STAGE_COLUMNS */
	" AND a.attrelid" PQ_OWN("=") "pg_catalog.to_regclass('pg_temp.%s')";

static void keep_equality(struct stage *s, struct span column, const char *operator)
{
	for (size_t i = 0; i < s->nkey; i++)
		if (span_eq(s->key[i].name, column)) {
			free(s->key[i].equals);
			s->key[i].equals = mem_str(operator, strlen(operator));
		}
}

static void take_columns(struct pq *dst, struct stage *s)
{
	size_t n = (size_t)pq_rows(dst);
	size_t size = sizeof *s->columns + n * sizeof *s->columns->at;

	free(s->columns);
	s->columns = memset(mem_alloc(size), 0, size);
	for (size_t i = 0; i < n; i++) {
		struct table_column *column = &s->columns->at[s->columns->n++];
		snprintf(column->name, sizeof column->name, "%s", pq_value(dst, (int)i, 0));
		column->kind = binary_kind(pq_value(dst, (int)i, 1));
		keep_equality(s, span_of(column->name), pq_value(dst, (int)i, 2));
	}
}

int stage_create(struct pq *dst, struct stage *s, const struct dest *d, struct span model,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "CREATE TEMPORARY TABLE pg_temp.%s ON COMMIT DROP AS"
		" SELECT 0::pg_catalog.int8 AS " ID ", 0::pg_catalog.int4 AS " PART
		", 0::pg_catalog.int4 AS " KIND ", t.* FROM ", s->name);
	buf_qualified(&sql, d->schema, model);
	buf_str(&sql, " t WITH NO DATA;");
	const char *at = strstr(columns_sql, "'pg_temp.%s'");
	buf_add(&sql, columns_sql, (size_t)(at - columns_sql));
	buf_fmt(&sql, "'pg_temp.%s')", s->name);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		take_columns(dst, s);
	else
		pq_judge(dst, SQLSTATE_COPY, e);
	buf_free(&sql);
	return e->code;
}

void stage_add_columns(struct buf *columns)
{
	buf_str(columns, ", " ID ", " PART ", " KIND);
}

void stage_free(struct stage *s)
{
	for (size_t i = 0; i < s->nkey; i++)
		free(s->key[i].equals);
	free(s->key);
	free(s->columns);
	s->key = NULL;
	s->columns = NULL;
	s->nkey = 0;
}

/* ---- the last row of each key */

static void add_key(struct buf *sql, const struct stage *s, const char *before)
{
	for (size_t i = 0; i < s->nkey; i++) {
		buf_str(sql, before);
		buf_ident(sql, s->key[i].name);
	}
}

/* Appends a condition: two tables' keys are equal. */
static void add_equal(struct buf *sql, const struct stage *s, const char *a, const char *b)
{
	for (size_t i = 0; i < s->nkey; i++) {
		buf_fmt(sql, " AND %s.", a);
		buf_ident(sql, s->key[i].name);
		buf_fmt(sql, " OPERATOR(%s) %s.", s->key[i].equals ? s->key[i].equals :
			"pg_catalog.=", b);
		buf_ident(sql, s->key[i].name);
	}
}

static void add_analyze(struct buf *sql, const struct stage *s, const char *table)
{
	buf_fmt(sql, "ANALYZE pg_temp.%s%s (" PART, s->name, table);
	add_key(sql, s, ", ");
	buf_str(sql, ");");
}

void stage_add_last(struct buf *sql, const struct stage *s, bool many)
{
	add_analyze(sql, s, "");
	buf_fmt(sql, "CREATE TEMPORARY TABLE pg_temp.%s_last ON COMMIT DROP AS SELECT s.* FROM"
		" pg_temp.%s s JOIN (SELECT " PART, s->name, s->name);
	add_key(sql, s, ", ");
	buf_fmt(sql, ", pg_catalog.max(" ID ") AS " ID " FROM pg_temp.%s GROUP BY " PART, s->name);
	add_key(sql, s, ", ");
	buf_str(sql, ") l ON l." ID PQ_OWN("=") "s." ID " AND l." PART PQ_OWN("=") "s." PART);
	add_equal(sql, s, "l", "s");
	buf_str(sql, ";");
	if (many)
		buf_fmt(sql, "CREATE INDEX ON pg_temp.%s_last (" PART ", " ID ");", s->name);
	add_analyze(sql, s, "_last");
}

void stage_add_count(struct buf *sql, const struct stage *s)
{
	buf_fmt(sql, "SELECT " PART ", " KIND ", pg_catalog.count(*) FROM pg_temp.%s_last"
		" GROUP BY " PART ", " KIND " ORDER BY " PART ", " KIND, s->name);
}

void stage_add_forget(struct buf *sql, const struct stage *s, const char *ids)
{
	buf_fmt(sql, "DELETE FROM pg_temp.%s s USING pg_catalog.unnest('{%s}'::pg_catalog.int8[])"
		" b (id) WHERE s." ID PQ_OWN("=") "b.id;", s->name, ids);
}

static void add_range(struct buf *sql, const struct stage_range *range)
{
	if (range)
		buf_fmt(sql, " AND l." ID PQ_OWN(">=") "%" PRId64 " AND l." ID PQ_OWN("<=") "%"
			PRId64, range->first, range->last);
}

void stage_add_delete(struct buf *sql, const struct stage *s, const struct stage_part *p,
	const struct stage_range *range)
{
	buf_str(sql, "DELETE FROM ");
	buf_qualified(sql, p->schema, p->table);
	buf_fmt(sql, " t USING pg_temp.%s_last l WHERE l." PART PQ_OWN("=") "%zu", s->name,
		p->number);
	add_equal(sql, s, "t", "l");
	add_range(sql, range);
	buf_str(sql, " AND EXISTS (SELECT 1 FROM ");
	buf_qualified(sql, p->schema, p->table);
	buf_str(sql, ");");
}

void stage_add_insert(struct buf *sql, const struct stage *s, const struct stage_part *p,
	size_t kind, const char *columns, const struct stage_range *range)
{
	buf_str(sql, "INSERT INTO ");
	buf_qualified(sql, p->schema, p->table);
	buf_fmt(sql, " (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM pg_temp.%s_last l WHERE l." PART
		PQ_OWN("=") "%zu AND l." KIND PQ_OWN("=") "%zu", columns, columns, s->name,
		p->number, kind);
	add_range(sql, range);
	buf_str(sql, p->ordered ? " ORDER BY l." ID ";" : ";");
}

/* Runs statements that change the target, which judges the rows as those of a COPY. */
int stage_run(struct pq *dst, const char *sql, int64_t *rows, struct err *e)
{
	if (pq_query(dst, sql, e) < 0)
		pq_judge(dst, SQLSTATE_ROWS, e);
	const char *n = strrchr(dst->tag, ' ');
	*rows = n && !e->code ? strtoll(n, NULL, 10) : 0;
	return e->code;
}
