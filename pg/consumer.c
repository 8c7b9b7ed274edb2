/*
 * A consumer's registration with its queue: made, ended and moved, and what is said where it is not
 * as expected.
 */
#include <inttypes.h>
#include <string.h>

#include "pq.h"

/* Appends the consumer's registrations elsewhere, or the others on the queue. */
static int add_others(struct pq *src, bool elsewhere, const char *queue, const char *consumer,
	struct buf *names, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT string_agg(%s, ', ' ORDER BY queue_name, co_name)"
		" FROM \1.queue, \1.consumer, \1.subscription WHERE sub_queue = queue_id"
		" AND sub_consumer = co_id AND queue_name %s ", elsewhere ? "queue_name" :
		"co_name || ' (' || (SELECT count(*) FROM \1.tick WHERE tick_queue = queue_id"
		" AND tick_id > sub_last_tick) || ' ticks behind)'", elsewhere ? "<>" : "=");
	buf_literal(&sql, span_of(queue));
	buf_fmt(&sql, " AND co_name %s ", elsewhere ? "=" : "<>");
	buf_literal(&sql, span_of(consumer));
	if (queue_run(src, &sql, e) == 0 && pq_value(src, 0, 0))
		buf_str(names, pq_value(src, 0, 0));
	return e->code;
}

int consumer_elsewhere(struct pq *src, const char *queue, const char *consumer, struct buf *queues,
	struct err *e)
{
	return add_others(src, true, queue, consumer, queues, e);
}

int consumer_others(struct pq *src, const char *queue, const char *consumer, struct buf *names,
	struct err *e)
{
	return add_others(src, false, queue, consumer, names, e);
}

int consumer_unregistered(struct pq *src, const struct conf *c, int64_t tick, struct err *e)
{
	struct buf queues = { 0 };
	struct queue_state now;

	if (queue_state(src, c->queue_name, c->consumer_name, &now, e) < 0 || now.consumer ||
	    consumer_elsewhere(src, c->queue_name, c->consumer_name, &queues, e) < 0)
		return e->code;
	err_set(e, ERR_POSITION, "consumer %s is not registered on queue %s, but the target has"
		" loaded it up to tick %" PRId64, c->consumer_name, c->queue_name, tick);
	if (queues.len)
		err_add(e, ", and it is registered on queue %s. If another config loads that, the"
			" tick is that one's, and must not be forgotten: give this config a"
			" job_name of its own. If somebody unregistered it: --rewind registers it"
			" at that tick; --reset --yes forgets the tick", buf_cstr(&queues));
	else
		err_add(e, ": somebody unregistered it, or another config, of another source, has"
			" this consumer name: then give this one a job_name of its own. --rewind"
			" registers it at that tick; --reset forgets the tick, then it starts with"
			" what comes from now on");
	buf_free(&queues);
	return e->code;
}

/* before: statements of the same transaction. */
static int call_with_names(struct pq *src, const char *before, const char *function,
	const char *queue, const char *consumer, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "%sSELECT \1.%s(", before, function);
	queue_add_names(&sql, queue, consumer);
	buf_str(&sql, ")");
	return queue_run(src, &sql, e);
}

int consumer_register(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	return call_with_names(src, INSTALL_LOCK, "register_consumer", queue, consumer, e);
}

int consumer_unregister(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	return call_with_names(src, "", "unregister_consumer", queue, consumer, e);
}

int consumer_rewind(struct pq *src, const char *queue, const char *consumer, int64_t tick,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT \1.register_consumer_at(");
	queue_add_names(&sql, queue, consumer);
	buf_fmt(&sql, ", %" PRId64 ")", tick);
	if (queue_run(src, &sql, e) == 0 || !sqlstate_is(e->sqlstate, SQLSTATE_RAISED) ||
	    !strstr(e->msg, "tick not found"))
		return e->code;
	*e = (struct err){ 0 };
	return err_set(e, ERR_POSITION, "queue %s has no tick %" PRId64 ", or no more: consumer %s"
		" cannot be set to it. --reset forgets it on the target, and the next run goes on"
		" from the queue's own position: look first which rows would be missing then, or"
		" come twice", queue, tick, consumer);
}
