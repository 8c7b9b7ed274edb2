/*
 * The source's side: every line of SQL for PgQ, and decoding its events.
 *
 * Each statement runs in its own transaction with its own settings: SET LOCAL leaves nothing behind
 * in a pooler's connection, and overrides the role's settings. Events are read in binary, which
 * spares the server escaping them and us unescaping them, and unsorted: PgQ's sort would spill a
 * large batch to disk, and inserts need no order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pq.h"

/* ---- the schema: pgq, or pgque */

static bool is_true(struct pq *src, int col)
{
	const char *value = pq_value(src, 0, col);

	return value && *value == 't';
}

const char *queue_schema(const struct pq *src)
{
	return src->schema ? src->schema : "pgq";
}

void queue_expand(struct buf *sql, const struct pq *src)
{
	struct buf out = { 0 };

	for (const char *p = buf_cstr(sql); *p;) {
		size_t n = strcspn(p, PGQ);
		buf_add(&out, p, n);
		p += n;
		if (*p) {
			buf_str(&out, queue_schema(src));
			p++;
		}
	}
	buf_free(sql);
	*sql = out;
}

/* Which of both are there, by the catalogue alone, for which no right is needed. */
static const char schemas_sql[] = PQ_OWN_PATH
	"SELECT coalesce(bool_or(nspname = 'pgq'), false),"
	" coalesce(bool_or(nspname = 'pgque'), false)"
	" FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
	" WHERE nspname IN ('pgq', 'pgque') AND proname = 'next_batch_info'";

/* Both are there: pgq unless it can be seen that it has not the queue. */
static int has_queue(struct pq *src, const char *queue, bool *yes)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 1 FROM pgq.queue WHERE queue_name = ");
	buf_literal(&sql, span_of(queue));
	*yes = pq_query(src, buf_cstr(&sql), &ignored) < 0 || pq_rows(src) > 0;
	buf_free(&sql);
	return sqlstate_is_lost(&ignored) ? ignored.code : 0;
}

int queue_find(struct pq *src, const struct conf *c, struct err *e)
{
	bool pgq, pgque, has = true;

	src->schema = c->queue_schema == QUEUE_SCHEMA_PGQUE ? "pgque" : "pgq";
	if (c->queue_schema != QUEUE_SCHEMA_AUTO)
		return 0;
	if (pq_query(src, schemas_sql, e) < 0)
		return e->code;
	pgq = is_true(src, 0);
	pgque = is_true(src, 1);
	if (pgq && pgque && has_queue(src, c->queue_name, &has) < 0)
		return err_set(e, ERR_CONN, "src_db: the connection is lost");
	if (pgque && (!pgq || !has))
		src->schema = "pgque";
	return 0;
}

struct pq *queue_open(const struct conf *c, const char *encoding, struct err *e)
{
	struct pq *src = pq_open("src_db", c->src_db, encoding, e);

	if (!src || queue_find(src, c, e) == 0)
		return src;
	pq_close(src);
	return NULL;
}

int queue_listen(struct pq *src, const char *queue, struct err *e)
{
	struct buf channel = { 0 }, sql = { 0 };

	if (strcmp(queue_schema(src), "pgque") != 0)
		return 0;
	buf_fmt(&channel, "pgque_%s", queue);
	buf_str(&sql, "LISTEN ");
	buf_ident(&sql, (struct span){ channel.p, channel.len });
	if (channel.len <= NAME_BYTES_MAX)      /* a longer one is never notified */
		pq_query(src, buf_cstr(&sql), e);
	buf_free(&channel);
	buf_free(&sql);
	return e->code;
}

/* ---- statements */

static void add_begin(struct buf *sql, const struct pq *src)
{
	buf_str(sql, "BEGIN ISOLATION LEVEL READ COMMITTED;" PQ_OWN_PATH
		"SET LOCAL client_min_messages = error;");
	pq_add_settings(sql, src, DATA_LOCK_TIMEOUT_MS);
}

/* Runs sql, and frees it, in a transaction that ends with end: COMMIT or ROLLBACK. */
static int run_to(const char *end, struct pq *src, struct buf *sql, struct err *e)
{
	struct buf all = { 0 };

	add_begin(&all, src);
	buf_fmt(&all, "%s; %s", buf_cstr(sql), end);
	queue_expand(&all, src);
	int rc = pq_query(src, buf_cstr(&all), e);
	buf_free(&all);
	buf_free(sql);
	return rc;
}

static int run(struct pq *src, struct buf *sql, struct err *e)
{
	return run_to("COMMIT", src, sql, e);
}

static void add_names(struct buf *sql, const char *queue, const char *consumer)
{
	buf_literal(sql, span_of(queue));
	buf_str(sql, ", ");
	buf_literal(sql, span_of(consumer));
}

/* A tick's time in microseconds since 1970, and its age in milliseconds. */
#define TIME_US(time) "(extract(epoch FROM " time ") * 1000000)::bigint"
#define AGE_MS(time) "(extract(epoch FROM clock_timestamp() - " time ") * 1000)::bigint"

/* Appends the subscription of the consumer, a table s to join. */
static void add_subscription(struct buf *sql, const char *consumer)
{
	buf_str(sql, "(SELECT s.sub_id, s.sub_queue, s.sub_last_tick"
		" FROM \1.subscription s, \1.consumer c"
		" WHERE s.sub_consumer = c.co_id AND c.co_name = ");
	buf_literal(sql, span_of(consumer));
	buf_str(sql, ") s");
}

static void add_state(struct buf *sql, const char *queue, const char *consumer)
{
	buf_str(sql, "SELECT q.queue_id IS NOT NULL, s.sub_id IS NOT NULL, t.tick_id,"
		" " AGE_MS("t.tick_time") ", s.sub_last_tick"
		" FROM (SELECT 1) one LEFT JOIN \1.queue q ON q.queue_name = ");
	buf_literal(sql, span_of(queue));
	buf_str(sql, " LEFT JOIN ");
	add_subscription(sql, consumer);
	buf_str(sql, " ON s.sub_queue = q.queue_id"
		" LEFT JOIN LATERAL (SELECT tick_id, tick_time FROM \1.tick"
		" WHERE tick_queue = q.queue_id ORDER BY tick_id DESC LIMIT 1) t ON true");
}

int queue_state(struct pq *src, const char *queue, const char *consumer,
	struct queue_state *state, struct err *e)
{
	struct buf sql = { 0 };

	*state = (struct queue_state){ 0 };
	buf_str(&sql, "SELECT to_regprocedure('\1.next_batch_info(text, text)') IS NOT NULL");
	if (run(src, &sql, e) < 0)
		return e->code;
	state->pgq = is_true(src, 0);
	if (!state->pgq)
		return 0;
	add_state(&sql, queue, consumer);
	if (run(src, &sql, e) < 0)
		return e->code;
	state->queue = is_true(src, 0);
	state->consumer = is_true(src, 1);
	state->last_tick = pq_int(src, 0, 2, 0);
	state->last_tick_age_ms = pq_int(src, 0, 3, 0);
	state->consumer_tick = pq_int(src, 0, 4, 0);
	return 0;
}

/* The ticker has stopped if the newest tick is older than a minute and than three of its pauses:
 * ticker_max_lag while events wait for a tick, else ticker_idle_period. */
#define OVERDUE_MS "(extract(epoch FROM greatest(interval '1 minute', 3 * CASE WHEN unticked > 0" \
	" THEN queue_ticker_max_lag ELSE queue_ticker_idle_period END)) * 1000)::bigint"

/* Selects the members of struct queue_backlog, in their order. */
static const char backlog_sql[] =
	"SELECT sub_last_tick, " AGE_MS("done.tick_time") ","
	" last.tick_event_seq - done.tick_event_seq, coalesce(" AGE_MS("next.tick_time") ", 0),"
	" last.tick_id, " AGE_MS("last.tick_time") ", " OVERDUE_MS ", unticked, queue_ticker_paused"
	" FROM (SELECT *, coalesce(tick, sub_last_tick) AS from_tick FROM asked"
	" JOIN \1.queue q ON queue_name = queue LEFT JOIN (SELECT sub_last_tick, sub_queue"
	" FROM \1.subscription, \1.consumer, asked"
	" WHERE sub_consumer = co_id AND co_name = consumer) s ON sub_queue = queue_id) q"
	" LEFT JOIN \1.tick done ON done.tick_queue = queue_id AND done.tick_id = from_tick"
	" LEFT JOIN LATERAL (SELECT tick_time FROM \1.tick WHERE tick_queue = queue_id"
	" AND tick_id > from_tick ORDER BY tick_id LIMIT 1) next ON true"
	" LEFT JOIN LATERAL (SELECT tick_id, tick_time, tick_event_seq FROM \1.tick"
	" WHERE tick_queue = queue_id ORDER BY tick_id DESC LIMIT 1) last ON true,"
	" LATERAL (SELECT CASE WHEN has_sequence_privilege(queue_event_seq, 'SELECT')"
	" THEN coalesce(pg_sequence_last_value(queue_event_seq::regclass), 1) - last.tick_event_seq"
	" END AS unticked) u";

/* -1: NULL. Less than 0 is 0: the source's clock was set back. */
static int64_t known(struct pq *src, int col)
{
	int64_t n = pq_int(src, 0, col, -1);

	return n < 0 && pq_value(src, 0, col) ? 0 : n;
}

int queue_backlog(struct pq *src, const char *queue, const char *consumer, int64_t tick,
	struct queue_backlog *b, struct err *e)
{
	struct buf sql = { 0 };

	*b = (struct queue_backlog)QUEUE_UNKNOWN;
	buf_fmt(&sql, "WITH asked (tick, queue, consumer) AS (SELECT nullif(%" PRId64
		", -1)::bigint, ", tick);
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, "::text, ");
	buf_literal(&sql, span_of(consumer));
	buf_fmt(&sql, "::text) %s", backlog_sql);
	if (run(src, &sql, e) < 0 || !pq_rows(src))
		return e->code;
	*b = (struct queue_backlog){
		known(src, 0), known(src, 1), known(src, 2), known(src, 3), known(src, 4),
		known(src, 5), known(src, 6), known(src, 7), is_true(src, 8),
	};
	return 0;
}

int queue_require(const struct queue_state *state, const char *queue, struct err *e)
{
	if (!state->pgq)
		return err_set(e, ERR_SHAPE, "src_db has no PgQ: install it there"
			" (create extension pgq), or PgQue");
	if (queue && !state->queue)
		return err_set(e, ERR_SHAPE, "src_db has no queue %s: check queue_name, or create"
			" it with --install", queue);
	return 0;
}

/* ---- registrations */

int queue_elsewhere(struct pq *src, const char *queue, const char *consumer, struct buf *queues,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT string_agg(queue_name, ', ' ORDER BY queue_name)"
		" FROM \1.queue, \1.consumer, \1.subscription WHERE sub_queue = queue_id"
		" AND sub_consumer = co_id AND queue_name <> ");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, " AND co_name = ");
	buf_literal(&sql, span_of(consumer));
	if (run(src, &sql, e) == 0 && pq_value(src, 0, 0))
		buf_str(queues, pq_value(src, 0, 0));
	return e->code;
}

int queue_others(struct pq *src, const char *queue, const char *consumer, struct buf *names,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT string_agg(co_name || ' (' || ticks || ' ticks behind)', ', '"
		" ORDER BY co_name) FROM \1.queue, \1.consumer, \1.subscription,"
		" LATERAL (SELECT count(*) AS ticks FROM \1.tick WHERE tick_queue = queue_id"
		" AND tick_id > sub_last_tick) t WHERE sub_queue = queue_id"
		" AND sub_consumer = co_id AND queue_name = ");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, " AND co_name <> ");
	buf_literal(&sql, span_of(consumer));
	if (run(src, &sql, e) == 0 && pq_value(src, 0, 0))
		buf_str(names, pq_value(src, 0, 0));
	return e->code;
}

int queue_unregistered(struct pq *src, const struct conf *c, int64_t tick, struct err *e)
{
	struct buf queues = { 0 };

	if (queue_elsewhere(src, c->queue_name, c->consumer_name, &queues, e) < 0)
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

int queue_create(struct pq *src, const char *queue, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT \1.create_queue(");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, ")");
	return run(src, &sql, e);
}

static int call_with_names(struct pq *src, const char *function, const char *queue,
	const char *consumer, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT \1.%s(", function);
	add_names(&sql, queue, consumer);
	buf_str(&sql, ")");
	return run(src, &sql, e);
}

int queue_register(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	return call_with_names(src, "register_consumer", queue, consumer, e);
}

int queue_unregister(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	return call_with_names(src, "unregister_consumer", queue, consumer, e);
}

int queue_rewind(struct pq *src, const char *queue, const char *consumer, int64_t tick,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT \1.register_consumer_at(");
	add_names(&sql, queue, consumer);
	buf_fmt(&sql, ", %" PRId64 ")", tick);
	if (run(src, &sql, e) == 0 || !sqlstate_is(e->sqlstate, SQLSTATE_RAISED) ||
	    !strstr(e->msg, "tick not found"))
		return e->code;
	*e = (struct err){ 0 };
	return err_set(e, ERR_POSITION, "queue %s has no tick %" PRId64 ", or no more: consumer %s"
		" cannot be set to it. --reset forgets it on the target, and the next run goes on"
		" from the queue's own position: look first which rows would be missing then, or"
		" come twice", queue, tick, consumer);
}

/* A tick at an end of the consumer's batch that PgQ does not have: somebody deleted it. */
static bool lacks_tick(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, "SELECT k, sub_batch FROM \1.queue, \1.consumer, \1.subscription,"
		" unnest(ARRAY[sub_last_tick, sub_next_tick]) k WHERE sub_queue = queue_id"
		" AND sub_consumer = co_id AND k IS NOT NULL AND NOT EXISTS (SELECT FROM \1.tick"
		" WHERE tick_queue = queue_id AND tick_id = k) AND (queue_name, co_name) = (");
	add_names(&sql, queue, consumer);
	buf_str(&sql, ") ORDER BY k");
	int rc = pq_query(src, "ROLLBACK", &ignored);
	if (rc == 0)
		rc = run(src, &sql, &ignored);
	buf_free(&sql);
	if (rc < 0 || !pq_rows(src))
		return false;
	*e = (struct err){ 0 };
	err_set(e, ERR_POSITION, "src_db: PgQ has no tick %" PRId64 ", at which the batch %" PRId64
		" of consumer %s on queue %s begins or ends: somebody deleted it. Nothing was"
		" written."
		" --rewind gives up that batch and sets the queue to the target's tick, if PgQ"
		" still"
		" has it; --reset forgets that tick, to start with what comes from now on",
		pq_int(src, 0, 0, 0), pq_int(src, 0, 1, 0), consumer, queue);
	return true;
}

/* PgQ's plain exceptions: the consumer is gone; or a tick is, or the batch, which another process
 * finished in this very moment. */
static int no_batch(struct pq *src, const char *queue, const char *consumer, struct err *e)
{
	struct queue_state state;
	struct err ignored = { 0 };

	if (!sqlstate_is(e->sqlstate, SQLSTATE_RAISED) || lacks_tick(src, queue, consumer, e))
		return e->code;
	e->code = ERR_POSITION;
	if (strstr(e->msg, "batch") && pq_query(src, "ROLLBACK", &ignored) == 0 &&
	    queue_state(src, queue, consumer, &state, &ignored) == 0 && state.consumer)
		return e->code = ERR_CONFLICT;
	err_add(e, ". --rewind registers the consumer at the target's tick;"
		" --reset forgets that tick, to start with what comes from now on");
	return e->code;
}

/* Appends the number of pending events, which PgQ's counters of ticks estimate. It is asked at each
 * look at the queue, and to plan a join takes longer than to run these. */
static void add_pending(struct buf *sql, const char *queue, const char *consumer)
{
	buf_str(sql, "(SELECT (SELECT tick_event_seq FROM \1.tick WHERE tick_queue = sub_queue"
		" ORDER BY tick_id DESC LIMIT 1) - (SELECT tick_event_seq FROM \1.tick"
		" WHERE tick_queue = sub_queue AND tick_id = sub_last_tick)"
		" FROM \1.subscription WHERE sub_queue ="
		" (SELECT queue_id FROM \1.queue WHERE queue_name = ");
	buf_literal(sql, span_of(queue));
	buf_str(sql, ") AND sub_consumer = (SELECT co_id FROM \1.consumer WHERE co_name = ");
	buf_literal(sql, span_of(consumer));
	buf_str(sql, "))");
}

/* PgQ's min_count is min_events or, where fewer are pending, their number: it returns nothing while
 * fewer than min_count events are pending. */
static void add_next(struct buf *sql, const char *queue, const char *consumer, int64_t min_events)
{
	buf_fmt(sql, "SELECT batch_id, cur_tick_id, prev_tick_id, " AGE_MS("cur_tick_time") ","
		" CASE WHEN batch_id IS NOT NULL THEN \1.batch_event_sql(batch_id) END,"
		" " TIME_US("cur_tick_time") ", " TIME_US("prev_tick_time")
		" FROM \1.next_batch_%s(", min_events ? "custom" : "info");
	add_names(sql, queue, consumer);
	if (min_events) {
		buf_fmt(sql, ", NULL, least(%" PRId64 ", ", min_events);
		add_pending(sql, queue, consumer);
		buf_str(sql, ")::int4, NULL");
	}
	buf_str(sql, ")");
}

static int take_batch(struct pq *src, struct queue_batch *batch)
{
	if (!pq_rows(src) || !pq_value(src, 0, 0))
		return 0;
	const char *events = pq_value(src, 0, 4);
	*batch = (struct queue_batch){
		.id = pq_int(src, 0, 0, 0),
		.tick = pq_int(src, 0, 1, 0), .prev_tick = pq_int(src, 0, 2, 0),
		.tick_us = pq_int(src, 0, 5, 0), .prev_us = pq_int(src, 0, 6, 0),
		.lag_ms = pq_int(src, 0, 3, 0),
		.event_sql = mem_str(events, strlen(events)),
	};
	return 1;
}

int queue_next(struct pq *src, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct queue_batch *batch, struct err *e)
{
	struct buf sql = { 0 };

	if (finish)
		buf_fmt(&sql, "SELECT \1.finish_batch(%" PRId64 ");", finish);
	add_next(&sql, queue, consumer, min_events);
	if (run(src, &sql, e) < 0)
		return no_batch(src, queue, consumer, e);
	return take_batch(src, batch);
}

int queue_peek(struct pq *src, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *batch, struct err *e)
{
	struct buf sql = { 0 };

	add_next(&sql, queue, consumer, min_events);
	if (run_to("ROLLBACK", src, &sql, e) == 0)
		return take_batch(src, batch);
	if (sqlstate_is(e->sqlstate, SQLSTATE_RAISED))
		lacks_tick(src, queue, consumer, e);
	return e->code;
}

void queue_batch_free(struct queue_batch *batch)
{
	free(batch->event_sql);
	batch->event_sql = NULL;
}

int queue_finish(struct pq *src, int64_t batch, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT \1.finish_batch(%" PRId64 ")", batch);
	return run(src, &sql, e);
}

int queue_batch_active(struct pq *src, int64_t batch, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT tick_id IS NOT NULL FROM \1.get_batch_info(%" PRId64 ")", batch);
	if (run(src, &sql, e) == 0)
		*yes = is_true(src, 0);
	return e->code;
}

int queue_times(struct pq *src, const char *queue, struct position *pos, size_t n,
	int64_t *newest, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT coalesce((SELECT " TIME_US("tick_time") " FROM \1.tick"
		" WHERE tick_queue = q.queue_id AND tick_id = k),"
		" CASE WHEN k < (SELECT min(tick_id) FROM \1.tick"
		" WHERE tick_queue = q.queue_id) THEN 0 ELSE %d END),"
		" (SELECT max(tick_id) FROM \1.tick WHERE tick_queue = q.queue_id)"
		" FROM \1.queue q, unnest('{0", QUEUE_NO_TICK);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&sql, ",%" PRId64, pos[i].tick);
	buf_str(&sql, "}'::bigint[]) WITH ORDINALITY t (k, i) WHERE queue_name = ");
	buf_literal(&sql, span_of(queue));
	buf_str(&sql, " ORDER BY i");
	if (run(src, &sql, e) < 0)
		return e->code;
	*newest = pq_int(src, 0, 1, 0);
	for (size_t i = 0; i < n; i++)
		pos[i].source_us = pq_rows(src) ? pq_int(src, (int)i + 1, 0, 0) : QUEUE_NO_TICK;
	return 0;
}

/* ---- events */

/* PgQ's query without its sort. */
static void add_events(struct buf *sql, const struct queue_batch *batch)
{
	static const char order[] = " order by 1";
	size_t n = strlen(batch->event_sql), tail = strlen(order);

	if (n > tail && strcmp(batch->event_sql + n - tail, order) == 0)
		n -= tail;
	buf_add(sql, batch->event_sql, n);
}

static void add_tick(struct buf *sql, const struct queue_batch *batch)
{
	if (batch->tick)
		buf_fmt(sql, ", %" PRId64 "::int8", batch->tick);
	else
		buf_str(sql, ", tick_id");
}

static void add_batch_time(struct buf *sql, const struct queue_batch *batch, const char *type)
{
	if (batch->tick)
		buf_fmt(sql, ", (timestamptz 'epoch' + %" PRId64 " * interval '1 microsecond')::%s",
			batch->tick_us, type);
	else
		buf_fmt(sql, ", tick_time::%s", type);
}

/* Appends the parts' columns, in the order in which parse_event takes them. */
static void add_parts(struct buf *sql, const struct queue_batch *batch, unsigned parts)
{
	buf_str(sql, parts & EVENT_TABLE ? ", ev_extra1" : "");
	buf_str(sql, parts & EVENT_TXID ? ", ev_txid" : "");
	buf_str(sql, parts & EVENT_TIME ? ", ev_time" : "");
	if (parts & EVENT_TICK)
		add_tick(sql, batch);
	if (parts & EVENT_BATCH_TIME)
		add_batch_time(sql, batch, "timestamptz");
	if (parts & EVENT_LOCAL_TIME)
		buf_str(sql, ", ev_time::timestamp");
	else if (parts & EVENT_LOCAL_BATCH_TIME)
		add_batch_time(sql, batch, "timestamp");
}

/* A pattern of LIKE, if there is a star; else the name, with the schema that it lacks. */
static void add_pattern(struct buf *sql, const char *column, struct span item)
{
	bool pattern = memchr(item.p, '*', item.n);
	struct buf text = { 0 };

	buf_add(&text, filter_schema(item).p, filter_schema(item).n);
	for (size_t i = 0; i < item.n; i++) {
		if (pattern && strchr("%_\\", item.p[i]))
			buf_str(&text, "\\");
		buf_add(&text, item.p[i] == '*' ? "%" : item.p + i, 1);
	}
	buf_fmt(sql, "%s %s ", column, pattern ? "LIKE" : "=");
	buf_literal(sql, (struct span){ text.p, text.len });
	buf_free(&text);
}

void queue_add_tables(struct buf *sql, const char *column, const char *list)
{
	const char *before = "(";
	struct span item;

	while (filter_next(&list, &item)) {
		buf_str(sql, before);
		add_pattern(sql, column, item);
		before = " OR ";
	}
	buf_str(sql, ")");
}

/* A type may be all of ev_type, where ev_data is JSON; and one that is JSON is not looked into. */
static void add_types(struct buf *sql, const char *list)
{
	struct buf in = { 0 };
	struct span item;

	while (filter_next(&list, &item)) {
		buf_str(&in, in.len ? ", " : "");
		buf_literal(&in, item);
	}
	buf_cstr(&in);
	buf_fmt(sql, "(split_part(ev_type, ':', 1) IN (%s) OR ev_type IN (%s) OR ev_type LIKE"
		" '{%%')",
		in.p, in.p);
	buf_free(&in);
}

bool queue_filters(const struct queue_want *want)
{
	return want->tables || want->types;
}

static void add_filtered(struct buf *sql, const struct queue_want *want)
{
	struct buf filter = { 0 };

	if (want->tables)
		queue_add_tables(&filter, "ev_extra1", want->tables);
	if (want->types) {
		buf_str(&filter, want->tables ? " AND " : "");
		add_types(&filter, want->types);
	}
	buf_cstr(&filter);
	buf_fmt(sql, "CASE WHEN %s THEN coalesce(ev_type, '') END, CASE WHEN %s THEN ev_data END",
		filter.p, filter.p);
	buf_free(&filter);
}

int queue_read(struct pq *src, const struct queue_batch *batch, const struct queue_want *want,
	struct err *e)
{
	struct buf sql = { 0 };

	add_begin(&sql, src);
	buf_str(&sql, "COPY (SELECT ev_id, ");
	if (queue_filters(want))
		add_filtered(&sql, want);
	else
		buf_str(&sql, "ev_type, ev_data");
	add_parts(&sql, batch, want->parts);
	buf_str(&sql, " FROM (");
	add_events(&sql, batch);
	buf_fmt(&sql, ") e%s) TO STDOUT (FORMAT binary); COMMIT",
		want->by_id ? " ORDER BY ev_id" : "");
	int rc = pq_copy_out(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

int queue_read_some(struct pq *src, const struct queue_batch *batch, const char *more,
	const char *ids, struct err *e)
{
	struct buf sql = { 0 };

	add_begin(&sql, src);
	buf_fmt(&sql, "SET LOCAL DateStyle = ISO;"
		"COPY (SELECT ev_id, ev_time, ev_type, ev_data, ev_extra1%s FROM (", more);
	add_events(&sql, batch);
	buf_fmt(&sql, ") e WHERE ev_id = ANY ('{%s}')) TO STDOUT; COMMIT", ids);
	int rc = pq_copy_out(src, buf_cstr(&sql), e);
	buf_free(&sql);
	return rc;
}

static inline uint32_t take_u32(struct span *row)
{
	const unsigned char *p = (const unsigned char *)row->p;

	row->p += 4;
	row->n -= 4;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One binary COPY field: a length, -1 for NULL, and its bytes. */
static inline bool take_field(struct span *row, struct span *field)
{
	if (row->n < 4)
		return false;
	uint32_t n = take_u32(row);
	*field = (struct span){ n == UINT32_MAX ? NULL : row->p, n == UINT32_MAX ? 0 : n };
	if (field->n > row->n)
		return false;
	row->p += field->n;
	row->n -= field->n;
	return true;
}

static inline bool take_int64(struct span *row, int64_t *value)
{
	struct span field;

	if (!take_field(row, &field) || field.n != 8)
		return false;
	uint64_t high = take_u32(&field);
	*value = (int64_t)(high << 32 | take_u32(&field));
	return true;
}

/* Takes the part if it is among those asked for. */
static inline bool take_part(struct span *row, unsigned parts, unsigned part, struct event *event,
	int64_t *value)
{
	if (!(parts & part))
		return true;
	if (row->n >= 4 && memcmp(row->p, "\377\377\377\377", 4) == 0) {
		event->lacks |= part;
		take_u32(row);
		return true;
	}
	return take_int64(row, value);
}

static bool parse_parts(struct span *row, unsigned parts, struct event *event)
{
	const unsigned local = EVENT_LOCAL_TIME | EVENT_LOCAL_BATCH_TIME;

	return (!(parts & EVENT_TABLE) || take_field(row, &event->table)) &&
		take_part(row, parts, EVENT_TXID, event, &event->txid) &&
		take_part(row, parts, EVENT_TIME, event, &event->time) &&
		take_part(row, parts, EVENT_TICK, event, &event->tick) &&
		take_part(row, parts, EVENT_BATCH_TIME, event, &event->batch_time) &&
		take_part(row, parts, local, event, &event->local_time);
}

static bool parse_event(struct span row, unsigned parts, struct event *event)
{
	if (row.n < 2)
		return false;
	row.p += 2;                     /* the number of columns, which our query decides */
	row.n -= 2;
	event->lacks = 0;
	return take_int64(&row, &event->id) &&
		take_field(&row, &event->type) && take_field(&row, &event->data) &&
		(!parts || parse_parts(&row, parts, event)) && row.n == 0;
}

int queue_event(struct pq *src, unsigned parts, struct event *event, struct err *e)
{
	struct span row;
	int step = pq_copy_row(src, &row, e);

	if (step == PQ_READY && !parse_event(row, parts, event))
		return err_set(e, ERR_OTHER, "src_db: a row of the batch is not as asked for");
	return step;
}

char *queue_event_table(struct pq *src, const struct queue_batch *batch, int64_t id)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_fmt(&sql, "SELECT ev_extra1 FROM (%s) e WHERE ev_id = %" PRId64, batch->event_sql, id);
	if (run(src, &sql, &ignored) < 0 || pq_rows(src) < 1 || !pq_value(src, 0, 0))
		return NULL;
	const char *table = pq_value(src, 0, 0);
	return mem_str(table, strlen(table));
}
