/*
 * The staging table of row_mode = keep_latest: the rows of a batch wait in a temporary table of the
 * data transaction, and at the end of the batch the last row of each key replaces the target's.
 *
 * The table has the target's columns by name and type, without constraints and defaults: a like
 * would copy NOT NULL, and refuse what identity and generated columns refuse. A key is compared by
 * the equality of its type's default operator class, wherever that is, as DISTINCT does.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define ID "\"tdispatch.id\""
#define PART "\"tdispatch.part\""
#define KIND "\"tdispatch.kind\""

/* ---- the table */

/* A row for each column that has another equality than pg_catalog's: its name, and the operator. */
static const char equality_sql[] =
	"SELECT a.attname, x.equals FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL ("
	"WITH RECURSIVE base (oid) AS (SELECT a.atttypid"
	" UNION ALL SELECT y.typbasetype FROM base"
	" JOIN pg_catalog.pg_type y ON y.oid" PQ_OWN("=") "base.oid"
	" WHERE y.typtype" PQ_OWN("=") "'d'::pg_catalog.\"char\")"
	" SELECT pg_catalog.format('%I.%s', n.nspname, o.oprname) AS equals FROM base"
	" JOIN pg_catalog.pg_opclass c ON c.opcintype" PQ_OWN("=") "base.oid"
	" JOIN pg_catalog.pg_amop m ON m.amopfamily" PQ_OWN("=") "c.opcfamily"
	" AND m.amoplefttype" PQ_OWN("=") "base.oid AND m.amoprighttype" PQ_OWN("=") "base.oid"
	" JOIN pg_catalog.pg_operator o ON o.oid" PQ_OWN("=") "m.amopopr"
	" JOIN pg_catalog.pg_namespace n ON n.oid" PQ_OWN("=") "o.oprnamespace"
	" WHERE c.opcdefault AND m.amopstrategy" PQ_OWN("=") "3::pg_catalog.int2"
	" AND c.opcmethod" PQ_OWN("=") "403::pg_catalog.oid"        /* btree */
	" AND n.nspname" PQ_OWN("<>") "'pg_catalog'::pg_catalog.name) x"
	" WHERE NOT a.attisdropped AND a.attnum" PQ_OWN(">") "0::pg_catalog.int2"
	" AND a.attrelid" PQ_OWN("=");

static void keep_equality(struct stage *s, struct span column, const char *operator)
{
	for (size_t i = 0; i < s->nkey; i++)
		if (span_eq(s->key[i].name, column)) {
			free(s->key[i].equals);
			s->key[i].equals = mem_text(operator);
		}
}

int stage_create(struct pq *dst, struct stage *s, const struct dest *d, struct span model,
	struct err *e)
{
	const struct dest temporary = { .schema = span_of("pg_temp") };
	struct buf sql = { 0 };

	buf_fmt(&sql, "CREATE TEMPORARY TABLE pg_temp.%s ON COMMIT DROP AS"
		" SELECT 0::pg_catalog.int8 AS " ID ", 0::pg_catalog.int4 AS " PART
		", 0::pg_catalog.int4 AS " KIND ", t.* FROM ", s->name);
	buf_qualified(&sql, d->schema, model);
	buf_str(&sql, " t WITH NO DATA;");
	buf_str(&sql, equality_sql);
	buf_regclass(&sql, temporary.schema, span_of(s->name));
	if (pq_query(dst, buf_cstr(&sql), e) < 0)
		pq_judge(dst, SQLSTATE_COPY, e);
	buf_free(&sql);
	for (int row = 0; row < pq_rows(dst) && !e->code; row++)
		keep_equality(s, span_of(pq_value(dst, row, 0)), pq_value(dst, row, 1));
	return e->code ? e->code :
		table_columns(dst, &temporary, span_of(s->name), &s->columns, e);
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

int stage_drop(struct pq *dst, struct stage *s, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "DROP TABLE pg_temp.%s; DROP TABLE IF EXISTS pg_temp.%s_last", s->name,
		s->name);
	pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	stage_free(s);
	return e->code;
}

/* ---- keys that go from any partition */

static void add_key(struct buf *sql, const struct stage *s, const char *before)
{
	for (size_t i = 0; i < s->nkey; i++) {
		buf_str(sql, before);
		buf_ident(sql, s->key[i].name);
	}
}

void stage_add_spread(struct buf *sql, const struct stage *s, const char *parts)
{
	buf_fmt(sql, "INSERT INTO pg_temp.%s (" ID ", " PART ", " KIND, s->name);
	add_key(sql, s, ", ");
	buf_str(sql, ") SELECT s." ID ", p.number, 0");
	add_key(sql, s, ", s.");
	buf_fmt(sql, " FROM pg_temp.%s s,"
		" pg_catalog.unnest('{%s}'::pg_catalog.int4[]) p (number) WHERE s."
		PART PQ_OWN("=") "%d; DELETE FROM pg_temp.%s WHERE " PART PQ_OWN("=") "%d",
		s->name, parts, STAGE_ANYWHERE, s->name, STAGE_ANYWHERE);
}

/* ---- the last row of each key */

/* Appends the key's columns, with a comma behind each. */
static void add_list(struct buf *sql, const struct stage *s)
{
	for (size_t i = 0; i < s->nkey; i++) {
		buf_ident(sql, s->key[i].name);
		buf_str(sql, ", ");
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
	buf_fmt(sql, "ANALYZE pg_temp.%s%s (" PART ", " KIND, s->name, table);
	add_key(sql, s, ", ");
	buf_str(sql, ");");
}

/* Sorts by the key before the partition, which has few values: that takes half of the time. */
void stage_add_last(struct buf *sql, const struct stage *s, bool many)
{
	buf_str(sql, "SET LOCAL default_statistics_target = 10;");
	add_analyze(sql, s, "");
	buf_fmt(sql, "CREATE TEMPORARY TABLE pg_temp.%s_last ON COMMIT DROP AS"
		" SELECT * FROM (SELECT DISTINCT ON (", s->name);
	add_list(sql, s);
	buf_fmt(sql, PART ") * FROM pg_temp.%s ORDER BY ", s->name);
	add_list(sql, s);
	/* of one event, what comes is after what goes */
	buf_str(sql, PART ", " ID " DESC, " KIND " DESC) l");
	buf_str(sql, many ? " ORDER BY " PART ";" : ";");
	if (many)
		buf_fmt(sql, "CREATE INDEX ON pg_temp.%s_last USING brin (" PART
			") WITH (pages_per_range = 16);", s->name);
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

void stage_add_index(struct buf *sql, const struct stage *s)
{
	buf_fmt(sql, "CREATE INDEX ON pg_temp.%s_last (" PART ", " ID ")", s->name);
}

void stage_add_ids(struct buf *sql, const struct stage *s, const struct stage_part *p)
{
	buf_fmt(sql, "SELECT pg_catalog.min(" ID "), pg_catalog.max(" ID ") FROM pg_temp.%s_last"
		" WHERE " PART PQ_OWN("=") "%zu", s->name, p->number);
}

/* ---- which of them may be old */

void stage_add_parts(struct buf *sql, const struct stage *s)
{
	buf_fmt(sql, "SELECT DISTINCT " PART " FROM pg_temp.%s", s->name);
}

/* Appends a FROM item: the keys of all tables' rows, and of which event they are. */
static void add_present(struct buf *sql, const struct stage *s, const struct stage_part *parts,
	size_t n, struct span evid)
{
	for (size_t i = 0; i < n; i++) {
		buf_fmt(sql, "%sSELECT true AS found, ", i ? " UNION ALL " : "(");
		buf_ident(sql, evid);
		buf_str(sql, "::pg_catalog.int8 AS evid");
		add_key(sql, s, ", ");
		buf_str(sql, " FROM ");
		buf_qualified(sql, parts[i].schema, parts[i].table);
	}
	buf_str(sql, ")");
}

/* A column that a row does not have may tell of a newer event. */
#define OLDER "coalesce(t.evid" PQ_OWN("<") "s." ID ", false)"

void stage_add_unsure(struct buf *sql, const struct stage *s, const struct stage_part *parts,
	size_t n, struct span evid)
{
	bool knows = evid.p && n;

	add_analyze(sql, s, "");
	buf_str(sql, "SELECT s." ID ", pg_catalog.min(ROW(");
	for (size_t i = 0; i < s->nkey; i++) {
		buf_str(sql, i ? ", s." : "s.");
		buf_ident(sql, s->key[i].name);
	}
	buf_fmt(sql, ")::pg_catalog.text), %s FROM pg_temp.%s s", knows ?
		"pg_catalog.max(coalesce(t.evid, CASE WHEN t.found THEN 0 END))" : "NULL", s->name);
	if (knows) {
		buf_str(sql, " LEFT JOIN ");
		add_present(sql, s, parts, n, evid);
		buf_str(sql, " t ON true");
		add_equal(sql, s, "t", "s");
	}
	buf_str(sql, " GROUP BY s." ID);
	if (knows)
		buf_str(sql, " HAVING NOT pg_catalog.bool_and(t.found IS NULL OR " OLDER ")"
			" OR NOT pg_catalog.bool_or(" OLDER ")");
	buf_str(sql, " ORDER BY 1");
}

/* ---- what there should be, worked out in another way */

void stage_add_analyze(struct buf *sql, const struct stage *s)
{
	add_analyze(sql, s, "");
}

void stage_add_latest(struct buf *sql, const struct stage *s, size_t part)
{
	buf_fmt(sql, "(SELECT s.* FROM pg_temp.%s s JOIN (SELECT " PART, s->name);
	add_key(sql, s, ", ");
	buf_fmt(sql, ", pg_catalog.max(" ID ") AS " ID " FROM pg_temp.%s GROUP BY " PART, s->name);
	add_key(sql, s, ", ");
	buf_fmt(sql, ") l ON l." ID PQ_OWN("=") "s." ID " AND l." PART PQ_OWN("=") "s." PART
		" AND s." PART PQ_OWN("=") "%zu", part);
	add_equal(sql, s, "l", "s");
	buf_str(sql, ")");
}

void stage_add_touched(struct buf *sql, const struct stage *s, size_t part)
{
	buf_fmt(sql, "EXISTS (SELECT 1 FROM pg_temp.%s s WHERE s." PART PQ_OWN("=") "%zu", s->name,
		part);
	add_equal(sql, s, "t", "s");
	buf_str(sql, ")");
}

void stage_add_comes(struct buf *sql)
{
	buf_str(sql, "l." KIND PQ_OWN(">") "0");
}

/* ---- running statements: the target judges rows as it does those of a COPY */

static int64_t rows_of(const struct pq *dst)
{
	const char *n = strrchr(dst->tag, ' ');

	return n ? strtoll(n, NULL, 10) : 0;
}

int stage_send(struct pq *dst, const char *sql, struct err *e)
{
	return pq_send(dst, sql, e);
}

int stage_step(struct pq *dst, int64_t *rows, struct err *e)
{
	int step = pq_step(dst, e);

	if (step < 0)
		pq_judge(dst, SQLSTATE_ROWS, e);
	*rows = step == PQ_READY ? rows_of(dst) : 0;
	return step < 0 ? e->code : step;
}

int stage_run(struct pq *dst, const char *sql, size_t at, int64_t *rows, struct err *e)
{
	int64_t n;
	size_t done = 0;
	int step;

	*rows = 0;
	if (stage_send(dst, sql, e) < 0)
		return e->code;
	while ((step = stage_step(dst, &n, e)) >= 0 && step != PQ_END) {
		if (step == PQ_READY && done++ == at)
			*rows = n;
		if (step == PQ_WAIT && pq_wait(&dst, 1, -1, e) < 0)
			break;
	}
	return e->code;
}
