/*
 * What a pass's rows flow through: streams into partitions, which are created if they are missing,
 * and the lanes that send them. The two servers and tdispatch work at the same time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

int flow_bury(struct pass *p, int64_t event, size_t lane, const char *partition, struct err *e)
{
	const struct letter_place place = { partition, p->fault.column, p->fault.value };
	char why[sizeof e->msg];

	p->event = event;
	if (e->code != ERR_DATA || !p->keep)
		return e->code;
	if (letters_are_full(&p->dead, event, p->max_dead)) {
		snprintf(why, sizeof why, "%s", e->msg);
		snprintf(e->msg, sizeof e->msg, "%.900s; the batch has more such events than"
			" max_errors = %lld", why, (long long)p->max_dead);
		return e->code;
	}
	letters_add(&p->dead, event, lane, &place, e);
	p->event = -1;
	*e = (struct err){ 0 };
	return 0;
}

/* Was an insert refused that went straight to its partition, because the key has a row? */
static bool is_of_key(const struct pass *p, const struct err *e)
{
	const struct dest *d = p->job->dests.place[p->fault.of]->dest;

	return p->direct && d->row_mode == ROWS_KEEP_LATEST &&
		sqlstate_is(e->sqlstate, SQLSTATE_DUPLICATE);
}

/* As lane_pump; rows that the target refuses become dead letters. */
static int pump_lane(struct pass *p, size_t lane, enum sink_until until, struct err *e)
{
	struct sink *sink = p->sink;
	struct pq *dst = p->job->dst[lane];
	int open = 1;

	while (!pq_blocked(dst) &&
	       (open = lane_pump(sink, lane, dst, until, &p->fault, e)) < 0) {
		style_explain(&p->job->style, e);
		p->event = p->fault.event;
		if (p->event < 0 || is_of_key(p, e) ||
		    flow_bury(p, p->event, lane, p->fault.table, e) < 0)
			return e->code;
		p->rows--;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	return open;
}

/* ---- partitions */

/* Rolls the batch back. From here on events are read only for their partitions; then the batch
 * starts over. */
static void begin_scan(struct pass *p)
{
	p->scan = true;
	inside_await(p->job);
	inside_rolled_back(&p->job->dests);
	job_close_lanes(p->job);
}

/* Ends the open COPYs. */
static int free_lanes(struct pass *p, struct err *e)
{
	int open = 0;

	for (size_t i = 0; i < p->job->lanes && open >= 0; i++)
		while ((open = pump_lane(p, i, SINK_FREE, e)) > 0)
			if (pq_wait(&p->job->dst[i], 1, -1, e) < 0)
				return e->code;
	return open;
}

/* When dead letters take much memory: tells them now. Not with keep_latest, where an event may get
 * another one later. While events are read only for their partitions, the letters are dropped: the
 * next pass will find them again. */
static int tell_letters(struct pass *p, struct err *e)
{
	if (!p->tell || p->want.parts & EVENT_OLD || !letters_are_large(&p->dead))
		return 0;
	if (!p->scan && free_lanes(p, e) < 0)
		return e->code;
	if (p->scan)
		letters_drop_texts(&p->dead);
	else if (p->tell(p, e) < 0)
		p->judged = true;
	return e->code;
}

static bool finishes(const struct pass *p)
{
	return p->finishes && !p->careful;
}

/* After an error, unless the connection is lost: they are to be created before the rows. */
static int give_up_inside(struct pass *p, struct place *k, struct err *e)
{
	if (sqlstate_is_lost(e))
		return e->code;
	log_debug("new partitions are rolled back and created before the batch: %s", e->msg);
	*e = (struct err){ 0 };
	p->outside |= !missing_has_refused(k);
	begin_scan(p);
	return 0;
}

/* Creates the wanted partitions inside our transactions. 0; 1: create them outside; or an error. */
static int enter(struct pass *p, struct place *k, struct err *e)
{
	if (free_lanes(p, e) < 0)
		return e->code;
	int64_t event = -1;
	int rc = inside_create(k, p->job, finishes(p), &event, e);
	if (rc >= 0 || give_up_inside(p, k, e) < 0)
		return rc;
	return missing_any(k);
}

/* ---- partitions that are created while a reader is read */

/* Where all its rows go; NULL without a reader. */
static struct place *readers_place(const struct pass *p)
{
	return p->reader && !p->place ? p->reader->way->place : NULL;
}

static bool lane_waits(const struct place *k, size_t lane)
{
	return k && (making_busy(k, lane) || making_left(k, lane));
}

bool flow_makes(const struct pass *p)
{
	const struct place *k = readers_place(p);

	for (size_t i = 0; i < p->job->lanes; i++)
		if (lane_waits(k, i))
			return true;
	return false;
}

/* Goes on in all lanes that wait for partitions and whose COPYs have ended: then each lane that
 * still waits does so for its server. */
static int make_some(struct pass *p, struct place *k, struct err *e)
{
	for (size_t i = 0; i < p->job->lanes; i++) {
		int step = PQ_END;
		while (step == PQ_END && lane_waits(k, i)) {
			int rc = making_busy(k, i) ? 0 : pump_lane(p, i, SINK_FREE, e);
			if (rc < 0)
				return e->code;
			if (rc > 0)
				break;
			if ((!making_busy(k, i) && making_begin(k, p->job, i, e) < 0) ||
			    (step = making_step(k, p->job, i, e)) < 0)
				return give_up_inside(p, k, e);
		}
	}
	return 0;
}

/* May partitions of the place be created so? */
static bool goes_on(const struct pass *p, const struct place *k)
{
	return k && p->all_load && !p->scan && !p->outside && inside_goes_on(k);
}

static int make_rest(struct pass *p, struct err *e)
{
	struct place *k = readers_place(p);

	while (goes_on(p, k) && flow_makes(p))
		if (make_some(p, k, e) < 0 || (flow_makes(p) && flow_wait(p, false, -1, e) < 0))
			break;
	p->judged |= e->code != 0;
	return e->code;
}

int flow_settle_some(struct pass *p, struct err *e)
{
	struct place *k = readers_place(p);

	if (!goes_on(p, k))
		return flow_settle(p, e);
	return make_some(p, k, e) < 0 ? e->code : p->scan ? flow_settle(p, e) : 0;
}

/* ---- partitions that are created at once */

/* Where new partitions are counted, the whole batch is read before the first is created: of a batch
 * with too many none is. 0: nothing is to be created yet; 1; or an error. */
static int count_new(struct pass *p, struct place *k, int64_t *event, struct err *e)
{
	if (missing_look(k, p->job, event, e) < 0)
		return e->code;
	if (!missing_any(k))
		return 0;
	if (!p->scan && !p->read)
		begin_scan(p);
	return p->read;
}

/* A value of a list is refused: the rows that wait for its partition are dropped, and the batch
 * starts over without them. */
static void start_without(struct pass *p, struct err *e)
{
	log_debug("the batch starts over: %s", e->msg);
	*e = (struct err){ 0 };
	begin_scan(p);
}

/* Makes sure that the place's partitions exist for which rows wait. */
static int settle_place(struct pass *p, struct place *k, struct err *e)
{
	int rc = 1;
	int64_t event = -1;

	if (!p->scan && !p->outside && inside_may(k, p->job, finishes(p)))
		rc = enter(p, k, e);
	if (rc > 0 && missing_counts(k))
		rc = count_new(p, k, &event, e);
	/* what waits in our transactions may be what is in the way */
	bool held = !p->scan && (sink_begun(p->sink) || inside_any(&p->job->dests));
	if (rc > 0)
		rc = outside_create(k, p->job, held, &event, e);
	if (rc > 0) {
		begin_scan(p);
		rc = outside_create(k, p->job, false, &event, e);
	}
	if (rc < 0 && missing_has_refused(k)) {
		start_without(p, e);
		return missing_any(k) ? settle_place(p, k, e) : 0;
	}
	if (event >= 0) {
		p->event = event;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	p->judged = rc < 0;
	return rc;
}

int flow_settle(struct pass *p, struct err *e)
{
	const struct dests *ds = &p->job->dests;
	bool scan;

	if (p->place)
		return 0;
	if (make_rest(p, e) < 0)
		return e->code;
	do {
		scan = p->scan;
		for (size_t i = 0; i < ds->nplace; i++)
			if (missing_any(ds->place[i]) && settle_place(p, ds->place[i], e) < 0)
				return e->code;
	} while (p->scan != scan);
	return 0;
}

/* Wants the partition, and appends its name for COPY. If the event's values do not suffice to
 * create it, it must exist. */
static int into_partition(struct pass *p, struct place *k, const struct part_want *want,
	int64_t event, struct buf *table, struct err *e)
{
	if (missing_refuses(k, want->start_s, e) < 0)
		return e->code;
	if (missing_want(k, want, event, e) == ERR_DATA) {
		struct err why = *e;
		*e = (struct err){ 0 };
		if (flow_settle(p, e) == 0 && !known_has(&k->known, want->start_s))
			*e = why;
	}
	buf_qualified(table, want->dest->schema, want->name);
	return e->code;
}

/* Remembers the type of an event that names its primary key, for part_premake. */
static void remember_key(struct place *k, struct span ev_type)
{
	struct buf text = { 0 };
	struct span first;

	if (!k->dest->part_premake)
		return;
	if (type_pkey(ev_type, &text, &first, 1)) {
		free(k->ev_type);
		k->ev_type = mem_str(ev_type.p, ev_type.n);
	}
	buf_free(&text);
}

static int find_place(struct pass *p, struct place *k, struct part_want *want,
	const struct event *ev, const struct shape *shape, struct buf *table, struct err *e)
{
	if (row_check_names(p->job, ev, shape, e) < 0)
		return e->code;
	if (p->place)
		return p->place(p, k, want, shape, table, e);
	return into_partition(p, k, want, ev->id, table, e);
}

/* A number of the way's shape that no shape of another way has. */
static uint64_t shape_id(const struct way *w, const struct shape *shape)
{
	return (uint64_t)w->number << 32 | route_shape_id(w->route, shape);
}

struct stagings *flow_stagings(const struct pass *p)
{
	return p->stagings ? p->stagings : p->job->dests.stagings;
}

bool flow_reads_lane(const struct pass *p, size_t lane)
{
	return p->job->loads[lane] || p->keep;
}

struct stream *flow_add_stage(struct pass *p, struct place *k, int64_t start_s, uint64_t id,
	size_t lane, struct span name, const char *columns)
{
	struct stagings *all = flow_stagings(p);
	struct buf table = { 0 }, list = { 0 };

	stagings_name(all, stagings_at(all, k), &table);
	buf_str(&list, columns);
	stage_add_columns(&list);
	struct stream *stream = sink_add(p->sink, k->number, start_s, id, lane, name,
		buf_cstr(&table), buf_cstr(&list));
	buf_free(&table);
	buf_free(&list);
	return stream;
}

struct stream *flow_add_staged(struct pass *p, struct place *k, const struct part_want *want,
	uint64_t id, size_t kind, const char *columns)
{
	struct staging *g = stagings_at(flow_stagings(p), k);
	size_t lane = job_lane_of(p->job, want->name);
	struct stream *stream = flow_add_stage(p, k, want->start_s, id, lane, want->name, columns);

	sink_stage(stream, (int32_t)staging_part(g, want->start_s, lane, want->name), kind);
	if (!p->dry)
		sink_join(stream);
	return stream;
}

uint64_t flow_id(const struct way *w, const struct shape *shape, bool staged)
{
	return shape_id(w, shape) | (uint64_t)staged << 63;
}

static struct stream *add_stream(struct pass *p, const struct way *w, const struct part_want *want,
	const struct shape *shape, const char *table, bool staged)
{
	uint64_t id = flow_id(w, shape, staged);

	if (staged)
		return flow_add_staged(p, w->place, want, id,
			staging_kind(stagings_at(flow_stagings(p), w->place), shape->columns),
			shape->columns);
	return sink_add(p->sink, w->place->number, want->start_s, id,
		job_lane_of(p->job, want->name), want->name, table, shape->columns);
}

struct stream *flow_open(struct pass *p, const struct way *w, const struct event *ev,
	int64_t start_s, const struct shape *shape, bool staged, struct err *e)
{
	const struct dest *d = w->dest;
	struct buf name = { 0 }, table = { 0 };
	struct stream *stream = NULL;

	part_name(&name, d, start_s);
	remember_key(w->place, ev->type);
	struct part_want want = {
		.dest = d, .name = { name.p, name.len },
		.start_s = start_s, .end_s = period_end(&d->period, start_s),
		.ev_type = ev->type, .route = w->route,
	};
	want.old = age_may_be_loose(p->job, d, want.name);
	want.lane = job_lane_of(p->job, want.name);
	if (find_place(p, w->place, &want, ev, shape, &table, e) == 0)
		stream = add_stream(p, w, &want, shape, buf_cstr(&table), staged);
	buf_free(&name);
	buf_free(&table);
	return stream;
}

/* ---- sending */

int flow_pump(struct pass *p, bool done, struct err *e)
{
	struct sink *sink = p->sink;

	if (p->dry && (done || sink_full(sink)))
		sink_swallow(sink);
	if (p->dry || tell_letters(p, e) < 0)
		return e->code;
	const struct place *k = readers_place(p);
	for (size_t i = 0; i < p->job->lanes && !p->scan; i++)
		if (!lane_waits(k, i) &&
		    pump_lane(p, i, done ? SINK_EMPTY : SINK_FULL, e) < 0)
			return e->code;
	return 0;
}

int flow_wait(struct pass *p, bool source, int64_t timeout_ms, struct err *e)
{
	struct job *j = p->job;
	struct pq *set[LANES_MAX + 1] = { source ? p->from : NULL };

	for (size_t i = 0; i < j->lanes; i++)
		set[i + 1] = j->dst[i];
	return pq_wait(set, j->lanes + 1, timeout_ms, e);
}

int flow_drain(struct pass *p, struct err *e)
{
	const struct sink *sink = p->sink;

	if (p->dry || flow_settle(p, e) < 0)
		return e->code;
	while (!e->code && !p->scan && !sink_idle(sink)) {
		int64_t most_ms = watch_pass(p->job->watch, p->events, sink_bytes(sink));
		if (flow_pump(p, true, e) == 0 && !sink_idle(sink))
			flow_wait(p, false, most_ms, e);
	}
	p->judged = e->code != 0;
	return e->code;
}

/* ---- rows that go nowhere */

bool flow_is_late(struct pass *p, const struct dest *d, const struct event *ev, int64_t start_s,
	struct err *e)
{
	struct buf name = { 0 };

	if (d->part_late == PART_LATE_CREATE || !age_is_old(p->job, d, start_s))
		return e->code != 0;
	part_name(&name, d, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	bool ours = !p->scan && p->job->loads[lane];
	if (ours && d->part_late == PART_LATE_SKIP)
		p->late++;
	if (ours && d->part_late == PART_LATE_ERROR) {
		err_set(e, ERR_DATA, "its partition %s is older than part_keep = %s",
			buf_cstr(&name), d->part_keep);
		flow_bury(p, ev->id, lane, buf_cstr(&name), e);
	}
	buf_free(&name);
	return true;
}

int flow_no_stream(struct pass *p, const struct dest *d, const struct event *ev, int64_t start_s,
	struct err *e)
{
	struct buf name = { 0 };

	if (e->code != ERR_DATA || *e->sqlstate || p->judged)
		return e->code;
	part_name(&name, d, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	if (p->job->loads[lane])
		flow_bury(p, ev->id, lane, "", e);
	else
		*e = (struct err){ 0 };
	buf_free(&name);
	return e->code;
}
