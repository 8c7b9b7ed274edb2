/*
 * A lane: a connection to the target, on which one COPY at a time sends the waiting rows.
 *
 * Many small COPY commands are expensive for the target. So COPY goes to the stream with most rows,
 * stays while it has any, and moves only to a stream with enough rows to be worth it, or when the
 * pool runs short, or when no more rows will come.
 */
#include "sink.h"

#define SLICE_BYTES (64 * 1024)         /* of a large block, passed to libpq at a time */
#define PLAN_MAX 64                     /* COPYs in one statement */

/* ---- when to begin a COPY, and when to end it */

/* The lane's stream with most rows, NULL when none has any. */
static struct stream *fullest(struct sink *s, size_t lane)
{
	struct stream *best = NULL;

	for (size_t i = 0; i < s->nstream; i++)
		if (s->stream[i]->lane == lane && s->stream[i]->bytes > (best ? best->bytes : 0))
			best = s->stream[i];
	return best;
}

/* The stream that a COPY should move to, NULL while waiting for more rows is better. */
static struct stream *worthwhile(struct sink *s, size_t lane, bool drain)
{
	struct stream *st = fullest(s, lane);

	return st && (drain || st->bytes >= SWITCH_BYTES || s->pool.used >= POOL_BYTES / 2) ? st : NULL;
}

static bool block_is_sent(const struct lane *l)
{
	return !l->out || l->out_at == l->out->len;
}

/* Do rows wait that the open COPY can take? The others are of the other format. */
static bool has_more(const struct stream *st)
{
	return st->first && st->first->binary == st->binary;
}

/* A table's first COPY does not take all waiting rows: the next one may be binary. */
static bool is_first_and_long(const struct sink *s, const struct lane *l)
{
	return l->sent >= SWITCH_BYTES && l->current->settled != s->turn;
}

/* Is it time to end the open COPY? Only between blocks: a row must not be cut. */
static bool should_end(struct sink *s, const struct lane *l, enum sink_until until, bool stopped)
{
	if (!block_is_sent(l))
		return false;
	if (stopped || (s->careful && l->out) || is_first_and_long(s, l))
		return true;
	if (until == SINK_FREE && l->sent)      /* a binary COPY must have its header */
		return true;
	return !has_more(l->current) && (until != SINK_FULL || l->plan || worthwhile(s, l->current->lane, false));
}

/* ---- one COPY after the other */

static void add_copy(struct buf *sql, struct sink *s, struct stream *st)
{
	st->binary = st->first->binary;
	st->wrote = s->turn;
	stream_add_copy(sql, st);
	buf_str(sql, st->binary ? " (FORMAT binary)" : "");
}

/* The rows of a careful COPY survive the failure of the next one. The savepoint is set before the
 * COPY statement is sent, which may fail to parse. */
static int set_savepoint(const struct sink *s, struct lane *l, struct pq *dst, struct err *e)
{
	if (!s->careful || l->saved == s->turn)
		return 0;
	l->saved = s->turn;
	return pq_query(dst, "SAVEPOINT tdispatch", e);
}

/* Begins a COPY to the current stream. Other worthwhile streams get theirs in the same statement:
 * the server goes from one to the next by itself, which saves round trips. */
static int begin_copy(struct sink *s, size_t lane, struct pq *dst, bool drain, struct err *e)
{
	struct lane *l = &s->lane[lane];
	struct stream **last = &l->plan;
	struct buf sql = { 0 };
	size_t least = drain ? 1 : l->current->bytes / 2 < SWITCH_BYTES ? l->current->bytes / 2 + 1 : SWITCH_BYTES;
	int copies = 1;

	add_copy(&sql, s, l->current);
	buf_str(&sql, s->careful ? "; RELEASE SAVEPOINT tdispatch; SAVEPOINT tdispatch" : "");
	for (size_t i = 0; !s->careful && i < s->nstream && copies < PLAN_MAX; i++) {
		struct stream *st = s->stream[i];
		if (st->lane != lane || st->bytes < least || st == l->current)
			continue;
		buf_str(&sql, "; ");
		add_copy(&sql, s, st);
		st->then = NULL;
		*last = st;
		last = &st->then;
		copies++;
	}
	s->done.begun = true;
	l->sent = l->nrows = 0;
	if (set_savepoint(s, l, dst, e) == 0)
		pq_copy_in(dst, buf_cstr(&sql), copies, e);
	buf_free(&sql);
	return e->code;
}

void lane_end_copy(struct sink *s, struct lane *l)
{
	block_drop(&s->pool, l->out);
	l->out = NULL;
	l->sent = l->nrows = 0;
	l->current = l->plan;
	if (l->plan)
		l->plan = l->plan->then;
}

static int send_some(struct sink *s, struct lane *l, struct pq *dst, struct err *e)
{
	if (block_is_sent(l)) {
		block_drop(&s->pool, l->out);
		l->out = stream_take(l->current);
		l->out_at = 0;
		l->nrows += l->out->nrows;
	}
	if (l->sent == 0 && l->current->binary && pq_copy_put(dst, BINARY_HEADER, sizeof BINARY_HEADER, e) < 0)
		return e->code;
	size_t n = l->out->len - l->out_at;
	if (n > SLICE_BYTES)
		n = SLICE_BYTES;
	l->out_at += n;
	l->sent += n;
	s->done.bytes += (int64_t)n;
	if (pq_copy_put(dst, l->out->data + l->out_at - n, n, e) < 0)
		return e->code;
	if (block_is_sent(l) && !s->careful) {        /* libpq has a copy; free it */
		block_drop(&s->pool, l->out);
		l->out = NULL;
	}
	return 0;
}

/* Of a COPY that is over. A trigger may have left rows out. */
static void count_rows(struct sink *s, const struct lane *l, int64_t stored)
{
	tally_add(&s->done.rows, l->current->table, stored);
	if (stored < (int64_t)l->nrows)
		tally_add(&s->done.unstored, l->current->table, (int64_t)l->nrows - stored);
}

/* One move of the open COPY. 1 when there may be another at once, 0 when it must wait. */
static int advance(struct sink *s, struct lane *l, struct pq *dst, enum sink_until until, struct err *e)
{
	bool stopped;
	int step = pq_copy_step(dst, &stopped, e);

	if (step == PQ_END) {
		count_rows(s, l, pq_copied(dst));
		l->current->settled = s->turn;
		lane_end_copy(s, l);
	}
	if (step != PQ_READY)
		return step == PQ_END ? 1 : step;
	if (!should_end(s, l, until, stopped)) {
		if (block_is_sent(l) && !has_more(l->current))
			return 0;
		if (send_some(s, l, dst, e) < 0)
			return e->code;
		/* the last rows and the end go in one packet */
		if (!should_end(s, l, until, false))
			return 1;
	}
	return pq_copy_end(dst, e) < 0 ? e->code : 1;
}

/* After a COPY our lock freezes the table's columns until the transaction ends. */
static int look_at_types(struct sink *s, size_t lane, struct pq *dst, struct err *e)
{
	for (size_t i = 0; i < s->nstream && !e->code; i++) {
		struct stream *st = s->stream[i];
		if (st->lane != lane || st->settled != s->turn || st->looked == s->turn)
			continue;
		st->looked = s->turn;
		s->types.look(s->types.arg, dst, st->start_s, st->table, e);
	}
	return e->code;
}

/* Begins the next COPY. 1, or 0 when none is worth it. */
static int go_on(struct sink *s, size_t lane, struct pq *dst, enum sink_until until, struct err *e)
{
	struct lane *l = &s->lane[lane];

	if (until == SINK_FULL && s->types.look && !s->careful && look_at_types(s, lane, dst, e) < 0)
		return e->code;
	if (until == SINK_FREE) {
		l->saved = 0;           /* no savepoint would undo what is done now */
		return 0;
	}
	l->current = worthwhile(s, lane, until == SINK_EMPTY);
	if (!l->current)
		return 0;
	return begin_copy(s, lane, dst, until == SINK_EMPTY, e) < 0 ? e->code : 1;
}

int lane_pump(struct sink *s, size_t lane, struct pq *dst, enum sink_until until, struct sink_fault *fault, struct err *e)
{
	struct lane *l = &s->lane[lane];

	if (l->faulty && fault_leave_out(s, l, dst, e) < 0)
		return e->code;
	for (;;) {
		if (!l->current) {
			int begun = go_on(s, lane, dst, until, e);
			if (begun <= 0)
				return begun;
		}
		int moved = advance(s, l, dst, until, e);
		if (moved == 0)
			return 1;
		if (moved > 0)
			continue;
		if (fault_judge(s, l, dst, fault, e) != ERR_DATA || !s->careful || fault->event >= 0)
			return e->code;
		*e = (struct err){ 0 };
		if (fault_divide(s, l, dst, fault, e) < 0)
			return e->code;
	}
}
