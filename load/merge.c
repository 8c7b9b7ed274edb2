/*
 * The end of a batch with row_mode = keep_latest: the last row of each key replaces the one that
 * the target has, in the data transactions, before the positions are written.
 *
 * Where the target refuses a row, its event is found by halving ranges of ev_id under savepoints.
 * Then all lanes go back to where the rows were only staged, and merge again without the event: it
 * counts as not having been, so that the event before it may be the key's last one, and the other
 * half of a move is left out in its lane, too.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define MANY 4                          /* partitions, from which on an index finds their rows */

struct group {                          /* rows of one partition and kind */
	size_t part, kind;
	int64_t rows;
};

struct merged {                         /* what became of a partition's rows */
	struct merged *next;
	size_t of;
	const char *table;
	int64_t stored, unstored;
};

struct merge {
	struct pass *p;
	struct staging *g;              /* at hand, as all that follows: */
	size_t lane;
	struct group *group;
	size_t n;
	struct merged *done;            /* of this round, in lanes that load */
};

static struct pq *connection(const struct merge *m)
{
	return m->p->job->dst[m->lane];
}

static const struct stage *stage_of(const struct merge *m)
{
	return &m->g->stage[m->lane];
}

static struct stage_part part_of(const struct merge *m, size_t number)
{
	return (struct stage_part){
		.schema = m->g->place->dest->schema, .table = span_of(m->g->part[number].name),
		.number = number, .ordered = m->p->job->conf->event_order,
	};
}

/* Says where an error was. Returns its code. */
static int blame(const struct merge *m, size_t part, const struct err *e)
{
	struct pass *p = m->p;
	struct pq_fault found;
	const char *table = m->g->part[part].name;

	pq_copy_fault(connection(m), span_of(table), &found);
	p->fault = (struct sink_fault){ .event = -1, .of = m->g->place->number };
	snprintf(p->fault.table, sizeof p->fault.table, "%s", table);
	memcpy(p->fault.column, found.column, sizeof p->fault.column);
	p->event = -1;
	return e->code;
}

/* ---- what there is to do */

/* Collects the last rows, and asks which partitions they are of. */
static int collect(struct merge *m, struct err *e)
{
	struct pq *dst = connection(m);
	struct buf sql = { 0 };
	int64_t rows;

	stage_add_last(&sql, stage_of(m), m->g->npart > MANY);
	stage_add_count(&sql, stage_of(m));
	if (stage_run(dst, buf_cstr(&sql), &rows, e) == 0) {
		m->n = (size_t)pq_rows(dst);
		m->group = mem_alloc((m->n + 1) * sizeof *m->group);
		for (size_t i = 0; i < m->n; i++)
			m->group[i] = (struct group){
				(size_t)pq_int(dst, (int)i, 0, 0),
				(size_t)pq_int(dst, (int)i, 1, 0), pq_int(dst, (int)i, 2, 0),
			};
	}
	buf_free(&sql);
	return e->code;
}

/* Has the partition none but deletes? */
static bool only_goes(const struct merge *m, size_t i)
{
	bool last = i + 1 == m->n || m->group[i + 1].part != m->group[i].part;

	return m->group[i].kind == 0 && last;
}

/* Leaves out partitions that are not there, of which nothing can go. */
static int leave_out_absent(struct merge *m, struct err *e)
{
	struct part_new *list = mem_alloc((m->n + 1) * sizeof *list);
	size_t n = 0, kept = 0, at;

	for (size_t i = 0; i < m->n; i++)
		if (only_goes(m, i))
			list[n++] = (struct part_new){ .name = m->g->part[m->group[i].part].name };
	if (n && part_look(connection(m), m->g->place->dest, list, n, &at, e) < 0)
		blame(m, 0, e);
	for (size_t i = 0, k = 0; i < m->n && n && !e->code; i++) {
		bool there = !only_goes(m, i) || list[k++].there;
		if (there)
			m->group[kept++] = m->group[i];
	}
	if (n)
		m->n = kept;
	free(list);
	return e->code;
}

/* ---- doing it */

static void count(struct merge *m, size_t part, int64_t stored, int64_t unstored)
{
	struct merged *one = mem_alloc(sizeof *one);

	if (!m->p->job->loads[m->lane]) {
		free(one);
		return;
	}
	*one = (struct merged){
		m->done, m->g->place->number, m->g->part[part].name, stored, unstored,
	};
	m->done = one;
}

static void forget_counts(struct merge *m)
{
	while (m->done) {
		struct merged *next = m->done->next;
		free(m->done);
		m->done = next;
	}
}

/* Deletes the keys of the group's partition. */
static int delete_keys(struct merge *m, size_t part, const struct stage_range *range, struct err *e)
{
	struct buf sql = { 0 };
	struct stage_part at = part_of(m, part);
	int64_t rows;

	stage_add_delete(&sql, stage_of(m), &at, range);
	if (stage_run(connection(m), buf_cstr(&sql), &rows, e) < 0)
		blame(m, part, e);
	buf_free(&sql);
	return e->code;
}

static int insert_rows(struct merge *m, const struct group *g, const struct stage_range *range,
	int64_t *rows, struct err *e)
{
	struct buf sql = { 0 };
	struct stage_part at = part_of(m, g->part);

	stage_add_insert(&sql, stage_of(m), &at, g->kind, m->g->kind[g->kind - 1], range);
	if (stage_run(connection(m), buf_cstr(&sql), rows, e) < 0)
		blame(m, g->part, e);
	buf_free(&sql);
	return e->code;
}

/* The groups of one partition, from the i-th on. Returns where the next partition's begin. */
static size_t next_part(const struct merge *m, size_t i)
{
	size_t part = m->group[i].part;

	while (i < m->n && m->group[i].part == part)
		i++;
	return i;
}

static int merge_part(struct merge *m, size_t i, struct err *e)
{
	size_t part = m->group[i].part, end = next_part(m, i);
	int64_t stored = 0, sent = 0, rows;

	if (delete_keys(m, part, NULL, e) < 0)
		return e->code;
	for (; i < end && !e->code; i++)
		if (m->group[i].kind && insert_rows(m, &m->group[i], NULL, &rows, e) == 0) {
			stored += rows;
			sent += m->group[i].rows;
		}
	if (!e->code)
		count(m, part, stored, sent - stored);
	return e->code;
}

static int merge_all(struct merge *m, struct err *e)
{
	for (size_t i = 0; i < m->n && !e->code; i = next_part(m, i))
		merge_part(m, i, e);
	return e->code;
}

/* ---- */

/* Merges what waits for one destination in one lane. */
static int merge_one(struct merge *m, struct err *e)
{
	if (collect(m, e) == 0 && leave_out_absent(m, e) == 0)
		merge_all(m, e);
	free(m->group);
	m->group = NULL;
	m->n = 0;
	return e->code;
}

static int merge_lanes(struct merge *m, struct err *e)
{
	const struct job *j = m->p->job;
	size_t i = 0;

	while ((m->g = stagings_next(j->dests.stagings, &i)))
		for (m->lane = 0; m->lane < j->lanes && !e->code; m->lane++)
			if (m->g->stage[m->lane].columns)
				merge_one(m, e);
	return e->code;
}

int merge_run(struct pass *p, struct err *e)
{
	struct merge m = { .p = p };

	merge_lanes(&m, e);
	for (const struct merged *one = m.done; one && !e->code; one = one->next)
		sink_count(p->sink, one->of, one->table, one->stored, one->unstored);
	forget_counts(&m);
	return e->code;
}
