/*
 * A slice of a table: a range of ctid or of a key, and the transaction in which its rows are read,
 * as lines of COPY text that the target reads as they are: our settings make the text of a value
 * exact.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define KEY_ROW_BYTES 1024              /* a row's share of from_slice, where rows have a key */

/* ---- the transaction */

#define TWIN_LOCK_TIMEOUT_MS 1000       /* it may queue behind who waits for src's own lock */

/* Appends `SET what` to that value. */
static void add_set(struct buf *sql, const char *what, const char *value)
{
	buf_fmt(sql, "SET %s ", what);
	buf_literal(sql, span_of(value));
	buf_str(sql, ";");
}

/* row_security: rows that a policy hides are an error, not missing. */
static void add_begin(struct buf *sql, const struct pq *src, const char *snapshot,
	int lock_timeout_ms)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;");
	if (*snapshot)
		add_set(sql, "TRANSACTION SNAPSHOT", snapshot);
	buf_str(sql, "SET LOCAL client_min_messages = error; SET LOCAL row_security = off;"
		"SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = postgres;"
		"SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = hex;");
	pq_add_settings(sql, src, lock_timeout_ms);
}

int slice_begin(struct pq *src, const char *snapshot, struct err *e)
{
	struct buf sql = { 0 };

	add_begin(&sql, src, snapshot, DATA_LOCK_TIMEOUT_MS);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

int slice_twin(struct pq *src, struct buf *sql, struct err *e)
{
	if (pq_query(src, "SELECT pg_catalog.pg_export_snapshot(),"
	    " pg_catalog.current_setting('client_encoding'),"
	    " pg_catalog.current_setting('TimeZone'),"
	    " pg_catalog.current_setting('lc_monetary')", e) < 0)
		return e->code;
	add_begin(sql, src, pq_value(src, 0, 0), TWIN_LOCK_TIMEOUT_MS);
	add_set(sql, "LOCAL client_encoding TO", pq_value(src, 0, 1));
	add_set(sql, "LOCAL TimeZone TO", pq_value(src, 0, 2));
	add_set(sql, "LOCAL lc_monetary TO", pq_value(src, 0, 3));
	return 0;
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

/* ---- its rows */

bool slice_is_bound(const char *at)
{
	return at && *at && strcmp(at, SLICE_END) != 0;
}

/* Appends " AND " and the condition, if the bound is one. of_key, of_ctid: the operators. */
static void add_bound(struct buf *sql, const struct slice_query *q, const char *at,
	const char *of_key, const char *of_ctid)
{
	if (!slice_is_bound(at))
		return;
	if (*at == '=') {
		buf_fmt(sql, " AND %s OPERATOR(pg_catalog.%s) ", q->origin->key, of_key);
		buf_literal(sql, span_of(at + 1));
		buf_fmt(sql, "::%s", q->origin->key_type);
	} else {
		buf_fmt(sql, " AND ctid OPERATOR(pg_catalog.%s) '(%s,0)'::pg_catalog.tid",
			of_ctid, at);
	}
}

void slice_add_from(struct buf *sql, const struct slice_query *q)
{
	if (q->sample > 0)
		buf_fmt(sql, " FROM %s tdispatch_row", q->origin->sql);
	else
		buf_fmt(sql, " FROM %s%s tdispatch_row", q->origin->key ? "" : "ONLY ",
			q->table->sql);
	if (q->sample > 0 && q->sample < 100 && !q->origin->key)
		buf_fmt(sql, " TABLESAMPLE SYSTEM (%.6f)", q->sample);
	buf_str(sql, " WHERE true");
	add_bound(sql, q, q->from, ">", ">=");
	add_bound(sql, q, q->to, "<=", "<");
	if (q->where)
		buf_fmt(sql, " AND (%s\n)", q->where);
	if (q->most)
		buf_fmt(sql, " LIMIT %" PRId64, q->most);
}

/* Rows of a key have no number of their own: they are counted in an order that does not depend on
 * how they are read. */
void slice_add_id(struct buf *sql, const struct slice_query *q)
{
	if (q->origin->key)
		buf_fmt(sql, "pg_catalog.row_number() OVER (ORDER BY %s,"
			" tdispatch_row::pg_catalog.text)", q->origin->key);
	else
		buf_str(sql, "(ctid::pg_catalog.text::pg_catalog.point)[0]::pg_catalog.int8"
			PQ_OWN("*") "65536" PQ_OWN("+")
			"(ctid::pg_catalog.text::pg_catalog.point)[1]::pg_catalog.int8");
}

static char *end_by_key(struct pq *src, const struct slice_query *q, int64_t rows, struct err *e)
{
	struct buf sql = { 0 }, end = { 0 };

	buf_fmt(&sql, "SELECT k::pg_catalog.text FROM (SELECT %s AS k", q->origin->key);
	slice_add_from(&sql, q);
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

	if (q->origin->key)
		return end_by_key(src, q, bytes / KEY_ROW_BYTES, e);
	int64_t blocks = bytes / q->origin->block_bytes;
	int64_t to = strtoll(q->from, NULL, 10) + (blocks > 1 ? blocks : 1);
	if (to < q->table->blocks)
		buf_fmt(&end, "%" PRId64, to);
	else
		buf_str(&end, SLICE_END);
	buf_cstr(&end);
	return end.p;
}

/* ---- its dead letters */

/* The row as JSON. What JSON would nest is text there, which the target reads again. */
static void add_json(struct buf *sql, const struct origin *s)
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
	slice_add_id(&sql, q);
	buf_str(&sql, " AS ev_id, pg_catalog.now() AS ev_time, ");
	buf_literal(&sql, span_of(q->origin->ev_type));
	buf_str(&sql, "::pg_catalog.text AS ev_type, ");
	add_json(&sql, q->origin);
	buf_literal(&sql, span_of(q->origin->name));
	buf_str(&sql, "::pg_catalog.text AS ev_extra1, NULL::pg_catalog.int8 AS ev_txid,"
		" NULL::pg_catalog.int4 AS ev_retry, ");
	buf_literal(&sql, span_of(q->table->name));
	buf_fmt(&sql, "::pg_catalog.text AS ev_extra2, %s::pg_catalog.text AS ev_extra3,"
		" NULL::pg_catalog.text AS ev_extra4", q->origin->key ? q->origin->key : "ctid");
	slice_add_from(&sql, q);
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
