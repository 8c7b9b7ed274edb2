/*
 * A table as the source: its columns, and the tables that hold its rows. Those of a partitioned
 * table, and of inheritance, are read table by table. They are read by ranges of ctid, which are
 * found without an index since PostgreSQL 14, or of a key.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define TID_RANGE_VERSION 140000        /* the first server that scans a range of ctid */

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
	" format('%I.%I', n.nspname, c.relname), (relkind IN ('r', 'p', 'v', 'm', 'f'))::int4"
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ";

static int find_table(struct pq *src, int64_t oid, struct origin *o, struct err *e)
{
	struct buf sql = { 0 }, type = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "%s%" PRId64, table_sql, oid);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	const char *pkey = pq_value(src, 0, 2);
	o->oid = oid;
	o->name = mem_text(pq_value(src, 0, 0));
	if (!pq_int(src, 0, 4, 0))
		return err_set(e, ERR_SHAPE, "%s, which from_table names, is no table or view",
			o->name);
	o->sql = mem_text(pq_value(src, 0, 3));
	o->block_bytes = pq_int(src, 0, 1, 0);
	buf_fmt(&type, "I:%s", pkey ? pkey : "");
	buf_cstr(&type);
	o->ev_type = type.p;
	return 0;
}

static int find_columns(struct pq *src, int64_t oid, struct origin *o, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname, (typcategory IN ('A', 'C'))::int4"
		" FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid WHERE attrelid = %" PRId64
		" AND attnum > 0 AND NOT attisdropped ORDER BY attnum", oid);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	o->ncolumn = (size_t)pq_rows(src);
	o->column = mem_alloc((o->ncolumn + 1) * sizeof *o->column);
	o->nested = mem_alloc((o->ncolumn + 1) * sizeof *o->nested);
	for (size_t i = 0; i < o->ncolumn; i++) {
		o->column[i] = span_of(mem_text(pq_value(src, (int)i, 0)));
		o->nested[i] = pq_int(src, (int)i, 1, 0);
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

static int64_t hash_columns(const struct origin *o)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < o->ncolumn; i++)
		buf_ident(&text, o->column[i]);
	uint64_t hash = span_hash("tdispatch columns", (struct span){ text.p, text.len });
	buf_free(&text);
	return (int64_t)(hash >> 8);
}

static int find_leaves(struct pq *src, int64_t oid, struct origin *o, bool key,
	struct err *e)
{
	struct buf sql = { 0 }, root = { 0 };
	int64_t columns = hash_columns(o);

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
	o->n = (size_t)pq_rows(src);
	o->table = mem_alloc((o->n + 1) * sizeof *o->table);
	for (int i = 0; i < (int)o->n; i++)
		o->table[i] = (struct origin_table){
			.oid = pq_int(src, i, 0, 0), .filenode = pq_int(src, i, 1, 0),
			.name = mem_text(pq_value(src, i, 2)), .sql = mem_text(pq_value(src, i, 3)),
			.blocks = pq_int(src, i, 4, 0), .bytes = pq_int(src, i, 5, 0),
			.rows = strtod(pq_value(src, i, 6), NULL), .columns = columns,
		};
	return 0;
}

/* The type is named without a length, and so that a cast to it does not shorten: character does. */
static int find_key(struct pq *src, const struct conf *c, int64_t oid, struct origin *o,
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
		return err_set(e, ERR_SHAPE, "%s has no column %s, which from_key names", o->name,
			c->from_key);
	o->key = mem_text(pq_value(src, 0, 0));
	o->key_type = mem_text(pq_value(src, 0, 1));
	return 0;
}

/* Without a key: can the rows be read by ctid? */
static int check_ctid(const struct pq *src, const struct origin *o, struct err *e)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->table[i].blocks < 0)
			return err_set(e, ERR_SHAPE, "%s is a view or a foreign table: set"
				" from_key, an indexed column without NULLs, by which its rows"
				" are divided", o->table[i].name);
	if (pq_server(src)->version < TID_RANGE_VERSION)
		return err_set(e, ERR_SHAPE, "src_db is older than PostgreSQL 14, which reads a"
			" range of blocks: set from_key, an indexed column without NULLs, by"
			" which the rows are divided");
	return 0;
}

int origin_find(struct pq *src, const struct conf *c, struct origin *o, struct err *e)
{
	int64_t oid = 0;

	if (find_oid(src, c, &oid, e) < 0 || find_table(src, oid, o, e) < 0 ||
	    find_columns(src, oid, o, e) < 0 || find_leaves(src, oid, o, c->from_key, e) < 0)
		return e->code;
	return c->from_key ? find_key(src, c, oid, o, e) : check_ctid(src, o, e);
}

/* ---- what is asked before rows are read */

/* Asks for no row: is from_where a condition, all of it, and does no policy hide rows? Within CASE
 * a parenthesis too many is an error. */
static int check_rows(struct pq *src, const struct conf *c, const struct origin *o, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SET LOCAL row_security = off; SELECT 1 FROM %s tdispatch_row", o->sql);
	if (c->from_where)
		buf_fmt(&sql, " WHERE CASE WHEN %s\nTHEN true END", c->from_where);
	buf_str(&sql, " LIMIT 0");
	pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (c->from_where && strncmp(e->sqlstate, "42", 2) == 0 &&
	    !sqlstate_is(e->sqlstate, SQLSTATE_DENIED))
		err_add(e, "; it is about from_where, a condition as behind WHERE");
	return e->code;
}

/* Rows without a value of the key would be missed. */
static int refuse_nulls(struct pq *src, const struct conf *c, const struct origin *o,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT 1 FROM %s WHERE %s IS NULL", o->table->sql, o->key);
	if (c->from_where)
		buf_fmt(&sql, " AND (%s\n)", c->from_where);
	buf_str(&sql, " LIMIT 1");
	if (pq_query(src, buf_cstr(&sql), e) == 0 && pq_rows(src))
		err_set(e, ERR_SHAPE, "%s has rows whose from_key = %s is NULL: choose a column"
			" without NULLs, or leave them out by from_where", o->name, c->from_key);
	buf_free(&sql);
	return e->code;
}

/* Of inheritance: as a query for the parent, which has none of them. */
static const char more_columns_sql[] =
	"WITH RECURSIVE t (oid) AS (SELECT %" PRId64 "::oid"
	" UNION SELECT inhrelid FROM pg_inherits JOIN t ON inhparent = t.oid)"
	" SELECT string_agg(DISTINCT format('%%s.%%s', attrelid::regclass, attname), ', ')"
	" FROM pg_attribute a JOIN t ON attrelid = t.oid WHERE attnum > 0 AND NOT attisdropped"
	" AND NOT EXISTS (SELECT 1 FROM pg_attribute r WHERE r.attrelid = %" PRId64
	" AND r.attname = a.attname AND r.attnum > 0)";

static int tell_more_columns(struct pq *src, const struct origin *o, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	buf_fmt(&sql, more_columns_sql, o->oid, o->oid);
	if (pq_query(src, buf_cstr(&sql), e) == 0 && pq_value(src, 0, 0))
		log_warn("columns that %s does not have are not copied: %.500s", o->name,
			pq_value(src, 0, 0));
	buf_free(&sql);
	return e->code;
}

#define TREE "SELECT %" PRId64 "::oid UNION SELECT inhrelid FROM pg_inherits"

int origin_meets(struct pq *q, int64_t oid, int64_t other, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH);
	buf_fmt(&sql, "WITH RECURSIVE s (oid) AS (" TREE " JOIN s ON inhparent = s.oid), d (oid) AS"
		" (" TREE " JOIN d ON inhparent = d.oid) SELECT 1 FROM s JOIN d USING (oid)"
		" LIMIT 1", oid, other);
	if (pq_query(q, buf_cstr(&sql), e) == 0)
		*yes = pq_rows(q) > 0;
	buf_free(&sql);
	return e->code;
}

int origin_check(struct pq *src, const struct conf *c, const struct origin *o, struct err *e)
{
	if (check_rows(src, c, o, e) < 0 || (o->key && refuse_nulls(src, c, o, e) < 0))
		return e->code;
	return tell_more_columns(src, o, e);
}

void origin_free(struct origin *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->table[i].name);
		free(o->table[i].sql);
	}
	for (size_t i = 0; i < o->ncolumn; i++)
		free((char *)(uintptr_t)o->column[i].p);
	free(o->table);
	free(o->column);
	free(o->nested);
	free(o->name);
	free(o->sql);
	free(o->ev_type);
	free(o->key);
	free(o->key_type);
	*o = (struct origin){ 0 };
}

struct event origin_event(const struct origin *o)
{
	return (struct event){ .table = span_of(o->name), .type = span_of(o->ev_type) };
}

/* ---- the tables' files */

/* Functions look at what is there now, a query at what the snapshot sees. */
static void add_file(struct buf *sql, const struct origin_table *t)
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

int origin_lock(struct pq *src, const struct origin_table *t, size_t n, struct origin_file *now,
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
		now[i] = (struct origin_file){
			.oid = pq_int(src, (int)i, 0, 0), .filenode = pq_int(src, (int)i, 1, 0),
			.seen = pq_int(src, (int)i, 2, 0),
		};
	return rc;
}

/* Of the relations that our transaction has locked. */
static const char rewritten_sql[] =
	"; SELECT pg_catalog.format('%s.%s', nspname, relname) FROM pg_catalog.pg_locks l"
	" JOIN pg_catalog.pg_class c ON c.oid" PQ_OWN("=") "l.relation"
	" JOIN pg_catalog.pg_namespace n ON n.oid" PQ_OWN("=") "relnamespace"
	" WHERE l.pid" PQ_OWN("=") "pg_catalog.pg_backend_pid() AND l.locktype" PQ_OWN("=")
	"'relation' AND l.database" PQ_OWN("=") "(SELECT oid FROM pg_catalog.pg_database"
	" WHERE datname" PQ_OWN("=") "pg_catalog.current_database())"
	" AND relkind" PQ_OWN("=") "'r' AND relfilenode" PQ_OWN("<>") "0::pg_catalog.oid"
	" AND coalesce(pg_catalog.pg_relation_filenode(c.oid), 0::pg_catalog.oid)"
	PQ_OWN("<>") "relfilenode ORDER BY 1 LIMIT 1";

int origin_lock_all(struct pq *src, const struct origin *o, const char *where, char **rewritten,
	struct err *e)
{
	struct buf sql = { 0 };

	*rewritten = NULL;
	buf_fmt(&sql, "SELECT %s FROM %s tdispatch_row", o->key, o->sql);
	if (where)
		buf_fmt(&sql, " WHERE (%s\n)", where);
	buf_str(&sql, " LIMIT 0");
	buf_str(&sql, rewritten_sql);
	if (pq_query(src, buf_cstr(&sql), e) == 0 && pq_rows(src))
		*rewritten = mem_text(pq_value(src, 0, 0));
	buf_free(&sql);
	return e->code;
}
