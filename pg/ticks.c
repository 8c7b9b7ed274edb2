/*
 * PgQ's numbers for our queue and consumer, since to ask by name costs as much as a look, and the
 * look for new ticks that they allow.
 */
#include <inttypes.h>

#include "pq.h"

#define NUMBERED_MS 1000                /* somebody may have made the queue anew */

static bool is_numbered(struct pq *src)
{
	if (clock_ms() - src->numbered_ms >= NUMBERED_MS)
		src->queue_id = src->tick_sequence = 0;
	return src->queue_id;
}

void ticks_keep_numbers(struct pq *src, int64_t queue, int64_t consumer)
{
	if (!src->queue_id)
		src->numbered_ms = clock_ms();
	src->queue_id = queue;
	src->consumer_id = consumer;
}

struct numbers ticks_kept_numbers(const struct pq *src)
{
	struct numbers n = { 0 };

	buf_fmt(&n.queue, "%" PRId64, src->queue_id);
	buf_fmt(&n.consumer, "%" PRId64, src->consumer_id);
	return n;
}

struct numbers ticks_numbers(struct pq *src, const char *queue, const char *consumer)
{
	struct numbers n = { 0 };

	if (is_numbered(src))
		return ticks_kept_numbers(src);
	buf_str(&n.queue, "(SELECT queue_id FROM \1.queue WHERE queue_name = ");
	buf_literal(&n.queue, span_of(queue));
	buf_str(&n.queue, ")");
	buf_str(&n.consumer, "(SELECT co_id FROM \1.consumer WHERE co_name = ");
	buf_literal(&n.consumer, span_of(consumer));
	buf_str(&n.consumer, ")");
	buf_cstr(&n.queue);
	buf_cstr(&n.consumer);
	return n;
}

void ticks_free_numbers(struct numbers *n)
{
	buf_free(&n->queue);
	buf_free(&n->consumer);
}

/* ---- the look */

static int has_tick(struct pq *src, int64_t tick, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT 1 FROM " PGQ ".tick WHERE tick_queue" PQ_OWN("=") "%" PRId64
		" AND tick_id" PQ_OWN(">") "%" PRId64 " LIMIT 2", src->queue_id, tick);
	queue_expand(&sql, src);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc < 0 ? rc : pq_rows(src);
}

#define NO_SEQUENCE (-1)

/* Sets the sequence that numbers the queue's ticks, if we may read it. */
static int find_sequence(struct pq *src, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT seq::oid FROM \1.queue, to_regclass(queue_tick_seq) seq"
		" WHERE queue_id = %" PRId64
		" AND has_sequence_privilege(seq, 'SELECT')", src->queue_id);
	if (queue_run(src, &sql, e) == 0)
		src->tick_sequence = pq_rows(src) ? pq_int(src, 0, 0, NO_SEQUENCE) : NO_SEQUENCE;
	return e->code;
}

/* May there be a tick after that one? The sequence says so without a plan, before the tick is
 * committed. One that was set back hides a tick until the numbers are asked for anew. */
static int may_have_tick(struct pq *src, int64_t tick, struct err *e)
{
	struct buf sql = { 0 };

	if (!src->tick_sequence && find_sequence(src, e) < 0)
		return e->code;
	if (src->tick_sequence == NO_SEQUENCE)
		return 1;
	buf_fmt(&sql, "SELECT pg_catalog.pg_sequence_last_value(%" PRId64 ")", src->tick_sequence);
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc == 0)
		return pq_int(src, 0, 0, INT64_MAX) > tick;
	if (sqlstate_is_lost(e))
		return rc;
	*e = (struct err){ 0 };         /* it is gone with its queue */
	src->tick_sequence = NO_SEQUENCE;
	return 1;
}

int ticks_after(struct pq *src, int64_t tick, struct err *e)
{
	if (!is_numbered(src))
		return TICKS_UNKNOWN;
	int rc = may_have_tick(src, tick, e);
	return rc > 0 ? has_tick(src, tick, e) : rc;
}
