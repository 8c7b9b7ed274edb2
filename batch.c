/*
 * One batch, from next_batch to finish_batch: the order of the two transactions.
 *
 *   source                          target
 *   next_batch
 *                                   BEGIN, lock on the position, the tick known there
 *   COPY events out          ->     COPY rows in, a partition at a time
 *                                   set_last_tick, COMMIT
 *   finish_batch, with the next next_batch
 *
 * Killed before the COMMIT, nothing has happened and the batch comes again; killed after it, the
 * batch comes again and the target's tick says that it is in.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tdispatch.h"

#define BURST 256                       /* events taken between two looks at the target */
#define DDL_PAUSE_MS 500                /* between two attempts to create a partition */
#define OWN_LOCK_TIMEOUT_MS 100         /* when the lock in the way is probably our own */
#define DATE_RAW_MAX 192                /* encoded bytes of a date that is worth decoding */

struct pass {                           /* one reading of the batch's events */
	struct job *job;
	const struct queue_batch *batch;
	enum queue_time time;
	bool scan;                      /* only make sure that the partitions are there */
	bool careful;                   /* find the event at fault */
	int64_t events, rows, truncates, parts;
	int64_t event;                  /* the one at hand, or at fault, or -1 */
	int64_t last_event;             /* the fault is in one of event to last_event */
	struct sink_fault fault;
};

/* ---- the connections */

void job_disconnect(struct job *j)
{
	pq_close(j->src);
	pq_close(j->ddl);
	j->src = j->ddl = NULL;
	lanes_close(j);
	if (j->sink)
		sink_discard(j->sink);
}

void job_free(struct job *j)
{
	job_disconnect(j);
	j->to_finish = 0;
	route_free(j->route);
	sink_free(j->sink);
	j->route = NULL;
	j->sink = NULL;
}

/* A consumer that the target knows must not be registered: it would start at the newest tick. */
static int check_registration(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	bool known;
	int64_t tick;

	if (queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 || position_kind(j->dst[0], &j->kind, e) < 0)
		return e->code;
	if (queue_require(&state, c->queue_name, e) < 0 || position_require(j->kind, e) < 0)
		return e->code;
	if (state.consumer)
		return 0;
	if (position_get(j->dst[0], c->consumer_name, &known, &tick, e) < 0)
		return e->code;
	if (known)
		return position_unregistered(c, tick, e);
	log_info("registering consumer %s on queue %s: it gets what comes from now on", c->consumer_name, c->queue_name);
	return queue_register(j->src, c->queue_name, c->consumer_name, e);
}

int job_connect(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;

	if (!j->route) {
		bool by_column = c->part_field && strcmp(c->part_field, "_EVTIME") != 0;
		j->route = route_new(c->field, c->nfield, by_column ? c->part_field : NULL);
		j->sink = sink_new();
	}
	if (j->src && j->dst[0])
		return 0;
	job_disconnect(j);
	j->src = pq_open("src_db", c->src_db, NULL, e);
	if (!j->src || conf_fits(c, pq_server_encoding(j->src), e) < 0 || lanes_open(j, 1, e) < 0)
		return e->code;
	return check_registration(j, e);
}

/* ---- partitions */

static int try_partition(struct pass *p, const struct part_want *want, bool *created, struct err *e)
{
	struct job *j = p->job;

	if (!j->ddl)
		j->ddl = pq_open("dst_db", j->conf->dst_db, pq_server_encoding(j->src), e);
	return j->ddl ? part_ensure(j->ddl, want, created, e) : e->code;
}

/* Rows already copied may hold the very lock that a partition's creation waits for. Then they are
 * rolled back, the rest of the events is read for the partitions alone, and the batch begins anew. */
static void begin_scan(struct pass *p)
{
	log_debug("creating a partition waits for this batch's own rows: all partitions are created first");
	p->scan = true;
	sink_discard(p->job->sink);
	lanes_close(p->job);
}

static int ensure_partition(struct pass *p, struct part_want *want, struct err *e)
{
	bool created = false;

	for (int tries = 1;; tries++) {
		bool own = !p->scan && sink_sent_any(p->job->sink);
		want->lock_timeout_ms = own ? OWN_LOCK_TIMEOUT_MS : DDL_LOCK_TIMEOUT_MS;
		try_partition(p, want, &created, e);
		if (e->code != ERR_TIMEOUT || tries == DDL_TRIES)
			break;
		if (!own) {
			log_warn("%s; trying again", e->msg);
			daemon_sleep(DDL_PAUSE_MS);
			if (daemon_stop_now())
				break;
		}
		*e = (struct err){ 0 };
		if (own)
			begin_scan(p);
	}
	if (created) {
		p->parts++;
		log_info("created partition %.*s", (int)want->name.n, want->name.p);
	}
	return e->code;
}

static struct stream *open_stream(struct pass *p, int64_t start_s, const struct shape *shape, struct span ev_type,
	struct err *e)
{
	const struct conf *c = p->job->conf;
	char suffix[PERIOD_SUFFIX_MAX];
	struct buf name = { 0 }, sql = { 0 };
	struct stream *stream = NULL;

	period_suffix(&c->period, start_s, suffix);
	buf_add(&name, c->table.p, c->table.n);
	buf_str(&name, suffix);
	struct part_want want = {
		.conf = c, .name = { name.p, name.len }, .start_s = start_s, .end_s = period_end(&c->period, start_s),
		.ev_type = ev_type, .route = p->job->route,
	};
	if (!c->part_template || ensure_partition(p, &want, e) == 0) {
		buf_str(&sql, "COPY ");
		buf_qualified(&sql, c->schema, want.name);
		buf_fmt(&sql, " (%s) FROM STDIN", shape->columns);
		size_t lane = span_hash("tdispatch lane", want.name) % p->job->lanes;
		stream = sink_add(p->job->sink, start_s, route_shape_id(p->job->route, shape), lane, want.name, buf_cstr(&sql));
	}
	buf_free(&name);
	buf_free(&sql);
	return stream;
}

/* ---- events */

static int no_period(struct pass *p, struct span raw, const char *why, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, raw, 60);
	err_set(e, ERR_DATA, "column %s: \"%s\" picks no partition: %s", p->job->conf->part_field, buf_cstr(&shown), why);
	buf_free(&shown);
	return e->code;
}

static int period_of_event(struct pass *p, const struct event *ev, struct span raw, int64_t *start_s, struct err *e)
{
	const struct period_rule *rule = &p->job->conf->period;
	char text[DATE_RAW_MAX];
	const char *why = "it is too long for a date";
	size_t bad;

	*start_s = 0;
	if (rule->method == PERIOD_NONE)
		return 0;
	if (p->time != QUEUE_TIME_NONE)
		return period_of_usecs(rule, ev->time, start_s, &why) < 0 ? no_period(p, span_of("the event's time"), why, e) : 0;
	if (!raw.p)
		return err_set(e, ERR_DATA, "column %s is NULL: it picks no partition", p->job->conf->part_field);
	if (raw.n > sizeof text)
		return no_period(p, raw, why, e);
	ssize_t n = urlenc_decode(text, raw, &bad);
	if (n < 0)
		return err_set(e, ERR_DATA, "column %s: bad escape at byte %zu of ev_data", p->job->conf->part_field,
			(size_t)(raw.p - ev->data.p) + bad);
	if (period_of_text(rule, (struct span){ text, (size_t)n }, start_s, &why) < 0)
		return no_period(p, (struct span){ text, (size_t)n }, why, e);
	return 0;
}

/* Appends the row as a line of COPY text to its stream. */
static int put_row(struct pass *p, const struct event *ev, struct stream *stream, const struct shape *shape,
	const struct span *values, struct err *e)
{
	size_t room = 0;        /* a column may be asked for twice, so the event's length is no bound */

	for (size_t i = 0; i < shape->n; i++)
		room += 2 * values[i].n + 3;
	char *start = sink_room(p->job->sink, stream, room), *out = start;
	for (size_t i = 0; i < shape->n; i++) {
		size_t bad;
		ssize_t n = 2;
		if (values[i].p)
			n = urlenc_copy(out, values[i], &bad);
		else
			memcpy(out, "\\N", 2);
		if (n < 0)
			return err_set(e, ERR_DATA, "column %.*s: bad escape at byte %zu of ev_data", (int)shape->target[i].n,
				shape->target[i].p, (size_t)(values[i].p - ev->data.p) + bad);
		out += n;
		*out++ = i + 1 < shape->n ? '\t' : '\n';
	}
	sink_put(p->job->sink, stream, (size_t)(out - start), ev->id);
	p->rows++;
	return 0;
}

static int take_event(struct pass *p, const struct event *ev, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;
	int64_t start_s;

	p->events++;
	if (ev->type.n == 1 && ev->type.p[0] == 'R') {
		p->truncates++;
		return 0;
	}
	if (ev->type.n && ev->type.p[0] == '{')
		return err_set(e, ERR_DATA, "its type begins with '{': it comes from pgq.jsontriga, which is not supported;"
			" use pgq.logutriga in the trigger");
	if (ev->data.n == 0)
		return err_set(e, ERR_DATA, "ev_data is %s: there is no row", ev->data.p ? "empty" : "NULL");
	if (route_row(p->job->route, ev->data, &shape, &values, &part, e) < 0 ||
	    period_of_event(p, ev, part, &start_s, e) < 0)
		return e->code;
	struct stream *stream = sink_find(p->job->sink, start_s, route_shape_id(p->job->route, shape));
	if (!stream)
		stream = open_stream(p, start_s, shape, ev->type, e);
	if (e->code || p->scan || !p->job->loads[sink_lane(stream)])
		return e->code;
	return put_row(p, ev, stream, shape, values, e);
}

/* Takes events as long as they are here and there is room, but not for long. */
static int take_burst(struct pass *p, struct err *e)
{
	struct event ev;
	int step = PQ_READY;

	for (int i = 0; i < BURST && !sink_full(p->job->sink); i++) {
		p->event = -1;
		step = queue_event(p->job->src, p->time, &ev, e);
		if (step != PQ_READY)
			return step;
		p->event = ev.id;
		if (take_event(p, &ev, e) < 0)
			return e->code;
	}
	p->event = -1;
	return step;
}

static int pump(struct pass *p, bool drain, struct err *e)
{
	struct job *j = p->job;

	for (size_t i = 0; i < j->lanes && !p->scan; i++) {
		if (pq_blocked(j->dst[i]) || sink_pump(j->sink, i, j->dst[i], drain, &p->fault, e) == 0)
			continue;
		p->event = p->fault.event;
		p->last_event = p->fault.last_event;
		return e->code;
	}
	return 0;
}

/* Waits for the source when it may give more, and for the lanes. */
static int wait_for_servers(struct pass *p, bool source, int64_t timeout_ms, struct err *e)
{
	struct job *j = p->job;
	struct pq *set[LANES_MAX + 1] = { source ? j->src : NULL };

	for (size_t i = 0; i < j->lanes; i++)
		set[i + 1] = j->dst[i];
	return pq_wait(set, j->lanes + 1, timeout_ms, e);
}

/* Both servers and we work at the same time: nobody waits while one of the others could go on. */
static int run_pass(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int step = PQ_READY;

	p->event = p->last_event = -1;
	p->fault = (struct sink_fault){ .event = -1, .last_event = -1 };
	sink_begin(j->sink, p->careful);
	if (queue_read(j->src, p->batch, p->time, e) < 0)
		return e->code;
	for (;;) {
		if (step != PQ_END && (step = take_burst(p, e)) < 0)
			return e->code;
		if (pump(p, step == PQ_END, e) < 0)
			return e->code;
		bool done = step == PQ_END, full = sink_full(j->sink);
		if (done && (p->scan || sink_idle(j->sink)))
			return 0;
		if (wait_for_servers(p, !done && !full, step == PQ_READY && !full ? 0 : -1, e) < 0)
			return e->code;
	}
}

/* ---- the batch */

static void log_batch(const struct job *j, const struct pass *p, int64_t took_ms)
{
	const struct queue_batch *b = p->batch;

	if (p->truncates)
		log_info("batch %" PRId64 ": %" PRId64 " truncate events skipped", b->id, p->truncates);
	(p->events ? log_info : log_debug)("queue %s batch %" PRId64 " ticks %" PRId64 "-%" PRId64 ": events=%" PRId64
		" rows=%" PRId64 " partitions_created=%" PRId64 " seconds=%.3f rows_per_second=%.0f lag=%.1f",
		j->conf->queue_name, b->id, b->prev_tick, b->tick, p->events, p->rows, p->parts, (double)took_ms / 1000,
		took_ms ? (double)p->rows * 1000 / (double)took_ms : (double)p->rows * 1000,
		(double)(b->lag_ms + took_ms) / 1000);
}

/* Puts the batch, the event, its table and where it was to go before the error's text. */
static void blame(struct job *j, const struct pass *p, struct err *e)
{
	struct buf text = { 0 };
	struct err reconnect = { 0 };
	char *table = NULL;

	if (p->event < 0)
		return;
	pq_close(j->src);
	j->src = pq_open("src_db", j->conf->src_db, NULL, &reconnect);
	if (j->src)
		table = queue_event_table(j->src, p->batch, p->event);
	buf_fmt(&text, "event %" PRId64, p->event);
	if (p->last_event > p->event)
		buf_fmt(&text, " or one after it up to %" PRId64, p->last_event);
	buf_fmt(&text, " of batch %" PRId64, p->batch->id);
	if (table)
		buf_fmt(&text, ", source table %.200s", table);
	if (p->fault.table[0])
		buf_fmt(&text, ", partition %s", p->fault.table);
	if (p->fault.column[0])
		buf_fmt(&text, ", column %s", p->fault.column);
	buf_fmt(&text, ": %s", e->msg);
	snprintf(e->msg, sizeof e->msg, "%s", buf_cstr(&text));
	buf_free(&text);
	free(table);
}

static enum queue_time time_wanted(const struct conf *c)
{
	if (c->period.method == PERIOD_NONE || strcmp(c->part_field, "_EVTIME") != 0)
		return QUEUE_TIME_NONE;
	return c->period.zoned ? QUEUE_TIME_UTC : QUEUE_TIME_SESSION;
}

/* Loads and commits what is to be loaded. An enum lanes_verdict, or an error. */
static int load(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int verdict = lanes_begin(j, p->batch, e);

	if (verdict != LANES_TO_LOAD)
		return verdict;
	if (run_pass(p, e) < 0)
		return e->code;
	if (p->scan) {
		p->scan = false;
		p->events = p->rows = p->truncates = 0;
		return load(p, e);
	}
	return lanes_commit(j, p->batch, e) < 0 ? e->code : LANES_TO_LOAD;
}

/* What a failed pass should be followed by: the same again, more carefully. */
static bool worth_another(struct pass *p, bool *forgot, const struct err *e)
{
	if ((e->code != ERR_DATA && e->code != ERR_SHAPE) || !p->fault.table[0])
		return false;
	if (p->event < 0 && !p->careful) {
		p->careful = true;
		return true;
	}
	if (e->code == ERR_SHAPE && !*forgot) {
		*forgot = true;         /* a partition that was there may have been dropped since */
		sink_forget(p->job->sink);
		return true;
	}
	return false;
}

static int load_batch(struct job *j, const struct queue_batch *batch, struct err *e)
{
	struct pass p = { .job = j, .batch = batch, .time = time_wanted(j->conf), .event = -1, .last_event = -1 };
	int64_t start_ms = clock_ms();
	bool forgot = false;
	int verdict;

	while ((verdict = load(&p, e)) < 0) {
		if (!worth_another(&p, &forgot, e)) {
			if (e->code == ERR_DATA || e->code == ERR_SHAPE)
				blame(j, &p, e);
			return e->code;
		}
		*e = (struct err){ 0 };
		p.events = p.rows = p.truncates = 0;
		job_disconnect(j);
		if (job_connect(j, e) < 0)
			return e->code;
	}
	if (verdict == LANES_MOVED)
		return 1;
	if (verdict == LANES_IS_IN)
		log_info("batch %" PRId64 " is in the target already: finishing it", batch->id);
	j->to_finish = batch->id;
	if (verdict == LANES_TO_LOAD) {
		j->events += p.events;
		log_batch(j, &p, clock_ms() - start_ms);
	}
	j->last_tick = batch->tick;
	return 1;
}

int batch_run(struct job *j, struct err *e)
{
	struct queue_batch batch = { 0 };
	const struct conf *c = j->conf;
	int64_t min_events = j->last_tick < j->single_until ? 0 : c->batch_min_events;
	int rc = queue_next(j->src, c->queue_name, c->consumer_name, min_events, j->to_finish, &batch, e);

	if (rc >= 0)
		j->to_finish = 0;
	if (rc > 0)
		rc = load_batch(j, &batch, e);
	queue_batch_free(&batch);
	return rc;
}

int batch_finish(struct job *j, struct err *e)
{
	if (!j->to_finish || !j->src)
		return 0;
	if (queue_finish(j->src, j->to_finish, e) == 0)
		j->to_finish = 0;
	return e->code;
}
