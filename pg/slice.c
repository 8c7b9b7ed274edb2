/*
 * A table as the source. Its rows are read a slice at a time, a range of ctid or of a key, as lines
 * of COPY text that the target reads as they are: our settings make the text of a value exact.
 *
 * A range of ctid is found without an index since PostgreSQL 14. The rows of a partitioned table,
 * and of inheritance, are read table by table.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define TID_RANGE_VERSION 140000        /* the first server that scans a range of ctid */
#define KEY_ROW_BYTES 1024              /* a row's share of from_slice, where rows have a key */
#define PARTS_MAX 16                    /* sorted ones in a statement */
/* The work_mem with which so many bytes of a table are sorted in memory: short rows take up to
 * three times as much there. */
#define SORT_KBYTES(bytes) (4 * (bytes) / 1024 + 1024)

/* ---- what it is */

static struct span after_dot(const char *name, struct span *schema)
{
	const char *dot = strchr(name, '.');

	*schema = (struct span){ name, dot ? (size_t)(dot - name) : 0 };
	return span_of(dot ? dot + 1 : name);
}

/* Finds from_table by the role's search_path. */
static int find_oid(struct pq *src, const struct conf *c, int64_t *oid, struct err *e)
{
	struct buf sql = { 0 };
	struct span schema, name = after_dot(c->from_table, &schema);

	buf_str(&sql, "SELECT coalesce(");
	buf_regclass(&sql, schema, name);
	buf_str(&sql, ", 0::pg_catalog.oid)::pg_catalog.int8");
	if (pq_query(src, buf_cstr(&sql), e) == 0)
		*oid = pq_int(src, 0, 0, 0);
	buf_free(&sql);
	if (!e->code && !*oid)
		err_set(e, ERR_SHAPE, "src_db has no table %s, which from_table names",
			c->from_table);
	return e->code;
}

static const char table_sql[] =
	"SELECT n.nspname || '.' || c.relname, current_setting('block_size'),"
	" (SELECT string_agg(attname, ',' ORDER BY o) FROM pg_index i,"
	" unnest(i.indkey::int2[]) WITH ORDINALITY k (num, o) JOIN pg_attribute a"
	" ON a.attnum = k.num WHERE a.attrelid = c.oid AND i.indrelid = c.oid AND indisprimary),"
	" format('%I.%I', n.nspname, c.relname)"
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ";

static int find_table(struct pq *src, int64_t oid, struct slice_source *s, struct err *e)
{
	struct buf sql = { 0 }, type = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "%s%" PRId64, table_sql, oid);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	const char *pkey = pq_value(src, 0, 2);
	s->oid = oid;
	s->name = mem_text(pq_value(src, 0, 0));
	s->sql = mem_text(pq_value(src, 0, 3));
	s->block_bytes = pq_int(src, 0, 1, 0);
	buf_fmt(&type, "I:%s", pkey ? pkey : "");
	buf_cstr(&type);
	s->ev_type = type.p;
	return 0;
}

static int find_columns(struct pq *src, int64_t oid, struct slice_source *s, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname, (typcategory IN ('A', 'C'))::int4"
		" FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid WHERE attrelid = %" PRId64
		" AND attnum > 0 AND NOT attisdropped ORDER BY attnum", oid);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	s->ncolumn = (size_t)pq_rows(src);
	s->column = mem_alloc((s->ncolumn + 1) * sizeof *s->column);
	s->nested = mem_alloc((s->ncolumn + 1) * sizeof *s->nested);
	for (size_t i = 0; i < s->ncolumn; i++) {
		s->column[i] = span_of(mem_text(pq_value(src, (int)i, 0)));
		s->nested[i] = pq_int(src, (int)i, 1, 0);
	}
	return 0;
}

/* The table itself, with the tables below it if rows are read by ctid. A key reads them all. */
static const char leaves_sql[] =
	"WITH RECURSIVE t (oid) AS (SELECT %" PRId64 "::oid"
	" UNION SELECT inhrelid FROM pg_inherits JOIN t ON inhparent = t.oid),"
	" s AS (SELECT c.oid, relname, relkind, reltuples, nspname,"
	" CASE WHEN relkind IN ('r', 'm') THEN pg_table_size(c.oid)"
	" ELSE 0 END AS bytes FROM t JOIN pg_class c ON c.oid = t.oid"
	" JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind <> 'p' OR %s)"
	" SELECT oid::int8, coalesce(pg_relation_filenode(oid), 0)::int8,"
	" nspname || '.' || relname, format('%%I.%%I', nspname, relname),"
	" CASE WHEN relkind = 'r' THEN pg_relation_size(oid) /"
	" current_setting('block_size')::int8 ELSE -1 END,"
	" %s, %s FROM s WHERE %s ORDER BY 3";

static int find_leaves(struct pq *src, int64_t oid, struct slice_source *s, bool key,
	struct err *e)
{
	struct buf sql = { 0 }, root = { 0 };

	buf_fmt(&root, "oid = %" PRId64, oid);
	buf_str(&sql, PQ_OWN_PATH);
	buf_fmt(&sql, leaves_sql, oid, key ? "true" : "false",
		key ? "(SELECT sum(bytes) FROM s)::int8" : "bytes",
		key ? "(SELECT sum(reltuples) FROM s)" : "reltuples",
		key ? buf_cstr(&root) : "true");
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	buf_free(&root);
	if (rc < 0)
		return rc;
	s->n = (size_t)pq_rows(src);
	s->table = mem_alloc((s->n + 1) * sizeof *s->table);
	for (int i = 0; i < (int)s->n; i++)
		s->table[i] = (struct slice_table){
			.oid = pq_int(src, i, 0, 0), .filenode = pq_int(src, i, 1, 0),
			.name = mem_text(pq_value(src, i, 2)), .sql = mem_text(pq_value(src, i, 3)),
			.blocks = pq_int(src, i, 4, 0), .bytes = pq_int(src, i, 5, 0),
			.rows = strtod(pq_value(src, i, 6), NULL),
		};
	return 0;
}

/* Rows without a value of the key would be missed. */
static int refuse_nulls(struct pq *src, const struct conf *c, const struct slice_source *s,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT 1 FROM %s WHERE %s IS NULL", s->table->sql, s->key);
	if (c->from_where)
		buf_fmt(&sql, " AND (%s)", c->from_where);
	buf_str(&sql, " LIMIT 1");
	if (pq_query(src, buf_cstr(&sql), e) == 0 && pq_rows(src))
		err_set(e, ERR_SHAPE, "%s has rows whose from_key = %s is NULL: choose a column"
			" without NULLs, or leave them out by from_where", s->name, c->from_key);
	buf_free(&sql);
	return e->code;
}

/* The type is named without a length, and so that a cast to it does not shorten: character does. */
static int find_key(struct pq *src, const struct conf *c, int64_t oid, struct slice_source *s,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT quote_ident(attname), format_type(atttypid, -1)"
		" FROM pg_attribute WHERE attrelid = %" PRId64 " AND attnum > 0 AND attname = ",
		oid);
	buf_literal(&sql, span_of(c->from_key));
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	if (!pq_rows(src))
		return err_set(e, ERR_SHAPE, "%s has no column %s, which from_key names", s->name,
			c->from_key);
	s->key = mem_text(pq_value(src, 0, 0));
	s->key_type = mem_text(pq_value(src, 0, 1));
	return refuse_nulls(src, c, s, e);
}

/* Without a key: can the rows be read by ctid? */
static int check_ctid(const struct pq *src, const struct slice_source *s, struct err *e)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->table[i].blocks < 0)
			return err_set(e, ERR_SHAPE, "%s is a view or a foreign table: set"
				" from_key, an indexed column without NULLs, by which its rows"
				" are divided", s->table[i].name);
	if (pq_server(src)->version < TID_RANGE_VERSION)
		return err_set(e, ERR_SHAPE, "src_db is older than PostgreSQL 14, which reads a"
			" range of blocks: set from_key, an indexed column without NULLs, by"
			" which the rows are divided");
	return 0;
}

int slice_find(struct pq *src, const struct conf *c, struct slice_source *s, struct err *e)
{
	int64_t oid = 0;

	if (find_oid(src, c, &oid, e) < 0 || find_table(src, oid, s, e) < 0 ||
	    find_columns(src, oid, s, e) < 0 || find_leaves(src, oid, s, c->from_key, e) < 0)
		return e->code;
	return c->from_key ? find_key(src, c, oid, s, e) : check_ctid(src, s, e);
}

void slice_free(struct slice_source *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->table[i].name);
		free(s->table[i].sql);
	}
	for (size_t i = 0; i < s->ncolumn; i++)
		free((char *)(uintptr_t)s->column[i].p);
	free(s->table);
	free(s->column);
	free(s->nested);
	free(s->name);
	free(s->sql);
	free(s->ev_type);
	free(s->key);
	free(s->key_type);
	*s = (struct slice_source){ 0 };
}

/* ---- types */

/* Functions look at what is there now, a query at what the snapshot sees. */
static void add_file(struct buf *sql, const struct slice_table *t)
{
	struct buf name = { 0 };

	buf_literal(&name, span_of(t->sql));
	buf_fmt(sql, "(%s::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8, coalesce("
		"pg_catalog.pg_relation_filenode(%s::pg_catalog.regclass), 0::pg_catalog.oid)"
		"::pg_catalog.int8, coalesce((SELECT relfilenode FROM pg_catalog.pg_class WHERE oid"
		PQ_OWN("=") "%s::pg_catalog.regclass), 0::pg_catalog.oid)::pg_catalog.int8)",
		buf_cstr(&name), name.p, name.p);
	buf_free(&name);
}

int slice_lock(struct pq *src, const struct slice_table *t, size_t n, struct slice_file *now,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "LOCK TABLE ");
	for (size_t i = 0; i < n; i++)
		buf_fmt(&sql, "%sONLY %s", i ? ", " : "", t[i].sql);
	buf_str(&sql, " IN ACCESS SHARE MODE; VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(&sql, i ? ", " : "");
		add_file(&sql, &t[i]);
	}
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	for (size_t i = 0; rc == 0 && i < n; i++)
		now[i] = (struct slice_file){
			.oid = pq_int(src, (int)i, 0, 0), .filenode = pq_int(src, (int)i, 1, 0),
			.seen = pq_int(src, (int)i, 2, 0),
		};
	return rc;
}

/* Appends rows of name, oid of the type, number. */
static void add_wanted(struct buf *sql, const struct span *column, const int64_t *type, size_t n)
{
	buf_str(sql, "(VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? ", (" : "(");
		buf_literal(sql, column[i]);
		buf_fmt(sql, "::pg_catalog.name, %" PRId64 "::pg_catalog.int8::pg_catalog.oid,"
			" %zu)", type ? type[i] : 0, i);
	}
	buf_str(sql, ") w (name, type, i)");
}

#define COLUMN_OF "a.attname" PQ_OWN("=") "w.name AND a.attnum" PQ_OWN(">") "0" \
	" AND NOT a.attisdropped AND a.attrelid" PQ_OWN("=")

int slice_types(struct pq *q, int64_t table, const struct span *column, size_t n, int64_t *type,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT coalesce(a.atttypid, 0::pg_catalog.oid)::pg_catalog.int8 FROM ");
	add_wanted(&sql, column, NULL, n);
	buf_fmt(&sql, " LEFT JOIN pg_catalog.pg_attribute a ON " COLUMN_OF "%" PRId64
		"::pg_catalog.int8::pg_catalog.oid ORDER BY w.i", table);
	int rc = pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	for (size_t i = 0; rc == 0 && i < n; i++)
		type[i] = pq_int(q, (int)i, 0, 0);
	return rc;
}

/* Built-in types but those that hold an oid of this database, or depend on its locale or encoding:
 * reg..., oid, money, xml, "char", and what has no binary form. */
bool slice_is_portable(int64_t type)
{
	static const int64_t portable[] = {
		16, 17, 20, 21, 23, 25, 114, 700, 701, 869, 650, 829, 774, 1042, 1043, 1082, 1083,
		1114, 1184, 1186, 1266, 1560, 1562, 1700, 2950, 3802, 600, 601, 602, 603, 604, 628,
		718, 3904, 3906, 3908, 3910, 3912, 3926, 1000, 1001, 1005, 1007, 1016, 1009, 1015,
		1021, 1022, 1231, 1182, 1115, 1185, 1187, 2951, 3807, 199, 1041,
	};

	for (size_t i = 0; i < sizeof portable / sizeof *portable; i++)
		if (portable[i] == type)
			return true;
	return false;
}

/* Counts by table, since looking for each column of each table takes four times as long. */
int slice_fits(struct pq *dst, const struct dest *d, const struct tally *tables,
	const struct span *column, size_t n, const int64_t *type, bool *yes, struct err *e)
{
	struct buf sql = { 0 };
	size_t wanted = 0;

	for (size_t i = 0; i < n; i++)
		wanted += type[i] != 0;
	*yes = true;
	if (!tables->n)
		return 0;
	buf_str(&sql, "SELECT 1 FROM pg_catalog.unnest(ARRAY[");
	for (size_t i = 0; i < tables->n; i++) {
		buf_str(&sql, i ? ", " : "");
		buf_regclass(&sql, d->schema, span_of(tables->at[i].name));
	}
	buf_str(&sql, "]) t (oid) LEFT JOIN (pg_catalog.pg_attribute a JOIN ");
	add_wanted(&sql, column, type, n);
	buf_fmt(&sql, " ON a.attname" PQ_OWN("=") "w.name AND a.atttypid" PQ_OWN("=") "w.type)"
		" ON a.attrelid" PQ_OWN("=") "t.oid AND a.attnum" PQ_OWN(">") "0"
		" AND NOT a.attisdropped GROUP BY t.oid HAVING pg_catalog.count(w.i)"
		PQ_OWN("<>") "%zu LIMIT 1", wanted);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*yes = pq_rows(dst) == 0;
	buf_free(&sql);
	return e->code;
}

/* ---- the transaction */

/* row_security: rows that a policy hides are an error, not missing. */
int slice_begin(struct pq *src, const char *snapshot, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;");
	if (*snapshot) {
		buf_str(&sql, "SET TRANSACTION SNAPSHOT ");
		buf_literal(&sql, span_of(snapshot));
		buf_str(&sql, ";");
	}
	buf_str(&sql, "SET LOCAL client_min_messages = error; SET LOCAL row_security = off;"
		"SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = postgres;"
		"SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = hex;");
	pq_add_settings(&sql, src, DATA_LOCK_TIMEOUT_MS);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

int slice_export(struct pq *src, char *snapshot, size_t size, struct err *e)
{
	if (pq_query(src, "SELECT pg_catalog.pg_export_snapshot()", e) == 0)
		snprintf(snapshot, size, "%s", pq_value(src, 0, 0));
	return e->code;
}

char *slice_txids(struct pq *src, struct err *e)
{
	int rc = pq_query(src, "SELECT pg_catalog.txid_current_snapshot()", e);

	return rc == 0 ? mem_text(pq_value(src, 0, 0)) : NULL;
}

/* ---- a slice's rows */

static bool is_bound(const char *at)
{
	return at && *at && strcmp(at, SLICE_END) != 0;
}

/* Appends " AND " and the condition, if the bound is one. of_key, of_ctid: the operators. */
static void add_bound(struct buf *sql, const struct slice_query *q, const char *at,
	const char *of_key, const char *of_ctid)
{
	if (!is_bound(at))
		return;
	if (*at == '=') {
		buf_fmt(sql, " AND %s OPERATOR(pg_catalog.%s) ", q->source->key, of_key);
		buf_literal(sql, span_of(at + 1));
		buf_fmt(sql, "::%s", q->source->key_type);
	} else {
		buf_fmt(sql, " AND ctid OPERATOR(pg_catalog.%s) '(%s,0)'::pg_catalog.tid",
			of_ctid, at);
	}
}

/* The rows have an alias: no column has that name. */
static void add_from(struct buf *sql, const struct slice_query *q)
{
	if (q->sample > 0)
		buf_fmt(sql, " FROM %s tdispatch_row", q->source->sql);
	else
		buf_fmt(sql, " FROM %s%s tdispatch_row", q->source->key ? "" : "ONLY ",
			q->table->sql);
	if (q->sample > 0 && q->sample < 100 && !q->source->key)
		buf_fmt(sql, " TABLESAMPLE SYSTEM (%.6f)", q->sample);
	buf_str(sql, " WHERE true");
	add_bound(sql, q, q->from, ">", ">=");
	add_bound(sql, q, q->to, "<=", "<");
	if (q->where)
		buf_fmt(sql, " AND (%s)", q->where);
	if (q->most)
		buf_fmt(sql, " LIMIT %" PRId64, q->most);
}

/* Rows of a key have no number of their own: they are counted in an order that does not depend on
 * how they are read. */
static void add_id(struct buf *sql, const struct slice_query *q)
{
	if (q->source->key)
		buf_fmt(sql, "pg_catalog.row_number() OVER (ORDER BY %s,"
			" tdispatch_row::pg_catalog.text)", q->source->key);
	else
		buf_str(sql, "(ctid::pg_catalog.text::pg_catalog.point)[0]::pg_catalog.int8"
			PQ_OWN("*") "65536" PQ_OWN("+")
			"(ctid::pg_catalog.text::pg_catalog.point)[1]::pg_catalog.int8");
}

static char *end_by_key(struct pq *src, const struct slice_query *q, int64_t rows, struct err *e)
{
	struct buf sql = { 0 }, end = { 0 };

	buf_fmt(&sql, "SELECT k::pg_catalog.text FROM (SELECT %s AS k", q->source->key);
	add_from(&sql, q);
	buf_fmt(&sql, " ORDER BY 1 USING OPERATOR(pg_catalog.<) OFFSET %" PRId64
		" LIMIT 1) x", rows > 1 ? rows - 1 : 0);
	if (pq_query(src, buf_cstr(&sql), e) == 0) {
		buf_fmt(&end, "%s%s", pq_rows(src) ? "=" : SLICE_END,
			pq_rows(src) ? pq_value(src, 0, 0) : "");
		buf_cstr(&end);
	}
	buf_free(&sql);
	return end.p;
}

char *slice_end(struct pq *src, const struct slice_query *q, int64_t bytes, struct err *e)
{
	struct buf end = { 0 };

	if (q->source->key)
		return end_by_key(src, q, bytes / KEY_ROW_BYTES, e);
	int64_t blocks = bytes / q->source->block_bytes;
	int64_t to = strtoll(q->from, NULL, 10) + (blocks > 1 ? blocks : 1);
	if (to < q->table->blocks)
		buf_fmt(&end, "%" PRId64, to);
	else
		buf_str(&end, SLICE_END);
	buf_cstr(&end);
	return end.p;
}

bool slice_at_end(const struct slice_query *q, const struct slice_at *at)
{
	return at->table > q->more;
}

/* Of the table at hand, behind *at: as far as it is known. */
static int64_t blocks_left(const struct slice_query *q, struct slice_at *at)
{
	bool bound = !at->table && is_bound(q->to);

	if (!at->table && !at->block && is_bound(q->from))
		at->block = strtoll(q->from, NULL, 10);
	int64_t end = bound ? strtoll(q->to, NULL, 10) : q->table[at->table].blocks;
	return end > at->block ? end - at->block : 0;
}

/* Appends a SELECT of up to n blocks of one table from *at on, which goes behind them; returns how
 * many. A table that ends in the slice may have grown: its last SELECT has no upper bound. `known`:
 * what it has grown by, if anything, is left to one more. */
static int64_t add_select(struct buf *sql, const struct slice_query *q, struct slice_at *at,
	int64_t n, bool known, const char *columns)
{
	struct slice_query part = *q;
	char from[24], to[24];
	int64_t left = blocks_left(q, at);
	bool last = n >= left - left / 8;       /* or a small part would be left */
	bool ends = last && !(known && left && (at->table || !is_bound(q->to)));

	part.table += at->table;
	if (at->table)
		part.from = part.to = NULL;
	n = last ? left : n;
	snprintf(from, sizeof from, "%" PRId64, at->block);
	snprintf(to, sizeof to, "%" PRId64, at->block + n);
	part.from = at->block ? from : part.from;
	part.to = ends ? part.to : to;
	buf_fmt(sql, "SELECT %s", columns);
	add_from(sql, &part);
	at->block = ends ? 0 : at->block + n;
	at->table += ends;
	return n;
}

/* The same of all the slice's tables. */
static void add_selects(struct buf *sql, const struct slice_query *q, struct slice_at *at,
	int64_t n, const char *columns)
{
	for (const char *also = ""; n > 0 && !slice_at_end(q, at); also = " UNION ALL ") {
		buf_str(sql, also);
		n -= add_select(sql, q, at, n, false, columns);
	}
}

int slice_read(struct pq *src, const struct slice_query *q, const char *columns,
	const char *without, bool binary, struct err *e)
{
	struct buf sql = { 0 };
	struct slice_at at = { 0 };

	buf_str(&sql, "COPY (");
	if (without) {
		buf_str(&sql, "SELECT * FROM (SELECT ");
		add_id(&sql, q);
		buf_fmt(&sql, " AS \"tdispatch.id\", %s", columns);
		add_from(&sql, q);
		buf_fmt(&sql, ") q WHERE \"tdispatch.id\"" PQ_OWN("<>") "ALL ('{%s}'"
			"::pg_catalog.int8[])", without);
	} else {
		add_selects(&sql, q, &at, INT64_MAX, columns);
	}
	buf_fmt(&sql, ") TO STDOUT%s", binary ? " (FORMAT binary)" : "");
	int rc = pq_copy_out(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

/* OFFSET 0: an index on the column, which would be read as a whole for each part, is not used, and
 * no other process helps. */
static void add_sorted(struct buf *sql, const struct slice_query *q, struct slice_at *at,
	int64_t n, struct span by, const char *columns)
{
	buf_fmt(sql, "SELECT %s FROM (SELECT * FROM (", columns);
	add_select(sql, q, at, n, true, "tdispatch_row.*");
	buf_str(sql, " OFFSET 0) tdispatch_row ORDER BY tdispatch_row.");
	buf_ident(sql, by);
	buf_str(sql, " USING OPERATOR(pg_catalog.<)) tdispatch_row");
}

/* Parts that are sorted are asked for together, so that the server sorts one while rows of the one
 * before are on their way. Nobody knows how much a table has grown by: that is not sorted. */
int slice_ask(struct pq *src, const struct slice_query *q, struct slice_at *at, int64_t bytes,
	struct span by, const char *columns, bool binary, struct err *e)
{
	int64_t blocks = bytes / q->source->block_bytes, n = blocks > 1 ? blocks : 1;
	struct buf sql = { 0 };

	if (by.p)
		buf_fmt(&sql, "SET LOCAL work_mem = %" PRId64 "; SET LOCAL"
			" max_parallel_workers_per_gather = 0; ", SORT_KBYTES(bytes));
	for (int i = 0; !slice_at_end(q, at) && i < (by.p ? PARTS_MAX : 1); i++) {
		buf_str(&sql, i ? "; COPY (" : "COPY (");
		if (!by.p)
			add_selects(&sql, q, at, n, columns);
		else if (blocks_left(q, at))
			add_sorted(&sql, q, at, n, by, columns);
		else
			add_select(&sql, q, at, n, false, columns);
		buf_str(&sql, binary ? ") TO STDOUT (FORMAT binary)" : ") TO STDOUT");
	}
	int rc = pq_copy_out_ask(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

int slice_row(struct pq *src, struct span *row, struct err *e)
{
	return pq_copy_row(src, row, e);
}

/* ---- its dead letters */

/* The row as JSON. What JSON would nest is text there, which the target reads again. */
static void add_json(struct buf *sql, const struct slice_source *s)
{
	buf_str(sql, "(SELECT pg_catalog.row_to_json(x)::pg_catalog.text FROM (SELECT ");
	for (size_t i = 0; i < s->ncolumn; i++) {
		buf_str(sql, i ? ", tdispatch_row." : "tdispatch_row.");
		buf_ident(sql, s->column[i]);
		buf_str(sql, s->nested[i] ? "::pg_catalog.text AS " : " AS ");
		buf_ident(sql, s->column[i]);
	}
	buf_str(sql, ") x) AS ev_data, ");
}

char *slice_event_sql(const struct slice_query *q)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT ");
	add_id(&sql, q);
	buf_str(&sql, " AS ev_id, pg_catalog.now() AS ev_time, ");
	buf_literal(&sql, span_of(q->source->ev_type));
	buf_str(&sql, "::pg_catalog.text AS ev_type, ");
	add_json(&sql, q->source);
	buf_literal(&sql, span_of(q->source->name));
	buf_str(&sql, "::pg_catalog.text AS ev_extra1, NULL::pg_catalog.int8 AS ev_txid,"
		" NULL::pg_catalog.int4 AS ev_retry, ");
	buf_literal(&sql, span_of(q->table->name));
	buf_fmt(&sql, "::pg_catalog.text AS ev_extra2, %s::pg_catalog.text AS ev_extra3,"
		" NULL::pg_catalog.text AS ev_extra4", q->source->key ? q->source->key : "ctid");
	add_from(&sql, q);
	buf_cstr(&sql);
	return sql.p;
}

int slice_read_some(struct pq *src, const char *event_sql, const char *more, const char *ids,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "COPY (SELECT ev_id, ev_time, ev_type, ev_data, ev_extra1%s FROM (%s) e"
		" WHERE ev_id" PQ_OWN("=") "ANY ('{%s}'::pg_catalog.int8[])) TO STDOUT", more,
		event_sql, ids);
	int rc = pq_copy_out(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}
