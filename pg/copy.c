/*
 * Non-blocking COPY in both directions, and what the error of a failed COPY says about the row.
 */
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

/* ---- COPY out */

#define BINARY_TRAILER "\377\377"       /* after the last: a count of columns, -1 */
#define ROW_ROOM 16384                  /* bytes; a larger row is taken in pieces */
#define ROW_KEPT (1024 * 1024)          /* a larger buffer is freed before the next row */

int pq_copy_out(struct pq *q, const char *sql, struct err *e)
{
	return pq_send(q, sql, e) < 0 ? e->code : pq_copy_out_open(q, e);
}

int pq_copy_out_ask(struct pq *q, const char *sql, struct err *e)
{
	if (pq_send(q, sql, e) < 0)
		return e->code;
	q->state = COPY_OUT_ASKED;
	return 0;
}

/* Takes the answers up to the next COPY, PQ_READY, or to the end of the statement, as far as they
 * have arrived. */
static int copy_out_answer(struct pq *q, struct err *e)
{
	int sent = pq_flush(q, e);

	if (sent < 0 || (q->readable && pq_consume(q, e) < 0))
		return e->code;
	q->readable = false;
	while (sent == PQ_READY && !PQisBusy(q->conn)) {
		PGresult *res = PQgetResult(q->conn);
		ExecStatusType status = PQresultStatus(res);
		bool open = status == PGRES_COPY_OUT, end = !res;
		q->state = open ? COPY_OUT : end ? NO_COPY : COPY_OUT_ASKED;
		if (!open && !end && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
			q->state = NO_COPY;
			pq_failed(q, res, SQLSTATE_STATEMENT, e);
			return pq_drain(q, e);
		}
		q->binary = PQbinaryTuples(res);
		q->header = q->binary ? sizeof BINARY_HEADER : 0;
		PQclear(res);
		q->want = 0;
		if (open || end)
			return open ? PQ_READY : PQ_END;
	}
	q->want |= POLLIN;
	return PQ_WAIT;
}

int pq_copy_out_open(struct pq *q, struct err *e)
{
	int step;

	q->state = COPY_OUT_ASKED;
	while ((step = copy_out_answer(q, e)) == PQ_WAIT)
		if ((step = pq_wait(&q, 1, -1, e)) < 0)
			break;
	if (step < 0)
		q->state = NO_COPY;
	return step == PQ_END ? pq_lost(q, e) : step < 0 ? e->code : 0;
}

static uint32_t big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Does q->row hold a whole row? A line of text ends with a newline, a binary row with its last
 * column. */
static bool row_is_whole(const struct pq *q)
{
	const unsigned char *p = (const unsigned char *)q->row.p + q->header;
	size_t left = q->row.len - q->header;

	if (!q->binary)
		return q->row.p[q->row.len - 1] == '\n';
	unsigned columns = (unsigned)p[0] << 8 | p[1];
	p += 2;
	left -= 2;
	for (unsigned i = 0; i < columns; i++) {
		if (left < 4)
			return false;
		uint32_t n = big_endian(p);
		n = n == UINT32_MAX ? 0 : n;
		if (left - 4 < n)
			return false;
		p += 4 + n;
		left -= 4 + n;
	}
	return true;
}

/* Takes the next message into q->row, with a NUL after it: 1; 0 if none has arrived yet; -1 after
 * the last or on an error, which PQgetResult returns. PQgetlineAsync saves the malloc and free of
 * each row that PQgetCopyData costs; but a piece that fills its room may be the whole message or
 * not. */
static int take_message(struct pq *q)
{
	int n, room;

	if (q->row.cap > ROW_KEPT)
		buf_free(&q->row);
	q->row.len = 0;
	do {
		char *at = buf_reserve(&q->row, ROW_ROOM);
		size_t left = q->row.cap - q->row.len - 1;
		room = left < INT_MAX ? (int)left : INT_MAX;
		n = PQgetlineAsync(q->conn, at, room);
		if (n <= 0)
			return n;
		q->row.len += (size_t)n;
	} while (n == room && !row_is_whole(q));
	q->row.p[q->row.len] = 0;
	return 1;
}

int pq_copy_row(struct pq *q, struct span *row, struct err *e)
{
	if (q->state != COPY_OUT && q->state != COPY_OUT_ASKED)
		return PQ_END;
	for (;;) {
		int step = q->state == COPY_OUT ? PQ_READY : copy_out_answer(q, e);
		if (step != PQ_READY)
			return step;
		int n = take_message(q);
		if (n < 0) {
			q->state = COPY_OUT_ASKED;
			continue;
		}
		if (n > 0 && q->row.len >= q->header) {
			*row = (struct span){ q->row.p + q->header, q->row.len - q->header };
			q->header = 0;
			if (q->binary && (row->n == 0 || span_is(*row, BINARY_TRAILER)))
				continue;
			return PQ_READY;
		}
		if (n > 0)
			return err_set(e, ERR_OTHER, "%s: a COPY in binary without its header",
				q->what);
		if (!q->readable)
			break;
		q->readable = false;
		if (pq_consume(q, e) < 0)
			return e->code;
	}
	q->want = POLLIN;
	return PQ_WAIT;
}

/* ---- COPY in */

int pq_copy_in(struct pq *q, const char *sql, int copies, struct err *e)
{
	if (pq_send(q, sql, e) < 0)
		return e->code;
	q->state = COPY_IN_ASKED;
	q->copies = copies;
	return 0;
}

/* Takes the answer to the COPY or to its end, if it has arrived. */
static int copy_in_answer(struct pq *q, struct err *e)
{
	PGresult *res = NULL;

	if (q->readable && pq_consume(q, e) < 0)
		return e->code;
	q->readable = false;
	do {                            /* skip results of statements before the first COPY */
		PQclear(res);
		if (PQisBusy(q->conn)) {
			q->want = POLLIN;
			return PQ_WAIT;
		}
		res = PQgetResult(q->conn);
	} while (q->state == COPY_IN_ASKED && PQresultStatus(res) == PGRES_COMMAND_OK);
	if (PQresultStatus(res) == PGRES_COPY_IN) {
		PQclear(res);
		q->state = COPY_IN_OPEN;
		return PQ_READY;
	}
	if (q->state != COPY_IN_ENDED || PQresultStatus(res) != PGRES_COMMAND_OK) {
		bool asked = q->state == COPY_IN_ASKED;
		q->state = NO_COPY;
		pq_failed(q, res, asked ? SQLSTATE_COPY : SQLSTATE_ROWS, e);
		return pq_drain(q, e);
	}
	q->copied = strtoll(PQcmdTuples(res), NULL, 10);
	PQclear(res);
	q->state = --q->copies > 0 ? COPY_IN_ASKED : NO_COPY;
	return q->copies > 0 || pq_drain(q, e) == 0 ? PQ_END : e->code;
}

int pq_copy_step(struct pq *q, bool *stopped, struct err *e)
{
	*stopped = false;
	int sent = pq_flush(q, e);
	if (sent < 0)
		return sent;
	if (q->state != COPY_IN_OPEN) {
		if (sent == PQ_WAIT && q->readable && pq_consume(q, e) < 0)
			return e->code;
		return sent == PQ_WAIT ? PQ_WAIT : copy_in_answer(q, e);
	}
	*stopped = q->readable;
	q->want |= POLLIN;
	return sent;
}

int64_t pq_copied(const struct pq *q)
{
	return q->copied;
}

int pq_copy_put(struct pq *q, const char *p, size_t n, struct err *e)
{
	assert(q->state == COPY_IN_OPEN);
	return PQputCopyData(q->conn, p, (int)n) == 1 ? 0 : pq_lost(q, e);
}

int pq_copy_end(struct pq *q, struct err *e)
{
	assert(q->state == COPY_IN_OPEN);
	if (PQputCopyEnd(q->conn, NULL) != 1)
		return pq_lost(q, e);
	q->state = COPY_IN_ENDED;
	return 0;
}

int pq_copy_await(struct pq *q, struct err *e)
{
	bool stopped;
	int step;

	while ((step = pq_copy_step(q, &stopped, e)) == PQ_WAIT)
		if (pq_wait(&q, 1, -1, e) < 0)
			return e->code;
	return step;
}

int pq_copy_nothing(struct pq *q, const char *sql, struct err *e)
{
	if (pq_copy_in(q, sql, 1, e) == 0 && pq_copy_await(q, e) == PQ_READY &&
	    pq_copy_end(q, e) == 0)
		pq_copy_await(q, e);
	pq_judge(q, SQLSTATE_COPY, e);
	return e->code;
}

/* ---- the row at fault */

/* What follows the table's name in the context line of a failed COPY, "COPY table, line 7, column
 * id: ...", or NULL. The words are in the server's language, the name and the number are not.
 * *only: there is no other context. That of a function or of a value's own parser would come
 * before. */
static const char *copy_context(const struct pq *q, struct span table, bool *only)
{
	const char *at = q->failed ? pq_diag(q->failed, PG_DIAG_CONTEXT) : "", *line;

	*only = strncmp(at, "COPY ", 5) == 0 && strncmp(at + 5, table.p, table.n) == 0 &&
		strncmp(at + 5 + table.n, ", ", 2) == 0;
	if (*only)
		return at + 5 + table.n;
	/* a trigger's own context comes before, and may name the table too */
	while ((line = strstr(at, "\nCOPY ")))
		at = line + 1;
	at = memmem(at, strlen(at), table.p, table.n);
	return at ? at + table.n : NULL;
}

static int64_t line_of(const char *context)
{
	const char *at = context + strcspn(context, "0123456789\n");

	return *at && *at != '\n' ? strtoll(at, NULL, 10) : 0;
}

static struct span value_of(const char *context)
{
	const char *at = strstr(context, ": \"");

	if (!at)
		return (struct span){ NULL, 0 };
	at += strlen(": \"");
	size_t n = strlen(at);
	return (struct span){ at, n && at[n - 1] == '"' ? n - 1 : n };
}

/* Some errors have a field for the column, which may belong to another table. */
static struct span column_of(const struct pq *q, const char *context, struct span table)
{
	const char *at = strstr(context, ", column "), *end;

	if (q->failed && span_is(table, pq_diag(q->failed, PG_DIAG_TABLE_NAME)))
		return span_of(pq_diag(q->failed, PG_DIAG_COLUMN_NAME));
	if (!at || !(end = strstr(at, ": ")))
		return (struct span){ NULL, 0 };
	at += strlen(", column ");
	return (struct span){ at, (size_t)(end - at) };
}

void pq_copy_fault(const struct pq *q, struct span table, struct pq_fault *fault)
{
	bool only;
	const char *context = copy_context(q, table, &only);
	struct span column = column_of(q, context ? context : "", table);

	*fault = (struct pq_fault){ .value = { NULL, 0 } };
	if (context) {
		fault->line = line_of(context);
		fault->certain = only && fault->line > 0;
		fault->value = value_of(context);
	}
	if (column.n && column.n < sizeof fault->column)
		memcpy(fault->column, column.p, column.n);
}
