/*
 * The destinations of a run, with all that a batch needs of them: a sink for their rows, staging
 * tables, the columns that no row brings, what is known of their partitions.
 */
#include "private.h"

/* ---- column types, for the sink; arg is the struct dests */

static int look_at_types(void *arg, struct pq *dst, size_t of, int64_t start_s, const char *table,
	struct err *e)
{
	const struct dests *ds = arg;

	return known_look(&ds->place[of]->known, dst, start_s, table, e);
}

static bool kinds_of(void *arg, size_t of, int64_t start_s, const char *table,
	const struct shape *shape, enum binary_kind *kinds)
{
	const struct dests *ds = arg;

	return known_kinds(&ds->place[of]->known, start_s, table, shape, kinds);
}

static int make_stage(void *arg, struct pq *dst, size_t lane, size_t of, const char *table,
	bool *made, struct err *e)
{
	const struct dests *ds = arg;

	return stagings_make(ds->stagings, dst, lane, of, table, made, e);
}

static bool kinds_of_stage(void *arg, size_t lane, size_t of, const struct shape *shape,
	enum binary_kind *kinds)
{
	const struct dests *ds = arg;

	return stagings_kinds(ds->stagings, lane, of, shape, kinds);
}

/* ---- all of them */

void places_open(struct job *j)
{
	struct dests *ds = &j->dests;

	dests_open(ds, j->conf, &j->style);
	for (size_t i = 0; i < ds->nplace; i++) {
		missing_open(ds->place[i]);
		missing_begin_batch(ds->place[i]);
		fill_begin_batch(ds->place[i]);
	}
	if (!ds->sink)
		ds->sink = sink_new(&(struct sink_types){
			ds, look_at_types, kinds_of, make_stage, kinds_of_stage });
	if (!ds->stagings)
		ds->stagings = stagings_new(ds, "tdispatch_stage_");
	if (!ds->newest)
		ds->newest = newest_new();
}

void places_open_rows(struct job *j)
{
	struct dests *ds = &j->dests;

	if (!ds->sink)
		ds->sink = sink_new(&(struct sink_types){ .arg = ds, .stage = make_stage });
	places_open(j);
}

struct source *places_source(struct job *j, const struct event *ev)
{
	struct dests *ds = &j->dests;
	size_t known = ds->nplace;
	struct source *s = dests_source(ds, j->conf, ev);

	while (known < ds->nplace)
		missing_open(ds->place[known++]);
	return s;
}

int places_ready(struct job *j, struct way *w, struct err *e)
{
	struct place *at = w->place;

	if (w->ready)
		return 0;
	bool latest = w->dest->row_mode == ROWS_KEEP_LATEST;
	if (!at->asked && (w->dest->all || latest) &&
	    (style_open(&j->ddl, j->conf, &j->style, e) < 0 ||
	    job_ask_references(at, j->ddl, e) < 0 || job_ask_generated(at, j->ddl, e) < 0))
		return e->code;
	route_leave_out(w->route, &at->generated);
	if (w->old)
		route_leave_out(w->old, &at->generated);
	w->ready = true;
	return 0;
}

void places_forget(struct dests *ds)
{
	if (!ds->sink)
		return;
	sink_forget(ds->sink);
	stagings_forget(ds->stagings);
	for (size_t i = 0; i < ds->nplace; i++) {
		missing_forget(ds->place[i]);
		fill_forget(ds->place[i]);
	}
}

void places_begin(struct dests *ds, bool fills)
{
	bool changed = false;

	for (size_t i = 0; i < ds->nway; i++) {
		struct way *w = ds->way[i];
		changed |= route_leave_out(w->route, &w->place->generated);
		if (w->old)
			changed |= route_leave_out(w->old, &w->place->generated);
	}
	if (changed)
		places_forget(ds);      /* the streams of shapes that are gone */
	stagings_begin(ds->stagings);
	newest_begin(ds->newest);
	if (inside_any(ds))          /* a failed pass left these, and they were rolled back */
		inside_rolled_back(ds);
	for (size_t i = 0; i < ds->nplace; i++) {
		missing_begin(ds->place[i]);
		known_begin(&ds->place[i]->known, tally_rows(&sink_done(ds->sink, i)->rows));
	}
	if (fill_begin(ds, fills))
		sink_forget(ds->sink);
}

void places_free(struct dests *ds)
{
	places_forget(ds);
	sink_free(ds->sink);
	stagings_free(ds->stagings);
	newest_free(ds->newest);
	for (size_t i = 0; i < ds->nplace; i++)
		missing_free(ds->place[i]);
	dests_free(ds);
}
