/*
 * An in-memory server behind the part of pg.h that takes rows: one connection, one transaction, a
 * list of the rows that it stored. Included by a unit test, which links what calls it.
 *
 * A line with the word "bad" in it is refused, "deaf" is taken and left out, as a trigger would. A
 * call waits now and then, as a full socket would, and the one whose number is `fails` loses the
 * connection.
 */
#ifndef SERVER_H
#define SERVER_H

#include "../../sink/private.h"

#define STORED_MAX 200000
#define COPIES_MAX 64

struct stored { char table[16]; char row[64]; };        /* as a line of text, cut */

struct pq {
	struct stored *stored;
	size_t nstored, savepoint;
	bool has_savepoint, aborted;
	bool saves;                     /* the statement's COPY is followed by a new savepoint */
	enum { IDLE, ASKED, OPEN, ENDED } state;
	char table[COPIES_MAX][16];
	bool binary[COPIES_MAX];
	size_t copies, current;         /* of the statement; which is open */
	size_t before;                  /* rows that were stored when it began */
	struct buf in;                  /* its rows */
	int64_t copied, error_line;
	enum { LINE_TOLD, LINE_UNTOLD, LINE_WRONG, LINE_CERTAIN } lines;
	const char *shapeless;          /* a table that lacks a column: its COPY is refused */
	uint32_t random;
	int calls, fails;               /* fails: 0 for never */
	int statements;                 /* COPY statements */
};

static void server_reset(struct pq *q, uint32_t seed)
{
	struct stored *stored = q->stored;

	buf_free(&q->in);
	*q = (struct pq){ .stored = stored ? stored : mem_alloc(STORED_MAX * sizeof *stored),
		.random = seed * 2654435761u | 1 };
}

static void server_free(struct pq *q)
{
	buf_free(&q->in);
	free(q->stored);
}

/* Is the connection lost at this call? */
static bool lost(struct pq *q, struct err *e)
{
	if (++q->calls != q->fails)
		return false;
	err_set(e, ERR_CONN, "dst_db: the connection is lost");
	return true;
}

static int refuse(struct pq *q, int code, const char *sqlstate, struct err *e)
{
	memcpy(e->sqlstate, sqlstate, sizeof e->sqlstate);
	err_set(e, code, "dst_db: refused");
	q->state = IDLE;
	q->nstored = q->before;
	q->aborted = true;
	return code;
}

/* ---- the rows of a COPY */

static void store(struct pq *q, const char *row, size_t n)
{
	struct stored *s = &q->stored[q->nstored];

	if (memmem(row, n, "deaf", 4))
		return;
	if (q->nstored == STORED_MAX)
		abort();
	q->nstored++;
	snprintf(s->table, sizeof s->table, "%s", q->table[q->current]);
	snprintf(s->row, sizeof s->row, "%.*s", (int)n, row);
}

/* Returns the line that is refused, from 1, or 0. */
static int64_t store_text(struct pq *q)
{
	const char *p = q->in.p, *end = p + q->in.len;

	for (int64_t line = 1; p < end; line++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		if (!newline)
			abort();                /* a row was cut in two */
		if (memmem(p, (size_t)(newline - p), "bad", 3))
			return line;
		store(q, p, (size_t)(newline - p));
		p = newline + 1;
	}
	return 0;
}

static uint64_t big_endian(const char *p, size_t n)
{
	uint64_t x = 0;

	for (size_t i = 0; i < n; i++)
		x = x << 8 | (unsigned char)p[i];
	return x;
}

/* Rows of an int8 and a text. */
static int64_t store_binary(struct pq *q)
{
	const char *p = q->in.p + sizeof BINARY_HEADER, *end = q->in.p + q->in.len;
	char row[64];

	if (q->in.len < sizeof BINARY_HEADER ||
	    memcmp(q->in.p, BINARY_HEADER, sizeof BINARY_HEADER) != 0)
		abort();
	while (p < end) {
		if (big_endian(p, 2) != 2 || big_endian(p + 2, 4) != 8)
			abort();
		size_t n = big_endian(p + 14, 4);
		snprintf(row, sizeof row, "%" PRIu64 "\t%.*s", big_endian(p + 6, 8),
			n < 40 ? (int)n : 40, p + 18);
		store(q, row, strlen(row));
		p += 18 + n;
	}
	return 0;
}

static int end_copy(struct pq *q, struct err *e)
{
	q->before = q->nstored;
	q->error_line = q->binary[q->current] ? store_binary(q) : store_text(q);
	q->in.len = 0;
	if (q->error_line)
		return refuse(q, ERR_DATA, "22P02", e);
	q->copied = (int64_t)(q->nstored - q->before);
	q->state = ++q->current < q->copies ? ASKED : IDLE;
	if (q->state == IDLE && q->saves)
		q->savepoint = q->nstored;
	return PQ_END;
}

/* ---- pg.h */

int pq_query(struct pq *q, const char *sql, struct err *e)
{
	if (lost(q, e))
		return e->code;
	if (strcmp(sql, LANE_SAVE) == 0 && !q->aborted) {
		q->has_savepoint = true;
		q->savepoint = q->nstored;
	} else if (strcmp(sql, LANE_UNDO) == 0 && q->has_savepoint) {
		q->nstored = q->savepoint;
		q->aborted = false;
	} else if (strcmp(sql, LANE_RELEASE) == 0 && q->has_savepoint && !q->aborted) {
		q->has_savepoint = false;
	} else {
		abort();
	}
	return 0;
}

/* Runs the statement if sql begins with it, and moves behind it. */
static int before_copy(struct pq *q, const char **sql, const char *statement, struct err *e)
{
	size_t n = strlen(statement);

	if (strncmp(*sql, statement, n) != 0)
		return 0;
	*sql += n + strlen("; ");
	return pq_query(q, statement, e);
}

/* "COPY t1 (a, b) FROM STDIN; COPY t2 (a, b) FROM STDIN (FORMAT binary)", and what may stand before
 * and after a careful one. */
int pq_copy_in(struct pq *q, const char *sql, int copies, struct err *e)
{
	if (lost(q, e))
		return e->code;
	if (before_copy(q, &sql, LANE_UNDO, e) < 0 || before_copy(q, &sql, LANE_RELEASE, e) < 0)
		return e->code;
	if (q->state != IDLE || q->aborted || copies > COPIES_MAX)
		abort();
	q->saves = strstr(sql, "; " LANE_RELEASE "; " LANE_SAVE);
	if (q->saves && !q->has_savepoint)
		abort();
	q->copies = q->current = 0;
	for (const char *p = sql; (p = strstr(p, "COPY ")); q->copies++) {
		p += strlen("COPY ");
		snprintf(q->table[q->copies], sizeof q->table[0], "%.*s", (int)strcspn(p, " "), p);
		const char *end = strchr(p, ';');
		const char *binary = strstr(p, "(FORMAT binary)");
		q->binary[q->copies] = binary && (!end || binary < end);
	}
	if (q->copies != (size_t)copies)
		abort();
	q->before = q->nstored;
	q->state = ASKED;
	q->statements++;
	return 0;
}

int pq_copy_step(struct pq *q, bool *stopped, struct err *e)
{
	*stopped = false;
	if (lost(q, e))
		return e->code;
	if (unit_random(&q->random) % 8 == 0)
		return PQ_WAIT;
	switch (q->state) {
	case ASKED:
		if (q->shapeless && strcmp(q->shapeless, q->table[q->current]) == 0)
			return refuse(q, ERR_SHAPE, "42703", e);
		q->state = OPEN;
		return PQ_READY;
	case OPEN:
		*stopped = !q->binary[q->current] && memmem(q->in.p, q->in.len, "bad", 3) &&
			unit_random(&q->random) % 2;
		return PQ_READY;
	case ENDED:
		return end_copy(q, e);
	case IDLE:
		break;
	}
	abort();
}

int pq_copy_put(struct pq *q, const char *p, size_t n, struct err *e)
{
	if (lost(q, e))
		return e->code;
	if (q->state != OPEN)
		abort();
	buf_add(&q->in, p, n);
	return 0;
}

int pq_copy_end(struct pq *q, struct err *e)
{
	if (lost(q, e))
		return e->code;
	if (q->state != OPEN)
		abort();
	q->state = ENDED;
	return 0;
}

int pq_copy_nothing(struct pq *q, const char *sql, struct err *e)
{
	(void)sql;
	return lost(q, e) ? e->code : 0;
}

int64_t pq_copied(const struct pq *q)
{
	return q->copied;
}

void pq_copy_fault(const struct pq *q, struct span table, struct pq_fault *fault)
{
	(void)table;
	*fault = (struct pq_fault){
		.line = q->lines == LINE_UNTOLD ? 0 :
			q->lines == LINE_WRONG ? q->error_line % 7 + 1 : q->error_line,
		.certain = q->lines == LINE_CERTAIN,
		.value = span_of("bad\nvalue"), .column = "note",
	};
}

#endif
