/*
 * Reading the rows of a slice by COPY, at once or in pieces, which the server may sort.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "pq.h"

/* The work_mem with which so many bytes of a table are sorted in memory: short rows take up to
 * three times as much there. */
#define SORT_KBYTES(bytes) (4 * (bytes) / 1024 + 1024)

bool scan_at_end(const struct slice_query *q, const struct scan_at *at)
{
	return at->table > q->more;
}

/* Of the table at hand, behind *at, which begins where the slice does: as far as it is known. */
static int64_t blocks_left(const struct slice_query *q, struct scan_at *at)
{
	bool bound = !at->table && slice_is_bound(q->to);

	if (!at->table && !at->block && slice_is_bound(q->from))
		at->block = strtoll(q->from, NULL, 10);
	int64_t end = bound ? strtoll(q->to, NULL, 10) : q->table[at->table].blocks;
	return end > at->block ? end - at->block : 0;
}

/* Appends a SELECT of up to n blocks of one table from *at on, which goes behind them; returns how
 * many. A table that ends in the slice may have grown: its last SELECT has no upper bound. `known`:
 * what it has grown by, if anything, is left to one more. */
static int64_t add_select(struct buf *sql, const struct slice_query *q, struct scan_at *at,
	int64_t n, bool known, const char *columns)
{
	struct slice_query piece = *q;
	char from[24], to[24];
	int64_t left = blocks_left(q, at);
	bool last = n >= left - left / 8;       /* or a small piece would be left */
	bool ends = last && !(known && left && (at->table || !slice_is_bound(q->to)));

	piece.table += at->table;
	if (at->table)
		piece.from = piece.to = NULL;
	n = last ? left : n;
	snprintf(from, sizeof from, "%" PRId64, at->block);
	snprintf(to, sizeof to, "%" PRId64, at->block + n);
	piece.from = at->block ? from : piece.from;
	piece.to = ends ? piece.to : to;
	buf_fmt(sql, "SELECT %s", columns);
	slice_add_from(sql, &piece);
	at->block = ends ? 0 : at->block + n;
	at->table += ends;
	return n;
}

/* The same of all the slice's tables. */
static void add_selects(struct buf *sql, const struct slice_query *q, struct scan_at *at,
	int64_t n, const char *columns)
{
	for (const char *also = ""; n > 0 && !scan_at_end(q, at); also = " UNION ALL ") {
		buf_str(sql, also);
		n -= add_select(sql, q, at, n, false, columns);
	}
}

int scan_read(struct pq *src, const struct slice_query *q, const char *columns,
	const char *without, bool binary, struct err *e)
{
	struct buf sql = { 0 };
	struct scan_at at = { 0 };

	buf_str(&sql, "COPY (");
	if (without) {
		buf_str(&sql, "SELECT * FROM (SELECT ");
		slice_add_id(&sql, q);
		buf_fmt(&sql, " AS \"tdispatch.id\", %s", columns);
		slice_add_from(&sql, q);
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

/* OFFSET 0: an index on the column, which would be read as a whole for each piece, is not used, and
 * no other process helps. */
static void add_sorted(struct buf *sql, const struct slice_query *q, struct scan_at *at,
	int64_t n, struct span by, const char *columns)
{
	buf_fmt(sql, "SELECT %s FROM (SELECT * FROM (", columns);
	add_select(sql, q, at, n, true, "tdispatch_row.*");
	buf_str(sql, " OFFSET 0) tdispatch_row ORDER BY tdispatch_row.");
	buf_ident(sql, by);
	buf_str(sql, " USING OPERATOR(pg_catalog.<)) tdispatch_row");
}

/* Nobody knows how much a table has grown by: that is not sorted. */
void scan_add_piece(struct buf *sql, const struct slice_query *q, struct scan_at *at,
	int64_t bytes, struct span by, const char *columns, bool binary)
{
	int64_t blocks = bytes / q->origin->block_bytes, n = blocks > 1 ? blocks : 1;

	if (by.p)
		buf_fmt(sql, "SET LOCAL work_mem = %" PRId64 "; SET LOCAL"
			" max_parallel_workers_per_gather = 0; ", SORT_KBYTES(bytes));
	buf_str(sql, "COPY (");
	if (!by.p)
		add_selects(sql, q, at, n, columns);
	else if (blocks_left(q, at))
		add_sorted(sql, q, at, n, by, columns);
	else
		add_select(sql, q, at, n, false, columns);
	buf_str(sql, binary ? ") TO STDOUT (FORMAT binary)" : ") TO STDOUT");
}

int scan_ask(struct pq *src, const char *sql, struct err *e)
{
	return pq_copy_out_ask(src, sql, e);
}

int scan_row(struct pq *src, struct span *row, struct err *e)
{
	return pq_copy_row(src, row, e);
}
