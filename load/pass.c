/*
 * One pass over a batch's events: each row goes to its partition, which is created if missing. The
 * two servers and tdispatch work at the same time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define BURST 256                       /* events taken before the lanes are pumped again */

int pass_bury(struct pass *p, int64_t event, size_t lane, const char *partition, struct err *e)
{
	const struct dead_place place = { partition, p->fault.column, p->fault.value };
	char why[sizeof e->msg];

	p->event = event;
	if (e->code != ERR_DATA || !p->keep)
		return e->code;
	if ((int64_t)p->dead.n >= p->max_dead) {
		snprintf(why, sizeof why, "%s", e->msg);
		snprintf(e->msg, sizeof e->msg, "%.900s; the batch has more such events than"
			" max_errors = %lld", why, (long long)p->max_dead);
		return e->code;
	}
	dead_add(&p->dead, event, lane, &place, e);
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
		if (p->event < 0 || is_of_key(p, e) || pass_bury(p, p->event, lane, p->fault.table, e) < 0)
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
	places_rolled_back(&p->job->dests);
	job_close_lanes(p->job);
}

/* Ends the open COPY of lane 0. */
static int free_lane(struct pass *p, struct err *e)
{
	int open;

	while ((open = pump_lane(p, 0, SINK_FREE, e)) > 0)
		if (pq_wait(&p->job->dst[0], 1, -1, e) < 0)
			return e->code;
	return open;
}

/* Creates the wanted partitions inside our transaction. 0; 1: create them outside; or an error. */
static int enter(struct pass *p, struct place *k, struct err *e)
{
	if (free_lane(p, e) < 0)
		return e->code;
	int64_t event = -1;
	int rc = places_enter(k, p->job, &event, e);
	if (rc >= 0 || sqlstate_is_lost(e))
		return rc;
	log_debug("new partitions are rolled back and created before the batch: %s", e->msg);
	*e = (struct err){ 0 };
	p->outside = true;
	begin_scan(p);
	return 1;
}

/* Where new partitions are counted, the whole batch is read before the first is created: of a batch
 * with too many none is. 0: nothing is to be created yet; 1; or an error. */
static int count_new(struct pass *p, struct place *k, int64_t *event, struct err *e)
{
	if (places_look(k, p->job, event, e) < 0)
		return e->code;
	if (!places_wants(k))
		return 0;
	if (!p->scan && !p->read)
		begin_scan(p);
	return p->read;
}

/* Makes sure that the place's partitions exist for which rows wait. */
static int settle_place(struct pass *p, struct place *k, struct err *e)
{
	int rc = 1;
	int64_t event = -1;

	if (!p->scan && !p->outside && places_may_enter(k, p->job))
		rc = enter(p, k, e);
	if (rc > 0 && places_counts(k))
		rc = count_new(p, k, &event, e);
	/* what waits in our transactions may be what is in the way */
	bool held = !p->scan && (sink_begun(p->sink) || places_inside(&p->job->dests));
	if (rc > 0)
		rc = places_settle(k, p->job, held, &event, e);
	if (rc > 0) {
		begin_scan(p);
		rc = places_settle(k, p->job, false, &event, e);
	}
	if (event >= 0) {
		p->event = event;
		p->fault = (struct sink_fault){ .event = -1 };
	}
	p->judged = rc < 0;
	return rc;
}

/* Makes sure that the partitions of all waiting rows exist. When the batch is rolled back for one
 * place, those that were created inside for the others are wanted again. */
static int settle(struct pass *p, struct err *e)
{
	const struct dests *ds = &p->job->dests;
	bool scan;

	if (p->place)
		return 0;
	do {
		scan = p->scan;
		for (size_t i = 0; i < ds->nplace; i++)
			if (places_wants(ds->place[i]) && settle_place(p, ds->place[i], e) < 0)
				return e->code;
	} while (p->scan != scan);
	return 0;
}

/* Wants the partition, and appends its name for COPY. If the event's values do not suffice to
 * create it, it must exist. */
static int into_partition(struct pass *p, struct place *k, const struct part_want *want,
	int64_t event, struct buf *table, struct err *e)
{
	if (places_want(k, want, event, e) == ERR_DATA) {
		struct err why = *e;
		*e = (struct err){ 0 };
		if (settle(p, e) == 0 && !known_has(&k->known, want->start_s))
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

static struct stagings *stagings_of(const struct pass *p)
{
	return p->stagings ? p->stagings : p->job->dests.stagings;
}

/* Adds a stream into the place's staging table. kind: of its rows, 0 for deletes. */
static struct stream *add_staged(struct pass *p, struct place *k, const struct part_want *want,
	uint64_t id, size_t kind, const char *columns)
{
	struct stagings *all = stagings_of(p);
	struct staging *g = stagings_at(all, k);
	struct buf table = { 0 }, list = { 0 };
	size_t lane = job_lane_of(p->job, want->name);

	stagings_name(all, g, &table);
	buf_str(&list, columns);
	stage_add_columns(&list);
	struct stream *stream = sink_add(p->sink, k->number, want->start_s, id, lane, want->name,
		buf_cstr(&table), buf_cstr(&list));
	sink_stage(stream, staging_part(g, want->start_s, lane, want->name), kind);
	buf_free(&table);
	buf_free(&list);
	return stream;
}

/* A number of the shape's streams. staged: of those that go to a staging table. */
static uint64_t stream_id(const struct way *w, const struct shape *shape, bool staged)
{
	return shape_id(w, shape) | (uint64_t)staged << 63;
}

static struct stream *add_stream(struct pass *p, const struct way *w, const struct part_want *want,
	const struct shape *shape, const char *table, bool staged)
{
	uint64_t id = stream_id(w, shape, staged);

	if (staged)
		return add_staged(p, w->place, want, id,
			staging_kind(stagings_at(stagings_of(p), w->place), shape->columns),
			shape->columns);
	return sink_add(p->sink, w->place->number, want->start_s, id,
		job_lane_of(p->job, want->name), want->name, table, shape->columns);
}

/* Adds the stream for the period and shape. NULL: an error. */
static struct stream *open_stream(struct pass *p, const struct way *w, const struct event *ev,
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
	if (find_place(p, w->place, &want, ev, shape, &table, e) == 0)
		stream = add_stream(p, w, &want, shape, buf_cstr(&table), staged);
	buf_free(&name);
	buf_free(&table);
	return stream;
}

/* ---- sending */

/* done: no more rows will come. */
static int pump(struct pass *p, bool done, struct err *e)
{
	struct sink *sink = p->sink;

	if (p->dry && (done || sink_full(sink)))
		sink_swallow(sink);
	if (p->dry)
		return 0;
	for (size_t i = 0; i < p->job->lanes && !p->scan; i++)
		if (pump_lane(p, i, done ? SINK_EMPTY : SINK_FULL, e) < 0)
			return e->code;
	return 0;
}

/* Waits for the lanes, and for the source while the sink has room for its events. As pq_wait. */
static int wait_for_servers(struct pass *p, bool source, int64_t timeout_ms, struct err *e)
{
	struct job *j = p->job;
	struct pq *set[LANES_MAX + 1] = { source ? p->from : NULL };

	for (size_t i = 0; i < j->lanes; i++)
		set[i + 1] = j->dst[i];
	return pq_wait(set, j->lanes + 1, timeout_ms, e);
}

/* Sends all waiting rows, and ends the COPYs. What fails is not the current event's fault. */
static int drain(struct pass *p, struct err *e)
{
	const struct sink *sink = p->sink;

	if (p->dry || settle(p, e) < 0)
		return e->code;
	while (!e->code && !p->scan && !sink_idle(sink)) {
		int64_t most_ms = watch_pass(p->job->watch, p->events, sink_bytes(sink));
		if (pump(p, true, e) == 0 && !sink_idle(sink))
			wait_for_servers(p, false, most_ms, e);
	}
	p->judged = e->code != 0;
	return e->code;
}

/* ---- events */

/* Deals with a row that is older than part_keep, as part_late says. true: the row goes nowhere, or
 * an error is set. */
static bool is_late(struct pass *p, const struct dest *d, const struct event *ev, int64_t start_s,
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
		pass_bury(p, ev->id, lane, buf_cstr(&name), e);
	}
	buf_free(&name);
	return true;
}

/* There is no stream for the event's row. If the event is at fault, its letter belongs to the lane
 * of its partition; a lane that has the batch already has stored it. */
static int no_stream(struct pass *p, const struct dest *d, const struct event *ev, int64_t start_s,
	struct err *e)
{
	struct buf name = { 0 };

	if (e->code != ERR_DATA || *e->sqlstate || p->judged)
		return e->code;
	part_name(&name, d, start_s);
	size_t lane = job_lane_of(p->job, (struct span){ name.p, name.len });
	if (p->job->loads[lane])
		pass_bury(p, ev->id, lane, "", e);
	else
		*e = (struct err){ 0 };
	buf_free(&name);
	return e->code;
}

/* Skips and counts truncates, and the events of PgQ's own programs. d: where the event goes, or
 * NULL. */
static bool skip_rowless(struct pass *p, const struct event *ev, const struct dest *d)
{
	bool json = type_is_json(ev->type);
	bool truncate = span_is(json ? ev->op : ev->type, "R") &&
		(!d || d->row_mode == ROWS_LOG || d->on_truncate == ON_TRUNCATE_SKIP);
	bool own = ev->type.n >= 4 && memcmp(ev->type.p, "pgq.", 4) == 0;

	p->truncates += truncate;
	p->own += own;
	return truncate || own;
}

/* Makes a row of the event. *stream: where the row goes; stays NULL if an error comes before that
 * is known. */
static int take_event(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct stream **stream, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;
	int64_t start_s;

	if (row_check(ev, format, e) < 0 ||
	    route_row(w->route, format, ev->data, &shape, &values, &part, e) < 0 ||
	    row_period(&w->dates, ev, format, part, &start_s, e) < 0)
		return e->code;
	*stream = sink_find(p->sink, start_s, shape_id(w, shape));
	if (!*stream && is_late(p, w->dest, ev, start_s, e))
		return e->code;
	if (!*stream)
		*stream = open_stream(p, w, ev, start_s, shape, false, e);
	if (!*stream)
		return no_stream(p, w->dest, ev, start_s, e);
	if (e->code || p->scan || !p->job->loads[(*stream)->lane])
		return e->code;
	if (p->want.by_id && sink_has_beside(p->sink, *stream) && drain(p, e) < 0)
		return e->code;
	if (!p->scan && stream_put(p->sink, *stream, shape, format, values, ev, e) == 0)
		p->rows++;
	return e->code;
}

/* ---- row_mode = keep_latest */

struct goner {                          /* a row that is to go */
	struct event event;             /* its data is that row */
	int64_t start_s;
	struct span key[ACTION_KEY_MAX];
	size_t n;
};

static int drop_stages(struct pass *p, struct err *e)
{
	struct staging *g;

	for (size_t i = 0; (g = stagings_next(stagings_of(p), &i)) && !e->code;) {
		for (size_t k = 0; k < p->job->lanes && !e->code; k++)
			if (g->stage[k].columns)
				stage_drop(p->job->dst[k], &g->stage[k], e);
		sink_unstage(p->sink, g->place->number);
	}
	return e->code;
}

/* The source table has got another primary key. What came before it by ev_id is merged by the old
 * one; for that events must come in that order, or the batch is read again. */
static int change_key(struct pass *p, struct staging *g, const struct span *names, size_t n,
	struct err *e)
{
	if (!p->ordered || !p->merge) {
		p->rekeyed = p->judged = true;
		return err_set(e, ERR_DATA, "%s gets events with another key than %s",
			g->place->dest->dest_table, g->key->columns);
	}
	if (drain(p, e) < 0 || p->scan)
		return e->code;
	if (p->merge(p, e) < 0) {
		p->judged = true;
		return e->code;
	}
	if (drop_stages(p, e) < 0)
		return e->code;
	g->used = false;
	staging_key(g, names, n);
	return e->code;
}

/* The one key of the batch's rows for the place. */
static int check_key(struct pass *p, struct way *w, const struct shape *shape, const size_t *at,
	size_t n, struct err *e)
{
	struct staging *g = stagings_at(stagings_of(p), w->place);
	struct span names[ACTION_KEY_MAX];

	for (size_t i = 0; i < n; i++)
		names[i] = shape->target[at[i]];
	if (!staging_key(g, names, n) && change_key(p, g, names, n, e) < 0)
		return e->code;
	g->used = true;
	return 0;
}

/* The key's columns and values in a row of the way, found by the route. */
static int find_key(struct pass *p, struct way *w, const struct route *route,
	const struct event *ev, const struct shape *shape, const struct span *values,
	struct span *key, size_t *n, struct err *e)
{
	const size_t *at;

	if (p->scan)
		return *n = 0;
	if (action_key(w, route, ev, shape, &at, n, e) < 0 ||
	    check_key(p, w, shape, at, *n, e) < 0)
		return e->code;
	return action_values(shape, at, *n, values, key, e);
}

/* data: the row that is to go; its other columns do not matter. */
static int read_goner(struct pass *p, struct way *w, const struct event *ev, struct span data,
	enum format format, struct goner *g, struct err *e)
{
	const struct shape *shape;
	const struct span *values;
	struct span part;

	g->event = *ev;
	g->event.data = data;
	if (row_check(&g->event, format, e) < 0 ||
	    route_row(w->old, format, data, &shape, &values, &part, e) < 0 ||
	    row_period(&w->old_dates, &g->event, format, part, &g->start_s, e) < 0)
		return e->code;
	return find_key(p, w, w->old, &g->event, shape, values, g->key, &g->n, e);
}

/* Adds the stream of the keys that are to go from the period. Their partition is not created for
 * them. */
static struct stream *open_goners(struct pass *p, const struct way *w, int64_t start_s, uint64_t id,
	const struct shape *key)
{
	struct buf name = { 0 };

	part_name(&name, w->dest, start_s);
	const struct part_want want = {
		.name = { name.p, name.len }, .start_s = start_s,
	};
	struct stream *stream = add_staged(p, w->place, &want, id, 0, key->columns);
	buf_free(&name);
	return stream;
}

/* Is the lane's part of the event read? A lane that has the batch already reads it again where it
 * may find bad events: what another lane has of these must be left out, too. */
static bool reads_lane(const struct pass *p, size_t lane)
{
	return p->job->loads[lane] || p->keep;
}

/* *stream: where it was put, also if it was not. */
static int put_goner(struct pass *p, struct way *w, const struct goner *g, enum format format,
	struct stream **stream, struct err *e)
{
	const struct staging *staging = stagings_at(stagings_of(p), w->place);
	uint64_t id = (uint64_t)w->number << 32 | UINT32_C(1) << 31 | staging->key_id;

	*stream = sink_find(p->sink, g->start_s, id);
	if (!*stream)
		*stream = open_goners(p, w, g->start_s, id, staging->key);
	if (p->scan || !reads_lane(p, (*stream)->lane))
		return 0;
	return stream_put(p->sink, *stream, staging->key, format, g->key, &g->event, e);
}

static bool is_same_row(const struct goner *g, int64_t start_s, const struct span *key)
{
	bool same = g->start_s == start_s;

	for (size_t i = 0; i < g->n && same; i++)
		same = span_eq(g->key[i], key[i]);
	return same;
}

static int take_delete(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct stream **stream, struct err *e)
{
	struct goner g;

	if (p->scan)
		return 0;
	if (read_goner(p, w, ev, ev->data, format, &g, e) == 0 &&
	    put_goner(p, w, &g, format, stream, e) == 0 && !p->scan)
		p->rows++;
	return e->code;
}

/* A row of the event, and what becomes of it. */
struct upsert {
	const struct shape *shape;
	const struct span *values;
	int64_t start_s;
	struct span key[ACTION_KEY_MAX];
	size_t n;
	bool staged;                    /* else it goes straight to its partition */
};

static int read_upsert(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct upsert *u, struct err *e)
{
	struct span part;

	if (row_check(ev, format, e) < 0 ||
	    route_row(w->route, format, ev->data, &u->shape, &u->values, &part, e) < 0 ||
	    row_period(&w->dates, ev, format, part, &u->start_s, e) < 0)
		return e->code;
	return find_key(p, w, w->route, ev, u->shape, u->values, u->key, &u->n, e);
}

/* The stream of the new row. NULL: it goes nowhere, as *late says, or there is an error. */
static struct stream *stream_of_upsert(struct pass *p, struct way *w, const struct event *ev,
	const struct upsert *u, bool *late, struct err *e)
{
	struct stream *stream = sink_find(p->sink, u->start_s, stream_id(w, u->shape, u->staged));

	*late = !stream && is_late(p, w->dest, ev, u->start_s, e);
	if (!stream && !*late)
		stream = open_stream(p, w, ev, u->start_s, u->shape, u->staged, e);
	return stream;
}

/* Puts the new row, and before it the old one of a move, which goes: both or none. *stream: of the
 * new one, NULL if it goes nowhere. */
static int put_both(struct pass *p, struct way *w, const struct event *ev, enum format format,
	const struct goner *g, const struct upsert *u, struct stream **stream, struct err *e)
{
	struct stream *from = NULL;
	bool comes = *stream && reads_lane(p, (*stream)->lane), goes = false;

	if (g) {
		int rc = put_goner(p, w, g, format, &from, e);
		goes = reads_lane(p, from->lane);
		if (*stream)            /* the sink may have forgotten it for the other */
			*stream = sink_find(p->sink, u->start_s,
				stream_id(w, u->shape, true));
		if (comes && !*stream)
			*stream = open_stream(p, w, ev, u->start_s, u->shape, true, e);
		if (rc < 0)
			return rc;
	}
	if (e->code || p->scan || !comes)
		return e->code;
	if (stream_put(p->sink, *stream, u->shape, format, u->values, ev, e) < 0 && goes)
		stream_take_back(p->sink, from);
	return e->code;
}

/* Where the event's row goes: an insert may go straight to its partition while no other event has
 * come. After that the batch is loaded again, since its events come in any order. */
static int choose_way(struct pass *p, struct way *w, const struct event *ev, bool *staged,
	struct err *e)
{
	struct staging *g = stagings_at(stagings_of(p), w->place);
	bool insert = span_is(ev->op, "I");

	if (!g->begun) {
		g->direct = p->direct && p->all_load && !p->dry && !p->stagings && !g->skip;
		g->begun = g->pure = true;
	}
	g->pure = g->pure && insert;
	*staged = !g->direct || !insert;
	if (!g->direct || insert || !g->directed) {
		g->direct = g->direct && insert;
		return 0;
	}
	p->mixed = p->judged = true;
	return err_set(e, ERR_DATA, "%s gets more than inserts", w->dest->dest_table);
}

static int take_upsert(struct pass *p, struct way *w, const struct event *ev, enum format format,
	bool staged, struct stream **stream, struct err *e)
{
	struct upsert u = { .staged = staged };
	struct goner g;
	bool moved = false, late;

	if (read_upsert(p, w, ev, format, &u, e) < 0)
		return e->code;
	if (ev->old.p && span_is(ev->op, "U") && !p->scan) {
		if (read_goner(p, w, ev, ev->old, format, &g, e) < 0)
			return e->code;
		moved = !is_same_row(&g, u.start_s, u.key);
	}
	*stream = stream_of_upsert(p, w, ev, &u, &late, e);
	if (!*stream && !late)
		return no_stream(p, w->dest, ev, u.start_s, e);
	if (e->code || (late && w->dest->part_late == PART_LATE_ERROR))
		return e->code;
	if (!u.staged && *stream) {
		stagings_at(stagings_of(p), w->place)->directed = true;
		if (p->want.by_id && sink_has_beside(p->sink, *stream) && drain(p, e) < 0)
			return e->code;
	}
	if (put_both(p, w, ev, format, moved ? &g : NULL, &u, stream, e) == 0 && !p->scan)
		p->rows++;
	return e->code;
}

/* A table has one source, or rows of two would have one key. */
static int check_source(struct place *k, const struct event *ev, struct err *e)
{
	struct span table = ev->table.p ? ev->table : span_of("");
	struct buf shown = { 0 };

	if (!k->source)
		k->source = mem_str(table.p, table.n);
	if (span_is(table, k->source))
		return 0;
	buf_printable(&shown, table, 2 * NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "it is of source table %s, and %s has the rows of %s: with row_mode ="
		" keep_latest a table has one source table", buf_cstr(&shown), k->dest->dest_table,
		k->source);
	buf_free(&shown);
	return e->code;
}

/* As take_event. */
static int take_latest(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct stream **stream, struct err *e)
{
	bool staged;

	if (check_source(w->place, ev, e) < 0 || choose_way(p, w, ev, &staged, e) < 0)
		return e->code;
	return span_is(ev->op, "D") ? take_delete(p, w, ev, format, stream, e) :
		take_upsert(p, w, ev, format, staged, stream, e);
}

/* No section tells where the table's events go, or what it tells is wrong. */
static int no_way(struct pass *p, struct source *s, struct err *e)
{
	if (!s->told && p->keep && !p->dry)
		log_warn("%s; further events of it are not warned of", s->why);
	s->told = true;
	return err_set(e, ERR_DATA, "%s", s->why);
}

/* As take_event, on the way from the event's source. */
static int dispatch(struct pass *p, struct source *source, const struct event *ev,
	enum format format, struct stream **stream, struct err *e)
{
	struct way *w = source->way;

	if (!w)
		return no_way(p, source, e);
	if (!w->ready && places_ready(p->job, w, e) < 0) {
		p->judged = true;
		return e->code;
	}
	if (row_check_mode(w->dest, ev, e) < 0)
		return e->code;
	return w->dest->row_mode == ROWS_KEEP_LATEST ? take_latest(p, w, ev, format, stream, e) :
		take_event(p, w, ev, format, stream, e);
}

/* Do filters leave the event out, or does its section ignore its table? The query has marked those
 * that it could judge; *source is NULL then. */
static bool is_passed(struct pass *p, const struct event *ev, struct source **source)
{
	const char *types;

	*source = NULL;
	if (events_filters(&p->want) && !ev->type.p)
		return true;
	*source = places_source(p->job, ev);
	types = (*source)->way ? (*source)->way->dest->event_types : NULL;
	return types && ev->op.p && !filter_has(types, ev->op);
}

/* Counts an event that makes no row, unless it is at fault. */
static bool is_done(struct pass *p, const struct event *ev, struct source **source)
{
	bool passed = is_passed(p, ev, source);
	const struct dest *d = *source && (*source)->way ? (*source)->way->dest : NULL;
	bool done = passed || skip_rowless(p, ev, d);

	if (!done && d && d->row_mode == ROWS_KEEP_ALL && ev->op.p && span_is(ev->op, "D"))
		passed = done = true;
	bool ignored = !done && !(*source)->way && !(*source)->why;

	p->passed += passed || ignored;
	return done || ignored;
}

/* A lane's transaction stores the dead letters of its own partitions, since a lane that has the
 * batch already does not read their rows again; lane 0, which commits last, stores all others. */
static int take_or_bury(struct pass *p, struct event *ev, struct err *e)
{
	struct stream *stream = NULL;
	struct source *source;
	enum format format;

	p->events++;
	row_tell(p->job, ev, &format);
	if (is_done(p, ev, &source) || dispatch(p, source, ev, format, &stream, e) == 0)
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
	return pass_bury(p, ev->id, stream ? stream->lane : 0, stream ? stream->table : "", e);
}

/* Takes up to BURST events while they are available and there is room. As events_next. */
static int take_burst(struct pass *p, struct err *e)
{
	struct event ev;
	int step = PQ_READY;

	for (int i = 0; i < BURST && !sink_full(p->sink); i++) {
		step = events_next(p->from, p->want.parts, &ev, e);
		if (step != PQ_READY)
			return step;
		if (take_or_bury(p, &ev, e) < 0)
			return e->code;
	}
	return step;
}

/* Resets the results of an earlier pass, and asks for the events. */
static int begin(struct pass *p, struct err *e)
{
	struct job *j = p->job;

	p->scan = p->judged = p->read = p->mixed = p->rekeyed = false;
	p->all_load = true;
	for (size_t i = 0; i < j->lanes; i++)
		p->all_load = p->all_load && j->loads[i];
	p->events = p->rows = p->truncates = p->own = p->passed = p->late = 0;
	p->event = -1;
	p->fault = (struct sink_fault){ .event = -1 };
	p->want = (struct events_want){
		.parts = row_parts(j->conf), .by_id = j->conf->event_order || p->ordered,
		.tables = j->conf->tables,
		.types = j->conf->nrule ? NULL : j->conf->dest.event_types,
	};
	dead_clear(&p->dead);
	if (p->stagings)
		stagings_begin(p->stagings);
	if (p->sink == j->dests.sink)
		places_begin(&j->dests);
	sink_begin(p->sink, p->careful);
	return events_read(p->from, p->batch, &p->want, e);
}

/* Waits only if neither the source nor a lane can proceed. */
int pass_run(struct pass *p, struct err *e)
{
	int step = PQ_READY;

	if (begin(p, e) < 0)
		return e->code;
	for (;;) {
		if (step != PQ_END)
			step = take_burst(p, e);
		if (step < 0)
			return step;
		p->read = step == PQ_END;
		if (settle(p, e) < 0 || pump(p, step == PQ_END, e) < 0)
			return e->code;
		const struct sink *sink = p->sink;
		bool done = step == PQ_END, full = sink_full(sink);
		if (done && (p->scan || sink_idle(sink)))
			return p->scan;
		int64_t most_ms = watch_pass(p->job->watch, p->events, sink_bytes(sink));
		if (step == PQ_READY && !full)  /* more events are here */
			most_ms = 0;
		if (wait_for_servers(p, !done && !full, most_ms, e) < 0)
			return e->code;
	}
}
