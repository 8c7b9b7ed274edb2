/*
 * One pass over a batch's events: each goes to its partition, which is created if missing. Both
 * servers and we work at the same time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define BURST 256                       /* events taken between two looks at the target */
#define DATE_RAW_MAX 192                /* encoded bytes of a date that is worth decoding */

/* Lists the event as a dead letter if it is to blame and the list has room. 0, or the error. */
static int bury(struct pass *p, int64_t event, size_t lane, const char *partition, struct err *e)
{
	char why[sizeof e->msg];

	p->event = event;
	if (e->code != ERR_DATA || !p->keep)
		return e->code;
	if ((int64_t)p->dead.n >= p->max_dead) {
		snprintf(why, sizeof why, "%s", e->msg);
		snprintf(e->msg, sizeof e->msg, "%.900s; the batch has more such events than max_errors = %lld", why,
			(long long)p->max_dead);
		return e->code;
	}
	dead_add(&p->dead, event, lane, partition, e);
	p->event = -1;
	*e = (struct err){ 0 };
	return 0;
}

/* As sink_pump. */
static int pump_lane(struct pass *p, size_t lane, enum sink_until until, struct err *e)
{
	struct job *j = p->job;
	int open = 1;

	while (!pq_blocked(j->dst[lane]) &&
	       (open = sink_pump(p->places->sink, lane, j->dst[lane], until, &p->fault, e)) < 0) {
		style_explain(&j->style, e);
		p->event = p->fault.event;
		if (p->event < 0 || bury(p, p->event, lane, p->fault.table, e) < 0)
			return e->code;
		p->rows--;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	return open;
}

/* ---- partitions */

/* Rolls the batch back; it starts over once the rest of its events is read for their partitions. */
static void begin_scan(struct pass *p)
{
	p->scan = true;
	places_rolled_back(p->places);
	job_close_lanes(p->job);
}

static int free_lane(struct pass *p, struct err *e)
{
	int open;

	while ((open = pump_lane(p, 0, SINK_FREE, e)) > 0)
		if (pq_wait(&p->job->dst[0], 1, -1, e) < 0)
			return e->code;
	return open;
}

/* Creates requested partitions inside our transaction. 0; 1: do it outside; or an error. */
static int enter(struct pass *p, struct err *e)
{
	if (free_lane(p, e) < 0)
		return e->code;
	int64_t event = -1;
	int rc = places_enter(p->places, p->job, &event, e);
	if (rc >= 0 || sqlstate_is_lost(e))
		return rc;
	log_debug("new partitions are rolled back and created before the batch: %s", e->msg);
	*e = (struct err){ 0 };
	p->outside = true;
	begin_scan(p);
	return 1;
}

/* Makes sure that the partitions of all waiting rows exist. */
static int settle(struct pass *p, struct err *e)
{
	int rc = 1;
	int64_t event = -1;

	if (p->place || !places_unsettled(p->places))
		return 0;
	if (!p->scan && !p->outside && places_may_enter(p->places, p->job))
		rc = enter(p, e);
	if (rc > 0)
		rc = places_settle(p->places, p->job, !p->scan && sink_done(p->places->sink)->begun, &event, e);
	if (rc > 0) {
		begin_scan(p);
		rc = places_settle(p->places, p->job, false, &event, e);
	}
	if (event >= 0) {
		p->event = event;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	p->judged = rc < 0;
	return rc;
}

/* Wants the partition. An event that cannot have it created may find it there. */
static int into_partition(struct pass *p, const struct part_want *want, int64_t event, struct buf *table, struct err *e)
{
	if (places_want(p->places, want, event, e) == ERR_DATA) {
		struct err why = *e;
		*e = (struct err){ 0 };
		if (settle(p, e) == 0 && !places_known(p->places, want->start_s))
			*e = why;
	}
	buf_qualified(table, want->dest->schema, want->name);
	return e->code;
}

/* What is sent in UTF-8, or must be valid in it on a target that takes bytes as they are. */
static bool must_be_utf8(const struct job *j)
{
	const struct pq *dst = j->dst[0] ? j->dst[0] : j->ddl;

	return strcmp(j->style.encoding, "UTF8") == 0 ||
		(strcmp(j->style.encoding, "SQL_ASCII") == 0 && strcmp(pq_server_encoding(dst), "UTF8") == 0);
}

/* A name that no statement can contain is the event's fault. */
static int check_names(const struct pass *p, const struct event *ev, const struct shape *shape, struct err *e)
{
	struct buf shown = { 0 };
	size_t i = 0;

	if (!must_be_utf8(p->job))
		return 0;
	while (i < shape->n && text_is_utf8(shape->target[i]))
		i++;
	if (i == shape->n && text_is_utf8(ev->type))
		return 0;
	buf_printable(&shown, i < shape->n ? shape->target[i] : ev->type, 2 * NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "%s %s is no valid UTF-8", i < shape->n ? "the name of column" : "ev_type", buf_cstr(&shown));
	buf_free(&shown);
	return e->code;
}

static struct stream *open_stream(struct pass *p, const struct event *ev, int64_t start_s, const struct shape *shape,
	struct err *e)
{
	const struct conf *c = p->job->conf;
	struct buf name = { 0 }, table = { 0 };
	struct stream *stream = NULL;

	part_name(&name, &c->dest, start_s);
	premake_key(p->job, ev->type);
	struct part_want want = {
		.dest = &c->dest, .name = { name.p, name.len }, .start_s = start_s,
		.end_s = period_end(&c->dest.period, start_s),
		.ev_type = ev->type, .route = p->places->route,
	};
	want.old = retain_may_be_loose(p->job, want.name);
	if (check_names(p, ev, shape, e) == 0 &&
	    (p->place ? p->place(p, &want, shape, &table, e) : into_partition(p, &want, ev->id, &table, e)) == 0)
		stream = sink_add(p->places->sink, start_s, route_shape_id(p->places->route, shape),
			job_lane_of(p->job, want.name), want.name, buf_cstr(&table), shape->columns);
	buf_free(&name);
	buf_free(&table);
	return stream;
}

/* ---- events */

static int no_period(struct pass *p, struct span raw, const char *why, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, raw, 60);
	err_set(e, ERR_DATA, "column %s: \"%s\" picks no partition: %s", p->job->conf->dest.part_field, buf_cstr(&shown), why);
	style_explain(&p->job->style, e);
	buf_free(&shown);
	return e->code;
}

static int period_of_event(struct pass *p, const struct event *ev, struct span raw, int64_t *start_s, struct err *e)
{
	const struct period_rule *rule = &p->job->conf->dest.period;
	char text[DATE_RAW_MAX];
	const char *why = "it is too long for a date";
	size_t bad;

	*start_s = 0;
	if (rule->method == PERIOD_NONE)
		return 0;
	if (p->time != QUEUE_TIME_NONE)
		return period_of_usecs(rule, ev->time, start_s, &why) < 0 ? no_period(p, span_of("the event's time"), why, e) : 0;
	if (!raw.p)
		return err_set(e, ERR_DATA, "column %s is NULL: it picks no partition", p->job->conf->dest.part_field);
	if (period_recall(&p->memo, raw, start_s))
		return 0;
	if (raw.n > sizeof text)
		return no_period(p, raw, why, e);
	ssize_t n = urlenc_decode(text, raw, &bad);
	if (n < 0)
		return err_set(e, ERR_DATA, "column %s: bad escape at byte %zu of ev_data", p->job->conf->dest.part_field,
			(size_t)(raw.p - ev->data.p) + bad);
	if (period_of_text(rule, (struct span){ text, (size_t)n }, start_s, &why) < 0)
		return no_period(p, (struct span){ text, (size_t)n }, why, e);
	period_remember(&p->memo, raw, *start_s);
	return 0;
}

/* A row that is too old for part_keep. true: part_late deals with it, or an error is set. */
static bool is_late(struct pass *p, const struct event *ev, int64_t start_s, struct err *e)
{
	const struct conf *c = p->job->conf;
	struct buf name = { 0 };

	if (c->dest.part_late == PART_LATE_CREATE || !retain_is_late(p->job, start_s))
		return e->code != 0;
	part_name(&name, &c->dest, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	bool ours = !p->scan && p->job->loads[lane];
	if (ours && c->dest.part_late == PART_LATE_SKIP)
		p->late++;
	if (ours && c->dest.part_late == PART_LATE_ERROR) {
		err_set(e, ERR_DATA, "its partition %s is older than part_keep = %s", buf_cstr(&name), c->dest.part_keep);
		bury(p, ev->id, lane, buf_cstr(&name), e);
	}
	buf_free(&name);
	return true;
}

/* There is no stream for the event's row. If the event is to blame, that is up to the lane of its
 * partition, which has dealt with it if it has the batch already. */
static int no_stream(struct pass *p, const struct event *ev, int64_t start_s, struct err *e)
{
	struct buf name = { 0 };

	if (e->code != ERR_DATA || *e->sqlstate || p->judged)
		return e->code;
	part_name(&name, &p->job->conf->dest, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	if (p->job->loads[lane])
		bury(p, ev->id, lane, "", e);
	else
		*e = (struct err){ 0 };
	buf_free(&name);
	return e->code;
}

/* Does the type mark a row? "I:" and then the primary key. */
static bool is_row_type(struct span type)
{
	return type.n > 1 && type.p[1] == ':' && memchr("IUD", type.p[0], 3);
}

/* Does it begin like encoded columns? A value follows an equals sign; not all are NULL. */
static bool is_encoded(struct span data)
{
	size_t i = 0;

	while (i < data.n && data.p[i] != '=' && data.p[i] != '&')
		if (memchr(" \t\r\n\"'`(){}[]<>;\\", data.p[i++], 17))
			return false;
	return memchr(data.p, '=', data.n);
}

/* An event without a row is to blame; the error names its type. */
static int check_row(const struct event *ev, struct err *e)
{
	struct buf type = { 0 };

	if (is_row_type(ev->type) ? ev->data.n > 0 : ev->data.n > 0 && is_encoded(ev->data))
		return 0;
	buf_printable(&type, ev->type, 60);
	if (ev->type.n && ev->type.p[0] == '{')
		err_set(e, ERR_DATA, "its type begins with '{': it comes from pgq.jsontriga, which is not"
			" supported; use pgq.logutriga in the trigger");
	else
		err_set(e, ERR_DATA, "ev_data is %s: there is no row in an event of type \"%s\"",
			!ev->data.p ? "NULL" : !ev->data.n ? "empty" : "not urlencoded", buf_cstr(&type));
	buf_free(&type);
	return e->code;
}

/* Truncates, and the events of PgQ's own programs. */
static bool skip_rowless(struct pass *p, const struct event *ev)
{
	bool truncate = ev->type.n == 1 && ev->type.p[0] == 'R';
	bool own = ev->type.n >= 4 && memcmp(ev->type.p, "pgq.", 4) == 0;

	p->truncates += truncate;
	p->own += own;
	return truncate || own;
}

/* *stream: where the row goes, as far as that is known when it fails. */
static int take_event(struct pass *p, const struct event *ev, struct stream **stream, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;
	int64_t start_s;

	if (check_row(ev, e) < 0)
		return e->code;
	if (route_row(p->places->route, ev->data, &shape, &values, &part, e) < 0 ||
	    period_of_event(p, ev, part, &start_s, e) < 0)
		return e->code;
	*stream = sink_find(p->places->sink, start_s, route_shape_id(p->places->route, shape));
	if (!*stream && is_late(p, ev, start_s, e))
		return e->code;
	if (!*stream)
		*stream = open_stream(p, ev, start_s, shape, e);
	if (!*stream)
		return no_stream(p, ev, start_s, e);
	if (e->code || p->scan || !p->job->loads[sink_lane(*stream)])
		return e->code;
	if (sink_row(p->places->sink, *stream, shape, values, ev, e) == 0)
		p->rows++;
	return e->code;
}

/* A lane's transaction keeps the dead letters of its own partitions, since a lane that has the
 * batch already does not look at their rows again; lane 0, which commits last, keeps all others. */
static int take_or_bury(struct pass *p, const struct event *ev, struct err *e)
{
	struct stream *stream = NULL;

	p->events++;
	if (skip_rowless(p, ev))
		return 0;
	if (take_event(p, ev, &stream, e) == 0)
		return 0;
	if (p->judged)
		return e->code;
	p->fault = (struct sink_fault){ .event = -1 };
	if (p->event == ev->id)         /* bury refused it */
		return e->code;
	if (*e->sqlstate) {             /* a server's error is not this event's fault */
		p->event = ev->id;
		return e->code;
	}
	return bury(p, ev->id, stream ? sink_lane(stream) : 0, stream ? sink_table(stream) : "", e);
}

/* Takes events while they are available and there is room, but not for long. */
static int take_burst(struct pass *p, struct err *e)
{
	struct event ev;
	int step = PQ_READY;

	for (int i = 0; i < BURST && !sink_full(p->places->sink); i++) {
		step = queue_event(p->from, p->time, &ev, e);
		if (step != PQ_READY)
			return step;
		if (take_or_bury(p, &ev, e) < 0)
			return e->code;
	}
	return step;
}

static int pump(struct pass *p, bool done, struct err *e)
{
	struct sink *sink = p->places->sink;

	if (p->dry && (done || sink_full(sink)))
		sink_swallow(sink);
	if (p->dry)
		return 0;
	for (size_t i = 0; i < p->job->lanes && !p->scan; i++)
		if (pump_lane(p, i, done ? SINK_EMPTY : SINK_FULL, e) < 0)
			return e->code;
	return 0;
}

/* Waits for the source when it may give more, and for the lanes. */
static int wait_for_servers(struct pass *p, bool source, int64_t timeout_ms, struct err *e)
{
	struct job *j = p->job;
	struct pq *set[LANES_MAX + 1] = { source ? p->from : NULL };

	for (size_t i = 0; i < j->lanes; i++)
		set[i + 1] = j->dst[i];
	return pq_wait(set, j->lanes + 1, timeout_ms, e);
}

static enum queue_time time_wanted(const struct conf *c)
{
	if (c->dest.part_by != PART_BY_EVTIME)
		return QUEUE_TIME_NONE;
	return c->dest.period.zoned ? QUEUE_TIME_UTC : QUEUE_TIME_SESSION;
}

/* Waits only if neither the source nor a lane can proceed. */
int pass_run(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int step = PQ_READY;

	p->scan = p->judged = false;
	p->events = p->rows = p->truncates = p->own = p->late = 0;
	p->event = -1;
	p->fault = (struct sink_fault){ .event = -1 };
	p->time = time_wanted(j->conf);
	dead_clear(&p->dead);
	places_begin(p->places);
	sink_begin(p->places->sink, p->careful);
	if (queue_read(p->from, p->batch, p->time, e) < 0)
		return e->code;
	for (;;) {
		if (step != PQ_END)
			step = take_burst(p, e);
		if (step < 0)
			return step;
		if (settle(p, e) < 0 || pump(p, step == PQ_END, e) < 0)
			return e->code;
		bool done = step == PQ_END, full = sink_full(p->places->sink);
		if (done && (p->scan || sink_idle(p->places->sink)))
			return p->scan;
		int64_t most_ms = watch_pass(j->watch, p->events, sink_done(p->places->sink)->bytes);
		if (wait_for_servers(p, !done && !full, step == PQ_READY && !full ? 0 : most_ms, e) < 0)
			return e->code;
	}
}
