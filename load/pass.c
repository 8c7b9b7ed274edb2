/*
 * One reading of a batch's events: each to its partition, which is created where it is missing;
 * both servers and we work at the same time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define DDL_LOCK_TIMEOUT_MS 1000        /* while a partition's creation waits, readers queue behind it */
#define DDL_TRIES 30                    /* attempts to get that lock before the batch is given up */
#define BURST 256                       /* events taken between two looks at the target */
#define DDL_PAUSE_MS 500                /* between two attempts to create a partition */
#define OWN_LOCK_TIMEOUT_MS 100         /* when the lock in the way is probably our own */
#define TOGETHER_MAX 16                 /* partitions created in one transaction, within a burst; */
#define TOGETHER_MS 100                 /* none is added to one that is as old as this */
#define DATE_RAW_MAX 192                /* encoded bytes of a date that is worth decoding */

/* ---- partitions */

static void say_created(struct pass *p, struct span name)
{
	p->parts++;
	log_info("created partition %.*s", (int)name.n, name.p);
}

static void say_committed(struct pass *p)
{
	const struct buf *names = &p->open_names;

	for (const char *s = names->p; s < names->p + names->len; s += strlen(s) + 1)
		say_created(p, span_of(s));
	buf_free(&p->open_names);
}

/* The batch is rolled back and begins anew once the rest of its events is read for the partitions
 * alone, each in a transaction of its own. */
static void begin_scan(struct pass *p)
{
	p->scan = true;
	sink_forget(p->places->sink);
	job_close_lanes(p->job);
}

/* Open partitions were rolled back, but the sink knows them already. */
static int lost_open(struct pass *p, struct err *e)
{
	buf_free(&p->open_names);
	if (e->code == ERR_CONN || e->code == ERR_STOP || e->code == ERR_READONLY || (e->code == ERR_RESOURCE && !*e->sqlstate)) {
		sink_forget(p->places->sink);
		return e->code;
	}
	log_debug("new partitions are rolled back and created one by one: %s", e->msg);
	*e = (struct err){ 0 };
	p->places->parts_alone = true;
	begin_scan(p);
	return 0;
}

static int commit_partitions(struct pass *p, struct err *e)
{
	struct err failed = { 0 };

	if (!p->open)
		return e->code;
	if (part_commit(p->job->ddl, &p->open, &failed) == 0)
		say_committed(p);
	else if (lost_open(p, &failed) < 0 && !e->code)
		*e = failed;
	return e->code;
}

/* Once. -1: its transaction was lost with those before, and the pass goes on in another way. */
static int try_partition(struct pass *p, struct part_want *want, struct err *e)
{
	struct job *j = p->job;
	size_t before = p->open;
	bool alone = p->scan || p->careful || p->places->parts_alone, created = false;

	if (!before)
		p->open_ms = clock_ms();
	if (part_open(&j->ddl, j->conf, j->encoding, e) == 0)
		part_ensure(j->ddl, want, alone ? NULL : &p->open, &created, e);
	if (before && !p->open) {
		if (e->code)
			return lost_open(p, e) < 0 ? 0 : -1;
		say_committed(p);
	}
	if (created && p->open) {
		buf_add(&p->open_names, want->name.p, want->name.n);
		buf_add(&p->open_names, "", 1);
	} else if (created) {
		say_created(p, want->name);
	}
	return 0;
}

/* Rows already copied may hold the very lock that a partition's creation waits for: then the batch
 * begins anew too. */
static int ensure_partition(struct pass *p, struct part_want *want, struct err *e)
{
	if ((p->open == TOGETHER_MAX || clock_ms() - p->open_ms > TOGETHER_MS) && commit_partitions(p, e) < 0)
		return e->code;
	for (int tries = 1;; tries++) {
		bool own = !p->scan && sink_done(p->places->sink)->begun;
		want->lock_timeout_ms = own ? OWN_LOCK_TIMEOUT_MS : DDL_LOCK_TIMEOUT_MS;
		if (try_partition(p, want, e) < 0)
			continue;
		if (e->code != ERR_TIMEOUT || tries == DDL_TRIES)
			return e->code;
		if (own) {
			log_debug("creating a partition waits for this batch's own rows: all partitions are created first");
			begin_scan(p);
		} else {
			log_warn("%s; trying again", e->msg);
			process_sleep(DDL_PAUSE_MS);
			if (process_stop_now())
				return e->code;
		}
		*e = (struct err){ 0 };
	}
}

static int into_partition(struct pass *p, struct part_want *want, const struct shape *shape, struct buf *table, struct err *e)
{
	(void)shape;
	if (want->dest->part_template && ensure_partition(p, want, e) < 0)
		return e->code;
	buf_qualified(table, want->dest->schema, want->name);
	return 0;
}

static struct stream *open_stream(struct pass *p, int64_t start_s, const struct shape *shape, struct span ev_type,
	struct err *e)
{
	const struct conf *c = p->job->conf;
	struct buf name = { 0 }, sql = { 0 };
	struct stream *stream = NULL;

	part_name(&name, &c->dest, start_s);
	retain_key(p->job, ev_type);
	struct part_want want = {
		.dest = &c->dest, .name = { name.p, name.len }, .start_s = start_s, .end_s = period_end(&c->dest.period, start_s),
		.ev_type = ev_type, .route = p->places->route,
	};
	buf_str(&sql, "COPY ");
	if ((p->place ? p->place : into_partition)(p, &want, shape, &sql, e) == 0) {
		buf_fmt(&sql, " (%s) FROM STDIN", shape->columns);
		stream = sink_add(p->places->sink, start_s, route_shape_id(p->places->route, shape), job_lane_of(p->job, want.name),
			want.name, buf_cstr(&sql));
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
	err_set(e, ERR_DATA, "column %s: \"%s\" picks no partition: %s", p->job->conf->dest.part_field, buf_cstr(&shown), why);
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

/* An error that is the event's own goes to the list, if there is one with room. 0, or the error. */
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

/* A row that is too old for part_keep. true: part_late deals with it, or an error is set. */
static bool is_late(struct pass *p, const struct event *ev, int64_t start_s, struct err *e)
{
	const struct conf *c = p->job->conf;
	struct buf name = { 0 };
	bool late = false;

	if (c->dest.part_late == PART_LATE_CREATE || commit_partitions(p, e) < 0 || retain_is_late(p->job, start_s, &late, e) < 0 || !late)
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

/* There is no stream for the event's row. An error of its own is left to the lane of its partition,
 * which has dealt with it where it has the batch already. */
static int no_stream(struct pass *p, const struct event *ev, int64_t start_s, struct err *e)
{
	struct buf name = { 0 };

	if (e->code != ERR_DATA || *e->sqlstate)
		return e->code;
	part_name(&name, &p->job->conf->dest, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	if (p->scan || p->job->loads[lane])
		bury(p, ev->id, lane, "", e);
	else
		*e = (struct err){ 0 };
	buf_free(&name);
	return e->code;
}

/* *stream: where the row goes, as far as that is known when it fails. */
static int take_event(struct pass *p, const struct event *ev, struct stream **stream, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;
	int64_t start_s;

	if (ev->type.n && ev->type.p[0] == '{')
		return err_set(e, ERR_DATA, "its type begins with '{': it comes from pgq.jsontriga, which is not supported;"
			" use pgq.logutriga in the trigger");
	if (ev->data.n == 0)
		return err_set(e, ERR_DATA, "ev_data is %s: there is no row", ev->data.p ? "empty" : "NULL");
	if (route_row(p->places->route, ev->data, &shape, &values, &part, e) < 0 ||
	    period_of_event(p, ev, part, &start_s, e) < 0)
		return e->code;
	*stream = sink_find(p->places->sink, start_s, route_shape_id(p->places->route, shape));
	if (!*stream && is_late(p, ev, start_s, e))
		return e->code;
	if (!*stream)
		*stream = open_stream(p, start_s, shape, ev->type, e);
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
	if (ev->type.n == 1 && ev->type.p[0] == 'R') {
		p->truncates++;
		return 0;
	}
	if (take_event(p, ev, &stream, e) == 0)
		return 0;
	p->fault = (struct sink_fault){ .event = -1 };
	/* a partition cannot be created, which is not this event's own fault; or it was judged already */
	if (*e->sqlstate || p->event == ev->id) {
		p->event = ev->id;
		return e->code;
	}
	return bury(p, ev->id, stream ? sink_lane(stream) : 0, stream ? sink_table(stream) : "", e);
}

/* Takes events as long as they are here and there is room, but not for long. */
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

static int pump_lane(struct pass *p, size_t lane, bool drain, struct err *e)
{
	struct job *j = p->job;

	while (!pq_blocked(j->dst[lane]) && sink_pump(p->places->sink, lane, j->dst[lane], drain, &p->fault, e) < 0) {
		p->event = p->fault.event;
		if (p->event < 0 || bury(p, p->event, lane, p->fault.table, e) < 0)
			return e->code;
		p->rows--;
	}
	return 0;
}

static int pump(struct pass *p, bool drain, struct err *e)
{
	if (p->dry)
		return sink_pump(p->places->sink, 0, NULL, drain, &p->fault, e);
	for (size_t i = 0; i < p->job->lanes && !p->scan; i++)
		if (pump_lane(p, i, drain, e) < 0)
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

/* Of two limits in ms, of which a negative one is none. */
static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Nobody waits while one of the others could go on. */
int pass_run(struct pass *p, struct err *e)
{
	struct job *j = p->job;
	int step = PQ_READY;

	p->scan = false;
	p->events = p->rows = p->truncates = p->late = 0;
	p->event = -1;
	p->fault = (struct sink_fault){ .event = -1 };
	p->time = time_wanted(j->conf);
	dead_clear(&p->dead);
	sink_begin(p->places->sink, p->careful);
	if (queue_read(p->from, p->batch, p->time, e) < 0)
		return e->code;
	for (;;) {
		if (step != PQ_END)
			step = take_burst(p, e);
		if (commit_partitions(p, e) < 0)
			return e->code;
		if (pump(p, step == PQ_END, e) < 0)
			return e->code;
		bool done = step == PQ_END, full = sink_full(p->places->sink);
		if (done && (p->scan || sink_idle(p->places->sink)))
			return p->scan;
		int64_t most_ms = sooner(progress_show(j->progress, p->events, p->parts),
			report_progress(j->report, p->events, sink_done(p->places->sink)->bytes));
		if (wait_for_servers(p, !done && !full, step == PQ_READY && !full ? 0 : most_ms, e) < 0)
			return e->code;
	}
}
