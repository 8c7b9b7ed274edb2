/*
 * The form of PgQ's query for a batch's events, kept on a connection from batch to batch: to ask
 * PgQ for the query takes as long as the rest of next_batch. See snapshot.c.
 */
#include <stdlib.h>
#include <string.h>

#include "pq.h"

#define FORM_MS 60000                   /* a form is as old at most */

bool form_is_kept(const struct pq *src)
{
	return src->form.same && clock_ms() - src->form.learned_ms < FORM_MS;
}

void form_free(struct form *f)
{
	snapshot_forget(&f->query);
	free(f->same);
	free(f->snapshot);
	*f = (struct form){ 0 };
}

/* ---- asking PgQ, and learning from its answer */

void form_add_query(struct buf *sql, const struct pq *src, const struct numbers *n)
{
	buf_fmt(sql, "(SELECT tick_snapshot FROM \1.tick WHERE tick_queue = %s"
		" AND tick_id = cur_tick_id), (SELECT tick_snapshot FROM \1.tick"
		" WHERE tick_queue = %s AND tick_id = prev_tick_id),"
		" CASE WHEN batch_id IS NOT NULL THEN \1.batch_event_sql(batch_id) END",
		n->queue.p, n->queue.p);
	if (src->schema && strcmp(src->schema, "pgq") == 0)     /* PgQue's query is another */
		buf_fmt(sql, ", (SELECT format('%%s_%%s q.xmin = ''%%s'' AND q.ctid = ''%%s''"
			" AND s.sub_id = %%s', queue_data_pfx, queue_cur_table, q.xmin, q.ctid,"
			" s.sub_id) FROM \1.queue q, \1.subscription s WHERE q.queue_id = %s"
			" AND s.sub_queue = %s AND s.sub_consumer = %s)",
			n->queue.p, n->queue.p, n->consumer.p);
	else
		buf_str(sql, ", NULL");
}

/* The batch's last tick is the next one's first. */
static void keep_snapshot(struct form *f, int64_t tick, const char *snapshot)
{
	char *kept = mem_text(snapshot);

	free(f->snapshot);
	f->snapshot = kept;
	f->tick = tick;
}

static void learn(struct pq *src, const struct queue_batch *batch, const char *events,
	const struct snapshot_ticks *t, const char *same)
{
	struct form *f = &src->form;
	const char *space = same ? strchr(same, ' ') : NULL;

	free(f->same);
	f->same = NULL;
	if (!space || !snapshot_learn(&f->query, events, t,
	    (struct span){ same, (size_t)(space - same) }))
		return;
	f->same = mem_text(space + 1);
	f->queue = src->queue_id;
	f->consumer = src->consumer_id;
	f->learned_ms = clock_ms();
	keep_snapshot(f, batch->tick, t->after);
}

void form_take_query(struct pq *src, struct queue_batch *batch, int col)
{
	const struct snapshot_ticks ticks = {
		src->queue_id, batch->prev_tick, batch->tick,
		pq_value(src, 0, col + 1), pq_value(src, 0, col),
	};
	const char *events = pq_value(src, 0, col + 2);
	char *ours = snapshot_query(events, &ticks);

	batch->event_sql = ours ? ours : mem_text(events);
	learn(src, batch, events, &ticks, pq_value(src, 0, col + 3));
}

/* ---- without asking PgQ */

/* Tick and queue are seen by one snapshot, that of the statement. A rotation that it does not see
 * was not committed when that was taken, so what has written to a newer table was not either, and a
 * tick that it sees does not see that: the tick's events are in the tables that the queue's row
 * tells of. A row that was updated has another xmin or ctid. */
void form_add_after(struct buf *sql, const struct pq *src, const struct numbers *n)
{
	buf_fmt(sql, "(SELECT t.tick_snapshot FROM \1.queue q, \1.subscription s, \1.tick t"
		" WHERE q.queue_id = %s AND s.sub_queue = %s AND s.sub_consumer = %s"
		" AND t.tick_queue = %s AND t.tick_id = cur_tick_id AND %s)",
		n->queue.p, n->queue.p, n->consumer.p, n->queue.p, src->form.same);
}

bool form_fill(struct pq *src, struct queue_batch *batch, int col)
{
	struct form *f = &src->form;
	const char *after = pq_value(src, 0, col);

	if (!after || batch->prev_tick != f->tick || src->queue_id != f->queue ||
	    src->consumer_id != f->consumer)
		return false;
	batch->event_sql = snapshot_fill(&f->query, f->snapshot, after);
	if (batch->event_sql)
		keep_snapshot(f, batch->tick, after);
	return batch->event_sql;
}
