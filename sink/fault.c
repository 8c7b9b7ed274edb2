/*
 * Finds the row that made a COPY fail. A careful COPY takes one block, under a savepoint. If the
 * server names the row, and it is bad whatever the others are, it is left out, and these are sent
 * again. Else the block is divided and sent again in parts, until one row fails alone.
 */
#include <stdio.h>
#include <string.h>

#include "private.h"

#define RUN_GROWS 4                     /* a COPY after a good one has so many times its rows */

/* Where the row begins, in bytes. */
static size_t row_at(const struct block *b, size_t row)
{
	const char *p = b->data;

	while (row--)
		p = (const char *)memchr(p, '\n', (size_t)(b->data + b->len - p)) + 1;
	return (size_t)(p - b->data);
}

/* Moves the rows from `row` on to a block of their own, and returns that. */
static struct block *cut(struct sink *s, struct block *b, size_t row)
{
	size_t at = row_at(b, row), n = b->len - at;
	size_t ids = sizeof(int64_t) * (b->nrows - row);
	struct block *rest = block_take(&s->pool, n + ids, BLOCK_FULL);

	memcpy(rest->data, b->data + at, n);
	rest->len = n;
	for (size_t i = row; i < b->nrows; i++)
		*block_id(rest, rest->nrows++) = *block_id(b, i);
	b->len = at;
	b->nrows = row;
	return rest;
}

static void remove_row(struct block *b, size_t row)
{
	size_t at = row_at(b, row), next = row_at(b, row + 1);

	memmove(b->data + at, b->data + next, b->len - next);
	b->len -= next - at;
	b->nrows--;
	for (size_t i = row; i < b->nrows; i++)
		*block_id(b, i) = *block_id(b, i + 1);
}

/* Divides the failed block, to be sent again: into the rows before the one that the server named,
 * that row, and those after it; without a line, into halves. The line is only a hint, from a text
 * that values and triggers can write to: a row is at fault when it fails alone. */
static void divide(struct sink *s, struct lane *l, const struct sink_fault *fault)
{
	struct stream *st = l->current;
	struct block *b = l->out;
	size_t row = fault->line && fault->line <= b->nrows ? fault->line - 1 : b->nrows / 2;

	l->out = NULL;
	l->current = NULL;
	if (fault->line && row + 1 < b->nrows)
		stream_put_back(s, st, cut(s, b, row + 1));
	if (row > 0)
		stream_put_back(s, st, cut(s, b, row));
	stream_put_back(s, st, b);
}

void fault_shorten(struct sink *s, struct lane *l)
{
	struct block *b = l->current->first;

	if (l->run && l->run < b->nrows) {
		b = stream_take(s, l->current);
		stream_put_back(s, l->current, cut(s, b, l->run));
		stream_put_back(s, l->current, b);
	}
	l->run *= RUN_GROWS;
}

void fault_leave_out(struct sink *s, struct lane *l)
{
	l->run = RUN_GROWS * l->faulty;
	stream_refused(s, l->current);
	remove_row(l->out, l->faulty - 1);
	if (l->out->nrows)
		stream_put_back(s, l->current, l->out);
	else
		block_drop(&s->pool, l->out);
	l->out = NULL;
	l->current = NULL;
	l->faulty = 0;
}

/* Does it tell which row is at fault, whatever becomes of the others? */
static bool is_certain(const struct pq_fault *found, const struct block *b, const struct err *e)
{
	return found->certain && sqlstate_is(e->sqlstate, SQLSTATE_BAD_ROW) &&
		(size_t)found->line <= b->nrows;
}

/* After a careful COPY: names the event of the row that the server is certain of, or of a block of
 * one row. An error of shape concerns all rows of the stream, so the first one is named. */
static void find_row(struct sink *s, struct lane *l, const struct pq_fault *found,
	struct sink_fault *fault, const struct err *e)
{
	if (!l->out)                    /* the COPY failed before a row was sent */
		l->out = stream_take(s, l->current);
	fault->line = found->line > 0 ? (size_t)found->line : 0;
	size_t row = l->out->nrows == 1 || e->code == ERR_SHAPE ? 1 :
		is_certain(found, l->out, e) ? fault->line : 0;
	if (row)
		fault->event = *block_id(l->out, row - 1);
	l->faulty = e->code == ERR_DATA ? row : 0;
	l->failed = true;
}

/* Rows were refused: is it their fault, or does the table take none at all? Asks, once a turn and
 * stream, by a COPY without rows: its error, of a statement trigger or a foreign table, replaces
 * e. */
static int probe(const struct sink *s, struct stream *st, struct pq *dst, struct err *e)
{
	struct err refused = { 0 };
	struct buf sql = { 0 };

	if ((e->code != ERR_DATA && e->code != ERR_SHAPE) || !sink_careful(s, st) ||
	    st->probed == s->turn)
		return e->code;
	stream_add_copy(&sql, st);
	if (pq_query(dst, LANE_UNDO, &refused) == 0 &&
	    pq_copy_nothing(dst, buf_cstr(&sql), &refused) == 0)
		st->probed = s->turn;
	else
		*e = refused;
	buf_free(&sql);
	return e->code;
}

/* Fills fault. Returns e's code, which probe may have changed. */
static int describe(struct sink *s, struct lane *l, struct pq *dst, struct sink_fault *fault,
	struct err *e)
{
	struct pq_fault found;
	struct buf shown = { 0 };

	pq_copy_fault(dst, stream_copied(l->current), &found);
	*fault = (struct sink_fault){ .event = -1, .lane = l->current->lane };
	fault->of = l->current->of;
	memcpy(fault->table, l->current->whole->table, sizeof fault->table);
	memcpy(fault->column, found.column, sizeof fault->column);
	buf_printable(&shown, found.value, sizeof fault->value / 2);
	snprintf(fault->value, sizeof fault->value, "%s", buf_cstr(&shown));
	buf_free(&shown);
	bool sent = l->out;
	if (sink_careful(s, l->current))
		find_row(s, l, &found, fault, e);
	return sent ? probe(s, l->current, dst, e) : e->code;
}

/* Was it a suspect row that came after later ones, which may be to blame? A careful pass tells. */
static bool may_be_order(const struct sink *s, const struct lane *l, const struct err *e)
{
	return l->current->suspect && !s->careful && !sqlstate_is(e->sqlstate, SQLSTATE_BAD_ROW);
}

int fault_judge(struct sink *s, struct lane *l, struct pq *dst, struct sink_fault *fault,
	struct err *e)
{
	if (describe(s, l, dst, fault, e) != ERR_DATA || !sink_careful(s, l->current))
		return e->code;
	if (may_be_order(s, l, e)) {
		fault->event = -1;
		return e->code;
	}
	if (fault->event >= 0)
		return e->code;
	*e = (struct err){ 0 };
	divide(s, l, fault);
	return 0;
}
