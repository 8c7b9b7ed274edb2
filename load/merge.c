/*
 * The end of a batch with row_mode = keep_latest: the last row of each key replaces the one that
 * the target has, in the data transactions, before the positions are written. The lanes do it at
 * the same time.
 *
 * An event whose row the target refuses counts as not having been: the event before it may be its
 * key's last one then, and the other half of a move is left out in its lane, too. So when one is
 * found (narrow.c), all lanes go back to where rows were only staged, and merge again without it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "merge.h"

#define MANY 4                          /* partitions, from which on an index finds their rows */

struct group {                          /* rows of one partition and kind */
	size_t part, kind;              /* kind 0: deletes */
	int64_t rows, stored;           /* stored: -1: not yet */
	size_t statement;               /* which of the lane's */
};

struct lane_work {                      /* what a lane does for one destination */
	struct group *group;            /* by part and kind */
	size_t n;
};

struct merged {                         /* what became of a partition's rows */
	struct merged *next;
	size_t of;
	const char *table;
	int64_t stored, unstored;
};

struct merge {
	struct pass *p;
	struct staging *g;              /* at hand, with this work: */
	struct lane_work lane[LANES_MAX];
	struct script script[LANES_MAX];
	size_t told;                    /* dead letters that all lanes have left out */
	bool again;                     /* it is not the first round */
	struct merged *done;            /* of this round, in lanes that load */
};

static bool has_stage(const struct merge *m, size_t lane)
{
	return m->g->stage[lane].columns;
}

/* ---- what there is to do */

static void take_groups(struct lane_work *l, const struct pq *dst)
{
	free(l->group);
	l->n = (size_t)pq_rows(dst);
	l->group = mem_alloc((l->n + 1) * sizeof *l->group);
	for (size_t i = 0; i < l->n; i++)
		l->group[i] = (struct group){
			.part = (size_t)pq_int(dst, (int)i, 0, 0),
			.kind = (size_t)pq_int(dst, (int)i, 1, 0),
			.rows = pq_int(dst, (int)i, 2, 0), .stored = -1,
		};
}

/* Collects the last rows, and asks which partitions they are of. */
static int collect(struct merge *m, struct err *e)
{
	struct job *j = m->p->job;

	for (size_t i = 0; i < j->lanes; i++) {
		m->lane[i].n = 0;
		if (!has_stage(m, i))
			continue;
		stage_add_last(&m->script[i].sql, &m->g->stage[i], m->g->npart > MANY);
		stage_add_count(&m->script[i].sql, &m->g->stage[i]);
	}
	if (script_run_all(m->p, m->script, e) < 0)
		return e->code;
	for (size_t i = 0; i < j->lanes; i++)
		if (has_stage(m, i))
			take_groups(&m->lane[i], j->dst[i]);
	return 0;
}

/* Has the partition of the i-th group none but deletes? */
static bool only_goes(const struct lane_work *l, size_t i)
{
	bool last = i + 1 == l->n || l->group[i + 1].part != l->group[i].part;
	bool first = i == 0 || l->group[i - 1].part != l->group[i].part;

	return l->group[i].kind == 0 && first && last;
}

/* Does something go from the partition? From one that part_keep has detached only if part_late lets
 * rows come to it. */
static bool is_reached(const struct merge *m, size_t lane, const struct part_new *part,
	struct err *e)
{
	const struct dest *d = m->g->place->dest;
	const struct table_name name = { span_of(part->name), part->old };
	bool child = true;

	if (part->there && part->old && d->part_late != PART_LATE_CREATE)
		admit_check(m->p->job->dst[lane], d, &name, 1, &child, NULL, e);
	return part->there && child;
}

/* Leaves out partitions that are not there or out of reach, of which nothing can go. */
static int leave_out_parts(struct merge *m, size_t lane, struct err *e)
{
	struct lane_work *l = &m->lane[lane];
	struct part_new *list = mem_alloc((l->n + 1) * sizeof *list);
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < l->n; i++)
		if (only_goes(l, i)) {
			char *name = m->g->part[l->group[i].part].name;
			bool old = age_may_be_loose(m->p->job, m->g->place->dest, span_of(name));
			list[n++] = (struct part_new){ .name = name, .old = old };
		}
	part_find(m->p->job->dst[lane], m->g->place->dest, list, n, e);
	bool *stays = mem_alloc(l->n + 1);
	for (size_t i = 0, k = 0; i < l->n; i++)
		stays[i] = !only_goes(l, i) || is_reached(m, lane, &list[k++], e);
	for (size_t i = 0; i < l->n; i++)
		if (stays[i])
			l->group[kept++] = l->group[i];
	l->n = kept;
	free(stays);
	free(list);
	return e->code;
}

/* No foreign key may have come to point to them. */
static int check_references(struct merge *m, size_t lane, struct err *e)
{
	const struct lane_work *l = &m->lane[lane];
	struct table_name *names = mem_alloc((l->n + 1) * sizeof *names);

	for (size_t i = 0; i < l->n; i++)
		names[i] = (struct table_name){
			span_of(m->g->part[l->group[i].part].name), false,
		};
	constraint_referenced(m->p->job->dst[lane], m->g->place->dest, names, l->n, e);
	free(names);
	return e->code;
}

/* ---- doing it */

static struct narrow work_on(const struct merge *m, size_t lane, const struct group *group)
{
	const struct staging *g = m->g;

	return (struct narrow){
		.pass = m->p, .dst = m->p->job->dst[lane], .lane = lane, .of = g->place->number,
		.stage = &g->stage[lane], .kind = group->kind,
		.columns = group->kind ? g->kind[group->kind - 1] : "",
		.part = {
			.schema = g->place->dest->schema,
			.table = span_of(g->part[group->part].name), .number = group->part,
			.ordered = m->p->job->conf->event_order,
		},
	};
}

/* Appends the statements of the partition whose groups begin there: the keys of all kinds go, then
 * rows come. Returns where the next one's groups begin. */
static size_t add_part(struct merge *m, size_t lane, size_t i, size_t *statement)
{
	struct lane_work *l = &m->lane[lane];
	struct buf *sql = &m->script[lane].sql;
	size_t part = l->group[i].part;
	struct group all = { .part = part };
	struct narrow goes = work_on(m, lane, &all);

	narrow_add(sql, &goes, NULL);
	++*statement;
	for (; i < l->n && l->group[i].part == part; i++) {
		l->group[i].statement = *statement;
		if (!l->group[i].kind)
			continue;
		struct narrow comes = work_on(m, lane, &l->group[i]);
		narrow_add(sql, &comes, NULL);
		++*statement;
	}
	return i;
}

static void add_all(struct merge *m, size_t lane)
{
	struct lane_work *l = &m->lane[lane];
	size_t statement = 1;           /* after the savepoint */

	buf_str(&m->script[lane].sql, "SAVEPOINT tdispatch_part;");
	for (size_t i = 0; i < l->n;)
		i = add_part(m, lane, i, &statement);
}

static void take_stored(struct lane_work *l, const struct script *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->group[i].kind && l->group[i].statement < s->done)
			l->group[i].stored = s->rows[l->group[i].statement];
}

/* Some row of the lane is refused: finds out which. */
static int narrow_lane(struct merge *m, size_t lane, struct err *e)
{
	struct lane_work *l = &m->lane[lane];
	struct buf sql = { 0 };

	m->script[lane].e = (struct err){ 0 };
	buf_str(&sql, "ROLLBACK TO SAVEPOINT tdispatch_part;");
	stage_add_index(&sql, &m->g->stage[lane]);
	pq_query(m->p->job->dst[lane], buf_cstr(&sql), e);
	buf_free(&sql);
	for (size_t i = 0; i < l->n && !e->code; i++) {
		bool first = i == 0 || l->group[i - 1].part != l->group[i].part;
		struct group all = { .part = l->group[i].part };
		struct narrow goes = work_on(m, lane, &all);
		if (first && narrow_run(&goes, e) < 0)
			return e->code;
		struct narrow comes = work_on(m, lane, &l->group[i]);
		if (l->group[i].kind && narrow_run(&comes, e) == 0)
			l->group[i].stored = comes.stored;
	}
	return e->code;
}

/* Where the lane's statements failed, with an error that no event is to blame for. */
static void blame(struct merge *m, size_t lane, const struct err *e)
{
	const struct lane_work *l = &m->lane[lane];
	size_t i = 0;

	while (i + 1 < l->n && l->group[i + 1].statement <= m->script[lane].done)
		i++;
	if (!l->n)
		return;
	struct narrow at = work_on(m, lane, &l->group[i]);
	narrow_blame(&at, e);
}

static void count(struct merge *m, size_t lane)
{
	const struct lane_work *l = &m->lane[lane];

	for (size_t i = 0; i < l->n && m->p->job->loads[lane]; i++) {
		const struct group *g = &l->group[i];
		struct merged *one = mem_alloc(sizeof *one);
		*one = (struct merged){
			m->done, m->g->place->number, m->g->part[g->part].name,
			g->kind ? g->stored : 0, g->kind ? g->rows - g->stored : 0,
		};
		m->done = one;
	}
}

static int first_error(const struct merge *m, bool rows_too, struct err *e)
{
	return script_error(m->script, m->p->job->lanes, rows_too, e);
}

/* The event before a refused one may be its key's last, and was left out: all must be staged. */
static int check_complete(struct merge *m, struct err *e)
{
	m->p->incomplete = m->p->left_out && first_error(m, true, e) < 0;
	return e->code;
}

/* Merges what waits for one destination. */
static int merge_place(struct merge *m, struct err *e)
{
	struct job *j = m->p->job;

	if (collect(m, e) < 0)
		return e->code;
	for (size_t i = 0; i < j->lanes && !e->code; i++)
		if (m->lane[i].n && leave_out_parts(m, i, e) == 0 &&
		    check_references(m, i, e) == 0 && m->lane[i].n)
			add_all(m, i);
	if (e->code || script_run(m->p, m->script, e) < 0)
		return e->code;
	for (size_t i = 0; i < j->lanes; i++) {
		const struct script *s = &m->script[i];
		if (s->e.code && s->e.code != ERR_DATA)
			blame(m, i, &s->e);
		take_stored(&m->lane[i], s);
	}
	if (first_error(m, false, e) < 0 || check_complete(m, e) < 0)
		return e->code;
	for (size_t i = 0; i < j->lanes && !e->code; i++) {
		if (m->script[i].e.code)
			narrow_lane(m, i, e);
		count(m, i);
	}
	return e->code;
}

/* ---- rounds */

/* Appends the ids of the dead letters from `from` on. */
static size_t add_dead(struct buf *ids, const struct letters *dead, size_t from)
{
	for (size_t i = from; i < dead->n; i++)
		buf_fmt(ids, "%s%" PRId64, i > from ? "," : "", dead->at[i].event);
	return dead->n - from;
}

static void add_begin(struct merge *m, size_t lane, const char *ids)
{
	struct buf *sql = &m->script[lane].sql;
	bool any = false;

	for (size_t i = 0; (m->g = stagings_next(m->p->job->dests.stagings, &i));) {
		if (!has_stage(m, lane))
			continue;
		if (!any && m->again)
			buf_str(sql, "ROLLBACK TO SAVEPOINT tdispatch_merge;"
				"RELEASE SAVEPOINT tdispatch_merge;");
		any = true;
		if (*ids)
			stage_add_forget(sql, &m->g->stage[lane], ids);
	}
	if (any)
		buf_str(sql, "SAVEPOINT tdispatch_merge");
}

/* All lanes leave out the events that are dead by now. */
static int begin_round(struct merge *m, struct err *e)
{
	struct buf ids = { 0 };

	add_dead(&ids, &m->p->dead, m->told);
	for (size_t i = 0; i < m->p->job->lanes; i++)
		add_begin(m, i, buf_cstr(&ids));
	buf_free(&ids);
	m->told = m->p->dead.n;
	m->again = true;
	return script_run_all(m->p, m->script, e);
}

static void forget_counts(struct merge *m)
{
	while (m->done) {
		struct merged *next = m->done->next;
		free(m->done);
		m->done = next;
	}
}

static int merge_round(struct merge *m, struct err *e)
{
	size_t i = 0;

	forget_counts(m);
	if (begin_round(m, e) < 0)
		return e->code;
	while (!e->code && (m->g = stagings_next(m->p->job->dests.stagings, &i)))
		merge_place(m, e);
	return e->code;
}

static bool is_used(const struct stagings *all)
{
	const struct staging *g;

	for (size_t i = 0; (g = stagings_next(all, &i));)
		if (g->used)
			return true;
	return false;
}

static int merge_all(struct merge *m, struct err *e)
{
	struct pass *p = m->p;

	if (direct_check(p, e) < 0 || spread_run(p, e) < 0)
		return e->code;
	p->rows += (int64_t)letters_unique(&p->dead);
	do
		merge_round(m, e);
	while (!e->code && m->told < p->dead.n);
	return e->code;
}

int merge_run(struct pass *p, struct err *e)
{
	struct merge m = { .p = p };

	if (!is_used(p->job->dests.stagings))
		return 0;
	merge_all(&m, e);
	for (const struct merged *one = m.done; one && !e->code; one = one->next)
		sink_count(p->sink, one->of, one->table, one->stored, one->unstored);
	forget_counts(&m);
	p->rows += (int64_t)letters_unique(&p->dead);
	for (size_t i = 0; i < LANES_MAX; i++) {
		script_free(&m.script[i]);
		free(m.lane[i].group);
		if (i < p->job->lanes && !p->job->loads[i])
			letters_leave(&p->dead, i);     /* the lane has stored its letters */
	}
	return e->code;
}
