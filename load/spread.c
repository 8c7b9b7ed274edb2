/*
 * row_mode = keep_latest: rows that are to go and pick no partition. Such a row may be in any:
 * after an update that was refused, since the new value picks none, it is where it was. Each lane
 * stages the key under a number that stands for all partitions; when the batch is read, it is a
 * delete in each of the lane's.
 */
#include <stdlib.h>

#include "private.h"

/* ---- of an event */

int spread_reaches(struct pass *p, struct place *k, bool *yes, struct err *e)
{
	const struct dest *d = k->dest;
	struct job *j = p->job;
	struct table table;

	if (!k->spread_asked && style_open(&j->ddl, j->conf, &j->style, e) == 0 &&
	    table_find(j->ddl, d, d->table, &table, e) == 0) {
		k->spread_asked = true;
		k->spread_reaches = *table.oid && (table.partitioned || table_makes_children(d));
	}
	p->judged = e->code != 0;
	*yes = k->spread_reaches;
	return e->code;
}

/* The stream of keys in the lane. Its period is one that no partition has. */
static struct stream *open_keys(struct pass *p, const struct way *w, size_t lane)
{
	const struct staging *g = stagings_at(flow_stagings(p), w->place);
	uint64_t id = (uint64_t)w->number << 32 | UINT64_C(1) << 62 | g->key_id;
	const int64_t start_s = INT64_MIN + (int64_t)lane;
	struct stream *stream = sink_find(p->sink, start_s, id);

	if (stream)
		return stream;
	stream = flow_add_stage(p, w->place, start_s, id, lane, w->dest->table, g->key->columns);
	sink_stage(stream, STAGE_ANYWHERE, 0);
	return stream;
}

int spread_put(struct pass *p, struct way *w, const struct event *ev, enum format format,
	const struct span *key, struct err *e)
{
	struct staging *g = stagings_at(flow_stagings(p), w->place);

	g->anywhere = true;
	for (size_t lane = 0; lane < p->job->lanes && !e->code; lane++)
		if (flow_reads_lane(p, lane))
			stream_put(p->sink, open_keys(p, w, lane), g->key, format, key, ev, e);
	return e->code;
}

/* ---- at the end of the batch */

/* Appends the numbers of the lane's partitions. */
static int add_parts(struct buf *parts, struct pass *p, struct staging *g, size_t lane,
	struct err *e)
{
	const struct dest *d = g->place->dest;
	struct pq *dst = p->job->dst[lane];
	int64_t start_s;

	if (child_names(dst, d, e) < 0)
		return e->code;
	for (int row = 0; row < pq_rows(dst); row++) {
		struct span name = span_of(pq_value(dst, row, 0));
		if (age_of_name(d, name.p, &start_s) && job_lane_of(p->job, name) == lane)
			buf_fmt(parts, "%s%zu", parts->len ? "," : "",
				staging_part(g, start_s, lane, name));
	}
	return 0;
}

static int spread_lane(struct pass *p, struct staging *g, size_t lane, struct err *e)
{
	struct buf parts = { 0 }, sql = { 0 };

	if (add_parts(&parts, p, g, lane, e) == 0) {
		stage_add_spread(&sql, &g->stage[lane], buf_cstr(&parts));
		pq_query(p->job->dst[lane], buf_cstr(&sql), e);
	}
	buf_free(&parts);
	buf_free(&sql);
	return e->code;
}

int spread_run(struct pass *p, struct err *e)
{
	struct staging *g;

	for (size_t i = 0; !e->code && (g = stagings_next(flow_stagings(p), &i));)
		for (size_t lane = 0; g->anywhere && lane < p->job->lanes && !e->code; lane++)
			if (g->stage[lane].columns)
				spread_lane(p, g, lane, e);
	return e->code;
}
