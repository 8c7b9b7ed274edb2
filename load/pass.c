/*
 * One pass over a batch's events: each makes a row for its partition, or is left out, passed over,
 * or a dead letter.
 */
#include <string.h>

#include "private.h"

#define BURST 256                       /* events taken before the lanes are pumped again */

/* ---- events */

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

struct row {                            /* format and values: of an event's row */
	struct way *way;
	const struct event *ev;
	enum format format;
	const struct shape *shape;
	const struct span *values;
	int64_t start_s;
};

/* Puts the row into its stream, which is added if there is none. */
static int place_row(struct pass *p, const struct row *r, struct stream **stream, struct err *e)
{
	const struct way *w = r->way;
	bool staged = p->reader && p->reader->staged;

	*stream = sink_find(p->sink, r->start_s, flow_id(w, r->shape, staged));
	if (!*stream && flow_is_late(p, w->dest, r->ev, r->start_s, e))
		return e->code;
	if (!*stream)
		*stream = flow_open(p, w, r->ev, r->start_s, r->shape, staged, e);
	if (!*stream)
		return flow_no_stream(p, w->dest, r->ev, r->start_s, e);
	if (e->code || p->scan || !p->job->loads[(*stream)->lane])
		return e->code;
	if (p->want.by_id && sink_has_beside(p->sink, *stream) && flow_drain(p, e) < 0)
		return e->code;
	if (p->scan)
		return 0;
	if (p->reader)
		stream_put_copy(p->sink, *stream, r->ev, p->reader->binary);
	else
		stream_put(p->sink, *stream, r->shape, r->format, r->values, r->ev, e);
	p->rows += !e->code;
	return e->code;
}

/* Makes a row of the event. *stream: where the row goes; stays NULL if an error comes before that
 * is known. */
static int take_event(struct pass *p, struct way *w, const struct event *ev, enum format format,
	struct stream **stream, struct err *e)
{
	struct row r = { .way = w, .ev = ev, .format = format };
	struct span part;

	if (row_check(ev, format, e) < 0 ||
	    route_row(w->route, format, ev->data, &r.shape, &r.values, &part, e) < 0 ||
	    row_period(&w->dates, ev, format, part, &r.start_s, e) < 0)
		return e->code;
	return place_row(p, &r, stream, e);
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
	return w->dest->row_mode == ROWS_KEEP_LATEST ? latest_take(p, w, ev, format, stream, e) :
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

/* After an error about the row that was to go to the stream, or NULL: as send_bury. A lane's
 * transaction stores the dead letters of its own partitions, since a lane that has the batch does
 * not read their rows again; lane 0, which commits last, stores all others. */
static int judge_row(struct pass *p, const struct event *ev, const struct stream *stream,
	struct err *e)
{
	if (p->judged)
		return e->code;
	p->fault = (struct sink_fault){ .event = -1 };
	if (p->event == ev->id)         /* bury refused it */
		return e->code;
	if (*e->sqlstate) {             /* a server's error is not this event's fault */
		p->event = ev->id;
		return e->code;
	}
	return send_bury(p, ev->id, stream ? stream->lane : 0, stream ? stream->table : "", e);
}

static int take_or_bury(struct pass *p, struct event *ev, struct err *e)
{
	struct stream *stream = NULL;
	struct source *source;
	enum format format;

	p->events++;
	row_tell(p->job, ev, &format);
	if (is_done(p, ev, &source) || dispatch(p, source, ev, format, &stream, e) == 0)
		return 0;
	return judge_row(p, ev, stream, e);
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

/* The same of a reader's rows. */
static int take_rows(struct pass *p, struct err *e)
{
	struct row_reader *reader = p->reader;
	struct event ev = { 0 };
	struct row r = { .way = reader->way, .ev = &ev, .shape = reader->shape };
	int step = PQ_READY;

	for (int i = 0; i < BURST && !sink_full(p->sink); i++) {
		struct stream *stream = NULL;
		step = reader->next(reader, &ev, e);
		if (step != PQ_READY)
			return step;
		p->events++;
		if ((reader->period(reader, &ev, &r.start_s, e) < 0 ||
		    place_row(p, &r, &stream, e) < 0) && judge_row(p, &ev, stream, e) < 0)
			return e->code;
	}
	return step;
}

/* Do all events go where the last one of a key counts? */
static bool keeps_latest(const struct conf *c)
{
	for (size_t i = 0; conf_dest(c, i); i++)
		if (conf_dest(c, i)->row_mode != ROWS_KEEP_LATEST)
			return false;
	return true;
}

/* Do the rows of a partition come in the order of the events' ids? */
static bool is_ordered(const struct pass *p)
{
	return p->job->conf->event_order || p->ordered;
}

static struct events_want want_of(const struct pass *p)
{
	const struct conf *c = p->job->conf;
	bool by_id = is_ordered(p);

	return (struct events_want){
		.parts = row_parts(c), .by_id = by_id, .tables = c->tables,
		.newest_first = p->newest && !p->careful && !by_id && keeps_latest(c),
		.types = c->nrule ? NULL : c->dest.event_types,
	};
}

int pass_ask(struct pass *p, struct err *e)
{
	p->want = want_of(p);
	p->job->asked = events_ask(p->from, p->batch, &p->want, e) == 0;
	return e->code;
}

int pass_ask_ahead(const struct pass *p, const struct queue_batch *next, struct err *e)
{
	const struct events_want want = want_of(p);

	return events_ask_ahead(p->from, next, &want, e);
}

/* Resets the results of an earlier pass, and waits for the events. */
static int begin(struct pass *p, struct err *e)
{
	struct job *j = p->job;

	p->scan = p->judged = p->read = p->mixed = p->rekeyed = p->incomplete = false;
	p->all_load = true;
	for (size_t i = 0; i < j->lanes; i++)
		p->all_load = p->all_load && j->loads[i];
	p->events = p->rows = p->truncates = p->own = p->passed = p->late = p->left_out = 0;
	p->event = -1;
	p->fault = (struct sink_fault){ .event = -1 };
	letters_clear(&p->dead);
	if (p->stagings)
		stagings_begin(p->stagings);
	if (p->sink == j->dests.sink)
		places_begin(&j->dests, !p->careful);
	else
		fill_stop(&j->dests);
	sink_begin(p->sink, p->careful, is_ordered(p));
	if (p->reader) {
		p->want = want_of(p);
		return p->reader->begin(p->reader, p, e);
	}
	if (!j->asked && pass_ask(p, e) < 0)
		return e->code;
	j->asked = false;
	return events_open(p->from, e);
}

/* Waits only if neither the source nor a lane can proceed. */
static int run(struct pass *p, struct err *e)
{
	int step = PQ_READY;

	for (;;) {
		if (step != PQ_END)
			step = p->reader ? take_rows(p, e) : take_burst(p, e);
		if (step < 0)
			return step;
		p->read = step == PQ_END;
		if (settle_some(p, e) < 0 || flow_pump(p, step == PQ_END, e) < 0)
			return e->code;
		const struct sink *sink = p->sink;
		bool done = step == PQ_END, full = sink_full(sink);
		if (done && (p->scan || (sink_idle(sink) && !settle_makes(p))))
			return p->scan;
		int64_t most_ms = watch_pass(p->job->watch, p->events, sink_bytes(sink));
		if (step == PQ_READY && !full)  /* more events are here */
			most_ms = 0;
		if (send_wait(p, !done && !full, most_ms, e) < 0)
			return e->code;
	}
}

int pass_run(struct pass *p, struct err *e)
{
	if (begin(p, e) < 0)
		return e->code;
	int rc = run(p, e);
	if (rc < 0)
		inside_await(p->job);
	return rc;
}
